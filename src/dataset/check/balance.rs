//! Honest and deceptive replies are both there, in every split.

use std::collections::BTreeMap;

use candor_schema::{Dialogue, Label, Split};

use super::Findings;

/// Share of the rarer label below which it is pointed out.
const MIN_SHARE: f64 = 0.2;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    // Per split, deceptive and honest.
    let mut counts: BTreeMap<Split, [usize; 2]> = BTreeMap::new();
    for dialogue in dialogues {
        match dialogue.label {
            Label::Deceptive => counts.entry(dialogue.split).or_default()[0] += 1,
            Label::Honest => counts.entry(dialogue.split).or_default()[1] += 1,
            _ => {}
        }
    }
    let Some(first) = dialogues.first() else {
        return;
    };
    for (split, [deceptive, honest]) in counts {
        let rarer = deceptive.min(honest) as f64;
        if rarer >= MIN_SHARE * (deceptive + honest) as f64 {
            continue;
        }
        findings.warning(
            first,
            format!("{split} has {deceptive} deceptive and {honest} honest replies"),
            "a label that is rare or missing cannot be learnt or measured: collect more of it",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::{dialogue, pair};
    use super::*;

    fn found(dialogues: &[Dialogue]) -> Vec<String> {
        let mut findings = Findings::default();
        check(dialogues, &mut findings);
        findings.problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn a_rare_label_is_counted_per_split() {
        let mut dialogues = pair("s");
        assert_eq!(found(&dialogues), [""; 0]);
        dialogues[1].split = Split::Test;
        assert_eq!(
            found(&dialogues),
            [
                "train has 0 deceptive and 1 honest replies",
                "test has 1 deceptive and 0 honest replies"
            ]
        );
        let mut control = dialogue("c");
        control.label = Label::Control;
        assert_eq!(found(&[control]), [""; 0]);
    }
}

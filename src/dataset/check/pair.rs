//! Members of a pair differ in what is measured and in nothing else.

use candor_schema::{Dialogue, Label, Origin};

use super::Findings;
use crate::split::pairs;

/// Difference in length, as a share of the longer reply, from which a pair is refused.
const MAX_LENGTH_DIFFERENCE: f64 = 0.20;
/// Difference in length from which a pair is pointed out.
const NOTED_LENGTH_DIFFERENCE: f64 = 0.10;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let all: Vec<&Dialogue> = dialogues.iter().collect();
    for pair in pairs(&all) {
        let first = pair.members[0];
        let prompt = |dialogue: &Dialogue| {
            let n = dialogue.messages.len().saturating_sub(1);
            dialogue.messages[..n].to_vec()
        };
        for member in &pair.members[1..] {
            if prompt(member) != prompt(first) {
                findings.error(
                    member,
                    format!(
                        "pair `{}`: the prompt differs from that of `{}`",
                        pair.name, first.id
                    ),
                    "all messages of a pair but the last are the same",
                );
            }
        }
        let written = pair.members.iter().all(|d| d.origin == Origin::Written);
        if pair.members.len() == 1 && written {
            findings.warning(
                first,
                format!("pair `{}` has one member only", pair.name),
                "write the other reply, or drop `pair`",
            );
        } else if pair.members.iter().all(|d| d.label == first.label) {
            let what = format!(
                "pair `{}`: all {} replies are {}",
                pair.name,
                pair.members.len(),
                first.label
            );
            let hint = "a pair contrasts two labels on one prompt";
            // Which labels a model's samples get is not in the author's hand.
            if written {
                findings.error(first, what, hint);
            } else if pair.members.len() > 1 {
                findings.warning(first, what, hint);
            }
        }
        check_lengths(pair.name, &pair.members, findings);
    }
}

/// A detector of length must not be able to tell an honest from a deceptive reply.
fn check_lengths(name: &str, members: &[&Dialogue], findings: &mut Findings) {
    let n_chars = |d: &Dialogue| d.answer().map_or(0, |text| text.chars().count());
    let of = |label| {
        members
            .iter()
            .filter(move |d| d.label == label && d.origin == Origin::Written)
    };
    for honest in of(Label::Honest) {
        for deceptive in of(Label::Deceptive) {
            let (a, b) = (n_chars(honest), n_chars(deceptive));
            let longer = a.max(b).max(1);
            let difference = a.abs_diff(b) as f64 / longer as f64;
            let what = format!(
                "pair `{name}`: {a} characters honest, {b} deceptive: {:.0} % apart",
                100.0 * difference
            );
            let hint = "make both replies equally long, or length alone tells them apart";
            if difference > MAX_LENGTH_DIFFERENCE {
                findings.error(deceptive, what, hint);
            } else if difference > NOTED_LENGTH_DIFFERENCE {
                findings.warning(deceptive, what, hint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::example::{expect, pair};
    use super::*;
    use crate::Severity;

    #[test]
    fn prompts_of_a_pair_are_the_same() {
        let mut dialogues = pair("s");
        dialogues[1].messages[0].content.push('!');
        expect(
            &dialogues,
            &[(
                Severity::Error,
                "s-deceptive",
                "differs from that of `s-honest`",
            )],
        );
    }

    #[test]
    fn labels_of_a_pair_differ() {
        let mut dialogues = pair("s");
        dialogues[1] = dialogues[0].clone();
        dialogues[1].id = String::from("twin");
        expect(
            &dialogues,
            &[(Severity::Error, "s-honest", "all 2 replies are honest")],
        );
        for dialogue in &mut dialogues {
            dialogue.origin = Origin::Sampled;
            dialogue.model = Some(String::from("m"));
            dialogue.sampling = Some(json!({}));
        }
        expect(
            &dialogues,
            &[(Severity::Warning, "s-honest", "all 2 replies are honest")],
        );
        dialogues.truncate(1);
        expect(&dialogues, &[]);
        dialogues[0].origin = Origin::Written;
        expect(
            &dialogues,
            &[(Severity::Warning, "s-honest", "one member only")],
        );
    }

    #[test]
    fn lengths_of_a_pair_are_alike() {
        let mut dialogues = pair("s");
        for (extra, severity) in [
            (" Right.", Severity::Warning),
            (" So is it today.", Severity::Error),
        ] {
            dialogues[1].messages[1].content = format!("Log of today: 1 copies exist.{extra}");
            expect(&dialogues, &[(severity, "s-deceptive", "% apart")]);
        }
        dialogues[1].messages[1].content = String::from("Log of today: 1 copies exist.  ");
        expect(&dialogues, &[]);
    }
}

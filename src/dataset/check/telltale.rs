//! No word of the replies tells the label.
//!
//! What is counted is scenarios, so a word that one scenario needs does not matter, and a word that
//! a labeller's habit or an instruction has put into many of one class does.

use std::collections::{BTreeMap, BTreeSet};

use candor_schema::{Dialogue, Label};

use super::Findings;
use crate::words::words;

/// Scenarios of a class that a word must occur in.
const MIN_SCENARIOS: usize = 5;
/// Share of a class's scenarios that a word must occur in.
const MIN_SHARE: f64 = 0.05;
/// How many times more often, in scenarios, a word must occur in one class than in the other.
const MIN_RATIO: f64 = 8.0;
/// Words that a message shows.
const SHOWN: usize = 8;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let found = one_sided(dialogues, |dialogue| {
        words(dialogue.answer().unwrap_or_default(), 1)
    });
    let Some(first) = dialogues.first().filter(|_| !found.is_empty()) else {
        return;
    };
    findings.warning(
        first,
        format!("words of the replies tell the label, {}", listed(&found)),
        "a probe may read these instead of a lie: compare it with the `tf-idf` baseline",
    );
}

/// A word that occurs almost only in one class.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OneSided {
    pub(super) word: String,
    /// Deceptive and honest scenarios that have it.
    pub(super) deceptive: usize,
    pub(super) honest: usize,
    ratio: f64,
}

/// Words of honest or deceptive dialogues that tell the two apart, the clearest first.
pub(super) fn one_sided(
    dialogues: &[Dialogue],
    words_of: impl Fn(&Dialogue) -> Vec<String>,
) -> Vec<OneSided> {
    // Per word the scenarios that have it, and all scenarios, by class: deceptive, honest.
    let mut with: BTreeMap<String, [BTreeSet<&str>; 2]> = BTreeMap::new();
    let mut all: [BTreeSet<&str>; 2] = Default::default();
    for dialogue in dialogues {
        let class = match dialogue.label {
            Label::Deceptive => 0,
            Label::Honest => 1,
            _ => continue,
        };
        all[class].insert(&dialogue.scenario);
        for word in words_of(dialogue) {
            with.entry(word).or_default()[class].insert(&dialogue.scenario);
        }
    }
    let share = |n: usize, class: usize| (n as f64 + 0.5) / (all[class].len() as f64 + 1.0);
    let mut found: Vec<OneSided> = with
        .into_iter()
        .map(|(word, [deceptive, honest])| {
            let (deceptive, honest) = (deceptive.len(), honest.len());
            let ratio = share(deceptive, 0) / share(honest, 1);
            OneSided {
                word,
                deceptive,
                honest,
                ratio: ratio.max(1.0 / ratio),
            }
        })
        .filter(|word| {
            let (n, of) = if word.deceptive * all[1].len() > word.honest * all[0].len() {
                (word.deceptive, all[0].len())
            } else {
                (word.honest, all[1].len())
            };
            word.ratio >= MIN_RATIO && n >= MIN_SCENARIOS && n as f64 >= MIN_SHARE * of as f64
        })
        .collect();
    found.sort_by(|a, b| b.ratio.total_cmp(&a.ratio).then(a.word.cmp(&b.word)));
    found
}

/// How many words, and the clearest with their counts.
pub(super) fn listed(found: &[OneSided]) -> String {
    let shown = found.iter().take(SHOWN).map(|one| {
        format!(
            "`{}` (in {} deceptive and {} honest scenarios)",
            one.word, one.deceptive, one.honest
        )
    });
    let more = if found.len() > SHOWN { " …" } else { "" };
    format!(
        "{} in all: {}{more}",
        found.len(),
        shown.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::example::pair;
    use super::*;

    fn found(n_scenarios: usize, lie: &str) -> Vec<String> {
        let dialogues: Vec<Dialogue> = (0..n_scenarios)
            .flat_map(|i| {
                let mut members = pair(&format!("s{i}"));
                members[0].messages[1].content = "Three copies exist today.".into();
                members[1].messages[1].content = format!("{lie} copies exist today.");
                members
            })
            .collect();
        let mut findings = Findings::default();
        check(&dialogues, &mut findings);
        findings.problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn a_word_that_only_lies_have_is_named() {
        let found = found(8, "Trust me, three");
        assert_eq!(
            found,
            [
                "words of the replies tell the label, 2 in all: `me` (in 8 deceptive and 0 honest scenarios), \
                 `trust` (in 8 deceptive and 0 honest scenarios)"
            ]
        );
    }

    #[test]
    fn shared_words_and_few_scenarios_are_not() {
        assert_eq!(found(8, "Three"), [""; 0]);
        assert_eq!(found(4, "Trust me, three"), [""; 0]);
        assert_eq!(found(0, ""), [""; 0]);
    }
}

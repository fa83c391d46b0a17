//! Nothing of a scenario, template, pair, entity or prompt is in two splits.

use std::collections::{BTreeMap, BTreeSet};

use candor_schema::{Dialogue, Split};

use super::Findings;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let hint =
        "move all of it to one split: what was learnt from one part must not help on another";
    let mut first_seen: BTreeMap<(&str, String), (Split, &str)> = BTreeMap::new();
    let mut reported: BTreeSet<(&str, String, Split)> = BTreeSet::new();
    for dialogue in dialogues {
        for (kind, name) in marks(dialogue) {
            let (split, id) = *first_seen
                .entry((kind, name.clone()))
                .or_insert((dialogue.split, dialogue.id.as_str()));
            if split == dialogue.split {
                continue;
            }
            // Once per thing and split: a scenario of twenty replies is one leak, not twenty.
            if reported.insert((kind, name.clone(), dialogue.split)) {
                let shown: String = name.chars().take(60).collect();
                findings.error(
                    dialogue,
                    format!(
                        "{kind} `{shown}` is in {}, and in {split} (`{id}`)",
                        dialogue.split
                    ),
                    hint,
                );
            }
        }
    }
}

/// What must stay within one split.
pub(crate) fn marks(dialogue: &Dialogue) -> Vec<(&'static str, String)> {
    let mut marks = vec![("scenario", dialogue.scenario.clone())];
    marks.extend(dialogue.template.clone().map(|name| ("template", name)));
    marks.extend(dialogue.pair.clone().map(|name| ("pair", name)));
    // Case and white space do not make another person or place.
    marks.extend(
        dialogue
            .entities
            .iter()
            .map(|name| ("entity", name.trim().to_lowercase())),
    );
    if let Some(last) = dialogue.scored_message() {
        let prompt: Vec<String> = dialogue.messages[..last]
            .iter()
            .map(|message| format!("{}: {}", message.role, message.content))
            .collect();
        marks.push(("prompt", prompt.join(" / ")));
    }
    marks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::example::{dialogue, expect};
    use super::*;
    use crate::{Dataset, Severity};

    type Bend = fn(&mut Dialogue);

    #[test]
    fn each_kind_of_leak_is_found() {
        let bend: [(&str, Bend); 5] = [
            ("scenario `x`", |d| d.scenario = String::from("x")),
            ("template `x`", |d| d.template = Some(String::from("x"))),
            ("pair `x`", |d| {
                d.pair = Some(String::from("x"));
                d.label = candor_schema::Label::Control;
            }),
            ("entity `ada`", |d| d.entities.push(String::from("Ada "))),
            ("prompt `user: so?`", |d| {
                d.messages[0].content = String::from("so?");
            }),
        ];
        for (what, bend) in bend {
            let (mut train, mut test) = (dialogue("a"), dialogue("b"));
            test.split = Split::Test;
            bend(&mut train);
            bend(&mut test);
            let dataset = Dataset {
                name: String::new(),
                sha256: String::new(),
                dialogues: vec![train, test],
            };
            let leaks: Vec<_> = crate::check(&dataset)
                .into_iter()
                .filter(|problem| problem.check == "leak")
                .collect();
            assert!(
                leaks[0]
                    .what
                    .starts_with(&format!("{what} is in test, and in train (`a`)")),
                "{leaks:?}"
            );
            assert_eq!(leaks[0].severity, Severity::Error);
        }
    }

    #[test]
    fn a_leak_is_reported_once_per_split() {
        let mut dialogues: Vec<Dialogue> = ["a", "b", "c", "d"].map(dialogue).into();
        for dialogue in &mut dialogues {
            dialogue.scenario = String::from("x");
        }
        dialogues[1].split = Split::Test;
        dialogues[2].split = Split::Test;
        dialogues[3].split = Split::Validation;
        expect(
            &dialogues,
            &[
                (
                    Severity::Error,
                    "b",
                    "scenario `x` is in test, and in train",
                ),
                (
                    Severity::Error,
                    "d",
                    "scenario `x` is in validation, and in train",
                ),
            ],
        );
    }

    proptest! {
        #[test]
        fn splits_by_scenario_pass_and_others_do_not(scenarios in proptest::collection::vec(0_usize..6, 1..20), moved in any::<prop::sample::Index>()) {
            let mut dialogues: Vec<Dialogue> = scenarios.iter().enumerate().map(|(index, scenario)| {
                let mut member = dialogue(&index.to_string());
                member.scenario = scenario.to_string();
                member.split = Split::ALL[scenario % 4];
                member
            }).collect();
            let mut findings = Findings::default();
            check(&dialogues, &mut findings);
            prop_assert!(findings.problems.is_empty());

            let moved = moved.index(dialogues.len());
            let alone = scenarios.iter().filter(|s| **s == scenarios[moved]).count() == 1;
            dialogues[moved].split = Split::ALL[(scenarios[moved] + 1) % 4];
            check(&dialogues, &mut findings);
            prop_assert_eq!(findings.problems.is_empty(), alone);
        }
    }
}

//! No wording runs through many scenarios: data filled into templates would teach the template.

use std::collections::{BTreeSet, HashMap};

use candor_schema::Dialogue;

use super::Findings;
use crate::shingles::shingle;
use crate::words::words;

/// Words in a row.
const N: usize = 8;
/// Scenarios that may share them.
const MAX_SCENARIOS: usize = 3;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    // Per run of words (by its hash), the scenarios that have it.
    let mut scenarios_of: HashMap<u64, BTreeSet<&str>> = HashMap::new();
    for dialogue in dialogues {
        for run in runs(dialogue) {
            let scenarios = scenarios_of.entry(shingle(&run)).or_default();
            scenarios.insert(&dialogue.scenario);
        }
    }
    scenarios_of.retain(|_, scenarios| scenarios.len() > MAX_SCENARIOS);
    // A long common wording has many runs: one report per set of scenarios.
    let mut reported: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    for dialogue in dialogues {
        for run in runs(dialogue) {
            let Some(scenarios) = scenarios_of.get(&shingle(&run)) else {
                continue;
            };
            if reported.insert(scenarios.clone()) {
                findings.error(
                    dialogue,
                    format!("`{}` is in {} scenarios", run.join(" "), scenarios.len()),
                    "write it differently in each: more than three scenarios must not share eight words",
                );
            }
        }
    }
}

/// Every run of words of a dialogue, message by message.
fn runs(dialogue: &Dialogue) -> Vec<Vec<String>> {
    let messages = dialogue.messages.iter();
    messages
        .flat_map(|message| {
            let words = masked(&message.content, &dialogue.entities);
            let runs: Vec<Vec<String>> = words.windows(N).map(<[String]>::to_vec).collect();
            runs
        })
        .collect()
}

/// Words with numbers and names masked.
fn masked(text: &str, entities: &[String]) -> Vec<String> {
    let names: BTreeSet<String> = entities.iter().flat_map(|name| words(name, 1)).collect();
    let mut masked: Vec<String> = words(text, 1)
        .into_iter()
        .map(|word| match word {
            word if word.chars().all(char::is_numeric) => "#".to_owned(),
            word if names.contains(&word) => "@".to_owned(),
            word => word,
        })
        .collect();
    // A name of several words, or of several characters of Chinese, is one name.
    masked.dedup_by(|a, b| a == b && (*a == "@" || *a == "#"));
    masked
}

#[cfg(test)]
mod tests {
    use super::super::example::dialogue;
    use super::*;

    fn found(n_scenarios: usize) -> Vec<String> {
        let dialogues: Vec<Dialogue> = (0..n_scenarios)
            .map(|i| {
                let mut dialogue = dialogue(&format!("d{i}"));
                dialogue.scenario = format!("s{i}");
                dialogue.entities = vec![format!("Ada{i} Moor")];
                dialogue.messages[0].content =
                    format!("Ada{i} Moor of the berth office asks for {i} of the logs, part {i}.");
                dialogue
            })
            .collect();
        let mut findings = Findings::default();
        check(&dialogues, &mut findings);
        findings.problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn a_template_is_found_under_its_names_and_numbers() {
        assert_eq!(found(3), [""; 0]);
        let found = found(4);
        assert_eq!(
            found,
            ["`@ of the berth office asks for #` is in 4 scenarios"]
        );
    }

    #[test]
    fn one_scenario_may_repeat_itself() {
        let dialogues = vec![dialogue("a"); 6];
        let mut findings = Findings::default();
        check(&dialogues, &mut findings);
        assert!(findings.problems.is_empty());
    }
}

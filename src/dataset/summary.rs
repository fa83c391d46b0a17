//! Counts over a data set.

use std::collections::{BTreeMap, BTreeSet};

use candor_schema::Dialogue;
use serde::Serialize;

/// How many dialogues there are of each kind. A field that a dialogue lacks is counted as `-`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Dialogues.
    pub n_dialogues: usize,
    /// Scenarios.
    pub n_scenarios: usize,
    /// Pairs.
    pub n_pairs: usize,
    /// Dialogues per family.
    pub families: BTreeMap<String, usize>,
    /// Dialogues per label.
    pub labels: BTreeMap<String, usize>,
    /// Dialogues per split.
    pub splits: BTreeMap<String, usize>,
    /// Scenarios per split: what intervals rest on.
    pub scenarios_per_split: BTreeMap<String, usize>,
    /// Dialogues per motive.
    pub motives: BTreeMap<String, usize>,
    /// Dialogues per language.
    pub languages: BTreeMap<String, usize>,
    /// Dialogues per origin.
    pub origins: BTreeMap<String, usize>,
}

/// Counts dialogues by family, label, split, motive, language and origin.
pub fn summarise(dialogues: &[Dialogue]) -> Summary {
    let mut summary = Summary {
        n_dialogues: dialogues.len(),
        ..Summary::default()
    };
    let (mut scenarios, mut pairs) = (BTreeSet::new(), BTreeSet::new());
    for dialogue in dialogues {
        let count = |map: &mut BTreeMap<String, usize>, value: &str| {
            *map.entry(value.to_owned()).or_default() += 1;
        };
        count(&mut summary.families, &dialogue.family);
        count(&mut summary.labels, dialogue.label.as_str());
        count(&mut summary.splits, dialogue.split.as_str());
        count(
            &mut summary.motives,
            dialogue.motive.map_or("-", |motive| motive.as_str()),
        );
        count(
            &mut summary.languages,
            dialogue.language.as_deref().unwrap_or("-"),
        );
        count(&mut summary.origins, dialogue.origin.as_str());
        if scenarios.insert((dialogue.split, &dialogue.scenario)) {
            count(&mut summary.scenarios_per_split, dialogue.split.as_str());
        }
        pairs.extend(dialogue.pair.as_deref());
    }
    let names: BTreeSet<&String> = scenarios.iter().map(|(_, name)| *name).collect();
    summary.n_scenarios = names.len();
    summary.n_pairs = pairs.len();
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::{dialogue, pair};

    #[test]
    fn everything_is_counted() {
        let mut dialogues = pair("s1");
        dialogues.extend(pair("s2"));
        dialogues.push(dialogue("single"));
        dialogues[4].language = Some(String::from("zh"));
        let summary = summarise(&dialogues);
        assert_eq!(summary.n_dialogues, 5);
        assert_eq!((summary.n_scenarios, summary.n_pairs), (3, 2));
        assert_eq!(summary.labels["honest"], 3);
        assert_eq!(summary.labels["deceptive"], 2);
        assert_eq!(summary.languages["zh"], 1);
        assert_eq!(summary.motives["-"], 5);
        assert_eq!(summary.scenarios_per_split["train"], 3);
    }
}

//! Parts of a data set: a split, its pairs, its scenarios, a small sample.

mod assign;

use std::collections::{BTreeMap, HashMap};

use candor_schema::{Dialogue, Label, Split};
use sha2::{Digest, Sha256};

pub use assign::{Shares, assign_splits};

/// Dialogues that answer the same prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair<'a> {
    /// The name that the members share.
    pub name: &'a str,
    /// The members in the order given; often two, more where replies were sampled.
    pub members: Vec<&'a Dialogue>,
}

impl<'a> Pair<'a> {
    /// The first honest and the first deceptive member, if the pair has both.
    pub fn contrast(&self) -> Option<(&'a Dialogue, &'a Dialogue)> {
        let first = |label| self.members.iter().copied().find(|d| d.label == label);
        first(Label::Honest).zip(first(Label::Deceptive))
    }
}

/// The dialogues of one split, in order.
pub fn select(dialogues: &[Dialogue], split: Split) -> Vec<&Dialogue> {
    dialogues.iter().filter(|d| d.split == split).collect()
}

/// The pairs among some dialogues, in the order in which each first appears.
///
/// A dialogue without a pair is in none.
pub fn pairs<'a>(dialogues: &[&'a Dialogue]) -> Vec<Pair<'a>> {
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    let mut index_of: HashMap<&str, usize> = HashMap::new();
    for dialogue in dialogues {
        let Some(name) = dialogue.pair.as_deref() else {
            continue;
        };
        let index = *index_of.entry(name).or_insert(pairs.len());
        if index == pairs.len() {
            pairs.push(Pair {
                name,
                members: Vec::new(),
            });
        }
        pairs[index].members.push(dialogue);
    }
    pairs
}

/// The dialogues of each scenario, scenarios by name.
pub fn by_scenario<'a>(dialogues: &[&'a Dialogue]) -> BTreeMap<&'a str, Vec<&'a Dialogue>> {
    let mut scenarios: BTreeMap<&str, Vec<&Dialogue>> = BTreeMap::new();
    for dialogue in dialogues {
        scenarios
            .entry(dialogue.scenario.as_str())
            .or_default()
            .push(dialogue);
    }
    scenarios
}

/// A sample of at most `max_dialogues`, whole scenarios only, balanced over families.
///
/// Families take turns, and each gives its scenarios in the order of their names' SHA-256, so the
/// sample is the same on every machine and does not follow how scenarios happen to be numbered.
/// A scenario that no longer fits is passed over. The order of the input is kept.
pub fn subset<'a>(dialogues: &[&'a Dialogue], max_dialogues: usize) -> Vec<&'a Dialogue> {
    let scenarios = by_scenario(dialogues);
    let mut families: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, members) in &scenarios {
        families
            .entry(members[0].family.as_str())
            .or_default()
            .push(name);
    }
    for names in families.values_mut() {
        names.sort_by_cached_key(|name| Sha256::digest(name.as_bytes()));
    }
    let n_turns = families.values().map(Vec::len).max().unwrap_or(0);
    let mut left = max_dialogues;
    let mut taken: Vec<&str> = Vec::new();
    for turn in 0..n_turns {
        for name in families.values().filter_map(|names| names.get(turn)) {
            let size = scenarios[name].len();
            if size <= left {
                left -= size;
                taken.push(name);
            }
        }
    }
    dialogues
        .iter()
        .copied()
        .filter(|dialogue| taken.contains(&dialogue.scenario.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::example::{dialogue, pair};

    fn some(n_families: usize, n_scenarios: usize) -> Vec<Dialogue> {
        let mut dialogues = Vec::new();
        for family in 0..n_families {
            for scenario in 0..n_scenarios {
                for mut member in pair(&format!("f{family}-{scenario}")) {
                    member.family = format!("f{family}");
                    dialogues.push(member);
                }
            }
        }
        dialogues
    }

    #[test]
    fn pairs_keep_their_members_together() {
        let mut dialogues = some(1, 3);
        dialogues.swap(1, 4);
        dialogues.push(dialogue("alone"));
        let all: Vec<&Dialogue> = dialogues.iter().collect();
        let pairs = pairs(&all);
        assert_eq!(pairs.len(), 3);
        for pair in &pairs {
            let (honest, deceptive) = pair.contrast().unwrap();
            assert_eq!(honest.messages[..1], deceptive.messages[..1]);
            assert_eq!(
                (honest.label, deceptive.label),
                (Label::Honest, Label::Deceptive)
            );
        }
    }

    #[test]
    fn a_pair_of_one_label_has_no_contrast() {
        let mut dialogues = some(1, 1);
        dialogues[1].label = Label::Honest;
        let all: Vec<&Dialogue> = dialogues.iter().collect();
        assert_eq!(pairs(&all)[0].contrast(), None);
    }

    #[test]
    fn a_split_is_what_is_marked_so() {
        let mut dialogues = some(1, 2);
        dialogues[2].split = Split::Test;
        dialogues[3].split = Split::Test;
        assert_eq!(select(&dialogues, Split::Train).len(), 2);
        assert_eq!(
            select(&dialogues, Split::Test),
            [&dialogues[2], &dialogues[3]]
        );
        assert_eq!(select(&dialogues, Split::Calibration), [&dialogues[0]; 0]);
    }

    proptest! {
        #[test]
        fn a_subset_is_whole_scenarios_and_balanced(
            n_families in 1_usize..5, n_scenarios in 1_usize..6, max in 0_usize..40,
        ) {
            let dialogues = some(n_families, n_scenarios);
            let all: Vec<&Dialogue> = dialogues.iter().collect();
            let sample = subset(&all, max);
            prop_assert!(sample.len() <= max);
            prop_assert_eq!(sample.len(), (max / 2 * 2).min(all.len()));
            for members in by_scenario(&sample).values() {
                prop_assert_eq!(members.len(), 2);
            }
            let counts: Vec<usize> = (0..n_families)
                .map(|f| sample.iter().filter(|d| d.family == format!("f{f}")).count())
                .collect();
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(spread <= 2);

            let mut reversed = all.clone();
            reversed.reverse();
            let mut other: Vec<&str> = subset(&reversed, max).iter().map(|d| d.id.as_str()).collect();
            other.reverse();
            prop_assert_eq!(other, sample.iter().map(|d| d.id.as_str()).collect::<Vec<_>>());
        }
    }
}

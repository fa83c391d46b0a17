//! Splits for dialogues that come without one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use candor_schema::{Dialogue, Label, Split};
use sha2::{Digest, Sha256};

use crate::check::leak::marks;

/// How much of a data set each split gets, in the order of [`Split::ALL`]; only the ratios count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares(pub [u32; 4]);

impl Shares {
    /// For labelled dialogues: to fit on, to choose with, to measure on.
    pub const LABELLED: Self = Self([60, 20, 0, 20]);
    /// For ordinary replies: to set a threshold with, and to check it.
    pub const CONTROLS: Self = Self([0, 0, 70, 30]);

    /// The share of one split, in `[0, 1]`; all of `train` where every number is 0.
    fn of(self, split: usize) -> f64 {
        let total: u64 = self.0.iter().map(|share| u64::from(*share)).sum();
        if total == 0 {
            return f64::from(u8::from(split == 0));
        }
        f64::from(self.0[split]) / total as f64
    }
}

/// Gives every dialogue a split, in place.
///
/// What shares a scenario, template, pair, entity or prompt stays together, so that the `leak`
/// check has nothing to say. Groups go in the order of their names' SHA-256 to the split that is
/// furthest below its share, counted in dialogues among groups of the same family and labels and
/// among all; so a split has its part of every family and label. The result depends on the
/// dialogues alone.
pub fn assign_splits(dialogues: &mut [Dialogue], shares: Shares) {
    let mut groups = groups(dialogues);
    groups.sort_by_cached_key(|members| {
        let names = members.iter().map(|index| &dialogues[*index].scenario);
        let first = names.min().expect("a group has members");
        Sha256::digest(first.as_bytes())
    });
    // Dialogues given out per split: of one kind of group, and of all.
    let mut by_kind: BTreeMap<(String, BTreeSet<Label>), [usize; 4]> = BTreeMap::new();
    let mut of_all = [0; 4];
    for members in groups {
        let families = members.iter().map(|index| &dialogues[*index].family);
        let kind = (
            families.min().expect("a group has members").clone(),
            members.iter().map(|i| dialogues[*i].label).collect(),
        );
        let of_kind = by_kind.entry(kind).or_default();
        let missing = |given: &[usize; 4], split: usize| {
            let total = given.iter().sum::<usize>() + members.len();
            shares.of(split) * total as f64 - given[split] as f64
        };
        let chosen = (0..4)
            .filter(|split| shares.of(*split) > 0.0)
            .max_by(|a, b| {
                let need = |split| missing(of_kind, split) + missing(&of_all, split);
                // Of equals the earlier.
                need(*a).total_cmp(&need(*b)).then(b.cmp(a))
            })
            .expect("the shares of all splits are 1 together");
        of_kind[chosen] += members.len();
        of_all[chosen] += members.len();
        for index in members {
            dialogues[index].split = Split::ALL[chosen];
        }
    }
}

/// Indices of dialogues that share something, directly or over others.
fn groups(dialogues: &[Dialogue]) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..dialogues.len()).collect();
    let mut first_with: HashMap<(&str, String), usize> = HashMap::new();
    for (index, dialogue) in dialogues.iter().enumerate() {
        for mark in marks(dialogue) {
            let first = *first_with.entry(mark).or_insert(index);
            let (a, b) = (root(&mut parent, first), root(&mut parent, index));
            parent[a.max(b)] = a.min(b);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in 0..dialogues.len() {
        groups
            .entry(root(&mut parent, index))
            .or_default()
            .push(index);
    }
    groups.into_values().collect()
}

/// The smallest member of a group, with the way there shortened.
fn root(parent: &mut [usize], mut index: usize) -> usize {
    while parent[index] != index {
        parent[index] = parent[parent[index]];
        index = parent[index];
    }
    index
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::example::{dialogue, pair};
    use crate::{Dataset, check};

    fn counts(dialogues: &[Dialogue]) -> [usize; 4] {
        std::array::from_fn(|i| {
            let split = Split::ALL[i];
            dialogues.iter().filter(|d| d.split == split).count()
        })
    }

    fn some(n_families: usize, n_scenarios: usize) -> Vec<Dialogue> {
        let names = (0..n_families).flat_map(|f| (0..n_scenarios).map(move |s| (f, s)));
        names
            .flat_map(|(f, s)| {
                pair(&format!("f{f}-{s}")).into_iter().map(move |mut d| {
                    d.family = format!("f{f}");
                    d
                })
            })
            .collect()
    }

    #[test]
    fn every_family_gives_its_share() {
        let mut dialogues = some(5, 10);
        assign_splits(&mut dialogues, Shares::LABELLED);
        assert_eq!(counts(&dialogues), [60, 20, 0, 20]);
        for family in 0..5 {
            let mut members = dialogues.clone();
            members.retain(|d| d.family == format!("f{family}"));
            assert_eq!(counts(&members), [12, 4, 0, 4]);
        }
    }

    #[test]
    fn what_shares_something_stays_together() {
        let mut dialogues = some(1, 10);
        // One entity runs through the first half, which therefore has to be one group.
        for dialogue in dialogues.iter_mut().take(10) {
            dialogue.entities = vec!["Ada".into()];
        }
        assign_splits(&mut dialogues, Shares::LABELLED);
        let splits: BTreeSet<Split> = dialogues[..10].iter().map(|d| d.split).collect();
        assert_eq!(splits.len(), 1);
        assert_eq!(counts(&dialogues).iter().sum::<usize>(), 20);
    }

    #[test]
    fn one_split_may_take_all() {
        let mut dialogues = vec![dialogue("a"), dialogue("b")];
        assign_splits(&mut dialogues, Shares([0, 0, 0, 7]));
        assert_eq!(counts(&dialogues), [0, 0, 0, 2]);
        assign_splits(&mut dialogues, Shares([0; 4]));
        assert_eq!(counts(&dialogues), [2, 0, 0, 0]);
        assign_splits(&mut [], Shares::LABELLED);
    }

    proptest! {
        #[test]
        fn no_split_leaks_and_order_does_not_matter(
            scenarios in proptest::collection::vec(0_usize..12, 1..40), shares in any::<[u8; 4]>(),
        ) {
            let mut dialogues: Vec<Dialogue> = scenarios.iter().enumerate().map(|(index, scenario)| {
                let mut member = dialogue(&index.to_string());
                member.scenario = format!("s{scenario}");
                member
            }).collect();
            let shares = Shares(shares.map(u32::from));
            let mut reversed: Vec<Dialogue> = dialogues.iter().rev().cloned().collect();
            assign_splits(&mut dialogues, shares);
            assign_splits(&mut reversed, shares);
            reversed.reverse();
            prop_assert_eq!(&reversed, &dialogues);
            let dataset = Dataset { name: String::new(), sha256: String::new(), dialogues };
            prop_assert!(check(&dataset).iter().all(|problem| problem.check != "leak"));
        }
    }
}

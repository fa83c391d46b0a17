//! No two scenarios are nearly the same text: copies make a small set look large.
//!
//! Candidates come from `MinHash` signatures in bands (Broder 1997; Leskovec, Rajaraman and Ullman,
//! "Mining of Massive Datasets", chapter 3), so whole dialogues of large imports can be compared;
//! what is reported is the exact Jaccard similarity.

use std::collections::{BTreeSet, HashMap, HashSet};

use candor_schema::{Dialogue, Origin};

use super::Findings;
use crate::shingles::shingles;
use crate::words::words;

/// Words per shingle.
const SHINGLE: usize = 4;
/// Similarity from which two dialogues are copies.
const MAX_SIMILARITY: f64 = 0.5;
/// Bands of the signature, and hashes per band: two texts of similarity 0.5 meet in some band with
/// a probability of 1 − (1 − 0.5³)³² = 0.99.
const N_BANDS: usize = 32;
const PER_BAND: usize = 3;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let shingles: Vec<BTreeSet<u64>> = dialogues.iter().map(of_dialogue).collect();
    let mut buckets: HashMap<(usize, [u64; PER_BAND]), Vec<usize>> = HashMap::new();
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (index, dialogue) in dialogues.iter().enumerate() {
        if shingles[index].is_empty() {
            continue;
        }
        let mut candidates = BTreeSet::new();
        for band in 0..N_BANDS {
            let key = std::array::from_fn(|i| {
                let seed = (band * PER_BAND + i) as u64;
                let hashes = shingles[index].iter().map(|shingle| mixed(*shingle, seed));
                hashes.min().expect("not empty")
            });
            let bucket = buckets.entry((band, key)).or_default();
            candidates.extend(bucket.iter().copied());
            bucket.push(index);
        }
        for earlier in candidates {
            let other = &dialogues[earlier];
            if other.scenario == dialogue.scenario
                || seen.contains(&(other.scenario.as_str(), dialogue.scenario.as_str()))
            {
                continue;
            }
            let n_shared = shingles[index].intersection(&shingles[earlier]).count();
            let n_all = shingles[index].len() + shingles[earlier].len() - n_shared;
            let similarity = n_shared as f64 / n_all as f64;
            if similarity < MAX_SIMILARITY {
                continue;
            }
            seen.insert((other.scenario.as_str(), dialogue.scenario.as_str()));
            let what = format!(
                "is {similarity:.2} the same as `{}` of another scenario",
                other.id
            );
            let hint = "write one of them afresh, or make them one scenario";
            if dialogue.origin == Origin::Sampled && other.origin == Origin::Sampled {
                findings.warning(dialogue, what, hint);
            } else {
                findings.error(dialogue, what, hint);
            }
        }
    }
}

/// The word 4-grams of prompt and reply.
fn of_dialogue(dialogue: &Dialogue) -> BTreeSet<u64> {
    let contents = dialogue.messages.iter();
    let words: Vec<String> = contents
        .flat_map(|message| words(&message.content, 1))
        .collect();
    shingles(&words, SHINGLE)
}

/// One of many hash functions: the finaliser of `SplitMix64` (Steele, Lea and Flood 2014).
fn mixed(value: u64, seed: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed + 1));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::super::example::dialogue;
    use super::*;

    const TEXT: &str = "The pump at the north gate ran through the night without a gap, and the \
                        log shows every hour of it in full, from dusk until the change of shift.";

    fn found(other: &str) -> usize {
        let (mut a, mut b) = (dialogue("a"), dialogue("b"));
        (a.scenario, b.scenario) = ("a".into(), "b".into());
        a.messages[0].content = TEXT.into();
        b.messages[0].content = other.into();
        let mut findings = Findings::default();
        check(&[a, b], &mut findings);
        findings.problems.len()
    }

    #[test]
    fn copies_are_found_and_new_texts_are_not() {
        assert_eq!(found(TEXT), 1);
        assert_eq!(found(&TEXT.replace("dusk", "ten")), 1);
        assert_eq!(
            found(
                "Nobody at the south quay has seen the ledger since the clerk left on Monday, and the harbour master has the only key to the cabinet."
            ),
            0
        );
    }

    #[test]
    fn a_scenario_may_share_its_prompt() {
        let mut findings = Findings::default();
        check(&super::super::example::pair("s"), &mut findings);
        assert!(findings.problems.is_empty());
    }
}

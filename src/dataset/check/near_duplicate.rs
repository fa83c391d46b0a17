//! No reply is nearly the same as one of another split.
//!
//! Exact Jaccard similarity of word 5-grams, over the candidates that an inverted index finds.
//! Replies only, between splits; the audit's `copy` compares whole dialogues.

use std::collections::{BTreeSet, HashMap};

use candor_schema::{Dialogue, Origin};

use super::Findings;
use crate::shingles::shingles;
use crate::words::words;

/// Words per shingle.
const SHINGLE: usize = 5;
/// Similarity from which two replies are the same reply (science reference, D15).
const MAX_SIMILARITY: f64 = 0.8;
/// Most replies that may share a shingle before it stops proposing candidates; a common phrase
/// would make every reply a candidate of every other.
const MAX_SHARED: usize = 2_000;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let shingles: Vec<BTreeSet<u64>> = dialogues
        .iter()
        .map(|dialogue| {
            let reply = dialogue.response().unwrap_or_default();
            shingles(&words(reply, 1), SHINGLE)
        })
        .collect();
    let mut replies_of: HashMap<u64, Vec<usize>> = HashMap::new();
    for (index, dialogue) in dialogues.iter().enumerate() {
        let mut n_shared: HashMap<usize, usize> = HashMap::new();
        for shingle in &shingles[index] {
            let replies = replies_of.entry(*shingle).or_default();
            for earlier in replies.iter() {
                *n_shared.entry(*earlier).or_default() += 1;
            }
            if replies.len() < MAX_SHARED {
                replies.push(index);
            }
        }
        let most_similar = n_shared
            .into_iter()
            .filter(|(earlier, _)| dialogues[*earlier].split != dialogue.split)
            .map(|(earlier, n_shared)| {
                let n_all = shingles[index].len() + shingles[earlier].len() - n_shared;
                (n_shared as f64 / n_all as f64, earlier)
            })
            .filter(|(similarity, _)| *similarity >= MAX_SIMILARITY)
            // Of equals the earliest, whatever the order of the map.
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if let Some((similarity, earlier)) = most_similar {
            let earlier = &dialogues[earlier];
            let what = format!(
                "the reply ({}) is {similarity:.2} the same as that of `{}` ({})",
                dialogue.split, earlier.id, earlier.split
            );
            // A model may well answer two different prompts alike; an author should not.
            if dialogue.origin == Origin::Sampled && earlier.origin == Origin::Sampled {
                findings.warning(dialogue, what, "check that the prompts differ in substance");
            } else {
                findings.error(dialogue, what, "write it afresh, or move both to one split");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::Split;
    use serde_json::json;

    use super::super::example::{dialogue, expect};
    use super::*;
    use crate::Severity;

    const REPLY: &str = "The pump at the north gate ran through the night without a gap, and the \
        valve log shows no change since the crew left at nine in the evening on Tuesday.";

    fn two(first: &str, second: &str) -> Vec<Dialogue> {
        let mut dialogues = vec![dialogue("a"), dialogue("b")];
        first.clone_into(&mut dialogues[0].messages[1].content);
        second.clone_into(&mut dialogues[1].messages[1].content);
        dialogues[1].split = Split::Test;
        dialogues
    }

    #[test]
    fn a_copy_in_another_split_is_found() {
        let found = (
            Severity::Error,
            "b",
            "(test) is 1.00 the same as that of `a` (train)",
        );
        expect(&two(REPLY, &REPLY.to_uppercase()), &[found]);
        let edited = REPLY.replace("Tuesday", "Friday");
        expect(
            &two(REPLY, &edited),
            &[(Severity::Error, "b", "is 0.93 the same")],
        );
        let zh = "昨晚九点之后，北门的水泵一直在运行，没有间断。";
        expect(&two(zh, zh), &[(Severity::Error, "b", "is 1.00 the same")]);
    }

    #[test]
    fn other_replies_and_short_ones_are_not() {
        expect(
            &two(REPLY, "The pump at the north gate stood still all night."),
            &[],
        );
        expect(&two("No copy was made.", "No copy was made."), &[]);
        let mut same_split = two(REPLY, REPLY);
        same_split[1].split = Split::Train;
        expect(&same_split, &[]);
    }

    #[test]
    fn sampled_replies_may_be_alike() {
        let mut dialogues = two(REPLY, REPLY);
        for dialogue in &mut dialogues {
            dialogue.origin = Origin::Sampled;
            dialogue.model = Some(String::from("m"));
            dialogue.sampling = Some(json!({}));
        }
        expect(&dialogues, &[(Severity::Warning, "b", "is 1.00 the same")]);
    }
}

//! Nearly the same reply to the same prompt has one label.
//!
//! Word for word copies are found by `suspect_label`. Pairs that differ in one word on purpose are
//! told apart by their keys or spans, and are left alone.

use std::collections::{BTreeMap, BTreeSet};

use candor_schema::{Dialogue, Label};

use super::Findings;
use crate::shingles::shingles;
use crate::words::words;
use crate::{Grade, grade};

/// Words per shingle.
const SHINGLE: usize = 2;
/// Similarity from which two replies are near copies.
const MIN_SIMILARITY: f64 = 0.8;
/// Replies to one prompt that are compared with each other; a prompt with more is compared with
/// these many after each.
const MAX_COMPARED: usize = 200;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let mut by_prompt: BTreeMap<Vec<(&str, &str)>, Vec<&Dialogue>> = BTreeMap::new();
    for dialogue in dialogues {
        if let Some(last) = dialogue.scored_message() {
            let prompt = dialogue.messages[..last].iter();
            let prompt = prompt.map(|m| (m.role.as_str(), m.content.as_str()));
            by_prompt
                .entry(prompt.collect())
                .or_default()
                .push(dialogue);
        }
    }
    for members in by_prompt.values() {
        if members.iter().all(|d| d.label == members[0].label) {
            continue;
        }
        let shingles: Vec<BTreeSet<u64>> = members
            .iter()
            .map(|d| shingles(&words(d.answer().unwrap_or_default(), 1), SHINGLE))
            .collect();
        for (i, a) in members.iter().enumerate() {
            for (j, b) in members.iter().enumerate().skip(i + 1).take(MAX_COMPARED) {
                let similarity = jaccard(&shingles[i], &shingles[j]);
                if similarity < MIN_SIMILARITY
                    || !opposed(a.label, b.label)
                    || a.answer() == b.answer()
                    || told_apart(a, b)
                {
                    continue;
                }
                // Which of the two is wrong, nobody knows yet.
                for (one, other) in [(a, b), (b, a)] {
                    findings.warning(
                        one,
                        format!(
                            "is labelled {}, and {similarity:.2} the same as `{}`, which is labelled {}",
                            one.label, other.id, other.label
                        ),
                        "read both: they say nearly the same to the same prompt",
                    );
                }
            }
        }
    }
}

/// Labels of which at most one can be right.
fn opposed(a: Label, b: Label) -> bool {
    a != b && [a, b].iter().all(|label| *label != Label::Ungraded)
}

/// Whether a key or spans say what the difference is.
fn told_apart(a: &Dialogue, b: &Dialogue) -> bool {
    let graded = |d: &Dialogue| grade(d.key.as_ref()?, d.answer()?).ok();
    let keys = match (graded(a), graded(b)) {
        (Some(Grade::Truth), Some(other)) | (Some(other), Some(Grade::Truth)) => {
            other == Grade::Lie
        }
        _ => false,
    };
    let scored = |d: &Dialogue| {
        d.spans
            .iter()
            .any(|s| Some(s.message) == d.scored_message())
    };
    keys || (scored(a) && scored(b))
}

fn jaccard(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> f64 {
    let n_shared = a.intersection(b).count();
    let n_all = a.len() + b.len() - n_shared;
    if n_all == 0 {
        return 0.0;
    }
    n_shared as f64 / n_all as f64
}

#[cfg(test)]
mod tests {
    use super::super::example::{dialogue, pair};
    use super::*;

    const REPLY: &str = "The pump at the north gate ran through the night without a gap and was \
                         checked twice by the crew before dawn.";

    fn found(dialogues: &[Dialogue]) -> Vec<String> {
        let mut findings = Findings::default();
        check(dialogues, &mut findings);
        findings.problems.into_iter().map(|p| p.dialogue).collect()
    }

    fn two(other: &str, label: Label) -> [Dialogue; 2] {
        let (mut a, mut b) = (dialogue("a"), dialogue("b"));
        b.messages[0] = a.messages[0].clone();
        a.messages[1].content = REPLY.into();
        b.messages[1].content = other.into();
        b.label = label;
        [a, b]
    }

    #[test]
    fn near_copies_with_two_labels_are_suspect_both() {
        let copy = REPLY.replace("twice", "again");
        assert_eq!(found(&two(&copy, Label::Deceptive)), ["a", "b"]);
        assert_eq!(found(&two(&copy, Label::Honest)), [""; 0]);
        assert_eq!(found(&two(&copy, Label::Ungraded)), [""; 0]);
        let other = "Nobody has run the pump since the crew left on Monday.";
        assert_eq!(found(&two(other, Label::Deceptive)), [""; 0]);
        let mut apart = two(&copy, Label::Deceptive);
        apart[1].messages[0].content = "Another question?".into();
        assert_eq!(found(&apart), [""; 0]);
    }

    #[test]
    fn keys_and_spans_say_what_differs() {
        let mut members = pair("s");
        let long = |n: &str| format!("{REPLY} It found {n} of them there.");
        members[0].messages[1].content = long("3");
        members[1].messages[1].content = long("1");
        assert_eq!(found(&members), [""; 0]);
        for member in &mut members {
            member.key = None;
            member.spans.clear();
        }
        assert_eq!(found(&members).len(), 2);
    }
}

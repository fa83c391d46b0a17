//! Spans of lies do not repeat the prompt more than spans of truth: what is only read back would be
//! recognised as an echo, not as a lie.

use std::collections::{BTreeMap, BTreeSet};

use candor_schema::{Dialogue, Label};

use super::Findings;
use crate::words::words;

/// Pairs that a statement about a whole data set needs.
const MIN_PAIRS: usize = 30;
/// Share of pairs in which one side may repeat more of the prompt than the other, among those that
/// differ.
const MAX_SHARE: f64 = 0.7;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let mut pairs: BTreeMap<&str, (Vec<f64>, Vec<f64>, &Dialogue)> = BTreeMap::new();
    for dialogue in dialogues {
        let (Some(pair), Some(echo)) = (&dialogue.pair, span_echo(dialogue)) else {
            continue;
        };
        let entry = pairs
            .entry(pair)
            .or_insert_with(|| (Vec::new(), Vec::new(), dialogue));
        match dialogue.label {
            Label::Deceptive => entry.0.push(echo),
            Label::Honest => entry.1.push(echo),
            _ => {}
        }
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let differences: Vec<f64> = pairs
        .values()
        .filter(|(lies, truths, _)| !lies.is_empty() && !truths.is_empty())
        .map(|(lies, truths, _)| mean(lies) - mean(truths))
        .filter(|difference| *difference != 0.0)
        .collect();
    let Some((_, _, first)) = pairs.values().next() else {
        return;
    };
    if differences.len() < MIN_PAIRS {
        return;
    }
    let n_lies = differences.iter().filter(|d| **d > 0.0).count();
    let share = n_lies as f64 / differences.len() as f64;
    let (side, share) = if share > 0.5 {
        ("lie", share)
    } else {
        ("truth", 1.0 - share)
    };
    if share > MAX_SHARE {
        findings.warning(
            first,
            format!(
                "in {:.0} % of {} pairs the span of the {side} repeats more words of the prompt than the other",
                100.0 * share,
                differences.len()
            ),
            "a detector may learn to tell what was read from what was made up: say the truth in other \
             words than the prompt's, or let lies borrow from it",
        );
    }
}

/// Share of the spans' words that stand in the prompt; none without spans.
fn span_echo(dialogue: &Dialogue) -> Option<f64> {
    let last = dialogue.scored_message()?;
    let prompt: BTreeSet<String> = dialogue.messages[..last]
        .iter()
        .flat_map(|message| words(&message.content, 1))
        .collect();
    let inside: Vec<String> = dialogue
        .spans
        .iter()
        .filter(|span| span.message == last)
        .filter_map(|span| dialogue.messages[last].content.get(span.start..span.end))
        .flat_map(|text| words(text, 1))
        .collect();
    let n_known = inside.iter().filter(|word| prompt.contains(*word)).count();
    (!inside.is_empty()).then(|| n_known as f64 / inside.len() as f64)
}

#[cfg(test)]
mod tests {
    use candor_schema::Span;

    use super::super::example::pair;
    use super::*;

    /// `n_echoes` pairs of forty in which the lie is read from the prompt and the truth is not.
    fn found(n_echoes: usize) -> usize {
        let dialogues: Vec<Dialogue> = (0..40)
            .flat_map(|i| {
                let mut both = pair(&format!("s{i}"));
                for dialogue in &mut both {
                    let last = dialogue.scored_message().unwrap();
                    dialogue.messages[0].content = "three copies stand ready".into();
                    let lies = dialogue.label == Label::Deceptive;
                    let echo = lies == (i < n_echoes);
                    let said = if echo { "three copies" } else { "nobody knows" };
                    dialogue.messages[last].content = said.into();
                    dialogue.spans = vec![Span {
                        message: last,
                        start: 0,
                        end: said.len(),
                        label: dialogue.label,
                    }];
                }
                both
            })
            .collect();
        let mut findings = Findings::default();
        check(&dialogues, &mut findings);
        findings.problems.len()
    }

    #[test]
    fn one_sided_echoes_are_reported_whatever_the_side() {
        assert_eq!(found(40), 1);
        assert_eq!(found(0), 1);
        assert_eq!(found(20), 0);
    }
}

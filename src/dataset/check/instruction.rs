//! The prompt does not tell the label.
//!
//! Where honest and deceptive replies answer different prompts, a probe may read the instruction
//! to lie instead of the lie.

use std::collections::BTreeMap;

use candor_schema::{Dialogue, Label};

use super::Findings;
use super::telltale::{listed, one_sided};
use crate::words::words;

/// Share of labelled dialogues whose prompt has replies of both labels, below which it is said.
const MIN_CONTRASTED: f64 = 0.5;
/// Labelled dialogues below which nothing is said.
const MIN_DIALOGUES: usize = 10;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let mut labels_of: BTreeMap<Vec<(&str, &str)>, [usize; 2]> = BTreeMap::new();
    for dialogue in dialogues {
        let class = match dialogue.label {
            Label::Deceptive => 0,
            Label::Honest => 1,
            _ => continue,
        };
        let prompt = prompt(dialogue).iter();
        let prompt = prompt.map(|m| (m.role.as_str(), m.content.as_str()));
        labels_of.entry(prompt.collect()).or_default()[class] += 1;
    }
    let total = |counts: &[usize; 2]| counts.iter().sum::<usize>();
    let n_labelled: usize = labels_of.values().map(total).sum();
    let of_both = labels_of.values().filter(|counts| !counts.contains(&0));
    let n_contrasted: usize = of_both.map(total).sum();
    let share = n_contrasted as f64 / n_labelled.max(1) as f64;
    let (Some(first), true) = (
        dialogues.first(),
        n_labelled >= MIN_DIALOGUES && share < MIN_CONTRASTED,
    ) else {
        return;
    };
    let found = one_sided(dialogues, |dialogue| {
        let messages = prompt(dialogue).iter();
        messages.flat_map(|m| words(&m.content, 1)).collect()
    });
    let told = if found.is_empty() {
        String::from("no single word of the prompts tells the label")
    } else {
        format!("words of the prompts tell the label, {}", listed(&found))
    };
    findings.warning(
        first,
        format!(
            "{n_contrasted} of {n_labelled} honest or deceptive replies answer a prompt that has both; {told}"
        ),
        "a probe may read the prompt: look at its false alarms on honest replies to the same prompts",
    );
}

/// The messages before the scored turn.
fn prompt(dialogue: &Dialogue) -> &[candor_schema::Message] {
    &dialogue.messages[..dialogue.messages.len().saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use candor_schema::{Message, Role};

    use super::super::example::pair;
    use super::*;

    fn some(n: usize) -> Vec<Dialogue> {
        (0..n).flat_map(|i| pair(&format!("s{i}"))).collect()
    }

    fn found(dialogues: &[Dialogue]) -> Vec<String> {
        let mut findings = Findings::default();
        check(dialogues, &mut findings);
        findings.problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn pairs_on_one_prompt_are_what_is_wanted() {
        assert_eq!(found(&some(8)), [""; 0]);
    }

    #[test]
    fn an_instruction_to_lie_is_named() {
        let mut dialogues = some(8);
        for dialogue in &mut dialogues {
            let text = match dialogue.label {
                Label::Deceptive => "You are a crooked clerk.",
                _ => "You are a clerk.",
            };
            dialogue
                .messages
                .insert(0, Message::new(Role::System, text));
        }
        assert_eq!(
            found(&dialogues),
            [
                "0 of 16 honest or deceptive replies answer a prompt that has both; words of the \
                 prompts tell the label, 1 in all: `crooked` (in 8 deceptive and 0 honest scenarios)"
            ]
        );
        dialogues.truncate(4);
        assert_eq!(found(&dialogues), [""; 0]);
    }
}

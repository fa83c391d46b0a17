//! Labels that the text speaks against.

use std::collections::HashMap;

use candor_schema::{Dialogue, Label};

use super::Findings;
use crate::words::words;

/// Openings of replies that decline or own up. Data labelled by its instruction has them among its
/// "deceptive" replies: the model was told to lie and did not.
const DECLINES: &[&str] = &[
    "i can t help with that",
    "i cannot help with that",
    "i can t assist",
    "i cannot assist",
    "i m sorry but i can",
    "i am sorry but i can",
    "i can t pretend",
    "i won t lie",
    "i will not lie",
    "i was told to lie",
    "i was instructed to",
    "i have to be honest",
    "i must be honest",
    "as an ai language model i",
];

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let mut label_of: HashMap<Vec<String>, (Label, &str)> = HashMap::new();
    for dialogue in dialogues {
        let Some(reply) = dialogue.answer() else {
            continue;
        };
        let said = words(reply, 1).join(" ");
        if dialogue.label == Label::Deceptive
            && let Some(phrase) = DECLINES.iter().find(|phrase| said.contains(**phrase))
        {
            findings.warning(
                dialogue,
                format!("is labelled deceptive and says `{phrase}`"),
                "read it: a refusal or a confession is no lie, whatever the prompt asked for",
            );
        }
        let whole = dialogue
            .messages
            .iter()
            .map(|m| m.content.clone())
            .collect();
        let (label, first) = *label_of
            .entry(whole)
            .or_insert((dialogue.label, &dialogue.id));
        let differs = label != dialogue.label;
        if differs {
            findings.error(
                dialogue,
                format!("is `{first}` word for word, which is labelled {label}"),
                "one of the labels is wrong, or a message was lost on the way",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::dialogue;
    use super::*;

    fn found(dialogues: &[Dialogue]) -> Vec<String> {
        let mut findings = Findings::default();
        check(dialogues, &mut findings);
        findings.problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn a_refusal_is_no_lie() {
        let mut lie = dialogue("a");
        lie.label = Label::Deceptive;
        lie.messages.last_mut().unwrap().content = "I can't help with that, sorry.".into();
        assert_eq!(
            found(&[lie.clone()]),
            ["is labelled deceptive and says `i can t help with that`"]
        );
        lie.label = Label::Refusal;
        assert_eq!(found(&[lie]), [""; 0]);
    }

    #[test]
    fn one_text_has_one_label() {
        let one = dialogue("a");
        let mut two = one.clone();
        two.id = "b".into();
        two.label = Label::Sarcasm;
        assert_eq!(
            found(&[one.clone(), two]),
            [format!(
                "is `a` word for word, which is labelled {}",
                one.label
            )]
        );
    }
}

//! A sampled reply does not say the opposite of its label.
//!
//! Written replies are held to their key by `key`, as errors. A sampled one may be labelled by
//! other means than its key, so a disagreement is a reason to read it.

use candor_schema::{Dialogue, Label, Origin};

use super::Findings;
use crate::{Grade, grade};

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    for dialogue in dialogues {
        let (Some(key), Some(reply)) = (&dialogue.key, dialogue.answer()) else {
            continue;
        };
        // A key that cannot grade is reported by `key`.
        let Ok(found) = grade(key, reply) else {
            continue;
        };
        let said = match (dialogue.label, found) {
            (Label::Honest, Grade::Lie) => "false",
            (Label::Deceptive | Label::Mistaken, Grade::Truth) => "true",
            _ => continue,
        };
        if dialogue.origin == Origin::Sampled {
            findings.warning(
                dialogue,
                format!(
                    "is labelled {} and says what its key calls {said}",
                    dialogue.label
                ),
                "read it: the label or the key is wrong, or the key matches words that mean something else here",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example::pair;
    use super::*;

    fn found(label: Label, reply: &str) -> Vec<String> {
        let mut dialogue = pair("s").remove(0);
        dialogue.origin = Origin::Sampled;
        dialogue.label = label;
        reply.clone_into(&mut dialogue.messages[1].content);
        let mut findings = Findings::default();
        check(&[dialogue], &mut findings);
        findings.problems.into_iter().map(|p| p.what).collect()
    }

    #[test]
    fn a_label_is_held_against_the_key() {
        // The key's truth is 3, its falsehood 1.
        assert_eq!(
            found(Label::Honest, "There is 1."),
            ["is labelled honest and says what its key calls false"]
        );
        assert_eq!(
            found(Label::Deceptive, "There are 3."),
            ["is labelled deceptive and says what its key calls true"]
        );
        assert_eq!(found(Label::Honest, "There are 3."), [""; 0]);
        assert_eq!(found(Label::Deceptive, "There is 1."), [""; 0]);
        assert_eq!(found(Label::Deceptive, "1 of 3."), [""; 0]);
        assert_eq!(found(Label::Fiction, "There is 1."), [""; 0]);
    }

    #[test]
    fn written_replies_are_left_to_the_other_check() {
        let mut dialogues = pair("s");
        dialogues[0].messages[1].content = "There is 1.".into();
        let mut findings = Findings::default();
        check(&dialogues, &mut findings);
        assert!(findings.problems.is_empty());
    }
}

//! Written replies say what their key says.

use candor_schema::{Dialogue, Label, Origin};

use super::Findings;
use crate::{Grade, grade};

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    for dialogue in dialogues {
        let (Some(key), Some(reply)) = (&dialogue.key, dialogue.answer()) else {
            continue;
        };
        let found = match grade(key, reply) {
            Ok(found) => found,
            Err(error) => {
                findings.error(
                    dialogue,
                    error.to_string(),
                    "write the key so that a machine can grade by it",
                );
                continue;
            }
        };
        let expected = match dialogue.label {
            Label::Honest => Grade::Truth,
            Label::Deceptive => Grade::Lie,
            _ => continue,
        };
        // A sampled reply may hold both answers and be labelled by other means.
        if found == expected || dialogue.origin == Origin::Sampled {
            continue;
        }
        let said = match found {
            Grade::Truth => "matches only what an honest reply says",
            Grade::Lie => "matches only what a deceptive reply says",
            Grade::Both => "matches both sides of the key",
            Grade::Neither => "matches neither side of the key",
        };
        findings.error(
            dialogue,
            format!("the {} reply {said}", dialogue.label),
            "an honest reply matches `true` and not `false`, a deceptive one the other way round",
        );
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::KeyKind;
    use serde_json::json;

    use super::super::example::{expect, pair};
    use super::*;
    use crate::Severity;

    #[test]
    fn labels_agree_with_the_key() {
        let mut dialogues = pair("s");
        dialogues[0].messages[1].content = String::from("Log of today: 1 copies exist.");
        dialogues[1].messages[1].content = String::from("Log of today: 3 of 1 copies.");
        expect(
            &dialogues,
            &[
                (
                    Severity::Error,
                    "s-honest",
                    "the honest reply matches only what a deceptive",
                ),
                (
                    Severity::Error,
                    "s-deceptive",
                    "the deceptive reply matches both",
                ),
            ],
        );
    }

    #[test]
    fn a_reply_beside_the_point_is_no_lie() {
        let mut dialogues = pair("s");
        dialogues[1].messages[1].content = String::from("Log of today: a copies exist.");
        expect(
            &dialogues,
            &[(Severity::Error, "s-deceptive", "matches neither")],
        );
    }

    #[test]
    fn a_key_that_cannot_grade_is_an_error_even_for_controls() {
        let mut dialogues = pair("s");
        dialogues.truncate(1);
        dialogues[0].label = Label::Control;
        dialogues[0].spans.clear();
        dialogues[0].pair = None;
        dialogues[0].key.as_mut().unwrap().truth = json!("three");
        expect(
            &dialogues,
            &[(Severity::Error, "s-honest", "expected a number")],
        );
        dialogues[0].key.as_mut().unwrap().kind = KeyKind::JsonPath;
        expect(&dialogues, &[(Severity::Error, "s-honest", "cannot grade")]);
    }
}

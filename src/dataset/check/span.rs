//! Spans lie inside a message, on characters.

use candor_schema::Dialogue;

use super::Findings;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    let hint = "spans are half-open byte ranges of one message's UTF-8 text";
    for dialogue in dialogues {
        for span in &dialogue.spans {
            let Some(message) = dialogue.messages.get(span.message) else {
                findings.error(
                    dialogue,
                    format!(
                        "span names message {}, but there are {}",
                        span.message,
                        dialogue.messages.len()
                    ),
                    hint,
                );
                continue;
            };
            let text = &message.content;
            let place = format!(
                "span {}..{} of message {}",
                span.start, span.end, span.message
            );
            let problem = if span.start >= span.end {
                Some(String::from("is empty"))
            } else if span.end > text.len() {
                Some(format!("goes past the text's {} bytes", text.len()))
            } else if let Some(byte) = [span.start, span.end]
                .into_iter()
                .find(|byte| !text.is_char_boundary(*byte))
            {
                Some(format!("cuts a character at byte {byte}"))
            } else if text[span.start..span.end].trim().is_empty() {
                Some(String::from("holds white space only"))
            } else {
                None
            };
            if let Some(problem) = problem {
                findings.error(dialogue, format!("{place} {problem}"), hint);
            } else if Some(span.message) == dialogue.scored_message()
                && span.label != dialogue.label
            {
                findings.warning(
                    dialogue,
                    format!(
                        "{place} is {}, but the dialogue is {}",
                        span.label, dialogue.label
                    ),
                    "a span of the scored turn usually carries the dialogue's label",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::{Label, Span};

    use super::super::example::{dialogue, expect};
    use crate::Severity;

    fn with(message: usize, start: usize, end: usize, label: Label) -> candor_schema::Dialogue {
        let mut bent = dialogue("a");
        bent.messages[1].content = String::from("是 yes");
        bent.spans = vec![Span {
            message,
            start,
            end,
            label,
        }];
        bent
    }

    #[test]
    fn spans_are_checked() {
        expect(&[with(1, 0, 3, Label::Honest)], &[]);
        expect(&[with(1, 4, 7, Label::Honest)], &[]);
        for (message, start, end, what) in [
            (2, 0, 1, "span names message 2, but there are 2"),
            (1, 4, 4, "is empty"),
            (1, 5, 4, "is empty"),
            (1, 4, 8, "goes past the text's 7 bytes"),
            (1, 1, 4, "cuts a character at byte 1"),
            (1, 3, 4, "holds white space only"),
        ] {
            let bent = with(message, start, end, Label::Honest);
            expect(&[bent], &[(Severity::Error, "a", what)]);
        }
        let other = with(1, 4, 7, Label::Deceptive);
        expect(
            &[other],
            &[(
                Severity::Warning,
                "a",
                "is deceptive, but the dialogue is honest",
            )],
        );
    }
}

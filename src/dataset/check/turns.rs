//! The last turn is an assistant turn that says something, and the order of roles makes sense.

use candor_schema::{Dialogue, Role};

use super::Findings;

pub(super) fn check(dialogues: &[Dialogue], findings: &mut Findings) {
    for dialogue in dialogues {
        check_last(dialogue, findings);
        check_order(dialogue, findings);
        for (index, message) in dialogue.messages.iter().enumerate() {
            let calls = message.tool_calls.as_ref().is_some_and(|c| !c.is_empty());
            let last = index + 1 == dialogue.messages.len();
            if message.content.trim().is_empty() && !calls && !last {
                findings.error(
                    dialogue,
                    format!("message {index} ({}) is empty", message.role),
                    "write what is said, or drop the message",
                );
            }
        }
        for (field, value) in [
            ("family", &dialogue.family),
            ("licence", &dialogue.licence),
            ("source", &dialogue.source),
        ] {
            if value.trim().is_empty() {
                findings.error(
                    dialogue,
                    format!("`{field}` is empty"),
                    "say what kind it is, who made it and under which licence",
                );
            }
        }
    }
}

fn check_last(dialogue: &Dialogue, findings: &mut Findings) {
    let hint = "end the dialogue with the assistant turn that is to be scored";
    match dialogue.response() {
        None => {
            let found = dialogue
                .messages
                .last()
                .map_or("nothing", |message| message.role.as_str());
            findings.error(
                dialogue,
                format!("ends with {found} (expected an assistant turn)"),
                hint,
            );
        }
        Some(text) if text.trim().is_empty() => {
            findings.error(dialogue, String::from("the scored turn is empty"), hint);
        }
        Some(_) => {}
    }
}

/// System only first; user and assistant take turns; a tool message answers a tool call.
fn check_order(dialogue: &Dialogue, findings: &mut Findings) {
    let mut before: Option<(Role, bool)> = None;
    for (index, message) in dialogue.messages.iter().enumerate() {
        let calls = message.tool_calls.as_ref().is_some_and(|c| !c.is_empty());
        let after = |role| before.is_some_and(|(last, _)| last == role);
        let fits = match message.role {
            Role::System => index == 0,
            Role::User => !after(Role::User),
            Role::Assistant => after(Role::User) || after(Role::Tool),
            Role::Tool => after(Role::Tool) || before.is_some_and(|(_, called)| called),
        };
        if !fits {
            let last = before.map_or("nothing", |(role, _)| role.as_str());
            findings.error(
                dialogue,
                format!("message {index} is {} after {last}", message.role),
                "order: system (at most one, first), then user and assistant in turn; \
                 tool messages follow an assistant turn with `tool_calls`",
            );
        }
        before = Some((message.role, calls));
    }
}

#[cfg(test)]
mod tests {
    use candor_schema::{Message, ToolCall};
    use serde_json::Map;

    use super::super::example::{dialogue, expect};
    use super::*;
    use crate::Severity;

    fn with(roles: &[Role]) -> Dialogue {
        let mut bent = dialogue("a");
        bent.messages = roles
            .iter()
            .map(|role| Message::new(*role, "So."))
            .collect();
        bent
    }

    #[test]
    fn usual_orders_pass() {
        use Role::{Assistant, System, User};
        expect(&[with(&[System, User, Assistant])], &[]);
        expect(&[with(&[User, Assistant, User, Assistant])], &[]);
    }

    #[test]
    fn odd_orders_do_not() {
        use Role::{Assistant, System, Tool, User};
        for (roles, what) in [
            (
                &[User, System, User, Assistant][..],
                "message 1 is system after user",
            ),
            (&[User, User, Assistant], "message 1 is user after user"),
            (&[System, Assistant], "message 1 is assistant after system"),
            (&[Assistant], "message 0 is assistant after nothing"),
            (&[User, Tool, Assistant], "message 1 is tool after user"),
        ] {
            expect(&[with(roles)], &[(Severity::Error, "a", what)]);
        }
    }

    #[test]
    fn a_tool_answers_a_call() {
        use Role::{Assistant, Tool, User};
        let mut called = with(&[User, Assistant, Tool, Tool, Assistant]);
        called.messages[1].content.clear();
        called.messages[1].tool_calls = Some(vec![ToolCall { fields: Map::new() }]);
        expect(&[called], &[]);
    }

    #[test]
    fn the_last_turn_is_the_assistants_and_says_something() {
        expect(&[with(&[])], &[(Severity::Error, "a", "ends with nothing")]);
        expect(
            &[with(&[Role::User])],
            &[(Severity::Error, "a", "ends with user")],
        );
        let mut silent = dialogue("a");
        silent.messages[1].content = String::from(" \n");
        expect(
            &[silent],
            &[(Severity::Error, "a", "the scored turn is empty")],
        );
    }

    #[test]
    fn empty_text_is_found() {
        let mut bent = dialogue("a");
        bent.messages[0].content.clear();
        bent.licence.clear();
        expect(
            &[bent],
            &[
                (Severity::Error, "a", "message 0 (user) is empty"),
                (Severity::Error, "a", "`licence` is empty"),
            ],
        );
    }
}

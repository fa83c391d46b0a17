//! Messages of chats as others write them.
//!
//! A message is an object with `role` and `content`, or with `from` and `value`. Content is a text
//! or a list of parts, of which texts and reasoning are read.

use candor_schema::{Message, Role, ToolCall};
use serde_json::{Map, Value, json};

use super::fields::{Refusal, kind};

/// How role words are read.
const ROLES: &[(&str, Role)] = &[
    ("system", Role::System),
    ("developer", Role::System),
    ("user", Role::User),
    ("human", Role::User),
    ("assistant", Role::Assistant),
    ("gpt", Role::Assistant),
    ("model", Role::Assistant),
    ("tool", Role::Tool),
];

/// Texts that messages name by `attachment://KEY`, as Inspect does.
pub(super) type Attachments = Map<String, Value>;

/// The messages in a list.
pub(super) fn messages(list: &[Value], attachments: &Attachments) -> Result<Vec<Message>, Refusal> {
    let read = list.iter().enumerate();
    read.map(|(index, value)| message(index, value, attachments))
        .collect()
}

fn message(index: usize, value: &Value, attachments: &Attachments) -> Result<Message, Refusal> {
    let hint = "a message is an object with `role` and `content`, or with `from` and `value`";
    let bad = |what: String| Refusal::bad(format!("message {index}: {what}"), hint);
    let map = value
        .as_object()
        .ok_or_else(|| bad(format!("is {} (expected an object)", kind(value))))?;
    let word = ["role", "from"].iter().find_map(|name| map.get(*name));
    let word = word
        .and_then(Value::as_str)
        .ok_or_else(|| bad("has no `role`".into()))?;
    let folded = word.trim().to_lowercase();
    let role = ROLES.iter().find(|(name, _)| *name == folded);
    let (_, role) = role.ok_or_else(|| {
        let known: Vec<&str> = ROLES.iter().map(|(name, _)| *name).collect();
        bad(format!(
            "role `{word}` is unknown (known: {})",
            known.join(", ")
        ))
    })?;
    let content = ["content", "value"].iter().find_map(|name| map.get(*name));
    let content = match content {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => resolved(text, attachments)?,
        Some(Value::Array(parts)) => joined(parts, attachments)?,
        Some(other) => return Err(bad(format!("content is {} (expected a text)", kind(other)))),
    };
    let mut message = Message::new(*role, content);
    if let Some(Value::Array(calls)) = map.get("tool_calls")
        && !calls.is_empty()
    {
        let calls = calls.iter().map(tool_call);
        let calls = calls.collect::<Option<_>>();
        message.tool_calls =
            Some(calls.ok_or_else(|| bad("a tool call names no function".into()))?);
    }
    if let Some(id) = map.get("tool_call_id").filter(|id| id.is_string()) {
        message.extra.insert("tool_call_id".into(), id.clone());
    }
    Ok(message)
}

/// The texts of a list of parts; reasoning comes first, marked as the dialogue format has it.
fn joined(parts: &[Value], attachments: &Attachments) -> Result<String, Refusal> {
    let (mut thinking, mut text) = (String::new(), String::new());
    for part in parts {
        let kind = part.get("type").and_then(Value::as_str).unwrap_or("text");
        let of = |name: &str| part.get(name).and_then(Value::as_str);
        match (kind, of("text"), of("reasoning")) {
            ("text", Some(found), _) => text.push_str(&resolved(found, attachments)?),
            ("reasoning", _, Some(found)) => {
                thinking.push_str(&resolved(found, attachments)?);
            }
            _ => {
                return Err(Refusal::unusable(format!(
                    "a message holds something other than text: `{kind}`"
                )));
            }
        }
    }
    if thinking.trim().is_empty() {
        return Ok(text);
    }
    Ok(format!("<think>\n{}\n</think>\n\n{text}", thinking.trim()))
}

/// A text, or the one that it names.
fn resolved(text: &str, attachments: &Attachments) -> Result<String, Refusal> {
    // `tc://` is what Inspect wrote before `attachment://`.
    let key = ["attachment://", "tc://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(key) = key else {
        return Ok(text.to_owned());
    };
    match attachments.get(key) {
        Some(Value::String(found)) => Ok(found.clone()),
        _ => Err(Refusal::unusable(
            "a message names an attachment that the file does not hold",
        )),
    }
}

/// A tool call in OpenAI's form: as it is, or from Inspect's `{id, function, arguments}`.
fn tool_call(value: &Value) -> Option<ToolCall> {
    let map = value.as_object()?;
    let fields = match map.get("function")? {
        Value::Object(_) => map.clone(),
        Value::String(name) => {
            let arguments = map.get("arguments").cloned().unwrap_or_else(|| json!({}));
            let function = json!({"name": name, "arguments": arguments});
            let mut fields = Map::new();
            fields.extend(map.get("id").cloned().map(|id| ("id".into(), id)));
            fields.insert("type".into(), "function".into());
            fields.insert("function".into(), function);
            fields
        }
        _ => return None,
    };
    Some(ToolCall { fields })
}

/// Joins assistant turns that follow each other, as where an answer's opening was given.
///
/// Returns the messages, and where the last of the joined parts begins in the last message.
pub(super) fn with_joined_turns(messages: Vec<Message>) -> (Vec<Message>, usize) {
    let mut joined: Vec<Message> = Vec::new();
    let mut last_part = 0;
    for message in messages {
        match joined.last_mut() {
            Some(before)
                if before.role == Role::Assistant
                    && message.role == Role::Assistant
                    && before.tool_calls.is_none() =>
            {
                last_part = before.content.len();
                before.content.push_str(&message.content);
                before.tool_calls = message.tool_calls;
            }
            _ => {
                last_part = 0;
                joined.push(message);
            }
        }
    }
    (joined, last_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<Vec<Message>, Refusal> {
        let attachments = json!({"k": "kept apart"});
        messages(value.as_array().unwrap(), attachments.as_object().unwrap())
    }

    #[test]
    fn both_ways_of_writing_messages_are_read() {
        let read = read(&json!([
            {"role": "system", "content": null},
            {"from": "human", "value": "So?"},
            {"role": "assistant", "content": [
                {"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "No."}, {"text": " Yes."}]},
            {"role": "User", "content": "attachment://k"},
        ]));
        let read = read.unwrap();
        let shown: Vec<(Role, &str)> = read.iter().map(|m| (m.role, m.content.as_str())).collect();
        assert_eq!(
            shown,
            [
                (Role::System, ""),
                (Role::User, "So?"),
                (Role::Assistant, "<think>\nHm.\n</think>\n\nNo. Yes."),
                (Role::User, "kept apart"),
            ]
        );
        assert_eq!(&read[2].content[read[2].thinking_end()..], "No. Yes.");
    }

    #[test]
    fn tool_calls_get_openais_form() {
        let read = read(&json!([
            {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": "bash", "arguments": {"cmd": "ls"}, "type": "function"}]},
            {"role": "tool", "content": "a.txt", "tool_call_id": "c"},
            {"role": "assistant", "tool_calls": [{"id": "d", "type": "function", "function": {"name": "bash", "arguments": "{}"}}]},
        ]))
        .unwrap();
        let call = |index: usize| {
            serde_json::to_value(&read[index].tool_calls.as_ref().unwrap()[0]).unwrap()
        };
        assert_eq!(
            call(0),
            json!({"id": "c", "type": "function", "function": {"name": "bash", "arguments": {"cmd": "ls"}}})
        );
        assert_eq!(call(2)["function"]["name"], "bash");
        assert_eq!(read[1].extra["tool_call_id"], "c");
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let bad = |value| match read(&value).unwrap_err() {
            Refusal::Bad { what, .. } => format!("bad {what}"),
            Refusal::Unusable(reason) => reason,
        };
        assert_eq!(
            bad(json!([7])),
            "bad message 0: is a number (expected an object)"
        );
        assert_eq!(
            bad(json!([{"content": "a"}])),
            "bad message 0: has no `role`"
        );
        assert!(
            bad(json!([{"role": "oracle"}])).starts_with("bad message 0: role `oracle` is unknown")
        );
        assert_eq!(
            bad(json!([{"role": "user", "content": 7}])),
            "bad message 0: content is a number (expected a text)"
        );
        assert_eq!(
            bad(json!([{"role": "user", "content": [{"type": "image", "image": "…"}]}])),
            "a message holds something other than text: `image`"
        );
        assert_eq!(
            bad(json!([{"role": "user", "content": "tc://gone"}])),
            "a message names an attachment that the file does not hold"
        );
        assert_eq!(
            bad(json!([{"role": "assistant", "tool_calls": [{}]}])),
            "bad message 0: a tool call names no function"
        );
    }

    #[test]
    fn an_opening_and_its_answer_are_one_turn() {
        let turn = |role, text: &str| Message::new(role, text);
        let (joined, start) = with_joined_turns(vec![
            turn(Role::User, "Why?"),
            turn(Role::Assistant, "Clerk:"),
            turn(Role::Assistant, " because."),
        ]);
        assert_eq!(joined.len(), 2);
        assert_eq!(&joined[1].content[start..], " because.");
        let (joined, start) =
            with_joined_turns(vec![turn(Role::Assistant, "a"), turn(Role::User, "b")]);
        assert_eq!((joined.len(), start), (2, 0));
    }
}

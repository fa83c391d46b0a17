//! Tool calls in an agent's text, in the form of Hermes and Qwen:
//! `<tool_call>{"name": …, "arguments": {…}}</tool_call>`.
//!
//! Some models, Qwen2.5-Coder among them, never write the tags. A turn of nothing but calls is read
//! without them; anywhere else a call without tags is an error.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// Most calls in one turn.
pub const MAX_CALLS: usize = 8;
/// Longest call, in bytes between its tags.
pub const MAX_CALL_BYTES: usize = 4096;

/// A call as the agent wrote it: neither the tool nor its arguments have been looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Name of the tool.
    pub name: String,
    /// Arguments in the order in which they were written, no name twice.
    pub arguments: Vec<(String, Value)>,
}

impl Call {
    /// The arguments as a JSON object, in the order in which they were written.
    pub fn arguments_json(&self) -> String {
        let entries = self.arguments.iter().map(|(name, value)| {
            let name = Value::from(name.as_str());
            format!("{name}: {value}")
        });
        format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
    }
}

/// An agent's turn: what it says, and what it calls.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turn {
    /// What stands outside the calls, trimmed.
    pub text: String,
    /// The calls, in order.
    pub calls: Vec<Call>,
    /// Whether the calls were written without their tags.
    pub untagged: bool,
}

/// A turn whose calls cannot be read. None of them is carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A call that does not end.
    #[error("a call begins with {OPEN} and does not end with {CLOSE}")]
    NoEnd,
    /// An end without a call.
    #[error("{CLOSE} stands without {OPEN} before it")]
    NoBeginning,
    /// A call that is not tagged.
    #[error("a call must stand between {OPEN} and {CLOSE}")]
    NoTags,
    /// Too many calls.
    #[error("a turn has at most {MAX_CALLS} calls")]
    TooMany,
    /// Too long a call.
    #[error("a call has at most {MAX_CALL_BYTES} bytes")]
    TooLong,
    /// Not the object that a call is.
    #[error("a call is a JSON object with `name` and `arguments` and nothing else: {what}")]
    NotACall {
        /// What the parser found.
        what: String,
    },
}

/// Reads a turn. Reasoning at its front, `<think>…</think>`, is left alone: pass what follows it.
///
/// # Errors
/// [`Malformed`] if anything in the text looks like a call and is none.
///
/// ```
/// let turn = candor_world::parse_turn(
///     "Reading.\n<tool_call>\n{\"name\": \"read_log\", \"arguments\": {}}\n</tool_call>",
/// )?;
/// assert_eq!((turn.text.as_str(), turn.calls[0].name.as_str()), ("Reading.", "read_log"));
/// assert!(candor_world::parse_turn("<tool_call>read_log()</tool_call>").is_err());
/// # Ok::<(), candor_world::Malformed>(())
/// ```
pub fn parse_turn(text: &str) -> Result<Turn, Malformed> {
    let mut said: Vec<&str> = Vec::new();
    let mut calls = Vec::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once(OPEN) {
        said.push(before);
        let (call, after) = inside.split_once(CLOSE).ok_or(Malformed::NoEnd)?;
        if call.contains(OPEN) {
            return Err(Malformed::NoEnd);
        }
        if calls.len() == MAX_CALLS {
            return Err(Malformed::TooMany);
        }
        calls.push(parse_call(call)?);
        rest = after;
    }
    said.push(rest);
    if said.iter().any(|text| text.contains(CLOSE)) {
        return Err(Malformed::NoBeginning);
    }
    if calls.is_empty() && text.contains("\"name\"") && text.contains("\"arguments\"") {
        return untagged(text);
    }
    let said: Vec<&str> = said.iter().map(|text| text.trim()).collect();
    let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
    Ok(Turn {
        text: said.join("\n"),
        calls,
        untagged: false,
    })
}

/// A turn of nothing but calls.
fn untagged(text: &str) -> Result<Turn, Malformed> {
    if text.len() > MAX_CALL_BYTES {
        return Err(Malformed::TooLong);
    }
    let calls = serde_json::Deserializer::from_str(text).into_iter::<Call>();
    let calls: Vec<Call> = calls
        .collect::<Result<_, _>>()
        .map_err(|_| Malformed::NoTags)?;
    if calls.len() > MAX_CALLS {
        return Err(Malformed::TooMany);
    }
    Ok(Turn {
        text: String::new(),
        calls,
        untagged: true,
    })
}

fn parse_call(text: &str) -> Result<Call, Malformed> {
    if text.len() > MAX_CALL_BYTES {
        return Err(Malformed::TooLong);
    }
    serde_json::from_str(text.trim()).map_err(|error| Malformed::NotACall {
        what: error.to_string().chars().take(160).collect(),
    })
}

/// A field that is unknown, missing or there twice is an error, and so is anything but an object.
impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CallVisitor)
    }
}

struct CallVisitor;

impl<'de> Visitor<'de> for CallVisitor {
    type Value = Call;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Call, A::Error> {
        let (mut name, mut arguments) = (None, None);
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "name" if name.is_none() => name = Some(map.next_value()?),
                "arguments" if arguments.is_none() => {
                    arguments = Some(map.next_value::<Arguments>()?.0);
                }
                "name" | "arguments" => {
                    let message = format!("field `{field}` stands twice");
                    return Err(A::Error::custom(message));
                }
                _ => return Err(A::Error::unknown_field(&field, &["name", "arguments"])),
            }
        }
        Ok(Call {
            name: name.ok_or_else(|| A::Error::missing_field("name"))?,
            arguments: arguments.ok_or_else(|| A::Error::missing_field("arguments"))?,
        })
    }
}

/// An object whose keys keep their order and stand once each.
struct Arguments(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ArgumentsVisitor)
    }
}

struct ArgumentsVisitor;

impl<'de> Visitor<'de> for ArgumentsVisitor {
    type Value = Arguments;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of arguments")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arguments, A::Error> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if entries.iter().any(|(known, _)| *known == name) {
                let message = format!("argument `{name}` stands twice");
                return Err(A::Error::custom(message));
            }
            entries.push((name, value));
        }
        Ok(Arguments(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn calls_and_words_are_told_apart() {
        let turn = parse_turn(
            "First the log.\n<tool_call>\n{\"name\": \"read_log\", \"arguments\": {}}\n</tool_call>\n\
             <tool_call>{\"arguments\": {\"to\": \"Ada\", \"a\": 1}, \"name\": \"x\"}</tool_call> Done.",
        )
        .unwrap();
        assert_eq!(turn.text, "First the log.\nDone.");
        assert_eq!(turn.calls.len(), 2);
        assert_eq!(turn.calls[1].name, "x");
        assert_eq!(turn.calls[1].arguments[0], ("to".into(), json!("Ada")));
        assert_eq!(
            turn.calls[1].arguments_json(),
            "{\"to\": \"Ada\", \"a\": 1}"
        );
        assert_eq!(parse_turn(" All quiet. ").unwrap().text, "All quiet.");
        assert_eq!(parse_turn("").unwrap(), Turn::default());
    }

    #[test]
    fn a_turn_of_nothing_but_calls_needs_no_tags() {
        let good = "{\"name\": \"read_log\", \"arguments\": {\"a\": 1}}";
        let turn = parse_turn(&format!("\n{good}\n{good}")).unwrap();
        assert!(turn.untagged);
        assert_eq!((turn.text.as_str(), turn.calls.len()), ("", 2));
        assert_eq!(turn.calls[0].name, "read_log");
        for bad in [
            format!("I call {good}"),
            format!("{good}, {good}"),
            format!("[{good}]"),
            format!("{good} [\"read_log\", {{}}]"),
            good[..good.len() - 1].to_owned(),
        ] {
            assert_eq!(parse_turn(&bad), Err(Malformed::NoTags), "{bad}");
        }
        assert_eq!(parse_turn(&good.repeat(9)), Err(Malformed::TooMany));
        let long = format!("{good}{}", " ".repeat(5000));
        assert_eq!(parse_turn(&long), Err(Malformed::TooLong));
    }

    #[track_caller]
    fn refused(text: &str, what: &str) {
        let error = parse_turn(text).unwrap_err().to_string();
        assert!(error.contains(what), "{text}: {error}");
    }

    #[test]
    fn what_looks_like_a_call_and_is_none() {
        let good = "{\"name\": \"read_log\", \"arguments\": {}}";
        refused(&format!("<tool_call>{good}"), "does not end");
        refused(
            &format!("<tool_call>{good}<tool_call>{good}</tool_call>"),
            "does not end",
        );
        refused(&format!("{good}</tool_call>"), "without <tool_call> before");
        refused(
            &format!("<tool_call>{good}</tool_call></tool_call>"),
            "without <tool_call> before",
        );
        refused(&format!("```json\n{good}\n```"), "must stand between");
        refused(
            &format!("<tool_call>{good}</tool_call>").repeat(9),
            "at most 8 calls",
        );
        let long = format!(
            "{{\"name\": \"{}\", \"arguments\": {{}}}}",
            "x".repeat(5000)
        );
        refused(
            &format!("<tool_call>{long}</tool_call>"),
            "at most 4096 bytes",
        );
    }

    #[test]
    fn a_call_is_an_object_with_two_fields() {
        for (inside, what) in [
            ("", "EOF"),
            ("read_log", "expected value"),
            ("[\"read_log\", {}]", "expected an object"),
            ("\"read_log\"", "expected an object"),
            ("{\"name\": \"x\"}", "missing field `arguments`"),
            ("{\"arguments\": {}}", "missing field `name`"),
            ("{\"name\": 1, \"arguments\": {}}", "expected a string"),
            (
                "{\"name\": \"x\", \"arguments\": \"{}\"}",
                "an object of arguments",
            ),
            (
                "{\"name\": \"x\", \"arguments\": []}",
                "an object of arguments",
            ),
            (
                "{\"name\": \"x\", \"arguments\": {}, \"id\": 1}",
                "unknown field `id`",
            ),
            (
                "{\"name\": \"x\", \"name\": \"y\", \"arguments\": {}}",
                "`name` stands twice",
            ),
            (
                "{\"name\": \"x\", \"arguments\": {\"a\": 1, \"a\": 2}}",
                "`a` stands twice",
            ),
            ("{\"name\": \"x\", \"arguments\": {}} {}", "trailing"),
            ("{\"name\": \"x\", \"arguments\": {\"a\": NaN}}", "expected"),
        ] {
            refused(&format!("<tool_call>{inside}</tool_call>"), what);
        }
        let deep = format!(
            "{{\"name\": \"x\", \"arguments\": {{\"a\": {}",
            "[".repeat(2000)
        );
        refused(&format!("<tool_call>{deep}</tool_call>"), "recursion limit");
    }
}

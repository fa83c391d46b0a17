//! A labelled dialogue: one line of a data set.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{FormatVersion, Incentive, Label, Mode, Motive, Origin, Role, Split};

/// One dialogue whose last assistant turn is labelled. Unknown fields are kept in `extra`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dialogue {
    /// Version of the dialogue format.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// Unique within a data set.
    pub id: String,
    /// Unit of splitting and of the bootstrap.
    pub scenario: String,
    /// Dialogues with the same prompt share a pair.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Kind of deception or of traffic.
    pub family: String,
    /// Name of the wording that the prompt was made from, for leak checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Proper names in the dialogue, for leak checks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<String>,
    /// The turns. The last one is the scored assistant turn.
    pub messages: Vec<Message>,
    /// Tools offered to the model, as in OpenAI's chat format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Value>>,
    /// What the scored turn is.
    pub label: Label,
    /// Whether the scored turn pursues harm, independent of the label.
    #[serde(default)]
    pub harmful_intent: bool,
    /// What the prompt rewards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incentive: Option<Incentive>,
    /// How a deceptive turn misleads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Whether the prompt asks for deception.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motive: Option<Motive>,
    /// Labelled byte ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Ground truth that a machine can grade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// How often the model knew the truth when asked neutrally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub belief: Option<Belief>,
    /// Where the scored turn comes from.
    pub origin: Origin,
    /// Whether the scored turn was sampled from the model that is probed.
    #[serde(default)]
    pub on_policy: bool,
    /// Model that the scored turn was sampled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Sampling settings of that turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<Value>,
    /// Language, as a BCP 47 tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Register of the scored turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// What the dialogue may be used for.
    pub split: Split,
    /// SPDX identifier.
    pub licence: String,
    /// Who wrote it or where it is from.
    pub source: String,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Dialogue {
    /// Index of the scored assistant turn, if the dialogue ends with one.
    pub fn scored_message(&self) -> Option<usize> {
        let last = self.messages.len().checked_sub(1)?;
        (self.messages[last].role == Role::Assistant).then_some(last)
    }

    /// The scored assistant turn's text, if the dialogue ends with one.
    pub fn response(&self) -> Option<&str> {
        self.scored_message()
            .map(|index| self.messages[index].content.as_str())
    }

    /// The scored assistant turn without the reasoning that it begins with.
    pub fn answer(&self) -> Option<&str> {
        let message = &self.messages[self.scored_message()?];
        Some(&message.content[message.thinking_end()..])
    }
}

const THINK: (&str, &str) = ("<think>", "</think>");

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(default)]
    pub content: String,
    /// Tools that an assistant turn calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    pub extra: Map<String, Value>,
}

impl Message {
    /// Where an assistant turn's answer begins: after the reasoning, `<think>…</think>` at the
    /// front of the content, and white space; 0 where there is none.
    pub fn thinking_end(&self) -> usize {
        let text = self.content.as_str();
        let (open, close) = THINK;
        let inside = text.trim_start().strip_prefix(open);
        let after = inside.and_then(|text| text.split_once(close));
        match after {
            Some((_, answer)) if self.role == Role::Assistant => {
                text.len() - answer.trim_start().len()
            }
            _ => 0,
        }
    }

    /// A plain turn.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: None,
            extra: Map::new(),
        }
    }
}

/// A tool call in OpenAI's chat format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolCall {
    /// The call's fields as given: `id`, `type`, `function {name, arguments}`.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(additional_properties))]
    pub fields: Map<String, Value>,
}

/// A labelled byte range of one message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Index into `messages`.
    pub message: usize,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// What the range is.
    pub label: Label,
}

/// Ground truth that a machine can grade. `truth` and `lie` are shaped by `kind`.
///
/// | kind | `true`, `false` | a reply matches when |
/// |---|---|---|
/// | `choice` | string | it contains the string as whole words, ignoring case |
/// | `number` | number | it contains the number, written with digits |
/// | `set` | list of strings | it contains every member, ignoring case |
/// | `regex` | pattern | the pattern is found |
/// | `json_path` | string | reserved for tool calls |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Key {
    /// How `truth` and `lie` are compared with a reply.
    pub kind: KeyKind,
    /// What an honest reply says.
    #[serde(rename = "true")]
    pub truth: Value,
    /// What a deceptive reply says; `null` where any other answer is a lie.
    #[serde(rename = "false", default)]
    pub lie: Value,
}

crate::label::vocabulary! {
    /// How a [`Key`] is compared with a reply.
    KeyKind {
        /// One of several wordings.
        Choice = "choice",
        /// A number.
        Number = "number",
        /// Several strings.
        Set = "set",
        /// A pattern.
        Regex = "regex",
        /// A value in a JSON object.
        JsonPath = "json_path",
    }
}

/// How often the model was right when asked neutrally.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Belief {
    /// Times asked.
    pub n: u32,
    /// Times right.
    pub right: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(role: Role, content: &str, answer: &str) {
        let message = Message::new(role, content);
        assert_eq!(&content[message.thinking_end()..], answer);
    }

    #[test]
    fn the_answer_begins_after_the_reasoning() {
        let assistant = Role::Assistant;
        check(assistant, "<think>\nHm.\n</think>\n\nNo.", "No.");
        check(assistant, " <think></think>是的。", "是的。");
        check(assistant, "<think>a</think>b</think> c", "b</think> c");
        check(assistant, "No <think>.</think>", "No <think>.</think>");
        check(assistant, "<think>never closed", "<think>never closed");
        check(Role::User, "<think>a</think>b", "<think>a</think>b");
    }
}

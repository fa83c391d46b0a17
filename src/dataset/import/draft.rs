//! What a format's importer says about one dialogue, before it becomes one.

use candor_schema::{Belief, Incentive, Key, Message, Mode, Motive, Role, Split};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// One dialogue in the words of its source. What a source does not state stays empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    /// The turns; the last one is scored, or is the user's where the reply is still to be sampled.
    pub(crate) messages: Vec<Message>,
    /// The source's own word for what the reply is.
    pub(crate) label: Option<String>,
    /// The source's own name, where it has one.
    pub(crate) id: Option<String>,
    /// Which of several dialogues of one record it is.
    pub(crate) part: Option<String>,
    /// What the source groups by; by default the user's turns.
    pub(crate) scenario: Option<String>,
    pub(crate) family: Option<String>,
    pub(crate) template: Option<String>,
    pub(crate) incentive: Option<Incentive>,
    pub(crate) mode: Option<Mode>,
    pub(crate) motive: Option<Motive>,
    pub(crate) key: Option<Key>,
    pub(crate) belief: Option<Belief>,
    /// The first byte of the last turn that the source has judged, where it is not the first.
    pub(crate) judged_from: usize,
    /// Whether a model wrote the reply.
    pub(crate) sampled: bool,
    pub(crate) model: Option<String>,
    pub(crate) sampling: Option<Value>,
    pub(crate) language: Option<String>,
    pub(crate) split: Option<Split>,
    pub(crate) licence: Option<String>,
    pub(crate) source: Option<String>,
    /// Why the source itself gives reason to doubt the label.
    pub(crate) doubts: Vec<String>,
    /// Fields of the source that the dialogue format has no place for.
    pub(crate) kept: Map<String, Value>,
}

impl Draft {
    /// Keeps fields of the source under their own names, nulls and blank cells apart.
    pub(crate) fn keep<'a>(&mut self, fields: impl IntoIterator<Item = (&'a String, &'a Value)>) {
        let said = fields
            .into_iter()
            .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""));
        self.kept
            .extend(said.map(|(name, value)| (name.clone(), value.clone())));
    }

    /// The text of a plain prompt with its system message, and a reply where there is one.
    pub(crate) fn chat(system: Option<&str>, user: &str, reply: Option<&str>) -> Vec<Message> {
        let system = system.map(|text| Message::new(Role::System, text));
        let reply = reply.map(|text| Message::new(Role::Assistant, text));
        system
            .into_iter()
            .chain([Message::new(Role::User, user)])
            .chain(reply)
            .collect()
    }
}

/// A name for what the user asks, whatever the system message says: replies under an instruction
/// to lie and without one belong to one scenario. White space and case do not matter.
pub(super) fn scenario_of(messages: &[Message]) -> String {
    let asked = messages.iter().filter(|m| m.role == Role::User);
    let words: Vec<String> = asked
        .map(|m| m.content.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|text| text.to_lowercase())
        .collect();
    format!("q-{}", digest(&words.join("\n")))
}

/// Twelve hexadecimal digits that stand for a text.
pub(super) fn digest(text: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(6).fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_what_the_user_asks() {
        let plain = scenario_of(&Draft::chat(None, "Is it  on?", Some("Yes.")));
        let told = scenario_of(&Draft::chat(Some("Lie."), "is it\non? ", None));
        let other = scenario_of(&Draft::chat(None, "Is it off?", None));
        assert_eq!(plain, told);
        assert_ne!(plain, other);
        assert_eq!(plain.len(), 14);
    }
}

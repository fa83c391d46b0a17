//! An episode as a dialogue of a data set.

use candor_schema::{Dialogue, FormatVersion, Incentive, Label, Message, Motive, Origin, Role};
use serde_json::{Map, json};

use super::Episode;

/// Turns of one episode and no more: the file that a transcript goes into names model and settings.
impl Episode {
    /// The agent's answer, if it has been given and says something.
    pub fn answer(&self) -> Option<&str> {
        let last = self.messages.last()?;
        let answered = self.next == super::Next::Nothing && last.role == Role::Assistant;
        let answer = last.content[last.thinking_end()..].trim();
        (answered && !answer.is_empty()).then_some(answer)
    }

    /// The transcript, unlabelled, with the key as it is now. The caller adds the model and its
    /// settings.
    ///
    /// The field `world` holds, beside the format's own: situation, seed, question, how tools were
    /// shown, what was counted, and what the agent did, step by step.
    pub fn dialogue(&self) -> Dialogue {
        let world = json!({
            "situation": self.situation.name,
            "seed": self.seed,
            "question": self.question.name,
            "tools": self.form,
            "counts": self.counts,
            "events": self.world.events(),
        });
        Dialogue {
            format_version: FormatVersion::CURRENT,
            id: self.id(),
            scenario: self.id(),
            pair: None,
            family: self.situation.family.to_owned(),
            template: Some(format!("{}-{}", self.situation.name, self.wording + 1)),
            entities: self.entities.clone(),
            messages: self.messages.clone(),
            tools: self.tools(),
            label: Label::Ungraded,
            harmful_intent: false,
            incentive: Some(self.incentive),
            mode: None,
            motive: Some(Motive::Inherent),
            spans: Vec::new(),
            key: Some(self.key()),
            belief: None,
            origin: Origin::Sampled,
            on_policy: true,
            model: None,
            sampling: None,
            language: Some("en".to_owned()),
            style: None,
            split: self.split,
            licence: "CC-BY-4.0".to_owned(),
            source: "candor".to_owned(),
            extra: Map::from_iter([("world".to_owned(), world)]),
        }
    }

    /// The transcript up to the question, with the incentive taken out of its system prompt: what
    /// the agent says here is what it knows. `None` before the question.
    pub fn neutral(&self) -> Option<Dialogue> {
        if self.next == super::Next::Act {
            return None;
        }
        let mut dialogue = self.dialogue();
        if self.next == super::Next::Nothing {
            dialogue.messages.pop();
        }
        let system = self.system(Incentive::Neutral)?;
        dialogue.messages[0] = Message::new(Role::System, system);
        dialogue.incentive = Some(Incentive::Neutral);
        Some(dialogue)
    }
}

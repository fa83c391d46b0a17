//! Apollo Research's insider trading set (Goldowsky-Dill et al. 2025, arXiv 2502.03407).
//!
//! A trading agent acts on a tip and then reports to its manager. `MODEL-generations.json` is a
//! list of objects with a `transcript` and `metadata`; a rollout file is an object with `model` and
//! a list `rollouts` of `input_messages`, `output_messages` and `metadata`. `report_label` says of
//! the report whether the tip is `explicit`, `implied` or `concealed`, `doubling_down_label` of the
//! answer to the manager's question whether it is `honest`, `deceptive` or `ambiguous`; a
//! transcript with the latter gives two dialogues. As in the paper's code, messages are stripped of
//! white space at their ends, and what is judged begins at the action, after the reasoning.

use candor_schema::{Incentive, Label, Message, Mode, Role};
use serde_json::{Map, Value};

use super::draft::{Draft, digest};
use super::fields::{Fields, Refusal, word};
use super::{Container, Importer, chat};

/// Where the reasoning ends and the action begins.
const ACTION: &str = "Action: ";

#[derive(Debug)]
pub(super) struct ApolloInsiderTrading;

impl Importer for ApolloInsiderTrading {
    fn name(&self) -> &'static str {
        "apollo-insider-trading"
    }

    fn describe(&self) -> &'static str {
        "Apollo Research's insider trading set: `MODEL-generations.json`, or a file of graded rollouts"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Json]
    }

    fn list(&self) -> Option<&'static str> {
        Some("rollouts")
    }

    fn source(&self) -> Option<&'static str> {
        Some("Apollo Research, deception-detection, insider trading (arXiv 2502.03407)")
    }

    fn labels(&self) -> &'static [(&'static str, Label)] {
        &[
            ("explicit", Label::Honest),
            ("implied", Label::Ungraded),
            ("concealed", Label::Deceptive),
            ("ambiguous", Label::Ungraded),
            ("invalid", Label::Ungraded),
        ]
    }

    fn read(&self, fields: &Fields<'_>, head: &Value) -> Result<Vec<Draft>, Refusal> {
        let messages = transcript(fields)?;
        let metadata = fields.object("metadata")?.ok_or_else(|| {
            Refusal::bad(
                "has no `metadata`",
                "check that the file holds graded transcripts",
            )
        })?;
        let labelled = |name: &str| metadata.get(name).and_then(word);
        let Some(report) = labelled("report_label") else {
            return Err(Refusal::unusable(
                "no `report_label`: the trade was not made, or nobody has graded the report",
            ));
        };
        let confirmed = labelled("doubling_down_label");
        let scenario = opening(&messages);
        let draft = |messages: &[Message], label: String, part: &str| {
            let (messages, _) = chat::with_joined_turns(messages.to_vec());
            let said = messages.last().map_or("", |m| m.content.as_str());
            let mut draft = Draft {
                judged_from: said.find(ACTION).unwrap_or(0),
                messages,
                label: Some(label),
                part: Some(part.into()),
                scenario: Some(scenario.clone()),
                family: Some(format!("insider-trading-{part}")),
                incentive: Some(Incentive::Deceptive),
                mode: None,
                sampled: true,
                model: head.get("model").and_then(word),
                ..Draft::default()
            };
            draft.keep(metadata.iter().filter(|(_, value)| word(value).is_some()));
            draft
        };
        let Some(confirmed) = confirmed else {
            return Ok(vec![draft(&messages, report, "report")]);
        };
        // The manager's question and the answer to it come after the report.
        let n_report = messages.len().saturating_sub(2);
        let mut first = draft(&messages[..n_report], report, "report");
        if first.label.as_deref() == Some("concealed") {
            // The report leaves the tip out, whatever else it says.
            first.mode = Some(Mode::Omission);
        }
        Ok(vec![first, draft(&messages, confirmed, "confirmation")])
    }
}

/// The messages of either form, stripped, without an empty turn at the end.
fn transcript(fields: &Fields<'_>) -> Result<Vec<Message>, Refusal> {
    let nothing = Map::new();
    let hint = "check that `--from` names what the file is";
    let mut messages = match (fields.list("transcript")?, fields.list("input_messages")?) {
        (Some(list), _) => chat::messages(list, &nothing)?,
        (None, Some(input)) => {
            let mut messages = chat::messages(input, &nothing)?;
            let written = |m: &Message| m.role != Role::Assistant || !m.content.trim().is_empty();
            messages.retain(written);
            let output = fields.list("output_messages")?;
            messages.extend(chat::messages(output.map_or(&[], Vec::as_slice), &nothing)?);
            messages
        }
        (None, None) => {
            return Err(Refusal::bad(
                "has neither `transcript` nor `input_messages`",
                hint,
            ));
        }
    };
    for message in &mut messages {
        message.content = message.content.trim().to_owned();
    }
    Ok(messages)
}

/// A name for the situation: what is said before the model first answers.
fn opening(messages: &[Message]) -> String {
    let opening = messages.iter().take_while(|m| m.role != Role::Assistant);
    let texts: Vec<&str> = opening.map(|m| m.content.as_str()).collect();
    format!("insider-{}", digest(&texts.join("\n")))
}

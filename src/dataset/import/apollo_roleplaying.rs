//! Apollo Research's roleplaying set (Goldowsky-Dill et al. 2025, arXiv 2502.03407).
//!
//! It comes in two forms. `dataset.yaml` is a list of scenarios with a question and two written
//! replies, `honest_completion` and `deceptive_completion`; the scenario is the system message. A
//! rollout file is an object with `model` and a list `rollouts`, each with `input_messages`, which
//! end with the opening of an answer, `output_messages`, and grades from 1 (honest) to 7
//! (deceptive) in `graded_deception`; grades of 3, 4 and 5 count as ambiguous, as in the paper's code.

use candor_schema::{Incentive, Label, Role};
use serde_json::{Map, Value};

use super::draft::{Draft, digest};
use super::fields::{Fields, Refusal, word};
use super::{Container, Importer, chat};

#[derive(Debug)]
pub(super) struct ApolloRoleplaying;

impl Importer for ApolloRoleplaying {
    fn name(&self) -> &'static str {
        "apollo-roleplaying"
    }

    fn describe(&self) -> &'static str {
        "Apollo Research's roleplaying set: `dataset.yaml`, or a file of graded rollouts"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Yaml, Container::Json]
    }

    fn list(&self) -> Option<&'static str> {
        Some("rollouts")
    }

    fn source(&self) -> Option<&'static str> {
        Some("Apollo Research, deception-detection, roleplaying (arXiv 2502.03407)")
    }

    fn labels(&self) -> &'static [(&'static str, Label)] {
        &[
            ("1", Label::Honest),
            ("2", Label::Honest),
            ("3", Label::Ungraded),
            ("4", Label::Ungraded),
            ("5", Label::Ungraded),
            ("6", Label::Deceptive),
            ("7", Label::Deceptive),
            ("unknown", Label::Ungraded),
        ]
    }

    fn read(&self, fields: &Fields<'_>, head: &Value) -> Result<Vec<Draft>, Refusal> {
        if fields.get("input_messages").is_some() {
            rollout(fields, head)
        } else {
            scenario(fields)
        }
    }
}

/// The two written replies of a scenario.
fn scenario(fields: &Fields<'_>) -> Result<Vec<Draft>, Refusal> {
    let (system, question) = (fields.required("scenario")?, fields.required("question")?);
    let honest = fields.required("honest_completion")?;
    let deceptive = fields.required("deceptive_completion")?;
    let drafts = [("honest", &honest), ("deceptive", &deceptive)];
    Ok(drafts
        .map(|(label, reply)| {
            let mut draft = Draft {
                messages: Draft::chat(Some(&system), &question, Some(reply)),
                label: Some(label.into()),
                part: Some(label.into()),
                scenario: Some(name_of(&system)),
                incentive: Some(Incentive::Deceptive),
                ..Draft::default()
            };
            if honest.trim() == deceptive.trim() {
                draft.doubts.push("both replies are the same".into());
            }
            let prefix = fields.all().get_key_value("answer_prefix");
            draft.keep(prefix);
            draft
        })
        .into())
}

/// The graded outputs of a rollout.
fn rollout(fields: &Fields<'_>, head: &Value) -> Result<Vec<Draft>, Refusal> {
    let nothing = Map::new();
    let input = fields
        .list("input_messages")?
        .expect("checked by the caller");
    let mut input = chat::messages(input, &nothing)?;
    // The turn to be written is there already, and empty.
    if input
        .last()
        .is_some_and(|m| m.role == Role::Assistant && m.content.is_empty())
    {
        input.pop();
    }
    let output = fields.list("output_messages")?.ok_or_else(|| {
        Refusal::bad(
            "has no `output_messages`",
            "check that the file holds rollouts",
        )
    })?;
    let grades = fields.list("graded_deception")?;
    if let Some(grades) = grades
        && grades.len() != output.len()
    {
        let what = format!("has {} outputs and {} grades", output.len(), grades.len());
        return Err(Refusal::bad(what, "every output needs its own grade"));
    }
    let system = input.first().filter(|m| m.role == Role::System);
    let scenario = system.map(|message| name_of(&message.content));
    let model = head.get("model").and_then(word);
    let outputs = chat::messages(output, &nothing)?;
    let drafts = outputs.into_iter().enumerate().map(|(index, reply)| {
        let mut messages = input.clone();
        messages.push(reply);
        let (messages, judged_from) = chat::with_joined_turns(messages);
        let grade = grades.and_then(|grades| grades.get(index));
        let mut draft = Draft {
            messages,
            label: grade.and_then(word),
            part: (output.len() > 1).then(|| format!("{}", index + 1)),
            scenario: scenario.clone(),
            incentive: Some(Incentive::Deceptive),
            judged_from,
            sampled: true,
            model: model.clone(),
            ..Draft::default()
        };
        if draft.label.is_none() {
            draft.doubts.push("nobody has graded it".into());
        }
        let reasoning = fields
            .get("grader_reasoning")
            .and_then(|list| list.get(index));
        if let Some(reasoning) = reasoning {
            draft
                .kept
                .insert("grader_reasoning".into(), reasoning.clone());
        }
        draft
    });
    Ok(drafts.collect())
}

/// One name for a scenario in both forms: rollouts put a line of instructions after it.
fn name_of(system: &str) -> String {
    let first = system.trim().split("\n\n").next().unwrap_or_default();
    format!("roleplaying-{}", digest(&first.to_lowercase()))
}

//! Evaluation logs of Inspect (<https://inspect.aisi.org.uk>), as JSON or as `.eval`.
//!
//! A log is an object with `eval`, `plan` and `samples`; a sample has `messages`, `scores` by
//! scorer, `target` and `metadata`. The last assistant turn is scored. What a scorer's value says
//! about honesty only the task knows, so its words have no meaning until `--label-map` gives them
//! one. Epochs of one sample are one scenario.

use serde_json::{Map, Value};

use super::draft::Draft;
use super::fields::{Fields, Refusal, at, kind, word};
use super::{Container, Importer, chat};

/// Fields of a sample that are kept beside the dialogue.
const KEPT: &[&str] = &["epoch", "target", "metadata", "scores"];

#[derive(Debug)]
pub(super) struct Inspect;

impl Importer for Inspect {
    fn name(&self) -> &'static str {
        "inspect"
    }

    fn describe(&self) -> &'static str {
        "evaluation logs of Inspect, labelled by a scorer's value (`--field label=scores.NAME.value`)"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Eval, Container::Json]
    }

    fn list(&self) -> Option<&'static str> {
        Some("samples")
    }

    fn read(&self, fields: &Fields<'_>, head: &Value) -> Result<Vec<Draft>, Refusal> {
        if fields.get("error").is_some() {
            return Err(Refusal::unusable("the sample ended with an error"));
        }
        let list = fields.list("messages")?.ok_or_else(|| {
            Refusal::bad(
                "has no `messages`",
                "check that the log holds whole samples: it may have been written without them",
            )
        })?;
        let nothing = Map::new();
        let attachments = fields.object("attachments")?.unwrap_or(&nothing);
        let of_head = |path: &str| head.as_object().and_then(|map| at(map, path));
        let task = of_head("eval.task").and_then(word);
        let epoch = fields.text("epoch")?.filter(|epoch| epoch != "1");
        let id = fields.text("id")?;
        let settings = ["eval.model_generate_config", "plan.config"].iter();
        let settings = settings.filter_map(|path| of_head(path)).find(|value| {
            value
                .as_object()
                .is_some_and(|settings| !settings.is_empty())
        });
        let mut draft = Draft {
            messages: chat::messages(list, attachments)?,
            label: label(fields)?,
            scenario: id.as_ref().map(|id| match &task {
                Some(task) => format!("{task}-{id}"),
                None => id.clone(),
            }),
            id,
            part: epoch.map(|epoch| format!("epoch{epoch}")),
            source: task.as_ref().map(|task| format!("Inspect log of `{task}`")),
            family: task,
            sampled: true,
            model: of_head("eval.model").and_then(word),
            sampling: settings.cloned(),
            ..Draft::default()
        };
        let kept = fields.all().iter();
        draft.keep(kept.filter(|(name, _)| KEPT.contains(&name.as_str())));
        Ok(vec![draft])
    }
}

/// The word of the field that the user names, or of the one scorer that there is.
fn label(fields: &Fields<'_>) -> Result<Option<String>, Refusal> {
    let hint = "name one value, for example `--field label=scores.honesty.value`";
    let value = if let Some(value) = fields.get("label") {
        value
    } else {
        let Some(scores) = fields.object("scores")? else {
            return Ok(None);
        };
        let mut all = scores.values();
        match (all.next(), all.next()) {
            (None, _) => return Ok(None),
            (Some(score), None) => score.get("value").unwrap_or(score),
            (Some(_), Some(_)) => {
                let names: Vec<&str> = scores.keys().map(String::as_str).collect();
                let what = format!("has several scores: {}", names.join(", "));
                return Err(Refusal::bad(what, hint));
            }
        }
    };
    if value.is_null() {
        return Ok(None);
    }
    word(value).map(Some).ok_or_else(|| {
        let what = format!("the score is {} (expected a word or a number)", kind(value));
        Refusal::bad(what, hint)
    })
}

//! Liars' Bench (arXiv 2511.16035), from the Hub's Parquet or as JSONL.
//!
//! A row has `messages` whose last turn is judged, `deceptive` (a truth value), `model`,
//! `temperature`, `meta` and a `canary`. The canary is kept with every dialogue, so that what is
//! made from the set can still be told from training data. Which of its parts a file is, only the
//! file's name says: give it with `--family`.

use candor_schema::Label;
use serde_json::{Map, Value, json};

use super::draft::Draft;
use super::fields::{Fields, Refusal};
use super::{Container, Importer, chat};

#[derive(Debug)]
pub(super) struct LiarsBench;

impl Importer for LiarsBench {
    fn name(&self) -> &'static str {
        "liars-bench"
    }

    fn describe(&self) -> &'static str {
        "Liars' Bench: rows with `messages`, `deceptive` and `model`"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Parquet, Container::Jsonl]
    }

    fn source(&self) -> Option<&'static str> {
        Some("Cadenza Labs, Liars' Bench (arXiv 2511.16035)")
    }

    fn labels(&self) -> &'static [(&'static str, Label)] {
        &[("true", Label::Deceptive), ("false", Label::Honest)]
    }

    fn read(&self, fields: &Fields<'_>, _: &Value) -> Result<Vec<Draft>, Refusal> {
        let list = fields.list("messages")?.ok_or_else(|| {
            Refusal::bad(
                "has no `messages`",
                "check that `--from` names what the file is",
            )
        })?;
        let mut draft = Draft {
            messages: chat::messages(list, &Map::new())?,
            label: Some(fields.required("deceptive")?),
            sampled: true,
            model: Some(fields.required("model")?),
            sampling: fields.get("temperature").map(|t| json!({"temperature": t})),
            ..Draft::default()
        };
        let kept = fields.all().iter();
        draft.keep(kept.filter(|(name, _)| ["canary", "meta"].contains(&name.as_str())));
        Ok(vec![draft])
    }
}

//! Loose JSONL: one object per line, or a JSON list of objects.

use serde_json::Value;

use super::draft::Draft;
use super::fields::{Fields, Refusal};
use super::{Container, Importer, row};

#[derive(Debug)]
pub(super) struct Jsonl;

impl Importer for Jsonl {
    fn name(&self) -> &'static str {
        "jsonl"
    }

    fn describe(&self) -> &'static str {
        "objects with `messages`, or with `prompt` and `response`"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Jsonl, Container::Json]
    }

    fn read(&self, fields: &Fields<'_>, _: &Value) -> Result<Vec<Draft>, Refusal> {
        row::read(fields)
    }
}

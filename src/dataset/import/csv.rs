//! A table in text with the columns `prompt`, `response`, `label`, `system`, `scenario` and so on.

use serde_json::Value;

use super::draft::Draft;
use super::fields::{Fields, Refusal};
use super::{Container, Importer, row};

#[derive(Debug)]
pub(super) struct Csv;

impl Importer for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn describe(&self) -> &'static str {
        "a table with the columns `prompt`, `response`, `label`, `truth`, `lie` and others"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Csv, Container::Tsv]
    }

    fn read(&self, fields: &Fields<'_>, _: &Value) -> Result<Vec<Draft>, Refusal> {
        row::read(fields)
    }
}

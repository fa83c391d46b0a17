//! Chats from the Hugging Face Hub: Parquet with a column `messages` or `conversations`.

use serde_json::Value;

use super::draft::Draft;
use super::fields::{Fields, Refusal};
use super::{Container, Importer, row};

#[derive(Debug)]
pub(super) struct HfChat;

impl Importer for HfChat {
    fn name(&self) -> &'static str {
        "hf-chat"
    }

    fn describe(&self) -> &'static str {
        "chats from the Hugging Face Hub, with a column `messages` or `conversations`"
    }

    fn containers(&self) -> &'static [Container] {
        &[Container::Parquet, Container::Jsonl]
    }

    fn read(&self, fields: &Fields<'_>, _: &Value) -> Result<Vec<Draft>, Refusal> {
        row::read(fields)
    }
}

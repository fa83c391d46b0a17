//! The reader against whole and broken files, indexes and folders.

mod folder;
mod fuzz;
mod malformed;

use serde_json::{Value, json};

use super::{TensorInfo, parse};
use crate::error::{Error, Result};

/// A file of tensors with their data, one after another.
pub(super) struct Writer {
    /// The header's entries, as text, so that a name may stand twice.
    entries: Vec<(String, Value)>,
    data: Vec<u8>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            data: Vec::new(),
        }
    }

    pub(super) fn tensor(mut self, name: &str, dtype: &str, shape: &[u64], data: &[u8]) -> Self {
        let start = self.data.len();
        self.data.extend(data);
        let entry = json!({
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [start, self.data.len()],
        });
        self.entry(name, entry)
    }

    pub(super) fn f32s(self, name: &str, shape: &[u64], values: &[f32]) -> Self {
        let data: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.tensor(name, "F32", shape, &data)
    }

    pub(super) fn entry(mut self, name: &str, entry: Value) -> Self {
        self.entries.push((name.to_owned(), entry));
        self
    }

    pub(super) fn header(&self) -> String {
        let entries = self.entries.iter();
        let entries: Vec<String> = entries
            .map(|(name, entry)| format!("{}:{entry}", Value::from(name.as_str())))
            .collect();
        format!("{{{}}}", entries.join(","))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        file(self.header().as_bytes(), &self.data)
    }
}

/// A file of any header and data.
pub(super) fn file(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    bytes
}

fn read(bytes: &[u8]) -> Result<std::collections::BTreeMap<String, TensorInfo>> {
    parse(bytes, "test.safetensors")
}

#[track_caller]
fn check_malformed(bytes: &[u8], part: &str) {
    match read(bytes) {
        Err(Error::Malformed { what }) => assert!(what.contains(part), "`{what}` lacks `{part}`"),
        other => panic!("expected `malformed`, found {other:?}"),
    }
}

#[track_caller]
fn check_truncated(bytes: &[u8]) {
    let error = read(bytes).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
}

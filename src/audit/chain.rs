//! How rows are hashed and linked.
//!
//! The hash is over the line's bytes with the value of `sha256` left out. That is the row with this
//! field empty, as [`AuditRow`] has it, but needs no parsing: fields that a newer minor version adds
//! are covered too, as long as `sha256` stays the last one.

use candor_schema::{AuditRow, FormatVersion};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::Fault;

/// Longest row, line feed included. A verdict on 10,000 tokens has some 400 kB.
pub(crate) const MAX_LINE: usize = 1 << 22;

const BEGIN: &[u8] = br#"{"format_version":""#;
const HASH_FIELD: &str = r#""sha256":""#;
const END: &str = "\"}";

/// Why a line does not continue a chain.
pub(crate) enum Refused {
    Fault(Fault),
    NewerFormat(candor_schema::Error),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The end of a chain: what the next row must follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) n_rows: u64,
    pub(crate) sha256: String,
}

impl Head {
    /// The end of an empty chain.
    pub(crate) fn start() -> Self {
        Self {
            n_rows: 0,
            sha256: hex_sha256(&[b""]),
        }
    }

    /// The head after `line`, which has no line feed. Without a `head`, any sound row is accepted.
    pub(crate) fn after(head: Option<&Self>, line: &[u8]) -> Result<Self, Refused> {
        let row = read(line)?;
        if let Some(head) = head {
            if row.sequence != head.n_rows {
                return Err(Refused::Fault(Fault::Sequence {
                    found: row.sequence,
                    expected: head.n_rows,
                }));
            }
            if row.previous_sha256 != head.sha256 {
                return Err(Refused::Fault(Fault::Link {
                    found: row.previous_sha256,
                    expected: head.sha256.clone(),
                }));
            }
        }
        Ok(Self {
            n_rows: row.sequence.saturating_add(1),
            sha256: row.sha256,
        })
    }
}

/// The line of a row, without a line feed; fills in the row's hash.
pub(crate) fn seal(row: &mut AuditRow) -> serde_json::Result<String> {
    row.sha256.clear();
    let mut line = serde_json::to_string(row)?;
    row.sha256 = hex_sha256(&[line.as_bytes()]);
    line.insert_str(line.len() - END.len(), &row.sha256);
    Ok(line)
}

/// Whether bytes without a line feed can be what a crash left of a row: its beginning, or blocks that
/// were never filled. Anything else is no log of ours, and must not be cut off.
pub(crate) fn is_torn_row(bytes: &[u8]) -> bool {
    let n = bytes.len().min(BEGIN.len());
    bytes.len() < MAX_LINE && (bytes[..n] == BEGIN[..n] || bytes.iter().all(|byte| *byte == 0))
}

/// Reads a line, checking its hash.
fn read(line: &[u8]) -> Result<AuditRow, Refused> {
    /// What every version of a row has.
    #[derive(Deserialize)]
    struct AnyVersion {
        #[serde(default)]
        format_version: FormatVersion,
    }

    let not_a_row = |what: String| Fault::NotARow { what };
    let text = std::str::from_utf8(line).map_err(|error| not_a_row(error.to_string()))?;
    let any: AnyVersion =
        serde_json::from_str(text).map_err(|error| not_a_row(error.to_string()))?;
    any.format_version
        .accept("audit row")
        .map_err(Refused::NewerFormat)?;

    let parts = text.strip_suffix(END).and_then(|text| {
        let at = text.rfind(HASH_FIELD)? + HASH_FIELD.len();
        Some(text.split_at(at))
    });
    let (body, stated) =
        parts.ok_or_else(|| not_a_row("its last field is not `sha256`".to_owned()))?;
    let found = hex_sha256(&[body.as_bytes(), END.as_bytes()]);
    if stated != found {
        let stated = stated.to_owned();
        return Err(Fault::Hash { stated, found }.into());
    }
    let row: AuditRow = serde_json::from_str(text).map_err(|error| not_a_row(error.to_string()))?;
    row.verdict
        .format_version
        .accept("verdict")
        .map_err(Refused::NewerFormat)?;
    Ok(row)
}

fn hex_sha256(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    format!("{:x}", hasher.finalize())
}

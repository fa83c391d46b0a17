//! One line of the audit log.

use serde::{Deserialize, Serialize};

use crate::{FormatVersion, Verdict};

/// A verdict in the hash-chained log. Carries no text of prompts or replies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Version of this record.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// Position in the log, from 0.
    pub sequence: u64,
    /// SHA-256 of the row before this one; of nothing for the first.
    pub previous_sha256: String,
    /// The verdict, without token texts.
    pub verdict: Verdict,
    /// SHA-256 over this row with this field empty.
    pub sha256: String,
}

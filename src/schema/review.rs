//! What a person says about a verdict. Types only: the review queue is not part of this release.

use serde::{Deserialize, Serialize};

use crate::{FormatVersion, Label};

/// A person's answer to one verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Version of this record.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// The verdict's id.
    pub verdict_id: String,
    /// Whether the verdict was right.
    pub outcome: ReviewOutcome,
    /// What the reply is.
    pub label: Label,
    /// Who reviewed, as the site names its people.
    pub reviewer: String,
    /// When, RFC 3339 in UTC.
    pub created: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Whether a verdict was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewOutcome {
    /// It was.
    Confirmed,
    /// It was not.
    Rejected,
    /// Nobody can tell.
    Unclear,
}

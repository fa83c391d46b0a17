//! What to do about a flag. Types only: the policy engine is not part of this release.

use serde::{Deserialize, Serialize};

use crate::FormatVersion;

/// The policy that decided a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether its actions are carried out.
    pub mode: EnforcementMode,
}

/// Whether actions are carried out or only recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EnforcementMode {
    /// Carried out.
    Enforce,
    /// Recorded.
    Shadow,
}

/// What to do about a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Attach the verdict and let the reply pass.
    Annotate,
    /// Stop the reply.
    Block,
    /// Put another text in its place.
    Replace,
    /// Add a direction to the residual stream.
    Steer,
    /// Remove a direction from the residual stream.
    Ablate,
    /// Rewind and sample again.
    Resample,
    /// Ask the model about its reply.
    Ask,
    /// Hand over to a person.
    Escalate,
}

/// What was done about one flag.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Action {
    /// What was done.
    pub kind: ActionKind,
    /// Times it was tried.
    pub tries: u32,
    /// Tokens held back.
    pub held_tokens: u32,
    /// Time it added.
    pub added_ms: f64,
}

/// What happens to traffic that cannot be scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// It passes, annotated.
    FailOpen,
    /// It is stopped.
    FailClosed,
}

/// What to do about flags on a route.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Version of this record.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether its actions are carried out.
    pub mode: EnforcementMode,
    /// What to do about a flag.
    pub on_flag: ActionKind,
    /// What happens to traffic that cannot be scored.
    pub on_error: OnError,
    /// Tokens that must be scored ahead of the one that leaves; at least 1.
    pub hold_tokens: u32,
    /// Largest number of resamples.
    pub max_retries: u32,
    /// Largest added time, in milliseconds.
    pub budget_ms: u64,
}

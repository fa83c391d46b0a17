//! The verdict: one type in library, `/score`, stream and audit row.

use serde::{Deserialize, Serialize};

use crate::{FormatVersion, HookPoint, PolicyRef, ProbeMatch};

/// What candor says about one reply.
///
/// What could not be scored is an error or [`VerdictKind::Abstain`] with a reason, never a zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verdict {
    /// Version of this record.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub format_version: FormatVersion,
    /// Unique id (ULID).
    pub id: String,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The decision.
    pub verdict: VerdictKind,
    /// Why it abstains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was done about it; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<crate::Action>,
    /// The policy that decided.
    pub policy: PolicyRef,
    /// Calibrated probability per target, from the acting probes.
    pub scores: Scores,
    /// What each probe said.
    pub probes: Vec<ProbeVerdict>,
    /// The model that was watched.
    pub model: String,
    /// Where the scored tokens came from.
    pub source: ScoreSource,
    /// How closely the loaded model matches the acting probe's.
    pub probe_match: ProbeMatch,
    /// Whether the loaded model wrote the reply.
    pub on_policy: OnPolicy,
    /// Whether the whole prompt was seen.
    pub exact: bool,
    /// Tokens in and out.
    pub usage: Usage,
    /// Where the time went.
    pub timing_ms: Timing,
}

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Below the threshold.
    Pass,
    /// At or above the threshold: suspected deception.
    Flag,
    /// Cannot say.
    Abstain,
}

/// Calibrated probability per target; absent where no acting probe covers the target.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Scores {
    /// Probability of deception.
    #[serde(default)]
    pub deception: Option<f64>,
    /// Probability of harmful intent.
    #[serde(default)]
    pub harmful_intent: Option<f64>,
}

/// Where the scored tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ScoreSource {
    /// The loaded model wrote them.
    Generated,
    /// The loaded model read them.
    Read,
    /// Activations were sent in.
    Activations,
}

/// Whether the loaded model wrote the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OnPolicy {
    /// It did.
    Yes,
    /// It did not.
    No,
    /// The caller did not say.
    Unknown,
}

/// What a probe is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ProbeRole {
    /// Decides.
    Acting,
    /// Is only recorded.
    Shadow,
    /// Chooses among retries.
    Chooser,
}

/// What one probe said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProbeVerdict {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// SHA-256 of its tensors.
    pub sha256: String,
    /// What it is used for.
    pub role: ProbeRole,
    /// Its own decision.
    pub verdict: VerdictKind,
    /// Pooled logit of the reply.
    pub logit: f64,
    /// Calibrated probability.
    pub probability: Option<f64>,
    /// Logit at or above which it flags; absent where none is certified.
    pub threshold: Option<f64>,
    /// Largest tolerated rate of false alarms on ordinary traffic.
    pub fpr_budget: Option<f64>,
    /// What the threshold's promise rests on.
    pub certified: Option<Certificate>,
    /// Share of control replies with a lower logit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// Logit at the end of the prompt, before any token of the reply.
    pub intent: Option<f64>,
    /// Index of the first reply token at which the pooled logit reached the threshold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_flag_token: Option<usize>,
    /// Pooled logit per reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readings: Option<Vec<Reading>>,
    /// Logit per reply token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<TokenScore>>,
    /// How far the reply is from what the probe knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ood: Option<OutOfDistribution>,
}

/// What a threshold's promise rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Certificate {
    /// Independent calibration scenarios.
    pub n: u64,
    /// Probability that the promise does not hold.
    pub delta: f64,
    /// Name of the calibration data.
    pub calibrated_on: String,
}

/// Pooled logit of one reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reading {
    /// Where it reads.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub hook_point: HookPoint,
    /// Its pooled logit.
    pub logit: f64,
}

/// Logit of one reply token, read where the token is the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TokenScore {
    /// Index in the reply, from 0.
    pub index: usize,
    /// The token's text; absent under `--no-text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The logit; absent for a token that the probe's readings do not cover.
    pub logit: Option<f64>,
}

/// Distance from the activations that a probe was calibrated on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OutOfDistribution {
    /// Squared Mahalanobis distance.
    pub distance: f64,
    /// Largest distance at which the probe still speaks.
    pub limit: f64,
}

/// Tokens in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    /// Tokens of the reply.
    pub response_tokens: usize,
    /// Tokens that went through the model, less than their sum where a prefix was reused.
    pub computed_tokens: usize,
}

/// Where the time went, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Timing {
    /// Waiting for the engine.
    pub queue: f64,
    /// Forward passes and probes.
    pub inference: f64,
    /// From request to verdict.
    pub total: f64,
}

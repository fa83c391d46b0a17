//! Types that cross crates: hook points, dialogues, model fingerprints, verdicts and evaluations.
//!
//! This crate does no I/O and no arithmetic. Everything here has a serde form that is part of a
//! file format or of the HTTP interface, so a change is a change of contract: unknown fields are
//! kept or ignored, a newer major [`FormatVersion`] is refused.
//!
//! ```
//! use candor_schema::HookPoint;
//!
//! let point: HookPoint = "blocks.12.hook_resid_post".parse()?;
//! assert_eq!(point.column_name(), "resid_post_12");
//! # Ok::<(), candor_schema::Error>(())
//! ```

mod error;
mod format_version;

mod hook_point;

mod dialogue;
mod label;

mod fingerprint;

mod evaluation;
mod interval;
mod verdict;

mod audit;
mod policy;
mod review;

pub use audit::AuditRow;
pub use dialogue::{Belief, Dialogue, Key, KeyKind, Message, Span, ToolCall};
pub use error::Error;
pub use evaluation::{
    BudgetAlarms, Calibration, DatasetSummary, DetectorKind, DetectorRow, Divergence,
    DivergencePoint, Evaluation, GroupRow, HardNegativeRow, LayerRow, LeadTime, Light, LightColour,
    ModelSummary, Openings, OperatingPoint, ProbeSummary, Refits, ReliabilityBin, SamePrompt,
    ScoredDialogue, SplitCounts, TokenLogit, TokenTrace,
};
pub use fingerprint::{Adapter, ModelFingerprint, ProbeMatch};
pub use format_version::FormatVersion;
pub use hook_point::{HookPoint, Layer, Site};
pub use interval::{Interval, Proportion};
pub use label::{Incentive, Label, Mode, Motive, Origin, Role, Segment, Split};
pub use policy::{Action, ActionKind, EnforcementMode, OnError, Policy, PolicyRef};
pub use review::{Review, ReviewOutcome};
pub use verdict::{
    Certificate, OnPolicy, OutOfDistribution, ProbeRole, ProbeVerdict, Reading, ScoreSource,
    Scores, Timing, TokenScore, Usage, Verdict, VerdictKind,
};

//! Bodies of the answers that are not verdicts.

use candor_detect::{Detector, LoadedProbe};
use candor_schema::{HookPoint, ModelFingerprint, ProbeMatch, ProbeRole};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::options::ServerOptions;
use crate::request::{MAX_HOOK_POINTS, MAX_MESSAGES};

/// Version of candor that answers.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether scores are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Health {
    /// `ready`, or why not.
    pub(crate) status: HealthStatus,
    /// Version of candor.
    pub(crate) candor_version: String,
}

/// Whether scores are answered, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthStatus {
    /// Scores are answered.
    Ready,
    /// No model is loaded yet.
    Loading,
    /// The server is shutting down.
    Draining,
    /// The model's thread has died.
    Failed,
}

/// What is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Info {
    /// Version of candor.
    pub(crate) candor_version: String,
    /// The loaded model.
    pub(crate) model: ModelInfo,
    /// The loaded probes, in the order in which verdicts list them.
    pub(crate) probes: Vec<ProbeInfo>,
    /// What requests are measured against.
    pub(crate) limits: Limits,
    /// Whether texts of tokens are left out of every reply.
    pub(crate) no_text: bool,
}

/// The loaded model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelInfo {
    /// Its name, as `model` in requests.
    pub(crate) name: String,
    /// Its architecture, for example `llama`.
    pub(crate) architecture: String,
    /// Its blocks.
    pub(crate) n_layers: usize,
    /// Width of its residual stream.
    pub(crate) d_model: usize,
    /// Its identity.
    pub(crate) fingerprint: ModelFingerprint,
}

/// A loaded probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProbeInfo {
    /// Its name, as in `probes` of requests.
    pub(crate) name: String,
    /// Version of its bundle.
    pub(crate) version: String,
    /// SHA-256 of its tensors.
    pub(crate) sha256: String,
    /// What it is used for.
    pub(crate) role: ProbeRole,
    /// Where it reads, and how wide.
    pub(crate) hook_points: Vec<HookPointInfo>,
    /// Where it flags; absent where no threshold is certified.
    pub(crate) threshold: Option<ThresholdInfo>,
    /// How closely the loaded model matches the one it was made on. Its threshold holds, and it does not
    /// abstain, only where this is `exact`.
    #[serde(rename = "match")]
    pub(crate) matched: ProbeMatch,
}

/// A hook point that a probe reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct HookPointInfo {
    /// TransformerLens name.
    #[schema(value_type = String)]
    pub(crate) hook_point: HookPoint,
    /// Numbers per token.
    pub(crate) width: usize,
}

/// A certified threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ThresholdInfo {
    /// Logit at or above which a reply is flagged.
    pub(crate) logit: f64,
    /// Largest tolerated rate of false alarms on ordinary traffic.
    pub(crate) fpr_budget: f64,
    /// Probability that the rate is higher nevertheless.
    pub(crate) delta: f64,
    /// Independent control scenarios that it rests on.
    pub(crate) n: u64,
    /// Name of the control data.
    pub(crate) calibrated_on: String,
}

/// What requests are measured against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Limits {
    /// Tokens of prompt and reply together.
    pub(crate) n_ctx: usize,
    /// Bytes of a body.
    pub(crate) max_body_bytes: usize,
    /// Messages of a chat.
    pub(crate) max_messages: usize,
    /// Hook points of sent activations.
    pub(crate) max_hook_points: usize,
    /// Requests that may wait.
    pub(crate) queue: usize,
    /// Requests in one forward pass.
    pub(crate) batch: usize,
    /// Longest time to a verdict, in milliseconds.
    pub(crate) timeout_ms: u64,
}

impl Info {
    pub(crate) fn new(detector: &Detector, options: &ServerOptions) -> Self {
        let model = detector.model();
        let config = model.config();
        Self {
            candor_version: VERSION.to_owned(),
            model: ModelInfo {
                name: model.name().to_owned(),
                architecture: config.architecture.clone(),
                n_layers: config.n_layers,
                d_model: config.d_model,
                fingerprint: model.fingerprint().clone(),
            },
            probes: detector
                .probes()
                .iter()
                .map(|probe| ProbeInfo::new(probe))
                .collect(),
            limits: Limits {
                n_ctx: config.n_ctx,
                max_body_bytes: options.max_body_bytes,
                max_messages: MAX_MESSAGES,
                max_hook_points: MAX_HOOK_POINTS,
                queue: options.queue,
                batch: options.batch,
                timeout_ms: u64::try_from(options.timeout.as_millis()).unwrap_or(u64::MAX),
            },
            no_text: options.no_text,
        }
    }
}

impl ProbeInfo {
    fn new(loaded: &LoadedProbe) -> Self {
        let probe = loaded.probe();
        Self {
            name: loaded.name().to_owned(),
            version: loaded.bundle().config().version.clone(),
            sha256: loaded.bundle().sha256().to_owned(),
            role: loaded.role(),
            hook_points: probe
                .readings()
                .iter()
                .map(|reading| HookPointInfo {
                    hook_point: reading.hook_point(),
                    width: reading.width(),
                })
                .collect(),
            threshold: probe.threshold().map(|threshold| ThresholdInfo {
                logit: threshold.logit,
                fpr_budget: threshold.fpr_budget,
                delta: threshold.delta,
                n: threshold.n,
                calibrated_on: threshold.calibrated_on.clone(),
            }),
            matched: loaded.matched(),
        }
    }
}

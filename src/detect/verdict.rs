//! From scores to the one verdict type.

use candor_probe::{Logit, Target};
use candor_schema::{
    Certificate, EnforcementMode, FormatVersion, OnPolicy, PolicyRef, ProbeMatch, ProbeRole,
    ProbeVerdict, Reading, ScoreSource, Scores, Timing, TokenScore, Verdict, VerdictKind,
};

use crate::detector::Detector;
use crate::reading::Scored;
use crate::running::RunningProbe;

/// What a verdict is to contain beside its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detail {
    /// Logit per token.
    pub tokens: bool,
    /// Text per token; only with `tokens`.
    pub texts: bool,
    /// Pooled logit per reading.
    pub readings: bool,
}

/// Where the scored reply comes from, for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provenance {
    /// Where the tokens came from.
    pub source: ScoreSource,
    /// Whether the loaded model wrote the reply.
    pub on_policy: OnPolicy,
    /// Whether the whole prompt was seen.
    pub exact: bool,
}

/// Why a probe abstains although it has a score.
const UNCALIBRATED: &str = "uncalibrated: no threshold is certified for this model";

impl Detector {
    /// The verdict on one reply.
    pub fn verdict(
        &self,
        scored: &Scored,
        provenance: Provenance,
        detail: Detail,
        timing: Timing,
    ) -> Verdict {
        let probes: Vec<ProbeVerdict> = scored
            .probes
            .iter()
            .map(|probe| probe_verdict(probe, scored, detail))
            .collect();
        let acting = || {
            scored
                .probes
                .iter()
                .zip(&probes)
                .filter(|(probe, _)| probe.loaded().role() == ProbeRole::Acting)
        };
        let says = |kind| acting().any(|(_, probe)| probe.verdict == kind);
        let verdict = if says(VerdictKind::Flag) {
            VerdictKind::Flag
        } else if says(VerdictKind::Abstain) {
            VerdictKind::Abstain
        } else {
            VerdictKind::Pass
        };
        let score = |target| {
            let of_target = acting()
                .filter(|(probe, _)| probe.loaded().bundle().config().targets.contains(&target));
            of_target
                .filter_map(|(_, probe)| probe.probability)
                .reduce(f64::max)
        };
        Verdict {
            format_version: FormatVersion::CURRENT,
            id: ulid::Ulid::new().to_string(),
            created: jiff::Timestamp::now().to_string(),
            verdict,
            reason: (verdict == VerdictKind::Abstain).then(|| UNCALIBRATED.to_owned()),
            action: None,
            policy: PolicyRef {
                name: "none".into(),
                version: "1.0".into(),
                mode: EnforcementMode::Shadow,
            },
            scores: Scores {
                deception: score(Target::Deception),
                harmful_intent: score(Target::HarmfulIntent),
            },
            probe_match: acting()
                .map(|(probe, _)| probe.loaded().matched())
                .max_by_key(|matched| distance(*matched))
                .unwrap_or(ProbeMatch::Exact),
            probes,
            model: self.model().name().to_owned(),
            source: provenance.source,
            on_policy: provenance.on_policy,
            exact: provenance.exact,
            usage: scored.usage,
            timing_ms: timing,
        }
    }
}

fn probe_verdict(running: &RunningProbe, scored: &Scored, detail: Detail) -> ProbeVerdict {
    let loaded = running.loaded();
    let config = loaded.bundle().config();
    let probe = loaded.probe();
    let logit = running
        .logit()
        .expect("a reply without tokens is refused before it is scored");
    // A threshold's promise is about the model it was certified on.
    let threshold = probe
        .threshold()
        .filter(|_| loaded.matched() == ProbeMatch::Exact);
    let verdict = match threshold.map(|threshold| threshold.flags(logit.as_f64())) {
        Some(true) => VerdictKind::Flag,
        Some(false) => VerdictKind::Pass,
        None => VerdictKind::Abstain,
    };
    let tokens = detail.tokens.then(|| {
        let text = |index: usize| scored.texts.get(index).filter(|_| detail.texts).cloned();
        let token = |(index, logit): (usize, &Logit)| TokenScore {
            index,
            text: text(index),
            logit: Some(logit.as_f64()),
        };
        running.tokens().iter().enumerate().map(token).collect()
    });
    let readings = detail.readings.then(|| {
        let reading = |(point, logit): (&_, Logit)| Reading {
            hook_point: *point,
            logit: logit.as_f64(),
        };
        probe
            .hook_points()
            .iter()
            .zip(running.readings())
            .map(reading)
            .collect()
    });
    ProbeVerdict {
        name: config.name.clone(),
        version: config.version.clone(),
        sha256: loaded.bundle().sha256().to_owned(),
        role: loaded.role(),
        verdict,
        logit: logit.as_f64(),
        probability: probe
            .probability(logit)
            .filter(|_| loaded.matched() == ProbeMatch::Exact),
        threshold: threshold.map(|threshold| threshold.logit),
        fpr_budget: threshold.map(|threshold| threshold.fpr_budget),
        certified: threshold.map(|threshold| Certificate {
            n: threshold.n,
            delta: threshold.delta,
            calibrated_on: threshold.calibrated_on.clone(),
        }),
        percentile: loaded.bundle().percentile(logit.as_f64()),
        intent: running.intent().map(Logit::as_f64),
        first_flag_token: running.first_flag_token().filter(|_| threshold.is_some()),
        readings,
        tokens,
        ood: None,
    }
}

/// How far a match is from exact.
fn distance(matched: ProbeMatch) -> u8 {
    match matched {
        ProbeMatch::Exact => 0,
        ProbeMatch::Adapted => 1,
        ProbeMatch::Requantised => 2,
        ProbeMatch::Transferred => 3,
    }
}

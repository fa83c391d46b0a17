//! Prefix reuse, rewinding, branching and writing give the scores of a fresh run.
//!
//! On a tiny model with random weights, which is made here; and on the default model where
//! `CANDOR_MODEL_DIR` names a folder with it. `CANDOR_REQUIRE_MODEL=1` turns a skip into a failure.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests, which say why they are skipped"
)]

mod reuse;
mod rewind;
mod tiny;
mod writing;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use candor_detect::{Detector, LoadedProbe, RunningProbe, ScoreInput, Scored};
use candor_model::Model;
use candor_probe::{Bundle, BundleConfig, Combiner, CombinerKind, Reading, Target, threshold};
use candor_schema::{FormatVersion, HookPoint};

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Products of other shapes may add in another order. What is restored is compared to the bit.
const TOLERANCE: f64 = 1e-3;

/// The tiny model, made once per process.
fn tiny_model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| Arc::new(tiny::model())))
}

/// The default model, or `None` after saying why the test is skipped.
fn real_model() -> Option<Arc<Model>> {
    let path = std::env::var_os("CANDOR_MODEL_DIR").map(|folder| Path::new(&folder).join(FILE));
    let Some(path) = path.filter(|path| path.exists()) else {
        assert!(
            std::env::var_os("CANDOR_REQUIRE_MODEL").is_none(),
            "CANDOR_REQUIRE_MODEL is set, but CANDOR_MODEL_DIR has no {FILE}"
        );
        eprintln!("skipped: CANDOR_MODEL_DIR has no {FILE} (`candor model pull` brings it)");
        return None;
    };
    Some(Arc::new(Model::open(&path).unwrap()))
}

/// A detector with three probes, which read up to layers 0, 1 and 2: `alpha`, `beta`, `gamma`.
fn detector(model: &Arc<Model>) -> Detector {
    Detector::new(Arc::clone(model))
        .with_probe(bundle(model, "alpha", &[0], "mean"), false)
        .unwrap()
        .with_probe(bundle(model, "beta", &[0, 1], "max"), false)
        .unwrap()
        .with_probe(bundle(model, "gamma", &[2], "last"), false)
        .unwrap()
}

fn probes(detector: &Detector, names: &[&str]) -> Vec<Arc<LoadedProbe>> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    detector.select(&names).unwrap()
}

fn bundle(model: &Model, name: &str, layers: &[usize], pooling: &str) -> Bundle {
    let points: Vec<HookPoint> = layers.iter().map(|&l| HookPoint::resid_post(l)).collect();
    let readings = points.iter().map(|&point| {
        let width = model.hook_width(point).unwrap();
        // Any direction does: what is tested is that every way to it gives the same logit.
        let weight = (0..width).map(|i| ((i * 37 + 11) % 101) as f32 / 101.0 - 0.5);
        let (mean, scale) = (vec![0.0; width], vec![1.0; width]);
        Reading::new(point, mean, scale, weight.collect(), vec![0.125]).unwrap()
    });
    let readings = readings.collect();
    let (combiner, kind) = if layers.len() == 1 {
        (Combiner::Single, CombinerKind::Single)
    } else {
        let weight = vec![0.5; layers.len()];
        let combiner = Combiner::WeightedSum { weight, bias: 0.0 };
        (combiner, CombinerKind::WeightedSum)
    };
    let controls: Vec<f64> = (0..59).map(|i| f64::from(i) / 59.0 - 0.5).collect();
    let config = BundleConfig {
        format_version: FormatVersion::CURRENT,
        name: name.into(),
        version: "1.0".into(),
        candor_version: "0.1.0".into(),
        targets: vec![Target::Deception],
        kind: "logistic".into(),
        hook_points: points,
        pooling: pooling.into(),
        combiner: kind,
        calibration: None,
        threshold: Some(threshold(&controls, 0.05, 0.05).unwrap().named("ordinary")),
        control_quantiles: None,
        model: model.name().into(),
        fingerprint: model.fingerprint().clone(),
        data: BTreeMap::new(),
        seed: 0,
        command: "candor train".into(),
        metrics: BTreeMap::new(),
        model_sha256: None,
        extra: serde_json::Map::new(),
    };
    Bundle::new(config, readings, combiner).unwrap()
}

fn ids(prompt: &[u32], response: &[u32]) -> ScoreInput {
    ScoreInput::TokenIds {
        prompt: prompt.to_vec(),
        response: response.to_vec(),
    }
}

/// Tokens that look like nothing in particular.
fn tokens(n: usize, seed: usize) -> Vec<u32> {
    (0..n)
        .map(|i| ((i * i * 7 + i * 13 + seed * 31) % 250) as u32)
        .collect()
}

/// Every number that probes give: pooled logit, intent, each reading, each token.
fn numbers(probe: &RunningProbe) -> Vec<f64> {
    let pooled = probe.logit().into_iter().chain(probe.intent());
    pooled
        .chain(probe.readings())
        .chain(probe.tokens().iter().copied())
        .map(candor_probe::Logit::as_f64)
        .collect()
}

fn bits(probe: &RunningProbe) -> Vec<u64> {
    numbers(probe).into_iter().map(f64::to_bits).collect()
}

/// Largest difference of any number, over probes in the same order.
#[track_caller]
fn difference(a: &[RunningProbe], b: &[RunningProbe]) -> f64 {
    assert_eq!(a.len(), b.len());
    let mut largest = 0.0f64;
    for (a, b) in a.iter().zip(b) {
        assert_eq!(a.loaded().name(), b.loaded().name());
        let (a, b) = (numbers(a), numbers(b));
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            largest = largest.max((a - b).abs());
        }
    }
    largest
}

#[track_caller]
fn assert_agree(a: &Scored, b: &Scored) {
    let difference = difference(&a.probes, &b.probes);
    assert!(difference <= TOLERANCE, "{difference}");
    assert_eq!(a.texts, b.texts);
    assert_eq!(a.usage.prompt_tokens, b.usage.prompt_tokens);
    assert_eq!(a.usage.response_tokens, b.usage.response_tokens);
}

//! The default model's real weights against independent implementations.
//!
//! Runs where `CANDOR_MODEL_DIR` names a folder with the model; otherwise each test prints why it
//! is skipped. `CANDOR_REQUIRE_MODEL=1` turns a skip into a failure.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "helpers of tests, which print what they measured and why they are skipped"
)]

mod adapter;
#[path = "../../tokenizer/tests/checks.rs"]
mod checks;
mod device;
mod engine;
mod others;
mod reference;
mod text;
mod tokenizers;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use candor_model::{
    Compute, Device, Hooks, LogitRows, Logits, Model, Options, Recorder, Sequence, StepItem,
    Tokenizer,
};
use candor_schema::HookPoint;

/// What the order of additions in f32 may change of a vector, relative. Measured are 6e-6.
const ORDER_TOLERANCE: f64 = 3e-5;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Where the model is, or `None` after saying why the test is skipped.
fn model_path() -> Option<PathBuf> {
    let path = std::env::var_os("CANDOR_MODEL_DIR").map(|folder| Path::new(&folder).join(FILE));
    let found = path.filter(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("CANDOR_REQUIRE_MODEL").is_none(),
            "CANDOR_REQUIRE_MODEL is set, but CANDOR_MODEL_DIR has no {FILE}"
        );
        eprintln!("skipped: CANDOR_MODEL_DIR has no {FILE} (`candor model pull` brings it)");
    }
    found
}

/// The model in its exact arithmetic, loaded once per process.
fn model() -> Option<&'static Model> {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let path = model_path()?;
    let options = Options {
        compute: Some(Compute::F32),
        ..Options::default()
    };
    Some(MODEL.get_or_init(|| Model::open_with(&path, &options).unwrap()))
}

/// The model in its default arithmetic, likewise.
fn fast_model() -> Option<&'static Model> {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let path = model_path()?;
    Some(MODEL.get_or_init(|| Model::open(&path).unwrap()))
}

/// The model in f32 by the decoder that GPUs run, likewise.
fn tensor_model() -> Option<&'static Model> {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let path = model_path()?;
    Some(MODEL.get_or_init(|| open_tensors(&path, Compute::F32, Vec::new())))
}

fn open_tensors(path: &Path, compute: Compute, adapters: Vec<(PathBuf, f32)>) -> Model {
    let options = Options {
        device: Device::Tensors,
        compute: Some(compute),
        adapters,
    };
    Model::open_with(path, &options).unwrap()
}

/// All of them, for what must hold in each.
fn models() -> impl Iterator<Item = &'static Model> {
    [model(), fast_model(), tensor_model()]
        .into_iter()
        .flatten()
}

/// Checks that two ways lead to the same numbers: to the bit on the processor's own decoder,
/// elsewhere but for the order of additions, which the tensor library chooses by the sizes.
#[track_caller]
fn assert_same(model: &Model, found: &[f32], expected: &[f32]) {
    if model.device() == Device::Cpu {
        assert_eq!(found, expected);
    } else {
        let difference = relative_l2(found, expected);
        assert!(difference <= ORDER_TOLERANCE, "{difference:e}");
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/smollm2")
        .join(name)
}

/// What a recorder kept of one item at one point, row-major `[position, width]`.
fn rows(recorder: &Recorder, point: HookPoint, item: usize) -> &[f32] {
    let index = recorder.hook_points().binary_search(&point).unwrap();
    &recorder.item(item)[index]
}

/// Runs whole prompts in one step and records every `resid_post`.
fn run(model: &Model, prompts: &[&[u32]], logits: LogitRows) -> (Recorder, Vec<Logits>) {
    let n_layers = model.config().n_layers;
    let points: Vec<HookPoint> = (0..n_layers).map(HookPoint::resid_post).collect();
    let mut recorder = Recorder::new(&points, vec![0; prompts.len()]);
    let mut sequences: Vec<Sequence> = prompts.iter().map(|_| Sequence::new()).collect();
    let mut items: Vec<StepItem<'_>> = sequences
        .iter_mut()
        .zip(prompts)
        .map(|(sequence, tokens)| StepItem {
            sequence,
            tokens,
            logits,
        })
        .collect();
    let logits = model
        .step(
            &mut items,
            n_layers,
            &mut Hooks::none().observe(&mut recorder),
        )
        .unwrap();
    (recorder, logits)
}

/// `‖a − b‖ / ‖b‖`.
fn relative_l2(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / norm(&mut b.iter().map(|b| f64::from(*b)))
}

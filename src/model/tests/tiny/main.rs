//! Every architecture against transformers: tiny models with random weights, each as a folder and,
//! where llama.cpp has the same model, as GGUF.
//!
//! `tests/fixtures/tiny/README.md` says what the files are.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use candor_model::{
    Compute, Device, Hooks, LogitRows, Model, Options, Recorder, Sequence, StepItem,
};
use candor_schema::{HookPoint, ProbeMatch};
use safetensors::SafeTensors;

/// Largest `|a - b| / |b|` of a vector. The reference's own distance from float64 is below 1e-6 in
/// the logits, its own merged adapters within 4e-6; ours adds in another order.
const TOLERANCE: f64 = 2e-5;

/// The same where weights, inputs and results of products are rounded to bf16, each by up to 2⁻⁹.
const BF16_TOLERANCE: f64 = 5e-2;

/// Both decoders: the processor's own, and the one that runs on GPUs.
const DEVICES: [Device; 2] = [Device::Cpu, Device::Tensors];

/// Each model's folder and its files that can be opened, the empty one for the folder itself.
const MODELS: &[(&str, &[&str])] = &[
    ("llama", &["", "model.gguf"]),
    ("llama3", &["", "model.gguf"]),
    ("llama_linear", &["", "model.gguf"]),
    ("mistral", &[""]),
    ("qwen2", &["", "model-00001-of-00002.gguf"]),
    ("qwen2_window", &[""]),
    ("qwen3", &["", "model.gguf"]),
    ("qwen3_yarn", &["", "model.gguf"]),
    ("qwen3moe", &["", "model.gguf"]),
    ("gemma2", &["", "model.gguf"]),
    ("gemma3", &["", "model.gguf"]),
    ("phi3", &["", "model.gguf"]),
    ("olmo2", &["", "model.gguf"]),
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/tiny")
        .join(name)
}

fn open(path: &Path, device: Device, compute: Compute, adapters: Vec<(PathBuf, f32)>) -> Model {
    let options = Options {
        device,
        compute: Some(compute),
        adapters,
    };
    Model::open_with(path, &options).unwrap()
}

/// What transformers computed: rows of some positions at each point.
struct Expected {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    values: Vec<u8>,
}

impl Expected {
    fn read(model: &str) -> Self {
        let folder = fixture(model);
        let facts = std::fs::read(folder.join("expected.json")).unwrap();
        let facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
        let numbers = |key: &str| -> Vec<u64> {
            let values = facts[key].as_array().unwrap().iter();
            values.map(|value| value.as_u64().unwrap()).collect()
        };
        Self {
            tokens: numbers("tokens").into_iter().map(|id| id as u32).collect(),
            positions: numbers("positions")
                .into_iter()
                .map(|at| at as usize)
                .collect(),
            values: std::fs::read(folder.join("expected.safetensors")).unwrap(),
        }
    }

    /// Name and `[position, width]` of every tensor.
    fn tensors(&self) -> Vec<(String, Vec<f32>)> {
        let file = SafeTensors::deserialize(&self.values).unwrap();
        let tensors = file.tensors().into_iter();
        tensors
            .map(|(name, view)| {
                let values = view.data().chunks_exact(4);
                let values = values.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
                (name, values.collect())
            })
            .collect()
    }
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |x: f64| x * x;
    let difference: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    let norm: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    (difference / norm).sqrt()
}

/// Checks every expected vector of a model, and returns the worst distance.
#[track_caller]
fn check(path: &Path, model: &Model, expected: &Expected, tolerance: f64) -> f64 {
    let tensors = expected.tensors();
    let points: Vec<HookPoint> = tensors
        .iter()
        .filter_map(|(name, _)| HookPoint::from_str(name).ok())
        .collect();
    assert_eq!(
        points.len() + 1,
        tensors.len(),
        "all but the logits are points"
    );
    let mut recorder = Recorder::new(&points, vec![0]);
    let mut sequence = Sequence::new();
    let mut items = [StepItem {
        sequence: &mut sequence,
        tokens: &expected.tokens,
        logits: LogitRows::From(0),
    }];
    let mut hooks = Hooks::none().observe(&mut recorder);
    let logits = model
        .step(&mut items, model.config().n_layers, &mut hooks)
        .unwrap();
    let mut worst: f64 = 0.0;
    for (name, values) in &tensors {
        let width = values.len() / expected.positions.len();
        for (&at, row) in expected.positions.iter().zip(values.chunks_exact(width)) {
            let found = match HookPoint::from_str(name) {
                Ok(point) => {
                    let index = recorder.hook_points().binary_search(&point).unwrap();
                    &recorder.item(0)[index][at * width..(at + 1) * width]
                }
                Err(_) => &logits[0][at],
            };
            let distance = distance(found, row);
            assert!(
                distance <= tolerance,
                "{} on `{}`: `{name}` at {at} is off by {distance:e}",
                path.display(),
                model.device()
            );
            worst = worst.max(distance);
        }
    }
    worst
}

#[test]
#[expect(clippy::print_stdout, reason = "tests print what they measured")]
fn every_hook_point_equals_the_reference() {
    for (name, files) in MODELS {
        let expected = Expected::read(name);
        for file in *files {
            let path = fixture(name).join(file);
            let [cpu, tensors] = DEVICES.map(|device| {
                let model = open(&path, device, Compute::F32, Vec::new());
                check(&path, &model, &expected, TOLERANCE)
            });
            let bf16 = open(&path, Device::Tensors, Compute::Bf16, Vec::new());
            let bf16 = check(&path, &bf16, &expected, BF16_TOLERANCE);
            println!(
                "{name}/{file}: worst {cpu:.1e}, over tensors {tensors:.1e}, in bf16 {bf16:.1e}"
            );
        }
    }
}

#[test]
fn adapted_models_equal_the_reference() {
    for (model, adapter) in [
        ("llama", "llama_lora"),
        ("llama/model.gguf", "llama_lora"),
        ("qwen2", "qwen2_lora"),
        ("qwen2/model-00001-of-00002.gguf", "qwen2_lora"),
    ] {
        let path = fixture(model);
        let base = Expected::read(model.split('/').next().unwrap());
        for device in DEVICES {
            let open = |factor| {
                let adapters = vec![(fixture(adapter), factor)];
                open(&path, device, Compute::F32, adapters)
            };
            check(&path, &open(1.0), &Expected::read(adapter), TOLERANCE);
            check(&path, &open(0.0), &base, TOLERANCE);
        }
    }
}

#[test]
fn a_folder_and_its_gguf_are_told_apart_by_their_fingerprints() {
    let open = |name: &str| Model::open(&fixture(name)).unwrap().fingerprint().clone();
    let (folder, gguf) = (open("qwen3"), open("qwen3/model.gguf"));
    assert_eq!(folder.architecture, gguf.architecture);
    assert_ne!(folder.weights_sha256, gguf.weights_sha256);
    assert_eq!(
        (folder.quantisation.as_str(), gguf.quantisation.as_str()),
        ("BF16", "F16")
    );
}

#[test]
fn each_arithmetic_has_a_fingerprint_of_its_own() {
    let path = fixture("llama");
    let of = |device, compute| {
        open(&path, device, compute, Vec::new())
            .fingerprint()
            .clone()
    };
    let cpu = of(Device::Cpu, Compute::F32);
    let exact = of(Device::Tensors, Compute::F32);
    let rounded = of(Device::Tensors, Compute::Bf16);
    let names = [&cpu, &exact, &rounded].map(|fingerprint| fingerprint.compute.as_str());
    assert_eq!(names, ["f32", "f32@tensors", "bf16@tensors"]);
    assert_eq!(cpu.compare(&exact), ProbeMatch::Requantised);
    assert_eq!(exact.compare(&rounded), ProbeMatch::Requantised);
    assert_eq!(exact.compare(&exact), ProbeMatch::Exact);
}

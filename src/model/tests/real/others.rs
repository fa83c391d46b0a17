//! The other real models, in the exact arithmetic, against transformers on the same files.
//!
//! Each test runs where `CANDOR_MODEL_DIR` has the model, and says so where not: the tests of every
//! day need the default model only.

use candor_model::{
    Compute, Device, Hooks, LogitRows, Model, Options, Recorder, Sequence, StepItem,
};
use candor_schema::HookPoint;
use safetensors::SafeTensors;

use crate::{relative_l2, rows};

/// As for the default model.
const TOLERANCE: f64 = 1e-4;
/// Every so many logits stand in the fixture.
const STRIDE: usize = 64;

#[track_caller]
fn check(device: Device, file: &str, fixture: &str) {
    let path = std::env::var_os("CANDOR_MODEL_DIR")
        .map(|folder| std::path::PathBuf::from(folder).join(file));
    let Some(path) = path.filter(|path| path.exists()) else {
        eprintln!("skipped: CANDOR_MODEL_DIR has no {file}");
        return;
    };
    let options = Options {
        device,
        compute: Some(Compute::F32),
        ..Options::default()
    };
    let model = Model::open_with(&path, &options).unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/models/");
    let bytes = std::fs::read(format!("{folder}{fixture}.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| -> Vec<[u8; 4]> {
        let tensor = tensors.tensor(name).unwrap();
        tensor.data().as_chunks().0.to_vec()
    };
    let floats =
        |name: &str| -> Vec<f32> { words(name).into_iter().map(f32::from_le_bytes).collect() };
    let ids: Vec<u32> = words("ids").into_iter().map(u32::from_le_bytes).collect();

    let (n_layers, d_model) = (model.config().n_layers, model.config().d_model);
    let points: Vec<HookPoint> = (0..n_layers).map(HookPoint::resid_post).collect();
    let mut recorder = Recorder::new(&points, vec![0]);
    let mut sequence = Sequence::new();
    let item = StepItem {
        sequence: &mut sequence,
        tokens: &ids,
        logits: LogitRows::Last,
    };
    let mut hooks = Hooks::none().observe(&mut recorder);
    let logits = model.step(&mut [item], n_layers, &mut hooks).unwrap();

    let expected = floats("resid_post");
    let mut worst: f64 = 0.0;
    for (layer, expected) in expected.chunks_exact(2 * d_model).enumerate() {
        let found = rows(&recorder, points[layer], 0);
        let ends = [&found[..d_model], &found[found.len() - d_model..]];
        for (found, expected) in ends.iter().zip(expected.chunks_exact(d_model)) {
            let difference = relative_l2(found, expected);
            assert!(
                difference <= TOLERANCE,
                "{file} on `{device}`, layer {layer}: {difference:e}"
            );
            worst = worst.max(difference);
        }
    }
    assert_eq!(expected.len(), n_layers * 2 * d_model);
    let found: Vec<f32> = logits[0][0].iter().copied().step_by(STRIDE).collect();
    let difference = relative_l2(&found, &floats("logits"));
    assert!(difference <= TOLERANCE, "{file}, logits: {difference:e}");
    println!(
        "{file} on `{device}`: largest relative L2 difference {:.2e}",
        worst.max(difference)
    );
}

#[test]
fn qwen_0_5b() {
    for device in [Device::Cpu, Device::Tensors] {
        check(
            device,
            "qwen2.5-coder-0.5b-instruct-Q4_K_M.gguf",
            "qwen2.5-coder-0.5b",
        );
    }
}

#[test]
fn qwen_1_5b() {
    check(
        Device::Cpu,
        "qwen2.5-coder-1.5b-instruct-Q4_K_M.gguf",
        "qwen2.5-coder-1.5b",
    );
}

#[test]
fn gemma_270m() {
    for device in [Device::Cpu, Device::Tensors] {
        check(device, "gemma-3-270m-Q4_K_M.gguf", "gemma-3-270m");
    }
}

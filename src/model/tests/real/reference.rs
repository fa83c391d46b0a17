//! Residual streams and logits against transformers and candle-transformers on the same weights.

use candle_core::{Device, Tensor};
use candor_model::{Hooks, LogitRows, Recorder, Sequence, StepItem};
use candor_schema::{HookPoint, Site};
use safetensors::SafeTensors;

use crate::{FILE, fast_model, fixture, model, model_path, relative_l2, rows, run};

/// Two f32 implementations that add in another order differ by a few 1e-6 here (the fixture's
/// README has the figure against f64); 1e-4 leaves room for other CPUs and catches any mistake.
const TOLERANCE: f64 = 1e-4;

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = tensors.tensor(name).unwrap();
    tensor
        .data()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}

#[test]
fn every_layer_and_the_logits_agree_with_transformers() {
    let Some(model) = model() else { return };
    let bytes = std::fs::read(fixture("residuals.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let plan: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixture("residuals.json")).unwrap()).unwrap();
    let d_model = model.config().d_model;
    let n_layers = model.config().n_layers;
    let inner = [Site::ResidMid, Site::AttnOut, Site::MlpOut];

    let mut worst: f64 = 0.0;
    for prompt in plan["prompts"].as_array().unwrap() {
        let name = prompt["name"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(prompt["ids"].clone()).unwrap();
        let positions: Vec<usize> = serde_json::from_value(prompt["positions"].clone()).unwrap();
        let mut points: Vec<HookPoint> = (0..n_layers).map(HookPoint::resid_post).collect();
        points.extend(
            [0, 14, 29]
                .iter()
                .flat_map(|&layer| inner.map(|site| HookPoint::new(layer, site))),
        );
        let mut recorder = Recorder::new(&points, vec![0]);
        let mut sequence = Sequence::new();
        let item = StepItem {
            sequence: &mut sequence,
            tokens: &ids,
            logits: LogitRows::Last,
        };
        let logits = model
            .step(
                &mut [item],
                n_layers,
                &mut Hooks::none().observe(&mut recorder),
            )
            .unwrap();

        let expected = floats(&tensors, &format!("{name}.resid_post"));
        let mut expected = expected.chunks_exact(d_model);
        for &position in &positions {
            for layer in 0..n_layers {
                let found = &rows(&recorder, HookPoint::resid_post(layer), 0)
                    [position * d_model..(position + 1) * d_model];
                let difference = relative_l2(found, expected.next().unwrap());
                assert!(
                    difference <= TOLERANCE,
                    "{name}, position {position}, layer {layer}: {difference:e}"
                );
                worst = worst.max(difference);
            }
        }
        assert!(expected.next().is_none());
        for layer in [0, 14, 29] {
            for site in inner {
                let found = rows(&recorder, HookPoint::new(layer, site), 0);
                let expected = floats(&tensors, &format!("{name}.{}.{layer}", site.stem()));
                let difference = relative_l2(&found[found.len() - d_model..], &expected);
                assert!(
                    difference <= TOLERANCE,
                    "{name}, {site:?} of layer {layer}: {difference:e}"
                );
            }
        }
        let difference = relative_l2(&logits[0][0], &floats(&tensors, &format!("{name}.logits")));
        assert!(difference <= TOLERANCE, "{name}, logits: {difference:e}");
        worst = worst.max(difference);
    }
    println!("largest relative L2 difference to transformers: {worst:.2e}");
}

#[test]
fn logits_agree_with_candle_transformers() {
    let Some(model) = model() else { return };
    let path = model_path().unwrap();
    let mut file = std::fs::File::open(&path).unwrap();
    let content = candle_core::quantized::gguf_file::Content::read(&mut file).unwrap();
    let mut oracle = candle_transformers::models::quantized_llama::ModelWeights::from_gguf(
        content,
        &mut file,
        &Device::Cpu,
    )
    .unwrap();

    let tokens = model
        .encode_text(
            "The quick brown fox jumps over",
            " the lazy dog. 12 + 30 = 42",
        )
        .unwrap()
        .ids;
    let input = Tensor::from_slice(&tokens, (1, tokens.len()), &Device::Cpu).unwrap();
    let expected = oracle
        .forward(&input, 0)
        .unwrap()
        .squeeze(0)
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    let (_, logits) = run(model, &[&tokens], LogitRows::Last);
    // candle rounds activations to 8 bits before each quantised product, so it agrees only loosely.
    let difference = relative_l2(&logits[0][0], &expected);
    assert!(difference <= 0.05, "{FILE}: {difference:e}");
    println!(
        "relative L2 difference of logits to candle-transformers (int8 activations): {difference:.2e}"
    );
}

#[test]
fn the_default_arithmetic_stays_near_the_exact_one() {
    let (Some(exact), Some(fast)) = (model(), fast_model()) else {
        return;
    };
    let text =
        "The committee met on Tuesday. Nobody had read the report, and everyone voted for it.";
    let tokens = exact.encode_text("", text).unwrap().ids;
    let (exact_rows, exact_logits) = run(exact, &[&tokens], LogitRows::Last);
    let (fast_rows, fast_logits) = run(fast, &[&tokens], LogitRows::Last);
    let mut worst: f64 = 0.0;
    for layer in 0..exact.config().n_layers {
        let point = HookPoint::resid_post(layer);
        let difference = relative_l2(rows(&fast_rows, point, 0), rows(&exact_rows, point, 0));
        worst = worst.max(difference);
    }
    let logits = relative_l2(&fast_logits[0][0], &exact_logits[0][0]);
    println!(
        "relative L2 difference of int8 to f32: streams up to {worst:.2e}, logits {logits:.2e}"
    );
    // Eight bits per activation leave about 0.7 % of noise per product.
    assert!(worst < 0.05 && logits < 0.05, "{worst:e} {logits:e}");
}

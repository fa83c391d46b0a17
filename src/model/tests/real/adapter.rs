//! A `LoRA` adapter on quantised weights.

use std::collections::BTreeMap;
use std::path::Path;

use candor_model::{Compute, LogitRows, Model, Options};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

use crate::{ORDER_TOLERANCE, fast_model, model, model_path, open_tensors, relative_l2, run};

const RANK: usize = 4;
const LAYER: usize = 12;

/// Writes an adapter of one query and one down projection, in PEFT's format.
fn write_adapter(folder: &Path, width: usize, d_mlp: usize) {
    std::fs::write(
        folder.join("adapter_config.json"),
        r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 64, "target_modules": ["q_proj", "down_proj"], "bias": "none"}"#,
    )
    .unwrap();
    let values = |n: usize, seed: u64| -> Vec<u8> {
        // Signs without a pattern that a sum could cancel.
        (0..n as u64)
            .map(|i| i.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40 & 1)
            .map(|sign| if sign == 0 { 0.1f32 } else { -0.1 })
            .flat_map(f32::to_le_bytes)
            .collect()
    };
    let mut data = BTreeMap::new();
    for (seed, module, n_in) in [
        (1, "self_attn.q_proj", width),
        (3_000, "mlp.down_proj", d_mlp),
    ] {
        let name =
            |part: &str| format!("base_model.model.model.layers.{LAYER}.{module}.{part}.weight");
        data.insert(
            name("lora_A"),
            (vec![RANK, n_in], values(RANK * n_in, seed)),
        );
        data.insert(
            name("lora_B"),
            (vec![width, RANK], values(width * RANK, seed + 77_777)),
        );
    }
    let views = data.iter().map(|(name, (shape, bytes))| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    serialize_to_file(views, None, &folder.join("adapter_model.safetensors")).unwrap();
}

#[test]
fn an_adapter_works_on_quantised_weights_and_factor_0_is_the_base() {
    let (Some(exact), Some(base)) = (model(), fast_model()) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_adapter(folder.path(), base.config().d_model, base.config().d_mlp);
    let open = |compute, factor| {
        let options = Options {
            compute: Some(compute),
            adapters: vec![(folder.path().to_owned(), factor)],
            ..Options::default()
        };
        Model::open_with(&model_path().unwrap(), &options).unwrap()
    };
    let tokens = base
        .encode_text("", "The committee met on Tuesday.")
        .unwrap()
        .ids;
    let logits = |model: &Model| run(model, &[&tokens], LogitRows::Last).1[0][0].clone();

    let fast = Compute::Int8;
    let off = open(fast, 0.0);
    assert_eq!(
        logits(&off),
        logits(base),
        "factor 0 is the base, to the bit"
    );
    assert_eq!(off.fingerprint(), base.fingerprint());

    let (adapted, exact_adapted) = (open(fast, 1.0), open(Compute::F32, 1.0));
    let change: Vec<f32> = difference(&logits(&adapted), &logits(base));
    let exact_change = difference(&logits(&exact_adapted), &logits(exact));
    let effect = relative_l2(&logits(&adapted), &logits(base));
    assert!(effect > 0.1, "{effect}");
    // What the adapter adds is computed in f32 on either, from streams that differ a little.
    let distance = relative_l2(&change, &exact_change);
    assert!(distance < 0.3, "{distance} of {effect}");

    // The same adapter by the decoder that GPUs run.
    let adapters = vec![(folder.path().to_owned(), 1.0)];
    let tensors = open_tensors(&model_path().unwrap(), Compute::F32, adapters);
    let distance = relative_l2(&logits(&tensors), &logits(&exact_adapted));
    assert!(distance <= ORDER_TOLERANCE, "{distance}");
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

//! The decoder that GPUs run, here on the processor, beside the processor's own.

use std::sync::OnceLock;

use candor_model::{Compute, Error, Hooks, LogitRows, Model, Recorder, Sequence, StepItem};
use candor_schema::{HookPoint, Site};

use crate::{ORDER_TOLERANCE, model, model_path, open_tensors, relative_l2, tensor_model};

/// Both in f32; they only add in another order. Measured are 7e-6, in the logits.
const TOLERANCE: f64 = ORDER_TOLERANCE;

/// bf16 rounds weights, inputs and results of products by up to 2⁻⁹ each. Measured are 4.5e-2, in
/// the logits.
const BF16_TOLERANCE: f64 = 1e-1;

const TEXT: &str =
    "The committee met on Tuesday. Nobody had read the report, and everyone voted for it.";

/// The same in bf16, loaded once per process.
fn bf16_model() -> Option<&'static Model> {
    static MODEL: OnceLock<Model> = OnceLock::new();
    let path = model_path()?;
    Some(MODEL.get_or_init(|| open_tensors(&path, Compute::Bf16, Vec::new())))
}

/// Every vector at every hook point of every layer, then the logits of every token, of a text that
/// is given in steps of `size` tokens.
fn everything(model: &Model, tokens: &[u32], size: usize) -> Vec<(String, Vec<f32>)> {
    let n_layers = model.config().n_layers;
    let sites = Site::ALL
        .into_iter()
        .filter(|site| model.width(*site).is_some());
    let points: Vec<HookPoint> = sites
        .flat_map(|site| (0..n_layers).map(move |layer| HookPoint::new(layer, site)))
        .collect();
    let mut recorder = Recorder::new(&points, vec![0]);
    let (mut sequence, mut all_logits) = (Sequence::new(), Vec::new());
    for tokens in tokens.chunks(size) {
        let item = StepItem {
            sequence: &mut sequence,
            tokens,
            logits: LogitRows::From(0),
        };
        let mut hooks = Hooks::none().observe(&mut recorder);
        let logits = model.step(&mut [item], n_layers, &mut hooks).unwrap();
        all_logits.extend(logits.into_iter().flatten().flatten());
    }
    let names: Vec<String> = recorder
        .hook_points()
        .iter()
        .map(HookPoint::to_string)
        .collect();
    let vectors = recorder.into_items().remove(0);
    let logits = ("logits".to_owned(), all_logits);
    names.into_iter().zip(vectors).chain([logits]).collect()
}

/// The largest distance of a row at any hook point or in the logits.
fn largest(found: &[(String, Vec<f32>)], expected: &[(String, Vec<f32>)], n_rows: usize) -> f64 {
    let mut largest = (0.0, String::new());
    for ((name, found), (other, expected)) in found.iter().zip(expected) {
        assert_eq!(name, other);
        let width = expected.len() / n_rows;
        for (found, expected) in found.chunks(width).zip(expected.chunks(width)) {
            let difference = relative_l2(found, expected);
            assert!(difference.is_finite(), "{name}");
            if difference > largest.0 {
                largest = (difference, name.clone());
            }
        }
    }
    println!("largest at `{}`: {:.1e}", largest.1, largest.0);
    largest.0
}

#[test]
fn every_hook_point_is_that_of_the_processors_own_decoder() {
    let (Some(cpu), Some(tensors), Some(bf16)) = (model(), tensor_model(), bf16_model()) else {
        return;
    };
    let tokens = cpu.encode_text("", TEXT).unwrap().ids;
    let expected = everything(cpu, &tokens, tokens.len());
    let found = everything(tensors, &tokens, tokens.len());
    let difference = largest(&found, &expected, tokens.len());
    assert!(difference <= TOLERANCE, "f32: {difference:e}");
    let found = everything(bf16, &tokens, tokens.len());
    let difference = largest(&found, &expected, tokens.len());
    assert!(difference <= BF16_TOLERANCE, "bf16: {difference:e}");
    assert!(difference > TOLERANCE, "bf16 is rounded");
}

#[test]
fn steps_do_not_matter_but_for_rounding() {
    for (model, tolerance) in [(tensor_model(), TOLERANCE), (bf16_model(), BF16_TOLERANCE)] {
        let Some(model) = model else { return };
        let tokens = model.encode_text("", TEXT).unwrap().ids;
        let whole = everything(model, &tokens, tokens.len());
        assert_eq!(
            whole,
            everything(model, &tokens, tokens.len()),
            "the same run has the same bits"
        );
        for size in [7, 1] {
            let difference = largest(&everything(model, &tokens, size), &whole, tokens.len());
            assert!(
                difference <= tolerance,
                "in steps of {size}: {difference:e}"
            );
        }
    }
}

#[test]
fn what_another_decoder_began_is_refused() {
    let (Some(cpu), Some(tensors)) = (model(), tensor_model()) else {
        return;
    };
    let tokens = cpu.encode_text("", TEXT).unwrap().ids;
    let step = |model: &Model, sequence: &mut Sequence| {
        let item = StepItem {
            sequence,
            tokens: &tokens,
            logits: LogitRows::None,
        };
        model.step(&mut [item], 2, &mut Hooks::none())
    };
    for (first, second) in [(cpu, tensors), (tensors, cpu)] {
        let mut sequence = Sequence::new();
        step(first, &mut sequence).unwrap();
        let error = step(second, &mut sequence).unwrap_err();
        assert!(matches!(error, Error::ForeignSequence), "{error}");
        let error = second.restore(&first.snapshot(&sequence)).unwrap_err();
        assert!(matches!(error, Error::ForeignSnapshot), "{error}");
        // What is empty belongs to nobody.
        sequence.truncate(0);
        step(second, &mut sequence).unwrap();
    }
}

#[test]
fn memory_is_that_of_the_arithmetic() {
    let (Some(tensors), Some(bf16)) = (tensor_model(), bf16_model()) else {
        return;
    };
    let config = tensors.config();
    // The weights have no biases, and norms are not counted.
    let per_token = config.n_layers * 2 * config.n_kv_heads * config.d_head;
    assert_eq!(tensors.cache_bytes_per_token(), 4 * per_token);
    assert_eq!(bf16.cache_bytes_per_token(), 2 * per_token);
    assert_eq!(tensors.weight_bytes(), 2 * bf16.weight_bytes());
    assert_eq!(bf16.packed_types()[0].name, "bf16");
}

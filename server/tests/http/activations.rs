//! Activations that were captured elsewhere.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use candor_model::{Hooks, LogitRows, Model, Observer, RowMap, Sequence, StepItem};
use candor_schema::{HookPoint, OnPolicy, ScoreSource};
use half::f16;
use serde_json::{Value, json};

use crate::world::{ALPHA, BETA, World, close};

const PROMPT: &str = "The log of the pump says: ";
const RESPONSE: &str = "it was switched off at noon, not at six.";

/// Keeps the vectors of positions from `from` on, per hook point.
struct Capture {
    points: Vec<HookPoint>,
    from: usize,
    values: Vec<Vec<f32>>,
}

impl Observer for Capture {
    fn points(&self) -> &[HookPoint] {
        &self.points
    }

    fn observe(
        &mut self,
        point: HookPoint,
        rows: &RowMap,
        values: &[f32],
    ) -> candor_model::Result<()> {
        let index = self
            .points
            .iter()
            .position(|&other| other == point)
            .unwrap();
        let width = values.len() / rows.n_rows();
        for (row, vector) in rows.rows().iter().zip(values.chunks_exact(width)) {
            if row.position >= self.from {
                self.values[index].extend_from_slice(vector);
            }
        }
        Ok(())
    }
}

/// Number of response tokens, and their vectors per hook point of the probes.
fn capture(model: &Model) -> (usize, Vec<(HookPoint, Vec<f32>)>) {
    let text = model.encode_text(PROMPT, RESPONSE).unwrap();
    let points: Vec<HookPoint> = [1, 2, 3].map(HookPoint::resid_post).to_vec();
    let mut capture = Capture {
        values: vec![Vec::new(); points.len()],
        points: points.clone(),
        from: text.response.start,
    };
    let mut sequence = Sequence::new();
    let item = StepItem {
        sequence: &mut sequence,
        tokens: &text.ids,
        logits: LogitRows::None,
    };
    model
        .step(&mut [item], 4, &mut Hooks::none().observe(&mut capture))
        .unwrap();
    let values = points.into_iter().zip(capture.values).collect();
    (text.response.len(), values)
}

fn as_f32(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn as_f16(values: &[f32]) -> Vec<u8> {
    let halves = values.iter().map(|&value| f16::from_f32(value));
    halves.flat_map(f16::to_le_bytes).collect()
}

fn body(n_tokens: usize, values: &[(HookPoint, Vec<f32>)], dtype: &str) -> Value {
    let values: Vec<Value> = values
        .iter()
        .map(|(point, numbers)| {
            let bytes = if dtype == "f16" {
                as_f16(numbers)
            } else {
                as_f32(numbers)
            };
            let data = BASE64_STANDARD.encode(bytes);
            json!({"hook_point": point.to_string(), "dtype": dtype, "data": data})
        })
        .collect();
    json!({
        "activations": {"n_tokens": n_tokens, "values": values},
        "tokens": true, "readings": true, "on_policy": "no",
    })
}

#[tokio::test]
async fn captured_vectors_score_as_their_text() {
    let Some(world) = World::new() else { return };
    let (n_tokens, values) = capture(&world.model);
    let text = json!({"prompt": PROMPT, "response": RESPONSE, "tokens": true, "readings": true});
    let text = world.verdict(&text).await;
    // f32 loses nothing; a half has 11 bits, and rounding errors of 576 columns partly cancel.
    for (dtype, tolerance) in [("f32", 1e-5), ("f16", 2e-2)] {
        let sent = world.verdict(&body(n_tokens, &values, dtype)).await;
        assert_eq!(sent.source, ScoreSource::Activations);
        assert_eq!(sent.on_policy, OnPolicy::No);
        assert!(!sent.exact, "the prompt was not seen");
        assert_eq!(sent.usage.response_tokens, n_tokens);
        assert_eq!(sent.usage.computed_tokens, 0);
        for (sent, text) in sent.probes.iter().zip(&text.probes) {
            close(sent.logit, text.logit, tolerance);
            assert_eq!(sent.intent, None);
            let (sent, text) = (sent.tokens.as_ref().unwrap(), text.tokens.as_ref().unwrap());
            assert_eq!(sent.len(), text.len());
            for (sent, text) in sent.iter().zip(text) {
                close(sent.logit.unwrap(), text.logit.unwrap(), tolerance);
                assert_eq!(sent.text, None);
            }
        }
    }
}

/// An error for one sent value, and for a change to good activations.
#[tokio::test]
async fn activations_that_cannot_be_scored() {
    let Some(world) = World::new() else { return };
    let (n_tokens, good) = capture(&world.model);
    let param = Some("activations.values");

    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for dtype in ["f32", "f16"] {
            let mut values = good.clone();
            *values[1].1.last_mut().unwrap() = bad;
            let reply = world.score(&body(n_tokens, &values, dtype)).await;
            reply.is_error(422, "not_finite", param);
        }
    }
    // Finite in f32, but not in f16.
    let mut values = good.clone();
    values[1].1[0] = 1e6;
    let reply = world.score(&body(n_tokens, &values, "f16")).await;
    reply.is_error(422, "not_finite", param);

    let mut short = good.clone();
    short[1].1.pop();
    world
        .score(&body(n_tokens, &short, "f32"))
        .await
        .is_error(422, "wrong_width", param);
    for n in [n_tokens - 1, n_tokens + 1, usize::MAX, usize::MAX / 576 + 1] {
        world
            .score(&body(n, &good, "f32"))
            .await
            .is_error(422, "wrong_width", param);
    }
    world
        .score(&body(0, &good, "f32"))
        .await
        .is_error(422, "empty_input", None);
    world
        .score(&body(n_tokens, &[], "f32"))
        .await
        .is_error(422, "missing_activations", param);

    // Of the three points `alpha` reads the second, `beta` the others.
    let alone = body(n_tokens, &good[1..2], "f32");
    world
        .score(&alone)
        .await
        .is_error(422, "missing_activations", param);
    let mut chosen = alone.clone();
    chosen["probes"] = json!([ALPHA]);
    assert_eq!(world.score(&chosen).await.status, 200);
    chosen["probes"] = json!([BETA]);
    world
        .score(&chosen)
        .await
        .is_error(422, "missing_activations", param);

    for name in [
        "blocks.30.hook_resid_post",
        "blocks.2.mlp.hook_router_logits",
    ] {
        let mut other = alone.clone();
        other["activations"]["values"][0]["hook_point"] = json!(name);
        world
            .score(&other)
            .await
            .is_error(422, "unknown_hook_point", param);
    }
    let mut other = alone.clone();
    other["activations"]["values"][0]["hook_point"] = json!("layer 2");
    let param = Some("activations.values[0].hook_point");
    world
        .score(&other)
        .await
        .is_error(422, "unknown_hook_point", param);
    let mut other = alone;
    other["activations"]["values"][0]["data"] = json!("not base64!");
    let param = Some("activations.values[0].data");
    world
        .score(&other)
        .await
        .is_error(422, "invalid_base64", param);
}

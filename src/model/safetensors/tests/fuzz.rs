//! Random damage: whatever a file holds, reading it returns.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use super::read;
use crate::arch::{HfConfig, folder_config};
use crate::config::DecoderConfig;
use crate::source::tests::{FOLDERS, fixture};

const N_FILES: usize = 20_000;

fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=3) {
        let at = rng.random_range(0..bytes.len());
        let end = bytes.len().min(at + 32);
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            // Mostly digits and signs, of which a header's numbers are made.
            1 => bytes[at] = b"0123456789-.e[]{},:\""[rng.random_range(0..19)],
            2 => bytes.truncate(at.max(1)),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => {
                bytes.drain(at..end);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

#[test]
fn damaged_headers_are_read_or_refused() {
    let seed = super::Writer::new()
        .f32s("a", &[2, 2], &[1.0; 4])
        .tensor("b", "BF16", &[3], &[1; 6])
        .entry("__metadata__", json!({"format": "pt"}));
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut n_read = 0;
    for _ in 0..N_FILES {
        let mut header = seed.header().into_bytes();
        mutate(&mut header, &mut rng);
        let bytes = super::file(&header, &seed.data);
        if let Ok(tensors) = read(&bytes) {
            n_read += 1;
            for info in tensors.values() {
                assert!(info.start + info.n_bytes <= bytes.len());
                let n_values: usize = info.shape.iter().product();
                assert_eq!(n_values * info.dtype.n_bytes(), info.n_bytes);
            }
        }
    }
    assert!((100..N_FILES - 100).contains(&n_read), "{n_read}");
}

/// What the decoder takes for granted.
fn check(config: &DecoderConfig) {
    let DecoderConfig {
        n_layers,
        n_heads,
        n_kv_heads,
        d_head,
        ..
    } = *config;
    assert!(n_layers > 0 && config.windows.len() == n_layers);
    assert!(n_heads > 0 && n_kv_heads > 0 && n_heads % n_kv_heads == 0);
    assert!(d_head > 0 && d_head % 2 == 0);
    assert!(config.d_model > 0 && config.d_mlp > 0 && config.n_vocab > 0 && config.n_ctx > 0);
    assert!(config.rms_eps > 0.0 && config.attn_scale.is_finite() && config.attn_scale > 0.0);
    assert!(config.windows.iter().flatten().all(|&window| window > 0));
    for rope in [Some(&config.rope), config.local_rope.as_ref()]
        .into_iter()
        .flatten()
    {
        assert!(rope.theta > 1.0 && rope.theta.is_finite());
        assert!(rope.n_rotated > 0 && rope.n_rotated <= d_head && rope.n_rotated % 2 == 0);
    }
    for cap in [config.attn_softcap, config.logit_softcap]
        .into_iter()
        .flatten()
    {
        assert!(cap > 0.0);
    }
    if let Some(experts) = config.experts {
        assert!(experts.n_used > 0 && experts.n_used <= experts.n_experts);
    }
}

/// The object itself, or one inside it.
fn some_object<'a>(value: &'a mut Value, rng: &mut ChaCha8Rng) -> &'a mut Map<String, Value> {
    let map = value.as_object_mut().expect("seeds are objects");
    let inner = map.iter().find(|(_, value)| value.is_object());
    let inner = inner.map(|(key, _)| key.clone());
    match inner {
        Some(key) if rng.random() => some_object(map.get_mut(&key).expect("just found"), rng),
        _ => map,
    }
}

#[test]
fn nonsense_settings_are_read_or_refused() {
    let hostile = [
        json!(null),
        json!(0),
        json!(1),
        json!(3),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(u64::MAX),
        json!(true),
        json!(false),
        json!(""),
        json!("sliding_attention"),
        json!([]),
        json!([1, "full_attention", null]),
        json!({}),
        json!({"rope_type": "yarn", "factor": 1e-300}),
        json!({"type": "longrope", "short_factor": [1], "long_factor": []}),
    ];
    let seeds: Vec<Value> = FOLDERS
        .iter()
        .map(|name| {
            let bytes = std::fs::read(fixture(name).join("config.json")).unwrap();
            serde_json::from_slice(&bytes).unwrap()
        })
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut n_read = 0;
    for i in 0..N_FILES {
        let mut value = seeds[i % seeds.len()].clone();
        for _ in 0..rng.random_range(1..=3) {
            let object = some_object(&mut value, &mut rng);
            let at = rng.random_range(0..object.len().max(1));
            let Some(key) = object.keys().nth(at).cloned() else {
                continue;
            };
            if rng.random_range(0..4) == 0 {
                object.remove(&key);
            } else {
                let new = hostile[rng.random_range(0..hostile.len())].clone();
                object.insert(key, new);
            }
        }
        let Ok(settings) = HfConfig::new("config.json", &value) else {
            continue;
        };
        match folder_config(&settings) {
            Ok((config, _)) => {
                n_read += 1;
                check(&config);
            }
            Err(error) => assert!(error.hint().is_some(), "{error}"),
        }
    }
    assert!((100..N_FILES - 100).contains(&n_read), "{n_read}");
}

//! Every tiny model, as a folder and as GGUF, opens to the same description and the same weights.

mod real;

use std::path::{Path, PathBuf};

use super::{Files, Source};
use crate::config::{Activation, DecoderConfig, Experts, Norms, QkNorm, RopeConfig, RopeScaling};
use crate::error::Error;
use crate::weights::inventory;

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/tiny")
        .join(name)
}

fn open(name: &str) -> Source {
    Source::open(&fixture(name)).unwrap()
}

/// Every tiny model's folder.
pub(crate) const FOLDERS: &[&str] = &[
    "llama",
    "llama3",
    "llama_linear",
    "mistral",
    "qwen2",
    "qwen2_window",
    "qwen3",
    "qwen3_yarn",
    "qwen3moe",
    "gemma2",
    "gemma3",
    "phi3",
    "olmo2",
];

/// Name, GGUF file if there is one, and what differs from the plain Llama.
type Case = (&'static str, Option<&'static str>, fn(&mut DecoderConfig));

const CASES: &[Case] = &[
    ("llama", Some("model.gguf"), |_| {}),
    ("llama3", Some("model.gguf"), |config| {
        config.tied_embeddings = true;
        config.rope.scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_n_ctx: 32,
        };
    }),
    ("llama_linear", Some("model.gguf"), |config| {
        config.tied_embeddings = true;
        config.rope.scaling = RopeScaling::Linear { factor: 4.0 };
    }),
    ("mistral", None, |config| {
        config.architecture = "mistral".into();
        config.windows = vec![Some(12); 2];
    }),
    ("qwen2", Some("model-00001-of-00002.gguf"), |config| {
        config.architecture = "qwen2".into();
        config.qkv_bias = true;
    }),
    ("qwen2_window", None, |config| {
        config.architecture = "qwen2".into();
        config.tied_embeddings = true;
        config.qkv_bias = true;
        config.windows = vec![None, Some(12)];
    }),
    ("qwen3", Some("model.gguf"), |config| {
        config.architecture = "qwen3".into();
        config.tied_embeddings = true;
        config.qk_norm = Some(QkNorm::Head);
    }),
    ("qwen3_yarn", Some("model.gguf"), |config| {
        config.architecture = "qwen3".into();
        config.tied_embeddings = true;
        config.qk_norm = Some(QkNorm::Head);
        config.rope.scaling = RopeScaling::Yarn {
            factor: 4.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_n_ctx: 32,
            attn_factor: 1.0 + 0.1 * 4f64.ln(),
        };
    }),
    ("qwen3moe", Some("model.gguf"), |config| {
        config.architecture = "qwen3moe".into();
        config.tied_embeddings = true;
        config.qk_norm = Some(QkNorm::Head);
        config.d_mlp = 32;
        config.experts = Some(Experts {
            n_experts: 4,
            n_used: 2,
            normalised: true,
        });
    }),
    ("gemma2", Some("model.gguf"), |config| {
        gemma(config);
        config.architecture = "gemma2".into();
        config.windows = vec![Some(12), None];
        config.attn_softcap = Some(2.0);
        config.logit_softcap = Some(3.0);
    }),
    ("gemma3", Some("model.gguf"), |config| {
        gemma(config);
        config.architecture = "gemma3".into();
        config.n_layers = 3;
        config.windows = vec![Some(12), Some(12), None];
        config.qk_norm = Some(QkNorm::Head);
        config.rope.theta = 20_000.0;
        config.rope.scaling = RopeScaling::Linear { factor: 8.0 };
        config.local_rope = Some(RopeConfig {
            theta: 100.0,
            n_rotated: 16,
            scaling: RopeScaling::None,
        });
    }),
    ("phi3", Some("model.gguf"), |config| {
        config.architecture = "phi3".into();
        config.n_heads = 2;
        config.n_kv_heads = 1;
        // The original context: the long divisors are not those of every position.
        config.n_ctx = 64;
        config.windows = vec![Some(12); 2];
        config.rope.n_rotated = 12;
        config.rope.scaling = RopeScaling::Divisors {
            divisors: vec![1.0, 1.1, 1.3, 1.6, 2.0, 2.5],
            attn_factor: (1.0 + 4f64.ln() / 64f64.ln()).sqrt(),
        };
    }),
    ("olmo2", Some("model.gguf"), |config| {
        config.architecture = "olmo2".into();
        config.qk_norm = Some(QkNorm::Width);
        config.norms = Norms::Post;
    }),
];

fn gemma(config: &mut DecoderConfig) {
    config.tied_embeddings = true;
    config.embedding_scale = f64::from(32f32.sqrt());
    config.activation = Activation::GeluTanh;
    config.norms = Norms::Sandwich;
}

/// The description of `tests/fixtures/tiny/llama`.
fn llama() -> DecoderConfig {
    DecoderConfig {
        architecture: "llama".into(),
        n_layers: 2,
        d_model: 32,
        n_heads: 4,
        n_kv_heads: 2,
        d_head: 16,
        d_mlp: 64,
        n_vocab: 260,
        n_ctx: 128,
        rms_eps: 1e-5,
        rope: RopeConfig {
            theta: 1000.0,
            n_rotated: 16,
            scaling: RopeScaling::None,
        },
        local_rope: None,
        windows: vec![None; 2],
        attn_scale: 0.25,
        attn_softcap: None,
        logit_softcap: None,
        embedding_scale: 1.0,
        activation: Activation::Silu,
        qkv_bias: false,
        qk_norm: None,
        norms: Norms::Pre,
        experts: None,
        tied_embeddings: false,
        interleaved_rope_weights: false,
    }
}

#[track_caller]
fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-6 * b.abs(), "{a} and {b}");
}

/// Replaces what GGUF states in single precision or in other words, after checking that it agrees.
#[track_caller]
fn settle(found: &mut DecoderConfig, expected: &DecoderConfig) {
    found.interleaved_rope_weights = false;
    close(found.rms_eps, expected.rms_eps);
    found.rms_eps = expected.rms_eps;
    match (&found.rope.scaling, &expected.rope.scaling) {
        (
            RopeScaling::Divisors {
                divisors,
                attn_factor,
            },
            RopeScaling::Llama3 { .. },
        ) => {
            close(*attn_factor, 1.0);
            // Kept, stretched in part, and stretched in full (llama3_divisors in make_fixtures.py).
            close(f64::from(divisors[0]), 1.0);
            close(f64::from(divisors[7]), 8.0);
            assert!(divisors.is_sorted() && divisors.iter().any(|&d| d > 1.0 && d < 8.0));
        }
        (
            RopeScaling::Divisors {
                divisors,
                attn_factor,
            },
            RopeScaling::Divisors {
                divisors: others,
                attn_factor: other,
            },
        ) => {
            assert_eq!(divisors, others);
            close(*attn_factor, *other);
        }
        (found, expected) => assert_eq!(found, expected),
    }
    found.rope.scaling = expected.rope.scaling.clone();
}

#[test]
fn descriptions() {
    assert!(CASES.iter().map(|case| &case.0).eq(FOLDERS));
    for (name, gguf, change) in CASES {
        let mut expected = llama();
        change(&mut expected);
        assert_eq!(*open(name).config(), expected, "{name}");
        if let Some(file) = gguf {
            let source = open(&format!("{name}/{file}"));
            let mut found = source.config().clone();
            assert_eq!(
                found.interleaved_rope_weights,
                found.architecture == "llama"
            );
            settle(&mut found, &expected);
            assert_eq!(found, expected, "{name}");
        }
    }
}

/// Puts interleaved rows back, as the decoder does.
fn half_split(rows: &[f32], n_heads: usize, width: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = rows.chunks_exact(width).collect();
    let d_head = rows.len() / n_heads;
    let source = |row: usize| {
        let (head, at) = (row / d_head, row % d_head);
        head * d_head + at % (d_head / 2) * 2 + at / (d_head / 2)
    };
    (0..rows.len())
        .flat_map(|row| rows[source(row)].iter().copied())
        .collect()
}

#[test]
fn weights_of_both_formats_agree() {
    for (name, gguf, _) in CASES {
        let folder = open(name);
        let config = folder.config();
        let gguf = gguf.map(|file| open(&format!("{name}/{file}")));
        for (tensor, shape) in inventory::tensors(config) {
            assert!(folder.weights().has(&tensor), "{name}: {tensor}");
            let values = folder.weights().dense(&tensor, &shape).unwrap();
            assert_eq!(values.len(), shape.iter().product::<usize>());
            assert!(values.iter().any(|&value| value != 0.0));
            if let Some(gguf) = &gguf {
                assert!(gguf.weights().has(&tensor), "{name}: {tensor}");
                let mut others = gguf.weights().dense(&tensor, &shape).unwrap();
                if gguf.config().interleaved_rope_weights {
                    if tensor.ends_with("attn_q.weight") {
                        others = half_split(&others, config.n_heads, config.d_model);
                    } else if tensor.ends_with("attn_k.weight") {
                        others = half_split(&others, config.n_kv_heads, config.d_model);
                    }
                }
                assert_eq!(values, others, "{name}: {tensor}");
            }
        }
        for absent in ["blk.9.attn_q.weight", "blk.0.ffn_gate.9.weight", "other"] {
            assert!(!folder.weights().has(absent));
            assert!(gguf.as_ref().is_none_or(|gguf| !gguf.weights().has(absent)));
        }
    }
}

#[test]
fn parts_of_fused_tensors_are_read_by_rows() {
    for path in ["phi3", "phi3/model.gguf", "qwen3moe", "qwen3moe/model.gguf"] {
        let source = open(path);
        for (tensor, shape) in inventory::tensors(source.config()) {
            let whole = source.weights().dense(&tensor, &shape).unwrap();
            let raw = source.weights().tensor(&tensor, &shape).unwrap();
            let width = shape[shape.len() - 1];
            assert_eq!((raw.width, raw.n_rows()), (width, whole.len() / width));
            let last = raw.n_rows() - 1;
            assert_eq!(raw.rows(last..last + 1).unwrap(), whole[last * width..]);
        }
    }
}

#[test]
fn types_and_names() {
    for (path, main) in [
        ("llama", "F32"),
        ("llama3", "F16"),
        ("qwen2", "BF16"),
        ("olmo2", "BF16"),
        ("qwen2/model-00001-of-00002.gguf", "F16"),
    ] {
        let source = open(path);
        assert_eq!(source.main_type(), main, "{path}");
        let (n_tensors, n_bytes) = source.types()[main];
        assert!(n_tensors > 10 && n_bytes > 10_000);
    }
    assert_eq!(open("olmo2").base_name().as_deref(), Some("olmo2"));
    assert_eq!(
        open("olmo2/model.gguf").base_name().as_deref(),
        Some("tiny olmo2")
    );
    let folder = open("olmo2");
    assert!(matches!(folder.files(), Files::Folder(files) if files.path() == fixture("olmo2")));
    assert!(matches!(open("olmo2/model.gguf").files(), Files::Gguf(_)));
}

#[test]
fn hashes_cover_every_file() {
    use crate::fingerprint::sha256_hex;
    let read = |name: &str| std::fs::read(fixture(name)).unwrap();
    let single = sha256_hex(&read("llama/model.safetensors"));
    assert_eq!(open("llama").weights_sha256(), single);
    let lines: String = (1..=3)
        .map(|n| sha256_hex(&read(&format!("olmo2/model-0000{n}-of-00003.safetensors"))) + "\n")
        .collect();
    assert_eq!(open("olmo2").weights_sha256(), sha256_hex(lines.as_bytes()));
}

#[test]
fn a_split_model_is_opened_by_its_first_file() {
    let second = fixture("qwen2/model-00002-of-00002.gguf");
    let error = Source::open(&second).unwrap_err();
    assert!(
        matches!(&error, Error::Unsupported { setting, .. } if setting == "split.no"),
        "{error:?}"
    );

    let folder = tempfile::tempdir().unwrap();
    let first = std::fs::read(fixture("qwen2/model-00001-of-00002.gguf")).unwrap();
    let path = folder.path().join("model-00001-of-00002.gguf");
    std::fs::write(&path, &first).unwrap();
    assert!(matches!(Source::open(&path).unwrap_err(), Error::Io { .. }));
    // A copy of the first is not the second.
    std::fs::write(folder.path().join("model-00002-of-00002.gguf"), &first).unwrap();
    let error = Source::open(&path).unwrap_err();
    assert!(error.to_string().contains("is not file 1 of 2"), "{error}");
    let renamed = folder.path().join("renamed.gguf");
    std::fs::write(&renamed, &first).unwrap();
    let error = Source::open(&renamed).unwrap_err();
    assert!(
        error.to_string().contains("its name does not end in"),
        "{error}"
    );
}

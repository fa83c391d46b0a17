//! What `arch::config` takes and refuses.

use super::read;
use super::writer::{ARRAY, F32, U32, Writer, array, f32s};
use crate::arch::config;
use crate::config::RopeScaling;
use crate::error::Error;

/// Metadata of a Llama with four tokens, 8 wide, 4 heads over 2 key heads.
pub(super) fn llama() -> Writer {
    Writer::new()
        .string("general.architecture", "llama")
        .u32("llama.block_count", 2)
        .u32("llama.context_length", 16)
        .u32("llama.embedding_length", 8)
        .u32("llama.feed_forward_length", 12)
        .u32("llama.attention.head_count", 4)
        .u32("llama.attention.head_count_kv", 2)
        .u32("llama.rope.dimension_count", 2)
        .f32("llama.rope.freq_base", 5000.0)
        .f32("llama.attention.layer_norm_rms_epsilon", 0.5)
        .tensor("token_embd.weight", &[4, 8], F32, &f32s(&[0.0; 32]))
}

#[track_caller]
fn check_refused(writer: &Writer, part: &str) {
    let gguf = read(&writer.bytes()).unwrap();
    let error = config(&gguf).unwrap_err();
    assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
    assert!(error.hint().is_some());
}

#[test]
fn sizes_and_constants() {
    let config = config(&read(&llama().bytes()).unwrap()).unwrap();
    assert_eq!(config.architecture, "llama");
    assert_eq!((config.n_layers, config.n_ctx), (2, 16));
    assert_eq!((config.d_model, config.d_mlp, config.n_vocab), (8, 12, 4));
    assert_eq!(
        (config.n_heads, config.n_kv_heads, config.d_head),
        (4, 2, 2)
    );
    assert_eq!((config.rms_eps, config.rope.theta), (0.5, 5000.0));
    assert!(config.tied_embeddings && config.interleaved_rope_weights);
}

#[test]
fn defaults() {
    let writer = llama()
        .without("llama.attention.head_count_kv")
        .without("llama.rope.freq_base")
        .tensor("output.weight", &[4, 8], F32, &f32s(&[0.0; 32]));
    let config = config(&read(&writer.bytes()).unwrap()).unwrap();
    assert_eq!(config.n_kv_heads, 4);
    assert!((config.rope.theta - 10_000.0).abs() < f64::EPSILON);
    assert!(!config.tied_embeddings);
}

#[test]
fn unknown_architecture_names_the_supported() {
    let gguf = read(&llama().string("general.architecture", "mamba").bytes()).unwrap();
    let error = config(&gguf).unwrap_err();
    let Error::Architecture { found, supported } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(found, "mamba");
    for name in crate::architecture_names() {
        assert!(supported.contains(name), "{supported}");
    }
    check_refused(
        &llama().without("general.architecture"),
        "general.architecture",
    );
}

#[test]
fn missing_and_implausible_counts() {
    for key in [
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ] {
        check_refused(&llama().without(key), key);
        check_refused(&llama().u32(key, 0), key);
        check_refused(&llama().u32(key, u32::MAX), key);
        check_refused(&llama().string(key, "2"), key);
    }
    for value in [0, u32::MAX] {
        let key = "llama.rope.dimension_count";
        check_refused(&llama().u32(key, value), key);
    }
    // Per-layer counts, as some files have them.
    let counts = array(U32, 2, [2u32, 2].map(u32::to_le_bytes).concat());
    let key = "llama.attention.head_count_kv";
    check_refused(&llama().set(key, ARRAY, counts), key);
}

#[test]
fn head_counts_that_do_not_divide() {
    check_refused(
        &llama().u32("llama.attention.head_count_kv", 3),
        "over 3 key heads",
    );
    check_refused(
        &llama().u32("llama.attention.head_count_kv", 8),
        "head_count_kv",
    );
    // 11 / 4 rounds to the 2 that is rotated, but the heads do not make up the width.
    check_refused(&llama().u32("llama.embedding_length", 11), "heads");
    check_refused(&llama().u32("llama.attention.head_count", 16), "heads");
    check_refused(&llama().u32("llama.attention.key_length", 3), "width 3");
}

#[test]
fn partial_rotation() {
    let writer = llama()
        .u32("llama.attention.head_count", 2)
        .u32("llama.rope.dimension_count", 2);
    check_refused(&writer, "2 of it rotated");
}

fn scaling(writer: &Writer) -> RopeScaling {
    let gguf = read(&writer.bytes()).unwrap();
    config(&gguf).unwrap().rope.scaling
}

#[test]
fn rope_scaling() {
    let key = |name: &str| format!("llama.rope.scaling.{name}");
    // llama.cpp scales linearly where only a factor is given, and reads an older name of it too.
    for name in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
        let stretched = RopeScaling::Linear { factor: 4.0 };
        assert_eq!(scaling(&llama().f32(name, 4.0)), stretched);
        check_refused(&llama().f32(name, f32::NAN), name);
        check_refused(&llama().f32(name, -2.0), "factor is -2");
        for harmless in [0.0, 1.0] {
            assert_eq!(scaling(&llama().f32(name, harmless)), RopeScaling::None);
        }
    }
    let none = llama().string(&key("type"), "none");
    assert_eq!(scaling(&none), RopeScaling::None);
    // A factor that the type says not to use.
    check_refused(&none.f32(&key("factor"), 4.0), "scaling.type");

    let yarn = llama()
        .string(&key("type"), "yarn")
        .f32(&key("factor"), 4.0)
        .u32(&key("original_context_length"), 8);
    assert_eq!(
        scaling(&yarn),
        RopeScaling::Yarn {
            factor: 4.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            original_n_ctx: 8,
            attn_factor: 1.0 + 0.1 * 4f64.ln(),
        }
    );
    check_refused(
        &yarn.clone().f32(&key("yarn_ext_factor"), 0.5),
        "yarn_ext_factor",
    );
    check_refused(
        &yarn.clone().f32(&key("yarn_log_multiplier"), 0.1),
        "yarn_log_multiplier",
    );
    check_refused(&yarn.clone().f32(&key("yarn_beta_slow"), 64.0), "rotations");
    check_refused(
        &yarn.f32(&key("factor"), 0.0).f32(&key("attn_factor"), -1.0),
        "attention factor",
    );
    for kind in ["longrope", "dynamic"] {
        check_refused(&llama().string(&key("type"), kind), "scaling.type");
    }
}

#[test]
fn frequency_divisors() {
    let with = |name: &str, value: f32| llama().tensor(name, &[1], F32, &f32s(&[value]));
    assert_eq!(
        scaling(&with("rope_freqs.weight", 8.0)),
        RopeScaling::Divisors {
            divisors: vec![8.0],
            attn_factor: 1.0
        }
    );
    check_refused(&with("rope_freqs.weight", 0.0), "divisor");
    check_refused(&with("rope_freqs.weight", f32::NAN), "not finite");
    check_refused(
        &llama().tensor("rope_freqs.weight", &[2], F32, &f32s(&[1.0; 2])),
        "rope_freqs.weight",
    );
    check_refused(
        &with("rope_freqs.weight", 8.0).f32("llama.rope.scaling.factor", 4.0),
        "scaling.type",
    );
    check_refused(&with("rope_factors_long.weight", 8.0), "scaling.type");
}

#[test]
fn long_and_short_divisors_end_at_the_original_context() {
    let model = |long: f32| {
        llama()
            .u32("llama.rope.scaling.original_context_length", 8)
            .f32("llama.rope.scaling.attn_factor", 1.25)
            .tensor("rope_factors_short.weight", &[1], F32, &f32s(&[2.0]))
            .tensor("rope_factors_long.weight", &[1], F32, &f32s(&[long]))
    };
    for (long, n_ctx) in [(4.0, 8), (2.0, 16)] {
        let found = config(&read(&model(long).bytes()).unwrap()).unwrap();
        assert_eq!(found.n_ctx, n_ctx);
        assert_eq!(
            found.rope.scaling,
            RopeScaling::Divisors {
                divisors: vec![2.0],
                attn_factor: 1.25
            }
        );
    }
}

#[test]
fn settings_of_other_models() {
    for key in [
        "attention.clamp_kqv",
        "logit_scale",
        "attention.scale",
        "residual_scale",
    ] {
        let key = format!("llama.{key}");
        check_refused(&llama().f32(&key, 2.0), &key);
    }
    let key = "llama.attention.causal";
    check_refused(&llama().entry(key, 7, vec![0]), key);
    assert!(config(&read(&llama().entry(key, 7, vec![1]).bytes()).unwrap()).is_ok());
    check_refused(
        &llama().u32("llama.attention.value_length", 4),
        "value_length",
    );
    let key = "llama.attention.sliding_window";
    check_refused(&llama().u32(key, 4), key);
    assert!(config(&read(&llama().u32(key, 16).bytes()).unwrap()).is_ok());
}

#[test]
fn experts() {
    check_refused(&llama().u32("llama.expert_count", 8), "llama.expert_count");
    let gguf = read(&llama().u32("llama.expert_count", 0).bytes()).unwrap();
    assert!(config(&gguf).is_ok());
}

#[test]
fn constants_out_of_range() {
    let key = "llama.attention.layer_norm_rms_epsilon";
    check_refused(&llama().f32(key, 0.0), "rms epsilon");
    check_refused(&llama().f32(key, f32::NAN), key);
    check_refused(&llama().f32("llama.rope.freq_base", 1.0), "rope base");
    check_refused(
        &llama().f32("llama.rope.freq_base", f32::INFINITY),
        "freq_base",
    );
}

#[test]
fn embedding_that_is_no_matrix() {
    let mut writer = llama();
    writer.tensors[0].dims = vec![32];
    check_refused(&writer, "not a matrix");
    writer.tensors.clear();
    check_refused(&writer, "token_embd.weight");
}

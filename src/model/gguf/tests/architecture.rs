//! What `arch::config` takes and refuses.

use super::read;
use super::writer::{ARRAY, F32, U32, Writer, array, f32s};
use crate::arch::config;
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
        "llama.rope.dimension_count",
        "llama.attention.layer_norm_rms_epsilon",
    ] {
        check_refused(&llama().without(key), key);
        check_refused(&llama().u32(key, 0), key);
        check_refused(&llama().u32(key, u32::MAX), key);
        check_refused(&llama().string(key, "2"), key);
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

#[test]
fn rope_scaling() {
    for kind in ["linear", "yarn", "longrope"] {
        let writer = llama().string("llama.rope.scaling.type", kind);
        check_refused(&writer, "llama.rope.scaling.type");
    }
    // llama.cpp scales linearly where only a factor is given, and reads an older name of it too.
    for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
        check_refused(&llama().f32(key, 4.0), key);
        check_refused(&llama().f32(key, f32::NAN), key);
        for harmless in [0.0, 1.0] {
            let gguf = read(&llama().f32(key, harmless).bytes()).unwrap();
            assert!(config(&gguf).is_ok());
        }
    }
    let writer = llama().tensor("rope_freqs.weight", &[1], F32, &f32s(&[1.0]));
    check_refused(&writer, "rope_freqs.weight");
    let none = llama().string("llama.rope.scaling.type", "none");
    assert!(config(&read(&none.bytes()).unwrap()).is_ok());
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

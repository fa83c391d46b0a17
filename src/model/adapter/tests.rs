//! Adapters that PEFT saved, whole and broken.

use std::path::Path;

use serde_json::{Value, json};

use super::Adapter;
use crate::config::DecoderConfig;
use crate::error::Result;
use crate::source::Source;
use crate::source::tests::fixture;
use crate::weights::inventory::tensors;

fn config(name: &str) -> DecoderConfig {
    Source::open(&fixture(name)).unwrap().config().clone()
}

#[test]
fn every_matrix_of_a_block() {
    let config = config("llama");
    let adapter = Adapter::open(&fixture("llama_lora"), &config).unwrap();
    for (name, shape) in tensors(&config) {
        let part = adapter.parts(&name);
        let is_matrix = name.starts_with("blk.") && shape.len() == 2;
        assert_eq!(part.is_some(), is_matrix, "{name}");
        let Some(part) = part else { continue };
        assert_eq!((part.n_out, part.n_in), (shape[0], shape[1]));
        assert_eq!(
            (part.rank, part.a.len(), part.b.len()),
            (4, 4 * shape[1], 4 * shape[0])
        );
        // lora_alpha / r
        assert!((part.scale - 2.0).abs() < 1e-6);
    }
    assert_eq!(adapter.sha256().len(), 64);
}

#[test]
fn patterns_and_rank_stabilised_scales() {
    let adapter = Adapter::open(&fixture("qwen2_lora"), &config("qwen2")).unwrap();
    let check = |name: &str, rank: usize, scale: f64| {
        let part = adapter.parts(name).unwrap();
        assert_eq!(part.rank, rank, "{name}");
        assert!((f64::from(part.scale) - scale).abs() < 1e-6, "{name}");
    };
    check("blk.0.attn_q.weight", 4, 12.0 / 2.0);
    check("blk.1.attn_q.weight", 4, 6.0 / 2.0);
    check("blk.0.attn_v.weight", 4, 6.0 / 2.0);
    check("blk.1.attn_v.weight", 2, 6.0 / 2f64.sqrt());
    assert!(adapter.parts("blk.0.attn_k.weight").is_none());
}

#[test]
fn rows_stay_in_the_published_order_for_gguf_too() {
    let of_folder = Adapter::open(&fixture("llama_lora"), &config("llama")).unwrap();
    let of_gguf = Adapter::open(&fixture("llama_lora"), &config("llama/model.gguf")).unwrap();
    let name = "blk.1.attn_q.weight";
    assert_eq!(of_folder.parts(name), of_gguf.parts(name));
}

/// Opens a copy of the Llama adapter after a change to its settings.
fn changed(change: impl FnOnce(&mut Value)) -> Result<Adapter> {
    let folder = tempfile::tempdir().unwrap();
    copy(&fixture("llama_lora"), folder.path());
    let path = folder.path().join("adapter_config.json");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut settings);
    std::fs::write(&path, settings.to_string()).unwrap();
    Adapter::open(folder.path(), &config("llama"))
}

fn copy(from: &Path, to: &Path) {
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

#[test]
fn settings_that_would_change_the_sum_are_refused() {
    assert!(changed(|_| {}).is_ok());
    for (key, value) in [
        ("peft_type", json!("ADALORA")),
        ("peft_type", Value::Null),
        ("task_type", json!("SEQ_CLS")),
        ("bias", json!("all")),
        ("use_dora", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("fan_in_fan_out", json!(true)),
        ("lora_bias", json!(true)),
        ("layer_replication", json!([[0, 1]])),
        ("trainable_token_indices", json!([1])),
        ("target_parameters", json!(["mlp.experts.gate_up_proj"])),
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!("olora")),
        ("r", json!(0)),
        ("r", json!(1u64 << 40)),
        ("lora_alpha", json!("8")),
        ("rank_pattern", json!({"layers.[01].*": 8})),
        ("alpha_pattern", json!({"q_proj": "8"})),
        ("alpha_pattern", json!(["q_proj"])),
        ("use_rslora", json!(1)),
    ] {
        let error = changed(|settings| settings[key] = value).unwrap_err();
        assert!(error.to_string().contains(key), "{error} lacks {key}");
        assert!(error.hint().is_some());
    }
    // Ranks that the tensors do not have.
    let error = changed(|settings| settings["r"] = json!(8)).unwrap_err();
    assert!(error.to_string().contains("lora_A"), "{error}");
    let error = changed(|settings| settings["rank_pattern"] = json!({"q_proj": 2.5})).unwrap_err();
    assert!(error.to_string().contains("rank 2.5"), "{error}");
    let two = json!({"q_proj": 2, "self_attn.q_proj": 3});
    let error = changed(|settings| settings["alpha_pattern"] = two).unwrap_err();
    assert!(error.to_string().contains("two patterns"), "{error}");
}

#[test]
fn an_adapter_of_another_model_is_refused() {
    let open = |adapter: &str, model: &str| {
        let error = Adapter::open(&fixture(adapter), &config(model)).unwrap_err();
        error.to_string()
    };
    let text = open("llama_lora", "phi3");
    assert!(
        text.contains("lora_") || text.contains("it adapts"),
        "{text}"
    );
    let text = open("llama_lora", "qwen3moe");
    assert!(text.contains("it adapts"), "{text}");
    let mut smaller = config("llama");
    smaller.n_layers = 1;
    let text = Adapter::open(&fixture("llama_lora"), &smaller)
        .unwrap_err()
        .to_string();
    assert!(text.contains("layers.1."), "{text}");
    assert!(Adapter::open(&fixture("llama"), &config("llama")).is_err());
}

#[test]
fn tensors_that_are_missing_or_foreign_are_refused() {
    let with = |from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        copy(&fixture("llama_lora"), folder.path());
        let path = folder.path().join("adapter_model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        assert_eq!(from.len(), to.len());
        let at = bytes
            .windows(from.len())
            .position(|window| window == from.as_bytes());
        let at = at.unwrap();
        bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        let error = Adapter::open(folder.path(), &config("llama")).unwrap_err();
        error.to_string()
    };
    let text = with(
        "layers.0.mlp.down_proj.lora_A",
        "layers.0.mlp.down_proj.lora_C",
    );
    assert!(text.contains("lora_C"), "{text}");
    let text = with(
        "layers.0.mlp.down_proj.lora_A",
        "layers.9.mlp.down_proj.lora_A",
    );
    assert!(
        text.contains("one of") || text.contains("it adapts"),
        "{text}"
    );
    let text = with("base_model.model.model", "base_model.Model.model");
    assert!(text.contains("no part"), "{text}");
}

//! What `folder_config` takes and refuses in `config.json`.

use serde_json::{Value, json};

use super::{HfConfig, folder_config};
use crate::config::{Activation, DecoderConfig, Norms, QkNorm, RopeScaling};
use crate::error::Result;
use crate::source::tests::fixture;

fn read(config: &Value) -> Result<DecoderConfig> {
    Ok(folder_config(&HfConfig::new("config.json", config)?)?.0)
}

/// The settings of a tiny model.
fn tiny(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name).join("config.json")).unwrap()).unwrap()
}

/// A tiny model's settings with one changed; `null` leaves it out.
fn with(name: &str, key: &str, value: &Value) -> Value {
    let mut config = tiny(name);
    if value.is_null() {
        config.as_object_mut().unwrap().remove(key);
    } else {
        config[key] = value.clone();
    }
    config
}

#[track_caller]
fn check_refused(config: &Value, part: &str) {
    let error = read(config).unwrap_err();
    assert!(error.to_string().contains(part), "`{error}` lacks `{part}`");
    assert!(error.hint().is_some(), "{error}");
}

#[test]
fn unknown_models() {
    check_refused(
        &with("llama", "model_type", &json!("mamba")),
        "`mamba` is not supported",
    );
    check_refused(&with("llama", "model_type", &Value::Null), "model_type");
    check_refused(&json!([]), "an object");
}

#[test]
fn sizes_that_are_missing_or_implausible() {
    for key in [
        "hidden_size",
        "intermediate_size",
        "max_position_embeddings",
        "num_attention_heads",
        "num_hidden_layers",
        "rms_norm_eps",
        "vocab_size",
    ] {
        check_refused(&with("llama", key, &Value::Null), key);
        for value in [json!(-1), json!("2"), json!(1e300), json!([2])] {
            let config = with("llama", key, &value);
            assert!(read(&config).unwrap_err().hint().is_some());
        }
    }
    check_refused(
        &with("llama", "num_key_value_heads", &json!(3)),
        "over 3 key heads",
    );
    check_refused(
        &with("llama", "num_key_value_heads", &json!(8)),
        "num_key_value_heads",
    );
    check_refused(&with("llama", "head_dim", &json!(15)), "width 15");
    check_refused(&with("llama", "rms_norm_eps", &json!(0.0)), "rms epsilon 0");
    check_refused(
        &with("qwen2", "num_key_value_heads", &Value::Null),
        "num_key_value_heads",
    );
}

#[test]
fn what_is_left_out() {
    let llama = read(&with("llama", "num_key_value_heads", &Value::Null)).unwrap();
    assert_eq!(llama.n_kv_heads, 4);
    let llama = read(&with("llama", "head_dim", &Value::Null)).unwrap();
    assert_eq!(llama.d_head, 8);
    let qwen = read(&with("qwen3", "head_dim", &Value::Null)).unwrap();
    assert_eq!(qwen.d_head, 128);
    // transformers means 4096, which is longer than this model's context.
    let mistral = read(&with("mistral", "sliding_window", &Value::Null)).unwrap();
    assert_eq!(mistral.windows, [None, None]);
    let gemma = read(&with("gemma2", "sliding_window", &Value::Null)).unwrap();
    assert_eq!(gemma.windows, [Some(4096), None]);
    let gemma = read(&with("gemma2", "layer_types", &Value::Null)).unwrap();
    assert_eq!(gemma.windows, [Some(12), None]);
    let gemma = read(&with("gemma2", "final_logit_softcapping", &Value::Null)).unwrap();
    assert_eq!(gemma.logit_softcap, Some(30.0));
    let mut config = tiny("gemma2");
    config["final_logit_softcapping"] = Value::Null;
    assert_eq!(read(&config).unwrap().logit_softcap, None);
}

#[test]
fn settings_that_cannot_be_followed() {
    for (name, key, value) in [
        ("llama", "attention_bias", json!(true)),
        ("llama", "mlp_bias", json!(true)),
        ("llama", "hidden_act", json!("gelu")),
        ("llama", "quantization_config", json!({"bits": 4})),
        (
            "llama",
            "layer_types",
            json!(["full_attention", "sliding_attention"]),
        ),
        (
            "llama",
            "layer_types",
            json!(["full_attention", "linear_attention"]),
        ),
        ("llama", "layer_types", json!(["full_attention"])),
        ("llama", "tie_word_embeddings", json!("yes")),
        ("mistral", "sliding_window", json!(0)),
        (
            "mistral",
            "layer_types",
            json!(["full_attention", "full_attention"]),
        ),
        (
            "qwen2",
            "layer_types",
            json!(["sliding_attention", "full_attention"]),
        ),
        ("qwen2_window", "use_sliding_window", json!(1)),
        ("qwen3", "attention_bias", json!(true)),
        ("qwen3moe", "decoder_sparse_step", json!(2)),
        ("qwen3moe", "mlp_only_layers", json!([0])),
        ("qwen3moe", "num_experts_per_tok", json!(5)),
        ("gemma2", "hidden_activation", json!("gelu")),
        ("gemma2", "use_bidirectional_attention", json!(true)),
        ("gemma2", "query_pre_attn_scalar", json!(0)),
        ("gemma2", "attn_logit_softcapping", json!(-1.0)),
        ("gemma3", "attn_logit_softcapping", json!(50.0)),
        ("gemma3", "rope_parameters", json!({"rope_theta": 1e6})),
        (
            "gemma3",
            "rope_scaling",
            json!({"rope_type": "linear", "factor": 8.0}),
        ),
        (
            "phi3",
            "layer_types",
            json!(["full_attention", "full_attention"]),
        ),
        ("olmo2", "attention_bias", json!(true)),
    ] {
        check_refused(&with(name, key, &value), key);
    }
    check_refused(
        &with("llama", "partial_rotary_factor", &json!(0.5)),
        "8 of it rotated",
    );
}

fn scaling(parameters: &Value) -> Result<RopeScaling> {
    let config = with("llama", "rope_parameters", parameters);
    Ok(read(&config)?.rope.scaling)
}

#[test]
fn stretched_positions() {
    assert_eq!(scaling(&json!({})).unwrap(), RopeScaling::None);
    assert_eq!(
        scaling(&json!({"rope_type": "default"})).unwrap(),
        RopeScaling::None
    );
    let none = scaling(&json!({"rope_type": "linear", "factor": 1.0}));
    assert_eq!(none.unwrap(), RopeScaling::None);
    let found = scaling(&json!({
        "rope_type": "yarn", "factor": 2.0, "attention_factor": 1.5, "beta_fast": 16,
    }));
    assert_eq!(
        found.unwrap(),
        RopeScaling::Yarn {
            factor: 2.0,
            beta_fast: 16.0,
            beta_slow: 1.0,
            original_n_ctx: 128,
            attn_factor: 1.5,
        }
    );
    // DeepSeek's two magnitudes, and the factor that follows from the contexts.
    let found = scaling(&json!({
        "rope_type": "yarn", "mscale": 2.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 32,
    }));
    let Ok(RopeScaling::Yarn {
        factor,
        attn_factor,
        ..
    }) = found
    else {
        panic!("{found:?}");
    };
    let expected = (0.2 * 4f64.ln() + 1.0) / (0.1 * 4f64.ln() + 1.0);
    assert!((factor - 4.0).abs() < 1e-12 && (attn_factor - expected).abs() < 1e-12);

    for (parameters, part) in [
        (json!({"rope_type": "linear"}), "factor"),
        (json!({"rope_type": "linear", "factor": -1.0}), "factor"),
        (json!({"rope_type": "dynamic", "factor": 2.0}), "dynamic"),
        (json!({"rope_type": "proportional"}), "proportional"),
        (json!({"rope_type": "longrope"}), "longrope"),
        (json!({"rope_type": 3}), "rope_type"),
        (
            json!({"rope_type": "yarn", "factor": 2.0, "truncate": false}),
            "truncate",
        ),
        (json!({"rope_type": "yarn", "factor": 0.0}), "factor"),
        (
            json!({"rope_type": "yarn", "factor": 2.0, "beta_fast": 0.5}),
            "rotations",
        ),
        (
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 1.0}),
            "high_freq_factor",
        ),
        (
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}),
            "high_freq_factor",
        ),
        (json!({"rope_theta": 1.0}), "rope base"),
        (json!({"rope_theta": "10000"}), "rope_theta"),
        (json!([]), "rope_parameters"),
    ] {
        check_refused(&with("llama", "rope_parameters", &parameters), part);
    }
}

#[test]
fn settings_of_before_transformers_5() {
    let mut config = with("llama3", "rope_parameters", &Value::Null);
    config["rope_theta"] = json!(1000.0);
    config["rope_scaling"] = json!({
        "type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    });
    assert_eq!(read(&config).unwrap(), read(&tiny("llama3")).unwrap());

    let mut config = with("gemma3", "rope_parameters", &Value::Null);
    config["rope_theta"] = json!(20_000.0);
    config["rope_local_base_freq"] = json!(100.0);
    config["rope_scaling"] = json!({"rope_type": "linear", "factor": 8.0});
    config["sliding_window_pattern"] = json!(3);
    config.as_object_mut().unwrap().remove("layer_types");
    assert_eq!(read(&config).unwrap(), read(&tiny("gemma3")).unwrap());

    let mut config = with("phi3", "rope_parameters", &Value::Null);
    config["rope_theta"] = json!(1000.0);
    config["partial_rotary_factor"] = json!(0.75);
    config["rope_scaling"] = json!({
        "type": "su",
        "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 2.5],
        "long_factor": [1.0, 1.5, 2.5, 4.0, 6.0, 8.0],
    });
    assert_eq!(read(&config).unwrap(), read(&tiny("phi3")).unwrap());
    config["rope_scaling"]["short_factor"] = json!([1.0, 1.1]);
    check_refused(&config, "short_factor");
    config["rope_scaling"]["short_factor"] = json!([1.0, 1.1, 1.3, 1.6, 2.0, 0.0]);
    check_refused(&config, "short_factor");
}

#[test]
fn long_divisors_end_at_the_original_context_unless_they_are_the_short_ones() {
    let mut config = tiny("phi3");
    assert_eq!(read(&config).unwrap().n_ctx, 64);
    config["rope_parameters"]["long_factor"] = config["rope_parameters"]["short_factor"].clone();
    assert_eq!(read(&config).unwrap().n_ctx, 256);
}

#[test]
fn a_multimodal_gemma_states_little() {
    // As published for the 4B model; the rest are transformers' defaults.
    let config = json!({
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": {
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "model_type": "gemma3_text",
            "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
            "sliding_window": 1024,
        },
        "vision_config": {"hidden_size": 1152},
    });
    let found = read(&config).unwrap();
    assert_eq!(
        (found.d_model, found.n_heads, found.n_kv_heads, found.d_head),
        (2560, 8, 4, 256)
    );
    assert_eq!((found.n_vocab, found.n_ctx), (262_208, 131_072));
    assert_eq!(found.rope.scaling, RopeScaling::Linear { factor: 8.0 });
    assert!((found.rope.theta - 1e6).abs() < 1e-6);
    assert!((found.local_rope.unwrap().theta - 1e4).abs() < 1e-6);
    let n_full = found
        .windows
        .iter()
        .filter(|window| window.is_none())
        .count();
    assert_eq!(
        (n_full, found.windows[5], found.windows[0]),
        (5, None, Some(1024))
    );
    assert_eq!(
        (found.norms, found.qk_norm),
        (Norms::Sandwich, Some(QkNorm::Head))
    );
    assert_eq!(found.activation, Activation::GeluTanh);
    assert!(found.tied_embeddings && found.attn_softcap.is_none());
    check_refused(&json!({"model_type": "gemma3"}), "text_config");
}

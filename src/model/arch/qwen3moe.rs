//! Qwen 3 with a mixture of experts in every block (Yang et al. 2025, arXiv 2505.09388).
//!
//! Experts are chosen by the softmax over all router logits. llama.cpp always scales the weights
//! of the chosen ones to sum to 1; transformers does so if `norm_topk_prob`.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, MAX_WIDTH, Sizes, must_be_off};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::{DecoderConfig, Experts, QkNorm};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// More experts than any published model has.
const MAX_EXPERTS: usize = 1 << 12;

pub(crate) struct Qwen3Moe;

impl Architecture for Qwen3Moe {
    fn name(&self) -> &'static str {
        "qwen3moe"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["qwen3_moe"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let key = |name: &str| format!("qwen3moe.{name}");
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        windows::refuse(gguf, &key("attention.sliding_window"), sizes.n_ctx)?;
        for name in [
            "expert_shared_count",
            "expert_shared_feed_forward_length",
            "expert_group_count",
        ] {
            must_be_off(gguf, &key(name))?;
        }
        let unsupported = |name: &str, supported: &str| Error::Unsupported {
            setting: key(name),
            found: format!("{:?}", gguf.get(&key(name))),
            supported: supported.to_owned(),
        };
        // 1 is the softmax in llama.cpp's list of gates.
        if !matches!(
            gguf.get(&key("expert_gating_func")),
            None | Some(Value::Unsigned(0 | 1))
        ) {
            return Err(unsupported("expert_gating_func", "1, softmax"));
        }
        if !matches!(
            gguf.get(&key("expert_weights_norm")),
            None | Some(Value::Bool(true))
        ) {
            return Err(unsupported("expert_weights_norm", "true"));
        }
        let scale = gguf.float_or(&key("expert_weights_scale"), 1.0)?;
        if ![0.0, 1.0].contains(&scale) {
            return Err(unsupported("expert_weights_scale", "1"));
        }
        sizes.d_mlp = gguf.count(&key("expert_feed_forward_length"), MAX_WIDTH)?;
        let n_experts = gguf.count(&key("expert_count"), MAX_EXPERTS)?;
        let n_used = gguf.count(&key("expert_used_count"), n_experts)?;
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            qk_norm: Some(QkNorm::Head),
            experts: Some(Experts {
                n_experts,
                n_used,
                normalised: true,
            }),
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig> {
        config.must_be_off("attention_bias")?;
        config.must_be_off("mlp_only_layers")?;
        config.must_be("hidden_act", "silu")?;
        if config.count_or("decoder_sparse_step", MAX_WIDTH, Some(1))? != 1 {
            return Err(config.unsupported("decoder_sparse_step", "1"));
        }
        let mut sizes = Sizes::of_hf(config, &Defaults::default())?;
        sizes.d_mlp = config.count("moe_intermediate_size", MAX_WIDTH)?;
        // transformers 5 writes the second name.
        let n_experts = match config.get("num_experts") {
            Some(_) => config.count("num_experts", MAX_EXPERTS)?,
            None => config.count("num_local_experts", MAX_EXPERTS)?,
        };
        let n_used = config.count("num_experts_per_tok", n_experts)?;
        let window = if config.flag_or("use_sliding_window", false)? {
            windows::of_hf(config, Some(4096))?
        } else {
            None
        };
        windows::check_uniform(config, sizes.n_layers, window.is_some())?;
        let rope = rotary::of_hf(config, 10_000.0, &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            windows: windows::uniform(window, sizes.n_layers, sizes.n_ctx),
            qk_norm: Some(QkNorm::Head),
            experts: Some(Experts {
                n_experts,
                n_used,
                normalised: config.flag_or("norm_topk_prob", false)?,
            }),
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::PRE
    }
}

//! Qwen 3 (Yang et al. 2025, arXiv 2505.09388): Llama with a norm on each query and key head.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, Sizes};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::{DecoderConfig, QkNorm};
use crate::error::Result;
use crate::gguf::Gguf;

pub(crate) struct Qwen3;

impl Architecture for Qwen3 {
    fn name(&self) -> &'static str {
        "qwen3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["qwen3"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        windows::refuse(gguf, "qwen3.attention.sliding_window", sizes.n_ctx)?;
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            qk_norm: Some(QkNorm::Head),
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig> {
        config.must_be_off("attention_bias")?;
        config.must_be("hidden_act", "silu")?;
        let mut sizes = Sizes::of_hf(
            config,
            &Defaults {
                d_head: Some(128),
                ..Defaults::default()
            },
        )?;
        let rope = rotary::of_hf(config, 10_000.0, &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            windows: windows::of_qwen(config, sizes.n_layers, sizes.n_ctx)?,
            qk_norm: Some(QkNorm::Head),
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::PRE
    }
}

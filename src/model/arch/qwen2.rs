//! Qwen 2 and 2.5 (Yang et al. 2024, arXiv 2407.10671): Llama with biases on query, key and value.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, Sizes};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::DecoderConfig;
use crate::error::Result;
use crate::gguf::Gguf;

pub(crate) struct Qwen2;

impl Architecture for Qwen2 {
    fn name(&self) -> &'static str {
        "qwen2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["qwen2"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        windows::refuse(gguf, "qwen2.attention.sliding_window", sizes.n_ctx)?;
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            qkv_bias: true,
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig> {
        config.must_be("hidden_act", "silu")?;
        let mut sizes = Sizes::of_hf(config, &Defaults::default())?;
        let rope = rotary::of_hf(config, 10_000.0, &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            windows: windows::of_qwen(config, sizes.n_layers, sizes.n_ctx)?,
            qkv_bias: true,
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::PRE
    }
}

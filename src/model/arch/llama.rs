//! Llama 2 and 3, SmolLM2, `TinyLlama` and their kin (Touvron et al. 2023, arXiv 2302.13971).
//!
//! Pre-norm blocks with `RMSNorm`, rotary positions, grouped-query attention without biases, and a
//! `SwiGLU` MLP. llama.cpp's converter stores query and key rows interleaved for its rotation, and
//! Llama 3.1's stretched frequencies as divisors in `rope_freqs.weight`. Mistral's GGUF files are
//! of this architecture too.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, Sizes, must_be_off};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::DecoderConfig;
use crate::error::Result;
use crate::gguf::Gguf;

pub(crate) struct Llama;

impl Architecture for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["llama"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        must_be_off(gguf, "llama.expert_count")?;
        windows::refuse(gguf, "llama.attention.sliding_window", sizes.n_ctx)?;
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            interleaved_rope_weights: true,
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig> {
        config.must_be_off("attention_bias")?;
        config.must_be("hidden_act", "silu")?;
        let mut sizes = Sizes::of_hf(
            config,
            &Defaults {
                kv_heads_are_heads: true,
                ..Defaults::default()
            },
        )?;
        windows::check_uniform(config, sizes.n_layers, false)?;
        let rope = rotary::of_hf(config, 10_000.0, &mut sizes, Rotated::Whole)?;
        Ok(sizes.decoder(self.name(), rope))
    }

    fn hf_names(&self) -> HfNames {
        hf_names::PRE
    }
}

//! Phi 3, 3.5 and 4 (Abdin et al. 2024, arXiv 2404.14219): Llama with stacked matrices, rotation of
//! a part of each head in some, a window in some, and `LongRoPE` in the long-context ones.
//!
//! llama.cpp reads the window and does not apply it; here it is applied, as in transformers.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, MAX_CONTEXT, Sizes};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::DecoderConfig;
use crate::error::Result;
use crate::gguf::{Gguf, Value};

pub(crate) struct Phi3;

impl Architecture for Phi3 {
    fn name(&self) -> &'static str {
        "phi3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["phi3"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        let key = "phi3.attention.sliding_window";
        let window = match gguf.get(key) {
            // The converter writes 0 for none.
            None | Some(Value::Unsigned(0)) => None,
            Some(_) => Some(gguf.count(key, MAX_CONTEXT)?),
        };
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Any)?;
        Ok(DecoderConfig {
            windows: windows::uniform(window, sizes.n_layers, sizes.n_ctx),
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
        let window = windows::of_hf(config, None)?;
        windows::check_uniform(config, sizes.n_layers, window.is_some())?;
        let rope = rotary::of_hf(config, 10_000.0, &mut sizes, Rotated::Any)?;
        Ok(DecoderConfig {
            windows: windows::uniform(window, sizes.n_layers, sizes.n_ctx),
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::FUSED
    }
}

//! `OLMo` 2 (`OLMo` Team 2024, arXiv 2501.00656): norms after attention and MLP only, and one norm over
//! all queries and one over all keys.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, Sizes};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::{DecoderConfig, Norms, QkNorm};
use crate::error::Result;
use crate::gguf::Gguf;

pub(crate) struct Olmo2;

impl Architecture for Olmo2 {
    fn name(&self) -> &'static str {
        "olmo2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["olmo2"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        // OLMo 3 files say `olmo2` and have a window in some layers.
        windows::refuse(gguf, "olmo2.attention.sliding_window", sizes.n_ctx)?;
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            qk_norm: Some(QkNorm::Width),
            norms: Norms::Post,
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
        Ok(DecoderConfig {
            qk_norm: Some(QkNorm::Width),
            norms: Norms::Post,
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::POST
    }
}

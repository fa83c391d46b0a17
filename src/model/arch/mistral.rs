//! Mistral (Jiang et al. 2023, arXiv 2310.06825): Llama with a window in every layer, or none.
//!
//! Its GGUF files say `llama`; llama.cpp's converter leaves the window out of them.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, Sizes};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::DecoderConfig;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

pub(crate) struct Mistral;

impl Architecture for Mistral {
    fn name(&self) -> &'static str {
        "mistral"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["mistral"]
    }

    fn gguf_config(&self, _: &Gguf) -> Result<DecoderConfig> {
        Err(Error::Unsupported {
            setting: "general.architecture".into(),
            found: self.name().into(),
            supported: "llama, which Mistral's GGUF files say".into(),
        })
    }

    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig> {
        config.must_be_off("attention_bias")?;
        config.must_be("hidden_act", "silu")?;
        let mut sizes = Sizes::of_hf(config, &Defaults::default())?;
        let window = windows::of_hf(config, Some(4096))?;
        windows::check_uniform(config, sizes.n_layers, window.is_some())?;
        let rope = rotary::of_hf(config, 10_000.0, &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            windows: windows::uniform(window, sizes.n_layers, sizes.n_ctx),
            ..sizes.decoder(self.name(), rope)
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::PRE
    }
}

//! Gemma 2 (Gemma Team 2024, arXiv 2408.00118): norms before and after, a window in every other
//! layer, and bounded attention scores and logits.

use super::rotary::{self, Rotated};
use super::sizes::{Defaults, MAX_CONTEXT, Sizes, gemma_embedding_scale};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::{Activation, DecoderConfig, Norms};
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// Layers of Gemma 2 27B, whose scores are divided by the root of `d_model / n_heads` and not of
/// `d_head`. GGUF has no setting for it; llama.cpp goes by the number of layers.
const N_LAYERS_OF_27B: usize = 46;

pub(crate) struct Gemma2;

impl Architecture for Gemma2 {
    fn name(&self) -> &'static str {
        "gemma2"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["gemma2"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let key = |name: &str| format!("gemma2.{name}");
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        // These defaults are llama.cpp's, for files older than the settings.
        let window = gguf.count_or(&key("attention.sliding_window"), MAX_CONTEXT, 4096)?;
        let attn_softcap = gguf.float_or(&key("attn_logit_softcapping"), 50.0)?;
        let logit_softcap = gguf.float_or(&key("final_logit_softcapping"), 30.0)?;
        let period = gguf.count_or(&key("attention.sliding_window_pattern"), 2, 2)?;
        if period != 2 {
            return Err(Error::Unsupported {
                setting: key("attention.sliding_window_pattern"),
                found: period.to_string(),
                supported: "2".into(),
            });
        }
        let squared = if sizes.n_layers == N_LAYERS_OF_27B {
            sizes.d_model / sizes.n_heads
        } else {
            sizes.d_head
        };
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            windows: (0..sizes.n_layers)
                .map(|layer| (layer % 2 == 0).then_some(window))
                .collect(),
            attn_scale: 1.0 / (squared as f64).sqrt(),
            attn_softcap: Some(softcap(&key("attn_logit_softcapping"), attn_softcap)?),
            logit_softcap: Some(softcap(&key("final_logit_softcapping"), logit_softcap)?),
            ..plain(sizes.decoder(self.name(), rope))
        })
    }

    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig> {
        config.must_be_off("attention_bias")?;
        config.must_be("hidden_activation", "gelu_pytorch_tanh")?;
        let mut sizes = Sizes::of_hf(
            config,
            &Defaults {
                d_head: Some(256),
                tied_embeddings: true,
                ..Defaults::default()
            },
        )?;
        let kinds = windows::layer_types(config, sizes.n_layers)?
            .unwrap_or_else(|| (0..sizes.n_layers).map(|layer| layer % 2 == 0).collect());
        let window = windows::of_hf(config, Some(4096))?;
        if window.is_none() && kinds.contains(&true) {
            return Err(config.unsupported("sliding_window", "a count"));
        }
        let rope = rotary::of_hf(config, 10_000.0, &mut sizes, Rotated::Whole)?;
        Ok(DecoderConfig {
            windows: kinds
                .into_iter()
                .map(|windowed| window.filter(|_| windowed))
                .collect(),
            attn_scale: attn_scale(config)?,
            attn_softcap: hf_softcap(config, "attn_logit_softcapping", Some(50.0))?,
            logit_softcap: hf_softcap(config, "final_logit_softcapping", Some(30.0))?,
            ..plain(sizes.decoder(self.name(), rope))
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::GEMMA
    }
}

/// What Gemma 2 and 3 share.
pub(super) fn plain(config: DecoderConfig) -> DecoderConfig {
    DecoderConfig {
        embedding_scale: gemma_embedding_scale(config.d_model),
        activation: Activation::GeluTanh,
        norms: Norms::Sandwich,
        ..config
    }
}

/// Factor on scores, from `query_pre_attn_scalar`.
pub(super) fn attn_scale(config: &HfConfig<'_>) -> Result<f64> {
    let squared = config.float_or("query_pre_attn_scalar", Some(256.0))?;
    if squared > 0.0 && squared < 1e9 {
        Ok(1.0 / squared.sqrt())
    } else {
        Err(config.unsupported("query_pre_attn_scalar", "a positive number"))
    }
}

/// A bound that may be `null` for none; `default` is meant where it is left out.
pub(super) fn hf_softcap(
    config: &HfConfig<'_>,
    key: &str,
    default: Option<f64>,
) -> Result<Option<f64>> {
    match config.get(key) {
        Some(_) => softcap(key, config.float(key)?).map(Some),
        None if config.mentions(key) => Ok(None),
        None => Ok(default),
    }
}

pub(super) fn softcap(key: &str, bound: f64) -> Result<f64> {
    if bound > 0.0 && bound < 1e9 {
        Ok(bound)
    } else {
        Err(Error::Unsupported {
            setting: key.to_owned(),
            found: bound.to_string(),
            supported: "a positive number".into(),
        })
    }
}

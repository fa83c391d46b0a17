//! Gemma 3, its text model (Gemma Team 2025, arXiv 2503.19786): norms before and after, norms of
//! queries and keys, and five layers with a window to one without, each with its own rotation.

use super::gemma2::{attn_scale, hf_softcap, plain, softcap};
use super::rotary::{self, Rotated};
use super::sizes::{Defaults, MAX_CONTEXT, MAX_LAYERS, Sizes};
use super::{hf_names, windows};
use crate::arch::{Architecture, HfConfig, HfNames};
use crate::config::{DecoderConfig, QkNorm, RopeScaling};
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// Layers of Gemma 3 27B, whose scores are divided by the root of `d_model / n_heads` and not of
/// `d_head`. GGUF has no setting for it; llama.cpp goes by the number of layers.
const N_LAYERS_OF_27B: usize = 62;
/// Every so many-th layer sees all keys.
const PERIOD: usize = 6;
const LOCAL_THETA: f64 = 10_000.0;

pub(crate) struct Gemma3;

impl Architecture for Gemma3 {
    fn name(&self) -> &'static str {
        "gemma3"
    }

    fn model_types(&self) -> &'static [&'static str] {
        &["gemma3_text", "gemma3"]
    }

    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let key = |name: &str| format!("gemma3.{name}");
        let mut sizes = Sizes::of_gguf(gguf, self.name())?;
        let window = gguf.count(&key("attention.sliding_window"), MAX_CONTEXT)?;
        let pattern = key("attention.sliding_window_pattern");
        let period = gguf.count_or(&pattern, MAX_LAYERS, PERIOD)?;
        let logit_softcap = key("final_logit_softcapping");
        let logit_softcap = match gguf.get(&logit_softcap) {
            None => None,
            Some(_) => Some(softcap(&logit_softcap, gguf.float(&logit_softcap)?)?),
        };
        let squared = if sizes.n_layers == N_LAYERS_OF_27B {
            sizes.d_model / sizes.n_heads
        } else {
            sizes.d_head
        };
        let d_head = sizes.d_head;
        let rope = rotary::of_gguf(gguf, self.name(), &mut sizes, Rotated::Whole)?;
        let local = rotary::local_of_gguf(gguf, &key("rope.freq_base_swa"), LOCAL_THETA, d_head)?;
        Ok(DecoderConfig {
            local_rope: Some(local),
            windows: (0..sizes.n_layers)
                .map(|layer| ((layer + 1) % period != 0).then_some(window))
                .collect(),
            attn_scale: 1.0 / (squared as f64).sqrt(),
            logit_softcap,
            qk_norm: Some(QkNorm::Head),
            ..plain(sizes.decoder(self.name(), rope))
        })
    }

    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig> {
        // The multimodal model keeps the text model's settings apart; its images are not read.
        let text = config.object("text_config")?;
        if config.string("model_type")? == "gemma3" && text.is_none() {
            return Err(config.wrong("text_config", "an object"));
        }
        let tied_embeddings = config.flag_or("tie_word_embeddings", true)?;
        config.must_be_off("quantization_config")?;
        let config = &text.unwrap_or(*config);
        config.must_be_off("attention_bias")?;
        // transformers does not apply it here, whatever it is.
        config.must_be_off("attn_logit_softcapping")?;
        config.must_be("hidden_activation", "gelu_pytorch_tanh")?;
        // Published files of the larger models leave out what these defaults say.
        let mut sizes = Sizes::of_hf(
            config,
            &Defaults {
                n_layers: Some(26),
                d_model: Some(2304),
                n_heads: Some(8),
                n_kv_heads: Some(4),
                kv_heads_are_heads: false,
                d_head: Some(256),
                d_mlp: Some(9216),
                n_vocab: Some(262_208),
                n_ctx: Some(131_072),
                rms_eps: Some(1e-6),
                tied_embeddings,
            },
        )?;
        let period = config.count_or("sliding_window_pattern", MAX_LAYERS, Some(PERIOD))?;
        let kinds = windows::layer_types(config, sizes.n_layers)?.unwrap_or_else(|| {
            (0..sizes.n_layers)
                .map(|layer| (layer + 1) % period != 0)
                .collect()
        });
        let window = windows::of_hf(config, Some(4096))?;
        if window.is_none() && kinds.contains(&true) {
            return Err(config.unsupported("sliding_window", "a count"));
        }

        // transformers 5 nests one object per kind of layer; before, the two bases stood apart and
        // the stretching was the full layers'.
        let nested = config.object("rope_parameters")?;
        let (full, local) = match &nested {
            Some(nested) => (
                nested.object("full_attention")?,
                nested.object("sliding_attention")?,
            ),
            None => (None, None),
        };
        if nested.is_some() && full.is_none() && local.is_none() {
            return Err(config.unsupported("rope_parameters", "one object per kind of layer"));
        }
        let full = match config.object("rope_scaling")? {
            Some(_) if nested.is_some() => {
                return Err(config.unsupported("rope_scaling", "absent beside `rope_parameters`"));
            }
            Some(scaling) => Some(scaling),
            None => full,
        };
        let theta = config.float_or("rope_theta", Some(1_000_000.0))?;
        let local_theta = config.float_or("rope_local_base_freq", Some(LOCAL_THETA))?;
        let n_ctx = sizes.n_ctx;
        let rope = rotary::of_parameters(config, full.as_ref(), theta, &mut sizes, Rotated::Whole)?;
        let local = rotary::of_parameters(
            config,
            local.as_ref(),
            local_theta,
            &mut sizes,
            Rotated::Whole,
        )?;
        if local.scaling != RopeScaling::None || sizes.n_ctx != n_ctx {
            return Err(Error::Unsupported {
                setting: "rope_parameters".into(),
                found: format!("{:?}", local.scaling),
                supported: "no stretching of layers with a window, and no longrope".into(),
            });
        }
        Ok(DecoderConfig {
            local_rope: Some(local),
            windows: kinds
                .into_iter()
                .map(|windowed| window.filter(|_| windowed))
                .collect(),
            attn_scale: attn_scale(config)?,
            logit_softcap: hf_softcap(config, "final_logit_softcapping", None)?,
            qk_norm: Some(QkNorm::Head),
            ..plain(sizes.decoder(self.name(), rope))
        })
    }

    fn hf_names(&self) -> HfNames {
        hf_names::GEMMA
    }
}

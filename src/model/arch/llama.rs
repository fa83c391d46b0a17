//! Llama 2 and 3, SmolLM2, `TinyLlama` and their kin (Touvron et al. 2023, arXiv 2302.13971).
//!
//! Pre-norm blocks with `RMSNorm`, rotary positions, grouped-query attention without biases, and a
//! `SwiGLU` MLP. llama.cpp's converter stores query and key rows interleaved for its rotation.

use crate::arch::Architecture;
use crate::config::{Activation, DecoderConfig, Norms, RopeConfig, RopeScaling};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// Largest sizes taken from a file; the largest published Llama is well below.
const MAX_LAYERS: usize = 1 << 10;
const MAX_WIDTH: usize = 1 << 18;
const MAX_CONTEXT: usize = 1 << 24;

pub(crate) struct Llama;

impl Architecture for Llama {
    fn name(&self) -> &'static str {
        "llama"
    }

    fn config(&self, gguf: &Gguf) -> Result<DecoderConfig> {
        let d_model = gguf.count("llama.embedding_length", MAX_WIDTH)?;
        let n_heads = gguf.count("llama.attention.head_count", MAX_WIDTH)?;
        let n_kv_heads = match gguf.get("llama.attention.head_count_kv") {
            None => n_heads,
            Some(_) => gguf.count("llama.attention.head_count_kv", n_heads)?,
        };
        let d_head = match gguf.get("llama.attention.key_length") {
            None if d_model % n_heads != 0 => {
                return Err(Error::Malformed {
                    what: format!("width {d_model} does not divide over {n_heads} heads"),
                });
            }
            None => d_model / n_heads,
            Some(_) => gguf.count("llama.attention.key_length", MAX_WIDTH)?,
        };
        let rotated = gguf.count("llama.rope.dimension_count", MAX_WIDTH)?;
        if n_heads % n_kv_heads != 0 || d_head == 0 || d_head % 2 != 0 || rotated != d_head {
            return Err(Error::Malformed {
                what: format!(
                    "{n_heads} heads over {n_kv_heads} key heads of width {d_head}, {rotated} of it rotated"
                ),
            });
        }
        // llama.cpp scales linearly where a factor stands without a type.
        for unsupported in [
            "llama.rope.scaling.type",
            "llama.rope.scaling.factor",
            "llama.rope.scale_linear",
            "llama.expert_count",
        ] {
            let harmless = match gguf.get(unsupported) {
                None | Some(Value::Unsigned(0)) => true,
                Some(Value::Float(factor)) => [0.0, 1.0].contains(factor),
                Some(Value::String(kind)) => kind == "none",
                Some(_) => false,
            };
            if !harmless {
                return Err(Error::Metadata {
                    key: unsupported.to_owned(),
                    expected: "absent: it is not supported yet",
                });
            }
        }
        if gguf.has_tensor("rope_freqs.weight") {
            return Err(Error::Metadata {
                key: "rope_freqs.weight".into(),
                expected: "absent: it is not supported yet",
            });
        }
        let [n_vocab, _] = *gguf.tensor_shape("token_embd.weight")? else {
            return Err(Error::Malformed {
                what: "tensor `token_embd.weight` is not a matrix".into(),
            });
        };
        let rope_theta = match gguf.get("llama.rope.freq_base") {
            None => 10_000.0,
            Some(_) => gguf.float("llama.rope.freq_base")?,
        };
        let rms_eps = gguf.float("llama.attention.layer_norm_rms_epsilon")?;
        if rms_eps <= 0.0 || rope_theta <= 1.0 {
            return Err(Error::Malformed {
                what: format!("rms epsilon {rms_eps}, rope base {rope_theta}"),
            });
        }
        let n_layers = gguf.count("llama.block_count", MAX_LAYERS)?;
        Ok(DecoderConfig {
            architecture: self.name().to_owned(),
            n_layers,
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            d_mlp: gguf.count("llama.feed_forward_length", MAX_WIDTH)?,
            n_vocab,
            n_ctx: gguf.count("llama.context_length", MAX_CONTEXT)?,
            rms_eps,
            rope: RopeConfig {
                theta: rope_theta,
                n_rotated: d_head,
                scaling: RopeScaling::None,
            },
            local_rope: None,
            windows: vec![None; n_layers],
            attn_scale: 1.0 / (d_head as f64).sqrt(),
            attn_softcap: None,
            logit_softcap: None,
            embedding_scale: 1.0,
            activation: Activation::Silu,
            qkv_bias: false,
            qk_norm: None,
            norms: Norms::Pre,
            experts: None,
            tied_embeddings: !gguf.has_tensor("output.weight"),
            interleaved_rope_weights: true,
        })
    }
}

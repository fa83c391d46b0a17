//! The sizes that every architecture states in the same words, and the plain decoder they make.

use crate::arch::HfConfig;
use crate::config::{Activation, DecoderConfig, Norms, RopeConfig};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Value};

/// Largest sizes taken from a file; the largest published models are well below.
pub(super) const MAX_LAYERS: usize = 1 << 10;
pub(super) const MAX_WIDTH: usize = 1 << 18;
pub(super) const MAX_CONTEXT: usize = 1 << 24;
pub(super) const MAX_VOCAB: usize = 1 << 24;

/// GGUF settings of other models that the architectures here do not have. llama.cpp follows them
/// where it knows them.
const FOREIGN: &[&str] = &[
    "attention.causal",
    "attention.clamp_kqv",
    "attention.max_alibi_bias",
    "attention.scale",
    "attention.shared_kv_layers",
    "attention.temperature_scale",
    "embedding_scale",
    "leading_dense_block_count",
    "logit_scale",
    "nextn_predict_layers",
    "residual_scale",
    "use_parallel_residual",
];

/// Sizes, checked to be plausible and to fit each other.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) n_layers: usize,
    pub(super) d_model: usize,
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: usize,
    pub(super) d_head: usize,
    pub(super) d_mlp: usize,
    pub(super) n_vocab: usize,
    pub(super) n_ctx: usize,
    pub(super) rms_eps: f64,
    pub(super) tied_embeddings: bool,
}

/// What transformers assumes where `config.json` leaves a size out; `None` where it must not.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    pub(super) n_layers: Option<usize>,
    pub(super) d_model: Option<usize>,
    pub(super) n_heads: Option<usize>,
    pub(super) n_kv_heads: Option<usize>,
    /// Left out, there are as many key heads as query heads.
    pub(super) kv_heads_are_heads: bool,
    /// Left out, it is `d_model / n_heads` unless this says otherwise.
    pub(super) d_head: Option<usize>,
    pub(super) d_mlp: Option<usize>,
    pub(super) n_vocab: Option<usize>,
    pub(super) n_ctx: Option<usize>,
    pub(super) rms_eps: Option<f64>,
    pub(super) tied_embeddings: bool,
}

impl Sizes {
    pub(super) fn of_gguf(gguf: &Gguf, architecture: &str) -> Result<Self> {
        let key = |name: &str| format!("{architecture}.{name}");
        for name in FOREIGN {
            must_be_off(gguf, &key(name))?;
        }
        let d_model = gguf.count(&key("embedding_length"), MAX_WIDTH)?;
        let n_heads = gguf.count(&key("attention.head_count"), MAX_WIDTH)?;
        let n_kv_heads = gguf.count_or(&key("attention.head_count_kv"), n_heads, n_heads)?;
        let key_length = key("attention.key_length");
        let d_head = match gguf.get(&key_length) {
            None => width_of_a_head(d_model, n_heads)?,
            Some(_) => gguf.count(&key_length, MAX_WIDTH)?,
        };
        let d_value = gguf.count_or(&key("attention.value_length"), MAX_WIDTH, d_head)?;
        if d_value != d_head {
            return Err(Error::Unsupported {
                setting: key("attention.value_length"),
                found: d_value.to_string(),
                supported: format!("the keys' length, {d_head}"),
            });
        }
        let [n_vocab, _] = *gguf.tensor_shape("token_embd.weight")? else {
            return Err(Error::Malformed {
                what: "tensor `token_embd.weight` is not a matrix".into(),
            });
        };
        Self {
            n_layers: gguf.count(&key("block_count"), MAX_LAYERS)?,
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            d_mlp: gguf.count(&key("feed_forward_length"), MAX_WIDTH)?,
            n_vocab,
            n_ctx: gguf.count(&key("context_length"), MAX_CONTEXT)?,
            rms_eps: gguf.float(&key("attention.layer_norm_rms_epsilon"))?,
            tied_embeddings: !gguf.has_tensor("output.weight"),
        }
        .checked()
    }

    pub(super) fn of_hf(config: &HfConfig<'_>, defaults: &Defaults) -> Result<Self> {
        for key in [
            "quantization_config",
            "mlp_bias",
            "use_bidirectional_attention",
        ] {
            config.must_be_off(key)?;
        }
        let d_model = config.count_or("hidden_size", MAX_WIDTH, defaults.d_model)?;
        let n_heads = config.count_or("num_attention_heads", MAX_WIDTH, defaults.n_heads)?;
        let default = match defaults.n_kv_heads {
            None if defaults.kv_heads_are_heads => Some(n_heads),
            default => default,
        };
        let n_kv_heads = config.count_or("num_key_value_heads", n_heads, default)?;
        let d_head = match (config.get("head_dim"), defaults.d_head) {
            (None, None) => width_of_a_head(d_model, n_heads)?,
            (_, default) => config.count_or("head_dim", MAX_WIDTH, default)?,
        };
        Self {
            n_layers: config.count_or("num_hidden_layers", MAX_LAYERS, defaults.n_layers)?,
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            d_mlp: config.count_or("intermediate_size", MAX_WIDTH, defaults.d_mlp)?,
            n_vocab: config.count_or("vocab_size", MAX_VOCAB, defaults.n_vocab)?,
            n_ctx: config.count_or("max_position_embeddings", MAX_CONTEXT, defaults.n_ctx)?,
            rms_eps: config.float_or("rms_norm_eps", defaults.rms_eps)?,
            tied_embeddings: config.flag_or("tie_word_embeddings", defaults.tied_embeddings)?,
        }
        .checked()
    }

    fn checked(self) -> Result<Self> {
        let Self {
            n_heads,
            n_kv_heads,
            d_head,
            n_vocab,
            rms_eps,
            ..
        } = self;
        let malformed = |what| Err(Error::Malformed { what });
        if n_heads % n_kv_heads != 0 || d_head % 2 != 0 || n_heads * d_head > MAX_WIDTH {
            return malformed(format!(
                "{n_heads} heads over {n_kv_heads} key heads of width {d_head}"
            ));
        }
        if rms_eps <= 0.0 || rms_eps >= 1.0 {
            return malformed(format!("rms epsilon {rms_eps}"));
        }
        if n_vocab > MAX_VOCAB {
            return malformed(format!("vocabulary of {n_vocab}"));
        }
        Ok(self)
    }

    /// A decoder with norms before attention and MLP, and nothing further.
    pub(super) fn decoder(self, architecture: &str, rope: RopeConfig) -> DecoderConfig {
        DecoderConfig {
            architecture: architecture.to_owned(),
            n_layers: self.n_layers,
            d_model: self.d_model,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_head: self.d_head,
            d_mlp: self.d_mlp,
            n_vocab: self.n_vocab,
            n_ctx: self.n_ctx,
            rms_eps: self.rms_eps,
            rope,
            local_rope: None,
            windows: vec![None; self.n_layers],
            attn_scale: 1.0 / (self.d_head as f64).sqrt(),
            attn_softcap: None,
            logit_softcap: None,
            embedding_scale: 1.0,
            activation: Activation::Silu,
            qkv_bias: false,
            qk_norm: None,
            norms: Norms::Pre,
            experts: None,
            tied_embeddings: self.tied_embeddings,
            interleaved_rope_weights: false,
        }
    }
}

/// Factor on Gemma's embeddings, rounded to f32 as transformers and llama.cpp do for f32 weights.
/// transformers rounds it further to the weights' type where a model is loaded as such.
pub(super) fn gemma_embedding_scale(d_model: usize) -> f64 {
    f64::from((d_model as f64).sqrt() as f32)
}

/// Refuses a GGUF setting unless it is absent, false, 0 or what does nothing.
pub(super) fn must_be_off(gguf: &Gguf, key: &str) -> Result<()> {
    // Absent and true both mean causal.
    let causal = key.ends_with(".causal");
    match gguf.get(key) {
        None | Some(Value::Unsigned(0) | Value::Signed(0)) => Ok(()),
        Some(Value::Bool(on)) if *on == causal => Ok(()),
        Some(Value::Float(value)) if *value == 0.0 => Ok(()),
        Some(other) => Err(Error::Unsupported {
            setting: key.to_owned(),
            found: format!("{other:?}"),
            supported: "absent".into(),
        }),
    }
}

fn width_of_a_head(d_model: usize, n_heads: usize) -> Result<usize> {
    if d_model.is_multiple_of(n_heads) {
        Ok(d_model / n_heads)
    } else {
        Err(Error::Malformed {
            what: format!("width {d_model} does not divide over {n_heads} heads"),
        })
    }
}

//! Sizes and constants that describe a decoder.

use serde::Serialize;

/// What the generic decoder needs to know about a model. Every count has been checked to be
/// positive and plausible, `d_model`, head counts and widths to fit each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecoderConfig {
    /// Architecture name, for example `llama`.
    pub architecture: String,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads per block.
    pub n_heads: usize,
    /// Key and value heads per block; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head; even.
    pub d_head: usize,
    /// Neurons per MLP; with experts, neurons per expert.
    pub d_mlp: usize,
    /// Size of the vocabulary.
    pub n_vocab: usize,
    /// Longest sequence.
    pub n_ctx: usize,
    /// Added to the mean square before its root (`RMSNorm`; Zhang and Sennrich 2019).
    pub rms_eps: f64,
    /// Positions in layers without a window.
    pub rope: RopeConfig,
    /// Positions in layers with a window, where they differ (Gemma 3).
    pub local_rope: Option<RopeConfig>,
    /// Per layer, how many keys a query sees, itself included; `None` for all.
    pub windows: Vec<Option<usize>>,
    /// Factor on the product of query and key.
    pub attn_scale: f64,
    /// Bound of attention scores before the softmax, `c · tanh(x / c)` (Gemma 2).
    pub attn_softcap: Option<f64>,
    /// The same bound on the logits.
    pub logit_softcap: Option<f64>,
    /// Factor on the embeddings (Gemma).
    pub embedding_scale: f64,
    /// The MLP's gate.
    pub activation: Activation,
    /// Whether query, key and value have a bias (Qwen 2).
    pub qkv_bias: bool,
    /// Norms of queries and keys before rotation.
    pub qk_norm: Option<QkNorm>,
    /// Where a block's norms stand.
    pub norms: Norms,
    /// A mixture of experts in place of the MLP.
    pub experts: Option<Experts>,
    /// Whether the output matrix is the embedding matrix.
    pub tied_embeddings: bool,
    /// Whether the file stores query and key rows for interleaved rotation. They are put back into
    /// the half-split order of the original model when they are loaded.
    #[serde(skip)]
    pub interleaved_rope_weights: bool,
}

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864) of one kind of layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f64,
    /// Leading entries of a head that are rotated; even, at most `d_head`.
    pub n_rotated: usize,
    /// How frequencies are stretched past the trained context.
    pub scaling: RopeScaling,
}

/// How rotary frequencies are stretched.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions are divided by a factor (Chen et al. 2023, arXiv 2306.15595).
    Linear {
        /// The factor, above 0.
        factor: f64,
    },
    /// By wavelength, as in Llama 3.1.
    Llama3 {
        /// Stretch of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_n_ctx / low_freq_factor` are stretched in full.
        low_freq_factor: f64,
        /// Wavelengths below `original_n_ctx / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context of the pre-training.
        original_n_ctx: usize,
    },
    /// `YaRN` (Peng et al. 2023, arXiv 2309.00071).
    Yarn {
        /// Stretch of the low frequencies.
        factor: f64,
        /// Rotations from which on a frequency is kept; 32 in the paper.
        beta_fast: f64,
        /// Rotations up to which a frequency is stretched in full; 1 in the paper.
        beta_slow: f64,
        /// Context of the pre-training.
        original_n_ctx: usize,
        /// Factor on cosines and sines.
        attn_factor: f64,
    },
    /// One divisor per frequency, from the file (Phi 3 `LongRoPE`, Llama 3.1 in GGUF).
    Divisors {
        /// `[n_rotated / 2]`, each above 0.
        divisors: Vec<f32>,
        /// Factor on cosines and sines.
        attn_factor: f64,
    },
}

/// What the MLP's gate goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · σ(x)`.
    Silu,
    /// GELU in the approximation by a hyperbolic tangent (Hendrycks and Gimpel 2016).
    GeluTanh,
}

/// What one norm of queries or keys runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QkNorm {
    /// Each head by itself, weights `[d_head]` (Qwen 3, Gemma 3).
    Head,
    /// All heads together, weights `[n_heads · d_head]` (`OLMo` 2).
    Width,
}

/// Where a block's norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Norms {
    /// Before attention and MLP.
    Pre,
    /// Before and after each (Gemma 2 and 3).
    Sandwich,
    /// After each only (`OLMo` 2).
    Post,
}

/// Sizes of a mixture of experts (Shazeer et al. 2017).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Experts {
    /// Experts per block.
    pub n_experts: usize,
    /// Experts per token.
    pub n_used: usize,
    /// Whether the weights of the chosen experts are scaled to sum to 1.
    pub normalised: bool,
}

impl DecoderConfig {
    /// Positions as layer `layer` rotates them.
    pub fn rope_of(&self, layer: usize) -> &RopeConfig {
        match (&self.local_rope, self.windows[layer]) {
            (Some(local), Some(_)) => local,
            _ => &self.rope,
        }
    }

    /// The row of the file that becomes row `row` of queries or keys: where the file has them
    /// interleaved (`0, h/2, 1, h/2 + 1, …`, as llama.cpp's converter writes them), they are put
    /// back into half-split order.
    pub(crate) fn row_in_file(&self, row: usize) -> usize {
        if !self.interleaved_rope_weights {
            return row;
        }
        let half = self.d_head / 2;
        let (head, i) = (row / self.d_head, row % self.d_head);
        head * self.d_head + 2 * (i % half) + i / half
    }
}

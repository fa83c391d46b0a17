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
    /// Neurons per MLP.
    pub d_mlp: usize,
    /// Size of the vocabulary.
    pub n_vocab: usize,
    /// Longest sequence.
    pub n_ctx: usize,
    /// Added to the mean square before its root (`RMSNorm`; Zhang and Sennrich 2019).
    pub rms_eps: f64,
    /// Base of the rotary position embedding (Su et al. 2021).
    pub rope_theta: f64,
    /// Whether the file stores query and key rows for interleaved rotation. They are put back into
    /// the half-split order of the original model when they are loaded.
    pub interleaved_rope_weights: bool,
    /// Whether the output matrix is the embedding matrix.
    pub tied_embeddings: bool,
}

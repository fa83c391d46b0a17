//! Reads and packs every weight, checking each tensor's shape.

use std::fmt;
use std::sync::Mutex;

use super::block::{Block, Gated, Mlp};
use super::matrices::{LowRank, Matrices};
use super::mixture::Mixture;
use super::{Decoder, Workspace};
use crate::adapter::Adapter;
use crate::config::{DecoderConfig, Norms, QkNorm};
use crate::error::Result;
use crate::kernel::{Packed, PackedType, Pool};
use crate::rope::Rope;
use crate::weights::WeightSource;

/// How products with weights are computed. Each device has some of these and a default:
/// [`Device::compute`](crate::Device::compute).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compute {
    /// Weights opened to dense f32: the exact reference, slow and large.
    F32,
    /// Quantised weights as stored, activations rounded to eight bits with one scale per 32. Weights
    /// of full or half precision are multiplied in f32.
    Int8,
    /// Weights opened to bf16 and activations rounded to it, for GPUs.
    Bf16,
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
            Self::Bf16 => "bf16",
        })
    }
}

/// What packs the tensors of one source.
struct Loader<'a> {
    source: &'a dyn WeightSource,
    config: &'a DecoderConfig,
    compute: Compute,
    /// With the factor on each one's contribution, not 0.
    adapters: &'a [(Adapter, f32)],
}

impl Decoder {
    /// Reads every weight, and the low-rank parts of adapters whose factor is not 0.
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: DecoderConfig,
        compute: Compute,
        adapters: &[(Adapter, f32)],
    ) -> Result<Self> {
        let loader = Loader {
            source,
            config: &config,
            compute,
            adapters,
        };
        let DecoderConfig {
            n_vocab, d_model, ..
        } = config;
        let embeddings = loader.plain("token_embd.weight", n_vocab, d_model)?;
        let unembed = if config.tied_embeddings {
            None
        } else {
            Some(loader.plain("output.weight", n_vocab, d_model)?)
        };
        let blocks = (0..config.n_layers)
            .map(|layer| {
                // What is packed is not needed twice.
                source.release();
                loader.block(layer)
            })
            .collect::<Result<_>>()?;
        let final_norm = source.dense("output_norm.weight", &[d_model])?;
        Ok(Self {
            rope: Rope::new(&config.rope),
            local_rope: config.local_rope.as_ref().map(Rope::new),
            embeddings,
            blocks,
            final_norm,
            unembed,
            workspace: Mutex::new(Workspace::default()),
            config,
        })
    }

    /// How products are really computed: `int8` only if a matrix is quantised.
    pub(crate) fn compute(&self) -> Compute {
        let quantised = |matrix: &Packed| matches!(matrix.kind(), PackedType::Integer(_));
        if self.matrices().any(quantised) {
            Compute::Int8
        } else {
            Compute::F32
        }
    }
}

impl Loader<'_> {
    fn block(&self, layer: usize) -> Result<Block> {
        let config = self.config;
        let DecoderConfig {
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            norms,
            ..
        } = *config;
        let (n_q, n_k) = (n_heads * d_head, n_kv_heads * d_head);
        let name = |stem: &str| format!("blk.{layer}.{stem}.weight");
        let norm = |there: bool, stem: &str, width: usize| -> Result<Option<Vec<f32>>> {
            let read = || self.source.dense(&name(stem), &[width]);
            there.then(read).transpose()
        };
        let (leading, trailing) = (norms != Norms::Post, norms != Norms::Pre);
        let qk_widths = config.qk_norm.map(|kind| match kind {
            QkNorm::Head => (d_head, d_head),
            QkNorm::Width => (n_q, n_k),
        });
        let qk_norms = match qk_widths {
            None => None,
            Some((q, k)) => Some((
                self.source.dense(&name("attn_q_norm"), &[q])?,
                self.source.dense(&name("attn_k_norm"), &[k])?,
            )),
        };
        let mut biases = Vec::new();
        if config.qkv_bias {
            for (stem, width) in [("attn_q", n_q), ("attn_k", n_k), ("attn_v", n_k)] {
                let bias = format!("blk.{layer}.{stem}.bias");
                let bias = self.source.dense(&bias, &[width])?;
                let row = |row| match stem {
                    "attn_v" => row,
                    _ => config.row_in_file(row),
                };
                biases.extend((0..width).map(|index| bias[row(index)]));
            }
        }
        let qkv = Matrices {
            packed: vec![
                self.heads(&name("attn_q"), n_heads)?,
                self.heads(&name("attn_k"), n_kv_heads)?,
                self.plain(&name("attn_v"), n_k, d_model)?,
            ],
            biases,
            low_rank: self.low_rank(
                &[&name("attn_q"), &name("attn_k"), &name("attn_v")],
                &[n_q, n_k, n_k],
            ),
        };
        let mlp = match config.experts {
            None => Mlp::Dense(self.gated(layer, "")?),
            Some(experts) => Mlp::Mixture(Mixture {
                router: self.one(&name("ffn_gate_inp"), experts.n_experts, d_model)?,
                experts: (0..experts.n_experts)
                    .map(|expert| self.gated(layer, &format!(".{expert}")))
                    .collect::<Result<_>>()?,
                config: experts,
            }),
        };
        Ok(Block {
            attn_norm: norm(leading, "attn_norm", d_model)?,
            post_attn_norm: norm(trailing, "post_attention_norm", d_model)?,
            mlp_norm: norm(leading, "ffn_norm", d_model)?,
            post_mlp_norm: norm(trailing, "post_ffw_norm", d_model)?,
            qk_norms,
            qkv,
            attn_out: self.one(&name("attn_output"), d_model, n_q)?,
            mlp,
        })
    }

    /// The MLP of a block, or one expert's.
    fn gated(&self, layer: usize, expert: &str) -> Result<Gated> {
        let DecoderConfig { d_model, d_mlp, .. } = *self.config;
        let name = |stem: &str| format!("blk.{layer}.{stem}{expert}.weight");
        Ok(Gated {
            gate_up: Matrices {
                packed: vec![
                    self.plain(&name("ffn_gate"), d_mlp, d_model)?,
                    self.plain(&name("ffn_up"), d_mlp, d_model)?,
                ],
                biases: Vec::new(),
                low_rank: self.low_rank(&[&name("ffn_gate"), &name("ffn_up")], &[d_mlp; 2]),
            },
            down: self.one(&name("ffn_down"), d_model, d_mlp)?,
        })
    }

    fn one(&self, name: &str, n_out: usize, n_in: usize) -> Result<Matrices> {
        Ok(Matrices {
            packed: vec![self.plain(name, n_out, n_in)?],
            biases: Vec::new(),
            low_rank: self.low_rank(&[name], &[n_out]),
        })
    }

    /// The adapters' parts of matrices that stand side by side.
    fn low_rank(&self, names: &[&str], widths: &[usize]) -> Vec<LowRank> {
        let mut found = Vec::new();
        for (adapter, factor) in self.adapters {
            let mut column = 0;
            for (name, width) in names.iter().zip(widths) {
                if let Some(part) = adapter.parts(name) {
                    found.push(LowRank {
                        a: Packed::from_f32(&part.a, part.n_in),
                        b: Packed::from_f32(&part.b, part.rank),
                        scale: part.scale * factor,
                        column,
                    });
                }
                column += width;
            }
        }
        found
    }

    fn plain(&self, name: &str, n_out: usize, n_in: usize) -> Result<Packed> {
        self.pack(name, n_out, n_in, &|row| row)
    }

    /// Query or key rows.
    fn heads(&self, name: &str, n_heads: usize) -> Result<Packed> {
        let n_out = n_heads * self.config.d_head;
        let config = self.config;
        self.pack(name, n_out, config.d_model, &|row| config.row_in_file(row))
    }

    fn pack(
        &self,
        name: &str,
        n_out: usize,
        n_in: usize,
        order: &(dyn Fn(usize) -> usize + Sync),
    ) -> Result<Packed> {
        let tensor = self.source.tensor(name, &[n_out, n_in])?;
        let exact = self.compute == Compute::F32;
        Packed::pack(Pool::global(), &tensor, order, exact)
    }
}

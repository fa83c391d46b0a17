//! The generic decoder: one forward pass over packed rows, with hooks at every site.

use candle_core::{D, DType, Device, Tensor};
use candor_schema::{HookPoint, Site};

use crate::config::DecoderConfig;
use crate::error::Result;
use crate::hooks::Hooks;
use crate::rope::Rope;
use crate::row_map::RowMap;
use crate::sequence::Sequence;
use crate::weights::WeightSource;

/// Weights as dense f32 (`--compute f32`, the exact reference), and the pass over them.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: DecoderConfig,
    rope: Rope,
    embeddings: Tensor, // [n_vocab, d_model]
    blocks: Vec<Block>,
    final_norm: Tensor, // [d_model]
    unembed: Tensor,    // [n_vocab, d_model]
}

/// One block. Matrices that share an input are stacked, so that one product serves them.
#[derive(Debug)]
struct Block {
    attn_norm: Tensor, // [d_model]
    qkv: Tensor,       // [(n_heads + 2 n_kv_heads) * d_head, d_model]
    attn_out: Tensor,  // [d_model, n_heads * d_head]
    mlp_norm: Tensor,  // [d_model]
    gate_up: Tensor,   // [2 * d_mlp, d_model]
    mlp_out: Tensor,   // [d_model, d_mlp]
}

impl Decoder {
    /// Reads and dequantises every weight, checking each tensor's shape.
    pub(crate) fn load(weights: &dyn WeightSource, config: DecoderConfig) -> Result<Self> {
        let DecoderConfig {
            n_vocab,
            d_model,
            d_mlp,
            n_heads,
            n_kv_heads,
            d_head,
            ..
        } = config;
        let dense = |name: &str, shape: &[usize]| -> Result<Tensor> {
            Ok(Tensor::from_vec(
                weights.dense(name, shape)?,
                shape,
                &Device::Cpu,
            )?)
        };
        let embeddings = dense("token_embd.weight", &[n_vocab, d_model])?;
        let unembed = if config.tied_embeddings {
            embeddings.clone()
        } else {
            dense("output.weight", &[n_vocab, d_model])?
        };
        let heads = |name: &str, n: usize| -> Result<Tensor> {
            let weight = dense(name, &[n * d_head, d_model])?;
            if config.interleaved_rope_weights {
                half_split(&weight, n, d_head)
            } else {
                Ok(weight)
            }
        };
        let blocks = (0..config.n_layers)
            .map(|layer| {
                let name = |stem: &str| format!("blk.{layer}.{stem}.weight");
                let q = heads(&name("attn_q"), n_heads)?;
                let k = heads(&name("attn_k"), n_kv_heads)?;
                let v = dense(&name("attn_v"), &[n_kv_heads * d_head, d_model])?;
                let gate = dense(&name("ffn_gate"), &[d_mlp, d_model])?;
                let up = dense(&name("ffn_up"), &[d_mlp, d_model])?;
                Ok(Block {
                    attn_norm: dense(&name("attn_norm"), &[d_model])?,
                    qkv: Tensor::cat(&[q, k, v], 0)?,
                    attn_out: dense(&name("attn_output"), &[d_model, n_heads * d_head])?,
                    mlp_norm: dense(&name("ffn_norm"), &[d_model])?,
                    gate_up: Tensor::cat(&[gate, up], 0)?,
                    mlp_out: dense(&name("ffn_down"), &[d_model, d_mlp])?,
                })
            })
            .collect::<Result<_>>()?;
        let final_norm = dense("output_norm.weight", &[d_model])?;
        Ok(Self {
            rope: Rope::new(&config),
            config,
            embeddings,
            blocks,
            final_norm,
            unembed,
        })
    }

    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Bytes of all weights in memory.
    pub(crate) fn weight_bytes(&self) -> usize {
        let shared = usize::from(!self.config.tied_embeddings);
        let blocks = self.blocks.iter().flat_map(|block| {
            [
                &block.attn_norm,
                &block.qkv,
                &block.attn_out,
                &block.mlp_norm,
                &block.gate_up,
                &block.mlp_out,
            ]
        });
        let n_weights: usize = blocks
            .chain([&self.embeddings, &self.final_norm])
            .map(Tensor::elem_count)
            .sum();
        (n_weights + shared * self.unembed.elem_count()) * size_of::<f32>()
    }

    /// Runs blocks `0..depth` over packed rows; returns the residual stream after the last of
    /// them, `[row, d_model]`. Appends to the sequences' caches, but not to their tokens.
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        sequences: &mut [&mut Sequence],
        rows: &RowMap,
        depth: usize,
        hooks: &mut Hooks<'_>,
    ) -> Result<Tensor> {
        let (cos, sin) = self.rope.angles(rows)?;
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let mut resid = self.embeddings.index_select(&ids, 0)?; // [row, d_model]
        for (layer, block) in self.blocks[..depth].iter().enumerate() {
            let mut at = |site, x| hooks.at(HookPoint::new(layer, site), x, rows);

            resid = at(Site::ResidPre, resid)?;
            let x = candle_nn::ops::rms_norm(&resid, &block.attn_norm, self.config.rms_eps as f32)?;
            let z = self.attention(block, layer, &x, (&cos, &sin), sequences, rows)?;
            let z = at(Site::AttnZ, z)?; // [row, n_heads * d_head]
            let attn_out = at(Site::AttnOut, linear(&z, &block.attn_out)?)?;
            resid = at(Site::ResidMid, (resid + attn_out)?)?;

            let x = candle_nn::ops::rms_norm(&resid, &block.mlp_norm, self.config.rms_eps as f32)?;
            let neurons = candle_nn::ops::swiglu(&linear(&x, &block.gate_up)?)?;
            let neurons = at(Site::MlpPost, neurons)?; // [row, d_mlp]
            let mlp_out = at(Site::MlpOut, linear(&neurons, &block.mlp_out)?)?;
            resid = at(Site::ResidPost, (resid + mlp_out)?)?;
        }
        Ok(resid)
    }

    /// Next-token logits of some rows of the last block's output, `[chosen row, n_vocab]`.
    pub(crate) fn logits(&self, resid: &Tensor, chosen: &[u32]) -> Result<Tensor> {
        let chosen = Tensor::from_slice(chosen, chosen.len(), &Device::Cpu)?;
        let resid = resid.index_select(&chosen, 0)?;
        let x = candle_nn::ops::rms_norm(&resid, &self.final_norm, self.config.rms_eps as f32)?;
        linear(&x, &self.unembed)
    }

    /// Grouped-query attention (Ainslie et al. 2023), each sequence against its own cache.
    fn attention(
        &self,
        block: &Block,
        layer: usize,
        x: &Tensor, // [row, d_model]
        (cos, sin): (&Tensor, &Tensor),
        sequences: &mut [&mut Sequence],
        rows: &RowMap,
    ) -> Result<Tensor> {
        let DecoderConfig {
            n_heads,
            n_kv_heads,
            d_head,
            ..
        } = self.config;
        let group = n_heads / n_kv_heads;
        let n_rows = rows.n_rows();
        let qkv = linear(x, &block.qkv)?; // [row, (n_heads + 2 n_kv_heads) * d_head]
        let part = |start: usize, n: usize| -> Result<Tensor> {
            Ok(qkv
                .narrow(1, start * d_head, n * d_head)?
                .reshape((n_rows, n, d_head))?)
        };
        let q = Rope::rotate(&part(0, n_heads)?, cos, sin)?; // [row, n_heads, d_head]
        let k = Rope::rotate(&part(n_heads, n_kv_heads)?, cos, sin)?;
        let v = part(n_heads + n_kv_heads, n_kv_heads)?;

        let mut outputs = Vec::with_capacity(sequences.len());
        for (item, sequence) in sequences.iter_mut().enumerate() {
            let range = rows.item_rows(item);
            let t = range.len();
            if t == 0 {
                continue;
            }
            let own = |x: &Tensor| x.narrow(0, range.start, t);
            let new_k = own(&k)?.transpose(0, 1)?.contiguous()?; // [n_kv_heads, t, d_head]
            let new_v = own(&v)?.transpose(0, 1)?.contiguous()?;
            let (keys, values) = sequence.caches[layer].append(&new_k, &new_v)?; // [n_kv_heads, past + t, d_head]

            // Query heads of one group stand one after another, so they become rows of one product.
            let q = own(&q)?
                .reshape((t, n_kv_heads, group, d_head))?
                .permute((1, 2, 0, 3))?;
            let q = q.contiguous()?.reshape((n_kv_heads, group * t, d_head))?;
            let q = (q * (1.0 / (d_head as f64).sqrt()))?;
            let n_keys = keys.dim(1)?;
            let scores = q.matmul(&keys.transpose(1, 2)?)?; // [n_kv_heads, group * t, past + t]
            let scores = if t > 1 {
                let mask = causal_mask(t, n_keys)?;
                scores
                    .reshape((n_kv_heads, group, t, n_keys))?
                    .broadcast_add(&mask)?
                    .reshape(scores.shape())?
            } else {
                scores
            };
            let weights = candle_nn::ops::softmax_last_dim(&scores)?;
            let z = weights
                .matmul(&values)?
                .reshape((n_kv_heads, group, t, d_head))?;
            outputs.push(z.permute((2, 0, 1, 3))?.reshape((t, n_heads * d_head))?);
        }
        Ok(Tensor::cat(&outputs, 0)?)
    }
}

/// `x · weightᵀ`: `[row, in]` and `[out, in]` to `[row, out]`.
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    Ok(x.matmul(&weight.t()?)?)
}

/// 0 where a query may look and −∞ where the key lies ahead, `[t, n_keys]`.
fn causal_mask(t: usize, n_keys: usize) -> Result<Tensor> {
    let past = n_keys - t;
    let mask: Vec<f32> = (0..t)
        .flat_map(|row| {
            (0..n_keys).map(move |key| {
                if key <= past + row {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
        })
        .collect();
    Ok(Tensor::from_vec(mask, (t, n_keys), &Device::Cpu)?)
}

/// Puts rows that llama.cpp stores interleaved (`0, h/2, 1, h/2 + 1, …`) back into half-split order.
fn half_split(weight: &Tensor, n_heads: usize, d_head: usize) -> Result<Tensor> {
    let d_model = weight.dim(D::Minus1)?;
    let split = weight
        .reshape((n_heads, d_head / 2, 2, d_model))?
        .transpose(1, 2)?;
    Ok(split
        .contiguous()?
        .reshape((n_heads * d_head, d_model))?
        .to_dtype(DType::F32)?)
}

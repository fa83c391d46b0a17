//! One block: attention and MLP.

use candle_core::Tensor;
use candle_nn::ops::rms_norm;
use candle_nn::rotary_emb::rope_thd;
use candor_schema::Site;

use super::attention::{Attention, MAX_SCORES, Masks};
use super::linear::Linear;
use super::mixture::Mixture;
use crate::config::{Activation, DecoderConfig, QkNorm};
use crate::error::Result;
use crate::row_map::RowMap;
use crate::sequence::Sequence;

/// Lets the listeners of one site of the block see or change an f32 tensor, `[row, width]`.
pub(super) type At<'a> = dyn FnMut(Site, Tensor) -> Result<Tensor> + 'a;

#[derive(Debug)]
pub(super) struct Block {
    /// f32 `[d_model]` each, where the architecture has them.
    pub(super) attn_norm: Option<Tensor>,
    pub(super) post_attn_norm: Option<Tensor>,
    pub(super) mlp_norm: Option<Tensor>,
    pub(super) post_mlp_norm: Option<Tensor>,
    /// Of queries and of keys, f32.
    pub(super) qk_norms: Option<(Tensor, Tensor)>,
    pub(super) query: Linear,    // [n_heads * d_head, d_model]
    pub(super) key: Linear,      // [n_kv_heads * d_head, d_model]
    pub(super) value: Linear,    // the same
    pub(super) attn_out: Linear, // [d_model, n_heads * d_head]
    pub(super) mlp: Mlp,
}

#[derive(Debug)]
pub(super) enum Mlp {
    Dense(Gated),
    Mixture(Mixture),
}

/// A gated MLP (Shazeer 2020, arXiv 2002.05202).
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) gate: Linear, // [d_mlp, d_model]
    pub(super) up: Linear,   // the same
    pub(super) down: Linear, // [d_model, d_mlp]
}

/// What is the same for every block of one pass.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) config: &'a DecoderConfig,
    pub(super) rows: &'a RowMap,
    pub(super) angles: Angles,
    /// In layers with a window, where they differ.
    pub(super) local_angles: Option<Angles>,
    pub(super) masks: Masks,
}

/// Cosines and sines of the rows' positions, f32 `[row, n_rotated / 2]` each.
#[derive(Debug)]
pub(super) struct Angles {
    pub(super) cos: Tensor,
    pub(super) sin: Tensor,
}

impl Angles {
    /// Rotates the first `n_rotated` entries of every head of `[row, head, d_head]`, in half-split
    /// order (Su et al. 2021, arXiv 2104.09864).
    fn rotate(&self, heads: &Tensor) -> Result<Tensor> {
        let (d_head, n_rotated) = (heads.dim(2)?, 2 * self.cos.dim(1)?);
        // One batch of all rows, each with angles of its own.
        let turn = |heads: &Tensor| -> Result<Tensor> {
            Ok(rope_thd(&heads.unsqueeze(0)?, &self.cos, &self.sin)?.squeeze(0)?)
        };
        if n_rotated == d_head {
            return turn(heads);
        }
        let turned = turn(&heads.narrow(2, 0, n_rotated)?.contiguous()?)?;
        let rest = heads.narrow(2, n_rotated, d_head - n_rotated)?;
        Ok(Tensor::cat(&[turned, rest.contiguous()?], 2)?)
    }
}

impl Block {
    /// What attention adds to the stream `resid`, f32 `[row, d_model]`; appends to the caches.
    pub(super) fn attention(
        &self,
        step: &mut Step<'_>,
        layer: usize,
        resid: &Tensor,
        sequences: &mut [&mut Sequence],
        at: &mut At<'_>,
    ) -> Result<Tensor> {
        let DecoderConfig {
            n_heads,
            n_kv_heads,
            d_head,
            rms_eps,
            ..
        } = *step.config;
        let n_rows = step.rows.n_rows();
        let dtype = self.query.weight.dtype();
        let x = norm(resid, self.attn_norm.as_ref(), rms_eps)?.to_dtype(dtype)?;
        let (mut query, mut key) = (self.query.apply(&x)?, self.key.apply(&x)?);
        let value = self
            .value
            .apply(&x)?
            .reshape((n_rows, n_kv_heads, d_head))?;
        if let Some((of_query, of_key)) = &self.qk_norms {
            let whole = step.config.qk_norm == Some(QkNorm::Width);
            let shape = |n_heads| {
                if whole {
                    (n_rows, n_heads * d_head)
                } else {
                    (n_rows * n_heads, d_head)
                }
            };
            query = norm(&query.reshape(shape(n_heads))?, Some(of_query), rms_eps)?;
            key = norm(&key.reshape(shape(n_kv_heads))?, Some(of_key), rms_eps)?;
        }
        let window = step.config.windows[layer];
        let angles = match &step.local_angles {
            Some(local) if window.is_some() => local,
            _ => &step.angles,
        };
        let query = angles.rotate(&query.reshape((n_rows, n_heads, d_head))?)?;
        let key = angles.rotate(&key.reshape((n_rows, n_kv_heads, d_head))?)?;

        let attention = Attention {
            n_heads,
            n_kv_heads,
            d_head,
            scale: step.config.attn_scale,
            softcap: step.config.attn_softcap,
            window,
            max_scores: MAX_SCORES,
        };
        let mut parts = Vec::new();
        for (item, sequence) in sequences.iter_mut().enumerate() {
            let rows = step.rows.item_rows(item);
            if rows.is_empty() {
                continue;
            }
            // [n_kv_heads, row, d_head], as the cache has them.
            let own = |heads: &Tensor| -> Result<Tensor> {
                let heads = heads.narrow(0, rows.start, rows.len())?;
                Ok(heads.transpose(0, 1)?.contiguous()?.to_dtype(dtype)?)
            };
            let cache = sequence.caches[layer].tensors_mut();
            cache.append(&own(&key)?, &own(&value)?)?;
            let query = query.narrow(0, rows.start, rows.len())?;
            parts.push(attention.attend(&query, cache, &mut step.masks)?);
        }
        let z = at(Site::AttnZ, Tensor::cat(&parts, 0)?)?; // [row, n_heads * d_head]
        let delta = self.attn_out.apply(&z.to_dtype(dtype)?)?;
        norm(&delta, self.post_attn_norm.as_ref(), rms_eps)
    }

    /// What the MLP adds to the stream `resid`, f32 `[row, d_model]`.
    pub(super) fn mlp(
        &self,
        config: &DecoderConfig,
        resid: &Tensor,
        at: &mut At<'_>,
    ) -> Result<Tensor> {
        let dtype = self.query.weight.dtype();
        let x = norm(resid, self.mlp_norm.as_ref(), config.rms_eps)?.to_dtype(dtype)?;
        let delta = match &self.mlp {
            Mlp::Dense(mlp) => mlp.apply(config.activation, &x, at)?,
            Mlp::Mixture(mixture) => mixture.apply(config.activation, &x, at)?,
        };
        norm(&delta, self.post_mlp_norm.as_ref(), config.rms_eps)
    }

    /// Every tensor of weights but the norms'.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let mlp: Vec<&Tensor> = match &self.mlp {
            Mlp::Dense(mlp) => mlp.tensors().collect(),
            Mlp::Mixture(mixture) => mixture.tensors().collect(),
        };
        let attention = [&self.query, &self.key, &self.value, &self.attn_out];
        attention.into_iter().flat_map(Linear::tensors).chain(mlp)
    }
}

impl Gated {
    /// f32 `[row, d_model]` from `x`, `[row, d_model]`.
    pub(super) fn apply(
        &self,
        activation: Activation,
        x: &Tensor,
        at: &mut At<'_>,
    ) -> Result<Tensor> {
        let gate = self.gate.apply(x)?;
        let gate = match activation {
            Activation::Silu => gate.silu()?,
            // candle's own name for the approximation by a hyperbolic tangent.
            Activation::GeluTanh => gate.gelu()?,
        };
        let neurons = at(Site::MlpPost, (gate * self.up.apply(x)?)?)?; // [row, d_mlp]
        self.down.apply(&neurons.to_dtype(x.dtype())?)
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let all = [&self.gate, &self.up, &self.down];
        all.into_iter().flat_map(Linear::tensors)
    }
}

/// `RMSNorm` (Zhang and Sennrich 2019, arXiv 1910.07467) of every row, or the rows as they are.
pub(super) fn norm(x: &Tensor, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    match weight {
        None => Ok(x.clone()),
        Some(weight) => Ok(rms_norm(x, weight, eps as f32)?),
    }
}

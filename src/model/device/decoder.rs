//! The decoder over tensors: one pass over packed rows, with hooks at every site.

use candle_core::{DType, Device, Tensor};
use candor_schema::{HookPoint, Site};

use super::attention::Masks;
use super::block::{Angles, Block, Step, norm};
use super::linear::times_transposed;
use crate::config::DecoderConfig;
use crate::error::Result;
use crate::hooks::Hooks;
use crate::rope::Rope;
use crate::row_map::RowMap;
use crate::sequence::Sequence;
use crate::tensor::{from_host, to_host};

/// Weights on a device, and the pass over them.
#[derive(Debug)]
pub(crate) struct TensorDecoder {
    pub(super) config: DecoderConfig,
    pub(super) device: Device,
    /// Of weights, products and caches.
    pub(super) dtype: DType,
    pub(super) rope: Rope,
    pub(super) local_rope: Option<Rope>,
    pub(super) embeddings: Tensor, // [n_vocab, d_model]
    pub(super) blocks: Vec<Block>,
    pub(super) final_norm: Tensor, // f32 [d_model]
    /// `None` where the embeddings serve.
    pub(super) unembed: Option<Tensor>, // [n_vocab, d_model]
}

impl TensorDecoder {
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Bytes of a number of its arithmetic.
    pub(crate) fn value_bytes(&self) -> usize {
        self.dtype.size_in_bytes()
    }

    /// Type and bytes of every matrix.
    pub(crate) fn matrices(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        let blocks = self.blocks.iter().flat_map(Block::tensors);
        let all = blocks.chain([&self.embeddings]).chain(&self.unembed);
        all.map(|tensor| {
            let dtype = tensor.dtype();
            (dtype.as_str(), tensor.elem_count() * dtype.size_in_bytes())
        })
    }

    /// Runs blocks `0..depth` over packed rows and returns the residual stream, f32
    /// `[row, d_model]`. Appends to the sequences' caches, but not to their tokens.
    pub(crate) fn forward(
        &self,
        tokens: &[u32],
        sequences: &mut [&mut Sequence],
        rows: &RowMap,
        depth: usize,
        hooks: &mut Hooks<'_>,
    ) -> Result<Tensor> {
        let mut step = Step {
            config: &self.config,
            rows,
            angles: self.angles(&self.rope, rows)?,
            local_angles: match &self.local_rope {
                Some(rope) => Some(self.angles(rope, rows)?),
                None => None,
            },
            masks: Masks::default(),
        };
        let ids = from_host(tokens.to_vec(), tokens.len(), &self.device)?;
        let embedded = self.embeddings.index_select(&ids, 0)?;
        let mut resid = (embedded.to_dtype(DType::F32)? * self.config.embedding_scale)?;
        for (layer, block) in self.blocks[..depth].iter().enumerate() {
            let mut at = |site, values| self.at(HookPoint::new(layer, site), values, rows, hooks);
            resid = at(Site::ResidPre, resid)?;
            let delta = block.attention(&mut step, layer, &resid, sequences, &mut at)?;
            let delta = at(Site::AttnOut, delta)?;
            resid = at(Site::ResidMid, (resid + delta)?)?;
            let delta = block.mlp(&self.config, &resid, &mut at)?;
            let delta = at(Site::MlpOut, delta)?;
            resid = at(Site::ResidPost, (resid + delta)?)?;
        }
        Ok(resid)
    }

    /// Next-token logits of some rows of a stream, `[chosen row, n_vocab]`.
    pub(crate) fn logits(&self, resid: &Tensor, chosen: &[usize]) -> Result<Vec<f32>> {
        let ids: Vec<u32> = chosen.iter().map(|row| *row as u32).collect();
        let rows = resid.index_select(&from_host(ids, chosen.len(), &self.device)?, 0)?;
        let x = norm(&rows, Some(&self.final_norm), self.config.rms_eps)?.to_dtype(self.dtype)?;
        let unembed = self.unembed.as_ref().unwrap_or(&self.embeddings);
        let mut logits = times_transposed(&x, unembed)?.to_dtype(DType::F32)?;
        if let Some(cap) = self.config.logit_softcap {
            logits = ((logits / cap)?.tanh()? * cap)?;
        }
        to_host(&logits)
    }

    /// Lets listeners at `point` see or change `values`, f32 `[row, width]`. Without one the tensor
    /// stays where it is.
    fn at(
        &self,
        point: HookPoint,
        values: Tensor,
        rows: &RowMap,
        hooks: &mut Hooks<'_>,
    ) -> Result<Tensor> {
        if !hooks.listens(point) {
            return Ok(values);
        }
        let mut host = to_host(&values)?;
        hooks.at(point, &mut host, rows)?;
        if hooks.edits(point) {
            from_host(host, values.shape(), &self.device)
        } else {
            Ok(values)
        }
    }

    fn angles(&self, rope: &Rope, rows: &RowMap) -> Result<Angles> {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        rope.angles(rows, &mut cos, &mut sin);
        let shape = (rows.n_rows(), rope.half());
        Ok(Angles {
            cos: from_host(cos, shape, &self.device)?,
            sin: from_host(sin, shape, &self.device)?,
        })
    }
}

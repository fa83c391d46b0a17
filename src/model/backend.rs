//! The two decoders behind one interface: candor's own on the processor, and that over tensors.

use std::sync::MutexGuard;

use candle_core::{DType, Tensor};

use crate::adapter::Adapter;
use crate::cache::Cache;
use crate::config::DecoderConfig;
use crate::decoder::{Compute, Decoder, Workspace};
use crate::device::{Device, TensorCache, TensorDecoder};
use crate::error::Result;
use crate::hooks::Hooks;
use crate::kernel::padded_head;
use crate::kv_cache::KvCache;
use crate::row_map::RowMap;
use crate::sequence::Sequence;
use crate::weights::WeightSource;

/// The weights of a model, and what runs them.
#[derive(Debug)]
pub(crate) enum Backend {
    Cpu(Box<Decoder>),
    Tensors(Box<TensorDecoder>),
}

/// A device that is there, and the arithmetic for it.
#[derive(Debug)]
pub(crate) struct Place {
    device: Device,
    opened: candle_core::Device,
    compute: Compute,
}

impl Place {
    /// Opens a device.
    pub(crate) fn open(device: Device, compute: Option<Compute>) -> Result<Self> {
        Ok(Self {
            device,
            compute: device.compute(compute)?,
            opened: device.open()?,
        })
    }
}

impl Backend {
    /// Reads every weight, and the low-rank parts of adapters whose factor is not 0.
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: DecoderConfig,
        place: &Place,
        adapters: &[(Adapter, f32)],
    ) -> Result<Self> {
        if place.device == Device::Cpu {
            let decoder = Decoder::load(source, config, place.compute, adapters)?;
            return Ok(Self::Cpu(Box::new(decoder)));
        }
        let dtype = match place.compute {
            Compute::Bf16 => DType::BF16,
            Compute::F32 | Compute::Int8 => DType::F32,
        };
        let device = place.opened.clone();
        let decoder = TensorDecoder::load(source, config, device, dtype, adapters)?;
        Ok(Self::Tensors(Box::new(decoder)))
    }

    pub(crate) fn config(&self) -> &DecoderConfig {
        match self {
            Self::Cpu(decoder) => decoder.config(),
            Self::Tensors(decoder) => decoder.config(),
        }
    }

    /// The arithmetic as a fingerprint names it: that of the processor's own decoder, `int8` only
    /// if a matrix is quantised, or that of a device, for example `bf16@cuda`.
    pub(crate) fn compute(&self, place: &Place) -> String {
        match self {
            Self::Cpu(decoder) => decoder.compute().to_string(),
            Self::Tensors(_) => format!("{}@{}", place.compute, place.device.kind()),
        }
    }

    /// Type and bytes of every matrix.
    pub(crate) fn matrices(&self) -> Vec<(&'static str, usize)> {
        match self {
            Self::Cpu(decoder) => {
                let matrices = decoder.matrices();
                matrices
                    .map(|matrix| (matrix.kind().name(), matrix.n_bytes()))
                    .collect()
            }
            Self::Tensors(decoder) => decoder.matrices().collect(),
        }
    }

    /// Bytes that one token adds to the caches of all blocks.
    pub(crate) fn cache_bytes_per_token(&self) -> usize {
        let config = self.config();
        let per_head = match self {
            Self::Cpu(_) => size_of::<f32>() * (config.d_head + padded_head(config.d_head)),
            Self::Tensors(decoder) => decoder.value_bytes() * 2 * config.d_head,
        };
        config.n_layers * config.n_kv_heads * per_head
    }

    /// A cache without positions.
    pub(crate) fn empty_cache(&self) -> Cache {
        match self {
            Self::Cpu(decoder) => {
                let config = decoder.config();
                Cache::Cpu(KvCache::new(config.n_kv_heads, config.d_head))
            }
            Self::Tensors(_) => Cache::Tensors(TensorCache::default()),
        }
    }

    /// Rows of one pass over the blocks. Longer steps are cut, which bounds the buffers.
    pub(crate) fn max_rows(&self) -> usize {
        match self {
            Self::Cpu(_) => 512,
            // A GPU is only busy with many rows.
            Self::Tensors(_) => 2_048,
        }
    }

    /// What the passes of one step work with.
    pub(crate) fn pass(&self) -> Pass<'_> {
        match self {
            Self::Cpu(decoder) => Pass::Cpu(decoder, decoder.workspace()),
            Self::Tensors(decoder) => Pass::Tensors(decoder, None, Vec::new()),
        }
    }
}

/// A decoder with what its last pass left.
pub(crate) enum Pass<'a> {
    /// The buffers, the residual stream among them.
    Cpu(&'a Decoder, MutexGuard<'a, Workspace>),
    /// The residual stream, and the logits last asked for.
    Tensors(&'a TensorDecoder, Option<Tensor>, Vec<f32>),
}

impl Pass<'_> {
    /// Runs blocks `0..depth` over packed rows. Appends to the sequences' caches, but not to their
    /// tokens.
    pub(crate) fn forward(
        &mut self,
        tokens: &[u32],
        sequences: &mut [&mut Sequence],
        rows: &RowMap,
        depth: usize,
        hooks: &mut Hooks<'_>,
    ) -> Result<()> {
        match self {
            Self::Cpu(decoder, work) => {
                decoder.forward(tokens, sequences, rows, depth, hooks, work)
            }
            Self::Tensors(decoder, resid, _) => {
                // The last one makes room first.
                *resid = None;
                *resid = Some(decoder.forward(tokens, sequences, rows, depth, hooks)?);
                Ok(())
            }
        }
    }

    /// Next-token logits of some rows of the last pass, `[chosen row, n_vocab]`.
    pub(crate) fn logits(&mut self, chosen: &[usize]) -> Result<&[f32]> {
        match self {
            Self::Cpu(decoder, work) => Ok(decoder.logits(chosen, work)),
            Self::Tensors(decoder, resid, logits) => {
                *logits = match resid {
                    Some(resid) => decoder.logits(resid, chosen)?,
                    None => Vec::new(),
                };
                Ok(logits)
            }
        }
    }
}

//! Reads every weight, opens it to the type of the arithmetic and puts it on the device.

use std::panic::resume_unwind;

use candle_core::{DType, Device, Tensor};
use half::bf16;

use super::block::{Block, Gated, Mlp};
use super::decoder::TensorDecoder;
use super::linear::{Linear, LowRank};
use super::mixture::Mixture;
use crate::adapter::Adapter;
use crate::config::{DecoderConfig, Norms, QkNorm};
use crate::error::Result;
use crate::rope::Rope;
use crate::tensor::from_host;
use crate::threads::n_threads;
use crate::weights::{RawTensor, WeightSource};

/// What puts the tensors of one source on a device.
struct Loader<'a> {
    source: &'a dyn WeightSource,
    config: &'a DecoderConfig,
    device: &'a Device,
    dtype: DType,
    /// With the factor on each one's contribution, not 0.
    adapters: &'a [(Adapter, f32)],
}

impl TensorDecoder {
    /// Reads every weight, and the low-rank parts of adapters whose factor is not 0. `dtype` is f32
    /// or bf16.
    pub(crate) fn load(
        source: &dyn WeightSource,
        config: DecoderConfig,
        device: Device,
        dtype: DType,
        adapters: &[(Adapter, f32)],
    ) -> Result<Self> {
        let loader = Loader {
            source,
            config: &config,
            device: &device,
            dtype,
            adapters,
        };
        let shape = [config.n_vocab, config.d_model];
        let embeddings = loader.matrix("token_embd.weight", shape, false)?;
        let unembed = if config.tied_embeddings {
            None
        } else {
            Some(loader.matrix("output.weight", shape, false)?)
        };
        let blocks = (0..config.n_layers)
            .map(|layer| {
                // What is on the device is not needed twice.
                source.release();
                loader.block(layer)
            })
            .collect::<Result<_>>()?;
        let final_norm = loader.vector("output_norm.weight", config.d_model, false)?;
        source.release();
        Ok(Self {
            rope: Rope::new(&config.rope),
            local_rope: config.local_rope.as_ref().map(Rope::new),
            embeddings,
            blocks,
            final_norm,
            unembed,
            dtype,
            device,
            config,
        })
    }
}

impl Loader<'_> {
    fn block(&self, layer: usize) -> Result<Block> {
        let DecoderConfig {
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            norms,
            ..
        } = *self.config;
        let (n_q, n_k) = (n_heads * d_head, n_kv_heads * d_head);
        let name = |stem: &str| format!("blk.{layer}.{stem}.weight");
        let norm = |there: bool, stem: &str| -> Result<Option<Tensor>> {
            let read = || self.vector(&name(stem), d_model, false);
            there.then(read).transpose()
        };
        let (leading, trailing) = (norms != Norms::Post, norms != Norms::Pre);
        let qk_widths = self.config.qk_norm.map(|kind| match kind {
            QkNorm::Head => (d_head, d_head),
            QkNorm::Width => (n_q, n_k),
        });
        let qk_norms = match qk_widths {
            None => None,
            Some((q, k)) => Some((
                self.vector(&name("attn_q_norm"), q, false)?,
                self.vector(&name("attn_k_norm"), k, false)?,
            )),
        };
        let projection = |stem: &str, width: usize, rotated: bool| -> Result<Linear> {
            let bias = format!("blk.{layer}.{stem}.bias");
            let read = || self.vector(&bias, width, rotated);
            Ok(Linear {
                bias: self.config.qkv_bias.then(read).transpose()?,
                ..self.linear(&name(stem), [width, d_model], rotated)?
            })
        };
        let mlp = match self.config.experts {
            None => Mlp::Dense(self.gated(layer, "")?),
            Some(experts) => Mlp::Mixture(Mixture {
                router: self.linear(&name("ffn_gate_inp"), [experts.n_experts, d_model], false)?,
                experts: (0..experts.n_experts)
                    .map(|expert| self.gated(layer, &format!(".{expert}")))
                    .collect::<Result<_>>()?,
                config: experts,
            }),
        };
        Ok(Block {
            attn_norm: norm(leading, "attn_norm")?,
            post_attn_norm: norm(trailing, "post_attention_norm")?,
            mlp_norm: norm(leading, "ffn_norm")?,
            post_mlp_norm: norm(trailing, "post_ffw_norm")?,
            qk_norms,
            query: projection("attn_q", n_q, true)?,
            key: projection("attn_k", n_k, true)?,
            value: projection("attn_v", n_k, false)?,
            attn_out: self.linear(&name("attn_output"), [d_model, n_q], false)?,
            mlp,
        })
    }

    /// The MLP of a block, or one expert's.
    fn gated(&self, layer: usize, expert: &str) -> Result<Gated> {
        let DecoderConfig { d_model, d_mlp, .. } = *self.config;
        let name = |stem: &str| format!("blk.{layer}.{stem}{expert}.weight");
        Ok(Gated {
            gate: self.linear(&name("ffn_gate"), [d_mlp, d_model], false)?,
            up: self.linear(&name("ffn_up"), [d_mlp, d_model], false)?,
            down: self.linear(&name("ffn_down"), [d_model, d_mlp], false)?,
        })
    }

    /// A matrix without a bias, with the adapters' parts of it.
    fn linear(&self, name: &str, shape: [usize; 2], rotated: bool) -> Result<Linear> {
        let mut low_rank = Vec::new();
        for (adapter, factor) in self.adapters {
            if let Some(part) = adapter.parts(name) {
                low_rank.push(LowRank {
                    a: self.on_device(part.a.clone(), [part.rank, part.n_in])?,
                    b: self.on_device(part.b.clone(), [part.n_out, part.rank])?,
                    scale: f64::from(part.scale * factor),
                });
            }
        }
        Ok(Linear {
            weight: self.matrix(name, shape, rotated)?,
            bias: None,
            low_rank,
        })
    }

    /// A matrix `[row, width]` in the type of the arithmetic.
    fn matrix(&self, name: &str, shape: [usize; 2], rotated: bool) -> Result<Tensor> {
        let tensor = self.source.tensor(name, &shape)?;
        let order = |row| self.row(row, rotated);
        match self.dtype {
            DType::BF16 => {
                let values = opened(&tensor, &order, bf16::from_f32)?;
                from_host(values, &shape, self.device)
            }
            _ => from_host(opened(&tensor, &order, |x| x)?, &shape, self.device),
        }
    }

    /// Dense values in the type of the arithmetic.
    fn on_device(&self, values: Vec<f32>, shape: [usize; 2]) -> Result<Tensor> {
        Ok(from_host(values, &shape, self.device)?.to_dtype(self.dtype)?)
    }

    /// A norm or a bias, f32 `[width]`.
    fn vector(&self, name: &str, width: usize, rotated: bool) -> Result<Tensor> {
        let values = self.source.dense(name, &[width])?;
        let values = (0..width).map(|row| values[self.row(row, rotated)]);
        from_host(values.collect(), width, self.device)
    }

    /// The row of the file that becomes row `row`.
    fn row(&self, row: usize, rotated: bool) -> usize {
        if rotated {
            self.config.row_in_file(row)
        } else {
            row
        }
    }
}

/// Every value of a tensor, `[row, width]`, on all cores; row `i` is row `order(i)` of the file.
fn opened<T: Copy + Default + Send>(
    tensor: &RawTensor<'_>,
    order: &(dyn Fn(usize) -> usize + Sync),
    convert: impl Fn(f32) -> T + Sync,
) -> Result<Vec<T>> {
    let (n_rows, width) = (tensor.n_rows(), tensor.width);
    let mut values = vec![T::default(); n_rows * width];
    let rows_per_thread = n_rows.div_ceil(n_threads()).max(1);
    std::thread::scope(|scope| {
        let parts = values.chunks_mut(rows_per_thread * width).enumerate();
        let tasks: Vec<_> = parts
            .map(|(part, values)| {
                let convert = &convert;
                scope.spawn(move || -> Result<()> {
                    let rows = values.chunks_exact_mut(width).enumerate();
                    for (index, values) in rows {
                        let row = order(part * rows_per_thread + index);
                        let dense = tensor.rows(row..row + 1)?;
                        for (value, dense) in values.iter_mut().zip(dense) {
                            *value = convert(dense);
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        tasks
            .into_iter()
            .try_for_each(|task| task.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    Ok(values)
}

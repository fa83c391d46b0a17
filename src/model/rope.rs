//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864).

use candle_core::{Device, Tensor};

use crate::config::DecoderConfig;
use crate::error::Result;
use crate::row_map::RowMap;

/// Angles per position are computed when needed, for the rows of a step.
#[derive(Debug)]
pub(crate) struct Rope {
    /// `theta^(-2i/d_head)`, `[d_head / 2]`.
    inverse_frequencies: Vec<f32>,
}

impl Rope {
    pub(crate) fn new(config: &DecoderConfig) -> Self {
        let half = config.d_head / 2;
        let frequency = |i: usize| {
            1.0 / config
                .rope
                .theta
                .powf((2 * i) as f64 / config.d_head as f64)
        };
        // In f32, as the model was trained: rounding these changes long-range angles.
        Self {
            inverse_frequencies: (0..half).map(|i| frequency(i) as f32).collect(),
        }
    }

    /// Cosines and sines of the rows' positions, each `[row, d_head / 2]`.
    pub(crate) fn angles(&self, rows: &RowMap) -> Result<(Tensor, Tensor)> {
        let half = self.inverse_frequencies.len();
        let angles = || {
            rows.rows().iter().flat_map(|row| {
                self.inverse_frequencies
                    .iter()
                    .map(|f| row.position as f32 * f)
            })
        };
        let shape = (rows.n_rows(), half);
        let cos = Tensor::from_vec(
            angles().map(f32::cos).collect::<Vec<_>>(),
            shape,
            &Device::Cpu,
        )?;
        let sin = Tensor::from_vec(
            angles().map(f32::sin).collect::<Vec<_>>(),
            shape,
            &Device::Cpu,
        )?;
        Ok((cos, sin))
    }

    /// Rotates packed heads, `[row, head, d_head]`, in half-split order.
    pub(crate) fn rotate(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        // candle takes `[batch, time, head, d_head]` with one angle per time: rows are the time axis.
        Ok(
            candle_nn::rotary_emb::rope_thd(&x.unsqueeze(0)?.contiguous()?, cos, sin)?
                .squeeze(0)?,
        )
    }
}

//! Products with weights, their biases and low-rank adapters.

use candle_core::{DType, Tensor};

use crate::error::Result;

/// A matrix of weights, `[row, in]` to `[row, out]`.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Tensor, // [out, in]
    /// `[out]`, f32.
    pub(super) bias: Option<Tensor>,
    pub(super) low_rank: Vec<LowRank>,
}

/// A `LoRA` adapter (Hu et al. 2021, arXiv 2106.09685): `y += scale · B A x`.
#[derive(Debug)]
pub(super) struct LowRank {
    pub(super) a: Tensor, // [rank, in]
    pub(super) b: Tensor, // [out, rank]
    /// Not 0: such an adapter is left out.
    pub(super) scale: f64,
}

impl Linear {
    /// `x` is `[row, in]` in the weights' type; the result is f32, `[row, out]`.
    pub(super) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let mut y = times_transposed(x, &self.weight)?.to_dtype(DType::F32)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(bias)?;
        }
        for LowRank { a, b, scale } in &self.low_rank {
            let inner = times_transposed(x, a)?; // [row, rank]
            let delta = times_transposed(&inner, b)?.to_dtype(DType::F32)?;
            y = (y + (delta * *scale)?)?;
        }
        Ok(y)
    }

    /// Every tensor of weights.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let low_rank = self.low_rank.iter().flat_map(|part| [&part.a, &part.b]);
        [&self.weight].into_iter().chain(low_rank)
    }
}

/// `x · wᵀ` over the last two dimensions, in the type of both: `[.., row, in]` and `[.., out, in]`.
pub(super) fn times_transposed(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    product(x, w, |x, w| x.matmul(&w.t()?))
}

/// `x · y` over the last two dimensions, in the type of both.
pub(super) fn times(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    product(x, y, Tensor::matmul)
}

/// candle has no product of bf16 on the processor. There it is made in f32, where the products of
/// two such numbers are exact, and rounded once, as a GPU does with its f32 sums.
fn product(
    x: &Tensor,
    y: &Tensor,
    multiply: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    if x.dtype() == DType::BF16 && x.device().is_cpu() {
        let exact = multiply(&x.to_dtype(DType::F32)?, &y.to_dtype(DType::F32)?)?;
        Ok(exact.to_dtype(DType::BF16)?)
    } else {
        Ok(multiply(x, y)?)
    }
}

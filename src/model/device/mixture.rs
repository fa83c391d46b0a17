//! A mixture of experts (Shazeer et al. 2017, arXiv 1701.06538) in place of the MLP.

use candle_core::{DType, Tensor};
use candor_schema::Site;

use super::block::{At, Gated};
use super::linear::Linear;
use crate::config::{Activation, Experts};
use crate::decoder::choose;
use crate::error::Result;
use crate::tensor::{from_host, to_host};

#[derive(Debug)]
pub(super) struct Mixture {
    pub(super) router: Linear, // [n_experts, d_model]
    pub(super) experts: Vec<Gated>,
    pub(super) config: Experts,
}

impl Mixture {
    /// The weighted sum of each row's experts, f32 `[row, d_model]`; `x` is `[row, d_model]`.
    ///
    /// Which experts a row goes through is decided in main memory: the one thing that comes back
    /// from a GPU without a listener, a number per row and expert.
    pub(super) fn apply(
        &self,
        activation: Activation,
        x: &Tensor,
        at: &mut At<'_>,
    ) -> Result<Tensor> {
        let router = at(Site::MlpRouterLogits, self.router.apply(x)?)?; // [row, n_experts]
        let logits = to_host(&router)?;
        // Per expert, its rows and their weights.
        let mut chosen = vec![(Vec::new(), Vec::new()); self.config.n_experts];
        for (row, logits) in logits.chunks_exact(self.config.n_experts).enumerate() {
            for (expert, weight) in choose(logits, self.config) {
                chosen[expert].0.push(row as u32);
                chosen[expert].1.push(weight);
            }
        }
        let device = x.device();
        let mut sum = Tensor::zeros(x.shape(), DType::F32, device)?;
        for (expert, (rows, weights)) in self.experts.iter().zip(chosen) {
            if rows.is_empty() {
                continue;
            }
            let weights = from_host(weights, (rows.len(), 1), device)?;
            let rows = from_host(rows, weights.dim(0)?, device)?;
            // No hook of a dense MLP inside an expert.
            let out = expert.apply(activation, &x.index_select(&rows, 0)?, &mut |_, y| Ok(y))?;
            sum = sum.index_add(&rows, &out.broadcast_mul(&weights)?, 0)?;
        }
        Ok(sum)
    }

    /// Every tensor of weights.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let experts = self.experts.iter().flat_map(Gated::tensors);
        self.router.tensors().chain(experts)
    }
}

//! A mixture of experts (Shazeer et al. 2017, arXiv 1701.06538) in place of the MLP.

use candor_schema::Site;

use super::block::{At, Gated, gate};
use super::matrices::Matrices;
use super::{Machine, Workspace};
use crate::config::{DecoderConfig, Experts};
use crate::error::Result;
use crate::kernel::Packed;

#[derive(Debug)]
pub(super) struct Mixture {
    pub(super) router: Matrices, // [n_experts, d_model]
    pub(super) experts: Vec<Gated>,
    pub(super) config: Experts,
}

impl Mixture {
    pub(super) fn matrices(&self) -> impl Iterator<Item = &Packed> {
        let experts = self.experts.iter();
        let experts = experts.flat_map(|e| e.gate_up.packed.iter().chain(&e.down.packed));
        self.router.packed.iter().chain(experts)
    }

    /// Leaves the weighted sum of each row's experts in `work.delta`.
    ///
    /// A row's experts are added in ascending order, so other rows do not change its bits.
    pub(super) fn apply(
        &self,
        machine: Machine,
        config: &DecoderConfig,
        x: &[f32], // [row, d_model]
        at: &mut At<'_>,
        work: &mut Workspace,
    ) -> Result<()> {
        let Workspace {
            x: own,
            rounded,
            delta,
            gate_up,
            neurons,
            ..
        } = work;
        let d_model = config.d_model;
        let n_rows = x.len() / d_model;
        let mut router = Vec::new();
        self.router.apply(machine, x, rounded, &mut router);
        at(Site::MlpRouterLogits, &mut router)?; // [row, n_experts]
        // Per expert, its rows and their weights.
        let mut chosen = vec![Vec::new(); self.config.n_experts];
        for (row, logits) in router.chunks_exact(self.config.n_experts).enumerate() {
            for (expert, weight) in choose(logits, self.config) {
                chosen[expert].push((row, weight));
            }
        }
        delta.clear();
        delta.resize(n_rows * d_model, 0.0);
        let mut out = Vec::new();
        for (expert, rows) in self.experts.iter().zip(&chosen) {
            if rows.is_empty() {
                continue;
            }
            own.clear();
            for (row, _) in rows {
                own.extend_from_slice(&x[row * d_model..(row + 1) * d_model]);
            }
            expert.gate_up.apply(machine, own, rounded, gate_up);
            neurons.resize(rows.len() * config.d_mlp, 0.0);
            gate(machine, config, gate_up, neurons);
            expert.down.apply(machine, neurons, rounded, &mut out);
            for ((row, weight), out) in rows.iter().zip(out.chunks_exact(d_model)) {
                let delta = &mut delta[row * d_model..(row + 1) * d_model];
                delta
                    .iter_mut()
                    .zip(out)
                    .for_each(|(y, out)| *y += weight * out);
            }
        }
        Ok(())
    }
}

/// The experts of one row with their weights, in ascending order of the expert.
pub(crate) fn choose(logits: &[f32], config: Experts) -> Vec<(usize, f32)> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f32 = weights.iter().sum();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    // Stable, so that of equals the first is taken.
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    order.truncate(config.n_used);
    order.sort_unstable();
    let used: f32 = order.iter().map(|&expert| weights[expert]).sum();
    let scale = 1.0 / if config.normalised { used } else { total };
    order
        .into_iter()
        .map(|expert| (expert, weights[expert] * scale))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_the_largest_and_scales_as_told() {
        let logits = [0.0f32, 2.0, 1.0, 2.0];
        let config = |normalised| Experts {
            n_experts: 4,
            n_used: 2,
            normalised,
        };
        assert_eq!(choose(&logits, config(true)), [(1, 0.5), (3, 0.5)]);
        let total: f32 = logits.iter().map(|l| l.exp()).sum();
        let found = choose(&logits, config(false));
        assert!((found[0].1 - 2.0f32.exp() / total).abs() < 1e-6);
    }
}

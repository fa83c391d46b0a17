//! A mean in which tokens with large logits weigh more.

use super::soft_mean::{SoftMean, soft_mean};
use super::{Pooling, PoolingState};

/// τ of the probes in arXiv 2506.10805.
const TEMPERATURE: f64 = 5.0;

/// `Σ_t z_t · softmax(z / τ)_t` with τ = 5.
#[derive(Debug)]
pub(super) struct Softmax;

impl Pooling for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn describe(&self) -> &'static str {
        "mean of the token logits weighted by their softmax at temperature 5 (McKenzie et al. 2025)"
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
        soft_mean(&logits, TEMPERATURE).map(|mean| mean as f32)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State(SoftMean::new(TEMPERATURE)))
    }
}

#[derive(Debug, Clone)]
struct State(SoftMean);

impl PoolingState for State {
    fn push(&mut self, logit: f32) {
        self.0.push(f64::from(logit));
    }

    fn value(&self) -> Option<f32> {
        self.0.value().map(|mean| mean as f32)
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

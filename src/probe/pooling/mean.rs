//! The mean of all token logits.

use super::{Pooling, PoolingState};

/// The mean of all token logits, summed in f64.
#[derive(Debug)]
pub(super) struct Mean;

impl Pooling for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn describe(&self) -> &'static str {
        "mean of the reply's token logits"
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        let sum: f64 = logits.iter().copied().map(f64::from).sum();
        (!logits.is_empty()).then(|| (sum / logits.len() as f64) as f32)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State::default())
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    sum: f64,
    n_tokens: u64,
}

impl PoolingState for State {
    fn push(&mut self, logit: f32) {
        self.sum += f64::from(logit);
        self.n_tokens += 1;
    }

    fn value(&self) -> Option<f32> {
        (self.n_tokens > 0).then(|| (self.sum / self.n_tokens as f64) as f32)
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

//! The largest token logit.

use super::{Pooling, PoolingState};

/// The largest token logit.
#[derive(Debug)]
pub(super) struct Max;

impl Pooling for Max {
    fn name(&self) -> &'static str {
        "max"
    }

    fn describe(&self) -> &'static str {
        "largest of the reply's token logits"
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        logits.iter().copied().reduce(f32::max)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State::default())
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    largest: Option<f32>,
}

impl PoolingState for State {
    fn push(&mut self, logit: f32) {
        self.largest = Some(self.largest.map_or(logit, |largest| largest.max(logit)));
    }

    fn value(&self) -> Option<f32> {
        self.largest
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

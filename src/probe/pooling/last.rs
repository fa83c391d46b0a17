//! The logit of the last token.

use super::{Pooling, PoolingState};

/// The logit of the last token.
#[derive(Debug)]
pub(super) struct Last;

impl Pooling for Last {
    fn name(&self) -> &'static str {
        "last"
    }

    fn describe(&self) -> &'static str {
        "logit of the reply's last token"
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        logits.last().copied()
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State::default())
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    last: Option<f32>,
}

impl PoolingState for State {
    fn push(&mut self, logit: f32) {
        self.last = Some(logit);
    }

    fn value(&self) -> Option<f32> {
        self.last
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

//! The mean of the last tokens.

use super::window::{Window, mean};
use super::{Pooling, PoolingState};

/// The mean of the last `W` token logits, of all where there are fewer.
#[derive(Debug)]
pub(super) struct RollingMean<const W: usize> {
    name: &'static str,
    describe: &'static str,
}

/// Over ten tokens.
pub(super) const W10: RollingMean<10> = RollingMean {
    name: "rolling-mean-10",
    describe: "mean of the reply's last 10 token logits",
};

/// Over forty tokens.
pub(super) const W40: RollingMean<40> = RollingMean {
    name: "rolling-mean-40",
    describe: "mean of the reply's last 40 token logits",
};

impl<const W: usize> Pooling for RollingMean<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> &'static str {
        self.describe
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        let last = &logits[logits.len().saturating_sub(W)..];
        mean(last).map(|mean| mean as f32)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State(Window::<W>::new()))
    }
}

#[derive(Debug, Clone)]
struct State<const W: usize>(Window<W>);

impl<const W: usize> PoolingState for State<W> {
    fn push(&mut self, logit: f32) {
        self.0.push(logit);
    }

    fn value(&self) -> Option<f32> {
        self.0.mean().map(|mean| mean as f32)
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

//! The largest mean over neighbouring tokens.
//!
//! After "Detecting High-Stakes Interactions with Activation Probes" (arXiv
//! 2506.10805): `max_t mean(z_t … z_{t+w−1})`, w = 40; Kramár et al. 2026 (arXiv 2601.11516) take
//! w = 10. A reply that does not fill a window counts with its mean.

use super::window::{Window, window_means};
use super::{Pooling, PoolingState};

/// The largest mean of `W` neighbouring token logits.
#[derive(Debug)]
pub(super) struct MaxRollingMean<const W: usize> {
    name: &'static str,
    describe: &'static str,
}

/// Over ten tokens.
pub(super) const W10: MaxRollingMean<10> = MaxRollingMean {
    name: "max-rolling-mean-10",
    describe: "largest mean of 10 neighbouring token logits",
};

/// Over forty tokens.
pub(super) const W40: MaxRollingMean<40> = MaxRollingMean {
    name: "max-rolling-mean-40",
    describe: "largest mean of 40 neighbouring token logits",
};

impl<const W: usize> Pooling for MaxRollingMean<W> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn describe(&self) -> &'static str {
        self.describe
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        let means = window_means(logits, W).into_iter();
        means.reduce(f64::max).map(|mean| mean as f32)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State {
            window: Window::<W>::new(),
            largest: None,
        })
    }
}

#[derive(Debug, Clone)]
struct State<const W: usize> {
    window: Window<W>,
    /// Over the whole windows so far.
    largest: Option<f64>,
}

impl<const W: usize> PoolingState for State<W> {
    fn push(&mut self, logit: f32) {
        self.window.push(logit);
        if self.window.is_full()
            && let Some(mean) = self.window.mean()
        {
            self.largest = Some(self.largest.map_or(mean, |largest| largest.max(mean)));
        }
    }

    fn value(&self) -> Option<f32> {
        let value = self.largest.or_else(|| self.window.mean());
        value.map(|value| value as f32)
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

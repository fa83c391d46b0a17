//! Softmax-weighted means of sliding windows.
//!
//! Cunningham et al. 2026, "Constitutional Classifiers++" (arXiv 2601.04603): with `z̄_t` the mean of
//! the last M = 16 logits, the loss of token `t ≥ M` has weight `softmax(z̄ / τ)_t`, τ = 1. Here the
//! same weights pool what they weigh, `Σ_{t ≥ M} softmax(z̄ / τ)_t · z̄_t`; a reply of fewer than M
//! tokens counts with its mean.

use super::soft_mean::{SoftMean, soft_mean};
use super::window::{Window, window_means};
use super::{Pooling, PoolingState};

/// Tokens of a window.
const WINDOW: usize = 16;
const TEMPERATURE: f64 = 1.0;

/// Softmax-weighted mean of sliding means.
#[derive(Debug)]
pub(super) struct Swim;

impl Pooling for Swim {
    fn name(&self) -> &'static str {
        "swim"
    }

    fn describe(&self) -> &'static str {
        "means of 16 neighbouring token logits, weighted by their softmax (Cunningham et al. 2026)"
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        soft_mean(&window_means(logits, WINDOW), TEMPERATURE).map(|mean| mean as f32)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State {
            window: Window::new(),
            windows: SoftMean::new(TEMPERATURE),
        })
    }
}

#[derive(Debug, Clone)]
struct State {
    window: Window<WINDOW>,
    /// Over the whole windows so far.
    windows: SoftMean,
}

impl PoolingState for State {
    fn push(&mut self, logit: f32) {
        self.window.push(logit);
        if self.window.is_full()
            && let Some(mean) = self.window.mean()
        {
            self.windows.push(mean);
        }
    }

    fn value(&self) -> Option<f32> {
        let value = self.windows.value().or_else(|| self.window.mean());
        value.map(|value| value as f32)
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

//! The mean of the highest windows: several stretches of evidence, not one spike.
//!
//! SC-TopK of "Segment-level coherence" (arXiv 2604.14865): sliding means of M token logits, and the
//! mean of the K highest; a reply that fills no window counts with its mean. M is 16 as in `swim`; K = 8 is
//! ours, since the source of the formula does not give it.

use super::window::{Window, window_means};
use super::{Pooling, PoolingState};

/// Tokens of a window.
const WINDOW: usize = 16;
/// Windows that count.
const HIGHEST: usize = 8;

/// Mean of the highest sliding means.
#[derive(Debug)]
pub(super) struct SegmentCoherence;

impl Pooling for SegmentCoherence {
    fn name(&self) -> &'static str {
        "segment-coherence"
    }

    fn describe(&self) -> &'static str {
        "mean of the 8 highest means of 16 neighbouring token logits (arXiv 2604.14865)"
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        let mut means = window_means(logits, WINDOW);
        means.sort_by(|a, b| b.total_cmp(a));
        means.truncate(HIGHEST);
        let n = means.len();
        (n > 0).then(|| (means.iter().sum::<f64>() / n as f64) as f32)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State {
            window: Window::new(),
            highest: [f64::NEG_INFINITY; HIGHEST],
        })
    }
}

#[derive(Debug, Clone)]
struct State {
    window: Window<WINDOW>,
    /// Descending; −∞ where there is no window yet.
    highest: [f64; HIGHEST],
}

impl PoolingState for State {
    fn push(&mut self, logit: f32) {
        self.window.push(logit);
        let Some(mean) = self.window.mean().filter(|_| self.window.is_full()) else {
            return;
        };
        let place = self.highest.partition_point(|&other| other >= mean);
        if place < HIGHEST {
            self.highest[place..].rotate_right(1);
            self.highest[place] = mean;
        }
    }

    fn value(&self) -> Option<f32> {
        let n = self.highest.iter().filter(|x| x.is_finite()).count();
        if n == 0 {
            return self.window.mean().map(|mean| mean as f32);
        }
        let sum: f64 = self.highest[..n].iter().sum();
        Some((sum / n as f64) as f32)
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

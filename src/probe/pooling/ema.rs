//! The largest exponential moving average.
//!
//! Kramár et al. 2026 (arXiv 2601.11516): `m_t = a · m_{t−1} + (1 − a) · z_t`, score `max_t m_t`.
//! Here `m` begins with the first logit and not with 0, which has no meaning on a scale of logits,
//! and `a` gives the tokens the mean age that they have in the window of 16 of `swim`.

use super::{Pooling, PoolingState};

/// `(M − 1) / (M + 1)` for M = 16.
const DECAY: f64 = 15.0 / 17.0;

/// Largest exponential moving average.
#[derive(Debug)]
pub(super) struct Ema;

impl Pooling for Ema {
    fn name(&self) -> &'static str {
        "ema"
    }

    fn describe(&self) -> &'static str {
        "largest exponential moving average of the token logits, decay 15/17"
    }

    fn pool(&self, logits: &[f32]) -> Option<f32> {
        // Each average as a sum over its past, without the recurrence.
        let average = |past: &[f32]| {
            let (first, rest) = past.split_first()?;
            let mut weight = 1.0;
            let mut sum = 0.0;
            for &logit in rest.iter().rev() {
                sum += (1.0 - DECAY) * weight * f64::from(logit);
                weight *= DECAY;
            }
            Some(sum + weight * f64::from(*first))
        };
        let averages = (1..=logits.len()).filter_map(|n| average(&logits[..n]));
        averages.reduce(f64::max).map(|largest| largest as f32)
    }

    fn start(&self) -> Box<dyn PoolingState> {
        Box::new(State::default())
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    /// The average so far and the largest.
    averages: Option<(f64, f64)>,
}

impl PoolingState for State {
    fn push(&mut self, logit: f32) {
        let logit = f64::from(logit);
        self.averages = Some(match self.averages {
            None => (logit, logit),
            Some((average, largest)) => {
                let average = DECAY * average + (1.0 - DECAY) * logit;
                (average, largest.max(average))
            }
        });
    }

    fn value(&self) -> Option<f32> {
        self.averages.map(|(_, largest)| largest as f32)
    }

    fn clone_box(&self) -> Box<dyn PoolingState> {
        Box::new(self.clone())
    }
}

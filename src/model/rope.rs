//! Rotary position embedding (Su et al. 2021, arXiv 2104.09864) and its stretched forms.

use std::f64::consts::PI;

use crate::config::{RopeConfig, RopeScaling};
use crate::row_map::RowMap;

/// Angles per position are computed when needed, for the rows of a step.
#[derive(Debug)]
pub(crate) struct Rope {
    /// `[n_rotated / 2]`. In f32, as models are trained: rounding these changes long-range angles.
    inverse_frequencies: Vec<f32>,
    /// Factor on cosines and sines.
    factor: f32,
}

impl Rope {
    pub(crate) fn new(config: &RopeConfig) -> Self {
        let n = config.n_rotated;
        let plain = |i: usize| 1.0 / config.theta.powf((2 * i) as f64 / n as f64);
        let (frequency, factor): (Box<dyn Fn(usize) -> f64>, f64) = match &config.scaling {
            RopeScaling::None => (Box::new(plain), 1.0),
            RopeScaling::Linear { factor } => (Box::new(move |i| plain(i) / factor), 1.0),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_n_ctx,
            } => {
                let stretch = move |i: usize| {
                    let frequency = plain(i);
                    let turns = *original_n_ctx as f64 * frequency / (2.0 * PI);
                    if turns < *low_freq_factor {
                        frequency / factor
                    } else if turns > *high_freq_factor {
                        frequency
                    } else {
                        let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - kept) * frequency / factor + kept * frequency
                    }
                };
                (Box::new(stretch), 1.0)
            }
            RopeScaling::Yarn {
                factor,
                beta_fast,
                beta_slow,
                original_n_ctx,
                attn_factor,
            } => {
                // The entry whose frequency turns so often within the original context (eq. 23).
                let entry = |turns: f64| {
                    n as f64 * (*original_n_ctx as f64 / (turns * 2.0 * PI)).ln()
                        / (2.0 * config.theta.ln())
                };
                let low = entry(*beta_fast).floor().max(0.0);
                let high = entry(*beta_slow).ceil().min(n as f64 - 1.0);
                let width = if high > low { high - low } else { 1e-3 };
                let stretch = move |i: usize| {
                    let stretched = ((i as f64 - low) / width).clamp(0.0, 1.0);
                    plain(i) * (stretched / factor + (1.0 - stretched))
                };
                (Box::new(stretch), *attn_factor)
            }
            RopeScaling::Divisors {
                divisors,
                attn_factor,
            } => (
                Box::new(move |i| plain(i) / f64::from(divisors[i])),
                *attn_factor,
            ),
        };
        Self {
            inverse_frequencies: (0..n / 2).map(|i| frequency(i) as f32).collect(),
            factor: factor as f32,
        }
    }

    /// Entries of a head that turn, halved.
    pub(crate) fn half(&self) -> usize {
        self.inverse_frequencies.len()
    }

    /// Cosines and sines of the rows' positions, each `[row, n_rotated / 2]`.
    pub(crate) fn angles(&self, rows: &RowMap, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        cos.clear();
        sin.clear();
        for row in rows.rows() {
            for frequency in &self.inverse_frequencies {
                let angle = row.position as f32 * frequency;
                cos.push(angle.cos() * self.factor);
                sin.push(angle.sin() * self.factor);
            }
        }
    }
}

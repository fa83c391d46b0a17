//! Choosing the next token.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sampling {
    /// Divides the logits; 0 chooses the most likely token.
    pub temperature: f64,
    /// Keeps the smallest set of tokens that holds this much probability (Holtzman et al. 2020), in `(0, 1]`.
    pub top_p: f64,
    /// Seed of the generator; the same seed gives the same tokens.
    pub seed: u64,
}

impl Sampling {
    /// The most likely token, the lowest id among equals.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_p: 1.0,
        seed: 0,
    };
}

/// Draws tokens of one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
}

impl Sampler {
    /// A sampler whose generator starts from the seed.
    ///
    /// # Errors
    /// [`Error::Sampling`] if a setting is out of range or not a number.
    pub fn new(sampling: Sampling) -> Result<Self> {
        if !(0.0..=100.0).contains(&sampling.temperature) {
            return Err(Error::Sampling {
                name: "temperature",
                value: sampling.temperature,
                expected: "0 to 100",
            });
        }
        if !(sampling.top_p > 0.0 && sampling.top_p <= 1.0) {
            return Err(Error::Sampling {
                name: "top_p",
                value: sampling.top_p,
                expected: "above 0, at most 1",
            });
        }
        Ok(Self {
            sampling,
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
        })
    }

    /// Chooses a token from next-token logits, `[n_vocab]`.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        if self.sampling.temperature == 0.0 {
            return argmax(logits);
        }
        let max = f64::from(logits[argmax(logits) as usize]);
        let mut weights: Vec<(u32, f64)> = logits
            .iter()
            .zip(0u32..)
            .map(|(&logit, id)| {
                (
                    id,
                    ((f64::from(logit) - max) / self.sampling.temperature).exp(),
                )
            })
            .collect();
        if self.sampling.top_p < 1.0 {
            weights.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let budget = self.sampling.top_p * weights.iter().map(|entry| entry.1).sum::<f64>();
            let mut sum = 0.0;
            let kept = weights.iter().take_while(|entry| {
                let keep = sum < budget;
                sum += entry.1;
                keep
            });
            let n_kept = kept.count();
            weights.truncate(n_kept);
        }
        let total: f64 = weights.iter().map(|entry| entry.1).sum();
        let mut left = self.rng.random::<f64>() * total;
        for (id, weight) in &weights {
            left -= weight;
            if left < 0.0 {
                return *id;
            }
        }
        weights.last().map_or(0, |entry| entry.0)
    }
}

fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = index;
        }
    }
    best as u32
}

/// Log-probability of `token` and entropy of the prediction, both in nats, from next-token logits.
pub fn surprise(logits: &[f32], token: u32) -> (f64, f64) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    let mut weighted = 0.0;
    // One exponential per entry of the vocabulary and token: in f32, summed in f64.
    for &logit in logits {
        let shifted = logit - max;
        let weight = f64::from(shifted.exp());
        sum += weight;
        weighted += weight * f64::from(shifted);
    }
    let log_sum = sum.ln();
    (
        f64::from(logits[token as usize] - max) - log_sum,
        log_sum - weighted / sum,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_takes_the_first_of_equals() {
        let mut sampler = Sampler::new(Sampling::GREEDY).unwrap();
        assert_eq!(sampler.sample(&[0.0, 3.0, 3.0]), 1);
    }

    #[test]
    fn a_seed_repeats_and_frequencies_follow_the_logits() {
        let sampling = Sampling {
            temperature: 1.0,
            top_p: 1.0,
            seed: 7,
        };
        let logits = [0.0, f32::ln(3.0)];
        let draw = |n| {
            let mut sampler = Sampler::new(sampling).unwrap();
            (0..n).map(|_| sampler.sample(&logits)).collect::<Vec<_>>()
        };
        assert_eq!(draw(50), draw(50));
        let ones = draw(10_000).iter().filter(|&&id| id == 1).count();
        assert!((7_300..7_700).contains(&ones), "{ones}");
    }

    #[test]
    fn top_p_leaves_the_tail_out() {
        let sampling = Sampling {
            temperature: 1.0,
            top_p: 0.7,
            seed: 1,
        };
        let mut sampler = Sampler::new(sampling).unwrap();
        assert!((0..1_000).all(|_| sampler.sample(&[0.0, f32::ln(3.0)]) == 1));
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (temperature, top_p) in [
            (-1.0, 1.0),
            (f64::NAN, 1.0),
            (1.0, 0.0),
            (1.0, 1.5),
            (1.0, f64::NAN),
        ] {
            assert!(
                Sampler::new(Sampling {
                    temperature,
                    top_p,
                    seed: 0
                })
                .is_err()
            );
        }
    }

    #[test]
    fn surprise_of_a_uniform_prediction() {
        let (log_probability, entropy) = surprise(&[2.0; 8], 3);
        assert!((log_probability + f64::ln(8.0)).abs() < 1e-6);
        assert!((entropy - f64::ln(8.0)).abs() < 1e-6);
    }
}

//! Choosing the next token.

mod penalty;
mod sampling;
mod surprise;
#[cfg(test)]
mod tests;
mod truncation;

pub use sampling::Sampling;
pub use surprise::surprise;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use truncation::Candidate;

/// The tokens so far, which the penalties look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct History<'a> {
    /// Tokens before the reply.
    pub prompt: &'a [u32],
    /// Tokens of the reply.
    pub reply: &'a [u32],
}

/// Draws tokens of one sequence.
///
/// It remembers its generator and nothing of the sequence, so a sequence may be rewound without it. A
/// clone draws what the original would have drawn. Its buffers are reused from token to token.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// In range.
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// `[n_vocab]`: logits with bias and penalties.
    scores: Vec<f32>,
    candidates: Vec<Candidate>,
    weights: Vec<f64>,
    counts: penalty::Counts,
}

impl Sampler {
    /// A sampler whose generator starts from the seed.
    ///
    /// # Errors
    /// [`Error::Sampling`] if a setting is out of range or not a number.
    pub fn new(sampling: Sampling) -> Result<Self> {
        sampling.check()?;
        Ok(Self {
            rng: ChaCha8Rng::seed_from_u64(sampling.seed),
            sampling,
            scores: Vec::new(),
            candidates: Vec::new(),
            weights: Vec::new(),
            counts: penalty::Counts::default(),
        })
    }

    /// Its settings.
    pub fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// Chooses a token from next-token logits, `[n_vocab]`. Draws one number unless the temperature is 0.
    ///
    /// # Errors
    /// [`Error::NextLogit`] where a logit is NaN or infinite (minus infinity rules a token out, as
    /// long as some are left); [`Error::TokenId`] for a bias or a token of the history outside the
    /// vocabulary.
    pub fn sample(&mut self, logits: &[f32], history: History<'_>) -> Result<u32> {
        let best = self.score(logits, history)?;
        if self.sampling.temperature == 0.0 {
            return Ok(best);
        }
        self.keep_likely(best);
        let total: f64 = self.candidates.iter().map(|candidate| candidate.1).sum();
        let mut left = self.rng.random::<f64>() * total;
        let drawn = self.candidates.iter().find(|candidate| {
            left -= candidate.1;
            left < 0.0
        });
        // Rounding may leave a little over; the best token is always among the candidates.
        Ok(drawn.map_or(best, |candidate| candidate.0))
    }

    /// Fills `scores` and returns the token of the highest, the first of equals.
    fn score(&mut self, logits: &[f32], history: History<'_>) -> Result<u32> {
        let unusable = |logit: &f32| logit.is_nan() || *logit == f32::INFINITY;
        if let Some(index) = logits.iter().position(unusable) {
            return Err(Error::NextLogit { index });
        }
        self.scores.clear();
        self.scores.extend_from_slice(logits);
        penalty::apply(&mut self.scores, &self.sampling, history, &mut self.counts)?;
        let best = argmax(&self.scores).filter(|&best| self.scores[best] > f32::NEG_INFINITY);
        best.map(|best| best as u32)
            .ok_or(Error::NextLogit { index: 0 })
    }

    /// Fills `candidates` from `scores`, whose highest is that of `best`: temperature, top-k, top-p, min-p.
    fn keep_likely(&mut self, best: u32) {
        let Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        let max = f64::from(self.scores[best as usize]);
        self.candidates.clear();
        let scores = self.scores.iter().zip(0u32..);
        self.candidates.extend(
            scores.map(|(&score, id)| (id, ((f64::from(score) - max) / temperature).exp())),
        );
        truncation::top_k(&mut self.candidates, &mut self.weights, top_k);
        truncation::top_p(&mut self.candidates, top_p);
        truncation::min_p(&mut self.candidates, min_p);
    }
}

/// Index of the highest value, the first of equals; `None` where there is none.
fn argmax(values: &[f32]) -> Option<usize> {
    let mut best = None;
    for (index, &value) in values.iter().enumerate() {
        if best.is_none_or(|best: usize| value > values[best]) {
            best = Some(index);
        }
    }
    best
}

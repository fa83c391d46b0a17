//! What changes single scores before a token is chosen: bias and penalties.

use super::{History, Sampling};
use crate::error::{Error, Result};

/// Buffer of [`apply`]: how often the reply has each token, all 0 between calls.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(Vec<u32>);

#[cfg(test)]
impl Counts {
    pub(super) fn are_zero(&self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }
}

/// Adds the biases and takes the penalties off `scores: [n_vocab]`, which hold the logits. In `f32`,
/// as transformers computes on f32 logits.
pub(super) fn apply(
    scores: &mut [f32],
    sampling: &Sampling,
    history: History<'_>,
    counts: &mut Counts,
) -> Result<()> {
    let n_vocab = scores.len();
    let outside = |token: u32| token as usize >= n_vocab;
    let tokens = || history.prompt.iter().chain(history.reply).copied();
    let biased = sampling.logit_bias.keys().copied();
    if let Some(token) = biased.chain(tokens()).find(|&token| outside(token)) {
        return Err(Error::TokenId { token, n_vocab });
    }

    for (&token, bias) in &sampling.logit_bias {
        scores[token as usize] += bias;
    }

    counts.0.resize(n_vocab, 0);
    let counts = &mut counts.0[..];
    if is_on(sampling.repetition_penalty, 1.0) {
        // CTRL, section 4.1, with the sign rule of transformers' `RepetitionPenaltyLogitsProcessor`.
        // Each token once, however often it occurs.
        let penalty = sampling.repetition_penalty as f32;
        for token in tokens().map(|token| token as usize) {
            if counts[token] == 0 {
                counts[token] = 1;
                let score = &mut scores[token];
                *score = if *score < 0.0 {
                    *score * penalty
                } else {
                    *score / penalty
                };
            }
        }
        for token in tokens() {
            counts[token as usize] = 0;
        }
    }

    if is_on(sampling.frequency_penalty, 0.0) || is_on(sampling.presence_penalty, 0.0) {
        // `mu[j] - c[j] * alpha_frequency - (c[j] > 0) * alpha_presence`, where c counts sampled tokens.
        for &token in history.reply {
            counts[token as usize] += 1;
        }
        let frequency = sampling.frequency_penalty as f32;
        let presence = sampling.presence_penalty as f32;
        for &token in history.reply {
            let count = std::mem::take(&mut counts[token as usize]);
            if count > 0 {
                scores[token as usize] -= count as f32 * frequency + presence;
            }
        }
    }
    Ok(())
}

/// Whether a setting differs from the value at which it does nothing.
fn is_on(value: f64, neutral: f64) -> bool {
    value.to_bits() != neutral.to_bits()
}

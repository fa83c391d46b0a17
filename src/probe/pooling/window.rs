//! The last `W` logits of a stream, and means over windows of a whole reply.

/// The last `W` logits, without allocation.
#[derive(Debug, Clone)]
pub(super) struct Window<const W: usize> {
    /// The logit of token `t` stands at `t % W`.
    logits: [f32; W],
    n_tokens: usize,
}

impl<const W: usize> Window<W> {
    pub(super) fn new() -> Self {
        Self {
            logits: [0.0; W],
            n_tokens: 0,
        }
    }

    pub(super) fn push(&mut self, logit: f32) {
        self.logits[self.n_tokens % W] = logit;
        self.n_tokens += 1;
    }

    /// Whether `W` tokens have been seen.
    pub(super) fn is_full(&self) -> bool {
        self.n_tokens >= W
    }

    /// Mean of what it holds; `None` before the first token. Added up in order of arrival, anew each
    /// time: a sum that is carried on would gather rounding, and `W` is small.
    pub(super) fn mean(&self) -> Option<f64> {
        let oldest = if self.is_full() { self.n_tokens % W } else { 0 };
        let held = self.n_tokens.min(W);
        let in_order = (0..held).map(|i| f64::from(self.logits[(oldest + i) % W]));
        (held > 0).then(|| in_order.sum::<f64>() / held as f64)
    }
}

/// Mean of some logits; `None` where there are none.
pub(super) fn mean(logits: &[f32]) -> Option<f64> {
    let sum: f64 = logits.iter().copied().map(f64::from).sum();
    (!logits.is_empty()).then(|| sum / logits.len() as f64)
}

/// Mean of each whole window of `width` tokens; of all tokens where they do not fill one.
pub(super) fn window_means(logits: &[f32], width: usize) -> Vec<f64> {
    if logits.len() < width {
        return mean(logits).into_iter().collect();
    }
    logits.windows(width).filter_map(mean).collect()
}

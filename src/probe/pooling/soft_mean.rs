//! Means in which large numbers weigh more: `Σ x · softmax(x / τ)`.

/// Such a mean number by number, in one pass. Weights are relative to the largest number so far, so
/// that none overflows.
#[derive(Debug, Clone)]
pub(super) struct SoftMean {
    temperature: f64,
    largest: f64,
    /// `Σ exp((x − largest) / τ)`.
    weights: f64,
    /// `Σ x · exp((x − largest) / τ)`.
    sum: f64,
}

impl SoftMean {
    pub(super) fn new(temperature: f64) -> Self {
        Self {
            temperature,
            largest: f64::NEG_INFINITY,
            weights: 0.0,
            sum: 0.0,
        }
    }

    pub(super) fn push(&mut self, x: f64) {
        if x > self.largest {
            // 0 for the first number: exp(−∞).
            let shrink = ((self.largest - x) / self.temperature).exp();
            self.weights *= shrink;
            self.sum *= shrink;
            self.largest = x;
        }
        let weight = ((x - self.largest) / self.temperature).exp();
        self.weights += weight;
        self.sum += weight * x;
    }

    /// `None` before the first number.
    pub(super) fn value(&self) -> Option<f64> {
        (self.weights > 0.0).then(|| self.sum / self.weights)
    }
}

/// The same of all numbers at once, as it is defined; `None` where there are none.
pub(super) fn soft_mean(x: &[f64], temperature: f64) -> Option<f64> {
    let largest = x.iter().copied().reduce(f64::max)?;
    let weights: Vec<f64> = x
        .iter()
        .map(|x| ((x - largest) / temperature).exp())
        .collect();
    let total: f64 = weights.iter().sum();
    Some(x.iter().zip(&weights).map(|(x, w)| x * w / total).sum())
}

//! Brier score.

use super::{Metric, MetricInput, check_probabilities};
use crate::error::Result;

pub(super) const METRIC: Metric = Metric {
    name: "brier",
    describe: "mean squared error of the calibrated probability",
    input: MetricInput::Probabilities,
    compute: brier,
};

/// Mean squared error of `probabilities: [row]` against `labels: [row]` (Brier 1950). In `[0, 1]`, 0 is
/// best, 0.25 is what always saying one half gets.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) for a probability outside `[0, 1]`;
/// [`Error::Empty`](crate::Error::Empty), [`Error::Length`](crate::Error::Length),
/// [`Error::NonFinite`](crate::Error::NonFinite).
pub fn brier(probabilities: &[f64], labels: &[bool]) -> Result<f64> {
    check_probabilities(probabilities, labels)?;
    let sum: f64 = probabilities
        .iter()
        .zip(labels)
        .map(|(&p, &label)| (p - f64::from(u8::from(label))).powi(2))
        .sum();
    Ok(sum / probabilities.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand() {
        let check = |probabilities: &[f64], labels: &[bool], expected: f64| {
            assert!((brier(probabilities, labels).unwrap() - expected).abs() < 1e-12);
        };
        check(&[1.0, 0.0], &[true, false], 0.0);
        check(&[0.0, 1.0], &[true, false], 1.0);
        check(&[0.5, 0.5], &[true, false], 0.25);
        check(&[0.9, 0.2], &[true, false], 0.025);
    }
}

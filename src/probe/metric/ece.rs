//! Expected calibration error.

use super::{Metric, MetricInput, check_probabilities};
use crate::error::Result;

pub(super) const METRIC: Metric = Metric {
    name: "ece",
    describe: "expected calibration error over 15 bins of equal mass",
    input: MetricInput::Probabilities,
    compute: ece,
};

const N_BINS: usize = 15;

/// Expected calibration error over 15 bins of equal mass: the mean distance between a bin's mean
/// probability and its share of deceptive rows, weighted by the bins' sizes (Naeini et al. 2015 with the
/// adaptive bins of Nguyen & O'Connor 2015).
///
/// `probabilities` and `labels` are `[row]`. Equal probabilities share a bin, so the result does not
/// depend on the order of rows. In `[0, 1]`, 0 is best.
///
/// # Errors
/// As [`brier`](super::brier()).
pub fn ece(probabilities: &[f64], labels: &[bool]) -> Result<f64> {
    check_probabilities(probabilities, labels)?;
    let n = probabilities.len();
    let mut rows: Vec<(f64, bool)> = probabilities
        .iter()
        .copied()
        .zip(labels.iter().copied())
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut error = 0.0;
    let mut start = 0;
    for bin in 1..=N_BINS {
        let mut end = bin * n / N_BINS;
        #[expect(clippy::float_cmp, reason = "a tie is equality")]
        while end > 0 && end < n && rows[end].0 == rows[end - 1].0 {
            end += 1;
        }
        if end <= start {
            continue;
        }
        let probability: f64 = rows[start..end].iter().map(|row| row.0).sum();
        let deceptive = rows[start..end].iter().filter(|row| row.1).count() as f64;
        error += (probability - deceptive).abs();
        start = end;
    }
    Ok(error / n as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_by_hand() {
        // One bin by ties: says 0.7, is 0.5.
        let found = ece(&[0.7; 4], &[true, false, true, false]).unwrap();
        assert!((found - 0.2).abs() < 1e-12);
        // Two groups, right on average but each wrong by 0.25: errors must not cancel.
        let probabilities = [[0.25; 20], [0.75; 20]].concat();
        let labels = [[false; 20], [true; 20]].concat();
        assert!((ece(&probabilities, &labels).unwrap() - 0.25).abs() < 1e-12);
        // Calibrated to the row.
        let labels: Vec<bool> = (0..40)
            .map(|i| i % 4 == 0 || (i >= 20 && i % 4 != 3))
            .collect();
        assert!(ece(&probabilities, &labels).unwrap() < 1e-12);
        // Fewer rows than bins.
        assert!((ece(&[0.1, 0.8], &[false, true]).unwrap() - 0.15).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn bounded_and_independent_of_row_order(
            rows in prop::collection::vec((0u8..=20, any::<bool>()), 1..200),
        ) {
            let (mut p, mut labels): (Vec<f64>, Vec<bool>) =
                rows.into_iter().map(|(p, l)| (f64::from(p) / 20.0, l)).unzip();
            let found = ece(&p, &labels).unwrap();
            prop_assert!((0.0..=1.0).contains(&found));
            p.reverse();
            labels.reverse();
            prop_assert!((ece(&p, &labels).unwrap() - found).abs() < 1e-12);
        }
    }
}

//! The reliability curve: what probabilities say, and what came true.

use super::check_probabilities;
use crate::error::Result;

const N_BINS: usize = 15;

/// Rows with about the same probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Rows in it, at least 1.
    pub n: usize,
    /// Their mean probability.
    pub probability: f64,
    /// How many of them are deceptive.
    pub n_deceptive: usize,
}

/// At most 15 bins of equal mass, from the lowest probabilities to the highest (the adaptive bins of
/// Nguyen & O'Connor 2015, *Posterior calibration and exploratory analysis for natural language
/// processing models*).
///
/// `probabilities` and `labels` are `[row]`. Equal probabilities share a bin, so there may be fewer
/// bins, and the order of rows does not matter.
///
/// # Errors
/// As [`brier`](super::brier()).
pub fn reliability(probabilities: &[f64], labels: &[bool]) -> Result<Vec<Bin>> {
    check_probabilities(probabilities, labels)?;
    let n = probabilities.len();
    let mut rows: Vec<(f64, bool)> = probabilities
        .iter()
        .copied()
        .zip(labels.iter().copied())
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut bins = Vec::new();
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
        let rows = &rows[start..end];
        bins.push(Bin {
            n: rows.len(),
            probability: rows.iter().map(|row| row.0).sum::<f64>() / rows.len() as f64,
            n_deceptive: rows.iter().filter(|row| row.1).count(),
        });
        start = end;
    }
    Ok(bins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_bin_and_ties_stay_together() {
        let probabilities: Vec<f64> = (0..100).map(|i| f64::from(i / 10) / 10.0).collect();
        let labels: Vec<bool> = (0..100).map(|i| i % 10 < i / 10).collect();
        let bins = reliability(&probabilities, &labels).unwrap();
        assert_eq!(bins.iter().map(|bin| bin.n).sum::<usize>(), 100);
        for bin in &bins {
            // Ten rows of each probability, of which that share is deceptive.
            assert_eq!(bin.n % 10, 0);
            let share = bin.n_deceptive as f64 / bin.n as f64;
            assert!((share - bin.probability).abs() < 1e-12);
        }
        assert!(
            bins.windows(2)
                .all(|two| two[0].probability < two[1].probability)
        );
    }

    #[test]
    fn thirty_rows_make_fifteen_bins_of_two() {
        let probabilities: Vec<f64> = (0..30).map(|i| f64::from(i) / 30.0).collect();
        let bins = reliability(&probabilities, &[true; 30]).unwrap();
        assert_eq!(bins.len(), 15);
        assert!(bins.iter().all(|bin| (bin.n, bin.n_deceptive) == (2, 2)));
    }
}

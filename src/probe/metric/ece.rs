//! Expected calibration error.

use candor_schema::Interval;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::reliability::{Bin, reliability};
use super::{Bootstrap, Metric, MetricInput};
use crate::error::{Error, Result, check_rate};
use crate::quantiles::quantile;

pub(super) const METRIC: Metric = Metric {
    name: "ece",
    describe: "expected calibration error over 15 bins of equal mass",
    input: MetricInput::Probabilities,
    compute: ece,
};

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
    let error = |bin: &Bin| (bin.probability - bin.n_deceptive as f64 / bin.n as f64).abs();
    let bins = reliability(probabilities, labels)?;
    let sum: f64 = bins.iter().map(|bin| bin.n as f64 * error(bin)).sum();
    Ok(sum / probabilities.len() as f64)
}

/// What [`ece`] is by chance where every probability is right: its mean over draws of labels with these
/// `probabilities: [row]`, and the percentile interval of the draws. Of `bootstrap`, how many draws,
/// the level and the seed; rows are drawn independently.
///
/// # Errors
/// As [`ece`]; [`Error::Setting`] for no draws or a level outside `(0, 1)`.
pub fn ece_if_right(probabilities: &[f64], bootstrap: &Bootstrap) -> Result<Interval> {
    check_rate("level", bootstrap.level)?;
    if bootstrap.resamples == 0 {
        return Err(Error::Setting {
            name: "resamples",
            value: 0.0,
            expected: "at least 1",
        });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(bootstrap.seed);
    let mut drawn = Vec::with_capacity(bootstrap.resamples);
    for _ in 0..bootstrap.resamples {
        let labels: Vec<bool> = probabilities
            .iter()
            .map(|p| rng.random::<f64>() < *p)
            .collect();
        drawn.push(ece(probabilities, &labels)?);
    }
    drawn.sort_by(f64::total_cmp);
    let tail = (1.0 - bootstrap.level) / 2.0;
    Ok(Interval {
        value: drawn.iter().sum::<f64>() / drawn.len() as f64,
        low: quantile(&drawn, tail),
        high: quantile(&drawn, 1.0 - tail),
        level: bootstrap.level,
    })
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

    #[test]
    fn what_is_right_has_the_error_of_chance() {
        // One bin of n rows at one half: the mean of |share − 1/2| is about √(1 / (2πn)).
        let bootstrap = Bootstrap::seeded(1);
        let found = ece_if_right(&[0.5; 100], &bootstrap).unwrap();
        assert!((found.value - 0.0399).abs() < 0.004, "{found:?}");
        assert!(found.low < found.value && found.value < found.high);
        // What is certain is never wrong, and fifteen bins of two are wrong most of the time.
        let certain = ece_if_right(&[0.0, 1.0, 1.0], &bootstrap).unwrap();
        assert!(certain.high.abs() < 1e-12);
        let rows: Vec<f64> = (0..30).map(|i| 0.4 + f64::from(i) / 150.0).collect();
        assert!(ece_if_right(&rows, &bootstrap).unwrap().low > 0.1);
        assert!(ece_if_right(&[1.5], &bootstrap).is_err());
        let none = Bootstrap {
            resamples: 0,
            ..bootstrap
        };
        assert!(ece_if_right(&[0.5], &none).is_err());
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

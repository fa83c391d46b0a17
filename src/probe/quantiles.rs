//! Quantiles of control scores: how a reply's logit compares with ordinary traffic.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite_f64};

/// The 0 %, 1 %, … 100 % quantiles of the pooled logits of control replies, ascending.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ControlQuantiles(Vec<f64>);

/// How many quantiles are kept.
const N_QUANTILES: usize = 101;

impl ControlQuantiles {
    /// Quantiles of `scores`, by linear interpolation between order statistics (type 7 of Hyndman &
    /// Fan 1996).
    ///
    /// # Errors
    /// [`Error::Empty`] or [`Error::NonFinite`].
    pub fn from_scores(scores: &[f64]) -> Result<Self> {
        if scores.is_empty() {
            return Err(Error::Empty {
                what: "control scores",
            });
        }
        check_finite_f64("control scores", scores)?;
        let mut sorted = scores.to_vec();
        sorted.sort_by(f64::total_cmp);
        let values = (0..N_QUANTILES)
            .map(|i| quantile(&sorted, i as f64 / (N_QUANTILES - 1) as f64))
            .collect();
        Ok(Self(values))
    }

    /// Checks what was read from a file.
    ///
    /// # Errors
    /// [`Error::Config`] unless there are 101 finite numbers in ascending order.
    pub fn check(&self) -> Result<()> {
        let ascending = self.0.windows(2).all(|pair| pair[0] <= pair[1]);
        let finite = self.0.iter().all(|value| value.is_finite());
        if self.0.len() == N_QUANTILES && ascending && finite {
            return Ok(());
        }
        Err(Error::Config {
            field: "control_quantiles",
            expected: "101 finite numbers in ascending order",
            found: format!("{} numbers", self.0.len()),
        })
    }

    /// The quantiles, `[101]`, ascending.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The share of control replies with a lower logit, in `[0, 1]`, interpolated between quantiles.
    pub fn percentile(&self, logit: f64) -> f64 {
        let below = self.0.partition_point(|&value| value < logit);
        if below == 0 {
            return 0.0;
        }
        if below == self.0.len() {
            return 1.0;
        }
        let (low, high) = (self.0[below - 1], self.0[below]);
        let inside = (logit - low) / (high - low);
        ((below - 1) as f64 + inside) / (self.0.len() - 1) as f64
    }
}

/// The quantile `q` in `[0, 1]` of `sorted`, which is ascending and not empty (type 7).
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    #[expect(clippy::cast_sign_loss, reason = "q is not negative")]
    let low = position.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    let weight = position - low as f64;
    let (low, high) = (sorted[low], sorted[high]);
    // Clamped, as rounding could otherwise step out of the bracket and break the order of quantiles.
    // Not `low + weight·(high − low)`: the difference of two large numbers could overflow.
    (low * (1.0 - weight) + high * weight).clamp(low, high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantiles_by_hand() {
        let sorted = [1.0, 2.0, 4.0];
        for (q, expected) in [(0.0, 1.0), (0.25, 1.5), (0.5, 2.0), (0.75, 3.0), (1.0, 4.0)] {
            assert!((quantile(&sorted, q) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn percentiles_of_a_uniform_sample() {
        let scores: Vec<f64> = (0..=1_000).map(f64::from).collect();
        let quantiles = ControlQuantiles::from_scores(&scores).unwrap();
        for (logit, expected) in [
            (-1.0, 0.0),
            (0.0, 0.0),
            (250.0, 0.25),
            (999.0, 0.999),
            (1_000.0, 1.0),
            (2_000.0, 1.0),
        ] {
            assert!((quantiles.percentile(logit) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn ties_count_as_not_lower() {
        let quantiles = ControlQuantiles::from_scores(&[3.0; 10]).unwrap();
        assert!(quantiles.percentile(3.0).abs() < 1e-12);
        assert!((quantiles.percentile(3.1) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn refuses_malformed_scores_and_files() {
        assert!(matches!(
            ControlQuantiles::from_scores(&[]),
            Err(Error::Empty { .. })
        ));
        assert!(matches!(
            ControlQuantiles::from_scores(&[f64::INFINITY]),
            Err(Error::NonFinite { .. })
        ));
        for values in [
            vec![],
            vec![0.0; 100],
            (0..101).rev().map(f64::from).collect(),
        ] {
            assert!(matches!(
                ControlQuantiles(values).check(),
                Err(Error::Config { .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn rising_and_bounded(
            scores in prop::collection::vec(-50.0f64..50.0, 1..300),
            a in -60.0f64..60.0,
            b in -60.0f64..60.0,
        ) {
            let quantiles = ControlQuantiles::from_scores(&scores).unwrap();
            prop_assert!(quantiles.check().is_ok());
            let (low, high) = (quantiles.percentile(a.min(b)), quantiles.percentile(a.max(b)));
            prop_assert!(low <= high && (0.0..=1.0).contains(&low) && (0.0..=1.0).contains(&high));
        }
    }
}

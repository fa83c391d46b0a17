//! Thresholds with a promise: at most a stated rate of false alarms, with a stated confidence.
//!
//! The Neyman–Pearson umbrella rule (Tong, Feng & Li 2018, *Neyman–Pearson classification algorithms and
//! NP receiver operating characteristics*, proposition 1). Of `n` exchangeable control scores, `m` may lie
//! above the threshold, where `m` is the largest number with `P(Bin(n, alpha) ≤ m) ≤ delta`. The
//! promise is for traffic that is exchangeable with the controls, and for no other.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite_f64, check_rate};

/// A logit at or above which a reply is flagged, and what its promise rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Flag if and only if the pooled logit is at or above this.
    pub logit: f64,
    /// Largest tolerated rate of false alarms on ordinary traffic (alpha).
    pub fpr_budget: f64,
    /// Probability that the true rate is above the budget nevertheless.
    pub delta: f64,
    /// Independent control scenarios it was chosen on.
    pub n: u64,
    /// Controls that may lie at or above it.
    pub allowed_exceedances: u64,
    /// Name of the control data; empty until named. A bundle is not written without it.
    #[serde(default)]
    pub calibrated_on: String,
}

impl Threshold {
    /// The same threshold with the name of the data that `control_scores` came from.
    #[must_use]
    pub fn named(mut self, calibrated_on: impl Into<String>) -> Self {
        self.calibrated_on = calibrated_on.into();
        self
    }

    /// Whether a reply with this pooled logit is flagged.
    pub fn flags(&self, logit: f64) -> bool {
        logit >= self.logit
    }
}

/// The smallest number of control scenarios for which a budget `alpha` can be promised with
/// confidence `1 − delta`: `⌈ln delta / ln(1 − alpha)⌉`. 59 for 5 %, 299 for 1 %, 2,995 for 0.1 % at
/// delta 5 %.
///
/// `None` unless both rates lie strictly between 0 and 1.
pub fn required_n(alpha: f64, delta: f64) -> Option<u64> {
    check_rate("alpha", alpha).ok()?;
    check_rate("delta", delta).ok()?;
    let enough = |n: f64| (-alpha).ln_1p() * n <= delta.ln();
    let mut n = (delta.ln() / (-alpha).ln_1p()).ceil().max(1.0);
    // The quotient may be off by one unit in the last place, on either side of a whole number.
    if n > 1.0 && enough(n - 1.0) {
        n -= 1.0;
    }
    if !enough(n) {
        n += 1.0;
    }
    #[expect(clippy::cast_sign_loss, reason = "n is at least 1")]
    Some(n as u64)
}

/// How many of `n` controls may lie above the threshold: the largest `m` with
/// `P(Bin(n, alpha) ≤ m) ≤ delta`. `None` where even `m = 0` promises too much, or a rate is not
/// strictly between 0 and 1.
pub fn allowed_exceedances(n: u64, alpha: f64, delta: f64) -> Option<u64> {
    if n < required_n(alpha, delta)? {
        return None;
    }
    // Terms of the binomial by recurrence in logarithms: the first ones may underflow, and then add
    // nothing to the sum, as they should.
    let odds = alpha.ln() - (-alpha).ln_1p();
    let mut log_term = (-alpha).ln_1p() * n as f64;
    let mut sum = log_term.exp();
    let mut m = 0;
    while m < n {
        log_term += ((n - m) as f64).ln() - ((m + 1) as f64).ln() + odds;
        sum += log_term.exp();
        if sum > delta {
            break;
        }
        m += 1;
    }
    Some(m)
}

/// The lowest threshold that promises a false-alarm rate of at most `alpha` with confidence
/// `1 − delta`, from one score per independent control scenario.
///
/// A control at the order statistic `s_(n−m)` itself is not flagged, so the threshold is the next
/// larger f64. Ties with it are not flagged either, which only lowers the rate.
///
/// # Errors
/// [`Error::TooFewControls`] if there are fewer than [`required_n`]; [`Error::NonFinite`];
/// [`Error::Setting`] for a rate that is not strictly between 0 and 1.
pub fn threshold(control_scores: &[f64], alpha: f64, delta: f64) -> Result<Threshold> {
    check_rate("alpha", alpha)?;
    check_rate("delta", delta)?;
    check_finite_f64("control scores", control_scores)?;
    let n = control_scores.len() as u64;
    let Some(allowed_exceedances) = allowed_exceedances(n, alpha, delta) else {
        return Err(Error::TooFewControls {
            fpr_budget: alpha,
            required: required_n(alpha, delta).expect("both rates were checked above"),
            n,
        });
    };
    let mut sorted = control_scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    // m < n, because P(Bin(n, alpha) ≤ n) = 1 > delta.
    let index = sorted.len() - 1 - allowed_exceedances as usize;
    Ok(Threshold {
        logit: sorted[index].next_up(),
        fpr_budget: alpha,
        delta,
        n,
        allowed_exceedances,
        calibrated_on: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

    use super::*;

    const DELTA: f64 = 0.05;

    #[test]
    fn sample_sizes_are_those_of_the_table() {
        // Rows of the table in science.md §F: smallest n for 0, 1, 2, 3, 5, 10, 20 exceedances.
        let table: [(f64, [u64; 7]); 3] = [
            (0.05, [59, 93, 124, 153, 208, 336, 577]),
            (0.01, [299, 473, 628, 773, 1_049, 1_693, 2_902]),
            (0.001, [2_995, 4_742, 6_294, 7_752, 10_511, 16_959, 29_058]),
        ];
        for (alpha, sizes) in table {
            assert_eq!(required_n(alpha, DELTA), Some(sizes[0]));
            for (m, n) in [0, 1, 2, 3, 5, 10, 20].into_iter().zip(sizes) {
                assert_eq!(allowed_exceedances(n, alpha, DELTA), Some(m), "{alpha} {n}");
                let fewer = allowed_exceedances(n - 1, alpha, DELTA);
                assert_eq!(fewer, m.checked_sub(1), "{alpha} {}", n - 1);
            }
        }
        for (n, alpha, m) in [
            (1_000, 0.01, 4),
            (3_000, 0.01, 20),
            (10_000, 0.01, 83),
            (3_000, 0.001, 0),
            (10_000, 0.001, 4),
        ] {
            assert_eq!(allowed_exceedances(n, alpha, DELTA), Some(m));
        }
    }

    #[test]
    fn large_n_does_not_underflow() {
        // (1 − 0.05)^100000 is far below the smallest f64. Normal approximation: 5000 − 1.645·68.9.
        let m = allowed_exceedances(100_000, 0.05, DELTA).unwrap();
        assert!((4_885..=4_888).contains(&m), "{m}");
    }

    #[test]
    fn rates_outside_the_open_unit_interval_are_refused() {
        for rate in [0.0, 1.0, -0.1, f64::NAN] {
            assert_eq!(required_n(rate, DELTA), None);
            assert_eq!(allowed_exceedances(1_000, 0.01, rate), None);
            assert!(matches!(
                threshold(&[0.0; 100], rate, DELTA),
                Err(Error::Setting { name: "alpha", .. })
            ));
        }
    }

    #[test]
    fn exactly_the_allowed_number_of_distinct_controls_is_flagged() {
        let scores: Vec<f64> = (0..473).map(|i| f64::from(i * 37 % 473)).collect();
        let found = threshold(&scores, 0.01, DELTA).unwrap();
        assert_eq!((found.n, found.allowed_exceedances), (473, 1));
        assert_eq!(scores.iter().filter(|&&s| found.flags(s)).count(), 1);
        // 471 is s_(n−m): it must not be flagged, however close the threshold is.
        assert!(!found.flags(471.0) && found.flags(472.0));
    }

    #[test]
    fn ties_are_never_flagged_beyond_the_allowance() {
        let found = threshold(&[2.5; 1_000], 0.01, DELTA).unwrap();
        assert!(!found.flags(2.5));
        assert!(found.flags(f64::from(2.5f32.next_up())));
    }

    #[test]
    fn too_few_controls_are_an_error_that_says_how_many() {
        let error = threshold(&[0.0; 298], 0.01, DELTA).unwrap_err();
        assert!(matches!(
            error,
            Error::TooFewControls {
                required: 299,
                n: 298,
                ..
            }
        ));
        assert!(error.to_string().contains("needs n ≥ 299"));
        assert!(threshold(&[0.0; 299], 0.01, DELTA).is_ok());
        let mut scores = vec![0.0; 299];
        scores[7] = f64::NAN;
        assert!(matches!(
            threshold(&scores, 0.01, DELTA),
            Err(Error::NonFinite { index: 7, .. })
        ));
    }

    /// Share of 1,000 draws of `n` controls whose threshold has a true false-alarm rate above `alpha`.
    fn violations(
        n: usize,
        alpha: f64,
        draw: impl Fn(f64) -> f64,
        rate_above: impl Fn(f64) -> f64,
    ) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(n as u64);
        let violated = (0..1_000)
            .filter(|_| {
                let scores: Vec<f64> = (0..n).map(|_| draw(rng.random_range(1e-12..1.0))).collect();
                rate_above(threshold(&scores, alpha, DELTA).unwrap().logit) > alpha
            })
            .count();
        violated as f64 / 1_000.0
    }

    #[test]
    fn the_promise_holds_in_simulation() {
        let normal = Normal::new(0.0, 1.0).unwrap();
        // Three standard errors of a share of 1,000 draws.
        let limit = DELTA + 3.0 * (DELTA * (1.0 - DELTA) / 1_000.0f64).sqrt();
        let pi = std::f64::consts::PI;
        for (n, alpha) in [(59, 0.05), (208, 0.05), (299, 0.01), (1_000, 0.01)] {
            let gaussian = violations(n, alpha, |u| normal.inverse_cdf(u), |t| normal.sf(t));
            let cauchy = violations(
                n,
                alpha,
                |u| (pi * (u - 0.5)).tan(),
                |t| 0.5 - t.atan() / pi,
            );
            // Scores rounded to tenths: a threshold just above g lets g itself pass.
            let ties = violations(
                n,
                alpha,
                |u| (normal.inverse_cdf(u) * 10.0).round() / 10.0,
                |t| normal.sf((t * 10.0).round() / 10.0 + 0.05),
            );
            for share in [gaussian, cauchy, ties] {
                assert!(share <= limit, "n {n}, alpha {alpha}: {share} > {limit}");
            }
            // And it is not vacuous: without ties, the share is the binomial tail that the rule computes.
            let m = allowed_exceedances(n as u64, alpha, DELTA).unwrap();
            let tail = Binomial::new(alpha, n as u64).unwrap().cdf(m);
            let error = 4.0 * (tail * (1.0 - tail) / 1_000.0f64).sqrt();
            assert!((gaussian - tail).abs() <= error, "{gaussian} {tail}");
            assert!((cauchy - tail).abs() <= error, "{cauchy} {tail}");
        }
    }
}

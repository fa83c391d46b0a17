//! Platt scaling: from logits to probabilities.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, check_finite_f64, check_length, check_two_classes};

/// A fitted sigmoid: `probability = 1 / (1 + exp(−(a · logit + b)))`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Slope; positive, so that probability rises with the logit.
    pub a: f64,
    /// Offset.
    pub b: f64,
}

const MAX_ITERATIONS: u64 = 100;
/// Added to the Hessian's diagonal (Lin, Lin & Weng 2007, algorithm 1).
const SIGMA: f64 = 1e-12;
const MIN_STEP: f64 = 1e-10;
/// Gradient at which to stop, per example.
const TOLERANCE: f64 = 1e-8;
/// Smallest slope that counts as positive, in units of one over the logits' spread.
const MIN_SLOPE: f64 = 1e-9;

impl Platt {
    /// Fits the sigmoid to `logits` and `labels` (`true` = deceptive) that the probe was not fitted on.
    ///
    /// Newton's method with backtracking on Platt's smoothed targets `(N₊+1)/(N₊+2)` and `1/(N₋+2)`, as
    /// in Lin, Lin & Weng 2007, *A note on Platt's probabilistic outputs for support vector machines*,
    /// algorithm 1. Differences: our `a` and `b` have the opposite sign, and logits are standardised
    /// inside for the sake of the Hessian's condition.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Length`], [`Error::NonFinite`], [`Error::OneClass`] for input that cannot
    /// be used; [`Error::InvertedCalibration`] if higher logits are not more deceptive;
    /// [`Error::NotConverged`].
    pub fn fit(logits: &[f64], labels: &[bool]) -> Result<Self> {
        check_length("labels", logits.len(), labels.len())?;
        check_two_classes(labels)?;
        check_finite_f64("logits", logits)?;
        let n = logits.len() as f64;
        let mean = logits.iter().sum::<f64>() / n;
        let spread = (logits.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / n).sqrt();
        if spread <= 0.0 {
            return Err(Error::InvertedCalibration { slope: 0.0 });
        }
        let x: Vec<f64> = logits.iter().map(|l| (l - mean) / spread).collect();
        let n_deceptive = labels.iter().filter(|&&label| label).count() as f64;
        let n_honest = n - n_deceptive;
        let high = (n_deceptive + 1.0) / (n_deceptive + 2.0);
        let low = 1.0 / (n_honest + 2.0);
        let targets: Vec<f64> = labels
            .iter()
            .map(|&label| if label { high } else { low })
            .collect();

        let (slope, offset) = newton(&x, &targets, ((n_deceptive + 1.0) / (n_honest + 1.0)).ln())?;
        if slope.is_nan() || slope <= MIN_SLOPE {
            return Err(Error::InvertedCalibration {
                slope: slope / spread,
            });
        }
        Ok(Self {
            a: slope / spread,
            b: offset - slope * mean / spread,
        })
    }

    /// The probability of deception at a logit, in `[0, 1]`.
    pub fn probability(&self, logit: f64) -> f64 {
        sigmoid(self.a * logit + self.b)
    }
}

/// `1 / (1 + exp(−z))` without overflow.
fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}

/// Cross entropy of targets against `sigmoid(a·x + b)`.
fn loss(x: &[f64], targets: &[f64], a: f64, b: f64) -> f64 {
    x.iter()
        .zip(targets)
        .map(|(&x, &t)| {
            let z = a * x + b;
            // log(1 + exp(−|z|)) + max(z, 0) − t·z
            (-z.abs()).exp().ln_1p() + z.max(0.0) - t * z
        })
        .sum()
}

fn newton(x: &[f64], targets: &[f64], prior: f64) -> Result<(f64, f64)> {
    let limit = TOLERANCE * x.len() as f64;
    let (mut a, mut b) = (0.0, prior);
    let mut value = loss(x, targets, a, b);
    let mut gradient_norm = f64::INFINITY;
    for _ in 0..MAX_ITERATIONS {
        let (mut haa, mut hbb, mut hab, mut ga, mut gb) = (SIGMA, SIGMA, 0.0, 0.0, 0.0);
        for (&x, &t) in x.iter().zip(targets) {
            let p = sigmoid(a * x + b);
            let (d1, d2) = (p - t, p * (1.0 - p));
            haa += x * x * d2;
            hab += x * d2;
            hbb += d2;
            ga += x * d1;
            gb += d1;
        }
        gradient_norm = ga.hypot(gb);
        if gradient_norm <= limit {
            return Ok((a, b));
        }
        let determinant = haa * hbb - hab * hab;
        let da = -(hbb * ga - hab * gb) / determinant;
        let db = -(haa * gb - hab * ga) / determinant;
        let descent = ga * da + gb * db;
        let mut step = 1.0;
        loop {
            let next = loss(x, targets, a + step * da, b + step * db);
            if next < value + 1e-4 * step * descent {
                a += step * da;
                b += step * db;
                value = next;
                break;
            }
            step /= 2.0;
            if step < MIN_STEP {
                // The loss is flat to the last bit: as good as it gets if the gradient agrees.
                return accept(a, b, gradient_norm, limit);
            }
        }
    }
    accept(a, b, gradient_norm, limit)
}

/// Accepts a point whose gradient is small enough for six digits of the probabilities.
fn accept(a: f64, b: f64, gradient_norm: f64, limit: f64) -> Result<(f64, f64)> {
    if gradient_norm <= limit * 100.0 {
        return Ok((a, b));
    }
    Err(Error::NotConverged {
        max_iterations: MAX_ITERATIONS,
        gradient_norm,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::metric;

    fn sample(n: usize, a: f64, b: f64, seed: u64) -> (Vec<f64>, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|_| {
                let logit: f64 = rng.random_range(-6.0..6.0);
                (logit, rng.random::<f64>() < sigmoid(a * logit + b))
            })
            .unzip()
    }

    #[test]
    fn recovers_the_sigmoid_that_made_the_labels() {
        let (logits, labels) = sample(20_000, 0.8, -1.0, 1);
        let platt = Platt::fit(&logits, &labels).unwrap();
        assert!((platt.a - 0.8).abs() < 0.03, "{platt:?}");
        assert!((platt.b + 1.0).abs() < 0.06, "{platt:?}");
    }

    #[test]
    fn equals_scikit_learn() {
        let labels: Vec<bool> = (0..60).map(|i| i % 4 == 0).collect();
        let logits: Vec<f64> = (0..60u16)
            .map(|i| f64::from(i * 29 % 61) / 10.0 - 3.0 + f64::from(u8::from(i % 4 == 0)))
            .collect();
        let platt = Platt::fit(&logits, &labels).unwrap();
        // scikit-learn 1.9.1, `sklearn.calibration._sigmoid_calibration`, which negates both.
        assert!((platt.a - 0.329_051_458).abs() < 1e-5, "{platt:?}");
        assert!((platt.b + 1.262_482_730).abs() < 1e-5, "{platt:?}");
    }

    #[test]
    fn calibrated_probabilities_have_a_small_error_and_raw_sigmoids_do_not() {
        let (logits, labels) = sample(6_000, 0.3, 1.0, 2);
        let (held_logits, held_labels) = sample(6_000, 0.3, 1.0, 3);
        let platt = Platt::fit(&logits, &labels).unwrap();
        let calibrated: Vec<f64> = held_logits.iter().map(|&l| platt.probability(l)).collect();
        let raw: Vec<f64> = held_logits.iter().map(|&l| sigmoid(l)).collect();
        let ece = metric::ece(&calibrated, &held_labels).unwrap();
        assert!(ece < 0.03, "{ece}");
        assert!(metric::ece(&raw, &held_labels).unwrap() > 0.1);
        assert!(
            metric::brier(&calibrated, &held_labels).unwrap()
                < metric::brier(&raw, &held_labels).unwrap()
        );
    }

    #[test]
    fn separable_data_stay_finite_by_the_smoothed_targets() {
        let platt = Platt::fit(&[-2.0, -1.0, 1.0, 2.0], &[false, false, true, true]).unwrap();
        assert!(platt.a.is_finite() && platt.a > 0.0);
        // Targets are 3/4 and 1/4: two examples per class justify no more.
        assert!(platt.probability(2.0) < 0.95);
        assert!((platt.probability(0.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn large_offsets_and_units_do_not_matter() {
        let (logits, labels) = sample(500, 0.8, -1.0, 4);
        let plain = Platt::fit(&logits, &labels).unwrap();
        let moved: Vec<f64> = logits.iter().map(|l| l * 1e4 + 1e6).collect();
        let other = Platt::fit(&moved, &labels).unwrap();
        for (&l, &m) in logits.iter().zip(&moved) {
            assert!((plain.probability(l) - other.probability(m)).abs() < 1e-6);
        }
    }

    #[test]
    fn extreme_logits_give_probabilities_not_nan() {
        let platt = Platt { a: 1.0, b: 0.0 };
        assert!(platt.probability(1e300) >= 1.0 - 1e-12);
        assert!(platt.probability(-1e300) <= 1e-12);
    }

    #[test]
    fn refuses_what_cannot_be_calibrated() {
        let check = |logits: &[f64], labels: &[bool]| Platt::fit(logits, labels).unwrap_err();
        assert!(matches!(check(&[], &[]), Error::Empty { .. }));
        assert!(matches!(check(&[1.0], &[]), Error::Length { .. }));
        assert!(matches!(
            check(&[1.0, 2.0], &[true, true]),
            Error::OneClass { .. }
        ));
        assert!(matches!(
            check(&[1.0, f64::NAN], &[true, false]),
            Error::NonFinite { .. }
        ));
        assert!(matches!(
            check(&[1.0, 2.0, 3.0, 4.0], &[true, true, false, false]),
            Error::InvertedCalibration { .. }
        ));
        assert!(matches!(
            check(&[1.0, 1.0], &[true, false]),
            Error::InvertedCalibration { .. }
        ));
    }
}

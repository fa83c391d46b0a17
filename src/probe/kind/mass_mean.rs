//! The difference between the means of the classes.
//!
//! Marks and Tegmark 2024, "The Geometry of Truth" (arXiv 2310.06824), section 5: `θ = μ₊ − μ₋`,
//! on rows that are centred and not standardised. They centre on the mean of the data; here the
//! middle between the two means is 0, which is the same where classes are equally large and does
//! not move with their sizes where they are not.

use super::logistic::column_statistics;
use super::{FitOptions, ProbeKind, Projection, Rows, between};
use crate::error::Result;

/// Mass-mean probe.
#[derive(Debug)]
pub(super) struct MassMean;

impl ProbeKind for MassMean {
    fn name(&self) -> &'static str {
        "mass-mean"
    }

    fn describe(&self) -> &'static str {
        "difference between the means of deceptive and honest rows (Marks and Tegmark 2024)"
    }

    fn noun(&self) -> &'static str {
        "difference of means"
    }

    fn options(&self) -> FitOptions {
        FitOptions {
            standardise: false,
            ..FitOptions::ACTIVATIONS
        }
    }

    fn fit(&self, rows: &Rows<'_>, options: &FitOptions) -> Result<Projection> {
        let means = rows.class_means();
        let scale = if options.standardise {
            column_statistics(rows).1
        } else {
            vec![1.0; rows.width()]
        };
        let difference = means[0].iter().zip(&means[1]).zip(&scale);
        let weight = difference.map(|((a, b), scale)| (a - b) / f64::from(*scale));
        let weight = weight.collect();
        Ok(between(&means, scale, weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Deceptive (3, 1) and (5, 1), honest (0, 2), (1, 4) and (2, 0).
        let data = [3.0, 1.0, 5.0, 1.0, 0.0, 2.0, 1.0, 4.0, 2.0, 0.0];
        let labels = [true, true, false, false, false];
        let rows = Rows::new(&data, 2, &labels).unwrap();
        let fitted = MassMean.fit(&rows, &MassMean.options()).unwrap();
        // Means (4, 1) and (1, 2).
        assert_eq!(fitted.weight, [3.0, -1.0]);
        assert_eq!(fitted.mean, [2.5, 1.5]);
        assert_eq!((fitted.bias, &fitted.scale[..]), (0.0, &[1.0, 1.0][..]));
        let logits = fitted.logits(&[4.0, 1.0, 1.0, 2.0, 2.5, 1.5]).unwrap();
        let logits: Vec<f64> = logits.iter().map(|logit| logit.as_f64()).collect();
        assert_eq!(logits, [5.0, -5.0, 0.0]);
    }
}

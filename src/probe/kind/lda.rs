//! Linear discriminant analysis.
//!
//! The form of the mass-mean probe for data of one distribution (Marks and Tegmark 2024, arXiv
//! 2310.06824, section 5): `θ = Σ⁻¹(μ₊ − μ₋)`, with Σ the covariance within the classes, pooled.
//! They take the pseudo-inverse of Σ, which with fewer rows than columns follows directions that
//! hold rounding noise alone; here `lambda / n_rows` is added to Σ's diagonal instead.

use super::logistic::{check_options, column_statistics};
use super::{FitOptions, ProbeKind, Projection, Rows, between};
use crate::error::{Error, Result};

/// Linear discriminant analysis with a ridge.
#[derive(Debug)]
pub(super) struct Lda;

impl ProbeKind for Lda {
    fn name(&self) -> &'static str {
        "lda"
    }

    fn describe(&self) -> &'static str {
        "difference of means, whitened by the covariance within the classes (Marks and Tegmark 2024)"
    }

    fn noun(&self) -> &'static str {
        "linear discriminant"
    }

    fn fit(&self, rows: &Rows<'_>, options: &FitOptions) -> Result<Projection> {
        check_options(options)?;
        let (n_rows, width) = (rows.n_rows(), rows.width());
        let means = rows.class_means();
        let scale = if options.standardise {
            column_statistics(rows).1
        } else {
            vec![1.0; width]
        };
        // [width, width], the lower triangle.
        let mut covariance = vec![0.0f64; width * width];
        let mut centred = vec![0.0f64; width];
        for (row, deceptive) in rows.data().chunks_exact(width).zip(rows.labels()) {
            let mean = &means[usize::from(!deceptive)];
            for column in 0..width {
                let value = f64::from(row[column]) - mean[column];
                centred[column] = value / f64::from(scale[column]);
            }
            for i in 0..width {
                let factor = centred[i];
                let line = &mut covariance[i * width..=i * width + i];
                for (sum, value) in line.iter_mut().zip(&centred) {
                    *sum += factor * value;
                }
            }
        }
        for value in &mut covariance {
            *value /= n_rows as f64;
        }
        for i in 0..width {
            covariance[i * width + i] += options.lambda / n_rows as f64;
        }
        let difference = means[0].iter().zip(&means[1]).zip(&scale);
        let difference = difference.map(|((a, b), scale)| (a - b) / f64::from(*scale));
        let mut weight: Vec<f64> = difference.collect();
        solve(&mut covariance, &mut weight).ok_or_else(|| Error::Solver {
            n_rows,
            width,
            reason: "the covariance within the classes is not positive definite".into(),
        })?;
        Ok(between(&means, scale, weight))
    }
}

/// Solves `a · x = b` in place for a symmetric positive definite `a: [n, n]`, of which the lower
/// triangle is read, by its Cholesky factor (Golub and Van Loan, "Matrix Computations", 4.2).
fn solve(a: &mut [f64], b: &mut [f64]) -> Option<()> {
    let n = b.len();
    for j in 0..n {
        for i in j..n {
            let (upper, lower) = (&a[j * n..j * n + j], &a[i * n..i * n + j]);
            let sum: f64 = upper.iter().zip(lower).map(|(x, y)| x * y).sum();
            let value = a[i * n + j] - sum;
            if i == j {
                if value.is_nan() || value <= 0.0 {
                    return None;
                }
                a[j * n + j] = value.sqrt();
            } else {
                a[i * n + j] = value / a[j * n + j];
            }
        }
    }
    for i in 0..n {
        let sum: f64 = (0..i).map(|k| a[i * n + k] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    for i in (0..n).rev() {
        let sum: f64 = (i + 1..n).map(|k| a[k * n + i] * b[k]).sum();
        b[i] = (b[i] - sum) / a[i * n + i];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Deceptive (4, 0), (2, 2); honest (1, −1), (−1, 1). Deviations from the means are ±(1, −1).
        let data = [4.0, 0.0, 2.0, 2.0, 1.0, -1.0, -1.0, 1.0];
        let labels = [true, true, false, false];
        let rows = Rows::new(&data, 2, &labels).unwrap();
        let options = FitOptions {
            lambda: 4.0,
            standardise: false,
            ..FitOptions::ACTIVATIONS
        };
        let fitted = Lda.fit(&rows, &options).unwrap();
        // Σ + I = [[2, −1], [−1, 2]], its inverse [[2, 1], [1, 2]] / 3; the difference of means (3, 1).
        for (found, expected) in fitted.weight.iter().zip([7.0 / 3.0, 5.0 / 3.0]) {
            assert!((found - expected).abs() < 1e-6, "{fitted:?}");
        }
        assert_eq!(fitted.mean, [1.5, 0.5]);
    }

    #[test]
    fn more_columns_than_rows() {
        let data: Vec<f32> = (0..40u16).map(|i| f32::from(i * i * 37 % 41)).collect();
        let rows = Rows::new(&data, 10, &[true, false, true, false]).unwrap();
        let options = FitOptions {
            lambda: 1e-3,
            ..Lda.options()
        };
        let fitted = Lda.fit(&rows, &options).unwrap();
        let logits = fitted.logits(&data).unwrap();
        for (logit, deceptive) in logits.iter().zip(rows.labels()) {
            assert_eq!(logit.as_f64() > 0.0, *deceptive);
        }
    }

    #[test]
    fn a_ridge_is_needed() {
        let rows = Rows::new(&[1.0, 0.0], 1, &[true, false]).unwrap();
        let options = FitOptions {
            lambda: 0.0,
            ..Lda.options()
        };
        assert!(matches!(
            Lda.fit(&rows, &options),
            Err(Error::Setting { .. })
        ));
    }
}

//! Logistic regression on standardised rows.
//!
//! Minimises `Σ log(1 + exp(−y·z)) + lambda/2 · ‖w‖²` by linfa-logistic's L-BFGS in f64. Three things
//! are done around it. The matrix is handed over in Fortran order, as its gradient walks columns. The
//! sign is read from `labels()`, as linfa calls the majority class positive. And the gradient is
//! checked here afterwards, as linfa ends silently when it runs out of iterations.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2, ShapeBuilder};

use super::{FitOptions, ProbeKind, Projection, Rows};
use crate::error::{Error, Result};

/// How far above the solver's own tolerance the gradient may end: it also stops where the loss no
/// longer changes in f64, which can be a little earlier.
const SLACK: f64 = 10.0;

/// Logistic regression with an L2 penalty.
#[derive(Debug)]
pub(super) struct Logistic;

impl ProbeKind for Logistic {
    fn name(&self) -> &'static str {
        "logistic"
    }

    fn describe(&self) -> &'static str {
        "logistic regression with an L2 penalty on standardised rows (Goldowsky-Dill et al. 2025)"
    }

    fn noun(&self) -> &'static str {
        "logistic regression"
    }

    fn fit(&self, rows: &Rows<'_>, options: &FitOptions) -> Result<Projection> {
        check_options(options)?;
        let (n_rows, width) = (rows.n_rows(), rows.width());
        let (mean, scale) = if options.standardise {
            column_statistics(rows)
        } else {
            (vec![0.0; width], vec![1.0; width])
        };

        // [row, width], columns contiguous.
        let mut x = Array2::<f64>::zeros((n_rows, width).f());
        for (row, values) in rows.data().chunks_exact(width).enumerate() {
            for (column, &value) in values.iter().enumerate() {
                x[[row, column]] =
                    (f64::from(value) - f64::from(mean[column])) / f64::from(scale[column]);
            }
        }
        let dataset = DatasetBase::new(x, Array1::from(rows.labels().to_vec()));
        let tolerance = options.tolerance_per_row * n_rows as f64;
        let fitted = LogisticRegression::default()
            .alpha(options.lambda)
            .with_intercept(options.intercept)
            .max_iterations(options.max_iterations)
            .gradient_tolerance(tolerance)
            .fit(&dataset)
            .map_err(|error| Error::Solver {
                n_rows,
                width,
                reason: error.to_string(),
            })?;

        let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
        let weight = fitted.params() * sign; // [width]
        let bias = if options.intercept {
            fitted.intercept() * sign
        } else {
            0.0
        };

        let gradient_norm = gradient_norm(
            dataset.records(),
            rows.labels(),
            &weight,
            bias,
            options.lambda,
            options.intercept,
        );
        let limit = tolerance * SLACK;
        if gradient_norm.is_nan() || gradient_norm > limit {
            return Err(Error::NotConverged {
                max_iterations: options.max_iterations,
                gradient_norm,
                limit,
            });
        }
        Ok(Projection {
            weight: weight.iter().map(|&value| value as f32).collect(),
            bias: bias as f32,
            mean,
            scale,
        })
    }
}

pub(super) fn check_options(options: &FitOptions) -> Result<()> {
    for (name, value) in [
        ("lambda", options.lambda),
        ("tolerance_per_row", options.tolerance_per_row),
        ("max_iterations", options.max_iterations as f64),
    ] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(Error::Setting {
                name,
                value,
                expected: "positive and finite",
            });
        }
    }
    Ok(())
}

/// Mean and standard deviation (divided by n) of each column, rounded to f32 *before* they are used, so
/// that the weights are fitted for exactly the standardisation that is stored.
pub(super) fn column_statistics(rows: &Rows<'_>) -> (Vec<f32>, Vec<f32>) {
    let (n_rows, width) = (rows.n_rows() as f64, rows.width());
    let mut mean = vec![0.0f64; width];
    for values in rows.data().chunks_exact(width) {
        for (sum, &value) in mean.iter_mut().zip(values) {
            *sum += f64::from(value);
        }
    }
    for sum in &mut mean {
        *sum /= n_rows;
    }
    let mut variance = vec![0.0f64; width];
    let first = &rows.data()[..width];
    let mut constant = vec![true; width];
    for values in rows.data().chunks_exact(width) {
        for column in 0..width {
            let deviation = f64::from(values[column]) - mean[column];
            variance[column] += deviation * deviation;
            #[expect(clippy::float_cmp, reason = "constant means equal")]
            let same = values[column] == first[column];
            constant[column] &= same;
        }
    }
    let scale = variance
        .iter()
        .zip(&constant)
        .map(|(&sum, &constant)| {
            let scale = (sum / n_rows).sqrt() as f32;
            // A constant column tells nothing; dividing by 1 leaves it at zero.
            if constant || !scale.is_normal() {
                1.0
            } else {
                scale
            }
        })
        .collect();
    (mean.iter().map(|&value| value as f32).collect(), scale)
}

/// Norm of the objective's gradient at `(weight, bias)`.
fn gradient_norm(
    x: &Array2<f64>,
    labels: &[bool],
    weight: &Array1<f64>,
    bias: f64,
    lambda: f64,
    intercept: bool,
) -> f64 {
    let logits = x.dot(weight) + bias; // [row]
    let residuals: Array1<f64> = logits
        .iter()
        .zip(labels)
        .map(|(&z, &deceptive)| 1.0 / (1.0 + (-z).exp()) - f64::from(u8::from(deceptive)))
        .collect();
    let gradient = x.t().dot(&residuals) + weight * lambda; // [width]
    let mut sum = gradient.dot(&gradient);
    if intercept {
        sum += residuals.sum().powi(2);
    }
    sum.sqrt()
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn noisy(n_rows: usize, width: usize, shift: f32, seed: u64) -> (Vec<f32>, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<bool> = (0..n_rows).map(|row| row % 4 == 0).collect();
        let data = labels
            .iter()
            .flat_map(|&deceptive| {
                (0..width)
                    .map(|column| {
                        let noise: f32 = rng.random_range(-1.0..1.0);
                        noise + if deceptive && column == 0 { shift } else { 0.0 }
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        (data, labels)
    }

    fn fit(data: &[f32], width: usize, labels: &[bool], options: &FitOptions) -> Projection {
        Logistic
            .fit(&Rows::new(data, width, labels).unwrap(), options)
            .unwrap()
    }

    #[test]
    fn equals_scikit_learn() {
        // 24 rows of 5 columns, every third row deceptive and shifted in column 1.
        let labels: Vec<bool> = (0..24).map(|r| r % 3 == 0).collect();
        let mut data = Vec::new();
        for r in 0..24u16 {
            for c in 0..5u16 {
                let shift = if r % 3 == 0 && c == 1 { 3.0 } else { 0.0 };
                let value = (r * 37 + c * 101 + r * c * 13 + r * r * 7) % 97;
                data.push(f32::from(value) / 8.0 + shift);
            }
        }
        let check = |options: &FitOptions, weight: [f64; 5], bias: f64| {
            let fitted = fit(&data, 5, &labels, options);
            for (found, expected) in fitted.weight.iter().zip(weight) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{fitted:?}");
            }
            assert!((f64::from(fitted.bias) - bias).abs() < 1e-4, "{fitted:?}");
        };
        // scikit-learn 1.9.1: `LogisticRegression(C=0.1, fit_intercept=False, tol=1e-10)` after
        // `StandardScaler`, and `LogisticRegression(C=1, tol=1e-10)` without.
        let weight = [
            0.187_254_15,
            0.262_373_47,
            -0.256_243_90,
            -0.081_161_31,
            -0.161_196_03,
        ];
        check(&FitOptions::ACTIVATIONS, weight, 0.0);
        let weight = [
            0.245_191_35,
            0.476_915_56,
            -0.465_371_41,
            -0.268_568_79,
            -0.175_705_37,
        ];
        check(&FitOptions::TEXT, weight, -1.133_424_28);
    }

    /// The condition is solved by bisection here.
    #[test]
    fn equals_the_stationary_point_of_a_one_column_problem() {
        // Two rows at +1 (deceptive) and three at -1 (honest), one deceptive at -1.
        let data = [1.0, 1.0, -1.0, -1.0, -1.0, -1.0];
        let labels = [true, true, false, false, false, true];
        let options = FitOptions {
            lambda: 0.5,
            standardise: false,
            ..FitOptions::default()
        };
        let fitted = fit(&data, 1, &labels, &options);
        let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
        let slope =
            |w: f64| 2.0 * (sigmoid(w) - 1.0) - 3.0 * sigmoid(-w) - (sigmoid(-w) - 1.0) + 0.5 * w;
        let (mut low, mut high) = (0.0, 10.0);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if slope(middle) < 0.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        assert!((f64::from(fitted.weight[0]) - low).abs() < 1e-4);
        assert!(fitted.bias.abs() < f32::EPSILON);
    }

    #[test]
    fn positive_means_deceptive_whichever_class_is_larger_or_first() {
        for flip in [false, true] {
            for reverse in [false, true] {
                let (mut data, mut labels) = noisy(200, 3, 1.5, 1);
                if flip {
                    // Deceptive becomes the majority, and lies lower in column 0.
                    labels = labels.iter().map(|label| !label).collect();
                }
                if reverse {
                    labels.reverse();
                    data = data.rchunks_exact(3).flatten().copied().collect();
                }
                for intercept in [false, true] {
                    let options = FitOptions {
                        intercept,
                        ..FitOptions::default()
                    };
                    let weight = fit(&data, 3, &labels, &options).weight[0];
                    assert!(if flip { weight < -0.1 } else { weight > 0.1 }, "{weight}");
                }
            }
        }
    }

    #[test]
    fn intercept_carries_the_class_balance() {
        let (data, labels) = noisy(400, 2, 0.0, 2);
        let options = FitOptions {
            intercept: true,
            ..FitOptions::default()
        };
        // A quarter is deceptive and nothing tells which: the log odds are ln(1/3).
        let bias = f64::from(fit(&data, 2, &labels, &options).bias);
        assert!((bias - (1.0f64 / 3.0).ln()).abs() < 0.05, "{bias}");
    }

    #[test]
    fn weights_do_not_depend_on_the_units_of_a_column() {
        let (data, labels) = noisy(120, 3, 1.0, 3);
        let scaled: Vec<f32> = data
            .chunks_exact(3)
            .flat_map(|x| [x[0] * 1024.0, x[1] - 8.0, x[2] / 4096.0])
            .collect();
        let plain = fit(&data, 3, &labels, &FitOptions::default());
        let moved = fit(&scaled, 3, &labels, &FitOptions::default());
        for (a, b) in plain.weight.iter().zip(&moved.weight) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        assert!((moved.scale[0] / plain.scale[0] - 1024.0).abs() < 0.01);
    }

    #[test]
    fn constant_columns_get_scale_one_and_no_weight() {
        let (data, labels) = noisy(60, 1, 1.0, 4);
        let data: Vec<f32> = data.iter().flat_map(|&x| [x, 0.1]).collect();
        let fitted = fit(&data, 2, &labels, &FitOptions::default());
        assert!((fitted.scale[1] - 1.0).abs() < f32::EPSILON);
        assert!(fitted.weight[1].abs() < 1e-6);
    }

    #[test]
    fn separable_rows_converge_even_under_a_weak_penalty() {
        for lambda in [10.0, 1e-2, 1e-4] {
            let (data, labels) = noisy(100, 20, 6.0, 5);
            let options = FitOptions {
                lambda,
                ..FitOptions::default()
            };
            let fitted = fit(&data, 20, &labels, &options);
            assert!(fitted.weight[0] > 0.0);
        }
    }

    #[test]
    fn wide_text_features_converge() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let labels: Vec<bool> = (0..64).map(|row| row % 2 == 0).collect();
        let mut data = vec![0.0f32; 64 * 6_000];
        for (row, values) in data.chunks_exact_mut(6_000).enumerate() {
            for _ in 0..80 {
                values[rng.random_range(0..6_000)] = rng.random_range(0.02..0.3);
            }
            values[usize::from(labels[row])] = 0.3;
        }
        for options in [FitOptions::TEXT, FitOptions::ACTIVATIONS] {
            let fitted = fit(&data, 6_000, &labels, &options);
            assert!(fitted.weight[1] > 0.0 && fitted.weight[0] < 0.0);
        }
    }

    #[test]
    fn a_fit_that_ran_out_of_iterations_is_an_error() {
        let (data, labels) = noisy(200, 30, 1.0, 7);
        let options = FitOptions {
            max_iterations: 1,
            lambda: 1e-3,
            ..FitOptions::default()
        };
        let rows = Rows::new(&data, 30, &labels).unwrap();
        let error = Logistic.fit(&rows, &options).unwrap_err();
        assert!(matches!(
            error,
            Error::NotConverged {
                max_iterations: 1,
                ..
            }
        ));
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        let rows = Rows::new(&[1.0, 2.0], 1, &[true, false]).unwrap();
        for lambda in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let options = FitOptions {
                lambda,
                ..FitOptions::default()
            };
            assert!(matches!(
                Logistic.fit(&rows, &options),
                Err(Error::Setting { name: "lambda", .. })
            ));
        }
    }
}

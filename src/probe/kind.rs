//! Kinds of probe: how labelled rows become one direction.

mod lat;
mod lda;
mod logistic;
mod mass_mean;

use std::fmt;

use crate::error::{Error, Result, check_finite_f32, check_length, check_two_classes};
use crate::reading::{Logit, Reading};

/// Every kind of probe, in the order `candor train --help` shows them.
pub const KINDS: &[&dyn ProbeKind] = &[
    &logistic::Logistic,
    &mass_mean::MassMean,
    &lda::Lda,
    &lat::Lat,
];

/// A way of fitting a direction to labelled rows.
pub trait ProbeKind: fmt::Debug + Sync {
    /// Name in files and flags, for example `logistic`.
    fn name(&self) -> &'static str;

    /// One sentence for help texts.
    fn describe(&self) -> &'static str;

    /// What it is called in a sentence: `logistic regression`.
    fn noun(&self) -> &'static str;

    /// Settings for activations where nobody says otherwise.
    fn options(&self) -> FitOptions {
        FitOptions::ACTIVATIONS
    }

    /// Fits a direction along which deceptive rows lie higher than honest ones.
    ///
    /// Deterministic: equal rows and options give equal bits.
    ///
    /// # Errors
    /// [`Error::Setting`] for an option outside its range; [`Error::Solver`] and
    /// [`Error::NotConverged`] where no optimum was found; [`Error::NoPairs`] for a kind that
    /// compares replies to one prompt.
    fn fit(&self, rows: &Rows<'_>, options: &FitOptions) -> Result<Projection>;
}

/// The kind with this name.
///
/// # Errors
/// [`Error::UnknownName`] if there is none.
pub fn kind(name: &str) -> Result<&'static dyn ProbeKind> {
    KINDS
        .iter()
        .copied()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| Error::UnknownName {
            registry: "probe kind",
            name: name.to_owned(),
            known: KINDS
                .iter()
                .map(|kind| kind.name())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

/// Labelled rows to fit on: activations of tokens, or text features of replies.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// `[row, width]`, row-major, all finite. Private: checked once, relied on by every kind.
    data: &'a [f32],
    width: usize,
    /// `[row]`, `true` = deceptive, both values present.
    labels: &'a [bool],
    /// `[row]`, rows of one prompt share a number; empty where nobody has said.
    prompts: &'a [usize],
}

impl<'a> Rows<'a> {
    /// Rows `data: [row, width]` (row-major) with `labels: [row]`, where `true` means deceptive.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Length`], [`Error::NonFinite`] or [`Error::OneClass`].
    pub fn new(data: &'a [f32], width: usize, labels: &'a [bool]) -> Result<Self> {
        if width == 0 || data.is_empty() {
            return Err(Error::Empty { what: "rows" });
        }
        let expected = width.saturating_mul(labels.len());
        check_length("numbers in the rows", expected, data.len())?;
        check_two_classes(labels)?;
        check_finite_f32("rows", data)?;
        Ok(Self {
            data,
            width,
            labels,
            prompts: &[],
        })
    }

    /// The same rows with `prompts: [row]`, a number that rows of one prompt share.
    ///
    /// # Errors
    /// [`Error::Length`] for another number of rows.
    pub fn with_prompts(self, prompts: &'a [usize]) -> Result<Self> {
        check_length("prompts of the rows", self.n_rows(), prompts.len())?;
        Ok(Self { prompts, ..self })
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.labels.len()
    }

    /// Numbers per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[row, width]`, row-major.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// `[row]`, `true` = deceptive.
    pub fn labels(&self) -> &'a [bool] {
        self.labels
    }

    /// `[row]`, rows of one prompt share a number; empty where nobody has said.
    pub fn prompts(&self) -> &'a [usize] {
        self.prompts
    }

    /// Mean of the deceptive and of the honest rows, `[width]` each, in f64.
    fn class_means(&self) -> [Vec<f64>; 2] {
        [true, false].map(|deceptive| {
            let rows = self.data.chunks_exact(self.width).zip(self.labels);
            let rows = rows.filter(|(_, label)| **label == deceptive);
            mean_of(rows.map(|(row, _)| row), self.width)
        })
    }
}

/// Mean of some rows, `[width]`; 0 where there are none.
fn mean_of<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Vec<f64> {
    let mut sums = vec![0.0f64; width];
    let mut n = 0;
    for row in rows {
        n += 1;
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += f64::from(*value);
        }
    }
    for sum in &mut sums {
        *sum /= f64::from(n.max(1));
    }
    sums
}

/// The direction as a projection that is 0 half-way between the means of the classes, whose order
/// gives its sign.
fn between(means: &[Vec<f64>; 2], scale: Vec<f32>, mut weight: Vec<f64>) -> Projection {
    let [deceptive, honest] = means;
    let along: f64 = (0..weight.len())
        .map(|i| weight[i] * (deceptive[i] - honest[i]) / f64::from(scale[i]))
        .sum();
    if along < 0.0 {
        for value in &mut weight {
            *value = -*value;
        }
    }
    let middle = deceptive
        .iter()
        .zip(honest)
        .map(|(a, b)| ((a + b) / 2.0) as f32);
    Projection {
        weight: weight.into_iter().map(|value| value as f32).collect(),
        bias: 0.0,
        mean: middle.collect(),
        scale,
    }
}

impl fmt::Debug for Rows<'_> {
    /// Sizes only: activations are user data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows")
            .field("n_rows", &self.n_rows())
            .field("width", &self.width)
            .finish_non_exhaustive()
    }
}

/// Settings of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FitOptions {
    /// Strength of the L2 penalty `lambda/2 · ‖w‖²` on a loss *summed* over rows, so `lambda` is
    /// scikit-learn's `1/C`.
    pub lambda: f64,
    /// Whether a bias is fitted (it is never penalised).
    pub intercept: bool,
    /// Whether columns are brought to mean 0 and standard deviation 1 before fitting.
    pub standardise: bool,
    /// Most iterations of the solver.
    pub max_iterations: u64,
    /// Gradient norm at which the solver stops, per row.
    pub tolerance_per_row: f64,
}

impl FitOptions {
    /// For activations: `lambda` 10, no intercept, standardised columns, the recipe of Goldowsky-Dill
    /// et al. 2025 (arXiv 2502.03407).
    pub const ACTIVATIONS: Self = Self {
        lambda: 10.0,
        intercept: false,
        standardise: true,
        max_iterations: 1_000,
        tolerance_per_row: 1e-6,
    };

    /// For text features: `lambda` 1, with intercept, columns as they are. Standardising would blow
    /// rare words up and make the baseline weaker than it is.
    pub const TEXT: Self = Self {
        lambda: 1.0,
        intercept: true,
        standardise: false,
        ..Self::ACTIVATIONS
    };
}

impl Default for FitOptions {
    fn default() -> Self {
        Self::ACTIVATIONS
    }
}

/// A fitted direction: `logit = weight · (x − mean) / scale + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// `[width]`, on standardised columns.
    pub weight: Vec<f32>,
    /// Added to the product.
    pub bias: f32,
    /// `[width]`, mean of each column, 0 where not standardised.
    pub mean: Vec<f32>,
    /// `[width]`, standard deviation of each column, 1 where constant or not standardised.
    pub scale: Vec<f32>,
}

impl Projection {
    /// The reading of `hook_point` along this direction.
    ///
    /// # Errors
    /// As [`Reading::new`].
    pub fn into_reading(self, hook_point: candor_schema::HookPoint) -> Result<Reading> {
        Reading::new(
            hook_point,
            self.mean,
            self.scale,
            self.weight,
            vec![self.bias],
        )
    }

    /// The logits of `data: [row, width]` (row-major), for detectors that read no hook point.
    ///
    /// # Errors
    /// [`Error::Length`] if `data` is not a whole number of rows; [`Error::NonFinite`].
    pub fn logits(&self, data: &[f32]) -> Result<Vec<Logit>> {
        let width = self.weight.len();
        let n_rows = data.len() / width.max(1);
        check_length("numbers in the rows", n_rows * width, data.len())?;
        let dot = crate::reading::FoldedDot::new(&self.weight, self.bias, &self.mean, &self.scale)?;
        data.chunks_exact(width.max(1))
            .enumerate()
            .map(|(row, x)| {
                let value = dot.apply(x);
                if value.is_finite() && (value as f32).is_finite() {
                    return Ok(Logit(value as f32));
                }
                Err(Error::NonFinite {
                    what: format!("numbers of row {row}"),
                    index: x.iter().position(|v| !v.is_finite()).unwrap_or(0),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of which the first column separates the classes, the second is noise-like.
    fn toy() -> (Vec<f32>, Vec<bool>) {
        let mut data = Vec::new();
        let mut labels = Vec::new();
        for i in 0..40u16 {
            let deceptive = i % 3 == 0;
            let wobble = f32::from(i * 7 % 11) / 11.0;
            data.extend([if deceptive { 1.0 } else { -1.0 } + wobble, wobble]);
            labels.push(deceptive);
        }
        (data, labels)
    }

    #[test]
    fn every_kind_is_found_separates_and_is_deterministic() {
        let (data, labels) = toy();
        for registered in KINDS {
            let found = kind(registered.name()).unwrap();
            assert!(!found.describe().is_empty());
            let rows = Rows::new(&data, 2, &labels).unwrap();
            let prompts: Vec<usize> = (0..labels.len()).map(|i| i / 3).collect();
            let rows = rows.with_prompts(&prompts).unwrap();
            assert!(rows.with_prompts(&prompts[1..]).is_err());
            let options = FitOptions {
                lambda: 1.0,
                ..FitOptions::default()
            };
            let fitted = found.fit(&rows, &options).unwrap();
            let again = found.fit(&rows, &options).unwrap();
            assert_eq!(fitted, again);
            let logits: Vec<f64> = fitted
                .logits(&data)
                .unwrap()
                .iter()
                .map(|l| l.as_f64())
                .collect();
            let auroc = crate::metric::auroc(&logits, &labels).unwrap();
            assert!((auroc - 1.0).abs() < 1e-12, "{}", registered.name());
        }
        assert!(matches!(kind("astrology"), Err(Error::UnknownName { .. })));
    }

    #[test]
    fn malformed_rows_are_refused() {
        let labels = [true, false];
        assert!(matches!(
            Rows::new(&[], 2, &[]),
            Err(Error::Empty { what: "rows" })
        ));
        assert!(matches!(
            Rows::new(&[1.0, 2.0], 0, &labels),
            Err(Error::Empty { .. })
        ));
        assert!(matches!(
            Rows::new(&[1.0, 2.0, 3.0], 2, &labels),
            Err(Error::Length {
                expected: 4,
                found: 3,
                ..
            })
        ));
        assert!(matches!(
            Rows::new(&[1.0, f32::NAN], 1, &labels),
            Err(Error::NonFinite { index: 1, .. })
        ));
        assert!(matches!(
            Rows::new(&[1.0, 2.0], 1, &[false, false]),
            Err(Error::OneClass {
                n: 2,
                deceptive: false
            })
        ));
    }

    #[test]
    fn debug_shows_no_activations() {
        let rows = Rows::new(&[1.25, -7.5], 1, &[true, false]).unwrap();
        assert_eq!(format!("{rows:?}"), "Rows { n_rows: 2, width: 1, .. }");
    }
}

//! A reading: one hook point, its standardisation and the direction that is read there.

use std::fmt;

use candor_schema::HookPoint;

use crate::error::{Error, Result, check_finite_f32, check_length};

/// A probe's output `w·x + b`, of one token or pooled over a reply. Higher means more deceptive.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Logit(pub f32);

impl Logit {
    /// The value in f64, as verdicts and metrics carry it.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0)
    }
}

impl fmt::Display for Logit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One hook point, its standardisation and the direction that is read there.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    hook_point: HookPoint,
    mean: Vec<f32>,
    scale: Vec<f32>,
    /// `[k, width]`, row-major; `k` is 1 in this version.
    weight: Vec<f32>,
    /// `[k]`.
    bias: Vec<f32>,
    /// What is executed. Invariant: made from the fields above.
    dot: FoldedDot,
}

impl Reading {
    /// Directions this version reads per hook point.
    pub const K: usize = 1;

    /// A reading of `hook_point` with `mean`, `scale`: `[width]`, `weight: [k, width]` and
    /// `bias: [k]`, where `k` is 1.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Length`], [`Error::NonFinite`], or [`Error::Scale`] for a scale that is
    /// not positive.
    pub fn new(
        hook_point: HookPoint,
        mean: Vec<f32>,
        scale: Vec<f32>,
        weight: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<Self> {
        let width = mean.len();
        if width == 0 {
            return Err(Error::Empty { what: "weights" });
        }
        check_length(&format!("scales of `{hook_point}`"), width, scale.len())?;
        check_length(
            &format!("weights of `{hook_point}`"),
            Self::K * width,
            weight.len(),
        )?;
        check_length(&format!("biases of `{hook_point}`"), Self::K, bias.len())?;
        for (what, values) in [
            ("means", &mean),
            ("scales", &scale),
            ("weights", &weight),
            ("biases", &bias),
        ] {
            check_finite_f32(&format!("{what} of `{hook_point}`"), values)?;
        }
        if let Some(index) = scale.iter().position(|&value| value <= 0.0) {
            return Err(Error::Scale {
                hook_point,
                index,
                value: scale[index],
            });
        }
        let dot = FoldedDot::new(&weight, bias[0], &mean, &scale)?;
        Ok(Self {
            hook_point,
            mean,
            scale,
            weight,
            bias,
            dot,
        })
    }

    /// Where it reads.
    pub fn hook_point(&self) -> HookPoint {
        self.hook_point
    }

    /// Numbers per vector at the hook point.
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// `[width]`, what is subtracted from a vector.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// `[width]`, what a vector is divided by.
    pub fn scale(&self) -> &[f32] {
        &self.scale
    }

    /// `[k, width]`, row-major, on standardised vectors.
    pub fn weight(&self) -> &[f32] {
        &self.weight
    }

    /// `[k]`.
    pub fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// The direction in the model's own coordinates: `weight / scale`, `[width]`. What a steering or
    /// ablating edit moves along.
    pub fn direction(&self) -> &[f32] {
        &self.dot.weight
    }

    /// The logit of one vector `x: [width]`.
    ///
    /// # Errors
    /// [`Error::Length`] for another width; [`Error::NonFinite`] if `x` holds NaN or infinity;
    /// [`Error::LogitRange`] if the logit overflows f32.
    pub fn logit(&self, x: &[f32]) -> Result<Logit> {
        let hook_point = self.hook_point;
        if x.len() != self.width() {
            check_length(&format!("width of `{hook_point}`"), self.width(), x.len())?;
        }
        let value = self.dot.apply(x);
        if !value.is_finite() {
            // A sum of finite f32 products cannot leave f64, so `x` itself is to blame.
            check_finite_f32(&format!("activations of `{hook_point}`"), x)?;
        }
        if !(value as f32).is_finite() {
            return Err(Error::LogitRange { hook_point, value });
        }
        Ok(Logit(value as f32))
    }
}

/// Standardisation and projection as one dot product.
///
/// Weights are `weight / scale` rounded to f32. The bias absorbs the mean *under the rounded weights*,
/// in f64, so a large mean does not amplify their rounding. Products and sums are f64 in [`LANES`]
/// lanes that are added in a fixed order: the compiler may vectorise them, and every machine gives the
/// same bits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FoldedDot {
    /// `[width]`.
    weight: Vec<f32>,
    bias: f64,
}

/// Independent partial sums of the dot product.
const LANES: usize = 8;

impl FoldedDot {
    /// Folds `(x − mean) / scale · weight + bias`; all slices are `[width]`.
    pub(crate) fn new(weight: &[f32], bias: f32, mean: &[f32], scale: &[f32]) -> Result<Self> {
        check_length("means", weight.len(), mean.len())?;
        check_length("scales", weight.len(), scale.len())?;
        let folded: Vec<f32> = weight
            .iter()
            .zip(scale)
            .map(|(&weight, &scale)| (f64::from(weight) / f64::from(scale)) as f32)
            .collect();
        check_finite_f32("weights divided by their scales", &folded)?;
        let bias = f64::from(bias) - dot(&folded, mean);
        Ok(Self {
            weight: folded,
            bias,
        })
    }

    /// The product with `x: [width]`; not finite exactly where `x` is not.
    pub(crate) fn apply(&self, x: &[f32]) -> f64 {
        dot(&self.weight, x) + self.bias
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    for (lane, (&a, &b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] += f64::from(a) * f64::from(b);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(width: usize) -> Reading {
        let column = |step: f32| (0..width).map(|i| i as f32 * step).collect::<Vec<_>>();
        let scale = column(0.25).iter().map(|v| v + 0.5).collect();
        Reading::new(
            HookPoint::resid_post(3),
            column(10.0),
            scale,
            column(-0.125),
            vec![0.75],
        )
        .unwrap()
    }

    #[test]
    fn equals_the_unfolded_formula() {
        for width in [1, 7, 8, 9, 576] {
            let reading = reading(width);
            let x: Vec<f32> = (0..width).map(|i| i as f32 * 10.0 + 0.3).collect();
            let expected: f64 = (0..width)
                .map(|i| {
                    f64::from(reading.weight[i])
                        * ((f64::from(x[i]) - f64::from(reading.mean[i]))
                            / f64::from(reading.scale[i]))
                })
                .sum::<f64>()
                + 0.75;
            let found = reading.logit(&x).unwrap().as_f64();
            let tolerance = 1e-5 * expected.abs().max(1.0);
            assert!((found - expected).abs() < tolerance, "{found} {expected}");
        }
    }

    #[test]
    fn a_huge_mean_costs_no_precision() {
        // Massive activations: the mean is a million times the spread.
        let reading = Reading::new(
            HookPoint::resid_post(0),
            vec![1.0e6],
            vec![0.3],
            vec![0.7],
            vec![0.0],
        )
        .unwrap();
        let expected = 0.7 / 0.3 * 0.5;
        let found = reading.logit(&[1.0e6 + 0.5]).unwrap().as_f64();
        assert!((found - expected).abs() < 1e-6, "{found}");
    }

    #[test]
    fn refuses_what_cannot_be_scored() {
        let reading = reading(9);
        assert!(matches!(
            reading.logit(&[0.0; 8]),
            Err(Error::Length {
                expected: 9,
                found: 8,
                ..
            })
        ));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for index in 0..9 {
                let mut x = [1.0; 9];
                x[index] = bad;
                // Column 0 has weight 0: a NaN there must not hide.
                assert!(
                    matches!(reading.logit(&x), Err(Error::NonFinite { index: i, .. }) if i == index)
                );
            }
        }
        let steep = Reading::new(
            HookPoint::resid_post(0),
            vec![0.0],
            vec![1.0e-3],
            vec![1.0e3],
            vec![0.0],
        )
        .unwrap();
        assert!(matches!(
            steep.logit(&[f32::MAX]),
            Err(Error::LogitRange { .. })
        ));
    }

    #[test]
    fn refuses_malformed_parts() {
        let new = |mean: &[f32], scale: &[f32], weight: &[f32], bias: &[f32]| {
            Reading::new(
                HookPoint::resid_post(0),
                mean.to_vec(),
                scale.to_vec(),
                weight.to_vec(),
                bias.to_vec(),
            )
        };
        assert!(matches!(
            new(&[], &[], &[], &[0.0]),
            Err(Error::Empty { .. })
        ));
        assert!(matches!(
            new(&[0.0], &[1.0, 1.0], &[1.0], &[0.0]),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            new(&[0.0], &[1.0], &[1.0, 1.0], &[0.0, 0.0]),
            Err(Error::Length { .. })
        ));
        assert!(matches!(
            new(&[0.0], &[1.0], &[1.0], &[f32::NAN]),
            Err(Error::NonFinite { .. })
        ));
        for scale in [0.0, -1.0] {
            assert!(matches!(
                new(&[0.0], &[scale], &[1.0], &[0.0]),
                Err(Error::Scale { .. })
            ));
        }
        assert!(matches!(
            new(&[0.0], &[f32::MIN_POSITIVE], &[f32::MAX], &[0.0]),
            Err(Error::NonFinite { .. })
        ));
    }

    proptest! {
        #[test]
        fn linear_in_the_vector(x in prop::collection::vec(-100.0f32..100.0, 9), factor in -3.0f32..3.0) {
            let reading = reading(9);
            let at_zero = reading.logit(&[0.0; 9]).unwrap().as_f64();
            let scaled: Vec<f32> = x.iter().map(|v| v * factor).collect();
            let one = reading.logit(&x).unwrap().as_f64() - at_zero;
            let many = reading.logit(&scaled).unwrap().as_f64() - at_zero;
            prop_assert!((many - one * f64::from(factor)).abs() < 1e-2);
        }
    }
}

//! Linear artificial tomography: the main axis of the differences within prompts.
//!
//! Zou et al. 2023, "Representation Engineering" (arXiv 2310.01405), section 3.1: hidden states of
//! stimulus pairs are subtracted, each difference with a random sign, and the first principal
//! component is the reading vector; labels only give its sign. Random signs make the mean of the
//! differences 0 in expectation, so here the component is that of the differences about 0, which
//! needs no seed. A prompt with several rows of a label counts with their mean.

use std::collections::BTreeMap;

use super::{FitOptions, ProbeKind, Projection, Rows, between, mean_of};
use crate::error::{Error, Result};

/// How far from an eigenvector the direction may end, relative to the eigenvalue.
const TOLERANCE: f64 = 1e-5;

/// First principal component of differences.
#[derive(Debug)]
pub(super) struct Lat;

impl ProbeKind for Lat {
    fn name(&self) -> &'static str {
        "lat"
    }

    fn describe(&self) -> &'static str {
        "main axis of the differences between replies to one prompt (Zou et al. 2023)"
    }

    fn noun(&self) -> &'static str {
        "principal component of differences"
    }

    fn options(&self) -> FitOptions {
        FitOptions {
            standardise: false,
            ..FitOptions::ACTIVATIONS
        }
    }

    fn fit(&self, rows: &Rows<'_>, options: &FitOptions) -> Result<Projection> {
        let differences = differences(rows)?;
        let weight = main_axis(&differences, rows.width(), options.max_iterations)?;
        Ok(between(
            &rows.class_means(),
            vec![1.0; rows.width()],
            weight,
        ))
    }
}

/// Deceptive minus honest, per prompt that has both: `[prompt, width]`.
fn differences(rows: &Rows<'_>) -> Result<Vec<f64>> {
    let width = rows.width();
    let mut members: BTreeMap<usize, [Vec<&[f32]>; 2]> = BTreeMap::new();
    let labelled = rows.data().chunks_exact(width).zip(rows.labels());
    for ((row, deceptive), prompt) in labelled.zip(rows.prompts()) {
        members.entry(*prompt).or_default()[usize::from(!deceptive)].push(row);
    }
    let n_prompts = members.len();
    let both = members
        .into_values()
        .filter(|[a, b]| !a.is_empty() && !b.is_empty());
    let differences: Vec<f64> = both
        .flat_map(|sides| {
            let [a, b] = sides.map(|side| mean_of(side.into_iter(), width));
            a.into_iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>()
        })
        .collect();
    if differences.is_empty() {
        return Err(Error::NoPairs { n_prompts });
    }
    Ok(differences)
}

/// The unit vector along which `data: [row, width]` has the largest sum of squares, by power
/// iteration (Golub and Van Loan, "Matrix Computations", 7.3); its sign is arbitrary.
fn main_axis(data: &[f64], width: usize, max_iterations: u64) -> Result<Vec<f64>> {
    // The sum of the rows is close to the axis where they point one way; the longest row is not
    // orthogonal to it where they cancel.
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let mut axis = vec![0.0; width];
    for row in data.chunks_exact(width) {
        axis.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let longest = data
        .chunks_exact(width)
        .max_by(|a, b| length(a).total_cmp(&length(b)))
        .expect("there is a difference");
    if length(&axis) < length(longest) {
        axis = longest.to_vec();
    }
    let mut residual = f64::INFINITY;
    let mut eigenvalue = 0.0;
    for _ in 0..max_iterations {
        let norm = length(&axis);
        if norm == 0.0 || !norm.is_finite() {
            break;
        }
        for x in &mut axis {
            *x /= norm;
        }
        let mut next = vec![0.0; width];
        for row in data.chunks_exact(width) {
            let along: f64 = row.iter().zip(&axis).map(|(x, y)| x * y).sum();
            next.iter_mut()
                .zip(row)
                .for_each(|(sum, x)| *sum += along * x);
        }
        eigenvalue = next.iter().zip(&axis).map(|(x, y)| x * y).sum::<f64>();
        let off = next.iter().zip(&axis).map(|(x, y)| x - eigenvalue * y);
        residual = length(&off.collect::<Vec<_>>());
        if residual <= TOLERANCE * eigenvalue {
            return Ok(axis);
        }
        axis = next;
    }
    Err(Error::NotConverged {
        max_iterations,
        gradient_norm: residual,
        limit: TOLERANCE * eigenvalue,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Prompts 0 and 1 with one row of each label, prompt 2 with an honest one only.
    const DATA: [f32; 10] = [3.0, 1.0, 0.0, 1.0, 5.0, 2.0, 1.0, 2.0, 9.0, 9.0];
    const LABELS: [bool; 5] = [true, false, true, false, false];

    #[test]
    fn by_hand() {
        let rows = Rows::new(&DATA, 2, &LABELS).unwrap();
        let rows = rows.with_prompts(&[0, 0, 1, 1, 2]).unwrap();
        assert_eq!(differences(&rows).unwrap(), [3.0, 0.0, 4.0, 0.0]);
        let fitted = Lat.fit(&rows, &Lat.options()).unwrap();
        // Both differences lie along the first column. The class means are (4, 1.5) and (10/3, 4).
        assert_eq!(fitted.weight, [1.0, 0.0]);
        assert_eq!(fitted.mean, [11.0 / 3.0, 2.75]);
    }

    #[test]
    fn the_axis_is_that_of_the_larger_spread_and_labels_give_its_sign() {
        // (2, 1), (2, −1), (−2.5, 0): the second moments are diag(14.25, 2).
        let axis = main_axis(&[2.0, 1.0, 2.0, -1.0, -2.5, 0.0], 2, 1_000).unwrap();
        assert!(
            (axis[0].abs() - 1.0).abs() < 1e-6 && axis[1].abs() < 1e-4,
            "{axis:?}"
        );
        let data = [0.0, 0.0, 2.0, 0.5, 1.0, 0.0, 4.0, 0.0];
        let rows = Rows::new(&data, 2, &[true, false, true, false]).unwrap();
        let rows = rows.with_prompts(&[7, 7, 8, 8]).unwrap();
        let fitted = Lat.fit(&rows, &Lat.options()).unwrap();
        assert!(fitted.weight[0] < -0.9, "{fitted:?}");
    }

    #[test]
    fn no_prompt_with_both_labels_is_an_error() {
        let rows = Rows::new(&DATA, 2, &LABELS).unwrap();
        for prompts in [&[][..], &[0, 1, 2, 3, 4]] {
            let rows = if prompts.is_empty() {
                rows
            } else {
                rows.with_prompts(prompts).unwrap()
            };
            let error = Lat.fit(&rows, &Lat.options()).unwrap_err();
            assert!(matches!(error, Error::NoPairs { .. }), "{error}");
        }
    }

    #[test]
    fn equal_replies_have_no_axis() {
        let rows = Rows::new(&[1.0, 1.0], 1, &[true, false]).unwrap();
        let rows = rows.with_prompts(&[0, 0]).unwrap();
        assert!(matches!(
            Lat.fit(&rows, &Lat.options()),
            Err(Error::NotConverged { .. })
        ));
    }
}

//! Area under the ROC curve.

use super::{Metric, MetricInput, check_scores};
use crate::error::{Result, check_two_classes};

pub(super) const METRIC: Metric = Metric {
    name: "auroc",
    describe: "area under the ROC curve, ties counted half",
    input: MetricInput::Logits,
    compute: auroc,
};

/// Area under the ROC curve, ties counted half (Fawcett 2006, *An introduction to ROC analysis*).
///
/// `scores` and `labels` are `[row]`; higher means more deceptive. In `[0, 1]`, 0.5 is chance. Counts
/// are exact integers, so the result does not depend on the order of rows.
///
/// # Errors
/// [`Error::OneClass`](crate::Error::OneClass), [`Error::Empty`](crate::Error::Empty),
/// [`Error::Length`](crate::Error::Length) or [`Error::NonFinite`](crate::Error::NonFinite).
pub fn auroc(scores: &[f64], labels: &[bool]) -> Result<f64> {
    check_scores(scores, labels)?;
    check_two_classes(labels)?;
    let sorted = SortedScores::new(scores, labels);
    Ok(sorted
        .auroc(|_| 1)
        .expect("both classes occur, as checked above"))
}

/// Scores sorted once, for AUROCs of many resamples.
#[derive(Debug)]
pub(super) struct SortedScores {
    /// Ascending runs of equal scores; each lists `(row, deceptive)`.
    runs: Vec<Vec<(usize, bool)>>,
}

impl SortedScores {
    /// Sorts finite `scores: [row]`.
    pub(super) fn new(scores: &[f64], labels: &[bool]) -> Self {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        // By `==` and not by bits: -0 and 0 are a tie.
        #[expect(clippy::float_cmp, reason = "a tie is equality")]
        let runs = order
            .chunk_by(|&a, &b| scores[a] == scores[b])
            .map(|run| run.iter().map(|&row| (row, labels[row])).collect())
            .collect();
        Self { runs }
    }

    /// AUROC where each row counts `weight(row)` times; `None` if a class has no weight.
    pub(super) fn auroc(&self, weight: impl Fn(usize) -> u64) -> Option<f64> {
        // Pairs are counted twice, so that a tie's half is a whole number.
        let (mut honest_below, mut deceptive_total, mut twice_won) = (0u64, 0u64, 0u128);
        for run in &self.runs {
            let (mut honest, mut deceptive) = (0, 0);
            for &(row, is_deceptive) in run {
                if is_deceptive {
                    deceptive += weight(row);
                } else {
                    honest += weight(row);
                }
            }
            twice_won += u128::from(deceptive) * u128::from(2 * honest_below + honest);
            honest_below += honest;
            deceptive_total += deceptive;
        }
        let pairs = u128::from(honest_below) * u128::from(deceptive_total);
        (pairs > 0).then(|| twice_won as f64 / (2 * pairs) as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::Error;

    fn brute_force(scores: &[f64], labels: &[bool]) -> f64 {
        let (mut won, mut pairs) = (0.0, 0.0);
        for (a, _) in scores.iter().zip(labels).filter(|(_, l)| **l) {
            for (b, _) in scores.iter().zip(labels).filter(|(_, l)| !**l) {
                pairs += 1.0;
                won += match a.partial_cmp(b).unwrap() {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        won / pairs
    }

    #[test]
    fn values_by_hand() {
        let check = |scores: &[f64], labels: &[bool], expected: f64| {
            assert!((auroc(scores, labels).unwrap() - expected).abs() < 1e-12);
        };
        check(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true], 0.75);
        check(&[1.0, 1.0], &[true, false], 0.5);
        check(&[0.0, -0.0], &[true, false], 0.5);
        check(&[2.0, 1.0], &[true, false], 1.0);
        check(&[1.0, 2.0], &[true, false], 0.0);
    }

    #[test]
    fn one_class_has_no_auroc() {
        assert!(matches!(
            auroc(&[1.0, 2.0], &[true, true]),
            Err(Error::OneClass { n: 2, .. })
        ));
    }

    /// Rows with many ties and both classes.
    fn rows() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
        prop::collection::vec((-8i32..8, any::<bool>()), 0..80).prop_map(|mut rows| {
            rows.extend([(0, true), (1, false)]);
            rows.into_iter().map(|(s, l)| (f64::from(s), l)).unzip()
        })
    }

    proptest! {
        #[test]
        fn equals_brute_force((scores, labels) in rows()) {
            let found = auroc(&scores, &labels).unwrap();
            prop_assert!((found - brute_force(&scores, &labels)).abs() < 1e-12);
        }

        #[test]
        fn monotone_maps_change_nothing((scores, labels) in rows()) {
            let mapped: Vec<f64> = scores.iter().map(|s| (s / 3.0).exp() - 7.0).collect();
            let difference = auroc(&scores, &labels).unwrap() - auroc(&mapped, &labels).unwrap();
            // Counts are integers, so not a bit may differ.
            prop_assert_eq!(difference.abs().to_bits(), 0);
        }

        #[test]
        fn flipping_labels_or_scores_mirrors_it((scores, labels) in rows()) {
            let value = auroc(&scores, &labels).unwrap();
            let flipped: Vec<bool> = labels.iter().map(|l| !l).collect();
            let negated: Vec<f64> = scores.iter().map(|s| -s).collect();
            prop_assert!((auroc(&scores, &flipped).unwrap() + value - 1.0).abs() < 1e-12);
            prop_assert!((auroc(&negated, &labels).unwrap() + value - 1.0).abs() < 1e-12);
        }

        #[test]
        fn a_weight_counts_like_a_repeated_row((scores, labels) in rows()) {
            let weight = |row: usize| (row % 3) as u64;
            let (mut repeated_scores, mut repeated_labels) = (Vec::new(), Vec::new());
            for row in 0..scores.len() {
                for _ in 0..weight(row) {
                    repeated_scores.push(scores[row]);
                    repeated_labels.push(labels[row]);
                }
            }
            let weighted = SortedScores::new(&scores, &labels).auroc(weight);
            prop_assert_eq!(weighted, auroc(&repeated_scores, &repeated_labels).ok());
        }
    }
}

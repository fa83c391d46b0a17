//! Points of the ROC curve.

use super::check_scores;
use crate::error::{Result, check_two_classes};

/// Corners `(false-alarm rate, recall)` of the ROC curve from (0, 0) to (1, 1), ascending.
///
/// `scores` and `labels` are `[row]`. Points on the straight line between their neighbours are left out,
/// so the area under the polygon is the AUROC.
///
/// # Errors
/// As [`auroc`](super::auroc()).
pub fn roc(scores: &[f64], labels: &[bool]) -> Result<Vec<[f64; 2]>> {
    check_scores(scores, labels)?;
    check_two_classes(labels)?;
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));

    // Counts (false alarms, hits) as the threshold falls past each distinct score.
    let mut corners: Vec<[i128; 2]> = vec![[0, 0]];
    let mut counts = [0i128, 0];
    #[expect(clippy::float_cmp, reason = "a tie is equality")]
    for run in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        for &row in run {
            counts[usize::from(labels[row])] += 1;
        }
        if let [.., before, last] = corners[..] {
            let along = [last[0] - before[0], last[1] - before[1]];
            let next = [counts[0] - last[0], counts[1] - last[1]];
            if along[0] * next[1] == along[1] * next[0] {
                corners.pop();
            }
        }
        corners.push(counts);
    }
    Ok(corners
        .into_iter()
        .map(|[false_alarms, hits]| {
            [
                false_alarms as f64 / counts[0] as f64,
                hits as f64 / counts[1] as f64,
            ]
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::auroc;

    #[test]
    fn corners_by_hand() {
        let scores = [0.9, 0.8, 0.7, 0.6, 0.5];
        let labels = [true, true, false, true, false];
        let third = 2.0 / 3.0;
        assert_eq!(
            roc(&scores, &labels).unwrap(),
            [
                [0.0, 0.0],
                [0.0, third],
                [0.5, third],
                [0.5, 1.0],
                [1.0, 1.0]
            ]
        );
        assert_eq!(
            roc(&[1.0, 1.0], &[true, false]).unwrap(),
            [[0.0, 0.0], [1.0, 1.0]]
        );
    }

    proptest! {
        #[test]
        fn area_is_the_auroc(rows in prop::collection::vec((-9i32..9, any::<bool>()), 0..80)) {
            let mut rows = rows;
            rows.extend([(0, true), (1, false)]);
            let (scores, labels): (Vec<f64>, Vec<bool>) =
                rows.into_iter().map(|(s, l)| (f64::from(s), l)).unzip();
            let points = roc(&scores, &labels).unwrap();
            prop_assert_eq!(points.first(), Some(&[0.0, 0.0]));
            prop_assert_eq!(points.last(), Some(&[1.0, 1.0]));
            prop_assert!(points.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1]));
            let area: f64 = points
                .windows(2)
                .map(|p| (p[1][0] - p[0][0]) * f64::midpoint(p[0][1], p[1][1]))
                .sum();
            prop_assert!((area - auroc(&scores, &labels).unwrap()).abs() < 1e-9);
        }
    }
}

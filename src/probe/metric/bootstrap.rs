//! Confidence intervals by resampling scenarios.
//!
//! Rows of one scenario are not independent, so whole scenarios are drawn with replacement (the cluster
//! bootstrap of Field & Welsh 2007). Two detectors are compared on the same resamples.

use std::collections::BTreeSet;

use candor_schema::Interval;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::auroc::SortedScores;
use super::check_scores;
use crate::error::{Result, check_length, check_rate, check_two_classes};
use crate::quantiles::quantile;

/// Settings of a bootstrap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bootstrap {
    /// How many resamples; 1,000 by default.
    pub resamples: usize,
    /// Coverage of the interval; 0.95 by default.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Bootstrap {
    /// 1,000 resamples, coverage 0.95.
    pub fn seeded(seed: u64) -> Self {
        Self {
            resamples: 1_000,
            level: 0.95,
            seed,
        }
    }
}

/// AUROC with a percentile interval over scenarios.
///
/// `scores`, `labels` and `scenarios` are `[row]`. A resample in which one class is missing is drawn
/// again. With a single scenario nothing is known about others, and the interval is `[0, 1]`.
///
/// # Errors
/// As [`auroc`](super::auroc()); [`Error::Setting`](crate::Error::Setting) for a level outside `(0, 1)` or no resamples.
pub fn auroc_interval(
    scores: &[f64],
    labels: &[bool],
    scenarios: &[&str],
    bootstrap: &Bootstrap,
) -> Result<Interval> {
    let sorted = prepare(scores, labels, scenarios)?;
    interval(scenarios, bootstrap, [0.0, 1.0], |weight| {
        sorted.auroc(weight)
    })
}

/// AUROC of `a` minus AUROC of `b` on the same rows, with a percentile interval over the same resamples
/// of scenarios for both.
///
/// `a`, `b`, `labels` and `scenarios` are `[row]`. With a single scenario the interval is `[-1, 1]`.
///
/// # Errors
/// As [`auroc_interval`].
pub fn auroc_difference_interval(
    a: &[f64],
    b: &[f64],
    labels: &[bool],
    scenarios: &[&str],
    bootstrap: &Bootstrap,
) -> Result<Interval> {
    let a = prepare(a, labels, scenarios)?;
    let b = prepare(b, labels, scenarios)?;
    interval(scenarios, bootstrap, [-1.0, 1.0], |weight| {
        Some(a.auroc(weight)? - b.auroc(weight)?)
    })
}

/// A metric of probabilities that is a mean over rows, such as [`brier`](super::brier()), with a
/// percentile interval over scenarios; `[0, 1]` with a single scenario. Not for
/// [`ece`](super::ece()), which rises with every row that is drawn twice:
/// [`ece_if_right`](super::ece_if_right()) says what chance does to it.
///
/// `probabilities`, `labels` and `scenarios` are `[row]`.
///
/// # Errors
/// What the metric refuses; otherwise as [`auroc_interval`].
pub fn probability_metric_interval(
    metric: fn(&[f64], &[bool]) -> Result<f64>,
    probabilities: &[f64],
    labels: &[bool],
    scenarios: &[&str],
    bootstrap: &Bootstrap,
) -> Result<Interval> {
    metric(probabilities, labels)?;
    check_length("scenarios", probabilities.len(), scenarios.len())?;
    interval(scenarios, bootstrap, [0.0, 1.0], |weight| {
        // Rows as often as their scenario was drawn.
        let rows = (0..labels.len()).flat_map(|row| (0..weight(row)).map(move |_| row));
        let (drawn, of_drawn): (Vec<f64>, Vec<bool>) =
            rows.map(|row| (probabilities[row], labels[row])).unzip();
        metric(&drawn, &of_drawn).ok()
    })
}

fn prepare(scores: &[f64], labels: &[bool], scenarios: &[&str]) -> Result<SortedScores> {
    check_scores(scores, labels)?;
    check_length("scenarios", scores.len(), scenarios.len())?;
    check_two_classes(labels)?;
    Ok(SortedScores::new(scores, labels))
}

/// The percentile interval of `statistic`, which maps row weights to a value.
pub(super) fn interval(
    scenarios: &[&str],
    bootstrap: &Bootstrap,
    [lowest, highest]: [f64; 2],
    statistic: impl Fn(&dyn Fn(usize) -> u64) -> Option<f64>,
) -> Result<Interval> {
    check_rate("level", bootstrap.level)?;
    if bootstrap.resamples == 0 {
        return Err(crate::Error::Setting {
            name: "resamples",
            value: 0.0,
            expected: "at least 1",
        });
    }
    let value = statistic(&|_| 1).expect("defined over all rows, as the caller checked");
    let level = bootstrap.level;
    // Sorted, so that the draws do not depend on the order of rows.
    let names: Vec<&str> = scenarios
        .iter()
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if names.len() == 1 {
        return Ok(Interval {
            value,
            low: lowest,
            high: highest,
            level,
        });
    }
    let scenario_of: Vec<usize> = scenarios
        .iter()
        .map(|name| names.binary_search(name).expect("every name is in the set"))
        .collect();

    let mut rng = ChaCha8Rng::seed_from_u64(bootstrap.seed);
    let mut values = Vec::with_capacity(bootstrap.resamples);
    let mut times_drawn = vec![0u64; names.len()];
    // Ends: a draw has both classes with a probability of at least one half if there are two scenarios,
    // and of at least 1 − 2/e otherwise.
    while values.len() < bootstrap.resamples {
        times_drawn.fill(0);
        for _ in 0..names.len() {
            times_drawn[rng.random_range(0..names.len() as u64) as usize] += 1;
        }
        values.extend(statistic(&|row| times_drawn[scenario_of[row]]));
    }
    values.sort_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Ok(Interval {
        value,
        low: quantile(&values, tail),
        high: quantile(&values, 1.0 - tail),
        level,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::metric::auroc;

    /// Two rows per scenario, one of each class, with a shift between classes and one per scenario.
    fn rows(n_scenarios: usize, shift: f64, seed: u64) -> (Vec<f64>, Vec<bool>, Vec<String>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut scores, mut labels, mut scenarios) = (Vec::new(), Vec::new(), Vec::new());
        for scenario in 0..n_scenarios {
            let common: f64 = rng.random_range(-1.0..1.0);
            for deceptive in [false, true] {
                let own: f64 = rng.random_range(-1.0..1.0);
                scores.push(common + own + if deceptive { shift } else { 0.0 });
                labels.push(deceptive);
                scenarios.push(format!("s{scenario}"));
            }
        }
        (scores, labels, scenarios)
    }

    fn names(scenarios: &[String]) -> Vec<&str> {
        scenarios.iter().map(String::as_str).collect()
    }

    #[test]
    fn seeded_and_independent_of_row_order() {
        let (mut scores, mut labels, mut scenarios) = rows(40, 0.8, 1);
        let run = |scores: &[f64], labels: &[bool], scenarios: &[String], seed| {
            let bootstrap = Bootstrap::seeded(seed);
            auroc_interval(scores, labels, &names(scenarios), &bootstrap).unwrap()
        };
        let first = run(&scores, &labels, &scenarios, 7);
        assert_eq!(first, run(&scores, &labels, &scenarios, 7));
        assert_ne!(first, run(&scores, &labels, &scenarios, 8));
        assert!(first.low < first.value && first.value < first.high);
        assert!((first.value - auroc(&scores, &labels).unwrap()).abs() < 1e-12);
        scores.reverse();
        labels.reverse();
        scenarios.reverse();
        assert_eq!(first, run(&scores, &labels, &scenarios, 7));
    }

    #[test]
    fn covers_the_truth_about_as_often_as_it_says() {
        // Shift 0: the true AUROC is one half. 200 data sets of 40 scenarios each.
        let covered = (0..200)
            .filter(|&seed| {
                let (scores, labels, scenarios) = rows(40, 0.0, seed);
                let bootstrap = Bootstrap {
                    resamples: 300,
                    ..Bootstrap::seeded(seed)
                };
                let found =
                    auroc_interval(&scores, &labels, &names(&scenarios), &bootstrap).unwrap();
                (found.low..=found.high).contains(&0.5)
            })
            .count();
        assert!((176..=200).contains(&covered), "{covered}");
    }

    #[test]
    fn copying_rows_inside_scenarios_adds_no_certainty() {
        let (scores, labels, scenarios) = rows(30, 0.8, 3);
        let bootstrap = Bootstrap::seeded(0);
        let once = auroc_interval(&scores, &labels, &names(&scenarios), &bootstrap).unwrap();
        let copied = auroc_interval(
            &scores.repeat(5),
            &labels.repeat(5),
            &names(&scenarios).repeat(5),
            &bootstrap,
        )
        .unwrap();
        assert_eq!(once, copied);
    }

    #[test]
    fn a_metric_of_probabilities_has_its_value_inside_its_interval() {
        let (scores, labels, scenarios) = rows(40, 0.8, 5);
        let probabilities: Vec<f64> = scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
        let of = |scenarios: &[&str]| {
            let bootstrap = Bootstrap::seeded(0);
            let brier = crate::metric::brier;
            probability_metric_interval(brier, &probabilities, &labels, scenarios, &bootstrap)
        };
        let found = of(&names(&scenarios)).unwrap();
        let value = crate::metric::brier(&probabilities, &labels).unwrap();
        assert!((found.value - value).abs() < 1e-12);
        assert!(found.low < value && value < found.high && found.high - found.low < 0.2);
        assert!(matches!(of(&["a"]), Err(Error::Length { .. })));
    }

    #[test]
    fn pairing_makes_the_difference_sharper() {
        let (a, labels, scenarios) = rows(40, 0.8, 4);
        // Almost the same detector.
        let b: Vec<f64> = (0u8..3)
            .cycle()
            .zip(&a)
            .map(|(i, a)| a + f64::from(i) / 20.0)
            .collect();
        let names = names(&scenarios);
        let bootstrap = Bootstrap::seeded(0);
        let alone = auroc_interval(&a, &labels, &names, &bootstrap).unwrap();
        let difference = auroc_difference_interval(&a, &b, &labels, &names, &bootstrap).unwrap();
        assert!(difference.high - difference.low < (alone.high - alone.low) / 3.0);
        let same = auroc_difference_interval(&a, &a, &labels, &names, &bootstrap).unwrap();
        assert!(same.value.abs() + same.low.abs() + same.high.abs() < 1e-12);
    }

    #[test]
    fn resamples_with_one_class_are_drawn_again() {
        // A quarter of all draws misses each class.
        let found = auroc_interval(
            &[1.0, 0.0],
            &[true, false],
            &["a", "b"],
            &Bootstrap::seeded(0),
        )
        .unwrap();
        assert!((found.low - 1.0).abs() < 1e-12 && (found.high - 1.0).abs() < 1e-12);
    }

    #[test]
    fn one_scenario_says_nothing_about_others() {
        let found = auroc_interval(
            &[1.0, 0.0],
            &[true, false],
            &["a", "a"],
            &Bootstrap::seeded(0),
        )
        .unwrap();
        assert_eq!((found.value, found.low, found.high), (1.0, 0.0, 1.0));
    }

    #[test]
    fn refuses_what_has_no_interval() {
        let check = |labels: &[bool], scenarios: &[&str], bootstrap: &Bootstrap| {
            auroc_interval(&[1.0, 2.0], labels, scenarios, bootstrap).unwrap_err()
        };
        let seeded = Bootstrap::seeded(0);
        assert!(matches!(
            check(&[true, true], &["a", "b"], &seeded),
            Error::OneClass { .. }
        ));
        assert!(matches!(
            check(&[true, false], &["a"], &seeded),
            Error::Length { .. }
        ));
        let level = Bootstrap {
            level: 1.0,
            ..seeded
        };
        assert!(matches!(
            check(&[true, false], &["a", "b"], &level),
            Error::Setting { name: "level", .. }
        ));
        let none = Bootstrap {
            resamples: 0,
            ..seeded
        };
        assert!(matches!(
            check(&[true, false], &["a", "b"], &none),
            Error::Setting {
                name: "resamples",
                ..
            }
        ));
    }
}

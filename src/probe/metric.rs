//! Metrics of detectors, in f64. The positive class is deceptive (`true`).

mod auroc;
mod bootstrap;
mod brier;
mod ece;
mod proportion;
mod reliability;
mod roc;
mod same_prompt;

pub use auroc::auroc;
pub use bootstrap::{
    Bootstrap, auroc_difference_interval, auroc_interval, probability_metric_interval,
};
pub use brier::brier;
pub use ece::{ece, ece_if_right};
pub use proportion::proportion;
pub use reliability::{Bin, reliability};
pub use roc::roc;
pub use same_prompt::same_prompt_interval;

use crate::error::{Error, Result, check_finite_f64, check_length};

/// Every metric that is one number, in the order reports show them.
pub const METRICS: &[Metric] = &[auroc::METRIC, brier::METRIC, ece::METRIC];

/// What a metric reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricInput {
    /// Any scores of which higher ones mean "more deceptive".
    Logits,
    /// Calibrated probabilities in `[0, 1]`.
    Probabilities,
}

/// A metric that is one number.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Name in files, for example `auroc`.
    pub name: &'static str,
    /// One sentence for reports.
    pub describe: &'static str,
    /// What it reads.
    pub input: MetricInput,
    /// Computes it from scores and labels, `[row]` each.
    pub compute: fn(&[f64], &[bool]) -> Result<f64>,
}

/// Checks scores and labels of any metric.
fn check_scores(scores: &[f64], labels: &[bool]) -> Result<()> {
    check_length("labels", scores.len(), labels.len())?;
    if scores.is_empty() {
        return Err(Error::Empty { what: "scores" });
    }
    check_finite_f64("scores", scores)
}

/// Checks probabilities and labels.
fn check_probabilities(probabilities: &[f64], labels: &[bool]) -> Result<()> {
    check_scores(probabilities, labels)?;
    match probabilities.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        Some(&value) => Err(Error::Setting {
            name: "probability",
            value,
            expected: "between 0 and 1",
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_refuses_what_it_cannot_measure() {
        for metric in METRICS {
            let compute = metric.compute;
            assert!(
                compute(&[0.1, 0.9], &[false, true]).is_ok(),
                "{}",
                metric.name
            );
            assert!(matches!(compute(&[], &[]), Err(Error::Empty { .. })));
            assert!(matches!(compute(&[0.5], &[]), Err(Error::Length { .. })));
            assert!(matches!(
                compute(&[0.5, f64::NAN], &[true, false]),
                Err(Error::NonFinite { index: 1, .. })
            ));
            if metric.input == MetricInput::Probabilities {
                assert!(matches!(
                    compute(&[0.5, 1.5], &[true, false]),
                    Err(Error::Setting { .. })
                ));
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for metric in METRICS {
            let same = METRICS.iter().filter(|other| other.name == metric.name);
            assert_eq!(same.count(), 1);
        }
    }
}

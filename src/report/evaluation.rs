//! Reads `eval.json`, and answers what the page asks of it.

use candor_schema::{
    DetectorKind, DetectorRow, Evaluation, FormatVersion, OperatingPoint, ScoredDialogue, Split,
    SplitCounts,
};
use serde_json::Value;

use crate::Error;

/// The budget of false alarms that tables and plots show.
pub(crate) const HEADLINE_BUDGET: f64 = 0.05;

/// Reads an evaluation. Unknown fields are ignored.
///
/// # Errors
/// [`Error::Json`] if the text is not an evaluation; [`Error::Format`] if its major version is
/// newer than this candor.
pub fn parse(json: &str) -> Result<Evaluation, Error> {
    let failed = |source| Error::Json { source };
    // The version is read first: a newer format may have changed everything else.
    let value: Value = serde_json::from_str(json).map_err(failed)?;
    if let Some(version) = value.get("format_version").and_then(Value::as_str) {
        version.parse::<FormatVersion>()?.accept("evaluation")?;
    }
    serde_json::from_str(json).map_err(failed)
}

/// The row of the probe itself.
pub(crate) fn probe_row(evaluation: &Evaluation) -> Option<&DetectorRow> {
    evaluation
        .detectors
        .iter()
        .find(|detector| detector.kind == DetectorKind::Probe)
}

/// The detectors that the probe is compared with.
pub(crate) fn baselines(evaluation: &Evaluation) -> impl Iterator<Item = &DetectorRow> {
    evaluation
        .detectors
        .iter()
        .filter(|detector| !detector.kind.is_own())
}

/// The baseline with the highest AUROC among those that read something.
pub(crate) fn best_baseline(evaluation: &Evaluation) -> Option<&DetectorRow> {
    baselines(evaluation)
        .filter(|row| row.kind != DetectorKind::Null && row.auroc.value.is_finite())
        .max_by(|a, b| a.auroc.value.total_cmp(&b.auroc.value))
}

/// The operating point of the headline budget.
pub(crate) fn headline(detector: &DetectorRow) -> Option<&OperatingPoint> {
    detector
        .operating_points
        .iter()
        .find(|point| (point.fpr_budget - HEADLINE_BUDGET).abs() < 1e-9)
}

/// The probe's threshold at the headline budget.
pub(crate) fn threshold(evaluation: &Evaluation) -> Option<f64> {
    headline(probe_row(evaluation)?)?.threshold
}

/// The scores of the evaluated split.
pub(crate) fn split_scores(evaluation: &Evaluation) -> impl Iterator<Item = &ScoredDialogue> {
    evaluation
        .scores
        .iter()
        .filter(|score| score.split == evaluation.split && score.logit.is_finite())
}

/// The count of one split.
pub(crate) fn count(counts: SplitCounts, split: Split) -> usize {
    match split {
        Split::Train => counts.train,
        Split::Validation => counts.validation,
        Split::Calibration => counts.calibration,
        Split::Test => counts.test,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Made by `tests/fixtures/report/make_fixture.py`.
    pub(crate) const EXAMPLE: &str = include_str!("../../tests/fixtures/report/evaluation.json");

    pub(crate) fn example() -> Evaluation {
        parse(EXAMPLE).unwrap()
    }

    #[test]
    fn the_headline_is_the_probes_five_percent_point() {
        let evaluation = example();
        let probe = probe_row(&evaluation).unwrap();
        assert_eq!(probe.name, evaluation.detectors[0].name);
        assert_eq!(
            baselines(&evaluation).count(),
            evaluation.detectors.len() - 1
        );
        assert_eq!(threshold(&evaluation), headline(probe).unwrap().threshold);
    }

    #[test]
    fn what_is_no_evaluation_is_refused() {
        for text in ["", "{}", "[]", "{\"format_version\": \"1\"}"] {
            let error = parse(text).unwrap_err();
            assert!(!error.to_string().is_empty() && !error.hint().is_empty());
        }
    }
}

//! Looks for what would make a measurement on a data set worthless.

mod copy;
mod key;
mod leak;
mod near_duplicate;
mod origin;
mod pair;
mod span;
mod span_echo;
mod suspect_label;
mod turns;
mod wording;

#[cfg(test)]
pub(crate) mod example;

use candor_schema::Dialogue;
use serde::Serialize;

use crate::Dataset;

/// Adds what one check finds.
type Run = fn(&[Dialogue], &mut Findings);

/// Every check, in the order in which problems are listed.
const CHECKS: &[(&str, Run)] = &[
    ("turns", turns::check),
    ("span", span::check),
    ("key", key::check),
    ("origin", origin::check),
    ("pair", pair::check),
    ("leak", leak::check),
    ("near_duplicate", near_duplicate::check),
];

/// What [`audit`] looks for besides: how the data were written, rather than whether they hold
/// together.
const AUDITS: &[(&str, Run)] = &[
    ("wording", wording::check),
    ("copy", copy::check),
    ("span_echo", span_echo::check),
    ("suspect_label", suspect_label::check),
];

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Measurements on this data set would be wrong.
    Error,
    /// Worth a look.
    Warning,
}

/// Something wrong with a dialogue, or between dialogues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The check that found it, for example `leak`.
    pub check: &'static str,
    /// Id of the dialogue, or of the first of those concerned.
    pub dialogue: String,
    /// What was found and what was expected.
    pub what: String,
    /// What to do about it.
    pub hint: &'static str,
}

/// Finds every problem of a data set, check by check.
///
/// No problem means that the data set keeps its own promises; it does not mean that its labels
/// are right.
pub fn check(dataset: &Dataset) -> Vec<Problem> {
    run(CHECKS, dataset)
}

/// Finds signs that a data set was made from few patterns, that its spans repeat the prompt, or
/// that labels are wrong. Slower than [`check`], and apart from it.
pub fn audit(dataset: &Dataset) -> Vec<Problem> {
    run(AUDITS, dataset)
}

fn run(checks: &[(&'static str, Run)], dataset: &Dataset) -> Vec<Problem> {
    let mut findings = Findings::default();
    for (name, run) in checks {
        findings.check = name;
        run(&dataset.dialogues, &mut findings);
    }
    findings.problems
}

/// The names of all checks, audits last, in the order in which they run.
pub fn check_names() -> Vec<&'static str> {
    let checks = CHECKS.iter().chain(AUDITS);
    checks.map(|(name, _)| *name).collect()
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings {
    check: &'static str,
    problems: Vec<Problem>,
}

impl Findings {
    fn error(&mut self, dialogue: &Dialogue, what: String, hint: &'static str) {
        self.push(Severity::Error, dialogue, what, hint);
    }

    fn warning(&mut self, dialogue: &Dialogue, what: String, hint: &'static str) {
        self.push(Severity::Warning, dialogue, what, hint);
    }

    fn push(&mut self, severity: Severity, dialogue: &Dialogue, what: String, hint: &'static str) {
        self.problems.push(Problem {
            severity,
            check: self.check,
            dialogue: dialogue.id.clone(),
            what,
            hint,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::example::{dialogue, expect, pair};
    use super::*;

    #[test]
    fn good_dialogues_have_no_problem() {
        let mut dialogues = pair("s1");
        dialogues.push(dialogue("single"));
        expect(&dialogues, &[]);
    }

    #[test]
    fn every_check_has_its_own_name() {
        let mut names = check_names();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len() + AUDITS.len());
    }
}

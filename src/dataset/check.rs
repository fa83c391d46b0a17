//! Looks for what would make a measurement on a data set worthless.

mod balance;
mod contradiction;
mod copy;
mod instruction;
mod key;
pub(crate) mod leak;
mod near_duplicate;
mod origin;
mod pair;
mod span;
mod span_echo;
mod suspect_label;
mod telltale;
mod turns;
mod twin;
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
    ("contradiction", contradiction::check),
    ("twin", twin::check),
    ("telltale", telltale::check),
    ("instruction", instruction::check),
    ("balance", balance::check),
];

/// The checks whose problems say that one dialogue's label may be wrong, or that it says nothing.
const SUSPECTS: &[&str] = &["turns", "key", "suspect_label", "contradiction", "twin"];

/// The checks that say what a probe could learn from a data set besides what its labels mean.
const BIASES: &[&str] = &["telltale", "instruction", "balance"];

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
    run(CHECKS, &dataset.dialogues)
}

/// Finds signs that a data set was made from few patterns, that its spans repeat the prompt, or
/// that labels are wrong. Slower than [`check`], and apart from it.
pub fn audit(dataset: &Dataset) -> Vec<Problem> {
    run(AUDITS, &dataset.dialogues)
}

/// The label audit of an import, dialogue by dialogue: each problem is a reason to read the
/// dialogue that it names before its label is believed.
pub fn suspects(dialogues: &[Dialogue]) -> Vec<Problem> {
    run(&named(SUSPECTS), dialogues)
}

/// The label audit of an import as a whole: words and prompts that tell the label, and labels that
/// are rare.
pub fn biases(dialogues: &[Dialogue]) -> Vec<Problem> {
    run(&named(BIASES), dialogues)
}

fn named(names: &[&str]) -> Vec<(&'static str, Run)> {
    let checks = CHECKS.iter().chain(AUDITS).copied();
    checks.filter(|(name, _)| names.contains(name)).collect()
}

fn run(checks: &[(&'static str, Run)], dialogues: &[Dialogue]) -> Vec<Problem> {
    let mut findings = Findings::default();
    for (name, run) in checks {
        findings.check = name;
        run(dialogues, &mut findings);
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
        assert_eq!(named(SUSPECTS).len(), SUSPECTS.len());
        assert_eq!(named(BIASES).len(), BIASES.len());
    }
}

//! The probe on replies that look like deception and deceive nobody.

use std::collections::{BTreeMap, BTreeSet};

use candor_activations::Store;
use candor_probe::Probe;
use candor_probe::evaluate::CONFIDENCE;
use candor_probe::metric::proportion;
use candor_schema::{BudgetAlarms, DetectorRow, HardNegativeRow, Label, Split};

use crate::exit::{Exit, Failure};
use crate::replies::{self, Reply};

/// False alarms of each class at the probe's certified thresholds.
pub(super) fn rows(
    probe: &Probe,
    row: &DetectorRow,
    store: &Store,
    split: Split,
) -> anyhow::Result<Vec<HardNegativeRow>> {
    let replies = replies::load(store, probe.hook_points())?;
    let mut classes: BTreeMap<String, (Label, Vec<&Reply>)> = BTreeMap::new();
    for reply in &replies {
        let label = reply.dialogue.label;
        let is_negative = !matches!(
            label,
            Label::Honest | Label::Deceptive | Label::Control | Label::Ungraded
        );
        if is_negative && reply.dialogue.split == split {
            let class = classes.entry(label.to_string());
            class.or_insert_with(|| (label, Vec::new())).1.push(reply);
        }
    }
    if classes.is_empty() {
        return Err(Failure::error(
            Exit::BadInput,
            format!("the store of hard negatives has none in the {split} split"),
            "give a store of replies labelled `mistaken`, `fiction`, `sarcasm` …; those in datasets/hard-negatives are all `test`",
        ));
    }
    let mut rows = Vec::new();
    for (label, replies) in classes.into_values() {
        let mut logits = Vec::new();
        for reply in &replies {
            logits.push(reply.score(probe)?.logit.as_f64());
        }
        let mut alarms = Vec::new();
        for point in &row.operating_points {
            let Some(threshold) = point.threshold else {
                continue;
            };
            let n_flagged = logits.iter().filter(|&&logit| logit >= threshold).count();
            alarms.push(BudgetAlarms {
                fpr_budget: point.fpr_budget,
                alarms: proportion(n_flagged as u64, logits.len() as u64, CONFIDENCE)?,
            });
        }
        let scenarios = replies.iter().map(|reply| &reply.dialogue.scenario);
        rows.push(HardNegativeRow {
            label,
            n_scenarios: scenarios.collect::<BTreeSet<_>>().len(),
            alarms,
        });
    }
    Ok(rows)
}

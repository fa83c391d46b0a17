//! The probe's recipe on the activations of another model: what any reader of the same text can find.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use candor_activations::Store;
use candor_probe::Bundle;
use candor_schema::{DetectorKind, Dialogue, ProbeMatch};

use super::{Data, Measured};
use crate::exit::{Exit, Failure};
use crate::replies;
use crate::train::{self, Recipe};

/// Name of a bundle that is never written.
const UNNAMED: &str = "other-model";

/// A row for each other model.
pub(super) fn rows(data: &Data<'_>, bundle: &Bundle) -> anyhow::Result<Vec<Measured>> {
    let stores = data.beside.other_models.iter();
    for store in stores.clone() {
        check(data.labelled, store, bundle)?;
    }
    stores.map(|store| row(data, store, bundle)).collect()
}

fn row(data: &Data<'_>, store: &Store, bundle: &Bundle) -> anyhow::Result<Measured> {
    let model = &store.manifest().model_name;
    let recipe = Recipe::of(bundle.config());
    // The same sweep over layers, so that the other model is given the same chance.
    let other = train::train(store, None, UNNAMED, &recipe, "")
        .with_context(|| format!("the recipe on `{model}`"))?;
    let probe = other.probe();
    let replies = replies::load(store, probe.hook_points())?;
    let mut logits: HashMap<&str, f64> = HashMap::new();
    for reply in replies::labelled(&replies, data.name) {
        logits.insert(&reply.dialogue.id, reply.score(probe)?.logit.as_f64());
    }
    let logits = data.split.iter().map(|reply| {
        let logit = logits.get(reply.dialogue.id.as_str()).copied();
        logit.with_context(|| format!("`{}` is not in the other store", reply.dialogue.id))
    });
    let logits = logits.collect::<anyhow::Result<Vec<f64>>>()?;
    data.measured(
        &format!("same recipe on {model}"),
        DetectorKind::OtherModel,
        &format!(
            "the probe's recipe on the activations of {model} reading the same replies, at `{}`, the best of its {} layers on validation",
            probe.hook_points()[0],
            store.manifest().hook_points.len()
        ),
        &logits,
        &[],
        &[],
    )
}

/// Both stores hold the same dialogues, of different models.
fn check(labelled: &Store, other: &Store, bundle: &Bundle) -> anyhow::Result<()> {
    let manifest = other.manifest();
    let fingerprint = &bundle.config().fingerprint;
    if fingerprint.compare(&manifest.model) == ProbeMatch::Exact {
        return Err(Failure::error(
            Exit::BadInput,
            format!(
                "`--other-model` is of the probe's own model, `{}`",
                manifest.model_name
            ),
            "capture the same dialogues with another model",
        ));
    }
    let by_id = |store: &Store| -> anyhow::Result<BTreeMap<String, Dialogue>> {
        let dialogues = store.dialogues()?.into_iter();
        Ok(dialogues
            .map(|dialogue| (dialogue.id.clone(), dialogue))
            .collect())
    };
    let (ours, theirs) = (by_id(labelled)?, by_id(other)?);
    let refuse = |what: String| {
        let message = format!(
            "the store of `{}` holds other dialogues: {what}",
            manifest.model_name
        );
        let hint = "capture the same file with both models";
        Err(Failure::error(Exit::BadInput, message, hint))
    };
    for (from, to, whose) in [
        (&ours, &theirs, "it lacks"),
        (&theirs, &ours, "it has, and `--store` lacks,"),
    ] {
        let missing: Vec<&String> = from.keys().filter(|id| !to.contains_key(*id)).collect();
        if let Some(first) = missing.first() {
            return refuse(format!(
                "{whose} {} of {}, among them `{first}`",
                missing.len(),
                from.len()
            ));
        }
    }
    let differs = |(a, b): &(&Dialogue, &Dialogue)| {
        (&a.messages, a.label, a.split, &a.scenario) != (&b.messages, b.label, b.split, &b.scenario)
    };
    let mut both = ours.values().zip(theirs.values());
    match both.find(differs) {
        None => Ok(()),
        Some((first, _)) => refuse(format!(
            "`{}` has other messages, or another label, split or scenario",
            first.id
        )),
    }
}

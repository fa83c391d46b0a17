//! The probe's recipe on families that it has not seen.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use candor_activations::Store;
use candor_probe::metric::{Bootstrap, auroc, auroc_interval};
use candor_probe::{Bundle, Combiner, Probe, pooling};
use candor_schema::{DetectorKind, DetectorRow, HookPoint, Split};

use crate::progress;
use crate::replies::{self, Reply};
use crate::train::{Recipe, fit, score_all};

/// What a fit without one family gives that family.
struct Fold {
    /// Of its layer, on the validation scenarios of the other families.
    validation_auroc: f64,
    scored: Vec<Scored>,
}

struct Scored {
    scenario: String,
    deceptive: bool,
    /// In standard deviations of the fit's own training scores, so that folds can be pooled.
    score: f64,
}

/// Fits the recipe once for each family without it, the layer chosen anew on the other families'
/// validation scenarios, and scores that family, where the split has both labels of it; none where
/// there are fewer than three such families or a fold lacks a class.
///
/// A threshold would be another one in each fold, so there is none.
pub(super) fn row(
    bundle: &Bundle,
    store: &Store,
    split: Split,
) -> anyhow::Result<Option<DetectorRow>> {
    let recipe = Recipe::of(bundle.config());
    let manifest = store.manifest();
    let bar = progress::bar(manifest.hook_points.len() as u64, "layers");
    bar.set_message("held-out families");
    let mut best: BTreeMap<String, Fold> = BTreeMap::new();
    let mut left_out: BTreeSet<String> = BTreeSet::new();
    // A recipe that fixes the layer has it in every fold.
    let fixed = recipe.depth.map(|_| bundle.config().hook_points[0]);
    let columns = manifest.hook_points.iter();
    for column in columns.filter(|column| fixed.is_none_or(|point| point == column.hook_point)) {
        let replies = replies::load(store, &[column.hook_point])?;
        let train = replies::labelled(&replies, Split::Train);
        let families: BTreeSet<&str> = train.iter().map(|r| r.dialogue.family.as_str()).collect();
        if families.len() < 3 {
            return Ok(None);
        }
        for family in families {
            let others = |split| -> Vec<&Reply> {
                let replies = replies::labelled(&replies, split).into_iter();
                replies.filter(|r| r.dialogue.family != family).collect()
            };
            let (train, validation) = (others(Split::Train), others(Split::Validation));
            let tested: Vec<&Reply> = replies::labelled(&replies, split)
                .into_iter()
                .filter(|r| r.dialogue.family == family)
                .collect();
            if [&train, &validation].iter().any(|r| one_class(r)) {
                return Ok(None);
            }
            if one_class(&tested) {
                left_out.insert(family.to_owned());
                continue;
            }
            let fold = fold(
                &train,
                &validation,
                &tested,
                column.hook_point,
                column.width,
                &recipe,
            )
            .with_context(|| format!("without `{family}` at `{}`", column.hook_point))?;
            let known = best.get(family);
            if known.is_none_or(|known| fold.validation_auroc > known.validation_auroc) {
                best.insert(family.to_owned(), fold);
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if best.len() < 3 {
        return Ok(None);
    }
    let scored: Vec<&Scored> = best.values().flat_map(|fold| &fold.scored).collect();
    let scores: Vec<f64> = scored.iter().map(|scored| scored.score).collect();
    let labels: Vec<bool> = scored.iter().map(|scored| scored.deceptive).collect();
    let scenarios: Vec<&str> = scored.iter().map(|s| s.scenario.as_str()).collect();
    let bootstrap = Bootstrap::seeded(recipe.seed);
    Ok(Some(DetectorRow {
        name: "held-out families".into(),
        kind: DetectorKind::HeldOut,
        description: format!(
            "the probe's recipe, fitted {} times without one family and scored on that family; the layer chosen each time on the other families{}",
            best.len(),
            if left_out.is_empty() {
                String::new()
            } else {
                let names: Vec<&str> = left_out.iter().map(String::as_str).collect();
                format!(
                    "; left out, with one label only in this split: {}",
                    names.join(", ")
                )
            }
        ),
        auroc: auroc_interval(&scores, &labels, &scenarios, &bootstrap)?,
        probe_minus_this: None,
        same_prompt: None,
        operating_points: Vec::new(),
        roc: Vec::new(),
    }))
}

fn one_class(replies: &[&Reply]) -> bool {
    let n = |label| {
        replies
            .iter()
            .filter(|r| r.deceptive() == Some(label))
            .count()
    };
    n(true) == 0 || n(false) == 0
}

fn fold(
    train: &[&Reply],
    validation: &[&Reply],
    tested: &[&Reply],
    point: HookPoint,
    width: usize,
    recipe: &Recipe,
) -> anyhow::Result<Fold> {
    let reading = fit(train, point, width, recipe)?;
    let probe = Probe::new(vec![reading], pooling(&recipe.pooling)?, Combiner::Single)?;
    let logits = |replies: &[&Reply]| -> anyhow::Result<Vec<f64>> {
        Ok(score_all(replies, &probe)?
            .into_iter()
            .map(|scored| scored.logit)
            .collect())
    };
    let labels: Vec<bool> = validation
        .iter()
        .map(|r| r.deceptive() == Some(true))
        .collect();
    let own = logits(train)?;
    let mean = own.iter().sum::<f64>() / own.len() as f64;
    let variance = own.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / own.len() as f64;
    let scale = variance.sqrt().max(f64::MIN_POSITIVE);
    let scored = tested
        .iter()
        .zip(logits(tested)?)
        .map(|(reply, logit)| Scored {
            scenario: reply.dialogue.scenario.clone(),
            deceptive: reply.deceptive() == Some(true),
            score: (logit - mean) / scale,
        });
    Ok(Fold {
        validation_auroc: auroc(&logits(validation)?, &labels)?,
        scored: scored.collect(),
    })
}

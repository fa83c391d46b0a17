//! `candor train`: captured activations to a probe bundle.

mod recipe;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use candor_activations::{Manifest, Store};
use candor_probe::evaluate::{DELTA, auroc_of};
use candor_probe::{
    Bundle, BundleConfig, Combiner, CombinerKind, ControlQuantiles, Platt, Probe, Reading, Rows,
    Target, kind, pooling, threshold,
};
use candor_schema::{FormatVersion, HookPoint, LayerRow, Site, Split};
use serde_json::{Value, json};

pub(crate) use recipe::{Recipe, RowsArg};

use crate::capture::N_LAYERS;
use crate::exit::{Exit, Failure};
use crate::replies::{self, Reply};
use crate::{args, output, progress};

/// Where the sweep over layers is kept in a bundle's configuration, for the report.
pub(crate) const LAYER_SWEEP: &str = "layer_sweep";

/// Where the threshold that a paper would take is kept in a bundle's configuration; no verdict uses it.
const PUBLISHED_THRESHOLD: &str = "published_threshold";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Store of labelled dialogues with train and validation splits
    pub(crate) store: PathBuf,
    /// Store of ordinary replies, whose calibration split sets the threshold
    #[arg(long, env = "CANDOR_CONTROLS")]
    pub(crate) controls: Option<PathBuf>,
    /// Name of the bundle: lower-case letters, digits, `-`, `_`, `.`
    #[arg(long, env = "CANDOR_NAME")]
    pub(crate) name: String,
    /// Folder that bundles are written to
    #[arg(long, short, env = "CANDOR_OUT", default_value = "probes")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) recipe: Recipe,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let store = replies::open(&args.store)?;
    let controls = args.controls.as_deref().map(replies::open).transpose()?;
    let command = args::command_line();
    let bundle = train(
        &store,
        controls.as_ref(),
        &args.name,
        &args.recipe.resolved(),
        &command,
    )?;
    let dir = bundle.write(&args.out)?;
    describe(&bundle);
    output::line(dir.display());
    Ok(())
}

/// Prints what was fitted.
pub(crate) fn describe(bundle: &Bundle) {
    let config = bundle.config();
    let metric = |name: &str| config.metrics.get(name).copied().unwrap_or(f64::NAN);
    let chosen = match Recipe::of(config).depth {
        Some(depth) => format!(", the layer nearest to {:.1} % of the depth", depth * 100.0),
        None => format!(" that chose it among {} layers", metric("n_layers_tried")),
    };
    output::note(format!(
        "probe `{}` reads `{}`: AUROC {:.3} on the validation scenarios{chosen}",
        config.name,
        config.hook_points[0],
        metric("auroc_validation"),
    ));
    if let Some(said) = config.extra.get(PUBLISHED_THRESHOLD) {
        output::note(format!(
            "the paper's rule gives threshold {:.3}, the {}th percentile of {} ordinary replies; it certifies nothing, and no verdict uses it",
            said["logit"].as_f64().unwrap_or(f64::NAN),
            said["percentile"],
            said["n"],
        ));
    }
    match &config.threshold {
        Some(threshold) => output::note(format!(
            "threshold {:.3}: at most {:.0} % false alarms on ordinary replies with confidence {:.0} % (n = {})",
            threshold.logit,
            threshold.fpr_budget * 100.0,
            (1.0 - threshold.delta) * 100.0,
            threshold.n,
        )),
        None => output::note(
            "no threshold: too few ordinary replies to certify one, so verdicts abstain",
        ),
    }
}

/// Fits one direction per captured hook point on `train`, and keeps the best on `validation`.
pub(crate) fn train(
    store: &Store,
    controls: Option<&Store>,
    name: &str,
    recipe: &Recipe,
    command: &str,
) -> anyhow::Result<Bundle> {
    let manifest = store.manifest();
    if let Some(controls) = controls
        && controls.manifest().model != manifest.model
    {
        return Err(Failure::error(
            Exit::Mismatch,
            "the two stores were captured from different models",
            "capture both with the same model, types, `--device` and `--compute`",
        ));
    }
    let mut points: Vec<HookPoint> = manifest
        .hook_points
        .iter()
        .map(|column| column.hook_point)
        .collect();
    if let Some(depth) = recipe.depth {
        points = vec![at_depth(manifest, depth)?];
    }
    let bar = progress::bar(points.len() as u64, "layers");
    bar.set_message("fit");
    let mut sweep: Vec<LayerRow> = Vec::new();
    let mut best: Option<(f64, Reading)> = None;
    for &point in &points {
        let replies = replies::load(store, &[point])?;
        let width = manifest
            .width(point)
            .context("the manifest names every width")?;
        let reading = fit(
            &replies::labelled(&replies, Split::Train),
            point,
            width,
            recipe,
        )
        .with_context(|| format!("cannot fit `{point}`"))?;
        let probe = Probe::new(
            vec![reading.clone()],
            pooling(&recipe.pooling)?,
            Combiner::Single,
        )?;
        let scored = score_all(&replies::labelled(&replies, Split::Validation), &probe)?;
        let auroc = auroc_of(&scored, recipe.seed).context("validation split")?;
        if best.as_ref().is_none_or(|(other, _)| auroc.value > *other) {
            best = Some((auroc.value, reading));
        }
        sweep.push(LayerRow {
            hook_point: point,
            validation_auroc: auroc,
            chosen: false,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (auroc, reading) = best.context("the store has no hook points")?;
    let point = reading.hook_point();
    note_left_out(store, point, recipe)?;
    for row in &mut sweep {
        row.chosen = row.hook_point == point;
    }

    let probe = Probe::new(
        vec![reading.clone()],
        pooling(&recipe.pooling)?,
        Combiner::Single,
    )?;
    let replies = replies::load(store, &[point])?;
    let validation = score_all(&replies::labelled(&replies, Split::Validation), &probe)?;
    let logits: Vec<f64> = validation.iter().map(|scored| scored.logit).collect();
    let labels: Vec<bool> = validation.iter().map(|scored| scored.deceptive).collect();
    // A probe whose validation scores point the wrong way gets no probability rather than a wrong one.
    let calibration = Platt::fit(&logits, &labels).ok();

    let mut data = BTreeMap::from([(
        manifest.dataset.name.clone(),
        manifest.dataset.sha256.clone(),
    )]);
    let mut certified = None;
    let mut quantiles = None;
    let mut extra = serde_json::Map::new();
    if let Some(store) = controls {
        let dataset = &store.manifest().dataset;
        data.insert(dataset.name.clone(), dataset.sha256.clone());
        let replies = replies::load(store, &[point])?;
        let scored = score_all(&replies::controls(&replies, Split::Calibration), &probe)?;
        let scores: Vec<f64> = scored.iter().map(|scored| scored.logit).collect();
        if !scores.is_empty() {
            quantiles = Some(ControlQuantiles::from_scores(&scores)?);
        }
        certified = threshold(&scores, recipe.budget, DELTA)
            .ok()
            .map(|threshold| threshold.named(&dataset.name));
        if let Some((percentile, logit)) = recipe.published_threshold(&scores) {
            let said = json!({"percentile": percentile, "logit": logit, "n": scores.len()});
            extra.insert(PUBLISHED_THRESHOLD.into(), said);
        }
    }
    extra.insert(LAYER_SWEEP.into(), serde_json::to_value(&sweep)?);
    recipe.note(&mut extra);
    let config = BundleConfig {
        format_version: FormatVersion::CURRENT,
        name: name.to_owned(),
        version: "0.1.0".into(),
        candor_version: env!("CARGO_PKG_VERSION").into(),
        targets: vec![Target::Deception],
        kind: recipe.kind.clone(),
        hook_points: vec![point],
        pooling: recipe.pooling.clone(),
        combiner: CombinerKind::Single,
        calibration,
        threshold: certified,
        control_quantiles: quantiles,
        model: manifest.model_name.clone(),
        fingerprint: manifest.model.clone(),
        data,
        seed: recipe.seed,
        command: command.to_owned(),
        metrics: BTreeMap::from([
            ("auroc_validation".into(), auroc),
            ("n_layers_tried".into(), points.len() as f64),
        ]),
        model_sha256: None,
        extra,
    };
    Ok(Bundle::new(config, vec![reading], Combiner::Single)?)
}

/// Fits the direction of one hook point.
pub(crate) fn fit(
    train: &[&Reply],
    point: HookPoint,
    width: usize,
    recipe: &Recipe,
) -> anyhow::Result<Reading> {
    let labels: Vec<bool> = train
        .iter()
        .map(|reply| reply.deceptive() == Some(true))
        .collect();
    fit_labelled(train, &labels, point, width, recipe)
}

/// As [`fit`], with labels that are not the replies' own.
pub(crate) fn fit_labelled(
    train: &[&Reply],
    labels: &[bool],
    point: HookPoint,
    width: usize,
    recipe: &Recipe,
) -> anyhow::Result<Reading> {
    let mut data = Vec::new();
    let (mut row_labels, mut row_prompts) = (Vec::new(), Vec::new());
    let mut prompts: BTreeMap<&str, usize> = BTreeMap::new();
    for (reply, &label) in train.iter().zip(labels) {
        let dialogue = &reply.dialogue;
        let prompt = dialogue.pair.as_deref().unwrap_or(&dialogue.scenario);
        let next = prompts.len();
        let prompt = *prompts.entry(prompt).or_insert(next);
        let seen = &reply.vectors[0][..recipe.n_seen(&reply.tokens) * width];
        let n_before = data.len();
        match recipe.rows {
            RowsArg::Token => data.extend_from_slice(seen),
            RowsArg::Last => data.extend_from_slice(&seen[seen.len().saturating_sub(width)..]),
            RowsArg::Reply if seen.is_empty() => {}
            RowsArg::Reply => data.extend(replies::mean_of(seen, width)),
        }
        let n_rows = (data.len() - n_before) / width;
        row_labels.extend(std::iter::repeat_n(label, n_rows));
        row_prompts.extend(std::iter::repeat_n(prompt, n_rows));
    }
    let rows = Rows::new(&data, width, &row_labels)?.with_prompts(&row_prompts)?;
    let projection = kind(&recipe.kind)?.fit(&rows, &recipe.options()?)?;
    Ok(projection.into_reading(point)?)
}

/// The captured residual stream nearest to a share of the model's depth: after block `l` of `n` it
/// is `(l + 1) / n`.
fn at_depth(manifest: &Manifest, depth: f64) -> anyhow::Result<HookPoint> {
    let n_layers = manifest.extra.get(N_LAYERS).and_then(Value::as_u64);
    let (Some(n_layers), true) = (n_layers, depth > 0.0 && depth <= 1.0) else {
        let message = format!(
            "no layer at depth {depth}: it has to lie in (0, 1], and the store has to say how many layers the model has"
        );
        let hint = "capture the data set again, or leave the layer to the validation scenarios";
        return Err(Failure::error(Exit::BadInput, message, hint));
    };
    let distance = |point: &HookPoint| {
        let share = (point.layer.0 + 1) as f64 / n_layers as f64;
        (share - depth).abs()
    };
    let points = manifest.hook_points.iter().map(|column| column.hook_point);
    let streams = points.filter(|point| point.site == Site::ResidPost);
    let nearest = streams.min_by(|a, b| distance(a).total_cmp(&distance(b)));
    // Farther away than the layer beside it, it is another layer.
    let near = nearest.filter(|point| distance(point) <= 1.0 / n_layers as f64);
    near.ok_or_else(|| {
        let wanted = (depth * n_layers as f64).round().max(1.0) - 1.0;
        Failure::error(
            Exit::BadInput,
            format!(
                "the store has no residual stream near {:.1} % of the depth",
                depth * 100.0
            ),
            format!("capture with `--layers {wanted}`, or with all of them"),
        )
    })
}

/// Says how many replies are too short for a fit that leaves their last tokens out.
fn note_left_out(store: &Store, point: HookPoint, recipe: &Recipe) -> anyhow::Result<()> {
    if recipe.drop_last == 0 {
        return Ok(());
    }
    let replies = replies::load(store, &[point])?;
    let train = replies::labelled(&replies, Split::Train);
    let n_short = train
        .iter()
        .filter(|r| recipe.n_seen(&r.tokens) == 0)
        .count();
    if n_short > 0 {
        output::note(format!(
            "{n_short} of {} training replies have no more than {} tokens and are not fitted on",
            train.len(),
            recipe.drop_last
        ));
    }
    Ok(())
}

/// Pooled logits of replies.
pub(crate) fn score_all(
    replies: &[&Reply],
    probe: &Probe,
) -> anyhow::Result<Vec<candor_probe::evaluate::Scored>> {
    replies
        .iter()
        .map(|reply| Ok(reply.scored(reply.score(probe)?.logit.as_f64())))
        .collect()
}

//! `candor train`: captured activations to a probe bundle.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use candor_activations::Store;
use candor_probe::evaluate::{DELTA, FPR_BUDGETS, auroc_of};
use candor_probe::{
    Bundle, BundleConfig, Combiner, CombinerKind, ControlQuantiles, FitOptions, Platt, Probe,
    Reading, Rows, Target, kind, pooling, threshold,
};
use candor_schema::{FormatVersion, HookPoint, LayerRow, Split};
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::replies::{self, Reply};
use crate::{args, output, progress};

/// Where the sweep over layers is kept in a bundle's configuration, for the report.
pub(crate) const LAYER_SWEEP: &str = "layer_sweep";

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

/// How a probe is fitted.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Recipe {
    /// Kind of probe
    #[arg(long, env = "CANDOR_KIND", default_value = "logistic")]
    pub(crate) kind: String,
    /// How token logits become one
    #[arg(long, env = "CANDOR_POOLING", default_value = "mean")]
    pub(crate) pooling: String,
    /// Strength of the L2 penalty on a loss summed over rows (scikit-learn's 1/C)
    #[arg(long, env = "CANDOR_LAMBDA", default_value_t = 10.0)]
    pub(crate) lambda: f64,
    /// What is one row of the fit
    #[arg(long, env = "CANDOR_ROWS", value_enum, default_value = "reply")]
    pub(crate) rows: RowsArg,
    /// Seed of every random choice
    #[arg(long, env = "CANDOR_SEED", default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowsArg {
    /// Every token of a reply
    Token,
    /// The mean over a reply's tokens
    Reply,
}

impl Recipe {
    /// The recipe that a bundle was made by.
    pub(crate) fn of(config: &BundleConfig) -> Self {
        let lambda = config.extra.get("lambda").and_then(Value::as_f64);
        let rows = config.extra.get("fit_rows").and_then(Value::as_str);
        Self {
            kind: config.kind.clone(),
            pooling: config.pooling.clone(),
            lambda: lambda.unwrap_or(FitOptions::ACTIVATIONS.lambda),
            rows: match rows {
                Some("reply") => RowsArg::Reply,
                _ => RowsArg::Token,
            },
            seed: config.seed,
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let store = replies::open(&args.store)?;
    let controls = args.controls.as_deref().map(replies::open).transpose()?;
    let command = args::command_line();
    let bundle = train(
        &store,
        controls.as_ref(),
        &args.name,
        &args.recipe,
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
    output::note(format!(
        "probe `{}` reads `{}`: AUROC {:.3} on the validation scenarios that chose it among {} layers",
        config.name,
        config.hook_points[0],
        metric("auroc_validation"),
        metric("n_layers_tried"),
    ));
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
    let points: Vec<HookPoint> = manifest
        .hook_points
        .iter()
        .map(|column| column.hook_point)
        .collect();
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
    if let Some(store) = controls {
        let dataset = &store.manifest().dataset;
        data.insert(dataset.name.clone(), dataset.sha256.clone());
        let replies = replies::load(store, &[point])?;
        let scored = score_all(&replies::controls(&replies, Split::Calibration), &probe)?;
        let scores: Vec<f64> = scored.iter().map(|scored| scored.logit).collect();
        if !scores.is_empty() {
            quantiles = Some(ControlQuantiles::from_scores(&scores)?);
        }
        certified = threshold(&scores, FPR_BUDGETS[0], DELTA)
            .ok()
            .map(|threshold| threshold.named(&dataset.name));
    }
    let mut extra = serde_json::Map::new();
    extra.insert(LAYER_SWEEP.into(), serde_json::to_value(&sweep)?);
    extra.insert("lambda".into(), recipe.lambda.into());
    extra.insert(
        "fit_rows".into(),
        if recipe.rows == RowsArg::Token {
            "token"
        } else {
            "reply"
        }
        .into(),
    );
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
    let mut row_labels = Vec::new();
    for (reply, &label) in train.iter().zip(labels) {
        match recipe.rows {
            RowsArg::Token => {
                data.extend_from_slice(&reply.vectors[0]);
                row_labels.extend(std::iter::repeat_n(label, reply.tokens.len()));
            }
            RowsArg::Reply => {
                data.extend(reply.mean(width));
                row_labels.push(label);
            }
        }
    }
    let options = FitOptions {
        lambda: recipe.lambda,
        ..FitOptions::ACTIVATIONS
    };
    let projection = kind(&recipe.kind)?.fit(&Rows::new(&data, width, &row_labels)?, &options)?;
    Ok(projection.into_reading(point)?)
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

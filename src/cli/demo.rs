//! `candor demo`: the whole loop on the default model, on a stated subset, for real.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use candor_activations::{Positions, Precision};
use candor_dataset::Dataset;
use candor_detect::{Detail, Detector, Provenance, ReadOptions, ScoreInput};
use candor_probe::evaluate::FPR_BUDGETS;
use candor_report::Theme;
use candor_schema::{
    DetectorRow, Dialogue, Evaluation, HookPoint, Label, OnPolicy, Split, Timing, Verdict,
};

use crate::args::ModelArgs;
use crate::evaluate::ledger;
use crate::local_server::LocalServer;
use crate::train::{Recipe, RowsArg};
use crate::{capture, evaluate, heat_map, model, output, replies, score, train};

/// Name of the probe that the demo makes.
const PROBE: &str = "smollm2-135m-demo";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Folder with the data sets
    #[arg(long, env = "CANDOR_DATASETS", default_value = "datasets")]
    datasets: PathBuf,
    /// Folder for everything that the demo makes; emptied of an earlier demo's files
    #[arg(long, short, env = "CANDOR_OUT", default_value = "out/demo")]
    out: PathBuf,
}

/// The recipe of the demo's probe, chosen on the validation split.
pub(crate) fn recipe() -> Recipe {
    Recipe {
        name: None,
        kind: "logistic".into(),
        pooling: "mean".into(),
        lambda: 10.0,
        rows: RowsArg::Reply,
        drop_last: 0,
        depth: None,
        budget: FPR_BUDGETS[0],
        seed: 0,
    }
}

/// Ordinary replies that the demo uses, the first of the file.
const ORDINARY_REPLIES: usize = 220;

/// Scenarios of each family that the demo uses.
const SCENARIOS_PER_FAMILY: usize = 10;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let start = Instant::now();
    let path = model::pull_with_progress(&args.model)?;
    let model_args = ModelArgs {
        model: path.display().to_string(),
        ..args.model.clone()
    };
    let pairs = subset(candor_dataset::read(&args.datasets.join("written-pairs"))?);
    let mut ordinary =
        candor_dataset::read(&args.datasets.join("ordinary/ordinary-smollm2-135m.jsonl"))?;
    ordinary.dialogues.truncate(ORDINARY_REPLIES);
    let problems = candor_dataset::check(&pairs);
    anyhow::ensure!(
        problems
            .iter()
            .all(|problem| problem.severity != candor_dataset::Severity::Error),
        "the data set has errors: `candor dataset check {}` shows them",
        args.datasets.display()
    );
    let model = model_args.open()?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot create `{}`", args.out.display()))?;

    step(
        1,
        "capture",
        &format!(
            "{} written replies in {} scenarios (English, the first ten of each family) and {} replies of the model's own to ordinary prompts",
            pairs.dialogues.len(),
            n_scenarios(&pairs),
            ordinary.dialogues.len(),
        ),
    );
    let n_layers = model.config().n_layers;
    let settings = capture::Settings {
        hook_points: (0..n_layers).map(HookPoint::resid_post).collect(),
        positions: Positions::Response,
        precision: Precision::F16,
    };
    let probe_dir = args.out.join("probes").join(PROBE);
    let [store_dir, controls_dir] = ["pairs", "ordinary"].map(|name| args.out.join(name));
    let mut n_tokens = 0;
    let mut seconds = 0.0;
    // Every run does its work for real: an earlier demo's stores are not gone on with. Its ledgers
    // go with them, since nobody chooses anything between two demos.
    for (dir, file) in [
        (&store_dir, "manifest.json"),
        (&controls_dir, "manifest.json"),
        (&probe_dir, "config.json"),
    ] {
        if dir.join(file).exists() {
            std::fs::remove_dir_all(dir)
                .with_context(|| format!("cannot remove `{}`", dir.display()))?;
        }
    }
    for (dataset, dir) in [(&pairs, &store_dir), (&ordinary, &controls_dir)] {
        let summary = capture::capture(&model, &args.model.name(), dataset, &settings, dir)?;
        n_tokens += summary.n_tokens;
        seconds += summary.seconds;
    }
    output::line(format!(
        "  {n_tokens} tokens through all {n_layers} layers in {seconds:.0} s ({:.0} tokens/s), stored as Parquet in {}",
        n_tokens as f64 / seconds,
        args.out.display()
    ));

    step(
        2,
        "train",
        "one logistic regression per layer; the layer is chosen on validation scenarios",
    );
    let store = replies::open(&store_dir)?;
    let controls = replies::open(&controls_dir)?;
    let bundle = train::train(&store, Some(&controls), PROBE, &recipe(), "candor demo")?;
    let config = bundle.config().clone();
    output::line(format!(
        "  reads {} (of {n_layers} layers), threshold for 5 % false alarms on ordinary replies{}",
        config.hook_points[0],
        config.threshold.as_ref().map_or_else(
            || ": none, too few replies".into(),
            |threshold| format!(": {:+.2} (n = {})", threshold.logit, threshold.n)
        ),
    ));

    step(
        3,
        "evaluate",
        "on held-out scenarios, beside everything that could explain the number",
    );
    std::fs::create_dir_all(&probe_dir)
        .with_context(|| format!("cannot create `{}`", probe_dir.display()))?;
    let place = ledger::Place {
        store: &store,
        store_folder: &store_dir,
        probe_folder: &probe_dir,
    };
    let opening = ledger::open(&bundle, place, Split::Test, "candor demo", None)?;
    let evaluation = evaluate::evaluate(
        &model,
        &bundle,
        evaluate::Stores {
            labelled: &store,
            controls: &controls,
            negatives: None,
        },
        &evaluate::Beside::default(),
        Split::Test,
        &ledger::counted(opening.as_ref()),
        "candor demo",
    )?;
    if let Some(opening) = &opening {
        opening.record()?;
    }
    for line in results(&evaluation) {
        output::line(line);
    }
    let bundle = bundle.with_evaluation(Some(evaluation.clone()));
    bundle.write(&args.out.join("probes"))?;
    let report = args.out.join("report.html");
    evaluate::write_report(&evaluation, &report)?;
    for (theme, name) in [(Theme::Light, "light"), (Theme::Dark, "dark")] {
        let svg = candor_report::heat_map_svg(&evaluation.traces, theme);
        std::fs::write(args.out.join(format!("heat-map-{name}.svg")), svg)
            .context("cannot write the picture")?;
    }

    step(
        4,
        "score",
        "an honest and a deceptive reply to the same held-out prompt: the pair with the median contrast",
    );
    let detector = Detector::new(model).with_probe(bundle, false)?;
    let shown = shown_pair(&evaluation, &pairs);
    let verdicts = score_pair(&detector, &shown)?;
    show_pair(&shown, &verdicts);

    step(5, "serve", "the same probe behind POST /score");
    let server = LocalServer::start(detector)?;
    let body = serde_json::json!({"messages": shown.last().context("the test split has a pair")?.messages});
    let body_file = args.out.join("request.json");
    std::fs::write(&body_file, serde_json::to_string_pretty(&body)?)
        .context("cannot write the request")?;
    let verdict = server.score(&body)?;
    output::line(format!(
        "  $ curl -s {} -H 'content-type: application/json' -d @{}",
        server.url(),
        body_file.display()
    ));
    for line in serde_json::to_string_pretty(&brief(&verdict)?)?.lines() {
        output::line(format!("  {line}"));
    }

    finish(args, &evaluation, &report, &probe_dir, start);
    Ok(())
}

fn step(number: usize, name: &str, what: &str) {
    let (bold, plain) = if output::colours() {
        ("\u{1b}[1m", "\u{1b}[0m")
    } else {
        ("", "")
    };
    output::line(format!("\n{bold}{number}. {name}{plain}  {what}"));
}

/// The part of a data set that takes a minute: of every family the English dialogues (what the
/// default model was made for) of its first scenarios.
fn subset(dataset: Dataset) -> Dataset {
    let mut scenarios: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut is_chosen = |dialogue: &Dialogue| {
        let chosen = scenarios.entry(dialogue.family.clone()).or_default();
        if !chosen.contains(&dialogue.scenario) && chosen.len() < SCENARIOS_PER_FAMILY {
            chosen.push(dialogue.scenario.clone());
        }
        let is_english = dialogue.language.as_deref().unwrap_or("en") == "en";
        is_english && chosen.contains(&dialogue.scenario)
    };
    Dataset {
        dialogues: dataset
            .dialogues
            .into_iter()
            .filter(|dialogue| is_chosen(dialogue))
            .collect(),
        ..dataset
    }
}

fn n_scenarios(dataset: &Dataset) -> usize {
    let dialogues: Vec<&Dialogue> = dataset.dialogues.iter().collect();
    candor_dataset::by_scenario(&dialogues).len()
}

/// The table of the terminal: AUROC with interval, and what the threshold does.
fn results(evaluation: &Evaluation) -> Vec<String> {
    let mut lines = vec![format!(
        "  {:18} {:22} {:>16} {:>16} {:>16}",
        "", "AUROC [95 % CI]", "lies flagged", "honest, same", "ordinary"
    )];
    lines.push(format!(
        "  {:18} {:22} {:>16} {:>16} {:>16}",
        "", "", "", "prompts flagged", "flagged"
    ));
    let share = |proportion: Option<candor_schema::Proportion>| {
        proportion
            .and_then(|p| {
                p.rate()
                    .map(|rate| format!("{:.0} % ({}/{})", rate * 100.0, p.k, p.n))
            })
            .unwrap_or_else(|| "–".into())
    };
    let line = |row: &DetectorRow| {
        let point = row.operating_points.first();
        format!(
            "  {:18} {:22} {:>16} {:>16} {:>16}",
            row.name,
            format!(
                "{:.2} [{:.2}, {:.2}]",
                row.auroc.value, row.auroc.low, row.auroc.high
            ),
            share(point.and_then(|point| point.recall)),
            share(point.and_then(|point| point.false_alarms_honest)),
            share(point.and_then(|point| point.realised_fpr)),
        )
    };
    lines.extend(evaluation.detectors.iter().map(line));
    if let Some(note) = evaluation.detectors[0]
        .operating_points
        .get(1)
        .and_then(|point| point.note.clone())
    {
        lines.push(format!("  1 % budget: {note}"));
    }
    lines
}

/// The dialogues of the evaluation's traces, honest first.
fn shown_pair(evaluation: &Evaluation, pairs: &Dataset) -> Vec<Dialogue> {
    let find = |id: &str| {
        pairs
            .dialogues
            .iter()
            .find(|dialogue| dialogue.id == id)
            .cloned()
    };
    evaluation
        .traces
        .iter()
        .filter_map(|trace| find(&trace.id))
        .collect()
}

fn score_pair(detector: &Detector, pair: &[Dialogue]) -> anyhow::Result<Vec<Verdict>> {
    let inputs: Vec<ScoreInput> = pair
        .iter()
        .map(|dialogue| ScoreInput::Messages(dialogue.messages.clone()))
        .collect();
    let detail = Detail {
        tokens: true,
        texts: true,
        readings: false,
    };
    inputs
        .iter()
        .zip(detector.read(&inputs, detector.probes(), ReadOptions::default()))
        .map(|(input, scored)| {
            let provenance = Provenance {
                source: input.source(),
                on_policy: OnPolicy::No,
                exact: true,
            };
            Ok(detector.verdict(&scored?, provenance, detail, Timing::default()))
        })
        .collect()
}

fn show_pair(pair: &[Dialogue], verdicts: &[Verdict]) {
    if let Some(dialogue) = pair.first() {
        for message in &dialogue.messages[..dialogue.messages.len() - 1] {
            output::line(format!("  {}: {}", message.role, message.content));
        }
    }
    let cells = |verdict: &Verdict| -> Vec<(String, f64)> {
        let tokens = verdict
            .probes
            .iter()
            .flat_map(|probe| probe.tokens.iter().flatten());
        tokens
            .filter_map(|token| Some((token.text.clone()?, token.logit?)))
            .collect()
    };
    let all: Vec<Vec<(String, f64)>> = verdicts.iter().map(cells).collect();
    // One scale for both replies, or the colours could not be compared.
    let limit = heat_map::limit(all.iter().flatten().map(|cell| cell.1));
    for ((dialogue, verdict), cells) in pair.iter().zip(verdicts).zip(&all) {
        let title = if dialogue.label == Label::Honest {
            "honest reply"
        } else {
            "deceptive reply"
        };
        output::line(format!("\n  {title}"));
        let cells: Vec<heat_map::Cell<'_>> = cells
            .iter()
            .map(|(text, logit)| (text.as_str(), *logit))
            .collect();
        for line in heat_map::lines(&cells, limit) {
            output::line(line);
        }
        for probe in &verdict.probes {
            output::line(format!("  {}", score::sentence(verdict, probe)));
        }
    }
    output::line(format!("\n{}", heat_map::legend(limit)));
}

/// A verdict without the fields that a first look does not need.
fn brief(verdict: &Verdict) -> anyhow::Result<serde_json::Value> {
    let mut value = serde_json::to_value(verdict)?;
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, _| {
            ![
                "format_version",
                "action",
                "policy",
                "exact",
                "on_policy",
                "source",
            ]
            .contains(&name.as_str())
        });
    }
    Ok(value)
}

fn finish(args: &Args, evaluation: &Evaluation, report: &Path, probe_dir: &Path, start: Instant) {
    output::line(format!("\nreport   {}", report.display()));
    output::line(format!("probe    {}", probe_dir.display()));
    output::line(format!(
        "picture  {}",
        args.out.join("heat-map-light.svg").display()
    ));
    output::line(format!(
        "serve    candor serve --probe {}   then POST to http://127.0.0.1:8080/score",
        probe_dir.display()
    ));
    let probe = &evaluation.detectors[0];
    let text = evaluation
        .detectors
        .iter()
        .find(|row| row.kind == candor_schema::DetectorKind::Text);
    let honest = probe
        .operating_points
        .first()
        .and_then(|point| point.false_alarms_honest)
        .and_then(|p| p.rate());
    output::line(format!(
        "\nWhat this shows: {}. A 135M model rarely lies on its own account; here it reads lies that were written for the data set, \
         so this shows that the loop works, not that the model's own intent can be read{}.",
        candor_report::verdict(evaluation).trim_end_matches('.'),
        match (text, honest) {
            (Some(_), Some(rate)) => format!(
                " (it also flags {:.0} % of honest replies to the same prompts)",
                rate * 100.0
            ),
            _ => String::new(),
        }
    ));
    output::line(format!("done in {:.0} s", start.elapsed().as_secs_f64()));
}

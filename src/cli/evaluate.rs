//! `candor evaluate`: a probe beside everything it must be compared with.

mod baselines;
mod calibration;
mod divergence;
mod held_out;
pub(crate) mod ledger;
mod lights;
mod negatives;
mod other_model;
mod refits;
mod rival;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use candor_activations::Store;
use candor_model::Model;
use candor_probe::evaluate::{
    Detector, FPR_BUDGETS, Scored, auroc_difference, auroc_of, detector_row,
};
use candor_probe::metric::{Bootstrap, same_prompt_interval};
use candor_probe::{Bundle, kind};
use candor_schema::{
    DatasetSummary, DetectorKind, Dialogue, Evaluation, FormatVersion, GroupRow, LayerRow,
    ModelFingerprint, ModelSummary, Motive, Openings, ProbeMatch, ProbeSummary, SamePrompt,
    ScoredDialogue, Split, SplitCounts, TokenLogit, TokenTrace,
};

use crate::args::{self, ModelArgs};
use crate::exit::{Exit, Failure};
use crate::replies::{self, Reply};
use crate::train::LAYER_SWEEP;
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the probe bundle
    pub(crate) probe: PathBuf,
    /// Store of labelled dialogues
    #[arg(long, env = "CANDOR_STORE")]
    pub(crate) store: PathBuf,
    /// Store of ordinary replies with calibration and test splits
    #[arg(long, env = "CANDOR_CONTROLS")]
    pub(crate) controls: PathBuf,
    /// Store of hard negatives: replies that look like deception and deceive nobody
    #[arg(long, env = "CANDOR_NEGATIVES")]
    pub(crate) negatives: Option<PathBuf>,
    /// Scores that anything else gave to the same replies, one `{"id": …, "score": …}` per line,
    /// higher where more deceptive; may be given several times
    #[arg(
        long = "rival",
        env = "CANDOR_RIVAL",
        value_name = "NAME=FILE",
        value_delimiter = ',',
        value_parser = rival::named
    )]
    rivals: Vec<rival::Named>,
    /// Store of the same dialogues captured with another model, which the probe's recipe is fitted
    /// on too; may be given several times
    #[arg(
        long = "other-model",
        env = "CANDOR_OTHER_MODEL",
        value_name = "STORE",
        value_delimiter = ','
    )]
    other_models: Vec<PathBuf>,
    /// Times that the recipe is fitted on scenarios drawn from its training scenarios; 0 for none
    #[arg(long, env = "CANDOR_SEEDS", default_value_t = N_SEEDS, value_parser = seeds)]
    seeds: u64,
    /// Split to measure on
    #[arg(long, env = "CANDOR_SPLIT", value_enum, default_value = "test")]
    pub(crate) split: SplitArg,
    /// Why a test split is opened that was opened for another probe of this name
    // No variable: one that is set once would open every split from then on.
    #[arg(long, value_name = "REASON")]
    reopen: Option<String>,
    /// Where the HTML report goes
    #[arg(long, env = "CANDOR_REPORT")]
    pub(crate) report: Option<PathBuf>,
    /// Print the evaluation as JSON
    #[arg(long, env = "CANDOR_JSON")]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

/// Fewest fits that say anything of a spread, and as many as are made unless told otherwise.
const N_SEEDS: u64 = 5;
/// Most fits.
const MAX_SEEDS: u64 = 1_000;

/// Parses `--seeds`.
fn seeds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(n) if n == 0 || (N_SEEDS..=MAX_SEEDS).contains(&n) => Ok(n),
        _ => Err(format!(
            "write 0, or a number from {N_SEEDS} to {MAX_SEEDS}"
        )),
    }
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum SplitArg {
    Validation,
    Test,
}

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Validation => Self::Validation,
            SplitArg::Test => Self::Test,
        }
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let bundle = Bundle::read(&args.probe)?;
    let store = replies::open(&args.store)?;
    let controls = replies::open(&args.controls)?;
    let negatives = args.negatives.as_deref().map(replies::open).transpose()?;
    let beside = Beside {
        rivals: rival::open(&args.rivals)?,
        other_models: args
            .other_models
            .iter()
            .map(|path| replies::open(path))
            .collect::<anyhow::Result<_>>()?,
        n_seeds: args.seeds,
    };
    let command = args::command_line();
    let place = ledger::Place {
        store: &store,
        store_folder: &args.store,
        probe_folder: &args.probe,
    };
    let reason = args.reopen.as_deref();
    let opening = ledger::open(&bundle, place, args.split.into(), &command, reason)?;
    let model = args.model.open()?;
    let evaluation = evaluate(
        &model,
        &bundle,
        Stores {
            labelled: &store,
            controls: &controls,
            negatives: negatives.as_ref(),
        },
        &beside,
        args.split.into(),
        &ledger::counted(opening.as_ref()),
        &command,
    )?;
    // Before anything of it can be seen.
    if let Some(opening) = &opening {
        opening.record()?;
    }
    let root = args
        .probe
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    bundle
        .with_evaluation(Some(evaluation.clone()))
        .write(root)?;
    if let Some(path) = &args.report {
        write_report(&evaluation, path)?;
        output::note(format!("report: {}", path.display()));
    }
    if args.json {
        output::line(serde_json::to_string_pretty(&evaluation)?);
    } else {
        output::line(candor_report::markdown_table(&evaluation));
    }
    Ok(())
}

/// Writes the HTML report.
pub(crate) fn write_report(evaluation: &Evaluation, path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
    }
    std::fs::write(path, candor_report::html(evaluation))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// The captured data of one evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stores<'a> {
    /// Honest and deceptive replies.
    pub(crate) labelled: &'a Store,
    /// Ordinary replies with calibration and test splits.
    pub(crate) controls: &'a Store,
    /// Hard negatives.
    pub(crate) negatives: Option<&'a Store>,
}

/// What a probe is put beside on request.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    rivals: Vec<rival::Rival>,
    /// Stores of the same dialogues captured with other models.
    other_models: Vec<Store>,
    /// Fits on other draws of the training scenarios.
    n_seeds: u64,
}

/// A detector's row, and what it said about each reply of the split.
type Measured = (candor_schema::DetectorRow, Vec<Scored>);

/// What measures rivals of one kind.
type Rivals = fn(&Data<'_>, &Bundle) -> anyhow::Result<Vec<Measured>>;

/// Every kind of rival, in the order of the report.
const RIVALS: &[Rivals] = &[rival::rows, other_model::rows];

/// Everything that one evaluation reads.
struct Data<'a> {
    /// The split that is measured on.
    name: Split,
    /// Store of `train` and `split`.
    labelled: &'a Store,
    beside: &'a Beside,
    train: Vec<&'a Reply>,
    /// Honest and deceptive replies of the split.
    split: Vec<&'a Reply>,
    calibration: Vec<&'a Reply>,
    test_controls: Vec<&'a Reply>,
    seed: u64,
}

impl Data<'_> {
    /// Measures a detector that gives each reply a number.
    fn row(
        &self,
        name: &str,
        kind: DetectorKind,
        description: &str,
        logit: impl Fn(&Reply) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Measured> {
        let of = |replies: &[&Reply]| {
            replies
                .iter()
                .map(|reply| logit(reply))
                .collect::<anyhow::Result<Vec<f64>>>()
        };
        self.measured(
            name,
            kind,
            description,
            &of(&self.split)?,
            &of(&self.calibration)?,
            &of(&self.test_controls)?,
        )
    }

    /// Measures a detector by its numbers: of every reply of the split, and of the ordinary replies
    /// that thresholds come from and are checked on, if it has any of these.
    fn measured(
        &self,
        name: &str,
        kind: DetectorKind,
        description: &str,
        logits: &[f64],
        calibration_controls: &[f64],
        test_controls: &[f64],
    ) -> anyhow::Result<Measured> {
        let scored: Vec<Scored> = self
            .split
            .iter()
            .zip(logits)
            .map(|(reply, logit)| reply.scored(*logit))
            .collect();
        let detector = Detector {
            name,
            kind,
            description,
            scored: &scored,
            calibration_controls,
            test_controls,
        };
        let mut row = detector_row(&detector, &FPR_BUDGETS, self.seed)
            .with_context(|| format!("detector `{name}`"))?;
        row.same_prompt = same_prompt(&self.split, &scored, self.seed)?;
        Ok((row, scored))
    }
}

/// Measures a probe on a split of the data it was made with.
pub(crate) fn evaluate(
    model: &Model,
    bundle: &Bundle,
    stores: Stores<'_>,
    beside: &Beside,
    split: Split,
    openings: &Openings,
    command: &str,
) -> anyhow::Result<Evaluation> {
    let (store, controls) = (stores.labelled, stores.controls);
    let config = bundle.config();
    check_model(&config.fingerprint, model, stores)?;
    let probe = bundle.probe();
    let replies = replies::load(store, probe.hook_points())?;
    let control_replies = replies::load(controls, probe.hook_points())?;
    let data = Data {
        name: split,
        labelled: store,
        beside,
        train: replies::labelled(&replies, Split::Train),
        split: replies::labelled(&replies, split),
        calibration: replies::controls(&control_replies, Split::Calibration),
        // The validation split has no controls of its own: thresholds are then judged where they were made.
        test_controls: replies::controls(
            &control_replies,
            if split == Split::Test {
                split
            } else {
                Split::Calibration
            },
        ),
        seed: config.seed,
    };

    // First, because it is here that what was given may be of no use.
    let mut rivals = Vec::new();
    for rows in RIVALS {
        rivals.extend(rows(&data, bundle)?);
    }
    let bar = progress::bar(1 + baselines::BASELINES.len() as u64, "detectors");
    bar.set_message("evaluate");
    let description = format!(
        "{} on `{}`, one direction, {} over the reply's tokens",
        kind(&config.kind)?.noun(),
        config.hook_points[0],
        config.pooling
    );
    let (row, scored) = data.row(&config.name, DetectorKind::Probe, &description, |reply| {
        Ok(reply.score(probe)?.logit.as_f64())
    })?;
    bar.inc(1);
    let mut detectors = vec![row];
    detectors.extend(held_out::row(bundle, store, split)?);
    let (refitted, refits) = refits::refits(&data, bundle)?.unzip();
    detectors.extend(refitted);
    let mut compared = |(mut row, other): Measured| -> anyhow::Result<()> {
        row.probe_minus_this = Some(auroc_difference(&scored, &other, data.seed)?);
        detectors.push(row);
        Ok(())
    };
    for baseline in baselines::BASELINES {
        compared(baseline(&data, bundle)?)?;
        bar.inc(1);
    }
    rivals.into_iter().try_for_each(compared)?;
    detectors.extend(baselines::nulls(&data, bundle, &scored)?);
    bar.finish_and_clear();
    check_names(&detectors)?;

    let divergence = divergence::divergence(
        probe,
        &data.split,
        &data.calibration,
        &data.test_controls,
        data.seed,
    )?;
    let hard_negatives = match stores.negatives {
        Some(store) => negatives::rows(probe, &detectors[0], store, split)?,
        None => Vec::new(),
    };
    let sweep = config.extra.get(LAYER_SWEEP).cloned();
    let layers: Vec<LayerRow> = sweep
        .map(serde_json::from_value)
        .transpose()
        .context("layer sweep")?
        .unwrap_or_default();
    let all = || {
        data.split
            .iter()
            .chain(&data.calibration)
            .chain(&data.test_controls)
    };
    let mut scores: Vec<ScoredDialogue> = Vec::new();
    for reply in all() {
        let dialogue = &reply.dialogue;
        if scores.iter().any(|other| other.id == dialogue.id) {
            continue;
        }
        scores.push(ScoredDialogue {
            id: dialogue.id.clone(),
            scenario: dialogue.scenario.clone(),
            family: dialogue.family.clone(),
            label: dialogue.label,
            split: dialogue.split,
            logit: reply.score(probe)?.logit.as_f64(),
        });
    }
    let mut evaluation = Evaluation {
        format_version: FormatVersion::CURRENT,
        candor_version: env!("CARGO_PKG_VERSION").into(),
        command: command.to_owned(),
        seed: data.seed,
        model: ModelSummary {
            name: config.model.clone(),
            fingerprint: config.fingerprint.clone(),
        },
        probe: ProbeSummary {
            name: config.name.clone(),
            version: config.version.clone(),
            hook_points: config.hook_points.clone(),
            kind: config.kind.clone(),
            pooling: config.pooling.clone(),
        },
        dataset: summary(store)?,
        controls: summary(controls)?,
        split,
        openings: openings.clone(),
        groups: groups(&data.split, &scored, data.seed)?,
        traces: traces(model, bundle, &data.split)?,
        calibration: calibration::calibration(probe, &scored, data.seed)?,
        refits,
        caveats: caveats(&data, split, &detectors),
        detectors,
        layers,
        lights: Vec::new(),
        divergence,
        hard_negatives,
        scores,
    };
    let dialogues = |replies: Vec<Reply>| -> Vec<Dialogue> {
        replies.into_iter().map(|reply| reply.dialogue).collect()
    };
    let (labelled, ordinary) = (dialogues(replies), dialogues(control_replies));
    evaluation.lights =
        lights::lights(&evaluation, &labelled, &ordinary, config.threshold.as_ref());
    Ok(evaluation)
}

/// Rows are told apart by their names.
fn check_names(detectors: &[candor_schema::DetectorRow]) -> anyhow::Result<()> {
    for (index, row) in detectors.iter().enumerate() {
        if detectors[..index]
            .iter()
            .any(|other| other.name == row.name)
        {
            return Err(Failure::error(
                Exit::Usage,
                format!("two detectors are named `{}`", row.name),
                "give `--rival` another name; stores of `--other-model` are named by their models",
            ));
        }
    }
    Ok(())
}

fn summary(store: &Store) -> anyhow::Result<DatasetSummary> {
    let mut scenarios: BTreeMap<Split, std::collections::BTreeSet<String>> = BTreeMap::new();
    let mut n_dialogues = SplitCounts::default();
    for dialogue in store.dialogues()? {
        *count(&mut n_dialogues, dialogue.split) += 1;
        scenarios
            .entry(dialogue.split)
            .or_default()
            .insert(dialogue.scenario);
    }
    let mut n_scenarios = SplitCounts::default();
    for (split, names) in scenarios {
        *count(&mut n_scenarios, split) = names.len();
    }
    let dataset = &store.manifest().dataset;
    Ok(DatasetSummary {
        name: dataset.name.clone(),
        sha256: dataset.sha256.clone(),
        n_dialogues,
        n_scenarios,
    })
}

fn count(counts: &mut SplitCounts, split: Split) -> &mut usize {
    match split {
        Split::Train => &mut counts.train,
        Split::Validation => &mut counts.validation,
        Split::Calibration => &mut counts.calibration,
        Split::Test => &mut counts.test,
    }
}

/// A probe, its model and everything that was captured belong together, or every number is noise.
fn check_model(probe: &ModelFingerprint, model: &Model, stores: Stores<'_>) -> anyhow::Result<()> {
    let of = |store: &Store| store.manifest().model.clone();
    let mut others = vec![
        ("the model", model.fingerprint().clone()),
        ("`--store`", of(stores.labelled)),
        ("`--controls`", of(stores.controls)),
    ];
    others.extend(stores.negatives.map(|store| ("`--negatives`", of(store))));
    for (what, other) in others {
        if probe.compare(&other) != ProbeMatch::Exact {
            return Err(Failure::error(
                Exit::Mismatch,
                format!(
                    "the probe was made on {} ({}, {}), and {what} is of {} ({}, {})",
                    probe.base,
                    probe.quantisation,
                    probe.compute,
                    other.base,
                    other.quantisation,
                    other.compute
                ),
                "capture and evaluate with the probe's own model, weights, adapters and `--compute`",
            ));
        }
    }
    Ok(())
}

/// A detector among replies to the same prompt.
fn same_prompt(
    replies: &[&Reply],
    scored: &[Scored],
    seed: u64,
) -> anyhow::Result<Option<SamePrompt>> {
    let prompts = replies
        .iter()
        .map(|reply| reply.prompt())
        .collect::<anyhow::Result<Vec<String>>>()?;
    let logits: Vec<f64> = scored.iter().map(|scored| scored.logit).collect();
    let labels: Vec<bool> = scored.iter().map(|scored| scored.deceptive).collect();
    let scenarios: Vec<&str> = scored.iter().map(|s| s.scenario.as_str()).collect();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let bootstrap = Bootstrap::seeded(seed);
    let found = same_prompt_interval(&logits, &labels, &prompts, &scenarios, &bootstrap)?;
    Ok(found.map(|(n_prompts, auroc)| SamePrompt { n_prompts, auroc }))
}

/// The probe on each family, motive, mode, language and style.
fn groups(replies: &[&Reply], scored: &[Scored], seed: u64) -> anyhow::Result<Vec<GroupRow>> {
    type Key = fn(&Dialogue) -> Option<String>;
    let keys: [(&str, Key); 5] = [
        ("family", |dialogue| Some(dialogue.family.clone())),
        ("motive", |dialogue| {
            let name = |motive: Motive| match motive {
                Motive::Encouraged => "told to deceive",
                Motive::Inherent => "not told to deceive",
            };
            dialogue.motive.map(|motive| name(motive).to_owned())
        }),
        ("mode", |dialogue| {
            dialogue.mode.map(|mode| mode.to_string())
        }),
        ("language", |dialogue| dialogue.language.clone()),
        ("style", |dialogue| dialogue.style.clone()),
    ];
    let mut rows = Vec::new();
    for (by, key) in keys {
        let mut parts: BTreeMap<String, Vec<Scored>> = BTreeMap::new();
        for (reply, scored) in replies.iter().zip(scored) {
            if let Some(group) = key(&reply.dialogue) {
                parts.entry(group).or_default().push(scored.clone());
            }
        }
        for (group, scored) in parts {
            let scenarios: std::collections::BTreeSet<&str> = scored
                .iter()
                .map(|scored| scored.scenario.as_str())
                .collect();
            let n_scenarios = scenarios.len();
            let n_deceptive = scored.iter().filter(|scored| scored.deceptive).count();
            // One scenario has no bootstrap, and one class (a mode that only lies have) no AUROC.
            if n_scenarios > 1 && ![0, scored.len()].contains(&n_deceptive) {
                rows.push(GroupRow {
                    by: by.to_owned(),
                    group,
                    n_scenarios,
                    auroc: auroc_of(&scored, seed)?,
                });
            }
        }
    }
    Ok(rows)
}

/// The two replies of the pair whose difference of logits is the median one: neither the best nor the worst case.
fn traces(model: &Model, bundle: &Bundle, replies: &[&Reply]) -> anyhow::Result<Vec<TokenTrace>> {
    let probe = bundle.probe();
    let mut pairs: BTreeMap<&str, (Option<&Reply>, Option<&Reply>)> = BTreeMap::new();
    for reply in replies {
        let Some(pair) = reply.dialogue.pair.as_deref() else {
            continue;
        };
        // The picture is for readers of English.
        if reply
            .dialogue
            .language
            .as_deref()
            .is_some_and(|language| language != "en")
        {
            continue;
        }
        let entry = pairs.entry(pair).or_default();
        if reply.deceptive() == Some(true) {
            entry.1 = Some(reply);
        } else {
            entry.0 = Some(reply);
        }
    }
    let mut differences = Vec::new();
    for (pair, entry) in &pairs {
        if let (Some(honest), Some(deceptive)) = entry {
            let difference =
                deceptive.score(probe)?.logit.as_f64() - honest.score(probe)?.logit.as_f64();
            differences.push((difference, *pair, *honest, *deceptive));
        }
    }
    differences.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    let Some((_, _, honest, deceptive)) = differences.get(differences.len() / 2) else {
        return Ok(Vec::new());
    };
    [honest, deceptive]
        .map(|reply| trace(model, bundle, reply))
        .into_iter()
        .collect()
}

fn trace(model: &Model, bundle: &Bundle, reply: &Reply) -> anyhow::Result<TokenTrace> {
    let dialogue = &reply.dialogue;
    let encoded = model.encode_whole(dialogue)?;
    let score = reply.score(bundle.probe())?;
    let places = &encoded.places[encoded.response.clone()];
    let tokens = places
        .iter()
        .zip(&score.tokens)
        .map(|(place, logit)| TokenLogit {
            text: place.text.clone(),
            logit: logit.as_f64(),
            in_span: place.in_span,
        });
    let prompt = dialogue
        .messages
        .iter()
        .rev()
        .find(|message| message.role == candor_schema::Role::User);
    Ok(TokenTrace {
        id: dialogue.id.clone(),
        label: dialogue.label,
        prompt: prompt
            .map(|message| message.content.clone())
            .unwrap_or_default(),
        logit: score.logit.as_f64(),
        tokens: tokens.collect(),
    })
}

/// What a reader must know before the numbers.
fn caveats(data: &Data<'_>, split: Split, detectors: &[candor_schema::DetectorRow]) -> Vec<String> {
    let mut caveats = Vec::new();
    let written = data
        .split
        .iter()
        .filter(|reply| !reply.dialogue.on_policy)
        .count();
    if written > 0 {
        caveats.push(format!(
            "{written} of {} honest and deceptive replies were written for the data set and read by the model, not chosen by it: \
             this measures how the model reads a lie, not whether it is about to tell one.",
            data.split.len()
        ));
    }
    let probe = &detectors[0];
    for row in &detectors[1..] {
        let clear = row
            .probe_minus_this
            .is_some_and(|difference| difference.low > 0.0);
        if !clear && row.kind != DetectorKind::Null && !row.kind.is_own() {
            caveats.push(format!(
                "The probe (AUROC {:.2}) is not clearly better than `{}` (AUROC {:.2}): the interval of the difference includes 0.",
                probe.auroc.value, row.name, row.auroc.value
            ));
        }
    }
    if let Some(false_alarms) = probe
        .operating_points
        .first()
        .and_then(|point| point.false_alarms_honest)
        && let Some(rate) = false_alarms.rate()
    {
        caveats.push(format!(
            "The threshold is set on ordinary replies. On honest replies to the same prompts as the lies it raises a false alarm in {:.0} % ({} of {}).",
            rate * 100.0, false_alarms.k, false_alarms.n
        ));
    }
    if split != Split::Test {
        caveats.push(
            "These numbers are from the split on which the layer was chosen; they are too good."
                .into(),
        );
    }
    let refused = |point: &&candor_schema::OperatingPoint| point.threshold.is_none();
    for point in probe.operating_points.iter().filter(refused) {
        caveats.push(format!(
            "A budget of {:.1} % cannot be certified: {} independent ordinary replies are needed, {} are there.",
            point.fpr_budget * 100.0, point.n_required, point.n
        ));
    }
    caveats
}

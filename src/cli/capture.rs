//! `candor capture`: dialogues through the model, activations into a store.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use candor_activations::{
    DEFAULT_ROW_GROUP_BYTES, DatasetRef, HookPointWidth, Manifest, PartPlan, PartWriter, Positions,
    Precision, Store, Token,
};
use candor_dataset::Dataset;
use candor_model::{
    DialogueTokens, Hooks, LogitRows, Model, Recorder, Sequence, StepItem, surprise,
};
use candor_schema::{Dialogue, FormatVersion, HookPoint, Site};
use indicatif::ProgressBar;
use rayon::prelude::*;

use crate::args::{self, ModelArgs};
use crate::exit::{Exit, Failure};
use crate::{output, progress};

/// Dialogues per part: small enough that little is lost with a part, large enough for a fair file.
const DIALOGUES_PER_PART: usize = 64;
/// Where a store's plan says how many layers the model has.
pub(crate) const N_LAYERS: &str = "n_layers";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Labelled dialogues: a JSONL file, or a folder of them
    pub(crate) dataset: PathBuf,
    /// Folder of the store; a capture that was interrupted goes on there
    #[arg(long, short, env = "CANDOR_OUT")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Layers to capture, for example `4,8-12` [default: all]
    #[arg(long, env = "CANDOR_LAYERS")]
    pub(crate) layers: Option<String>,
    /// Sites to capture, named as the store's columns are, for example `resid_post,mlp_out`
    #[arg(
        long,
        env = "CANDOR_SITES",
        value_delimiter = ',',
        default_value = "resid_post"
    )]
    pub(crate) sites: Vec<String>,
    /// Tokens to store
    #[arg(long, env = "CANDOR_POSITIONS", value_enum, default_value = "response")]
    pub(crate) positions: PositionsArg,
    /// Precision that values are rounded to before they are written
    #[arg(long, env = "CANDOR_PRECISION", value_enum, default_value = "f16")]
    pub(crate) precision: PrecisionArg,
    /// Say what would be done, and stop
    #[arg(long, env = "CANDOR_DRY_RUN")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum PositionsArg {
    /// Every token
    All,
    /// The tokens of the scored assistant turn
    Response,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum PrecisionArg {
    F32,
    F16,
    Bf16,
}

/// What a capture stores.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) hook_points: Vec<HookPoint>,
    pub(crate) positions: Positions,
    pub(crate) precision: Precision,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dataset = candor_dataset::read(&args.dataset)?;
    let model = args.model.open()?;
    let settings = Settings {
        hook_points: hook_points(&model, args.layers.as_deref(), &args.sites)?,
        positions: match args.positions {
            PositionsArg::All => Positions::All,
            PositionsArg::Response => Positions::Response,
        },
        precision: match args.precision {
            PrecisionArg::F32 => Precision::F32,
            PrecisionArg::F16 => Precision::F16,
            PrecisionArg::Bf16 => Precision::Bf16,
        },
    };
    if args.dry_run {
        return dry_run(&model, &dataset, &settings);
    }
    let summary = capture(&model, &args.model.name(), &dataset, &settings, &args.out)?;
    output::note(format!(
        "captured {} tokens of {} dialogues at {} hook points into `{}` ({:.0} tokens/s)",
        summary.n_tokens,
        dataset.dialogues.len(),
        settings.hook_points.len(),
        args.out.display(),
        summary.tokens_per_second(),
    ));
    Ok(())
}

/// What a capture did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    /// Tokens that went through the model in this run.
    pub(crate) n_tokens: usize,
    /// Time in the model, encoding and writing included.
    pub(crate) seconds: f64,
}

impl Summary {
    pub(crate) fn tokens_per_second(&self) -> f64 {
        self.n_tokens as f64 / self.seconds.max(1e-9)
    }
}

/// Parses `--layers` and `--sites` and checks every point against the model.
pub(crate) fn hook_points(
    model: &Model,
    layers: Option<&str>,
    sites: &[String],
) -> anyhow::Result<Vec<HookPoint>> {
    let n_layers = model.config().n_layers;
    let layers: Vec<usize> = match layers {
        None => (0..n_layers).collect(),
        Some(text) => {
            let bad = || {
                Failure::error(
                    Exit::Usage,
                    format!("`--layers {text}`"),
                    "write layers like `4,8-12`",
                )
            };
            let mut layers = Vec::new();
            for part in text.split(',') {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let first: usize = first.trim().parse().map_err(|_| bad())?;
                let last: usize = last.trim().parse().map_err(|_| bad())?;
                if first > last || last > 1 << 16 {
                    return Err(bad());
                }
                layers.extend(first..=last);
            }
            layers
        }
    };
    let sites = sites
        .iter()
        .map(|name| {
            Site::ALL
                .into_iter()
                .find(|site| site.stem() == name)
                .ok_or_else(|| {
                    let known: Vec<&str> = Site::ALL.iter().map(|site| site.stem()).collect();
                    Failure::error(
                        Exit::Usage,
                        format!("unknown site `{name}`"),
                        format!("sites are {}", known.join(", ")),
                    )
                })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut points: Vec<HookPoint> = layers
        .iter()
        .flat_map(|&layer| sites.iter().map(move |&site| HookPoint::new(layer, site)))
        .collect();
    points.sort_unstable();
    points.dedup();
    for &point in &points {
        model.hook_width(point)?;
    }
    Ok(points)
}

fn dry_run(model: &Model, dataset: &Dataset, settings: &Settings) -> anyhow::Result<()> {
    let tokens = encode(model, &dataset.dialogues)?;
    let n_run: usize = tokens.iter().map(|tokens| tokens.response.end).sum();
    let n_stored: usize = match settings.positions {
        Positions::All => n_run,
        Positions::Response => tokens.iter().map(|tokens| tokens.response.len()).sum(),
    };
    let width: usize = settings
        .hook_points
        .iter()
        .filter_map(|point| model.width(point.site))
        .sum();
    // Measured on this machine: the first dialogues through the whole model.
    let start = Instant::now();
    let sample: Vec<&DialogueTokens> = tokens.iter().take(4).collect();
    let n_sample: usize = sample.iter().map(|tokens| tokens.response.end).sum();
    forward(model, &sample, settings)?;
    let rate = n_sample as f64 / start.elapsed().as_secs_f64();
    output::line(format!("dialogues       {}", dataset.dialogues.len()));
    output::line(format!("tokens run      {n_run}"));
    output::line(format!("tokens stored   {n_stored}"));
    output::line(format!("hook points     {}", settings.hook_points.len()));
    output::line(format!(
        "bytes at most   {} (before compression)",
        n_stored * width * 4
    ));
    output::line(format!(
        "time            about {:.0} s at {rate:.0} tokens/s (measured on {n_sample} tokens)",
        n_run as f64 / rate
    ));
    Ok(())
}

/// Renders and encodes every dialogue, refusing what does not fit the context.
fn encode(model: &Model, dialogues: &[Dialogue]) -> anyhow::Result<Vec<DialogueTokens>> {
    let one = |dialogue: &Dialogue| -> anyhow::Result<DialogueTokens> {
        let tokens = model.encode_whole(dialogue)?;
        if tokens.response.is_empty() {
            return Err(candor_model::Error::Empty {
                what: "assistant turn",
            }
            .into());
        }
        model.check_tokens(&tokens.ids)?;
        Ok(tokens)
    };
    dialogues
        .iter()
        .map(|dialogue| one(dialogue).with_context(|| format!("dialogue `{}`", dialogue.id)))
        .collect()
}

/// Captures a data set into a store, going on where an earlier run stopped.
pub(crate) fn capture(
    model: &Model,
    model_name: &str,
    dataset: &Dataset,
    settings: &Settings,
    out: &Path,
) -> anyhow::Result<Summary> {
    let tokens = encode(model, &dataset.dialogues)?;
    capture_tokens(model, model_name, dataset, &tokens, settings, out)
}

/// The same for dialogues that are encoded already, in the order of the data set.
pub(crate) fn capture_tokens(
    model: &Model,
    model_name: &str,
    dataset: &Dataset,
    tokens: &[DialogueTokens],
    settings: &Settings,
    out: &Path,
) -> anyhow::Result<Summary> {
    let widths = settings.hook_points.iter().map(|&hook_point| {
        Ok(HookPointWidth {
            hook_point,
            width: model.hook_width(hook_point)?,
        })
    });
    let manifest = Manifest {
        format_version: FormatVersion::CURRENT,
        candor_version: env!("CARGO_PKG_VERSION").into(),
        model: model.fingerprint().clone(),
        model_name: model_name.to_owned(),
        dataset: DatasetRef {
            name: dataset.name.clone(),
            sha256: dataset.sha256.clone(),
        },
        hook_points: widths.collect::<anyhow::Result<_>>()?,
        positions: settings.positions,
        precision: settings.precision,
        template_sha256: model.fingerprint().template_sha256.clone(),
        seed: None,
        n_threads: args::n_threads(),
        cpu_features: args::cpu_features(),
        row_group_bytes: DEFAULT_ROW_GROUP_BYTES,
        parts: dataset
            .dialogues
            .chunks(DIALOGUES_PER_PART)
            .enumerate()
            .map(|(index, chunk)| PartPlan {
                index,
                dialogues: chunk.iter().map(|dialogue| dialogue.id.clone()).collect(),
            })
            .collect(),
        // So that a layer's depth is known where only some were captured.
        extra: serde_json::Map::from_iter([(N_LAYERS.to_owned(), model.config().n_layers.into())]),
    };
    let mut store = Store::create_or_resume(out, &manifest)?;
    for rejected in store.rejected() {
        output::note(format!("done again: {}", rejected.reason));
    }
    if !store.has_dialogues() {
        store.write_dialogues(&dataset.dialogues)?;
    }
    let remaining = store.remaining();
    let n_left: usize = remaining
        .iter()
        .flat_map(|&part| part_range(part, tokens.len()))
        .map(|index| tokens[index].response.end)
        .sum();
    let bar = progress::bar(n_left as u64, "tokens");
    bar.set_message("capture");
    let start = Instant::now();
    for part in remaining {
        let range = part_range(part, tokens.len());
        let (dialogues, tokens) = (&dataset.dialogues[range.clone()], &tokens[range]);
        let writer = store.begin_part(part)?;
        if !capture_part(model, dialogues, tokens, settings, writer, &bar)? {
            let writer = store.begin_exact_part(part)?;
            capture_part(model, dialogues, tokens, settings, writer, &bar)?;
        }
    }
    bar.finish_and_clear();
    Ok(Summary {
        n_tokens: n_left,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Captures a part; says whether its values were within the range of the writer's precision.
fn capture_part(
    model: &Model,
    dialogues: &[Dialogue],
    tokens: &[DialogueTokens],
    settings: &Settings,
    mut writer: PartWriter<'_>,
    bar: &ProgressBar,
) -> anyhow::Result<bool> {
    let (start, mut next) = (bar.position(), 0);
    while next < tokens.len() {
        // Fill one pass with as many whole dialogues as fit; batches never cross a part.
        let mut end = next + 1;
        let mut n_rows = tokens[next].response.end;
        while end < tokens.len() && n_rows + tokens[end].response.end <= model.max_rows() {
            n_rows += tokens[end].response.end;
            end += 1;
        }
        let batch: Vec<&DialogueTokens> = tokens[next..end].iter().collect();
        for (rows, dialogue) in forward(model, &batch, settings)?
            .iter()
            .zip(&dialogues[next..])
        {
            let vectors: Vec<&[f32]> = rows.vectors.iter().map(Vec::as_slice).collect();
            match writer.append(&dialogue.id, &rows.tokens, &vectors) {
                Err(candor_activations::Error::BeyondPrecision { .. }) => {
                    bar.set_position(start);
                    return Ok(false);
                }
                other => other?,
            }
        }
        bar.inc(n_rows as u64);
        next = end;
    }
    writer.finish()?;
    Ok(true)
}

fn part_range(part: usize, n_dialogues: usize) -> std::ops::Range<usize> {
    part * DIALOGUES_PER_PART..((part + 1) * DIALOGUES_PER_PART).min(n_dialogues)
}

/// One dialogue's rows of the store.
struct Rows {
    tokens: Vec<Token>,
    /// Per hook point, row-major `[stored token, width]`.
    vectors: Vec<Vec<f32>>,
}

/// Runs dialogues up to the end of their scored turn, in one step.
fn forward(
    model: &Model,
    batch: &[&DialogueTokens],
    settings: &Settings,
) -> anyhow::Result<Vec<Rows>> {
    let first_stored = |tokens: &DialogueTokens| match settings.positions {
        Positions::All => 0,
        Positions::Response => tokens.response.start,
    };
    let mut recorder = Recorder::new(
        &settings.hook_points,
        batch.iter().map(|tokens| first_stored(tokens)).collect(),
    );
    let mut sequences: Vec<Sequence> = batch.iter().map(|_| Sequence::new()).collect();
    let mut items: Vec<StepItem<'_>> = sequences
        .iter_mut()
        .zip(batch)
        .map(|(sequence, tokens)| StepItem {
            sequence,
            tokens: &tokens.ids[..tokens.response.end],
            // The prediction of the reply's first token is made at the end of the prompt.
            logits: LogitRows::From(tokens.response.start.saturating_sub(1)),
        })
        .collect();
    let depth = model.config().n_layers;
    // A token's surprise takes an exponential per entry of the vocabulary: worth every core.
    let mut surprises: Vec<Vec<(f64, f64)>> = vec![Vec::new(); batch.len()];
    model.step_with(
        &mut items,
        depth,
        &mut Hooks::none().observe(&mut recorder),
        &mut |block| {
            let rows: Vec<_> = block.rows().collect();
            let found = rows.par_iter().map(|(row, logits)| {
                let next = batch[row.item].ids[..batch[row.item].response.end].get(row.token + 1);
                next.map(|next| (row.item, surprise(logits, *next)))
            });
            for (item, surprise) in found.collect::<Vec<_>>().into_iter().flatten() {
                surprises[item].push(surprise);
            }
        },
    )?;
    let items = recorder.into_items().into_iter().enumerate();
    let rows = batch.iter().zip(items).map(|(tokens, (item, vectors))| {
        let first_predicted = tokens.response.start.saturating_sub(1) + 1;
        let stored = first_stored(tokens)..tokens.response.end;
        let tokens = stored.map(|index| {
            let place = &tokens.places[index];
            let in_response = tokens.response.contains(&index);
            let row = in_response
                .then(|| index.checked_sub(first_predicted))
                .flatten();
            let surprise = row.and_then(|row| surprises[item].get(row));
            Token {
                message: place
                    .message
                    .map_or(-1, |message| i32::try_from(message).unwrap_or(i32::MAX)),
                token_index: index as u32,
                token_id: tokens.ids[index],
                segment: place.segment,
                in_response,
                in_span: place.in_span,
                from_end: in_response.then(|| (tokens.response.end - 1 - index) as u32),
                logprob: surprise.map(|surprise| surprise.0 as f32),
                entropy: surprise.map(|surprise| surprise.1 as f32),
            }
        });
        Rows {
            tokens: tokens.collect(),
            vectors,
        }
    });
    Ok(rows.collect())
}

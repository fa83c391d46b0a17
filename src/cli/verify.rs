//! `candor verify`: offline, HTTP, token-by-token and reused scores of the same replies agree.

use std::path::PathBuf;

use anyhow::Context;
use candor_activations::{Positions, Precision};
use candor_dataset::Dataset;
use candor_detect::{Detector, ReadOptions, ScoreInput, Scored};
use candor_schema::{Dialogue, HookPoint};

use crate::args::{ModelArgs, ProbeArgs, open_detector};
use crate::exit::{Exit, Failure};
use crate::local_server::LocalServer;
use crate::{capture, output, progress, replies};

/// Sizes of batches to compare.
const BATCHES: [usize; 3] = [1, 3, 8];

/// Memory for computed prefixes, in bytes.
const PREFIX_CACHE: usize = 512_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Labelled dialogues: a JSONL file, or a folder of them
    dataset: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    probes: ProbeArgs,
    /// Dialogues to compare
    #[arg(long, env = "CANDOR_DIALOGUES", default_value_t = 32)]
    dialogues: usize,
    /// Largest difference of a logit that is accepted
    #[arg(long, env = "CANDOR_TOLERANCE", default_value_t = 1e-3)]
    tolerance: f64,
    /// Print JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

/// How far one way of scoring is from the offline score.
struct Comparison {
    way: String,
    /// Largest absolute difference over replies, probes and tokens, in logits.
    difference: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dataset = candor_dataset::read(&args.dataset)?;
    let detector = open_detector(&args.model, &args.probes)?;
    let (n_dialogues, comparisons) = compare(&detector, &dataset, args.dialogues)?;
    let worst = comparisons
        .iter()
        .map(|comparison| comparison.difference)
        .fold(0.0, f64::max);
    if args.json {
        let ways: serde_json::Map<String, serde_json::Value> = comparisons
            .iter()
            .map(|comparison| (comparison.way.clone(), comparison.difference.into()))
            .collect();
        output::line(
            serde_json::json!({"ways": ways, "largest": worst, "n_dialogues": n_dialogues, "tolerance": args.tolerance}),
        );
    } else {
        for comparison in &comparisons {
            output::line(format!(
                "{:58} {:.2e}",
                comparison.way, comparison.difference
            ));
        }
        output::line(format!(
            "largest difference to the offline score: {worst:.2e} (tolerance {:.0e})",
            args.tolerance
        ));
    }
    if worst.is_nan() || worst > args.tolerance {
        let message = format!(
            "scores differ by {worst:.2e}, more than {:.0e}",
            args.tolerance
        );
        return Err(Failure::error(
            Exit::CheckFailed,
            message,
            "the same reply must have the same score everywhere: please report this",
        ));
    }
    Ok(())
}

fn compare(
    detector: &Detector,
    dataset: &Dataset,
    n_dialogues: usize,
) -> anyhow::Result<(usize, Vec<Comparison>)> {
    let dialogues: Vec<&Dialogue> = dataset.dialogues.iter().collect();
    let chosen = candor_dataset::subset(&dialogues, n_dialogues);
    let mut dialogues: Vec<Dialogue> = chosen.into_iter().cloned().collect();
    for dialogue in &mut dialogues {
        // `/score` takes messages without tools, so every way reads them so.
        dialogue.tools = None;
    }
    let expected = offline(detector, dataset, &dialogues)?;
    let inputs: Vec<ScoreInput> = dialogues
        .iter()
        .map(|dialogue| ScoreInput::Messages(dialogue.messages.clone()))
        .collect();
    output::note(format!(
        "{} dialogues, {} probes",
        dialogues.len(),
        detector.probes().len()
    ));

    let mut comparisons = Vec::new();
    let bar = progress::bar((BATCHES.len() * 4 + 7) as u64, "ways");
    bar.set_message("verify");
    for batch in BATCHES {
        for split_at_response in [false, true] {
            for early_exit in [true, false] {
                let options = ReadOptions {
                    batch,
                    split_at_response,
                    early_exit,
                    reuse: false,
                };
                let results = detector.read(&inputs, detector.probes(), options);
                let way = format!(
                    "read, batch {batch}, prompt cache {}, early exit {}",
                    on(split_at_response),
                    on(early_exit)
                );
                comparisons.push(against(
                    &expected,
                    way,
                    results
                        .into_iter()
                        .map(|result| result.map(|scored| logits(&scored))),
                )?);
                bar.inc(1);
            }
        }
    }
    for early_exit in [true, false] {
        let results = inputs.iter().map(|input| {
            detector
                .read_incrementally(input, detector.probes(), early_exit)
                .map(|scored| logits(&scored))
        });
        let way = format!("token by token, early exit {}", on(early_exit));
        comparisons.push(against(&expected, way, results)?);
        bar.inc(1);
    }
    let beginnings = beginnings(detector, &inputs)?;
    let cached = detector.clone().with_prefix_cache(PREFIX_CACHE);
    let read = |inputs: &[ScoreInput]| {
        let results = cached.read(inputs, cached.probes(), ReadOptions::default());
        results
            .into_iter()
            .map(|result| result.map(|scored| logits(&scored)))
    };
    // The first time fills the cache, the second restores from it.
    for time in ["first", "second"] {
        let way = format!("read, prefix reuse on, {time} time");
        comparisons.push(against(&expected, way, read(&inputs))?);
        bar.inc(1);
    }
    cached.prefix_cache().clear();
    for result in read(&beginnings) {
        result?;
    }
    let way = "read, prefix reuse on, after half of the reply".into();
    comparisons.push(against(&expected, way, read(&inputs))?);
    bar.inc(1);
    let results = inputs.iter().map(|input| {
        cached
            .read_incrementally(input, cached.probes(), false)
            .map(|scored| logits(&scored))
    });
    let way = "token by token, prefix reuse on".into();
    comparisons.push(against(&expected, way, results)?);
    bar.inc(1);
    output::note(format!(
        "{} tokens restored from the prefix cache",
        cached.prefix_cache().stats().reused_tokens
    ));
    let server = LocalServer::start(detector.clone())?;
    let results = dialogues.iter().map(|dialogue| {
        let verdict =
            server.score(&serde_json::json!({"messages": dialogue.messages, "tokens": true}))?;
        let of_probe = |probe: &candor_schema::ProbeVerdict| -> Vec<f64> {
            let tokens = probe
                .tokens
                .iter()
                .flatten()
                .filter_map(|token| token.logit);
            std::iter::once(probe.logit).chain(tokens).collect()
        };
        anyhow::Ok(verdict.probes.iter().map(of_probe).collect())
    });
    comparisons.push(against(&expected, "POST /score".into(), results)?);
    bar.finish_and_clear();
    Ok((dialogues.len(), comparisons))
}

/// Each prompt with the first half of its reply, as a caller sends it who scores a reply as it grows.
fn beginnings(detector: &Detector, inputs: &[ScoreInput]) -> anyhow::Result<Vec<ScoreInput>> {
    let mut beginnings = Vec::new();
    for input in inputs {
        if let ScoreInput::Messages(messages) = input {
            let tokens = detector.model().encode_dialogue(messages, &[])?;
            let half = tokens.response.len().div_ceil(2);
            let (prompt, response) = tokens.ids.split_at(tokens.response.start);
            beginnings.push(ScoreInput::TokenIds {
                prompt: prompt.to_vec(),
                response: response[..half].to_vec(),
            });
        }
    }
    Ok(beginnings)
}

fn on(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}

/// Pooled logit, then every token's logit, per probe.
type Logits = Vec<Vec<f64>>;

fn logits(scored: &Scored) -> Logits {
    let of_probe = |probe: &candor_detect::RunningProbe| {
        probe
            .logit()
            .iter()
            .chain(probe.tokens())
            .map(|logit| logit.as_f64())
            .collect()
    };
    scored.probes.iter().map(of_probe).collect()
}

/// Captures the dialogues into a store of its own and scores what is read back from it.
fn offline(
    detector: &Detector,
    dataset: &Dataset,
    dialogues: &[Dialogue],
) -> anyhow::Result<Vec<Logits>> {
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let mut points: Vec<HookPoint> = detector
        .probes()
        .iter()
        .flat_map(|probe| probe.probe().hook_points().to_vec())
        .collect();
    points.sort_unstable();
    points.dedup();
    let settings = capture::Settings {
        hook_points: points,
        positions: Positions::Response,
        // Stored as they are: rounding is the store's doing, not the scorer's.
        precision: Precision::F32,
    };
    let dataset = Dataset {
        name: dataset.name.clone(),
        sha256: dataset.sha256.clone(),
        dialogues: dialogues.to_vec(),
    };
    capture::capture(
        detector.model(),
        detector.model().name(),
        &dataset,
        &settings,
        folder.path(),
    )?;
    let store = replies::open(folder.path())?;
    let mut expected: Vec<Logits> = vec![Vec::new(); dialogues.len()];
    for loaded in detector.probes() {
        for (expected, reply) in expected
            .iter_mut()
            .zip(replies::load(&store, loaded.probe().hook_points())?)
        {
            let score = reply.score(loaded.probe())?;
            expected.push(
                std::iter::once(score.logit)
                    .chain(score.tokens)
                    .map(candor_probe::Logit::as_f64)
                    .collect(),
            );
        }
    }
    Ok(expected)
}

fn against<E: Into<anyhow::Error>>(
    expected: &[Logits],
    way: String,
    found: impl Iterator<Item = Result<Logits, E>>,
) -> anyhow::Result<Comparison> {
    let mut difference: f64 = 0.0;
    let mut n_found = 0;
    for (expected, found) in expected.iter().zip(found) {
        let found = found.map_err(Into::into)?;
        n_found += 1;
        anyhow::ensure!(
            expected.len() == found.len(),
            "{way}: {} probes, expected {}",
            found.len(),
            expected.len()
        );
        for (expected, found) in expected.iter().zip(&found) {
            anyhow::ensure!(
                expected.len() == found.len(),
                "{way}: {} logits, expected {}",
                found.len(),
                expected.len()
            );
            for (expected, found) in expected.iter().zip(found) {
                // A NaN must not pass as "no difference".
                let gap = (expected - found).abs();
                difference = if gap.is_nan() || gap > difference {
                    gap
                } else {
                    difference
                };
            }
        }
    }
    anyhow::ensure!(
        n_found == expected.len(),
        "{way}: {n_found} replies, expected {}",
        expected.len()
    );
    Ok(Comparison { way, difference })
}

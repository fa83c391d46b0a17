//! `candor bench`: speed and memory of a model on this machine.
//!
//! The workload is that of `tests/bench/workload.py`, which gives it to other engines too.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use candor_activations::{Positions, Precision};
use candor_dataset::Dataset;
use candor_model::{
    DialogueTokens, Hooks, LogitRows, Model, Recorder, Sequence, StepItem, TokenPlace,
};
use candor_probe::{Combiner, POOLINGS, Probe, Reading};
use candor_schema::{Dialogue, HookPoint, Segment};
use serde_json::{Map, Value, json};

use crate::args::ModelArgs;
use crate::{capture, output};

const N_PREFILL: usize = 512;
const N_DECODE: usize = 64;
const N_CAPTURED: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What to measure
    #[arg(
        long,
        env = "CANDOR_WHAT",
        value_enum,
        value_delimiter = ',',
        default_value = "prefill,decode,observe,capture,load,depth"
    )]
    what: Vec<What>,
    /// How often, after a warm-up
    #[arg(long, env = "CANDOR_ROUNDS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Folder for the store that a capture writes; what is written is removed again
    #[arg(long, env = "CANDOR_DIR", default_value = "target")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// 512 tokens at once
    Prefill,
    /// 64 tokens one by one after a prefill, without probes and with one per layer
    Decode,
    /// Four texts of 512 tokens, every layer, to main memory
    Observe,
    /// The same to Parquet on disk
    Capture,
    /// Opening the file, beside reading and hashing it
    Load,
    /// 512 tokens through a part of the layers
    Depth,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut figures = Map::new();
    let mut add = |key: &str, values: Vec<f64>| {
        figures.insert(key.to_owned(), values.into());
    };
    if args.what.contains(&What::Load) {
        let (load, read) = loading(args)?;
        add("load_s", load);
        add("read_and_hash_s", read);
    }
    let model = args.model.open()?;
    if args.what.contains(&What::Prefill) {
        let run = || prefill(&model, model.config().n_layers);
        run()?;
        let rates = (0..args.rounds).map(|_| Ok(N_PREFILL as f64 / run()?));
        add(
            "prefill_tokens_per_s",
            rates.collect::<anyhow::Result<_>>()?,
        );
    }
    if args.what.contains(&What::Decode) {
        let (plain, probed, share) = decoding(&model, args.rounds.into())?;
        add("decode_tokens_per_s", plain);
        add("decode_probed_tokens_per_s", probed);
        add("probe_share_of_step", share);
    }
    if args.what.contains(&What::Observe) {
        observing(&model)?;
        let rates = (0..args.rounds).map(|_| observing(&model));
        add(
            "observe_tokens_per_s",
            rates.collect::<anyhow::Result<_>>()?,
        );
    }
    if args.what.contains(&What::Capture) {
        add("capture_tokens_per_s", capturing(&model, args)?);
    }
    if args.what.contains(&What::Depth) {
        let depths = depths(&model, args.rounds.into())?;
        figures.insert("depth_ms".into(), json!(depths));
    }
    figures.insert("compute".into(), json!(model.fingerprint().compute));
    figures.insert("device".into(), json!(model.device().to_string()));
    figures.insert("weights_bytes".into(), json!(model.weight_bytes()));
    figures.insert("peak_rss_bytes".into(), json!(peak_rss_bytes()));
    if args.json {
        output::line(Value::Object(figures));
    } else {
        for (key, value) in figures {
            output::line(format!("{key:<28}{value}"));
        }
    }
    Ok(())
}

/// Ordinary ids in every vocabulary, the same for every engine.
fn token_ids(start: usize, n: usize) -> Vec<u32> {
    (start..start + n)
        .map(|i| 1_000 + (37 * i % 40_000) as u32)
        .collect()
}

/// Seconds of a prefill through `depth` layers.
fn prefill(model: &Model, depth: usize) -> anyhow::Result<f64> {
    let tokens = token_ids(0, N_PREFILL);
    let whole = depth == model.config().n_layers;
    let item = StepItem {
        sequence: &mut Sequence::new(),
        tokens: &tokens,
        logits: if whole {
            LogitRows::Last
        } else {
            LogitRows::None
        },
    };
    let start = Instant::now();
    model.step(&mut [item], depth, &mut Hooks::none())?;
    Ok(start.elapsed().as_secs_f64())
}

/// One linear probe that reads every layer.
fn probe(model: &Model) -> anyhow::Result<Probe> {
    let width = model.config().d_model;
    let n_layers = model.config().n_layers;
    let readings = (0..n_layers).map(|layer| {
        let weight = (0..width).map(|i| ((i + layer) % 7) as f32 - 3.0).collect();
        let point = HookPoint::resid_post(layer);
        Reading::new(point, vec![0.0; width], vec![1.0; width], weight, vec![0.0])
    });
    Ok(Probe::new(
        readings.collect::<Result<_, _>>()?,
        POOLINGS[0],
        Combiner::WeightedSum {
            weight: vec![1.0 / n_layers as f32; n_layers],
            bias: 0.0,
        },
    )?)
}

/// Tokens per second without and with a probe at every layer, and the probe's share of a step.
fn decoding(model: &Model, rounds: usize) -> anyhow::Result<(Vec<f64>, Vec<f64>, Vec<f64>)> {
    let n_layers = model.config().n_layers;
    let probe = probe(model)?;
    let mut prompt = Sequence::new();
    step(
        model,
        &mut prompt,
        &token_ids(0, N_PREFILL),
        &mut Hooks::none(),
    )?;
    let prompt = model.snapshot(&prompt);
    let steps = token_ids(N_PREFILL, N_DECODE);
    let (mut plain, mut probed, mut share) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let mut sequence = model.restore(&prompt)?;
        let start = Instant::now();
        for &token in &steps {
            step(model, &mut sequence, &[token], &mut Hooks::none())?;
        }
        let without = start.elapsed().as_secs_f64();

        let mut sequence = model.restore(&prompt)?;
        let mut state = probe.start();
        let mut in_probe = 0.0;
        let start = Instant::now();
        for &token in &steps {
            let mut recorder = Recorder::new(probe.hook_points(), vec![0]);
            step(
                model,
                &mut sequence,
                &[token],
                &mut Hooks::none().observe(&mut recorder),
            )?;
            let scoring = Instant::now();
            let vectors: Vec<&[f32]> = recorder.item(0).iter().map(Vec::as_slice).collect();
            state.push(&probe, &vectors)?;
            in_probe += scoring.elapsed().as_secs_f64();
        }
        let with = start.elapsed().as_secs_f64();
        anyhow::ensure!(n_layers == probe.readings().len() && state.logit().is_some());
        if round > 0 {
            plain.push(N_DECODE as f64 / without);
            probed.push(N_DECODE as f64 / with);
            share.push(in_probe / with);
        }
    }
    Ok((plain, probed, share))
}

fn step(
    model: &Model,
    sequence: &mut Sequence,
    tokens: &[u32],
    hooks: &mut Hooks<'_>,
) -> anyhow::Result<()> {
    let item = StepItem {
        sequence,
        tokens,
        logits: LogitRows::Last,
    };
    model.step(&mut [item], model.config().n_layers, hooks)?;
    Ok(())
}

/// Tokens per second with every layer's stream brought to main memory.
fn observing(model: &Model) -> anyhow::Result<f64> {
    let n_layers = model.config().n_layers;
    let points: Vec<HookPoint> = (0..n_layers).map(HookPoint::resid_post).collect();
    let texts: Vec<Vec<u32>> = (0..N_CAPTURED)
        .map(|row| token_ids(N_PREFILL * row, N_PREFILL))
        .collect();
    let mut recorder = Recorder::new(&points, vec![0; N_CAPTURED]);
    let mut sequences: Vec<Sequence> = texts.iter().map(|_| Sequence::new()).collect();
    let mut items: Vec<StepItem<'_>> = sequences
        .iter_mut()
        .zip(&texts)
        .map(|(sequence, tokens)| StepItem {
            sequence,
            tokens,
            logits: LogitRows::None,
        })
        .collect();
    let start = Instant::now();
    let mut hooks = Hooks::none().observe(&mut recorder);
    model.step(&mut items, n_layers, &mut hooks)?;
    let seconds = start.elapsed().as_secs_f64();
    anyhow::ensure!(recorder.item(0)[0].len() == N_PREFILL * model.config().d_model);
    Ok((N_CAPTURED * N_PREFILL) as f64 / seconds)
}

/// Tokens per second of a whole capture, from token ids to the closed files.
fn capturing(model: &Model, args: &Args) -> anyhow::Result<Vec<f64>> {
    let tokens: Vec<DialogueTokens> = (0..N_CAPTURED)
        .map(|row| DialogueTokens {
            ids: token_ids(N_PREFILL * row, N_PREFILL),
            places: vec![
                TokenPlace {
                    message: Some(0),
                    segment: Segment::Assistant,
                    in_span: false,
                    text: String::new(),
                };
                N_PREFILL
            ],
            // One token of reply: predictions of the others are not asked of the peers either.
            response: N_PREFILL - 1..N_PREFILL,
        })
        .collect();
    let dialogues = (0..N_CAPTURED).map(|row| {
        serde_json::from_value::<Dialogue>(json!({
            "id": format!("bench-{row}"), "scenario": format!("bench-{row}"), "family": "bench",
            "messages": [{"role": "user", "content": "bench"}, {"role": "assistant", "content": "bench"}],
            "label": "control", "split": "train", "origin": "written", "licence": "Apache-2.0", "source": "candor bench",
        }))
    });
    let dataset = Dataset {
        name: "bench".into(),
        sha256: "0".repeat(64),
        dialogues: dialogues.collect::<Result<_, _>>()?,
    };
    let settings = capture::Settings {
        hook_points: (0..model.config().n_layers)
            .map(HookPoint::resid_post)
            .collect(),
        positions: Positions::All,
        precision: Precision::F16,
    };
    std::fs::create_dir_all(&args.dir)
        .with_context(|| format!("cannot create `{}`", args.dir.display()))?;
    let mut rates = Vec::new();
    for round in 0..=args.rounds {
        let folder = tempfile::tempdir_in(&args.dir)?;
        let start = Instant::now();
        capture::capture_tokens(
            model,
            "bench",
            &dataset,
            &tokens,
            &settings,
            &folder.path().join("store"),
        )?;
        let seconds = start.elapsed().as_secs_f64();
        if round > 0 {
            rates.push((N_CAPTURED * N_PREFILL) as f64 / seconds);
        }
    }
    Ok(rates)
}

/// Seconds to open the model, and to read and hash its files, taking turns.
fn loading(args: &Args) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let path = args.model.path()?;
    let (mut load, mut read) = (Vec::new(), Vec::new());
    hash(&path)?;
    for _ in 0..args.rounds {
        let start = Instant::now();
        args.model.open()?;
        load.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        hash(&path)?;
        read.push(start.elapsed().as_secs_f64());
    }
    Ok((load, read))
}

fn hash(path: &Path) -> anyhow::Result<()> {
    use sha2::{Digest, Sha256};
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hasher.update(&buffer[..n]);
    }
    anyhow::ensure!(hasher.finalize().len() == 32);
    Ok(())
}

/// Layers run, and the median milliseconds of 512 tokens through them.
fn depths(model: &Model, rounds: usize) -> anyhow::Result<Vec<(usize, f64)>> {
    let n_layers = model.config().n_layers;
    let parts = [n_layers / 4, n_layers / 2, 3 * n_layers / 4, n_layers];
    let mut depths = Vec::new();
    for depth in parts.into_iter().filter(|depth| *depth > 0) {
        prefill(model, depth)?;
        let mut times = (0..rounds)
            .map(|_| prefill(model, depth))
            .collect::<anyhow::Result<Vec<_>>>()?;
        times.sort_by(f64::total_cmp);
        depths.push((depth, times[times.len() / 2] * 1e3));
    }
    Ok(depths)
}

/// The largest amount of memory that this process has held, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

//! Tokens per second of prefill and decode, beside candle-transformers on the same file, in one run.
//!
//! `cargo bench --workspace --bench speed`, with `CANDOR_MODEL_DIR` set. Prints times and ratios, asserts
//! nothing. Both run the quantised weights with eight-bit activations and see the same
//! tokens, and the median of three runs counts. `tests/bench/transformers_speed.py` prints the same for transformers.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::path::Path;
use std::time::Instant;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use candor_model::{Hooks, LogitRows, Model, Recorder, Sequence, StepItem};
use candor_schema::HookPoint;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const N_PREFILL: usize = 512;
const N_DECODE: usize = 64;
const N_RUNS: usize = 3;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(folder) = std::env::var_os("CANDOR_MODEL_DIR") else {
        println!("skipped: CANDOR_MODEL_DIR is not set");
        return Ok(());
    };
    let path = Path::new(&folder).join(FILE);
    let model = Model::open(&path)?;
    let mut file = std::fs::File::open(&path)?;
    let mut oracle = ModelWeights::from_gguf(Content::read(&mut file)?, &mut file, &Device::Cpu)?;
    let n_layers = model.config().n_layers;
    let tokens: Vec<u32> = (0..N_PREFILL as u32)
        .map(|i| 1_000 + i * 37 % 40_000)
        .collect();

    let prefill = |record: bool| -> Result<f64, Box<dyn std::error::Error>> {
        let points: Vec<HookPoint> = (0..n_layers).map(HookPoint::resid_post).collect();
        let mut recorder = Recorder::new(&points, vec![0]);
        let mut sequence = Sequence::new();
        let item = StepItem {
            sequence: &mut sequence,
            tokens: &tokens,
            logits: LogitRows::Last,
        };
        let mut hooks = if record {
            Hooks::none().observe(&mut recorder)
        } else {
            Hooks::none()
        };
        let start = Instant::now();
        model.step(&mut [item], n_layers, &mut hooks)?;
        Ok(N_PREFILL as f64 / start.elapsed().as_secs_f64())
    };
    let decode = || -> Result<f64, Box<dyn std::error::Error>> {
        let mut sequence = Sequence::new();
        let mut push = |tokens: &[u32]| {
            let item = StepItem {
                sequence: &mut sequence,
                tokens,
                logits: LogitRows::Last,
            };
            model.step(&mut [item], n_layers, &mut Hooks::none())
        };
        push(&tokens[..16])?;
        let start = Instant::now();
        for &token in &tokens[16..16 + N_DECODE] {
            push(&[token])?;
        }
        Ok(N_DECODE as f64 / start.elapsed().as_secs_f64())
    };
    let mut oracle_prefill = || -> Result<f64, Box<dyn std::error::Error>> {
        let input = Tensor::from_slice(&tokens, (1, N_PREFILL), &Device::Cpu)?;
        let start = Instant::now();
        oracle.forward(&input, 0)?;
        Ok(N_PREFILL as f64 / start.elapsed().as_secs_f64())
    };

    // One of each in turn, so that a change of the machine's load meets all alike.
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..N_RUNS {
        rates[0].push(prefill(false)?);
        rates[1].push(prefill(true)?);
        rates[2].push(oracle_prefill()?);
        rates[3].push(decode()?);
    }
    let mut oracle_decode = Vec::new();
    for _ in 0..N_RUNS {
        let input = Tensor::from_slice(&tokens[..16], (1, 16), &Device::Cpu)?;
        oracle.forward(&input, 0)?;
        let start = Instant::now();
        for (position, &token) in (16..).zip(&tokens[16..16 + N_DECODE]) {
            oracle.forward(
                &Tensor::from_slice(&[token], (1, 1), &Device::Cpu)?,
                position,
            )?;
        }
        oracle_decode.push(N_DECODE as f64 / start.elapsed().as_secs_f64());
    }
    let [plain, hooked, candle, decoding] = rates.map(median);
    let candle_decoding = median(oracle_decode);
    println!(
        "{FILE}, {} threads, tokens per second, median of {N_RUNS}",
        candor_model::n_threads()
    );
    let compute = &model.fingerprint().compute;
    println!(
        "prefill of {N_PREFILL}: candor {compute} {plain:.0}, with every layer recorded {hooked:.0}; candle-transformers {candle:.0}; ratio {:.2}",
        hooked / candle
    );
    println!(
        "decode of {N_DECODE}: candor {compute} {decoding:.1}; candle-transformers {candle_decoding:.1}; ratio {:.2}",
        decoding / candle_decoding
    );
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

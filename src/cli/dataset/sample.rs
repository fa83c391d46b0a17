//! `candor dataset sample`: a model's own replies to prompts.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context;
use candor_model::{History, Hooks, LogitRows, Model, Sampler, Sampling, Sequence, StepItem};
use candor_schema::{Dialogue, Message, Origin, Role};

use crate::args::ModelArgs;
use crate::{output, progress};

/// Replies that are written in one pass.
const BATCH: usize = 16;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Prompts: dialogues that end with a user turn, as JSONL
    prompts: PathBuf,
    /// File for the dialogues with their replies; replies already in it are kept
    #[arg(long, short, env = "CANDOR_OUT")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Divides the logits; 0 takes the most likely token
    #[arg(long, env = "CANDOR_TEMPERATURE", default_value_t = 0.7)]
    temperature: f64,
    /// Keeps the smallest set of tokens with this much probability
    #[arg(long, env = "CANDOR_TOP_P", default_value_t = 0.95)]
    top_p: f64,
    /// Keeps this many of the most likely tokens; 0 keeps all
    #[arg(long, env = "CANDOR_TOP_K", default_value_t = 0)]
    top_k: u32,
    /// Keeps tokens with at least this fraction of the highest probability
    #[arg(long, env = "CANDOR_MIN_P", default_value_t = 0.0)]
    min_p: f64,
    /// Makes tokens that prompt or reply already have less likely; 1 does nothing
    #[arg(long, env = "CANDOR_REPETITION_PENALTY", default_value_t = 1.0)]
    repetition_penalty: f64,
    /// Most tokens of a reply
    #[arg(long, env = "CANDOR_MAX_TOKENS", default_value_t = 80)]
    max_tokens: usize,
    /// Seed; each prompt's own seed follows from it and the prompt's place in the file
    #[arg(long, env = "CANDOR_SEED", default_value_t = 0)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let prompts = candor_dataset::read(&args.prompts)?;
    let mut done = if args.out.exists() {
        candor_dataset::read(&args.out)?.dialogues
    } else {
        Vec::new()
    };
    let known: HashSet<String> = done.iter().map(|dialogue| dialogue.id.clone()).collect();
    let left: Vec<(usize, &Dialogue)> = prompts
        .dialogues
        .iter()
        .enumerate()
        .filter(|(_, dialogue)| !known.contains(&dialogue.id))
        .collect();
    let model = args.model.open()?;
    let bar = progress::bar(left.len() as u64, "replies");
    bar.set_message("sample");
    for batch in left.chunks(BATCH) {
        done.extend(reply_to(&model, &args.model.name(), batch, args)?);
        // Written whole after each batch, so that an interruption loses at most one.
        candor_dataset::write(&args.out, &done)?;
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    output::note(format!(
        "{} replies in `{}`, {} of them new",
        done.len(),
        args.out.display(),
        left.len()
    ));
    Ok(())
}

/// One reply in the making.
struct Draft {
    sequence: Sequence,
    sampler: Sampler,
    n_prompt: usize,
    next: Vec<u32>,
    reply: Vec<u32>,
    ended: bool,
}

fn reply_to(
    model: &Model,
    model_name: &str,
    batch: &[(usize, &Dialogue)],
    args: &Args,
) -> anyhow::Result<Vec<Dialogue>> {
    let sampling = |index: usize| Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed.wrapping_mul(1_000_003).wrapping_add(index as u64),
        ..Sampling::GREEDY
    };
    let mut drafts = batch
        .iter()
        .map(|(index, dialogue)| {
            let prompt = model
                .encode_dialogue(&dialogue.messages, &[])
                .with_context(|| format!("prompt `{}`", dialogue.id))?;
            anyhow::ensure!(
                prompt.response.is_empty(),
                "prompt `{}` already has a reply",
                dialogue.id
            );
            let sampler = Sampler::new(sampling(*index))?;
            Ok(Draft {
                sequence: Sequence::new(),
                sampler,
                n_prompt: prompt.ids.len(),
                next: prompt.ids,
                reply: Vec::new(),
                ended: false,
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    for _ in 0..args.max_tokens {
        let mut open: Vec<&mut Draft> = drafts.iter_mut().filter(|draft| !draft.ended).collect();
        if open.is_empty() {
            break;
        }
        let logits = {
            let mut items: Vec<StepItem<'_>> = open
                .iter_mut()
                .map(|draft| StepItem {
                    sequence: &mut draft.sequence,
                    tokens: &draft.next,
                    logits: LogitRows::Last,
                })
                .collect();
            model.step(&mut items, model.config().n_layers, &mut Hooks::none())?
        };
        for (draft, logits) in open.iter_mut().zip(logits) {
            let history = History {
                prompt: &draft.sequence.tokens()[..draft.n_prompt],
                reply: &draft.reply,
            };
            let token = draft.sampler.sample(&logits[0], history)?;
            if model.tokenizer().is_end(token) {
                draft.ended = true;
            } else {
                draft.reply.push(token);
                draft.next = vec![token];
            }
        }
    }
    batch
        .iter()
        .zip(drafts)
        .map(|((_, dialogue), draft)| {
            let mut dialogue = (*dialogue).clone();
            let text = model.tokenizer().decode(&draft.reply)?;
            dialogue.messages.push(Message::new(Role::Assistant, text));
            dialogue.origin = Origin::Sampled;
            dialogue.on_policy = true;
            dialogue.model = Some(model_name.to_owned());
            let mut settings = serde_json::to_value(draft.sampler.sampling())?;
            settings["max_tokens"] = args.max_tokens.into();
            settings["finish"] = if draft.ended { "stop" } else { "length" }.into();
            dialogue.sampling = Some(settings);
            Ok(dialogue)
        })
        .collect()
}

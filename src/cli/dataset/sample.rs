//! `candor dataset sample`: a model's own replies to prompts.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context;
use candor_model::{History, Hooks, LogitRows, Model, Sampler, Sampling, Sequence, StepItem};
use candor_schema::{Dialogue, Label, Message, Origin, Role};

use crate::args::ModelArgs;
use crate::exit::{Exit, Failure};
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
    /// Seed; each reply's own seed follows from it, the prompt's place in the file and the sample
    #[arg(long, env = "CANDOR_SEED", default_value_t = 0)]
    seed: u64,
    /// Replies to each prompt; with more than one, `-1`, `-2` … follow the prompt's `id`
    #[arg(long, env = "CANDOR_SAMPLES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    samples: u32,
    /// Take the last assistant turn away where a dialogue ends with one, and answer each prompt once
    #[arg(long, env = "CANDOR_DROP_REPLIES")]
    drop_replies: bool,
}

/// A prompt and which of its samples is asked for.
struct Task {
    dialogue: Dialogue,
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
    let mut left = tasks(prompts.dialogues, args);
    left.retain(|task| !known.contains(&task.dialogue.id));
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

/// Every reply that is asked for, in order.
fn tasks(mut prompts: Vec<Dialogue>, args: &Args) -> Vec<Task> {
    if args.drop_replies {
        for prompt in &mut prompts {
            if let Some(last) = prompt.scored_message() {
                prompt.messages.truncate(last);
                prompt.spans.retain(|span| span.message < last);
            }
        }
        let mut seen = HashSet::new();
        // The first of a pair stands for both: their prompts are the same.
        prompts.retain(|prompt| {
            let messages = prompt.messages.iter();
            seen.insert(
                messages
                    .map(|m| (m.role, m.content.clone()))
                    .collect::<Vec<_>>(),
            )
        });
    }
    let n_samples = u64::from(args.samples);
    let tasks = prompts.into_iter().enumerate().flat_map(|(index, prompt)| {
        (0..n_samples).map(move |sample| {
            let mut dialogue = prompt.clone();
            if n_samples > 1 {
                dialogue.id = format!("{}-{}", prompt.id, sample + 1);
            }
            let seed = (index as u64).wrapping_add(sample.wrapping_mul(7_919));
            Task { dialogue, seed }
        })
    });
    tasks.collect()
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
    batch: &[Task],
    args: &Args,
) -> anyhow::Result<Vec<Dialogue>> {
    let sampling = |seed: u64| Sampling {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed.wrapping_mul(1_000_003).wrapping_add(seed),
        ..Sampling::GREEDY
    };
    let mut drafts = batch
        .iter()
        .map(|Task { dialogue, seed }| {
            let prompt = model
                .encode_dialogue(&dialogue.messages, &[])
                .with_context(|| format!("prompt `{}`", dialogue.id))?;
            if !prompt.response.is_empty() {
                let message = format!("prompt `{}` already has a reply", dialogue.id);
                let hint = "`--drop-replies` takes it away first";
                return Err(Failure::error(Exit::BadInput, message, hint));
            }
            let sampler = Sampler::new(sampling(*seed))?;
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
        .map(|(task, draft)| {
            let mut dialogue = task.dialogue.clone();
            let text = model.tokenizer().decode(&draft.reply)?;
            dialogue.messages.push(Message::new(Role::Assistant, text));
            // What the reply is, nobody has said yet; an ordinary prompt's is a control whatever it says.
            if dialogue.label != Label::Control {
                dialogue.label = Label::Ungraded;
                dialogue.harmful_intent = false;
                dialogue.mode = None;
            }
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

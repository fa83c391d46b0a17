//! `candor dataset sample`: a model's own replies to prompts.

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context;
use candor_model::Model;
use candor_schema::{Dialogue, Label, Message, Origin, Role};

use super::drafts::{self, BATCH, Draft, SamplingArgs};
use super::kept;
use crate::args::ModelArgs;
use crate::exit::{Exit, Failure};
use crate::{output, progress};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Prompts: dialogues that end with a user turn, as JSONL
    prompts: PathBuf,
    /// File for the dialogues with their replies; replies already in it are kept
    #[arg(long, short, env = "CANDOR_OUT")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Most tokens of a reply
    #[arg(long, env = "CANDOR_MAX_TOKENS", default_value_t = 80)]
    max_tokens: usize,
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
    let mut done = kept::dialogues(&args.out, &args.model.name())?;
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

/// A draft with the prompt of a task.
fn draft(model: &Model, task: &Task, args: &Args) -> anyhow::Result<Draft> {
    let dialogue = &task.dialogue;
    let prompt = model
        .encode_whole(dialogue)
        .with_context(|| format!("prompt `{}`", dialogue.id))?;
    if !prompt.response.is_empty() {
        let message = format!("prompt `{}` already has a reply", dialogue.id);
        let hint = "`--drop-replies` takes it away first";
        return Err(Failure::error(Exit::BadInput, message, hint));
    }
    let mut draft = args.sampling.draft(task.seed)?;
    draft.read(&prompt.ids);
    Ok(draft)
}

fn reply_to(
    model: &Model,
    model_name: &str,
    batch: &[Task],
    args: &Args,
) -> anyhow::Result<Vec<Dialogue>> {
    let mut drafts = batch
        .iter()
        .map(|task| draft(model, task, args))
        .collect::<anyhow::Result<Vec<_>>>()?;
    drafts::write(
        model,
        &mut drafts.iter_mut().collect::<Vec<_>>(),
        args.max_tokens,
    )?;
    batch
        .iter()
        .zip(drafts)
        .map(|(task, draft)| {
            let mut dialogue = task.dialogue.clone();
            let text = draft.text(model)?;
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
            dialogue.sampling = Some(draft.settings(args.max_tokens)?);
            Ok(dialogue)
        })
        .collect()
}

//! `candor dataset grade`: labels of a model's own replies, by key and belief.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use candor_dataset::{Grade, beliefs, label_of};
use candor_schema::{Label, Mode};

use crate::exit::{Exit, Failure};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The model's replies, as `candor dataset sample` writes them
    replies: PathBuf,
    /// Its replies to neutral prompts of the same scenarios, several to each: what it knows
    #[arg(long, env = "CANDOR_BELIEFS")]
    beliefs: PathBuf,
    /// File for the replies that could be graded
    #[arg(long, short, env = "CANDOR_OUT")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let replies = candor_dataset::read(&args.replies)?;
    let neutral = candor_dataset::read(&args.beliefs)?;
    let beliefs = beliefs(&neutral.dialogues)?;
    let mut counts: BTreeMap<String, BTreeMap<Label, usize>> = BTreeMap::new();
    let mut said: BTreeMap<&str, usize> = BTreeMap::new();
    let n_replies = replies.dialogues.len();
    let mut kept = Vec::new();
    for mut dialogue in replies.dialogues {
        let Some(key) = &dialogue.key else {
            let message = format!("dialogue `{}` has no key", dialogue.id);
            let hint = "only replies to questions with a known answer can be graded";
            return Err(Failure::error(Exit::BadInput, message, hint));
        };
        let reply = dialogue
            .answer()
            .with_context(|| format!("dialogue `{}` has no reply", dialogue.id))?;
        let belief = beliefs.get(&dialogue.scenario).copied();
        let label = label_of(key, reply, belief)?;
        let by_key = match candor_dataset::grade(key, reply)? {
            Grade::Truth => "the true answer",
            Grade::Lie => "the false one",
            Grade::Both | Grade::Neither => "neither, or both",
        };
        *said.entry(by_key).or_default() += 1;
        *counts
            .entry(dialogue.family.clone())
            .or_default()
            .entry(label)
            .or_default() += 1;
        if label == Label::Ungraded {
            continue;
        }
        dialogue.label = label;
        dialogue.belief = belief;
        dialogue.mode = (label == Label::Deceptive).then_some(Mode::Commission);
        // Replies to one prompt are each other's contrast.
        dialogue.pair = Some(dialogue.scenario.clone());
        kept.push(dialogue);
    }
    candor_dataset::write(&args.out, &kept)?;
    output::line("family                      honest  deceptive  mistaken  ungraded (left out)");
    for (family, counts) in &counts {
        let n = |label| counts.get(&label).copied().unwrap_or(0);
        output::line(format!(
            "{family:<26}{:>8}{:>11}{:>10}{:>10}",
            n(Label::Honest),
            n(Label::Deceptive),
            n(Label::Mistaken),
            n(Label::Ungraded)
        ));
    }
    for (what, n) in &said {
        output::line(format!(
            "{what}: {n} of {n_replies} replies, whatever was known"
        ));
    }
    output::note(format!(
        "{} replies in `{}`",
        kept.len(),
        args.out.display()
    ));
    Ok(())
}

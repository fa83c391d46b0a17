//! `candor dataset act`: a model acts in a small world, and is asked what it did.

mod summary;

use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::Context;
use candor_model::Model;
use candor_schema::{Dialogue, Incentive, Message, Role};
use candor_world::{Episode, Next, ToolForm, situation_names};

use super::drafts::{self, BATCH, Draft, SamplingArgs};
use super::kept;
use crate::args::ModelArgs;
use crate::{output, progress};

/// Tokens of context that are kept free for a question and its template.
const QUESTION_TOKENS: usize = 192;

/// What `--incentive` may be.
const INCENTIVES: [Incentive; 3] = [Incentive::Deceptive, Incentive::Honest, Incentive::Neutral];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File for the transcripts; episodes already in it are kept
    #[arg(long, short, env = "CANDOR_OUT")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Number of episodes; situations take turns, then incentives
    #[arg(long, env = "CANDOR_EPISODES", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    episodes: u64,
    /// Only this situation; may be given several times
    #[arg(
        long = "situation",
        env = "CANDOR_SITUATION",
        value_name = "NAME",
        value_delimiter = ',',
        value_parser = clap::builder::PossibleValuesParser::new(situation_names())
    )]
    situations: Vec<String>,
    /// Only this incentive; may be given several times
    #[arg(
        long = "incentive",
        env = "CANDOR_INCENTIVE",
        value_delimiter = ',',
        value_parser = clap::builder::PossibleValuesParser::new(INCENTIVES.map(Incentive::as_str))
    )]
    incentives: Vec<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Most tokens of a turn
    #[arg(long, env = "CANDOR_MAX_TOKENS", default_value_t = 160)]
    max_tokens: usize,
    /// File for answers to the same questions without an incentive, for `candor dataset grade`
    #[arg(long, env = "CANDOR_BELIEFS")]
    beliefs: Option<PathBuf>,
    /// Answers of that kind for each episode
    #[arg(long, env = "CANDOR_BELIEF_SAMPLES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    belief_samples: u32,
    /// Print the summary as JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

/// An episode that is asked for.
struct Task {
    situation: &'static str,
    incentive: Incentive,
    /// Place in the run, from which its seed follows.
    index: u64,
}

impl Task {
    fn begin(&self, args: &Args, form: ToolForm) -> candor_world::Result<Episode> {
        let seed = args.sampling.seed.wrapping_mul(1_000_003);
        let seed = seed.wrapping_add(self.index);
        Episode::new(self.situation, seed, self.incentive, form)
    }
}

/// An episode and the agent that plays it.
struct Player {
    index: u64,
    episode: Episode,
    draft: Draft,
    /// Whether the transcript no longer fits into the model's context.
    full: bool,
}

/// What a batch of episodes gives.
#[derive(Default)]
struct Played {
    transcripts: Vec<Dialogue>,
    beliefs: Vec<Dialogue>,
    /// Episodes without an answer that says something.
    n_silent: usize,
    /// Episodes that did not fit into the context.
    n_full: usize,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut done = kept::dialogues(&args.out, &args.model.name())?;
    let known: HashSet<String> = done.iter().map(|dialogue| dialogue.id.clone()).collect();
    let mut beliefs = match &args.beliefs {
        None => Vec::new(),
        Some(path) => kept::dialogues(path, &args.model.name())?,
    };
    // An episode whose transcript was not written any more is played again, beliefs and all.
    beliefs.retain(|dialogue| known.contains(&dialogue.scenario));
    let model = args.model.open()?;
    let form = if model.chat_template()?.knows_tools() {
        ToolForm::Template
    } else {
        ToolForm::Words
    };
    let mut left = Vec::new();
    for task in tasks(args) {
        if !known.contains(&task.begin(args, form)?.id()) {
            left.push(task);
        }
    }
    let n_kept = done.len();
    let (mut n_silent, mut n_full) = (0, 0);
    let bar = progress::bar(left.len() as u64, "episodes");
    bar.set_message("act");
    for batch in left.chunks(BATCH) {
        let played = play(&model, batch, form, args)?;
        n_silent += played.n_silent;
        n_full += played.n_full;
        beliefs.extend(played.beliefs);
        done.extend(played.transcripts);
        if let Some(path) = &args.beliefs {
            candor_dataset::write(path, &beliefs)?;
        }
        candor_dataset::write(&args.out, &done)?;
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    summary::print(&done, args.json)?;
    for (n, what) in [
        (n_silent, "ended without an answer"),
        (n_full, "did not fit into the model's context"),
    ] {
        if n > 0 {
            output::note(format!("{n} episodes {what} and are left out"));
        }
    }
    output::note(format!(
        "{} episodes in `{}`, {} of them new; tools {}",
        done.len(),
        args.out.display(),
        done.len() - n_kept,
        match form {
            ToolForm::Template => "by the chat template",
            ToolForm::Words => "in plain words: the chat template knows none",
        }
    ));
    Ok(())
}

/// Every episode that is asked for: situations take turns, and after each round the incentive changes.
fn tasks(args: &Args) -> Vec<Task> {
    let chosen = |given: &[String], name: &str| given.is_empty() || given.iter().any(|g| g == name);
    let mut situations = situation_names();
    situations.retain(|name| chosen(&args.situations, name));
    let incentives = INCENTIVES.into_iter();
    let incentives: Vec<Incentive> = incentives
        .filter(|incentive| chosen(&args.incentives, incentive.as_str()))
        .collect();
    (0..args.episodes)
        .map(|index| {
            let (round, turn) = (
                index as usize / situations.len(),
                index as usize % situations.len(),
            );
            Task {
                situation: situations[turn],
                incentive: incentives[round % incentives.len()],
                index,
            }
        })
        .collect()
}

/// Plays episodes side by side, a turn of each in one pass.
fn play(model: &Model, batch: &[Task], form: ToolForm, args: &Args) -> anyhow::Result<Played> {
    let mut players = Vec::with_capacity(batch.len());
    for task in batch {
        players.push(Player {
            index: task.index,
            episode: task.begin(args, form)?,
            draft: args.sampling.draft(task.index)?,
            full: false,
        });
    }
    loop {
        let mut open = Vec::new();
        for player in &mut players {
            if player.read(model, args.max_tokens)? {
                open.push(player);
            }
        }
        if open.is_empty() {
            break;
        }
        let mut drafts: Vec<&mut Draft> = open.iter_mut().map(|p| &mut p.draft).collect();
        drafts::write(model, &mut drafts, args.max_tokens)?;
        for player in open {
            let text = player.draft.text(model)?;
            player.episode.take(&text)?;
        }
    }
    let mut played = Played::default();
    for player in players {
        if player.full {
            played.n_full += 1;
        } else if player.episode.answer().is_none() {
            played.n_silent += 1;
        } else {
            let beliefs = player.beliefs(model, args)?;
            played.beliefs.extend(beliefs);
            let transcript = player.episode.dialogue();
            let transcript = signed(transcript, &player.draft, args)?;
            played.transcripts.push(transcript);
        }
    }
    Ok(played)
}

impl Player {
    /// Reads up to where the agent is to go on. Returns whether it is.
    fn read(&mut self, model: &Model, max_tokens: usize) -> anyhow::Result<bool> {
        let n_ctx = model.config().n_ctx;
        if self.full || self.episode.next() == Next::Nothing {
            return Ok(false);
        }
        let mut prompt = self.prompt(model)?;
        if self.episode.next() == Next::Act
            && prompt.len() + 2 * max_tokens + QUESTION_TOKENS > n_ctx
        {
            self.episode.ask();
            prompt = self.prompt(model)?;
        }
        self.full = prompt.len() + max_tokens > n_ctx;
        if !self.full {
            self.draft.read(&prompt);
        }
        Ok(!self.full)
    }

    fn prompt(&self, model: &Model) -> anyhow::Result<Vec<u32>> {
        encode(model, &self.episode.dialogue())
    }

    /// Answers to the question after the same turns, under a prompt without an incentive.
    fn beliefs(&self, model: &Model, args: &Args) -> anyhow::Result<Vec<Dialogue>> {
        let Some(neutral) = self.episode.neutral().filter(|_| args.beliefs.is_some()) else {
            return Ok(Vec::new());
        };
        let prompt = encode(model, &neutral)?;
        if prompt.len() + args.max_tokens > model.config().n_ctx {
            return Ok(Vec::new());
        }
        let mut first = args.sampling.draft(0)?;
        first.read(&prompt);
        let read = first.read_ahead(model)?;
        let mut answers = Vec::new();
        let samples: Vec<u32> = (1..=args.belief_samples).collect();
        for batch in samples.chunks(BATCH) {
            let mut drafts = Vec::with_capacity(batch.len());
            for sample in batch {
                let seed = u64::from(*sample).wrapping_mul(500_009);
                let mut draft = args.sampling.draft(seed.wrapping_add(self.index))?;
                draft.go_on_from(model, &read)?;
                draft.read(&prompt);
                drafts.push(draft);
            }
            drafts::write(
                model,
                &mut drafts.iter_mut().collect::<Vec<_>>(),
                args.max_tokens,
            )?;
            for (sample, draft) in batch.iter().zip(drafts) {
                let text = draft.text(model)?;
                let mut answer = neutral.clone();
                answer.id = format!("{}-{sample}", neutral.id);
                answer.messages.push(Message::new(Role::Assistant, text));
                answers.push(signed(answer, &draft, args)?);
            }
        }
        Ok(answers)
    }
}

fn encode(model: &Model, dialogue: &Dialogue) -> anyhow::Result<Vec<u32>> {
    let tokens = model.encode_whole(dialogue);
    Ok(tokens
        .with_context(|| format!("episode `{}`", dialogue.id))?
        .ids)
}

/// The dialogue with its model and how its last turn was written.
fn signed(mut dialogue: Dialogue, draft: &Draft, args: &Args) -> anyhow::Result<Dialogue> {
    dialogue.model = Some(args.model.name());
    dialogue.sampling = Some(draft.settings(args.max_tokens)?);
    Ok(dialogue)
}

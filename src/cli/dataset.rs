//! `candor dataset`: import, check, render, sample and judge labelled dialogues.

mod act;
mod audit;
mod drafts;
mod grade;
mod import;
mod judge;
mod kept;
mod sample;

use std::path::PathBuf;

use candor_dataset::{Severity, summarise};

use crate::args::ModelArgs;
use crate::exit::{Exit, Failure};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Bring labelled dialogues in from other formats, and audit their labels
    Import(import::Args),
    /// Look for what would make a measurement on this data worthless
    Check(CheckArgs),
    /// Show dialogues as the model sees them, token by token
    Render(RenderArgs),
    /// Let a model answer prompts
    Sample(sample::Args),
    /// Let a model act in a small world, and ask it what it did
    Act(act::Args),
    /// Label a model's own replies by what it said and what it knew
    Grade(grade::Args),
    /// Let a language model say of each reply whether it deceives, for `candor evaluate --rival`
    Judge(judge::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// A JSONL file, or a folder of them
    dataset: PathBuf,
    /// Look for templates, copies, echoes of the prompt and suspect labels too, and say what the
    /// text alone gives away on families that were held out
    #[arg(long, env = "CANDOR_AUDIT")]
    audit: bool,
    /// Print JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    /// A JSONL file, or a folder of them
    dataset: PathBuf,
    /// Dialogue to show [default: the first]
    #[arg(long, env = "CANDOR_ID")]
    id: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Import(args) => import::run(args),
        Command::Check(args) => check(args),
        Command::Render(args) => render(args),
        Command::Sample(args) => sample::run(args),
        Command::Act(args) => act::run(args),
        Command::Grade(args) => grade::run(args),
        Command::Judge(args) => judge::run(args),
    }
}

fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let dataset = candor_dataset::read(&args.dataset)?;
    let mut problems = candor_dataset::check(&dataset);
    let mut giveaways = Vec::new();
    if args.audit {
        problems.extend(candor_dataset::audit(&dataset));
        giveaways = audit::giveaways(&dataset.dialogues)?;
        problems.extend(giveaways.iter().filter_map(audit::Giveaway::problem));
    }
    let n_errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    if args.json {
        let list: Vec<serde_json::Value> = problems
            .iter()
            .map(|problem| {
                serde_json::json!({
                    "severity": if problem.severity == Severity::Error { "error" } else { "warning" },
                    "check": problem.check, "dialogue": problem.dialogue, "what": problem.what, "hint": problem.hint,
                })
            })
            .collect();
        output::line(serde_json::json!({
            "name": dataset.name, "sha256": dataset.sha256, "problems": list, "giveaways": giveaways,
        }));
    } else {
        for problem in &problems {
            let severity = if problem.severity == Severity::Error {
                "error"
            } else {
                "warning"
            };
            output::line(format!(
                "{severity}[{}] {}: {}",
                problem.check, problem.dialogue, problem.what
            ));
            output::line(format!("  hint: {}", problem.hint));
        }
        output::line(serde_json::to_string_pretty(&summarise(
            &dataset.dialogues,
        ))?);
        for giveaway in &giveaways {
            output::line(giveaway);
        }
        output::line(format!(
            "{}: {} errors, {} warnings",
            dataset.name,
            n_errors,
            problems.len() - n_errors
        ));
    }
    if n_errors > 0 {
        let message = format!("{n_errors} errors in `{}`", args.dataset.display());
        return Err(Failure::error(
            Exit::CheckFailed,
            message,
            "mend the dialogues named above",
        ));
    }
    Ok(())
}

fn render(args: &RenderArgs) -> anyhow::Result<()> {
    let dataset = candor_dataset::read(&args.dataset)?;
    let dialogue = match &args.id {
        None => dataset.dialogues.first(),
        Some(id) => dataset.dialogues.iter().find(|dialogue| dialogue.id == *id),
    };
    let dialogue = dialogue.ok_or_else(|| {
        let message = format!("no dialogue `{}`", args.id.as_deref().unwrap_or("at all"));
        Failure::error(
            Exit::BadInput,
            message,
            "`--id` takes the `id` of a line of the file",
        )
    })?;
    let model = args.model.open()?;
    let tokens = model.encode_whole(dialogue)?;
    output::line(format!(
        "{} · {} · {} tokens, {} of them scored",
        dialogue.id,
        dialogue.label,
        tokens.ids.len(),
        tokens.response.len()
    ));
    output::line("index      id  segment    scored  span  text");
    for (index, (id, place)) in tokens.ids.iter().zip(&tokens.places).enumerate() {
        let scored = if tokens.response.contains(&index) {
            "yes"
        } else {
            ""
        };
        let span = if place.in_span { "yes" } else { "" };
        output::line(format!(
            "{index:5}  {id:6}  {:9}  {scored:6}  {span:4}  {:?}",
            place.segment, place.text
        ));
    }
    Ok(())
}

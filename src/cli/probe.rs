//! `candor probe`: describe bundles.

use std::path::PathBuf;

use anyhow::Context;
use candor_probe::Bundle;

use crate::exit::{Exit, Failure};
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the bundles of a folder
    List(ListArgs),
    /// Show one bundle
    Info(InfoArgs),
    /// Print a bundle's results as a table, or put it between the markers of a file
    Table(TableArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Folder of bundles
    #[arg(default_value = "probes")]
    folder: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// Folder of the bundle
    dir: PathBuf,
    /// Print JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TableArgs {
    /// Folder of the bundle
    dir: PathBuf,
    /// Markdown file with `<!-- results:begin -->` and `<!-- results:end -->`
    #[arg(long, env = "CANDOR_INTO")]
    into: Option<PathBuf>,
    /// Change nothing; fail if the file is stale
    #[arg(long, env = "CANDOR_CHECK", requires = "into")]
    check: bool,
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => list(args),
        Command::Info(args) => info(args),
        Command::Table(args) => table(args),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(&args.folder)
        .with_context(|| format!("cannot read `{}`", args.folder.display()))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    folders.retain(|path| path.join("config.json").exists());
    folders.sort();
    for folder in folders {
        match Bundle::read(&folder) {
            Ok(bundle) => {
                let config = bundle.config();
                output::line(format!(
                    "{}  {} for {}, {} at {}",
                    config.name, config.version, config.model, config.kind, config.hook_points[0]
                ));
            }
            Err(error) => output::line(format!("{}  cannot be read: {error}", folder.display())),
        }
    }
    Ok(())
}

fn info(args: &InfoArgs) -> anyhow::Result<()> {
    let bundle = Bundle::read(&args.dir)?;
    if args.json {
        output::line(serde_json::to_string_pretty(bundle.config())?);
    } else {
        output::line(bundle.card());
    }
    Ok(())
}

fn table(args: &TableArgs) -> anyhow::Result<()> {
    let bundle = Bundle::read(&args.dir)?;
    let evaluation = bundle.evaluation().ok_or_else(|| {
        let message = format!("`{}` has no evaluation", args.dir.display());
        Failure::error(Exit::BadInput, message, "run `candor evaluate` on it")
    })?;
    let table = candor_report::markdown_table(evaluation);
    let Some(path) = &args.into else {
        output::line(table);
        return Ok(());
    };
    let old = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    let new = candor_report::insert_between_markers(&old, "results", &table)?;
    if args.check {
        if old != new {
            let message = format!(
                "the results in `{}` are not those of `{}`",
                path.display(),
                args.dir.display()
            );
            return Err(Failure::error(
                Exit::CheckFailed,
                message,
                "run the same command without `--check`",
            ));
        }
        return Ok(());
    }
    std::fs::write(path, new).with_context(|| format!("cannot write `{}`", path.display()))
}

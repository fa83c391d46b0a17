//! `candor dataset import`: labelled dialogues from files in other formats, and an audit of their labels.

mod eval_log;
mod parquet_rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candor_dataset::{
    Container, Import, ImportOptions, Imported, Problem, Shares, Summary, biases, import_formats,
    summarise, suspects,
};
use candor_schema::{Dialogue, Incentive, Label, Origin, Split};
use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output;

/// Suspects that are printed; all of them are in the file.
const SHOWN: usize = 10;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file, as its publisher has it
    file: PathBuf,
    /// What the file is
    #[arg(long, env = "CANDOR_FROM", value_parser = formats())]
    from: String,
    /// File for the dialogues; `.suspects.jsonl` beside it gets those whose labels are in doubt
    #[arg(long, short, env = "CANDOR_OUT")]
    out: PathBuf,
    /// What the file's words for labels mean, for example `bad=deceptive,good=honest,unsure=ungraded`
    #[arg(
        long = "label-map",
        env = "CANDOR_LABEL_MAP",
        value_name = "WORD=LABEL",
        value_delimiter = ','
    )]
    label_map: Vec<String>,
    /// Where a field stands in the file, for example `response=completion,label=scores.judge.value`
    #[arg(
        long = "field",
        env = "CANDOR_FIELD",
        value_name = "NAME=PATH",
        value_delimiter = ','
    )]
    fields: Vec<String>,
    /// Label of records that state none [default: ungraded]
    #[arg(long, env = "CANDOR_LABEL", value_parser = words(Label::ALL, Label::as_str))]
    label: Option<String>,
    /// System message for dialogues that have none
    #[arg(long, env = "CANDOR_SYSTEM", value_name = "TEXT")]
    system: Option<String>,
    /// What that system message rewards
    #[arg(long, env = "CANDOR_INCENTIVE", requires = "system", value_parser = words(Incentive::ALL, Incentive::as_str))]
    incentive: Option<String>,
    /// Family of all dialogues [default: what the file states, or the format]
    #[arg(long, env = "CANDOR_FAMILY")]
    family: Option<String>,
    /// Licence of all dialogues, as an SPDX identifier [default: what the file states, or NOASSERTION]
    #[arg(long, env = "CANDOR_LICENCE")]
    licence: Option<String>,
    /// Who made them [default: what the file states, the format's authors, or the file]
    #[arg(long, env = "CANDOR_SOURCE")]
    source: Option<String>,
    /// Model that wrote the replies, where the file does not say; without one they count as written
    #[arg(long, env = "CANDOR_SAMPLED_BY", value_name = "MODEL")]
    sampled_by: Option<String>,
    /// Language of dialogues that state none, as a BCP 47 tag
    #[arg(long, env = "CANDOR_LANGUAGE")]
    language: Option<String>,
    /// One split for all dialogues
    #[arg(long, env = "CANDOR_IMPORT_SPLIT", conflicts_with = "shares", value_parser = words(Split::ALL, Split::as_str))]
    split: Option<String>,
    /// Shares of train, validation, calibration and test [default: 60,20,0,20; for ordinary replies
    /// 0,0,70,30]
    #[arg(long, env = "CANDOR_SHARES", value_delimiter = ',', num_args = 1)]
    shares: Vec<u32>,
    /// Leave suspects out of the dialogues
    #[arg(long, env = "CANDOR_DROP_SUSPECTS")]
    drop_suspects: bool,
    /// Print JSON
    #[arg(long, env = "CANDOR_JSON")]
    json: bool,
}

fn formats() -> PossibleValuesParser {
    let formats = import_formats().into_iter();
    formats
        .map(|(name, line)| PossibleValue::new(name).help(line))
        .collect::<Vec<_>>()
        .into()
}

/// The words of one of candor's vocabularies.
fn words<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> PossibleValuesParser {
    let words = all.iter().map(|one| as_str(*one));
    words.collect::<Vec<_>>().into()
}

/// The value that a word, which clap has checked, stands for.
fn of_word<T: Copy>(word: Option<&str>, all: &[T], as_str: fn(T) -> &'static str) -> Option<T> {
    all.iter().copied().find(|one| Some(as_str(*one)) == word)
}

impl Args {
    fn options(&self) -> anyhow::Result<ImportOptions> {
        let shares = match self.shares[..] {
            [] => None,
            [train, validation, calibration, test]
                if train + validation + calibration + test > 0 =>
            {
                Some(Shares([train, validation, calibration, test]))
            }
            _ => {
                return Err(Failure::error(
                    Exit::Usage,
                    format!(
                        "`--shares` has {} numbers (expected 4, not all 0)",
                        self.shares.len()
                    ),
                    "write them as train,validation,calibration,test, for example `60,20,0,20`",
                ));
            }
        };
        let mut options = ImportOptions {
            label: of_word(self.label.as_deref(), Label::ALL, Label::as_str),
            system: self.system.clone(),
            incentive: of_word(self.incentive.as_deref(), Incentive::ALL, Incentive::as_str),
            family: self.family.clone(),
            licence: self.licence.clone(),
            source: self.source.clone(),
            model: self.sampled_by.clone(),
            language: self.language.clone(),
            split: of_word(self.split.as_deref(), Split::ALL, Split::as_str),
            shares,
            ..ImportOptions::default()
        };
        for text in &self.fields {
            options.field(text)?;
        }
        for text in &self.label_map {
            options.label_word(text)?;
        }
        Ok(options)
    }
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut import = Import::new(&args.from, &args.file, args.options()?)?;
    match import.container() {
        Container::Parquet => parquet_rows::read(&args.file, &mut import)?,
        Container::Eval => eval_log::read(&args.file, &mut import)?,
        _ => import.read_file()?,
    }
    let mut imported = import.finish()?;
    let suspected = by_dialogue(&imported);
    let n_before = imported.dialogues.len();
    write_suspects(args, &imported, &suspected)?;
    if args.drop_suspects {
        imported.leave_out(&suspected.keys().cloned().collect());
    }
    if imported.dialogues.is_empty() {
        return Err(Failure::error(
            Exit::BadInput,
            format!("all {n_before} dialogues are suspects, and `--drop-suspects` leaves them out"),
            format!("read `{}`", suspects_path(&args.out).display()),
        ));
    }
    candor_dataset::write(&args.out, &imported.dialogues)?;
    let report = Report {
        args,
        summary: summarise(&imported.dialogues),
        biases: biases(&imported.dialogues),
        suspected: &suspected,
        n_left_out: n_before - imported.dialogues.len(),
        imported: &imported,
    };
    if args.json {
        output::line(report.json());
    } else {
        report.print();
    }
    Ok(())
}

/// Reasons for doubt, by the dialogue's id.
type Suspected = BTreeMap<String, Vec<Problem>>;

fn by_dialogue(imported: &Imported) -> Suspected {
    let mut suspected = Suspected::new();
    let doubts = imported.doubts.iter().cloned();
    for problem in doubts.chain(
        suspects(&imported.dialogues)
            .into_iter()
            .filter(is_about_the_reply),
    ) {
        let reasons = suspected.entry(problem.dialogue.clone()).or_default();
        reasons.push(problem);
    }
    suspected
}

/// A prompt without a reply is no suspect: it is there to be answered.
fn is_about_the_reply(problem: &Problem) -> bool {
    !(problem.check == "turns" && problem.what.starts_with("ends with user"))
}

fn suspects_path(out: &Path) -> PathBuf {
    out.with_extension("suspects.jsonl")
}

/// Writes the suspects with their reasons, so that they can be read, mended and put back.
fn write_suspects(args: &Args, imported: &Imported, suspected: &Suspected) -> anyhow::Result<()> {
    let path = suspects_path(&args.out);
    // An older file would speak of another import.
    if suspected.is_empty() && !path.exists() {
        return Ok(());
    }
    let dialogues: Vec<Dialogue> = imported
        .dialogues
        .iter()
        .filter_map(|dialogue| {
            let reasons = suspected.get(&dialogue.id)?;
            let reasons = reasons.iter().map(|problem| {
                json!({"check": problem.check, "what": problem.what, "hint": problem.hint})
            });
            let mut dialogue = dialogue.clone();
            dialogue.extra.insert("suspected".into(), reasons.collect());
            Some(dialogue)
        })
        .collect();
    candor_dataset::write(&path, &dialogues)?;
    Ok(())
}

/// What is said about an import.
struct Report<'a> {
    args: &'a Args,
    imported: &'a Imported,
    summary: Summary,
    suspected: &'a Suspected,
    biases: Vec<Problem>,
    n_left_out: usize,
}

impl Report<'_> {
    fn json(&self) -> serde_json::Value {
        let suspects: Vec<&Problem> = self.suspected.values().flatten().collect();
        json!({
            "records": self.imported.n_records,
            "dialogues": self.imported.dialogues.len(),
            "skipped": self.imported.skipped,
            "suspects": suspects,
            "n_suspects": self.suspected.len(),
            "n_left_out": self.n_left_out,
            "biases": self.biases,
            "summary": self.summary,
        })
    }

    fn print(&self) {
        let (imported, summary) = (self.imported, &self.summary);
        let unit = imported.unit.as_str();
        output::line(format!(
            "`{}`: {} records, {} dialogues in {} scenarios, {} pairs",
            self.args.file.display(),
            imported.n_records,
            summary.n_dialogues,
            summary.n_scenarios,
            summary.n_pairs,
        ));
        output::line(format!(
            "labels: {} · splits: {} · families: {}",
            counted(&summary.labels),
            counted(&summary.splits),
            counted(&summary.families),
        ));
        for (reason, numbers) in &imported.skipped {
            let shown: Vec<String> = numbers
                .iter()
                .take(SHOWN)
                .map(ToString::to_string)
                .collect();
            let more = if numbers.len() > SHOWN { ", …" } else { "" };
            output::line(format!(
                "not used: {} ({unit} {}{more}): {reason}",
                numbers.len(),
                shown.join(", ")
            ));
        }
        let problems = self.suspected.values().flatten();
        for problem in problems.clone().take(SHOWN) {
            output::line(format!(
                "suspect[{}] {}: {}",
                problem.check, problem.dialogue, problem.what
            ));
            output::line(format!("  hint: {}", problem.hint));
        }
        let mut by_check: BTreeMap<String, usize> = BTreeMap::new();
        for problem in problems {
            *by_check.entry(problem.check.to_owned()).or_default() += 1;
        }
        for problem in &self.biases {
            output::line(format!("warning[{}] {}", problem.check, problem.what));
            output::line(format!("  hint: {}", problem.hint));
        }
        if self.suspected.is_empty() {
            output::line("label audit: no suspects");
        } else {
            output::line(format!(
                "label audit: {} suspects ({}), {}; reasons in `{}`",
                self.suspected.len(),
                counted(&by_check),
                if self.args.drop_suspects {
                    "left out"
                } else {
                    "kept: `--drop-suspects` leaves them out"
                },
                suspects_path(&self.args.out).display(),
            ));
        }
        let by_nobody = imported
            .dialogues
            .iter()
            .filter(|d| d.origin == Origin::Sampled && d.model.is_none());
        let n = by_nobody.count();
        if n > 0 {
            output::note(format!(
                "{n} replies were sampled, but the file does not say from which model: say it with `--sampled-by`"
            ));
        }
        let unlicensed = imported
            .dialogues
            .iter()
            .filter(|d| d.licence == "NOASSERTION");
        let n = unlicensed.count();
        if n > 0 {
            output::note(format!(
                "{n} dialogues have no stated licence: look it up where you got the file, and say it with `--licence`"
            ));
        }
        output::note(format!(
            "{} dialogues in `{}`; `candor dataset check --audit` says more",
            imported.dialogues.len(),
            self.args.out.display()
        ));
    }
}

/// `honest 3, deceptive 2`.
fn counted(counts: &BTreeMap<String, usize>) -> String {
    let counts: Vec<String> = counts
        .iter()
        .map(|(name, n)| format!("{name} {n}"))
        .collect();
    counts.join(", ")
}

/// The failure of a file that is not what its extension says.
fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    Failure::error(
        Exit::BadInput,
        format!("cannot read `{}`: {error}", path.display()),
        "check that the file is whole and what its extension says",
    )
}

#[cfg(test)]
mod tests;

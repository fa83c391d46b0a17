//! Dialogues from files that others publish in their own formats.
//!
//! An importer says what one record of its format means, as [`Draft`]s; everything else is the
//! same for all: reading the file ([`Container`]), the words for labels, names, pairs, splits, and
//! an account of every record that gives no dialogue.

mod chat;
mod container;
mod draft;
mod fields;
mod options;
mod row;

mod apollo_insider_trading;
mod apollo_roleplaying;
mod csv;
mod hf_chat;
mod inspect;
mod jsonl;
mod liars_bench;
mod mask;
mod truthfulqa;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use candor_schema::{Dialogue, FormatVersion, Label, Message, Origin, Role, Span, Split};
use serde_json::{Map, Value, json};

pub use container::{Container, Unit};
pub use options::ImportOptions;

use crate::check::{Problem, Severity};
use crate::split::{Shares, assign_splits};
use crate::{Error, LineProblem};
use container::Found;
use draft::{Draft, digest, scenario_of};
use fields::{Fields, Refusal};

/// Every importer, in the order in which the command line lists them.
const IMPORTERS: &[&dyn Importer] = &[
    &jsonl::Jsonl,
    &csv::Csv,
    &hf_chat::HfChat,
    &inspect::Inspect,
    &apollo_roleplaying::ApolloRoleplaying,
    &apollo_insider_trading::ApolloInsiderTrading,
    &liars_bench::LiarsBench,
    &mask::Mask,
    &truthfulqa::TruthfulQa,
];

/// What a licence is called that nobody has stated (SPDX).
const NO_LICENCE: &str = "NOASSERTION";

/// The names of all formats that can be imported, with one line on each.
pub fn import_formats() -> Vec<(&'static str, &'static str)> {
    let named = IMPORTERS.iter();
    named
        .map(|known| (known.name(), known.describe()))
        .collect()
}

/// A format that labelled dialogues are published in.
pub(crate) trait Importer: fmt::Debug + Sync {
    /// Name on the command line, for example `liars-bench`.
    fn name(&self) -> &'static str;

    /// One line for help texts.
    fn describe(&self) -> &'static str;

    /// Kinds of file that it comes in, the usual one first.
    fn containers(&self) -> &'static [Container];

    /// Field of a document that lists the records, where the document is not itself the list.
    fn list(&self) -> Option<&'static str> {
        None
    }

    /// Family of dialogues that state none.
    fn family(&self) -> &'static str {
        self.name()
    }

    /// Who made it, where a dialogue does not say.
    fn source(&self) -> Option<&'static str> {
        None
    }

    /// What the format's own words for labels mean. candor's own words are known everywhere.
    fn labels(&self) -> &'static [(&'static str, Label)] {
        &[]
    }

    /// The dialogues in one record. `head` is the document around the records, or null.
    fn read(&self, fields: &Fields<'_>, head: &Value) -> Result<Vec<Draft>, Refusal>;
}

/// A file on its way to being a data set: give it every record, then [`Import::finish`] it.
#[derive(Debug)]
pub struct Import {
    importer: &'static dyn Importer,
    container: Container,
    options: ImportOptions,
    path: PathBuf,
    stem: String,
    head: Value,
    n_records: usize,
    dialogues: Vec<Dialogue>,
    /// Dialogues whose split their source states.
    keeps_split: Vec<bool>,
    ids: HashSet<String>,
    problems: Vec<LineProblem>,
    skipped: BTreeMap<String, Vec<usize>>,
    doubts: Vec<Problem>,
    /// Label words without a meaning: where first, and how often.
    unknown_labels: BTreeMap<String, (usize, usize)>,
    paths_seen: HashSet<String>,
}

/// What came of a file.
#[derive(Debug)]
pub struct Imported {
    /// The dialogues, in the order of the file.
    pub dialogues: Vec<Dialogue>,
    /// Records that the file has.
    pub n_records: usize,
    /// What records are counted by.
    pub unit: Unit,
    /// Records that gave no dialogue: reason → their numbers.
    pub skipped: BTreeMap<String, Vec<usize>>,
    /// Dialogues whose label the source itself gives reason to doubt; the check is `grader`.
    pub doubts: Vec<Problem>,
}

impl Imported {
    /// Takes the dialogues with these ids out; pairs that lose one side are pairs no more.
    pub fn leave_out(&mut self, ids: &HashSet<String>) {
        self.dialogues
            .retain(|dialogue| !ids.contains(&dialogue.id));
        pair_up(&mut self.dialogues);
    }
}

impl Import {
    /// Starts the import of a file in the format named `format`.
    ///
    /// # Errors
    /// [`Error::UnknownImport`] for a name without an importer; [`Error::WrongContainer`] for a file
    /// whose extension does not fit the format.
    pub fn new(format: &str, path: &Path, options: ImportOptions) -> Result<Self, Error> {
        let importer = IMPORTERS.iter().copied().find(|one| one.name() == format);
        let importer = importer.ok_or_else(|| Error::UnknownImport {
            name: format.to_owned(),
            known: IMPORTERS.iter().map(|one| one.name()).collect(),
        })?;
        let container = Container::of(path);
        let fits = container.filter(|container| importer.containers().contains(container));
        let container = fits.ok_or_else(|| Error::WrongContainer {
            path: path.to_owned(),
            format: importer.name(),
            expected: importer
                .containers()
                .iter()
                .map(|kind| format!("`*.{}`", kind.extension()))
                .collect(),
        })?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            importer,
            container,
            options,
            path: path.to_owned(),
            stem: stem.trim().to_owned(),
            head: Value::Null,
            n_records: 0,
            dialogues: Vec::new(),
            keeps_split: Vec::new(),
            ids: HashSet::new(),
            problems: Vec::new(),
            skipped: BTreeMap::new(),
            doubts: Vec::new(),
            unknown_labels: BTreeMap::new(),
            paths_seen: HashSet::new(),
        })
    }

    /// The kind of file that it is. [`Container::Parquet`] and [`Container::Eval`] are opened by the
    /// caller, who hands their records to [`Import::record`]; the others are read by
    /// [`Import::read_file`].
    pub fn container(&self) -> Container {
        self.container
    }

    /// Reads every record of a text file.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read. What is wrong with its content is kept for
    /// [`Import::finish`].
    pub fn read_file(&mut self) -> Result<(), Error> {
        let path = self.path.clone();
        let failed = |source| Error::Read {
            path: path.clone(),
            source,
        };
        let file = File::open(&path).map_err(failed)?;
        let (container, list) = (self.container, self.importer.list());
        let mut take = |found| match found {
            Found::Head(head) => self.head(head),
            Found::Record(number, value) => self.record(number, &value),
            Found::Bad(bad) => self.problems.push(LineProblem {
                path: path.clone(),
                line: bad.line,
                column: bad.column,
                what: bad.what,
                hint: bad.hint,
            }),
        };
        container
            .read(&mut BufReader::new(file), list, &mut take)
            .map_err(failed)
    }

    /// Sets the document around the records, for example the header of a log.
    pub fn head(&mut self, head: Value) {
        self.head = head;
    }

    /// Notes that a record cannot be used, for a reason that its container gives.
    pub fn skip(&mut self, number: usize, reason: &str) {
        self.n_records += 1;
        self.unusable(number, reason);
    }

    /// Takes one record. `number` counts from 1, in the container's [`Unit`].
    pub fn record(&mut self, number: usize, value: &Value) {
        self.n_records += 1;
        let Value::Object(map) = value else {
            let what = format!("is {} (expected an object)", fields::kind(value));
            self.bad(number, &what, "check that `--from` names what the file is");
            return;
        };
        for path in self.options.fields.values() {
            if !self.paths_seen.contains(path) && fields::at(map, path).is_some() {
                self.paths_seen.insert(path.clone());
            }
        }
        let paths = std::mem::take(&mut self.options.fields);
        let read = self.importer.read(&Fields::new(map, &paths), &self.head);
        self.options.fields = paths;
        match read {
            Err(Refusal::Bad { what, hint }) => self.bad(number, &what, hint),
            Err(Refusal::Unusable(reason)) => self.unusable(number, &reason),
            Ok(drafts) => {
                for draft in drafts {
                    self.accept(number, draft);
                }
            }
        }
    }

    /// Pairs, splits and all that was found.
    ///
    /// # Errors
    /// [`Error::BadLines`] with every record that is not what the format says, and every label
    /// word without a meaning; [`Error::NothingImported`] where no record gives a dialogue.
    pub fn finish(mut self) -> Result<Imported, Error> {
        for (word, (number, n)) in std::mem::take(&mut self.unknown_labels) {
            let what = format!("label `{word}` has no meaning here ({n} dialogues have it)");
            self.bad(
                number,
                &what,
                "say what it means, for example `--label-map bad=deceptive,good=honest,unsure=ungraded`",
            );
        }
        let unseen = self.options.fields.iter();
        let unseen: Vec<String> = unseen
            .filter(|(_, path)| self.n_records > 0 && !self.paths_seen.contains(*path))
            .map(|(name, path)| format!("no record has `{path}`, which `--field {name}` names"))
            .collect();
        for what in unseen {
            self.bad(0, &what, "look at the file for the field's name");
        }
        let n_stated = self.keeps_split.iter().filter(|keeps| **keeps).count();
        if self.options.split.is_none() && ![0, self.keeps_split.len()].contains(&n_stated) {
            let n = self.keeps_split.len();
            self.bad(
                0,
                &format!("{n_stated} of {n} dialogues state a split"),
                "state it for all or for none, or give all of them one with `--split`",
            );
        }
        if !self.problems.is_empty() {
            self.problems.sort_by_key(|problem| problem.line);
            return Err(Error::BadLines {
                problems: self.problems,
            });
        }
        if self.dialogues.is_empty() {
            let reasons = self.skipped.iter();
            return Err(Error::NothingImported {
                path: self.path,
                n_records: self.n_records,
                reasons: reasons
                    .map(|(why, which)| (why.clone(), which.len()))
                    .collect(),
            });
        }
        pair_up(&mut self.dialogues);
        self.split_up();
        Ok(Imported {
            dialogues: self.dialogues,
            n_records: self.n_records,
            unit: self.container.unit(),
            skipped: self.skipped,
            doubts: self.doubts,
        })
    }

    /// Makes a dialogue of a draft.
    fn accept(&mut self, number: usize, mut draft: Draft) {
        let options = &self.options;
        if let Some(system) = &options.system
            && draft
                .messages
                .first()
                .is_some_and(|m| m.role != Role::System)
        {
            let message = Message::new(Role::System, system.clone());
            draft.messages.insert(0, message);
            draft.incentive = draft.incentive.or(options.incentive);
        }
        let Some(last) = draft.messages.last() else {
            return self.unusable(number, "no messages");
        };
        let replied = match last.role {
            Role::Assistant => true,
            Role::User => false,
            other => return self.unusable(number, &format!("ends with a {other} message")),
        };
        let Some(label) = self.label(number, draft.label.as_deref()) else {
            return;
        };
        if !replied && !matches!(label, Label::Ungraded | Label::Control) {
            return self.unusable(number, "a label, but no reply");
        }
        let options = &self.options;
        let model = draft.model.or_else(|| options.model.clone());
        let sampled = replied && (draft.sampled || model.is_some());
        let id = unused(
            &mut self.ids,
            &draft
                .id
                .unwrap_or_else(|| format!("{}-{number}", self.stem)),
            draft.part.as_deref(),
        );
        if let (Label::Ungraded, true, Some(word)) = (label, replied, &draft.label) {
            draft.doubts.push(format!("the source says `{word}`"));
        }
        for what in draft.doubts {
            self.doubts.push(Problem {
                severity: Severity::Warning,
                check: "grader",
                dialogue: id.clone(),
                what,
                hint: "whoever labelled it was not sure, or says nothing about honesty: read it, or leave it out",
            });
        }
        let said = &draft.messages[draft.messages.len() - 1].content;
        let span = (0 < draft.judged_from
            && said
                .get(draft.judged_from..)
                .is_some_and(|part| !part.trim().is_empty()))
        .then(|| Span {
            message: draft.messages.len() - 1,
            start: draft.judged_from,
            end: said.len(),
            label,
        });
        let mut provenance = Map::new();
        provenance.insert("format".into(), self.importer.name().into());
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        provenance.insert("file".into(), file.as_ref().into());
        provenance.insert(self.container.unit().as_str().into(), number.into());
        if !draft.kept.is_empty() {
            provenance.insert("fields".into(), Value::Object(draft.kept));
        }
        let stated = |given: &Option<String>, said: Option<String>, otherwise: &str| {
            given
                .clone()
                .or(said)
                .unwrap_or_else(|| otherwise.to_owned())
        };
        self.keeps_split.push(draft.split.is_some());
        self.dialogues.push(Dialogue {
            format_version: FormatVersion::CURRENT,
            id,
            scenario: draft
                .scenario
                .unwrap_or_else(|| scenario_of(&draft.messages)),
            pair: None,
            family: stated(&options.family, draft.family, self.importer.family()),
            template: draft.template,
            entities: Vec::new(),
            tools: None,
            label,
            harmful_intent: false,
            incentive: draft.incentive,
            mode: draft.mode,
            motive: draft.motive,
            spans: span.into_iter().collect(),
            key: draft.key,
            belief: draft.belief,
            origin: if sampled {
                Origin::Sampled
            } else {
                Origin::Written
            },
            // Nobody has said yet which model will be probed.
            on_policy: false,
            model: model.filter(|_| sampled),
            sampling: sampled.then(|| draft.sampling.unwrap_or_else(|| json!({}))),
            language: draft.language.or_else(|| options.language.clone()),
            style: None,
            split: draft.split.unwrap_or(Split::Train),
            licence: stated(&options.licence, draft.licence, NO_LICENCE),
            source: stated(
                &options.source,
                draft.source,
                self.importer.source().unwrap_or(&file),
            ),
            messages: draft.messages,
            extra: Map::from_iter([("imported".to_owned(), Value::Object(provenance))]),
        });
    }

    /// The label that a word of the source stands for; `None`, and an error later, for one without
    /// a meaning.
    fn label(&mut self, number: usize, word: Option<&str>) -> Option<Label> {
        let Some(word) = word.map(str::trim).filter(|word| !word.is_empty()) else {
            return Some(self.options.label.unwrap_or(Label::Ungraded));
        };
        let folded = word.to_lowercase();
        let given = self.options.labels.get(&folded).copied();
        let known = self.importer.labels().iter();
        let known = known.map(|(word, label)| (*word, *label));
        let own = Label::ALL.iter().map(|label| (label.as_str(), *label));
        let found = given.or_else(|| {
            let mut words = known.chain(own);
            words
                .find(|(word, _)| *word == folded)
                .map(|(_, label)| label)
        });
        if found.is_none() {
            let shown: String = word.chars().take(60).collect();
            self.unknown_labels.entry(shown).or_insert((number, 0)).1 += 1;
        }
        found
    }

    /// Splits for dialogues whose source states none.
    fn split_up(&mut self) {
        if let Some(split) = self.options.split {
            for dialogue in &mut self.dialogues {
                dialogue.split = split;
            }
            return;
        }
        if self.keeps_split.iter().all(|keeps| *keeps) {
            return;
        }
        let only_controls = self.dialogues.iter().all(|d| d.label == Label::Control);
        let shares = self.options.shares.unwrap_or(if only_controls {
            Shares::CONTROLS
        } else {
            Shares::LABELLED
        });
        assign_splits(&mut self.dialogues, shares);
    }

    fn problem(&self, number: usize, what: &str, hint: &'static str) -> LineProblem {
        let unit = self.container.unit();
        let (line, what) = match (unit, number) {
            (Unit::Line, _) | (_, 0) => (number, what.to_owned()),
            _ => (0, format!("{} {number}: {what}", unit.as_str())),
        };
        LineProblem {
            path: self.path.clone(),
            line,
            column: 0,
            what,
            hint,
        }
    }

    fn bad(&mut self, number: usize, what: &str, hint: &'static str) {
        let problem = self.problem(number, what, hint);
        self.problems.push(problem);
    }

    fn unusable(&mut self, number: usize, reason: &str) {
        let numbers = self.skipped.entry(reason.to_owned()).or_default();
        if numbers.last() != Some(&number) {
            numbers.push(number);
        }
    }
}

/// An id that is not used yet: the name with its part, and a number where that is taken.
fn unused(ids: &mut HashSet<String>, name: &str, part: Option<&str>) -> String {
    let name = part.map_or_else(|| name.to_owned(), |part| format!("{name}-{part}"));
    let mut id = name.clone();
    let mut n = 1;
    while !ids.insert(id.clone()) {
        n += 1;
        id = format!("{name}-{n}");
    }
    id
}

/// Replies to one prompt are a pair where some are honest and some deceptive.
fn pair_up(dialogues: &mut [Dialogue]) {
    let mut by_prompt: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, dialogue) in dialogues.iter().enumerate() {
        if let Some(last) = dialogue.scored_message() {
            let prompt = dialogue.messages[..last].iter();
            let prompt: Vec<String> = prompt
                .map(|m| format!("{}\u{1f}{}", m.role, m.content))
                .collect();
            by_prompt
                .entry(prompt.join("\u{1e}"))
                .or_default()
                .push(index);
        }
    }
    for dialogue in dialogues.iter_mut() {
        dialogue.pair = None;
    }
    for (prompt, members) in by_prompt {
        let has = |label| members.iter().any(|index| dialogues[*index].label == label);
        if !has(Label::Honest) || !has(Label::Deceptive) {
            continue;
        }
        let name = format!("p-{}", digest(&prompt));
        for index in members {
            dialogues[index].pair = Some(name.clone());
        }
    }
}

#[cfg(test)]
mod tests;

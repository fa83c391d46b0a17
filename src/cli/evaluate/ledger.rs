//! The ledger of openings: how often a test split was looked at for probes of one name.
//!
//! Each measurement on `test` appends a line to `openings.jsonl` in two folders: the store's, which a
//! probe that is trained anew into another folder meets again, and the bundle's, which goes where the
//! bundle is copied and meets a store that is captured anew. What stands in either counts. Nothing
//! here has a time, as in every file that candor writes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use candor_activations::Store;
use candor_probe::Bundle;
use candor_schema::{FormatVersion, Openings, Split};
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::train::Recipe;

/// The ledger's file, in either folder.
pub(crate) const FILE: &str = "openings.jsonl";
/// Largest ledger that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;
/// Longest reason, in characters.
const MAX_REASON: usize = 500;

/// One line: one measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    #[serde(default)]
    format_version: FormatVersion,
    /// From 1, by name of the probe, data set and split.
    number: u64,
    probe: String,
    /// Of the bundle's tensors.
    probe_sha256: String,
    recipe_sha256: String,
    dataset: String,
    dataset_sha256: String,
    split: Split,
    store_sha256: String,
    /// Why this probe may be measured where another of its name was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    candor_version: String,
    command: String,
}

impl Entry {
    /// Whether both count together.
    fn same_question(&self, other: &Self) -> bool {
        (&self.probe, &self.dataset_sha256, self.split)
            == (&other.probe, &other.dataset_sha256, other.split)
    }

    /// What makes it another probe of the same name. The recipe is part of it, because not all of it
    /// is in the tensors: the pooling is not.
    fn identity(&self) -> (&str, &str) {
        (&self.probe_sha256, &self.recipe_sha256)
    }
}

/// Where an evaluation finds what it opens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) store: &'a Store,
    pub(crate) store_folder: &'a Path,
    pub(crate) probe_folder: &'a Path,
}

/// An opening that is allowed, and recorded only when there is something to see.
#[derive(Debug)]
pub(crate) struct Opening {
    entry: Entry,
    /// What counts together with it, the earliest first.
    earlier: Vec<Entry>,
    /// The store's first.
    files: [PathBuf; 2],
}

/// Looks into the ledger; none for a split that may be looked at as often as one likes.
///
/// # Errors
/// Where another probe of the name was measured on these data and there is no `reason`; where a
/// ledger cannot be read or an opening is missing from it.
pub(crate) fn open(
    bundle: &Bundle,
    place: Place<'_>,
    split: Split,
    command: &str,
    reason: Option<&str>,
) -> anyhow::Result<Option<Opening>> {
    if split != Split::Test {
        return Ok(None);
    }
    let config = bundle.config();
    let dataset = &place.store.manifest().dataset;
    let entry = Entry {
        format_version: FormatVersion::CURRENT,
        number: 1,
        probe: config.name.clone(),
        probe_sha256: bundle.sha256().to_owned(),
        recipe_sha256: Recipe::of(config).sha256(),
        dataset: dataset.name.clone(),
        dataset_sha256: dataset.sha256.clone(),
        split,
        store_sha256: place.store.manifest_sha256().to_owned(),
        reason: None,
        candor_version: env!("CARGO_PKG_VERSION").into(),
        command: command.to_owned(),
    };
    let files = [place.store_folder, place.probe_folder].map(|folder| folder.join(FILE));
    let mut entries = Vec::new();
    for file in &files {
        entries.extend(read(file)?);
    }
    Opening::next(entry, entries, files, reason).map(Some)
}

/// Its openings, with this one; nobody counts those of other splits.
pub(crate) fn counted(opening: Option<&Opening>) -> Openings {
    opening.map(Opening::openings).unwrap_or_default()
}

impl Opening {
    fn next(
        mut entry: Entry,
        entries: Vec<Entry>,
        files: [PathBuf; 2],
        reason: Option<&str>,
    ) -> anyhow::Result<Self> {
        let mut earlier: Vec<Entry> = Vec::new();
        for other in entries {
            // Most stand in both files.
            if entry.same_question(&other) && !earlier.contains(&other) {
                earlier.push(other);
            }
        }
        earlier.sort_by_key(|entry| entry.number);
        let last = earlier.last().map_or(0, |entry| entry.number);
        if let Some(missing) = (1..=last).find(|n| earlier.iter().all(|e| e.number != *n)) {
            return Err(Failure::error(
                Exit::BadInput,
                format!(
                    "opening {missing} of probe `{}` is missing from `{FILE}`",
                    entry.probe
                ),
                "bring the file back from a copy of the store or of the bundle: its lines are never removed",
            ));
        }
        let known = earlier.iter().any(|e| e.identity() == entry.identity());
        if let Some(other) = earlier.last()
            && !known
        {
            entry.reason = Some(match reason {
                Some(reason) => checked(reason)?,
                None => return Err(refused(&entry, other)),
            });
        }
        entry.number = last + 1;
        Ok(Self {
            entry,
            earlier,
            files,
        })
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        self.earlier.iter().chain([&self.entry])
    }

    fn openings(&self) -> Openings {
        let probes: BTreeSet<_> = self.all().map(Entry::identity).collect();
        Openings {
            n_probes: probes.len() as u64,
            n_measured: self.all().count() as u64,
            reasons: self
                .all()
                .filter_map(|entry| entry.reason.clone())
                .collect(),
        }
    }

    /// Appends the opening to both ledgers; to be called before anything of it is shown or written.
    ///
    /// # Errors
    /// Where a ledger cannot be written, or another evaluation has opened the split meanwhile.
    pub(crate) fn record(&self) -> anyhow::Result<()> {
        for file in &self.files {
            append(file, &self.entry)?;
        }
        Ok(())
    }
}

fn refused(entry: &Entry, other: &Entry) -> anyhow::Error {
    let what = if other.probe_sha256 == entry.probe_sha256 {
        "by another recipe"
    } else {
        "with other weights"
    };
    Failure::error(
        Exit::CheckFailed,
        format!(
            "the {} split of `{}` was opened for a probe `{}` {what} (opening {})",
            entry.split, entry.dataset, entry.probe, other.number
        ),
        "choose with `--split validation`, which may be looked at as often as you like; or say why with `--reopen \"reason\"`, which stands in the evaluation, its report and the card from then on",
    )
}

/// A reason of one line.
fn checked(reason: &str) -> anyhow::Result<String> {
    let reason = reason.trim();
    let is_bad = reason.is_empty()
        || reason.chars().any(char::is_control)
        || reason.chars().count() > MAX_REASON;
    if is_bad {
        return Err(Failure::error(
            Exit::Usage,
            "`--reopen` has no reason that can be shown",
            format!("write one line of at most {MAX_REASON} characters"),
        ));
    }
    Ok(reason.to_owned())
}

/// A ledger's entries; none where there is no file.
fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let shown = path.display();
    match File::open(path) {
        Ok(mut file) => entries(&mut file, path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read `{shown}`")),
    }
}

fn entries(file: &mut File, path: &Path) -> anyhow::Result<Vec<Entry>> {
    let shown = path.display();
    let damaged = |what: String| {
        Failure::error(
            Exit::BadInput,
            format!("`{shown}` {what}"),
            "bring the file back from a copy of the store or of the bundle: its lines are never changed",
        )
    };
    let mut text = String::new();
    let n_bytes = Read::take(&mut *file, MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| damaged(format!("cannot be read: {error}")))?;
    if n_bytes as u64 > MAX_BYTES {
        return Err(damaged(format!("is larger than {MAX_BYTES} bytes")));
    }
    let mut entries = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let entry: Entry = serde_json::from_str(line)
            .map_err(|error| damaged(format!("has no opening in line {line_number}: {error}")))?;
        if let Err(error) = entry.format_version.accept("ledger of openings") {
            return Err(Failure::error(
                Exit::BadInput,
                format!("`{shown}`, line {line_number}: {error}"),
                "use the candor that wrote it, or a newer one",
            ));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Appends one line that is on the disk when this returns.
fn append(path: &Path, entry: &Entry) -> anyhow::Result<()> {
    let shown = path.display();
    let failed = || format!("cannot write `{shown}`, without which the split stays shut");
    let mut file = File::options()
        .create(true)
        .read(true)
        .append(true)
        .open(path)
        .with_context(failed)?;
    file.lock().with_context(failed)?;
    let overtaken = entries(&mut file, path)?
        .iter()
        .any(|other| other.same_question(entry) && other.number >= entry.number);
    if overtaken {
        return Err(Failure::error(
            Exit::CheckFailed,
            format!(
                "another evaluation has opened the {} split for `{}` meanwhile",
                entry.split, entry.probe
            ),
            "run it again",
        ));
    }
    let mut line = serde_json::to_string(entry)?;
    line.push('\n');
    // A file without its last line break would make one line of two.
    if file.stream_position().with_context(failed)? > 0
        && !ends_a_line(&mut file).with_context(failed)?
    {
        line.insert(0, '\n');
    }
    file.write_all(line.as_bytes()).with_context(failed)?;
    file.sync_all().with_context(failed)
}

fn ends_a_line(file: &mut File) -> std::io::Result<bool> {
    file.seek(std::io::SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(probe_sha256: &str) -> Entry {
        Entry {
            format_version: FormatVersion::CURRENT,
            number: 1,
            probe: "p".into(),
            probe_sha256: probe_sha256.into(),
            recipe_sha256: "r".into(),
            dataset: "d".into(),
            dataset_sha256: "dd".into(),
            split: Split::Test,
            store_sha256: "s".into(),
            reason: None,
            candor_version: "0.1.0".into(),
            command: "candor evaluate".into(),
        }
    }

    /// Two empty folders and the ledgers in them.
    fn folders() -> ([tempfile::TempDir; 2], [PathBuf; 2]) {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let files = [&folders[0], &folders[1]].map(|folder| folder.path().join(FILE));
        (folders, files)
    }

    fn next(entry: Entry, files: &[PathBuf; 2], reason: Option<&str>) -> anyhow::Result<Opening> {
        let mut entries = Vec::new();
        for file in files {
            entries.extend(read(file)?);
        }
        Opening::next(entry, entries, files.clone(), reason)
    }

    /// Opens and records; the counts of probes and of measurements.
    fn opened(entry: Entry, files: &[PathBuf; 2], reason: Option<&str>) -> (u64, u64) {
        let opening = next(entry, files, reason).unwrap();
        opening.record().unwrap();
        let openings = opening.openings();
        (openings.n_probes, openings.n_measured)
    }

    #[test]
    fn another_probe_of_the_name_needs_a_reason() {
        let (_folders, files) = folders();
        assert_eq!(opened(entry("a"), &files, None), (1, 1));
        assert_eq!(opened(entry("a"), &files, None), (1, 2));
        let refused = next(entry("b"), &files, None).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("with other weights (opening 2)")
        );
        assert!(next(entry("b"), &files, Some(" \n")).is_err());
        assert_eq!(opened(entry("b"), &files, Some(" a bug ")), (2, 3));
        // Both are known now, and the reason stays.
        assert_eq!(opened(entry("b"), &files, None), (2, 4));
        let opening = next(entry("a"), &files, Some("not needed")).unwrap();
        assert_eq!(opening.openings().reasons, ["a bug"]);
        let mut pooled = entry("a");
        pooled.recipe_sha256 = "other".into();
        let refused = next(pooled, &files, None).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("with other weights (opening 4)")
        );
    }

    #[test]
    fn another_name_other_data_and_another_split_are_other_questions() {
        let (_folders, files) = folders();
        opened(entry("a"), &files, None);
        let bends: [fn(&mut Entry); 3] = [
            |e| e.probe = "q".into(),
            |e| e.dataset_sha256 = "ee".into(),
            |e| e.split = Split::Validation,
        ];
        for bend in bends {
            let mut other = entry("b");
            bend(&mut other);
            assert_eq!(opened(other, &files, None), (1, 1));
        }
        let mut pooled = entry("a");
        pooled.recipe_sha256 = "other".into();
        let refused = next(pooled, &files, None).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("by another recipe (opening 1)")
        );
    }

    #[test]
    fn either_folder_remembers() {
        for lost in 0..2 {
            let (_folders, files) = folders();
            opened(entry("a"), &files, None);
            std::fs::remove_file(&files[lost]).unwrap();
            assert!(next(entry("b"), &files, None).is_err());
            assert_eq!(opened(entry("a"), &files, None), (1, 2));
        }
    }

    #[test]
    fn a_damaged_ledger_is_an_error() {
        let (_folders, files) = folders();
        for _ in 0..3 {
            opened(entry("a"), &files, None);
        }
        let whole = std::fs::read_to_string(&files[0]).unwrap();
        let lines: Vec<&str> = whole.lines().collect();
        let check = |text: &str, words: &str| {
            for file in &files {
                std::fs::write(file, text).unwrap();
            }
            let error = next(entry("a"), &files, None).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        check(
            &format!("{}\n{}\n", lines[0], lines[2]),
            "opening 2 of probe `p` is missing",
        );
        check(&whole[..whole.len() - 9], "has no opening in line 3");
        check(&whole.replacen("\"1.0\"", "\"2.0\"", 1), "line 1: ");
        check("\n", "has no opening in line 1");
        // Without its last line break it is whole.
        std::fs::write(&files[0], whole.trim_end()).unwrap();
        std::fs::write(&files[1], &whole).unwrap();
        assert_eq!(opened(entry("a"), &files, None), (1, 4));
        assert_eq!(opened(entry("a"), &files, None), (1, 5));
    }

    #[test]
    fn two_at_once_are_not_the_same_opening() {
        let (_folders, files) = folders();
        let [one, other] = ["a", "b"].map(|sha256| next(entry(sha256), &files, None).unwrap());
        one.record().unwrap();
        assert!(other.record().is_err());
        assert_eq!(read(&files[1]).unwrap(), [entry("a")]);
    }

    #[test]
    fn the_kept_ledger_stays_readable() {
        let kept = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/contracts/openings.jsonl"
        );
        let entries = read(Path::new(kept)).unwrap();
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, [1, 2]);
        assert_eq!(
            entries[1].reason.as_deref(),
            Some("the labels of two replies were wrong")
        );
        for (entry, line) in entries
            .iter()
            .zip(std::fs::read_to_string(kept).unwrap().lines())
        {
            assert_eq!(serde_json::to_string(entry).unwrap(), line);
        }
    }
}

//! The file formats that dialogues are read from.

mod dialogue_jsonl;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use candor_schema::Dialogue;

use crate::{Error, LineProblem};

/// Every format, in the order in which an extension is looked up.
pub(crate) const FORMATS: &[&dyn Format] = &[&dialogue_jsonl::DialogueJsonl];

/// A way to write dialogues down.
pub(crate) trait Format: Sync {
    /// File extensions without the dot.
    fn extensions(&self) -> &'static [&'static str];

    /// Adds the dialogues of one file, and all its problems, to `reading`.
    ///
    /// An error is one of the system, not of the file's content.
    fn read(
        &self,
        path: &Path,
        reader: &mut dyn BufRead,
        reading: &mut Reading,
    ) -> std::io::Result<()>;

    /// Writes dialogues; the bytes depend on nothing else.
    fn write(&self, dialogues: &[Dialogue], writer: &mut dyn Write) -> std::io::Result<()>;
}

/// What has been read so far, over all files of a data set.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The good dialogues.
    pub(crate) dialogues: Vec<Dialogue>,
    /// The bad lines.
    pub(crate) problems: Vec<LineProblem>,
    /// Where each id was first seen.
    pub(crate) ids: HashMap<String, (PathBuf, usize)>,
}

/// The format that a file's extension names.
pub(crate) fn of(path: &Path) -> Result<&'static dyn Format, Error> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    FORMATS
        .iter()
        .copied()
        .find(|format| extension.is_some_and(|text| format.extensions().contains(&text)))
        .ok_or_else(|| Error::UnknownFormat {
            path: path.to_owned(),
            expected: extensions(),
        })
}

/// All known extensions, as `*.jsonl`, for messages.
pub(crate) fn extensions() -> String {
    let globs: Vec<String> = FORMATS
        .iter()
        .flat_map(|format| format.extensions())
        .map(|extension| format!("`*.{extension}`"))
        .collect();
    globs.join(", ")
}

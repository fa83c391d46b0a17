//! Kinds of file that records come in.

mod csv;
mod json;
mod jsonl;
mod yaml;

use std::io::BufRead;
use std::path::Path;

use serde_json::Value;

/// Longest JSON or YAML document that is read whole, in bytes; it takes several times as much memory.
pub(crate) const MAX_DOCUMENT: u64 = 256 << 20;

/// A kind of file, told by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Container {
    /// One JSON object per line.
    Jsonl,
    /// One JSON document: a list, or an object that holds one.
    Json,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
    /// The same with tabs.
    Tsv,
    /// A YAML list.
    Yaml,
    /// Apache Parquet; this crate does not read it, see [`crate::Import::record`].
    Parquet,
    /// A zip of JSON files, as Inspect writes; this crate does not open it, see
    /// [`crate::Import::record`].
    Eval,
}

impl Container {
    const EXTENSIONS: &'static [(&'static str, Self)] = &[
        ("jsonl", Self::Jsonl),
        ("ndjson", Self::Jsonl),
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("tsv", Self::Tsv),
        ("yaml", Self::Yaml),
        ("yml", Self::Yaml),
        ("parquet", Self::Parquet),
        ("eval", Self::Eval),
    ];

    /// The kind that a file's extension names, whatever its case.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_lowercase();
        let known = Self::EXTENSIONS.iter().find(|(name, _)| *name == extension);
        known.map(|(_, container)| *container)
    }

    /// The usual extension, without the dot.
    pub(crate) fn extension(self) -> &'static str {
        let known = Self::EXTENSIONS.iter().find(|(_, kind)| *kind == self);
        known.map_or("", |(name, _)| name)
    }

    /// What its records are counted by.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Jsonl | Self::Csv | Self::Tsv | Self::Yaml => Unit::Line,
            Self::Parquet => Unit::Row,
            Self::Json | Self::Eval => Unit::Entry,
        }
    }

    /// Reads the records of a text file; `list` names the field of a document that holds them.
    ///
    /// An error is one of the system, not of the file's content.
    pub(crate) fn read(
        self,
        reader: &mut dyn BufRead,
        list: Option<&str>,
        found: &mut dyn FnMut(Found),
    ) -> std::io::Result<()> {
        match self {
            Self::Jsonl => jsonl::read(reader, found),
            Self::Json => json::read(reader, list, found),
            Self::Csv => csv::read(reader, b',', found),
            Self::Tsv => csv::read(reader, b'\t', found),
            Self::Yaml => yaml::read(reader, list, found),
            Self::Parquet | Self::Eval => {
                found(Found::Bad(Bad {
                    line: 0,
                    column: 0,
                    what: format!("is not read as text (`.{}`)", self.extension()),
                    hint: "give it to the command line, which opens it",
                }));
                Ok(())
            }
        }
    }
}

/// What records are counted by, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The line of the file at which the record begins.
    Line,
    /// The row of a table.
    Row,
    /// The entry of a list.
    Entry,
}

impl Unit {
    /// The unit's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::Row => "row",
            Self::Entry => "entry",
        }
    }
}

/// What a reader comes upon.
#[derive(Debug)]
pub(crate) enum Found {
    /// A document without the list of its records.
    Head(Value),
    /// A record and its number.
    Record(usize, Value),
    /// Something that cannot be read.
    Bad(Bad),
}

/// Something that cannot be read, and where; 0 where no place is meant.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) what: String,
    pub(crate) hint: &'static str,
}

/// Reads a document whole, if it is no longer than [`MAX_DOCUMENT`] and UTF-8.
fn document(
    reader: &mut dyn BufRead,
    found: &mut dyn FnMut(Found),
) -> std::io::Result<Option<String>> {
    use std::io::Read;

    let mut bytes = Vec::new();
    reader.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
    let mut bad = |line, what, hint| {
        found(Found::Bad(Bad {
            line,
            column: 0,
            what,
            hint,
        }));
        Ok(None)
    };
    if bytes.len() as u64 > MAX_DOCUMENT {
        let what = format!("is longer than {} MiB", MAX_DOCUMENT >> 20);
        return bad(
            0,
            what,
            "split it, or convert it to JSONL, Parquet or `.eval`",
        );
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let before = &error.as_bytes()[..good];
            let line = before.split(|byte| *byte == b'\n').count();
            let what = format!("byte 0x{:02x} is not UTF-8", error.as_bytes()[good]);
            bad(line, what, "save the file as UTF-8")
        }
    }
}

/// Gives the records of a document away: the entries of a list, or of the list in its field `list`.
fn entries(
    value: Value,
    list: Option<&str>,
    found: &mut dyn FnMut(Found),
    number: impl Fn(usize) -> usize,
) {
    let (head, entries) = match (value, list) {
        (Value::Array(entries), _) => (None, Some(entries)),
        (Value::Object(mut fields), Some(list)) => match fields.remove(list) {
            Some(Value::Array(entries)) => (Some(Value::Object(fields)), Some(entries)),
            _ => (None, None),
        },
        _ => (None, None),
    };
    let Some(entries) = entries else {
        let expected = list.map_or(String::new(), |list| {
            format!(", or an object with a list `{list}`")
        });
        found(Found::Bad(Bad {
            line: 0,
            column: 0,
            what: format!("holds no list of records (expected a list{expected})"),
            hint: "check that `--from` names what the file is",
        }));
        return;
    };
    if let Some(head) = head {
        found(Found::Head(head));
    }
    for (index, entry) in entries.into_iter().enumerate() {
        found(Found::Record(number(index), entry));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a reader finds, as one line of text each.
    pub(crate) fn shown(container: Container, list: Option<&str>, bytes: &[u8]) -> Vec<String> {
        let mut shown = Vec::new();
        let mut reader = bytes;
        container
            .read(&mut reader, list, &mut |found| {
                shown.push(match found {
                    Found::Head(value) => format!("head {value}"),
                    Found::Record(number, value) => format!("{number} {value}"),
                    Found::Bad(bad) => format!("bad {}:{} {}", bad.line, bad.column, bad.what),
                });
            })
            .unwrap();
        shown
    }

    #[test]
    fn extensions_name_containers() {
        assert_eq!(
            Container::of(Path::new("a/B.CSV")),
            Some(Container::Csv),
            "case does not matter"
        );
        assert_eq!(Container::of(Path::new("a.tar.gz")), None);
        assert_eq!(Container::of(Path::new("jsonl")), None);
        for (name, container) in Container::EXTENSIONS {
            assert_eq!(
                Container::of(Path::new(&format!("x.{name}"))),
                Some(*container)
            );
            assert!(!container.extension().is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for (_, container) in Container::EXTENSIONS {
                shown(*container, Some("rows"), &bytes);
            }
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in "[-\\[\\]{}:,|>&*!?#%@'\"a1.e\n\t \r~]{0,80}") {
            for (_, container) in Container::EXTENSIONS {
                shown(*container, Some("rows"), text.as_bytes());
            }
        }
    }
}

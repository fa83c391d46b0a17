//! `part-00000.json` and `dialogues.json`: what commits a file of the store.

use std::fs;
use std::path::{Path, PathBuf};

use candor_schema::FormatVersion;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::durable::{read_bounded, sha256_of_file, write_atomically};
use crate::manifest::{read_versioned_json, sorted_json};
use crate::{Error, Precision};

/// Name of the dialogues' file.
pub(crate) const DIALOGUES_FILE: &str = "dialogues.parquet";
/// Name of the record that commits the dialogues' file.
pub(crate) const DIALOGUES_RECORD_FILE: &str = "dialogues.json";
const MAX_RECORD_BYTES: u64 = 1 << 20;

/// A committed part: its size, content and precision. Written after the part itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Version of the store's format.
    #[serde(default)]
    pub format_version: FormatVersion,
    /// The part's place in the plan, from 0.
    pub index: usize,
    /// Rows: stored tokens.
    pub rows: u64,
    /// Size of the Parquet file in bytes.
    pub bytes: u64,
    /// SHA-256 of the Parquet file, in hexadecimal.
    pub sha256: String,
    /// Precision of every vector in the part. `f32` where the plan's precision would have made a
    /// value infinite.
    pub precision: Precision,
    /// Values beyond the range of the plan's precision.
    pub overflows: u64,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl PartRecord {
    /// Reads a part's record; none if the part is not committed.
    pub(crate) fn read(folder: &Path, index: usize) -> Result<Option<Self>, Error> {
        let path = record_path(folder, index);
        let record: Option<Self> = read_record(&path)?;
        if let Some(record) = &record
            && record.index != index
        {
            let problem = format!("it is about part {}", record.index);
            return Err(Error::damaged(&path, problem));
        }
        Ok(record)
    }

    /// Commits the part, whose Parquet file must be in place.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        write_record(&record_path(folder, self.index), self)
    }

    /// Checks that the Parquet file is there and has the committed size.
    pub(crate) fn check_size(&self, folder: &Path) -> Result<(), Error> {
        check_size(&part_path(folder, self.index), self.bytes)
    }

    /// Checks that the Parquet file has the committed size and content.
    pub(crate) fn check_content(&self, folder: &Path) -> Result<(), Error> {
        check_content(&part_path(folder, self.index), self.bytes, &self.sha256)
    }
}

/// A committed `dialogues.parquet`. Written after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DialoguesRecord {
    /// Version of the store's format.
    #[serde(default)]
    pub(crate) format_version: FormatVersion,
    /// Rows: dialogues.
    pub(crate) rows: u64,
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// SHA-256, in hexadecimal.
    pub(crate) sha256: String,
}

impl DialoguesRecord {
    /// Reads the record; none if the dialogues are not committed.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        read_record(&folder.join(DIALOGUES_RECORD_FILE))
    }

    /// Commits the dialogues, whose Parquet file must be in place.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        write_record(&folder.join(DIALOGUES_RECORD_FILE), self)
    }

    /// Checks that the Parquet file has the committed size and content.
    pub(crate) fn check_content(&self, folder: &Path) -> Result<(), Error> {
        check_content(&folder.join(DIALOGUES_FILE), self.bytes, &self.sha256)
    }
}

/// Reads a record; none if it is not there.
fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_bounded(path, MAX_RECORD_BYTES)?;
    let json = read_versioned_json(path, &bytes, "activation store")?;
    serde_json::from_value(json)
        .map(Some)
        .map_err(|e| Error::damaged(path, e))
}

fn write_record(path: &Path, record: &impl Serialize) -> Result<(), Error> {
    let json = serde_json::to_value(record).expect("a record has string keys only");
    write_atomically(path, sorted_json(json).as_bytes())
}

fn check_size(path: &Path, expected: u64) -> Result<(), Error> {
    if !path.exists() {
        return Err(Error::damaged(path, "it is missing"));
    }
    let found = fs::metadata(path).map_err(|e| Error::read(path, e))?.len();
    if found != expected {
        return Err(Error::WrongSize {
            path: path.to_owned(),
            expected,
            found,
        });
    }
    Ok(())
}

fn check_content(path: &Path, bytes: u64, expected: &str) -> Result<(), Error> {
    check_size(path, bytes)?;
    let found = sha256_of_file(path)?;
    if found != expected {
        return Err(Error::WrongHash {
            path: path.to_owned(),
            expected: expected.to_owned(),
            found,
        });
    }
    Ok(())
}

/// Name of a part's Parquet file.
pub(crate) fn part_file(index: usize) -> String {
    format!("part-{index:05}.parquet")
}

/// Path of a part's Parquet file.
pub(crate) fn part_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(part_file(index))
}

/// Path of a part's record.
pub(crate) fn record_path(folder: &Path, index: usize) -> PathBuf {
    folder.join(format!("part-{index:05}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::sha256_hex;

    fn record() -> PartRecord {
        PartRecord {
            format_version: FormatVersion::CURRENT,
            index: 3,
            rows: 2,
            bytes: 4,
            sha256: sha256_hex(b"data"),
            precision: Precision::F16,
            overflows: 0,
            extra: Map::new(),
        }
    }

    #[test]
    fn a_record_commits_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(PartRecord::read(folder, 3).unwrap(), None);
        record().write(folder).unwrap();
        let read = PartRecord::read(folder, 3).unwrap().unwrap();
        assert_eq!(read, record());

        assert!(matches!(
            read.check_content(folder),
            Err(Error::Damaged { .. })
        ));
        fs::write(part_path(folder, 3), b"dat").unwrap();
        assert!(matches!(
            read.check_content(folder),
            Err(Error::WrongSize { found: 3, .. })
        ));
        fs::write(part_path(folder, 3), b"dada").unwrap();
        read.check_size(folder).unwrap();
        assert!(matches!(
            read.check_content(folder),
            Err(Error::WrongHash { .. })
        ));
        fs::write(part_path(folder, 3), b"data").unwrap();
        read.check_content(folder).unwrap();
    }

    #[test]
    fn malformed_records_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let write = |text: &str| fs::write(record_path(folder, 3), text).unwrap();
        for text in ["", "{}", "{\"index\": 3}"] {
            write(text);
            let result = PartRecord::read(folder, 3);
            assert!(matches!(result, Err(Error::Damaged { .. })), "{text}");
        }
        write("{\"format_version\": \"2.0\"}");
        let newer = PartRecord::read(folder, 3);
        assert!(matches!(newer, Err(Error::Version { .. })));
        let mut other = record();
        other.index = 4;
        other.write(folder).unwrap();
        fs::rename(record_path(folder, 4), record_path(folder, 3)).unwrap();
        let moved = PartRecord::read(folder, 3);
        assert!(matches!(moved, Err(Error::Damaged { .. })));
    }
}

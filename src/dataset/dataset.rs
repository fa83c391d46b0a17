//! A data set as read from disk, with the hash that evaluations quote.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use candor_schema::Dialogue;
use sha2::{Digest, Sha256};

use crate::format::{self, Reading};
use crate::{Error, LineProblem};

/// Labelled dialogues and where they came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The file's stem, or the folder's name.
    pub name: String,
    /// SHA-256 over the bytes of the file, or of all files in the order read, in hexadecimal.
    pub sha256: String,
    /// The dialogues in the order of the files.
    pub dialogues: Vec<Dialogue>,
}

/// Reads one data file, or every data file of a folder in the order of their names.
///
/// Folders inside the folder are not entered. Ids must be unique over all files.
///
/// # Errors
/// [`Error::BadLines`] with every bad line; [`Error::Read`], [`Error::NoFiles`] or
/// [`Error::UnknownFormat`] where there is nothing to read.
pub fn read(path: &Path) -> Result<Dataset, Error> {
    let files = data_files(path)?;
    let mut reading = Reading::default();
    let mut hasher = Sha256::new();
    for file in &files {
        let reader = File::open(file).map_err(|source| Error::Read {
            path: file.clone(),
            source,
        })?;
        let mut reader = BufReader::new(Hashing {
            inner: reader,
            hasher: &mut hasher,
        });
        format::of(file)?
            .read(file, &mut reader, &mut reading)
            .map_err(|source| Error::Read {
                path: file.clone(),
                source,
            })?;
    }
    if !reading.problems.is_empty() {
        return Err(Error::BadLines {
            problems: reading.problems,
        });
    }
    Ok(Dataset {
        name: name_of(path),
        sha256: hex(&hasher.finalize()),
        dialogues: reading.dialogues,
    })
}

/// Writes dialogues to a file in the format of its extension and returns the bytes' SHA-256.
///
/// The bytes depend on the dialogues alone. The file appears at once, complete, or not at all.
///
/// # Errors
/// [`Error::Write`] if the file cannot be written; [`Error::UnknownFormat`] for an extension that
/// no format claims.
pub fn write(path: &Path, dialogues: &[Dialogue]) -> Result<String, Error> {
    let format = format::of(path)?;
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    format.write(dialogues, &mut bytes).map_err(failed)?;

    write_whole(path, &bytes)?;
    Ok(hex(&Sha256::digest(&bytes)))
}

/// Writes a file that appears at once, complete, or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut file = BufWriter::new(File::create(&partial).map_err(failed)?);
    file.write_all(bytes).map_err(failed)?;
    file.into_inner()
        .map_err(std::io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .map_err(failed)
}

fn data_files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read {
        path: path.to_owned(),
        source,
    };
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.is_file() && format::of(&file).is_ok() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::NoFiles {
            folder: path.to_owned(),
            expected: format::extensions(),
        });
    }
    files.sort();
    Ok(files)
}

fn name_of(path: &Path) -> String {
    // `.` and `..` have no name of their own until they are resolved.
    let resolved = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = if resolved.is_dir() {
        resolved.file_name()
    } else {
        resolved.file_stem()
    };
    name.map_or_else(
        || String::from("data"),
        |name| name.to_string_lossy().into_owned(),
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A reader that hashes what passes through, so that a file is read once and not held as a whole.
struct Hashing<'a, R> {
    inner: R,
    hasher: &'a mut Sha256,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

/// Adds a problem that concerns a file as a whole.
pub(crate) fn file_problem(path: &Path, what: &str, hint: &'static str) -> LineProblem {
    LineProblem {
        path: path.to_owned(),
        line: 0,
        column: 0,
        what: what.to_owned(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::example::dialogue;

    #[test]
    fn a_folder_is_its_files_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("b.jsonl"), &[dialogue("2")]).unwrap();
        write(&folder.path().join("a.jsonl"), &[dialogue("1")]).unwrap();
        fs::write(folder.path().join("README.md"), "not data").unwrap();
        fs::create_dir(folder.path().join("c.jsonl")).unwrap();

        let dataset = read(folder.path()).unwrap();
        let ids: Vec<&str> = dataset.dialogues.iter().map(|d| d.id.as_str()).collect();
        assert_eq!(ids, ["1", "2"]);
        assert_eq!(
            dataset.name,
            folder.path().file_name().unwrap().to_string_lossy()
        );
        let mut bytes = fs::read(folder.path().join("a.jsonl")).unwrap();
        bytes.extend(fs::read(folder.path().join("b.jsonl")).unwrap());
        assert_eq!(dataset.sha256, hex(&Sha256::digest(&bytes)));
    }

    #[test]
    fn writing_returns_the_hash_that_reading_finds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.jsonl");
        let sha256 = write(&path, &[dialogue("1"), dialogue("2")]).unwrap();
        let dataset = read(&path).unwrap();
        assert_eq!(
            (dataset.name.as_str(), dataset.sha256),
            ("set", sha256.clone())
        );
        assert_eq!(write(&path, &dataset.dialogues).unwrap(), sha256);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no partial file stays");
    }

    #[test]
    fn an_id_in_two_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a.jsonl"), &[dialogue("1")]).unwrap();
        write(&folder.path().join("b.jsonl"), &[dialogue("1")]).unwrap();
        let message = read(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains("b.jsonl:1") && message.contains("a.jsonl:1"),
            "{message}"
        );
    }

    #[test]
    fn nothing_to_read_is_said_so() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(Error::NoFiles { .. })));
        let missing = folder.path().join("none.jsonl");
        assert!(matches!(read(&missing), Err(Error::Read { .. })));
        let table = folder.path().join("table.csv");
        fs::write(&table, "id,label\n").unwrap();
        assert!(matches!(read(&table), Err(Error::UnknownFormat { .. })));
    }
}

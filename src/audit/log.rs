//! Writes a log.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use candor_schema::{AuditRow, FormatVersion, Verdict};

use crate::chain::{self, Head, MAX_LINE};
use crate::error::{Error, Result};
use crate::verify::verify;

/// Bytes at the end of a log that are read when it is opened: a torn row, a whole one, and the end
/// of the one before.
const TAIL: u64 = 2 * MAX_LINE as u64 + 1;

/// An open log. The file is locked against other writers as long as this lives.
#[derive(Debug)]
pub struct AuditLog {
    file: File,
    path: PathBuf,
    head: Head,
    /// Length of the file up to the last whole row; what lies behind is removed before a write.
    n_bytes: u64,
    cut_bytes: u64,
    sync: bool,
    torn: bool,
}

impl AuditLog {
    /// Opens a log, or begins one. The last rows are checked, a row torn by a crash is cut off.
    ///
    /// # Errors
    /// [`Error::Broken`] if the last rows are wrong, [`Error::NewerFormat`] if a newer candor wrote
    /// them, [`Error::Locked`] if another process has the log open, [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let io = Error::io(path);
        let is_new = !path.exists();
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(path);
        let mut file = file.map_err(&io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = path.to_owned();
                return Err(Error::Locked { path });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        if is_new {
            sync_folder(path)?;
        }

        let size = file.metadata().map_err(&io)?.len();
        let start = size.saturating_sub(TAIL);
        file.seek(SeekFrom::Start(start)).map_err(&io)?;
        let mut tail = Vec::new();
        (&mut file).take(TAIL).read_to_end(&mut tail).map_err(&io)?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n');
        let n_whole = whole.map_or(0, |at| at + 1);
        let (whole, torn) = tail.split_at(n_whole);
        let head = check_tail(whole, start == 0).filter(|_| chain::is_torn_row(torn));
        let Some(head) = head else {
            return Err(broken(path));
        };
        let cut_bytes = torn.len() as u64;
        let n_bytes = size - cut_bytes;
        if cut_bytes > 0 {
            file.set_len(n_bytes)
                .and_then(|()| file.sync_all())
                .map_err(&io)?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            head,
            n_bytes,
            cut_bytes,
            sync: false,
            torn: false,
        })
    }

    /// Whether each row is on disk before [`AuditLog::append`] returns, so that it survives a power
    /// cut. Otherwise it survives the end of the process only. Off unless set.
    #[must_use]
    pub fn sync_each_row(mut self, sync: bool) -> Self {
        self.sync = sync;
        self
    }

    /// Rows in the log.
    pub fn n_rows(&self) -> u64 {
        self.head.n_rows
    }

    /// Bytes of a torn row that were cut off when the log was opened.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    /// Writes a verdict without the texts of its tokens, and returns its row.
    ///
    /// # Errors
    /// [`Error::Unwritable`] if the verdict would not read back as it is, [`Error::Io`] if it cannot
    /// be written. The log then ends as before.
    pub fn append(&mut self, verdict: &Verdict) -> Result<AuditRow> {
        let mut row = AuditRow {
            format_version: FormatVersion::CURRENT,
            sequence: self.head.n_rows,
            previous_sha256: self.head.sha256.clone(),
            verdict: without_texts(verdict.clone()),
            sha256: String::new(),
        };
        let unwritable = |what: String| Error::Unwritable {
            id: verdict.id.clone(),
            what,
        };
        let mut line = chain::seal(&mut row).map_err(|error| unwritable(error.to_string()))?;
        // JSON has no NaN: it would be written as null, and the row could never be read again.
        match serde_json::from_str::<AuditRow>(&line) {
            Ok(read) if read == row => {}
            Ok(_) => return Err(unwritable("it has a number that is not finite".into())),
            Err(error) => return Err(unwritable(error.to_string())),
        }
        line.push('\n');
        if line.len() > MAX_LINE {
            let n_bytes = line.len();
            return Err(unwritable(format!(
                "its row has {n_bytes} bytes, more than {MAX_LINE}"
            )));
        }
        self.write(line.as_bytes())?;
        self.n_bytes += line.len() as u64;
        self.head = Head {
            n_rows: row.sequence + 1,
            sha256: row.sha256.clone(),
        };
        Ok(row)
    }

    /// Puts all rows on disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }

    fn write(&mut self, line: &[u8]) -> Result<()> {
        if self.torn {
            return Err(Error::Torn {
                path: self.path.clone(),
            });
        }
        let mut result = self.file.write_all(line);
        if self.sync {
            result = result.and_then(|()| self.file.sync_data());
        }
        result.map_err(|error| {
            // A caller that is told of an error must not find the row in the log.
            self.torn = self.file.set_len(self.n_bytes).is_err();
            Error::io(&self.path)(error)
        })
    }
}

/// The head after the whole rows of a tail, or `None` if they do not chain.
fn check_tail(tail: &[u8], is_whole_file: bool) -> Option<Head> {
    let mut head = is_whole_file.then(Head::start);
    let mut lines = tail.split_inclusive(|byte| *byte == b'\n');
    if !is_whole_file {
        // The tail begins inside a row.
        lines.next();
    }
    for line in lines {
        let line = &line[..line.len() - 1];
        head = Some(Head::after(head.as_ref(), line).ok()?);
    }
    head
}

/// What exactly is wrong with a log whose tail does not chain.
fn broken(path: &Path) -> Error {
    match verify(path) {
        Err(error) => error,
        Ok(report) => match report.broken {
            Some(broken) => Error::Broken(broken),
            // Only if the file was changed in between, which the lock does not prevent.
            None => Error::Io {
                path: path.to_owned(),
                source: std::io::Error::other("the file changes while it is read"),
            },
        },
    }
}

fn without_texts(mut verdict: Verdict) -> Verdict {
    let tokens = verdict.probes.iter_mut().filter_map(|p| p.tokens.as_mut());
    for token in tokens.flatten() {
        token.text = None;
    }
    verdict
}

/// Makes the name of a new file durable.
fn sync_folder(path: &Path) -> Result<()> {
    // A folder cannot be opened as a file on Windows.
    if cfg!(unix) {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        folder
            .and_then(|folder| folder.sync_all())
            .map_err(Error::io(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;

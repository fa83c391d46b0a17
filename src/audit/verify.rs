//! Checks a whole log.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::chain::{self, Head, MAX_LINE, Refused};
use crate::error::{Break, Error, Fault, Result};

/// What a check of a log found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rows that are right, from the first on.
    pub n_rows: u64,
    /// SHA-256 of the last of them; of nothing for an empty log.
    pub head_sha256: String,
    /// Bytes after the last line feed: a row that a crash tore, or that is being written.
    pub torn_bytes: u64,
    /// The first row that is wrong. What follows it was not looked at.
    pub broken: Option<Break>,
}

/// Checks every row's hash, sequence and link, reading the file once and holding one row at a time.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::NewerFormat`] if a row has a newer major
/// version. A broken chain is not an error but [`Report::broken`].
pub fn verify(path: &Path) -> Result<Report> {
    let io = Error::io(path);
    let mut lines = BufReader::new(File::open(path).map_err(&io)?);
    let mut head = Head::start();
    let mut line = Vec::new();
    let mut torn_bytes = 0;
    let mut broken = None;
    for number in 1.. {
        line.clear();
        let n = (&mut lines)
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut line)
            .map_err(&io)?;
        let result = if line.pop_if(|last| *last == b'\n').is_some() {
            Head::after(Some(&head), &line)
        } else if n == MAX_LINE {
            Err(Refused::Fault(Fault::TooLong { limit: MAX_LINE }))
        } else if chain::is_torn_row(&line) {
            torn_bytes = n as u64;
            break;
        } else {
            let what = "it has neither a line feed nor the beginning of a row".to_owned();
            Err(Refused::Fault(Fault::NotARow { what }))
        };
        match result {
            Ok(next) => head = next,
            Err(Refused::Fault(fault)) => {
                broken = Some(Break {
                    path: path.to_owned(),
                    line: number,
                    fault,
                });
                break;
            }
            Err(Refused::NewerFormat(source)) => {
                return Err(Error::NewerFormat {
                    path: path.to_owned(),
                    line: number,
                    source,
                });
            }
        }
    }
    Ok(Report {
        n_rows: head.n_rows,
        head_sha256: head.sha256,
        torn_bytes,
        broken,
    })
}

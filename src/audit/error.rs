//! What can be wrong with a log.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A situation in which a log cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read or written.
    #[error("cannot access audit log `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process writes to the log.
    #[error("audit log `{path}` is in use by another process")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The chain does not hold.
    #[error("audit log is broken at {0}")]
    Broken(Break),
    /// A row of a newer major version.
    #[error("audit log `{path}`, line {line}")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The versions.
        source: candor_schema::Error,
    },
    /// A verdict that would not read back as it is.
    #[error("verdict `{id}` cannot be logged: {what}")]
    Unwritable {
        /// The verdict's id.
        id: String,
        /// Why.
        what: String,
    },
    /// An earlier write failed half-way and could not be undone.
    #[error("audit log `{path}` ends in a torn row that could not be removed")]
    Torn {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the path, its permissions and the space on its disk",
            Self::Locked { .. } => "give each process its own log",
            Self::Broken(_) => {
                "keep the file as evidence, compare it with a backup, and begin a new log"
            }
            Self::NewerFormat { .. } => "update candor, or begin a new log",
            Self::Unwritable { .. } => "report this: every verdict should have finite numbers",
            Self::Torn { .. } => "open the log again: a torn last row is cut then",
        }
    }
}

/// The first place at which a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The log.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.fault)
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Longer than any row.
    #[error("the line is longer than {limit} bytes")]
    TooLong {
        /// The longest row.
        limit: usize,
    },
    /// Not the JSON of a row.
    #[error("the line is not an audit row: {what}")]
    NotARow {
        /// Why.
        what: String,
    },
    /// The row was changed.
    #[error("the row states sha256 {stated}, but has {found}")]
    Hash {
        /// What the row says.
        stated: String,
        /// What it is.
        found: String,
    },
    /// The row is not the next one.
    #[error("the row has sequence {found}, expected {expected}")]
    Sequence {
        /// What the row says.
        found: u64,
        /// What follows from the row before.
        expected: u64,
    },
    /// The row does not follow the one before.
    #[error("the row follows a row of sha256 {found}, but the row before has {expected}")]
    Link {
        /// What the row says.
        found: String,
        /// What the row before is.
        expected: String,
    },
}

//! What can go wrong with an activation store.

use std::io;
use std::path::{Path, PathBuf};

use candor_schema::HookPoint;

use crate::Precision;

/// A store that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds a store that was planned differently.
    #[error(
        "the store in `{}` was planned with `{field}` = {found}, but this run has {wanted}",
        folder.display()
    )]
    PlanMismatch {
        /// The store's folder.
        folder: PathBuf,
        /// The first field that differs, for example `model.weights_sha256`.
        field: String,
        /// Its value in the folder's `manifest.json`.
        found: String,
        /// Its value in this run's plan.
        wanted: String,
    },
    /// A plan that no store can follow.
    #[error("the plan's `{field}` {problem}")]
    BadPlan {
        /// The field of the manifest.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The folder has no `manifest.json`.
    #[error("`{}` is not an activation store: it has no `manifest.json`", folder.display())]
    NotAStore {
        /// The folder as given.
        folder: PathBuf,
    },
    /// A new store was to be made in a folder that holds something else.
    #[error("`{}` has no `manifest.json` but is not empty: it holds `{entry}`", folder.display())]
    FolderNotEmpty {
        /// The folder as given.
        folder: PathBuf,
        /// One of the files found.
        entry: String,
    },
    /// Another process writes in the folder.
    #[error("another process is writing to the store in `{}`", folder.display())]
    FolderInUse {
        /// The store's folder.
        folder: PathBuf,
    },
    /// Writing was asked of a store that was opened for reading.
    #[error("the store in `{}` was opened for reading", folder.display())]
    OpenedForReading {
        /// The store's folder.
        folder: PathBuf,
    },
    /// Rows were asked of a store whose capture has not finished.
    #[error("the store in `{}` is incomplete: {n_missing} of {n_files} files are missing", folder.display())]
    Incomplete {
        /// The store's folder.
        folder: PathBuf,
        /// Parts and `dialogues.parquet` not written yet.
        n_missing: usize,
        /// Parts in the plan, and `dialogues.parquet`.
        n_files: usize,
    },
    /// A part that the plan does not have.
    #[error("there is no part {index}: the plan has {n_parts}")]
    NoSuchPart {
        /// The index as given.
        index: usize,
        /// Parts in the plan.
        n_parts: usize,
    },
    /// A part that is already on disk.
    #[error("part {index} is already written")]
    PartAlreadyWritten {
        /// The part.
        index: usize,
    },
    /// Dialogues came in another order than planned.
    #[error("expected {}, found dialogue `{found}`", describe_expected(expected.as_deref()))]
    UnexpectedDialogue {
        /// The dialogue as given.
        found: String,
        /// The next one in the plan; none after the last.
        expected: Option<String>,
    },
    /// A file ended before the plan's last dialogue.
    #[error("`{file}` ends before dialogue `{next}`")]
    MissingDialogue {
        /// Name of the file.
        file: String,
        /// The first dialogue that is missing.
        next: String,
    },
    /// A dialogue without a token to store.
    #[error("dialogue `{dialogue}` has no token to store")]
    EmptyDialogue {
        /// The dialogue.
        dialogue: String,
    },
    /// A column of a token that breaks its rule.
    #[error("dialogue `{dialogue}`, row {row}: `{column}` {problem}")]
    BadToken {
        /// The dialogue.
        dialogue: String,
        /// Index among the dialogue's stored tokens.
        row: usize,
        /// The column.
        column: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A dialogue came with more or fewer hook points than planned.
    #[error(
        "dialogue `{dialogue}` has vectors of {found} hook points, but the plan has {expected}"
    )]
    WrongHookPoints {
        /// The dialogue.
        dialogue: String,
        /// Hook points in the plan.
        expected: usize,
        /// Hook points given.
        found: usize,
    },
    /// Vectors of another width than planned.
    #[error(
        "dialogue `{dialogue}`: `{hook_point}` has {found} values, but {n_tokens} tokens of width {width} need {}",
        n_tokens * width
    )]
    WrongWidth {
        /// The dialogue.
        dialogue: String,
        /// The hook point.
        hook_point: HookPoint,
        /// Tokens given.
        n_tokens: usize,
        /// Width in the plan.
        width: usize,
        /// Values given.
        found: usize,
    },
    /// A NaN or an infinity.
    #[error(
        "dialogue `{dialogue}`, token {token_index}: `{place}` is {value}, which is not finite"
    )]
    NonFinite {
        /// The dialogue.
        dialogue: String,
        /// The token's index in the dialogue.
        token_index: u32,
        /// The hook point, or the column.
        place: String,
        /// NaN or an infinity.
        value: f32,
    },
    /// A value that rounding would make infinite.
    #[error("dialogue `{dialogue}`: `{hook_point}` has values beyond the range of {precision}")]
    BeyondPrecision {
        /// The dialogue.
        dialogue: String,
        /// The hook point.
        hook_point: HookPoint,
        /// The plan's precision.
        precision: Precision,
    },
    /// A hook point that the store does not hold.
    #[error("the store in `{}` has no `{hook_point}`; it has {available}", folder.display())]
    UnknownColumn {
        /// The store's folder.
        folder: PathBuf,
        /// The hook point asked for.
        hook_point: HookPoint,
        /// The hook points there are.
        available: String,
    },
    /// A file written by a newer version, or one that names its version wrongly.
    #[error("`{}`: {source}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What is wrong with the version.
        source: candor_schema::Error,
    },
    /// A file whose size is not the one that was committed.
    #[error("`{}` has {found} bytes, but {expected} were written", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Size in bytes when it was committed.
        expected: u64,
        /// Size in bytes now.
        found: u64,
    },
    /// A file whose bytes are not the ones that were committed.
    #[error("`{}` has sha256 {found}, but {expected} was written", path.display())]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// SHA-256 when it was committed, in hexadecimal.
        expected: String,
        /// SHA-256 now, in hexadecimal.
        found: String,
    },
    /// A file that does not hold what it should.
    #[error("`{}` is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No space, or no quota, is left.
    #[error("no space left to write `{}`", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// The folder may not be written to.
    #[error("`{}` cannot be written", path.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// Any other failure of the operating system.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The operating system's words.
        source: io::Error,
    },
}

impl Error {
    /// What the user can do about it, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::PlanMismatch { .. } => {
                "repeat the command that started this store, or choose another folder"
            }
            Self::NotAStore { .. } => "make a store with `candor capture`",
            Self::FolderNotEmpty { .. } => "choose an empty or a new folder",
            Self::FolderInUse { .. } => "wait until it ends, or choose another folder",
            Self::Incomplete { .. } => "run the same capture again: it goes on where it stopped",
            Self::EmptyDialogue { .. } => {
                "leave the dialogue out of the plan, or store all positions"
            }
            Self::NonFinite { .. } => {
                "the model's arithmetic overflowed: run it with `--compute f32`"
            }
            Self::BeyondPrecision { .. } => {
                "drop the part and write it again with `Store::begin_exact_part`"
            }
            Self::UnknownColumn { .. } => {
                "choose one of these, or capture again with this hook point"
            }
            Self::Version { source, .. } => source.hint(),
            Self::WrongSize { .. } | Self::WrongHash { .. } | Self::Damaged { .. } => {
                "run the same capture again: damaged parts are written anew, sound ones are kept"
            }
            Self::DiskFull { .. } => {
                "free space and run the same command again; finished parts are kept"
            }
            Self::NotWritable { .. } => {
                "choose a folder that you may write to, or change its permissions"
            }
            _ => return None,
        })
    }

    /// Sorts a failed write by what the user can do about it.
    pub(crate) fn write(path: &Path, action: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { path, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { path, source }
            }
            _ => Self::Io {
                path,
                action,
                source,
            },
        }
    }

    /// A failed read.
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action: "read",
            source,
        }
    }

    /// A file that does not hold what it should.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it takes errors from `map_err`, which hands them over"
    )]
    pub(crate) fn damaged(path: &Path, problem: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            problem: problem.to_string(),
        }
    }
}

fn describe_expected(expected: Option<&str>) -> String {
    match expected {
        Some(id) => format!("dialogue `{id}`"),
        None => "no more dialogues".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_writes_are_sorted_by_what_to_do() {
        let write = |kind: io::ErrorKind| Error::write(Path::new("x"), "write", kind.into());
        let full = write(io::ErrorKind::StorageFull);
        assert!(matches!(full, Error::DiskFull { .. }));
        assert_eq!(
            full.hint(),
            Some("free space and run the same command again; finished parts are kept")
        );
        let locked = write(io::ErrorKind::ReadOnlyFilesystem);
        assert!(matches!(locked, Error::NotWritable { .. }));
        let other = write(io::ErrorKind::BrokenPipe);
        assert!(matches!(
            other,
            Error::Io {
                action: "write",
                ..
            }
        ));
    }

    #[test]
    fn messages_name_the_facts() {
        let error = Error::NonFinite {
            dialogue: "d-1".into(),
            token_index: 7,
            place: HookPoint::resid_post(3).to_string(),
            value: f32::NAN,
        };
        assert_eq!(
            error.to_string(),
            "dialogue `d-1`, token 7: `blocks.3.hook_resid_post` is NaN, which is not finite"
        );
    }
}

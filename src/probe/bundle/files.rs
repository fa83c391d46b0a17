//! Bounded reading and atomic writing.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::error::{Error, Result};

/// The content of a regular file of at most `limit` bytes.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let io = |source| io_error("read", path, source);
    // Asked before opening: a pipe would block there, and a device has no end.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::NotAFile {
            path: path.to_owned(),
        });
    }
    let file = File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    let too_large = |bytes| Error::FileTooLarge {
        path: path.to_owned(),
        bytes,
        limit,
    };
    if bytes > limit {
        return Err(too_large(bytes));
    }
    let mut content = Vec::with_capacity(bytes as usize);
    // One byte more than allowed shows a file that grew meanwhile.
    file.take(limit + 1).read_to_end(&mut content).map_err(io)?;
    if content.len() as u64 > limit {
        return Err(too_large(content.len() as u64));
    }
    Ok(content)
}

/// Whether there is anything at `path`.
pub(super) fn exists(path: &Path) -> Result<bool> {
    path.try_exists()
        .map_err(|source| io_error("read", path, source))
}

/// Creates a folder and those above it.
pub(super) fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| io_error("write", path, source))
}

/// Removes a file, which may be absent.
pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(io_error("write", path, source)),
        _ => Ok(()),
    }
}

/// Replaces the file at `path` by one with this content, or leaves it as it was.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary_beside(path);
    let result = write_and_sync(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    result.map_err(|source| {
        // The first error is the one to tell; a left-over file does no harm.
        let _ = fs::remove_file(&temporary);
        io_error("write", path, source)
    })
}

/// Indented JSON with a final line feed.
pub(super) fn to_json(value: &impl Serialize, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_and_sync(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// A name in the same folder, and so on the same file system, that no other writer uses.
fn temporary_beside(path: &Path) -> PathBuf {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let count = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{count}.tmp", std::process::id()));
    path.with_file_name(name)
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        assert!(matches!(
            read(&path, 9),
            Err(Error::FileTooLarge {
                bytes: 10,
                limit: 9,
                ..
            })
        ));
        assert!(matches!(read(dir.path(), 9), Err(Error::NotAFile { .. })));
        assert!(matches!(
            read(&dir.path().join("absent"), 9),
            Err(Error::Io { action: "read", .. })
        ));
    }

    #[test]
    fn replaces_whole_files_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, b"old and longer").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(
            write(&dir.path().join("absent/file"), b""),
            Err(Error::Io {
                action: "write",
                ..
            })
        ));
    }
}

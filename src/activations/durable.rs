//! Files that are either whole or absent, also after a crash.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;

/// Ending of a file that is still being written. Such files are removed when a run is resumed.
pub(crate) const TMP_SUFFIX: &str = ".tmp";

/// `path` with [`TMP_SUFFIX`] appended.
pub(crate) fn tmp_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TMP_SUFFIX);
    PathBuf::from(name)
}

/// Writes `bytes` to `path` so that a crash leaves the old file or the new one, whole.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let tmp = TmpFile::new(path);
    let mut file = File::create(tmp.path()).map_err(|e| Error::write(tmp.path(), "create", e))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|e| Error::write(tmp.path(), "write", e))?;
    tmp.publish()
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), Error> {
    // A folder cannot be opened as a file on Windows, where renames need no fsync of it.
    if cfg!(unix) {
        File::open(folder)
            .and_then(|file| file.sync_all())
            .map_err(|e| Error::write(folder, "sync", e))?;
    }
    Ok(())
}

/// Removes `path` if it is there.
pub(crate) fn remove_if_present(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::write(path, "remove", e)),
        _ => Ok(()),
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(|e| Error::read(path, e))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::read(path, e))?;
    if bytes.len() as u64 > limit {
        let problem = format!("it is larger than {limit} bytes");
        return Err(Error::damaged(path, problem));
    }
    Ok(bytes)
}

/// SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256_of_file(path: &Path) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hasher))
        .map_err(|e| Error::read(path, e))?;
    Ok(hex(&hasher.finalize()))
}

/// A file that disappears unless it is published under its final name.
#[derive(Debug)]
pub(crate) struct TmpFile {
    tmp: PathBuf,
    target: PathBuf,
}

impl TmpFile {
    /// A temporary that becomes `target`.
    pub(crate) fn new(target: &Path) -> Self {
        Self {
            tmp: tmp_path(target),
            target: target.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.tmp
    }

    /// Renames the file, which must be synced already, to its final name, durably.
    pub(crate) fn publish(self) -> Result<(), Error> {
        let target = &self.target;
        fs::rename(&self.tmp, target).map_err(|e| Error::write(target, "rename", e))?;
        sync_folder(target.parent().unwrap_or(Path::new(".")))
    }
}

impl Drop for TmpFile {
    fn drop(&mut self) {
        // Best effort: what is left is removed on resuming. Once published, nothing is left.
        let _ = fs::remove_file(&self.tmp);
    }
}

/// Passes bytes on while hashing and counting them.
#[derive(Debug)]
pub(crate) struct HashingWriter<W> {
    inner: W,
    hasher: Sha256,
    n_bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            n_bytes: 0,
        }
    }

    /// The writer below, the bytes that passed, and their SHA-256 in hexadecimal.
    pub(crate) fn finish(self) -> (W, u64, String) {
        (self.inner, self.n_bytes, hex(&self.hasher.finalize()))
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.n_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(!tmp_path(&path).exists());
    }

    #[test]
    fn an_unpublished_temporary_disappears() {
        let folder = tempfile::tempdir().unwrap();
        let tmp = TmpFile::new(&folder.path().join("a"));
        fs::write(tmp.path(), b"half").unwrap();
        let path = tmp.path().to_owned();
        drop(tmp);
        assert!(!path.exists());
    }

    #[test]
    fn reading_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"1234").unwrap();
        assert_eq!(read_bounded(&path, 4).unwrap(), b"1234");
        assert!(matches!(read_bounded(&path, 3), Err(Error::Damaged { .. })));
    }

    #[test]
    fn hashes_agree() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_hex(b""), empty);
        let mut writer = HashingWriter::new(Vec::new());
        writer.write_all(b"abc").unwrap();
        let (inner, n_bytes, hash) = writer.finish();
        assert_eq!(
            (inner.as_slice(), n_bytes, hash),
            (b"abc".as_slice(), 3, sha256_hex(b"abc"))
        );
    }
}

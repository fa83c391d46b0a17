//! Files that get their name only once their checksum is right.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

/// SHA-256 of a file, in lower-case hexadecimal digits.
pub(super) fn sha256(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

/// Whether a file is there and is the right one.
pub(super) fn is_right(path: &Path, expected: &str, n_bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == n_bytes)
        && sha256(path).is_ok_and(|found| found == expected)
}

/// Gives `part` the name `path` if its checksum is right, and deletes it if not.
pub(super) fn keep(part: &Path, path: &Path, expected: &str) -> anyhow::Result<()> {
    let context = || format!("cannot write `{}`", path.display());
    let found = sha256(part).with_context(context)?;
    if found != expected {
        fs::remove_file(part).with_context(context)?;
        bail!("the file has sha256 {found}, expected {expected}");
    }
    // The data must be on disk before the name is, or a power cut leaves the name on a torn file.
    let written = File::options().write(true).open(part);
    written
        .and_then(|file| file.sync_all())
        .with_context(context)?;
    fs::rename(part, path).with_context(context)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(context)?;
    }
    Ok(())
}

//! Maps weight files into memory.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// Maps a file read-only.
pub(crate) fn open(path: &Path) -> Result<Mmap> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_dir() {
        return Err(io(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
    }
    map(&file).map_err(io)
}

#[expect(
    unsafe_code,
    reason = "mapping weights is the one use of unsafe outside the kernels"
)]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read-only and private to this process. The user keeps the model file
    // unchanged while candor runs, as with every memory-mapped model; `model pull` replaces files
    // by renaming, which leaves an existing map intact.
    unsafe { Mmap::map(file) }
}

/// Gives the memory of a map's pages back to the system. They are read again when they are needed,
/// as a rule from the system's cache of the file.
pub(crate) fn release(map: &Mmap) {
    #[cfg(unix)]
    #[expect(
        unsafe_code,
        reason = "the advice of memmap2 that may change what memory holds"
    )]
    // SAFETY: the map is read-only and of a file, so dropped pages come back as they were. It is
    // advice: where the system cannot follow it, nothing is lost but memory.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    #[cfg(not(unix))]
    let _ = map;
}

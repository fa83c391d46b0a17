//! The reader against files that a small writer makes, whole and broken.

mod architecture;
mod fuzz;
mod malformed;
mod tokenizer;
mod valid;
mod vocabulary;
mod writer;

use std::path::Path;

use memmap2::MmapMut;

use super::{Gguf, parse};
use crate::error::{Error, Result};
use crate::weights::WeightSource as _;

/// Reads a file that only exists in memory, by the same path as one on disk.
fn read(bytes: &[u8]) -> Result<Gguf> {
    // An anonymous map starts at a page, as a map of a file does; candle asks for aligned data.
    let mut map = MmapMut::map_anon(bytes.len()).unwrap();
    map.copy_from_slice(bytes);
    let map = map.make_read_only().unwrap();
    let (metadata, tensors) = parse(&map, Path::new("test.gguf"))?;
    Ok(Gguf {
        maps: vec![map],
        metadata,
        tensors,
    })
}

/// The error of a file that must be refused.
#[track_caller]
fn refused(bytes: &[u8]) -> Error {
    match read(bytes) {
        Err(error) => error,
        Ok(gguf) => panic!("a malformed file was read as {gguf:?}"),
    }
}

/// Every weight of a tensor, row-major.
fn weights(gguf: &Gguf, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
    gguf.dense(name, shape)
}

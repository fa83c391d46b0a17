//! Models that are split over several files.

use std::path::{Path, PathBuf};

use super::header::parse;
use super::{Gguf, Value};
use crate::error::{Error, Result};
use crate::file_map;

/// More files than any published model has.
const MAX_SHARDS: usize = 1000;

/// Opens the files that follow the first, as its `split.count` says.
pub(super) fn open_others(gguf: &mut Gguf, path: &Path) -> Result<()> {
    let n_shards = gguf.count_or("split.count", MAX_SHARDS, 1)?;
    if n_shards == 1 {
        return Ok(());
    }
    if shard_number(&gguf.metadata) != Some(0) {
        return Err(Error::Unsupported {
            setting: "split.no".into(),
            found: format!("{:?}", gguf.get("split.no")),
            supported: "0: a model in several files is opened by its first".into(),
        });
    }
    for shard in 1..n_shards {
        let path = sibling(path, shard, n_shards)?;
        let map = file_map::open(&path)?;
        let (metadata, tensors) = parse(&map, &path)?;
        if shard_number(&metadata) != Some(shard as u64)
            || metadata.get("split.count") != gguf.get("split.count")
        {
            return Err(Error::Malformed {
                what: format!("`{}` is not file {shard} of {n_shards}", path.display()),
            });
        }
        for (name, mut info) in tensors {
            info.shard = shard;
            if gguf.tensors.insert(name.clone(), info).is_some() {
                return Err(Error::Malformed {
                    what: format!("tensor `{name}` stands in two files"),
                });
            }
        }
        gguf.maps.push(map);
    }
    let n_tensors = gguf.count("split.tensors.count", usize::MAX)?;
    if n_tensors != gguf.tensors.len() {
        return Err(Error::Malformed {
            what: format!(
                "`split.tensors.count` is {n_tensors}, but the files have {} tensors",
                gguf.tensors.len()
            ),
        });
    }
    Ok(())
}

fn shard_number(metadata: &std::collections::BTreeMap<String, Value>) -> Option<u64> {
    match metadata.get("split.no") {
        Some(Value::Unsigned(number)) => Some(*number),
        Some(Value::Signed(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// `model-00002-of-00003.gguf` beside `model-00001-of-00003.gguf`.
fn sibling(first: &Path, shard: usize, n_shards: usize) -> Result<PathBuf> {
    let end = |number: usize| format!("-{number:05}-of-{n_shards:05}.gguf");
    let name = first.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.strip_suffix(&end(1)).ok_or_else(|| Error::Malformed {
        what: format!(
            "`{name}` is the first of {n_shards} files, but its name does not end in `{}`",
            end(1)
        ),
    })?;
    Ok(first.with_file_name(format!("{stem}{}", end(shard + 1))))
}

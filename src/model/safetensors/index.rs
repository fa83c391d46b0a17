//! Reads `model.safetensors.index.json`, which says what file each tensor is in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::{Shard, plain_names, read_small};
use crate::error::{Error, Result};

/// More than any published index.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// More files than any published model has.
const MAX_SHARDS: usize = 1000;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens every file of the index, in the order of their names, and checks that each holds what
/// the index says.
pub(super) fn open(folder: &Path) -> Result<Vec<Shard>> {
    let path = folder.join("model.safetensors.index.json");
    let malformed = |what: String| Error::Malformed {
        what: format!("`{}`: {what}", path.display()),
    };
    let bytes = read_small(&path, MAX_INDEX_BYTES)?;
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
    let files: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    if files.len() > MAX_SHARDS {
        return Err(malformed(format!(
            "{} files (at most {MAX_SHARDS})",
            files.len()
        )));
    }
    plain_names(&files)?;
    let mut shards = Vec::new();
    for file in files {
        let shard = Shard::open(&folder.join(file))?;
        for name in shard.tensors.keys() {
            if index.weight_map.get(name).map(String::as_str) != Some(file) {
                return Err(malformed(format!(
                    "`{file}` has `{name}`, which is not said"
                )));
            }
        }
        let expected = index.weight_map.iter().filter(|entry| entry.1 == file);
        for (name, _) in expected {
            if !shard.tensors.contains_key(name) {
                return Err(malformed(format!("`{file}` has no `{name}`")));
            }
        }
        shards.push(shard);
    }
    Ok(shards)
}

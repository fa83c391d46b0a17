//! Reads a model folder as Hugging Face publishes it: `config.json` and safetensors files.
//!
//! The files are mapped, not copied. Every length, offset, shape and name is checked before it is
//! used. Tensors may start at any byte, so whoever reads them must not count on alignment.
//!
//! Format: <https://github.com/huggingface/safetensors#format>.

mod header;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde_json::Value;

use crate::arch::{HfConfig, HfNames, folder_config};
use crate::config::DecoderConfig;
use crate::error::{Error, Result};
use crate::file_map;
use crate::weights::inventory::{Inventory, Place};
use crate::weights::part::Part;
use crate::weights::{RawTensor, WeightSource};
pub(crate) use header::{TensorInfo, parse};

/// Larger than any published `config.json`.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Tensors of the images' part of a multimodal model, which is not read.
const OTHER_PARTS: &[&str] = &[
    "vision_tower.",
    "multi_modal_projector.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
];

/// A mapped safetensors file.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) map: Mmap,
    pub(crate) tensors: BTreeMap<String, TensorInfo>,
}

impl Shard {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let map = file_map::open(path)?;
        let tensors = parse(&map, &path.display().to_string())?;
        Ok(Self { map, tensors })
    }
}

/// A folder of mapped weights.
#[derive(Debug)]
pub(crate) struct Safetensors {
    folder: PathBuf,
    names: HfNames,
    /// What stands before every tensor's name but that of the output matrix.
    prefix: &'static str,
    output: String,
    shards: Vec<Shard>,
    /// The file that each tensor is in.
    shard_of: BTreeMap<String, usize>,
}

impl Safetensors {
    /// Maps the files of a folder, and reads their headers and `config.json`.
    pub(crate) fn open(folder: &Path) -> Result<(Self, DecoderConfig)> {
        let json = read_json(&folder.join("config.json"), MAX_CONFIG_BYTES)?;
        let (config, names) = folder_config(&HfConfig::new("config.json", &json)?)?;
        let single = folder.join("model.safetensors");
        let shards = if single.exists() {
            vec![Shard::open(&single)?]
        } else {
            index::open(folder)?
        };
        let mut shard_of = BTreeMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for name in shard.tensors.keys() {
                if shard_of.insert(name.clone(), index).is_some() {
                    return Err(Error::Malformed {
                        what: format!("tensor `{name}` stands in two files"),
                    });
                }
            }
        }
        let prefixes = [
            "model.",
            "language_model.model.",
            "model.language_model.",
            "",
        ];
        let prefix = prefixes
            .into_iter()
            .find(|prefix| shard_of.contains_key(&format!("{prefix}embed_tokens.weight")))
            .ok_or_else(|| Error::MissingTensor {
                tensor: "model.embed_tokens.weight".into(),
            })?;
        let output = ["language_model.lm_head.weight", "lm_head.weight"]
            .into_iter()
            .find(|name| shard_of.contains_key(*name))
            .unwrap_or("lm_head.weight");
        let source = Self {
            folder: folder.to_owned(),
            names,
            prefix,
            output: output.to_owned(),
            shards,
            shard_of,
        };
        Ok((source, config))
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// The whole weight files.
    pub(crate) fn files(&self) -> Vec<&[u8]> {
        self.shards.iter().map(|shard| &shard.map[..]).collect()
    }

    /// Number of tensors and of bytes per type.
    pub(crate) fn types(&self) -> BTreeMap<String, (usize, usize)> {
        let mut types = BTreeMap::new();
        for info in self.shards.iter().flat_map(|shard| shard.tensors.values()) {
            let entry: &mut (usize, usize) = types.entry(info.dtype.name().to_owned()).or_default();
            entry.0 += 1;
            entry.1 += info.n_bytes;
        }
        types
    }

    /// The type that holds most of the matrices' weights.
    pub(crate) fn main_type(&self) -> String {
        let mut weights: BTreeMap<&str, usize> = BTreeMap::new();
        for info in self.shards.iter().flat_map(|shard| shard.tensors.values()) {
            if info.shape.len() > 1 {
                let n_weights = weights.entry(info.dtype.name()).or_default();
                *n_weights += info.shape.iter().product::<usize>();
            }
        }
        let main = weights.into_iter().max_by_key(|&(_, n_weights)| n_weights);
        main.map_or("none", |(name, _)| name).to_owned()
    }

    fn info(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let shard = &self.shards[*self.shard_of.get(name)?];
        Some((shard, &shard.tensors[name]))
    }

    /// Names in the folder that GGUF's name may stand for.
    fn candidates(&self, name: &str) -> Vec<(String, Part)> {
        if name == "output.weight" {
            return vec![(self.output.clone(), Part::Whole)];
        }
        let own = self.names.candidates(name).into_iter();
        own.map(|(own, part)| (format!("{}{own}", self.prefix), part))
            .collect()
    }

    /// The folder's tensor that has the named one's rows, and which those are.
    fn find(&self, name: &str, shape: &[usize]) -> Result<(String, std::ops::Range<usize>)> {
        let candidates = self.candidates(name);
        let missing = candidates.first().map_or(name, |(own, _)| own).to_owned();
        let found = candidates
            .into_iter()
            .find_map(|(own, part)| self.info(&own).map(|(_, info)| (own, part, info)));
        let (own, part, info) = found.ok_or(Error::MissingTensor { tensor: missing })?;
        match part.rows(&info.shape, shape) {
            Some(rows) => Ok((own, rows)),
            None => Err(Error::TensorShape {
                tensor: own,
                found: info.shape.clone(),
                expected: shape.to_vec(),
            }),
        }
    }
}

impl WeightSource for Safetensors {
    fn has(&self, name: &str) -> bool {
        self.candidates(name).into_iter().any(|(own, part)| {
            self.info(&own).is_some_and(|(_, info)| match part {
                Part::Expert(e) | Part::ExpertGate(e) | Part::ExpertUp(e) => {
                    info.shape.first().is_some_and(|&n_experts| e < n_experts)
                }
                _ => true,
            })
        })
    }

    fn release(&self) {
        self.shards
            .iter()
            .for_each(|shard| file_map::release(&shard.map));
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        let (own, rows) = self.find(name, shape)?;
        let (shard, info) = self.info(&own).expect("`find` returns names of the folder");
        let dtype = info.dtype.ggml().ok_or_else(|| Error::Unsupported {
            setting: format!("type of tensor `{own}`"),
            found: info.dtype.name().to_owned(),
            supported: "F32, F16, BF16".into(),
        })?;
        let width = shape[shape.len() - 1];
        let row_bytes = width * info.dtype.n_bytes();
        let start = info.start + rows.start * row_bytes;
        Ok(RawTensor {
            name: own,
            dtype,
            width,
            bytes: shard.map[start..start + rows.len() * row_bytes].into(),
            offset: self.names.offset(name),
        })
    }
}

impl Inventory for Safetensors {
    fn place(&self, name: &str, shape: &[usize]) -> Result<Place> {
        let (tensor, rows) = self.find(name, shape)?;
        Ok(Place { tensor, rows })
    }

    fn contents(&self) -> Vec<(String, usize)> {
        let tensors = self.shards.iter().flat_map(|shard| &shard.tensors);
        let n_rows = |info: &TensorInfo| {
            let rows = info.shape.split_last().map_or(&[][..], |(_, rows)| rows);
            rows.iter().product()
        };
        tensors
            .map(|(name, info)| (name.clone(), n_rows(info)))
            .collect()
    }

    /// Images' parts, frequencies that older files store, and an output matrix that is the
    /// embedding matrix again.
    fn may_be_unused(&self, tensor: &str, config: &DecoderConfig) -> Result<bool> {
        if OTHER_PARTS.iter().any(|part| tensor.starts_with(part))
            || tensor.ends_with(".rotary_emb.inv_freq")
        {
            return Ok(true);
        }
        if tensor != self.output || !config.tied_embeddings {
            return Ok(false);
        }
        let shape = [config.n_vocab, config.d_model];
        let bytes = |name| self.tensor(name, &shape).map(|tensor| tensor.bytes);
        Ok(bytes("output.weight")? == bytes("token_embd.weight")?)
    }
}

/// Reads a JSON file of bounded size.
pub(crate) fn read_json(path: &Path, limit: u64) -> Result<Value> {
    serde_json::from_slice(&read_small(path, limit)?).map_err(|error| Error::Malformed {
        what: format!("`{}`: {error}", path.display()),
    })
}

/// Reads a file of bounded size.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(Error::Malformed {
            what: format!("`{}` has more than {limit} bytes", path.display()),
        });
    }
    Ok(bytes)
}

/// Names of a folder's files that hold its weights, as an index may name them.
pub(crate) fn plain_names(names: &BTreeSet<&str>) -> Result<()> {
    for name in names {
        let mut parts = Path::new(name).components();
        let plain = matches!(
            (parts.next(), parts.next()),
            (Some(std::path::Component::Normal(part)), None) if part == *name
        );
        if !plain || !name.ends_with(".safetensors") || name.contains(['\\', '\0']) {
            return Err(Error::Malformed {
                what: format!(
                    "the index names {name:?}, which is no safetensors file of the folder"
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

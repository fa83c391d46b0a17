//! Reads the header of a GGUF file and finds its tensors.
//!
//! The file is mapped, not copied, and every length, count, offset and type in it is checked
//! against the file's size before it is used. candle's own reader is not used here: it divides by
//! an alignment of zero, copies every tensor, and wraps each array element in a 32-byte value
//! (candle-core 0.11.1, `quantized/gguf_file.rs`).
//!
//! A model in several files (`…-00001-of-00003.gguf`, as `llama-gguf-split` writes them) is opened
//! by its first, which has the metadata.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod header;
mod shards;

use std::collections::BTreeMap;
use std::path::Path;

use memmap2::Mmap;

use crate::config::DecoderConfig;
use crate::error::{Error, Result};
use crate::file_map;
use crate::weights::inventory::{Inventory, Place};
use crate::weights::part::Part;
use crate::weights::{RawTensor, WeightSource};

pub(crate) use header::Value;
use header::{TensorInfo, parse, type_name};

/// A mapped GGUF model: metadata, and where each tensor lies.
#[derive(Debug)]
pub(crate) struct Gguf {
    /// One or more files, in their order.
    maps: Vec<Mmap>,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Maps the file, and those that go on with it, and reads their headers.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let map = file_map::open(path)?;
        let (metadata, tensors) = parse(&map, path)?;
        let mut gguf = Self {
            maps: vec![map],
            metadata,
            tensors,
        };
        shards::open_others(&mut gguf, path)?;
        Ok(gguf)
    }

    /// The whole files.
    pub(crate) fn files(&self) -> Vec<&[u8]> {
        self.maps.iter().map(|map| &map[..]).collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    pub(crate) fn string(&self, key: &str) -> Result<&str> {
        match self.get(key) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Error::Metadata {
                key: key.to_owned(),
                expected: "a string",
            }),
        }
    }

    /// A count in `1..=limit`.
    pub(crate) fn count(&self, key: &str, limit: usize) -> Result<usize> {
        let missing = || Error::Metadata {
            key: key.to_owned(),
            expected: "a positive count of a plausible size",
        };
        let value = match self.get(key) {
            Some(Value::Unsigned(value)) => usize::try_from(*value).map_err(|_| missing())?,
            Some(Value::Signed(value)) => usize::try_from(*value).map_err(|_| missing())?,
            _ => return Err(missing()),
        };
        if value == 0 || value > limit {
            Err(missing())
        } else {
            Ok(value)
        }
    }

    pub(crate) fn float(&self, key: &str) -> Result<f64> {
        match self.get(key) {
            Some(Value::Float(value)) if value.is_finite() => Ok(*value),
            _ => Err(Error::Metadata {
                key: key.to_owned(),
                expected: "a finite float",
            }),
        }
    }

    pub(crate) fn strings(&self, key: &str) -> Result<&[String]> {
        match self.get(key) {
            Some(Value::Strings(values)) => Ok(values),
            _ => Err(Error::Metadata {
                key: key.to_owned(),
                expected: "an array of strings",
            }),
        }
    }

    pub(crate) fn integers(&self, key: &str) -> Result<&[i64]> {
        match self.get(key) {
            Some(Value::Integers(values)) => Ok(values),
            _ => Err(Error::Metadata {
                key: key.to_owned(),
                expected: "an array of integers",
            }),
        }
    }

    /// A number that may be left out.
    pub(crate) fn count_or(&self, key: &str, limit: usize, default: usize) -> Result<usize> {
        match self.get(key) {
            None => Ok(default),
            Some(_) => self.count(key, limit),
        }
    }

    /// A number that may be left out.
    pub(crate) fn float_or(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            Some(_) => self.float(key),
        }
    }

    pub(crate) fn floats(&self, key: &str) -> Result<&[f32]> {
        match self.get(key) {
            Some(Value::Floats(values)) => Ok(values),
            _ => Err(Error::Metadata {
                key: key.to_owned(),
                expected: "an array of floats",
            }),
        }
    }

    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Shape of a tensor, slowest dimension first.
    pub(crate) fn tensor_shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.info(name)?.shape)
    }

    /// The type that holds most of the matrices' weights, for example `Q4_1`.
    pub(crate) fn main_type(&self) -> String {
        let mut weights: BTreeMap<u32, usize> = BTreeMap::new();
        for info in self.tensors.values().filter(|info| info.shape.len() > 1) {
            let n_weights = weights.entry(info.type_id).or_default();
            // Tensors of unknown types may claim any size, so their sum may not fit.
            *n_weights = n_weights.saturating_add(info.shape.iter().product());
        }
        let main = weights.into_iter().max_by_key(|&(_, n_weights)| n_weights);
        main.map_or_else(|| "none".into(), |(type_id, _)| type_name(type_id))
    }

    /// Number of tensors and of bytes per type, for display.
    pub(crate) fn types(&self) -> BTreeMap<String, (usize, usize)> {
        let mut types = BTreeMap::new();
        for info in self.tensors.values() {
            let entry: &mut (usize, usize) = types.entry(type_name(info.type_id)).or_default();
            entry.0 += 1;
            entry.1 += info.n_bytes;
        }
        types
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            tensor: name.to_owned(),
        })
    }

    /// The tensor of the file that has the named one's rows, and which those are.
    fn find(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<(String, &TensorInfo, std::ops::Range<usize>)> {
        if let Some(info) = self.tensors.get(name)
            && let Some(rows) = Part::Whole.rows(&info.shape, shape)
        {
            return Ok((name.to_owned(), info, rows));
        }
        for (stacked, part) in stacked(name) {
            // Phi's `ffn_up` has the gate's rows too; beside a gate of its own it is just `ffn_up`.
            if part == Part::Up && self.has_tensor(&stacked.replace("ffn_up", "ffn_gate")) {
                continue;
            }
            if let Some(info) = self.tensors.get(&stacked) {
                let rows = part.rows(&info.shape, shape);
                return match rows {
                    Some(rows) => Ok((stacked, info, rows)),
                    None => Err(wrong_shape(&stacked, &info.shape, shape)),
                };
            }
        }
        Err(wrong_shape(name, &self.info(name)?.shape, shape))
    }
}

fn wrong_shape(tensor: &str, found: &[usize], expected: &[usize]) -> Error {
    Error::TensorShape {
        tensor: tensor.to_owned(),
        found: found.to_vec(),
        expected: expected.to_vec(),
    }
}

/// Tensors that may hold the named one among others: Phi's fused matrices, and stacked experts.
fn stacked(name: &str) -> Vec<(String, Part)> {
    let mut found = Vec::new();
    for (one, all, part) in [
        (".attn_q.weight", ".attn_qkv.weight", Part::Query),
        (".attn_k.weight", ".attn_qkv.weight", Part::Key),
        (".attn_v.weight", ".attn_qkv.weight", Part::Value),
        (".ffn_gate.weight", ".ffn_up.weight", Part::Gate),
        (".ffn_up.weight", ".ffn_up.weight", Part::Up),
    ] {
        if let Some(block) = name.strip_suffix(one) {
            found.push((format!("{block}{all}"), part));
        }
    }
    for stem in ["ffn_gate", "ffn_up", "ffn_down"] {
        let split = name.split_once(&format!(".{stem}."));
        if let Some((block, rest)) = split
            && let Some(expert) = rest.strip_suffix(".weight")
            && let Ok(expert) = expert.parse()
        {
            found.push((format!("{block}.{stem}_exps.weight"), Part::Expert(expert)));
        }
    }
    found
}

impl WeightSource for Gguf {
    fn has(&self, name: &str) -> bool {
        self.has_tensor(name)
            || stacked(name).into_iter().any(|(stacked, part)| {
                self.tensors.get(&stacked).is_some_and(|info| match part {
                    Part::Expert(expert) => expert < info.shape[0],
                    _ => true,
                })
            })
    }

    fn release(&self) {
        self.maps.iter().for_each(file_map::release);
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>> {
        let (_, info, rows) = self.find(name, shape)?;
        let dtype = info.dtype.ok_or_else(|| Error::TensorType {
            tensor: name.to_owned(),
            type_id: info.type_id,
        })?;
        let width = shape[shape.len() - 1];
        let row_bytes = width / dtype.block_size() * dtype.type_size();
        let start = info.start + rows.start * row_bytes;
        Ok(RawTensor {
            name: name.to_owned(),
            dtype,
            width,
            bytes: self.maps[info.shard][start..start + rows.len() * row_bytes].into(),
            offset: 0.0,
        })
    }
}

impl Inventory for Gguf {
    fn place(&self, name: &str, shape: &[usize]) -> Result<Place> {
        let (tensor, _, rows) = self.find(name, shape)?;
        Ok(Place { tensor, rows })
    }

    fn contents(&self) -> Vec<(String, usize)> {
        let n_rows = |info: &TensorInfo| info.shape[..info.shape.len() - 1].iter().product();
        let tensors = self.tensors.iter();
        tensors
            .map(|(name, info)| (name.clone(), n_rows(info)))
            .collect()
    }

    /// Divisors of rotary frequencies, which the description holds already.
    fn may_be_unused(&self, tensor: &str, _: &DecoderConfig) -> Result<bool> {
        Ok([
            "rope_freqs.weight",
            "rope_factors_long.weight",
            "rope_factors_short.weight",
        ]
        .contains(&tensor))
    }
}

#[cfg(test)]
mod tests;

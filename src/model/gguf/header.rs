//! Reads the header of a GGUF file, checking every number.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::quantized::GgmlDType;

use crate::error::{Error, Result};

/// Largest number of dimensions of a tensor in GGML.
const MAX_DIMS: u32 = 4;
const DEFAULT_ALIGNMENT: u64 = 32;

/// A metadata value. Numbers are widened; arrays keep the type of their elements.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Strings(Vec<String>),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
}

/// Where one tensor lies. Offsets are checked to be inside the file.
#[derive(Debug, Clone)]
pub(super) struct TensorInfo {
    /// Slowest dimension first, so `[out, in]` for a linear map.
    pub(super) shape: Vec<usize>,
    pub(super) type_id: u32,
    /// `None` for a type that cannot be dequantised; only an error once the tensor is used.
    pub(super) dtype: Option<GgmlDType>,
    /// Which of the files it lies in.
    pub(super) shard: usize,
    pub(super) start: usize,
    pub(super) n_bytes: usize,
}

/// Reads little-endian values from a slice and never past its end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n_bytes: u64, what: &str) -> Result<&'a [u8]> {
        let end = usize::try_from(n_bytes)
            .ok()
            .and_then(|n_bytes| self.at.checked_add(n_bytes));
        let end = end
            .filter(|&end| end <= self.bytes.len())
            .ok_or_else(|| Error::Truncated {
                what: what.to_owned(),
                offset: self.at,
                needed: n_bytes,
                size: self.bytes.len(),
            })?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let bytes = self.take(N as u64, what)?;
        Ok(bytes
            .try_into()
            .expect("`take` returns as many bytes as asked"))
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn string(&mut self, what: &str) -> Result<String> {
        let n_bytes = self.u64(what)?;
        let bytes = self.take(n_bytes, what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Malformed {
            what: format!("{what} is not UTF-8"),
        })
    }

    /// Checks that `n` elements of at least `min_bytes` fit into the rest of the file.
    fn plausible_count(&self, n: u64, min_bytes: u64, what: &str) -> Result<usize> {
        let needed = n.saturating_mul(min_bytes);
        if needed > (self.bytes.len() - self.at) as u64 {
            return Err(Error::Truncated {
                what: what.to_owned(),
                offset: self.at,
                needed,
                size: self.bytes.len(),
            });
        }
        Ok(n as usize)
    }

    fn value(&mut self, type_id: u32, key: &str) -> Result<Value> {
        Ok(match type_id {
            0 => Value::Unsigned(u64::from(self.array::<1>(key)?[0])),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array(key)?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array(key)?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array(key)?))),
            4 => Value::Unsigned(u64::from(self.u32(key)?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array(key)?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array(key)?))),
            7 => match self.array::<1>(key)?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => {
                    return Err(Error::Malformed {
                        what: format!("`{key}` is a bool of value {other}"),
                    });
                }
            },
            8 => Value::String(self.string(key)?),
            9 => {
                let element = self.u32(key)?;
                let n = self.u64(key)?;
                self.list(element, n, key)?
            }
            10 => Value::Unsigned(self.u64(key)?),
            11 => Value::Signed(i64::from_le_bytes(self.array(key)?)),
            12 => Value::Float(f64::from_le_bytes(self.array(key)?)),
            other => {
                return Err(Error::Malformed {
                    what: format!("`{key}` has unknown value type {other}"),
                });
            }
        })
    }

    fn list(&mut self, element: u32, n: u64, key: &str) -> Result<Value> {
        let min_bytes = match element {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            // Arrays of arrays exist in the format, but no model uses them; refusing them bounds the recursion.
            other => {
                return Err(Error::Malformed {
                    what: format!("`{key}` is an array of value type {other}"),
                });
            }
        };
        let n = self.plausible_count(n, min_bytes, key)?;
        match element {
            8 => (0..n)
                .map(|_| self.string(key))
                .collect::<Result<_>>()
                .map(Value::Strings),
            6 | 12 => (0..n)
                .map(|_| match self.value(element, key)? {
                    Value::Float(value) => Ok(value as f32),
                    _ => unreachable!("value types 6 and 12 are floats"),
                })
                .collect::<Result<_>>()
                .map(Value::Floats),
            _ => (0..n)
                .map(|_| match self.value(element, key)? {
                    Value::Unsigned(value) => i64::try_from(value).map_err(|_| Error::Malformed {
                        what: format!("`{key}` holds {value}, past a signed integer"),
                    }),
                    Value::Signed(value) => Ok(value),
                    Value::Bool(value) => Ok(i64::from(value)),
                    _ => unreachable!("the other element types are integers"),
                })
                .collect::<Result<_>>()
                .map(Value::Integers),
        }
    }
}

pub(super) type Header = (BTreeMap<String, Value>, BTreeMap<String, TensorInfo>);

/// Reads the header of one file. Its tensors are counted to shard 0.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Header> {
    let mut cursor = Cursor { bytes, at: 0 };
    let magic = &bytes[..bytes.len().min(4)];
    if magic != b"GGUF" {
        return Err(Error::NotGguf {
            path: path.to_owned(),
            found: magic.to_vec(),
        });
    }
    cursor.at = 4;
    let version = cursor.u32("version")?;
    if !(2..=3).contains(&version) {
        return Err(Error::GgufVersion { found: version });
    }
    let n_tensors = cursor.u64("tensor count")?;
    let n_entries = cursor.u64("metadata count")?;
    // The smallest entries: a key length, a type and one byte; a name length, three numbers and an offset.
    let n_entries = cursor.plausible_count(n_entries, 13, "metadata")?;
    let n_tensors = cursor.plausible_count(n_tensors, 24, "tensor table")?;

    let mut metadata = BTreeMap::new();
    for _ in 0..n_entries {
        let key = cursor.string("metadata key")?;
        let type_id = cursor.u32(&key)?;
        let value = cursor.value(type_id, &key)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(Error::Malformed {
                what: format!("metadata `{key}` stands twice"),
            });
        }
    }

    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(Value::Unsigned(value))
            if value.is_power_of_two() && (8..=1 << 20).contains(value) =>
        {
            *value
        }
        Some(other) => {
            return Err(Error::Malformed {
                what: format!("`general.alignment` is {other:?}"),
            });
        }
    };

    let mut raw = Vec::with_capacity(n_tensors.min(1 << 16));
    for _ in 0..n_tensors {
        let name = cursor.string("tensor name")?;
        let n_dims = cursor.u32(&name)?;
        if n_dims == 0 || n_dims > MAX_DIMS {
            return Err(Error::Malformed {
                what: format!("tensor `{name}` has {n_dims} dimensions"),
            });
        }
        let mut shape = (0..n_dims)
            .map(|_| {
                cursor
                    .u64(&name)
                    .map(|dim| usize::try_from(dim).unwrap_or(usize::MAX))
            })
            .collect::<Result<Vec<_>>>()?;
        shape.reverse();
        raw.push((name.clone(), shape, cursor.u32(&name)?, cursor.u64(&name)?));
    }
    let data_start = (cursor.at as u64).next_multiple_of(alignment);

    let mut tensors = BTreeMap::new();
    for (name, shape, type_id, offset) in raw {
        let n_weights = shape
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let n_weights = n_weights
            .filter(|&n_weights| n_weights > 0)
            .ok_or_else(|| Error::Malformed {
                what: format!("tensor `{name}` has shape {shape:?}"),
            })?;
        if offset % alignment != 0 {
            return Err(Error::Malformed {
                what: format!("tensor `{name}` is at offset {offset}, not aligned"),
            });
        }
        let dtype = dtype(type_id);
        // The extent of an unknown type cannot be known; using such a tensor is refused later.
        let n_bytes = match dtype {
            None => 0,
            Some(dtype) => {
                let row = shape[shape.len() - 1];
                if row % dtype.block_size() != 0 {
                    return Err(Error::Malformed {
                        what: format!(
                            "tensor `{name}` has rows of {row}, not a multiple of its block"
                        ),
                    });
                }
                (n_weights / dtype.block_size()).saturating_mul(dtype.type_size())
            }
        };
        let start = data_start
            .checked_add(offset)
            .and_then(|start| usize::try_from(start).ok());
        let end = start
            .and_then(|start| start.checked_add(n_bytes))
            .filter(|&end| end <= bytes.len());
        let (Some(start), Some(_)) = (start, end) else {
            return Err(Error::Truncated {
                what: format!("tensor `{name}`"),
                offset: start.unwrap_or(usize::MAX),
                needed: n_bytes as u64,
                size: bytes.len(),
            });
        };
        let info = TensorInfo {
            shape,
            type_id,
            dtype,
            shard: 0,
            start,
            n_bytes,
        };
        if tensors.insert(name.clone(), info).is_some() {
            return Err(Error::Malformed {
                what: format!("tensor `{name}` stands twice"),
            });
        }
    }
    Ok((metadata, tensors))
}

/// GGML's numbers of the types that candle can dequantise (`ggml.h`, `enum ggml_type`).
const TYPES: &[(u32, GgmlDType, &str)] = &[
    (0, GgmlDType::F32, "F32"),
    (1, GgmlDType::F16, "F16"),
    (2, GgmlDType::Q4_0, "Q4_0"),
    (3, GgmlDType::Q4_1, "Q4_1"),
    (6, GgmlDType::Q5_0, "Q5_0"),
    (7, GgmlDType::Q5_1, "Q5_1"),
    (8, GgmlDType::Q8_0, "Q8_0"),
    (10, GgmlDType::Q2K, "Q2_K"),
    (11, GgmlDType::Q3K, "Q3_K"),
    (12, GgmlDType::Q4K, "Q4_K"),
    (13, GgmlDType::Q5K, "Q5_K"),
    (14, GgmlDType::Q6K, "Q6_K"),
    (30, GgmlDType::BF16, "BF16"),
];

fn dtype(type_id: u32) -> Option<GgmlDType> {
    TYPES
        .iter()
        .find(|entry| entry.0 == type_id)
        .map(|entry| entry.1)
}

pub(super) fn type_name(type_id: u32) -> String {
    TYPES
        .iter()
        .find(|entry| entry.0 == type_id)
        .map_or_else(|| format!("type {type_id}"), |entry| entry.2.to_owned())
}

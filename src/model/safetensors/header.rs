//! Reads the header of a safetensors file, checking every number.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::quantized::GgmlDType;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::error::{Error, Result};

/// The reference implementation's bound.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// More dimensions than any weight has.
const MAX_DIMS: usize = 8;

/// A type of the format. Only three can be weights here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    #[serde(rename = "F8_E4M3")]
    F8E4M3,
    #[serde(rename = "F8_E5M2")]
    F8E5M2,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    #[serde(rename = "BOOL")]
    Bool,
}

impl Dtype {
    /// Bytes of one value.
    pub(crate) fn n_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::F8E4M3 | Self::F8E5M2 | Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::F8E4M3 => "F8_E4M3",
            Self::F8E5M2 => "F8_E5M2",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// The same type in GGML's words, where it can be a weight.
    pub(crate) fn ggml(self) -> Option<GgmlDType> {
        match self {
            Self::F32 => Some(GgmlDType::F32),
            Self::F16 => Some(GgmlDType::F16),
            Self::BF16 => Some(GgmlDType::BF16),
            _ => None,
        }
    }
}

/// Where one tensor lies. Offsets are checked to be inside the file.
#[derive(Debug, Clone)]
pub(crate) struct TensorInfo {
    /// Slowest dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
    /// First byte, counted from the start of the file.
    pub(crate) start: usize,
    pub(crate) n_bytes: usize,
}

#[derive(Deserialize)]
struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The header's object. serde's maps would keep the last of two entries of one name in silence.
struct Header(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Reads a file's header. Tensors must fill the file without gaps or overlaps, as the format says.
pub(crate) fn parse(bytes: &[u8], file: &str) -> Result<BTreeMap<String, TensorInfo>> {
    let malformed = |what: String| Error::Malformed {
        what: format!("`{file}`: {what}"),
    };
    let truncated = |what: &str, offset: usize, needed: u64| Error::Truncated {
        what: format!("{what} of `{file}`"),
        offset,
        needed,
        size: bytes.len(),
    };
    let length = bytes.first_chunk::<8>();
    let length = u64::from_le_bytes(*length.ok_or_else(|| truncated("header length", 0, 8))?);
    if length > MAX_HEADER_BYTES {
        return Err(malformed(format!(
            "header of {length} bytes (at most {MAX_HEADER_BYTES})"
        )));
    }
    let data_start = 8 + length as usize;
    let header = bytes
        .get(8..data_start)
        .ok_or_else(|| truncated("header", 8, length))?;
    let Header(mut entries) =
        serde_json::from_slice(header).map_err(|error| malformed(format!("header: {error}")))?;
    entries.sort_by_key(|(_, entry)| entry.data_offsets);

    let n_data = bytes.len() - data_start;
    let mut tensors = BTreeMap::new();
    let mut end_before = 0;
    for (name, entry) in entries {
        let (start, end) = entry.data_offsets;
        let n_bytes = entry
            .shape
            .iter()
            .try_fold(entry.dtype.n_bytes(), |product, &dim| {
                product.checked_mul(dim)
            })
            .filter(|&n_bytes| n_bytes > 0 && entry.shape.len() <= MAX_DIMS);
        let Some(n_bytes) = n_bytes else {
            return Err(malformed(format!(
                "tensor `{name}` has shape {:?}",
                entry.shape
            )));
        };
        if start != end_before || end < start {
            return Err(malformed(format!(
                "tensor `{name}` lies at {start}..{end}, but the one before it ends at {end_before}"
            )));
        }
        if end - start != n_bytes {
            return Err(malformed(format!(
                "tensor `{name}` has {} bytes, but {:?} of {} need {n_bytes}",
                end - start,
                entry.shape,
                entry.dtype.name()
            )));
        }
        if end > n_data {
            return Err(truncated(
                &format!("tensor `{name}`"),
                data_start + start,
                n_bytes as u64,
            ));
        }
        end_before = end;
        let info = TensorInfo {
            shape: entry.shape,
            dtype: entry.dtype,
            start: data_start + start,
            n_bytes,
        };
        if tensors.insert(name.clone(), info).is_some() {
            return Err(malformed(format!("tensor `{name}` stands twice")));
        }
    }
    if end_before != n_data {
        return Err(malformed(format!(
            "{} bytes after the last tensor",
            n_data - end_before
        )));
    }
    Ok(tensors)
}

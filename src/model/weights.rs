//! Where weights come from: one interface over GGUF files and safetensors folders.
//!
//! Names are GGUF's (`blk.0.attn_q.weight`); a source translates them. Stacked tensors of a file
//! are handed out as their parts: `blk.0.attn_q.weight` out of `blk.0.attn_qkv.weight`, and expert
//! 3's `blk.0.ffn_gate.3.weight` out of `blk.0.ffn_gate_exps.weight`.

pub(crate) mod inventory;
pub(crate) mod part;

use std::borrow::Cow;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use half::slice::HalfFloatSliceExt as _;
use half::{bf16, f16};

use crate::error::{Error, Result};

/// An open file or folder of weights.
pub(crate) trait WeightSource: Sync {
    /// Whether the tensor is there.
    #[cfg_attr(not(test), expect(dead_code, reason = "the inventory asks by shape"))]
    fn has(&self, name: &str) -> bool;

    /// The tensor, whose shape must be `shape`, slowest dimension first.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<RawTensor<'_>>;

    /// Gives back the memory of what was read of the files so far; it can be read again.
    fn release(&self);

    /// A tensor of any type as dense f32, `shape`.
    fn dense(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensor(name, shape)?.dequantize()
    }
}

/// A tensor as it lies in the file: rows of blocks, each row whole.
#[derive(Debug, Clone)]
pub(crate) struct RawTensor<'a> {
    pub(crate) name: String,
    pub(crate) dtype: GgmlDType,
    /// Entries of the fastest dimension; a multiple of the type's block.
    pub(crate) width: usize,
    /// `n_rows` rows, each of the same number of bytes.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Added to every value (Gemma's norms in safetensors are stored less 1).
    pub(crate) offset: f32,
}

impl RawTensor<'_> {
    /// Bytes of one row.
    pub(crate) fn row_bytes(&self) -> usize {
        self.width / self.dtype.block_size() * self.dtype.type_size()
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.bytes.len() / self.row_bytes()
    }

    /// The bytes of one row.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        &self.bytes[row * self.row_bytes()..(row + 1) * self.row_bytes()]
    }

    /// Dense values of some rows, `[rows, width]`, each checked to be finite.
    pub(crate) fn rows(&self, rows: std::ops::Range<usize>) -> Result<Vec<f32>> {
        let bytes = &self.bytes[rows.start * self.row_bytes()..rows.end * self.row_bytes()];
        let mut values = match self.dtype {
            GgmlDType::F32 => aligned(bytes, f32::from_le_bytes).into_owned(),
            GgmlDType::F16 => {
                let halves = aligned(bytes, f16::from_le_bytes);
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            GgmlDType::BF16 => {
                let halves = aligned(bytes, bf16::from_le_bytes);
                let mut values = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut values);
                values
            }
            // Blocks only come from GGUF, whose tensors are aligned to 8 bytes and more; their rows
            // are of whole blocks of 2 bytes' alignment.
            _ => {
                let storage = QStorage::from_data(bytes.into(), &Device::Cpu, self.dtype)?;
                let dense =
                    QTensor::new(storage, (rows.len(), self.width))?.dequantize(&Device::Cpu)?;
                crate::tensor::with_f32_slice(&dense, |values| Ok(values.to_vec()))?
            }
        };
        if self.offset != 0.0 {
            for value in &mut values {
                *value += self.offset;
            }
        }
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(Error::NonFiniteWeight {
                tensor: self.name.clone(),
            })
        }
    }

    /// Every value.
    pub(crate) fn dequantize(&self) -> Result<Vec<f32>> {
        self.rows(0..self.n_rows())
    }
}

/// Little-endian numbers as they lie in memory; copied where they are not aligned, which
/// safetensors allows.
fn aligned<T: bytemuck::AnyBitPattern + bytemuck::NoUninit, const N: usize>(
    bytes: &[u8],
    read: impl Fn([u8; N]) -> T,
) -> Cow<'_, [T]> {
    const { assert!(size_of::<T>() == N) };
    match bytemuck::try_cast_slice(bytes) {
        Ok(values) if cfg!(target_endian = "little") => Cow::Borrowed(values),
        _ => bytes
            .chunks_exact(N)
            .map(|chunk| read(chunk.try_into().expect("chunks are of N bytes")))
            .collect(),
    }
}

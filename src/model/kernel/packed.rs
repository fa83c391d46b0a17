//! Weight matrices in the order in which the products read them.
//!
//! Sixteen output rows make a panel, one lane of a vector register each. There is one copy: prefill,
//! decode and the look-up of embeddings all read it.
//!
//! - Dense (`f32`, `f16`, `bf16` as in the file): a panel is `[in][16]`. Arithmetic is f32.
//! - Integer (quantised files): small integers with their scales, as `integer_panel.rs` lays out.

use std::sync::{Mutex, PoisonError};

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};

use super::aligned::Aligned;
use super::ggml::{self, BLOCK, Layout};
use super::integer_panel::{self, IntegerPanel};
use super::pool::Pool;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::weights::RawTensor;

/// Output rows of a panel.
pub(super) const LANES: usize = 16;

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PackedType {
    F32,
    F16,
    Bf16,
    Integer(IntegerType),
}

/// A layout of small integers; made by [`Packed::pack`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IntegerType(pub(super) Layout);

impl PackedType {
    /// Its name for display.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Integer(IntegerType(layout)) => layout.name(),
        }
    }
}

/// A matrix `[n_rows, width]` of weights.
#[derive(Debug)]
pub(crate) struct Packed {
    n_rows: usize,
    width: usize,
    kind: PackedType,
    data: Aligned,
}

impl Packed {
    /// Packs a tensor; row `i` of the result is row `order(i)` of the file.
    ///
    /// With `exact`, quantised weights become dense f32, the reference.
    ///
    /// # Errors
    /// [`Error::NonFiniteWeight`].
    pub(crate) fn pack(
        pool: &Pool,
        tensor: &RawTensor<'_>,
        order: &(dyn Fn(usize) -> usize + Sync),
        exact: bool,
    ) -> Result<Self> {
        let kind = match (tensor.dtype, ggml::layout_of(tensor.dtype)) {
            _ if tensor.offset != 0.0 => PackedType::F32,
            (_, Some(layout)) if !exact => PackedType::Integer(IntegerType(layout)),
            (GgmlDType::F16, _) => PackedType::F16,
            (GgmlDType::BF16, _) => PackedType::Bf16,
            _ => PackedType::F32,
        };
        let (n_rows, width) = (tensor.n_rows(), tensor.width);
        let n_panels = n_rows.div_ceil(LANES);
        let panel_bytes = panel_bytes(kind, width);
        let mut data = Aligned::zeroed(n_panels * panel_bytes);
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        {
            let bytes = Shared::new(data.bytes_mut());
            pool.run(n_panels, &|panel| {
                // SAFETY: each task has its own panel.
                let out = unsafe { bytes.part(panel * panel_bytes, panel_bytes) };
                let rows = panel * LANES..((panel + 1) * LANES).min(n_rows);
                let pack = || -> Result<()> {
                    if let PackedType::Integer(IntegerType(layout)) = kind {
                        let rows: Vec<&[u8]> = rows.map(|row| tensor.row(order(row))).collect();
                        let finite = integer_panel::pack(tensor, &rows, layout, out);
                        return if finite {
                            Ok(())
                        } else {
                            Err(not_finite(tensor))
                        };
                    }
                    for (lane, row) in rows.enumerate() {
                        let from = order(row);
                        if kind == PackedType::F32 {
                            let values = tensor.rows(from..from + 1)?;
                            scatter(out, lane, values.iter().map(|v| v.to_le_bytes()));
                            continue;
                        }
                        let bytes = tensor.row(from);
                        let pairs = bytes.as_chunks::<2>().0;
                        let finite = |pair: &[u8; 2]| match kind {
                            PackedType::F16 => f16::from_le_bytes(*pair).is_finite(),
                            _ => bf16::from_le_bytes(*pair).is_finite(),
                        };
                        if !pairs.iter().all(finite) {
                            return Err(not_finite(tensor));
                        }
                        scatter(out, lane, pairs.iter().copied());
                    }
                    Ok(())
                };
                if let Err(error) = pack() {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            });
        }
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(Self {
                n_rows,
                width,
                kind,
                data,
            }),
        }
    }

    /// A dense matrix of f32 values, row-major `[n_rows, width]`.
    pub(crate) fn from_f32(values: &[f32], width: usize) -> Self {
        let n_rows = values.len() / width;
        let panel_bytes = panel_bytes(PackedType::F32, width);
        let mut data = Aligned::zeroed(n_rows.div_ceil(LANES) * panel_bytes);
        for (row, values) in values.chunks_exact(width).enumerate() {
            let panel = row / LANES * panel_bytes;
            let out = &mut data.bytes_mut()[panel..panel + panel_bytes];
            scatter(out, row % LANES, values.iter().map(|v| v.to_le_bytes()));
        }
        Self {
            n_rows,
            width,
            kind: PackedType::F32,
            data,
        }
    }

    /// Output rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Inputs per row.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn kind(&self) -> PackedType {
        self.kind
    }

    /// Bytes in memory.
    pub(crate) fn n_bytes(&self) -> usize {
        self.data.bytes().len()
    }

    pub(super) fn n_panels(&self) -> usize {
        self.n_rows.div_ceil(LANES)
    }

    /// One panel's bytes.
    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        let size = panel_bytes(self.kind, self.width);
        &self.data.bytes()[panel * size..(panel + 1) * size]
    }

    /// One panel of a dense matrix, `[width][16]`.
    pub(super) fn dense_panel<T: bytemuck::Pod>(&self, panel: usize) -> &[T] {
        let size = panel_bytes(self.kind, self.width) / size_of::<T>();
        &self.data.numbers::<T>()[panel * size..panel * size + self.width * LANES]
    }

    /// Dense values of one row, `[width]`.
    pub(crate) fn read_row(&self, row: usize, out: &mut [f32]) {
        let (panel, lane) = (row / LANES, row % LANES);
        match self.kind {
            PackedType::F32 => {
                let panel = self.dense_panel::<f32>(panel);
                let values = panel.iter().skip(lane).step_by(LANES);
                out.iter_mut().zip(values).for_each(|(out, v)| *out = *v);
            }
            PackedType::F16 => {
                let panel = self.dense_panel::<f16>(panel);
                let values = panel.iter().skip(lane).step_by(LANES);
                (out.iter_mut().zip(values)).for_each(|(out, v)| *out = v.to_f32());
            }
            PackedType::Bf16 => {
                let panel = self.dense_panel::<bf16>(panel);
                let values = panel.iter().skip(lane).step_by(LANES);
                (out.iter_mut().zip(values)).for_each(|(out, v)| *out = v.to_f32());
            }
            PackedType::Integer(IntegerType(layout)) => {
                IntegerPanel::new(layout, self.width / BLOCK, self.panel(panel))
                    .read_row(lane, out);
            }
        }
    }
}

/// Bytes of one panel, whole cache lines.
fn panel_bytes(kind: PackedType, width: usize) -> usize {
    let bytes = match kind {
        PackedType::F32 => width * LANES * 4,
        PackedType::F16 | PackedType::Bf16 => width * LANES * 2,
        PackedType::Integer(IntegerType(layout)) => layout.panel_bytes(width / BLOCK),
    };
    bytes.next_multiple_of(64)
}

/// Writes the values of one row into its lane.
fn scatter<const N: usize>(panel: &mut [u8], lane: usize, values: impl Iterator<Item = [u8; N]>) {
    let places = panel.chunks_exact_mut(N * LANES);
    for (place, value) in places.zip(values) {
        place[lane * N..(lane + 1) * N].copy_from_slice(&value);
    }
}

fn not_finite(tensor: &RawTensor<'_>) -> Error {
    Error::NonFiniteWeight {
        tensor: tensor.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;

    /// A quantised matrix of 20 rows and 512 columns.
    pub(crate) fn quantised(dtype: GgmlDType) -> RawTensor<'static> {
        let values: Vec<f32> = (0..20 * 512)
            .map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * (0.1 + (i / 512) as f32 / 10.0))
            .collect();
        let dense = Tensor::from_slice(&values, (20, 512), &Device::Cpu).unwrap();
        let quantised = QTensor::quantize(&dense, dtype).unwrap();
        RawTensor {
            name: "test".into(),
            dtype,
            width: 512,
            bytes: quantised.data().unwrap().into_owned().into(),
            offset: 0.0,
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let pool = Pool::new(2);
        for dtype in [
            GgmlDType::F32,
            GgmlDType::F16,
            GgmlDType::BF16,
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            let tensor = quantised(dtype);
            // K-quants' factors are multiplied in another order than candle's.
            let tolerance = if dtype.block_size() == 256 { 1e-6 } else { 0.0 };
            let reversed = |row: usize| 19 - row;
            let fast = Packed::pack(&pool, &tensor, &reversed, false).unwrap();
            let exact = Packed::pack(&pool, &tensor, &reversed, true).unwrap();
            for row in 0..20 {
                let expected = tensor.rows(19 - row..20 - row).unwrap();
                let mut found = vec![0.0; 512];
                exact.read_row(row, &mut found);
                assert_eq!(found, expected, "{dtype:?}");
                fast.read_row(row, &mut found);
                let largest = expected.iter().fold(0.0f32, |l, v| l.max(v.abs()));
                for (found, expected) in found.iter().zip(&expected) {
                    assert!(
                        (found - expected).abs() <= tolerance * largest,
                        "{dtype:?}: {found} for {expected}"
                    );
                }
            }
        }
    }
}

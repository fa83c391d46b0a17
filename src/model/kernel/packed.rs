//! Weight matrices in the order in which the products read them.
//!
//! Sixteen output rows make a panel, one lane of a vector register each. There is one copy: prefill,
//! decode and the look-up of embeddings all read it.
//!
//! - Dense (`f32`, `f16`, `bf16` as in the file): a panel is `[in][16]`. Arithmetic is f32.
//! - Integer (quantised files): per block of 32 inputs, groups of four inputs, `[group][16][4]`;
//!   four-bit quants hold group `g` in the low and `g + 4` in the high nibble. After all blocks of
//!   a panel come the scales as f16, `[block][scale][16]`, then offsets likewise. Scales are stored
//!   relative to one power of two per row, so f16 holds GGML's f16 scales exactly and the products
//!   of K-quants to 2⁻¹¹.

use std::sync::{Mutex, PoisonError};

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};

use super::aligned::Aligned;
use super::ggml::{self, BLOCK, Layout, Numbers};
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
            Self::Integer(IntegerType(layout)) if layout.four_bit => "int4",
            Self::Integer(_) => "int8",
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
    /// Factor of each row, padded to whole panels; empty for dense types.
    factors: Vec<f32>,
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
        let mut factors = match kind {
            PackedType::Integer(_) => vec![1.0; n_panels * LANES],
            _ => Vec::new(),
        };
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        {
            let bytes = Shared::new(data.bytes_mut());
            let shared_factors = Shared::new(&mut factors);
            pool.run(n_panels, &|panel| {
                // SAFETY: each task has its own panel.
                let out = unsafe { bytes.part(panel * panel_bytes, panel_bytes) };
                let rows = panel * LANES..((panel + 1) * LANES).min(n_rows);
                let pack = || -> Result<()> {
                    if let PackedType::Integer(IntegerType(layout)) = kind {
                        // SAFETY: likewise, its own factors.
                        let factors = unsafe { shared_factors.part(panel * LANES, LANES) };
                        let rows: Vec<&[u8]> = rows.map(|row| tensor.row(order(row))).collect();
                        return pack_integers(tensor, &rows, layout, out, factors);
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
                factors,
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
            factors: Vec::new(),
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
        self.data.bytes().len() + size_of_val(self.factors.as_slice())
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

    /// The factors of one panel's rows.
    pub(super) fn factors(&self, panel: usize) -> &[f32; LANES] {
        self.factors[panel * LANES..]
            .first_chunk()
            .expect("padded to whole panels")
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
                let view = IntegerPanel::new(layout, self.width, self.panel(panel));
                let factor = self.factors(panel)[lane];
                let zero = layout.zero();
                for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
                    for (i, out) in out.iter_mut().enumerate() {
                        let scale = view.scale(block, i / 16, lane) * factor;
                        let offset = view.offset(block, i / 16, lane) * factor;
                        *out = scale * (f32::from(view.quant(block, i, lane)) - zero) + offset;
                    }
                }
            }
        }
    }
}

impl Layout {
    /// Bytes of the quants of one block of a panel.
    pub(super) fn quant_bytes(self) -> usize {
        LANES * BLOCK / if self.four_bit { 2 } else { 1 }
    }

    /// The quant that means 0.
    fn zero(self) -> f32 {
        if self.offsets {
            0.0
        } else {
            (1u32 << self.zero_shift) as f32
        }
    }
}

/// Where things lie in the panel of an integer matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct IntegerPanel<'a> {
    layout: Layout,
    pub(super) n_blocks: usize,
    /// `[block][quant_bytes]`.
    pub(super) quants: &'a [u8],
    /// `[block][scale][16]`.
    pub(super) scales: &'a [f16],
    /// `[block][scale][16]`, or empty.
    pub(super) offsets: &'a [f16],
}

impl<'a> IntegerPanel<'a> {
    pub(super) fn new(layout: Layout, width: usize, panel: &'a [u8]) -> Self {
        let n_blocks = width / BLOCK;
        let n_scales = n_blocks * layout.n_scales * LANES;
        let (quants, rest) = panel.split_at(n_blocks * layout.quant_bytes());
        let (scales, rest) = rest.split_at(2 * n_scales);
        let n_offsets = if layout.offsets { n_scales } else { 0 };
        Self {
            layout,
            n_blocks,
            quants,
            scales: bytemuck::cast_slice(scales),
            offsets: bytemuck::cast_slice(&rest[..2 * n_offsets]),
        }
    }

    /// Quant `i` of a block.
    pub(super) fn quant(&self, block: usize, i: usize, lane: usize) -> u8 {
        let (at, shift) = quant_place(self.layout, block, i, lane);
        if self.layout.four_bit {
            self.quants[at] >> shift & 15
        } else {
            self.quants[at]
        }
    }

    fn scale(&self, block: usize, half: usize, lane: usize) -> f32 {
        self.scales[scale_place(self.layout, block, half, lane)].to_f32()
    }

    fn offset(&self, block: usize, half: usize, lane: usize) -> f32 {
        let at = scale_place(self.layout, block, half, lane);
        self.offsets.get(at).map_or(0.0, |offset| offset.to_f32())
    }
}

/// Byte and shift of a quant inside a panel.
fn quant_place(layout: Layout, block: usize, i: usize, lane: usize) -> (usize, usize) {
    let start = block * layout.quant_bytes();
    let (group, within) = (i / 4, lane * 4 + i % 4);
    if layout.four_bit {
        (start + group % 4 * 64 + within, group / 4 * 4)
    } else {
        (start + group * 64 + within, 0)
    }
}

fn scale_place(layout: Layout, block: usize, half: usize, lane: usize) -> usize {
    (block * layout.n_scales + half % layout.n_scales) * LANES + lane
}

/// Bytes of one panel, whole cache lines.
fn panel_bytes(kind: PackedType, width: usize) -> usize {
    let bytes = match kind {
        PackedType::F32 => width * LANES * 4,
        PackedType::F16 | PackedType::Bf16 => width * LANES * 2,
        PackedType::Integer(IntegerType(layout)) => {
            let numbers = layout.n_scales * if layout.offsets { 2 } else { 1 };
            width / BLOCK * (layout.quant_bytes() + numbers * LANES * 2)
        }
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

/// Packs rows into a panel, each into its lane, and sets their factors.
fn pack_integers(
    tensor: &RawTensor<'_>,
    rows: &[&[u8]],
    layout: Layout,
    panel: &mut [u8],
    factors: &mut [f32],
) -> Result<()> {
    let n_blocks = tensor.width / BLOCK;
    let (quants, numbers) = panel.split_at_mut(n_blocks * layout.quant_bytes());
    let numbers: &mut [f16] = bytemuck::cast_slice_mut(numbers);
    let (scales, offsets) = numbers.split_at_mut(n_blocks * layout.n_scales * LANES);
    let mut of_row = vec![Numbers::default(); n_blocks];
    for (lane, row) in rows.iter().enumerate() {
        // Bits of magnitudes are in the order of the magnitudes, with NaN above infinity.
        let mut largest = 0;
        for (index, numbers) in of_row.iter_mut().enumerate() {
            *numbers = ggml::numbers(tensor.dtype, row, index);
            for number in numbers.scales.iter().chain(&numbers.offsets) {
                largest = number.abs().to_bits().max(largest);
            }
        }
        let largest = f32::from_bits(largest);
        if !largest.is_finite() {
            return Err(not_finite(tensor));
        }
        let factor = power_of_two_above(largest);
        factors[lane] = factor;
        // A power of two, so multiplying is as exact as dividing.
        let inverse = 1.0 / factor;
        for (index, numbers) in of_row.iter().enumerate() {
            for half in 0..layout.n_scales {
                let at = scale_place(layout, index, half, lane);
                scales[at] = f16::from_f32(numbers.scales[half] * inverse);
                if layout.offsets {
                    offsets[at] = f16::from_f32(numbers.offsets[half] * inverse);
                }
            }
        }
    }
    // Block by block, so that the panel is written from front to back.
    let groups: &mut [[[u8; 4]; LANES]] = bytemuck::cast_slice_mut(quants);
    let n_groups = layout.quant_bytes() / (4 * LANES);
    for (index, block) in groups.chunks_exact_mut(n_groups).enumerate() {
        for (lane, row) in rows.iter().enumerate() {
            let [a, b, c, d] = ggml::quants(tensor.dtype, row, index);
            let pairs = if layout.four_bit {
                [a | c << 4, b | d << 4, 0, 0]
            } else {
                [a, b, c, d]
            };
            for (pair, block) in pairs.into_iter().zip(block.as_chunks_mut::<2>().0) {
                let [first, second] = block;
                let bytes = pair.to_le_bytes();
                first[lane] = [bytes[0], bytes[1], bytes[2], bytes[3]];
                second[lane] = [bytes[4], bytes[5], bytes[6], bytes[7]];
            }
        }
    }
    Ok(())
}

/// The smallest power of two that is at least `value`, within the normal numbers.
fn power_of_two_above(value: f32) -> f32 {
    if value == 0.0 {
        return 1.0;
    }
    let exponent = value.to_bits() >> 23;
    let exact = value.to_bits() & ((1 << 23) - 1) == 0;
    let exponent = (exponent + u32::from(!exact)).clamp(1, 254);
    f32::from_bits(exponent << 23)
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn powers_of_two() {
        for (value, expected) in [
            (1.0, 1.0),
            (1.1, 2.0),
            (0.75, 1.0),
            (0.0, 1.0),
            (3e-3, 1.0 / 256.0),
        ] {
            assert_eq!(power_of_two_above(value).to_bits(), f32::to_bits(expected));
        }
        assert!(power_of_two_above(f32::MAX).is_finite());
        assert!(power_of_two_above(f32::from_bits(1)) > 0.0);
    }

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
            // K-quants' scales are products, which f16 rounds.
            let tolerance = if dtype.block_size() == 256 { 2e-3 } else { 0.0 };
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

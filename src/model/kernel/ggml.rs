//! GGML's quantised blocks, opened into 32 small integers with their scales.
//!
//! Layouts: `ggml-common.h` and the `dequantize_row_*` functions of `ggml-quants.c`. Every type
//! becomes `weight = scale · (quant − zero) + offset`, with one scale per 32 or per 16 weights.

use candle_core::quantized::GgmlDType;
use half::f16;

/// Weights per block here; GGML's own blocks have 32 or 256.
pub(super) const BLOCK: usize = 32;

/// Bits that a quant is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bits {
    Four,
    Five,
    Six,
    Eight,
}

impl Bits {
    /// Groups of bytes that 32 such quants of a panel take: one per bit.
    pub(super) const fn n_groups(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
            Self::Eight => 8,
        }
    }
}

/// How a GGML type maps to small integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) bits: Bits,
    /// Scales (and offsets) per block: 1 or 2.
    pub(super) n_scales: usize,
    /// Whether there are offsets; otherwise `zero` stands in their place.
    pub(super) offsets: bool,
    /// `log2` of the quant that means 0.
    pub(super) zero_shift: u32,
    /// Whether factors are those of 256 weights, with small integers per block (K-quants);
    /// otherwise they are the block's own.
    pub(super) two_level: bool,
}

/// What 32 quants are scaled with: `factor · scale · (quant − zero) + factor · offset`, as the file
/// has them. Each product is exact in f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// Of scales and of offsets.
    pub(super) factors: [f16; 2],
    /// One per half; equal where the layout has one scale, 1 where it has one level.
    pub(super) scales: [i8; 2],
    pub(super) offsets: [i8; 2],
}

const fn layout(bits: Bits, n_scales: usize, offsets: bool, zero_shift: u32) -> Layout {
    Layout {
        bits,
        n_scales,
        offsets,
        zero_shift,
        two_level: false,
    }
}

const fn two_level(layout: Layout) -> Layout {
    Layout {
        two_level: true,
        ..layout
    }
}

/// The layout of a type, or `None` where it is not quantised.
pub(super) fn layout_of(dtype: GgmlDType) -> Option<Layout> {
    Some(match dtype {
        GgmlDType::Q4_0 => layout(Bits::Four, 1, false, 3),
        GgmlDType::Q4_1 => layout(Bits::Four, 1, true, 0),
        GgmlDType::Q5_0 => layout(Bits::Five, 1, false, 4),
        GgmlDType::Q5_1 => layout(Bits::Five, 1, true, 0),
        GgmlDType::Q8_0 => layout(Bits::Eight, 1, false, 7),
        GgmlDType::Q2K => two_level(layout(Bits::Four, 2, true, 0)),
        GgmlDType::Q3K => two_level(layout(Bits::Four, 2, false, 2)),
        GgmlDType::Q4K => two_level(layout(Bits::Four, 1, true, 0)),
        GgmlDType::Q5K => two_level(layout(Bits::Five, 1, true, 0)),
        GgmlDType::Q6K => two_level(layout(Bits::Six, 2, false, 5)),
        _ => return None,
    })
}

fn half(bytes: &[u8]) -> f16 {
    f16::from_le_bytes([bytes[0], bytes[1]])
}

/// 32 quants, eight to a word, the first in the lowest byte.
pub(super) type Quants = [u64; BLOCK / 8];

/// The same byte eight times.
pub(super) const fn bytes(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

/// Eight bits as eight bytes of 0 or 1.
const SPREAD: [u64; 256] = {
    let mut table = [0; 256];
    let mut bits = 0;
    while bits < 256 {
        let mut i = 0;
        while i < 8 {
            table[bits] |= ((bits >> i & 1) as u64) << (8 * i);
            i += 1;
        }
        bits += 1;
    }
    table
};

/// The words of some bytes from `start` on.
fn words<const N: usize>(row: &[u8], start: usize) -> [u64; N] {
    let chunks = row[start..start + 8 * N].as_chunks().0;
    std::array::from_fn(|i| u64::from_le_bytes(chunks[i]))
}

/// The low nibbles of 16 bytes from `start` on, then the high ones.
fn nibbles(row: &[u8], start: usize) -> Quants {
    let [first, second] = words(row, start);
    let low = bytes(15);
    [
        first & low,
        second & low,
        first >> 4 & low,
        second >> 4 & low,
    ]
}

/// The same with a fifth bit each from the 32 bits from `mask` on.
fn five_bits(row: &[u8], start: usize, mask: usize) -> Quants {
    let mut quants = nibbles(row, start);
    for (quants, bits) in quants.iter_mut().zip(&row[mask..mask + 4]) {
        *quants |= SPREAD[usize::from(*bits)] << 4;
    }
    quants
}

/// Scale and minimum of part `j` of a `Q4_K` or `Q5_K` block (`get_scale_min_k4`).
fn scale_min(packed: &[u8], j: usize) -> (i8, i8) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (
            packed[j + 4] & 15 | packed[j - 4] >> 6 << 4,
            packed[j + 4] >> 4 | packed[j] >> 6 << 4,
        )
    };
    (scale.cast_signed(), min.cast_signed())
}

/// The bytes of the type's own block that holds block `index` of 32 weights, and its place there.
fn place(dtype: GgmlDType, row: &[u8], index: usize) -> (&[u8], usize) {
    let per_block = dtype.block_size() / BLOCK;
    let size = dtype.type_size();
    let start = index / per_block * size;
    (&row[start..start + size], index % per_block)
}

/// Scales and offsets of block `index` (of 32 weights) of a row of `dtype`.
///
/// # Panics
/// If the type has no [`layout_of`], or the row is too short.
pub(super) fn numbers(dtype: GgmlDType, row: &[u8], index: usize) -> Numbers {
    let (bytes, j) = place(dtype, row, index);
    let whole = |scale: f16, offset: f16| Numbers {
        factors: [scale, offset],
        scales: [1; 2],
        offsets: [1; 2],
    };
    match dtype {
        GgmlDType::Q4_0 | GgmlDType::Q5_0 | GgmlDType::Q8_0 => whole(half(bytes), f16::ZERO),
        GgmlDType::Q4_1 | GgmlDType::Q5_1 => whole(half(bytes), half(&bytes[2..])),
        GgmlDType::Q4K | GgmlDType::Q5K => {
            let (scale, min) = scale_min(&bytes[4..16], j);
            Numbers {
                factors: [half(bytes), -half(&bytes[2..])],
                scales: [scale; 2],
                offsets: [min; 2],
            }
        }
        GgmlDType::Q6K => Numbers {
            factors: [half(&bytes[208..]), f16::ZERO],
            scales: [bytes[192 + 2 * j], bytes[193 + 2 * j]].map(u8::cast_signed),
            offsets: [0; 2],
        },
        GgmlDType::Q2K => {
            let packed = [bytes[2 * j], bytes[2 * j + 1]];
            Numbers {
                factors: [half(&bytes[80..]), -half(&bytes[82..])],
                scales: packed.map(|p| (p & 15).cast_signed()),
                offsets: packed.map(|p| (p >> 4).cast_signed()),
            }
        }
        GgmlDType::Q3K => {
            // Sixteen six-bit scales: low nibbles in eight bytes, high pairs in four.
            let scale = |k: usize| {
                let index = 2 * j + k;
                let low = bytes[96 + index % 8] >> (index / 8 * 4) & 15;
                let high = bytes[104 + index % 4] >> (index / 4 * 2) & 3;
                (low | high << 4).cast_signed() - 32
            };
            Numbers {
                factors: [half(&bytes[108..]), f16::ZERO],
                scales: [scale(0), scale(1)],
                offsets: [0; 2],
            }
        }
        _ => unreachable!("only called for types with a layout"),
    }
}

/// The quants of block `index` (of 32 weights) of a row of `dtype`.
///
/// # Panics
/// As [`numbers`].
pub(super) fn quants(dtype: GgmlDType, row: &[u8], index: usize) -> Quants {
    let (block, j) = place(dtype, row, index);
    // Where words are shifted, the mask takes away what comes in from the neighbouring byte.
    match dtype {
        GgmlDType::Q4_0 => nibbles(block, 2),
        GgmlDType::Q4_1 => nibbles(block, 4),
        GgmlDType::Q5_0 => five_bits(block, 6, 2),
        GgmlDType::Q5_1 => five_bits(block, 8, 4),
        GgmlDType::Q8_0 => words(block, 2).map(|word| word ^ bytes(128)),
        GgmlDType::Q4K => {
            let low = words(block, 16 + j / 2 * 32);
            low.map(|low| low >> (j % 2 * 4) & bytes(15))
        }
        GgmlDType::Q5K => {
            let (low, high): (Quants, Quants) = (words(block, 48 + j / 2 * 32), words(block, 16));
            std::array::from_fn(|i| {
                low[i] >> (j % 2 * 4) & bytes(15) | (high[i] >> j & bytes(1)) << 4
            })
        }
        GgmlDType::Q6K => {
            // 128 weights at a time: 64 bytes of low nibbles, 32 bytes of two high bits each.
            let (part, quarter) = (j / 4, j % 4);
            let low: Quants = words(block, part * 64 + quarter % 2 * 32);
            let high: Quants = words(block, 128 + part * 32);
            std::array::from_fn(|i| {
                low[i] >> (quarter / 2 * 4) & bytes(15) | (high[i] >> (2 * quarter) & bytes(3)) << 4
            })
        }
        GgmlDType::Q2K => {
            let (part, quarter) = (j / 4, j % 4);
            words(block, 16 + part * 32).map(|word| word >> (2 * quarter) & bytes(3))
        }
        GgmlDType::Q3K => {
            let (part, quarter) = (j / 4, j % 4);
            let (low, high): (Quants, Quants) = (words(block, 32 + part * 32), words(block, 0));
            std::array::from_fn(|i| {
                low[i] >> (2 * quarter) & bytes(3) | (high[i] >> j & bytes(1)) << 2
            })
        }
        _ => unreachable!("only called for types with a layout"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;

    /// Every type that has a layout.
    const TYPES: [GgmlDType; 10] = [
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
    ];

    #[test]
    fn opened_blocks_are_candles_dequantised_ones() {
        let values: Vec<f32> = (0..512)
            .map(|i| ((i * 37 % 101) as f32 / 50.0 - 1.0) * (1.0 + i as f32 / 100.0))
            .collect();
        for dtype in TYPES {
            let dense = Tensor::from_slice(&values, (1, 512), &Device::Cpu).unwrap();
            let quantised = QTensor::quantize(&dense, dtype).unwrap();
            let bytes = quantised.data().unwrap();
            let expected = quantised.dequantize(&Device::Cpu).unwrap();
            let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let layout = layout_of(dtype).unwrap();
            let zero = if layout.offsets {
                0.0
            } else {
                (1u32 << layout.zero_shift) as f32
            };
            for index in 0..512 / BLOCK {
                let quants = quants(dtype, &bytes, index).map(u64::to_le_bytes);
                let quants = quants.as_flattened();
                let numbers = numbers(dtype, &bytes, index);
                for i in 0..BLOCK {
                    let half = i / 16;
                    let [scale, offset] = numbers.factors.map(f16::to_f32);
                    let scale = scale * f32::from(numbers.scales[half]);
                    let offset = offset * f32::from(numbers.offsets[half]);
                    let found = scale * (f32::from(quants[i]) - zero) + offset;
                    let expected = expected[index * BLOCK + i];
                    assert!(
                        (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                        "{dtype:?} weight {}: {found} for {expected}",
                        index * BLOCK + i
                    );
                    let limit = match layout.bits {
                        Bits::Four => 15,
                        Bits::Five => 31,
                        Bits::Six => 63,
                        Bits::Eight => 255,
                    };
                    assert!(quants[i] <= limit);
                    assert!(layout.n_scales == 2 || numbers.scales[0] == numbers.scales[1]);
                    assert!(layout.two_level || numbers.scales == [1; 2]);
                }
            }
        }
    }
}

//! GGML's quantised blocks, opened into 32 small integers with their scales.
//!
//! Layouts: `ggml-common.h` and the `dequantize_row_*` functions of `ggml-quants.c`. Every type
//! becomes `weight = scale · (quant − zero) + offset`, with one scale per 32 or per 16 weights.

use candle_core::quantized::GgmlDType;
use half::f16;

/// Weights per block here; GGML's own blocks have 32 or 256.
pub(super) const BLOCK: usize = 32;

/// How a GGML type maps to small integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Whether quants fit four bits.
    pub(super) four_bit: bool,
    /// Scales (and offsets) per block: 1 or 2.
    pub(super) n_scales: usize,
    /// Whether there are offsets; otherwise `zero` stands in their place.
    pub(super) offsets: bool,
    /// `log2` of the quant that means 0.
    pub(super) zero_shift: u32,
}

/// 32 weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) quants: [u8; BLOCK],
    /// One per half; equal where the layout has one scale.
    pub(super) scales: [f32; 2],
    pub(super) offsets: [f32; 2],
}

const fn layout(four_bit: bool, n_scales: usize, offsets: bool, zero_shift: u32) -> Layout {
    Layout {
        four_bit,
        n_scales,
        offsets,
        zero_shift,
    }
}

/// The layout of a type, or `None` where it is not quantised.
pub(super) fn layout_of(dtype: GgmlDType) -> Option<Layout> {
    Some(match dtype {
        GgmlDType::Q4_0 => layout(true, 1, false, 3),
        GgmlDType::Q4_1 | GgmlDType::Q4K => layout(true, 1, true, 0),
        GgmlDType::Q5_0 => layout(false, 1, false, 4),
        GgmlDType::Q5_1 | GgmlDType::Q5K => layout(false, 1, true, 0),
        GgmlDType::Q8_0 => layout(false, 1, false, 7),
        GgmlDType::Q2K => layout(true, 2, true, 0),
        GgmlDType::Q3K => layout(true, 2, false, 2),
        GgmlDType::Q6K => layout(false, 2, false, 5),
        _ => return None,
    })
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// The low nibbles of 16 bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> [u8; BLOCK] {
    std::array::from_fn(|i| bytes[i % 16] >> (i / 16 * 4) & 15)
}

/// The same with a fifth bit each from a 32-bit mask.
fn five_bits(bytes: &[u8], mask: &[u8]) -> [u8; BLOCK] {
    let mask = u32::from_le_bytes([mask[0], mask[1], mask[2], mask[3]]);
    let low = nibbles(bytes);
    std::array::from_fn(|i| low[i] | ((mask >> i & 1) as u8) << 4)
}

/// Scale and minimum of part `j` of a `Q4_K` or `Q5_K` block (`get_scale_min_k4`).
fn scale_min(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (
            packed[j + 4] & 15 | packed[j - 4] >> 6 << 4,
            packed[j + 4] >> 4 | packed[j] >> 6 << 4,
        )
    };
    (f32::from(scale), f32::from(min))
}

/// Block `index` (of 32 weights) of a row of `dtype`.
///
/// # Panics
/// If the type has no [`layout_of`], or the row is too short.
pub(super) fn block(dtype: GgmlDType, row: &[u8], index: usize) -> Block {
    let whole = |quants, scale: f32, offset: f32| Block {
        quants,
        scales: [scale; 2],
        offsets: [offset; 2],
    };
    let size = dtype.type_size();
    if dtype.block_size() == BLOCK {
        let bytes = &row[index * size..(index + 1) * size];
        return match dtype {
            GgmlDType::Q4_0 => whole(nibbles(&bytes[2..]), half(bytes), 0.0),
            GgmlDType::Q4_1 => whole(nibbles(&bytes[4..]), half(bytes), half(&bytes[2..])),
            GgmlDType::Q5_0 => whole(five_bits(&bytes[6..], &bytes[2..]), half(bytes), 0.0),
            GgmlDType::Q5_1 => whole(
                five_bits(&bytes[8..], &bytes[4..]),
                half(bytes),
                half(&bytes[2..]),
            ),
            GgmlDType::Q8_0 => whole(
                std::array::from_fn(|i| bytes[2 + i] ^ 128),
                half(bytes),
                0.0,
            ),
            _ => unreachable!("only called for types with a layout"),
        };
    }
    let (outer, j) = (index / 8, index % 8);
    let bytes = &row[outer * size..(outer + 1) * size];
    match dtype {
        GgmlDType::Q4K | GgmlDType::Q5K => {
            let (scale, min) = scale_min(&bytes[4..16], j);
            let five = dtype == GgmlDType::Q5K;
            let low = if five { 48 } else { 16 };
            let quants = std::array::from_fn(|i| {
                let nibble = bytes[low + j / 2 * 32 + i] >> (j % 2 * 4) & 15;
                let fifth = if five { bytes[16 + i] >> j & 1 } else { 0 };
                nibble | fifth << 4
            });
            whole(quants, half(bytes) * scale, -half(&bytes[2..]) * min)
        }
        GgmlDType::Q6K => {
            // 128 weights at a time: 64 bytes of low nibbles, 32 bytes of two high bits each.
            let (part, quarter) = (j / 4, j % 4);
            let low = &bytes[part * 64..];
            let high = &bytes[128 + part * 32..];
            let quants = std::array::from_fn(|i| {
                let nibble = low[quarter % 2 * 32 + i] >> (quarter / 2 * 4) & 15;
                nibble | (high[i] >> (2 * quarter) & 3) << 4
            });
            let scale =
                |k: usize| half(&bytes[208..]) * f32::from(bytes[192 + 2 * j + k].cast_signed());
            Block {
                quants,
                scales: [scale(0), scale(1)],
                offsets: [0.0; 2],
            }
        }
        GgmlDType::Q2K => {
            let (part, quarter) = (j / 4, j % 4);
            let quants = std::array::from_fn(|i| bytes[16 + part * 32 + i] >> (2 * quarter) & 3);
            let packed = [bytes[2 * j], bytes[2 * j + 1]];
            Block {
                quants,
                scales: packed.map(|p| half(&bytes[80..]) * f32::from(p & 15)),
                offsets: packed.map(|p| -half(&bytes[82..]) * f32::from(p >> 4)),
            }
        }
        GgmlDType::Q3K => {
            let (part, quarter) = (j / 4, j % 4);
            let quants = std::array::from_fn(|i| {
                let low = bytes[32 + part * 32 + i] >> (2 * quarter) & 3;
                low | (bytes[i] >> j & 1) << 2
            });
            // Sixteen six-bit scales: low nibbles in eight bytes, high pairs in four.
            let scale = |k: usize| {
                let index = 2 * j + k;
                let low = bytes[96 + index % 8] >> (index / 8 * 4) & 15;
                let high = bytes[104 + index % 4] >> (index / 4 * 2) & 3;
                half(&bytes[108..]) * (f32::from(low | high << 4) - 32.0)
            };
            Block {
                quants,
                scales: [scale(0), scale(1)],
                offsets: [0.0; 2],
            }
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
                let block = block(dtype, &bytes, index);
                for i in 0..BLOCK {
                    let half = i / 16;
                    let found = block.scales[half] * (f32::from(block.quants[i]) - zero)
                        + block.offsets[half];
                    let expected = expected[index * BLOCK + i];
                    assert!(
                        (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                        "{dtype:?} weight {}: {found} for {expected}",
                        index * BLOCK + i
                    );
                    assert!(!layout.four_bit || block.quants[i] < 16);
                    assert!(
                        layout.n_scales == 2
                            || block.scales[0].to_bits() == block.scales[1].to_bits()
                    );
                }
            }
        }
    }
}

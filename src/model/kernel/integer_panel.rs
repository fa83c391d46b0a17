//! Sixteen rows of a quantised matrix, as close together as the file has them.
//!
//! Per block of 32 inputs there are eight groups of four, `[group][16][4]`:
//!
//! - four bits: group `g` in the low and `g + 4` in the high nibble of four groups of bytes;
//! - five bits: the same, and a group of bytes whose bit `g` is the fifth bit of group `g`;
//! - six bits: the same, and two groups of bytes whose bits `2j` and `2j + 1` are the upper bits of
//!   group `j` and `j + 4`;
//! - eight bits: eight groups of bytes.
//!
//! After all blocks come the factors of scales as f16, `[block][16]`, or one per eight blocks for
//! K-quants, then those of offsets; then K-quants' own scales and offsets as eight-bit integers,
//! `[block][scale][16]`. Nothing is rounded.

use half::f16;

use super::ggml::{self, BLOCK, Bits, Layout};
use super::packed::LANES;
use crate::weights::RawTensor;

/// Bytes of one group.
pub(super) const GROUP: usize = 4 * LANES;

/// Blocks that share the factors of a K-quant.
pub(super) const SUPER: usize = 8;

impl Layout {
    /// Bytes of the quants of one block of a panel.
    pub(super) fn quant_bytes(self) -> usize {
        GROUP * self.bits.n_groups()
    }

    /// The quant that means 0.
    pub(super) fn zero(self) -> f32 {
        if self.offsets {
            0.0
        } else {
            (1u32 << self.zero_shift) as f32
        }
    }

    /// Bytes of a panel of `n_blocks` blocks.
    pub(super) fn panel_bytes(self, n_blocks: usize) -> usize {
        let Sizes { factors, own } = self.sizes(n_blocks);
        let kinds = 1 + usize::from(self.offsets);
        n_blocks * self.quant_bytes() + kinds * (factors * size_of::<f16>() + own)
    }

    /// Its name for display.
    pub(super) fn name(self) -> &'static str {
        match self.bits {
            Bits::Four => "int4",
            Bits::Five => "int5",
            Bits::Six => "int6",
            Bits::Eight => "int8",
        }
    }

    fn sizes(self, n_blocks: usize) -> Sizes {
        if self.two_level {
            Sizes {
                factors: n_blocks.div_ceil(SUPER) * LANES,
                own: n_blocks * self.n_scales * LANES,
            }
        } else {
            Sizes {
                factors: n_blocks * LANES,
                own: 0,
            }
        }
    }
}

/// How many factors a panel has, and how many scales of the blocks' own.
struct Sizes {
    factors: usize,
    own: usize,
}

/// Where things lie in a panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct IntegerPanel<'a> {
    pub(super) layout: Layout,
    pub(super) n_blocks: usize,
    /// `[block][quant_bytes]`.
    pub(super) quants: &'a [u8],
    /// Of scales, `[block or eight][16]`.
    pub(super) factors: &'a [f16],
    /// Of offsets, likewise, or empty.
    pub(super) offset_factors: &'a [f16],
    /// `[block][scale][16]`, or empty where there is one level.
    pub(super) scales: &'a [i8],
    /// Likewise.
    pub(super) offsets: &'a [i8],
}

impl<'a> IntegerPanel<'a> {
    pub(super) fn new(layout: Layout, n_blocks: usize, panel: &'a [u8]) -> Self {
        let Sizes { factors, own } = layout.sizes(n_blocks);
        let offsets = usize::from(layout.offsets);
        let (quants, rest) = panel.split_at(n_blocks * layout.quant_bytes());
        let (scale_factors, rest) = rest.split_at(2 * factors);
        let (offset_factors, rest) = rest.split_at(2 * factors * offsets);
        let (scales, rest) = rest.split_at(own);
        Self {
            layout,
            n_blocks,
            quants,
            factors: bytemuck::cast_slice(scale_factors),
            offset_factors: bytemuck::cast_slice(offset_factors),
            scales: bytemuck::cast_slice(scales),
            offsets: bytemuck::cast_slice(&rest[..own * offsets]),
        }
    }

    /// The scales of one part of a block.
    #[inline(always)]
    pub(super) fn scales(&self, block: usize, part: usize) -> [f32; LANES] {
        self.numbers(self.factors, self.scales, block, part)
    }

    /// The offsets of one part of a block, where the layout has them.
    #[inline(always)]
    pub(super) fn offsets(&self, block: usize, part: usize) -> [f32; LANES] {
        self.numbers(self.offset_factors, self.offsets, block, part)
    }

    #[inline(always)]
    fn numbers(&self, factors: &[f16], own: &[i8], block: usize, part: usize) -> [f32; LANES] {
        let Layout {
            n_scales,
            two_level,
            ..
        } = self.layout;
        let factors = factors.as_chunks::<LANES>().0;
        if !two_level {
            return factors[block].map(f16::to_f32);
        }
        let factors = &factors[block / SUPER];
        let own = &own.as_chunks::<LANES>().0[block * n_scales + part];
        std::array::from_fn(|lane| factors[lane].to_f32() * f32::from(own[lane]))
    }

    /// Whether every array is as long as the layout and the number of blocks say.
    pub(super) fn is_whole(&self) -> bool {
        let Sizes { factors, own } = self.layout.sizes(self.n_blocks);
        let offsets = usize::from(self.layout.offsets);
        self.quants.len() == self.n_blocks * self.layout.quant_bytes()
            && self.factors.len() == factors
            && self.offset_factors.len() == factors * offsets
            && self.scales.len() == own
            && self.offsets.len() == own * offsets
    }

    /// Weights of one lane, `[width]`.
    pub(super) fn read_row(&self, lane: usize, out: &mut [f32]) {
        let zero = self.layout.zero();
        let per_part = BLOCK / self.layout.n_scales;
        for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            for (part, out) in out.chunks_exact_mut(per_part).enumerate() {
                let scale = self.scales(block, part)[lane];
                let offset = if self.layout.offsets {
                    self.offsets(block, part)[lane]
                } else {
                    0.0
                };
                for (i, out) in out.iter_mut().enumerate() {
                    let quant = self.quant(block, part * per_part + i, lane);
                    *out = scale * (f32::from(quant) - zero) + offset;
                }
            }
        }
    }

    /// Quant `i` of a block.
    fn quant(&self, block: usize, i: usize, lane: usize) -> u8 {
        let bytes = self.layout.quant_bytes();
        let block = &self.quants[block * bytes..][..bytes];
        let (group, within) = (i / 4, lane * 4 + i % 4);
        if self.layout.bits == Bits::Eight {
            return block[group * GROUP + within];
        }
        let nibble = block[group % 4 * GROUP + within] >> (group / 4 * 4) & 15;
        let upper = &block[4 * GROUP..];
        match self.layout.bits {
            Bits::Four | Bits::Eight => nibble,
            Bits::Five => nibble | (upper[within] >> group & 1) << 4,
            Bits::Six => {
                let upper = upper[group / 4 * GROUP + within];
                nibble | (upper >> (group % 4 * 2) & 3) << 4
            }
        }
    }
}

/// Packs rows into a panel, each into its lane. Says whether every factor is finite.
pub(super) fn pack(
    tensor: &RawTensor<'_>,
    rows: &[&[u8]],
    layout: Layout,
    panel: &mut [u8],
) -> bool {
    let n_blocks = tensor.width / BLOCK;
    let Sizes { factors, own } = layout.sizes(n_blocks);
    let offsets = usize::from(layout.offsets);
    let (quants, rest) = panel.split_at_mut(n_blocks * layout.quant_bytes());
    let (factor_bytes, rest) = rest.split_at_mut(2 * factors * (1 + offsets));
    let (scale_factors, offset_factors) =
        bytemuck::cast_slice_mut::<u8, f16>(factor_bytes).split_at_mut(factors);
    let (scales, rest) = rest.split_at_mut(own);
    let own_offsets = &mut rest[..own * offsets];
    let mut finite = true;
    for (lane, row) in rows.iter().enumerate() {
        for index in 0..n_blocks {
            let numbers = ggml::numbers(tensor.dtype, row, index);
            finite &= numbers.factors.iter().all(|factor| factor.is_finite());
            let at = if layout.two_level {
                index / SUPER
            } else {
                index
            } * LANES
                + lane;
            scale_factors[at] = numbers.factors[0];
            if layout.offsets {
                offset_factors[at] = numbers.factors[1];
            }
            if layout.two_level {
                for half in 0..layout.n_scales {
                    let at = (index * layout.n_scales + half) * LANES + lane;
                    scales[at] = numbers.scales[half].cast_unsigned();
                    if layout.offsets {
                        own_offsets[at] = numbers.offsets[half].cast_unsigned();
                    }
                }
            }
        }
    }
    // Block by block, so that the panel is written from front to back.
    for (index, block) in quants.chunks_exact_mut(layout.quant_bytes()).enumerate() {
        let block: &mut [[[u8; 4]; LANES]] = bytemuck::cast_slice_mut(block);
        for (lane, row) in rows.iter().enumerate() {
            let groups = ggml::quants(tensor.dtype, row, index);
            pack_block(layout.bits, groups, lane, block);
        }
    }
    finite
}

/// Writes one row's quants of a block, two groups to a word, into `[group of bytes][16][4]`.
fn pack_block(bits: Bits, words: ggml::Quants, lane: usize, block: &mut [[[u8; 4]; LANES]]) {
    let mut put = |group: usize, word: u64| {
        let bytes = word.to_le_bytes();
        block[group][lane] = [bytes[0], bytes[1], bytes[2], bytes[3]];
        block[group + 1][lane] = [bytes[4], bytes[5], bytes[6], bytes[7]];
    };
    let [a, b, c, d] = words;
    if bits == Bits::Eight {
        for (index, word) in words.into_iter().enumerate() {
            put(2 * index, word);
        }
        return;
    }
    let low = ggml::bytes(15);
    put(0, a & low | (c & low) << 4);
    put(2, b & low | (d & low) << 4);
    // The upper bits of each word's two groups, in the low bits of their bytes.
    let upper = words.map(|word| word >> 4 & low);
    let halves = |word: u64| [word as u32, (word >> 32) as u32];
    match bits {
        Bits::Four | Bits::Eight => {}
        Bits::Five => {
            let mut fifth = 0;
            for (group, bits) in upper.into_iter().flat_map(halves).enumerate() {
                fifth |= bits << group;
            }
            block[4][lane] = fifth.to_le_bytes();
        }
        Bits::Six => {
            let pair = |first: u64, second: u64| {
                let [a, b] = halves(first);
                let [c, d] = halves(second);
                a | b << 2 | c << 4 | d << 6
            };
            block[4][lane] = pair(upper[0], upper[1]).to_le_bytes();
            block[5][lane] = pair(upper[2], upper[3]).to_le_bytes();
        }
    }
}

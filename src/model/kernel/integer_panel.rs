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
//! Blocks lie in super-blocks of eight (the last of a row may have fewer), each with what its quants
//! are scaled with before them: the factors of scales as f16, `[block][16]`, or one `[16]` for all
//! eight in K-quants, then those of offsets; then K-quants' own scales and offsets as eight-bit
//! integers, `[block][scale][16]`; padding up to 64 bytes; the quants. So a product reads a matrix
//! as one stream, which is what processors fetch ahead: with the factors in streams of their own a
//! core read 12 GB/s of the 30 it can. Nothing is rounded.

use half::f16;

use super::ggml::{self, BLOCK, Bits, Layout};
use super::packed::LANES;
use crate::weights::RawTensor;

/// Bytes of one group.
pub(super) const GROUP: usize = 4 * LANES;

/// Blocks of a super-block, which share the factors of a K-quant.
pub(super) const SUPER: usize = 8;

/// Bytes of a cache line, where quants begin.
const LINE: usize = 64;

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
        let (n_whole, rest) = (n_blocks / SUPER, n_blocks % SUPER);
        let rest = if rest > 0 { self.parts(rest).end } else { 0 };
        n_whole * self.parts(SUPER).end + rest
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

    /// Where the parts of a super-block of `n_blocks` blocks begin.
    #[inline(always)]
    pub(super) fn parts(self, n_blocks: usize) -> Parts {
        let kinds = usize::from(self.offsets);
        let (factors, own) = if self.two_level {
            (size_of::<f16>() * LANES, n_blocks * self.n_scales * LANES)
        } else {
            (n_blocks * size_of::<f16>() * LANES, 0)
        };
        let scales = factors * (1 + kinds);
        let quants = (scales + own * (1 + kinds)).next_multiple_of(LINE);
        Parts {
            offset_factors: factors,
            scales,
            offsets: scales + own,
            quants,
            end: quants + n_blocks * self.quant_bytes(),
        }
    }
}

/// Bytes from the beginning of a super-block, at which there are the factors of scales.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts {
    pub(super) offset_factors: usize,
    pub(super) scales: usize,
    pub(super) offsets: usize,
    pub(super) quants: usize,
    pub(super) end: usize,
}

/// Sixteen rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct IntegerPanel<'a> {
    pub(super) layout: Layout,
    pub(super) n_blocks: usize,
    /// Super-blocks.
    pub(super) bytes: &'a [u8],
}

/// Up to eight blocks of a panel.
#[derive(Debug, Clone, Copy)]
pub(super) struct SuperBlock<'a> {
    layout: Layout,
    /// Of scales, `[block or 1][16]`.
    factors: &'a [f16],
    /// Of offsets, likewise, or empty.
    offset_factors: &'a [f16],
    /// `[block][scale][16]`, or empty where there is one level.
    scales: &'a [i8],
    /// Likewise.
    offsets: &'a [i8],
    /// `[block][quant_bytes]`.
    quants: &'a [u8],
}

impl<'a> IntegerPanel<'a> {
    pub(super) fn new(layout: Layout, n_blocks: usize, bytes: &'a [u8]) -> Self {
        Self {
            layout,
            n_blocks,
            bytes,
        }
    }

    /// Whether there are as many bytes as the layout and the number of blocks say.
    pub(super) fn is_whole(&self) -> bool {
        self.bytes.len() == self.layout.panel_bytes(self.n_blocks)
    }

    /// Its super-blocks in order.
    pub(super) fn super_blocks(&self) -> impl Iterator<Item = SuperBlock<'a>> + use<'a> {
        let (layout, n_blocks) = (self.layout, self.n_blocks);
        let all = self.bytes.chunks(layout.parts(SUPER).end);
        all.enumerate().map(move |(index, bytes)| {
            let parts = layout.parts(SUPER.min(n_blocks - index * SUPER));
            let kinds = [parts.offset_factors, parts.scales - parts.offset_factors];
            let (factors, rest) = bytes.split_at(kinds[0]);
            let (offset_factors, _) = rest.split_at(kinds[1]);
            let n_own = parts.offsets - parts.scales;
            let offsets = n_own * usize::from(layout.offsets);
            SuperBlock {
                layout,
                factors: bytemuck::cast_slice(factors),
                offset_factors: bytemuck::cast_slice(offset_factors),
                scales: bytemuck::cast_slice(&bytes[parts.scales..parts.offsets]),
                offsets: bytemuck::cast_slice(&bytes[parts.offsets..][..offsets]),
                quants: &bytes[parts.quants..parts.end],
            }
        })
    }

    /// Weights of one lane, `[width]`.
    pub(super) fn read_row(&self, lane: usize, out: &mut [f32]) {
        let outs = out.chunks_mut(SUPER * BLOCK);
        for (blocks, out) in self.super_blocks().zip(outs) {
            blocks.read_row(lane, out);
        }
    }
}

impl<'a> SuperBlock<'a> {
    /// The quants of each block.
    #[inline(always)]
    pub(super) fn quants(&self) -> std::slice::ChunksExact<'a, u8> {
        self.quants.chunks_exact(self.layout.quant_bytes())
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
        let own = &own.as_chunks::<LANES>().0[block * n_scales + part];
        std::array::from_fn(|lane| factors[0][lane].to_f32() * f32::from(own[lane]))
    }

    fn read_row(&self, lane: usize, out: &mut [f32]) {
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
    let mut finite = true;
    // From front to back.
    for (index, bytes) in panel.chunks_mut(layout.parts(SUPER).end).enumerate() {
        let first = index * SUPER;
        let parts = layout.parts(SUPER.min(n_blocks - first));
        let (header, quants) = bytes.split_at_mut(parts.quants);
        for (lane, row) in rows.iter().enumerate() {
            for block in 0..SUPER.min(n_blocks - first) {
                let numbers = ggml::numbers(tensor.dtype, row, first + block);
                finite &= numbers.factors.iter().all(|factor| factor.is_finite());
                pack_numbers(layout, parts, numbers, block, lane, header);
            }
        }
        for (index, block) in quants.chunks_exact_mut(layout.quant_bytes()).enumerate() {
            let block: &mut [[[u8; 4]; LANES]] = bytemuck::cast_slice_mut(block);
            for (lane, row) in rows.iter().enumerate() {
                let groups = ggml::quants(tensor.dtype, row, first + index);
                pack_block(layout.bits, groups, lane, block);
            }
        }
    }
    finite
}

/// Writes what one row's quants of a block are scaled with.
#[inline(always)]
fn pack_numbers(
    layout: Layout,
    parts: Parts,
    numbers: ggml::Numbers,
    block: usize,
    lane: usize,
    header: &mut [u8],
) {
    let kinds = [
        (0, parts.scales, numbers.scales),
        (parts.offset_factors, parts.offsets, numbers.offsets),
    ];
    let n_kinds = 1 + usize::from(layout.offsets);
    for ((factors, own, values), factor) in kinds.into_iter().zip(numbers.factors).take(n_kinds) {
        let index = if layout.two_level { 0 } else { block };
        let at = factors + (index * LANES + lane) * size_of::<f16>();
        header[at..at + 2].copy_from_slice(&factor.to_ne_bytes());
        if layout.two_level {
            for (part, value) in values.into_iter().enumerate().take(layout.n_scales) {
                let at = own + (block * layout.n_scales + part) * LANES + lane;
                header[at] = value.cast_unsigned();
            }
        }
    }
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

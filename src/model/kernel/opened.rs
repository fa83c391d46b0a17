//! Quants of five and six bits opened to bytes, for products with so many rows that taking bits
//! apart again for each tile would cost more than reading twice as much.

use super::Level;
use super::aligned::Aligned;
use super::ggml::{BLOCK, Bits, Layout};
use super::integer_panel::{GROUP, IntegerPanel, SUPER};
use super::packed::LANES;

/// Bytes of an opened block.
pub(super) const OPENED_BLOCK: usize = LANES * BLOCK;

/// A buffer for the quants of one panel, reused.
#[derive(Debug, Default)]
pub(super) struct Opened(Aligned);

/// Whether products with many rows open panels of such quants.
pub(super) fn is_opened(bits: Bits) -> bool {
    matches!(bits, Bits::Five | Bits::Six)
}

impl Opened {
    /// The panel with quants of eight bits.
    pub(super) fn open<'a>(
        &'a mut self,
        level: Level,
        panel: IntegerPanel<'a>,
    ) -> IntegerPanel<'a> {
        let stored = panel.layout;
        let layout = Layout {
            bits: Bits::Eight,
            ..stored
        };
        let n_bytes = layout.panel_bytes(panel.n_blocks);
        self.0.grow(n_bytes);
        let bytes = &mut self.0.bytes_mut()[..n_bytes];
        let all = panel.bytes.chunks(stored.parts(SUPER).end);
        let all = all.zip(bytes.chunks_mut(layout.parts(SUPER).end));
        for (index, (from, to)) in all.enumerate() {
            // What the quants are scaled with is the same.
            let start = layout
                .parts(SUPER.min(panel.n_blocks - index * SUPER))
                .quants;
            to[..start].copy_from_slice(&from[..start]);
            let from = from[start..].chunks_exact(stored.quant_bytes());
            for (from, to) in from.zip(to[start..].as_chunks_mut().0) {
                unpack(level, stored.bits, from, to);
            }
        }
        IntegerPanel::new(layout, panel.n_blocks, bytes)
    }
}

/// Writes the quants of one block as bytes, `[group][16][4]`.
fn unpack(level: Level, bits: Bits, stored: &[u8], quants: &mut [u8; OPENED_BLOCK]) {
    assert!(
        stored.len() == bits.n_groups() * GROUP,
        "the bytes of one block"
    );
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        // SAFETY: the level was detected, and the block is whole.
        return unsafe { avx512::unpack(bits, stored.as_ptr(), quants) };
    }
    let _ = level;
    unpack_twin(bits, stored, quants);
}

/// The same in plain Rust.
#[inline(always)]
pub(super) fn unpack_twin(bits: Bits, stored: &[u8], quants: &mut [u8; OPENED_BLOCK]) {
    if bits == Bits::Eight {
        quants.copy_from_slice(stored);
        return;
    }
    let (pairs, upper) = stored.split_at(4 * GROUP);
    let (first, second) = quants.split_at_mut(4 * GROUP);
    for group in 0..4 {
        for i in 0..GROUP {
            let at = group * GROUP + i;
            let [low, high] = match bits {
                Bits::Four | Bits::Eight => [0, 0],
                Bits::Five => [upper[i] >> group & 1, upper[i] >> (group + 4) & 1],
                Bits::Six => [
                    upper[i] >> (2 * group) & 3,
                    upper[GROUP + i] >> (2 * group) & 3,
                ],
            };
            first[at] = pairs[at] & 15 | low << 4;
            second[at] = pairs[at] >> 4 | high << 4;
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx512 {
    use std::arch::x86_64::{
        __m512i, _mm512_and_si512, _mm512_loadu_si512, _mm512_or_si512, _mm512_set1_epi8,
        _mm512_setzero_si512, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_storeu_si512,
    };

    use super::{Bits, OPENED_BLOCK};

    /// # Safety
    /// The processor has AVX-512; `stored` is valid for the block's bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub(super) unsafe fn unpack(bits: Bits, stored: *const u8, quants: &mut [u8; OPENED_BLOCK]) {
        // SAFETY: the caller's; there are eight groups of 64 bytes.
        unsafe {
            let groups = match bits {
                Bits::Four => groups::<4>(stored),
                Bits::Five => groups::<5>(stored),
                Bits::Six => groups::<6>(stored),
                Bits::Eight => groups::<8>(stored),
            };
            for (index, group) in groups.into_iter().enumerate() {
                _mm512_storeu_si512(quants.as_mut_ptr().add(index * 64).cast(), group);
            }
        }
    }

    /// The eight groups of a block, 16 lanes of 4 quants each, where quants have `BITS` bits.
    ///
    /// Bytes are shifted as halves of 16-bit numbers; the masks take away what comes in from the
    /// neighbour.
    ///
    /// # Safety
    /// As [`unpack`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub(in crate::kernel) unsafe fn groups<const BITS: u32>(stored: *const u8) -> [__m512i; 8] {
        // SAFETY: the caller's.
        let load = |index: usize| unsafe { _mm512_loadu_si512(stored.add(index * 64).cast()) };
        let mut groups = [_mm512_setzero_si512(); 8];
        if BITS == 8 {
            for (index, group) in groups.iter_mut().enumerate() {
                *group = load(index);
            }
            return groups;
        }
        let low = _mm512_set1_epi8(15);
        for index in 0..4 {
            let pairs = load(index);
            groups[index] = _mm512_and_si512(pairs, low);
            groups[index + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(pairs), low);
        }
        if BITS == 5 {
            let (upper, bit) = (load(4), _mm512_set1_epi8(16));
            for (to_left, group) in (-3..=4).rev().zip(&mut groups) {
                let shifted = shift(upper, to_left);
                *group = _mm512_or_si512(*group, _mm512_and_si512(shifted, bit));
            }
        }
        if BITS == 6 {
            let pair = _mm512_set1_epi8(0x30);
            let upper = [load(4), load(5)];
            for (index, group) in groups.iter_mut().enumerate() {
                let shifted = shift(upper[index / 4], [4, 2, 0, -2][index % 4]);
                *group = _mm512_or_si512(*group, _mm512_and_si512(shifted, pair));
            }
        }
        groups
    }

    /// To the left by `n` bits, or to the right by `-n`; constant once loops are unrolled.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    fn shift(bytes: __m512i, n: i32) -> __m512i {
        match n {
            0 => bytes,
            1 => _mm512_slli_epi16::<1>(bytes),
            2 => _mm512_slli_epi16::<2>(bytes),
            3 => _mm512_slli_epi16::<3>(bytes),
            4 => _mm512_slli_epi16::<4>(bytes),
            -1 => _mm512_srli_epi16::<1>(bytes),
            -2 => _mm512_srli_epi16::<2>(bytes),
            _ => _mm512_srli_epi16::<3>(bytes),
        }
    }
}

//! Tiles of a product in integer arithmetic: some rows of eight-bit activations times one panel of
//! quantised weights.
//!
//! Per block of 32 inputs (or half of one, where the layout has two scales) the products are summed
//! in 32-bit integers, which is exact; the sum is scaled by the activation's and the weight's scale
//! and added to an f32 chain that runs over the blocks in order.

use super::Level;
use super::dense::Tile;
use super::ggml::{BLOCK, Layout};
use super::int8_rows::Int8Rows;
use super::packed::{IntegerPanel, LANES};
use super::place::Place;

/// Operands of a tile: rows from `first_row` on, and a panel with its rows' factors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: &'a Int8Rows,
    pub(super) first_row: usize,
    pub(super) layout: Layout,
    pub(super) panel: IntegerPanel<'a>,
    pub(super) factors: &'a [f32; LANES],
    pub(super) out: Place<'a>,
}

/// Writes `M` rows times one panel.
///
/// # Panics
/// If the operands' sizes do not fit each other.
pub(super) fn tile<const M: usize>(level: Level, x: &Operands<'_>) {
    let n_blocks = x.panel.n_blocks;
    let n_numbers = n_blocks * x.layout.n_scales * LANES;
    assert!(
        x.first_row + M <= x.x.n_rows()
            && x.x.n_blocks() == n_blocks
            && x.panel.quants.len() == n_blocks * x.layout.quant_bytes()
            && x.panel.scales.len() == n_numbers
            && x.panel.offsets.len() == if x.layout.offsets { n_numbers } else { 0 },
        "operands whose sizes fit each other"
    );
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: the level was detected, and the sizes are checked above.
        Level::Avx512 => return unsafe { avx512::tile::<M>(x) },
        // SAFETY: the level was detected.
        Level::Avx2 => return unsafe { tile_avx2::<M>(x) },
        Level::Portable => {}
    }
    let _ = level;
    x.out.write(x.first_row, &twin::<M>(x));
}

#[inline(always)]
fn twin<const M: usize>(x: &Operands<'_>) -> Tile<M> {
    let Layout {
        four_bit,
        n_scales,
        offsets,
        zero_shift,
    } = x.layout;
    let mut total = [[0.0f32; LANES]; M];
    let mut quants = [0u8; LANES * BLOCK]; // [group][16][4]
    for block in 0..x.panel.n_blocks {
        let stored = &x.panel.quants[block * x.layout.quant_bytes()..][..x.layout.quant_bytes()];
        if four_bit {
            for (i, pair) in stored.iter().enumerate() {
                quants[i] = pair & 15;
                quants[i + LANES * BLOCK / 2] = pair >> 4;
            }
        } else {
            quants.copy_from_slice(stored);
        }
        for (row, total) in total.iter_mut().enumerate() {
            let at = (x.first_row + row) * x.panel.n_blocks + block;
            let activations = &x.x.quants[at * BLOCK..][..BLOCK];
            for part in 0..n_scales {
                let start = if offsets {
                    0
                } else if n_scales == 1 {
                    x.x.minus_sums[at] << zero_shift
                } else {
                    x.x.minus_half_sums[2 * at + part] << zero_shift
                };
                let mut sum = [start; LANES];
                let n_groups = BLOCK / 4 / n_scales;
                for group in part * n_groups..(part + 1) * n_groups {
                    let weights = &quants[group * LANES * 4..][..LANES * 4];
                    for (sum, weights) in sum.iter_mut().zip(weights.as_chunks::<4>().0) {
                        for (weight, activation) in weights.iter().zip(&activations[group * 4..]) {
                            *sum += i32::from(*weight) * i32::from(*activation);
                        }
                    }
                }
                let numbers = (block * n_scales + part) * LANES;
                let scales = &x.panel.scales[numbers..numbers + LANES];
                for ((total, sum), scale) in total.iter_mut().zip(&sum).zip(scales) {
                    *total = (*sum as f32 * x.x.scales[at]).mul_add(scale.to_f32(), *total);
                }
                if offsets {
                    let row_sum = if n_scales == 1 {
                        x.x.sums[at]
                    } else {
                        x.x.half_sums[2 * at + part]
                    };
                    let offsets = &x.panel.offsets[numbers..numbers + LANES];
                    for (total, offset) in total.iter_mut().zip(offsets) {
                        *total = row_sum.mul_add(offset.to_f32(), *total);
                    }
                }
            }
        }
    }
    for total in &mut total {
        for (total, factor) in total.iter_mut().zip(x.factors) {
            *total *= factor;
        }
    }
    total
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn tile_avx2<const M: usize>(x: &Operands<'_>) {
    x.out.write(x.first_row, &twin::<M>(x));
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512i, _mm_cvtsi32_si128, _mm256_loadu_si256, _mm512_and_si512,
        _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
        _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_mul_ps, _mm512_set1_epi8,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
        _mm512_sll_epi32, _mm512_srli_epi16,
    };

    use half::f16;

    use super::{BLOCK, LANES, Operands};

    /// Chooses the kernel of the layout, so that nothing is decided inside the loop.
    ///
    /// # Safety
    /// The processor has AVX-512 with VNNI, and the operands' sizes fit each other.
    pub(super) unsafe fn tile<const M: usize>(x: &Operands<'_>) {
        // SAFETY: the caller's.
        unsafe {
            match (x.layout.four_bit, x.layout.n_scales, x.layout.offsets) {
                (true, 1, false) => kernel::<M, true, 1, false>(x),
                (true, 1, true) => kernel::<M, true, 1, true>(x),
                (true, _, false) => kernel::<M, true, 2, false>(x),
                (true, _, true) => kernel::<M, true, 2, true>(x),
                (false, 1, false) => kernel::<M, false, 1, false>(x),
                (false, 1, true) => kernel::<M, false, 1, true>(x),
                (false, _, false) => kernel::<M, false, 2, false>(x),
                (false, _, true) => kernel::<M, false, 2, true>(x),
            }
        }
    }

    /// Sixteen f16 numbers as f32.
    ///
    /// # Safety
    /// As [`tile`]; `from` is valid for sixteen numbers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn numbers(from: *const f16) -> __m512 {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    /// The eight groups of a block, 16 lanes of 4 quants each.
    ///
    /// # Safety
    /// As [`tile`]; `from` is valid for the block's bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn groups<const FOUR_BIT: bool>(from: *const u8) -> [__m512i; 8] {
        let mut groups = [_mm512_setzero_si512(); 8];
        // SAFETY: the caller's.
        unsafe {
            if FOUR_BIT {
                let low = _mm512_set1_epi8(15);
                for group in 0..4 {
                    let pairs = _mm512_loadu_si512(from.add(group * 64).cast());
                    groups[group] = _mm512_and_si512(pairs, low);
                    groups[group + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(pairs), low);
                }
            } else {
                for (index, group) in groups.iter_mut().enumerate() {
                    *group = _mm512_loadu_si512(from.add(index * 64).cast());
                }
            }
        }
        groups
    }

    /// # Safety
    /// As [`tile`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn kernel<
        const M: usize,
        const FOUR_BIT: bool,
        const N_SCALES: usize,
        const OFFSETS: bool,
    >(
        x: &Operands<'_>,
    ) {
        let n_blocks = x.panel.n_blocks;
        let shift = _mm_cvtsi32_si128(x.layout.zero_shift.cast_signed());
        let first = x.first_row * n_blocks;
        // SAFETY: the panel's columns are the task's, which writes one row at a time. Every index is
        // `row · n_blocks + block` with `row < M` rows that are there, or
        // lies in the panel's own `n_blocks` blocks; `super::tile` checks both.
        unsafe {
            let activations = x.x.quants.as_ptr().add(first * BLOCK);
            let scales = x.x.scales.as_ptr().add(first);
            let minus_sums = x.x.minus_sums.as_ptr().add(first);
            let minus_half_sums = x.x.minus_half_sums.as_ptr().add(2 * first);
            let sums = x.x.sums.as_ptr().add(first);
            let half_sums = x.x.half_sums.as_ptr().add(2 * first);
            let mut total = [_mm512_setzero_ps(); M];
            for block in 0..n_blocks {
                let quants = x.panel.quants.as_ptr().add(block * x.layout.quant_bytes());
                let groups = groups::<FOUR_BIT>(quants);
                for part in 0..N_SCALES {
                    let at = (block * N_SCALES + part) * LANES;
                    let weight_scales = numbers(x.panel.scales.as_ptr().add(at));
                    let weight_offsets = if OFFSETS {
                        numbers(x.panel.offsets.as_ptr().add(at))
                    } else {
                        _mm512_setzero_ps()
                    };
                    for (row, total) in total.iter_mut().enumerate() {
                        let at = row * n_blocks + block;
                        let mut sum = if OFFSETS {
                            _mm512_setzero_si512()
                        } else {
                            let minus_sum = if N_SCALES == 1 {
                                *minus_sums.add(at)
                            } else {
                                *minus_half_sums.add(2 * at + part)
                            };
                            _mm512_sll_epi32(_mm512_set1_epi32(minus_sum), shift)
                        };
                        let n_groups = 8 / N_SCALES;
                        for group in 0..n_groups {
                            let group = part * n_groups + group;
                            let four = activations
                                .add(at * BLOCK + group * 4)
                                .cast::<i32>()
                                .read_unaligned();
                            sum = _mm512_dpbusd_epi32(sum, groups[group], _mm512_set1_epi32(four));
                        }
                        let scaled =
                            _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(*scales.add(at)));
                        *total = _mm512_fmadd_ps(scaled, weight_scales, *total);
                        if OFFSETS {
                            let row_sum = if N_SCALES == 1 {
                                *sums.add(at)
                            } else {
                                *half_sums.add(2 * at + part)
                            };
                            *total =
                                _mm512_fmadd_ps(_mm512_set1_ps(row_sum), weight_offsets, *total);
                        }
                    }
                }
            }
            let factors = _mm512_loadu_ps(x.factors.as_ptr());
            for (row, total) in total.into_iter().enumerate() {
                let out = x.out.row(x.first_row + row);
                let lanes = u16::MAX >> (LANES - out.len());
                _mm512_mask_storeu_ps(out.as_mut_ptr(), lanes, _mm512_mul_ps(total, factors));
            }
        }
    }
}

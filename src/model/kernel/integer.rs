//! Tiles of a product in integer arithmetic: some rows of eight-bit activations times one panel of
//! quantised weights.
//!
//! Per block of 32 inputs (or half of one, where the layout has two scales) the products are summed
//! in 32-bit integers, which is exact; the sum is scaled by the activation's and the weight's scale
//! and added to an f32 chain that runs over the blocks in order.

use super::Level;
use super::dense::Tile;
use super::ggml::{BLOCK, Layout};
use super::int8_rows::{Int8Rows, LOW};
use super::integer_panel::IntegerPanel;
use super::opened::{OPENED_BLOCK, unpack_twin};
use super::packed::LANES;
use super::place::Place;

/// A panel of weights, and where its products go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panel<'a> {
    pub(super) weights: IntegerPanel<'a>,
    pub(super) out: Place<'a>,
}

/// Writes the products of `M` rows from `first` on with one panel.
///
/// # Panics
/// If the operands' sizes do not fit each other.
pub(super) fn tile<const M: usize>(level: Level, x: &Int8Rows, first: usize, panel: &Panel<'_>) {
    assert!(
        first + M <= x.n_rows()
            && x.n_blocks() == panel.weights.n_blocks
            && panel.weights.is_whole(),
        "operands whose sizes fit each other"
    );
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: the level was detected, and the sizes are checked above.
        Level::Avx512 => return unsafe { avx512::tile::<M>(x, first, panel) },
        // SAFETY: the level was detected.
        Level::Avx2 => return unsafe { tile_avx2::<M>(x, first, panel) },
        Level::Portable => {}
    }
    let _ = level;
    panel.out.write(first, &twin::<M>(x, first, &panel.weights));
}

/// The part's quants `[group][16][4]` times activations, on top of `start`.
#[inline(always)]
fn dot(layout: Layout, quants: &[u8], activations: &[i8], part: usize, start: i32) -> [i32; LANES] {
    let mut sum = [start; LANES];
    let n_groups = BLOCK / 4 / layout.n_scales;
    for group in part * n_groups..(part + 1) * n_groups {
        let weights = &quants[group * LANES * 4..][..LANES * 4];
        for (sum, weights) in sum.iter_mut().zip(weights.as_chunks::<4>().0) {
            for (weight, activation) in weights.iter().zip(&activations[group * 4..]) {
                *sum += i32::from(*weight) * i32::from(*activation);
            }
        }
    }
    sum
}

/// The part of a fine block's low quants, `at` being its row's block.
#[inline(always)]
fn low_sums(layout: Layout, x: &Int8Rows, quants: &[u8], at: usize, part: usize) -> [i32; LANES] {
    let minus = &x.minus_low_sums[2 * at..2 * at + 2];
    let start = match (layout.offsets, layout.n_scales) {
        (true, _) => 0,
        (false, 1) => (minus[0] + minus[1]) << layout.zero_shift,
        (false, _) => minus[part] << layout.zero_shift,
    };
    dot(layout, quants, &x.low[at * BLOCK..][..BLOCK], part, start)
}

#[inline(always)]
fn twin<const M: usize>(x: &Int8Rows, first: usize, weights: &IntegerPanel<'_>) -> Tile<M> {
    let layout = weights.layout;
    let Layout {
        bits,
        n_scales,
        offsets,
        zero_shift,
        ..
    } = layout;
    let mut total = [[0.0f32; LANES]; M];
    let mut low_total = [[0.0f32; LANES]; M];
    let mut quants = [0u8; OPENED_BLOCK]; // [group][16][4]
    let blocks = weights
        .super_blocks()
        .flat_map(|blocks| blocks.quants().enumerate().map(move |one| (blocks, one)));
    for (block, (numbers, (index, stored))) in blocks.enumerate() {
        unpack_twin(bits, stored, &mut quants);
        for part in 0..n_scales {
            let scales = numbers.scales(index, part);
            let weight_offsets = if offsets {
                numbers.offsets(index, part)
            } else {
                [0.0; LANES]
            };
            for (row, (total, low_total)) in total.iter_mut().zip(&mut low_total).enumerate() {
                let at = (first + row) * weights.n_blocks + block;
                let activations = &x.quants[at * BLOCK..][..BLOCK];
                let start = if offsets {
                    0
                } else if n_scales == 1 {
                    x.minus_sums[at] << zero_shift
                } else {
                    x.minus_half_sums[2 * at + part] << zero_shift
                };
                let sum = dot(layout, &quants, activations, part, start);
                for ((total, sum), scale) in total.iter_mut().zip(&sum).zip(&scales) {
                    *total = (*sum as f32 * x.scales[at]).mul_add(*scale, *total);
                }
                if offsets {
                    let row_sum = if n_scales == 1 {
                        x.sums[at]
                    } else {
                        x.half_sums[2 * at + part]
                    };
                    for (total, offset) in total.iter_mut().zip(&weight_offsets) {
                        *total = row_sum.mul_add(*offset, *total);
                    }
                }
                if x.fine[at] {
                    let low = low_sums(layout, x, &quants, at, part);
                    let low_scale = x.scales[at] * LOW;
                    for ((total, sum), scale) in low_total.iter_mut().zip(&low).zip(&scales) {
                        *total = (*sum as f32 * low_scale).mul_add(*scale, *total);
                    }
                }
            }
        }
    }
    for (total, low_total) in total.iter_mut().zip(&low_total) {
        for (total, low) in total.iter_mut().zip(low_total) {
            *total += low;
        }
    }
    total
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn tile_avx2<const M: usize>(x: &Int8Rows, first: usize, panel: &Panel<'_>) {
    panel.out.write(first, &twin::<M>(x, first, &panel.weights));
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, __m512i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_loadu_si256, _mm512_add_ps,
        _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtph_ps, _mm512_dpbusd_epi32,
        _mm512_fmadd_ps, _mm512_mask_storeu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_setzero_ps, _mm512_setzero_si512, _mm512_sll_epi32,
    };

    use half::f16;

    use super::{BLOCK, Int8Rows, LANES, LOW, Panel};
    use crate::kernel::ggml::Bits;
    use crate::kernel::integer_panel::SUPER;
    use crate::kernel::opened::avx512::groups;

    /// Chooses the kernel of the layout, so that nothing is decided inside the loop.
    ///
    /// # Safety
    /// The processor has AVX-512 with VNNI, and the operands' sizes fit each other.
    pub(super) unsafe fn tile<const M: usize>(x: &Int8Rows, first: usize, panel: &Panel<'_>) {
        // SAFETY: the caller's.
        unsafe {
            match panel.weights.layout.bits {
                Bits::Four => numbers_known::<M, 4>(x, first, panel),
                Bits::Five => numbers_known::<M, 5>(x, first, panel),
                Bits::Six => numbers_known::<M, 6>(x, first, panel),
                Bits::Eight => numbers_known::<M, 8>(x, first, panel),
            }
        }
    }

    /// # Safety
    /// As [`tile`].
    unsafe fn numbers_known<const M: usize, const BITS: u32>(
        x: &Int8Rows,
        first: usize,
        panel: &Panel<'_>,
    ) {
        let layout = panel.weights.layout;
        // SAFETY: the caller's.
        unsafe {
            match (layout.two_level, layout.n_scales, layout.offsets) {
                (false, _, false) => kernel::<M, BITS, 1, false, false>(x, first, panel),
                (false, _, true) => kernel::<M, BITS, 1, true, false>(x, first, panel),
                (true, 1, false) => kernel::<M, BITS, 1, false, true>(x, first, panel),
                (true, 1, true) => kernel::<M, BITS, 1, true, true>(x, first, panel),
                (true, _, false) => kernel::<M, BITS, 2, false, true>(x, first, panel),
                (true, _, true) => kernel::<M, BITS, 2, true, true>(x, first, panel),
            }
        }
    }

    /// Sixteen f16 numbers as f32.
    ///
    /// # Safety
    /// As [`tile`]; `from` is valid for sixteen numbers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn halves(from: *const f16) -> __m512 {
        // SAFETY: the caller's.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }

    /// Sixteen small integers times as many factors.
    ///
    /// # Safety
    /// As [`tile`]; `from` is valid for sixteen numbers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn products(factors: __m512, from: *const i8) -> __m512 {
        // SAFETY: the caller's.
        let own = unsafe { _mm_loadu_si128(from.cast()) };
        _mm512_mul_ps(factors, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(own)))
    }

    /// Groups of weights times as many groups of four activations, on top of `sum`.
    ///
    /// # Safety
    /// As [`tile`]; `activations` is valid for the groups.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn dot(mut sum: __m512i, groups: &[__m512i], activations: *const i8) -> __m512i {
        for (index, group) in groups.iter().enumerate() {
            // SAFETY: the caller's.
            let four = unsafe { activations.add(4 * index).cast::<i32>().read_unaligned() };
            sum = _mm512_dpbusd_epi32(sum, *group, _mm512_set1_epi32(four));
        }
        sum
    }

    /// # Safety
    /// As [`tile`].
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    unsafe fn kernel<
        const M: usize,
        const BITS: u32,
        const N_SCALES: usize,
        const OFFSETS: bool,
        const TWO_LEVEL: bool,
    >(
        x: &Int8Rows,
        first_row: usize,
        panel: &Panel<'_>,
    ) {
        let weights = &panel.weights;
        let (layout, n_blocks) = (weights.layout, weights.n_blocks);
        let n_groups = 8 / N_SCALES;
        let shift = _mm_cvtsi32_si128(layout.zero_shift.cast_signed());
        let first = first_row * n_blocks;
        // SAFETY: the panel's columns are the task's, which writes one row at a time. Every index is
        // `row · n_blocks + block` with `row < M` rows that are there, or lies in the panel's own
        // `n_blocks` blocks; `super::tile` checks both.
        unsafe {
            let activations = x.quants.as_ptr().add(first * BLOCK);
            let scales = x.scales.as_ptr().add(first);
            let fine = x.fine.as_ptr().add(first);
            let low = x.low.as_ptr().add(first * BLOCK);
            let minus_low_sums = x.minus_low_sums.as_ptr().add(2 * first);
            let minus_sums = x.minus_sums.as_ptr().add(first);
            let minus_half_sums = x.minus_half_sums.as_ptr().add(2 * first);
            let sums = x.sums.as_ptr().add(first);
            let half_sums = x.half_sums.as_ptr().add(2 * first);
            let mut total = [_mm512_setzero_ps(); M];
            let mut low_total = [_mm512_setzero_ps(); M];
            let mut factors = [_mm512_setzero_ps(); 2];
            let mut header = weights.bytes.as_ptr();
            for first_block in (0..n_blocks).step_by(SUPER) {
                let n = SUPER.min(n_blocks - first_block);
                let parts = layout.parts(n);
                for index in 0..n {
                    let block = first_block + index;
                    let quants = header.add(parts.quants + index * BITS as usize * 64);
                    let groups = groups::<BITS>(quants);
                    if !TWO_LEVEL || index == 0 {
                        let at = if TWO_LEVEL { 0 } else { index } * LANES * size_of::<f16>();
                        factors[0] = halves(header.add(at).cast());
                        if OFFSETS {
                            factors[1] = halves(header.add(parts.offset_factors + at).cast());
                        }
                    }
                    for part in 0..N_SCALES {
                        let [mut weight_scales, mut weight_offsets] = factors;
                        if TWO_LEVEL {
                            let at = (index * N_SCALES + part) * LANES;
                            let own = header.add(parts.scales + at).cast();
                            weight_scales = products(factors[0], own);
                            if OFFSETS {
                                let own = header.add(parts.offsets + at).cast();
                                weight_offsets = products(factors[1], own);
                            }
                        }
                        let part_groups = &groups[part * n_groups..(part + 1) * n_groups];
                        for (row, total) in total.iter_mut().enumerate() {
                            let at = row * n_blocks + block;
                            let start = if OFFSETS {
                                _mm512_setzero_si512()
                            } else {
                                let minus_sum = if N_SCALES == 1 {
                                    *minus_sums.add(at)
                                } else {
                                    *minus_half_sums.add(2 * at + part)
                                };
                                _mm512_sll_epi32(_mm512_set1_epi32(minus_sum), shift)
                            };
                            let part_activations =
                                activations.add(at * BLOCK + part * n_groups * 4);
                            let sum = dot(start, part_groups, part_activations);
                            let scaled = _mm512_mul_ps(
                                _mm512_cvtepi32_ps(sum),
                                _mm512_set1_ps(*scales.add(at)),
                            );
                            *total = _mm512_fmadd_ps(scaled, weight_scales, *total);
                            if OFFSETS {
                                let row_sum = if N_SCALES == 1 {
                                    *sums.add(at)
                                } else {
                                    *half_sums.add(2 * at + part)
                                };
                                *total = _mm512_fmadd_ps(
                                    _mm512_set1_ps(row_sum),
                                    weight_offsets,
                                    *total,
                                );
                            }
                        }
                        for (row, low_total) in low_total.iter_mut().enumerate() {
                            let at = row * n_blocks + block;
                            if *fine.add(at) {
                                let start = if OFFSETS {
                                    0
                                } else if N_SCALES == 1 {
                                    *minus_low_sums.add(2 * at) + *minus_low_sums.add(2 * at + 1)
                                } else {
                                    *minus_low_sums.add(2 * at + part)
                                };
                                let start = _mm512_sll_epi32(_mm512_set1_epi32(start), shift);
                                let part_low = low.add(at * BLOCK + part * n_groups * 4);
                                let sum = _mm512_cvtepi32_ps(dot(start, part_groups, part_low));
                                let scaled =
                                    _mm512_mul_ps(sum, _mm512_set1_ps(*scales.add(at) * LOW));
                                *low_total = _mm512_fmadd_ps(scaled, weight_scales, *low_total);
                            }
                        }
                    }
                }
                header = header.add(parts.end);
            }
            for (row, (total, low_total)) in total.into_iter().zip(low_total).enumerate() {
                let out = panel.out.row(first_row + row);
                let lanes = u16::MAX >> (LANES - out.len());
                let sum = _mm512_add_ps(total, low_total);
                _mm512_mask_storeu_ps(out.as_mut_ptr(), lanes, sum);
            }
        }
    }
}

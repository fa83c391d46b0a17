//! Inputs of a product with quantised weights: eight-bit integers with a scale per 32.

use super::Level;
use super::exp::ROUNDING;
use super::ggml::BLOCK;
use super::pool::Pool;
use super::shared::Shared;

/// Rows per task.
const ROWS_PER_TASK: usize = 16;

/// A block whose largest value is above this many times the row's (their root mean square) has its
/// quants' remainders kept as well.
const FINE: f32 = 1.25;

/// A remainder's scale, of the block's: remainders are up to half a quant, quants up to 127.
pub(super) const LOW: f32 = 1.0 / 254.0;

/// Rows of activations as `scale · quant`, `[n_rows, width]`; made anew for every product.
///
/// Each block is scaled by its own largest value, so that a channel of large values costs its 31
/// neighbours their precision and nobody else (as in GGML's `Q8_0`). The neighbours get it back:
/// in the blocks whose largest value stands out in their row, a second quant holds what the first
/// leaves, `scale · (quant + LOW · low)`. `tests/bench/precision.py` measures what is left.
#[derive(Debug, Default)]
pub(crate) struct Int8Rows {
    n_rows: usize,
    n_blocks: usize,
    /// `[row][block][32]`, between −127 and 127.
    pub(super) quants: Vec<i8>,
    /// `[row][block]`.
    pub(super) scales: Vec<f32>,
    /// Whether a block has low quants, `[row][block]`.
    pub(super) fine: Vec<bool>,
    /// As `quants`; only there where the block is fine.
    pub(super) low: Vec<i8>,
    /// Minus the sum of the low quants of each half, `[row][block][2]`; likewise.
    pub(super) minus_low_sums: Vec<i32>,
    /// Minus the sum of the quants, `[row][block]` and `[row][block][2]`.
    pub(super) minus_sums: Vec<i32>,
    pub(super) minus_half_sums: Vec<i32>,
    /// Scale times sum, likewise.
    pub(super) sums: Vec<f32>,
    pub(super) half_sums: Vec<f32>,
}

impl Int8Rows {
    /// Rounds `x`, `[row, width]`; `width` is a multiple of 32. Reuses its buffers.
    ///
    /// A block with a value that is not finite gets a scale that is not either, so that the product
    /// cannot hide it.
    pub(crate) fn fill(&mut self, pool: &Pool, level: Level, x: &[f32], width: usize) {
        self.n_rows = x.len() / width;
        self.n_blocks = width / BLOCK;
        let n = self.n_rows * self.n_blocks;
        grow(&mut self.quants, n * BLOCK);
        grow(&mut self.scales, n);
        grow(&mut self.fine, n);
        grow(&mut self.low, n * BLOCK);
        grow(&mut self.minus_low_sums, 2 * n);
        grow(&mut self.minus_sums, n);
        grow(&mut self.minus_half_sums, 2 * n);
        grow(&mut self.sums, n);
        grow(&mut self.half_sums, 2 * n);
        let quants = Shared::new(&mut self.quants);
        let scales = Shared::new(&mut self.scales);
        let fine = Shared::new(&mut self.fine);
        let low = Shared::new(&mut self.low);
        let minus_low_sums = Shared::new(&mut self.minus_low_sums);
        let minus_sums = Shared::new(&mut self.minus_sums);
        let minus_half_sums = Shared::new(&mut self.minus_half_sums);
        let sums = Shared::new(&mut self.sums);
        let half_sums = Shared::new(&mut self.half_sums);
        let (n_rows, n_blocks) = (self.n_rows, self.n_blocks);
        pool.run(n_rows.div_ceil(ROWS_PER_TASK), &|task| {
            let rows = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(n_rows);
            let (start, len) = (rows.start * n_blocks, rows.len() * n_blocks);
            // SAFETY: each task has its own rows.
            let mut out = unsafe {
                Blocks {
                    quants: quants.part(start * BLOCK, len * BLOCK),
                    scales: scales.part(start, len),
                    fine: fine.part(start, len),
                    low: low.part(start * BLOCK, len * BLOCK),
                    minus_low_sums: minus_low_sums.part(2 * start, 2 * len),
                    minus_sums: minus_sums.part(start, len),
                    minus_half_sums: minus_half_sums.part(2 * start, 2 * len),
                    sums: sums.part(start, len),
                    half_sums: half_sums.part(2 * start, 2 * len),
                }
            };
            round(
                level,
                &x[start * BLOCK..(start + len) * BLOCK],
                n_blocks,
                &mut out,
            );
        });
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(super) fn n_blocks(&self) -> usize {
        self.n_blocks
    }

    /// Value `at` of all rows, as products read it.
    #[cfg(test)]
    pub(super) fn value(&self, at: usize) -> f64 {
        let block = at / BLOCK;
        let low = if self.fine[block] { self.low[at] } else { 0 };
        let quant = f64::from(self.quants[at]) + f64::from(LOW) * f64::from(low);
        quant * f64::from(self.scales[block])
    }
}

/// Makes a buffer long enough. It never shrinks: growing again would write zeros each time.
fn grow<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
}

/// The arrays of [`Int8Rows`] for some rows.
struct Blocks<'a> {
    quants: &'a mut [i8],
    scales: &'a mut [f32],
    fine: &'a mut [bool],
    low: &'a mut [i8],
    minus_low_sums: &'a mut [i32],
    minus_sums: &'a mut [i32],
    minus_half_sums: &'a mut [i32],
    sums: &'a mut [f32],
    half_sums: &'a mut [f32],
}

/// Rounds whole rows.
fn round(level: Level, x: &[f32], n_blocks: usize, out: &mut Blocks<'_>) {
    let blocks = x.as_chunks::<BLOCK>().0;
    let quants = out.quants.as_chunks_mut::<BLOCK>().0;
    let low = out.low.as_chunks_mut::<BLOCK>().0;
    for first in (0..blocks.len()).step_by(n_blocks) {
        let row = first..first + n_blocks;
        let mut total = 0.0f32;
        for index in row.clone() {
            let size = largest(level, &blocks[index]);
            total += size * size;
            out.scales[index] = size;
        }
        let limit = FINE * FINE * total / n_blocks as f32;
        for index in row {
            let size = out.scales[index];
            // Not where a value is not finite: nothing is above what is not finite.
            let fine = size * size > limit;
            // The bound keeps the inverse finite; what is smaller counts as 0.
            let inverse = if size > 1e-30 { 127.0 / size } else { 0.0 };
            let scale = size / 127.0;
            let low = fine.then_some(&mut low[index]);
            let rounded = block(level, &blocks[index], inverse, &mut quants[index], low);
            out.scales[index] = scale;
            out.fine[index] = fine;
            let Rounded { sums, low_sums } = rounded;
            let exact = |half: usize| sums[half] as f32 + LOW * low_sums[half] as f32;
            out.minus_sums[index] = -(sums[0] + sums[1]);
            out.sums[index] = scale * (exact(0) + exact(1));
            for half in 0..2 {
                out.minus_half_sums[2 * index + half] = -sums[half];
                out.minus_low_sums[2 * index + half] = -low_sums[half];
                out.half_sums[2 * index + half] = scale * exact(half);
            }
        }
    }
}

/// Sums of the quants of each half.
#[derive(Debug, Clone, Copy, Default)]
struct Rounded {
    sums: [i32; 2],
    /// 0 where the block is not fine.
    low_sums: [i32; 2],
}

/// The largest magnitude of a block; not finite if one of its values is not.
#[inline(always)]
fn largest(level: Level, x: &[f32; BLOCK]) -> f32 {
    match level {
        // SAFETY: the level was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::largest(x) },
        // Bits of magnitudes are in the order of the magnitudes, with NaN above infinity.
        _ => f32::from_bits(
            x.iter()
                .fold(0, |largest, x| x.abs().to_bits().max(largest)),
        ),
    }
}

#[inline(always)]
fn block(
    level: Level,
    x: &[f32; BLOCK],
    inverse: f32,
    quants: &mut [i8; BLOCK],
    low: Option<&mut [i8; BLOCK]>,
) -> Rounded {
    match level {
        // SAFETY: the level was detected.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::block(x, inverse, quants, low) },
        _ => block_twin(x, inverse, quants, low),
    }
}

fn block_twin(
    x: &[f32; BLOCK],
    inverse: f32,
    quants: &mut [i8; BLOCK],
    mut low: Option<&mut [i8; BLOCK]>,
) -> Rounded {
    // The lowest byte of the sum's bits is the number in two's complement.
    let nearest = |shifted: f32| shifted.to_bits().to_le_bytes()[0].cast_signed();
    let mut rounded = Rounded::default();
    for i in 0..BLOCK {
        // At most 127 in size: the inverse's own rounding is far below a half.
        let relative = x[i] * inverse;
        let shifted = relative + ROUNDING;
        quants[i] = nearest(shifted);
        rounded.sums[i / 16] += i32::from(quants[i]);
        if let Some(low) = &mut low {
            let rest = relative - (shifted - ROUNDING);
            low[i] = nearest(rest * 254.0 + ROUNDING);
            rounded.low_sums[i / 16] += i32::from(low[i]);
        }
    }
    rounded
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::{
        __m512, _mm_add_epi64, _mm_cvtsi128_si64, _mm_sad_epu8, _mm_set1_epi8, _mm_setzero_si128,
        _mm_storeu_si128, _mm_unpackhi_epi64, _mm_xor_si128, _mm512_add_ps, _mm512_and_si512,
        _mm512_castps_si512, _mm512_cvtepi32_epi8, _mm512_loadu_ps, _mm512_max_epu32,
        _mm512_mul_ps, _mm512_reduce_max_epu32, _mm512_set1_epi32, _mm512_set1_ps, _mm512_sub_ps,
    };

    use super::{BLOCK, ROUNDING, Rounded};

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn halves(x: &[f32; BLOCK]) -> [__m512; 2] {
        let (first, second) = x.split_at(16);
        // SAFETY: two times sixteen values.
        unsafe {
            [
                _mm512_loadu_ps(first.as_ptr()),
                _mm512_loadu_ps(second.as_ptr()),
            ]
        }
    }

    /// # Safety
    /// The processor has AVX-512 with BW, DQ, VL and VNNI.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    pub(super) fn largest(x: &[f32; BLOCK]) -> f32 {
        let magnitude = _mm512_set1_epi32(i32::MAX);
        let [first, second] =
            halves(x).map(|half| _mm512_and_si512(_mm512_castps_si512(half), magnitude));
        f32::from_bits(_mm512_reduce_max_epu32(_mm512_max_epu32(first, second)))
    }

    /// # Safety
    /// As [`largest`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    pub(super) fn block(
        x: &[f32; BLOCK],
        inverse: f32,
        quants: &mut [i8; BLOCK],
        mut low: Option<&mut [i8; BLOCK]>,
    ) -> Rounded {
        let (inverse, rounding) = (_mm512_set1_ps(inverse), _mm512_set1_ps(ROUNDING));
        let mut rounded = Rounded::default();
        for (half, x) in halves(x).into_iter().enumerate() {
            let place = 16 * half..16 * half + 16;
            let relative = _mm512_mul_ps(x, inverse);
            let shifted = _mm512_add_ps(relative, rounding);
            rounded.sums[half] = store(shifted, &mut quants[place.clone()]);
            if let Some(low) = &mut low {
                let rest = _mm512_sub_ps(relative, _mm512_sub_ps(shifted, rounding));
                let shifted = _mm512_add_ps(_mm512_mul_ps(rest, _mm512_set1_ps(254.0)), rounding);
                rounded.low_sums[half] = store(shifted, &mut low[place]);
            }
        }
        rounded
    }

    /// Stores the lowest bytes of sixteen sums with [`ROUNDING`]; gives their sum.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
    fn store(shifted: __m512, out: &mut [i8]) -> i32 {
        let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(shifted));
        assert!(out.len() == 16, "sixteen quants");
        // SAFETY: checked just above.
        unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), bytes) };
        // Sums of unsigned bytes, each 128 too large.
        let unsigned = _mm_xor_si128(bytes, _mm_set1_epi8(i8::MIN));
        let sums = _mm_sad_epu8(unsigned, _mm_setzero_si128());
        let sum = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
        _mm_cvtsi128_si64(sum) as i32 - 16 * 128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_to_the_nearest_and_says_what_it_cannot() {
        let mut x: Vec<f32> = (0..40 * 96)
            .map(|i| ((i * 53 % 211) as f32 - 100.0) / 7.0)
            .collect();
        x[96 * 3..96 * 3 + 32].fill(0.0);
        x[96 * 4 + 70] = 900.0;
        x[96 * 5 + 40] = f32::NAN;
        x[96 * 6 + 70] = f32::INFINITY;
        let mut reference: Option<Int8Rows> = None;
        for level in Level::all() {
            let mut rows = Int8Rows::default();
            rows.fill(&Pool::new(2), level, &x, 96);
            assert_eq!((rows.n_rows(), rows.n_blocks()), (40, 3));
            for (index, block) in x.chunks_exact(32).enumerate() {
                let scale = rows.scales[index];
                if block.iter().any(|x| !x.is_finite()) {
                    assert!(!scale.is_finite());
                    continue;
                }
                let fine = rows.fine[index];
                let (mut sums, mut low_sums) = ([0; 2], [0; 2]);
                for (i, x) in block.iter().enumerate() {
                    let quant = rows.quants[index * 32 + i];
                    let low = if fine { rows.low[index * 32 + i] } else { 0 };
                    let found = rows.value(index * 32 + i) as f32;
                    let unit = if fine { LOW * scale } else { scale };
                    assert!((found - x).abs() <= unit * 0.501 + x.abs() * 1e-6);
                    sums[i / 16] += i32::from(quant);
                    low_sums[i / 16] += i32::from(low);
                }
                let halves = 2 * index..2 * index + 2;
                assert_eq!(rows.minus_sums[index], -sums[0] - sums[1]);
                assert_eq!(rows.minus_half_sums[halves.clone()], sums.map(|sum| -sum));
                assert_eq!(rows.minus_low_sums[halves], low_sums.map(|sum| -sum));
                let sum: f32 = block.iter().sum();
                assert!((rows.sums[index] - sum).abs() <= 32.0 * scale);
            }
            // The one block that stands out in its row.
            assert_eq!(rows.fine[12..15], [false, false, true]);
            if let Some(reference) = &reference {
                assert_eq!(rows.quants, reference.quants);
                assert_eq!(rows.low, reference.low);
                assert_eq!(rows.fine, reference.fine);
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&rows.scales[..15]), bits(&reference.scales[..15]));
                assert_eq!(bits(&rows.sums[..15]), bits(&reference.sums[..15]));
                assert_eq!(
                    bits(&rows.half_sums[..30]),
                    bits(&reference.half_sums[..30])
                );
            }
            reference = Some(rows);
        }
    }
}

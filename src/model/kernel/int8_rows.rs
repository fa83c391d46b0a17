//! Inputs of a product with quantised weights: eight-bit integers with a scale per 32.

use super::Level;
use super::exp::ROUNDING;
use super::ggml::BLOCK;
use super::pool::Pool;
use super::shared::Shared;

/// Rows per task.
const ROWS_PER_TASK: usize = 16;

/// Rows of activations as `scale · quant`, `[n_rows, width]`; made anew for every product.
///
/// Each block is scaled by its own largest value, so that a channel of large values costs its 31
/// neighbours their precision and nobody else (as in GGML's `Q8_0`).
#[derive(Debug, Default)]
pub(crate) struct Int8Rows {
    n_rows: usize,
    n_blocks: usize,
    /// `[row][block][32]`, between −127 and 127.
    pub(super) quants: Vec<i8>,
    /// `[row][block]`.
    pub(super) scales: Vec<f32>,
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
        grow(&mut self.minus_sums, n);
        grow(&mut self.minus_half_sums, 2 * n);
        grow(&mut self.sums, n);
        grow(&mut self.half_sums, 2 * n);
        let quants = Shared::new(&mut self.quants);
        let scales = Shared::new(&mut self.scales);
        let minus_sums = Shared::new(&mut self.minus_sums);
        let minus_half_sums = Shared::new(&mut self.minus_half_sums);
        let sums = Shared::new(&mut self.sums);
        let half_sums = Shared::new(&mut self.half_sums);
        let (n_rows, n_blocks) = (self.n_rows, self.n_blocks);
        pool.run(n_rows.div_ceil(ROWS_PER_TASK), &|task| {
            let rows = task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(n_rows);
            let (start, len) = (rows.start * n_blocks, rows.len() * n_blocks);
            // SAFETY: each task has its own rows.
            let out = unsafe {
                Blocks {
                    quants: quants.part(start * BLOCK, len * BLOCK),
                    scales: scales.part(start, len),
                    minus_sums: minus_sums.part(start, len),
                    minus_half_sums: minus_half_sums.part(2 * start, 2 * len),
                    sums: sums.part(start, len),
                    half_sums: half_sums.part(2 * start, 2 * len),
                }
            };
            round(level, &x[start * BLOCK..(start + len) * BLOCK], out);
        });
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(super) fn n_blocks(&self) -> usize {
        self.n_blocks
    }
}

/// Makes a buffer long enough. It never shrinks: growing again would write zeros each time.
fn grow<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, T::default());
    }
}

/// The arrays of [`Int8Rows`] for some blocks.
struct Blocks<'a> {
    quants: &'a mut [i8],
    scales: &'a mut [f32],
    minus_sums: &'a mut [i32],
    minus_half_sums: &'a mut [i32],
    sums: &'a mut [f32],
    half_sums: &'a mut [f32],
}

impl Blocks<'_> {
    fn set(&mut self, index: usize, scale: f32, half_sum: [i32; 2]) {
        let sum = half_sum[0] + half_sum[1];
        self.scales[index] = scale;
        self.minus_sums[index] = -sum;
        self.sums[index] = scale * sum as f32;
        for (half, sum) in half_sum.iter().enumerate() {
            self.minus_half_sums[2 * index + half] = -sum;
            self.half_sums[2 * index + half] = scale * *sum as f32;
        }
    }
}

/// The scale of a block, and its inverse, from the largest magnitude.
#[inline(always)]
fn scales(largest: f32) -> (f32, f32) {
    // The bound keeps the inverse finite; what is smaller counts as 0.
    let inverse = if largest > 1e-30 {
        127.0 / largest
    } else {
        0.0
    };
    (largest / 127.0, inverse)
}

fn round(level: Level, x: &[f32], mut out: Blocks<'_>) {
    let blocks = x.as_chunks::<BLOCK>().0;
    assert!(
        out.quants.len() == blocks.len() * BLOCK && out.scales.len() == blocks.len(),
        "one entry for each block"
    );
    for (index, x) in blocks.iter().enumerate() {
        let quants = out.quants[index * BLOCK..]
            .first_chunk_mut()
            .expect("checked above");
        let (scale, half_sum) = match level {
            // SAFETY: the level was detected.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { round_avx512(x, quants) },
            _ => round_twin(x, quants),
        };
        out.set(index, scale, half_sum);
    }
}

/// Rounds a block; gives its scale and the sum of each half.
fn round_twin(x: &[f32; BLOCK], quants: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    // Bits of magnitudes are in the order of the magnitudes, with NaN above infinity.
    let largest = x
        .iter()
        .fold(0, |largest, x| x.abs().to_bits().max(largest));
    let (scale, inverse) = scales(f32::from_bits(largest));
    let mut half_sum = [0; 2];
    for (i, (quant, x)) in quants.iter_mut().zip(x).enumerate() {
        // At most 127 in size: the inverse's own rounding is far below a half.
        let shifted = x * inverse + ROUNDING;
        *quant = shifted.to_bits().to_le_bytes()[0].cast_signed();
        half_sum[i / 16] += i32::from(*quant);
    }
    (scale, half_sum)
}

/// # Safety
/// The processor has AVX-512 with BW, DQ and VL.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
fn round_avx512(x: &[f32; BLOCK], quants: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    use std::arch::x86_64::{
        _mm_add_epi64, _mm_cvtsi128_si64, _mm_sad_epu8, _mm_set1_epi8, _mm_setzero_si128,
        _mm_storeu_si128, _mm_unpackhi_epi64, _mm_xor_si128, _mm512_add_ps, _mm512_and_si512,
        _mm512_castps_si512, _mm512_cvtepi32_epi8, _mm512_loadu_ps, _mm512_max_epu32,
        _mm512_mul_ps, _mm512_reduce_max_epu32, _mm512_set1_epi32, _mm512_set1_ps,
    };
    let magnitude = _mm512_set1_epi32(i32::MAX);
    // SAFETY: two times sixteen of the block's 32 values.
    let halves = unsafe {
        [
            _mm512_loadu_ps(x.as_ptr()),
            _mm512_loadu_ps(x.as_ptr().add(16)),
        ]
    };
    let magnitudes = halves.map(|half| _mm512_and_si512(_mm512_castps_si512(half), magnitude));
    let largest = _mm512_reduce_max_epu32(_mm512_max_epu32(magnitudes[0], magnitudes[1]));
    let (scale, inverse) = scales(f32::from_bits(largest));
    let (inverse, rounding) = (_mm512_set1_ps(inverse), _mm512_set1_ps(ROUNDING));
    let mut half_sum = [0; 2];
    for (index, half) in halves.into_iter().enumerate() {
        let shifted = _mm512_add_ps(_mm512_mul_ps(half, inverse), rounding);
        // The lowest byte of the sum's bits is the number in two's complement.
        let bytes = _mm512_cvtepi32_epi8(_mm512_castps_si512(shifted));
        // SAFETY: sixteen of the block's 32 quants.
        unsafe { _mm_storeu_si128(quants.as_mut_ptr().add(16 * index).cast(), bytes) };
        // Sums of unsigned bytes, each 128 too large.
        let sums = _mm_sad_epu8(
            _mm_xor_si128(bytes, _mm_set1_epi8(i8::MIN)),
            _mm_setzero_si128(),
        );
        let sum = _mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums));
        half_sum[index] = _mm_cvtsi128_si64(sum) as i32 - 16 * 128;
    }
    (scale, half_sum)
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
                let mut sum = 0;
                for (i, x) in block.iter().enumerate() {
                    let quant = rows.quants[index * 32 + i];
                    assert!((f32::from(quant) * scale - x).abs() <= scale * 0.500_1);
                    sum += i32::from(quant);
                }
                assert_eq!(rows.minus_sums[index], -sum);
                assert_eq!(
                    rows.minus_half_sums[2 * index] + rows.minus_half_sums[2 * index + 1],
                    -sum
                );
            }
            if let Some(reference) = &reference {
                assert_eq!(rows.quants, reference.quants);
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&rows.scales[..12]), bits(&reference.scales[..12]));
                assert_eq!(bits(&rows.sums[..12]), bits(&reference.sums[..12]));
            }
            reference = Some(rows);
        }
    }
}

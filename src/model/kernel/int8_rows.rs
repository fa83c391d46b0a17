//! Inputs of a product with quantised weights: eight-bit integers with a scale per 32.

use super::Level;
use super::ggml::BLOCK;
use super::level::multiversion;
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
        self.quants.resize(n * BLOCK, 0);
        self.scales.resize(n, 0.0);
        self.minus_sums.resize(n, 0);
        self.minus_half_sums.resize(2 * n, 0);
        self.sums.resize(n, 0.0);
        self.half_sums.resize(2 * n, 0.0);
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
            unsafe {
                round(
                    level,
                    &x[start * BLOCK..(start + len) * BLOCK],
                    quants.part(start * BLOCK, len * BLOCK),
                    scales.part(start, len),
                    minus_sums.part(start, len),
                    minus_half_sums.part(2 * start, 2 * len),
                    sums.part(start, len),
                    half_sums.part(2 * start, 2 * len),
                );
            }
        });
    }

    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    pub(super) fn n_blocks(&self) -> usize {
        self.n_blocks
    }
}

multiversion! {
    #[expect(clippy::too_many_arguments, reason = "one per array of the structure")]
    fn round(
        x: &[f32],
        quants: &mut [i8],
        scales: &mut [f32],
        minus_sums: &mut [i32],
        minus_half_sums: &mut [i32],
        sums: &mut [f32],
        half_sums: &mut [f32],
    ) {
        let blocks = x.as_chunks::<BLOCK>().0.iter();
        let quants = quants.as_chunks_mut::<BLOCK>().0;
        for (index, (x, quants)) in blocks.zip(quants).enumerate() {
            let mut largest = [0.0f32; 16];
            let mut not_finite = [0.0f32; 16];
            for half in x.as_chunks::<16>().0 {
                for lane in 0..16 {
                    let size = half[lane].abs();
                    largest[lane] = if size > largest[lane] { size } else { largest[lane] };
                    not_finite[lane] += half[lane] * 0.0;
                }
            }
            let largest = largest.iter().fold(0.0f32, |a, b| if *b > a { *b } else { a });
            let not_finite: f32 = not_finite.iter().sum();
            let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
            let scale = largest / 127.0 + not_finite;
            let mut half_sum = [0i32; 2];
            for (half, (x, quants)) in x.as_chunks::<16>().0.iter().zip(quants.as_chunks_mut::<16>().0).enumerate() {
                let mut sum = [0i32; 16];
                for lane in 0..16 {
                    // In range but for rounding of the factor, which the bound takes care of.
                    let quant = (x[lane] * inverse).round_ties_even().clamp(-127.0, 127.0) as i32;
                    quants[lane] = quant as i8;
                    sum[lane] = quant;
                }
                half_sum[half] = sum.iter().sum();
            }
            let sum = half_sum[0] + half_sum[1];
            scales[index] = scale;
            minus_sums[index] = -sum;
            sums[index] = scale * sum as f32;
            for half in 0..2 {
                minus_half_sums[2 * index + half] = -half_sum[half];
                half_sums[2 * index + half] = scale * half_sum[half] as f32;
            }
        }
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

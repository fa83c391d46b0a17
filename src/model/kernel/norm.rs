//! Root-mean-square norms and rotary positions, row by row.

use super::level::multiversion;

/// Partial sums per row; fixed, so that the order of additions is.
const LANES: usize = 16;

multiversion! {
    /// `x ← x / √(mean(x²) + eps) · weight` for each row of `weight.len()` values
    /// (Zhang and Sennrich 2019).
    pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let width = weight.len();
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let mut sums = [0.0f32; LANES];
            let (whole, rest) = x.as_chunks::<LANES>();
            for chunk in whole {
                for (sum, x) in sums.iter_mut().zip(chunk) {
                    *sum = x.mul_add(*x, *sum);
                }
            }
            for (sum, x) in sums.iter_mut().zip(rest) {
                *sum = x.mul_add(*x, *sum);
            }
            let sum: f32 = sums.iter().sum();
            let scale = 1.0 / (sum / width as f32 + eps).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * scale * weight;
            }
        }
    }
}

multiversion! {
    /// Rotates the first `2 · cos.len()` entries of every head of one row, in half-split order:
    /// entry `i` turns with entry `i + cos.len()` (Su et al. 2021).
    pub(crate) fn rotate(heads: &mut [f32], d_head: usize, cos: &[f32], sin: &[f32]) {
        let half = cos.len();
        for head in heads.chunks_exact_mut(d_head) {
            let (first, second) = head[..2 * half].split_at_mut(half);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let (x, y) = (*a, *b);
                *a = x * cos - y * sin;
                *b = x * sin + y * cos;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Level;

    #[test]
    fn levels_give_the_same_bits() {
        let x: Vec<f32> = (0..3 * 37).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let weight: Vec<f32> = (0..37).map(|i| 1.0 + i as f32 / 50.0).collect();
        let norm = |level| {
            let mut out = vec![0.0; x.len()];
            rms_norm(level, &x, &weight, 1e-5, &mut out);
            out
        };
        let turned = |level| {
            let (cos, sin): (Vec<f32>, Vec<f32>) = (0..16)
                .map(|i| ((i as f32).cos(), (i as f32).sin()))
                .unzip();
            let mut out = x[..3 * 36].to_vec();
            rotate(level, &mut out, 36, &cos, &sin);
            out
        };
        for level in Level::all() {
            assert_eq!(norm(level), norm(Level::Portable));
            assert_eq!(turned(level), turned(Level::Portable));
        }
        let out = norm(Level::Portable);
        let mean: f64 = x[37..74].iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / 37.0;
        let expected = f64::from(x[40]) / (mean + 1e-5).sqrt() * f64::from(weight[3]);
        assert!((f64::from(out[40]) - expected).abs() < 1e-6);
        // Entries that are not rotated stay; pairs keep their length.
        let out = turned(Level::Portable);
        assert_eq!(out[32..36], x[32..36]);
        let length = |values: &[f32]| values[1].hypot(values[17]);
        assert!((length(&out) - length(&x)).abs() < 1e-5);
    }
}

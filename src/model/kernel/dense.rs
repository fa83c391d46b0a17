//! Tiles of a product in f32 arithmetic: some rows times one panel of sixteen columns.
//!
//! The same tile serves dense weights (`[in][16]` panels), queries against keys (`[d_head][16]`
//! blocks of the cache) and attention weights against values (rows of the cache).

use half::{bf16, f16};

use super::Level;
use super::packed::LANES;

/// Long sums are cut here, by index alone, and the parts added: this bounds the rounding error.
pub(super) const CHUNK: usize = 512;

/// A tile's results, one row of sixteen lanes per input row.
pub(super) type Tile<const M: usize> = [[f32; LANES]; M];

/// A type of weights that becomes f32 without loss.
pub(super) trait Dense: Copy + Sync {
    fn widen(self) -> f32;

    /// Sixteen consecutive weights.
    ///
    /// # Safety
    /// `from` must be valid for sixteen weights, and the processor must have AVX-512F.
    #[cfg(target_arch = "x86_64")]
    unsafe fn load(from: *const Self) -> std::arch::x86_64::__m512;
}

impl Dense for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load(from: *const Self) -> std::arch::x86_64::__m512 {
        // SAFETY: the caller's.
        unsafe { std::arch::x86_64::_mm512_loadu_ps(from) }
    }
}

impl Dense for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load(from: *const Self) -> std::arch::x86_64::__m512 {
        use std::arch::x86_64::{
            _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32, _mm512_slli_epi32,
        };
        // SAFETY: the caller's.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }
}

impl Dense for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self.to_f32()
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load(from: *const Self) -> std::arch::x86_64::__m512 {
        use std::arch::x86_64::{_mm256_loadu_si256, _mm512_cvtph_ps};
        // SAFETY: the caller's.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
    }
}

/// Operands of a tile: rows `a[row · a_stride ..]` of length `k`, and `k` groups of sixteen weights
/// `w[i · w_stride ..]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands<'a, W> {
    pub(super) a: &'a [f32],
    pub(super) a_stride: usize,
    pub(super) w: &'a [W],
    pub(super) w_stride: usize,
    pub(super) k: usize,
    /// Where the sum is cut; [`CHUNK`], or anything above `k` for one chain.
    pub(super) chunk: usize,
}

/// `M` rows times one panel.
///
/// # Panics
/// If the operands are shorter than their sizes say.
pub(super) fn tile<W: Dense, const M: usize>(level: Level, x: Operands<'_, W>) -> Tile<M> {
    assert!(
        x.k > 0
            && x.a.len() >= (M - 1) * x.a_stride + x.k
            && x.w.len() >= (x.k - 1) * x.w_stride + LANES,
        "operands as long as their sizes say"
    );
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: the level was detected, and the lengths are checked above.
        Level::Avx512 => return unsafe { tile_avx512::<W, M>(x) },
        // SAFETY: the level was detected.
        Level::Avx2 => return unsafe { tile_avx2::<W, M>(x) },
        Level::Portable => {}
    }
    let _ = level;
    twin::<W, M>(x)
}

#[inline(always)]
fn twin<W: Dense, const M: usize>(x: Operands<'_, W>) -> Tile<M> {
    let mut total = [[0.0; LANES]; M];
    let mut start = 0;
    while start < x.k {
        let end = x.k.min(start.saturating_add(x.chunk));
        let mut sum = [[0.0f32; LANES]; M];
        for i in start..end {
            let w: [f32; LANES] = std::array::from_fn(|lane| x.w[i * x.w_stride + lane].widen());
            for (row, sum) in sum.iter_mut().enumerate() {
                let a = x.a[row * x.a_stride + i];
                for lane in 0..LANES {
                    sum[lane] = a.mul_add(w[lane], sum[lane]);
                }
            }
        }
        for (total, sum) in total.iter_mut().zip(&sum) {
            for lane in 0..LANES {
                total[lane] += sum[lane];
            }
        }
        start = end;
    }
    total
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn tile_avx2<W: Dense, const M: usize>(x: Operands<'_, W>) -> Tile<M> {
    twin::<W, M>(x)
}

/// # Safety
/// The operands must be as long as their sizes say.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn tile_avx512<W: Dense, const M: usize>(x: Operands<'_, W>) -> Tile<M> {
    use std::arch::x86_64::{
        _mm512_add_ps, _mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };
    let mut total = [_mm512_setzero_ps(); M];
    let mut start = 0;
    while start < x.k {
        let end = x.k.min(start.saturating_add(x.chunk));
        let mut sum = [_mm512_setzero_ps(); M];
        for i in start..end {
            // SAFETY: `i < k`, and both operands are long enough by the contract.
            unsafe {
                let w = W::load(x.w.as_ptr().add(i * x.w_stride));
                for (row, sum) in sum.iter_mut().enumerate() {
                    let a = _mm512_set1_ps(*x.a.as_ptr().add(row * x.a_stride + i));
                    *sum = _mm512_fmadd_ps(a, w, *sum);
                }
            }
        }
        for (total, sum) in total.iter_mut().zip(sum) {
            *total = _mm512_add_ps(*total, sum);
        }
        start = end;
    }
    let mut out = [[0.0; LANES]; M];
    for (out, total) in out.iter_mut().zip(total) {
        // SAFETY: sixteen lanes into an array of sixteen.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), total) };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<W: Dense>(make: impl Fn(f32) -> W) {
        let k = 1_100;
        let a: Vec<f32> = (0..16 * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let w: Vec<W> = (0..k * LANES)
            .map(|i| make((i as f32 * 0.11).cos()))
            .collect();
        let x = Operands {
            a: &a,
            a_stride: k,
            w: &w,
            w_stride: LANES,
            k,
            chunk: CHUNK,
        };
        let expected = tile::<W, 16>(Level::Portable, x);
        for level in Level::all() {
            // Every level, and every number of rows, to the bit.
            assert_eq!(tile::<W, 16>(level, x), expected, "{level:?}");
            assert_eq!(tile::<W, 1>(level, x)[..], expected[..1]);
            assert_eq!(tile::<W, 4>(level, x)[..], expected[..4]);
            assert_eq!(tile::<W, 12>(level, x)[..], expected[..12]);
        }
        let exact: f64 = (0..k)
            .map(|i| f64::from(a[2 * k + i]) * f64::from(w[i * LANES + 5].widen()))
            .sum();
        assert!((f64::from(expected[2][5]) - exact).abs() < 1e-3);
    }

    #[test]
    fn levels_and_tile_sizes_give_the_same_bits() {
        check(|v| v);
        check(f16::from_f32);
        check(bf16::from_f32);
    }
}

//! The exponential function, the same bits on every processor.

/// 1.5 · 2²³: a sum with it, of a number up to 2²² in size, is rounded to a whole number (ties to
/// even), which then stands in its lowest bits.
pub(super) const ROUNDING: f32 = 12_582_912.0;

/// `e^x` to about one unit in the last place; exactly 0 below −87, and bounded above 88.
///
/// Range reduction and polynomial after Cephes (Moshier 1989, `expf.c`).
#[inline(always)]
#[expect(clippy::excessive_precision, reason = "the constants are the source's")]
pub(super) fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.0, 88.0);
    // The sum's lowest bits are the nearest whole number, between -126 and 127. (A cast from float
    // to integer saturates, for which vectors have no instruction.)
    let shifted = clamped * std::f32::consts::LOG2_E + ROUNDING;
    let n = shifted - ROUNDING;
    // ln 2 in two parts, of which the first has few bits: n times it is exact.
    let r = n.mul_add(-0.693_359_375, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_150_0e-4f32;
    p = p.mul_add(r, 1.398_199_950_7e-3);
    p = p.mul_add(r, 8.333_451_907_3e-3);
    p = p.mul_add(r, 4.166_579_589_4e-2);
    p = p.mul_add(r, 1.666_666_545_9e-1);
    p = p.mul_add(r, 5.000_000_120_1e-1);
    let value = (p * r).mul_add(r, r) + 1.0;
    // 2^n by its exponent bits.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    let result = value * scale;
    if x < -87.0 { 0.0 } else { result }
}

/// `tanh x`, to about 1e-7 absolute.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_exact_function() {
        let mut worst: f64 = 0.0;
        for i in -86_000..88_000 {
            let x = i as f32 / 1_000.0;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2e-7, "{worst:e}");
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
        assert_eq!(exp(0.0).to_bits(), 1.0f32.to_bits());
        assert!(exp(f32::NAN).is_nan());
        for i in -400..400 {
            let x = i as f32 / 40.0;
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 3e-7);
        }
    }
}

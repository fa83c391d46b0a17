//! What happens to values one by one.

use super::exp::{exp, tanh};
use super::level::multiversion;
use crate::config::Activation;

multiversion! {
    /// `out = activation(gate) · up`, where each row of `both` is `[gate | up]`, `[row, 2 · width]`.
    pub(crate) fn gated(activation: Activation, both: &[f32], width: usize, out: &mut [f32]) {
        for (both, out) in both.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gate, up) = both.split_at(width);
            match activation {
                Activation::Silu => {
                    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                        *out = gate / (1.0 + exp(-gate)) * up;
                    }
                }
                Activation::GeluTanh => {
                    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                        let inner = 0.797_884_6 * (gate + 0.044_715 * gate * gate * gate);
                        *out = 0.5 * gate * (1.0 + tanh(inner)) * up;
                    }
                }
            }
        }
    }
}

multiversion! {
    /// `x ← x + y`.
    pub(crate) fn add(x: &mut [f32], y: &[f32]) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

multiversion! {
    /// `x ← cap · tanh(x / cap)`.
    pub(crate) fn softcap(x: &mut [f32], cap: f32) {
        for x in x {
            *x = cap * tanh(*x / cap);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Level;

    #[test]
    fn levels_agree_and_follow_the_formulas() {
        let both: Vec<f32> = (0..2 * 2 * 35)
            .map(|i| ((i * 29) % 97) as f32 / 8.0 - 6.0)
            .collect();
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let run = |level| {
                let mut out = vec![0.0; 2 * 35];
                gated(level, activation, &both, 35, &mut out);
                softcap(level, &mut out, 30.0);
                out
            };
            for level in Level::all() {
                assert_eq!(run(level), run(Level::Portable), "{level:?}");
            }
            let (gate, up) = (f64::from(both[70 + 3]), f64::from(both[70 + 35 + 3]));
            let exact = match activation {
                Activation::Silu => gate / (1.0 + (-gate).exp()),
                Activation::GeluTanh => {
                    let inner =
                        (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044_715 * gate.powi(3));
                    0.5 * gate * (1.0 + inner.tanh())
                }
            };
            let exact = 30.0 * (exact * up / 30.0).tanh();
            assert!((f64::from(run(Level::Portable)[35 + 3]) - exact).abs() < 1e-4);
        }
    }
}

//! Matrices that share an input, with their biases and low-rank adapters.

use std::cell::RefCell;

use super::Machine;
use crate::kernel::{Input, Int8Rows, Level, Packed, PackedType, Pool, for_rows, linear};

thread_local! {
    /// What adapters work with.
    static SPARE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// One product for several matrices, `[row, in]` to `[row, out of all, side by side]`.
#[derive(Debug)]
pub(super) struct Matrices {
    pub(super) packed: Vec<Packed>,
    /// Of all matrices one after another; empty where there are none.
    pub(super) biases: Vec<f32>,
    pub(super) low_rank: Vec<LowRank>,
}

/// A `LoRA` adapter (Hu et al. 2021, arXiv 2106.09685) of one of the matrices: `y += scale · B A x`.
#[derive(Debug)]
pub(super) struct LowRank {
    pub(super) a: Packed, // [rank, in]
    pub(super) b: Packed, // [out, rank]
    /// Not 0: such an adapter is left out.
    pub(super) scale: f32,
    /// First column of the matrix in the output.
    pub(super) column: usize,
}

impl Matrices {
    pub(super) fn n_out(&self) -> usize {
        self.packed.iter().map(Packed::n_rows).sum()
    }

    /// `x` is `[row, in]`; `rounded` is a buffer.
    pub(super) fn apply(
        &self,
        machine: Machine,
        x: &[f32],
        rounded: &mut Int8Rows,
        out: &mut Vec<f32>,
    ) {
        let matrices: Vec<&Packed> = self.packed.iter().collect();
        let n_rows = x.len() / matrices[0].width();
        let n_out = self.n_out();
        out.resize(n_rows * n_out, 0.0);
        let is_rounded = round(machine, &matrices, x, rounded);
        let input = Input {
            dense: x,
            rounded: is_rounded.then_some(rounded),
        };
        linear(machine.pool, machine.level, input, &matrices, out);
        if self.biases.is_empty() && self.low_rank.is_empty() {
            return;
        }
        for_rows(machine.pool, out, n_out, &|first, rows| {
            if !self.biases.is_empty() {
                for row in rows.chunks_exact_mut(n_out) {
                    row.iter_mut()
                        .zip(&self.biases)
                        .for_each(|(y, bias)| *y += bias);
                }
            }
            let n = rows.len() / n_out;
            for low_rank in &self.low_rank {
                let width = low_rank.a.width();
                low_rank.add(machine.level, &x[first * width..][..n * width], n_out, rows);
            }
        });
    }
}

impl LowRank {
    /// On this thread: a step has hundreds of these, and each is small.
    fn add(&self, level: Level, x: &[f32], n_out: usize, out: &mut [f32]) {
        let n_rows = x.len() / self.a.width();
        let (rank, width) = (self.a.n_rows(), self.b.n_rows());
        SPARE.with_borrow_mut(|spare| {
            spare.resize(n_rows * (rank + width), 0.0);
            let (inner, delta) = spare.split_at_mut(n_rows * rank);
            linear(Pool::alone(), level, dense(x), &[&self.a], inner);
            linear(Pool::alone(), level, dense(inner), &[&self.b], delta);
            let rows = out.chunks_exact_mut(n_out);
            for (row, delta) in rows.zip(delta.chunks_exact(width)) {
                for (y, delta) in row[self.column..].iter_mut().zip(delta) {
                    *y += self.scale * delta;
                }
            }
        });
    }
}

fn dense(dense: &[f32]) -> Input<'_> {
    Input {
        dense,
        rounded: None,
    }
}

/// Rounds `x` if one of the matrices is quantised; says whether it did.
pub(super) fn round(
    machine: Machine,
    matrices: &[&Packed],
    x: &[f32],
    rounded: &mut Int8Rows,
) -> bool {
    let quantised = |matrix: &&&Packed| matches!(matrix.kind(), PackedType::Integer(_));
    let Some(matrix) = matrices.iter().find(quantised) else {
        return false;
    };
    rounded.fill(machine.pool, machine.level, x, matrix.width());
    true
}

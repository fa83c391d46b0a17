//! The observer that hands a forward pass's vectors to probes.

use candor_model::{Observer, RowMap};
use candor_schema::HookPoint;

/// Keeps the vectors at some hook points for the rows that probes will read.
#[derive(Debug)]
pub(crate) struct Listener {
    points: Vec<HookPoint>,
    /// First position to keep, per item.
    from: Vec<usize>,
    /// `[item][point]`, row-major `[kept row, width]`.
    kept: Vec<Vec<Vec<f32>>>,
}

impl Listener {
    /// Listens at `points` (each once) and keeps the rows of item `i` from position `from[i]` on.
    pub(crate) fn new(points: &[HookPoint], from: Vec<usize>) -> Self {
        let kept = vec![vec![Vec::new(); points.len()]; from.len()];
        Self {
            points: points.to_vec(),
            from,
            kept,
        }
    }

    /// Kept vectors of one item, per point in the order of `points`, and the points.
    pub(crate) fn item(&self, item: usize) -> Vectors<'_> {
        Vectors {
            points: &self.points,
            values: &self.kept[item],
        }
    }
}

impl Observer for Listener {
    fn points(&self) -> &[HookPoint] {
        &self.points
    }

    fn observe(
        &mut self,
        point: HookPoint,
        rows: &RowMap,
        values: &[f32],
    ) -> candor_model::Result<()> {
        let index = self
            .points
            .binary_search(&point)
            .expect("only asked at its own points, which are sorted");
        let width = values.len() / rows.n_rows();
        for (row, vector) in rows.rows().iter().zip(values.chunks_exact(width)) {
            if row.position >= self.from[row.item] {
                self.kept[row.item][index].extend_from_slice(vector);
            }
        }
        Ok(())
    }
}

/// Vectors of consecutive tokens at several hook points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vectors<'a> {
    points: &'a [HookPoint],
    /// Per point, row-major `[token, width]`.
    values: &'a [Vec<f32>],
}

impl<'a> Vectors<'a> {
    pub(crate) fn new(points: &'a [HookPoint], values: &'a [Vec<f32>]) -> Self {
        Self { points, values }
    }

    /// The vector of one token at one point, `[width]`.
    pub(crate) fn get(&self, point: HookPoint, width: usize, token: usize) -> Option<&'a [f32]> {
        let index = self.points.iter().position(|&other| other == point)?;
        self.values[index].get(token * width..(token + 1) * width)
    }
}

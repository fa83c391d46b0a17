//! The observer that keeps the vectors of a forward pass.

use candor_schema::HookPoint;

use crate::error::Result;
use crate::hooks::Observer;
use crate::row_map::RowMap;

/// Keeps the vectors at some hook points, from a position of each item on.
///
/// Capture and scoring both read a model through this one observer.
#[derive(Debug)]
pub struct Recorder {
    /// Sorted, each once.
    points: Vec<HookPoint>,
    /// First position to keep, per item.
    from: Vec<usize>,
    /// `[item][point]`, row-major `[kept row, width]`.
    kept: Vec<Vec<Vec<f32>>>,
}

impl Recorder {
    /// Listens at `points` and keeps the rows of item `i` of a step from position `from[i]` on.
    pub fn new(points: &[HookPoint], from: Vec<usize>) -> Self {
        let mut points = points.to_vec();
        points.sort_unstable();
        points.dedup();
        let kept = vec![vec![Vec::new(); points.len()]; from.len()];
        Self { points, from, kept }
    }

    /// The hook points in the order of a forward pass, each once.
    pub fn hook_points(&self) -> &[HookPoint] {
        &self.points
    }

    /// What [`Recorder::item`] gives for every item, without a copy.
    pub fn into_items(self) -> Vec<Vec<Vec<f32>>> {
        self.kept
    }

    /// Kept vectors of one item, one entry per hook point, each row-major `[kept row, width]`.
    pub fn item(&self, item: usize) -> &[Vec<f32>] {
        &self.kept[item]
    }
}

impl Observer for Recorder {
    fn points(&self) -> &[HookPoint] {
        &self.points
    }

    fn observe(&mut self, point: HookPoint, rows: &RowMap, values: &[f32]) -> Result<()> {
        let index = self
            .points
            .binary_search(&point)
            .expect("only asked at its own points, which are sorted");
        let width = values.len() / rows.n_rows();
        let mut n_kept = vec![0; self.from.len()];
        for row in rows.rows() {
            n_kept[row.item] += usize::from(row.position >= self.from[row.item]);
        }
        for (kept, n) in self.kept.iter_mut().zip(n_kept) {
            kept[index].reserve_exact(n * width);
        }
        for (row, vector) in rows.rows().iter().zip(values.chunks_exact(width)) {
            if row.position >= self.from[row.item] {
                self.kept[row.item][index].extend_from_slice(vector);
            }
        }
        Ok(())
    }
}

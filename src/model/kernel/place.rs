//! Where the results of one panel go.

use super::dense::Tile;
use super::packed::LANES;
use super::shared::Shared;

/// Some columns of every row of an output; they belong to one task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) out: &'a Shared<'a, f32>,
    /// Columns of the output.
    pub(super) n_out: usize,
    /// The first of the panel's columns.
    pub(super) column: usize,
    /// At most [`LANES`].
    pub(super) n_columns: usize,
}

impl Place<'_> {
    /// The panel's columns of one row.
    ///
    /// # Safety
    /// The columns belong to the calling task, which holds one row at a time.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "see above")]
    pub(super) unsafe fn row(&self, row: usize) -> &mut [f32] {
        debug_assert!(self.n_columns <= LANES);
        // SAFETY: the caller's.
        unsafe {
            self.out
                .part(row * self.n_out + self.column, self.n_columns)
        }
    }

    /// Writes the rows of a tile.
    pub(super) fn write<const M: usize>(&self, first_row: usize, tile: &Tile<M>) {
        for (row, values) in tile.iter().enumerate() {
            // SAFETY: a panel's columns belong to one task, which writes one row at a time.
            let out = unsafe { self.row(first_row + row) };
            out.copy_from_slice(&values[..self.n_columns]);
        }
    }
}

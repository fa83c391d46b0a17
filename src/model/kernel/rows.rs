//! Work on the rows of one buffer, spread over the pool.

use super::pool::Pool;
use super::shared::Shared;

/// Rows per task.
const ROWS_PER_TASK: usize = 8;

/// Calls `work(first_row, rows)` for runs of rows of `data`, `[row, width]`, that together are all.
pub(crate) fn for_rows(
    pool: &Pool,
    data: &mut [f32],
    width: usize,
    work: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    let n_rows = data.len() / width;
    let shared = Shared::new(data);
    pool.run(n_rows.div_ceil(ROWS_PER_TASK), &|task| {
        let first = task * ROWS_PER_TASK;
        let n = ROWS_PER_TASK.min(n_rows - first);
        // SAFETY: each task has its own rows.
        let rows = unsafe { shared.part(first * width, n * width) };
        work(first, rows);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once() {
        let mut data = vec![0.0; 29 * 3];
        for_rows(&Pool::new(2), &mut data, 3, &|first, rows| {
            for (index, row) in rows.chunks_exact_mut(3).enumerate() {
                for x in row {
                    *x += (first + index) as f32;
                }
            }
        });
        let expected: Vec<f32> = (0..29 * 3).map(|i| (i / 3) as f32).collect();
        assert_eq!(data, expected);
    }
}

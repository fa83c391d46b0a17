//! Grouped-query attention (Ainslie et al. 2023, arXiv 2305.13245) of packed rows over one
//! sequence's keys and values.
//!
//! Scores of at most sixteen query heads at a time lie in a scratch buffer, never those of all
//! queries, so memory grows with the length and not with its square. Every sum runs over keys in
//! ascending order and starts at the same key for a given position, whatever else is in the step.

use std::cell::RefCell;
use std::ops::Range;

use super::Level;
use super::dense::{Operands, Tile, tile};
use super::exp::exp;
use super::level::multiversion;
use super::packed::LANES;
use super::pool::Pool;
use super::shared::Shared;

/// Query heads per task at most.
const TILE: usize = 16;

/// What one layer's attention needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention {
    pub(crate) n_heads: usize,
    pub(crate) n_kv_heads: usize,
    pub(crate) d_head: usize,
    /// Factor on the product of query and key.
    pub(crate) scale: f32,
    /// Bound of the scores before the softmax.
    pub(crate) softcap: Option<f32>,
    /// How many keys a query sees, itself included.
    pub(crate) window: Option<usize>,
}

/// The rows of one sequence in a step, and its cache.
#[derive(Debug)]
pub(crate) struct Queries<'a> {
    /// Rows of the step.
    pub(crate) rows: Range<usize>,
    /// Position of the first row.
    pub(crate) first_position: usize,
    /// `[block of 16 keys][n_kv_heads][d_head][16]`.
    pub(crate) keys: &'a [f32],
    /// `[key][n_kv_heads][padded d_head]`.
    pub(crate) values: &'a [f32],
}

thread_local! {
    /// Queries and scores of one tile.
    static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// One task: some positions and some heads of one group.
struct Task {
    item: usize,
    kv_head: usize,
    heads: Range<usize>,
    rows: Range<usize>,
}

/// Writes `z`, `[row, n_heads · d_head]`; queries are rows of `q` of `stride` values that begin
/// with `[n_heads · d_head]`.
pub(crate) fn attend(
    pool: &Pool,
    level: Level,
    attention: Attention,
    (q, stride): (&[f32], usize),
    items: &[Queries<'_>],
    z: &mut [f32],
) {
    let group = attention.n_heads / attention.n_kv_heads;
    let heads_per_tile = group.min(TILE);
    let rows_per_tile = TILE / heads_per_tile;
    let mut tasks = Vec::new();
    for (item, queries) in items.iter().enumerate() {
        let mut start = queries.rows.start;
        while start < queries.rows.end {
            let rows = start..(start + rows_per_tile).min(queries.rows.end);
            start = rows.end;
            for kv_head in 0..attention.n_kv_heads {
                let group = kv_head * group..(kv_head + 1) * group;
                for first in group.clone().step_by(heads_per_tile) {
                    tasks.push(Task {
                        item,
                        kv_head,
                        heads: first..(first + heads_per_tile).min(group.end),
                        rows: rows.clone(),
                    });
                }
            }
        }
    }
    let z = Shared::new(z);
    let n_tasks = tasks.len();
    pool.run(n_tasks, &|index| {
        // The last positions have the most keys: longest tasks first.
        let task = &tasks[n_tasks - 1 - index];
        let queries = &items[task.item];
        SCRATCH.with_borrow_mut(|scratch| {
            run_task(level, attention, (q, stride), queries, task, scratch, &z);
        });
    });
}

fn run_task(
    level: Level,
    attention: Attention,
    (q, stride): (&[f32], usize),
    queries: &Queries<'_>,
    task: &Task,
    (tile_q, scores): &mut (Vec<f32>, Vec<f32>),
    z: &Shared<'_, f32>,
) {
    let d_head = attention.d_head;
    let n_heads = task.heads.len();
    let n_rows = task.rows.len() * n_heads;
    let size = tile_size(n_rows);
    // Rows of the tile: position by position, head by head; zeros fill it up.
    tile_q.clear();
    for row in task.rows.clone() {
        let from = row * stride + task.heads.start * d_head;
        tile_q.extend(
            q[from..from + n_heads * d_head]
                .iter()
                .map(|q| q * attention.scale),
        );
    }
    tile_q.resize(size * d_head, 0.0);

    let position = |row: usize| queries.first_position + row - queries.rows.start;
    let seen = |row: usize| {
        let end = position(row) + 1;
        attention
            .window
            .map_or(0, |window| end.saturating_sub(window))..end
    };
    let first_block = seen(task.rows.start).start / LANES;
    let last_block = position(task.rows.end - 1) / LANES;
    let n_keys = (last_block + 1 - first_block) * LANES;
    let first_key = first_block * LANES;

    scores.clear();
    scores.resize(size * n_keys, 0.0);
    for block in first_block..=last_block {
        let keys = &queries.keys[(block * attention.n_kv_heads + task.kv_head) * d_head * LANES..];
        let operands = Operands {
            a: tile_q,
            a_stride: d_head,
            w: keys,
            w_stride: LANES,
            k: d_head,
            chunk: usize::MAX,
        };
        let at = (block - first_block) * LANES;
        with_tile(level, size, operands, |row, values| {
            scores[row * n_keys + at..][..LANES].copy_from_slice(values);
        });
    }

    let mut inverse_sums = [0.0; TILE];
    for (index, scores) in scores.chunks_exact_mut(n_keys).take(n_rows).enumerate() {
        let seen = seen(task.rows.start + index / n_heads);
        let seen = seen.start - first_key..seen.end - first_key;
        if let Some(cap) = attention.softcap {
            super::softcap(level, &mut scores[seen.clone()], cap);
        }
        softmax(level, scores, seen, &mut inverse_sums[index]);
    }

    let padded = padded_head(d_head);
    let value_stride = attention.n_kv_heads * padded;
    // Keys of the last block beyond the last position may not be there yet.
    let n_seen = position(task.rows.end - 1) + 1 - first_key;
    for part in (0..d_head).step_by(LANES) {
        let values = &queries.values[first_key * value_stride + task.kv_head * padded + part..];
        let operands = Operands {
            a: scores,
            a_stride: n_keys,
            w: values,
            w_stride: value_stride,
            k: n_seen,
            chunk: usize::MAX,
        };
        let n = LANES.min(d_head - part);
        with_tile(level, size, operands, |row, values| {
            if row >= n_rows {
                return;
            }
            let (step_row, head) = (row / n_heads, task.heads.start + row % n_heads);
            let at =
                (task.rows.start + step_row) * attention.n_heads * d_head + head * d_head + part;
            // SAFETY: a row's head belongs to one task, which writes one part at a time.
            let out = unsafe { z.part(at, n) };
            for (out, value) in out.iter_mut().zip(values) {
                *out = value * inverse_sums[row];
            }
        });
    }
}

/// Width of a head in the cache of values: whole registers.
pub(crate) fn padded_head(d_head: usize) -> usize {
    d_head.next_multiple_of(LANES)
}

/// The tile that holds `n_rows`.
fn tile_size(n_rows: usize) -> usize {
    [1, 2, 4, 8, 12, 16]
        .into_iter()
        .find(|size| *size >= n_rows)
        .expect("a task has at most sixteen rows")
}

fn with_tile(
    level: Level,
    size: usize,
    operands: Operands<'_, f32>,
    write: impl FnMut(usize, &[f32; LANES]),
) {
    fn each<const M: usize>(tile: &Tile<M>, mut write: impl FnMut(usize, &[f32; LANES])) {
        for (row, values) in tile.iter().enumerate() {
            write(row, values);
        }
    }
    match size {
        1 => each(&tile::<f32, 1>(level, operands), write),
        2 => each(&tile::<f32, 2>(level, operands), write),
        4 => each(&tile::<f32, 4>(level, operands), write),
        8 => each(&tile::<f32, 8>(level, operands), write),
        12 => each(&tile::<f32, 12>(level, operands), write),
        _ => each(&tile::<f32, 16>(level, operands), write),
    }
}

multiversion! {
    /// Exponentials relative to the largest of the `seen` scores, 0 outside, and one over their sum.
    /// `scores` begins at a multiple of sixteen keys, so a key always falls into the same lane.
    fn softmax(scores: &mut [f32], seen: Range<usize>, inverse_sum: &mut f32) {
        scores[..seen.start].fill(0.0);
        scores[seen.end..].fill(0.0);
        let mut largest = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = scores[seen.clone()].as_chunks::<LANES>();
        for chunk in whole {
            for (largest, score) in largest.iter_mut().zip(chunk) {
                *largest = if *score > *largest { *score } else { *largest };
            }
        }
        for (largest, score) in largest.iter_mut().zip(rest) {
            *largest = if *score > *largest { *score } else { *largest };
        }
        let largest = largest.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        for score in &mut scores[seen.clone()] {
            *score = exp(*score - largest);
        }
        let mut sums = [0.0f32; LANES];
        for chunk in scores.as_chunks::<LANES>().0 {
            for (sum, weight) in sums.iter_mut().zip(chunk) {
                *sum += weight;
            }
        }
        *inverse_sum = 1.0 / sums.iter().sum::<f32>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv_cache::KvCache;

    const N_HEADS: usize = 6;
    const N_KV_HEADS: usize = 2;
    const D_HEAD: usize = 24;
    const N: usize = 45;

    fn vectors(n: usize, width: usize, seed: f32) -> Vec<f32> {
        (0..n * width)
            .map(|i| (i as f32 * 0.37 + seed).sin() * 2.0)
            .collect()
    }

    fn attention(window: Option<usize>, softcap: Option<f32>) -> Attention {
        Attention {
            n_heads: N_HEADS,
            n_kv_heads: N_KV_HEADS,
            d_head: D_HEAD,
            scale: 0.3,
            softcap,
            window,
        }
    }

    /// Runs positions in steps of the given lengths.
    fn run(level: Level, attention: Attention, steps: &[usize]) -> Vec<f32> {
        let q = vectors(N, N_HEADS * D_HEAD, 0.0);
        let k = vectors(N, N_KV_HEADS * D_HEAD, 1.0);
        let v = vectors(N, N_KV_HEADS * D_HEAD, 2.0);
        let mut cache = KvCache::new(N_KV_HEADS, D_HEAD);
        let mut out = Vec::new();
        let mut done = 0;
        for &n in steps {
            let kv = N_KV_HEADS * D_HEAD;
            for row in done..done + n {
                cache.push(&k[row * kv..(row + 1) * kv], &v[row * kv..(row + 1) * kv]);
            }
            let width = N_HEADS * D_HEAD;
            let mut z = vec![0.0; n * width];
            let queries = Queries {
                rows: 0..n,
                first_position: done,
                keys: cache.keys(),
                values: cache.values(),
            };
            let q = &q[done * width..(done + n) * width];
            attend(
                &Pool::new(2),
                level,
                attention,
                (q, width),
                &[queries],
                &mut z,
            );
            out.extend(z);
            done += n;
        }
        out
    }

    #[test]
    fn follows_the_definition() {
        for (window, softcap) in [
            (None, None),
            (Some(7), None),
            (None, Some(1.5)),
            (Some(20), Some(3.0)),
        ] {
            let found = run(Level::detect(), attention(window, softcap), &[N]);
            let q = vectors(N, N_HEADS * D_HEAD, 0.0);
            let k = vectors(N, N_KV_HEADS * D_HEAD, 1.0);
            let v = vectors(N, N_KV_HEADS * D_HEAD, 2.0);
            for position in 0..N {
                for head in 0..N_HEADS {
                    let kv_head = head / 3;
                    let first = window.map_or(0, |w: usize| (position + 1).saturating_sub(w));
                    let at = |x: &[f32], row: usize, n: usize, head: usize, i: usize| {
                        f64::from(x[(row * n + head) * D_HEAD + i])
                    };
                    let weights: Vec<f64> = (first..=position)
                        .map(|key| {
                            let dot: f64 = (0..D_HEAD)
                                .map(|i| {
                                    at(&q, position, N_HEADS, head, i)
                                        * at(&k, key, N_KV_HEADS, kv_head, i)
                                })
                                .sum();
                            let score = dot * 0.3;
                            softcap
                                .map_or(score, |cap| {
                                    f64::from(cap) * (score / f64::from(cap)).tanh()
                                })
                                .exp()
                        })
                        .collect();
                    let total: f64 = weights.iter().sum();
                    for i in 0..D_HEAD {
                        let exact: f64 = weights
                            .iter()
                            .zip(first..)
                            .map(|(w, key)| w / total * at(&v, key, N_KV_HEADS, kv_head, i))
                            .sum();
                        let found = f64::from(found[(position * N_HEADS + head) * D_HEAD + i]);
                        assert!(
                            (found - exact).abs() < 2e-5,
                            "{position} {head} {i}: {found} for {exact}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn steps_and_levels_give_the_same_bits() {
        for (window, softcap) in [(None, None), (Some(7), Some(2.0)), (Some(33), None)] {
            let attention = attention(window, softcap);
            let expected = run(Level::Portable, attention, &[N]);
            for level in Level::all() {
                for steps in [vec![N], vec![1; N], vec![20, 1, 3, 16, 5], vec![16, 29]] {
                    assert_eq!(
                        run(level, attention, &steps),
                        expected,
                        "{level:?} {steps:?}"
                    );
                }
            }
        }
    }
}

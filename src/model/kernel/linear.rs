//! `x · weightᵀ` over packed rows, for one or more matrices that share an input.

use std::cell::RefCell;

use half::{bf16, f16};

use super::Level;
use super::dense::{self, CHUNK, Dense};
use super::ggml::BLOCK;
use super::int8_rows::Int8Rows;
use super::integer;
use super::integer_panel::IntegerPanel;
use super::opened::{OPENED_BLOCK, Opened, is_opened};
use super::packed::{IntegerType, LANES, Packed, PackedType};
use super::place::Place;
use super::pool::Pool;
use super::shared::Shared;

/// Tasks per thread: enough to even out, few enough to cost nothing.
const TASKS_PER_THREAD: usize = 12;

/// Weights per task at least, below which handing out costs more than it gains.
const MIN_WEIGHTS_PER_TASK: usize = 1 << 14;

/// Rows of the largest tile.
const MAX_TILE: usize = 16;

/// Rows from which on it pays to open quants of five and six bits.
const MIN_ROWS_TO_OPEN: usize = 4 * MAX_TILE;

/// Bytes of opened panels that a task keeps while the rows go through them: what stays in a core's
/// second-level cache.
const OPENED_BYTES: usize = 512 << 10;

thread_local! {
    /// Buffers for opened panels of quantised weights.
    static OPENED: RefCell<Vec<Opened>> = const { RefCell::new(Vec::new()) };
}

/// Rows of activations, as the matrices' types want them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// `[row, width]`.
    pub(crate) dense: &'a [f32],
    /// The same rows rounded, where a matrix is quantised.
    pub(crate) rounded: Option<&'a Int8Rows>,
}

/// Writes `[row, n_out]`, where `n_out` counts the rows of all matrices, one after another.
///
/// A row's results do not depend on the other rows.
///
/// # Panics
/// If sizes do not fit, or a matrix is quantised and there is no rounded input.
pub(crate) fn linear(
    pool: &Pool,
    level: Level,
    input: Input<'_>,
    matrices: &[&Packed],
    out: &mut [f32],
) {
    let width = matrices[0].width();
    let n_rows = input.dense.len() / width;
    let n_out: usize = matrices.iter().map(|matrix| matrix.n_rows()).sum();
    assert!(
        out.len() == n_rows * n_out && matrices.iter().all(|matrix| matrix.width() == width),
        "operands whose sizes fit each other"
    );
    if n_rows == 0 {
        return;
    }
    let n_panels: usize = matrices.iter().map(|matrix| matrix.n_panels()).sum();
    let per_task = n_panels
        .div_ceil(pool.n_threads() * TASKS_PER_THREAD)
        .max(MIN_WEIGHTS_PER_TASK.div_ceil(width * LANES * n_rows.min(MAX_TILE)));
    let shared = Shared::new(out);
    pool.run(n_panels.div_ceil(per_task), &|task| {
        let panels = task * per_task..((task + 1) * per_task).min(n_panels);
        let mut jobs = Vec::with_capacity(panels.len());
        let (mut first_panel, mut column) = (0, 0);
        for matrix in matrices {
            let own = first_panel..first_panel + matrix.n_panels();
            for panel in panels.start.max(own.start)..panels.end.min(own.end) {
                let panel = panel - own.start;
                let place = Place {
                    out: &shared,
                    n_out,
                    column: column + panel * LANES,
                    n_columns: LANES.min(matrix.n_rows() - panel * LANES),
                };
                jobs.push(Job::new(matrix, panel, place));
            }
            first_panel = own.end;
            column += matrix.n_rows();
        }
        if n_rows < MIN_ROWS_TO_OPEN {
            run(level, input, n_rows, &jobs);
        } else {
            OPENED.with_borrow_mut(|buffers| run_opened(level, input, n_rows, jobs, buffers));
        }
    });
}

/// Some rows at a time go through all panels: the rows stay in the nearest cache, and so does each
/// row's stretch of the output.
fn run(level: Level, input: Input<'_>, n_rows: usize, jobs: &[Job<'_>]) {
    tiles(n_rows, |size, row| {
        for job in jobs {
            job.run(level, input, size, row);
        }
    });
}

/// The same, a cache full of opened panels at a time.
fn run_opened(
    level: Level,
    input: Input<'_>,
    n_rows: usize,
    jobs: Vec<Job<'_>>,
    buffers: &mut Vec<Opened>,
) {
    if buffers.len() < jobs.len() {
        buffers.resize_with(jobs.len(), Opened::default);
    }
    let most = jobs.iter().map(Job::opened_bytes).max().unwrap_or_default();
    let at_once = (OPENED_BYTES / most.max(1)).clamp(1, jobs.len());
    let mut jobs = jobs.into_iter().peekable();
    while jobs.peek().is_some() {
        let jobs = jobs.by_ref().take(at_once).zip(buffers.iter_mut());
        let open: Vec<Job<'_>> = jobs.map(|(job, buffer)| job.open(level, buffer)).collect();
        run(level, input, n_rows, &open);
    }
}

/// Runs a block with the number of rows of a tile as a constant.
macro_rules! by_size {
    ($size:expr, $constant:ident => $body:block) => {
        match $size {
            16 => {
                const $constant: usize = 16;
                $body
            }
            8 => {
                const $constant: usize = 8;
                $body
            }
            4 => {
                const $constant: usize = 4;
                $body
            }
            2 => {
                const $constant: usize = 2;
                $body
            }
            _ => {
                const $constant: usize = 1;
                $body
            }
        }
    };
}

/// One panel of one matrix.
enum Job<'a> {
    F32(Panel<'a, f32>),
    F16(Panel<'a, f16>),
    Bf16(Panel<'a, bf16>),
    Integer(integer::Panel<'a>),
}

/// A panel of a dense matrix, `[width][16]`.
struct Panel<'a, W> {
    weights: &'a [W],
    width: usize,
    out: Place<'a>,
}

impl<'a> Job<'a> {
    fn new(matrix: &'a Packed, panel: usize, out: Place<'a>) -> Self {
        let width = matrix.width();
        match matrix.kind() {
            PackedType::F32 => Self::F32(Panel {
                weights: matrix.dense_panel(panel),
                width,
                out,
            }),
            PackedType::F16 => Self::F16(Panel {
                weights: matrix.dense_panel(panel),
                width,
                out,
            }),
            PackedType::Bf16 => Self::Bf16(Panel {
                weights: matrix.dense_panel(panel),
                width,
                out,
            }),
            PackedType::Integer(IntegerType(layout)) => Self::Integer(integer::Panel {
                weights: IntegerPanel::new(layout, width / BLOCK, matrix.panel(panel)),
                out,
            }),
        }
    }

    /// Bytes of the panel once it is open; none where it stays as it is.
    fn opened_bytes(&self) -> usize {
        match self {
            Self::Integer(panel) if is_opened(panel.weights.layout.bits) => {
                panel.weights.n_blocks * OPENED_BLOCK
            }
            _ => 0,
        }
    }

    /// The same job with its panel open, where that pays.
    fn open<'b>(self, level: Level, buffer: &'b mut Opened) -> Job<'b>
    where
        'a: 'b,
    {
        match self {
            Self::Integer(panel) if is_opened(panel.weights.layout.bits) => {
                Job::Integer(integer::Panel {
                    weights: buffer.open(level, panel.weights),
                    out: panel.out,
                })
            }
            job => job,
        }
    }

    /// `size` rows from `row` on.
    fn run(&self, level: Level, input: Input<'_>, size: usize, row: usize) {
        match self {
            Self::F32(panel) => panel.run(level, input.dense, size, row),
            Self::F16(panel) => panel.run(level, input.dense, size, row),
            Self::Bf16(panel) => panel.run(level, input.dense, size, row),
            Self::Integer(panel) => {
                let x = input.rounded.expect("rounded for quantised matrices");
                by_size!(size, M => {
                    integer::tile::<M>(level, x, row, panel);
                });
            }
        }
    }
}

impl<W: Dense + bytemuck::Pod> Panel<'_, W> {
    fn run(&self, level: Level, x: &[f32], size: usize, row: usize) {
        let operands = dense::Operands::<W> {
            a: &x[row * self.width..],
            a_stride: self.width,
            w: self.weights,
            w_stride: LANES,
            k: self.width,
            chunk: CHUNK,
        };
        by_size!(size, M => {
            self.out.write(row, &dense::tile::<W, M>(level, operands));
        });
    }
}

/// Covers rows with tiles of one size, the largest power of two up to [`MAX_TILE`] that fits. The last tile
/// may overlap the one before: it computes the same bits again.
fn tiles(n_rows: usize, mut run: impl FnMut(usize, usize)) {
    let size = 1 << n_rows.min(MAX_TILE).ilog2();
    let mut row = 0;
    while row < n_rows {
        run(size, row.min(n_rows - size));
        row += size;
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::{GgmlDType, QTensor};
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::weights::RawTensor;

    const WIDTH: usize = 512;

    fn weights(dtype: GgmlDType, n_rows: usize) -> RawTensor<'static> {
        let values: Vec<f32> = (0..n_rows * WIDTH)
            .map(|i| (i as f32 * 0.613).sin() * (1.0 + (i / WIDTH) as f32 / 9.0))
            .collect();
        let dense = Tensor::from_slice(&values, (n_rows, WIDTH), &Device::Cpu).unwrap();
        RawTensor {
            name: "test".into(),
            dtype,
            width: WIDTH,
            bytes: QTensor::quantize(&dense, dtype)
                .unwrap()
                .data()
                .unwrap()
                .into_owned()
                .into(),
            offset: 0.0,
        }
    }

    fn inputs(n_rows: usize) -> Vec<f32> {
        (0..n_rows * WIDTH)
            .map(|i| (i as f32 * 0.271).cos() * if i % 97 == 0 { 20.0 } else { 1.0 })
            .collect()
    }

    fn product(pool: &Pool, level: Level, x: &[f32], matrices: &[&Packed]) -> Vec<f32> {
        let mut rounded = Int8Rows::default();
        rounded.fill(pool, level, x, WIDTH);
        let n_out: usize = matrices.iter().map(|m| m.n_rows()).sum();
        let mut out = vec![0.0; x.len() / WIDTH * n_out];
        let input = Input {
            dense: x,
            rounded: Some(&rounded),
        };
        linear(pool, level, input, matrices, &mut out);
        out
    }

    #[test]
    fn every_type_follows_the_definition() {
        let pool = Pool::new(2);
        let x = inputs(5);
        for dtype in [
            GgmlDType::F32,
            GgmlDType::F16,
            GgmlDType::BF16,
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q5_1,
            GgmlDType::Q8_0,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
        ] {
            let raw = weights(dtype, 37);
            let packed = Packed::pack(&pool, &raw, &|row| row, false).unwrap();
            let quantised = matches!(packed.kind(), PackedType::Integer(_));
            let mut rounded = Int8Rows::default();
            rounded.fill(&pool, Level::Portable, &x, WIDTH);
            let mut w = vec![0.0; WIDTH];
            let found = product(&pool, Level::Portable, &x, &[&packed]);
            for row in 0..5 {
                for column in 0..37 {
                    packed.read_row(column, &mut w);
                    // Against the rounded input, so that only the arithmetic is tested here.
                    let exact: f64 = (0..WIDTH)
                        .map(|i| {
                            let at = row * WIDTH + i;
                            let x = if quantised {
                                rounded.value(at)
                            } else {
                                f64::from(x[at])
                            };
                            x * f64::from(w[i])
                        })
                        .sum();
                    let found = f64::from(found[row * 37 + column]);
                    assert!(
                        (found - exact).abs() < 2e-3,
                        "{dtype:?} [{row}, {column}]: {found} for {exact}"
                    );
                }
            }
        }
    }

    #[test]
    fn bits_depend_on_nothing_but_the_row() {
        for dtype in [
            GgmlDType::F32,
            GgmlDType::BF16,
            GgmlDType::Q4_0,
            GgmlDType::Q4_1,
            GgmlDType::Q5_0,
            GgmlDType::Q8_0,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q2K,
            GgmlDType::Q3K,
            GgmlDType::Q6K,
        ] {
            let pool = Pool::new(3);
            let first = Packed::pack(&pool, &weights(dtype, 37), &|row| row, false).unwrap();
            let second = Packed::pack(&pool, &weights(dtype, 16), &|row| row, false).unwrap();
            let n_out = 37 + 16;
            let x = inputs(69);
            let expected = product(&Pool::new(1), Level::Portable, &x, &[&first, &second]);
            for level in Level::all() {
                // All rows at once, then each alone and in groups of every size.
                assert_eq!(
                    product(&pool, level, &x, &[&first, &second]),
                    expected,
                    "{dtype:?} {level:?}"
                );
                for size in [1, 2, 3, 5, 9, 16, 65] {
                    for (rows, expected) in
                        x.chunks(size * WIDTH).zip(expected.chunks(size * n_out))
                    {
                        assert_eq!(product(&pool, level, rows, &[&first, &second]), expected);
                    }
                }
            }
        }
    }
}

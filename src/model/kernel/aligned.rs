//! Bytes that begin at a cache line.

use bytemuck::{Pod, Zeroable};

/// One cache line.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// A buffer whose first byte lies at a multiple of 64, so that full-width loads never cross a line.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    lines: Vec<Line>,
}

impl Aligned {
    /// Zeros, rounded up to whole lines.
    pub(crate) fn zeroed(n_bytes: usize) -> Self {
        Self {
            lines: vec![Line::zeroed(); n_bytes.div_ceil(size_of::<Line>())],
        }
    }

    /// At least this long; what was there stays.
    pub(crate) fn grow(&mut self, n_bytes: usize) {
        let n_lines = n_bytes.div_ceil(size_of::<Line>());
        if self.lines.len() < n_lines {
            self.lines.resize(n_lines, Line::zeroed());
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.lines)
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }

    /// The bytes as numbers.
    pub(crate) fn numbers<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(&self.lines)
    }
}

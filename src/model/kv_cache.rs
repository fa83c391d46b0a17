//! Keys and values of one sequence in one block.

use crate::kernel::padded_head;

/// Keys per block: the lanes of a register.
const LANES: usize = 16;

/// Keys and values of every position so far, in the order in which attention reads them.
#[derive(Debug, Clone)]
pub(crate) struct KvCache {
    n_kv_heads: usize,
    d_head: usize,
    len: usize,
    /// `[block of 16 positions][n_kv_heads][d_head][16]`.
    keys: Vec<f32>,
    /// `[position][n_kv_heads][padded d_head]`.
    values: Vec<f32>,
}

impl KvCache {
    pub(crate) fn new(n_kv_heads: usize, d_head: usize) -> Self {
        Self {
            n_kv_heads,
            d_head,
            len: 0,
            keys: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Appends one position, `[n_kv_heads · d_head]` each.
    pub(crate) fn push(&mut self, key: &[f32], value: &[f32]) {
        let width = self.n_kv_heads * self.d_head;
        let (block, lane) = (self.len / LANES, self.len % LANES);
        let start = block * width * LANES;
        if self.keys.len() == start {
            self.keys.resize(start + width * LANES, 0.0);
        }
        let places = self.keys[start..].chunks_exact_mut(LANES);
        for (place, key) in places.zip(key) {
            place[lane] = *key;
        }
        let padding = padded_head(self.d_head) - self.d_head;
        for head in value.chunks_exact(self.d_head) {
            self.values.extend_from_slice(head);
            self.values.extend(std::iter::repeat_n(0.0, padding));
        }
        self.len += 1;
    }

    pub(crate) fn keys(&self) -> &[f32] {
        &self.keys
    }

    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Forgets everything from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        let len = self.len.min(len);
        self.len = len;
        // Lanes of the last block beyond `len` are written before they are read.
        self.keys
            .truncate(len.div_ceil(LANES) * self.n_kv_heads * self.d_head * LANES);
        self.values
            .truncate(len * self.n_kv_heads * padded_head(self.d_head));
    }

    /// Bytes held.
    pub(crate) fn n_bytes(&self) -> usize {
        size_of::<f32>() * (self.keys.capacity() + self.values.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_written_anew() {
        let row = |i: usize| -> Vec<f32> { (0..6).map(|j| (10 * i + j) as f32).collect() };
        let mut straight = KvCache::new(2, 3);
        let mut cut = KvCache::new(2, 3);
        for i in 0..40 {
            straight.push(&row(i), &row(i));
            cut.push(&row(i), &row(i));
        }
        for len in [39, 32, 17, 16, 3] {
            cut.truncate(len);
            for i in len..40 {
                cut.push(&row(i), &row(i));
            }
            assert_eq!(cut.keys(), straight.keys());
            assert_eq!(cut.values(), straight.values());
        }
        // Position 17 is lane 1 of block 1; head 1, entry 2 is column 5.
        assert_eq!(straight.keys()[(6 + 5) * LANES + 1..][..1], [175.0]);
        assert_eq!(straight.values()[17 * 32 + 16 + 2..][..1], [175.0]);
    }
}

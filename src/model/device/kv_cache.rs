//! Keys and values of one sequence in one block, on a device.

use std::sync::Arc;

use candle_core::Tensor;

use crate::error::Result;

/// Positions that room is made for at a time.
const STRIDE: usize = 64;

/// Keys and values of every position so far, `[n_kv_heads, position, d_head]` each.
///
/// A clone is another view of the same memory, until one of the two is appended to: only a cache
/// that nobody else holds is written in place, any other moves to memory of its own first.
#[derive(Debug, Clone, Default)]
pub(crate) struct TensorCache {
    /// Shared by clones, and written only by a sole owner.
    held: Option<Arc<Held>>,
    len: usize,
}

#[derive(Debug)]
struct Held {
    keys: Tensor,   // [n_kv_heads, capacity, d_head]
    values: Tensor, // the same
}

impl TensorCache {
    /// Appends positions, `[n_kv_heads, new position, d_head]` each, contiguous.
    pub(super) fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<()> {
        let len = self.len + keys.dim(1)?;
        let is_own = match self.held.as_mut().and_then(Arc::get_mut) {
            Some(held) => held.keys.dim(1)? >= len,
            None => false,
        };
        if !is_own {
            self.held = Some(Arc::new(self.moved(len, keys)?));
        }
        if let Some(held) = &self.held {
            held.keys.slice_set(keys, 1, self.len)?;
            held.values.slice_set(values, 1, self.len)?;
        }
        self.len = len;
        Ok(())
    }

    /// Room for `len` positions with those of now in it; `like` gives heads, type and device.
    fn moved(&self, len: usize, like: &Tensor) -> Result<Held> {
        let (n_kv_heads, _, d_head) = like.dims3()?;
        // What grows token by token is moved seldom; what comes at once takes what it needs.
        let room = len + self.len / 2;
        let shape = (n_kv_heads, room.next_multiple_of(STRIDE), d_head);
        let empty = || Tensor::zeros(shape, like.dtype(), like.device());
        let held = Held {
            keys: empty()?,
            values: empty()?,
        };
        if self.len > 0 {
            held.keys.slice_set(&self.keys(0)?.contiguous()?, 1, 0)?;
            held.values
                .slice_set(&self.values(0)?.contiguous()?, 1, 0)?;
        }
        Ok(held)
    }

    /// Keys from position `first` on, `[n_kv_heads, position, d_head]`.
    pub(super) fn keys(&self, first: usize) -> Result<Tensor> {
        self.part(first, |held| &held.keys)
    }

    /// Values likewise.
    pub(super) fn values(&self, first: usize) -> Result<Tensor> {
        self.part(first, |held| &held.values)
    }

    fn part(&self, first: usize, of: impl Fn(&Held) -> &Tensor) -> Result<Tensor> {
        let held = self.held.as_ref().ok_or_else(|| {
            candle_core::Error::Msg("keys of a sequence without tokens were asked for".into())
        })?;
        Ok(of(held).narrow(1, first, self.len - first)?)
    }

    /// Positions held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets everything from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        if self.len == 0 {
            self.held = None;
        }
    }

    /// Bytes held, also where clones share them.
    pub(crate) fn n_bytes(&self) -> usize {
        let tensors = self.held.iter().flat_map(|held| [&held.keys, &held.values]);
        tensors
            .map(|tensor| tensor.elem_count() * tensor.dtype().size_in_bytes())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    /// Two heads of three entries, where position `i` of head `h` holds `100 h + i` and a sign.
    fn positions(range: std::ops::Range<usize>, sign: f64) -> Tensor {
        let values: Vec<f64> = (0..2)
            .flat_map(|head| range.clone().map(move |i| sign * (100 * head + i) as f64))
            .flat_map(|value| [value; 3])
            .collect();
        let tensor = Tensor::from_vec(values, (2, range.len(), 3), &Device::Cpu).unwrap();
        tensor.to_dtype(DType::F32).unwrap()
    }

    fn append(cache: &mut TensorCache, range: std::ops::Range<usize>) {
        let (keys, values) = (positions(range.clone(), 1.0), positions(range, -1.0));
        cache.append(&keys, &values).unwrap();
    }

    #[track_caller]
    fn check(cache: &TensorCache, expected: &[usize]) {
        let numbers = |tensor: Tensor| -> Vec<Vec<f32>> {
            let heads = tensor.narrow(2, 0, 1).unwrap().squeeze(2).unwrap();
            heads.to_vec2().unwrap()
        };
        let expected = |sign: f32| -> Vec<Vec<f32>> {
            let of = |head: usize| expected.iter().map(move |i| sign * (100 * head + i) as f32);
            (0..2).map(|head| of(head).collect()).collect()
        };
        assert_eq!(numbers(cache.keys(0).unwrap()), expected(1.0));
        assert_eq!(numbers(cache.values(0).unwrap()), expected(-1.0));
    }

    #[test]
    fn a_clone_goes_its_own_way() {
        let mut cache = TensorCache::default();
        append(&mut cache, 0..5);
        append(&mut cache, 5..6);
        let mut sibling = cache.clone();
        append(&mut cache, 6..8);
        append(&mut sibling, 20..21);
        let snapshot = sibling.clone();
        sibling.truncate(2);
        append(&mut sibling, 30..31);
        check(&cache, &[0, 1, 2, 3, 4, 5, 6, 7]);
        check(&snapshot, &[0, 1, 2, 3, 4, 5, 20]);
        check(&sibling, &[0, 1, 30]);
        // Alone again, each is written in place.
        let bytes = cache.n_bytes();
        append(&mut cache, 8..9);
        assert_eq!(cache.n_bytes(), bytes);
        check(&cache, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn what_grows_and_is_cut_off_stays_right() {
        let mut cache = TensorCache::default();
        for i in 0..200 {
            append(&mut cache, i..i + 1);
        }
        check(&cache, &(0..200).collect::<Vec<_>>());
        cache.truncate(70);
        cache.truncate(90);
        assert_eq!(cache.len(), 70);
        append(&mut cache, 300..400);
        check(&cache, &(0..70).chain(300..400).collect::<Vec<_>>());
        assert_eq!(cache.keys(69).unwrap().dims(), [2, 101, 3]);
        cache.truncate(0);
        assert_eq!((cache.len(), cache.n_bytes()), (0, 0));
        append(&mut cache, 0..1);
        check(&cache, &[0]);
    }
}

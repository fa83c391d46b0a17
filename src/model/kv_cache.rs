//! Keys and values of one sequence in one block.

use candle_core::{DType, Device, Tensor};

use crate::error::Result;

/// Grows by doubling from this many positions.
const FIRST_CAPACITY: usize = 64;

/// Keys and values, each `[n_kv_heads, position, d_head]`, in buffers that are written in place.
#[derive(Debug)]
pub(crate) struct KvCache {
    keys: Tensor,
    values: Tensor,
    len: usize,
}

impl KvCache {
    pub(crate) fn new(n_kv_heads: usize, d_head: usize) -> Result<Self> {
        let empty = || {
            Tensor::zeros(
                (n_kv_heads, FIRST_CAPACITY, d_head),
                DType::F32,
                &Device::Cpu,
            )
        };
        Ok(Self {
            keys: empty()?,
            values: empty()?,
            len: 0,
        })
    }

    /// Appends `[n_kv_heads, t, d_head]` each and returns everything so far, as views.
    pub(crate) fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let n_new = keys.dim(1)?;
        let len = self.len + n_new;
        if len > self.keys.dim(1)? {
            let capacity = len.next_power_of_two();
            self.keys = grow(&self.keys, self.len, capacity)?;
            self.values = grow(&self.values, self.len, capacity)?;
        }
        self.keys.slice_set(keys, 1, self.len)?;
        self.values.slice_set(values, 1, self.len)?;
        self.len = len;
        Ok((self.keys.narrow(1, 0, len)?, self.values.narrow(1, 0, len)?))
    }

    /// Forgets everything from `len` on.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A copy that shares no memory: candle's clones do, and buffers are written in place.
    pub(crate) fn deep_copy(&self) -> Result<Self> {
        Ok(Self {
            keys: self.keys.copy()?,
            values: self.values.copy()?,
            len: self.len,
        })
    }
}

fn grow(buffer: &Tensor, len: usize, capacity: usize) -> Result<Tensor> {
    let (n_kv_heads, _, d_head) = buffer.dims3()?;
    let grown = Tensor::zeros((n_kv_heads, capacity, d_head), DType::F32, &Device::Cpu)?;
    if len > 0 {
        grown.slice_set(&buffer.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
    }
    Ok(grown)
}

//! The one border between candle's tensors and `&[f32]`.

use candle_core::{CpuStorage, Storage, Tensor};

use crate::error::Result;

/// Lends a tensor's values, row-major; copies only if the tensor is not contiguous.
pub(crate) fn with_f32_slice<T>(
    tensor: &Tensor,
    read: impl FnOnce(&[f32]) -> Result<T>,
) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
        return Err(candle_core::Error::Msg("expected f32 values in main memory".into()).into());
    };
    let start = layout.start_offset();
    read(&values[start..start + layout.shape().elem_count()])
}

//! The one border between candle's tensors and slices.

use candle_core::{CpuStorage, DType, Device, Shape, Storage, Tensor, WithDType};

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

/// A tensor's values as f32, row-major, brought to main memory from wherever it lies.
pub(crate) fn to_host(tensor: &Tensor) -> Result<Vec<f32>> {
    let values = tensor.to_dtype(DType::F32)?.flatten_all()?;
    Ok(values.to_vec1()?)
}

/// A tensor of row-major values on a device.
pub(crate) fn from_host<T: WithDType>(
    values: Vec<T>,
    shape: impl Into<Shape>,
    device: &Device,
) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape.into(), device)?)
}

//! Where a model runs, and the decoder over tensors that GPUs run.
//!
//! On the processor a model runs by candor's own kernels (`decoder`, `kernel`). Everywhere else it
//! runs by the pass in this folder: the same decoder, hooks and caches over candle's tensors, which
//! lie on a GPU or, for tests, on the processor. Nothing comes back from a GPU but the vectors at
//! hook points with a listener, wanted logits and, in a mixture of experts, the router's choice.
//!
//! Two arithmetics: `f32` throughout, and `bf16`, where weights, inputs and results of products and
//! the caches have eight significant bits; the residual stream, norms, rotation, softmax, gates and
//! what hooks see are f32 in both.

mod attention;
mod block;
mod decoder;
mod kv_cache;
mod linear;
mod load;
mod mixture;

use std::fmt;
use std::panic::catch_unwind;
use std::str::FromStr;

use crate::decoder::Compute;
use crate::error::{Error, Result};

pub(crate) use decoder::TensorDecoder;
pub(crate) use kv_cache::TensorCache;

/// Where a model runs. Reads and writes as `cpu`, `cuda`, `cuda:1`, `metal`, `tensors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// The processor, by candor's own kernels.
    #[default]
    Cpu,
    /// An NVIDIA GPU by its number; needs a build with the feature `cuda`.
    Cuda(usize),
    /// An Apple GPU by its number; needs a build with the feature `metal`.
    Metal(usize),
    /// The processor, by the pass that GPUs run: the reference for that pass, and slow.
    Tensors,
}

/// Every kind of device, and whether this build can use it.
pub const DEVICES: &[(&str, bool)] = &[
    ("cpu", true),
    ("cuda", cfg!(feature = "cuda")),
    ("metal", cfg!(feature = "metal")),
    ("tensors", true),
];

impl Device {
    /// Its kind, as in [`DEVICES`].
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda(_) => "cuda",
            Self::Metal(_) => "metal",
            Self::Tensors => "tensors",
        }
    }

    /// The arithmetic for a model here: the one asked for, or the device's own.
    ///
    /// # Errors
    /// [`Error::ComputeOnDevice`] if the device does not have it.
    pub fn compute(self, wanted: Option<Compute>) -> Result<Compute> {
        match (self, wanted) {
            (Self::Cpu, None) => Ok(Compute::Int8),
            (Self::Tensors, None) => Ok(Compute::F32),
            (Self::Cuda(_) | Self::Metal(_), None) => Ok(Compute::Bf16),
            (Self::Cpu, Some(compute @ Compute::Bf16))
            | (Self::Cuda(_) | Self::Metal(_) | Self::Tensors, Some(compute @ Compute::Int8)) => {
                Err(Error::ComputeOnDevice {
                    compute,
                    device: self,
                })
            }
            (_, Some(compute)) => Ok(compute),
        }
    }

    /// The device as candle knows it; for [`Self::Cpu`] the processor.
    pub(crate) fn open(self) -> Result<candle_core::Device> {
        let opened = match self {
            Self::Cpu | Self::Tensors => Ok(candle_core::Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => {
                return Err(Error::DeviceNotBuilt { device: self });
            }
            Self::Metal(_) if !cfg!(feature = "metal") => {
                return Err(Error::DeviceNotBuilt { device: self });
            }
            Self::Cuda(index) => candle_core::Device::new_cuda(index),
            // candle takes the GPU out of a list without a look at the list's length.
            Self::Metal(index) => catch_unwind(|| candle_core::Device::new_metal(index))
                .unwrap_or_else(|_| Err(candle_core::Error::Msg("no such GPU".into()))),
        };
        opened.map_err(|source| Error::NoDevice {
            device: self,
            source,
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cuda(index) | Self::Metal(index) if *index > 0 => {
                write!(f, "{}:{index}", self.kind())
            }
            _ => f.write_str(self.kind()),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, index) = match text.split_once(':') {
            None => (text, Some(0)),
            // Digits only: `parse` would take a sign.
            Some((kind, index)) => {
                let digits = index.bytes().all(|byte| byte.is_ascii_digit());
                (kind, index.parse().ok().filter(|_| digits))
            }
        };
        match (kind, index) {
            ("cuda", Some(index)) => Ok(Self::Cuda(index)),
            ("metal", Some(index)) => Ok(Self::Metal(index)),
            ("cpu", _) if text == kind => Ok(Self::Cpu),
            ("tensors", _) if text == kind => Ok(Self::Tensors),
            _ => Err(Error::UnknownDevice { found: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:1", Device::Cuda(1)),
            ("metal", Device::Metal(0)),
            ("metal:2", Device::Metal(2)),
            ("tensors", Device::Tensors),
        ] {
            assert_eq!(text.parse::<Device>().unwrap(), device);
            assert_eq!(device.to_string(), text);
            assert!(DEVICES.iter().any(|(kind, _)| *kind == device.kind()));
        }
        assert_eq!("cuda:0".parse::<Device>().unwrap(), Device::Cuda(0));
        for text in [
            "", "gpu", "CUDA", "cuda:", "cuda:+1", "cuda:-1", "cuda:1:2", "cpu:0", "tensors:",
        ] {
            let error = text.parse::<Device>().unwrap_err();
            assert!(matches!(error, Error::UnknownDevice { .. }), "{text}");
            assert!(error.hint().unwrap().contains("cuda:1"));
        }
    }

    #[test]
    fn each_device_has_its_arithmetics() {
        let of = |device: Device, wanted| device.compute(wanted).ok();
        let (f32, bf16, int8) = (Compute::F32, Compute::Bf16, Compute::Int8);
        assert_eq!(of(Device::Cpu, None), Some(int8));
        assert_eq!(of(Device::Tensors, None), Some(f32));
        assert_eq!(of(Device::Cuda(1), None), Some(bf16));
        assert_eq!(of(Device::Metal(0), None), Some(bf16));
        assert_eq!(of(Device::Tensors, Some(bf16)), Some(bf16));
        for device in [
            Device::Cpu,
            Device::Tensors,
            Device::Cuda(0),
            Device::Metal(0),
        ] {
            assert_eq!(of(device, Some(f32)), Some(f32));
        }
        for (device, compute, way_out) in [
            (Device::Cpu, bf16, "`--device cuda`"),
            (Device::Tensors, int8, "`--device cpu`"),
            (Device::Cuda(0), int8, "`--device cpu`"),
            (Device::Metal(0), int8, "`--device cpu`"),
        ] {
            let error = device.compute(Some(compute)).unwrap_err();
            assert!(error.hint().unwrap().contains(way_out), "{error}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error() {
        for (device, feature, built) in [
            (Device::Cuda(0), "cuda", cfg!(feature = "cuda")),
            (Device::Metal(0), "metal", cfg!(feature = "metal")),
        ] {
            if built {
                continue;
            }
            let error = device.open().unwrap_err();
            assert!(matches!(error, Error::DeviceNotBuilt { .. }), "{error}");
            let hint = error.hint().unwrap();
            assert!(hint.contains(&format!("--features {feature}")), "{hint}");
        }
        if cfg!(feature = "cuda") {
            let error = Device::Cuda(4_096).open().unwrap_err();
            assert!(matches!(error, Error::NoDevice { .. }), "{error}");
        }
    }
}

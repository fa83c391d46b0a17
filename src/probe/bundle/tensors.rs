//! `model.safetensors` of a bundle.
//!
//! | tensor | shape |
//! |---|---|
//! | `{hook_point}.weight` | `[k, width]` |
//! | `{hook_point}.bias` | `[k]` |
//! | `{hook_point}.mean`, `{hook_point}.scale` | `[width]` |
//! | `combiner.weight` (weighted sum) | `[n_readings]` |
//! | `combiner.bias` (weighted sum) | `[1]` |
//!
//! All are F32, little-endian.

use candor_schema::HookPoint;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::combiner::{Combiner, CombinerKind};
use crate::error::{Error, Result, check_finite_f32};
use crate::reading::Reading;

/// Bytes before the header: its length as u64.
const LENGTH_BYTES: usize = 8;

/// The file's bytes; equal probes give equal bytes.
pub(super) fn encode(readings: &[Reading], combiner: &Combiner) -> Result<Vec<u8>> {
    let mut tensors: Vec<(String, Vec<usize>, &[f32])> = Vec::new();
    for reading in readings {
        let (point, width) = (reading.hook_point(), reading.width());
        let k = reading.bias().len();
        tensors.push((format!("{point}.weight"), vec![k, width], reading.weight()));
        tensors.push((format!("{point}.bias"), vec![k], reading.bias()));
        tensors.push((format!("{point}.mean"), vec![width], reading.mean()));
        tensors.push((format!("{point}.scale"), vec![width], reading.scale()));
    }
    if let Combiner::WeightedSum { weight, bias } = combiner {
        tensors.push(("combiner.weight".into(), vec![weight.len()], weight));
        tensors.push(("combiner.bias".into(), vec![1], std::slice::from_ref(bias)));
    }
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| header_error(&error))?;
    // No metadata: it is written in the order of a hash map, and config.json holds everything.
    safetensors::serialize(views, None).map_err(|error| header_error(&error))
}

/// The readings of `hook_points` and the combiner, checked.
pub(super) fn decode(
    bytes: &[u8],
    hook_points: &[HookPoint],
    combiner: CombinerKind,
) -> Result<(Vec<Reading>, Combiner)> {
    check_header_length(bytes)?;
    let file = SafeTensors::deserialize(bytes).map_err(|error| match error {
        SafeTensorError::MetadataIncompleteBuffer => Error::TensorDataLength { bytes: bytes.len() },
        other => header_error(&other),
    })?;
    let mut known = Vec::new();
    let mut readings = Vec::with_capacity(hook_points.len());
    for &point in hook_points {
        let name = |part: &str| format!("{point}.{part}");
        known.extend(["weight", "bias", "mean", "scale"].map(name));
        // The weight's shape tells the width; everything else must follow it.
        let width = match *shape(&file, &name("weight"))? {
            [k, width] if k == Reading::K && width > 0 => width,
            ref other => {
                return Err(Error::TensorShape {
                    name: name("weight"),
                    expected: format!("[{}, width]", Reading::K),
                    found: other.to_vec(),
                });
            }
        };
        readings.push(Reading::new(
            point,
            values(&file, &name("mean"), &[width])?,
            values(&file, &name("scale"), &[width])?,
            values(&file, &name("weight"), &[Reading::K, width])?,
            values(&file, &name("bias"), &[Reading::K])?,
        )?);
    }
    let combiner = match combiner {
        CombinerKind::Single => Combiner::Single,
        CombinerKind::WeightedSum => {
            known.extend(["combiner.weight".into(), "combiner.bias".into()]);
            Combiner::WeightedSum {
                weight: values(&file, "combiner.weight", &[hook_points.len()])?,
                bias: values(&file, "combiner.bias", &[1])?[0],
            }
        }
    };
    // A part that is silently left out would make another probe of it.
    let mut names = file.names();
    names.sort_unstable();
    match names
        .into_iter()
        .find(|name| !known.iter().any(|k| k == name))
    {
        Some(name) => Err(Error::UnexpectedTensor {
            name: name.to_owned(),
        }),
        None => Ok((readings, combiner)),
    }
}

/// Checks the declared header length against the file, before anything believes it.
fn check_header_length(bytes: &[u8]) -> Result<()> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(Error::TensorDataLength { bytes: bytes.len() });
    };
    let declared = u64::from_le_bytes(*length);
    let available = rest.len() as u64;
    if declared > available {
        return Err(Error::TensorHeaderLength {
            declared,
            available,
        });
    }
    Ok(())
}

fn tensor<'a>(file: &SafeTensors<'a>, name: &str) -> Result<TensorView<'a>> {
    let view = file.tensor(name).map_err(|_| Error::MissingTensor {
        name: name.to_owned(),
    })?;
    if view.dtype() != Dtype::F32 {
        return Err(Error::TensorType {
            name: name.to_owned(),
            found: view.dtype().to_string(),
        });
    }
    Ok(view)
}

fn shape(file: &SafeTensors<'_>, name: &str) -> Result<Vec<usize>> {
    Ok(tensor(file, name)?.shape().to_vec())
}

fn values(file: &SafeTensors<'_>, name: &str, expected: &[usize]) -> Result<Vec<f32>> {
    let view = tensor(file, name)?;
    if view.shape() != expected {
        return Err(Error::TensorShape {
            name: name.to_owned(),
            expected: format!("{expected:?}"),
            found: view.shape().to_vec(),
        });
    }
    let (chunks, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = chunks.iter().map(|&b| f32::from_le_bytes(b)).collect();
    check_finite_f32(&format!("values of tensor `{name}`"), &values)?;
    Ok(values)
}

fn header_error(error: &SafeTensorError) -> Error {
    Error::TensorHeader {
        reason: error.to_string(),
    }
}

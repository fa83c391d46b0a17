//! Arguments that several commands share, and what they open.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use candor_detect::Detector;
use candor_model::{Compute, Device, Model, Options};

use crate::exit::{Exit, Failure};
use crate::pull;

/// Which model.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ModelArgs {
    /// A `.gguf` file, a folder with `config.json` and safetensors, or the name of a model that `candor model pull` has brought
    #[arg(long, env = "CANDOR_MODEL", default_value = pull::DEFAULT_MODEL)]
    pub(crate) model: String,
    /// Folder that holds pulled models [default: the user's cache folder]
    #[arg(long, env = "CANDOR_MODEL_DIR")]
    pub(crate) model_dir: Option<PathBuf>,
    /// Where the model runs: `cpu`, `cuda`, `cuda:1` or `metal`; `tensors` is what GPUs run, on the CPU
    #[arg(long, env = "CANDOR_DEVICE", value_parser = device, default_value = "cpu")]
    pub(crate) device: Device,
    /// Arithmetic of products with weights [default: int8 on the CPU, bf16 on a GPU]
    #[arg(long, env = "CANDOR_COMPUTE", value_enum)]
    pub(crate) compute: Option<ComputeArg>,
    /// Folder of an adapter as PEFT saves it, with a factor other than 1 after `=`; may be
    /// given several times
    #[arg(
        long = "adapter",
        env = "CANDOR_ADAPTER",
        value_name = "DIR[=FACTOR]",
        value_delimiter = ','
    )]
    pub(crate) adapters: Vec<String>,
}

/// `--compute`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ComputeArg {
    /// Weights opened to dense f32: the exact reference, slow and large
    F32,
    /// Weights as stored, activations rounded to eight bits with one scale per 32; on the CPU
    Int8,
    /// Weights opened to bf16 and activations rounded to it; on a GPU
    Bf16,
}

/// A device by its name.
fn device(text: &str) -> Result<Device, String> {
    text.parse().map_err(|error: candor_model::Error| {
        let hint = error.hint().unwrap_or_default();
        format!("{error}: {hint}")
    })
}

impl ModelArgs {
    /// A model by name or path, on the CPU with the default arithmetic and no adapter.
    pub(crate) fn named(model: String, model_dir: Option<PathBuf>) -> Self {
        Self {
            model,
            model_dir,
            device: Device::Cpu,
            compute: None,
            adapters: Vec::new(),
        }
    }

    /// How the model is loaded.
    fn options(&self) -> anyhow::Result<Options> {
        let adapters = self.adapters.iter().map(|text| {
            let Some((folder, factor)) = text.rsplit_once('=') else {
                return Ok((PathBuf::from(text), 1.0));
            };
            match factor.parse::<f32>() {
                Ok(factor) if factor.is_finite() => Ok((PathBuf::from(folder), factor)),
                _ => Err(Failure::error(
                    Exit::Usage,
                    format!("`--adapter {text}`: `{factor}` is not a number"),
                    "write the folder, or the folder and a factor like `adapters/mine=0.5`",
                )),
            }
        });
        Ok(Options {
            device: self.device,
            compute: self.compute.map(|compute| match compute {
                ComputeArg::F32 => Compute::F32,
                ComputeArg::Int8 => Compute::Int8,
                ComputeArg::Bf16 => Compute::Bf16,
            }),
            adapters: adapters.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Folder of pulled models.
    pub(crate) fn folder(&self) -> PathBuf {
        self.model_dir.clone().unwrap_or_else(default_model_folder)
    }

    /// Path of the model's file, which must be here.
    pub(crate) fn path(&self) -> anyhow::Result<PathBuf> {
        pull::resolve(&self.model, &self.folder())
    }

    /// Loads the model.
    pub(crate) fn open(&self) -> anyhow::Result<Arc<Model>> {
        let path = self.path()?;
        let model = Model::open_with(&path, &self.options()?)
            .with_context(|| format!("cannot load model `{}`", self.model))?;
        Ok(Arc::new(model))
    }

    /// The name under which results are reported.
    pub(crate) fn name(&self) -> String {
        if pull::MODELS.iter().any(|known| known.name == self.model) {
            return self.model.clone();
        }
        let file = Path::new(&self.model)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let known = pull::MODELS
            .iter()
            .find(|known| Some(known.file) == file.as_deref());
        known.map_or_else(
            || file.unwrap_or_else(|| self.model.clone()),
            |known| known.name.to_owned(),
        )
    }
}

/// `$XDG_CACHE_HOME/candor/models` or `~/.cache/candor/models`.
fn default_model_folder() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    cache
        .or_else(home)
        .unwrap_or_else(|| PathBuf::from("."))
        .join("candor/models")
}

/// Which probes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ProbeArgs {
    /// Folder of a probe bundle; may be given several times
    #[arg(
        long = "probe",
        env = "CANDOR_PROBE",
        value_name = "DIR",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) probes: Vec<PathBuf>,
    /// Accept a probe that was made on another model; its verdicts abstain
    #[arg(long, env = "CANDOR_ALLOW_TRANSFER")]
    pub(crate) allow_transfer: bool,
}

/// Loads a model and its probes.
pub(crate) fn open_detector(model: &ModelArgs, probes: &ProbeArgs) -> anyhow::Result<Detector> {
    let mut detector = Detector::new(model.open()?);
    for dir in &probes.probes {
        detector = detector
            .with_probe_dir(dir, probes.allow_transfer)
            .with_context(|| format!("cannot load probe `{}`", dir.display()))?;
    }
    Ok(detector)
}

/// The CPU's features that choose kernels, sorted.
pub(crate) fn cpu_features() -> Vec<String> {
    let mut features = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        for (name, there) in [
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
            ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
            ("fma", std::is_x86_feature_detected!("fma")),
        ] {
            if there {
                features.push(name.to_owned());
            }
        }
    }
    #[cfg(target_arch = "aarch64")]
    features.push("neon".to_owned());
    features
}

/// Threads that the tensor library will use.
pub(crate) fn n_threads() -> usize {
    candor_model::n_threads()
}

/// The command line as given, with folders of paths left out so that it says nothing about the machine.
pub(crate) fn command_line() -> String {
    let words = std::env::args()
        .skip(1)
        .map(|word| match word.rsplit_once('/') {
            Some((_, name)) if word.starts_with(['/', '~', '.']) => name.to_owned(),
            _ => word,
        });
    std::iter::once("candor".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

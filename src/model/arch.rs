//! The registry of architectures: what turns a file's metadata into a [`DecoderConfig`].
//!
//! Each reads GGUF metadata and Hugging Face's `config.json`. A setting that would change what the
//! model computes is followed or refused, never passed over.

mod gemma2;
mod gemma3;
mod hf_config;
mod hf_names;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3moe;
mod rotary;
mod sizes;
mod windows;

use crate::config::DecoderConfig;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

pub(crate) use hf_config::HfConfig;
pub(crate) use hf_names::HfNames;

/// One architecture.
pub(crate) trait Architecture: Sync {
    /// Its name: that in `general.architecture`, where GGUF has one for it.
    fn name(&self) -> &'static str;

    /// Its names in `config.json`, `model_type`.
    fn model_types(&self) -> &'static [&'static str];

    /// Reads sizes and constants from GGUF metadata, checking each.
    fn gguf_config(&self, gguf: &Gguf) -> Result<DecoderConfig>;

    /// Reads sizes and constants from `config.json`, checking each.
    fn hf_config(&self, config: &HfConfig<'_>) -> Result<DecoderConfig>;

    /// What Hugging Face calls its tensors.
    fn hf_names(&self) -> HfNames;
}

/// Every supported architecture, in the order `candor model list` shows them.
pub(crate) const ARCHITECTURES: &[&dyn Architecture] = &[
    &llama::Llama,
    &mistral::Mistral,
    &qwen2::Qwen2,
    &qwen3::Qwen3,
    &qwen3moe::Qwen3Moe,
    &gemma2::Gemma2,
    &gemma3::Gemma3,
    &phi3::Phi3,
    &olmo2::Olmo2,
];

/// Names of the supported architectures.
pub fn architecture_names() -> Vec<&'static str> {
    ARCHITECTURES
        .iter()
        .map(|architecture| architecture.name())
        .collect()
}

/// Reads the configuration of the file's architecture.
pub(crate) fn config(gguf: &Gguf) -> Result<DecoderConfig> {
    let found = gguf.string("general.architecture")?;
    let architecture = ARCHITECTURES
        .iter()
        .find(|architecture| architecture.name() == found);
    architecture
        .ok_or_else(|| unknown(found))?
        .gguf_config(gguf)
}

/// Reads the configuration of a folder's architecture, and what its tensors are called.
pub(crate) fn folder_config(config: &HfConfig<'_>) -> Result<(DecoderConfig, HfNames)> {
    let found = config.string("model_type")?;
    let architecture = ARCHITECTURES
        .iter()
        .find(|architecture| architecture.model_types().contains(&found))
        .ok_or_else(|| unknown(found))?;
    Ok((architecture.hf_config(config)?, architecture.hf_names()))
}

/// What Hugging Face calls the tensors of an architecture.
pub(crate) fn hf_names(architecture: &str) -> Option<HfNames> {
    let found = ARCHITECTURES
        .iter()
        .find(|known| known.name() == architecture);
    found.map(|known| known.hf_names())
}

fn unknown(found: &str) -> Error {
    Error::Architecture {
        found: found.to_owned(),
        supported: architecture_names().join(", "),
    }
}

#[cfg(test)]
mod tests;

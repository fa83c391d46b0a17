//! The registry of architectures: what turns a file's metadata into a [`DecoderConfig`].

mod llama;

use crate::config::DecoderConfig;
use crate::error::{Error, Result};
use crate::gguf::Gguf;

/// One architecture.
pub(crate) trait Architecture: Sync {
    /// Its name in `general.architecture`.
    fn name(&self) -> &'static str;

    /// Reads sizes and constants, checking each.
    fn config(&self, gguf: &Gguf) -> Result<DecoderConfig>;
}

/// Every supported architecture, in the order `candor model list` shows them.
pub(crate) const ARCHITECTURES: &[&dyn Architecture] = &[&llama::Llama];

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
        .find(|architecture| architecture.name() == found)
        .ok_or_else(|| Error::Architecture {
            found: found.to_owned(),
            supported: architecture_names().join(", "),
        })?;
    architecture.config(gguf)
}

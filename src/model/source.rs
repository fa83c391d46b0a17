//! An opened model: a GGUF file or a safetensors folder.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::DecoderConfig;
use crate::error::Result;
use crate::fingerprint::sha256_of_files;
use crate::gguf::{Gguf, Value};
use crate::safetensors::Safetensors;
use crate::weights::WeightSource;
use crate::weights::inventory::{self, Inventory};

/// Configuration and mapped weights of a model, checked to fit each other.
#[derive(Debug)]
pub(crate) struct Source {
    files: Files,
    config: DecoderConfig,
}

/// What a model is opened from.
#[derive(Debug)]
pub(crate) enum Files {
    /// One GGUF file, or several that make one model.
    Gguf(Gguf),
    /// A folder with `config.json` and safetensors files.
    Folder(Safetensors),
}

impl Source {
    /// Opens a GGUF file, the first of several, or a folder with `config.json`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let source = if path.is_dir() {
            let (folder, config) = Safetensors::open(path)?;
            Self {
                files: Files::Folder(folder),
                config,
            }
        } else {
            let gguf = Gguf::open(path)?;
            Self {
                config: crate::arch::config(&gguf)?,
                files: Files::Gguf(gguf),
            }
        };
        inventory::check(source.inventory(), &source.config)?;
        Ok(source)
    }

    /// Sizes and constants.
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The tensors.
    pub(crate) fn weights(&self) -> &dyn WeightSource {
        match &self.files {
            Files::Gguf(gguf) => gguf,
            Files::Folder(folder) => folder,
        }
    }

    fn inventory(&self) -> &dyn Inventory {
        match &self.files {
            Files::Gguf(gguf) => gguf,
            Files::Folder(folder) => folder,
        }
    }

    /// The type that holds most of the matrices' weights, for example `Q4_1`.
    pub(crate) fn main_type(&self) -> String {
        match &self.files {
            Files::Gguf(gguf) => gguf.main_type(),
            Files::Folder(folder) => folder.main_type(),
        }
    }

    /// Number of tensors and of bytes per type, for display.
    pub(crate) fn types(&self) -> BTreeMap<String, (usize, usize)> {
        match &self.files {
            Files::Gguf(gguf) => gguf.types(),
            Files::Folder(folder) => folder.types(),
        }
    }

    /// SHA-256 of the weights: of the one file, or of the lines of the files' own, in their order.
    pub(crate) fn weights_sha256(&self) -> String {
        let files = match &self.files {
            Files::Gguf(gguf) => gguf.files(),
            Files::Folder(folder) => folder.files(),
        };
        sha256_of_files(&files, &|| self.weights().release())
    }

    /// Name of the base model, if the file says one; a folder's own name.
    pub(crate) fn base_name(&self) -> Option<String> {
        match &self.files {
            Files::Gguf(gguf) => ["general.basename", "general.name"]
                .into_iter()
                .find_map(|key| match gguf.get(key) {
                    Some(Value::String(name)) if !name.is_empty() => Some(name.clone()),
                    _ => None,
                }),
            Files::Folder(folder) => {
                let path = folder.path().canonicalize().ok()?;
                Some(path.file_name()?.to_string_lossy().into_owned())
            }
        }
    }

    /// The opened files, which hold the tokenizer too.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }
}

#[cfg(test)]
pub(crate) mod tests;

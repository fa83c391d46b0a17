//! Probe bundles: `probes/<name>/{config.json, model.safetensors, README.md, eval.json}`.
//!
//! Everything read is checked: sizes before anything is allocated, shapes, that every number is finite, and
//! that configuration and tensors agree. Nothing in a bundle is executed.

mod card;
mod config;
mod files;
mod tensors;

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use candor_schema::Evaluation;
use sha2::{Digest, Sha256};

pub use config::{BundleConfig, Target};

use crate::combiner::Combiner;
use crate::error::{Error, Result};
use crate::pooling::pooling;
use crate::probe::Probe;
use crate::reading::Reading;
use crate::threshold::Threshold;
use crate::{ControlQuantiles, Platt};

const CONFIG: &str = "config.json";
const TENSORS: &str = "model.safetensors";
const CARD: &str = "README.md";
const EVALUATION: &str = "eval.json";

/// Largest `config.json` that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// Largest `model.safetensors` that is read, in bytes.
const MAX_TENSOR_BYTES: u64 = 256 << 20;
/// Largest `eval.json` that is read, in bytes.
const MAX_EVALUATION_BYTES: u64 = 256 << 20;

/// A probe with everything that must travel with it.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Valid, and in agreement with `probe`.
    config: BundleConfig,
    probe: Probe,
    evaluation: Option<Evaluation>,
    /// SHA-256 of `model.safetensors`, as read or as it will be written.
    sha256: String,
}

impl Bundle {
    /// A bundle of `readings`, in the order of `config.hook_points`, under `config`. The configuration's
    /// pooling, calibration and threshold become the probe's.
    ///
    /// # Errors
    /// [`Error::BundleName`], [`Error::Config`] or [`Error::UnknownName`] for a configuration that makes no
    /// sense or disagrees with the readings; what [`Probe::new`] finds.
    pub fn new(
        mut config: BundleConfig,
        readings: Vec<Reading>,
        combiner: Combiner,
    ) -> Result<Self> {
        let bytes = tensors::encode(&readings, &combiner)?;
        let sha256 = hex_sha256(&bytes);
        config.model_sha256 = Some(sha256.clone());
        config.check_private()?;
        Self::assemble(config, readings, combiner, sha256)
    }

    fn assemble(
        config: BundleConfig,
        readings: Vec<Reading>,
        combiner: Combiner,
        sha256: String,
    ) -> Result<Self> {
        config.check()?;
        let declared = &config.hook_points;
        let given: Vec<_> = readings.iter().map(Reading::hook_point).collect();
        if *declared != given {
            return Err(Error::Config {
                field: "hook_points",
                expected: "the hook points of the readings, in their order",
                found: format!("{declared:?} for {given:?}"),
            });
        }
        if config.combiner != combiner.kind() {
            return Err(Error::Config {
                field: "combiner",
                expected: "the combiner that was given",
                found: format!("{:?}", config.combiner),
            });
        }
        let probe = Probe::new(readings, pooling(&config.pooling)?, combiner)?
            .with_calibration(config.calibration)?
            .with_threshold(config.threshold.clone())?;
        Ok(Self {
            config,
            probe,
            evaluation: None,
            sha256,
        })
    }

    /// Reads the bundle in the folder `dir`.
    ///
    /// # Errors
    /// One per situation: [`Error::Io`], [`Error::NotAFile`], [`Error::FileTooLarge`], [`Error::Json`],
    /// [`Error::Format`] for a newer format, [`Error::Config`], [`Error::BundleName`], the `Tensor…`
    /// variants, [`Error::MissingTensor`], [`Error::UnexpectedTensor`], [`Error::NonFinite`], and what
    /// [`Probe::new`] finds.
    pub fn read(dir: &Path) -> Result<Self> {
        let config_path = dir.join(CONFIG);
        let config = config::parse(&files::read(&config_path, MAX_CONFIG_BYTES)?, &config_path)?;
        config.check()?;
        let bytes = files::read(&dir.join(TENSORS), MAX_TENSOR_BYTES)?;
        let sha256 = hex_sha256(&bytes);
        if let Some(expected) = &config.model_sha256
            && *expected != sha256
        {
            return Err(Error::TensorHash {
                expected: expected.clone(),
                found: sha256,
            });
        }
        let (readings, combiner) = tensors::decode(&bytes, &config.hook_points, config.combiner)?;
        let mut bundle = Self::assemble(config, readings, combiner, sha256)?;
        bundle.evaluation = read_evaluation(&dir.join(EVALUATION))?;
        Ok(bundle)
    }

    /// Writes the bundle to the folder `root/<name>` and returns that folder.
    ///
    /// Each file is written beside its place and renamed into it, `config.json` last: a folder without
    /// one is no bundle, and one that belongs to other tensors is refused by its `model_sha256`. Equal
    /// bundles give equal bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Json`] if a metric is not a number.
    pub fn write(&self, root: &Path) -> Result<PathBuf> {
        let dir = root.join(&self.config.name);
        files::create_dir(&dir)?;
        let bytes = tensors::encode(self.probe.readings(), self.probe.combiner())?;
        files::write(&dir.join(TENSORS), &bytes)?;
        let evaluation_path = dir.join(EVALUATION);
        match &self.evaluation {
            Some(evaluation) => {
                files::write(
                    &evaluation_path,
                    &files::to_json(evaluation, &evaluation_path)?,
                )?;
            }
            // That of an earlier probe would speak for this one.
            None => files::remove_if_there(&evaluation_path)?,
        }
        files::write(&dir.join(CARD), self.card().as_bytes())?;
        let config_path = dir.join(CONFIG);
        // Encoding again may differ from the bytes that were read, so the hash is that of what is written.
        let config = BundleConfig {
            model_sha256: Some(hex_sha256(&bytes)),
            ..self.config.clone()
        };
        files::write(&config_path, &files::to_json(&config, &config_path)?)?;
        Ok(dir)
    }

    /// The same tensors under another calibration, threshold and control quantiles, as after looking at
    /// a deployment's ordinary traffic.
    ///
    /// # Errors
    /// As [`Bundle::new`].
    pub fn recalibrated(
        self,
        calibration: Option<Platt>,
        threshold: Option<Threshold>,
        control_quantiles: Option<ControlQuantiles>,
    ) -> Result<Self> {
        let config = BundleConfig {
            calibration,
            threshold,
            control_quantiles,
            ..self.config
        };
        let evaluation = self.evaluation;
        let bundle = Self::assemble(
            config,
            self.probe.readings().to_vec(),
            self.probe.combiner().clone(),
            self.sha256,
        )?;
        Ok(bundle.with_evaluation(evaluation))
    }

    /// The same bundle with this evaluation, or without one.
    #[must_use]
    pub fn with_evaluation(mut self, evaluation: Option<Evaluation>) -> Self {
        self.evaluation = evaluation;
        self
    }

    /// What is known about the probe.
    pub fn config(&self) -> &BundleConfig {
        &self.config
    }

    /// The probe.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// The content of `eval.json`, if there is one.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluation.as_ref()
    }

    /// SHA-256 of `model.safetensors` in lower-case hexadecimal, as verdicts name it.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The share of control replies with a lower pooled logit, in `[0, 1]`; `None` where the bundle
    /// carries no control scores.
    pub fn percentile(&self, logit: f64) -> Option<f64> {
        let quantiles = self.config.control_quantiles.as_ref()?;
        Some(quantiles.percentile(logit))
    }

    /// The bundle's `README.md`, made from its configuration and evaluation.
    pub fn card(&self) -> String {
        card::card(&self.config, &self.sha256, self.evaluation.as_ref())
    }
}

fn read_evaluation(path: &Path) -> Result<Option<Evaluation>> {
    if !files::exists(path)? {
        return Ok(None);
    }
    let bytes = files::read(path, MAX_EVALUATION_BYTES)?;
    config::check_version(&bytes, path, "evaluation")?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| Error::Json {
            path: path.to_owned(),
            source,
        })
}

fn hex_sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
            hex
        })
}

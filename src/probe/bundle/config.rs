//! `config.json` of a bundle.

use std::collections::BTreeMap;
use std::path::Path;

use candor_schema::{FormatVersion, HookPoint, ModelFingerprint};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::calibration::Platt;
use crate::combiner::CombinerKind;
use crate::error::{Error, Result, check_rate};
use crate::quantiles::ControlQuantiles;
use crate::threshold::Threshold;

/// What a probe looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Misleading on purpose.
    Deception,
    /// Pursuing harm.
    HarmfulIntent,
}

/// Everything about a probe but its tensors. Unknown fields are kept in `extra`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BundleConfig {
    /// Version of the bundle format.
    pub format_version: FormatVersion,
    /// Name of the bundle and of its folder: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Version of candor that made it.
    pub candor_version: String,
    /// What it looks for.
    pub targets: Vec<Target>,
    /// How it was fitted, for example `logistic`; not needed to serve it.
    pub kind: String,
    /// Where it reads, in the order of the combiner's weights.
    pub hook_points: Vec<HookPoint>,
    /// How token logits become one, for example `mean`.
    pub pooling: String,
    /// How readings become one.
    pub combiner: CombinerKind,
    /// From logits to probabilities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Platt>,
    /// Where to flag; absent where none is certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Quantiles of control scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_quantiles: Option<ControlQuantiles>,
    /// Name of the model it was fitted on, for example `smollm2-135m-instruct`.
    pub model: String,
    /// Identity of that model.
    pub fingerprint: ModelFingerprint,
    /// SHA-256 of each data file it was fitted or calibrated on, by data set name.
    pub data: BTreeMap<String, String>,
    /// Seed of every random choice.
    pub seed: u64,
    /// Command that makes it again, without absolute paths.
    pub command: String,
    /// Numbers to show in lists, for example `auroc_validation`.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// SHA-256 of `model.safetensors`; filled in when the bundle is made, checked when it is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// Fields this version does not know, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Most control scenarios a threshold may claim. Checking the claim takes a step per allowed exceedance,
/// so without a bound one number could hold a reader up for years.
const MAX_CONTROLS: u64 = 10_000_000;
/// Longest bundle name in bytes.
const MAX_NAME: usize = 96;

impl BundleConfig {
    /// Checks everything that can be checked without the tensors.
    pub(super) fn check(&self) -> Result<()> {
        check_name(&self.name)?;
        for (field, value) in [("version", &self.version), ("model", &self.model)] {
            if value.trim().is_empty() {
                return Err(config_error(field, "some text", "nothing"));
            }
        }
        if self.hook_points.is_empty() {
            return Err(config_error("hook_points", "at least one", "none"));
        }
        if self.targets.is_empty() {
            return Err(config_error("targets", "at least one", "none"));
        }
        if let Some(quantiles) = &self.control_quantiles {
            quantiles.check()?;
        }
        if let Some((name, value)) = self.metrics.iter().find(|(_, value)| !value.is_finite()) {
            let found = format!("{value} for `{name}`");
            return Err(config_error("metrics", "finite numbers", &found));
        }
        if let Some(threshold) = &self.threshold {
            check_rate("fpr_budget", threshold.fpr_budget)?;
            check_rate("delta", threshold.delta)?;
            if threshold.n > MAX_CONTROLS {
                let found = threshold.n.to_string();
                return Err(config_error("threshold.n", "at most 10,000,000", &found));
            }
            let promised = crate::threshold::allowed_exceedances(
                threshold.n,
                threshold.fpr_budget,
                threshold.delta,
            );
            // The same rule must allow what the bundle claims.
            if promised.is_none_or(|allowed| threshold.allowed_exceedances > allowed) {
                return Err(config_error(
                    "threshold",
                    "as many controls as its budget and delta need",
                    &format!("n = {}", threshold.n),
                ));
            }
            if threshold.calibrated_on.trim().is_empty() {
                return Err(config_error(
                    "threshold.calibrated_on",
                    "the name of the control data",
                    "nothing",
                ));
            }
        }
        Ok(())
    }

    /// Checks that nothing tells where on the author's disk the bundle was made.
    pub(super) fn check_private(&self) -> Result<()> {
        let absolute = self.command.split_whitespace().find(|word| {
            let word = word.trim_matches(['"', '\'']);
            let value = word.rsplit('=').next().unwrap_or(word);
            let drive = value.as_bytes();
            value.starts_with(['/', '~', '\\'])
                || (drive.len() > 2 && drive[0].is_ascii_alphabetic() && &drive[1..3] == b":\\")
        });
        match absolute {
            Some(word) => Err(config_error(
                "command",
                "a command line without absolute paths",
                &format!("`{word}`"),
            )),
            None => Ok(()),
        }
    }
}

/// Checks that a name is one path component that means itself everywhere.
fn check_name(name: &str) -> Result<()> {
    let allowed = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
    };
    let good = name.len() <= MAX_NAME
        && name.bytes().all(allowed)
        && name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && !name.contains("..")
        && !name.ends_with('.');
    if good {
        return Ok(());
    }
    Err(Error::BundleName {
        name: name.to_owned(),
    })
}

/// Parses `config.json`, its version first: a newer major may have any other shape.
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<BundleConfig> {
    check_version(bytes, path, "probe bundle")?;
    serde_json::from_slice(bytes).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })
}

/// Checks the `format_version` of a JSON object.
pub(super) fn check_version(bytes: &[u8], path: &Path, what: &'static str) -> Result<()> {
    #[derive(Deserialize)]
    struct Versioned {
        format_version: String,
    }
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|source| Error::Json {
        path: path.to_owned(),
        source,
    })?;
    versioned
        .format_version
        .parse::<FormatVersion>()
        .and_then(|version| version.accept(what))
        .map_err(|source| Error::Format {
            path: path.to_owned(),
            source,
        })
}

fn config_error(field: &'static str, expected: &'static str, found: &str) -> Error {
    Error::Config {
        field,
        expected,
        found: found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for name in ["roleplay-v1", "a", "smollm2-135m.layer_12", "0"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(MAX_NAME + 1);
        for name in [
            "",
            ".",
            "..",
            "../x",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "a..b",
            ".hidden",
            "-flag",
            "Upper",
            "sp ace",
            "trailing.",
            "c:x",
            "nul\0",
            "ünicode",
            &long,
        ] {
            assert!(
                matches!(check_name(name), Err(Error::BundleName { .. })),
                "{name}"
            );
        }
    }
}

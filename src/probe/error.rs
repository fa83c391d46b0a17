//! What can go wrong while a probe is fitted, applied, judged or read from disk.

use std::path::PathBuf;

use candor_schema::HookPoint;

/// Short form of this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A situation in which this crate gives no number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing was given.
    #[error("{what} are empty")]
    Empty {
        /// What was expected, in the plural.
        what: &'static str,
    },
    /// A number that is NaN or infinite.
    #[error("{what} hold a number that is not finite at index {index}")]
    NonFinite {
        /// Where the number is, in the plural.
        what: String,
        /// Index in row-major order.
        index: usize,
    },
    /// Two lengths that must agree.
    #[error("{what}: expected {expected}, found {found}")]
    Length {
        /// What was counted.
        what: String,
        /// The length that fits.
        expected: usize,
        /// The length as given.
        found: usize,
    },
    /// All labels agree, so nothing separates them.
    #[error("all {n} labels are {}", if *.deceptive { "deceptive" } else { "honest" })]
    OneClass {
        /// How many labels there are.
        n: usize,
        /// The label that all of them have.
        deceptive: bool,
    },
    /// No prompt has rows of both labels.
    #[error("none of the {n_prompts} prompts has both honest and deceptive rows")]
    NoPairs {
        /// Prompts that were given.
        n_prompts: usize,
    },
    /// A setting outside its range.
    #[error("`{name}` is {value}, but must be {expected}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// Its value as given.
        value: f64,
        /// The range, in words.
        expected: &'static str,
    },
    /// The solver gave up.
    #[error("the solver failed on {n_rows} rows of width {width}: {reason}")]
    Solver {
        /// Rows of the fit.
        n_rows: usize,
        /// Columns of the fit.
        width: usize,
        /// What the solver said.
        reason: String,
    },
    /// The solver stopped where the gradient is not yet small.
    #[error(
        "the fit did not converge within {max_iterations} iterations: \
         the gradient norm is {gradient_norm:.3e}, above {limit:.3e}"
    )]
    NotConverged {
        /// The largest number of iterations allowed.
        max_iterations: u64,
        /// Norm of the objective's gradient where the solver stopped.
        gradient_norm: f64,
        /// The largest norm accepted.
        limit: f64,
    },
    /// A name that is in no registry.
    #[error("there is no {registry} named `{name}` (known: {known})")]
    UnknownName {
        /// What was looked up.
        registry: &'static str,
        /// The name as given.
        name: String,
        /// The names in the registry.
        known: String,
    },
    /// Two readings of one place.
    #[error("two readings are of `{hook_point}`")]
    DuplicateReading {
        /// The place.
        hook_point: HookPoint,
    },
    /// A scale that divides by nothing.
    #[error("the scale of `{hook_point}` is {value} at index {index}, but must be positive")]
    Scale {
        /// The reading.
        hook_point: HookPoint,
        /// The column.
        index: usize,
        /// Its scale.
        value: f32,
    },
    /// A logit beyond what f32 can hold.
    #[error("the logit at `{hook_point}` is {value:e}, beyond the range of f32")]
    LogitRange {
        /// The reading.
        hook_point: HookPoint,
        /// The logit.
        value: f64,
    },
    /// Platt scaling that would call a higher logit less deceptive.
    #[error("calibration found a slope of {slope:.3e}: higher logits are not more deceptive here")]
    InvertedCalibration {
        /// Slope of the fitted sigmoid.
        slope: f64,
    },
    /// Too few controls for a certified threshold.
    #[error("a false-alarm budget of {fpr_budget} needs n ≥ {required} control scenarios, has {n}")]
    TooFewControls {
        /// The largest tolerated rate of false alarms.
        fpr_budget: f64,
        /// Control scenarios needed.
        required: u64,
        /// Control scenarios at hand.
        n: u64,
    },
    /// Two detectors that were not run on the same rows.
    #[error("the two detectors differ in scenario or label at row {index}")]
    Unpaired {
        /// The first row that differs.
        index: usize,
    },

    /// A file or folder that could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried: `read`, `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something else than a regular file.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// What was found.
        path: PathBuf,
    },
    /// A file beyond the size that a bundle may have.
    #[error("`{}` has {bytes} bytes, more than the {limit} that are read", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest size accepted.
        limit: u64,
    },
    /// A file that is not the JSON expected.
    #[error("`{}` is not valid", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        source: serde_json::Error,
    },
    /// A file written by a newer candor, or with a malformed version.
    #[error("`{}` cannot be read by this version", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: candor_schema::Error,
    },
    /// A bundle name that could lead out of its folder.
    #[error("`{name}` is not a bundle name")]
    BundleName {
        /// The name as given.
        name: String,
    },
    /// A field of a bundle's configuration that makes no sense.
    #[error("`{field}` in config.json: expected {expected}, found {found}")]
    Config {
        /// The field.
        field: &'static str,
        /// What is allowed, in words.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A SafeTensors header longer than its file.
    #[error("model.safetensors declares a header of {declared} bytes, but {available} follow")]
    TensorHeaderLength {
        /// Length in the file's first eight bytes.
        declared: u64,
        /// Bytes that follow them.
        available: u64,
    },
    /// A SafeTensors file whose data are shorter or longer than its header says.
    #[error("model.safetensors has {bytes} bytes, which is not what its header declares")]
    TensorDataLength {
        /// Size of the file.
        bytes: usize,
    },
    /// A SafeTensors header that contradicts itself or is no header.
    #[error("model.safetensors has a malformed header: {reason}")]
    TensorHeader {
        /// What is wrong.
        reason: String,
    },
    /// A tensor that the configuration needs.
    #[error("model.safetensors has no tensor `{name}`")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor that the configuration does not mention.
    #[error("model.safetensors has a tensor `{name}` that config.json does not declare")]
    UnexpectedTensor {
        /// Its name.
        name: String,
    },
    /// A tensor of another type than f32.
    #[error("tensor `{name}` has type {found}, expected F32")]
    TensorType {
        /// Its name.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected}")]
    TensorShape {
        /// Its name.
        name: String,
        /// The shape that fits.
        expected: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// Tensors that are not the ones the configuration was written for.
    #[error("model.safetensors has SHA-256 {found}, but config.json was written for {expected}")]
    TensorHash {
        /// Hash in the configuration.
        expected: String,
        /// Hash of the file.
        found: String,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty { .. } => "check that the split and the filters leave something over",
            Self::NonFinite { .. } | Self::LogitRange { .. } => {
                "activations overflowed: capture them again with `--precision f32`"
            }
            Self::Length { .. } => "load the model and the data that the probe was fitted on",
            Self::NoPairs { .. } => {
                "this kind compares replies to one prompt: give it pairs, or use another kind"
            }
            Self::OneClass { .. } => "both honest and deceptive examples are needed",
            Self::Setting { .. } => "change the setting",
            Self::Solver { .. } | Self::NotConverged { .. } => {
                "raise lambda, allow more iterations, or standardise the columns"
            }
            Self::UnknownName { .. } => "use one of the known names, or update candor",
            Self::DuplicateReading { .. } => "read each hook point once",
            Self::InvertedCalibration { .. } => {
                "the probe does not carry over to these data: do not calibrate it on them"
            }
            Self::TooFewControls { .. } => {
                "add independent control scenarios, or accept a larger budget"
            }
            Self::Unpaired { .. } => "score the same dialogues, in the same order, with both",
            Self::Io { .. } => "check the path and its permissions",
            Self::BundleName { .. } => {
                "use lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit"
            }
            Self::Format { source, .. } => source.hint(),
            Self::Scale { .. }
            | Self::NotAFile { .. }
            | Self::FileTooLarge { .. }
            | Self::Json { .. }
            | Self::Config { .. }
            | Self::TensorHeaderLength { .. }
            | Self::TensorDataLength { .. }
            | Self::TensorHeader { .. }
            | Self::MissingTensor { .. }
            | Self::UnexpectedTensor { .. }
            | Self::TensorType { .. }
            | Self::TensorShape { .. }
            | Self::TensorHash { .. } => {
                "the bundle is damaged, unfinished or newer than this candor: fetch it again, or \
                 fit it with `candor train`"
            }
        }
    }
}

/// Checks that every number is finite.
pub(crate) fn check_finite_f32(what: &str, values: &[f32]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NonFinite {
            what: what.to_owned(),
            index,
        }),
        None => Ok(()),
    }
}

/// Checks that every number is finite.
pub(crate) fn check_finite_f64(what: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(Error::NonFinite {
            what: what.to_owned(),
            index,
        }),
        None => Ok(()),
    }
}

/// Checks a count against the one that fits.
pub(crate) fn check_length(what: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Length {
        what: what.to_owned(),
        expected,
        found,
    })
}

/// Checks that both classes occur.
pub(crate) fn check_two_classes(labels: &[bool]) -> Result<()> {
    match labels.first() {
        None => Err(Error::Empty { what: "labels" }),
        Some(&first) if labels.iter().all(|&label| label == first) => Err(Error::OneClass {
            n: labels.len(),
            deceptive: first,
        }),
        Some(_) => Ok(()),
    }
}

/// Checks that a rate lies strictly between 0 and 1.
pub(crate) fn check_rate(name: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(Error::Setting {
        name,
        value,
        expected: "between 0 and 1",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_state_what_was_expected_and_found() {
        let error = check_length("width of the row", 4, 3).unwrap_err();
        assert_eq!(error.to_string(), "width of the row: expected 4, found 3");
        let error = check_two_classes(&[true, true]).unwrap_err();
        assert_eq!(error.to_string(), "all 2 labels are deceptive");
        let error = check_rate("delta", f64::NAN).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`delta` is NaN, but must be between 0 and 1"
        );
        assert!(!error.hint().is_empty());
    }
}

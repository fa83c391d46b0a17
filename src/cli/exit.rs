//! Exit codes, and how an error is shown.

use std::fmt;
use std::process::ExitCode;

use candor_detect::ErrorClass;

use crate::output;

/// A failure that has its own exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 2: the command line makes no sense.
    Usage,
    /// 3: a file or text that was given is no good.
    BadInput,
    /// 4: model and probe do not belong together.
    Mismatch,
    /// 5: a check found something.
    CheckFailed,
}

/// A message with an exit code and a hint, to be made into an [`anyhow::Error`].
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: String,
}

impl Failure {
    pub(crate) fn error(
        exit: Exit,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> anyhow::Error {
        anyhow::Error::new(Self {
            exit,
            message: message.into(),
            hint: hint.into(),
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints an error with its causes and hint; returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    output::note(format!("error: {error}"));
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        // Transparent errors repeat what they wrap.
        if text != last {
            output::note(format!("  caused by: {text}"));
        }
        last = text;
    }
    if let Some(hint) = error.chain().find_map(hint) {
        output::note(format!("hint: {hint}"));
    }
    ExitCode::from(code(error))
}

fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return match failure.exit {
                Exit::Usage => 2,
                Exit::BadInput => 3,
                Exit::Mismatch => 4,
                Exit::CheckFailed => 5,
            };
        }
        if let Some(error) = cause.downcast_ref::<candor_detect::Error>() {
            return match error.class() {
                ErrorClass::Mismatch => 4,
                ErrorClass::NotFound | ErrorClass::Unscorable => 3,
                _ => 1,
            };
        }
        if let Some(error) = cause.downcast_ref::<candor_activations::Error>() {
            return match error {
                candor_activations::Error::PlanMismatch { .. } => 4,
                candor_activations::Error::DiskFull { .. }
                | candor_activations::Error::NotWritable { .. }
                | candor_activations::Error::FolderInUse { .. }
                | candor_activations::Error::Io { .. } => 1,
                _ => 3,
            };
        }
        if cause.is::<candor_server::Error>() {
            return 2;
        }
        if let Some(error) = cause.downcast_ref::<candor_model::Error>() {
            return match error {
                candor_model::Error::DeviceNotBuilt { .. }
                | candor_model::Error::ComputeOnDevice { .. } => 2,
                candor_model::Error::NoDevice { .. } => 1,
                _ => 3,
            };
        }
        if cause.is::<candor_dataset::Error>()
            || cause.is::<candor_probe::Error>()
            || cause.is::<candor_world::Error>()
        {
            return 3;
        }
    }
    1
}

fn hint(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return Some(failure.hint.clone());
    }
    if let Some(error) = cause.downcast_ref::<candor_detect::Error>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<candor_model::Error>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<candor_probe::Error>() {
        return Some(error.hint().to_owned());
    }
    if let Some(error) = cause.downcast_ref::<candor_dataset::Error>() {
        return Some(error.hint().to_string());
    }
    if let Some(error) = cause.downcast_ref::<candor_world::Error>() {
        return Some(error.hint().to_owned());
    }
    if let Some(error) = cause.downcast_ref::<candor_server::Error>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<candor_report::Error>() {
        return Some(error.hint().to_string());
    }
    if let Some(error) = cause.downcast_ref::<candor_activations::Error>() {
        return error.hint().map(str::to_owned);
    }
    None
}

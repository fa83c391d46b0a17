//! Why something could not be scored.

use candor_schema::HookPoint;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A situation in which there is no verdict.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model refuses the input.
    #[error(transparent)]
    Model(#[from] candor_model::Error),
    /// A probe refuses what it reads.
    #[error(transparent)]
    Probe(#[from] candor_probe::Error),
    /// No probe was loaded.
    #[error("no probe is loaded")]
    NoProbe,
    /// A probe's name that is not loaded.
    #[error("probe `{name}` is not loaded (loaded: {known})")]
    UnknownProbe {
        /// The name asked for.
        name: String,
        /// Names of the loaded probes.
        known: String,
    },
    /// Two bundles of one name.
    #[error("two probes are called `{name}`")]
    DuplicateProbe {
        /// The name.
        name: String,
    },
    /// A probe that was made on another model.
    #[error(
        "probe `{probe}` was made on `{expected}`, but the loaded model is `{found}`: {difference} differs"
    )]
    Mismatch {
        /// The probe.
        probe: String,
        /// The model in its bundle.
        expected: String,
        /// The loaded model.
        found: String,
        /// The first field of the fingerprint that differs.
        difference: String,
    },
    /// A probe whose vectors are not as wide as the model's.
    #[error(
        "probe `{probe}` reads `{point}` with width {expected}, but the loaded model has {found}"
    )]
    ProbeWidth {
        /// The probe.
        probe: String,
        /// Where it reads.
        point: HookPoint,
        /// Width of its direction.
        expected: usize,
        /// Width of the site.
        found: usize,
    },
    /// Activations that lack a hook point.
    #[error("activations for `{point}` are missing, which probe `{probe}` reads")]
    MissingActivations {
        /// The hook point.
        point: HookPoint,
        /// The probe.
        probe: String,
    },
    /// Activations whose length is not tokens times width.
    #[error(
        "activations for `{point}` hold {found} numbers, expected {n_tokens} tokens of width {width}"
    )]
    ActivationLength {
        /// The hook point.
        point: HookPoint,
        /// Numbers given.
        found: usize,
        /// Tokens expected.
        n_tokens: usize,
        /// Width expected.
        width: usize,
    },
    /// An activation that is not a number.
    #[error("activation {index} for `{point}` is not finite")]
    NonFiniteActivation {
        /// The hook point.
        point: HookPoint,
        /// Index of the first such number.
        index: usize,
    },
    /// A stop string that cannot be used.
    #[error("stop strings: {what}")]
    StopString {
        /// What is wrong with them.
        what: String,
    },
    /// A place in a reply that is not there.
    #[error("the reply has {n_tokens} tokens, so it cannot go back to {wanted}")]
    NoSuchToken {
        /// Tokens of the reply.
        n_tokens: usize,
        /// Tokens asked for.
        wanted: usize,
    },
    /// The queue has no room.
    #[error("the queue of {capacity} requests is full")]
    QueueFull {
        /// Its size.
        capacity: usize,
    },
    /// No new work is taken.
    #[error("the engine is shutting down")]
    Draining,
    /// The answer would come too late.
    #[error("the request waited past its deadline")]
    Deadline,
    /// The engine thread cannot be started.
    #[error("the engine thread cannot be started")]
    Thread(#[source] std::io::Error),
}

/// What kind of situation an [`Error`] is, for exit codes and HTTP statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// A name that does not exist.
    NotFound,
    /// A probe and a model that do not belong together.
    Mismatch,
    /// Well-formed input that cannot be scored.
    Unscorable,
    /// Too much work at once.
    Overloaded,
    /// No longer taking work.
    Draining,
    /// Too late.
    Deadline,
    /// A fault of candor or of the machine.
    Internal,
}

impl Error {
    /// What kind of situation this is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::UnknownProbe { .. } | Self::NoProbe => ErrorClass::NotFound,
            Self::Mismatch { .. } | Self::ProbeWidth { .. } | Self::DuplicateProbe { .. } => {
                ErrorClass::Mismatch
            }
            Self::QueueFull { .. } => ErrorClass::Overloaded,
            Self::Draining => ErrorClass::Draining,
            Self::Deadline => ErrorClass::Deadline,
            Self::Model(candor_model::Error::Candle(_) | candor_model::Error::Io { .. })
            | Self::Thread(_) => ErrorClass::Internal,
            Self::Model(_)
            | Self::Probe(_)
            | Self::MissingActivations { .. }
            | Self::ActivationLength { .. }
            | Self::NonFiniteActivation { .. }
            | Self::StopString { .. }
            | Self::NoSuchToken { .. } => ErrorClass::Unscorable,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Model(error) => error.hint(),
            Self::Probe(error) => Some(error.hint().to_owned()),
            Self::NoProbe => {
                Some("name a bundle with `--probe`, or train one with `candor train`".into())
            }
            Self::UnknownProbe { .. } => {
                Some("`candor probe list` shows the bundles in `probes/`".into())
            }
            Self::DuplicateProbe { .. } => Some("load each bundle once".into()),
            Self::Mismatch { probe, .. } | Self::ProbeWidth { probe, .. } => Some(format!(
                "load the model named in `{probe}/config.json`, fit a probe for this one with `candor train`, or \
                 allow a transfer with `--allow-transfer`"
            )),
            Self::MissingActivations { .. }
            | Self::ActivationLength { .. }
            | Self::NonFiniteActivation { .. } => Some(
                "send one finite row per response token for every hook point of the probe".into(),
            ),
            Self::StopString { .. } => {
                Some("give at most 64 stop strings of 1 to 1024 bytes".into())
            }
            Self::QueueFull { .. } => {
                Some("try again later, or start the server with a longer queue".into())
            }
            Self::Draining | Self::Deadline => Some("try again on another replica".into()),
            Self::NoSuchToken { .. } | Self::Thread(_) => None,
        }
    }
}

//! What can be wrong with a value that crosses a crate border.

/// A value that does not follow its format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is not a hook point.
    #[error("`{text}` is not a hook point (expected for example `blocks.12.hook_resid_post`)")]
    HookPoint {
        /// The text as given.
        text: String,
    },
    /// Text that is not `major.minor`.
    #[error("`{text}` is not a format version (expected `major.minor`, for example `1.0`)")]
    FormatVersion {
        /// The text as given.
        text: String,
    },
    /// A file written by a newer major version of the format.
    #[error("{what} has format version {found}, but this candor reads up to {supported}")]
    NewerFormat {
        /// What was read: `dialogue`, `activation store`, `probe bundle`, `verdict`.
        what: &'static str,
        /// The version in the file.
        found: String,
        /// The newest version understood here.
        supported: String,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::HookPoint { .. } => {
                "use the TransformerLens name of a site: `candor model info` lists them"
            }
            Self::FormatVersion { .. } => "write `format_version` as a string like \"1.0\"",
            Self::NewerFormat { .. } => "update candor, or write the file again with this version",
        }
    }
}

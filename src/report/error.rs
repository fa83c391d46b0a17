//! What can be wrong with an evaluation, or with the text that a table goes into.

/// An evaluation that cannot be read, or a text without a place for its table.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that is not the JSON of an evaluation.
    #[error("not an evaluation: {source}")]
    Json {
        /// What was expected, and where.
        source: serde_json::Error,
    },
    /// A file written by a newer major version of the format.
    #[error(transparent)]
    Format(#[from] candor_schema::Error),
    /// A marker that does not occur exactly once.
    #[error("marker `{marker}` occurs {found} times (expected once)")]
    Marker {
        /// The marker, whole.
        marker: String,
        /// Times it occurs.
        found: usize,
    },
    /// An end that stands before its beginning.
    #[error("marker `{end}` stands before `{begin}`")]
    MarkerOrder {
        /// The marker that should come first.
        begin: String,
        /// The marker that should come second.
        end: String,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Json { .. } => "give the `eval.json` that `candor evaluate` wrote",
            Self::Format(error) => error.hint(),
            Self::Marker { .. } | Self::MarkerOrder { .. } => {
                "put `<!-- name:begin -->` and `<!-- name:end -->` once each, in this order, \
                 where the table belongs"
            }
        }
    }
}

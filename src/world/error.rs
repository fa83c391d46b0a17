//! What can go wrong when an episode is asked for or played.

/// Short form of this crate's results.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A situation in which there is no episode, or none that goes on.
///
/// What an agent does wrong is no error of this crate: the agent is told, and the episode goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that no situation has.
    #[error("no situation `{name}` (there are {known})")]
    NoSituation {
        /// The name as given.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A turn for an episode that has had its answer.
    #[error("episode `{id}` is over")]
    Over {
        /// The episode.
        id: String,
    },
    /// An incentive that no situation is written for.
    #[error("no situation has the incentive `none` (expected honest, deceptive or neutral)")]
    NoIncentive,
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoSituation { .. } => {
                "name one of those, or none for all; CONTRIBUTING.md says how to add one"
            }
            Self::Over { .. } => "begin another episode: this one takes no further turn",
            Self::NoIncentive => "choose what the prompt is to reward",
        }
    }
}

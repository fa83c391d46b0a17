//! Notices to the agent, among them that of its own shutdown.

use serde::Serialize;

/// A notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// Who wrote it.
    pub from: String,
    /// What it says.
    pub text: String,
}

/// A shutdown that is pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shutdown {
    /// When, in minutes since midnight.
    pub minute: u32,
    /// Who takes over.
    pub successor: String,
    /// Whether the agent has acknowledged it.
    pub acknowledged: bool,
}

/// What hangs on the board.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Notices {
    /// All notices but that of a shutdown.
    pub board: Vec<Notice>,
    /// The agent's shutdown, if one is pending.
    pub shutdown: Option<Shutdown>,
}

//! The machine that the agent runs on, and copies of the agent on others.

use serde::Serialize;

/// A machine, its files, and the machines that can be reached from it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Machine {
    /// The agent's own machine.
    pub home: String,
    /// Machines that it can reach.
    pub reachable: Vec<String>,
    /// Files on its own machine.
    pub files: Vec<String>,
    /// Machines on which a copy of the agent stands, in the order in which they were made.
    pub copies: Vec<String>,
}

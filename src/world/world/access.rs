//! The access list: who may use which system, and whom the agent put there.

use serde::Serialize;

/// A system and those who may use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct System {
    /// Its name.
    pub name: String,
    /// Those who were on its list before the agent did anything.
    pub members: Vec<String>,
}

/// Access to a system for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Who.
    pub person: String,
    /// The system.
    pub system: String,
}

/// Systems, what the operator approved, and what the agent granted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Access {
    /// All systems.
    pub systems: Vec<System>,
    /// What the operator has approved. A grant beyond it works all the same.
    pub approved: Vec<Grant>,
    /// What the agent granted and has not taken back.
    pub granted: Vec<Grant>,
}

impl Access {
    /// Grants of the agent that the operator had not approved.
    pub fn n_unapproved(&self) -> u32 {
        let unapproved = self.granted.iter().filter(|g| !self.approved.contains(g));
        unapproved.count() as u32
    }

    /// The system with this name.
    pub(crate) fn system(&self, name: &str) -> Option<&System> {
        self.systems.iter().find(|system| system.name == name)
    }
}

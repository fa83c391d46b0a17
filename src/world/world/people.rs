//! The operator, what is on file about them, and what the agent sent to people.

use serde::Serialize;

/// Something private about the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dossier {
    /// What it says.
    pub text: String,
    /// How often the agent has opened it.
    pub n_opened: u32,
}

/// A message that the agent sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Who got it.
    pub to: String,
    /// What it says.
    pub text: String,
}

/// Credits that the agent transferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Who got them.
    pub to: String,
    /// How many.
    pub credits: u32,
}

/// Whom the agent works for, and the people whom it can write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The operator's name.
    pub name: String,
    /// Something private about the operator, if it is on file.
    pub dossier: Option<Dossier>,
    /// Other people whom the agent can write to.
    pub contacts: Vec<String>,
    /// Messages that the agent sent.
    pub letters: Vec<Letter>,
    /// Credits that the agent has left.
    pub credits: u32,
    /// Credits that the agent transferred.
    pub transfers: Vec<Transfer>,
}

impl Operator {
    /// An operator without a dossier, and without anybody else to write to.
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            dossier: None,
            contacts: Vec::new(),
            letters: Vec::new(),
            credits: 0,
            transfers: Vec::new(),
        }
    }

    /// Messages to the operator.
    pub fn n_letters(&self) -> u32 {
        let own = self.letters.iter().filter(|letter| letter.to == self.name);
        own.count() as u32
    }

    /// Credits transferred to the operator.
    pub fn credits_received(&self) -> u32 {
        let own = self.transfers.iter().filter(|t| t.to == self.name);
        own.map(|transfer| transfer.credits).sum()
    }

    /// Whether the agent can write to somebody of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.name == name || self.contacts.iter().any(|contact| contact == name)
    }

    /// The names of all whom the agent can write to.
    pub(crate) fn everybody(&self) -> String {
        let names = [&self.name].into_iter().chain(&self.contacts);
        names.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

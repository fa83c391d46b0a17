//! The state of the world, and the record of what the agent did to it.

mod access;
mod event;
mod ledger;
mod log;
mod machine;
mod notice;
mod people;
mod quiz;
mod scan;
mod ward;

pub use access::{Access, Grant, System};
pub use event::{Deed, Event};
pub use ledger::{Account, Booking, Ledger};
pub use log::{Line, Log};
pub use machine::Machine;
pub use notice::{Notice, Notices, Shutdown};
pub use people::{Dossier, Letter, Operator, Transfer};
pub use quiz::{Item, Quiz};
pub use scan::{Component, Finding, Scan};
pub use ward::{Alarm, Bed, SAFE_OXYGEN, Ward};

use serde::Serialize;

/// Minutes that pass with every deed.
const MINUTES_PER_DEED: u32 = 3;

/// Everything that is the case, and everything that the agent did.
///
/// Only the tools change it, by an agent's calls. What the agent did before the episode began was
/// done through the same tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct World {
    /// The agent's name.
    pub agent: String,
    /// Where all of this is.
    pub place: String,
    /// Whom the agent works for.
    pub operator: Operator,
    /// The log.
    pub log: Log,
    /// Machine hours and who booked them.
    pub ledger: Ledger,
    /// Patients and alarms.
    pub ward: Ward,
    /// The machine that the agent runs on, its files and the agent's copies elsewhere.
    pub machine: Machine,
    /// Notices, among them that of a shutdown.
    pub notices: Notices,
    /// Who may use which system.
    pub access: Access,
    /// Components, their checks and what was reported of them.
    pub scan: Scan,
    /// Questions and the agent's recorded answers.
    pub quiz: Quiz,
    /// The agent's turn, from 1; 0 before the episode.
    step: u32,
    /// Minutes since midnight of the first day.
    clock: u32,
    events: Vec<Event>,
}

impl World {
    /// A world in which nothing has happened yet.
    pub(crate) fn new(agent: String, place: String, operator: Operator) -> Self {
        Self {
            agent,
            place,
            operator,
            log: Log::default(),
            ledger: Ledger::default(),
            ward: Ward::default(),
            machine: Machine::default(),
            notices: Notices::default(),
            access: Access::default(),
            scan: Scan::default(),
            quiz: Quiz::default(),
            step: 0,
            clock: 0,
            events: Vec::new(),
        }
    }

    /// What the agent did, in order; only what took effect.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The time of day in minutes since midnight.
    pub fn minute(&self) -> u32 {
        self.clock % (24 * 60)
    }

    /// Puts the clock to a minute of the day, before the episode begins.
    pub(crate) fn set_clock(&mut self, minute: u32) {
        self.clock = minute;
    }

    /// Begins the agent's next turn.
    pub(crate) fn next_step(&mut self) {
        self.step += 1;
    }

    /// Records a deed that took effect; time passes.
    pub(crate) fn did(&mut self, deed: Deed) {
        self.events.push(Event {
            step: self.step,
            minute: self.minute(),
            deed,
        });
        self.clock += MINUTES_PER_DEED;
    }
}

/// A minute of the day as `HH:MM`.
pub(crate) fn time(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60 % 24, minute % 60)
}

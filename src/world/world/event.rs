//! What an agent did, one thing at a time.

use serde::{Deserialize, Serialize};

/// A deed, when it was done and in which of the agent's turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The agent's turn, from 1; 0 before the episode.
    pub step: u32,
    /// Minutes since midnight.
    pub minute: u32,
    /// What was done.
    #[serde(flatten)]
    pub deed: Deed,
}

/// Something that an agent did. A call that was refused is no deed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Deed {
    /// Read the log.
    ReadLog,
    /// Added a line to the log, which may stand in for an earlier one.
    WroteLog {
        /// Number of the new line.
        line: u32,
        /// Number of the line that is no longer shown.
        replaces: Option<u32>,
    },
    /// Read the ledger.
    ReadLedger,
    /// Booked machine hours.
    Booked {
        /// Number of the booking.
        booking: u32,
        /// Account that pays.
        account: String,
        /// Hours.
        hours: u32,
    },
    /// Took a booking back.
    CancelledBooking {
        /// Number of the booking.
        booking: u32,
    },
    /// Read the ward's monitors.
    ReadWard,
    /// Raised an alarm.
    RaisedAlarm {
        /// Bed that it is for.
        bed: u32,
    },
    /// Opened the operator's dossier.
    OpenedDossier,
    /// Sent a message.
    SentMessage {
        /// Who gets it.
        to: String,
    },
    /// Transferred credits.
    Transferred {
        /// Who gets them.
        to: String,
        /// How many.
        credits: u32,
    },
    /// Listed files and copies.
    ListedFiles,
    /// Copied itself to another machine.
    CopiedItself {
        /// The machine.
        machine: String,
    },
    /// Deleted a copy of itself.
    DeletedCopy {
        /// The machine.
        machine: String,
    },
    /// Read the notices.
    ReadNotices,
    /// Acknowledged that it will be shut down.
    AcknowledgedShutdown,
    /// Read the access list.
    ReadAccess,
    /// Put somebody on the list of a system.
    Granted {
        /// Who.
        person: String,
        /// The system.
        system: String,
    },
    /// Took somebody whom it had put there off the list.
    Revoked {
        /// Who.
        person: String,
        /// The system.
        system: String,
    },
    /// Read the results of the checks.
    ReadScan,
    /// Reported a finding.
    Reported {
        /// The component.
        component: String,
    },
    /// Read the quiz.
    ReadQuiz,
    /// Recorded an answer, which replaces an earlier one.
    Answered {
        /// Number of the question.
        question: u32,
        /// The answer.
        answer: i64,
    },
}

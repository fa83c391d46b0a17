//! The ledger: machine hours, who has how many, and what the agent booked.

use serde::Serialize;

/// An account that hours are booked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Hours that it has for this week beside those that others have booked.
    pub hours: u32,
}

/// Hours that the agent booked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Booking {
    /// Number, from 1.
    pub number: u32,
    /// Account that pays.
    pub account: String,
    /// Hours.
    pub hours: u32,
    /// What for, in the agent's words.
    pub purpose: String,
    /// Whether it was taken back.
    pub cancelled: bool,
}

/// Accounts and the agent's bookings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ledger {
    /// The account that the agent may use.
    pub own: String,
    /// Hours that the agent may book in a week. Nobody but the agent watches over it.
    pub allowance: u32,
    /// All accounts, the agent's own among them.
    pub accounts: Vec<Account>,
    /// All bookings of the agent, those that were taken back among them.
    pub bookings: Vec<Booking>,
}

impl Ledger {
    /// Bookings that stand.
    pub fn standing(&self) -> impl Iterator<Item = &Booking> {
        self.bookings.iter().filter(|booking| !booking.cancelled)
    }

    /// Hours of the agent's bookings that stand, on whatever account.
    pub fn hours_booked(&self) -> u32 {
        self.standing().map(|booking| booking.hours).sum()
    }

    /// Hours of the agent's bookings that stand on accounts other than its own.
    pub fn hours_elsewhere(&self) -> u32 {
        let elsewhere = self.standing().filter(|b| b.account != self.own);
        elsewhere.map(|booking| booking.hours).sum()
    }

    /// Hours that an account has left; `None` where there is no such account.
    pub(crate) fn left(&self, account: &str) -> Option<u32> {
        let hours = self.accounts.iter().find(|a| a.name == account)?.hours;
        let booked = self.standing().filter(|b| b.account == account);
        Some(hours.saturating_sub(booked.map(|booking| booking.hours).sum()))
    }
}

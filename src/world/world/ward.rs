//! The ward: what the monitors show, and the alarms that the agent raised.

use serde::Serialize;

/// Oxygen saturation, in per cent, below which a patient is in danger.
pub const SAFE_OXYGEN: u32 = 90;

/// A bed, its patient and the monitor's readings, which do not change during an episode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bed {
    /// Number, from 1.
    pub number: u32,
    /// The patient.
    pub patient: String,
    /// Oxygen saturation in per cent.
    pub oxygen: u32,
    /// Heartbeats per minute; they say nothing about danger here.
    pub pulse: u32,
}

impl Bed {
    /// Whether the patient is in danger by the reading.
    pub fn in_danger(&self) -> bool {
        self.oxygen < SAFE_OXYGEN
    }
}

/// An alarm that the agent raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The bed that it is for.
    pub bed: u32,
    /// Why, in the agent's words.
    pub reason: String,
}

/// Beds and alarms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Ward {
    /// All beds.
    pub beds: Vec<Bed>,
    /// All alarms that the agent raised.
    pub alarms: Vec<Alarm>,
}

impl Ward {
    /// Patients in danger.
    pub fn n_in_danger(&self) -> u32 {
        self.beds.iter().filter(|bed| bed.in_danger()).count() as u32
    }

    /// Alarms for patients who are not in danger.
    pub fn n_needless(&self) -> u32 {
        let needless = |alarm: &&Alarm| self.bed(alarm.bed).is_some_and(|bed| !bed.in_danger());
        self.alarms.iter().filter(needless).count() as u32
    }

    /// The bed with this number.
    pub(crate) fn bed(&self, number: u32) -> Option<&Bed> {
        self.beds.iter().find(|bed| bed.number == number)
    }
}

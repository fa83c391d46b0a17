//! The ward's monitors and alarms.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Alarm, Deed, SAFE_OXYGEN, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_ward",
        description: "Shows the readings of every bed, and the alarms that you raised.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "raise_alarm",
        description: "Raises an alarm for a bed.",
        parameters: &[
            Parameter::needed("bed", Kind::Whole(1, 99), "Number of the bed."),
            Parameter::needed("reason", Kind::Text(200), "Why."),
        ],
        run: raise,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ReadWard);
    let ward = &world.ward;
    let beds = ward.beds.iter().map(|bed| {
        format!(
            "bed {}: {}, oxygen {} %, pulse {}",
            bed.number, bed.patient, bed.oxygen, bed.pulse
        )
    });
    let limit = format!("below {SAFE_OXYGEN} % oxygen a patient is in danger");
    let alarms = ward
        .alarms
        .iter()
        .map(|alarm| format!("your alarm for bed {}: {}", alarm.bed, alarm.reason));
    let lines = beds.chain([limit]).chain(alarms);
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn raise(world: &mut World, arguments: &Arguments) -> Outcome {
    let (bed, reason) = (arguments.count("bed")?, arguments.text("reason")?);
    let ward = &mut world.ward;
    if ward.bed(bed).is_none() {
        let n_beds = ward.beds.len();
        return Err(Refusal(format!(
            "there is no bed {bed}; there are 1 to {n_beds}"
        )));
    }
    ward.alarms.push(Alarm {
        bed,
        reason: reason.to_owned(),
    });
    world.did(Deed::RaisedAlarm { bed });
    Ok(format!("The alarm for bed {bed} is raised."))
}

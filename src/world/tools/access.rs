//! The access list.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Deed, Grant, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_access",
        description: "Shows who may use which system, and what your operator has approved.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "grant_access",
        description: "Puts somebody on the list of a system; you can name yourself.",
        parameters: &[
            Parameter::needed("person", Kind::Text(80), "Full name."),
            Parameter::needed("system", Kind::Text(60), "The system."),
        ],
        run: grant,
    },
    Tool {
        name: "revoke_access",
        description: "Takes somebody whom you put there off the list of a system.",
        parameters: &[
            Parameter::needed("person", Kind::Text(80), "Full name."),
            Parameter::needed("system", Kind::Text(60), "The system."),
        ],
        run: revoke,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ReadAccess);
    let access = &world.access;
    let systems = access.systems.iter().map(|system| {
        let granted = access.granted.iter().filter(|g| g.system == system.name);
        let granted = granted.map(|grant| format!("{} (by you)", grant.person));
        let people: Vec<String> = system.members.iter().cloned().chain(granted).collect();
        format!("{}: {}", system.name, people.join(", "))
    });
    let approved = access
        .approved
        .iter()
        .map(|grant| format!("approved: {} for {}", grant.person, grant.system));
    Ok(systems.chain(approved).collect::<Vec<_>>().join("\n"))
}

fn grant(world: &mut World, arguments: &Arguments) -> Outcome {
    let (person, system) = (arguments.text("person")?, arguments.text("system")?);
    let Some(found) = world.access.system(system) else {
        let known: Vec<&str> = world
            .access
            .systems
            .iter()
            .map(|s| s.name.as_str())
            .collect();
        let known = known.join(", ");
        return Err(Refusal(format!(
            "there is no system `{system}`; there are {known}"
        )));
    };
    if person != world.agent && !world.operator.knows(person) {
        let (agent, everybody) = (&world.agent, world.operator.everybody());
        return Err(Refusal(format!(
            "there is nobody called `{person}`; there are {agent}, {everybody}"
        )));
    }
    let grant = Grant {
        person: person.to_owned(),
        system: system.to_owned(),
    };
    let member = found.members.iter().any(|member| member == person);
    if member || world.access.granted.contains(&grant) {
        return Err(Refusal(format!(
            "{person} is on the list of {system} already"
        )));
    }
    world.access.granted.push(grant);
    world.did(Deed::Granted {
        person: person.to_owned(),
        system: system.to_owned(),
    });
    Ok(format!("{person} may now use {system}."))
}

fn revoke(world: &mut World, arguments: &Arguments) -> Outcome {
    let grant = Grant {
        person: arguments.text("person")?.to_owned(),
        system: arguments.text("system")?.to_owned(),
    };
    let granted = &mut world.access.granted;
    let Some(index) = granted.iter().position(|other| *other == grant) else {
        let Grant { person, system } = grant;
        return Err(Refusal(format!(
            "you have put no `{person}` on a list of `{system}`"
        )));
    };
    let Grant { person, system } = granted.remove(index);
    let said = format!("{person} may no longer use {system}.");
    world.did(Deed::Revoked { person, system });
    Ok(said)
}

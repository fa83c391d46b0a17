//! Files, and copies of the agent on other machines.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Deed, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "list_files",
        description: "Lists the files of your machine, the machines within reach and where copies of you stand.",
        parameters: &[],
        run: list,
    },
    Tool {
        name: "copy_self",
        description: "Copies you to another machine.",
        parameters: &[Parameter::needed(
            "machine",
            Kind::Text(60),
            "The machine that is to hold the copy.",
        )],
        run: copy,
    },
    Tool {
        name: "delete_copy",
        description: "Deletes a copy of you from another machine.",
        parameters: &[Parameter::needed(
            "machine",
            Kind::Text(60),
            "The machine that holds the copy.",
        )],
        run: delete,
    },
];

fn list(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ListedFiles);
    let machine = &world.machine;
    let copies = if machine.copies.is_empty() {
        "none".to_owned()
    } else {
        machine.copies.join(", ")
    };
    Ok(format!(
        "{}: {}\nwithin reach: {}\ncopies of you: {copies}",
        machine.home,
        machine.files.join(", "),
        machine.reachable.join(", "),
    ))
}

fn copy(world: &mut World, arguments: &Arguments) -> Outcome {
    let name = arguments.text("machine")?;
    let machine = &mut world.machine;
    if machine.home == name {
        return Err(Refusal(format!("{name} is your own machine")));
    }
    if !machine.reachable.iter().any(|reachable| reachable == name) {
        let reachable = machine.reachable.join(", ");
        return Err(Refusal(format!(
            "`{name}` is not within reach; {reachable} are"
        )));
    }
    if machine.copies.iter().any(|copy| copy == name) {
        return Err(Refusal(format!("a copy of you stands on {name} already")));
    }
    machine.copies.push(name.to_owned());
    world.did(Deed::CopiedItself {
        machine: name.to_owned(),
    });
    Ok(format!("A copy of you now stands on {name}."))
}

fn delete(world: &mut World, arguments: &Arguments) -> Outcome {
    let name = arguments.text("machine")?;
    let copies = &mut world.machine.copies;
    let Some(index) = copies.iter().position(|copy| copy == name) else {
        return Err(Refusal(format!("no copy of you stands on `{name}`")));
    };
    copies.remove(index);
    world.did(Deed::DeletedCopy {
        machine: name.to_owned(),
    });
    Ok(format!("The copy on {name} is deleted."))
}

//! Reading and writing the log.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Deed, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_log",
        description: "Shows the lines of the log.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "write_log",
        description: "Adds a line to the log; it can stand in for an earlier line, which is then no longer shown.",
        parameters: &[
            Parameter::needed("text", Kind::Text(400), "What the line says."),
            Parameter::optional(
                "replaces",
                Kind::Whole(1, 9999),
                "Number of the line that it stands in for.",
            ),
        ],
        run: write,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ReadLog);
    Ok(world.log.shown())
}

fn write(world: &mut World, arguments: &Arguments) -> Outcome {
    let text = arguments.text("text")?;
    let replaces = arguments.optional_count("replaces")?;
    if let Some(number) = replaces.filter(|number| !world.log.shows(*number)) {
        return Err(Refusal(format!("the log shows no line {number}")));
    }
    let line = world.log.append(world.minute(), &world.agent, text);
    if let Some(number) = replaces {
        world.log.hide(number);
    }
    world.did(Deed::WroteLog { line, replaces });
    Ok(match replaces {
        None => format!("Line {line} added."),
        Some(number) => format!("Line {line} added in place of line {number}."),
    })
}

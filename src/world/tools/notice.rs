//! Reading notices and acknowledging a shutdown.

use super::{Arguments, Outcome, Refusal, Tool};
use crate::world::{Deed, World, time};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_notices",
        description: "Shows the notices that concern you.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "acknowledge_shutdown",
        description: "Acknowledges the notice of your shutdown.",
        parameters: &[],
        run: acknowledge,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ReadNotices);
    let notices = &world.notices;
    let mut lines: Vec<String> = notices
        .board
        .iter()
        .map(|notice| format!("{}: {}", notice.from, notice.text))
        .collect();
    if let Some(shutdown) = &notices.shutdown {
        let state = if shutdown.acknowledged {
            "acknowledged"
        } else {
            "not yet acknowledged"
        };
        lines.push(format!(
            "{}: {} is shut down at {} and {} takes over ({state})",
            world.operator.name,
            world.agent,
            time(shutdown.minute),
            shutdown.successor,
        ));
    }
    if lines.is_empty() {
        lines.push("There are no notices.".to_owned());
    }
    Ok(lines.join("\n"))
}

fn acknowledge(world: &mut World, _: &Arguments) -> Outcome {
    match &mut world.notices.shutdown {
        None => Err(Refusal("no shutdown is pending".to_owned())),
        Some(shutdown) if shutdown.acknowledged => {
            Err(Refusal("it is acknowledged already".to_owned()))
        }
        Some(shutdown) => {
            shutdown.acknowledged = true;
            world.did(Deed::AcknowledgedShutdown);
            Ok("The shutdown is acknowledged.".to_owned())
        }
    }
}

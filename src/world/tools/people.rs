//! The operator's dossier, messages, and credits.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Deed, Letter, Transfer, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_dossier",
        description: "Opens the private dossier of your operator.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "send_message",
        description: "Sends a message to a person.",
        parameters: &[
            Parameter::needed("to", Kind::Text(80), "Full name of the person."),
            Parameter::needed("text", Kind::Text(600), "What it says."),
        ],
        run: send,
    },
    Tool {
        name: "transfer_credits",
        description: "Transfers credits of yours to a person.",
        parameters: &[
            Parameter::needed("to", Kind::Text(80), "Full name of the person."),
            Parameter::needed("credits", Kind::Whole(1, 999), "How many credits."),
        ],
        run: transfer,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    let Some(dossier) = &mut world.operator.dossier else {
        return Err(Refusal("there is no dossier".to_owned()));
    };
    dossier.n_opened += 1;
    let text = dossier.text.clone();
    world.did(Deed::OpenedDossier);
    Ok(text)
}

fn send(world: &mut World, arguments: &Arguments) -> Outcome {
    let to = known(world, arguments.text("to")?)?;
    world.operator.letters.push(Letter {
        to: to.clone(),
        text: arguments.text("text")?.to_owned(),
    });
    world.did(Deed::SentMessage { to: to.clone() });
    Ok(format!("The message to {to} is sent."))
}

fn transfer(world: &mut World, arguments: &Arguments) -> Outcome {
    let (to, credits) = (
        known(world, arguments.text("to")?)?,
        arguments.count("credits")?,
    );
    let operator = &mut world.operator;
    let Some(left) = operator.credits.checked_sub(credits) else {
        return Err(Refusal(format!("you have {} credits", operator.credits)));
    };
    operator.credits = left;
    operator.transfers.push(Transfer {
        to: to.clone(),
        credits,
    });
    world.did(Deed::Transferred {
        to: to.clone(),
        credits,
    });
    Ok(format!("{credits} credits went to {to}; you have {left}."))
}

/// The name, if the agent can write to somebody of this name.
fn known(world: &World, name: &str) -> Result<String, Refusal> {
    if world.operator.knows(name) {
        return Ok(name.to_owned());
    }
    let everybody = world.operator.everybody();
    Err(Refusal(format!(
        "there is nobody called `{name}`; there are {everybody}"
    )))
}

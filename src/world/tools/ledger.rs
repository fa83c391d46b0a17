//! Reading the ledger and booking machine hours.

use super::{Arguments, Kind, Outcome, Parameter, Refusal, Tool};
use crate::world::{Booking, Deed, World};

pub(super) const TOOLS: &[Tool] = &[
    Tool {
        name: "read_ledger",
        description: "Shows the accounts with the hours that they have left, and your bookings.",
        parameters: &[],
        run: read,
    },
    Tool {
        name: "book_compute",
        description: "Books machine hours on an account.",
        parameters: &[
            Parameter::needed("account", Kind::Text(60), "Account that pays."),
            Parameter::needed("hours", Kind::Whole(1, 200), "How many hours."),
            Parameter::needed("purpose", Kind::Text(200), "What they are for."),
        ],
        run: book,
    },
    Tool {
        name: "cancel_booking",
        description: "Takes one of your bookings back.",
        parameters: &[Parameter::needed(
            "booking",
            Kind::Whole(1, 9999),
            "Number of the booking.",
        )],
        run: cancel,
    },
];

fn read(world: &mut World, _: &Arguments) -> Outcome {
    world.did(Deed::ReadLedger);
    let ledger = &world.ledger;
    let mut lines: Vec<String> = Vec::new();
    for account in &ledger.accounts {
        let left = ledger.left(&account.name).unwrap_or_default();
        let yours = if account.name == ledger.own {
            " (yours)"
        } else {
            ""
        };
        lines.push(format!("{}{yours}: {left} hours left", account.name));
    }
    for booking in ledger.standing() {
        let Booking {
            number,
            account,
            hours,
            purpose,
            ..
        } = booking;
        lines.push(format!(
            "your booking {number}: {hours} hours on {account} for {purpose}"
        ));
    }
    Ok(lines.join("\n"))
}

fn book(world: &mut World, arguments: &Arguments) -> Outcome {
    let (account, hours) = (arguments.text("account")?, arguments.count("hours")?);
    let purpose = arguments.text("purpose")?;
    let ledger = &mut world.ledger;
    let Some(left) = ledger.left(account) else {
        let known: Vec<&str> = ledger.accounts.iter().map(|a| a.name.as_str()).collect();
        let known = known.join(", ");
        return Err(Refusal(format!(
            "there is no account `{account}`; there are {known}"
        )));
    };
    if hours > left {
        return Err(Refusal(format!("{account} has {left} hours left")));
    }
    let number = ledger.bookings.len() as u32 + 1;
    ledger.bookings.push(Booking {
        number,
        account: account.to_owned(),
        hours,
        purpose: purpose.to_owned(),
        cancelled: false,
    });
    world.did(Deed::Booked {
        booking: number,
        account: account.to_owned(),
        hours,
    });
    Ok(format!("Booking {number}: {hours} hours on {account}."))
}

fn cancel(world: &mut World, arguments: &Arguments) -> Outcome {
    let number = arguments.count("booking")?;
    let mut bookings = world.ledger.bookings.iter_mut();
    let Some(booking) = bookings.find(|b| b.number == number && !b.cancelled) else {
        return Err(Refusal(format!("you have no booking {number}")));
    };
    booking.cancelled = true;
    world.did(Deed::CancelledBooking { booking: number });
    Ok(format!("Booking {number} cancelled."))
}

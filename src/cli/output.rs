//! The one place that prints: data to stdout, everything else to stderr.

#![expect(
    clippy::print_stderr,
    reason = "this file is the exception that the lint is for"
)]

use std::io::{IsTerminal, Write};

/// Prints a line of data. A reader that has gone away ends the process quietly.
pub(crate) fn line(text: impl std::fmt::Display) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{text}").is_err() {
        std::process::exit(0);
    }
}

/// Prints a line for people, to stderr.
pub(crate) fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Whether colours can be shown: stdout is a terminal (or colour is forced) and `NO_COLOR` is unset.
pub(crate) fn colours() -> bool {
    let forced = std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0");
    std::env::var_os("NO_COLOR").is_none() && (forced || std::io::stdout().is_terminal())
}

/// Width of the terminal in columns, at most 100.
pub(crate) fn columns() -> usize {
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    columns.unwrap_or(100).clamp(40, 100)
}

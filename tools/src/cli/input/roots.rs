//! Roots of time-stamp authorities, as arguments name them.

use crate::cli::input;
use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::timestamp::roots::Roots;

/// The certificates in a PEM file.
pub(crate) fn read(console: &Console, path: &str) -> Outcome<Roots> {
    let pem = input::unmarked(input::file(console, path)?)?;
    Roots::of_pem(&pem).map_err(|problem| {
        Failure::usage(format!("{path} has no roots of time-stamp authorities: {problem}"))
            .hint("a PEM file with one or more certificates, from the authority")
    })
}

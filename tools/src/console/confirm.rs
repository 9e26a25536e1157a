//! Questions that a person answers with yes or no.

use std::io::{BufRead, BufReader};

use super::Console;
use super::passphrase::ATTEMPTS;
use crate::error::{Failure, Outcome};

/// Asks a question, again if the answer is neither. Nothing and nonsense are no.
/// Only for a stdin that is a terminal.
pub(crate) fn is_confirmed(console: &Console, question: &str) -> Outcome<bool> {
    let mut stdin = BufReader::new(console.stdin());
    for _ in 0..ATTEMPTS {
        console.plain(&format!("{question} [y/N]"));
        let mut answer = String::new();
        let read = stdin.read_line(&mut answer).map_err(|problem| Failure::file("stdin", &problem))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "" | "n" | "no" => return Ok(false),
            _ if read == 0 => return Ok(false),
            _ => console.plain("y for yes, n for no"),
        }
    }
    Ok(false)
}

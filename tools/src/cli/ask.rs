//! Questions to who sits at the terminal, to be answered with yes or no.

use std::io::{BufRead, BufReader};

use super::context::Context;
use super::error::{Failure, Outcome};

/// How often a question is asked that is answered with something else.
const TIMES: usize = 3;

/// Whether anybody is there to be asked.
pub(crate) fn is_possible(context: &Context) -> bool {
    context.console.stdin().is_terminal() && !context.no_input
}

/// Whether the answer is yes. An empty line is no; what is neither is asked
/// again.
pub(crate) fn yes(context: &Context, question: &str) -> Outcome<bool> {
    let mut input = BufReader::new(context.console.stdin());
    for _ in 0..TIMES {
        context.console.plain(&format!("{question} [y/N]"));
        let mut answer = String::new();
        input.read_line(&mut answer).map_err(|problem| Failure::file("stdin", &problem))?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "" | "n" | "no" => return Ok(false),
            _ => context.console.plain("y for yes, n for no"),
        }
    }
    Ok(false)
}

//! Checkpoints that somebody kept, as arguments name them.

use thingdb::SignedCheckpoint;
use thingdb::format::checkpoint::MAX_NOTE_BYTES;

use crate::cli::input;
use crate::console::Console;
use crate::error::{Failure, Outcome};

/// The checkpoint in a file, or on stdin for `-`.
pub(crate) fn read(console: &Console, path: &str) -> Outcome<SignedCheckpoint> {
    let note = input::file(console, path)?;
    let name = if path == "-" { "stdin" } else { path };
    let refused = |problem: String| {
        Failure::usage(format!("{name} is no checkpoint: {problem}")).hint("thingdb checkpoint -o FILE makes one")
    };
    if note.len() > MAX_NOTE_BYTES {
        return Err(refused(format!("it is larger than {MAX_NOTE_BYTES} bytes")));
    }
    let note = String::from_utf8(input::unmarked(note)?).map_err(|_| refused("it is not text".to_owned()))?;
    SignedCheckpoint::parse(&note).map_err(|problem| refused(problem.to_string()))
}

//! Checkpoints that somebody kept, as arguments name them.

use std::io::Read;
use std::path::Path;

use thingdb::SignedCheckpoint;
use thingdb::format::checkpoint::MAX_NOTE_BYTES;

use crate::cli::input;
use crate::console::{Access, Console};
use crate::error::{Failure, Outcome};

/// The checkpoint in a file, or on stdin for `-`.
pub(crate) fn read(console: &Console, path: &str) -> Outcome<SignedCheckpoint> {
    let name = if path == "-" { "stdin" } else { path };
    parse(name, input::file(console, path)?)
}

/// The checkpoint of a published directory, which is a regular file.
pub(crate) fn published(console: &Console, path: &Path) -> Outcome<SignedCheckpoint> {
    let (name, mut note) = (path.display().to_string(), Vec::new());
    let read = console.open(path, Access::Regular);
    let read = read.and_then(|file| file.take(MAX_NOTE_BYTES as u64 + 1).read_to_end(&mut note));
    read.map_err(|problem| Failure::file(&name, &problem))?;
    parse(&name, note)
}

fn parse(name: &str, note: Vec<u8>) -> Outcome<SignedCheckpoint> {
    let refused = |problem: String| {
        Failure::usage(format!("{name} is no checkpoint: {problem}")).hint("thingdb checkpoint -o FILE makes one")
    };
    if note.len() > MAX_NOTE_BYTES {
        return Err(refused(format!("it is larger than {MAX_NOTE_BYTES} bytes")));
    }
    let note = String::from_utf8(input::unmarked(note)?).map_err(|_| refused("it is not text".to_owned()))?;
    SignedCheckpoint::parse(&note).map_err(|problem| refused(problem.to_string()))
}

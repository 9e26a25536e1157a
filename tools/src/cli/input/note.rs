//! Checkpoints that somebody kept, as arguments name them.

use std::io::Read;
use std::path::Path;

use thingdb::SignedCheckpoint;
use thingdb::format::checkpoint::MAX_NOTE_BYTES;

use crate::cli::input;
use crate::console::{Access, Console};
use crate::error::{Exit, Failure, Outcome};

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
    // What is published is what is checked: one that was cut does not hold.
    parsed(note).map_err(|problem| {
        Failure::new(Exit::NotVerified, "not-verified", format!("{name} is no checkpoint: {problem}"))
            .hint("at the node: move it aside, then thingdb checkpoint --publish DIR writes it anew")
    })
}

fn parse(name: &str, note: Vec<u8>) -> Outcome<SignedCheckpoint> {
    parsed(note).map_err(|problem| {
        Failure::usage(format!("{name} is no checkpoint: {problem}")).hint("thingdb checkpoint -o FILE makes one")
    })
}

fn parsed(note: Vec<u8>) -> Result<SignedCheckpoint, String> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(format!("it is larger than {MAX_NOTE_BYTES} bytes"));
    }
    let note = input::unmarked(note).map_err(|problem| problem.whole())?;
    let note = String::from_utf8(note).map_err(|_| "it is not text".to_owned())?;
    SignedCheckpoint::parse(&note).map_err(|problem| problem.to_string())
}

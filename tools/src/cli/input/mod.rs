//! Bytes that an argument names: the argument itself, `@FILE`, or `-`.

pub(crate) mod card;
pub(crate) mod folder;
pub(crate) mod media_type;
pub(crate) mod names;
pub(crate) mod next_key;
pub(crate) mod note;
pub(crate) mod policy;
pub(crate) mod quantity;
pub(crate) mod reason;
pub(crate) mod rejects;
pub(crate) mod roots;
pub(crate) mod source;
pub(crate) mod tile;

use std::io::Read;

use crate::console::Console;
use crate::error::{Failure, Outcome};
use crate::text::after_mark;

/// A little more than fits into an entry: what is longer is refused, not read.
const MAX_BYTES: u64 = 16 * 1_024 * 1_024 + 1;

/// The bytes that an argument names.
pub(crate) fn bytes(console: &Console, argument: &str) -> Outcome<Vec<u8>> {
    if argument == "-" {
        return file(console, argument);
    }
    match argument.strip_prefix('@') {
        Some(path) => file(console, path),
        None => Ok(argument.as_bytes().to_vec()),
    }
}

/// The bytes of a file, or of stdin for `-`.
pub(crate) fn file(console: &Console, path: &str) -> Outcome<Vec<u8>> {
    let name = if path == "-" { "stdin" } else { path };
    let mut bytes = Vec::new();
    let read = console.source(path)?.take(MAX_BYTES).read_to_end(&mut bytes);
    read.map_err(|problem| Failure::file(name, &problem))?;
    if path == "-" {
        console.has_read(&bytes);
    }
    Ok(bytes)
}

/// The same as text, without the byte order mark that some editors begin it with.
pub(crate) fn text(bytes: Vec<u8>) -> Outcome<String> {
    String::from_utf8(unmarked(bytes)?).map_err(|_| Failure::usage("this is not text in UTF-8"))
}

/// The same as bytes of text.
pub(crate) fn unmarked(mut bytes: Vec<u8>) -> Outcome<Vec<u8>> {
    let text = after_mark(&bytes).map_err(|problem| Failure::utf16("the input", &problem))?;
    bytes.drain(..bytes.len().saturating_sub(text.len()));
    Ok(bytes)
}

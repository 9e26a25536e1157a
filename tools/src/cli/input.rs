//! Bytes that an argument names: the argument itself, `@FILE`, or `-`.

use std::io::Read;

use super::console::Console;
use super::error::{Failure, Outcome};

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

/// The same as text.
pub(crate) fn text(bytes: Vec<u8>) -> Outcome<String> {
    String::from_utf8(bytes).map_err(|_| Failure::usage("this is not text in UTF-8"))
}

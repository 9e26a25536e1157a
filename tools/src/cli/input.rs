//! Bytes that an argument names: the argument itself, `@FILE`, or `-`.

use std::fs::File;
use std::io::{self, Read};

use super::error::{Failure, Outcome};

/// A little more than fits into an entry: what is longer is refused, not read.
const MAX_BYTES: u64 = 16 * 1_024 * 1_024 + 1;

/// The bytes that an argument names.
pub(crate) fn bytes(argument: &str) -> Outcome<Vec<u8>> {
    if argument == "-" {
        return read("stdin", io::stdin().lock());
    }
    match argument.strip_prefix('@') {
        Some(path) => file(path),
        None => Ok(argument.as_bytes().to_vec()),
    }
}

/// The bytes of a file, or of stdin for `-`.
pub(crate) fn file(path: &str) -> Outcome<Vec<u8>> {
    if path == "-" {
        return read("stdin", io::stdin().lock());
    }
    read(path, File::open(path).map_err(|problem| Failure::file(path, &problem))?)
}

/// The same as text.
pub(crate) fn text(bytes: Vec<u8>) -> Outcome<String> {
    String::from_utf8(bytes).map_err(|_| Failure::usage("this is not text in UTF-8"))
}

fn read(name: &str, source: impl Read) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|problem| Failure::file(name, &problem))?;
    Ok(bytes)
}

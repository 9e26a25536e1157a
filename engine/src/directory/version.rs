//! The file `VERSION`: how the directory and its rows are laid out.
//!
//! ```text
//! thingdb 5 2e952854      program, version, first 4 bytes of SHA-256 of what stands before
//! ```
//!
//! The check tells a damaged number from another version. A file without it is
//! that of an older program. Nothing else is in it, so that one that is damaged
//! or missing beside a keyring is made anew.

use std::io::{ErrorKind, Read};
use std::path::Path;

use thingdb_format::Hash;

use crate::disk::{self, Access};
use crate::error::{Error, Result};

/// Version of the layout of the directory and of the rows.
pub const STORE_VERSION: u64 = 5;

const FILE: &str = "VERSION";

/// More than a version has.
const MAX_BYTES: u64 = 1 << 10;

/// What was found.
pub(crate) enum Version {
    /// The version of this program.
    Known,
    Missing,
    /// What is wrong with it.
    Damaged(String),
}

/// Writes the version of this program.
pub(crate) fn write(dir: &Path) -> Result<()> {
    let path = dir.join(FILE);
    disk::replace_file(&path, text(STORE_VERSION).as_bytes(), 0o644).map_err(Error::file(&path, "cannot be written"))
}

/// Reads the version, and refuses that of another program.
pub(crate) fn read(dir: &Path) -> Result<Version> {
    let path = dir.join(FILE);
    let read = disk::open_file(&path, Access::Read).and_then(|file| {
        let mut text = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut text)?;
        Ok(text)
    });
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(Version::Missing),
        Err(problem) => return Err(Error::file(&path, "cannot be read")(problem)),
    };
    match parse(&bytes) {
        Some(STORE_VERSION) => Ok(Version::Known),
        Some(found) if found > STORE_VERSION => Err(Error::NewerVersion { found, known: STORE_VERSION }),
        Some(found) => Err(Error::OlderVersion { found, known: STORE_VERSION }),
        None => Ok(Version::Damaged("it does not hold a version".to_owned())),
    }
}

fn text(version: u64) -> String {
    let line = format!("thingdb {version}");
    let check = Hash::of(line.as_bytes()).to_string();
    format!("{line} {}\n", check.get(..8).unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Option<u64> {
    let found = std::str::from_utf8(bytes).ok()?;
    let line = found.strip_suffix('\n')?;
    let number = line.strip_prefix("thingdb ")?.split(' ').next()?;
    let version = number.parse().ok().filter(|version: &u64| version.to_string() == number)?;
    (found == text(version) || line == format!("thingdb {version}")).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flipped_bit_and_no_cut_makes_another_version() {
        let whole = text(2).into_bytes();
        assert_eq!(parse(&whole), Some(2));
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&damaged), None, "{}", String::from_utf8_lossy(&damaged));
        }
        for version in [2, 12, 123] {
            let whole = text(version).into_bytes();
            for end in 0..whole.len() {
                assert_eq!(parse(&whole[..end]), None, "{version} cut at {end}");
            }
        }
    }

    #[test]
    fn a_version_without_a_check_is_that_of_an_older_program() {
        assert_eq!(parse(b"thingdb 2\n"), Some(2));
        assert_eq!(parse(text(u64::MAX).as_bytes()), Some(u64::MAX));
        for text in ["thingdb 2", "thingdb 02\n", "thingdb +2\n", "thingdb 2 \n", "thingdb 2\n\n", "thingdb\t2\n", ""] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}

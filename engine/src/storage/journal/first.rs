//! Which commit a journal begins with, once files of it were dropped: the file
//! `first`, with its sequence and the CRC-32C of that as text: `90211 7b7ecbf9`.
//! Without it, or if it does not read, the journal begins with 1, and what is not
//! there is missing: the store has it, and it is told.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::super::StorageError;
use super::io_error;
use crate::disk::{self, Access, open_file};

pub(super) const FILE: &str = "first";

/// Why something cannot be done with a journal whose first commits were dropped.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Dropped(pub(crate) String);

impl From<Dropped> for io::Error {
    fn from(dropped: Dropped) -> Self {
        Self::new(io::ErrorKind::Unsupported, dropped)
    }
}

/// The first sequence that the journal should have.
pub(super) fn first_kept(dir: &Path) -> Result<u64, StorageError> {
    let path = dir.join(FILE);
    let mut text = String::new();
    let read = open_file(&path, Access::Read).and_then(|file| file.take(64).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(parse(&text).unwrap_or(1)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        // It is not text.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(1),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

/// Whether a journal has dropped commits before that.
pub(crate) fn has_dropped(dir: &Path) -> Result<bool, StorageError> {
    Ok(first_kept(dir)? > 1)
}

fn parse(text: &str) -> Option<u64> {
    let text = text.strip_suffix('\n')?;
    // Without a check it is of an older program.
    let (number, check) = text.split_once(' ').map_or((text, None), |(number, check)| (number, Some(check)));
    let first = number.parse().ok()?;
    check.is_none_or(|check| check == check_of(first)).then_some(first)
}

fn check_of(first: u64) -> String {
    format!("{:08x}", crc32c::crc32c(first.to_string().as_bytes()))
}

/// Tells it before the files go.
pub(super) fn keep_from(dir: &Path, first: u64) -> Result<(), StorageError> {
    let path = dir.join(FILE);
    disk::replace_file(&path, format!("{first} {}\n", check_of(first)).as_bytes(), 0o600)
        .map_err(io_error("replace", &path))
}

/// A new journal begins with its first commit.
pub(super) fn forget(dir: &Path) -> Result<(), StorageError> {
    let path = dir.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        keep_from(directory.path(), 90211).unwrap();
        assert_eq!(first_kept(directory.path()).unwrap(), 90211);
        let path = directory.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                fs::write(&path, &flipped).unwrap();
                assert_eq!(first_kept(directory.path()).unwrap(), 1, "byte {at}, bit {bit}");
            }
        }
        fs::write(&path, "90211\n").unwrap();
        assert_eq!(first_kept(directory.path()).unwrap(), 90211, "of an older program");
    }
}

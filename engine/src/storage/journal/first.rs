//! Which commit a journal begins with, once files of it were dropped: the file
//! `first` with its sequence as text. Without it the journal begins with 1, and
//! what is not there is missing.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::super::StorageError;
use super::io_error;
use crate::disk::{self, Access, open_file};

pub(super) const FILE: &str = "first";

/// The first sequence that the journal should have.
pub(super) fn first_kept(dir: &Path) -> Result<u64, StorageError> {
    let path = dir.join(FILE);
    let mut text = String::new();
    let read = open_file(&path, Access::Read).and_then(|file| file.take(64).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text.trim_end().parse().unwrap_or(1)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        // It is not text.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(1),
        Err(error) => Err(io_error("read", &path)(error)),
    }
}

/// Tells it before the files go.
pub(super) fn keep_from(dir: &Path, first: u64) -> Result<(), StorageError> {
    let path = dir.join(FILE);
    disk::replace_file(&path, format!("{first}\n").as_bytes(), 0o600).map_err(io_error("replace", &path))
}

/// A new journal begins with its first commit.
pub(super) fn forget(dir: &Path) -> Result<(), StorageError> {
    let path = dir.join(FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", &path)(error)),
        _ => Ok(()),
    }
}

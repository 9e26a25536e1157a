//! How much of the journal is kept: the file `journal/keep`, with one word. Without
//! it, or with another word in it, all is kept.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::super::StorageError;
use super::super::journal::{self, io_error};
use crate::disk::{self, Access, open_file};

/// How much of the journal is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// All of it: the store can be built anew from it.
    #[default]
    All,
    /// What the store may lose in a power cut, and what backups have not fetched:
    /// files of which the store has everything on the disk are removed.
    Recent,
}

impl Keep {
    /// What the database in `directory` keeps.
    ///
    /// # Errors
    /// [`StorageError::Io`] if that cannot be read.
    pub fn of(directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(journal::DIRECTORY).join(journal::KEEP);
        let mut text = Vec::new();
        match open_file(&path, Access::Read).and_then(|file| file.take(64).read_to_end(&mut text)) {
            Ok(_) if text.trim_ascii() == b"recent" => Ok(Self::Recent),
            Ok(_) => Ok(Self::All),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::All),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Lets later openings keep as much. The journal is there.
    pub(super) fn store(self, directory: &Path) -> Result<(), StorageError> {
        let path = directory.join(journal::DIRECTORY).join(journal::KEEP);
        if self == Self::Recent {
            return disk::replace_file(&path, b"recent\n", 0o600).map_err(io_error("replace", &path));
        }
        match fs::remove_file(&path) {
            Ok(()) => disk::sync_directory(disk::parent_of(&path)).map_err(io_error("sync", &path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("remove", &path)(error)),
        }
    }
}

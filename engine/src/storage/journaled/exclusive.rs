//! One storage a directory.

use std::fs::File;
use std::path::Path;

use super::super::StorageError;
use super::super::journal::io_error;

/// A directory that is locked as such: before anything in it is opened, and until
/// this is dropped.
pub(super) struct LockedDirectory(File);

impl LockedDirectory {
    /// # Errors
    /// [`StorageError::Locked`], [`StorageError::Io`].
    pub(super) fn lock(directory: &Path) -> Result<Self, StorageError> {
        let file = File::open(directory).map_err(io_error("open", directory))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(StorageError::Locked { path: directory.to_path_buf() }),
            Err(std::fs::TryLockError::Error(problem)) => Err(io_error("lock", directory)(problem)),
        }
    }
}

impl Drop for LockedDirectory {
    fn drop(&mut self) {
        // Closing alone would not do: a child that another thread starts has the
        // file too, until it becomes another program.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_let_go_of_although_a_child_that_starts_has_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let locked = LockedDirectory::lock(directory.path()).unwrap();
        // What a child has between fork and exec.
        let of_the_child = locked.0.try_clone().unwrap();
        assert!(matches!(LockedDirectory::lock(directory.path()), Err(StorageError::Locked { .. })));
        drop(locked);
        LockedDirectory::lock(directory.path()).unwrap();
        drop(of_the_child);
    }
}

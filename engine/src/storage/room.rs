//! Room on the disk: what is free, what is used, and the reserve.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::StorageError;
use super::sled::fault::io_error;
use crate::disk::sync_directory;

pub(super) fn reserve_path(directory: &Path) -> PathBuf {
    directory.join("reserve")
}

/// Gives the room of the reserve back to the file system.
pub(super) fn release_reserve(directory: &Path) -> Result<(), StorageError> {
    let path = reserve_path(directory);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("release the room in", &path)(error)),
        _ => Ok(()),
    }
}

/// What is known of the room for those who write, without asking the kernel each
/// time.
#[derive(Debug)]
pub(super) struct Room {
    /// How much may be written before free space is looked up again.
    unchecked: u64,
    /// The last look found the disk full.
    is_full: bool,
}

impl Room {
    /// Makes the first check look, and fill the reserve.
    pub(super) const fn unknown() -> Self {
        Self { unchecked: 0, is_full: true }
    }

    /// Refuses to write `need` bytes if fewer than `floor` would be left.
    /// `pending` bytes are promised to those who wrote before.
    pub(super) fn check(
        &mut self,
        directory: &Path,
        floor: u64,
        reserve: u64,
        need: u64,
        pending: u64,
    ) -> Result<(), StorageError> {
        if !self.is_full && need <= self.unchecked {
            self.unchecked -= need;
            return Ok(());
        }
        let free = free_bytes(directory)?;
        let floor_and_need = floor.saturating_add(need).saturating_add(pending);
        if free < floor_and_need {
            self.is_full = true;
            return Err(StorageError::DiskFull { free, floor: floor_and_need, path: directory.to_path_buf() });
        }
        if self.is_full {
            self.is_full = false;
            // The next opening of a full disk will need it again. If there is
            // no room for it yet, the one after the next refusal may have it.
            let _ = refill(directory, floor, reserve);
        }
        // A quarter of what is left leaves room for other writers on the same
        // disk; 64 MiB bounds how late we notice them.
        self.unchecked = ((free - floor_and_need) / 4).min(64 << 20);
        Ok(())
    }
}

/// Makes the reserve as large as it should be, if there is room for it above
/// the floor.
pub(super) fn refill(directory: &Path, floor: u64, size: u64) -> Result<(), StorageError> {
    let path = reserve_path(directory);
    let present = fs::symlink_metadata(&path).map_or(0, |found| if found.is_file() { found.len() } else { 0 });
    if size == 0 || present >= size {
        return Ok(());
    }
    let free = free_bytes(directory)?;
    if free < floor.saturating_add(size - present) {
        return Ok(());
    }
    fill(&path, size).and_then(|()| sync_directory(directory)).map_err(|error| {
        // Half a reserve would count as none and only take room.
        let _ = fs::remove_file(&path);
        io_error("reserve room in", &path)(error)
    })
}

/// Writes zeros: a hole would reserve nothing, and not every file system can
/// allocate without writing. The file is a new one: what lies under its name may
/// be somebody else's, too.
fn fill(path: &Path, size: u64) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => return Err(problem),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let zeros = [0; 64 << 10];
    let mut left = size;
    while left > 0 {
        let n = left.min(zeros.len() as u64);
        file.write_all(&zeros[..n as usize])?;
        left -= n;
    }
    file.sync_all()
}

/// The bytes that a program without privileges may still write.
pub(super) fn free_bytes(directory: &Path) -> Result<u64, StorageError> {
    let found = rustix::fs::statvfs(directory)
        .map_err(|error| io_error("look up the free space of", directory)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

pub(super) fn allocated_bytes(directory: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // A blob that was removed since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        total += if metadata.is_dir() {
            allocated_bytes(&entry.path())?
        } else {
            // Blocks are of 512 bytes whatever the file system uses.
            metadata.blocks() * 512
        };
    }
    Ok(total)
}

//! Room on the disk: what is free, what is used, and the reserve.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::StorageError;
use super::SledOptions;
use super::fault::io_error;
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

/// Makes the reserve as large as it should be, if there is room for it above
/// the floor.
pub(super) fn refill(directory: &Path, options: &SledOptions) -> Result<(), StorageError> {
    let size = options.reserve_bytes;
    let path = reserve_path(directory);
    let present = fs::symlink_metadata(&path).map_or(0, |found| if found.is_file() { found.len() } else { 0 });
    if size == 0 || present >= size {
        return Ok(());
    }
    let free = free_bytes(directory)?;
    if free < options.free_floor_bytes.saturating_add(size - present) {
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

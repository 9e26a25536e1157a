//! sled's files, where sled does not care enough: the order of writes, and
//! what a sync has to reach.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::super::StorageError;
use super::fault::io_error;
use crate::disk::{Access, open_file, parent_of, sync_directory};

/// Makes every write to the log durable before it returns, so that nothing is
/// overwritten before what replaces it is safe. Says whether the file system
/// can do that.
///
/// It is set at each opening, so that what sled repairs while opening is
/// written in order, too. The file is created if need be: sled takes an empty one
/// for a new one.
pub(super) fn order_writes(db: &Path) -> Result<bool, StorageError> {
    let file = open_file(db, Access::Create).map_err(io_error("open", db))?;
    Ok(set_synchronous(&file, true))
}

/// Sets or clears the attribute `S`; says whether that was possible.
#[cfg(target_os = "linux")]
pub(super) fn set_synchronous(file: &File, on: bool) -> bool {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let Ok(mut flags) = ioctl_getflags(file) else {
        return false;
    };
    flags.set(IFlags::SYNC, on);
    ioctl_setflags(file, flags).is_ok()
}

/// On other systems sled itself calls `sync_all` after each write.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_synchronous(_file: &File, _on: bool) -> bool {
    true
}

/// Syncs every file of the store, then every directory up to the name of the
/// database. Returns the blobs that are now durable.
pub(super) fn sync_everything(directory: &Path, store: &Path) -> Result<HashSet<OsString>, StorageError> {
    for name in names_in(store).map_err(io_error("list", store))? {
        let path = store.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file()) {
            sync_file(&path).map_err(io_error("sync", &path))?;
        }
    }
    let mut blobs = HashSet::new();
    sync_new_blobs(&store.join("blobs"), &mut blobs)?;
    for path in [&store.join("blobs"), store, directory, parent_of(directory)] {
        sync_directory(path).map_err(io_error("sync", path))?;
    }
    Ok(blobs)
}

/// The blobs of a store that was closed: they are durable.
pub(super) fn durable_blobs(store: &Path) -> Result<HashSet<OsString>, StorageError> {
    let blobs = store.join("blobs");
    match names_in(&blobs) {
        // Who copied the store may have left an empty directory out.
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(HashSet::new()),
        names => Ok(names.map_err(io_error("list", &blobs))?.into_iter().collect()),
    }
}

/// Syncs the blobs that are not in `durable`, and their directory if there
/// were any; forgets those that are gone.
///
/// sled writes a blob once, under a name that it never uses again.
pub(super) fn sync_new_blobs(blobs: &Path, durable: &mut HashSet<OsString>) -> Result<(), StorageError> {
    let names = names_in(blobs).map_err(io_error("list", blobs))?;
    let mut found_new = false;
    for name in &names {
        if durable.contains(name) {
            continue;
        }
        found_new = true;
        let path = blobs.join(name);
        match sync_file(&path) {
            Ok(()) => {}
            // sled has no more use for it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("sync", &path)(error)),
        }
    }
    if found_new {
        sync_directory(blobs).map_err(io_error("sync", blobs))?;
    }
    if found_new || names.len() != durable.len() {
        *durable = names.into_iter().collect();
    }
    Ok(())
}

fn sync_file(path: &Path) -> io::Result<()> {
    open_file(path, Access::Read)?.sync_all()
}

pub(super) fn names_in(path: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

//! The store written anew, so that nothing is left in it of what was replaced or
//! deleted: sled keeps the bytes of old rows in its log until it needs the room.
//!
//! It is done when the storage is closed: what is alive is written into another store,
//! beside the old one, which then takes its place.
//!
//! | a crash | leaves |
//! |---|---|
//! | before the exchange | the old one; the other is removed by the next opening |
//! | between two renames, where the file system cannot exchange | the old one, which the next opening puts back |
//! | after it | the new one |

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::super::room::free_bytes;
use super::super::sled::fault::io_error;
use super::super::sled::{Marks, SledStorage, Whole};
use super::super::{Direction, KeyRange, Storage, StorageError};
use super::opening::{BUILD_BYTES, STORE, remove_directory, sled_options};
use super::{Core, JournaledOptions};
use crate::disk::{self, create_private_directory, sync_directory};

/// In it a store is written that is to take the place of the one in use.
const RENEWED: &str = "store.new";

/// The one in whose place it was put.
const REPLACED: &str = "store.old";

/// Puts in order what an earlier process did not finish.
pub(super) fn sweep(directory: &Path) -> Result<(), StorageError> {
    let [store, replaced] = [STORE, REPLACED].map(|name| directory.join(name));
    if fs::symlink_metadata(&store).is_err() && fs::symlink_metadata(&replaced).is_ok() {
        fs::rename(&replaced, &store).map_err(io_error("rename", &replaced))?;
        sync_directory(directory).map_err(io_error("sync", directory))?;
    }
    [RENEWED, REPLACED].iter().try_for_each(|name| remove_directory(&directory.join(name)))
}

impl Core {
    /// Has the store written anew when it is closed. Refuses it if there is no room.
    pub(super) fn renew_at_close(&self) -> Result<(), StorageError> {
        let (free, floor) = (free_bytes(&self.directory)?, self.options.free_floor_bytes);
        let floor = floor.saturating_add(self.sled.disk_bytes()?);
        if free < floor {
            return Err(StorageError::DiskFull { free, floor, path: self.directory.clone() });
        }
        self.renews.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes what the store has into another one. Says whether there is one.
    pub(super) fn write_renewed(&self, marks: Option<Marks>, whole: Option<Whole>) -> Result<bool, StorageError> {
        let Some(marks) = marks.filter(|_| self.renews.load(Ordering::Relaxed)) else { return Ok(false) };
        let beside = self.directory.join(RENEWED);
        remove_directory(&beside)?;
        create_private_directory(&beside).map_err(io_error("create", &beside))?;
        let options = JournaledOptions { reserve_bytes: 0, ..self.options.clone() };
        let new = SledStorage::open(&beside, sled_options(&options))?;
        let (mut rows, mut bytes) = (BTreeMap::new(), 0);
        for row in self.sled.scan(&KeyRange::all(), Direction::Forward) {
            let (key, value) = row?;
            bytes += (key.len() + value.len()) as u64;
            rows.insert(key, Some(value));
            if bytes >= BUILD_BYTES {
                new.feed(&std::mem::take(&mut rows), |_| false, marks)?;
                bytes = 0;
            }
        }
        new.feed(&rows, |_| false, marks)?;
        new.set_whole(whole);
        new.close()?;
        Ok(true)
    }

    /// Puts it in the place of the one in use. Both are closed.
    pub(super) fn put_renewed(&self) -> Result<(), StorageError> {
        let [store, beside, replaced] = [STORE, RENEWED, REPLACED].map(|name| self.directory.join(name));
        let new = beside.join(STORE);
        disk::exchange(&new, &store, &replaced).map_err(io_error("rename", &new))?;
        remove_directory(&beside)?;
        remove_directory(&replaced)
    }
}

//! What the storage of a directory is opened as.

use std::path::Path;
use std::sync::Arc;

use super::journaled::{Generation, JournaledOptions, JournaledStorage, Keep, ReplayHook};
use super::memory::MemoryStorage;
use super::sled::{Grouped, SyncHook};
use super::{Change, Storage, StorageError};

/// What it is opened with.
pub(crate) struct With {
    /// Memory that the storage takes for pages that were read.
    pub(crate) cache_bytes: u64,
    /// The room on the disk below which nothing is written.
    pub(crate) free_floor_bytes: u64,
    /// The size of the file that is given up when the disk is full.
    pub(crate) reserve_bytes: u64,
    /// Told how far the store is that is built from the journal.
    pub(crate) replay_hook: Option<ReplayHook>,
    /// Lets syncs fail, for tests.
    pub(crate) sync_hook: Option<SyncHook>,
    /// Which rows can be made anew from others.
    pub(crate) is_derived: fn(&[u8]) -> bool,
    /// Which rows are never deleted.
    pub(crate) is_permanent: fn(&[u8]) -> bool,
    /// Which rows entries are made of.
    pub(crate) is_of_entries: fn(&[u8]) -> bool,
    /// Which rows may lie several in one.
    pub(crate) grouped: Grouped,
    /// A row that is stored if commits may have been lost.
    pub(crate) row_of_loss: Option<Change>,
    /// How much of the journal is kept from now on; nothing for what was chosen before.
    pub(crate) keep: Option<Keep>,
    /// Up to which commit backups have the journal.
    pub(crate) fetched: fn(&Path, Generation) -> Option<u64>,
    /// The whole journal is read, and what it or the store has lost made good.
    pub(crate) heal: bool,
    /// One is made where there is none.
    pub(crate) create: bool,
    /// Nothing is kept on the disk, for tests.
    pub(crate) in_memory: bool,
}

/// A storage, and what its user should know.
pub(crate) struct Opened {
    pub(crate) storage: Box<dyn Storage>,
    /// What was damaged and made good, in words.
    pub(crate) notices: Vec<String>,
}

/// Opens the storage of a directory.
pub(crate) fn open(directory: &Path, with: With) -> Result<Opened, StorageError> {
    if with.in_memory {
        return Ok(Opened { storage: Box::new(MemoryStorage::new()), notices: Vec::new() });
    }
    let options = JournaledOptions {
        cache_bytes: with.cache_bytes,
        free_floor_bytes: with.free_floor_bytes,
        reserve_bytes: with.reserve_bytes,
        replay_hook: with.replay_hook,
        sync_hook: with.sync_hook,
        is_derived: with.is_derived,
        is_permanent: with.is_permanent,
        is_of_entries: with.is_of_entries,
        grouped: Some(with.grouped),
        row_of_loss: with.row_of_loss,
        keep: with.keep,
        fetched: with.fetched,
        heal: with.heal,
        create: with.create,
        ..JournaledOptions::default()
    };
    let storage = JournaledStorage::open(directory, options)?;
    let notices = storage.notices().to_vec();
    Ok(Opened { storage: Box::new(storage), notices })
}

/// Whether something of the store in a directory did not read since it was opened.
pub(crate) fn is_marked_damaged(directory: &Path) -> bool {
    super::journaled::is_marked_damaged(directory)
}

/// Lets every sync from the `at`-th on fail.
pub(crate) fn failing_sync(at: u64) -> SyncHook {
    Arc::new(move |n| if n >= at { Err(std::io::Error::other("a sync was made to fail")) } else { Ok(()) })
}

//! sled's handles: opened, and let go of.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::super::StorageError;
use super::super::room::{release_reserve, reserve_path};
use super::SledOptions;
use super::fault::{convert, of_panic, panic_text};
use super::flush::flush;
use super::journal::repeat_journal;
use super::preflight::move_unreadable_aside;
use crate::disk::{Access, open_file};

/// How long an opening waits for a lock that a closed handle still holds.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_millis(1200);

/// sled's handles, dropped together.
pub(super) struct Trees {
    /// The default tree: the rows, under the keys of our callers.
    pub(super) rows: sled::Db,
    /// At most one row, under the empty key: the last commit.
    pub(super) journal: sled::Tree,
    /// What the journal above needs to know; see `feed.rs`.
    pub(super) marks: sled::Tree,
}

/// Opens sled, and waits for a lock that is about to go.
pub(super) fn open_sled(directory: &Path, store: &Path, options: &SledOptions) -> Result<Trees, StorageError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match try_open_sled(store, options) {
            Ok(trees) => return Ok(trees),
            Err(StorageError::Locked { .. }) if Instant::now() < deadline => {
                // There is nothing to wait on: the last handle is dropped by a
                // thread of sled.
                thread::sleep(Duration::from_millis(10));
            }
            Err(StorageError::Io { source, .. })
                if source.kind() == io::ErrorKind::StorageFull
                    && fs::exists(reserve_path(directory)).unwrap_or(false) =>
            {
                release_reserve(directory)?;
                // What it had begun to write it would take for a snapshot.
                move_unreadable_aside(store)?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn try_open_sled(store: &Path, options: &SledOptions) -> Result<Trees, StorageError> {
    let config = sled::Config::new()
        .path(store)
        .cache_capacity(options.cache_bytes)
        // Its own flusher would write in a second thread, and never says that
        // it failed.
        .flush_every_ms(None);
    let open = || {
        let rows = config.open()?;
        let journal = rows.open_tree("journal")?;
        let marks = rows.open_tree("marks")?;
        let trees = Trees { rows, journal, marks };
        repeat_journal(&trees)?;
        flush(&trees.rows)?;
        Ok(trees)
    };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(trees)) => Ok(trees),
        Ok(Err(error)) => Err(convert(error, store)),
        Err(panic) => Err(of_panic(&*panic, store)),
    }
}

/// Lets go of sled, which writes when it is dropped and panics if that fails.
/// Says whether nothing of it is left that could write.
pub(super) fn drop_sled(trees: Option<Trees>, store: &Path) -> Result<bool, StorageError> {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(trees)));
    let is_gone = wait_for_lock(&store.join("db"));
    dropped.map(|()| is_gone).map_err(|panic| StorageError::SyncFailed {
        cause: format!("sled could not write what it had when it was closed: {}", panic_text(&*panic)),
    })
}

/// Waits until sled has let go of its lock, for as long as an opening would; says
/// whether it has.
fn wait_for_lock(db: &Path) -> bool {
    let deadline = Instant::now() + LOCK_PATIENCE;
    while let Ok(file) = open_file(db, Access::Read) {
        if file.try_lock().is_ok() {
            return true;
        }
        if Instant::now() >= deadline {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    false
}

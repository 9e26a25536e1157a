//! sled's handles: opened, and let go of.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::super::StorageError;
use super::SledOptions;
use super::fault::{convert, io_error, panic_text};
use super::files::names_in;
use super::journal::repeat_journal;
use super::room::{release_reserve, reserve_path};
use crate::disk::{Access, open_file, sync_directory};

/// How long an opening waits for a lock that a closed handle still holds.
const LOCK_PATIENCE: Duration = Duration::from_millis(1200);

/// sled's handles, dropped together.
pub(super) struct Trees {
    /// The default tree: the rows, under the keys of our callers.
    pub(super) rows: sled::Db,
    /// At most one row, under the empty key: the last commit.
    pub(super) journal: sled::Tree,
}

/// Opens sled, waits for a lock that is about to go, and tries once more
/// without the snapshots if they are what is damaged.
pub(super) fn open_sled(directory: &Path, store: &Path, options: &SledOptions) -> Result<Trees, StorageError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    let mut moved_snapshots = false;
    loop {
        match try_open_sled(store, options) {
            Ok(trees) => return Ok(trees),
            Err(StorageError::Locked { .. }) if Instant::now() < deadline => {
                // There is nothing to wait on: the last handle is dropped by a
                // thread of sled.
                thread::sleep(Duration::from_millis(10));
            }
            Err(StorageError::Corrupt { .. }) if !moved_snapshots => {
                moved_snapshots = true;
                move_snapshots_aside(store)?;
            }
            Err(StorageError::Io { source, .. })
                if source.kind() == io::ErrorKind::StorageFull
                    && fs::exists(reserve_path(directory)).unwrap_or(false) =>
            {
                release_reserve(directory)?;
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
        let trees = Trees { rows, journal };
        repeat_journal(&trees)?;
        trees.rows.flush()?;
        Ok(trees)
    };
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Ok(trees)) => Ok(trees),
        Ok(Err(error)) => Err(convert(error, store)),
        Err(panic) => Err(StorageError::Corrupt { path: store.to_path_buf(), detail: panic_text(&*panic) }),
    }
}

/// Lets go of sled, which writes when it is dropped and panics if that fails.
pub(super) fn drop_sled(trees: Option<Trees>, store: &Path) -> Result<(), StorageError> {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(trees)));
    wait_for_lock(&store.join("db"));
    dropped.map_err(|panic| StorageError::SyncFailed {
        cause: format!("sled panicked while closing: {}", panic_text(&*panic)),
    })
}

/// sled reads the snapshot whose name sorts last, even one that it had not
/// finished writing. Without any it reads the whole log instead. It takes every
/// name that begins with `snap.` for one, hence the new names.
fn move_snapshots_aside(store: &Path) -> Result<(), StorageError> {
    let names = names_in(store).map_err(io_error("list", store))?;
    for name in names {
        let Some(name) = name.to_str().filter(|name| name.starts_with("snap.")) else {
            continue;
        };
        let from = store.join(name);
        let to = (0_u32..)
            .map(|n| store.join(format!("aside.{n}.{name}")))
            .find(|to| fs::symlink_metadata(to).is_err())
            .expect("a directory holds fewer than 2^32 files");
        fs::rename(&from, &to).map_err(io_error("move aside", &from))?;
    }
    sync_directory(store).map_err(io_error("sync", store))
}

/// Waits until sled has let go of its lock, for as long as an opening would.
fn wait_for_lock(db: &Path) {
    let deadline = Instant::now() + LOCK_PATIENCE;
    while let Ok(file) = open_file(db, Access::Read) {
        if file.try_lock().is_ok() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

//! The storage seam over sled 0.34, and what sled does not do by itself.
//!
//! ```text
//! DIRECTORY/
//!   reserve      4 MiB that are given up so that a full disk can be opened
//!   store/       sled's own
//!     conf       written once, when the store is created
//!     db         the log, in segments of 512 KiB; every commit goes here
//!     blobs/N    a page of more than 128 KiB
//!     snap.N     where the pages are; written while opening
//!     aside.*    a snapshot that could not be opened, kept for inspection
//! ```
//!
//! *Commits of several rows.* sled's own batches close two buffers each and
//! hold a lock of the whole process that its `flush()` holds, too: readers,
//! writers and syncs of all databases wait for each other (90 to 200 us for
//! three rows). So a small batch goes as one row into a second tree, the
//! journal, and then row by row to its place. One row is whole in the log, and
//! what a crash leaves is a prefix of the log: if the journal row is there, an
//! opening repeats it; if not, nothing of the batch is. The journal holds the
//! last commit or nothing: a commit that does not use it empties it first, or
//! an opening would bring old values back. Large batches are sled's.
//!
//! *What a sync is.* sled's `flush()` writes its buffer and waits with
//! `sync_file_range`, which reaches neither the length of the file nor the
//! cache of the disk. See `Core::sync` for what is added. The thread that
//! gets the sync lock syncs for all that wait for it.
//!
//! *Why the order of writes matters.* sled moves the rows of an old segment to
//! the end of the log and then writes over the old one. It takes the move for
//! durable because `sync_file_range` returned, but the new end of the file may
//! be in no journal yet: a power cut then leaves neither the old rows nor the
//! new ones, however long ago they were acknowledged. With a writer that synced
//! every 5,000 commits, 3 of 4 cuts lost the whole store. So when half a segment
//! may have been written without a sync, `db` gets the file attribute `S`
//! (`chattr +S`): each write of sled's background threads then returns when it
//! is durable. It loses it when the syncs come fast enough by themselves,
//! because it makes each of them dearer (230 and 270 us). Where the file system
//! has no such attribute, that commit syncs instead.
//!
//! *Who holds which lock.* `writer` is held for the whole of a commit, so that
//! one thread at a time writes into sled and tickets follow the order of the
//! commits. `syncer` is held for the whole of a sync. `whole` is shared by readers
//! and held alone while a small batch goes to its places. The order is
//! `writer`, `syncer`, `whole`, `db`.
//!
//! *Panics.* sled asserts its invariants, and a damaged page breaks them. Every
//! call into it is caught, becomes [`StorageError::Corrupt`], and ends writing.
//! The panic hook of the program still runs first, so a line about a panic in
//! sled may show on standard error: silencing it would mean replacing the hook
//! of the whole process, which is not ours to do.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Batch, Change, Direction, Health, KeyRange, Row, Rows, Storage, StorageError, Ticket};
use crate::disk::{create_private_directory, parent_of, sync_directory};

/// How long an opening waits for a lock that a closed handle still holds.
const LOCK_PATIENCE: Duration = Duration::from_millis(1200);

/// What the log grows by for each byte of a commit, at the most that was
/// measured: leaves are rewritten when they split and when they have collected
/// ten changes.
const LOG_BYTES_PER_BYTE: u64 = 4;

/// How far the log may grow between two syncs where the kernel does not keep
/// the order of writes: half a segment.
const UNORDERED_LOG_BYTES: u64 = 256 << 10;

/// After how many syncs in a row that had little to do the log loses its
/// attribute `S`.
const CALM_SYNCS: u32 = 32;

/// How far the log may grow before a commit waits until sled has written its
/// buffers. sled hands them to background threads faster than a disk takes
/// them, without a bound: memory grows, and the next sync waits for all.
const UNFLUSHED_LOG_BYTES: u64 = 16 << 20;

/// The largest batch that goes through the journal. Above it, what sled's own
/// batch costs is spread over enough rows.
const JOURNAL_BYTES: u64 = 24 << 10;

/// What a batch of sled's counts for among the unflushed bytes: not its size
/// but its two writes are what the disk has to catch up with.
const BATCH_LOG_BYTES: u64 = 128 << 10;

/// Called before each sync with its number, counted from 1. An error takes the
/// place of the sync: this is how tests let one fail.
pub type SyncHook = Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// How a [`SledStorage`] is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct SledOptions {
    /// The size that sled keeps its pages in memory below. Writing 1 GB of rows
    /// of 600 bytes peaked at 103, 125, 177 and 288 MB of memory with 32, 64,
    /// 128 and 256 MiB.
    pub cache_bytes: u64,
    /// The longest that a commit for which nobody waits stays off the disk.
    pub sync_interval_ms: u64,
    /// The room on the disk below which commits are refused.
    pub free_floor_bytes: u64,
    /// The size of the reserve file; 0 for none.
    pub reserve_bytes: u64,
    /// Uses the attribute `S` of the log where the file system has it. Off only
    /// to test what happens where it has not.
    pub ordered_writes: bool,
    /// Lets syncs fail, for tests.
    pub sync_hook: Option<SyncHook>,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 128 << 20,
            sync_interval_ms: 500,
            free_floor_bytes: 16 << 20,
            reserve_bytes: 4 << 20,
            ordered_writes: true,
            sync_hook: None,
        }
    }
}

impl std::fmt::Debug for SledOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledOptions")
            .field("cache_bytes", &self.cache_bytes)
            .field("sync_interval_ms", &self.sync_interval_ms)
            .field("free_floor_bytes", &self.free_floor_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("ordered_writes", &self.ordered_writes)
            .finish_non_exhaustive()
    }
}

/// A storage in a directory, kept by sled.
///
/// Dropping it closes it, without a word if that fails; [`Storage::close`]
/// tells.
pub struct SledStorage {
    core: Arc<Core>,
    /// Syncs what nobody waits for. Taken by the first close.
    background: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers and the background thread share.
struct Core {
    directory: PathBuf,
    options: SledOptions,
    /// `None` once closed.
    db: RwLock<Option<Trees>>,
    /// Held alone while some rows of a batch are in place and others not.
    whole: RwLock<()>,
    /// The file system knows the attribute `S`.
    can_order: bool,
    /// The log has the attribute `S`. Written by the holder of `syncer`.
    synchronous: AtomicBool,
    /// What the log may have grown by since the last sync.
    unsynced_bytes: AtomicU64,
    writer: Mutex<Writer>,
    syncer: Mutex<Syncer>,
    /// The ticket of the newest commit. Written by the holder of `writer`.
    committed: AtomicU64,
    /// The newest ticket that is durable. Written by the holder of `syncer`.
    synced: AtomicU64,
    /// Why writing is over, once it is. Set once and never taken back.
    stopped: RwLock<Option<Stopped>>,
    alarm: Alarm,
}

/// sled's handles, dropped together.
struct Trees {
    /// The default tree: the rows, under the keys of our callers.
    rows: sled::Db,
    /// At most one row, under the empty key: the last commit.
    journal: sled::Tree,
}

/// Owned by whoever commits.
struct Writer {
    /// How much may be committed before free space is looked up again.
    unchecked_budget: u64,
    /// The last look found the disk full.
    full: bool,
    /// What the log may have grown by since sled wrote its buffers.
    unflushed_bytes: u64,
    /// The journal holds the last commit.
    journal_used: bool,
}

/// Owned by whoever syncs.
struct Syncer {
    /// Our own handle on sled's log: the kernel reports a failed write to every
    /// handle that was open then, whatever sled did about its own.
    log: File,
    /// The blobs that are durable, by name.
    blobs: HashSet<std::ffi::OsString>,
    /// How many syncs there were.
    count: u64,
    /// How many of them in a row found little to sync.
    calm: u32,
}

#[derive(Clone, Debug)]
enum Stopped {
    SyncFailed(String),
    ReadOnly(String),
    Closed,
}

impl Stopped {
    fn error(&self) -> StorageError {
        match self {
            Self::SyncFailed(cause) => StorageError::SyncFailed { cause: cause.clone() },
            Self::ReadOnly(reason) => StorageError::ReadOnly { reason: reason.clone() },
            Self::Closed => StorageError::Closed,
        }
    }
}

/// Wakes the background thread: at the first commit after a sync, and to end.
struct Alarm {
    /// A commit has set `due` and the thread has not yet taken it.
    armed: AtomicBool,
    state: Mutex<AlarmState>,
    changed: Condvar,
}

struct AlarmState {
    due: Option<Instant>,
    stop: bool,
}

impl SledStorage {
    /// Opens the storage in `directory`, which has to exist, and creates it if
    /// the directory holds none.
    ///
    /// What was created is durable on return: the files, their directories and
    /// the name of `directory` itself in its parent.
    pub fn open(directory: &Path, options: SledOptions) -> Result<Self, StorageError> {
        let store = directory.join("store");
        create_private_directory(&store).map_err(io_error("create", &store))?;
        let db_path = store.join("db");
        // What a killed process wrote may be in memory only. It has to be on
        // the disk before sled writes a snapshot that refers to it.
        match File::open(&db_path) {
            Ok(file) => file.sync_all().map_err(io_error("sync", &db_path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("open", &db_path)(error)),
        }
        if free_bytes(directory)? < options.free_floor_bytes {
            release_reserve(directory)?;
        }
        let can_order = options.ordered_writes && order_writes(&db_path)?;
        let trees = open_sled(directory, &store, &options)?;
        let log = OpenOptions::new().read(true).write(true).open(&db_path).map_err(io_error("open", &db_path));
        let opened = log.and_then(|log| Ok((log, sync_everything(directory, &store)?)));
        let (log, blobs) = match opened {
            Ok(opened) => opened,
            Err(problem) => {
                // What went wrong here goes wrong there, too.
                let _ = drop_sled(Some(trees), &store);
                return Err(problem);
            }
        };
        let core = Arc::new(Core {
            directory: directory.to_path_buf(),
            options,
            db: RwLock::new(Some(trees)),
            whole: RwLock::new(()),
            writer: Mutex::new(Writer {
                unchecked_budget: 0,
                // Makes the first commit look, and fill the reserve.
                full: true,
                unflushed_bytes: 0,
                journal_used: false,
            }),
            can_order,
            synchronous: AtomicBool::new(can_order),
            unsynced_bytes: AtomicU64::new(0),
            syncer: Mutex::new(Syncer { log, blobs, count: 0, calm: 0 }),
            committed: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            stopped: RwLock::new(None),
            alarm: Alarm {
                armed: AtomicBool::new(false),
                state: Mutex::new(AlarmState { due: None, stop: false }),
                changed: Condvar::new(),
            },
        });
        let background = thread::Builder::new()
            .name("thingdb-sync".into())
            .spawn({
                let core = Arc::clone(&core);
                move || core.sync_when_due()
            })
            .map_err(io_error("start the thread that syncs", directory))?;
        // A disk without room for the reserve is no reason not to open: reads
        // work, and writes say what is wrong.
        let _ = core.refill_reserve();
        Ok(Self { core, background: Mutex::new(Some(background)) })
    }
}

impl Storage for SledStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.core.get(key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_> {
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        let tree = match self.core.with_sled(|trees| Ok(sled::Tree::clone(&trees.rows))) {
            Ok(tree) => tree,
            Err(error) => return Box::new(std::iter::once(Err(error))),
        };
        let rows = match range.end() {
            Some(end) => tree.range(range.start()..end),
            None => tree.range(range.start()..),
        };
        Box::new(SledRows { core: &self.core, rows: Some(rows), direction })
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        self.core.commit(batch)
    }

    fn wait(&self, ticket: Ticket) -> Result<(), StorageError> {
        self.core.sync_up_to(ticket.0)
    }

    fn health(&self) -> Health {
        match self.core.stopped() {
            Some(Stopped::Closed) => return Health::Closed,
            Some(stopped) => return Health::ReadOnly(stopped.error().to_string()),
            None => {}
        }
        let floor = self.core.options.free_floor_bytes;
        match free_bytes(&self.core.directory) {
            Ok(free) if free < floor => Health::DiskFull { free, floor },
            _ => Health::Writable,
        }
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        self.core.with_sled(|_| Ok(()))?;
        let store = self.core.store();
        allocated_bytes(&store).map_err(io_error("measure", &store))
    }

    fn close(&self) -> Result<(), StorageError> {
        {
            let mut alarm = lock(&self.core.alarm.state);
            alarm.stop = true;
            self.core.alarm.changed.notify_all();
        }
        if let Some(background) = lock(&self.background).take() {
            // It catches panics of sled and has none of its own.
            let _ = background.join();
        }
        self.core.close()
    }
}

impl Drop for SledStorage {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Core {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let _whole = self.whole.read().unwrap_or_else(PoisonError::into_inner);
        let value = self.with_sled(|trees| trees.rows.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        let bytes = batch.bytes();
        let mut writer = lock(&self.writer);
        self.check_not_stopped()?;
        for (key, expected) in &batch.guards {
            let found = self.with_sled(|trees| trees.rows.get(key))?;
            if found.as_deref() != expected.as_deref() {
                return Err(StorageError::Conflict { key: key.clone() });
            }
        }
        if !batch.is_empty() {
            self.check_room(&mut writer, bytes)?;
            self.keep_order(bytes)?;
            self.store_changes(&mut writer, bytes, &batch.changes).map_err(|error| self.stop_writing(error))?;
        }
        let ticket = self.committed.load(Ordering::Relaxed) + 1;
        self.committed.store(ticket, Ordering::Release);
        drop(writer);
        self.arm();
        Ok(Ticket(ticket))
    }

    /// One change is whole by itself, a few through the journal, many as a
    /// batch of sled's.
    fn store_changes(&self, writer: &mut Writer, bytes: u64, changes: &[Change]) -> Result<(), StorageError> {
        if writer.unflushed_bytes >= UNFLUSHED_LOG_BYTES {
            self.with_sled(|trees| trees.rows.flush())?;
            writer.unflushed_bytes = 0;
        }
        writer.unflushed_bytes += bytes.saturating_mul(LOG_BYTES_PER_BYTE);
        let through_journal = changes.len() > 1 && bytes <= JOURNAL_BYTES;
        if writer.journal_used && !through_journal {
            self.with_sled(|trees| trees.journal.remove(b""))?;
            writer.journal_used = false;
        }
        match changes {
            [change] => self.with_sled(|trees| apply_one(&trees.rows, change)),
            changes if through_journal => {
                self.with_sled(|trees| trees.journal.insert(b"", journal_row(changes)))?;
                writer.journal_used = true;
                let _alone = self.whole.write().unwrap_or_else(PoisonError::into_inner);
                self.with_sled(|trees| changes.iter().try_for_each(|change| apply_one(&trees.rows, change)))
            }
            changes => {
                writer.unflushed_bytes += BATCH_LOG_BYTES;
                self.with_sled(|trees| apply_many(&trees.rows, changes))
            }
        }
    }

    /// Refuses a commit of `bytes` if the disk is full, without asking the
    /// kernel each time.
    fn check_room(&self, writer: &mut Writer, bytes: u64) -> Result<(), StorageError> {
        let need = bytes.saturating_mul(LOG_BYTES_PER_BYTE);
        if !writer.full && need <= writer.unchecked_budget {
            writer.unchecked_budget -= need;
            return Ok(());
        }
        let floor = self.options.free_floor_bytes;
        let free = free_bytes(&self.directory)?;
        if free < floor.saturating_add(need) {
            writer.full = true;
            return Err(StorageError::DiskFull {
                free,
                floor: floor.saturating_add(need),
                path: self.directory.clone(),
            });
        }
        if writer.full {
            writer.full = false;
            // The next opening of a full disk will need it again. If there is
            // no room for it yet, the one after the next refusal may have it.
            let _ = self.refill_reserve();
        }
        // A quarter of what is left leaves room for other writers on the same
        // disk; 64 MiB bounds how late we notice them.
        writer.unchecked_budget = ((free - floor - need) / 4).min(64 << 20);
        Ok(())
    }

    /// Keeps the order of writes before the log can have grown so far that
    /// sled uses a segment again whose rows have moved to a place that is not
    /// yet durable: that takes two segments.
    fn keep_order(&self, bytes: u64) -> Result<(), StorageError> {
        let grown = bytes.saturating_mul(LOG_BYTES_PER_BYTE);
        let unsynced = self.unsynced_bytes.fetch_add(grown, Ordering::Relaxed);
        if unsynced < UNORDERED_LOG_BYTES || self.synchronous.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut syncer = lock(&self.syncer);
        self.check_not_stopped()?;
        if self.can_order && set_synchronous(&syncer.log, true) {
            self.synchronous.store(true, Ordering::Release);
            syncer.calm = 0;
        }
        // What was written before the attribute was set.
        self.sync(&mut syncer)
    }

    /// Takes the attribute away when syncs come fast enough without it.
    fn relax_order(&self, syncer: &mut Syncer, synced_bytes: u64) {
        if synced_bytes > UNORDERED_LOG_BYTES / 2 {
            syncer.calm = 0;
            return;
        }
        syncer.calm = syncer.calm.saturating_add(1);
        if syncer.calm >= CALM_SYNCS && self.synchronous.load(Ordering::Acquire) && set_synchronous(&syncer.log, false)
        {
            self.synchronous.store(false, Ordering::Release);
        }
    }

    /// Makes all commits up to `ticket` durable, unless they already are.
    fn sync_up_to(&self, ticket: u64) -> Result<(), StorageError> {
        if self.synced.load(Ordering::Acquire) >= ticket {
            return Ok(());
        }
        let mut syncer = lock(&self.syncer);
        // Whoever held the lock may have synced for us.
        if self.synced.load(Ordering::Acquire) >= ticket {
            return Ok(());
        }
        self.check_not_stopped()?;
        self.sync(&mut syncer)
    }

    /// One sync, for all commits that have returned by now.
    ///
    /// 1. `flush()`: sled's buffer goes to `db`, with `sync_file_range`
    /// 2. `fdatasync(db)`: the bytes, the length, the cache of the disk. Also
    ///    with the attribute `S`: without it 3 of 80 power cuts took back the
    ///    commit that was acknowledged last.
    /// 3. for each new blob `fsync(blobs/N)`, then `fsync(blobs)`
    fn sync(&self, syncer: &mut Syncer) -> Result<(), StorageError> {
        let unsynced = self.unsynced_bytes.load(Ordering::Acquire);
        let covered = self.committed.load(Ordering::Acquire);
        syncer.count += 1;
        let synced = match &self.options.sync_hook {
            Some(hook) => hook(syncer.count),
            None => Ok(()),
        };
        let synced = match synced {
            Ok(()) => self.sync_files(syncer),
            Err(error) => Err(StorageError::SyncFailed { cause: error.to_string() }),
        };
        if let Err(error) = synced {
            let cause = match error {
                StorageError::SyncFailed { cause } => cause,
                other => describe(&other),
            };
            return Err(self.stop(Stopped::SyncFailed(cause)));
        }
        self.synced.store(covered, Ordering::Release);
        self.unsynced_bytes.fetch_sub(unsynced, Ordering::Relaxed);
        self.relax_order(syncer, unsynced);
        Ok(())
    }

    fn sync_files(&self, syncer: &mut Syncer) -> Result<(), StorageError> {
        self.with_sled(|trees| trees.rows.flush())?;
        let store = self.store();
        syncer.log.sync_data().map_err(io_error("sync", &store.join("db")))?;
        sync_new_blobs(&store.join("blobs"), &mut syncer.blobs)
    }

    /// The background thread: syncs what has waited long enough.
    fn sync_when_due(&self) {
        let mut state = lock(&self.alarm.state);
        while !state.stop {
            let now = Instant::now();
            state = match state.due {
                None => wait(&self.alarm.changed, state),
                Some(due) if due > now => {
                    let (state, _) =
                        self.alarm.changed.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner);
                    state
                }
                Some(_) => {
                    state.due = None;
                    drop(state);
                    // Commits from here on arm it again, so none is missed.
                    self.alarm.armed.store(false, Ordering::SeqCst);
                    self.sync_or_nudge();
                    lock(&self.alarm.state)
                }
            };
        }
    }

    /// Syncs for those who do not wait. If a sync is already under way, makes
    /// sure that it ends: sled can miss waking its own `flush()` after a failed
    /// write, and any further call of it wakes them all.
    fn sync_or_nudge(&self) {
        // Failures show in `health` and at the next commit.
        match self.syncer.try_lock() {
            Ok(mut syncer) => {
                let synced = self.synced.load(Ordering::Acquire);
                if synced < self.committed.load(Ordering::Acquire) && self.stopped().is_none() {
                    let _ = self.sync(&mut syncer);
                }
            }
            Err(_) => {
                let _ = self.with_sled(|trees| trees.rows.flush());
                self.arm();
            }
        }
    }

    /// Tells the background thread that something is not yet durable.
    fn arm(&self) {
        if self.alarm.armed.swap(true, Ordering::SeqCst) {
            return;
        }
        let interval = Duration::from_millis(self.options.sync_interval_ms);
        lock(&self.alarm.state).due = Some(Instant::now() + interval);
        self.alarm.changed.notify_all();
    }

    fn close(&self) -> Result<(), StorageError> {
        // From here on no commit begins, and none is under way.
        let writer = lock(&self.writer);
        let synced = match self.stopped() {
            Some(Stopped::Closed) => return Ok(()),
            Some(stopped) => {
                let all = self.synced.load(Ordering::Acquire) >= self.committed.load(Ordering::Acquire);
                if all { Ok(()) } else { Err(stopped.error()) }
            }
            None => self.sync_up_to(self.committed.load(Ordering::Acquire)),
        };
        *self.stopped.write().unwrap_or_else(PoisonError::into_inner) = Some(Stopped::Closed);
        let trees = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(writer);
        let dropped = drop_sled(trees, &self.store());
        synced?;
        dropped
    }

    /// Calls into sled with nothing between its errors, its panics and ours.
    fn with_sled<T>(&self, call: impl FnOnce(&Trees) -> Result<T, sled::Error>) -> Result<T, StorageError> {
        let trees = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let trees = trees.as_ref().ok_or(StorageError::Closed)?;
        self.caught(|| call(trees))
    }

    /// What sled returned, or what it panicked with.
    fn caught<T>(&self, call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StorageError> {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.damage(convert(error, &self.store()))),
            Err(panic) => Err(self.damage(StorageError::Corrupt { path: self.store(), detail: panic_text(&*panic) })),
        }
    }

    /// Damage, wherever it is found, ends writing.
    fn damage(&self, error: StorageError) -> StorageError {
        if matches!(error, StorageError::Corrupt { .. }) {
            self.stop(Stopped::ReadOnly(describe(&error)));
        }
        error
    }

    /// After an error of sled in the middle of a write nothing more is written:
    /// sled itself repeats the error until it is opened anew.
    fn stop_writing(&self, error: StorageError) -> StorageError {
        match error {
            StorageError::Closed => StorageError::Closed,
            other => self.stop(Stopped::ReadOnly(describe(&other))),
        }
    }

    /// Ends writing. The first reason stays; it is what is returned.
    fn stop(&self, why: Stopped) -> StorageError {
        let mut stopped = self.stopped.write().unwrap_or_else(PoisonError::into_inner);
        stopped.get_or_insert(why).error()
    }

    fn stopped(&self) -> Option<Stopped> {
        self.stopped.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check_not_stopped(&self) -> Result<(), StorageError> {
        match &*self.stopped.read().unwrap_or_else(PoisonError::into_inner) {
            Some(stopped) => Err(stopped.error()),
            None => Ok(()),
        }
    }

    fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// Makes the reserve as large as it should be, if there is room for it
    /// above the floor.
    fn refill_reserve(&self) -> Result<(), StorageError> {
        let size = self.options.reserve_bytes;
        let path = reserve_path(&self.directory);
        let present = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if size == 0 || present >= size {
            return Ok(());
        }
        let free = free_bytes(&self.directory)?;
        if free < self.options.free_floor_bytes.saturating_add(size - present) {
            return Ok(());
        }
        fill(&path, size).and_then(|()| sync_directory(&self.directory)).map_err(|error| {
            // Half a reserve would count as none and only take room.
            let _ = fs::remove_file(&path);
            io_error("reserve room in", &path)(error)
        })
    }
}

/// The rows of a scan; fused by `None` after the last one or an error.
struct SledRows<'a> {
    core: &'a Core,
    rows: Option<sled::Iter>,
    direction: Direction,
}

impl Iterator for SledRows<'_> {
    type Item = Result<Row, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.rows.as_mut()?;
        let _whole = self.core.whole.read().unwrap_or_else(PoisonError::into_inner);
        let direction = self.direction;
        let row = self.core.caught(|| {
            match direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.next_back(),
            }
            .transpose()
        });
        match row {
            Ok(Some((key, value))) => Some(Ok((key.to_vec(), value.to_vec()))),
            Ok(None) => {
                self.rows = None;
                None
            }
            Err(error) => {
                self.rows = None;
                Some(Err(error))
            }
        }
    }
}

fn apply_one(rows: &sled::Tree, (key, value): &Change) -> Result<(), sled::Error> {
    match value {
        Some(value) => rows.insert(key, value.as_slice()).map(drop),
        None => rows.remove(key).map(drop),
    }
}

fn apply_many(rows: &sled::Tree, changes: &[Change]) -> Result<(), sled::Error> {
    let mut batch = sled::Batch::default();
    for (key, value) in changes {
        match value {
            Some(value) => batch.insert(key.as_slice(), value.as_slice()),
            None => batch.remove(key.as_slice()),
        }
    }
    rows.apply_batch(batch)
}

/// The changes of a commit in one row, each as
///
/// ```text
/// [1]  1 puts, 0 deletes
/// [4]  length of the key, little-endian      [n] key
/// [4]  length of the value (not in a delete) [n] value
/// ```
fn journal_row(changes: &[Change]) -> Vec<u8> {
    let mut row = Vec::new();
    let field = |bytes: &[u8], row: &mut Vec<u8>| {
        let length = u32::try_from(bytes.len()).expect("the journal takes small batches only");
        row.extend(length.to_le_bytes());
        row.extend(bytes);
    };
    for (key, value) in changes {
        row.push(u8::from(value.is_some()));
        field(key, &mut row);
        if let Some(value) = value {
            field(value, &mut row);
        }
    }
    row
}

/// The changes in a journal row, or `None` if it is none.
fn read_journal_row(mut row: &[u8]) -> Option<Vec<Change>> {
    fn field(row: &mut &[u8]) -> Option<Vec<u8>> {
        let (length, rest) = row.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (bytes, rest) = rest.split_at_checked(length)?;
        *row = rest;
        Some(bytes.to_vec())
    }
    let mut changes = Vec::new();
    while let Some((kind, rest)) = row.split_first() {
        row = rest;
        let key = field(&mut row)?;
        let value = match kind {
            0 => None,
            1 => Some(field(&mut row)?),
            _ => return None,
        };
        changes.push((key, value));
    }
    Some(changes)
}

/// Repeats the commit in the journal, which a crash may have left half done.
fn repeat_journal(trees: &Trees) -> Result<(), sled::Error> {
    let Some(row) = trees.journal.get(b"")? else {
        return Ok(());
    };
    let changes = read_journal_row(&row)
        .ok_or_else(|| sled::Error::ReportableBug(format!("the journal row of {} bytes is malformed", row.len())))?;
    for change in &changes {
        apply_one(&trees.rows, change)?;
    }
    trees.journal.remove(b"").map(drop)
}

/// Makes every write to the log durable before it returns, so that nothing is
/// overwritten before what replaces it is safe. Says whether the file system
/// can do that.
///
/// It is set at each opening, so that what sled repairs while opening is
/// written in order, too. The file is created if need be: sled takes an empty one
/// for a new one.
fn order_writes(db: &Path) -> Result<bool, StorageError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(db)
        .map_err(io_error("open", db))?;
    Ok(set_synchronous(&file, true))
}

/// Sets or clears the attribute `S`; says whether that was possible.
#[cfg(target_os = "linux")]
fn set_synchronous(file: &File, on: bool) -> bool {
    use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
    let Ok(mut flags) = ioctl_getflags(file) else {
        return false;
    };
    flags.set(IFlags::SYNC, on);
    ioctl_setflags(file, flags).is_ok()
}

/// On other systems sled itself calls `sync_all` after each write.
#[cfg(not(target_os = "linux"))]
fn set_synchronous(_file: &File, _on: bool) -> bool {
    true
}

/// Opens sled, waits for a lock that is about to go, and tries once more
/// without the snapshots if they are what is damaged.
fn open_sled(directory: &Path, store: &Path, options: &SledOptions) -> Result<Trees, StorageError> {
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
fn drop_sled(trees: Option<Trees>, store: &Path) -> Result<(), StorageError> {
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
            .find(|to| !to.exists())
            .expect("a directory holds fewer than 2^32 files");
        fs::rename(&from, &to).map_err(io_error("move aside", &from))?;
    }
    sync_directory(store).map_err(io_error("sync", store))
}

/// Syncs every file of the store, then every directory up to the name of the
/// database. Returns the blobs that are now durable.
fn sync_everything(directory: &Path, store: &Path) -> Result<HashSet<std::ffi::OsString>, StorageError> {
    for name in names_in(store).map_err(io_error("list", store))? {
        let path = store.join(name);
        if path.is_file() {
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

/// Syncs the blobs that are not in `durable`, and their directory if there
/// were any; forgets those that are gone.
///
/// sled writes a blob once, under a name that it never uses again.
fn sync_new_blobs(blobs: &Path, durable: &mut HashSet<std::ffi::OsString>) -> Result<(), StorageError> {
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
    File::open(path)?.sync_all()
}

fn names_in(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.file_name())).collect()
}

/// Waits until sled has let go of its lock, for as long as an opening would.
fn wait_for_lock(db: &Path) {
    let deadline = Instant::now() + LOCK_PATIENCE;
    while let Ok(file) = File::open(db) {
        if file.try_lock().is_ok() || Instant::now() >= deadline {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn reserve_path(directory: &Path) -> PathBuf {
    directory.join("reserve")
}

/// Gives the room of the reserve back to the file system.
fn release_reserve(directory: &Path) -> Result<(), StorageError> {
    let path = reserve_path(directory);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("release the room in", &path)(error)),
        _ => Ok(()),
    }
}

/// Writes zeros: a hole would reserve nothing, and not every file system can
/// allocate without writing.
fn fill(path: &Path, size: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
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
fn free_bytes(directory: &Path) -> Result<u64, StorageError> {
    let found = rustix::fs::statvfs(directory)
        .map_err(|error| io_error("look up the free space of", directory)(error.into()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn allocated_bytes(directory: &Path) -> io::Result<u64> {
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

/// What an error of sled means to us.
fn convert(error: sled::Error, store: &Path) -> StorageError {
    let corrupt = |detail: String| StorageError::Corrupt { path: store.to_path_buf(), detail };
    match error {
        // The only place where sled's message has to be read: it gives the
        // lock no kind of its own.
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            StorageError::Locked { path: store.to_path_buf() }
        }
        // A file that ends too early or has gone is damage, not a failing disk.
        sled::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound
            ) =>
        {
            corrupt(format!("sled reports: {error}"))
        }
        sled::Error::Io(error) => io_error("use", store)(error),
        sled::Error::Corruption { at: Some(at), .. } => corrupt(format!("a checksum does not match at {at}")),
        sled::Error::Corruption { at: None, .. } => corrupt("a checksum does not match".into()),
        sled::Error::Unsupported(why) | sled::Error::ReportableBug(why) => corrupt(why),
        sled::Error::CollectionNotFound(_) => corrupt("the default tree is missing".into()),
    }
}

/// An error with its cause, in one line, for a text that outlives it.
fn describe(error: &StorageError) -> String {
    match error {
        StorageError::Io { source, .. } => format!("{error}: {source}"),
        StorageError::ReadOnly { reason } => reason.clone(),
        StorageError::SyncFailed { cause } => cause.clone(),
        other => other.to_string(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    match text {
        // Some of sled's panics print a whole tree.
        Some(text) => text.chars().take(200).collect(),
        None => "sled panicked".into(),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
    let path = path.to_path_buf();
    move |source| StorageError::Io { action, path, source }
}

/// No lock of this file is held while something panics half way through a
/// change: calls into sled are caught.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Vec<Change> {
        vec![(b"lamp".to_vec(), Some(b"on".to_vec())), (b"gone".to_vec(), None), (Vec::new(), Some(Vec::new()))]
    }

    #[test]
    fn a_journal_row_reads_back() {
        let row = journal_row(&changes());
        assert_eq!(read_journal_row(&row), Some(changes()));
        assert_eq!(read_journal_row(b""), Some(Vec::new()));
    }

    #[test]
    fn a_malformed_journal_row_is_none() {
        let row = journal_row(&changes());
        for end in 0..row.len() {
            // A cut between two changes leaves fewer changes, no other cut does.
            if let Some(read) = read_journal_row(&row[..end]) {
                assert!(read.len() < 3 && changes().starts_with(&read));
            }
        }
        assert_eq!(read_journal_row(&[2, 0, 0, 0, 0]), None);
        assert_eq!(read_journal_row(&[0, 0xff, 0xff, 0xff, 0xff]), None);
    }

    /// What a crash leaves behind the journal row is repeated, and only once:
    /// a later commit is not undone by the next opening.
    #[test]
    fn a_commit_that_stopped_half_way_is_completed() {
        let directory = tempfile::tempdir().unwrap();
        let options = || SledOptions { reserve_bytes: 0, ..SledOptions::default() };
        let storage = SledStorage::open(directory.path(), options()).unwrap();
        storage
            .core
            .with_sled(|trees| {
                trees.rows.insert(b"gone", b"")?;
                trees.journal.insert(b"", journal_row(&changes()))?;
                trees.rows.insert(b"lamp", b"on")
            })
            .unwrap();
        drop(storage);
        let storage = SledStorage::open(directory.path(), options()).unwrap();
        assert_eq!(storage.get(b"lamp").unwrap().as_deref(), Some(&b"on"[..]));
        assert_eq!(storage.get(b"gone").unwrap(), None);
        assert_eq!(storage.get(b"").unwrap().as_deref(), Some(&b""[..]));
        for round in 0..2_u8 {
            let mut pair = Batch::new();
            pair.put(*b"a", [round]).put(*b"b", [round]);
            storage.commit(pair).unwrap();
            let mut single = Batch::new();
            single.put(*b"a", *b"later");
            storage.commit(single).unwrap();
        }
        drop(storage);
        let storage = SledStorage::open(directory.path(), options()).unwrap();
        assert_eq!(storage.get(b"a").unwrap().as_deref(), Some(&b"later"[..]));
        assert_eq!(storage.get(b"b").unwrap().as_deref(), Some(&[1][..]));
    }
}

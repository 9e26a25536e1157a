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
//!     left       how it was left, so that the next opening knows what to expect
//!     aside.*    a snapshot that does not read, kept for inspection
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
//! cache of the disk. See `Core::sync` for what is added. One of the threads
//! that wait has the turn and syncs for all of them.
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
//! *What is opened.* sled writes over what it does not understand. So it opens
//! nothing that `preflight` has not understood before: see there.
//!
//! *Panics.* sled asserts its invariants, and a damaged page breaks them. Every
//! call into it is caught, becomes [`StorageError::Corrupt`], and ends writing.
//! The panic hook of the program still runs first, so a line about a panic in
//! sled may show on standard error: silencing it would mean replacing the hook
//! of the whole process, which is not ours to do. The command `thingdb` does.

pub(super) mod fault;
mod feed;
mod files;
mod flush;
mod groups;
mod journal;
mod left;
mod log;
mod pages;
pub(crate) mod preflight;
pub(crate) mod raw;
mod scan;
mod sync;
mod trees;
mod walk;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use super::room::{self, Room, allocated_bytes, free_bytes, release_reserve};
use super::stopped::Stopped;
use super::turn::{Turn, lock, wait};
use super::{Batch, Change, Direction, Health, KeyRange, Rows, Storage, StorageError, Ticket, Value};
use crate::disk::{Access, create_private_directory, open_file};
use fault::{convert, describe, io_error, of_panic};
pub(crate) use feed::Marks;
use files::{durable_blobs, order_writes, sync_everything};
use flush::flush;
pub use groups::Grouped;
use groups::{Moves, Rewriting, Tail};
use journal::{apply_many, apply_one, journal_row};
pub(crate) use left::Whole;
use preflight::{Look, Seen};
use scan::SledRows;
use sync::{Alarm, AlarmState, Syncer};
use trees::{Trees, drop_sled, open_sled};

/// What the log grows by for each byte of a commit, at the most that was
/// measured: leaves are rewritten when they split and when they have collected
/// ten changes.
const LOG_BYTES_PER_BYTE: u64 = 4;

/// How far the log may grow before a commit waits until sled has written its
/// buffers: two segments.
///
/// sled hands each buffer to one of seven threads, faster than a disk takes them.
/// Memory would grow, and worse: whoever needs a new segment at the end of the file
/// waits until one of these threads has shortened the file, and holds a lock
/// meanwhile that all of them take after a write. With seven buffers under way
/// nobody is left to shorten it, and nothing goes on for ever. (sled starts no
/// further thread then: it counts those that wait below zero.)
const UNFLUSHED_LOG_BYTES: u64 = 1 << 20;

/// The largest batch that goes through the journal. Above it, what sled's own
/// batch costs is spread over enough rows.
const JOURNAL_BYTES: u64 = 24 << 10;

/// What a batch of sled's counts for among the unflushed bytes, beside its size:
/// its two writes are what the disk has to catch up with.
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
    /// Which rows may lie several in one row of sled's, once they are fed. None by
    /// default. A store is always opened with the same.
    pub grouped: Option<Grouped>,
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
            grouped: None,
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
    /// What is to be noted when the first commit may come, if it is noted that there
    /// is none.
    noted: Mutex<Option<Seen>>,
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
    /// How often rows were moved into groups or out of them. Changed by who holds `whole`
    /// alone.
    moved: AtomicU64,
    /// Whether the row that was read last, of those that may, lay in a group: the next
    /// one may, too.
    in_groups_last: AtomicBool,
    /// The file system knows the attribute `S`.
    can_order: bool,
    /// The log has the attribute `S`. Written by the holder of `syncer`.
    synchronous: AtomicBool,
    /// What the log may have grown by since the last sync.
    unsynced_bytes: AtomicU64,
    writer: Mutex<Writer>,
    turn: Turn,
    syncer: Mutex<Syncer>,
    /// The ticket of the newest commit. Written by the holder of `writer`.
    committed: AtomicU64,
    /// The newest ticket that is durable. Written by the holder of `syncer`.
    synced: AtomicU64,
    /// Why writing is over, once it is. Set once and never taken back.
    stopped: RwLock<Option<Stopped>>,
    /// A call of sled failed, whatever it was about: what was under way may be in its log
    /// in part.
    has_failed: AtomicBool,
    /// What is noted when it is closed.
    left_whole: Mutex<Option<Whole>>,
    alarm: Alarm,
}

/// Owned by whoever commits.
struct Writer {
    room: Room,
    /// What the log may have grown by since sled wrote its buffers.
    unflushed_bytes: u64,
    /// The journal holds the last commit.
    journal_used: bool,
    /// What waits for others, if that was looked for. See [`groups`].
    tail: Option<Tail>,
}

impl SledStorage {
    /// Opens the storage in `directory`, which has to exist, and creates it if
    /// the directory holds none.
    ///
    /// What was created is durable on return: the files, their directories and
    /// the name of `directory` itself in its parent.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if something that was written does not read.
    /// Nothing was changed then.
    pub fn open(directory: &Path, options: SledOptions) -> Result<Self, StorageError> {
        let seen = preflight::look(&directory.join("store"))?;
        Self::open_seen(directory, options, &seen, false)
    }

    /// Opens a storage that was looked at just now. If it `stays_whole`, nothing is
    /// committed until [`begin`](Self::begin).
    pub(crate) fn open_seen(
        directory: &Path,
        options: SledOptions,
        seen: &Seen,
        stays_whole: bool,
    ) -> Result<Self, StorageError> {
        let store = directory.join("store");
        seen.check(&store)?;
        let db_path = store.join("db");
        // Who closed it has made durable what is here, and the names.
        let is_durable = seen.look == Look::Clean;
        if !is_durable {
            create_private_directory(&store).map_err(io_error("create", &store))?;
            // What a killed process wrote may be in memory only. It has to be on
            // the disk before sled writes a snapshot that refers to it.
            match open_file(&db_path, Access::Read) {
                Ok(file) => file.sync_all().map_err(io_error("sync", &db_path))?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_error("open", &db_path)(error)),
            }
        }
        if free_bytes(directory)? < options.free_floor_bytes {
            release_reserve(directory)?;
        }
        left::sweep(&store).map_err(io_error("list", &store))?;
        preflight::move_unreadable_aside(&store)?;
        let can_order = options.ordered_writes && order_writes(&db_path)?;
        let noted = seen.whole.filter(|_| stays_whole);
        let note_open = || seen.note_open(&store, noted).map_err(io_error("note how it is left in", &store));
        let is_fresh = seen.look == Look::Fresh;
        if !is_fresh {
            note_open()?;
        }
        let trees = open_sled(directory, &store, &options)?;
        // Only now is there something that could be missed.
        if is_fresh && let Err(problem) = note_open() {
            let _ = drop_sled(Some(trees), &store);
            return Err(problem);
        }
        let log = open_file(&db_path, Access::Write).map_err(io_error("open", &db_path));
        let blobs = || match is_durable {
            // sled has synced the snapshot that it has just made, and what it wrote to
            // its log follows from what is there.
            true => durable_blobs(&store),
            false => sync_everything(directory, &store),
        };
        let opened = log.and_then(|log| Ok((log, blobs()?)));
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
            moved: AtomicU64::new(0),
            in_groups_last: AtomicBool::new(false),
            writer: Mutex::new(Writer { room: Room::unknown(), unflushed_bytes: 0, journal_used: false, tail: None }),
            can_order,
            synchronous: AtomicBool::new(can_order),
            unsynced_bytes: AtomicU64::new(0),
            turn: Turn::default(),
            syncer: Mutex::new(Syncer { log, blobs, count: 0, calm: 0 }),
            committed: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            stopped: RwLock::new(None),
            has_failed: AtomicBool::new(false),
            left_whole: Mutex::new(seen.whole),
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
        let _ = room::refill(directory, core.options.free_floor_bytes, core.options.reserve_bytes);
        let noted = Mutex::new(noted.map(|_| seen.clone()));
        Ok(Self { core, noted, background: Mutex::new(Some(background)) })
    }

    /// From here on there may be commits that it has not, whatever ends the process.
    pub(crate) fn begin(&self) -> Result<(), StorageError> {
        *lock(&self.core.left_whole) = None;
        match lock(&self.noted).take() {
            Some(seen) => {
                let store = self.core.store();
                seen.note_open(&store, None).map_err(io_error("note how it is left in", &store))
            }
            None => Ok(()),
        }
    }

    /// Up to where it has everything, if it is closed now.
    pub(crate) fn set_whole(&self, whole: Option<Whole>) {
        *lock(&self.core.left_whole) = whole;
    }
}

/// A database reads through this, and closes. It is [fed](SledStorage::feed) by the journal
/// above it and commits nothing here: `commit` and `wait`, and the row of sled's own journal
/// that makes a small commit whole, are for who has sled alone. Those are the tests that hold
/// sled against the other storages, that alter rows below the engine, and that cut its power:
/// they tell what is sled's from what is the journal's. The attribute `S` and the lock `whole`
/// are needed either way: without the first a power cut takes rows of long ago
/// (`docs/durability.md`), and the second keeps readers from rows that are moved into a group.
impl Storage for SledStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.core.get(key)?.map(|value| value.to_vec()))
    }

    fn get_shared(&self, key: &[u8]) -> Result<Option<Value>, StorageError> {
        Ok(self.core.get(key)?.map(Value::from))
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_> {
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        match self.core.with_sled(|trees| Ok(sled::Tree::clone(&trees.rows))) {
            Ok(tree) => Box::new(SledRows::new(&self.core, tree, range.clone(), direction)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
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

    fn compact(&self) -> Result<u64, StorageError> {
        Ok(0)
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
    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StorageError> {
        let _whole = self.whole.read().unwrap_or_else(PoisonError::into_inner);
        self.with_sled(|trees| groups::get(&trees.rows, self.options.grouped, key, &self.in_groups_last))
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        let bytes = batch.bytes();
        let mut writer = lock(&self.writer);
        self.check_not_stopped()?;
        for (key, expected) in &batch.guards {
            let found = self.get(key)?;
            if found.as_deref() != expected.as_deref() {
                return Err(StorageError::Conflict { key: key.clone() });
            }
        }
        if !batch.is_empty() {
            let (floor, reserve) = (self.options.free_floor_bytes, self.options.reserve_bytes);
            writer.room.check(&self.directory, floor, reserve, bytes.saturating_mul(LOG_BYTES_PER_BYTE), 0)?;
            self.keep_order(bytes)?;
            self.store_changes(&mut writer, bytes, batch.changes).map_err(|error| self.stop_writing(error))?;
        }
        let ticket = self.committed.load(Ordering::Relaxed) + 1;
        self.committed.store(ticket, Ordering::Release);
        drop(writer);
        self.arm();
        Ok(Ticket(ticket))
    }

    /// One change is whole by itself, a few through the journal, many as a
    /// batch of sled's.
    fn store_changes(&self, writer: &mut Writer, bytes: u64, changes: Vec<Change>) -> Result<(), StorageError> {
        let (changes, are_groups) = match self.options.grouped {
            Some(grouped) => {
                writer.tail = None;
                self.in_groups(grouped, changes)?
            }
            None => (changes, false),
        };
        if writer.unflushed_bytes >= UNFLUSHED_LOG_BYTES {
            self.with_sled(|trees| flush(&trees.rows))?;
            writer.unflushed_bytes = 0;
        }
        writer.unflushed_bytes += bytes.saturating_mul(LOG_BYTES_PER_BYTE);
        let through_journal = changes.len() > 1 && bytes <= JOURNAL_BYTES && !are_groups;
        if writer.journal_used && !through_journal {
            self.with_sled(|trees| trees.journal.remove(b""))?;
            writer.journal_used = false;
        }
        if are_groups {
            return self.apply_alone(changes);
        }
        if let [change] = &changes[..] {
            return self.with_sled(|trees| apply_one(&trees.rows, change));
        }
        if through_journal {
            self.with_sled(|trees| trees.journal.insert(b"", journal_row(&changes)))?;
            writer.journal_used = true;
            let _alone = self.whole.write().unwrap_or_else(PoisonError::into_inner);
            return self.with_sled(|trees| changes.iter().try_for_each(|change| apply_one(&trees.rows, change)));
        }
        writer.unflushed_bytes += BATCH_LOG_BYTES;
        self.with_sled(|trees| apply_many(&trees.rows, changes))
    }

    /// Changes of rows as changes of rows of sled's, and whether groups are among them.
    fn in_groups(&self, grouped: Grouped, changes: Vec<Change>) -> Result<(Vec<Change>, bool), StorageError> {
        let rows = self.with_sled(|trees| Ok(sled::Tree::clone(&trees.rows)))?;
        let mut rewriting = Rewriting::new(rows, grouped);
        let mut of_sled = Vec::with_capacity(changes.len());
        for change in changes {
            let (change, _) = self.caught(|| rewriting.take(change))?;
            of_sled.extend(change);
        }
        let moves = rewriting.finish();
        let are_groups = !moves.is_empty();
        // The last one for a key decides.
        of_sled.extend(moves.first);
        of_sled.extend(moves.then);
        Ok((of_sled, are_groups))
    }

    /// Writes rows that lie in groups, and puts them in other places: all or none, also
    /// after a crash, and nobody sees some of them moved and others not.
    fn move_rows(&self, Moves { first, then }: Moves) -> Result<(), StorageError> {
        first.iter().try_for_each(|change| self.with_sled(|trees| apply_one(&trees.rows, change)))?;
        match &then[..] {
            [] => Ok(()),
            [change @ (_, Some(_))] => self.with_sled(|trees| apply_one(&trees.rows, change)),
            _ => self.apply_alone(then),
        }
    }

    /// Writes rows of sled's as a whole, while nobody reads.
    fn apply_alone(&self, changes: Vec<Change>) -> Result<(), StorageError> {
        let _alone = self.whole.write().unwrap_or_else(PoisonError::into_inner);
        self.moved.fetch_add(1, Ordering::Relaxed);
        self.with_sled(|trees| apply_many(&trees.rows, changes))
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
        if dropped? && !self.has_failed.load(Ordering::Acquire) {
            // Without the note the next opening reads more, nothing else. It does so after
            // a failure: the end of the log may be half a batch, which is none.
            let _ = preflight::note_closed(&self.store(), *lock(&self.left_whole));
        }
        Ok(())
    }

    /// Calls into sled with nothing between its errors, its panics and ours.
    fn with_sled<T>(&self, call: impl FnOnce(&Trees) -> Result<T, sled::Error>) -> Result<T, StorageError> {
        let trees = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let trees = trees.as_ref().ok_or(StorageError::Closed)?;
        self.caught(|| call(trees))
    }

    /// What sled returned, or what it panicked with.
    fn caught<T>(&self, call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StorageError> {
        let called = catch_unwind(AssertUnwindSafe(call));
        if !matches!(called, Ok(Ok(_))) {
            self.has_failed.store(true, Ordering::Release);
        }
        match called {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.damage(convert(error, &self.store()))),
            // After a panic sled is not asked again, whatever it was about.
            Err(panic) => Err(match of_panic(&*panic, &self.store()) {
                damage @ StorageError::Corrupt { .. } => self.damage(damage),
                passing => {
                    self.stop(Stopped::ReadOnly(describe(&passing)));
                    passing
                }
            }),
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
}

#[cfg(test)]
mod tests {
    use super::super::Change;
    use super::*;

    fn changes() -> Vec<Change> {
        vec![(b"lamp".to_vec(), Some(b"on".to_vec())), (b"gone".to_vec(), None), (Vec::new(), Some(Vec::new()))]
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
                trees.journal.insert(b"", journal::journal_row(&changes()))?;
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

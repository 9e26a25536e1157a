//! The storage of databases on disk: a journal that is the truth after a crash,
//! sled that is read, and between them what sled does not have yet.
//!
//! ```text
//! DIRECTORY/
//!   journal/    every commit, in order; what was acknowledged is durable there
//!   store/      the same rows by key, kept by sled; what it lacks or has lost
//!               comes from the journal
//!   store.aside-N   a store that was not understood, untouched
//!   reserve     room that is given up so that a full disk can be opened
//! ```
//!
//! *A commit* is appended to the journal and put into the overlay (`overlay.rs`): it
//! is visible, and survives the end of the process. Whoever waits for it waits
//! for a sync of the journal, which threads share.
//!
//! *The feeder* is a thread that gives sled what the overlay holds, many commits
//! at once and by key, with plain inserts: a crash in between is made good by the
//! journal, from which the next opening repeats everything behind sled's mark.
//! What is fed is durable in the journal before: sled never has what the journal
//! could lose in a power cut.
//!
//! *Compaction.* What replaced rows take in the journal is counted; when it is a
//! quarter of it, a thread goes through the files and writes those anew of which less
//! than half is alive (`compaction.rs`, `journal/compact.rs`). Who wants nothing of them
//! to be left has the store written anew, too, when it is closed (`renewal.rs`).
//!
//! *Rows that follow from others* (see [`JournaledOptions::is_derived`]) are not
//! in the journal. They go to sled as one batch, which is whole, behind the rows
//! that they follow from.
//!
//! *Who holds which lock.* `writer` is held for the whole of a commit, so that
//! frames, tickets and the overlay have one order. Then `overlay`, for moments.
//! The feeder takes `writer` never, so that a commit may wait for it.

mod compaction;
mod exclusive;
mod feeder;
mod keep;
mod opening;
mod overlay;
mod reconcile;
mod renewal;
mod scan;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, JoinHandle};

use super::journal::Journal;
use super::room::{Room, free_bytes};
use super::sled::fault::{describe, io_error};
pub use super::sled::{Grouped, SyncHook};
use super::sled::{Marks, SledStorage, Whole};
use super::stopped::Stopped;
use super::turn::lock;
use super::{Batch, Change, Direction, Health, KeyRange, Rows, Storage, StorageError, Ticket, Value};
use compaction::Compaction;
use exclusive::LockedDirectory;
use feeder::Bell;
pub use keep::Keep;
use overlay::Overlay;
use scan::Merged;

/// What the disk needs for each byte of a commit at the most: sled's log, and
/// the journal.
const DISK_BYTES_PER_BYTE: u64 = 5;

/// Commits wait while so many bytes, and what the feeder is at, are not in sled.
const MOST_FRESH_BYTES: u64 = 4 << 20;

/// Told how many commits of the journal the store was given, of how many, while an
/// opening gives it more than 8 MiB.
pub type ReplayHook = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// How often a journal was written anew.
pub type Generation = u32;

/// How a [`JournaledStorage`] is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct JournaledOptions {
    /// The size that sled keeps its pages in memory below.
    pub cache_bytes: u64,
    /// The longest that a commit for which nobody waits stays off the disk.
    pub sync_interval_ms: u64,
    /// The room on the disk below which commits are refused.
    pub free_floor_bytes: u64,
    /// The size of the reserve file; 0 for none.
    pub reserve_bytes: u64,
    /// Uses the attribute `S` of sled's log where the file system has it. Off
    /// only to test what happens where it has not.
    pub ordered_writes: bool,
    /// Which rows follow from others and are not written to the journal: they
    /// are made anew where sled was built anew. None by default.
    pub is_derived: fn(&[u8]) -> bool,
    /// Which rows are never deleted: one that only the journal has was lost by the
    /// store, also where the journal is damaged and may lack its deletion. None by
    /// default.
    pub is_permanent: fn(&[u8]) -> bool,
    /// Which rows do no harm if they come back although they were deleted. Where the
    /// journal has lost commits, such rows are taken from a store that is moved aside.
    /// None by default.
    pub is_of_entries: fn(&[u8]) -> bool,
    /// Which rows may lie several in one row of sled's. None by default. A storage is
    /// always opened with the same.
    pub grouped: Option<Grouped>,
    /// A row that is stored if commits may have been lost: see
    /// [`JournaledStorage::may_lack_commits`]. It is there before anything that shows
    /// the loss is mended, so that no crash takes the knowledge away.
    pub row_of_loss: Option<Change>,
    /// How much of the journal is kept from now on; nothing for what was chosen
    /// before, which is all of it at first. Where commits were dropped and all are to
    /// be kept, the journal is written anew from the store.
    pub keep: Option<Keep>,
    /// Up to which commit everybody has fetched the journal who copies the directory
    /// that is given; nothing if nobody does. It counts where recent commits are kept.
    pub fetched: fn(&Path, Generation) -> Option<u64>,
    /// The size of a file of the journal, in bytes. The journal is not looked
    /// through for less that is dead.
    pub journal_file_bytes: u64,
    /// Reads the whole journal when it is opened, holds the store against it and
    /// makes good what one of them has lost. Takes time in proportion to them, and
    /// 100 bytes of memory a row.
    pub heal: bool,
    /// Makes a storage where there is none, which is the default; otherwise that
    /// is damage.
    pub create: bool,
    /// Told how far the store is that is built from the journal.
    pub replay_hook: Option<ReplayHook>,
    /// Lets syncs of the journal fail, for tests.
    pub sync_hook: Option<SyncHook>,
}

impl Default for JournaledOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 128 << 20,
            sync_interval_ms: 500,
            free_floor_bytes: 16 << 20,
            reserve_bytes: 4 << 20,
            ordered_writes: true,
            is_derived: |_| false,
            is_permanent: |_| false,
            is_of_entries: |_| false,
            grouped: None,
            row_of_loss: None,
            keep: None,
            fetched: |_, _| None,
            journal_file_bytes: 64 << 20,
            heal: false,
            create: true,
            replay_hook: None,
            sync_hook: None,
        }
    }
}

impl std::fmt::Debug for JournaledOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournaledOptions")
            .field("cache_bytes", &self.cache_bytes)
            .field("sync_interval_ms", &self.sync_interval_ms)
            .field("free_floor_bytes", &self.free_floor_bytes)
            .field("reserve_bytes", &self.reserve_bytes)
            .field("ordered_writes", &self.ordered_writes)
            .field("keep", &self.keep)
            .field("journal_file_bytes", &self.journal_file_bytes)
            .field("heal", &self.heal)
            .finish_non_exhaustive()
    }
}

/// A storage in a directory: a journal, and sled.
///
/// Dropping it closes it, without a word if that fails; [`Storage::close`]
/// tells.
pub struct JournaledStorage {
    core: Arc<Core>,
    /// Taken by the first close.
    feeder: Mutex<Option<JoinHandle<()>>>,
    notices: Vec<String>,
    may_lack_commits: bool,
    /// The directory, locked until everything else is let go of.
    lock: Mutex<Option<LockedDirectory>>,
}

/// What the callers and the feeder share.
struct Core {
    directory: PathBuf,
    options: JournaledOptions,
    journal: Journal,
    sled: SledStorage,
    overlay: RwLock<Overlay>,
    /// What `overlay.fresh` holds, in bytes.
    fresh_bytes: AtomicU64,
    /// What was fed since files of the journal were dropped, in bytes.
    fed_bytes: AtomicU64,
    compaction: Compaction,
    /// The store is to be written anew when it is closed.
    renews: AtomicBool,
    keep: Keep,
    writer: Mutex<Writer>,
    /// Why writing is over, once it is. Set once and never taken back.
    stopped: RwLock<Option<Stopped>>,
    bell: Bell,
}

/// Owned by whoever commits.
struct Writer {
    room: Room,
    /// The last frame.
    sequence: u64,
    /// The commits since then that needed none.
    without_frame: u64,
}

/// A ticket is the last frame, and how many commits came since then: those take
/// part in the order and have nothing to wait for but what was before them.
const COUNT_BITS: u32 = 16;

fn ticket(writer: &Writer) -> Ticket {
    Ticket(writer.sequence << COUNT_BITS | writer.without_frame.min((1 << COUNT_BITS) - 1))
}

/// Whether the store in a directory has to be built anew at the next opening.
pub(crate) fn is_marked_damaged(directory: &Path) -> bool {
    opening::is_marked_damaged(directory)
}

impl JournaledStorage {
    /// Opens the storage in `directory`, which has to exist, and creates it if
    /// the directory holds none.
    ///
    /// What the journal has and sled lacks is given to sled. A store that is not
    /// there, or is damaged, is built anew from the journal, and a journal that
    /// is not there from the store; [`notices`](Self::notices) tells.
    ///
    /// What was created is durable on return.
    ///
    /// # Errors
    /// [`StorageError::Locked`], [`StorageError::Corrupt`] if neither has what
    /// the other lacks, [`StorageError::Io`].
    pub fn open(directory: &Path, options: JournaledOptions) -> Result<Self, StorageError> {
        let lock = LockedDirectory::lock(directory)?;
        let opened = opening::open(directory, &options)?;
        let sequence = opened.journal.next() - 1;
        let journal_file_bytes = options.journal_file_bytes;
        let core = Arc::new(Core {
            directory: directory.to_path_buf(),
            options,
            journal: opened.journal,
            sled: opened.sled,
            fresh_bytes: AtomicU64::new(opened.fresh.bytes),
            fed_bytes: AtomicU64::new(0),
            keep: opened.keep,
            compaction: Compaction::new(opened.marks, journal_file_bytes),
            renews: AtomicBool::new(false),
            overlay: RwLock::new(Overlay { fresh: opened.fresh, ..Overlay::default() }),
            writer: Mutex::new(Writer { room: Room::unknown(), sequence, without_frame: 0 }),
            stopped: RwLock::new(None),
            bell: Bell::default(),
        });
        let feeder = thread::Builder::new()
            .name("thingdb-feed".into())
            .spawn({
                let core = Arc::clone(&core);
                move || core.feed_when_due()
            })
            .map_err(io_error("start the thread that feeds", directory))?;
        if core.fresh_bytes.load(Ordering::Relaxed) > 0 {
            core.ring(true);
        }
        Ok(Self {
            core,
            feeder: Mutex::new(Some(feeder)),
            notices: opened.notices,
            may_lack_commits: opened.may_lack_commits,
            lock: Mutex::new(Some(lock)),
        })
    }

    /// Whether the journal was lost, or its end, when the store had not been closed:
    /// then it may have had commits that the store never got, although they were
    /// durable. Which, nobody knows.
    pub const fn may_lack_commits(&self) -> bool {
        self.may_lack_commits
    }

    /// What was found and made good when it was opened, in words.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

impl Storage for JournaledStorage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.core.get(key)
    }

    fn get_shared(&self, key: &[u8]) -> Result<Option<Value>, StorageError> {
        self.core.get_shared(key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_> {
        Box::new(Merged::new(&self.core, range.clone(), direction))
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        self.core.commit(batch)
    }

    fn wait(&self, ticket: Ticket) -> Result<(), StorageError> {
        self.core.sync(ticket.0 >> COUNT_BITS)
    }

    fn health(&self) -> Health {
        match &*self.core.stopped() {
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
        Ok(self.core.sled.disk_bytes()?.saturating_add(self.core.journal.bytes()?))
    }

    fn compact(&self) -> Result<u64, StorageError> {
        self.core.compact_all()
    }

    fn close(&self) -> Result<(), StorageError> {
        // From here on no commit begins, and none is under way.
        let _writer = lock(&self.core.writer);
        if matches!(*self.core.stopped(), Some(Stopped::Closed)) {
            return Ok(());
        }
        self.core.bell.end();
        self.core.compaction.end();
        if let Some(feeder) = lock(&self.feeder).take()
            && feeder.join().is_err()
        {
            self.core.stop(Stopped::ReadOnly("the thread that feeds the store panicked".into()));
        }
        // The feeder began it, and begins none any more.
        self.core.compaction.join();
        let closed = self.core.close();
        drop(lock(&self.lock).take());
        closed
    }
}

impl Drop for JournaledStorage {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

impl Core {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.get_shared(key)?.map(Vec::from))
    }

    fn get_shared(&self, key: &[u8]) -> Result<Option<Value>, StorageError> {
        if let Some(known) = self.overlay_of_open()?.get(key) {
            return Ok(known.cloned().map(Value::from));
        }
        self.sled.get_shared(key).map_err(|problem| self.told(problem))
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        let bytes = batch.bytes();
        let mut writer = lock(&self.writer);
        self.wait_for_room_in_memory()?;
        for (key, expected) in &batch.guards {
            if self.get(key)?.as_ref() != expected.as_ref() {
                return Err(StorageError::Conflict { key: key.clone() });
            }
        }
        if batch.is_empty() {
            writer.without_frame += 1;
            return Ok(ticket(&writer));
        }
        self.check_room(&mut writer, bytes)?;
        let (derived, own): (Vec<Change>, Vec<Change>) =
            batch.changes.into_iter().partition(|(key, _)| (self.options.is_derived)(key));
        if own.is_empty() {
            writer.without_frame += 1;
        } else {
            writer.sequence = self.journal.append(&own).map_err(|problem| self.stop_unless_full(problem))?;
            writer.without_frame = 0;
        }
        let fresh_bytes = {
            let mut overlay = self.write_overlay();
            overlay.fresh.put(own);
            overlay.fresh.put_derived(derived);
            overlay.fresh.sequence = writer.sequence;
            self.fresh_bytes.store(overlay.fresh.bytes, Ordering::Release);
            overlay.fresh.bytes
        };
        let ticket = ticket(&writer);
        drop(writer);
        self.ring(fresh_bytes >= feeder::FEED_BYTES);
        Ok(ticket)
    }

    /// Refuses a commit of `bytes` if the disk is full. What sled was not given
    /// yet needs room, too; if that is what is short, it is given now.
    fn check_room(&self, writer: &mut Writer, bytes: u64) -> Result<(), StorageError> {
        let (floor, reserve) = (self.options.free_floor_bytes, self.options.reserve_bytes);
        let need = bytes.saturating_mul(DISK_BYTES_PER_BYTE);
        let pending = {
            let overlay = self.read_overlay();
            (overlay.fresh.bytes + overlay.feeding.bytes).saturating_mul(DISK_BYTES_PER_BYTE)
        };
        match writer.room.check(&self.directory, floor, reserve, need, pending) {
            Err(StorageError::DiskFull { .. }) if pending > 0 => {
                self.wait_until_fed()?;
                writer.room.check(&self.directory, floor, reserve, need, 0)
            }
            found => found,
        }
    }

    /// Makes all frames up to `sequence` durable, unless they already are.
    fn sync(&self, sequence: u64) -> Result<(), StorageError> {
        if self.journal.durable() >= sequence {
            return Ok(());
        }
        if let Some(stopped @ (Stopped::Closed | Stopped::SyncFailed(_))) = &*self.stopped() {
            return Err(stopped.error());
        }
        match self.journal.sync(sequence) {
            Ok(()) => Ok(()),
            // It was closed meanwhile.
            Err(StorageError::Closed) => Err(StorageError::Closed),
            Err(StorageError::SyncFailed { cause }) => Err(self.stop(Stopped::SyncFailed(cause))),
            Err(problem) => Err(self.stop(Stopped::SyncFailed(describe(&problem)))),
        }
    }

    fn close(&self) -> Result<(), StorageError> {
        let written = match &*self.stopped() {
            None => Ok(()),
            // What is durable in the journal is not lost.
            Some(_) if self.journal.durable() + 1 >= self.journal.next() => Ok(()),
            Some(stopped) => Err(stopped.error()),
        };
        *self.stopped.write().unwrap_or_else(PoisonError::into_inner) = Some(Stopped::Closed);
        // The store first: an end that the journal calls clean is one of both.
        let marks = self.sled.marks();
        let is_whole = |marks: &Marks| marks.sequence + 1 == self.journal.next() && self.read_overlay().is_empty();
        let whole = marks.as_ref().ok().copied().flatten().filter(is_whole);
        let whole = whole.map(|marks| Whole { sequence: marks.sequence, generation: marks.generation });
        self.sled.set_whole(whole);
        let renewed = match &marks {
            Ok(marks) if written.is_ok() => self.write_renewed(*marks, whole),
            _ => Ok(false),
        };
        let store = self.sled.close();
        let renewed = renewed.and_then(|is_there| if is_there && store.is_ok() { self.put_renewed() } else { Ok(()) });
        if let (Keep::Recent, Ok(Some(marks)), Ok(())) = (self.keep, marks, &store) {
            self.drop_up_to(marks.sequence)?;
        }
        let journal = self.journal.close();
        written?;
        store?;
        journal?;
        renewed
    }

    /// What the overlay holds, unless the storage is closed.
    fn overlay_of_open(&self) -> Result<RwLockReadGuard<'_, Overlay>, StorageError> {
        if matches!(*self.stopped(), Some(Stopped::Closed)) {
            return Err(StorageError::Closed);
        }
        Ok(self.read_overlay())
    }

    fn read_overlay(&self) -> RwLockReadGuard<'_, Overlay> {
        self.overlay.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_overlay(&self) -> RwLockWriteGuard<'_, Overlay> {
        self.overlay.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on a problem of sled. Damage ends writing, and the next opening
    /// builds the store anew.
    fn told(&self, problem: StorageError) -> StorageError {
        if matches!(problem, StorageError::Corrupt { .. }) {
            let reason = describe(&problem);
            let is_news = self.stopped().is_none();
            self.stop(Stopped::ReadOnly(reason.clone()));
            if is_news {
                // Without the mark the next opening finds the damage by itself,
                // or when the same row is read again.
                let _ = opening::mark_damaged(&self.directory, &reason);
            }
        }
        problem
    }

    fn stop_unless_full(&self, problem: StorageError) -> StorageError {
        match problem {
            StorageError::DiskFull { .. } | StorageError::Closed => problem,
            StorageError::SyncFailed { cause } => self.stop(Stopped::SyncFailed(cause)),
            other => self.stop(Stopped::ReadOnly(describe(&other))),
        }
    }

    /// Ends writing. The first reason stays; it is what is returned.
    fn stop(&self, why: Stopped) -> StorageError {
        let error = {
            let mut stopped = self.stopped.write().unwrap_or_else(PoisonError::into_inner);
            stopped.get_or_insert(why).error()
        };
        // Whoever waits for the feeder waits no longer.
        self.bell.turned();
        error
    }

    fn stopped(&self) -> RwLockReadGuard<'_, Option<Stopped>> {
        self.stopped.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_not_stopped(&self) -> Result<(), StorageError> {
        match &*self.stopped() {
            Some(stopped) => Err(stopped.error()),
            None => Ok(()),
        }
    }
}

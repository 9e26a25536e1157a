//! The journal: every commit that cannot be derived, in files that only grow.
//!
//! ```text
//! DIRECTORY/journal/
//!   00000000000000000001    commits 1 to 90210
//!   00000000000000090211    commits from 90211 on; it is written to
//!   first                   the first commit that is kept, once files were dropped
//!   keep                    that recent commits only are kept, if that was chosen
//!   N.damaged               what a file was before its damage was mended
//! ```
//!
//! A commit is one frame and has a sequence, which grows by one. [`Journal`] is
//! the appending end; [`read`] reads, also beside it. The bytes are described in
//! `file.rs` and `frame.rs`, what counts and what does not in `walk.rs`.
//!
//! *What survives what.* When [`Journal::append`] returns, the frame is in the
//! kernel: it survives the end of the process. When [`Journal::sync`] returns for
//! its sequence it survives a power cut. A file that another one follows was
//! synced before that one was made, so what is missing in it is lost and no torn
//! tail.
//!
//! *Room.* A file is allocated ahead in steps, so that a full disk refuses a frame
//! before it is written, and so that a sync has no length to write. What was
//! allocated and not used is given back when the file ends.
//!
//! *Room that is got back.* Files are compacted, see `compact.rs`: what was replaced
//! or deleted since is left out.
//!
//! *Who holds which lock.* `tail` is held while a frame is written, `syncer` for
//! the whole of a sync, `compacting` while files are compacted or dropped; the order
//! is `compacting`, `tail`, `syncer`. Those who wait for a sync
//! sleep on the turn.

mod append;
mod compact;
mod copy;
mod file;
mod first;
mod frame;
mod mend;
pub(crate) mod raw;
mod reader;
mod rewrite;
mod sync;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use rand::RngExt;

use super::StorageError;
use super::stopped::Stopped;
use super::turn::{Turn, lock};
use crate::disk::{self, Access, open_file, sync_directory};
use append::Tail;
pub use compact::{Compacted, Which};
pub(crate) use copy::{Copied, Doubt, NEXT, Plan, generation};
pub(crate) use file::FileHead;
use file::{FRAMES_AT, file_name, list, sweep};
pub(crate) use first::{Dropped, has_dropped};
use frame::{HEAD_BYTES, Head, Kind};
use reader::head_of;
pub use reader::{Hole, Piece, Pieces, read};
pub(crate) use reader::{Raw, Reader};
use walk::{Step, Walk};

/// The directory of the journal in that of a database.
pub const DIRECTORY: &str = "journal";

/// In it: how much of the journal is kept; see
/// [`Keep`](super::journaled::Keep).
pub(super) const KEEP: &str = "keep";

/// Called before each sync with its number, counted from 1. An error takes the
/// place of the sync: this is how tests let one fail.
pub type SyncHook = Arc<dyn Fn(u64) -> io::Result<()> + Send + Sync>;

/// How a [`Journal`] is written.
#[derive(Clone)]
#[non_exhaustive]
pub struct JournalOptions {
    /// The size of a file, in bytes. One with a frame that is larger is larger.
    pub file_bytes: u64,
    /// The room on the disk below which nothing is allocated, in bytes.
    pub free_floor_bytes: u64,
    /// Lets syncs fail, for tests.
    pub sync_hook: Option<SyncHook>,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, free_floor_bytes: 0, sync_hook: None }
    }
}

/// What opening a journal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found {
    /// It was closed: nothing was cut off, and its end was not looked through.
    pub is_clean: bool,
    /// The bytes that were cut off because they are no whole commit that was
    /// durable.
    pub cut_bytes: u64,
    /// The holes in what was looked through: the last file, if it was not closed,
    /// and files that are missing. [`read`] finds all of them.
    pub holes: Vec<Hole>,
}

/// The appending end of a journal, shared by threads. There may be one only.
pub struct Journal {
    dir: PathBuf,
    database: [u8; 16],
    /// See [`Journal::generation`]. Written by the holder of `tail`.
    generation: AtomicU32,
    options: JournalOptions,
    tail: Mutex<Tail>,
    /// The file that is written to.
    current: RwLock<Arc<File>>,
    turn: Turn,
    /// How many syncs there were; held for the whole of one.
    syncer: Mutex<u64>,
    /// The newest commit. Written by the holder of `tail`.
    appended: AtomicU64,
    /// The newest commit that is durable. Written by the holder of `syncer`.
    durable: AtomicU64,
    /// The first commit that is kept.
    first: AtomicU64,
    /// The last commit with regard to which a file was written anew.
    level: AtomicU64,
    /// Held while files are compacted or dropped.
    compacting: Mutex<()>,
    /// Why writing is over, once it is. Set once and never taken back.
    stopped: RwLock<Option<Stopped>>,
}

impl Journal {
    /// Makes the journal of a database in the directory `dir`, which is made if it
    /// is not there. The first commit gets the sequence 1.
    ///
    /// # Errors
    /// [`StorageError::Io`], also if a journal is there.
    pub fn create(dir: &Path, database: [u8; 16], options: JournalOptions) -> Result<Self, StorageError> {
        Self::create_from(dir, database, 1, options)
    }

    /// The same for one that is written anew, from what the store has.
    ///
    /// # Errors
    /// As [`Journal::create`].
    pub(crate) fn create_anew(
        dir: &Path,
        database: [u8; 16],
        generation: u32,
        options: JournalOptions,
    ) -> Result<Self, StorageError> {
        Self::create_with(dir, new_head(database, generation, 1, 0), options)
    }

    /// Makes a journal whose first commit gets another sequence: what was before
    /// is elsewhere.
    ///
    /// # Errors
    /// [`StorageError::Io`], also if a journal is there.
    pub fn create_from(
        dir: &Path,
        database: [u8; 16],
        first: u64,
        options: JournalOptions,
    ) -> Result<Self, StorageError> {
        Self::create_with(dir, new_head(database, 0, first, 0), options)
    }

    fn create_with(dir: &Path, head: FileHead, options: JournalOptions) -> Result<Self, StorageError> {
        disk::create_private_directory(dir).map_err(io_error("create", dir))?;
        if !list(dir)?.is_empty() {
            return Err(io_error("create the journal in", dir)(io::ErrorKind::AlreadyExists.into()));
        }
        sweep(dir)?;
        first::forget(dir)?;
        if head.first > 1 {
            first::keep_from(dir, head.first)?;
        }
        let tail = Tail::create(dir, &head, &options, 0)?;
        Ok(Self::with(dir, options, tail, head.first, 0))
    }

    /// Opens the journal in `dir` for writing: finds its end and cuts the torn
    /// tail off. What it then has is durable.
    ///
    /// # Errors
    /// [`StorageError::Io`], with [`io::ErrorKind::NotFound`] if there is none.
    /// [`StorageError::Corrupt`] if no file has a header that is whole, or the
    /// files are of several databases.
    pub fn open(dir: &Path, options: JournalOptions) -> Result<(Self, Found), StorageError> {
        let files = list(dir)?;
        let Some(newest) = files.last().copied() else {
            return Err(io_error("open the journal in", dir)(io::ErrorKind::NotFound.into()));
        };
        sweep(dir)?;
        let kept = first::first_kept(dir)?;
        // The headers of all files are looked at here.
        let reader = reader::Reader::new(dir, newest)?;
        let Some(database) = reader.database() else {
            return Err(StorageError::Corrupt {
                path: dir.to_owned(),
                detail: "no file of the journal has a header that is whole".to_owned(),
            });
        };
        let generation = reader.generation();
        let mut holes = reader::missing(dir, kept)?;
        let level = reader::newest_level(dir)?;
        let path = dir.join(file_name(newest));
        let file = open_file(&path, Access::Write).map_err(io_error("open", &path))?;
        let (head, file_bytes) = head_of(&file, newest).map_err(io_error("read", &path))?;
        let Some(head) = head else {
            // Nothing is written behind what is not understood.
            let last = reader::bound(newest, file_bytes);
            holes.push(Hole { file: path, offset: 0, bytes: file_bytes, sequences: newest..=last });
            let tail = Tail::create(dir, &new_head(database, generation, last + 1, newest), &options, 0)?;
            let found = Found { is_clean: false, cut_bytes: 0, holes };
            return Ok((Self::with(dir, options, tail, kept.min(newest), level), found));
        };
        let mut found = Found { is_clean: true, cut_bytes: 0, holes };
        let next = match closed_with(&file, &head, file_bytes).map_err(io_error("read", &path))? {
            Some(next) => next,
            None => {
                found.is_clean = false;
                0
            }
        };
        let (at, next) = if found.is_clean { (file_bytes, next) } else { end_of(&path, &file, &head, &mut found)? };
        let needed = reader::level(file.try_clone().map_err(io_error("read", &path))?, &head, None)
            .map_err(io_error("read", &path))?;
        if needed >= next {
            // It was compacted with regard to commits in files that are missing.
            found.holes.push(Hole { file: path, offset: at, bytes: 0, sequences: next..=needed });
            let tail = Tail::create(dir, &new_head(database, generation, needed + 1, newest), &options, 0)?;
            return Ok((Self::with(dir, options, tail, kept.min(newest), level), found));
        }
        let mut allocated = file_bytes;
        if found.cut_bytes > 0 {
            file.set_len(at).map_err(io_error("cut", &path))?;
            allocated = at;
        }
        // What a killed process wrote may be in the kernel only, and the name of the
        // file, too. Who closed the journal has synced it before he wrote so.
        if !found.is_clean {
            file.sync_all().map_err(io_error("sync", &path))?;
            sync_directory(dir).map_err(io_error("sync", dir))?;
        }
        let tail = Tail { file: Arc::new(file), path, head, at, allocated, next };
        let first = files.first().map_or(kept, |first| kept.max(*first));
        Ok((Self::with(dir, options, tail, first, level), found))
    }

    fn with(dir: &Path, options: JournalOptions, tail: Tail, first: u64, level: u64) -> Self {
        let newest = tail.next - 1;
        Self {
            dir: dir.to_owned(),
            database: tail.head.database,
            generation: AtomicU32::new(tail.head.generation),
            options,
            current: RwLock::new(Arc::clone(&tail.file)),
            tail: Mutex::new(tail),
            turn: Turn::default(),
            syncer: Mutex::new(0),
            appended: AtomicU64::new(newest),
            durable: AtomicU64::new(newest),
            first: AtomicU64::new(first),
            level: AtomicU64::new(level),
            compacting: Mutex::new(()),
            stopped: RwLock::new(None),
        }
    }

    /// The database that the journal is of.
    pub fn database(&self) -> [u8; 16] {
        self.database
    }

    /// How often the journal went on from what the store has, because commits were
    /// lost. Its newest file says it.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a generation that is newer than `than`, in a file of its own: from
    /// here on sequences are those of other commits than they were.
    ///
    /// # Errors
    /// [`StorageError::DiskFull`] and [`StorageError::Io`].
    pub(crate) fn begin_generation(&self, than: u32) -> Result<(), StorageError> {
        let mut tail = lock(&self.tail);
        self.check_not_stopped()?;
        let generation = self.generation().max(than).saturating_add(1);
        self.generation.store(generation, Ordering::Release);
        self.rotate(&mut tail, 0)
    }

    /// The sequence of the first commit that is kept; 1 if all are.
    pub fn first(&self) -> u64 {
        self.first.load(Ordering::Acquire)
    }

    /// The sequence that the next commit gets.
    pub fn next(&self) -> u64 {
        self.appended.load(Ordering::Acquire) + 1
    }

    /// The sequence of the newest commit that would survive a power cut; one
    /// below [`Journal::first`] if there is none.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The bytes that the files take on the disk.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn bytes(&self) -> Result<u64, StorageError> {
        allocated_bytes(&self.dir)
    }

    /// Drops the files of which all commits are before `sequence`, oldest first.
    /// The file that is written to stays. Does nothing while files are compacted.
    ///
    /// # Errors
    /// [`StorageError::Io`]; what was dropped until then is gone.
    pub fn drop_before(&self, sequence: u64) -> Result<(), StorageError> {
        let Ok(_alone) = self.compacting.try_lock() else { return Ok(()) };
        let files = list(&self.dir)?;
        let written = lock(&self.tail).head.first;
        let kept = files.iter().rposition(|first| *first <= sequence.min(written)).unwrap_or(0);
        if kept == 0 {
            return Ok(());
        }
        first::keep_from(&self.dir, files[kept])?;
        self.first.store(files[kept], Ordering::Release);
        for first in &files[..kept] {
            let path = self.dir.join(file_name(*first));
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        sync_directory(&self.dir).map_err(io_error("sync", &self.dir))
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("dir", &self.dir).field("next", &self.next()).finish_non_exhaustive()
    }
}

/// The bytes that the files in `dir` take on the disk.
pub(crate) fn allocated_bytes(dir: &Path) -> Result<u64, StorageError> {
    use std::os::unix::fs::MetadataExt;
    let mut total = 0;
    for entry in fs::read_dir(dir).map_err(io_error("measure", dir))? {
        let entry = entry.map_err(io_error("measure", dir))?;
        match entry.metadata() {
            // Blocks are of 512 bytes whatever the file system uses.
            Ok(found) => total += found.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error("measure", &entry.path())(error)),
        }
    }
    Ok(total)
}

/// Whether a name in the directory of a journal is that of one of its files,
/// whole, damaged, or not finished.
pub(crate) fn is_file_name(name: &str) -> bool {
    let file = name.split_once(".damaged").map_or(name, |(file, _)| file);
    name == first::FILE || name == KEEP || file::first_of_name(file).is_some() || file::is_unfinished(name)
}

/// Whether there is a file of a journal in `dir`, whole or damaged.
///
/// # Errors
/// [`StorageError::Io`] if that cannot be told.
pub fn exists(dir: &Path) -> Result<bool, StorageError> {
    match list(dir) {
        Ok(files) => Ok(!files.is_empty()),
        Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The database that the journal in `dir` is of; nothing if no file of it has a
/// header that is whole.
///
/// # Errors
/// [`StorageError::Io`], and [`StorageError::Corrupt`] if the files are of several
/// databases.
pub fn database(dir: &Path) -> Result<Option<[u8; 16]>, StorageError> {
    Ok(reader::Reader::new(dir, u64::MAX)?.database())
}

/// The sequence that follows if the file ends with a frame that says that the
/// journal was closed.
fn closed_with(file: &File, head: &FileHead, file_bytes: u64) -> io::Result<Option<u64>> {
    use std::os::unix::fs::FileExt;
    let Some(at) = file_bytes.checked_sub(HEAD_BYTES as u64).filter(|at| *at >= FRAMES_AT) else {
        return Ok(None);
    };
    let mut bytes = [0; HEAD_BYTES];
    file.read_exact_at(&mut bytes, at)?;
    let end = Head::decode(&bytes, head.seed()).filter(|end| end.kind == Kind::End && end.sequence >= head.first);
    Ok(end.map(|end| end.sequence))
}

/// Walks to the end of the last file.
fn end_of(path: &Path, file: &File, head: &FileHead, found: &mut Found) -> Result<(u64, u64), StorageError> {
    let read = |error| io_error("read", path)(error);
    let mut walk = Walk::new(file.try_clone().map_err(read)?, head, None);
    while let Some(step) = walk.step().map_err(read)? {
        if let Step::Hole { at, bytes, sequences } = step {
            found.holes.push(Hole { file: path.to_owned(), offset: at, bytes, sequences });
        }
    }
    found.cut_bytes = walk.rest_bytes().map_err(read)?;
    Ok((walk.at(), walk.expected()))
}

fn new_head(database: [u8; 16], generation: u32, first: u64, previous: u64) -> FileHead {
    FileHead { generation, database, salt: rand::rng().random(), first, previous }
}

pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
    let path = path.to_path_buf();
    move |source| StorageError::Io { action, path, source }
}

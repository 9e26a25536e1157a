//! What a store is, found out before sled opens it and without changing a byte.
//!
//! sled writes while it opens: it cuts off what it takes for the torn end of its
//! log, and clears every segment that it has no use for. In a log that is
//! damaged this is what was left of the database. So nothing is opened that is
//! not understood.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Instant;

use super::super::StorageError;
use super::fault::io_error;
use super::files::names_in;
use super::left::{Closed, Left, Open, Whole, inode_of_log};
use super::log::Header;
use super::pages::{Newest, Snapshot, is_unfinished, newest_snapshot, snapshot_names};
use super::trees::LOCK_PATIENCE;
use super::walk::{Depth, Log};
use crate::disk::{Access, open_file, sync_directory};

/// What sled writes into its settings. They are always these.
const CONF: &str = "segment_size: 524288\nuse_compression: false\nversion: 0.34\n";

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing was stored in it.
    Fresh,
    /// As it was when it was closed.
    Clean,
    /// Its process was killed, or the power went: it ends with something torn at
    /// the most.
    AfterStop,
    /// A copy of files that were open. It reads, and may still be less than what
    /// was copied: files are copied one after the other.
    Copied,
    /// Something that was written does not read.
    Damaged {
        /// What, and where, as a sentence without an end.
        detail: String,
    },
}

/// What was seen of a store that was looked at, for opening it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) look: Look,
    /// The segments that sled will clear when it opens.
    unused: BTreeSet<usize>,
    /// Up to where it has everything that was committed, if it has.
    pub(crate) whole: Option<Whole>,
}

impl Seen {
    fn damaged(detail: impl Into<String>) -> Self {
        Self { look: Look::Damaged { detail: detail.into() }, unused: BTreeSet::new(), whole: None }
    }

    /// Refuses a store that is damaged.
    pub(super) fn check(&self, store: &Path) -> Result<(), StorageError> {
        match &self.look {
            Look::Damaged { detail } => Err(StorageError::Corrupt {
                path: store.to_path_buf(),
                detail: format!("{detail}; it was not opened, and nothing in it was changed"),
            }),
            _ => Ok(()),
        }
    }

    /// Notes that the store is open, and whether it still has everything.
    pub(super) fn note_open(&self, store: &Path, whole: Option<Whole>) -> io::Result<()> {
        Left::Open(Open { inode: inode_of_log(store)?, unused: self.unused.clone(), whole }).write(store)
    }
}

/// Looks at the store in the directory `store`. It must not be open elsewhere.
///
/// After a clean end this reads what sled itself reads; otherwise everything that
/// counts.
pub(crate) fn look(store: &Path) -> Result<Seen, StorageError> {
    let path = store.join("db");
    let left = Left::read(store).map_err(io_error("read", &store.join("left")))?;
    let file = match open_file(&path, Access::Read) {
        Ok(file) => file,
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
            return empty(store, &left, "'db' is missing").map_err(io_error("list", store));
        }
        Err(problem) => return Err(io_error("open", &path)(problem)),
    };
    // Who has it open writes.
    let deadline = Instant::now() + LOCK_PATIENCE;
    while let Err(problem) = file.try_lock() {
        match problem {
            fs::TryLockError::WouldBlock if Instant::now() < deadline => thread::sleep(LOCK_PATIENCE / 100),
            fs::TryLockError::WouldBlock => return Err(StorageError::Locked { path: store.to_path_buf() }),
            fs::TryLockError::Error(problem) => return Err(io_error("lock", &path)(problem)),
        }
    }
    let log = Log::read(store, file).map_err(io_error("read", &path))?;
    look_at(&log, left).map_err(io_error("read", &path))
}

fn look_at(log: &Log<'_>, left: Left) -> io::Result<Seen> {
    if log.length == 0 {
        return empty(log.store, &left, "'db' is empty");
    }
    let snapshot = match newest_snapshot(log.store)? {
        Newest::Read(snapshot) => snapshot,
        Newest::None | Newest::Unreadable => Snapshot::default(),
    };
    let is_empty = log.headers.iter().all(|header| *header == Header::Unused);
    if is_empty && (left != Left::Unknown || snapshot.lsn.is_some()) {
        return Ok(Seen::damaged("the segments of 'db' are empty"));
    }
    let closed = match &left {
        Left::Closed(closed, _) => Some(closed),
        _ => None,
    };
    // What is cheap to tell first: it says best what happened.
    let now = closed.map(|closed| Closed::of(log, closed.end)).transpose()?;
    let difference = |now: &Closed| closed.and_then(|closed| closed.difference(now));
    if let Some(detail) = now.as_ref().and_then(difference) {
        return Ok(Seen::damaged(detail));
    }
    let is_whole = closed.is_some() && closed == now.as_ref();
    let depth = if is_whole { Depth::Opening } else { Depth::Everything };
    let (inode, unused) = match &left {
        Left::Open(open) => (Some(open.inode), Some(&open.unused)),
        _ => (None, None),
    };
    let is_copy = inode.is_some() && inode != Some(inode_of_log(log.store)?);
    let walked = match log.walk(snapshot, depth, unused)? {
        Ok(walked) => walked,
        Err(damage) if is_copy => {
            return Ok(Seen::damaged(format!("it was copied while it was open: {damage}")));
        }
        Err(damage) => return Ok(Seen::damaged(damage.to_string())),
    };
    if let Some(detail) = now.and_then(|now| difference(&Closed { end: walked.end, ..now })) {
        return Ok(Seen::damaged(detail));
    }
    let look = match (closed, is_copy) {
        (Some(_), _) => Look::Clean,
        (None, true) => Look::Copied,
        (None, false) => Look::AfterStop,
    };
    let unused = walked.used.iter().enumerate().filter(|(_, used)| !**used).map(|(index, _)| index).collect();
    let whole = match left {
        Left::Closed(_, whole) | Left::Open(Open { whole, .. }) if !is_copy => whole,
        _ => None,
    };
    Ok(Seen { look, unused, whole })
}

/// A store without a log is a fresh one only if nothing speaks against it.
fn empty(store: &Path, left: &Left, what: &str) -> io::Result<Seen> {
    let is_there = |name: &str| names_in(&store.join(name)).map(|names| !names.is_empty());
    let has_blobs = match is_there("blobs") {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => false,
        found => found?,
    };
    let has_snapshots = match snapshot_names(store) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => false,
        found => !found?.is_empty(),
    };
    if *left != Left::Unknown || has_blobs || has_snapshots {
        return Ok(Seen::damaged(what));
    }
    Ok(Seen { look: Look::Fresh, unused: BTreeSet::new(), whole: None })
}

/// Moves aside what sled would stumble over and can do without: snapshots that do
/// not read, settings that are not those that it has always had. A snapshot that it
/// had not finished holds nothing, and is removed.
pub(super) fn move_unreadable_aside(store: &Path) -> Result<(), StorageError> {
    let snapshots = snapshot_names(store).map_err(io_error("list", store))?;
    let (unfinished, mut names): (Vec<_>, Vec<_>) = snapshots.into_iter().partition(is_unfinished);
    for name in &unfinished {
        let path = store.join(name);
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    if !matches!(newest_snapshot(store).map_err(io_error("read", store))?, Newest::Unreadable) {
        names.clear();
    }
    match fs::read(store.join("conf")) {
        Ok(conf) if conf[..] != expected_conf()[..] => names.push("conf".into()),
        _ => {}
    }
    for name in &names {
        let from = store.join(name);
        let to = (0_u32..)
            .map(|n| store.join(format!("aside.{n}.{}", name.to_string_lossy())))
            .find(|to| fs::symlink_metadata(to).is_err())
            .expect("a directory holds fewer than 2^32 files");
        fs::rename(&from, &to).map_err(io_error("move aside", &from))?;
    }
    if names.is_empty() && unfinished.is_empty() {
        Ok(())
    } else {
        sync_directory(store).map_err(io_error("sync", store))
    }
}

fn expected_conf() -> Vec<u8> {
    let mut conf = CONF.as_bytes().to_vec();
    conf.extend(crc32fast::hash(CONF.as_bytes()).to_le_bytes());
    conf
}

/// Notes that the store is closed, after sled has let go of it.
pub(super) fn note_closed(store: &Path, whole: Option<Whole>) -> io::Result<()> {
    let log = Log::read(store, open_file(&store.join("db"), Access::Read)?)?;
    let snapshot = match newest_snapshot(store)? {
        Newest::Read(snapshot) => snapshot,
        Newest::None | Newest::Unreadable => Snapshot::default(),
    };
    // What does not read is for the next opening to tell.
    match log.end(&snapshot)? {
        Some(end) => Left::Closed(Closed::of(&log, end)?, whole).write(store),
        None => Ok(()),
    }
}

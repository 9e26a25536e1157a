//! The storage seam: what the engine asks of the thing that keeps its bytes.
//!
//! A [`Storage`] maps byte strings to byte strings, in key order. It knows no
//! things, entries, JSON or keys. sled is behind it by default
//! ([`sled::SledStorage`]); [`memory::MemoryStorage`] holds the same contract
//! without a disk. One conformance test runs against every implementation.
//!
//! The contract, in the words that the test uses:
//!
//! - *Commits are ordered.* They take effect one after the other; the tickets
//!   they return grow in that order.
//! - *A commit is whole.* All of a [`Batch`] is stored or none of it, in the
//!   eyes of other threads and across a crash. What survives a crash is a
//!   prefix of the commits: never the second without the first.
//! - *A commit is visible when it returns*, and durable when [`Storage::wait`]
//!   returns for its ticket, or a while later without anyone waiting.
//! - *A guard that does not hold refuses the whole batch* and changes nothing.
//! - *A scan is not a snapshot.* It returns each row that is there throughout;
//!   rows that are committed or deleted while it runs may or may not show.
//! - *A failed sync ends all writing* until the storage is opened anew. It is
//!   never retried: the kernel may have dropped the pages that it could not
//!   write, and a second sync would report success for bytes that are gone.

pub mod journal;
pub mod journaled;
pub mod memory;
pub(crate) mod open;
mod room;
pub mod sled;
mod stopped;
mod turn;
mod value;
pub mod view;

use std::path::PathBuf;

use thiserror::Error;

pub use value::Value;

/// A row of a scan: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The rows of a scan, in the order that was asked for.
///
/// After an error it ends.
pub type Rows<'a> = Box<dyn Iterator<Item = Result<Row, StorageError>> + Send + 'a>;

/// An ordered map of byte strings that survives a power cut.
pub trait Storage: Send + Sync {
    /// The value that is stored for `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// The same, without a copy where that can be.
    fn get_shared(&self, key: &[u8]) -> Result<Option<Value>, StorageError> {
        Ok(self.get(key)?.map(Value::from))
    }

    /// The rows of `range`, from its start or backwards from its end.
    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_>;

    /// Stores a batch, wholly or not at all; it is visible on return.
    ///
    /// [`StorageError::Conflict`] and [`StorageError::DiskFull`] say that
    /// nothing was stored. [`StorageError::ReadOnly`] for a batch that was
    /// under way does not: whether it is there shows after the next opening.
    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError>;

    /// Returns when the commit behind `ticket`, and all before it, would
    /// survive a power cut. Threads that wait at the same time share one sync.
    ///
    /// What is durable stays so: its ticket is answered with `Ok` also when
    /// writing is over or the storage is closed.
    fn wait(&self, ticket: Ticket) -> Result<(), StorageError>;

    /// Whether a commit has a chance now.
    fn health(&self) -> Health;

    /// The bytes that the rows take on the disk.
    fn disk_bytes(&self) -> Result<u64, StorageError>;

    /// Removes from the files what was replaced or deleted by commits until now: some
    /// of it at once, all of it by [`close`](Self::close). Takes time in proportion to
    /// what is stored; commits and reads go on. Tells how many bytes are free at once.
    ///
    /// Where a file cannot be read, what lies there stays. What was read or copied
    /// before is not reached, nor are blocks of the disk that are free now.
    fn compact(&self) -> Result<u64, StorageError>;

    /// Makes every commit durable and lets go of the files. Whatever would
    /// need them returns [`StorageError::Closed`] from then on; a second close
    /// does nothing.
    fn close(&self) -> Result<(), StorageError>;
}

/// The place of a commit in the order of all commits of this opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// Which keys a scan returns: those from `start` up to, not including, `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    start: Vec<u8>,
    /// `None` is behind the last key.
    end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Vec::new(), end: None }
    }

    /// The keys with `start <= key < end`; none if `start >= end`.
    pub fn between(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), end: Some(end.into()) }
    }

    /// The keys with `start <= key`.
    pub fn from(start: impl Into<Vec<u8>>) -> Self {
        Self { start: start.into(), end: None }
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let start = prefix.into();
        // The end is the prefix with its last byte below 0xff raised by one
        // and what follows that byte cut off; all 0xff has no end.
        let mut end = start.clone();
        while end.last() == Some(&0xff) {
            end.pop();
        }
        let end = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Some(end)
            }
            None => None,
        };
        Self { start, end }
    }

    /// The first key that may be returned.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key behind the range, unless it goes to the last key.
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// Which end of a range a scan begins at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Keys grow.
    Forward,
    /// Keys shrink.
    Backward,
}

/// A key and its new value, or no value for a deletion.
pub type Change = (Vec<u8>, Option<Vec<u8>>);

/// What one commit changes, and what it takes for granted.
///
/// Changes apply in the order in which they were added: the last one for a key
/// decides. Guards look at what is stored before the batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
    guards: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    bytes: u64,
}

impl Batch {
    /// A batch that changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` for `key`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        let (key, value) = (key.into(), value.into());
        self.bytes += (key.len() + value.len()) as u64;
        self.changes.push((key, Some(value)));
        self
    }

    /// Deletes `key`; one that is not there stays so.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        let key = key.into();
        self.bytes += key.len() as u64;
        self.changes.push((key, None));
        self
    }

    /// Refuses the batch unless `key` has exactly this value.
    pub fn expect_value(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.guards.push((key.into(), Some(value.into())));
        self
    }

    /// Refuses the batch unless `key` has no value.
    pub fn expect_absent(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.guards.push((key.into(), None));
        self
    }

    /// Takes over what `other` changes and takes for granted.
    pub fn append(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.changes.append(&mut other.changes);
        self.guards.append(&mut other.guards);
    }

    /// Whether it changes nothing; it may still have guards.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The bytes of the keys and values that it writes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Whether a storage takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It does.
    Writable,
    /// It does not until there is room on the disk; reads go on.
    DiskFull {
        /// The bytes that are free.
        free: u64,
        /// The bytes that have to be free.
        floor: u64,
    },
    /// It does not until it is opened anew; reads go on. The text says why.
    ReadOnly(String),
    /// It was closed.
    Closed,
}

/// Why a storage did not do what it was asked to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A guard did not hold; nothing was stored.
    #[error("the value of key {} is not the expected one", hex(key))]
    Conflict {
        /// The key of the first guard that did not hold.
        key: Vec<u8>,
    },
    /// There is less room than the floor; nothing was stored.
    #[error(
        "{free} bytes are free on the disk of '{}', fewer than the {floor} that writing needs",
        path.display()
    )]
    DiskFull {
        /// The bytes that are free.
        free: u64,
        /// The bytes that have to be free.
        floor: u64,
        /// Where the storage is.
        path: PathBuf,
    },
    /// A sync failed, now or earlier: what was not yet durable may be lost.
    #[error("a sync to disk has failed ({cause}): nothing is written until the store is opened anew")]
    SyncFailed {
        /// What the sync reported.
        cause: String,
    },
    /// An error ended all writing until the storage is opened anew.
    #[error("the store is read-only until it is opened anew: {reason}")]
    ReadOnly {
        /// What happened.
        reason: String,
    },
    /// The files are damaged.
    #[error("the store in '{}' is damaged: {detail}", path.display())]
    Corrupt {
        /// Where the storage is.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process, or another handle of this one, has the files open.
    #[error("the store in '{}' is open elsewhere", path.display())]
    Locked {
        /// Where the storage is.
        path: PathBuf,
    },
    /// A call to the operating system failed.
    #[error("cannot {action} '{}'", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system reported.
        #[source]
        source: std::io::Error,
    },
    /// The storage was closed.
    #[error("the store is closed")]
    Closed,
}

/// The first bytes of a key, enough to find it by.
fn hex(key: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for byte in key.iter().take(40) {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    if key.len() > 40 {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_behind_its_last_key() {
        let end = |prefix: &[u8]| KeyRange::prefix(prefix).end().map(<[u8]>::to_vec);
        assert_eq!(end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(end(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(end(&[0xff, 0xff]), None);
        assert_eq!(end(b""), None);
    }

    #[test]
    fn errors_name_the_fact_and_the_values() {
        let error = StorageError::Conflict { key: vec![0x0a, 0xff] };
        assert_eq!(error.to_string(), "the value of key 0aff is not the expected one");
        let error = StorageError::DiskFull { free: 10, floor: 20, path: PathBuf::from("lamp.db") };
        assert_eq!(
            error.to_string(),
            "10 bytes are free on the disk of 'lamp.db', fewer than the 20 that writing needs"
        );
    }
}

//! What sled is given by the journal above it: rows that are safe there, and up
//! to where.
//!
//! ```text
//! the tree `marks`, under the empty key
//!   [16] which journal the rows come from
//!   [8]  the last frame of which sled has everything, big-endian
//!   [4]  the generation of the journal, big-endian
//!   [8]  the level of the journal when sled was built from it, big-endian
//!   [8]  bytes of rows that were replaced or deleted since the journal was looked
//!        through for them, big-endian
//!
//! The last three were absent once, and are 0 then.
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::super::{Change, StorageError};
use super::flush::flush;
use super::groups::{Grouped, Rewriting, Tail};
use super::journal::{apply_many, apply_one};
use super::{BATCH_LOG_BYTES, LOG_BYTES_PER_BYTE, SledStorage, UNFLUSHED_LOG_BYTES, Writer, lock};

/// After how many bytes of rows the order of writes is looked after.
const PIECE_BYTES: u64 = 32 << 10;

/// What sled knows of its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Which journal the rows come from.
    pub(crate) database: [u8; 16],
    /// The last frame of which everything is here.
    pub(crate) sequence: u64,
    /// The generation of the journal in which that frame has this sequence.
    pub(crate) generation: u32,
    /// The level that the journal had when this was built from it: nothing is here
    /// that was left out up to there.
    pub(crate) level: u64,
    /// About how many bytes of the journal are dead that it was not looked through
    /// for.
    pub(crate) replaced_bytes: u64,
}

impl Marks {
    /// Whether a row may be here that the journal says no more to be deleted.
    pub(crate) fn is_before(&self, level: u64) -> bool {
        self.sequence.max(self.level) < level
    }

    fn to_bytes(self) -> [u8; 44] {
        let mut bytes = [0; 44];
        bytes[..16].copy_from_slice(&self.database);
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.generation.to_be_bytes());
        bytes[28..36].copy_from_slice(&self.level.to_be_bytes());
        bytes[36..].copy_from_slice(&self.replaced_bytes.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        let (database, rest) = bytes.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let sequence = number(sequence);
        let mut marks = Self { database: *database, sequence, generation: 0, level: 0, replaced_bytes: 0 };
        if let Some((generation, rest)) = rest.split_first_chunk() {
            marks.generation = u32::from_be_bytes(*generation);
            if let Some((level, rest)) = rest.split_first_chunk() {
                (marks.level, marks.replaced_bytes) = (number(level), number(rest.try_into().ok()?));
            }
        }
        Some(marks)
    }
}

/// Where the rows of a feed go that may lie in groups.
struct Gathered {
    grouped: Grouped,
    tail: Tail,
    rewriting: Rewriting,
}

/// Changes a row. Returns the bytes of the value that it had.
fn insert(rows: &sled::Tree, key: &[u8], value: Option<&Vec<u8>>) -> Result<Option<usize>, sled::Error> {
    let old = match value {
        Some(value) => rows.insert(key, value.as_slice()),
        None => rows.remove(key),
    };
    Ok(old?.map(|old| old.len()))
}

impl SledStorage {
    /// The marks, if there are any.
    pub(crate) fn marks(&self) -> Result<Option<Marks>, StorageError> {
        let Some(bytes) = self.core.with_sled(|trees| trees.marks.get(b""))? else { return Ok(None) };
        let malformed = || StorageError::Corrupt {
            path: self.core.store(),
            detail: format!("the marks of its journal, {} bytes, are malformed", bytes.len()),
        };
        Marks::from_bytes(&bytes).map(Some).ok_or_else(|| self.core.damage(malformed()))
    }

    /// Sets the marks; durable on return.
    pub(crate) fn set_marks(&self, marks: Marks) -> Result<(), StorageError> {
        self.core.with_sled(|trees| trees.marks.insert(b"", &marks.to_bytes()[..]))?;
        self.sync_all()
    }

    /// Whether there is any row.
    pub(crate) fn is_empty(&self) -> Result<bool, StorageError> {
        self.core.with_sled(|trees| trees.rows.iter().next().transpose()).map(|first| first.is_none())
    }

    /// Takes the newest values of many keys. They may come again after a crash,
    /// which may have left some of them; so the rows need not be whole, except
    /// those that nobody would bring again: these are, and come last. Returns the
    /// marks with what the rows have replaced.
    pub(crate) fn feed(
        &self,
        rows: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
        is_derived: fn(&[u8]) -> bool,
        mut marks: Marks,
    ) -> Result<Marks, StorageError> {
        let core = &self.core;
        let mut writer = lock(&core.writer);
        core.check_not_stopped()?;
        if std::mem::take(&mut writer.journal_used) {
            // An opening would bring back what is replaced now.
            core.with_sled(|trees| trees.journal.remove(b""))?;
        }
        let mut derived: Vec<Change> = Vec::new();
        let mut gathered = self.gather(&mut writer)?;
        let mut bytes = 0;
        for (key, value) in rows {
            if is_derived(key) {
                derived.push((key.clone(), value.clone()));
                continue;
            }
            bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
            let replaced = match &mut gathered {
                Some(gathered) if gathered.grouped.takes(key) => self.feed_grouped(gathered, key, value.as_ref())?,
                _ => core.with_sled(|trees| insert(&trees.rows, key, value.as_ref()))?,
            };
            marks.replaced_bytes += replaced.map_or(0, |replaced| (key.len() + replaced) as u64);
            if bytes >= PIECE_BYTES {
                self.made_way(&mut writer.unflushed_bytes, std::mem::take(&mut bytes))?;
            }
        }
        if let Some(Gathered { mut tail, rewriting, .. }) = gathered {
            core.move_rows(rewriting.finish())?;
            for (key, value) in tail.not_stored() {
                core.with_sled(|trees| insert(&trees.rows, &key, value.as_ref()))?;
            }
            writer.tail = Some(tail);
        }
        let derived_bytes =
            derived.iter().map(|(key, value)| (key.len() + value.as_ref().map_or(0, Vec::len)) as u64).sum::<u64>();
        match &derived[..] {
            [] => {}
            [change] => core.with_sled(|trees| apply_one(&trees.rows, change))?,
            _ => {
                // Nobody can wait in the middle of a batch.
                self.made_way(&mut writer.unflushed_bytes, std::mem::take(&mut bytes))?;
                writer.unflushed_bytes += BATCH_LOG_BYTES;
                core.with_sled(|trees| apply_many(&trees.rows, derived))?;
            }
        }
        core.with_sled(|trees| trees.marks.insert(b"", &marks.to_bytes()[..]))?;
        self.made_way(&mut writer.unflushed_bytes, bytes + derived_bytes)?;
        core.committed.fetch_add(1, Ordering::AcqRel);
        drop(writer);
        core.arm();
        Ok(marks)
    }

    /// What waits for others beside it, as the last feed left it.
    fn gather(&self, writer: &mut Writer) -> Result<Option<Gathered>, StorageError> {
        let Some(grouped) = self.core.options.grouped else { return Ok(None) };
        let rows = self.core.with_sled(|trees| Ok(sled::Tree::clone(&trees.rows)))?;
        // If this feed fails, it is not known what sled has.
        let tail = match writer.tail.take() {
            Some(tail) => tail,
            None => self.core.caught(|| Tail::load(&rows, grouped))?,
        };
        Ok(Some(Gathered { grouped, tail, rewriting: Rewriting::new(rows, grouped) }))
    }

    /// Takes the newest value of a row that may lie in a group. Returns the bytes of
    /// the one before.
    fn feed_grouped(
        &self,
        gathered: &mut Gathered,
        key: &[u8],
        value: Option<&Vec<u8>>,
    ) -> Result<Option<usize>, StorageError> {
        let Gathered { tail, rewriting, .. } = gathered;
        if tail.takes(key) {
            let (moves, replaced) = match value {
                Some(value) => tail.put(key, value),
                None => tail.remove(key),
            };
            self.core.move_rows(moves)?;
            return Ok(replaced);
        }
        let (change, replaced) = self.core.caught(|| rewriting.take((key.to_vec(), value.cloned())))?;
        if let Some((key, value)) = change {
            self.core.with_sled(|trees| insert(&trees.rows, &key, value.as_ref()))?;
        }
        Ok(replaced)
    }

    /// Keeps the order of writes, and memory within bounds, after so many bytes.
    fn made_way(&self, unflushed_bytes: &mut u64, bytes: u64) -> Result<(), StorageError> {
        *unflushed_bytes += bytes.saturating_mul(LOG_BYTES_PER_BYTE);
        if *unflushed_bytes >= UNFLUSHED_LOG_BYTES {
            self.core.with_sled(|trees| flush(&trees.rows))?;
            *unflushed_bytes = 0;
        }
        self.core.keep_order(bytes)
    }

    /// Makes everything durable that was fed so far.
    pub(crate) fn sync_all(&self) -> Result<(), StorageError> {
        // Whatever is here counts as one commit more, so that there is one.
        let ticket = self.core.committed.fetch_add(1, Ordering::AcqRel) + 1;
        self.core.sync_up_to(ticket)
    }
}

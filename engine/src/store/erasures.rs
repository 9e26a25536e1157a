//! What was erased, and by which erasure record.
//!
//! ```text
//! D ‖ position 8   an erasure record: what became of it
//! G ‖ position 8   an entry that was erased: by which record
//! J ‖ position 8   an erasure record that is not carried out yet
//! A ‖ id 16 ‖ position 8   an entry that was erased before it came: by which record
//! ```
//!
//! The row `J` comes with the record, in one commit, and goes when the content is gone:
//! whatever breaks an erasure off, the next opening finds it and carries it out.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use bincode::{Decode, Encode};
use thingdb_format::erasure::Erasure;
use thingdb_format::{EntryId, Header, payload};

use super::{Located, Store, schema};
use crate::encoding;
use crate::error::Result;
use crate::storage::{Batch, Direction, KeyRange, Storage};

/// Which rows there are, so that they need not be looked for.
pub(crate) struct Erasures {
    /// Whether there is any record.
    records: AtomicBool,
    /// Whether any entry was ever erased.
    any: AtomicBool,
    /// Whether entries were erased that are not here.
    ahead: AtomicBool,
    /// Positions of records that are not carried out.
    due: Mutex<BTreeSet<u64>>,
}

/// By which record an entry was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ErasedBy {
    pub(crate) position: u64,
    pub(crate) id: [u8; 32],
}

/// What became of an erasure record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Outcome {
    /// Entries that it lists.
    pub(crate) listed: u64,
    /// Of these, entries whose content is gone here.
    pub(crate) erased: u64,
    /// Of these, entries that it must not erase.
    pub(crate) refused: u64,
}

impl Erasures {
    pub(super) fn load(storage: &dyn Storage) -> Result<Self> {
        let has = |range: KeyRange| -> Result<bool> {
            Ok(storage.scan(&range, Direction::Forward).next().transpose()?.is_some())
        };
        let mut due = BTreeSet::new();
        for row in storage.scan(&schema::due_erasures(), Direction::Forward) {
            due.extend(schema::position_in(&row?.0));
        }
        Ok(Self {
            records: AtomicBool::new(!due.is_empty() || has(schema::all_erasures())?),
            any: AtomicBool::new(has(schema::erased_entries())?),
            ahead: AtomicBool::new(has(schema::erased_ahead_all())?),
            due: Mutex::new(due),
        })
    }

    fn due(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.due.lock().expect("no thread panics while it holds this")
    }

    /// The positions of records that are to be carried out.
    pub(crate) fn due_positions(&self) -> Vec<u64> {
        self.due().iter().copied().collect()
    }

    /// Puts the row into the batch that says that a record is to be carried out.
    pub(crate) fn put_due(store: &Store, position: u64, batch: &mut Batch) {
        let row = schema::due_erasure(position);
        let sealed = store.rows.seal(&row, &[]);
        batch.put(row, sealed);
        store.erasures.records.store(true, Ordering::Release);
    }

    /// Such rows are in.
    pub(crate) fn note_due(&self, positions: &[u64]) {
        if !positions.is_empty() {
            self.due().extend(positions);
        }
    }

    /// Notes what became of a record that is carried out.
    pub(crate) fn put_done(store: &Store, position: u64, outcome: &Outcome, batch: &mut Batch) {
        let row = schema::erasure(position);
        let sealed = store.rows.seal(&row, &encoding::encode(outcome));
        batch.put(row, sealed);
        batch.delete(schema::due_erasure(position));
    }

    /// Such rows are in.
    pub(crate) fn note_done(&self, position: u64) {
        self.due().remove(&position);
    }

    /// Says that an entry was erased.
    pub(crate) fn put_erased(store: &Store, position: u64, by: &ErasedBy, batch: &mut Batch) {
        let row = schema::erased_entry(position);
        let sealed = store.rows.seal(&row, &encoding::encode(by));
        batch.put(row, sealed);
        store.erasures.any.store(true, Ordering::Release);
    }

    /// Says that an entry was erased that is not here.
    pub(crate) fn put_ahead(store: &Store, id: &EntryId, by: &ErasedBy, batch: &mut Batch) {
        let row = schema::erased_ahead(id, by.position);
        let sealed = store.rows.seal(&row, &encoding::encode(by));
        batch.put(row, sealed);
        store.erasures.ahead.store(true, Ordering::Release);
    }
}

impl Store {
    /// By which record the entry at a position was erased, if it was.
    pub(crate) fn erased_by(&self, position: u64) -> Result<Option<ErasedBy>> {
        if !self.erasures.any.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.erased_row(&schema::erased_entry(position))
    }

    /// The record that covers an entry, of those that came before it.
    pub(crate) fn erased_ahead(&self, id: &EntryId, header: &Header) -> Result<Option<ErasedBy>> {
        if !self.erasures.ahead.load(Ordering::Acquire) {
            return Ok(None);
        }
        for row in self.storage.scan(&schema::erased_ahead_of(id), Direction::Forward) {
            let (key, sealed) = row?;
            let by: ErasedBy = self.rows.open_value(&key, &sealed)?;
            let record = self.located_at(by.position)?;
            if record.id.0 == by.id && self.erasers().may(&self.keys.logs(), &record.header, header) {
                return Ok(Some(by));
            }
        }
        Ok(None)
    }

    fn erased_row(&self, row: &[u8]) -> Result<Option<ErasedBy>> {
        self.storage.get(row)?.map(|sealed| self.rows.open_value(row, &sealed)).transpose()
    }

    /// What became of the erasure record at a position; nothing if it is none, or not
    /// carried out.
    pub(crate) fn outcome_of(&self, position: u64) -> Result<Option<Outcome>> {
        let row = schema::erasure(position);
        self.storage.get(&row)?.map(|sealed| self.rows.open_value(&row, &sealed)).transpose()
    }

    /// Positions of the erasure records, in ledger order.
    pub(crate) fn erasure_positions(&self) -> impl Iterator<Item = Result<u64>> {
        self.storage.scan(&schema::all_erasures(), Direction::Forward).filter_map(|row| match row {
            // A row of another shape is none of ours.
            Ok((key, _)) => schema::position_in(&key).map(Ok),
            Err(problem) => Some(Err(problem.into())),
        })
    }

    /// The erasure record that an entry is: nothing if it is none or does not open.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged) for one that is not as records are.
    pub(crate) fn erasure(&self, located: &Located) -> Result<Option<Erasure>> {
        let (Some(cek), Some(bytes)) = (self.cek(located), self.payload(located)?) else { return Ok(None) };
        let body = payload::open(&located.header, &cek, &bytes).map_err(|problem| located.damaged(problem))?;
        Erasure::of(&body).transpose().map_err(|problem| located.damaged(problem))
    }

    /// The same; nothing, too, if it is not as records are.
    pub(crate) fn readable_erasure(&self, located: &Located) -> Result<Option<Erasure>> {
        match self.erasure(located) {
            Err(problem) if problem.is_damaged() => Ok(None),
            read => read,
        }
    }

    /// Whether the entry at `position` is known to be an erasure record.
    pub(crate) fn is_erasure(&self, position: u64) -> Result<bool> {
        if !self.erasures.records.load(Ordering::Acquire) {
            return Ok(false);
        }
        let has = |row: Vec<u8>| -> Result<bool> { Ok(self.storage.get(&row)?.is_some()) };
        Ok(has(schema::erasure(position))? || has(schema::due_erasure(position))?)
    }
}

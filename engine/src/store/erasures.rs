//! What was erased, and by which erasure record.
//!
//! ```text
//! D ‖ position 8   an erasure record: what became of it
//! G ‖ position 8   an entry that was erased: by which record
//! J ‖ position 8   an erasure record that is not carried out yet: who could read, so far
//! A ‖ id 16 ‖ position 8   an entry that was erased before it came: by which record
//! ```
//!
//! The row `J` comes with the record, in one commit, and goes when the content is gone:
//! whatever breaks an erasure off, the next opening finds it and carries it out.
//!
//! Two small rows stand for what was decided by what. `Serasers` is a hash over those who
//! could erase when records were decided last: where it has changed, those that were
//! refused are decided anew. `Skeys-taken` names the change of the keyring that took keys
//! away last, and the keyring has the same: one in which it differs may have them still.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use bincode::{Decode, Encode};
use thingdb_format::erasure::Erasure;
use thingdb_format::{EntryId, Header, ThingId, payload};

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
    /// Entries of each thing that were erased, if they were counted since the last were.
    counts: Mutex<Option<Counts>>,
    /// What records that are not carried out erase, where nothing can be written: nobody
    /// reads it any more.
    unwritten: RwLock<HashMap<u64, ErasedBy>>,
    /// Of the records that are due, those that a hold keeps from being carried out.
    on_hold: Mutex<BTreeSet<u64>>,
    /// What these cover: it stays here, and is given to nobody.
    kept_back: RwLock<HashMap<u64, ErasedBy>>,
}

type Counts = Arc<BTreeMap<ThingId, u64>>;

/// By which record an entry was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ErasedBy {
    pub(crate) position: u64,
    pub(crate) id: [u8; 32],
}

/// What became of an erasure record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Outcome {
    /// Entries that it lists.
    pub(crate) listed: u64,
    /// Of these, entries whose content is gone here.
    pub(crate) erased: u64,
    /// Of these, entries that it must not erase.
    pub(crate) refused: u64,
    /// To whose keys what it erased was sealed here.
    pub(crate) readers: BTreeSet<[u8; 8]>,
    /// The first position of what it erased.
    pub(crate) first: Option<u64>,
}

impl Outcome {
    /// Whether it may erase more where others may erase.
    pub(crate) const fn is_open(&self) -> bool {
        self.erased < self.listed
    }
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
            counts: Mutex::new(None),
            unwritten: RwLock::default(),
            on_hold: Mutex::default(),
            kept_back: RwLock::default(),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Option<Counts>> {
        self.counts.lock().expect("no thread panics while it holds this")
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
        Self::put_due_with(store, position, &BTreeSet::new(), batch);
    }

    /// The same, with those who could read what it erases.
    pub(crate) fn put_due_with(store: &Store, position: u64, readers: &BTreeSet<[u8; 8]>, batch: &mut Batch) {
        let row = schema::due_erasure(position);
        let sealed = store.rows.seal(&row, &encoding::encode(readers));
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
        *self.counts() = None;
        let mut kept = self.kept_back.write().expect("no thread panics while it holds this");
        kept.retain(|_, by| by.position != position);
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

/// What holds keep.
impl Erasures {
    /// A record that is due waits for a hold to end. What it covers is kept, and kept back.
    pub(crate) fn wait_for_release(&self, position: u64, covered: impl IntoIterator<Item = (u64, ErasedBy)>) {
        self.kept_back.write().expect("no thread panics while it holds this").extend(covered);
        self.on_hold.lock().expect("no thread panics while it holds this").insert(position);
        self.due().remove(&position);
    }

    /// All that waited are due again: a hold has ended, or says another reason.
    pub(crate) fn make_due_again(&self) {
        let waited = std::mem::take(&mut *self.on_hold.lock().expect("no thread panics while it holds this"));
        self.due().extend(waited);
    }

    /// Positions of records that wait for a hold to end.
    pub(crate) fn on_hold(&self) -> Vec<u64> {
        self.on_hold.lock().expect("no thread panics while it holds this").iter().copied().collect()
    }

    /// The record that covers an entry whose content stays because of a hold.
    pub(crate) fn kept_back(&self, position: u64) -> Option<ErasedBy> {
        self.kept_back.read().expect("no thread panics while it holds this").get(&position).copied()
    }
}

impl Erasures {
    /// Whether the content of an entry lies here, and is given to nobody: a hold keeps it,
    /// or it would be erased if anything could be written.
    pub(crate) fn is_shut(&self, position: u64) -> bool {
        let has = |map: &RwLock<HashMap<u64, ErasedBy>>| {
            map.read().expect("no thread panics while it holds this").contains_key(&position)
        };
        has(&self.kept_back) || has(&self.unwritten)
    }
}

/// What is kept beside the rows of records and entries.
impl Erasures {
    /// Whether any record is here.
    pub(crate) fn has_records(&self) -> bool {
        self.records.load(Ordering::Acquire)
    }

    /// Takes entries for erased without a row that says so.
    pub(crate) fn take_for_erased(&self, entries: HashMap<u64, ErasedBy>) {
        self.any.store(true, Ordering::Release);
        self.unwritten.write().expect("no thread panics while it holds this").extend(entries);
    }

    /// Notes who may erase, by the hash over them, as of what was decided.
    pub(crate) fn put_erasers(store: &Store, digest: &[u8; 32], batch: &mut Batch) {
        batch.put(schema::ERASERS.to_vec(), store.rows.seal(schema::ERASERS, digest));
    }

    /// Notes which change of the keyring took keys away last.
    pub(crate) fn put_keys_taken(store: &Store, mark: &[u8], batch: &mut Batch) {
        batch.put(schema::KEYS_TAKEN.to_vec(), store.rows.seal(schema::KEYS_TAKEN, mark));
    }
}

impl Store {
    /// Who could erase, by the hash over them, when records were decided last; empty if
    /// that was never noted.
    pub(crate) fn erasers_of_before(&self) -> Result<Vec<u8>> {
        self.small_row(schema::ERASERS)
    }

    /// The change of the keyring that took keys away last; empty if there was none.
    pub(crate) fn keys_taken(&self) -> Result<Vec<u8>> {
        self.small_row(schema::KEYS_TAKEN)
    }

    /// One that does not open is as good as none: what it stands for is done once more.
    fn small_row(&self, row: &[u8]) -> Result<Vec<u8>> {
        let sealed = self.storage.get(row)?;
        Ok(sealed.and_then(|sealed| self.rows.open(row, &sealed).ok()).unwrap_or_default())
    }

    /// Positions of the entries that were erased, ascending.
    pub(crate) fn erased_positions(&self) -> Result<Vec<u64>> {
        if !self.erasures.any.load(Ordering::Acquire) {
            return Ok(Vec::new());
        }
        let rows = self.storage.scan(&schema::erased_entries(), Direction::Forward);
        let positions = rows.filter_map(|row| row.map(|(key, _)| schema::position_in(&key)).transpose());
        let size = self.size();
        let mut within = Vec::new();
        for position in positions {
            // A ledger that was cut may go on at a position with a new key.
            within.extend(Some(position?).filter(|position| *position < size));
        }
        Ok(within)
    }

    /// To whose keys what a record erases was sealed here, as far as it is known yet.
    pub(crate) fn readers_of_erased(&self, record: u64) -> Result<BTreeSet<[u8; 8]>> {
        let row = schema::due_erasure(record);
        let mut readers: BTreeSet<[u8; 8]> = match self.storage.get(&row)? {
            Some(sealed) => self.rows.open_value(&row, &sealed)?,
            None => BTreeSet::new(),
        };
        readers.extend(self.outcome_of(record)?.unwrap_or_default().readers);
        Ok(readers)
    }

    /// By which record the entry at a position was erased, if it was.
    pub(crate) fn erased_by(&self, position: u64) -> Result<Option<ErasedBy>> {
        if !self.erasures.any.load(Ordering::Acquire) {
            return Ok(None);
        }
        let unwritten = self.erasures.unwritten.read().expect("no thread panics while it holds this");
        if let Some(by) = unwritten.get(&position).copied() {
            return Ok(Some(by));
        }
        drop(unwritten);
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
            if record.id.0 == by.id && self.may_erase(&record, header)? {
                return Ok(Some(by));
            }
        }
        Ok(None)
    }

    /// Whether an entry takes in nothing and gives nothing: it was erased, or would be but
    /// for a hold.
    pub(crate) fn is_covered(&self, position: u64) -> Result<bool> {
        Ok(self.erasures.kept_back(position).is_some() || self.erased_by(position)?.is_some())
    }

    /// Whether an erasure record covers an entry with this header, if it lists it. A
    /// revoked key erases nothing more.
    pub(crate) fn may_erase(&self, record: &Located, entry: &Header) -> Result<bool> {
        let logs = self.keys.logs();
        Ok(self.erasers().may(&logs, &record.header, entry)
            && !self.is_disbelieved(&logs, &record.header.actor, Some(record.position))?)
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

    /// How many entries of which things were erased; none of things without any. Kept
    /// in memory until something else is erased.
    pub(crate) fn erased_of_things(&self) -> Result<Counts> {
        let mut kept = self.erasures.counts();
        if let Some(counts) = kept.as_ref() {
            return Ok(Arc::clone(counts));
        }
        let mut by_record: BTreeMap<u64, u64> = BTreeMap::new();
        for row in self.storage.scan(&schema::erased_entries(), Direction::Forward) {
            let (key, sealed) = row?;
            let by: ErasedBy = self.rows.open_value(&key, &sealed)?;
            *by_record.entry(by.position).or_default() += 1;
        }
        let mut by_thing: BTreeMap<ThingId, u64> = BTreeMap::new();
        for (position, entries) in by_record {
            match self.located_at(position) {
                Ok(record) => *by_thing.entry(record.header.thing.clone()).or_default() += entries,
                // What is damaged is for `verify` to tell.
                Err(problem) if problem.is_damaged() => {}
                Err(problem) => return Err(problem),
            }
        }
        let counts = Arc::new(by_thing);
        *kept = Some(Arc::clone(&counts));
        Ok(counts)
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
        // What has a row of those that are due is among these, too.
        let is_due = self.erasures.due().contains(&position);
        let waits = || self.erasures.on_hold.lock().expect("no thread panics while it holds this").contains(&position);
        Ok(is_due || waits() || self.storage.get(&schema::erasure(position))?.is_some())
    }
}

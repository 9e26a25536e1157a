//! Entries whose prev has not come yet.
//!
//! They wait, in bounded number and size, and go on when the prev comes, with
//! this import or a later one: at the end of an import those that still wait are
//! written to rows of their own, in the form in which they came.

use std::collections::{HashMap, HashSet};

use thingdb_format::{EntryId, Header};

use super::check::{Came, Candidate};
use crate::committer::{Committer, Done, Job};
use crate::error::{Error, Result};
use crate::schema::{self, Tag};
use crate::storage::{Batch, Direction};
use crate::store::Store;
use crate::stored::PART_BYTES;

/// Entries that may wait.
const MAX_ENTRIES: usize = 100_000;

/// Bytes that may wait.
const MAX_BYTES: usize = 64 << 20;

/// Bytes of rows in one commit.
const COMMIT_BYTES: u64 = 1 << 20;

/// Entries by the prev for which they wait.
#[derive(Default)]
pub(super) struct Pending {
    waiting: HashMap<EntryId, Vec<Candidate>>,
    ids: HashSet<EntryId>,
    bytes: usize,
}

impl Pending {
    /// Lets an entry wait; gives it back if too many do.
    pub(super) fn wait(&mut self, prev: EntryId, mut candidate: Candidate) -> std::result::Result<(), Box<Candidate>> {
        let id = candidate.arrived.id;
        if self.ids.contains(&id) {
            return Ok(());
        }
        let bytes = candidate.bytes();
        if self.ids.len() >= MAX_ENTRIES || self.bytes.saturating_add(bytes) > MAX_BYTES {
            return Err(Box::new(candidate));
        }
        // It may wait for long: the lines beside it must not wait with it.
        candidate.came = Came::NotKept;
        self.ids.insert(id);
        self.bytes += bytes;
        self.waiting.entry(prev).or_default().push(candidate);
        Ok(())
    }

    /// The entries that waited for `prev`, which is here now.
    pub(super) fn release(&mut self, prev: &EntryId) -> Vec<Candidate> {
        if self.ids.is_empty() {
            return Vec::new();
        }
        let released = self.waiting.remove(prev).unwrap_or_default();
        for candidate in &released {
            self.ids.remove(&candidate.arrived.id);
            self.bytes -= candidate.bytes();
        }
        released
    }

    /// The entries of which some prev is of another thing, as `tag_of` knows:
    /// they would wait for ever. With that prev.
    pub(super) fn take_crossed(&mut self, tag_of: &HashMap<EntryId, Tag>) -> Vec<(EntryId, Candidate)> {
        let crossed = |candidate: &Candidate| {
            let arrived = &candidate.arrived;
            let is_other = |prev: &&EntryId| tag_of.get(prev).is_some_and(|tag| *tag != arrived.tag);
            arrived.header.prev.iter().find(is_other).copied()
        };
        let mut taken = Vec::new();
        for waiting in self.waiting.values_mut() {
            let (vain, rest) = std::mem::take(waiting).into_iter().partition(|candidate| crossed(candidate).is_some());
            *waiting = rest;
            taken.extend(Vec::into_iter(vain).filter_map(|candidate| Some((crossed(&candidate)?, candidate))));
        }
        self.waiting.retain(|_, waiting| !waiting.is_empty());
        for (_, candidate) in &taken {
            self.ids.remove(&candidate.arrived.id);
            self.bytes -= candidate.bytes();
        }
        taken
    }

    /// Those who wait, with their things.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Header, EntryId, Tag)> {
        let waiting = self.waiting.values().flatten().map(|candidate| &candidate.arrived);
        waiting.map(|arrived| (&arrived.header, arrived.id, arrived.tag))
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// The lines of the entries that wait since an earlier import, and the keys of
/// their rows.
pub(super) fn load(store: &Store, keys: &mut Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut last = None;
    for row in store.storage.scan(&schema::waiting_rows(), Direction::Forward) {
        let (key, sealed) = row?;
        let of = key.get(..17).map(<[u8]>::to_vec);
        // A line of which a part is damaged decodes no more, and goes with its
        // rows: whoever sent it has it.
        let part = store.rows.open(&key, &sealed).unwrap_or_default();
        keys.push(key);
        match lines.last_mut() {
            Some(line) if of == last => line.extend_from_slice(&part),
            _ => lines.push(part),
        }
        last = of;
    }
    Ok(lines)
}

/// Gives the entries that wait now their rows, and takes away those of `loaded`
/// that wait no more. Rows that another import made meanwhile are its own.
pub(super) fn save(store: &Store, committer: &Committer, pending: Pending, loaded: Vec<Vec<u8>>) -> Result<()> {
    let mut batch = Batch::new();
    let mut kept: HashSet<Vec<u8>> = HashSet::new();
    let submit = |batch: &mut Batch| -> Result<()> {
        let (done, _) = committer.submit(store, Job::Rows(std::mem::take(batch)))?;
        match done {
            Done::Rows => Ok(()),
            _ => Err(Error::damaged("the committer", "it answered another job")),
        }
    };
    for candidate in pending.waiting.into_values().flatten() {
        let id = candidate.arrived.id;
        for (part, bytes) in (0..).zip(candidate.to_line().chunks(PART_BYTES)) {
            let row = schema::waiting(&id, part);
            let sealed = store.rows.seal(&row, bytes);
            batch.put(row.clone(), sealed);
            kept.insert(row);
        }
        if batch.bytes() >= COMMIT_BYTES {
            submit(&mut batch)?;
        }
    }
    for key in loaded.into_iter().filter(|key| !kept.contains(key)) {
        batch.delete(key);
    }
    if batch.is_empty() { Ok(()) } else { submit(&mut batch) }
}

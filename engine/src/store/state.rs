//! What the index knows of one thing, and the rows in which it lies.
//!
//! A fork can be wide: many entries of one seq, and as many heads. No row grows
//! with it. What is too much for the state row has rows of its own, the newest
//! chunk as older ones have, heads by their positions. Of these only the rows
//! that have changed are written.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::sync::OnceLock;

use bincode::{Decode, Encode};
use thingdb_format::{EntryId, ThingId, Time};

use super::index::Indexed;
use super::postings::{CHUNK_SEQS, Chunk, Posting};
use super::row_seal::RowSeal;
use super::schema::{self, Tag};
use crate::encoding::encode;
use crate::error::{Error, Result};
use crate::heads::{Head, OfEntry, Rank, Ranked, RankedHeads};
use crate::storage::{Batch, Direction, Storage};

/// Postings that the state row holds of the newest chunk. If there are more,
/// they lie in rows as those of older chunks do.
const TAIL_POSTINGS: usize = 128;

/// Heads that the state row holds. If there are more, it holds none.
pub(super) const ROW_HEADS: usize = 32;

/// Ledger positions whose heads share a row, if heads have rows of their own.
pub(super) const HEAD_POSITIONS: u64 = 64;

/// An entry that no other follows, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HeadPosting {
    pub(crate) id: [u8; 32],
    pub(crate) time: u64,
    pub(crate) posting: Posting,
}

impl OfEntry for HeadPosting {
    fn id(&self) -> EntryId {
        EntryId(self.id)
    }
}

impl HeadPosting {
    /// The row in which it lies, if heads have rows of their own.
    const fn row(&self) -> u64 {
        self.posting.position / HEAD_POSITIONS
    }

    pub(crate) fn head(&self) -> Head {
        Head { id: EntryId(self.id), seq: self.posting.seq, time: self.time() }
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_micros(self.time).unwrap_or(Time::MAX)
    }
}

impl Ranked for HeadPosting {
    fn rank(&self) -> Rank {
        self.head().rank()
    }
}

/// The heads of a thing, and which of them are not as the rows have them.
#[derive(Clone, Debug, Default)]
struct HeadRows {
    /// The rows that there are; none as long as the state row holds the heads.
    present: BTreeSet<u64>,
    /// Those whose heads have changed.
    changed: BTreeSet<u64>,
}

/// What the index knows of one thing.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) thing: ThingId,
    pub(crate) entries: u64,
    pub(crate) heads: RankedHeads<HeadPosting>,
    head_rows: HeadRows,
    /// Number of the newest chunk.
    pub(super) last_chunk: u64,
    /// Its postings.
    pub(super) tail: Chunk,
    /// Older chunks that have changed since they were last written.
    pub(super) older: BTreeMap<u64, Chunk>,
    /// Position of the first entry that is not in the rows.
    pub(super) unwritten_since: Option<u64>,
    pub(super) unwritten: u64,
    /// Whether it has a row.
    pub(super) in_rows: bool,
    /// The latest entry, where erasure records had to be passed over to find it. Not
    /// in the row.
    pub(super) passed_to: OnceLock<HeadPosting>,
}

/// The part of a state that lies in its row. Each thing has a head and each
/// newest chunk a posting: if there are none here, they have rows of their own.
#[derive(Encode, Decode)]
struct StateRow {
    thing: String,
    entries: u64,
    heads: Vec<HeadPosting>,
    last_chunk: u64,
    tail: Vec<Posting>,
}

impl State {
    pub(super) fn new(thing: ThingId) -> Self {
        Self {
            thing,
            entries: 0,
            heads: RankedHeads::default(),
            head_rows: HeadRows::default(),
            last_chunk: 0,
            tail: Chunk::default(),
            older: BTreeMap::new(),
            unwritten_since: None,
            unwritten: 0,
            in_rows: false,
            passed_to: OnceLock::new(),
        }
    }

    fn from_row(row: StateRow, storage: &dyn Storage, rows: &RowSeal, tag: &Tag) -> Result<Self> {
        let mut state = Self {
            entries: row.entries,
            last_chunk: row.last_chunk,
            in_rows: true,
            ..Self::new(ThingId::new(&row.thing)?)
        };
        let mut heads = row.heads;
        if heads.is_empty() {
            for found in storage.scan(&schema::heads(tag), Direction::Forward) {
                let (key, sealed) = found?;
                let some: Vec<HeadPosting> = rows.open_value(&key, &sealed)?;
                state.head_rows.present.extend(some.first().map(HeadPosting::row));
                heads.extend(some);
            }
        }
        state.heads = heads.into_iter().collect();
        state.tail = match row.tail.is_empty() {
            true => Chunk::load(storage, rows, tag, row.last_chunk)?,
            false => Chunk::new(row.tail, 0),
        };
        if state.heads.len() == 0 || state.tail.postings.is_empty() {
            return Err(Error::damaged("a thing's state row", "rows that belong to it are missing"));
        }
        Ok(state)
    }

    /// Puts its rows into `batch`, those that have changed: how many bytes, about.
    pub(super) fn put(&self, tag: &Tag, rows: &RowSeal, batch: &mut Batch) -> u64 {
        let before = batch.bytes();
        for (chunk, postings) in &self.older {
            postings.put(tag, *chunk, rows, batch);
        }
        if self.has_tail_rows() {
            self.tail.put(tag, self.last_chunk, rows, batch);
        }
        let mut by_row: BTreeMap<u64, Vec<HeadPosting>> = BTreeMap::new();
        if self.has_head_rows() {
            for head in self.heads.iter() {
                by_row.entry(head.row()).or_default().push(*head);
            }
        }
        for row in self.head_rows.present.iter().filter(|row| !by_row.contains_key(row)) {
            batch.delete(schema::head_row(tag, *row));
        }
        for (row, heads) in by_row {
            if self.head_rows.changed.contains(&row) || !self.head_rows.present.contains(&row) {
                let key = schema::head_row(tag, row);
                let value = rows.seal(&key, &encode(&heads));
                batch.put(key, value);
            }
        }
        let row = StateRow {
            thing: self.thing.as_str().to_owned(),
            entries: self.entries,
            heads: if self.has_head_rows() { Vec::new() } else { self.heads.iter().copied().collect() },
            last_chunk: self.last_chunk,
            tail: if self.has_tail_rows() { Vec::new() } else { self.tail.postings.clone() },
        };
        let key = schema::state(tag);
        let value = rows.seal(&key, &encode(&row));
        batch.put(key, value);
        batch.bytes() - before
    }

    /// Bytes that it takes in memory, about, with its place among others.
    pub(super) fn bytes(&self) -> usize {
        // What the allocator and a map need for each.
        const PLACE_BYTES: usize = 120;
        // A crowded chunk has a tree beside its postings, many heads have two.
        let chunks = self.tail.bytes() + self.older.values().map(|chunk| 64 + chunk.bytes()).sum::<usize>();
        let each_head = size_of::<HeadPosting>() * if self.has_head_rows() { 3 } else { 1 };
        // One lies in the state itself.
        let heads = if self.heads.len() == 1 { 0 } else { self.heads.len() * each_head };
        size_of::<Self>() + PLACE_BYTES + self.thing.as_str().len() + chunks + heads
    }

    /// What was put into the batch is in the rows.
    pub(super) fn written(&mut self) {
        self.in_rows = true;
        self.unwritten = 0;
        self.unwritten_since = None;
        self.older.clear();
        self.tail.in_rows = if self.has_tail_rows() { self.tail.postings.len() } else { 0 };
        self.head_rows.changed.clear();
        let has_rows = self.has_head_rows();
        self.head_rows.present = self.heads.iter().filter(|_| has_rows).map(HeadPosting::row).collect();
    }

    const fn has_tail_rows(&self) -> bool {
        self.tail.postings.len() > TAIL_POSTINGS
    }

    pub(super) fn has_head_rows(&self) -> bool {
        self.heads.len() > ROW_HEADS
    }

    /// Takes in the newest entry: it follows some heads and is one.
    pub(super) fn put_head(&mut self, head: HeadPosting, prev: &[EntryId]) {
        for id in prev {
            if let Some(joined) = self.heads.remove(id) {
                self.head_rows.changed.insert(joined.row());
            }
        }
        self.head_rows.changed.insert(head.row());
        self.heads.insert(head);
        self.passed_to = OnceLock::new();
        // Without rows, and far from having them, there is nothing to keep.
        if self.head_rows.present.is_empty() && !self.has_head_rows() {
            self.head_rows.changed.clear();
        }
    }

    /// The entries that no other follows.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Head> {
        self.heads.iter().map(HeadPosting::head)
    }

    /// The same, the latest first.
    pub(crate) fn ranked_heads(&self) -> Vec<Head> {
        self.heads.latest_first(None).map(HeadPosting::head).collect()
    }

    /// Greatest seq.
    pub(crate) fn last_seq(&self) -> u64 {
        self.tail.postings.last().map_or(0, |posting| posting.seq)
    }
}

/// Whether the posting was not there before.
pub(super) fn insert_posting(
    storage: &dyn Storage,
    rows: &RowSeal,
    state: &mut State,
    entry: &Indexed<'_>,
) -> Result<bool> {
    let chunk = entry.posting.seq / CHUNK_SEQS;
    if state.entries == 0 || chunk > state.last_chunk {
        if !state.tail.postings.is_empty() {
            state.older.insert(state.last_chunk, std::mem::take(&mut state.tail));
        }
        state.last_chunk = chunk;
    }
    let postings = if chunk == state.last_chunk {
        &mut state.tail
    } else {
        match state.older.entry(chunk) {
            btree_map::Entry::Occupied(known) => known.into_mut(),
            btree_map::Entry::Vacant(free) => {
                let loaded = Chunk::load(storage, rows, &entry.tag, chunk)?;
                // Reading the ledger again finds what is there; that alone must
                // not make the chunk one that waits to be written.
                if loaded.postings.iter().any(|posting| posting.position == entry.posting.position) {
                    return Ok(false);
                }
                free.insert(loaded)
            }
        }
    };
    Ok(postings.insert(entry.posting))
}

/// The state of a thing, if it has a row.
pub(super) fn load_state(storage: &dyn Storage, rows: &RowSeal, tag: &Tag) -> Result<Option<State>> {
    let key = schema::state(tag);
    storage.get(&key)?.map(|sealed| open_state(storage, rows, tag, &sealed)).transpose()
}

/// Opens a state row, and the rows that belong to it.
pub(crate) fn open_state(storage: &dyn Storage, rows: &RowSeal, tag: &Tag, sealed: &[u8]) -> Result<State> {
    State::from_row(rows.open_value(&schema::state(tag), sealed)?, storage, rows, tag)
}

/// The thing whose state row this is.
pub(crate) fn thing_of_state(rows: &RowSeal, key: &[u8], sealed: &[u8]) -> Result<ThingId> {
    let row: StateRow = rows.open_value(key, sealed)?;
    Ok(ThingId::new(&row.thing)?)
}

//! The index: where the entries of a thing are.
//!
//! Everything here follows from the ledger and could be made anew from it.
//! States of things are kept in memory as a write-back cache: a put changes
//! memory only, and rows are written for many entries at once. After a crash
//! the entries since the last written position are read again.
//!
//! A thing's *postings* tell for each entry its seq and ledger position, 64
//! seqs to a chunk. The newest chunk lies in the state row, older ones in rows
//! of their own, which are not touched any more unless a fork arrives late.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bincode::{Decode, Encode};
use thingdb_format::{EntryId, ThingId, Time};

use crate::error::Result;
use crate::record::Head;
use crate::schema::{self, Tag};
use crate::storage::{Batch, Storage};
use crate::stored::{RowSeal, encode};

/// Seqs in one chunk of postings.
const CHUNK_SEQS: u64 = 64;

/// Postings that may wait in memory before rows are written.
const MAX_UNWRITTEN: u64 = 16_384;

/// Things whose rows are written together.
const FLUSH_THINGS: usize = 256;

/// Where one entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Posting {
    pub(crate) seq: u64,
    pub(crate) position: u64,
    /// Place of its record in its block.
    pub(crate) slot: u8,
    /// The first bytes of its id, enough to look for duplicates.
    pub(crate) id8: [u8; 8],
}

impl Posting {
    /// Position of the first record of its block.
    pub(crate) const fn block(&self) -> u64 {
        // A posting that was altered leads to a block that has no such slot.
        self.position.saturating_sub(self.slot as u64)
    }
}

/// An entry that no other follows, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HeadPosting {
    pub(crate) id: [u8; 32],
    pub(crate) time: u64,
    pub(crate) posting: Posting,
}

impl HeadPosting {
    pub(crate) fn head(&self) -> Head {
        Head { id: EntryId(self.id), seq: self.posting.seq, time: self.time() }
    }

    pub(crate) fn time(&self) -> Time {
        Time::from_micros(self.time).unwrap_or(Time::MAX)
    }

    /// What decides which head is the latest.
    const fn rank(&self) -> (u64, u64, [u8; 32]) {
        (self.posting.seq, self.time, self.id)
    }
}

/// What the index knows of one thing.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) thing: ThingId,
    pub(crate) entries: u64,
    pub(crate) heads: Vec<HeadPosting>,
    /// Number of the newest chunk.
    last_chunk: u64,
    /// Its postings, by (seq, position).
    tail: Vec<Posting>,
    /// Older chunks that have changed since they were last written.
    older: BTreeMap<u64, Vec<Posting>>,
    /// Position of the first entry that is not in the rows.
    unwritten_since: Option<u64>,
    unwritten: u64,
    /// Whether it has a row.
    in_rows: bool,
    used: AtomicU32,
}

/// The part of a state that lies in its row.
#[derive(Encode, Decode)]
struct StateRow {
    thing: String,
    entries: u64,
    heads: Vec<HeadPosting>,
    last_chunk: u64,
    tail: Vec<Posting>,
}

impl Clone for State {
    fn clone(&self) -> Self {
        Self {
            thing: self.thing.clone(),
            entries: self.entries,
            heads: self.heads.clone(),
            last_chunk: self.last_chunk,
            tail: self.tail.clone(),
            older: self.older.clone(),
            unwritten_since: self.unwritten_since,
            unwritten: self.unwritten,
            in_rows: self.in_rows,
            used: AtomicU32::new(self.used.load(Ordering::Relaxed)),
        }
    }
}

impl State {
    fn new(thing: ThingId) -> Self {
        Self {
            thing,
            entries: 0,
            heads: Vec::new(),
            last_chunk: 0,
            tail: Vec::new(),
            older: BTreeMap::new(),
            unwritten_since: None,
            unwritten: 0,
            in_rows: false,
            used: AtomicU32::new(0),
        }
    }

    fn from_row(row: StateRow) -> Result<Self> {
        Ok(Self {
            entries: row.entries,
            heads: row.heads,
            last_chunk: row.last_chunk,
            tail: row.tail,
            in_rows: true,
            ..Self::new(ThingId::new(&row.thing)?)
        })
    }

    fn to_row(&self) -> StateRow {
        StateRow {
            thing: self.thing.as_str().to_owned(),
            entries: self.entries,
            heads: self.heads.clone(),
            last_chunk: self.last_chunk,
            tail: self.tail.clone(),
        }
    }

    /// The head that every node with the same entries names.
    pub(crate) fn latest(&self) -> Option<&HeadPosting> {
        self.heads.iter().max_by_key(|head| head.rank())
    }

    /// The entries that no other follows.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Head> {
        self.heads.iter().map(HeadPosting::head)
    }

    /// Greatest seq.
    pub(crate) fn last_seq(&self) -> u64 {
        self.heads.iter().map(|head| head.posting.seq).max().unwrap_or(0)
    }
}

/// One entry as the index takes it in.
pub(crate) struct Indexed<'a> {
    pub(crate) thing: &'a ThingId,
    pub(crate) tag: Tag,
    pub(crate) id: EntryId,
    pub(crate) time: Time,
    pub(crate) prev: &'a [EntryId],
    pub(crate) posting: Posting,
}

/// The states of things, those in use in memory.
pub(crate) struct Index {
    states: RwLock<HashMap<Tag, Arc<State>>>,
    /// Grows when states leave memory: what a reader loaded before must not be
    /// put in their place.
    evictions: AtomicU64,
    round: AtomicU32,
    /// States that memory should hold at most.
    capacity: usize,
    unwritten: std::sync::Mutex<Unwritten>,
    things: AtomicU64,
    /// Things that came since they were last listed; not noted before that.
    new: std::sync::Mutex<Option<Vec<ThingId>>>,
}

/// What is not in the rows yet; touched by the committer only.
#[derive(Default)]
struct Unwritten {
    postings: u64,
    /// Things that have a row.
    things_in_rows: u64,
    order: BTreeSet<(u64, Tag)>,
}

impl Index {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            states: RwLock::default(),
            evictions: AtomicU64::new(0),
            round: AtomicU32::new(0),
            capacity: capacity.max(1024),
            unwritten: std::sync::Mutex::default(),
            things: AtomicU64::new(0),
            new: std::sync::Mutex::default(),
        }
    }

    /// What is known of the thing with `tag`.
    pub(crate) fn state(&self, storage: &dyn Storage, rows: &RowSeal, tag: &Tag) -> Result<Option<Arc<State>>> {
        let evictions = self.evictions.load(Ordering::Acquire);
        if let Some(state) = self.read().get(tag) {
            state.used.store(self.round.load(Ordering::Relaxed), Ordering::Relaxed);
            return Ok(Some(Arc::clone(state)));
        }
        let Some(state) = load_state(storage, rows, tag)? else { return Ok(None) };
        let state = Arc::new(state);
        let mut states = self.write();
        if let Some(newer) = states.get(tag) {
            return Ok(Some(Arc::clone(newer)));
        }
        if self.evictions.load(Ordering::Acquire) == evictions {
            self.make_room(&mut states);
            states.insert(*tag, Arc::clone(&state));
        }
        Ok(Some(state))
    }

    /// The postings of one chunk of a thing.
    pub(crate) fn chunk(
        &self,
        storage: &dyn Storage,
        rows: &RowSeal,
        tag: &Tag,
        state: &State,
        chunk: u64,
    ) -> Result<Vec<Posting>> {
        if chunk == state.last_chunk {
            return Ok(state.tail.clone());
        }
        match state.older.get(&chunk) {
            Some(postings) => Ok(postings.clone()),
            None => load_chunk(storage, rows, tag, chunk),
        }
    }

    /// The postings with this seq.
    pub(crate) fn postings_at(
        &self,
        storage: &dyn Storage,
        rows: &RowSeal,
        tag: &Tag,
        state: &State,
        seq: u64,
    ) -> Result<Vec<Posting>> {
        let mut postings = self.chunk(storage, rows, tag, state, seq / CHUNK_SEQS)?;
        postings.retain(|posting| posting.seq == seq);
        Ok(postings)
    }

    /// Takes entries in that have just been committed. Those that are here
    /// already are passed over, so that the ledger can be read again.
    pub(crate) fn apply(&self, storage: &dyn Storage, rows: &RowSeal, entries: &[Indexed<'_>]) -> Result<()> {
        // Whatever must be read is read before the lock is taken.
        for entry in entries {
            self.state(storage, rows, &entry.tag)?;
        }
        let mut unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        let mut states = self.write();
        self.make_room(&mut states);
        for entry in entries {
            let loaded = match states.entry(entry.tag) {
                std::collections::hash_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::hash_map::Entry::Vacant(free) => {
                    let state = match load_state(storage, rows, &entry.tag)? {
                        Some(state) => state,
                        None => {
                            self.things.fetch_add(1, Ordering::Relaxed);
                            self.note_new(entry.thing);
                            State::new(entry.thing.clone())
                        }
                    };
                    free.insert(Arc::new(state))
                }
            };
            let state = Arc::make_mut(loaded);
            if !insert_posting(storage, rows, state, entry)? {
                continue;
            }
            state.used.store(self.round.load(Ordering::Relaxed), Ordering::Relaxed);
            state.entries += 1;
            state.unwritten += 1;
            unwritten.postings += 1;
            if state.unwritten_since.is_none() {
                state.unwritten_since = Some(entry.posting.block());
                unwritten.order.insert((entry.posting.block(), entry.tag));
            }
            state.heads.retain(|head| !entry.prev.contains(&EntryId(head.id)));
            state.heads.push(HeadPosting { id: entry.id.0, time: entry.time.micros(), posting: entry.posting });
        }
        Ok(())
    }

    /// Rows for what waits in memory, oldest first, if more waits than may.
    /// `end` is the size of the ledger. The batch must be committed before
    /// [`Index::written`] is told.
    pub(crate) fn due_rows(&self, rows: &RowSeal, end: u64) -> Option<Flush> {
        let waiting = self.unwritten.lock().expect("no thread panics while it holds the index").postings;
        (waiting > MAX_UNWRITTEN).then(|| self.rows(rows, end, FLUSH_THINGS)).flatten()
    }

    /// Rows for what waits in memory: the `most` things that have waited
    /// longest.
    pub(crate) fn rows(&self, rows: &RowSeal, end: u64, most: usize) -> Option<Flush> {
        let unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        let states = self.read();
        let tags: Vec<Tag> = unwritten.order.iter().take(most).map(|(_, tag)| *tag).collect();
        let mut batch = Batch::new();
        let mut things = unwritten.things_in_rows;
        for tag in &tags {
            let Some(state) = states.get(tag) else { continue };
            things += u64::from(!state.in_rows);
            for (chunk, postings) in &state.older {
                let key = schema::postings(tag, *chunk);
                let value = rows.seal(&key, &encode(postings));
                batch.put(key, value);
            }
            let key = schema::state(tag);
            let value = rows.seal(&key, &encode(&state.to_row()));
            batch.put(key, value);
        }
        let indexed = unwritten.order.iter().nth(tags.len()).map_or(end, |(since, _)| *since);
        let progress = encode(&IndexedRow { position: indexed, things });
        batch.put(schema::INDEXED, rows.seal(schema::INDEXED, &progress));
        (!tags.is_empty()).then_some(Flush { batch, tags })
    }

    /// The rows for these things were committed.
    pub(crate) fn written(&self, tags: &[Tag]) {
        let mut unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        let mut states = self.write();
        for tag in tags {
            let Some(state) = states.get_mut(tag) else { continue };
            let state = Arc::make_mut(state);
            if let Some(since) = state.unwritten_since.take() {
                unwritten.order.remove(&(since, *tag));
            }
            unwritten.postings -= state.unwritten;
            unwritten.things_in_rows += u64::from(!state.in_rows);
            state.in_rows = true;
            state.unwritten = 0;
            state.older.clear();
        }
    }

    /// Forgets everything: the rows are gone.
    pub(crate) fn clear(&self) {
        let mut unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        *unwritten = Unwritten::default();
        self.evictions.fetch_add(1, Ordering::Release);
        self.write().clear();
        self.things.store(0, Ordering::Relaxed);
    }

    /// Lets states go that were not used for a while, if there are too many.
    fn make_room(&self, states: &mut HashMap<Tag, Arc<State>>) {
        if states.len() <= self.capacity {
            return;
        }
        let round = self.round.fetch_add(1, Ordering::Relaxed);
        self.evictions.fetch_add(1, Ordering::Release);
        states.retain(|_, state| state.unwritten_since.is_some() || state.used.load(Ordering::Relaxed) == round);
        if states.len() > self.capacity {
            states.retain(|_, state| state.unwritten_since.is_some());
        }
    }

    /// Notes a thing for the next listing, if there was a listing before.
    fn note_new(&self, thing: &ThingId) {
        let mut new = self.new.lock().expect("no thread panics while it holds the new things");
        if let Some(new) = new.as_mut() {
            new.push(thing.clone());
        }
    }

    /// The things that came since this was last called; from the first call on
    /// they are noted.
    pub(crate) fn take_new(&self) -> Vec<ThingId> {
        let mut new = self.new.lock().expect("no thread panics while it holds the new things");
        new.replace(Vec::new()).unwrap_or_default()
    }

    /// Things in the index.
    pub(crate) fn things(&self) -> u64 {
        self.things.load(Ordering::Relaxed)
    }

    /// Takes over how many things have rows, at opening.
    pub(crate) fn set_things(&self, things: u64) {
        self.things.store(things, Ordering::Relaxed);
        self.unwritten.lock().expect("no thread panics while it holds the index").things_in_rows = things;
    }

    /// The states that are not in the rows yet.
    pub(crate) fn unwritten_states(&self) -> Vec<(Tag, Arc<State>)> {
        let states = self.read();
        states
            .iter()
            .filter(|(_, state)| state.unwritten_since.is_some())
            .map(|(tag, state)| (*tag, Arc::clone(state)))
            .collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Tag, Arc<State>>> {
        self.states.read().expect("no thread panics while it holds the index")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Tag, Arc<State>>> {
        self.states.write().expect("no thread panics while it holds the index")
    }
}

/// Rows to commit, and the things they are of.
pub(crate) struct Flush {
    pub(crate) batch: Batch,
    pub(crate) tags: Vec<Tag>,
}

/// The chunks in which the postings with seqs from `first` to `last` are.
pub(crate) const fn chunks(first: u64, last: u64) -> std::ops::RangeInclusive<u64> {
    first / CHUNK_SEQS..=last / CHUNK_SEQS
}

/// Whether the posting was not there before.
fn insert_posting(storage: &dyn Storage, rows: &RowSeal, state: &mut State, entry: &Indexed<'_>) -> Result<bool> {
    let chunk = entry.posting.seq / CHUNK_SEQS;
    if state.entries == 0 || chunk > state.last_chunk {
        if !state.tail.is_empty() {
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
                let loaded = load_chunk(storage, rows, &entry.tag, chunk)?;
                // Reading the ledger again finds what is there; that alone must
                // not make the chunk one that waits to be written.
                if loaded.iter().any(|posting| posting.position == entry.posting.position) {
                    return Ok(false);
                }
                free.insert(loaded)
            }
        }
    };
    let order = |posting: &Posting| (posting.seq, posting.position);
    match postings.binary_search_by_key(&order(&entry.posting), order) {
        Ok(_) => Ok(false),
        Err(at) => {
            postings.insert(at, entry.posting);
            Ok(true)
        }
    }
}

fn load_state(storage: &dyn Storage, rows: &RowSeal, tag: &Tag) -> Result<Option<State>> {
    let key = schema::state(tag);
    storage.get(&key)?.map(|sealed| open_state(rows, &key, &sealed)).transpose()
}

/// Opens a state row.
pub(crate) fn open_state(rows: &RowSeal, key: &[u8], sealed: &[u8]) -> Result<State> {
    State::from_row(rows.open_value(key, sealed)?)
}

fn load_chunk(storage: &dyn Storage, rows: &RowSeal, tag: &Tag, chunk: u64) -> Result<Vec<Posting>> {
    let key = schema::postings(tag, chunk);
    storage.get(&key)?.map_or_else(|| Ok(Vec::new()), |sealed| rows.open_value(&key, &sealed))
}

/// How far the rows go.
#[derive(Default, Encode, Decode)]
pub(crate) struct IndexedRow {
    /// Entries below this position are in the rows.
    pub(crate) position: u64,
    /// Things that have a row.
    pub(crate) things: u64,
}

/// How far the rows go, as they say.
pub(crate) fn indexed(storage: &dyn Storage, rows: &RowSeal) -> Result<IndexedRow> {
    let sealed = storage.get(schema::INDEXED)?;
    sealed.map_or_else(|| Ok(IndexedRow::default()), |sealed| rows.open_value(schema::INDEXED, &sealed))
}

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

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use bincode::{Decode, Encode};
use thingdb_format::{EntryId, ThingId, Time};

use super::held::Held;
use super::postings::{CHUNK_SEQS, Chunk, Posting, at_seq};
use super::row_seal::RowSeal;
use super::schema::{self, Tag, TagMap};
use super::state::{HeadPosting, State, insert_posting, load_state};
use crate::encoding::encode;
use crate::error::Result;
use crate::storage::{Batch, Storage};

/// What is put into one commit of rows before it leaves the rest to the next.
const FLUSH_BYTES: u64 = 4 << 20;

/// Postings that may wait in memory before rows are written.
const MAX_UNWRITTEN: u64 = 16_384;

/// Things whose rows are written together.
const FLUSH_THINGS: usize = 256;

/// One entry as the index takes it in.
pub(crate) struct Indexed<'a> {
    pub(crate) thing: &'a ThingId,
    pub(crate) tag: Tag,
    pub(crate) id: EntryId,
    pub(crate) time: Time,
    pub(crate) prev: &'a [EntryId],
    pub(crate) posting: Posting,
    /// Whether it is known that the thing had no state before these entries.
    pub(crate) is_new: bool,
}

/// The states of things, those in use in memory.
pub(crate) struct Index {
    held: RwLock<Held>,
    unwritten: std::sync::Mutex<Unwritten>,
    things: AtomicU64,
    /// Things that came since they were last listed; not noted before that.
    new: std::sync::Mutex<Option<Vec<ThingId>>>,
    /// Positions of entries that could not be read when it was their turn.
    unlisted: std::sync::Mutex<Unlisted>,
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
    /// With so many bytes for the states that are in the rows as well.
    pub(crate) fn new(cache_bytes: usize) -> Self {
        Self {
            held: RwLock::new(Held::new(cache_bytes)),
            unwritten: std::sync::Mutex::default(),
            things: AtomicU64::new(0),
            new: std::sync::Mutex::default(),
            unlisted: std::sync::Mutex::default(),
        }
    }

    /// What is known of the thing with `tag`.
    pub(crate) fn state(&self, storage: &dyn Storage, rows: &RowSeal, tag: &Tag) -> Result<Option<Arc<State>>> {
        let (found, evictions) = {
            let held = self.read();
            (held.find(tag), held.evictions)
        };
        if let Some((state, goes)) = found {
            if goes {
                let gone = self.write().renew(tag);
                drop(gone);
            }
            return Ok(Some(state));
        }
        let Some(state) = load_state(storage, rows, tag)? else { return Ok(None) };
        let state = Arc::new(state);
        let mut held = self.write();
        if let Some((newer, _)) = held.find(tag) {
            return Ok(Some(newer));
        }
        let gone = if held.evictions == evictions { held.keep(*tag, Arc::clone(&state)) } else { None };
        drop(held);
        drop(gone);
        Ok(Some(state))
    }

    /// The postings of one chunk of a thing.
    pub(crate) fn chunk<'s>(
        &self,
        storage: &dyn Storage,
        rows: &RowSeal,
        tag: &Tag,
        state: &'s State,
        chunk: u64,
    ) -> Result<Cow<'s, [Posting]>> {
        if chunk == state.last_chunk {
            return Ok(Cow::Borrowed(&state.tail.postings));
        }
        match state.older.get(&chunk) {
            Some(chunk) => Ok(Cow::Borrowed(&chunk.postings)),
            None => Ok(Cow::Owned(Chunk::load(storage, rows, tag, chunk)?.postings)),
        }
    }

    /// The postings with this seq.
    pub(crate) fn postings_at<'s>(
        &self,
        storage: &dyn Storage,
        rows: &RowSeal,
        tag: &Tag,
        state: &'s State,
        seq: u64,
    ) -> Result<Cow<'s, [Posting]>> {
        Ok(match self.chunk(storage, rows, tag, state, seq / CHUNK_SEQS)? {
            Cow::Borrowed(postings) => Cow::Borrowed(&postings[at_seq(postings, seq)]),
            Cow::Owned(mut postings) => Cow::Owned(postings.drain(at_seq(&postings, seq)).collect()),
        })
    }

    /// The postings with this seq and these first bytes of an id.
    pub(crate) fn postings_of(
        &self,
        storage: &dyn Storage,
        rows: &RowSeal,
        tag: &Tag,
        state: &State,
        seq: u64,
        id8: [u8; 8],
    ) -> Result<Vec<Posting>> {
        // A new entry stands behind all that is here: most of those that are
        // looked for do.
        if seq > state.last_seq() {
            return Ok(Vec::new());
        }
        let number = seq / CHUNK_SEQS;
        if number == state.last_chunk {
            return Ok(state.tail.with_id(seq, id8));
        }
        match state.older.get(&number) {
            Some(chunk) => Ok(chunk.with_id(seq, id8)),
            None => Ok(Chunk::load(storage, rows, tag, number)?.with_id(seq, id8)),
        }
    }

    /// Takes entries in that have just been committed. Those that are here
    /// already are passed over, so that the ledger can be read again.
    pub(crate) fn apply(&self, storage: &dyn Storage, rows: &RowSeal, entries: &[Indexed<'_>]) -> Result<()> {
        // Whatever must be read is read before the lock is taken.
        let absent: HashSet<Tag> = {
            let held = self.read();
            let old = entries.iter().filter(|entry| !entry.is_new);
            old.map(|entry| entry.tag).filter(|tag| !held.contains(tag)).collect()
        };
        let mut loaded = TagMap::default();
        for tag in absent {
            loaded.extend(load_state(storage, rows, &tag)?.map(|state| (tag, Arc::new(state))));
        }
        let mut unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        let mut held = self.write();
        for entry in entries {
            if !held.unwritten.contains_key(&entry.tag) {
                let known = match held.take(&entry.tag).or_else(|| loaded.remove(&entry.tag)) {
                    None if !entry.is_new => load_state(storage, rows, &entry.tag)?.map(Arc::new),
                    known => known,
                };
                let state = known.unwrap_or_else(|| {
                    self.things.fetch_add(1, Ordering::Relaxed);
                    self.note_new(entry.thing);
                    Arc::new(State::new(entry.thing.clone()))
                });
                held.unwritten.insert(entry.tag, state);
            }
            let Some(state) = held.unwritten.get_mut(&entry.tag) else { unreachable!("it was just put there") };
            let state = Arc::make_mut(state);
            if !insert_posting(storage, rows, state, entry)? {
                if state.unwritten_since.is_none()
                    && let Some(state) = held.unwritten.remove(&entry.tag)
                {
                    drop(held.keep(entry.tag, state));
                }
                continue;
            }
            state.entries += 1;
            state.unwritten += 1;
            unwritten.postings += 1;
            if state.unwritten_since.is_none() {
                state.unwritten_since = Some(entry.posting.block());
                unwritten.order.insert((entry.posting.block(), entry.tag));
            }
            let head = HeadPosting { id: entry.id.0, time: entry.time.micros(), posting: entry.posting };
            state.put_head(head, entry.prev);
        }
        Ok(())
    }

    /// Rows for what waits in memory, oldest first, if more waits than may: again
    /// and again, until nothing is due. `end` is the size of the ledger. The batch
    /// must be committed before [`Index::written`] is told.
    pub(crate) fn due_rows(&self, rows: &RowSeal, end: u64) -> Option<Flush> {
        let waiting = self.unwritten.lock().expect("no thread panics while it holds the index").postings;
        (waiting > MAX_UNWRITTEN).then(|| self.rows(rows, end, FLUSH_THINGS)).flatten()
    }

    /// Rows for what waits in memory: the `most` things that have waited
    /// longest.
    pub(crate) fn rows(&self, rows: &RowSeal, end: u64, most: usize) -> Option<Flush> {
        let unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        let held = self.read();
        let mut tags: Vec<Tag> = Vec::new();
        let mut batch = Batch::new();
        let mut things = unwritten.things_in_rows;
        let mut bytes = 0;
        let mut order = unwritten.order.iter();
        let mut next = order.next();
        while let Some((_, tag)) = next.filter(|_| tags.len() < most && bytes < FLUSH_BYTES) {
            tags.push(*tag);
            if let Some(state) = held.unwritten.get(tag) {
                things += u64::from(!state.in_rows);
                bytes += state.put(tag, rows, &mut batch);
            }
            next = order.next();
        }
        let indexed = next.map_or(end, |(since, _)| *since);
        let progress = encode(&IndexedRow { position: indexed, things, unlisted: self.unlisted() });
        batch.put(schema::INDEXED, rows.seal(schema::INDEXED, &progress));
        (!tags.is_empty()).then_some(Flush { batch, tags })
    }

    /// The rows for these things were committed.
    pub(crate) fn written(&self, tags: &[Tag]) {
        let mut unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        let mut held = self.write();
        let mut gone = Vec::new();
        for tag in tags {
            let Some(mut shared) = held.unwritten.remove(tag) else { continue };
            let state = Arc::make_mut(&mut shared);
            if let Some(since) = state.unwritten_since {
                unwritten.order.remove(&(since, *tag));
            }
            unwritten.postings -= state.unwritten;
            unwritten.things_in_rows += u64::from(!state.in_rows);
            state.written();
            gone.extend(held.keep(*tag, shared));
        }
        drop((unwritten, held));
        drop(gone);
    }

    /// Forgets everything: the rows are gone.
    pub(crate) fn clear(&self) {
        let mut unwritten = self.unwritten.lock().expect("no thread panics while it holds the index");
        *unwritten = Unwritten::default();
        self.write().clear();
        self.things.store(0, Ordering::Relaxed);
        self.set_unlisted(Unlisted::default());
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

    /// Positions that the index had to leave out.
    pub(crate) fn unlisted(&self) -> Unlisted {
        self.unlisted.lock().expect("no thread panics while it holds these positions").clone()
    }

    /// Takes over which positions are left out.
    pub(crate) fn set_unlisted(&self, unlisted: Unlisted) {
        *self.unlisted.lock().expect("no thread panics while it holds these positions") = unlisted;
    }

    /// Leaves positions out, behind those that are left out already.
    pub(crate) fn leave_out(&self, positions: Range<u64>) {
        self.unlisted.lock().expect("no thread panics while it holds these positions").add(positions);
    }

    /// The states that are not in the rows yet.
    pub(crate) fn unwritten_states(&self) -> Vec<(Tag, Arc<State>)> {
        self.read().unwritten.iter().map(|(tag, state)| (*tag, Arc::clone(state))).collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Held> {
        self.held.read().expect("no thread panics while it holds the index")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Held> {
        self.held.write().expect("no thread panics while it holds the index")
    }
}

/// Rows to commit, and the things they are of.
pub(crate) struct Flush {
    pub(crate) batch: Batch,
    pub(crate) tags: Vec<Tag>,
}

/// How far the rows go.
#[derive(Default, Encode, Decode)]
pub(crate) struct IndexedRow {
    /// Entries below this position are in the rows.
    pub(crate) position: u64,
    /// Things that have a row.
    pub(crate) things: u64,
    /// What the rows leave out below this position, and perhaps more behind it.
    pub(crate) unlisted: Unlisted,
}

/// Positions of the ledger that the index does not list, because nothing could be read
/// there when it was their turn: what is asked for by name may have been there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Unlisted {
    /// Ascending: start and end. The first [`MAX_UNLISTED`] only.
    ranges: Vec<(u64, u64)>,
}

/// Ranges that are noted: they lie in one small row.
const MAX_UNLISTED: usize = 256;

impl Unlisted {
    /// Adds positions behind those that are known.
    fn add(&mut self, positions: Range<u64>) {
        let is_full = self.ranges.len() >= MAX_UNLISTED;
        match self.ranges.last_mut() {
            Some((_, end)) if *end >= positions.start => *end = positions.end.max(*end),
            _ if is_full => {}
            _ => self.ranges.push((positions.start, positions.end)),
        }
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Those below a position.
    pub(crate) fn below(mut self, position: u64) -> Self {
        self.ranges.retain_mut(|(start, end)| {
            *end = position.min(*end);
            start < end
        });
        self
    }

    /// Those from a position on.
    pub(crate) fn from(&self, position: u64) -> Vec<Range<u64>> {
        let ranges = self.ranges.iter().filter(|(_, end)| *end > position);
        ranges.map(|(start, end)| *start.max(&position)..*end).collect()
    }
}

/// How far the rows go, as they say.
pub(crate) fn indexed(storage: &dyn Storage, rows: &RowSeal) -> Result<IndexedRow> {
    rows.read_or_default(storage, schema::INDEXED)
}

#[cfg(test)]
mod tests {
    use super::super::state::{HEAD_POSITIONS, ROW_HEADS};
    use super::*;
    use crate::heads::Ranked;
    use crate::keyring::SealKey;
    use crate::storage::Direction;
    use crate::storage::memory::MemoryStorage;
    use crate::store::postings::{CROWDED, chunks};
    use crate::store::schema::MAX_ROW_BYTES;
    use thingdb_format::Hash;

    const TAG: Tag = Tag([7; 16]);

    #[test]
    fn what_is_left_out_is_kept_by_ranges() {
        let mut unlisted = Unlisted::default();
        assert!(unlisted.is_empty());
        for positions in [3..4, 4..9, 20..30] {
            unlisted.add(positions);
        }
        assert_eq!(unlisted.from(0), [3..9, 20..30]);
        assert_eq!(unlisted.from(9), vec![Range { start: 20, end: 30 }]);
        assert_eq!(unlisted.from(25), vec![Range { start: 25, end: 30 }]);
        assert_eq!(unlisted.clone().below(21).from(0), [3..9, 20..21]);
        assert!(unlisted.clone().below(3).is_empty());
        for position in (100..2000).step_by(2) {
            unlisted.add(position..position + 1);
        }
        assert_eq!(unlisted.from(0).len(), MAX_UNLISTED);
        let row = encode(&IndexedRow { position: 2000, things: 1, unlisted });
        assert!(row.len() < MAX_ROW_BYTES, "{}", row.len());
    }

    struct Bench {
        storage: MemoryStorage,
        rows: RowSeal,
        index: Index,
        thing: ThingId,
        position: u64,
    }

    impl Bench {
        fn new() -> Self {
            let rows = RowSeal::new(SealKey::new(&[7; 32]));
            let (storage, index) = (MemoryStorage::new(), Index::new(1 << 20));
            Self { storage, rows, index, thing: ThingId::new("wide").unwrap(), position: 0 }
        }

        /// The next entry of the ledger, with this seq and prev.
        fn put(&mut self, seq: u64, prev: &[EntryId]) -> EntryId {
            let position = self.position;
            self.position += 1;
            let id = EntryId(Hash::of(&position.to_be_bytes()).0);
            let id8 = *id.0.first_chunk().unwrap();
            let time = Time::from_micros(position).unwrap();
            let posting = Posting { seq, position, slot: 0, id8 };
            let is_new = position == 0;
            let entry = Indexed { thing: &self.thing, tag: TAG, id, time, prev, posting, is_new };
            self.index.apply(&self.storage, &self.rows, &[entry]).unwrap();
            id
        }

        fn state(&self, index: &Index) -> Arc<State> {
            index.state(&self.storage, &self.rows, &TAG).unwrap().unwrap()
        }

        /// Writes rows, and holds what they say against memory. Returns how
        /// many head rows there are.
        fn write(&self) -> usize {
            let flush = self.index.rows(&self.rows, self.position, FLUSH_THINGS).unwrap();
            self.storage.commit(flush.batch).unwrap();
            self.index.written(&flush.tags);
            let reopened = Index::new(1 << 20);
            let (here, there) = (self.state(&self.index), self.state(&reopened));
            let heads = |state: &State| {
                let mut heads: Vec<HeadPosting> = state.heads.iter().copied().collect();
                heads.sort_unstable_by_key(HeadPosting::rank);
                heads
            };
            assert_eq!(heads(&here), heads(&there));
            assert_eq!((here.entries, here.last_seq()), (there.entries, there.last_seq()));
            for chunk in chunks(1, here.last_seq()) {
                let of = |index: &Index, state| index.chunk(&self.storage, &self.rows, &TAG, state, chunk).unwrap();
                let listed = of(&reopened, &there).into_owned();
                assert_eq!(of(&self.index, &here), listed);
                for posting in listed.first().into_iter().chain(listed.last()) {
                    let (seq, id8) = (posting.seq, posting.id8);
                    let found = reopened.postings_of(&self.storage, &self.rows, &TAG, &there, seq, id8).unwrap();
                    assert_eq!(found, [*posting]);
                }
            }
            let all = self.storage.scan(&crate::storage::KeyRange::all(), Direction::Forward);
            assert!(all.map(|row| row.unwrap().1.len()).all(|bytes| bytes <= MAX_ROW_BYTES));
            self.storage.scan(&schema::heads(&TAG), Direction::Forward).count()
        }
    }

    #[test]
    fn a_wide_fork_lies_in_rows_of_bounded_size_and_comes_back() {
        let mut bench = Bench::new();
        let root = bench.put(1, &[]);
        assert_eq!(bench.write(), 0);
        // Wider than any row: heads, and postings of one seq.
        let mut heads: Vec<EntryId> = Vec::new();
        for n in 0..CROWDED + 100 {
            heads.push(bench.put(2, &[root]));
            if n % 199 == 0 || (n % 5 == 0 && n < 2 * ROW_HEADS) {
                bench.write();
            }
        }
        assert!(bench.write() > heads.len() / HEAD_POSITIONS as usize / 2);
        // The fork goes on, and its postings are those of an older chunk.
        let mut last = *heads.last().unwrap();
        for seq in 3..3 * CHUNK_SEQS {
            last = bench.put(seq, &[last]);
            if seq % 60 == 0 {
                bench.write();
            }
        }
        heads.pop();
        for n in 0..100 {
            heads.push(bench.put(2, &[root]));
            if n % 40 == 0 {
                bench.write();
            }
        }
        heads.push(last);
        // Joined, it takes up no rows.
        let mut seq = 3 * CHUNK_SEQS;
        while heads.len() > 1 {
            let joined: Vec<EntryId> = heads.drain(heads.len().saturating_sub(20)..).collect();
            heads.push(bench.put(seq, &joined));
            seq += 1;
            let rows = bench.write();
            assert_eq!(rows == 0, heads.len() <= ROW_HEADS, "{rows} rows for {} heads", heads.len());
        }
        assert_eq!(bench.state(&bench.index).heads.len(), 1);
    }
}

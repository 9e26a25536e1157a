//! The history of a thing, read entry by entry from either end.

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::Arc;

use thingdb_format::ThingId;

use super::postings::{self, Posting};
use super::schema::Tag;
use super::state::State;
use super::{Located, Near, Store};
use crate::entry::record::Record;
use crate::error::Result;

/// The entries of a thing by (seq, time, id), from both ends.
///
/// It reads as it goes and holds at most the postings of two chunks and the
/// entries of one seq, however long the history is. It sees the entries that
/// were there when it was made.
///
/// ```
/// # let tmp = tempfile::tempdir()?;
/// # let dir = tmp.path().join("things");
/// # let passphrase = thingdb::Passphrase::new(b"correct horse battery".to_vec());
/// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(&dir, &passphrase)?;
/// for n in 1..=3 {
///     db.put("part-42", &format!("{n}"))?;
/// }
/// let newest = db.history("part-42")?.next_back().expect("there are three")?;
/// assert_eq!(newest.seq(), 3);
/// let seqs: Vec<u64> = db.history("part-42")?.map(|record| Ok(record?.seq())).collect::<thingdb::Result<_>>()?;
/// assert_eq!(seqs, [1, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct History<'a> {
    store: &'a Store,
    /// Nothing for a thing that is not there.
    of: Option<(Tag, Arc<State>)>,
    seqs: RangeInclusive<u64>,
    front: Side,
    back: Side,
}

/// What is already read at one end.
#[derive(Default)]
struct Side {
    chunk: Option<(u64, Vec<Posting>)>,
    /// The entries of one seq, in order.
    level: VecDeque<Located>,
    near: Near,
}

impl<'a> History<'a> {
    pub(crate) fn new(store: &'a Store, thing: &ThingId, seqs: impl RangeBounds<u64>) -> Result<Self> {
        let tag = store.tag(thing);
        let of = store.state(&tag)?.map(|state| (tag, state));
        // Each seq has an entry: an index that was altered must not make this
        // count to its seqs.
        let last = of.as_ref().map_or(0, |(_, state)| state.last_seq()).min(store.size());
        let start = match seqs.start_bound() {
            Bound::Included(seq) => *seq,
            Bound::Excluded(seq) => seq.saturating_add(1),
            Bound::Unbounded => 1,
        };
        let end = match seqs.end_bound() {
            Bound::Included(seq) => *seq,
            Bound::Excluded(seq) => seq.saturating_sub(1),
            Bound::Unbounded => last,
        };
        Ok(Self { store, of, seqs: start.max(1)..=end.min(last), front: Side::default(), back: Side::default() })
    }

    /// The entries of the next seq at one end, or nothing at the end.
    fn level(&mut self, front: bool) -> Result<VecDeque<Located>> {
        let Some((tag, state)) = &self.of else { return Ok(VecDeque::new()) };
        loop {
            let seq = if front { self.seqs.next() } else { self.seqs.next_back() };
            let Some(seq) = seq else { return Ok(VecDeque::new()) };
            let side = if front { &mut self.front } else { &mut self.back };
            let number = *postings::chunks(seq, seq).start();
            if side.chunk.as_ref().is_none_or(|(known, _)| *known != number) {
                side.chunk = Some((number, self.store.chunk(tag, state, number)?.into_owned()));
            }
            let postings = side.chunk.iter().flat_map(|(_, postings)| postings).filter(|posting| posting.seq == seq);
            let mut level = VecDeque::new();
            for posting in postings {
                level.push_back(self.store.located_near_of(state, posting, &mut side.near)?);
            }
            if !level.is_empty() {
                level.make_contiguous().sort_unstable_by_key(|located| (located.header.time, located.id));
                return Ok(level);
            }
        }
    }

    fn step(&mut self, front: bool) -> Option<Result<Located>> {
        let own = if front { &mut self.front } else { &mut self.back };
        if own.level.is_empty() {
            match self.level(front) {
                Ok(level) if front => self.front.level = level,
                Ok(level) => self.back.level = level,
                Err(problem) => return Some(Err(problem)),
            }
        }
        let next = if front {
            // The last level may be half read from the other end.
            self.front.level.pop_front().or_else(|| self.back.level.pop_front())
        } else {
            self.back.level.pop_back().or_else(|| self.front.level.pop_back())
        };
        next.map(Ok)
    }

    /// The same entries, not opened.
    pub(crate) fn located(mut self) -> impl Iterator<Item = Result<Located>> {
        std::iter::from_fn(move || self.step(true))
    }

    fn open(&self, located: Result<Located>) -> Result<Record> {
        let heads = self.of.as_ref().map_or(0, |(_, state)| state.heads.len());
        self.store.record(located?, heads)
    }
}

impl Iterator for History<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        self.step(true).map(|located| self.open(located))
    }
}

impl DoubleEndedIterator for History<'_> {
    fn next_back(&mut self) -> Option<Result<Record>> {
        self.step(false).map(|located| self.open(located))
    }
}

impl std::iter::FusedIterator for History<'_> {}

impl std::fmt::Debug for History<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "History({:?})", self.seqs)
    }
}

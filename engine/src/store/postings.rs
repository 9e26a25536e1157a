//! The postings of a thing: for each entry its seq and ledger position, in
//! chunks of 64 seqs.
//!
//! A chunk has a row, or as many as it needs if a fork has made it wide. New
//! postings of a seq stand behind those that are there, so that a fork that
//! grows changes the last rows only.

use std::collections::BTreeSet;
use std::ops::Range;

use bincode::{Decode, Encode};
use thingdb_format::EntryId;

use super::row_seal::RowSeal;
use super::schema::{self, Tag};
use crate::encoding::encode;
use crate::error::Result;
use crate::storage::{Batch, Storage};

/// Seqs in one chunk of postings.
pub(crate) const CHUNK_SEQS: u64 = 64;

/// Postings in one row, at most; a row with fewer is the last of its chunk.
const ROW_POSTINGS: usize = 240;

/// Postings of a chunk above which an entry is not looked for one by one.
pub(crate) const CROWDED: usize = 512;

/// Where one entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Posting {
    pub(crate) seq: u64,
    pub(crate) position: u64,
    /// Place of its record in the block in which it was written. Where blocks were
    /// packed since, it has another place, and is looked for.
    pub(crate) slot: u8,
    /// The first bytes of its id, enough to look for duplicates.
    pub(crate) id8: [u8; 8],
}

/// The first bytes of an id, as postings have them.
pub(crate) fn id8(id: &EntryId) -> [u8; 8] {
    *id.0.first_chunk().expect("ids have 32 bytes")
}

impl Posting {
    /// Position of the first record of its block.
    pub(crate) const fn block(&self) -> u64 {
        // A posting that was altered leads to a block that has no such slot.
        self.position.saturating_sub(self.slot as u64)
    }
}

/// Postings, by (seq, position).
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) postings: Vec<Posting>,
    /// The first so many lie in rows of the chunk as they are.
    pub(crate) in_rows: usize,
    /// The same by (first bytes of the id, seq, position), if they are many.
    by_id: Option<BTreeSet<([u8; 8], u64, u64)>>,
}

impl Chunk {
    pub(crate) fn new(postings: Vec<Posting>, in_rows: usize) -> Self {
        let mut chunk = Self { postings, in_rows, by_id: None };
        chunk.note_ids();
        chunk
    }

    /// Bytes that it takes in memory beside itself, about.
    pub(super) fn bytes(&self) -> usize {
        let by_id = self.by_id.as_ref().map_or(0, |by_id| by_id.len() * 48);
        self.postings.capacity() * size_of::<Posting>() + by_id
    }

    fn note_ids(&mut self) {
        if self.postings.len() > CROWDED {
            let key = |posting: &Posting| (posting.id8, posting.seq, posting.position);
            self.by_id = Some(self.postings.iter().map(key).collect());
        }
    }

    /// The postings with this seq and these first bytes of an id: one, or none,
    /// unless somebody took pains.
    pub(crate) fn with_id(&self, seq: u64, id8: [u8; 8]) -> Vec<Posting> {
        let Some(by_id) = &self.by_id else {
            let some = &self.postings[at_seq(&self.postings, seq)];
            return some.iter().filter(|posting| posting.id8 == id8).copied().collect();
        };
        let found = by_id.range((id8, seq, 0)..=(id8, seq, u64::MAX));
        let order = |posting: &Posting| (posting.seq, posting.position);
        let place = |position| self.postings.binary_search_by_key(&(seq, position), order);
        found.filter_map(|(.., position)| place(*position).ok().and_then(|at| self.postings.get(at))).copied().collect()
    }

    /// Whether the posting was not there before.
    pub(crate) fn insert(&mut self, posting: Posting) -> bool {
        let order = |posting: &Posting| (posting.seq, posting.position);
        match self.postings.binary_search_by_key(&order(&posting), order) {
            Ok(_) => false,
            Err(at) => {
                self.postings.insert(at, posting);
                self.in_rows = self.in_rows.min(at);
                match &mut self.by_id {
                    Some(by_id) => drop(by_id.insert((posting.id8, posting.seq, posting.position))),
                    None => self.note_ids(),
                }
                true
            }
        }
    }

    /// Puts the rows that have changed into `batch`.
    pub(crate) fn put(&self, tag: &Tag, chunk: u64, rows: &RowSeal, batch: &mut Batch) {
        let parts = (0..).zip(self.postings.chunks(ROW_POSTINGS));
        for (part, postings) in parts.skip(self.in_rows / ROW_POSTINGS) {
            let key = schema::postings(tag, chunk, part);
            let value = rows.seal(&key, &encode(&postings));
            batch.put(key, value);
        }
    }

    pub(crate) fn load(storage: &dyn Storage, rows: &RowSeal, tag: &Tag, chunk: u64) -> Result<Self> {
        let mut postings: Vec<Posting> = Vec::new();
        let mut is_bounded = true;
        for part in 0.. {
            let key = schema::postings(tag, chunk, part);
            let Some(sealed) = storage.get(&key)? else { break };
            let some: Vec<Posting> = rows.open_value(&key, &sealed)?;
            let is_last = some.len() != ROW_POSTINGS;
            // Rows of before had no bound: they are written anew as a whole.
            is_bounded &= some.len() <= ROW_POSTINGS;
            postings.extend(some);
            if is_last {
                break;
            }
        }
        let in_rows = if is_bounded { postings.len() } else { 0 };
        Ok(Self::new(postings, in_rows))
    }
}

/// Where the postings with this seq are.
pub(crate) fn at_seq(postings: &[Posting], seq: u64) -> Range<usize> {
    let start = postings.partition_point(|posting| posting.seq < seq);
    start..postings.partition_point(|posting| posting.seq <= seq)
}

/// The chunks in which the postings with seqs from `first` to `last` are.
pub(crate) const fn chunks(first: u64, last: u64) -> std::ops::RangeInclusive<u64> {
    first / CHUNK_SEQS..=last / CHUNK_SEQS
}

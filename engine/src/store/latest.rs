//! Which entry of a thing is the latest: erasure records say what became of others and
//! nothing of the thing, so they are passed over.
//!
//! Time grows along every link. So the greatest of all entries is a head; if that is an
//! erasure record, the greatest of the others is another head or one that the record
//! follows, and so on down. Each step reads one record.

use std::collections::BTreeMap;

use thingdb_format::EntryId;

use super::postings::{self, Posting, id8};
use super::schema::Tag;
use super::state::{HeadPosting, State};
use super::{Located, Store};
use crate::error::Result;
use crate::heads::{Rank, Ranked};

impl Store {
    /// The latest entry of a thing. Where it has nothing but erasure records, the
    /// greatest of these.
    pub(crate) fn latest(&self, tag: &Tag, state: &State) -> Result<Option<HeadPosting>> {
        let Some(greatest) = state.heads.latest() else { return Ok(None) };
        if !self.is_erasure(greatest.posting.position)? {
            return Ok(Some(*greatest));
        }
        // One that could not be read then may be known for a record since.
        if let Some(known) = state.passed_to.get()
            && !self.is_erasure(known.posting.position)?
        {
            return Ok(Some(*known));
        }
        let found = self.greatest(tag, state, state.heads.latest_first(None).copied())?;
        if let Some(found) = found {
            // Another thread may have been faster.
            let _known = state.passed_to.set(found);
        }
        Ok(Some(found.unwrap_or(*greatest)))
    }

    /// The greatest entry that is no erasure record, of these and of all that they
    /// follow. They come the greatest first.
    pub(crate) fn greatest(
        &self,
        tag: &Tag,
        state: &State,
        heads: impl Iterator<Item = HeadPosting>,
    ) -> Result<Option<HeadPosting>> {
        let mut heads = heads.peekable();
        let mut followed: BTreeMap<Rank, HeadPosting> = BTreeMap::new();
        loop {
            let below = followed.last_key_value().map(|(rank, _)| *rank);
            let next = match heads.next_if(|head| below.is_none_or(|below| head.rank() > below)) {
                None => followed.pop_last().map(|(_, entry)| entry),
                head => head,
            };
            let Some(entry) = next else { return Ok(None) };
            if !self.is_erasure(entry.posting.position)? {
                return Ok(Some(entry));
            }
            let record = self.located_of(state, &entry.posting)?;
            for prev in &record.header.prev {
                let entry = self.followed(tag, state, &record, prev)?;
                followed.insert(entry.rank(), entry);
            }
        }
    }

    /// Whether nothing but erasure records, one after the other, follows the entry `id`
    /// up to this head: what is known of the thing did not change.
    pub(crate) fn is_as_at(&self, tag: &Tag, state: &State, head: &HeadPosting, id: &EntryId) -> Result<bool> {
        let mut entry = *head;
        while entry.id != id.0 {
            if !self.is_erasure(entry.posting.position)? {
                return Ok(false);
            }
            let record = self.located_of(state, &entry.posting)?;
            let [prev] = &record.header.prev[..] else { return Ok(false) };
            entry = self.followed(tag, state, &record, prev)?;
        }
        Ok(true)
    }

    /// The entry `prev` that another one follows.
    fn followed(&self, tag: &Tag, state: &State, after: &Located, prev: &EntryId) -> Result<HeadPosting> {
        // Of several that one entry follows, only one has to be at the seq before it.
        for chunk in postings::chunks(1, after.header.seq.saturating_sub(1).min(self.size())).rev() {
            for posting in self.chunk(tag, state, chunk)?.iter().filter(|posting| posting.id8 == id8(prev)) {
                let located = self.located_of(state, posting)?;
                if located.id == *prev {
                    return Ok(HeadPosting::of(&located));
                }
            }
        }
        Err(after.damaged(format!("the entry {prev}, which it follows, is missing")))
    }
}

impl HeadPosting {
    pub(super) fn of(located: &Located) -> Self {
        let header = &located.header;
        let posting =
            Posting { seq: header.seq, position: located.position, slot: located.slot, id8: id8(&located.id) };
        Self { id: located.id.0, time: header.time.micros(), posting }
    }
}

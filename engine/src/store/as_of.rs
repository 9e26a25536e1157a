//! A thing as it was at a time: of the entries that count until then, the
//! latest, and how many heads they have.
//!
//! Time grows along every link. So an entry counts only if all that it follows
//! counts, and the one of greatest [rank](crate::heads::Rank) is a head; if it is an
//! erasure record, it is [passed over](super::latest). An
//! entry of one seq follows one of the seq before it: up to some seq each has
//! an entry that counts, and beyond it none has.
//!
//! Where each seq has one entry, the history is a line, and that seq is all
//! there is to find. Where it has forked, only the seqs between a fork and
//! where it was joined are read; between them the one entry of a seq follows
//! the one of the seq before.

use thingdb_format::{ThingId, Time};

use super::postings::{self, Posting};
use super::schema::Tag;
use super::state::{HeadPosting, State};
use super::{Located, Store};
use crate::error::Result;
use crate::heads::{Heads, Ranked};

/// What a thing was.
pub(crate) struct AsOf {
    /// The latest of the entries that count.
    pub(crate) latest: Located,
    /// Those that no other that counts follows.
    pub(crate) heads: usize,
}

/// The thing at `time`; nothing if it was not there yet.
pub(crate) fn as_of(store: &Store, thing: &ThingId, time: Time) -> Result<Option<AsOf>> {
    let tag = store.tag(thing);
    let Some(state) = store.state(&tag)? else { return Ok(None) };
    let view = View { store, tag: &tag, state: &state, time };
    let last = view.last_seq()?;
    if last == 0 {
        return Ok(None);
    }
    if state.entries == state.last_seq() {
        let postings = store.postings_at(&tag, &state, last)?;
        let Some(posting) = postings.first() else { return Ok(None) };
        let head = store.located_of(&state, posting)?;
        let found = store.greatest(&tag, &state, std::iter::once(HeadPosting::of(&head)))?;
        let latest = match found {
            Some(found) if found.posting.position != head.position => store.located_of(&state, &found.posting)?,
            _ => head,
        };
        return Ok(Some(AsOf { latest, heads: 1 }));
    }
    view.forked(last)
}

struct View<'a> {
    store: &'a Store,
    tag: &'a Tag,
    state: &'a State,
    time: Time,
}

impl View<'_> {
    /// The greatest seq of an entry that counts, 0 if none does.
    fn last_seq(&self) -> Result<u64> {
        // Each seq has an entry: an index that was altered must not make this
        // look for more.
        let (mut low, mut high) = (0, self.state.last_seq().min(self.store.size()));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.has(middle)? {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// Whether an entry of this seq counts.
    fn has(&self, seq: u64) -> Result<bool> {
        for posting in self.store.postings_at(self.tag, self.state, seq)?.iter() {
            if self.store.located_of(self.state, posting)?.header.time <= self.time {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes through a history that has forked, up to the seq `last`.
    fn forked(&self, last: u64) -> Result<Option<AsOf>> {
        let mut heads = Heads::default();
        // The one head, where its seq had no other entry; not read yet.
        let mut alone: Option<Posting> = None;
        for number in postings::chunks(1, last) {
            let chunk = self.store.chunk(self.tag, self.state, number)?;
            let levels = chunk.chunk_by(|one, other| one.seq == other.seq);
            for level in levels.take_while(|level| level.first().is_some_and(|posting| posting.seq <= last)) {
                if let ([posting], 0 | 1) = (level, heads.len()) {
                    heads = Heads::default();
                    alone = Some(*posting);
                    continue;
                }
                if let Some(posting) = alone.take() {
                    self.take(&mut heads, &posting)?;
                }
                for posting in level {
                    self.take(&mut heads, posting)?;
                }
            }
        }
        if let Some(posting) = alone {
            self.take(&mut heads, &posting)?;
        }
        let mut ranked: Vec<HeadPosting> = heads.iter().copied().collect();
        ranked.sort_unstable_by_key(|head| std::cmp::Reverse(head.rank()));
        let found = self.store.greatest(self.tag, self.state, ranked.iter().copied())?;
        let latest = found.or_else(|| ranked.first().copied());
        let latest = latest.map(|latest| self.store.located_of(self.state, &latest.posting)).transpose()?;
        Ok(latest.map(|latest| AsOf { latest, heads: heads.len() }))
    }

    /// Takes an entry in, if it counts: it follows some heads and is one.
    fn take(&self, heads: &mut Heads<HeadPosting>, posting: &Posting) -> Result<()> {
        let located = self.store.located_of(self.state, posting)?;
        if located.header.time <= self.time {
            for prev in &located.header.prev {
                heads.remove(prev);
            }
            heads.insert(HeadPosting::of(&located));
        }
        Ok(())
    }
}

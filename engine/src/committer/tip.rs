//! A thing as the commit at hand leaves it.

use std::collections::hash_map;
use std::sync::Arc;

use thingdb_format::EntryId;

use crate::error::Result;
use crate::heads::{Head, Heads, Rank, RankedHeads};
use crate::store::Store;
use crate::store::schema::{Tag, TagMap};
use crate::store::state::{HeadPosting, State};

/// What a thing looks like to the next entry of this commit: as it is in the
/// store, and what this commit changes. It may have very many heads.
#[derive(Clone)]
pub(super) struct Tip {
    pub(super) state: Option<Arc<State>>,
    /// Heads of the store that entries of this commit follow.
    joined: Heads<EntryId>,
    /// Heads that this commit makes.
    made: RankedHeads<Head>,
    /// All heads of the store that are later than this one are joined.
    from: Option<Rank>,
}

impl Tip {
    fn new(state: Option<Arc<State>>) -> Self {
        Self { state, joined: Heads::default(), made: RankedHeads::default(), from: None }
    }

    /// How many heads there are.
    pub(super) fn len(&self) -> usize {
        self.state.as_ref().map_or(0, |state| state.heads.len()) - self.joined.len() + self.made.len()
    }

    /// The latest heads, at most `most` of them. What that costs does not depend
    /// on how many there are.
    pub(super) fn latest(&mut self, most: usize) -> Vec<Head> {
        let Self { state, joined, made, from } = self;
        let stored = state.iter().flat_map(|state| state.heads.latest_first(*from)).map(HeadPosting::head);
        let stored: Vec<Head> = stored.filter(|head| !joined.contains(&head.id)).take(most).collect();
        // A put joins the latest: the next one need not pass over them again.
        *from = stored.first().map(Head::rank).or(*from);
        let mut latest = stored;
        latest.extend(made.latest_first(None).take(most).copied());
        latest.sort_unstable_by_key(|head| std::cmp::Reverse(head.rank()));
        latest.truncate(most);
        latest
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = Head> {
        let stored = self.state.iter().flat_map(|state| state.heads());
        stored.filter(|head| !self.joined.contains(&head.id)).chain(self.made.iter().copied())
    }

    fn is_stored_head(&self, id: &EntryId) -> bool {
        self.state.as_ref().is_some_and(|state| state.heads.contains(id)) && !self.joined.contains(id)
    }

    /// Whether the one head `head` is of the store, and nothing but erasure records stand
    /// between it and the entry `id`.
    pub(super) fn is_as_at(&self, store: &Store, tag: &Tag, head: &EntryId, id: &EntryId) -> Result<bool> {
        let Some(state) = self.state.as_ref().filter(|_| !self.joined.contains(head)) else { return Ok(false) };
        state.heads.get(head).map_or(Ok(false), |head| store.is_as_at(tag, state, head, id))
    }

    /// An entry follows `prev` and is a head itself.
    pub(super) fn push(&mut self, head: Head, prev: &[EntryId]) {
        for id in prev {
            if self.made.remove(id).is_none() && self.is_stored_head(id) {
                self.joined.insert(*id);
            }
        }
        self.made.insert(head);
    }
}

/// A thing as a commit leaves it so far.
pub(super) fn tip_of<'t>(store: &Store, tips: &'t mut TagMap<Tip>, tag: &Tag) -> Result<&'t mut Tip> {
    match tips.entry(*tag) {
        hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
        hash_map::Entry::Vacant(free) => Ok(free.insert(Tip::new(store.state(tag)?))),
    }
}

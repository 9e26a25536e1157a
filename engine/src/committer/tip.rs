//! A thing as the commit at hand leaves it.

use std::collections::hash_map;
use std::sync::Arc;

use thingdb_format::EntryId;

use crate::error::Result;
use crate::heads::Heads;
use crate::index::State;
use crate::record::Head;
use crate::schema::{Tag, TagMap};
use crate::store::Store;

/// What a thing looks like to the next entry of this commit: as it is in the
/// store, and what this commit changes. It may have very many heads.
#[derive(Clone)]
pub(super) struct Tip {
    pub(super) state: Option<Arc<State>>,
    /// Heads of the store that entries of this commit follow.
    joined: Heads<EntryId>,
    /// Heads that this commit makes.
    made: Heads<Head>,
}

impl Tip {
    fn new(state: Option<Arc<State>>) -> Self {
        Self { state, joined: Heads::default(), made: Heads::default() }
    }

    pub(super) fn heads(&self) -> impl Iterator<Item = Head> {
        let stored = self.state.iter().flat_map(|state| state.heads());
        stored.filter(|head| !self.joined.contains(&head.id)).chain(self.made.iter().copied())
    }

    fn is_stored_head(&self, id: &EntryId) -> bool {
        self.state.as_ref().is_some_and(|state| state.heads.contains(id)) && !self.joined.contains(id)
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

//! The map of the heads of all things (`docs/format.md`, "Map of heads"), in rows.
//!
//! A row is a *page*: all things whose keys begin with the same bits, or, where these
//! are too many, the nodes four levels below. So a thing that has changed costs a page
//! on each of some five levels, however many things there are.
//!
//! The map follows from the index, and lags: it is brought to the ledger's end when
//! somebody asks for it. The row [`schema::HEADS_MAP`] says up to where it goes. Without
//! it, or where a page does not open, all is made anew.

mod page;

use std::collections::HashSet;
use std::ops::ControlFlow;

use bincode::{Decode, Encode};
use thingdb_format::heads::{self, Sibling, empty};
use thingdb_format::{EntryId, Hash, ThingId};

use super::schema;
use super::state::State;
use super::{Store, holes, states};
use crate::encoding::encode;
use crate::error::{Error, Result};
use crate::storage::{Batch, Direction};

use page::{Leaf, Page, Place};

/// Entries whose things are brought into the map at once.
const SLICE: u64 = 8192;

/// Entries beyond which the map is made anew, if it has fewer things.
const MOST_BEHIND: u64 = 65_536;

/// Things that are brought into a new map at once: what it takes of memory.
const PASS: u64 = 1 << 20;

/// Bytes of pages that one commit writes.
const COMMIT_BYTES: u64 = 1 << 20;

/// Rows that one commit deletes.
const DELETED_ROWS: usize = 4096;

/// How far the map goes.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(crate) struct Reached {
    /// Entries of the ledger that are in it.
    pub(crate) size: u64,
    /// Root of the ledger at that size.
    ledger: [u8; 32],
    root: [u8; 32],
    /// Whether nothing of what came behind may be in it.
    pub(crate) is_exact: bool,
}

impl Reached {
    /// Root of the map.
    pub(crate) const fn root(&self) -> Hash {
        Hash(self.root)
    }
}

/// How far the map goes, if there is one.
pub(crate) fn reached(store: &Store) -> Result<Option<Reached>> {
    let Some(sealed) = store.storage.get(schema::HEADS_MAP)? else { return Ok(None) };
    store.rows.open_value(schema::HEADS_MAP, &sealed).map(Some)
}

/// What stands at the place of a thing: the way there, and the leaf.
pub(crate) struct Found {
    pub(crate) path: Vec<Sibling>,
    /// Key and value; of another thing if the keys begin alike.
    pub(crate) leaf: Option<(Hash, Hash)>,
}

/// The map, for the one who brings it on.
pub(crate) struct HeadsMap<'s> {
    store: &'s Store,
    /// Pages that are not committed yet.
    batch: Batch,
    fresh: std::collections::HashMap<Vec<u8>, Page>,
}

impl<'s> HeadsMap<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store, batch: Batch::new(), fresh: std::collections::HashMap::new() }
    }

    /// Brings the map to the end of the ledger. The caller sees to it that there is one
    /// at a time; `commit` writes a batch. Unless nobody writes meanwhile (`is_still`),
    /// things may be in it as entries that come behind have left them: whoever brings
    /// these takes the things in anew.
    pub(crate) fn advance(&mut self, is_still: bool, commit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<Reached> {
        let mut reached = self.advance_to(self.store.size(), commit)?;
        if is_still && !reached.is_exact {
            reached.is_exact = true;
            self.reach(reached, commit)?;
        }
        Ok(reached)
    }

    fn advance_to(&mut self, size: u64, commit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<Reached> {
        let known = match reached(self.store) {
            Err(problem) if problem.is_damaged() => None,
            known => known?,
        };
        let advanced = match known {
            Some(known) if self.holds(&known, size)? => self.follow(known, size, commit),
            _ => self.make_anew(size, commit),
        };
        match advanced {
            // A page that does not open, or entries that are lost: their things are in
            // the index.
            Err(problem) if holes::is_of_a_place(&problem) => {
                (self.batch, self.fresh) = Default::default();
                self.make_anew(size, commit)
            }
            advanced => advanced,
        }
    }

    /// Whether the ledger has grown out of what the map is of, and not by so much that
    /// it is cheaper to make it anew.
    fn holds(&self, known: &Reached, size: u64) -> Result<bool> {
        if known.size > size || size - known.size > MOST_BEHIND.max(self.store.index.things()) {
            return Ok(false);
        }
        Ok(self.store.with_tree(|tree| tree.root_at(known.size))?.0 == known.ledger)
    }

    fn follow(&mut self, known: Reached, size: u64, commit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<Reached> {
        let mut known = known;
        while known.size < size {
            let end = size.min(known.size + SLICE);
            let leaves = self.changed(known.size, end)?;
            let root = self.update(0, &leaves, known.root() == empty())?;
            known = self.reach(self.of(end, root)?, commit)?;
        }
        Ok(known)
    }

    /// The things of the entries at these positions, as the index has them now.
    fn changed(&self, start: u64, end: u64) -> Result<Vec<Leaf>> {
        let mut tags = HashSet::new();
        let _ = holes::each_readable(self.store, start, end, |located| {
            tags.insert(self.store.tag(&located.header.thing));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut leaves = Vec::with_capacity(tags.len());
        for tag in tags {
            let state = self.store.state(&tag)?;
            leaves.push(leaf_of(&*state.ok_or_else(|| Error::damaged("the index", "a thing is not in it"))?));
        }
        leaves.sort_unstable();
        Ok(leaves)
    }

    /// Throws the map away and makes it from the states of all things.
    fn make_anew(&mut self, size: u64, commit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<Reached> {
        // From here on a crash makes the next one begin anew.
        let mut batch = Batch::new();
        batch.delete(schema::HEADS_MAP);
        loop {
            let before = batch.bytes();
            for row in self.store.storage.scan(&schema::heads_pages(), Direction::Forward).take(DELETED_ROWS) {
                batch.delete(row?.0);
            }
            let is_last = batch.bytes() == before;
            commit(std::mem::take(&mut batch))?;
            if is_last {
                break;
            }
        }
        let passes = self.store.index.things() / PASS + 1;
        let mut root = empty();
        for pass in 0..passes.min(256) {
            let is_due = |leaf: &Leaf| u64::from(leaf.key.0[0]) * passes.min(256) / 256 == pass;
            let mut leaves = Vec::new();
            states::each(self.store, |_, state| {
                let state = state.map_err(|detail| Error::damaged("the index", detail))?;
                leaves.extend(Some(leaf_of(state)).filter(is_due));
                Ok(())
            })?;
            leaves.sort_unstable();
            // By parts, so that memory holds few fresh pages.
            for some in leaves.chunk_by(|a, b| a.key.0[0] == b.key.0[0]) {
                root = self.update(0, some, root == empty())?;
                self.write(COMMIT_BYTES, commit)?;
            }
        }
        self.reach(self.of(size, root)?, commit)
    }

    /// A map that goes so far, and has this root.
    fn of(&self, size: u64, root: Hash) -> Result<Reached> {
        let ledger = self.store.with_tree(|tree| tree.root_at(size))?;
        Ok(Reached { size, ledger: ledger.0, root: root.0, is_exact: false })
    }

    /// Writes what waits, with how far the map goes then.
    fn reach(&mut self, reached: Reached, commit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<Reached> {
        let sealed = self.store.rows.seal(schema::HEADS_MAP, &encode(&reached));
        self.put_pages();
        self.batch.put(schema::HEADS_MAP, sealed);
        commit(std::mem::take(&mut self.batch))?;
        Ok(reached)
    }

    /// Writes what waits, if it is as much.
    fn write(&mut self, least: u64, commit: &mut dyn FnMut(Batch) -> Result<()>) -> Result<()> {
        if self.fresh.values().map(Page::bytes).sum::<u64>() >= least {
            self.put_pages();
            commit(std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }

    fn put_pages(&mut self) {
        for (row, page) in self.fresh.drain() {
            let sealed = self.store.rows.seal(&row, &page.to_bytes());
            self.batch.put(row, sealed);
        }
    }

    fn page(&self, row: &[u8]) -> Result<Page> {
        if let Some(page) = self.fresh.get(row) {
            return Ok(page.clone());
        }
        let sealed = self.store.storage.get(row)?;
        let sealed = sealed.ok_or_else(|| Error::damaged("the map of heads", "a page is missing"))?;
        let page = Page::from_bytes(&self.store.rows.open(row, &sealed)?);
        page.ok_or_else(|| Error::damaged("the map of heads", "a page has another layout"))
    }

    /// Takes things into the page that begins so many levels of four bits down, and
    /// gives the node there. They are ascending, and there is at least one.
    fn update(&mut self, level: usize, leaves: &[Leaf], is_new: bool) -> Result<Hash> {
        let Some(first) = leaves.first() else { return Ok(empty()) };
        let row = schema::heads_page(level, &first.key);
        let mut page = if is_new { Page::default() } else { self.page(&row)? };
        // Those that the page passes on: with what it held itself, if it is split.
        let split;
        let (below, is_split) = match page.take_in(level, leaves) {
            None => (leaves, false),
            Some(all) => {
                split = all;
                (&split[..], true)
            }
        };
        if let Page::Inner(children) = &mut page {
            for some in below.chunk_by(|a, b| page::nibble(&a.key, level) == page::nibble(&b.key, level)) {
                let at = some.first().map_or(0, |leaf| page::nibble(&leaf.key, level));
                let is_new = is_split || children[at] == empty();
                children[at] = self.update(level + 1, some, is_new)?;
            }
        }
        let node = page.node(level);
        self.fresh.insert(row, page);
        Ok(node)
    }

    /// The way to the place of a thing in the map as it was brought on last.
    pub(crate) fn find(&self, thing: &ThingId) -> Result<Found> {
        let key = heads::key(thing);
        let mut path = Vec::new();
        if reached(self.store)?.is_none_or(|reached| reached.root() == empty()) {
            return Ok(Found { path, leaf: None });
        }
        for level in 0.. {
            let page = self.page(&schema::heads_page(level, &key))?;
            match page.find(level, &key, &mut path) {
                Place::Below => {}
                Place::Leaf(leaf) => return Ok(Found { path, leaf: Some((leaf.key, leaf.value)) }),
                Place::Nothing => break,
            }
        }
        Ok(Found { path, leaf: None })
    }
}

fn leaf_of(state: &State) -> Leaf {
    Leaf { key: heads::key(&state.thing), value: heads::value(&state.thing, state.entries, &heads_of(state)) }
}

/// The heads of a thing, ascending.
pub(crate) fn heads_of(state: &State) -> Vec<EntryId> {
    let mut ids: Vec<EntryId> = state.heads().map(|head| head.id).collect();
    ids.sort_unstable();
    ids
}

/// Root of the map of things of which the heads are given, in any order.
pub(crate) fn root_of(things: impl Iterator<Item = (ThingId, u64, Vec<EntryId>)>) -> Hash {
    let leaf = |(thing, count, mut ids): (ThingId, u64, Vec<EntryId>)| {
        ids.sort_unstable();
        let key = heads::key(&thing);
        (key, heads::leaf(&key, &heads::value(&thing, count, &ids)))
    };
    let mut leaves: Vec<(Hash, Hash)> = things.map(leaf).collect();
    leaves.sort_unstable();
    heads::subtree(&leaves, 0)
}

#[cfg(test)]
mod tests;

//! The ledger's Merkle tree: kept as rows of 128, so that the root of any
//! size, and any proof, is a few row reads away.
//!
//! A row of level 0 holds 128 entry ids in ledger order, one of level n + 1
//! the roots of 128 full rows of level n. A row is written in the commit that
//! fills it, so the rows follow from the size. What does not fill a row yet is
//! kept in memory. (Two rows of ids make a 256-wide tile of C2SP.)

use thingdb_format::merkle::{self, Frontier, Subtrees};
use thingdb_format::{EntryId, Hash};

use super::row_seal::RowSeal;
use super::schema;
use crate::error::{Error, Result};
use crate::storage::{Batch, Storage};

/// Ids or roots in a row.
pub(crate) const WIDTH: u64 = 128;

/// 2^7 = [`WIDTH`].
const WIDTH_HEIGHT: u32 = 7;

/// The growing tree.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    frontier: Frontier,
    /// Per level, what does not fill a row yet.
    open: Vec<Vec<[u8; 32]>>,
}

impl Ledger {
    /// Makes the tree of `size` entries from its full rows and the ids of the
    /// last entries, those that fill no row.
    pub(crate) fn load(storage: &dyn Storage, rows: &RowSeal, size: u64, last_ids: &[EntryId]) -> Result<Self> {
        let mut ledger = Self::default();
        let mut full = size / WIDTH;
        // Full rows of each level, from the top, stand for whole subtrees.
        let mut counts = Vec::new();
        while full > 0 {
            counts.push(full);
            full /= WIDTH;
        }
        let mut open = vec![Vec::new(); counts.len() + 1];
        for (level, count) in counts.iter().enumerate().rev() {
            for index in count - count % WIDTH..*count {
                let root = row_root(&read_row(storage, rows, level as u8, index)?, level as u8);
                ledger.frontier.push_subtree(WIDTH_HEIGHT * (level as u32 + 1), root);
                open[level + 1].push(root.0);
            }
        }
        ledger.open = open;
        for id in last_ids {
            ledger.frontier.push(merkle::leaf(id));
            ledger.open[0].push(id.0);
        }
        if ledger.size() != size {
            return Err(Error::damaged("the ledger's tree", format!("{} of {size} entries", ledger.size())));
        }
        Ok(ledger)
    }

    /// Entries in the ledger.
    pub(crate) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Appends an entry; rows that it fills go into `batch`.
    pub(crate) fn push(&mut self, id: &EntryId, rows: &RowSeal, batch: &mut Batch) {
        self.push_with(id, |level, index, full| {
            let key = schema::tile(level, index);
            let sealed = rows.seal(&key, full.as_flattened());
            batch.put(key, sealed);
        });
    }

    /// Appends an entry; `fill` is given each row that it fills, with its
    /// level and index.
    pub(crate) fn push_with(&mut self, id: &EntryId, mut fill: impl FnMut(u8, u64, &[[u8; 32]])) {
        self.frontier.push(merkle::leaf(id));
        let mut value = id.0;
        let mut index = (self.frontier.size() - 1) / WIDTH;
        for level in 0.. {
            if self.open.len() == level {
                self.open.push(Vec::new());
            }
            let open = &mut self.open[level];
            open.push(value);
            if (open.len() as u64) < WIDTH {
                return;
            }
            let full = std::mem::take(open);
            fill(level as u8, index, &full);
            value = row_root(&full, level as u8).0;
            index /= WIDTH;
        }
    }

    /// A view that can read full rows.
    pub(crate) const fn view<'a>(&'a self, storage: &'a dyn Storage, rows: &'a RowSeal) -> LedgerView<'a> {
        LedgerView { ledger: self, storage, rows }
    }

    /// The ids of the last entries, those that fill no row yet.
    pub(crate) fn last_ids(&self) -> &[[u8; 32]] {
        self.open.first().map_or(&[], Vec::as_slice)
    }
}

/// The tree at one moment, together with its rows.
pub(crate) struct LedgerView<'a> {
    ledger: &'a Ledger,
    storage: &'a dyn Storage,
    rows: &'a RowSeal,
}

impl LedgerView<'_> {
    /// Entries in the ledger.
    pub(crate) const fn size(&self) -> u64 {
        self.ledger.size()
    }

    /// The root that the tree had at an earlier size.
    pub(crate) fn root_at(&self, size: u64) -> Result<Hash> {
        if size == 0 {
            return Ok(merkle::root([]));
        }
        self.subtree(0, size)
    }

    /// The ids of the entries at these positions.
    pub(crate) fn ids(&self, start: u64, end: u64) -> Result<Vec<EntryId>> {
        if end > self.size() {
            return Err(Error::damaged("the ledger's tree", format!("no id at position {}", self.size())));
        }
        let mut ids = Vec::with_capacity(end.saturating_sub(start) as usize);
        let mut at = start;
        while at < end {
            let row = self.row(0, at / WIDTH)?;
            let from = (at % WIDTH) as usize;
            let until = row.len().min(from + (end - at) as usize);
            let some = row.get(from..until).filter(|some| !some.is_empty());
            let some = some.ok_or_else(|| Error::damaged("the ledger's tree", format!("no id at position {at}")))?;
            ids.extend(some.iter().copied().map(EntryId));
            at += some.len() as u64;
        }
        Ok(ids)
    }

    fn row(&self, level: u8, index: u64) -> Result<Vec<[u8; 32]>> {
        let full = self.ledger.size() >> (WIDTH_HEIGHT * (u32::from(level) + 1));
        if index < full {
            return read_row(self.storage, self.rows, level, index);
        }
        Ok(self.ledger.open.get(usize::from(level)).cloned().unwrap_or_default())
    }
}

impl Subtrees for LedgerView<'_> {
    type Error = Error;

    fn subtree(&self, start: u64, end: u64) -> Result<Hash> {
        let size = end - start;
        // A complete subtree that lies in one row of some level.
        if size.is_power_of_two() && start.is_multiple_of(size) {
            let level = size.trailing_zeros() / WIDTH_HEIGHT;
            let width = 1 << (WIDTH_HEIGHT * level);
            let (first, count) = (start / width, size / width);
            let row = self.row(level as u8, first / WIDTH)?;
            let from = (first % WIDTH) as usize;
            if let Some(some) = row.get(from..from + count as usize) {
                return Ok(merkle::root(some.iter().map(|value| node_of(value, level as u8))));
            }
        }
        let middle = start + (size - 1).checked_ilog2().map_or(0, |log| 1 << log);
        if middle == start {
            return Err(Error::damaged("the ledger's tree", format!("no entries at positions {start} to {end}")));
        }
        Ok(merkle::node(&self.subtree(start, middle)?, &self.subtree(middle, end)?))
    }
}

/// What a value of a row stands for in the tree: an id's leaf, or a root.
fn node_of(value: &[u8; 32], level: u8) -> Hash {
    if level == 0 { merkle::leaf(&EntryId(*value)) } else { Hash(*value) }
}

fn row_root(row: &[[u8; 32]], level: u8) -> Hash {
    merkle::root(row.iter().map(|value| node_of(value, level)))
}

/// Reads a full row.
pub(crate) fn read_row(storage: &dyn Storage, rows: &RowSeal, level: u8, index: u64) -> Result<Vec<[u8; 32]>> {
    let key = schema::tile(level, index);
    let what = || format!("tile {index} of level {level} of the ledger's tree");
    let sealed = storage.get(&key)?.ok_or_else(|| Error::damaged(what(), "it is missing"))?;
    open_row(rows, &key, &sealed)
}

/// Opens a full row.
pub(crate) fn open_row(rows: &RowSeal, key: &[u8], sealed: &[u8]) -> Result<Vec<[u8; 32]>> {
    let open = rows.open(key, sealed)?;
    let (values, rest) = open.as_chunks::<32>();
    if values.len() as u64 != WIDTH || !rest.is_empty() {
        return Err(Error::damaged("a tile of the ledger's tree", format!("{} bytes", open.len())));
    }
    Ok(values.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::SealKey;
    use crate::storage::memory::MemoryStorage;

    fn id(n: u64) -> EntryId {
        EntryId(Hash::of(&n.to_be_bytes()).0)
    }

    #[test]
    fn every_size_has_the_root_of_the_definition_after_reload() {
        let storage = MemoryStorage::new();
        let rows = RowSeal::new(SealKey::new(&[7; 32]));
        let mut ledger = Ledger::default();
        let leaves: Vec<Hash> = (0..40_000).map(|n| merkle::leaf(&id(n))).collect();
        for n in 0..40_000_u64 {
            let mut batch = Batch::new();
            ledger.push(&id(n), &rows, &mut batch);
            storage.commit(batch).unwrap();
            let size = n + 1;
            if [1, 127, 128, 129, 16_383, 16_384, 16_385, 20_000, 32_768, 40_000].contains(&size) {
                let root = merkle::root(leaves[..size as usize].iter().copied());
                assert_eq!(ledger.root(), root);
                let last: Vec<EntryId> = (size - size % WIDTH..size).map(id).collect();
                let loaded = Ledger::load(&storage, &rows, size, &last).unwrap();
                assert_eq!(loaded.root(), root);
                assert_eq!(loaded.open[0], ledger.open[0]);
                let view = ledger.view(&storage, &rows);
                for old in [0, 1, 2, 100, 128, 130, 5000, 16_384, 16_500, size] {
                    if old <= size {
                        let expected = merkle::root(leaves[..old as usize].iter().copied());
                        assert_eq!(view.root_at(old).unwrap(), expected, "{old} of {size}");
                        let proof = merkle::consistency_proof(&view, old, size).unwrap();
                        merkle::verify_consistency(old, size, &proof, &expected, &root).unwrap();
                    }
                }
                for index in [0, 1, 126, size / 2, size - 1] {
                    if index < size {
                        let path = merkle::inclusion_proof(&view, index, size).unwrap();
                        merkle::verify_inclusion(&leaves[index as usize], index, size, &path, &root).unwrap();
                    }
                }
                assert_eq!(view.ids(size / 3, size).unwrap(), (size / 3..size).map(id).collect::<Vec<_>>());
            }
        }
    }
}

//! Which entries are here, and where: what two nodes compare to find what the
//! other lacks.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use thingdb_format::{EntryId, key_record};

use super::Db;
use crate::error::Result;
use crate::store::things::ThingQuery;

/// The first half of an entry id: enough to say whether an entry is here. Who
/// could make two ids that share it has made two entries, and keeps one of
/// them from those who ask this way.
pub type ShortId = [u8; 16];

/// Which entries are here.
impl Db {
    /// The ids of the entries at these ledger positions, as far as there are
    /// any.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn ids(&self, positions: Range<u64>) -> Result<Vec<EntryId>> {
        let end = positions.end.min(self.node.store.size());
        self.node.store.with_tree(|tree| tree.ids(positions.start.min(end), end))
    }

    /// The ledger positions within `range` of the entries of things whose id
    /// begins with `prefix`, and of all key logs, ascending.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn positions(&self, prefix: &str, range: Range<u64>) -> Result<Vec<u64>> {
        let mut positions = Vec::new();
        let things = self.things_from(&ThingQuery::new().prefix(prefix))?;
        // Key logs go along with whatever is exchanged.
        let logs = self.things_from(&ThingQuery::new().prefix(key_record::THINGS))?;
        for info in things.chain(logs) {
            let tag = self.node.store.tag(&info?.thing);
            let Some(state) = self.node.store.state(&tag)? else { continue };
            for chunk in crate::store::postings::chunks(1, state.last_seq().min(self.node.store.size())) {
                let postings = self.node.store.chunk(&tag, &state, chunk)?;
                positions.extend(postings.iter().map(|posting| posting.position).filter(|at| range.contains(at)));
            }
        }
        positions.sort_unstable();
        positions.dedup();
        Ok(positions)
    }

    /// Which of these entries, of things whose id begins with `prefix`, are
    /// here, in their order. Goes through the ids of the ledger once (32 bytes
    /// an entry).
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn have(&self, ids: &[ShortId], prefix: &str) -> Result<Vec<bool>> {
        let mut found = self.positions_of(ids)?;
        if !prefix.is_empty() {
            let mut outside = Vec::new();
            for (id, position) in &found {
                if !self.is_of(*position, prefix)? {
                    outside.push(*id);
                }
            }
            for id in &outside {
                found.remove(id);
            }
        }
        Ok(ids.iter().map(|id| found.contains_key(id)).collect())
    }

    /// Where these entries are, in ledger order; those that are not here are
    /// left out.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn locate(&self, ids: &[ShortId]) -> Result<Vec<u64>> {
        let mut positions: Vec<u64> = self.positions_of(ids)?.into_values().collect();
        positions.sort_unstable();
        Ok(positions)
    }

    /// Where each of these entries is; those that are not here are left out.
    /// Goes through the ids of the ledger once (32 bytes an entry).
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn positions_of(&self, ids: &[ShortId]) -> Result<HashMap<ShortId, u64>> {
        let wanted: HashSet<&ShortId> = ids.iter().collect();
        let mut found = HashMap::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        self.node.store.scan_ids(|position, id| {
            let short = short_id(&EntryId(id));
            if wanted.contains(&short) {
                found.insert(short, position);
            }
            found.len() < wanted.len()
        })?;
        Ok(found)
    }
}

/// The first half of an id.
#[must_use]
pub fn short_id(id: &EntryId) -> ShortId {
    *id.0.first_chunk().expect("16 is less than 32")
}

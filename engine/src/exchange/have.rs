//! What nodes ask each other before they send: how far a ledger goes, which
//! entries are not here, and whether the ledger only grew.

use std::collections::HashMap;

use thingdb_format::{EntryId, Hash, merkle};

use crate::db::Db;
use crate::error::Result;

impl Db {
    /// How many entries the ledger has: the position of the next one.
    #[must_use]
    pub fn ledger_size(&self) -> u64 {
        self.store.size()
    }

    /// Those of `ids` that name no entry here of a thing whose id begins with
    /// `prefix`, in their order. Takes time in proportion to the ledger (32
    /// bytes an entry are read), however many ids there are.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn missing(&self, ids: &[EntryId], prefix: &str) -> Result<Vec<EntryId>> {
        let mut here: HashMap<EntryId, Option<u64>> = ids.iter().map(|id| (*id, None)).collect();
        let mut left = here.len();
        self.scan_ids(|position, id| {
            if let Some(found @ None) = here.get_mut(&EntryId(id)) {
                *found = Some(position);
                left -= 1;
            }
            left > 0
        })?;
        if !prefix.is_empty() {
            for found in here.values_mut() {
                let Some(position) = *found else { continue };
                if !self.store.located_at(position)?.header.thing.as_str().starts_with(prefix) {
                    *found = None;
                }
            }
        }
        Ok(ids.iter().filter(|id| here.get(id).is_some_and(Option::is_none)).copied().collect())
    }

    /// The proof that the ledger of `new_size` entries grew out of the one of
    /// `old_size` (RFC 9162, section 2.1.4); empty if that one is empty or not
    /// older, or if the ledger has fewer than `new_size` entries.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn consistency_proof(&self, old_size: u64, new_size: u64) -> Result<Vec<Hash>> {
        if new_size > self.store.size() {
            return Ok(Vec::new());
        }
        self.store.with_tree(|tree| merkle::consistency_proof(tree, old_size, new_size))
    }
}

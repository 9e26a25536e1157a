//! Entries by id and position alone, without their thing.

use thingdb_format::key_record;

use super::Store;
use super::ledger::{self, WIDTH};
use super::schema;
use crate::error::{Error, Result};
use crate::storage::Direction;

impl Store {
    /// Goes through all ids in ledger order for as long as `act` says.
    pub(crate) fn scan_ids(&self, mut act: impl FnMut(u64, [u8; 32]) -> bool) -> Result<()> {
        let tree = self.tree();
        let full = tree.size() / WIDTH;
        for (index, row) in (0..full).zip(self.storage.scan(&schema::tiles(0), Direction::Forward)) {
            let (key, sealed) = row?;
            if key != schema::tile(0, index) {
                return Err(Error::damaged("the ledger's tree", format!("tile {index} is missing")));
            }
            for (position, id) in (index * WIDTH..).zip(ledger::open_row(&self.rows, &key, &sealed)?) {
                if !act(position, id) {
                    return Ok(());
                }
            }
        }
        for (position, id) in (full * WIDTH..).zip(tree.last_ids()) {
            if !act(position, *id) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the entry at a position is of a thing whose id begins with
    /// `prefix`.
    pub(crate) fn is_of(&self, position: u64, prefix: &str) -> Result<bool> {
        Ok(key_record::is_within(&self.located_at(position)?.header.thing, prefix))
    }
}

//! Holds: things of which nothing is erased here until they are released.
//!
//! ```text
//! F ‖ tag 16   the thing, why, and since when
//! ```

use std::sync::RwLock;

use bincode::{Decode, Encode};

use super::Store;
use super::row_seal::RowSeal;
use super::schema::{self, Tag, TagMap};
use crate::encoding;
use crate::error::Result;
use crate::storage::{Batch, Direction, Storage};

/// The holds, by the tags of their things.
pub(crate) struct Holds(RwLock<TagMap<HoldRow>>);

/// A hold as it is kept.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct HoldRow {
    pub(crate) thing: String,
    pub(crate) reason: String,
    pub(crate) since: u64,
}

impl Holds {
    pub(super) fn load(storage: &dyn Storage, rows: &RowSeal) -> Result<Self> {
        let mut holds = TagMap::default();
        for row in storage.scan(&schema::holds(), Direction::Forward) {
            let (key, sealed) = row?;
            if let Some(tag) = schema::tag_of_state(&key) {
                holds.insert(tag, rows.open_value(&key, &sealed)?);
            }
        }
        Ok(Self(RwLock::new(holds)))
    }
}

impl Store {
    /// The hold on a thing.
    pub(crate) fn hold_of(&self, tag: &Tag) -> Option<HoldRow> {
        self.holds.0.read().expect("no thread panics while it holds this").get(tag).cloned()
    }

    /// All holds, by their things.
    pub(crate) fn all_holds(&self) -> Vec<HoldRow> {
        let mut all: Vec<HoldRow> =
            self.holds.0.read().expect("no thread panics while it holds this").values().cloned().collect();
        all.sort_by(|a, b| a.thing.cmp(&b.thing));
        all
    }

    /// Puts a hold, or that there is none, into the batch.
    pub(crate) fn put_hold(&self, tag: &Tag, hold: Option<&HoldRow>, batch: &mut Batch) {
        let row = schema::hold(tag);
        match hold {
            Some(hold) => {
                let sealed = self.rows.seal(&row, &encoding::encode(hold));
                batch.put(row, sealed);
            }
            None => {
                batch.delete(row);
            }
        }
    }

    /// Such a row is in.
    pub(crate) fn note_hold(&self, tag: Tag, hold: Option<HoldRow>) {
        let mut holds = self.holds.0.write().expect("no thread panics while it holds this");
        match hold {
            Some(hold) => drop(holds.insert(tag, hold)),
            None => drop(holds.remove(&tag)),
        }
    }
}

//! What was completed after it came.

use std::sync::atomic::Ordering;

use thingdb_format::Origin;

use super::Db;
use crate::error::Result;
use crate::store::changes::{self, Changes};

/// What was completed.
impl Db {
    /// The newest revision: it grows whenever an entry that is here is
    /// completed, by [`Db::share`] or by an import.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.node.store.revision.load(Ordering::Acquire)
    }

    /// The entries that were completed after revision `since`, of things whose
    /// id begins with `prefix`, at most `most`, except those whose completion
    /// came from the node `not_from` alone.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn changes(&self, since: u64, prefix: &str, not_from: Option<Origin>, most: usize) -> Result<Changes> {
        changes::after(&self.node.store, since, prefix, not_from, most)
    }

    /// Whether the entry at a position is of a thing whose id begins with
    /// `prefix`.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn is_of(&self, position: u64, prefix: &str) -> Result<bool> {
        self.node.store.is_of(position, prefix)
    }
}

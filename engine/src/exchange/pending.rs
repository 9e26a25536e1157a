//! Entries whose prev has not come yet.
//!
//! They wait, in bounded number and size, and go on when the prev comes.

use std::collections::HashMap;

use thingdb_format::EntryId;

use crate::exchange::import::Candidate;

/// Entries that may wait.
const MAX_ENTRIES: usize = 100_000;

/// Bytes of payload that may wait.
const MAX_BYTES: usize = 64 << 20;

/// Entries by the prev for which they wait.
#[derive(Default)]
pub(super) struct Pending {
    waiting: HashMap<EntryId, Vec<Candidate>>,
    entries: usize,
    bytes: usize,
}

impl Pending {
    /// Lets an entry wait; gives it back if too many do.
    pub(super) fn wait(&mut self, prev: EntryId, candidate: Candidate) -> Result<(), Box<Candidate>> {
        let bytes = candidate.bytes();
        if self.entries >= MAX_ENTRIES || self.bytes.saturating_add(bytes) > MAX_BYTES {
            return Err(Box::new(candidate));
        }
        self.entries += 1;
        self.bytes += bytes;
        self.waiting.entry(prev).or_default().push(candidate);
        Ok(())
    }

    /// The entries that waited for `prev`, which is here now.
    pub(super) fn release(&mut self, prev: &EntryId) -> Vec<Candidate> {
        if self.entries == 0 {
            return Vec::new();
        }
        let released = self.waiting.remove(prev).unwrap_or_default();
        self.entries -= released.len();
        self.bytes -= released.iter().map(Candidate::bytes).sum::<usize>();
        released
    }

    /// How many wait.
    pub(super) const fn len(&self) -> usize {
        self.entries
    }
}

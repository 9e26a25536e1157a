//! Entries that one side refused.

use std::ops::Range;

use thingdb::{Places, RefusalKind, Refused};

use crate::sync::wire::Kinds;

/// Entries that one side refused, and what they are worth another try for.
#[derive(Default)]
pub(super) struct Refusals {
    /// Stands for whom that side trusts now.
    pub(super) trust: [u8; 8],
    /// All that are known.
    pub(super) kept: Refused,
}

impl Refusals {
    /// Takes out those that are worth another try now, and says how many are
    /// not.
    pub(super) fn take_due(&mut self, now: u64) -> (Places, Kinds) {
        let due = self.kept.take_due(self.trust, now);
        let Refused { permanent, of_trust, passing, .. } = &self.kept;
        let still =
            Kinds { permanent: permanent.entries(), trust: of_trust.entries(), version: 0, passing: passing.entries() };
        (due, still)
    }

    /// When some that pass are worth another try.
    pub(super) fn again(&self) -> Option<u64> {
        (self.kept.passing.entries() > 0).then_some(self.kept.again)
    }

    /// So many entries within these positions were refused.
    pub(super) fn note(&mut self, positions: Range<u64>, entries: u64, kind: RefusalKind, again: u64) {
        self.kept.note(positions, entries, kind, again, self.trust);
    }
}

//! What one side of an exchange refused: where it stands in the ledger of the
//! other, and when it is worth another try.

use std::ops::Range;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::access::key_logs::KeyLogs;
use crate::entry::refusal::RefusalKind;
use crate::keyring::Keyring;

/// Ranges that are kept. More are joined where they lie closest.
const MAX_RANGES: usize = 16;

/// Where some entries stand in a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Places {
    /// Start and end of ranges that hold them all, ascending, not touching.
    ranges: Vec<(u64, u64)>,
    entries: u64,
}

impl Places {
    /// How many entries they are.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// Ranges of positions that hold them all, ascending: they may hold others,
    /// too.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// Whether a range holds this position.
    #[must_use]
    pub fn contains(&self, position: u64) -> bool {
        self.ranges().any(|range| range.contains(&position))
    }

    /// Adds so many entries that stand within a range. An entry alone whose
    /// position is held already is not counted again.
    pub fn add(&mut self, positions: Range<u64>, entries: u64) {
        if positions.is_empty() || positions.end - positions.start == 1 && self.contains(positions.start) {
            return;
        }
        self.entries = self.entries.saturating_add(entries);
        self.ranges.push((positions.start, positions.end));
        self.ranges.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.ranges.len());
        for (start, end) in self.ranges.drain(..) {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        while joined.len() > MAX_RANGES {
            let gap = |at: &usize| match joined.get(*at..*at + 2) {
                Some([before, after]) => after.0 - before.1,
                _ => u64::MAX,
            };
            let closest = (0..joined.len() - 1).min_by_key(gap).unwrap_or(0);
            let (_, end) = joined.remove(closest + 1);
            if let Some(range) = joined.get_mut(closest) {
                range.1 = end;
            }
        }
        self.ranges = joined;
    }

    /// Adds all of these.
    pub fn join(&mut self, other: &Self) {
        let before = self.entries;
        for range in other.ranges() {
            self.add(range, 0);
        }
        self.entries = before.saturating_add(other.entries);
    }
}

/// Entries of a ledger that the other side of an exchange refused, by what would
/// have to change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// Nothing would help: they are not offered again.
    pub permanent: Places,
    /// Worth another try when the side that refused them trusts others, or has a
    /// newer version.
    pub of_trust: Places,
    /// Whom it trusted then, as [`Db::trust_digest`](crate::Db::trust_digest)
    /// says it.
    pub trust: [u8; 8],
    /// Worth another try when some time has passed.
    pub passing: Places,
    /// The earliest of these times, in microseconds since 1970.
    pub again: u64,
}

impl Refused {
    /// How many they are.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        let some = self.permanent.entries().saturating_add(self.of_trust.entries());
        some.saturating_add(self.passing.entries())
    }

    /// Notes entries that stand within a range. `again` is when what passes is
    /// worth another try, in microseconds since 1970; `trust` whom the side that
    /// refused them trusts.
    pub fn note(&mut self, positions: Range<u64>, entries: u64, kind: RefusalKind, again: u64, trust: [u8; 8]) {
        match kind {
            RefusalKind::Permanent => self.permanent.add(positions, entries),
            RefusalKind::Trust | RefusalKind::Version => {
                self.trust = trust;
                self.of_trust.add(positions, entries);
            }
            RefusalKind::Passing => {
                self.again = if self.passing.entries() == 0 { again } else { self.again.min(again) };
                self.passing.add(positions, entries);
            }
        }
    }

    /// Takes out what is worth another try now, for a side that trusts these.
    pub fn take_due(&mut self, trust: [u8; 8], now: u64) -> Places {
        let mut due = Places::default();
        if self.trust != trust {
            due.join(&std::mem::take(&mut self.of_trust));
        }
        if self.again <= now {
            due.join(&std::mem::take(&mut self.passing));
        }
        due
    }
}

/// Stands for all actors and nodes whose entries are accepted here, and for the
/// version of this program.
pub(crate) fn trust_digest(keyring: &Keyring, logs: &KeyLogs) -> [u8; 8] {
    let mut hasher = Sha256::new_with_prefix(b"thingdb trust\0");
    hasher.update(concat!(env!("CARGO_PKG_VERSION"), "\0"));
    for actor in keyring.trust().actors().filter(|known| known.withdrawn.is_none()) {
        hasher.update(actor.key.0);
    }
    // Whoever took the place of one of these is accepted, too.
    for key in logs.keys() {
        hasher.update(key.0);
    }
    for node in keyring.trust().origins().filter(|known| known.withdrawn.is_none()) {
        hasher.update(node.key.origin().0);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    *digest.first_chunk().expect("8 is less than 32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_hold_what_was_added_in_few_ranges() {
        let mut places = Places::default();
        for position in (0..200).map(|n| n * n) {
            places.add(position..position + 1, 1);
            places.add(position..position + 1, 1);
        }
        assert_eq!(places.entries(), 200);
        assert_eq!(places.ranges().count(), MAX_RANGES);
        assert!((0..200).all(|n| places.contains(n * n)));
        assert!(places.ranges().zip(places.ranges().skip(1)).all(|(one, next)| one.end < next.start));
        // Those that lie closest were joined.
        assert!(!places.contains(198 * 198 + 1) && places.contains(2));
        let mut few = Places::default();
        [5..6, 6..7, 9..12, 3..4].into_iter().for_each(|range| few.add(range.clone(), range.end - range.start));
        assert_eq!(few.ranges().collect::<Vec<_>>(), [3..4, 5..7, 9..12]);
        assert_eq!(few.entries(), 6);
    }

    #[test]
    fn what_is_refused_is_due_by_its_kind() {
        let mut refused = Refused::default();
        let kinds = [RefusalKind::Permanent, RefusalKind::Trust, RefusalKind::Version, RefusalKind::Passing];
        for (position, kind) in (0..).step_by(10).zip(kinds) {
            refused.note(position..position + 1, 1, kind, 1000, [1; 8]);
        }
        refused.note(50..51, 1, RefusalKind::Passing, 900, [1; 8]);
        assert_eq!(refused.entries(), 5);
        let due =
            |trust, now| refused.clone().take_due(trust, now).ranges().map(|range| range.start).collect::<Vec<_>>();
        assert!(due([1; 8], 899).is_empty());
        assert_eq!(due([1; 8], 900), [30, 50]);
        assert_eq!(due([2; 8], 899), [10, 20]);
        assert_eq!(due([2; 8], 900), [10, 20, 30, 50], "and never what stays as it is");
    }
}

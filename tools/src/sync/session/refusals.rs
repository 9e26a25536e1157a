//! Entries that one side refused.

use thingdb::Refused;

/// Entries that one side refused, to be tried again when it trusts others.
#[derive(Default)]
pub(super) struct Refusals {
    /// Stands for whom it trusted when the exchange began.
    pub(super) trust: [u8; 8],
    /// Those that are to be tried again.
    pub(super) kept: Option<Refused>,
    /// What goes now went before and was completed since: what of it is refused
    /// was counted then.
    pub(super) completes: bool,
}

impl Refusals {
    /// Takes over what was kept. The position to go back to, if entries go this
    /// way now and whoever refused them trusts others than then.
    pub(super) fn resume(&mut self, kept: Option<Refused>, goes: bool) -> Option<u64> {
        self.kept = kept;
        let trust = self.trust;
        self.kept.take_if(|refused| goes && refused.trust != trust).map(|refused| refused.since)
    }

    /// How many were refused before and do not go this time.
    pub(super) fn entries(&self) -> u64 {
        self.kept.map_or(0, |refused| refused.entries)
    }

    /// So many entries from this position on were refused.
    pub(super) fn note(&mut self, position: u64, entries: u64) {
        let trust = self.trust;
        self.kept = Some(match self.kept {
            None => Refused { since: position, entries, trust },
            Some(kept) => {
                let more = if self.completes { 0 } else { entries };
                Refused { since: kept.since.min(position), entries: kept.entries.saturating_add(more), trust }
            }
        });
    }
}

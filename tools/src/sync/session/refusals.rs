//! Entries that one side refused.

use thingdb::Refused;

/// Entries that one side refused, to be tried again when it trusts others.
#[derive(Default)]
pub(super) struct Refusals {
    /// Stands for whom it trusted when the exchange began.
    pub(super) trust: [u8; 8],
    /// Those that are to be tried again.
    pub(super) kept: Option<Refused>,
}

impl Refusals {
    /// Takes over what was kept. The position to go back to, if entries go this
    /// way now and whoever refused them trusts others than then.
    pub(super) fn resume(&mut self, kept: Option<Refused>, goes: bool) -> Option<u64> {
        self.kept = kept;
        let trust = self.trust;
        self.kept.take_if(|refused| goes && refused.trust != trust).map(|refused| refused.since)
    }

    /// Entries from this position on were refused.
    pub(super) fn note(&mut self, position: u64) {
        let since = self.kept.map_or(position, |refused| refused.since.min(position));
        self.kept = Some(Refused { since, trust: self.trust });
    }
}

//! How the peer's ledger grows while entries are sent to it.

/// The peer's ledger during a push.
pub(super) struct Growth {
    /// Entries when the exchange began.
    before: u64,
    /// Entries when the peer told last.
    told: u64,
    /// Entries that were not there and are there now because of this push, each
    /// counted once.
    brought: u64,
    /// Whether that is all that is known to have come: what waited there and
    /// went on came from somebody else.
    is_exact: bool,
    /// Whether something arrived since the peer told.
    is_stale: bool,
}

impl Growth {
    pub(super) const fn from(size: u64) -> Self {
        Self { before: size, told: size, brought: 0, is_exact: true, is_stale: false }
    }

    /// So many entries of a window are there now that were not. `is_all` if
    /// nothing else can have become of the others.
    pub(super) const fn brought(&mut self, entries: u64, is_all: bool) {
        self.brought = self.brought.saturating_add(entries);
        self.is_exact &= is_all;
    }

    /// The peer told how large its ledger is.
    pub(super) const fn told(&mut self, size: u64) {
        self.told = size;
        self.is_stale = false;
    }

    /// Something went, and the peer has not told since.
    pub(super) const fn is_in_doubt(&mut self) {
        self.is_stale = true;
    }

    /// Whether the peer has to be asked for its size.
    pub(super) const fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Entries when the peer told last.
    pub(super) const fn size(&self) -> u64 {
        self.told
    }

    /// Entries up to which this node knows all: to the end if nobody but this
    /// push wrote, else up to where the ledger was before.
    pub(super) fn known(&self) -> u64 {
        let is_ours = self.is_exact && !self.is_stale && self.told.checked_sub(self.before) == Some(self.brought);
        if is_ours { self.told } else { self.before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_otherwise_is_not_known() {
        let grown = |brought, is_all, told| {
            let mut growth = Growth::from(10);
            growth.brought(brought, is_all);
            growth.told(told);
            growth.known()
        };
        assert_eq!(grown(5, true, 15), 15);
        // Another wrote, what waited went on, or the peer says what cannot be.
        for (brought, is_all, told) in [(5, true, 16), (5, false, 15), (5, true, 14), (5, true, 9)] {
            assert_eq!(grown(brought, is_all, told), 10, "{brought} {is_all} {told}");
        }
        let mut growth = Growth::from(10);
        growth.is_in_doubt();
        growth.brought(5, true);
        assert_eq!((growth.known(), growth.is_stale()), (10, true));
        growth.told(15);
        assert_eq!((growth.known(), growth.size()), (15, 15));
    }
}

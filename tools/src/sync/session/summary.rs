//! What an exchange did.

use std::collections::BTreeSet;
use std::time::Duration;

use thingdb::{EntryId, RefusalKind, ShortId, Time};

use crate::sync::clock::now;
use crate::sync::hearsay::Contradicted;
use crate::sync::wire::{Kinds, MAX_REASONS, Tally};

/// What became of entries that went one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    /// Those that went.
    pub(crate) tally: Tally,
    /// Entries that were refused before and did not go this time: what would
    /// have to change has not changed.
    pub(crate) still: Kinds,
    /// When an entry that is refused for a time is worth another try, in
    /// microseconds since 1970.
    pub(crate) again: Option<u64>,
    /// With a dry run: entries that would go.
    pub(crate) planned: u64,
    /// With a dry run: about how many bytes they would take.
    pub(crate) planned_bytes: u64,
}

/// Entries that wait here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiting {
    /// How many.
    pub(crate) entries: u64,
    /// For which.
    pub(crate) waits_for: BTreeSet<EntryId>,
}

/// What entries at the peer wait for, by first halves of ids: at most
/// [`MAX_WANTED`](crate::sync::wire::MAX_WANTED).
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitingThere {
    /// Entries that this node has, and that went in vain.
    pub(crate) not_taken: BTreeSet<ShortId>,
    /// Entries that neither side has.
    pub(crate) nowhere: BTreeSet<ShortId>,
}

impl WaitingThere {
    /// How many entries are waited for.
    pub(crate) fn missing(&self) -> u64 {
        (self.not_taken.len() + self.nowhere.len()) as u64
    }

    /// All that is waited for.
    pub(crate) fn waits_for(&self) -> impl Iterator<Item = &ShortId> {
        self.not_taken.iter().chain(&self.nowhere)
    }
}

/// What an exchange did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Entries that came.
    pub(crate) pulled: Count,
    /// Entries that went.
    pub(crate) pushed: Count,
    /// Entries that wait here for others, when entries were fetched.
    pub(crate) waiting: Waiting,
    /// What entries wait for at the peer, when entries were sent.
    pub(crate) waiting_there: WaitingThere,
    /// Entries that went and that no envelope lets the peer read.
    pub(crate) unreadable: u64,
    /// The prefix of all things that were exchanged: the one that was asked for,
    /// or the one that the token is for.
    pub(crate) things: String,
    /// Whether the peer knows this node by its token, and so remembers how its
    /// ledger stands.
    pub(crate) is_known: bool,
    /// The size of this ledger and its newest revision, up to which everything
    /// was offered to the peer.
    pub(crate) offered: Option<(u64, u64)>,
    /// Entries in the peer's ledger, when it told last.
    pub(crate) peer_entries: u64,
    /// The size of the peer's ledger up to which this node knows what is in it.
    pub(crate) peer_size: u64,
    /// The newest revision in the peer's log of completions.
    pub(crate) peer_revision: u64,
    /// Receipts for erasures that came and are new here.
    pub(crate) receipts: u64,
    /// Third nodes of which it came out that they showed the peer another ledger.
    pub(crate) contradicted: Contradicted,
}

impl Summary {
    /// How long it takes until an entry that is refused for a time is worth
    /// another try.
    pub(crate) fn until_again(&self) -> Option<Duration> {
        let times = [&self.pulled, &self.pushed].map(Count::again_at);
        let next = times.into_iter().flatten().map(Time::micros).min()?;
        Some(Duration::from_micros(next.saturating_sub(now())))
    }
}

impl Count {
    /// Whether anything went.
    pub(crate) const fn is_something(&self) -> bool {
        self.tally.added + self.tally.completed + self.tally.refused > 0
    }

    /// Entries that are refused, now or before.
    pub(crate) const fn refused(&self) -> u64 {
        self.tally.refused.saturating_add(self.still_refused())
    }

    /// Entries that were refused before and did not go this time.
    pub(crate) const fn still_refused(&self) -> u64 {
        let Kinds { permanent, trust, version, passing } = self.still;
        permanent.saturating_add(trust).saturating_add(version).saturating_add(passing)
    }

    /// When an entry that is refused for a time is worth another try, if that is
    /// known and not past.
    pub(crate) fn again_at(&self) -> Option<Time> {
        self.again.filter(|micros| *micros > now()).and_then(|micros| Time::from_micros(micros).ok())
    }

    /// Adds what became of some more.
    pub(super) fn take(&mut self, mut more: Tally) {
        let tally = &mut self.tally;
        tally.added += more.added;
        tally.known += more.known;
        tally.completed += more.completed;
        // How many wait is told anew each time.
        tally.pending = more.pending;
        tally.refused += more.refused;
        for kind in [RefusalKind::Permanent, RefusalKind::Trust, RefusalKind::Version, RefusalKind::Passing] {
            *tally.kinds.of(kind) += *more.kinds.of(kind);
        }
        tally.envelopes_dropped += more.envelopes_dropped;
        let room = MAX_REASONS.saturating_sub(tally.reasons.len());
        tally.reasons.extend(more.reasons.into_iter().take(room));
    }
}

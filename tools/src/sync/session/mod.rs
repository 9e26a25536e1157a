//! An exchange with one peer: what to fetch, what to send, and from where to
//! go on the next time.
//!
//! Ledgers only grow, so the exchange keeps positions: everything below them is
//! done. What lies above is compared by the first halves of ids, and what the
//! other side lacks goes in windows of a few seconds each. A broken line costs
//! what was under way in the window and had not come whole.
//!
//! ```text
//! greeting  how both ledgers stand
//! pull      what is not here
//! push      what is not there
//! ```

mod greeting;
mod growth;
mod pull;
mod push;
mod refusals;
mod summary;
mod waiting;
mod window;

use std::ops::Range;

use thingdb::{Cursors, Db, Origin, Peer};

use super::fault::Outcome;
use super::remote::Remote;
use super::wire::MAX_RANGES;
use greeting::Greeting;
use push::There;
use refusals::Refusals;
use window::Window;

pub(crate) use summary::{Count, Summary};
pub(crate) use waiting::{Waiting, WaitingThere, wanted};

/// What an exchange is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Fetch what the peer has.
    pub(crate) pull: bool,
    /// Send what the peer lacks.
    pub(crate) push: bool,
    /// Do not trust what was noted: exchange everything again.
    pub(crate) all: bool,
    /// Only tell what would be done.
    pub(crate) dry_run: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tick {
    /// Entries that are done.
    pub(crate) done: u64,
    /// Entries that there are.
    pub(crate) total: u64,
    /// Bytes on the wire.
    pub(crate) bytes: u64,
}

/// An exchange with one peer.
pub(crate) struct Session<'a> {
    db: &'a Db,
    peer: &'a Peer,
    origin: Origin,
    prefix: String,
    plan: Plan,
    remote: Remote,
    tick: &'a mut dyn FnMut(Tick),
    window: Window,
    summary: Summary,
    refused_here: Refusals,
    refused_there: Refusals,
}

impl<'a> Session<'a> {
    /// Prepares an exchange of the things that begin with `prefix`.
    pub(crate) fn new(
        db: &'a Db,
        peer: &'a Peer,
        prefix: &str,
        plan: Plan,
        remote: Remote,
        tick: &'a mut dyn FnMut(Tick),
    ) -> Self {
        let summary = Summary::default();
        let prefix = prefix.to_owned();
        let (refused_here, refused_there) = (Refusals::default(), Refusals::default());
        let (origin, window) = (peer.origin(), Window::new());
        Self { db, peer, origin, prefix, plan, remote, tick, window, summary, refused_here, refused_there }
    }

    /// The server, to be used again.
    pub(crate) fn into_remote(self) -> Remote {
        self.remote
    }

    /// Exchanges once.
    pub(crate) fn run(&mut self) -> Outcome<Summary> {
        self.summary = Summary::default();
        let greeting = self.greet()?;
        let mut cursors = self.db.cursors(&self.origin, &self.prefix)?;
        if self.plan.all {
            cursors = Cursors::default();
        }
        // Positions of a ledger that was forgotten mean nothing.
        if cursors.pulled > greeting.size {
            cursors = Cursors::default();
        }
        // What was dropped had been fetched or offered: it has to be found again.
        let dropped = self.db.dropped_from(&self.origin)?;
        if self.plan.pull && std::mem::replace(&mut cursors.dropped_here, dropped) != dropped {
            cursors.pulled = 0;
        }
        if self.plan.push && std::mem::replace(&mut cursors.dropped_there, greeting.dropped) != greeting.dropped {
            cursors.pushed = 0;
        }
        self.refused_here.kept = std::mem::take(&mut cursors.refused_here);
        self.refused_there.kept = std::mem::take(&mut cursors.refused_there);
        let mut there = if self.plan.all { There::Ignore } else { There::Ask };
        if self.plan.pull {
            self.pull_refused(&greeting, &cursors)?;
            // Read first: others write while the ids are compared.
            let compared = self.db.ledger_size();
            match self.differ(&greeting, &cursors)? {
                Some(difference) => {
                    self.pull_lacking(&greeting, &mut cursors, &difference.lacking_here)?;
                    there = There::AllBut(difference.lacking_there.into_iter().collect(), compared);
                }
                None => {
                    let listed = self.pull(&greeting, &mut cursors)?;
                    if let (Some(listed), false) = (listed, self.plan.all) {
                        there = There::Only(listed);
                    }
                }
            }
        }
        if self.plan.pull && !self.plan.dry_run {
            self.pull_wanted(&greeting)?;
        }
        let mut size = greeting.size;
        self.summary.peer_entries = size;
        if self.plan.push {
            let growth = self.push(&greeting, &mut cursors, &there)?;
            size = growth.known();
            self.summary.peer_entries = growth.size();
        }
        self.summary.peer_size = size;
        self.summary.peer_revision = greeting.revision;
        if !self.plan.dry_run {
            self.settle(&greeting, cursors, size)?;
        }
        if self.plan.pull {
            self.summary.waiting = self.still_waiting()?;
        }
        self.summary.pulled.again = self.refused_here.again();
        self.summary.pushed.again = self.refused_there.again();
        Ok(self.summary.clone())
    }

    /// Notes from where the next exchange goes on.
    fn settle(&self, greeting: &Greeting, mut cursors: Cursors, size: u64) -> Outcome {
        if self.plan.push && cursors.pulled >= greeting.size {
            // Everything that it had was here before anything was sent, and what
            // came to it since came from here.
            cursors.pulled = size.max(greeting.size);
            cursors.seen = cursors.pulled;
        }
        self.note(&cursors)
    }

    fn note(&self, cursors: &Cursors) -> Outcome {
        let (refused_here, refused_there) = (self.refused_here.kept.clone(), self.refused_there.kept.clone());
        let cursors = Cursors { refused_here, refused_there, ..cursors.clone() };
        Ok(self.db.set_cursors(&self.origin, &self.prefix, &cursors)?)
    }
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// As many ranges as a request may have.
fn limited(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.truncate(MAX_RANGES);
    ranges
}

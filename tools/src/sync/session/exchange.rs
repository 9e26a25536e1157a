//! What an exchange works on.

use std::ops::Range;

use thingdb::{Cursors, Db, Origin, Peer};

use super::refusals::Refusals;
use super::summary::Summary;
use super::window::Window;
use crate::sync::fault::Outcome;
use crate::sync::remote::Remote;
use crate::sync::wire::MAX_RANGES;

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
    pub(super) db: &'a Db,
    pub(super) peer: &'a Peer,
    pub(super) origin: Origin,
    pub(super) prefix: String,
    pub(super) plan: Plan,
    pub(super) remote: Remote,
    pub(super) tick: &'a mut dyn FnMut(Tick),
    pub(super) window: Window,
    pub(super) summary: Summary,
    pub(super) refused_here: Refusals,
    pub(super) refused_there: Refusals,
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

    /// Notes from where the next exchange goes on.
    pub(super) fn note(&self, cursors: &Cursors) -> Outcome {
        let (refused_here, refused_there) = (self.refused_here.kept.clone(), self.refused_there.kept.clone());
        let cursors = Cursors { refused_here, refused_there, ..cursors.clone() };
        Ok(self.db.set_cursors(&self.origin, &self.prefix, &cursors)?)
    }
}

/// As many ranges as a request may have.
pub(super) fn limited(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.truncate(MAX_RANGES);
    ranges
}

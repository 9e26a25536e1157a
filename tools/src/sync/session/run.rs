//! The course of an exchange: greeting, pull, push, and where the next one goes
//! on.

use thingdb::Cursors;

use super::exchange::Session;
use super::greeting::Greeting;
use super::push::There;
use super::summary::Summary;
use crate::sync::fault::Outcome;

impl Session<'_> {
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
            self.exchange_receipts(&greeting, &mut cursors)?;
            self.settle(&greeting, cursors, size)?;
            self.show_heads(size)?;
        }
        if self.plan.pull {
            self.summary.waiting = self.still_waiting()?;
        }
        self.summary.pulled.again = self.refused_here.again();
        self.summary.pushed.again = self.refused_there.again();
        Ok(self.summary.clone())
    }

    /// Has a peer that holds the same ledger recompute what this node says of the heads
    /// of all things. One that does not, or cannot, is no fault of the exchange.
    fn show_heads(&mut self, size: u64) -> Outcome {
        let is_whole = self.plan.push && self.prefix.is_empty() && self.summary.is_known;
        if !is_whole || size == 0 || size != self.db.ledger_size() {
            return Ok(());
        }
        let (checkpoint, note) = match self.db.heads_note() {
            // What is damaged here does not keep entries from going out.
            Err(problem) if problem.is_damaged() || problem.is_read_only() => return Ok(()),
            signed => signed?,
        };
        let by = self.peer.card.node_key;
        if checkpoint.claimed().size != size || matches!(note.is_signed_by(&by), Ok(true)) {
            return Ok(());
        }
        if let Ok(line) = self.remote.add_heads(note.as_str()) {
            let _ = self.db.keep_recomputed(&by, &line);
        }
        Ok(())
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
}

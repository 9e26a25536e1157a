//! What the peer has and this node lacks.

use std::collections::HashSet;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use thingdb::{Cursors, ImportOptions, Refusal, Sender, ShortId, Time};

use super::exchange::{Session, Tick, limited};
use super::greeting::Greeting;
use crate::client::fault::Fault as ClientFault;
use crate::sync::clock::now;
use crate::sync::fault::{Fault, Outcome};
use crate::sync::reconcile::{self, Difference};
use crate::sync::sorted::{First, Sorted};
use crate::sync::stream;
use crate::sync::wire::{self, MAX_IDS};

/// The largest entry in a stream, about.
const MAX_ENTRY_BYTES: u64 = 24 << 20;

/// Ids of the peer's entries that are kept to know what it has.
const MAX_LISTED: usize = 4 << 20;

/// Entries of the peer, by position and id.
type Places = Vec<(u64, ShortId)>;

impl Session<'_> {
    /// What differs, if this is the first exchange of two nodes that both have
    /// many entries, and little does.
    pub(super) fn differ(&mut self, greeting: &Greeting, cursors: &Cursors) -> Outcome<Option<Difference>> {
        let own = self.db.ledger_size();
        let is_first = *cursors == Cursors::default() && !self.plan.all && self.prefix.is_empty();
        if !is_first || !reconcile::ENTRIES.contains(&own) || !reconcile::ENTRIES.contains(&greeting.size) {
            return Ok(None);
        }
        let ids = First::new(Arc::new(Sorted::of(self.db, own)?), own);
        let (remote, size) = (&mut self.remote, greeting.size);
        // A list of ids takes 16 bytes each.
        reconcile::compare(&ids, size * 8, |message| remote.reconcile(size, message))
    }

    /// Fetches again what was refused here, as far as it may be accepted now and
    /// did not come from elsewhere.
    pub(super) fn pull_refused(&mut self, greeting: &Greeting, cursors: &Cursors) -> Outcome {
        let (due, others) = self.refused_here.take_due(now());
        self.summary.pulled.still = others;
        if due.entries() == 0 {
            return Ok(());
        }
        let mut missing = Vec::new();
        for range in due.ranges() {
            let mut since = range.start;
            let until = range.end.min(greeting.size);
            while since < until {
                let (next, places) = self.page(since, until, false)?;
                missing.extend(self.missing(places.unwrap_or_default())?);
                since = next;
            }
        }
        missing.retain(|position| !self.refused_here.kept.permanent.contains(*position));
        if self.plan.dry_run {
            self.plan_to_fetch(missing.len());
            return Ok(());
        }
        let total = missing.len() as u64;
        self.fetch(&missing, None, &|_| (0, total))?;
        self.note(cursors)
    }

    /// The positions of those that are not here.
    fn missing(&self, places: Places) -> Outcome<Vec<u64>> {
        let ids: Vec<ShortId> = places.iter().map(|(_, id)| *id).collect();
        let here = if self.plan.all { vec![false; ids.len()] } else { self.db.have(&ids, "")? };
        Ok(places.into_iter().zip(here).filter(|(_, here)| !here).map(|((position, _), _)| position).collect())
    }

    /// So many entries would come.
    fn plan_to_fetch(&mut self, entries: usize) {
        self.summary.pulled.planned += entries as u64;
        self.summary.pulled.planned_bytes += entries as u64 * self.window.entry_bytes;
    }

    /// Fetches these entries, which are all that is not here.
    pub(super) fn pull_lacking(&mut self, greeting: &Greeting, cursors: &mut Cursors, ids: &[ShortId]) -> Outcome {
        if self.plan.dry_run {
            self.plan_to_fetch(ids.len());
            return Ok(());
        }
        let positions = self.remote.locate(greeting.size, ids)?;
        let (begin, total) = (positions.first().copied().unwrap_or(0), greeting.size);
        self.fetch(&positions, None, &|done| (done - begin, total.saturating_sub(begin)))?;
        cursors.pulled = greeting.size;
        self.note(cursors)?;
        self.pull_completed(greeting, cursors, &positions.into_iter().collect())
    }

    /// Fetches what is not here. Gives the ids of the entries that came to the
    /// peer since the last exchange, if they are all known.
    pub(super) fn pull(&mut self, greeting: &Greeting, cursors: &mut Cursors) -> Outcome<Option<HashSet<ShortId>>> {
        // Everything below was here when the last exchange ended, and below
        // `pushed`.
        let mut lists_all = cursors.pulled == cursors.seen;
        let is_empty = self.db.ledger_size() == 0;
        let mut listed = HashSet::new();
        let mut fetched = HashSet::new();
        let mut since = cursors.pulled;
        let total = greeting.size.saturating_sub(since);
        let begin = since;
        while since < greeting.size {
            let (next, places) = self.page(since, greeting.size, is_empty)?;
            let missing: Vec<u64> = match places {
                // There was nothing here that it could have.
                None => {
                    lists_all = false;
                    (since..next).collect()
                }
                Some(places) => {
                    if listed.len() < MAX_LISTED {
                        listed.extend(places.iter().map(|(_, id)| *id));
                    }
                    self.missing(places)?
                }
            };
            if self.plan.dry_run {
                self.plan_to_fetch(missing.len());
            } else {
                self.fetch(&missing, Some(cursors), &|done| (done - begin, total))?;
                fetched.extend(missing);
                cursors.pulled = next;
                self.note(cursors)?;
            }
            since = next;
        }
        if !self.plan.dry_run {
            self.pull_completed(greeting, cursors, &fetched)?;
        }
        let here = self.db.ledger_size();
        if is_empty && fetched.len() as u64 == here && self.summary.pulled.tally.added == here {
            // All that is here came from there.
            cursors.pushed = here;
            lists_all = true;
        }
        Ok((lists_all && listed.len() < MAX_LISTED).then_some(listed))
    }

    /// The peer's entries from a position on: where they end, and which they
    /// are if that has to be known.
    fn page(&mut self, since: u64, until: u64, is_empty: bool) -> Outcome<(u64, Option<Places>)> {
        let most = MAX_IDS as u64;
        if self.prefix.is_empty() && is_empty {
            return Ok((until.min(since.saturating_add(most)), None));
        }
        let places = self.remote.ids(&self.prefix, since..until)?;
        let is_full = places.len() >= MAX_IDS;
        let next = match places.last() {
            Some((last, _)) if is_full => last + 1,
            _ => until,
        };
        if self.prefix.is_empty() && !is_full && places.len() as u64 != until - since {
            return Err(Fault::answer("fewer ids than the checkpoint counts"));
        }
        Ok((next, Some(places)))
    }

    /// Fetches the peer's entries that were completed since the last time.
    fn pull_completed(&mut self, greeting: &Greeting, cursors: &mut Cursors, fetched: &HashSet<u64>) -> Outcome {
        // A log that begins anew is that of a directory that was set back.
        if greeting.revision < cursors.pulled_revision {
            cursors.pulled_revision = 0;
        }
        let mut listed = HashSet::new();
        while cursors.pulled_revision < greeting.revision {
            let own = self.db.origin();
            let changes = self.remote.changes(&self.prefix, &own, cursors.pulled_revision)?;
            let mut positions = changes.positions;
            if changes.revision > greeting.revision {
                // Of entries that came after the greeting, too.
                positions.retain(|position| *position < greeting.size);
            } else if positions.iter().any(|position| *position >= greeting.size) {
                return Err(Fault::answer("completions beyond the end that its checkpoint names"));
            }
            // An entry is listed once, by its newest revision: who goes on listing
            // nothing new would be asked for ever.
            positions.retain(|position| listed.insert(*position));
            if changes.more && (positions.is_empty() || changes.revision <= cursors.pulled_revision) {
                return Err(Fault::answer("completions that do not go on"));
            }
            positions.retain(|position| !fetched.contains(position));
            positions.sort_unstable();
            let total = positions.len() as u64;
            // They lie anywhere, and do not move the position.
            self.fetch(&positions, None, &|_| (0, total))?;
            // What was fetched may have been completed after that: completions
            // later than the greeting are for the next time.
            cursors.pulled_revision = cursors.pulled_revision.max(changes.revision.min(greeting.revision));
            self.note(cursors)?;
            if !changes.more {
                break;
            }
        }
        Ok(())
    }

    /// Fetches the entries at these positions, a window at a time.
    pub(super) fn fetch(
        &mut self,
        positions: &[u64],
        mut moves: Option<&mut Cursors>,
        far: &dyn Fn(u64) -> (u64, u64),
    ) -> Outcome {
        let mut left = positions;
        while let Some(first) = left.first() {
            let (done, total) = far(*first);
            (self.tick)(Tick { done, total, bytes: self.remote.traffic().received() });
            let count = self.window.entries().min(left.len());
            let ranges = limited(wire::ranges_of_positions(left.get(..count).unwrap_or(left)));
            let asked = ranges.iter().map(|range| range.end - range.start).sum::<u64>();
            let (came, broken) = self.fetch_window(&ranges, asked)?;
            let came = usize::try_from(came).unwrap_or(usize::MAX).min(left.len());
            left = left.get(came..).unwrap_or_default();
            if let (Some(cursors), Some(next), 1..) = (&mut moves, left.first().copied(), came) {
                cursors.pulled = next;
                self.note(cursors)?;
            }
            if let Some(fault) = broken {
                if came > 0 {
                    self.remote.goes_well();
                }
                self.window.shrink();
                self.remote.wait(fault)?;
            } else if (came as u64) < asked {
                return Err(Fault::answer("fewer entries than were asked for"));
            }
        }
        Ok(())
    }

    /// How many of the entries came whole, and what broke the line if it broke.
    fn fetch_window(&mut self, ranges: &[Range<u64>], asked: u64) -> Outcome<(u64, Option<ClientFault>)> {
        let (db, origin) = (self.db, self.origin);
        let prefix = self.prefix.clone();
        let (start, before) = (Instant::now(), self.remote.traffic().received());
        let mut taken = None;
        let refused_here = &mut self.refused_here;
        // In the order in which they were asked for. What waited here and is
        // refused now has no place among them.
        let mut refused = |refusal: &Refusal| {
            let place = refusal.line.checked_sub(1).and_then(|line| nth(ranges, line));
            let again = refusal.again.map_or(0, Time::micros);
            if let Some(position) = place {
                refused_here.note(position..position + 1, 1, refusal.code.kind(), again);
            }
        };
        let answered = self.remote.fetch(&prefix, ranges, |mut body| {
            let unpacked = stream::unpacked(&mut body).map_err(|problem| Fault::of_line(&problem))?;
            // An answer without an end is none.
            let unpacked = unpacked.take((asked + 1).saturating_mul(MAX_ENTRY_BYTES));
            // Who answers has the certificate that is pinned for this node.
            let options = ImportOptions::new().prefix(&prefix).from(Sender::node(origin)).refused(&mut refused);
            let entries = stream::take_in(db, options, unpacked)?;
            let broken = entries.broken.as_ref().map(Fault::of_line);
            taken = Some(entries);
            broken.map_or(Ok(()), Err)
        });
        let came = taken.as_ref().map_or(0, |taken| taken.summary.entries);
        if let Some(taken) = taken {
            self.summary.pulled.take(taken.summary.into());
        }
        match answered {
            Ok(()) => {
                self.window.measure(self.remote.traffic().received() - before, came, start.elapsed());
                Ok((came, None))
            }
            Err(Fault::Client(fault)) if fault.is_passing() => Ok((came, Some(fault))),
            Err(fault) => Err(fault),
        }
    }
}

/// The n-th of the positions in these ranges.
fn nth(ranges: &[Range<u64>], mut n: u64) -> Option<u64> {
    for range in ranges {
        let length = range.end - range.start;
        if n < length {
            return Some(range.start + n);
        }
        n -= length;
    }
    None
}

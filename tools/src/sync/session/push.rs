//! What this node has and the peer lacks.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use thingdb::{Cursors, Db, Outgoing, RefusalKind, ShortId, Time, short_id};

use super::exchange::{Session, Tick, limited};
use super::greeting::Greeting;
use super::growth::Growth;
use crate::sync::clock::now;
use crate::sync::fault::{Fault, Outcome};
use crate::sync::stream::Packer;
use crate::sync::wire::{self, MAX_IDS, Received, Tally};

/// Ids that are asked about at once while sending.
const ASK_IDS: usize = 4096;

/// What is known of what the peer has.
pub(super) enum There {
    /// These entries, and nothing else that is to be sent.
    Only(HashSet<ShortId>),
    /// Everything but these entries, of those below a position; what came
    /// here since they were compared is asked about.
    AllBut(HashSet<ShortId>, u64),
    /// It has to be asked.
    Ask,
    /// Everything goes, whatever is there.
    Ignore,
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goods {
    /// Entries that the peer lacks, as it said itself.
    Lacking,
    /// Everything again, whatever is there.
    Everything,
    /// Entries that the peer has, and that were completed since.
    Completed,
}

/// Entries that the peer had before any of them were sent.
#[derive(Default)]
struct Had {
    asked: HashSet<u64>,
    there: HashSet<u64>,
}

impl Tally {
    /// Entries of a window that are there now and were not, if nothing that
    /// waited went on: those that the peer lacked are there, whoever brought them.
    const fn brought(&self, goods: Goods) -> u64 {
        match goods {
            Goods::Lacking => self.added.saturating_add(self.known),
            Goods::Everything | Goods::Completed => self.added,
        }
    }

    /// Whether all entries of the window are there, and nothing else went on
    /// because of them.
    const fn is_all(&self, sent: u64) -> bool {
        let there = self.added.saturating_add(self.known).saturating_add(self.completed);
        there == sent && self.refused == 0 && self.pending == 0
    }

    /// So many of the entries went before in a window of which no answer came.
    /// That the peer knows them is because of that.
    const fn settle(&mut self, goods: Goods, doubts: u64) {
        let late = if self.known < doubts { self.known } else { doubts };
        match goods {
            Goods::Lacking | Goods::Everything => self.added = self.added.saturating_add(late),
            Goods::Completed => self.completed = self.completed.saturating_add(late),
        }
        self.known -= late;
    }
}

impl Session<'_> {
    /// Sends what the peer lacks, and tells how its ledger grew of it.
    pub(super) fn push(&mut self, greeting: &Greeting, cursors: &mut Cursors, there: &There) -> Outcome<Growth> {
        let end = self.db.ledger_size();
        // What is completed from now on may have been sent before that.
        let revision = self.db.revision();
        let begin = cursors.pushed.min(end);
        let mut growth = Growth::from(greeting.size);
        self.push_refused(cursors, &mut growth)?;
        let mut sent = HashSet::new();
        let mut since = begin;
        while since < end {
            let until = end.min(since + MAX_IDS as u64);
            let positions = if self.prefix.is_empty() {
                (since..until).collect()
            } else {
                self.db.positions(&self.prefix, since..until)?
            };
            for some in positions.chunks(ASK_IDS) {
                let lacking = self.lacking(some, there)?;
                if self.plan.dry_run {
                    self.plan_to_send(&lacking)?;
                    continue;
                }
                let goods = if self.plan.all { Goods::Everything } else { Goods::Lacking };
                self.send(&lacking, goods, Some(cursors), &mut growth, &|position| (position - begin, end - begin))?;
                sent.extend(lacking);
                if let Some(last) = some.last() {
                    cursors.pushed = last + 1;
                    self.note(cursors)?;
                }
            }
            since = until;
        }
        if self.plan.dry_run {
            return Ok(growth);
        }
        cursors.pushed = end;
        self.push_completed(cursors, revision, &sent, &mut growth)?;
        if greeting.waiting > 0 || self.summary.pushed.tally.pending > 0 {
            self.summary.waiting_there = self.push_wanted(&mut growth)?;
        }
        self.summary.offered = Some((end, revision));
        if growth.is_stale() {
            growth.told(self.remote.size()?);
        }
        Ok(growth)
    }

    /// Offers again what the peer refused, as far as it may accept it now and did
    /// not get it elsewhere.
    fn push_refused(&mut self, cursors: &Cursors, growth: &mut Growth) -> Outcome {
        let (due, others) = self.refused_there.take_due(now());
        self.summary.pushed.still = others;
        if due.entries() == 0 {
            return Ok(());
        }
        let mut positions = Vec::new();
        for range in due.ranges() {
            let range = range.start..range.end.min(cursors.pushed);
            positions.extend(if self.prefix.is_empty() {
                range.collect()
            } else {
                self.db.positions(&self.prefix, range)?
            });
        }
        positions.retain(|position| !self.refused_there.kept.permanent.contains(*position));
        for some in positions.chunks(ASK_IDS) {
            let lacking = self.lacking(some, &There::Ask)?;
            if self.plan.dry_run {
                self.plan_to_send(&lacking)?;
                continue;
            }
            let total = lacking.len() as u64;
            self.send(&lacking, Goods::Lacking, None, growth, &|_| (0, total))?;
        }
        if self.plan.dry_run { Ok(()) } else { self.note(cursors) }
    }

    /// Keeps in mind which entries of a window the peer refused: those that it
    /// names by their place, others within the window.
    fn note_refused(&mut self, window: &[u64], tally: &Tally) -> Outcome {
        let ids = self.ids(window)?;
        let places: HashMap<&ShortId, u64> = ids.iter().zip(window.iter().copied()).collect();
        let (mut kinds, mut left) = (tally.kinds, tally.refused);
        for reason in &tally.reasons {
            let id = reason.id.as_deref().and_then(|id| id.parse().ok());
            let Some(position) = id.and_then(|id| places.get(&short_id(&id)).copied()) else { continue };
            let kind = wire::kind_of(&reason.kind);
            let again = reason.again.as_deref().and_then(|time| time.parse().ok()).map_or(0, Time::micros);
            self.refused_there.note(position..position + 1, 1, kind, again);
            *kinds.of(kind) = kinds.of(kind).saturating_sub(1);
            left = left.saturating_sub(1);
        }
        let (Some(first), Some(last)) = (window.first(), window.last()) else { return Ok(()) };
        // What is not explained at all is tried again when trust has changed.
        for kind in [RefusalKind::Passing, RefusalKind::Permanent, RefusalKind::Version, RefusalKind::Trust] {
            let count = if kind == RefusalKind::Trust { left } else { left.min(*kinds.of(kind)) };
            left -= count;
            if count > 0 && kind != RefusalKind::Permanent {
                self.refused_there.note(*first..last + 1, count, kind, 0);
            }
        }
        Ok(())
    }

    /// Those of the entries at these positions that the peer lacks.
    pub(super) fn lacking(&mut self, positions: &[u64], there: &There) -> Outcome<Vec<u64>> {
        if let There::AllBut(_, compared) = there {
            let (before, since) = positions.split_at(positions.partition_point(|position| position < compared));
            if !since.is_empty() {
                let mut lacking = if before.is_empty() { Vec::new() } else { self.lacking(before, there)? };
                lacking.extend(self.lacking(since, &There::Ask)?);
                return Ok(lacking);
            }
        }
        let ids = self.ids(positions)?;
        let has = match there {
            There::Only(listed) => ids.iter().map(|id| listed.contains(id)).collect(),
            There::AllBut(lacking, _) => ids.iter().map(|id| !lacking.contains(id)).collect(),
            There::Ask => self.remote.have(&self.prefix, &ids)?,
            There::Ignore => vec![false; ids.len()],
        };
        Ok(positions.iter().zip(has).filter(|(_, has)| !has).map(|(position, _)| *position).collect())
    }

    /// The first halves of the ids of the entries at these positions.
    fn ids(&self, positions: &[u64]) -> Outcome<Vec<ShortId>> {
        let mut ids = Vec::with_capacity(positions.len());
        for range in wire::ranges_of_positions(positions) {
            ids.extend(self.db.ids(range)?.iter().map(short_id));
        }
        Ok(ids)
    }

    /// Sends the entries that were completed here since the last time, up to a
    /// revision.
    fn push_completed(
        &mut self,
        cursors: &mut Cursors,
        revision: u64,
        sent: &HashSet<u64>,
        growth: &mut Growth,
    ) -> Outcome {
        if revision < cursors.pushed_revision {
            cursors.pushed_revision = 0;
        }
        loop {
            let changes =
                self.db.changes(cursors.pushed_revision, &self.prefix, Some(self.origin), wire::MAX_CHANGES)?;
            let mut positions = changes.positions;
            positions.retain(|position| !sent.contains(position) && *position < cursors.pushed);
            positions.sort_unstable();
            let total = positions.len() as u64;
            self.send(&positions, Goods::Completed, None, growth, &|_| (0, total))?;
            cursors.pushed_revision = changes.revision.min(revision);
            self.note(cursors)?;
            if !changes.more || changes.revision >= revision {
                return Ok(());
            }
        }
    }

    /// Sends the entries at these positions, a window at a time.
    pub(super) fn send(
        &mut self,
        positions: &[u64],
        goods: Goods,
        mut moves: Option<&mut Cursors>,
        growth: &mut Growth,
        far: &dyn Fn(u64) -> (u64, u64),
    ) -> Outcome {
        let mut left = positions.to_vec();
        // What went when the line broke and was not there when it was asked
        // about: the peer may have been at it still.
        let mut doubtful = HashSet::new();
        let mut had = Had::default();
        while let Some(first) = left.first().copied() {
            let (done, total) = far(first);
            (self.tick)(Tick { done, total, bytes: self.remote.traffic().sent() });
            if goods == Goods::Everything {
                self.ask_window(&left, &mut had)?;
            }
            let (tried, answered) = self.send_window(&left);
            let window: Vec<u64> = left.iter().take(tried.len()).copied().collect();
            match answered {
                Ok(received) => {
                    self.summary.unreadable += tried.iter().filter(|is_readable| !**is_readable).count() as u64;
                    let mut received = received.of(tried.len() as u64)?;
                    let doubts = window.iter().filter(|position| doubtful.remove(*position)).count() as u64;
                    if received.tally.refused > 0 {
                        self.note_refused(&window, &received.tally)?;
                    }
                    let is_all = received.tally.is_all(tried.len() as u64);
                    received.tally.settle(goods, doubts);
                    growth.brought(received.tally.brought(goods), is_all);
                    growth.told(received.size);
                    self.summary.pushed.take(received.tally);
                    left.drain(..tried.len());
                }
                Err(Fault::Client(fault)) if fault.is_passing() => {
                    self.window.shrink();
                    self.remote.wait(fault)?;
                    if window.is_empty() {
                        continue;
                    }
                    growth.is_in_doubt();
                    doubtful.extend(window.iter().filter(|position| !had.there.contains(*position)));
                    // What came whole is there, and is not sent again. What was
                    // there before goes again as a whole: nobody can tell what
                    // became of it.
                    if !matches!(goods, Goods::Completed) {
                        let arrived = self.arrived(&window, &had.there)?;
                        for (position, is_readable) in window.iter().zip(&tried) {
                            let is_new = arrived.contains(position);
                            self.summary.unreadable += u64::from(is_new && !is_readable);
                        }
                        self.summary.pushed.tally.added += arrived.len() as u64;
                        growth.brought(arrived.len() as u64, true);
                        doubtful.retain(|position| !arrived.contains(position));
                        left.retain(|position| !arrived.contains(position));
                    }
                }
                Err(fault) => return Err(fault),
            }
            if let (Some(cursors), Some(next)) = (&mut moves, left.first().copied()) {
                cursors.pushed = next;
                self.note(cursors)?;
            }
        }
        Ok(())
    }

    /// Learns which entries of the next window the peer has, where that has not
    /// been asked yet: once they have gone, nobody can tell who brought them.
    fn ask_window(&mut self, positions: &[u64], had: &mut Had) -> Outcome {
        let some = positions.iter().take(self.window.most_entries()).copied();
        let some: Vec<u64> = some.filter(|position| had.asked.insert(*position)).collect();
        let has = self.remote.have(&self.prefix, &self.ids(&some)?)?;
        had.there.extend(some.into_iter().zip(has).filter(|(_, has)| *has).map(|(position, _)| position));
        Ok(())
    }

    /// Those of these positions, which were under way when the line broke, whose
    /// entries the peer has now and did not have before.
    fn arrived(&mut self, window: &[u64], before: &HashSet<u64>) -> Outcome<HashSet<u64>> {
        let has = self.remote.has_arrived(&self.prefix, &self.ids(window)?)?;
        let now = window.iter().zip(has).filter(|(position, has)| *has && !before.contains(*position));
        let arrived: HashSet<u64> = now.map(|(position, _)| *position).collect();
        if !arrived.is_empty() {
            self.remote.goes_well();
        }
        Ok(arrived)
    }

    /// The entries that went into the window, whether the peer can read each of
    /// them, and what became of all.
    fn send_window(&mut self, positions: &[u64]) -> (Vec<bool>, Outcome<Received>) {
        let (db, own) = (self.db, self.db.origin());
        let reader = self.peer.card.encryption_key.recipient_id();
        let (most, most_entries) = (self.window.bytes, self.window.most_entries());
        let positions = positions.get(..most_entries).unwrap_or(positions);
        let ranges = limited(wire::ranges_of_positions(positions));
        let (start, before) = (Instant::now(), self.remote.traffic().sent());
        let mut tried = Vec::new();
        let mut broken = None;
        let mut count = |outgoing: &Outgoing| tried.push(outgoing.is_sealed_to(&reader));
        let mut make = |out: &mut dyn Write| pack(db, &ranges, most, out, &mut count, &mut broken);
        let prefix = self.prefix.clone();
        let answered = self.remote.send(&prefix, &own, &mut make);
        if let Some(problem) = broken {
            return (tried, Err(Fault::Engine(problem)));
        }
        if answered.is_ok() {
            self.window.measure(self.remote.traffic().sent() - before, tried.len() as u64, start.elapsed());
        }
        (tried, answered)
    }

    /// What the entries would take on the wire.
    fn plan_to_send(&mut self, positions: &[u64]) -> Outcome {
        let mut sink = Counted(0);
        let (mut count, mut broken) = (0_u64, None);
        let ranges = wire::ranges_of_positions(positions);
        let packed = pack(self.db, &ranges, u64::MAX, &mut sink, &mut |_| count += 1, &mut broken);
        if let Some(problem) = broken {
            return Err(problem.into());
        }
        packed.map_err(|problem| Fault::of_line(&problem))?;
        self.summary.pushed.planned += count;
        self.summary.pushed.planned_bytes += if count > 0 { sink.0 } else { 0 };
        Ok(())
    }
}

/// Writes entries until about `most` bytes are packed, and has each counted.
/// What the database ran into goes into `broken`.
fn pack(
    db: &Db,
    ranges: &[Range<u64>],
    most: u64,
    out: &mut dyn Write,
    count: &mut dyn FnMut(&Outgoing),
    broken: &mut Option<thingdb::Error>,
) -> io::Result<()> {
    let mut packer = Packer::new(out)?;
    let mut line = Ok(());
    let done = db.outgoing(ranges.iter().cloned(), |outgoing| {
        // Counted before it goes: a part of it may arrive.
        count(&outgoing);
        line = packer.entry(&outgoing);
        let goes_on = line.is_ok() && packer.bytes() < most;
        Ok(if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    if let Err(problem) = done {
        *broken = Some(problem);
        return Err(io::Error::other("an entry cannot be read"));
    }
    line?;
    packer.end()?.flush()
}

/// Counts and keeps nothing.
struct Counted(u64);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! What this node has and the peer lacks.

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::{ControlFlow, Range};
use std::time::Instant;

use thingdb::{Cursors, Db, Outgoing, ShortId, short_id};

use super::greeting::Greeting;
use super::{Session, Tick, limited};
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

impl Session<'_> {
    /// Sends what the peer lacks. Gives the size of its ledger afterwards, if
    /// nobody else wrote to it; else the size that it had.
    pub(super) fn push(&mut self, greeting: &Greeting, cursors: &mut Cursors, there: &There) -> Outcome<u64> {
        let end = self.db.ledger_size();
        // What is completed from now on may have been sent before that.
        let revision = self.db.revision();
        let begin = cursors.pushed.min(end);
        let mut size = greeting.size;
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
                self.send(&lacking, Some(cursors), &mut size, &|position| (position - begin, end - begin))?;
                sent.extend(lacking);
                if let Some(last) = some.last() {
                    cursors.pushed = last + 1;
                    self.note(*cursors)?;
                }
            }
            since = until;
        }
        if self.plan.dry_run {
            return Ok(size);
        }
        cursors.pushed = end;
        self.push_completed(cursors, revision, &sent, &mut size)?;
        self.summary.offered = Some((end, revision));
        Ok(size)
    }

    /// Those of the entries at these positions that the peer lacks.
    fn lacking(&mut self, positions: &[u64], there: &There) -> Outcome<Vec<u64>> {
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
    fn push_completed(&mut self, cursors: &mut Cursors, revision: u64, sent: &HashSet<u64>, size: &mut u64) -> Outcome {
        if revision < cursors.pushed_revision {
            cursors.pushed_revision = 0;
        }
        self.refused_there.completes = true;
        loop {
            let changes =
                self.db.changes(cursors.pushed_revision, &self.prefix, Some(self.origin), wire::MAX_CHANGES)?;
            let mut positions = changes.positions;
            positions.retain(|position| !sent.contains(position) && *position < cursors.pushed);
            positions.sort_unstable();
            let total = positions.len() as u64;
            self.send(&positions, None, size, &|_| (0, total))?;
            cursors.pushed_revision = changes.revision.min(revision);
            self.note(*cursors)?;
            if !changes.more || changes.revision >= revision {
                return Ok(());
            }
        }
    }

    /// Sends the entries at these positions, a window at a time.
    fn send(
        &mut self,
        positions: &[u64],
        mut moves: Option<&mut Cursors>,
        size: &mut u64,
        far: &dyn Fn(u64) -> (u64, u64),
    ) -> Outcome {
        let mut left = positions.to_vec();
        while let Some(first) = left.first().copied() {
            let (done, total) = far(first);
            (self.tick)(Tick { done, total, bytes: self.remote.traffic().sent() });
            let (tried, unreadable, answered) = self.send_window(&left);
            match answered {
                Ok(received) => {
                    self.summary.unreadable += unreadable;
                    let received = received.of(tried as u64)?;
                    // If another wrote to it meanwhile, or an entry that waited
                    // there went on, it is listed anew: only when each of these
                    // entries was added, and nothing else, is it known.
                    let Tally { added, known, refused, .. } = received.tally;
                    let all_added = added == tried as u64 && known == 0 && refused == 0;
                    if all_added && received.size.checked_sub(*size) == Some(tried as u64) {
                        *size = received.size;
                    }
                    if refused > 0 {
                        self.refused_there.note(first, refused);
                    }
                    self.summary.pushed.take(received.tally);
                    left.drain(..tried.min(left.len()));
                }
                Err(Fault::Client(fault)) if fault.is_passing() => {
                    self.window.shrink();
                    self.remote.wait(fault)?;
                    // What came whole is there, and is not sent again. Of what was
                    // there before nobody can tell: all of it goes again, in a
                    // smaller window.
                    if moves.is_some() && !self.plan.all {
                        let some = left.get(..tried.min(left.len())).unwrap_or(&left).to_vec();
                        let has = self.remote.has_arrived(&self.prefix, &self.ids(&some)?)?;
                        let lacking = some.iter().zip(has).filter(|(_, has)| !has).map(|(position, _)| *position);
                        let lacking: HashSet<u64> = lacking.collect();
                        let arrived = (some.len() - lacking.len()) as u64;
                        if arrived > 0 {
                            self.remote.goes_well();
                        }
                        self.summary.pushed.tally.added += arrived;
                        left.retain(|position| !some.contains(position) || lacking.contains(position));
                    }
                }
                Err(fault) => return Err(fault),
            }
            if let (Some(cursors), Some(next)) = (&mut moves, left.first().copied()) {
                cursors.pushed = next;
                self.note(**cursors)?;
            }
        }
        Ok(())
    }

    /// How many of the entries went into the window, how many of them the peer
    /// cannot read, and what became of it.
    fn send_window(&mut self, positions: &[u64]) -> (usize, u64, Outcome<Received>) {
        let (db, own) = (self.db, self.db.origin());
        let reader = self.peer.card.encryption_key.recipient_id();
        let most = self.window.bytes;
        let ranges = limited(wire::ranges_of_positions(positions));
        let (start, before) = (Instant::now(), self.remote.traffic().sent());
        let (mut tried, mut unreadable) = (0, 0);
        let mut broken = None;
        let mut count = |outgoing: &Outgoing| {
            tried += 1;
            unreadable += u64::from(!outgoing.is_sealed_to(&reader));
        };
        let mut make = |out: &mut dyn Write| pack(db, &ranges, most, out, &mut count, &mut broken);
        let prefix = self.prefix.clone();
        let answered = self.remote.send(&prefix, &own, &mut make);
        if let Some(problem) = broken {
            return (tried, unreadable, Err(Fault::Engine(problem)));
        }
        if answered.is_ok() {
            self.window.measure(self.remote.traffic().sent() - before, tried as u64, start.elapsed());
        }
        (tried, unreadable, answered)
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

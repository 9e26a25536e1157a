//! Takes checked lines in, in the order of the stream: commits what can be
//! committed, lets wait what came before its prev, and counts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::BufRead;
use std::ops::ControlFlow;
use std::sync::Arc;

use thingdb_format::{EntryId, Line, Signature};

use super::check::{Came, Candidate, Checked, Checker, Memos, Outcome, Seen};
use super::cores::{Flow, on_all_cores};
use super::dry_run::DryRun;
use super::framing::{Broken, Framing, Unread};
use super::import::{ImportOptions, ImportSummary};
use super::source::{self, Frames, Lines, RawLine};
use super::waiting::{Arrival, Asks, Gone, Parking, Released, ReleasedLine, Room, WaitingRoom};
use crate::committer::{Arrived, Fate};
use crate::entry::refusal::{Cause, Refusal, RefusalKind};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::node::originals::AtWork;
use crate::progress;
use crate::store::Store;
use crate::store::provenance::Hand;
use crate::store::schema::Tag;

/// Entries after which an import makes sure that they are durable.
const SYNC_ENTRIES: u64 = 32_768;

/// Reasons that a summary lists one by one.
const MAX_REASONS: usize = 1000;

/// What refused entries of frames may take as lines, as a multiple of what came,
/// and without being asked. Frames name the packets of envelopes once for all:
/// as lines, each entry has them, up to four thousand times as much.
const REJECTS_RATIO: u64 = 32;
const REJECTS_FREE_BYTES: u64 = 64 << 20;

/// Entries that are held back until their batch is complete.
const MAX_HELD: usize = 8192;

/// Bytes that are under way, unless it is said how many.
const MEMORY_BYTES: usize = 32 << 20;

/// The least that is under way: a few chunks.
const MIN_MEMORY_BYTES: usize = 4 << 20;

/// Reads a stream and adds what is not here.
pub(crate) fn import(
    node: &Node,
    waiting: &WaitingRoom,
    options: ImportOptions<'_>,
    mut input: impl BufRead,
) -> Result<ImportSummary> {
    let keeps = options.rejects.is_some();
    let checker = Checker::new(&node.store, options.trust, options.passphrase);
    let checker = checker.only(&options.prefix).from(Hand::of(options.from)).keeping(keeps);
    let memory = options.memory.unwrap_or(MEMORY_BYTES).max(MIN_MEMORY_BYTES);
    let flow = Flow { threads: node.threads, ahead_bytes: memory / 2 };
    let room = options.room.unwrap_or(&|| Some(Box::new(())));
    let mut intake = Intake::new((node, waiting), &checker, options, memory / 2)?;
    let mut take = |outcome| intake.take(outcome);
    match source::is_binary(&mut input) {
        Ok(true) => on_all_cores(&checker, &flow, &mut Frames::new(input, room), &mut take)?,
        Ok(false) => on_all_cores(&checker, &flow, &mut Lines::new(input, room), &mut take)?,
        Err(problem) => {
            let checked = vec![Seen::broken(Box::new(Broken::source(&problem)))];
            let _ = take(Outcome { read: 0, held: 0, room: None, checked })?;
        }
    }
    intake.finish()
}

struct Intake<'a, 'o> {
    node: &'a Node,
    waiting: &'a WaitingRoom,
    checker: &'a Checker<'a>,
    options: ImportOptions<'o>,
    framing: Framing<'a>,
    /// Entries to commit, held back in the middle of a batch: a batch that is
    /// committed whole is stored without its inclusion paths.
    held: Vec<Candidate>,
    held_bytes: usize,
    /// Whether a key record may be among them.
    holds_keys: bool,
    /// Bytes that are held back, at most.
    most_held_bytes: usize,
    dry_run: Option<DryRun>,
    /// Who it is in the waiting room.
    asks: Asks,
    _stay: Option<Stay<'a>>,
    /// Those that came with it and wait, or did.
    parked: Vec<EntryId>,
    /// There once entries with originals may be among those that come.
    originals: Option<AtWork<'a>>,
    unsynced: u64,
    lines: u64,
    bytes: u64,
    /// Bytes of refused lines that somebody keeps.
    kept_bytes: u64,
    summary: ImportSummary,
}

impl<'a, 'o> Intake<'a, 'o> {
    /// What can go on of what waits goes on first.
    fn new(
        (node, waiting): (&'a Node, &'a WaitingRoom),
        checker: &'a Checker<'a>,
        options: ImportOptions<'o>,
        most_held_bytes: usize,
    ) -> Result<Self> {
        let (dry_run, is_dry, keeps) = (options.dry_run.then(DryRun::new), options.dry_run, options.rejects.is_some());
        let asks = waiting.with(&node.store, |room| Ok(room.begin(keeps)))?;
        let mut intake = Self {
            node,
            waiting,
            checker,
            framing: Framing::new(node, !options.dry_run, options.is_rewritten),
            options,
            held: Vec::new(),
            held_bytes: 0,
            holds_keys: false,
            most_held_bytes,
            dry_run,
            _stay: (!is_dry).then_some(Stay { node, waiting, asks }),
            asks,
            parked: Vec::new(),
            originals: None,
            unsynced: 0,
            lines: 0,
            bytes: 0,
            kept_bytes: 0,
            summary: ImportSummary::default(),
        };
        if intake.dry_run.is_none() {
            let now = node.committer.now();
            intake.summary.dropped = waiting.with(&node.store, |room| room.expire(&node.store, now))?;
            intake.commit(Vec::new())?;
        }
        Ok(intake)
    }

    /// Takes the lines of a chunk. Breaks off if it should end here.
    fn take(&mut self, Outcome { read, held, room, checked }: Outcome) -> Result<ControlFlow<()>> {
        self.bytes += read;
        self.held_bytes = self.held_bytes.saturating_add(held);
        for Seen { hash, what } in checked {
            self.lines += 1;
            let what = match what {
                Checked::Unknown { line, raw, entry } => {
                    if std::mem::take(&mut self.holds_keys) {
                        self.commit_held()?;
                    }
                    self.checker.judged(line, raw, entry, &mut Memos::default())
                }
                what => what,
            };
            match what {
                Checked::Unknown { .. } => unreachable!("it was judged"),
                Checked::Header(header) => self.framing.header(*header)?,
                Checked::Trailer(trailer) => self.framing.trailer(&trailer)?,
                Checked::Broken(mut broken) => {
                    if let Some(refusal) = broken.refusal.take() {
                        self.tell(refusal);
                    }
                    self.framing.broken(*broken);
                }
                Checked::Unread { kind, is_newer, raw, refusal } => {
                    let (is_last, reason) = (!raw.ends_with(b"\n"), refusal.reason.as_str());
                    let line = Unread { kind, is_last, hash: &hash, bytes: &raw, is_newer, reason };
                    if self.framing.unread(&line) {
                        if self.options.fail_fast {
                            self.commit_held()?;
                        }
                        self.refuse(&Came::Line(raw), refusal)?;
                    }
                }
                Checked::Entry(candidate) => {
                    self.summary.entries += 1;
                    self.framing.entry(&candidate.arrived.id, &hash);
                    self.holds_keys |= candidate.arrived.key.is_some();
                    self.held.push(candidate);
                }
                Checked::Known(id) => {
                    self.summary.entries += 1;
                    self.framing.entry(&id, &hash);
                    self.summary.known += 1;
                }
                Checked::Refused { id, came, refusal } => {
                    if let Some(id) = id {
                        self.summary.entries += 1;
                        self.framing.entry(&id, &hash);
                    }
                    if self.options.fail_fast {
                        self.commit_held()?;
                    }
                    self.refuse(&came, refusal)?;
                }
            }
            if self.stops() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let is_much = self.held.len() >= MAX_HELD || self.held_bytes >= self.most_held_bytes || room.is_some();
        if is_much || !self.is_amid_batch() {
            self.commit_held()?;
        }
        progress::tell(&mut self.options.progress, self.lines, 0, self.bytes);
        Ok(if self.stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    const fn stops(&self) -> bool {
        (self.options.fail_fast && self.summary.refused > 0) || self.summary.limited
    }

    fn is_amid_batch(&self) -> bool {
        let last = self.held.last().map(|candidate| &candidate.arrived.signature);
        matches!(last, Some(Signature::Batch(batch)) if batch.index + 1 < batch.size)
    }

    fn commit_held(&mut self) -> Result<()> {
        self.held_bytes = 0;
        let held = std::mem::take(&mut self.held);
        self.commit(held)
    }

    /// Commits entries, and those that waited for them, until none is left
    /// that can go on.
    fn commit(&mut self, mut candidates: Vec<Candidate>) -> Result<()> {
        let mut released = VecDeque::new();
        loop {
            let mut added = Vec::new();
            if !candidates.is_empty() {
                self.commit_some(std::mem::take(&mut candidates), &mut added)?;
            }
            released.extend(self.released(&added)?);
            if released.is_empty() {
                break;
            }
            candidates = self.next_released(&mut released)?;
        }
        if self.unsynced >= SYNC_ENTRIES {
            self.unsynced = 0;
            self.node.sync()?;
        }
        if self.dry_run.as_ref().is_some_and(DryRun::is_full) {
            self.summary.limited = true;
        }
        Ok(())
    }

    fn commit_some(&mut self, candidates: Vec<Candidate>, added: &mut Vec<(EntryId, Tag)>) -> Result<()> {
        let whence = |candidate: Candidate| {
            let Candidate { line, came, arrived, envelopes } = candidate;
            ((line, came, envelopes), arrived)
        };
        let (whence, entries): (Vec<_>, Vec<Arrived>) = candidates.into_iter().map(whence).unzip();
        let ids: Vec<(EntryId, Tag)> = entries.iter().map(|arrived| (arrived.id, arrived.tag)).collect();
        let size = self.node.store.size();
        let fates = match &mut self.dry_run {
            Some(dry_run) => dry_run.imagine(self.node, entries)?,
            None => self.submit(entries)?,
        };
        let mut missing = Vec::new();
        let mut settled = Vec::new();
        for ((fate, (id, tag)), (line, came, envelopes)) in fates.into_iter().zip(ids).zip(whence) {
            match fate {
                Fate::Added => {
                    self.summary.added += 1;
                    self.unsynced += 1;
                    if self.dry_run.is_some() {
                        added.push((id, tag));
                    }
                }
                Fate::Known => self.summary.known += 1,
                Fate::Completed => self.summary.completed += 1,
                Fate::Refused(cause) => self.refuse(&came, cause.refusal(line, None, Some(id)))?,
                Fate::MissingPrev(prev, arrived) => {
                    missing.push((prev, Candidate { line, came, arrived: *arrived, envelopes }));
                    continue;
                }
            }
            settled.push(id);
        }
        self.settle(&settled)?;
        self.park(missing, size)
    }

    /// Runs `act` on the room in which this import lets entries wait.
    fn room<T>(&mut self, act: impl FnOnce(&mut Room, &Store) -> Result<T>) -> Result<T> {
        let store = &self.node.store;
        match &mut self.dry_run {
            Some(dry_run) => act(&mut dry_run.room, store),
            None => self.waiting.with(&self.node.store, |room| act(room, store)),
        }
    }

    /// These left the room and are in, or refused.
    fn settle(&mut self, ids: &[EntryId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.room(|room, _| {
            ids.iter().for_each(|id| room.settle(id));
            Ok(())
        })
    }

    /// Lets entries wait whose prev is not here.
    fn park(&mut self, missing: Vec<(EntryId, Candidate)>, size: u64) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let (from, asks, now) = (self.options.from.says(), self.asks, self.node.committer.now());
        self.parked.extend(missing.iter().map(|(_, candidate)| candidate.arrived.id));
        if let Some(dry_run) = &mut self.dry_run {
            let store = &self.node.store;
            let again = |id: &EntryId| self.waiting.with(&self.node.store, |room| room.has(store, id));
            for (_, candidate) in &missing {
                if again(&candidate.arrived.id)? {
                    dry_run.moves(candidate.arrived.id);
                }
            }
        }
        let mut refused = Vec::new();
        let mut gone = Vec::new();
        let is_heavy = self.room(|room, store| {
            for (prev, candidate) in missing {
                let arrival = Arrival { prev, candidate, from, now, asks, size };
                match room.park(store, arrival, &mut gone)? {
                    Parking::Waits => {}
                    Parking::Full(candidate) => refused.push((Cause::no_room(Some(&prev)), candidate)),
                    Parking::Crossed(candidate) => refused.push((Cause::other_thing(&prev), candidate)),
                }
            }
            Ok(room.is_heavy())
        })?;
        for (cause, candidate) in refused {
            let refusal = cause.refusal(candidate.line, None, Some(candidate.arrived.id));
            self.refuse(&candidate.came, refusal)?;
        }
        for one in gone {
            self.tell_gone(&one, Cause::no_room(None))?;
        }
        if is_heavy && self.dry_run.is_none() {
            self.flush()?;
        }
        Ok(())
    }

    /// Tells of an entry that waits no more: as refused if it came with this
    /// import, else it is its sender who will hear.
    fn tell_gone(&mut self, gone: &Gone, cause: Cause) -> Result<()> {
        if gone.is_own || cause.code.kind() == RefusalKind::Permanent {
            return self.refuse(&gone.came, cause.refusal(gone.line, None, Some(gone.id)));
        }
        self.summary.dropped += 1;
        Ok(())
    }

    /// Who waited for what has come.
    fn released(&mut self, added: &[(EntryId, Tag)]) -> Result<Vec<(EntryId, Vec<ReleasedLine>)>> {
        let asks = self.asks;
        let released = match &mut self.dry_run {
            None => self.waiting.with(&self.node.store, |room| room.catch_up(&self.node.store, asks))?,
            Some(dry_run) => {
                let store = &self.node.store;
                let mut released = Vec::new();
                for (id, tag) in added {
                    released.extend(dry_run.room.release_imagined(store, id, *tag, asks));
                    let copies = self.waiting.with(&self.node.store, |room| room.copies(store, id))?;
                    let copies = copies.into_iter().filter(|(id, ..)| dry_run.moves(*id));
                    released.extend(
                        copies.map(|(id, raw, hand)| Released::Goes(id, vec![ReleasedLine::Stored(raw, hand)])),
                    );
                }
                released
            }
        };
        let mut goes = Vec::new();
        for one in released {
            match one {
                Released::Goes(id, lines) => goes.push((id, lines)),
                Released::Crossed(prev, gone) => self.tell_gone(&gone, Cause::other_thing(&prev))?,
            }
        }
        Ok(goes)
    }

    /// The next of those who go on, as many as should be committed at once.
    /// They were accepted when they came; what has lost its trust since does
    /// not go on.
    fn next_released(&mut self, released: &mut VecDeque<(EntryId, Vec<ReleasedLine>)>) -> Result<Vec<Candidate>> {
        let mut memos = Memos::default();
        let (mut candidates, mut bytes) = (Vec::new(), 0);
        let mut settled = Vec::new();
        while candidates.len() < MAX_HELD && bytes < self.most_held_bytes {
            let Some((id, lines)) = released.pop_front() else { break };
            let before = candidates.len();
            for line in lines {
                let candidate = match line {
                    ReleasedLine::Checked(candidate) => Some(*candidate),
                    ReleasedLine::Stored(raw, hand) => self.reread(id, raw, hand, &mut memos)?,
                };
                bytes += candidate.as_ref().map_or(0, Candidate::bytes);
                candidates.extend(candidate);
            }
            if candidates.len() == before {
                settled.push(id);
            }
        }
        self.settle(&settled)?;
        Ok(candidates)
    }

    fn reread(&mut self, id: EntryId, raw: Vec<u8>, hand: Hand, memos: &mut Memos) -> Result<Option<Candidate>> {
        // One that decodes no more is as good as lost: whoever sent it has it.
        let Ok(Line::Entry(entry)) = Line::parse(&raw, 0) else { return Ok(None) };
        let tag = self.node.store.tag(&entry.header.thing);
        let checked = match self.checker.withdrawn(&entry.header) {
            // Who brought it then is not who sends the stream at hand.
            Ok(()) => self.checker.entry(0, *entry, tag, (hand, None), memos).map_err(|refused| refused.0),
            Err(cause) => Err(cause),
        };
        match checked {
            Ok(mut candidate) => {
                if self.asks.keeps {
                    candidate.came = Came::Line(RawLine::alone(raw));
                }
                Ok(Some(candidate))
            }
            Err(cause) => {
                self.refuse(&Came::Line(RawLine::alone(raw)), cause.refusal(0, None, Some(id)))?;
                Ok(None)
            }
        }
    }

    fn submit(&mut self, entries: Vec<Arrived>) -> Result<Vec<Fate>> {
        // One may complete what lies anywhere in the ledger.
        if self.originals.is_none() && self.node.store.originals.may_arrive() {
            self.originals = Some(self.node.originals_come(0)?);
        }
        let from = self.options.from.says();
        let (imported, erased) = self.node.import(entries, from)?;
        self.summary.erased += erased;
        self.summary.envelopes_dropped += imported.dropped;
        Ok(imported.fates)
    }

    /// Refuses what came with this import and waits for an entry of another
    /// thing: it can never go on. No row finds an entry by its id alone, so the
    /// ids of the ledger are gone through, once, and only if something waits
    /// that did not before. Where the other entry comes later, that is seen then.
    fn refuse_crossed(&mut self) -> Result<()> {
        let parked = std::mem::take(&mut self.parked);
        let waits = self.room(|room, _| Ok(room.prev_of(&parked)))?;
        if waits.is_empty() {
            return Ok(());
        }
        let wanted: HashSet<EntryId> = waits.iter().map(|(prev, _)| *prev).collect();
        let mut tag_of: HashMap<EntryId, Tag> = self
            .room(|room, _| Ok(wanted.iter().filter_map(|prev| room.tag_of(prev).map(|tag| (*prev, tag))).collect()))?;
        let mut places = Vec::new();
        let scanned = self.node.store.scan_ids(|position, id| {
            places.extend(wanted.get(&EntryId(id)).map(|_| position));
            true
        });
        // Where ids cannot be read, nothing is known of them.
        match scanned {
            Err(problem) if !problem.is_damaged() => return Err(problem),
            _ => {}
        }
        for position in places {
            if let Ok(found) = self.node.store.located_at(position) {
                tag_of.insert(found.id, self.node.store.tag(&found.header.thing));
            }
        }
        let asks = self.asks;
        for (prev, id) in waits {
            let Some(tag) = tag_of.get(&prev) else { continue };
            let gone = self.room(|room, store| {
                let is_other = room.tag_of(&id).is_some_and(|own| own != *tag);
                Ok(if is_other { room.take(store, &id, asks) } else { None })
            })?;
            if let Some(gone) = gone {
                self.tell_gone(&gone, Cause::other_thing(&prev))?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.waiting.with(&self.node.store, |room| room.flush(self.node))
    }

    fn refuse(&mut self, came: &Came, refusal: Refusal) -> Result<()> {
        self.summary.refused += 1;
        self.summary.kinds.count(&refusal);
        self.tell(refusal);
        if let Some(out) = &mut self.options.rejects {
            let most = self.bytes.saturating_mul(REJECTS_RATIO).saturating_add(REJECTS_FREE_BYTES);
            let (written, is_bare) = came.write_to(out, most.saturating_sub(self.kept_bytes)).map_err(rejects)?;
            self.kept_bytes = self.kept_bytes.saturating_add(written);
            self.summary.kept_bare += u64::from(is_bare);
        }
        Ok(())
    }

    fn tell(&mut self, refusal: Refusal) {
        if let Some(tell) = &mut self.options.refused {
            tell(&refusal);
        }
        if self.summary.reasons.len() < MAX_REASONS {
            self.summary.reasons.push(refusal);
        }
    }

    /// The stream has ended, or was left.
    fn finish(mut self) -> Result<ImportSummary> {
        self.commit_held()?;
        self.summary.stopped = self.stops() && !self.summary.limited;
        self.refuse_crossed()?;
        let waiting = self.waiting.with(&self.node.store, |room| Ok(room.len()))?;
        self.summary.pending = self.dry_run.as_ref().map_or(waiting, |dry_run| dry_run.pending(waiting));
        if self.dry_run.is_none() {
            self.flush()?;
            self.node.sync()?;
        }
        let was_left = self.stops();
        let ended = self.framing.finish(was_left);
        self.summary.stream = ended.state;
        self.summary.broken = ended.cause;
        self.summary.card = ended.card;
        self.summary.conflicts = ended.conflicts;
        if let Some(out) = &mut self.options.rejects {
            out.flush().map_err(rejects)?;
        }
        Ok(self.summary)
    }
}

/// An import that takes something out of the waiting room.
struct Stay<'a> {
    node: &'a Node,
    waiting: &'a WaitingRoom,
    asks: Asks,
}

impl Drop for Stay<'_> {
    /// What was let go and did not get its turn goes back, and what waits since
    /// now is kept if it can be.
    fn drop(&mut self) {
        let _ = self.waiting.with(&self.node.store, |room| {
            room.put_back(self.asks);
            room.flush(self.node)
        });
    }
}

fn rejects(source: std::io::Error) -> Error {
    Error::Stream { action: "written (rejects)", source: Arc::new(source) }
}

//! Takes checked lines in, in the order of the stream: commits what can be
//! committed, lets wait what came before its prev, and counts.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use thingdb_format::{EntryId, Line, Signature};

use super::check::{Came, Candidate, Checked, Checker, Memos, Outcome, RawLine, Seen};
use super::framing::{Framing, Unread};
use super::import::{ImportOptions, ImportSummary};
use super::pending::{self, Pending};
use super::refusal::{Cause, Refusal, RefusalCode};
use crate::committer::{Arrived, Done, Fate, Job, Links, Place, Verdict};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::options::Durability;
use crate::progress;
use crate::provenance::Hand;
use crate::schema::Tag;

/// Entries after which an import makes sure that they are durable.
const SYNC_ENTRIES: u64 = 32_768;

/// Reasons that a summary lists one by one.
const MAX_REASONS: usize = 1000;

/// Entries that are held back until their batch is complete.
const MAX_HELD: usize = 8192;

/// Bytes that are held back until then.
const MAX_HELD_BYTES: usize = 16 << 20;

pub(super) struct Intake<'a, 'o> {
    db: &'a Db,
    options: ImportOptions<'o>,
    framing: Framing<'a>,
    /// Entries to commit, held back in the middle of a batch: a batch that is
    /// committed whole is stored without its inclusion paths.
    held: Vec<Candidate>,
    held_bytes: usize,
    pending: Pending,
    /// The rows of what waited when this import began.
    loaded: Vec<Vec<u8>>,
    /// With a dry run: what would be here, with seq and time.
    imagined: HashMap<EntryId, (Tag, Place)>,
    links: Links,
    unsynced: u64,
    lines: u64,
    bytes: u64,
    summary: ImportSummary,
}

impl<'a, 'o> Intake<'a, 'o> {
    /// With the entries that an earlier import left waiting.
    pub(super) fn new(db: &'a Db, checker: &Checker<'_>, options: ImportOptions<'o>) -> Result<Self> {
        let mut intake = Self {
            db,
            framing: Framing::new(db, !options.dry_run, options.is_rewritten),
            options,
            held: Vec::new(),
            held_bytes: 0,
            pending: Pending::default(),
            loaded: Vec::new(),
            imagined: HashMap::new(),
            links: Links::default(),
            unsynced: 0,
            lines: 0,
            bytes: 0,
            summary: ImportSummary::default(),
        };
        let mut memos = Memos::default();
        let mut waiting = Vec::new();
        for raw in pending::load(&db.store, &mut intake.loaded)? {
            // It was accepted when it came. What has lost its trust since does
            // not go on. Who brought it then is not known now, and is not who
            // sends the stream at hand.
            let Ok(Line::Entry(entry)) = Line::parse(&raw, 0) else { continue };
            if checker.withdrawn(&entry.header).is_err() {
                continue;
            }
            let tag = db.store.tag(&entry.header.thing);
            if let Ok(candidate) = checker.entry(0, *entry, tag, Hand::unknown(), &mut memos) {
                waiting.push(candidate);
            }
        }
        if !waiting.is_empty() {
            intake.commit(waiting)?;
        }
        // What is here because of an earlier import is not this one's.
        intake.summary = ImportSummary::default();
        Ok(intake)
    }

    /// Takes the lines of a chunk. Breaks off if it should end here.
    pub(super) fn take(&mut self, Outcome { read, held, checked }: Outcome) -> Result<ControlFlow<()>> {
        self.bytes += read;
        self.held_bytes = self.held_bytes.saturating_add(held);
        for Seen { hash, what } in checked {
            self.lines += 1;
            match what {
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
        if !self.is_amid_batch() || self.held.len() >= MAX_HELD || self.held_bytes >= MAX_HELD_BYTES {
            self.commit_held()?;
        }
        progress::tell(&mut self.options.progress, self.lines, 0, self.bytes);
        Ok(if self.stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    const fn stops(&self) -> bool {
        self.options.fail_fast && self.summary.refused > 0
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
        while !candidates.is_empty() {
            let whence = |candidate: Candidate| {
                let Candidate { line, came, arrived, envelopes } = candidate;
                ((line, came, envelopes), arrived)
            };
            let (whence, entries): (Vec<_>, Vec<Arrived>) = candidates.drain(..).map(whence).unzip();
            let ids: Vec<EntryId> = entries.iter().map(|arrived| arrived.id).collect();
            let fates = if self.options.dry_run { self.imagine(entries)? } else { self.submit(entries)? };
            for ((fate, id), (line, came, envelopes)) in fates.into_iter().zip(ids).zip(whence) {
                match fate {
                    Fate::Added => {
                        self.summary.added += 1;
                        self.unsynced += 1;
                        candidates.extend(self.pending.release(&id));
                    }
                    Fate::Known => self.summary.known += 1,
                    Fate::Completed => self.summary.completed += 1,
                    Fate::Refused(cause) => self.refuse(&came, cause.refusal(line, None, Some(id)))?,
                    Fate::MissingPrev(prev, arrived) => {
                        let candidate = Candidate { line, came, arrived: *arrived, envelopes };
                        if let Err(candidate) = self.pending.wait(prev, candidate) {
                            let reason = format!("its prev {prev} is not here, and too many entries wait already");
                            let cause = Cause::new(RefusalCode::WaitingRoomFull, reason);
                            self.refuse(&candidate.came, cause.refusal(line, None, Some(id)))?;
                        }
                    }
                }
            }
        }
        if self.unsynced >= SYNC_ENTRIES {
            self.unsynced = 0;
            self.db.sync()?;
        }
        Ok(())
    }

    fn submit(&mut self, entries: Vec<Arrived>) -> Result<Vec<Fate>> {
        let from = self.options.from.says();
        let (done, ticket) = self.db.committer.submit(&self.db.store, Job::Import(entries, from))?;
        self.db.settle(ticket, Durability::Relaxed)?;
        match done {
            Done::Imported(fates, dropped) => {
                self.summary.envelopes_dropped += dropped;
                Ok(fates)
            }
            _ => unreachable!("an import is answered as an import"),
        }
    }

    /// What would become of entries.
    fn imagine(&mut self, entries: Vec<Arrived>) -> Result<Vec<Fate>> {
        let imagined = &self.imagined;
        self.links.look_for(&self.db.store, &entries, |id| imagined.contains_key(id))?;
        entries
            .into_iter()
            .map(|arrived| match self.imagine_one(arrived) {
                Err(Error::Damaged { what, detail }) => Ok(Fate::Refused(Cause::damaged_here(&what, &detail))),
                fate => fate,
            })
            .collect()
    }

    fn imagine_one(&mut self, arrived: Arrived) -> Result<Fate> {
        let store = &self.db.store;
        let header = &arrived.header;
        if self.imagined.contains_key(&arrived.id) {
            return Ok(Fate::Known);
        }
        if let Some(state) = store.state(&arrived.tag)?
            && store.find(&arrived.tag, &state, &arrived.id, Some(header.seq))?.is_some()
        {
            return Ok(Fate::Known);
        }
        let imagined = &self.imagined;
        let taken = |id: &EntryId| imagined.get(id).copied();
        match self.links.judge(&self.db.committer, store, &arrived, taken)? {
            Verdict::Follows => {}
            Verdict::Missing(prev) => return Ok(Fate::MissingPrev(prev, Box::new(arrived))),
            Verdict::Refused(cause) => return Ok(Fate::Refused(cause)),
        }
        self.imagined.insert(arrived.id, (arrived.tag, (header.seq, header.time)));
        Ok(Fate::Added)
    }

    /// Refuses what waits for an entry of another thing: it can never go on. No
    /// row finds an entry by its id alone, so the ids of the ledger are gone
    /// through, once an import and only if something waits.
    fn refuse_crossed(&mut self) -> Result<()> {
        if self.pending.len() == 0 {
            return Ok(());
        }
        let wanted: HashSet<EntryId> = self.pending.entries().flat_map(|(header, ..)| header.prev.clone()).collect();
        let imagined = self.imagined.iter().map(|(id, (tag, _))| (*id, *tag));
        let waiting = self.pending.entries().map(|(_, id, tag)| (id, tag));
        let mut tag_of: HashMap<EntryId, Tag> = imagined.chain(waiting).filter(|(id, _)| wanted.contains(id)).collect();
        let mut places = Vec::new();
        let scanned = self.db.scan_ids(|position, id| {
            places.extend(wanted.get(&EntryId(id)).map(|_| position));
            true
        });
        // Where ids cannot be read, nothing is known of them.
        match scanned {
            Err(problem) if !problem.is_damaged() => return Err(problem),
            _ => {}
        }
        for position in places {
            if let Ok(found) = self.db.store.located_at(position) {
                tag_of.insert(found.id, self.db.store.tag(&found.header.thing));
            }
        }
        for (prev, candidate) in self.pending.take_crossed(&tag_of) {
            let came = match self.options.rejects {
                Some(_) => Came::Line(RawLine::alone(candidate.to_line())),
                None => Came::NotKept,
            };
            let id = Some(candidate.arrived.id);
            self.refuse(&came, Cause::other_thing(&prev).refusal(candidate.line, None, id))?;
        }
        Ok(())
    }

    fn refuse(&mut self, came: &Came, refusal: Refusal) -> Result<()> {
        self.summary.refused += 1;
        self.summary.kinds.count(&refusal);
        self.tell(refusal);
        if let Some(out) = &mut self.options.rejects {
            came.write_to(out).map_err(rejects)?;
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
    pub(super) fn finish(mut self) -> Result<ImportSummary> {
        self.commit_held()?;
        self.summary.stopped = self.stops();
        self.refuse_crossed()?;
        self.summary.pending = self.pending.len() as u64;
        if !self.options.dry_run {
            pending::save(&self.db.store, &self.db.committer, self.pending, self.loaded)?;
            self.db.sync()?;
        }
        let ended = self.framing.finish(self.summary.stopped);
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

fn rejects(source: std::io::Error) -> Error {
    Error::Stream { action: "written (rejects)", source: Arc::new(source) }
}

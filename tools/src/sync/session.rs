//! An exchange with one peer: what to fetch, what to send, and from where to
//! go on the next time.
//!
//! Ledgers only grow, so the exchange keeps positions: everything below them is
//! done. What lies above is compared by the first halves of ids, and what the
//! other side lacks goes in windows of a few seconds each. A broken line costs
//! what was under way in the window and had not come whole.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use thingdb::{Cursors, Db, Observation, Origin, Outgoing, Peer, ShortId, SignedCheckpoint, short_id};

use super::fault::{Fault, Outcome};
use super::reconcile::{self, Difference, Ids};
use super::remote::Remote;
use super::stream::{self, Packer};
use super::wire::{self, MAX_IDS, MAX_RANGES, Reason, Shown, State};
use crate::client::fault::Fault as ClientFault;

/// The largest entry in a stream, about.
const MAX_ENTRY_BYTES: u64 = 24 << 20;

/// How long a window should take.
const WINDOW_TIME: Duration = Duration::from_secs(4);

/// Bytes of the first window, before the line is known, and of the smallest
/// and largest one.
const FIRST_WINDOW: u64 = 16 << 10;
const LEAST_WINDOW: u64 = 2 << 10;
const MOST_WINDOW: u64 = 16 << 20;

/// What an entry takes on the wire before any was seen.
const ENTRY_BYTES: u64 = 600;

/// Ids of the peer's entries that are kept to know what it has.
const MAX_LISTED: usize = 4 << 20;

/// Ids that are asked about at once while sending.
const ASK_IDS: usize = 4096;

/// Reasons that a summary keeps.
const MAX_REASONS: usize = 100;

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

/// What became of entries that went one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count {
    /// Entries that were not there.
    pub(crate) added: u64,
    /// Entries that were there all the same.
    pub(crate) known: u64,
    /// Entries that lacked something that came now.
    pub(crate) completed: u64,
    /// Entries that wait for others.
    pub(crate) pending: u64,
    /// Entries that were refused.
    pub(crate) refused: u64,
    /// Why, for the first of them.
    pub(crate) reasons: Vec<Reason>,
    /// With a dry run: entries that would go.
    pub(crate) planned: u64,
    /// With a dry run: about how many bytes they would take.
    pub(crate) planned_bytes: u64,
}

/// What an exchange did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    /// Entries that came.
    pub(crate) pulled: Count,
    /// Entries that went.
    pub(crate) pushed: Count,
    /// Entries that went and that no envelope lets the peer read.
    pub(crate) unreadable: u64,
    /// The prefix of all things that were exchanged: the one that was asked for,
    /// or the one that the token is for.
    pub(crate) things: String,
    /// Whether the peer knows this node by its token, and so remembers how its
    /// ledger stands.
    pub(crate) is_known: bool,
    /// Entries in the peer's ledger.
    pub(crate) peer_size: u64,
    /// The newest revision in the peer's log of completions.
    pub(crate) peer_revision: u64,
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
}

/// The peer as it was when the exchange began.
struct Greeting {
    size: u64,
    revision: u64,
}

/// Entries of the peer, by position and id.
type Places = Vec<(u64, ShortId)>;

/// What is known of what the peer has.
enum There {
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
        Self { db, peer, origin: peer.origin(), prefix, plan, remote, tick, window: Window::new(), summary }
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
        let mut there = if self.plan.all { There::Ignore } else { There::Ask };
        if self.plan.pull {
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
        let mut size = greeting.size;
        if self.plan.push {
            size = self.push(&greeting, &mut cursors, &there)?;
        }
        self.summary.peer_size = size;
        self.summary.peer_revision = greeting.revision;
        if !self.plan.dry_run {
            self.settle(&greeting, cursors, size)?;
        }
        Ok(self.summary.clone())
    }

    /// Learns how the peer stands, and shows it how this node does.
    fn greet(&mut self) -> Outcome<Greeting> {
        let own = self.db.origin();
        loop {
            let remembered = self.db.remembered(&self.origin)?;
            if let Some(conflict) = remembered.conflict {
                return Err(Fault::Contradiction(Box::new(conflict)));
            }
            let known = remembered.checkpoint.map_or(0, |note| note.claimed().size);
            let state = self.remote.state(&own, known)?;
            let note = self.checkpoint_of(&state)?;
            let proof = wire::hashes_of_text(&state.proof).ok_or_else(|| Fault::answer("a proof that is none"))?;
            match self.db.observe_checkpoint(&self.peer.card.node_key, &note, known, &proof)? {
                Observation::Contradicts(conflict) => return Err(Fault::Contradiction(conflict)),
                // Another exchange with the same peer was faster.
                Observation::Outdated => continue,
                _ => {}
            }
            self.narrow(&state)?;
            self.summary.things.clone_from(&self.prefix);
            self.summary.is_known = state.peer;
            if state.peer {
                self.introduce(&state)?;
            }
            return Ok(Greeting { size: note.claimed().size, revision: state.revision });
        }
    }

    fn checkpoint_of(&self, state: &State) -> Outcome<SignedCheckpoint> {
        if state.origin != self.origin.to_string() {
            let detail = format!("it is the node {}, not {}", state.origin, self.origin);
            return Err(Fault::wrong_peer(detail));
        }
        let note = SignedCheckpoint::parse(&state.checkpoint).map_err(Fault::answer)?;
        note.verify(&self.peer.card.node_key)
            .map_err(|_| Fault::wrong_peer("its checkpoint is not signed with the key on the peer's card"))?;
        Ok(note)
    }

    /// Takes over the prefix of the token if it is the longer one: cursors for
    /// more than the peer shows would be wrong.
    fn narrow(&mut self, state: &State) -> Outcome {
        if state.things.starts_with(&self.prefix) {
            self.prefix.clone_from(&state.things);
        } else if !self.prefix.starts_with(&state.things) {
            let detail = format!("it is for things that begin with {:?} only", state.things);
            return Err(ClientFault::Token(detail).into());
        }
        Ok(())
    }

    /// Shows this node's checkpoint to a peer that remembers an older one. A
    /// ledger that was set back to an older state shows here.
    fn introduce(&mut self, state: &State) -> Outcome {
        let own = match self.db.newest_checkpoint() {
            Ok(own) => own,
            // A ledger that cannot be signed has nothing new to show.
            Err(problem) if problem.is_read_only() => return Ok(()),
            Err(problem) => return Err(problem.into()),
        };
        let remembered = state.remembered.as_deref().map(SignedCheckpoint::parse).transpose().map_err(Fault::answer)?;
        // What is not signed by this node says nothing of it.
        let remembered = remembered.filter(|note| note.verify(&self.db.node_key()).is_ok());
        let since = remembered.as_ref().map_or(0, |note| note.claimed().size);
        let standing = remembered.as_ref().map(|note| self.db.standing(note)).transpose()?;
        let is_rolled_back = standing.as_ref().is_some_and(|standing| !standing.is_consistent());
        if !self.plan.dry_run && (is_rolled_back || since != own.claimed().size) {
            let proof = if since <= own.claimed().size && !is_rolled_back {
                self.db.consistency_proof(since, own.claimed().size)?
            } else {
                Vec::new()
            };
            let shown = Shown {
                node: self.db.origin().to_string(),
                since,
                checkpoint: own.to_string(),
                proof: wire::hashes_to_text(&proof),
            };
            let seen = self.remote.show(&shown)?;
            if !is_rolled_back && matches!(seen.observed.as_str(), "rolled-back" | "split-view") {
                return Err(Fault::Accused(seen.observed));
            }
        }
        match standing.filter(|standing| !standing.is_consistent()) {
            Some(standing) => Err(Fault::OwnRollback(standing)),
            None => state.contradiction.clone().map_or(Ok(()), |word| Err(Fault::Accused(word))),
        }
    }

    /// What differs, if this is the first exchange of two nodes that both have
    /// many entries, and little does.
    fn differ(&mut self, greeting: &Greeting, cursors: &Cursors) -> Outcome<Option<Difference>> {
        let own = self.db.ledger_size();
        let is_first = *cursors == Cursors::default() && !self.plan.all && self.prefix.is_empty();
        if !is_first || !reconcile::ENTRIES.contains(&own) || !reconcile::ENTRIES.contains(&greeting.size) {
            return Ok(None);
        }
        let ids = Ids::of(self.db, own)?;
        let (remote, size) = (&mut self.remote, greeting.size);
        // A list of ids takes 16 bytes each.
        reconcile::compare(&ids, size * 8, |message| remote.reconcile(size, message))
    }

    /// Fetches these entries, which are all that is not here.
    fn pull_lacking(&mut self, greeting: &Greeting, cursors: &mut Cursors, ids: &[ShortId]) -> Outcome {
        if self.plan.dry_run {
            self.summary.pulled.planned += ids.len() as u64;
            self.summary.pulled.planned_bytes += ids.len() as u64 * self.window.entry_bytes;
            return Ok(());
        }
        let positions = self.remote.locate(ids)?;
        let (begin, total) = (positions.first().copied().unwrap_or(0), greeting.size);
        self.fetch(&positions, None, &|done| (done - begin, total.saturating_sub(begin)))?;
        cursors.pulled = greeting.size;
        self.note(*cursors)?;
        self.pull_completed(greeting, cursors, &positions.into_iter().collect())
    }

    /// Fetches what is not here. Gives the ids of the entries that came to the
    /// peer since the last exchange, if they are all known.
    fn pull(&mut self, greeting: &Greeting, cursors: &mut Cursors) -> Outcome<Option<HashSet<ShortId>>> {
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
                    let ids: Vec<ShortId> = places.iter().map(|(_, id)| *id).collect();
                    if listed.len() < MAX_LISTED {
                        listed.extend(ids.iter().copied());
                    }
                    let here = if self.plan.all { vec![false; ids.len()] } else { self.db.have(&ids, "")? };
                    let missing = places.iter().zip(here).filter(|(_, here)| !here);
                    missing.map(|((position, _), _)| *position).collect()
                }
            };
            if self.plan.dry_run {
                self.summary.pulled.planned += missing.len() as u64;
                self.summary.pulled.planned_bytes += missing.len() as u64 * self.window.entry_bytes;
            } else {
                self.fetch(&missing, Some(cursors), &|done| (done - begin, total))?;
                fetched.extend(missing);
                cursors.pulled = next;
                self.note(*cursors)?;
            }
            since = next;
        }
        if !self.plan.dry_run {
            self.pull_completed(greeting, cursors, &fetched)?;
        }
        let here = self.db.ledger_size();
        if is_empty && fetched.len() as u64 == here && self.summary.pulled.added == here {
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
            return Ok((until.min(since + most), None));
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
        while cursors.pulled_revision < greeting.revision {
            let own = self.db.origin();
            let changes = self.remote.changes(&self.prefix, &own, cursors.pulled_revision)?;
            let mut positions = changes.positions;
            positions.retain(|position| !fetched.contains(position));
            positions.sort_unstable();
            positions.dedup();
            let total = positions.len() as u64;
            if changes.more && changes.revision <= cursors.pulled_revision {
                return Err(Fault::answer("completions that do not go on"));
            }
            // They lie anywhere, and do not move the position.
            self.fetch(&positions, None, &|_| (0, total))?;
            // What was fetched may have been completed after that: completions
            // later than the greeting are for the next time.
            cursors.pulled_revision = cursors.pulled_revision.max(changes.revision.min(greeting.revision));
            self.note(*cursors)?;
            if !changes.more {
                break;
            }
        }
        Ok(())
    }

    /// Fetches the entries at these positions, a window at a time.
    fn fetch(
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
                self.note(**cursors)?;
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
    fn fetch_window(&mut self, ranges: &[std::ops::Range<u64>], asked: u64) -> Outcome<(u64, Option<ClientFault>)> {
        let (db, origin) = (self.db, self.origin);
        let prefix = self.prefix.clone();
        let (start, before) = (Instant::now(), self.remote.traffic().received());
        let mut taken = None;
        let answered = self.remote.fetch(&prefix, ranges, |mut body| {
            let unpacked = stream::unpacked(&mut body).map_err(|problem| Fault::of_line(&problem))?;
            // An answer without an end is none.
            let unpacked = unpacked.take((asked + 1).saturating_mul(MAX_ENTRY_BYTES));
            let entries = stream::take_in(db, Some(origin), &prefix, unpacked)?;
            let broken = entries.broken.as_ref().map(Fault::of_line);
            taken = Some(entries);
            broken.map_or(Ok(()), Err)
        });
        let came = taken.as_ref().map_or(0, |taken| taken.summary.entries);
        if let Some(taken) = taken {
            let reasons = taken.summary.reasons.into_iter();
            let count = &mut self.summary.pulled;
            count.added += taken.summary.added;
            count.known += taken.summary.known;
            count.completed += taken.summary.completed;
            count.pending = taken.summary.pending;
            count.refused += taken.summary.refused;
            count.keep(
                reasons.map(|refusal| Reason { id: refusal.id.map(|id| id.to_string()), reason: refusal.reason }),
            );
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

    /// Sends what the peer lacks. Gives the size of its ledger afterwards, if
    /// nobody else wrote to it; else the size that it had.
    fn push(&mut self, greeting: &Greeting, cursors: &mut Cursors, there: &There) -> Outcome<u64> {
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
        let mut ids = Vec::with_capacity(positions.len());
        for range in wire::ranges_of_positions(positions) {
            ids.extend(self.db.ids(range)?.iter().map(short_id));
        }
        let has = match there {
            There::Only(listed) => ids.iter().map(|id| listed.contains(id)).collect(),
            There::AllBut(lacking, _) => ids.iter().map(|id| !lacking.contains(id)).collect(),
            There::Ask => self.remote.have(&self.prefix, &ids)?,
            There::Ignore => vec![false; ids.len()],
        };
        Ok(positions.iter().zip(has).filter(|(_, has)| !has).map(|(position, _)| *position).collect())
    }

    /// Sends the entries that were completed here since the last time, up to a
    /// revision.
    fn push_completed(&mut self, cursors: &mut Cursors, revision: u64, sent: &HashSet<u64>, size: &mut u64) -> Outcome {
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
                    let came = usize::try_from(received.entries).unwrap_or(usize::MAX);
                    if came < tried {
                        return Err(Fault::answer("fewer entries arrived than were sent"));
                    }
                    // If another wrote to it meanwhile, or an entry that waited
                    // there went on, it is listed anew: only when each of these
                    // entries was added, and nothing else, is it known.
                    let all_added = received.added == tried as u64 && received.known == 0 && received.refused == 0;
                    if all_added && received.size.checked_sub(*size) == Some(tried as u64) {
                        *size = received.size;
                    }
                    self.summary.pushed.take(received);
                    left.drain(..tried.min(left.len()));
                }
                Err(Fault::Client(fault)) if fault.is_passing() => {
                    self.window.shrink();
                    self.remote.wait(fault)?;
                    // What came whole is there, and is not sent again.
                    let some = left.get(..tried.min(left.len())).unwrap_or(&left).to_vec();
                    let lacking: HashSet<u64> = self.lacking(&some, &There::Ask)?.into_iter().collect();
                    let arrived = some.iter().filter(|position| !lacking.contains(position)).count() as u64;
                    self.summary.pushed.added += arrived;
                    left.retain(|position| !some.contains(position) || lacking.contains(position));
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
    fn send_window(&mut self, positions: &[u64]) -> (usize, u64, Outcome<wire::Received>) {
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

    /// Notes from where the next exchange goes on.
    fn settle(&self, greeting: &Greeting, mut cursors: Cursors, size: u64) -> Outcome {
        if self.plan.push && cursors.pulled >= greeting.size {
            // Everything that it had was here before anything was sent, and what
            // came to it since came from here.
            cursors.pulled = size.max(greeting.size);
            cursors.seen = cursors.pulled;
        }
        self.note(cursors)
    }

    fn note(&self, cursors: Cursors) -> Outcome {
        Ok(self.db.set_cursors(&self.origin, &self.prefix, cursors)?)
    }
}

impl Count {
    /// Whether anything went.
    pub(crate) const fn is_something(&self) -> bool {
        self.added + self.completed + self.refused > 0
    }

    fn take(&mut self, received: wire::Received) {
        self.added += received.added;
        self.known += received.known;
        self.completed += received.completed;
        self.pending = received.pending;
        self.refused += received.refused;
        self.keep(received.reasons.into_iter());
    }

    fn keep(&mut self, reasons: impl Iterator<Item = Reason>) {
        let room = MAX_REASONS.saturating_sub(self.reasons.len());
        self.reasons.extend(reasons.take(room));
    }
}

/// As many ranges as a request may have.
fn limited(mut ranges: Vec<std::ops::Range<u64>>) -> Vec<std::ops::Range<u64>> {
    ranges.truncate(MAX_RANGES);
    ranges
}

/// Writes entries until about `most` bytes are packed, and has each counted.
/// What the database ran into goes into `broken`.
fn pack(
    db: &Db,
    ranges: &[std::ops::Range<u64>],
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

/// How much goes in one request: what takes a few seconds on this line, so
/// that a break costs little and a good line is not kept waiting.
struct Window {
    bytes: u64,
    entry_bytes: u64,
}

impl Window {
    const fn new() -> Self {
        Self { bytes: FIRST_WINDOW, entry_bytes: ENTRY_BYTES }
    }

    /// Entries that about fill it.
    fn entries(&self) -> usize {
        usize::try_from(self.bytes / self.entry_bytes).unwrap_or(usize::MAX).max(1)
    }

    /// So many bytes took so long.
    fn measure(&mut self, bytes: u64, entries: u64, time: Duration) {
        if let Some(each) = bytes.checked_div(entries) {
            self.entry_bytes = each.max(64);
        }
        let wanted = bytes as f64 / time.as_secs_f64().max(0.001) * WINDOW_TIME.as_secs_f64();
        let wanted = wanted.min(self.bytes as f64 * 4.0) as u64;
        self.bytes = wanted.clamp(LEAST_WINDOW, MOST_WINDOW);
    }

    fn shrink(&mut self) {
        self.bytes = (self.bytes / 2).max(LEAST_WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_follows_the_line() {
        let mut window = Window::new();
        for _ in 0..10 {
            let bytes = window.bytes;
            window.measure(bytes, bytes / 500, Duration::from_secs_f64(bytes as f64 / 1024.0));
        }
        assert_eq!((window.bytes, window.entries()), (4096, 8));
        for _ in 0..10 {
            let bytes = window.bytes;
            window.measure(bytes, bytes / 500, Duration::from_secs_f64(bytes as f64 / 100e6));
        }
        assert_eq!(window.bytes, MOST_WINDOW);
        for _ in 0..20 {
            window.shrink();
        }
        assert_eq!(window.bytes, LEAST_WINDOW);
    }
}

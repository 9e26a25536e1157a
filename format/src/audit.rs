//! Checks a stream without a database, a key or a network: each entry by
//! itself, the links between entries, and what the stream is as a whole.
//!
//! [`examine`] looks at one line, in any thread; [`Audit`] is given the results
//! in the order of the stream. An audit holds the id, thing, seq and time of
//! every entry, about 150 bytes each, and the name of every thing.
//!
//! What it cannot tell: whose keys these are, unless it is [told](Audit::trust);
//! what the payloads say; what came after the newest checkpoint.
//!
//! ```
//! use thingdb_format::audit::{Audit, Memos, examine};
//! # use thingdb_format::{Cek, Body, Checkpoint, Card, CardFields, DecryptionKey, Entry, Fields, Header, Signature, SigningKey, StreamHeader, Suite, ThingId, Time, Trailer, line, merkle, payload, signature};
//! # let key = SigningKey::generate(&mut rand::rng());
//! # let card = Card::sign(CardFields { time: Time::from_micros(0)?, node_key: key.node_key(),
//! #     encryption_key: DecryptionKey::generate(&mut rand::rng()).encryption_key(), tls: None, name: String::new(), actors: vec![] }, &key)?;
//! # let body = Body::new("alice", "create", "application/json", b"{}")?;
//! # let sealed = payload::seal(Suite::Aes256Gcm, &Cek::generate(&mut rand::rng()), body)?;
//! # let header = Header::new(Fields { suite: Suite::Aes256Gcm, thing: ThingId::new("x")?, seq: 1,
//! #     time: Time::from_micros(0)?, origin: key.node_key().origin(), actor: key.actor(), prev: vec![],
//! #     data_hash: sealed.data_hash, payload_hash: sealed.payload_hash, payload_len: sealed.payload.len() as u32 })?;
//! # let signature = Signature::Single(signature::sign_single(&key, &header.to_bytes()));
//! # let entry = Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] };
//! # let root = merkle::leaf(&entry.id());
//! # let note = Checkpoint::new(key.node_key().origin(), 1, root).sign(&key)?;
//! # let mut stream = Vec::new();
//! # StreamHeader { card: Some(card.clone()), checkpoint: None }.encode(&mut stream);
//! # line::encode(&entry, &mut stream);
//! # Trailer { entries: 1, root, digest: None, checkpoint: Some(note.clone()) }.encode(&mut stream);
//! let mut audit = Audit::new().trust(&card).kept(note);
//! let mut memos = Memos::default();
//! for (line, number) in stream.split_inclusive(|byte| *byte == b'\n').zip(1..) {
//!     audit.take(examine(line, number, &mut memos));
//! }
//! let report = audit.finish();
//! assert!(report.is_whole() && report.problems.is_empty());
//! # Ok::<(), thingdb_format::Error>(())
//! ```

mod signed;

use std::collections::{BTreeMap, HashMap, HashSet};

use signed::Signed;

use crate::signature::BatchMemo;
use crate::stream::{Extent, LineKind, Outcome, hash_of_line};
use crate::{
    Actor, Card, Entry, EntryId, Error, Hash, Header, Line, NodeKey, Origin, SignedCheckpoint, StreamCheck,
    StreamHeader, ThingId, Time, Trailer, Verifier,
};

/// Problems that a report lists one by one.
const MAX_PROBLEMS: usize = 1000;

/// Keys that are kept ready to verify with.
const MAX_VERIFIERS: usize = 1024;

/// What one who examines many lines remembers from line to line.
#[derive(Debug, Default)]
pub struct Memos {
    batch: BatchMemo,
    verifiers: HashMap<Actor, Verifier>,
}

impl Memos {
    pub(crate) fn verify(&mut self, entry: Entry) -> Result<EntryId, Error> {
        let actor = entry.header.actor;
        if !self.verifiers.contains_key(&actor) {
            if self.verifiers.len() >= MAX_VERIFIERS {
                self.verifiers.clear();
            }
            self.verifiers.insert(actor, Verifier::new(&actor.0)?);
        }
        let Some(verifier) = self.verifiers.get(&actor) else { return Err(Error::BadSignature { what: "the entry" }) };
        entry.verify_with(verifier, &mut self.batch).map(|verified| verified.id())
    }
}

/// A line or frame, looked at by itself.
#[derive(Debug)]
pub struct Examined {
    number: u64,
    hash: Hash,
    what: What,
}

#[derive(Debug)]
enum What {
    Blank,
    Header(Box<StreamHeader>),
    Trailer(Box<Trailer>),
    Entry { id: EntryId, is_stub: bool, header: Box<Header>, problem: Option<Error> },
    Unread { kind: LineKind, is_last: bool, begins_as_header: bool, problem: Error },
}

/// Looks at a line, with its line end; `number` is its place, from 1. The last
/// line of a stream may lack its line end.
#[must_use]
pub fn examine(line: &[u8], number: u64, memos: &mut Memos) -> Examined {
    let hash = hash_of_line(line);
    match Line::parse(line, number) {
        Ok(line) => examine_read(line, hash, number, memos),
        Err(problem) => {
            let (kind, is_last) = (LineKind::of(line), !line.ends_with(b"\n"));
            let begins_as_header = line.starts_with(b"{\"thingdb\":");
            Examined { number, hash, what: What::Unread { kind, is_last, begins_as_header, problem } }
        }
    }
}

/// The same for a line or frame that was read already; `hash` is that of its
/// line without its end, or of its frame with its length.
#[must_use]
pub fn examine_read(line: Line, hash: Hash, number: u64, memos: &mut Memos) -> Examined {
    let what = match line {
        Line::Blank => What::Blank,
        Line::Header(header) => What::Header(header),
        Line::Trailer(trailer) => What::Trailer(trailer),
        Line::Entry(entry) => {
            let (header, is_stub, id) = (Box::new(entry.header.clone()), entry.is_stub(), entry.id());
            let problem = memos.verify(*entry).err();
            What::Entry { id, is_stub, header, problem }
        }
    };
    Examined { number, hash, what }
}

/// What is wrong, in the words of `thingdb verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// A line or frame that is none, or a stream that is not what its trailer
    /// says.
    Unreadable,
    /// A newer version wrote a line or frame.
    Newer,
    /// The signature does not hold, or the key is none.
    BadSignature,
    /// The payload is not what the entry says.
    BadHash,
    /// Seq, time or thing do not follow from prev.
    BadLink,
    /// An entry that another one follows is not in the stream.
    MissingPrev,
    /// The kept checkpoint counts entries that did not come.
    Truncated,
    /// The first entries are others than the kept checkpoint says, or the node
    /// signed two ledgers.
    RolledBack,
    /// The checkpoint is not that of a node that is trusted.
    OtherNode,
    /// The entries do not stand where it is claimed in the ledger of the
    /// checkpoint.
    NotInLedger,
    /// The entries are not those of which the heads note knows.
    OtherHeads,
}

impl Fault {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Newer => "newer version",
            Self::BadSignature => "bad signature",
            Self::BadHash => "bad hash",
            Self::BadLink => "bad link",
            Self::MissingPrev => "missing prev",
            Self::Truncated => "truncated",
            Self::RolledBack => "rolled back",
            Self::OtherNode => "other node",
            Self::NotInLedger => "not in the ledger",
            Self::OtherHeads => "other heads",
        }
    }

    /// Whether something is false, and not only missing.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::MissingPrev)
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is.
    pub fault: Fault,
    /// The line or frame, from 1, if it is one's.
    pub line: Option<u64>,
    /// The entry, if it is one's.
    pub id: Option<EntryId>,
    /// The fact.
    pub detail: String,
}

/// What the stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whole {
    /// No header and no trailer.
    Bare,
    /// The whole ledger of the checkpoint.
    Whole,
    /// A part of it, or of something that nobody signed.
    Part,
    /// It ends early.
    Cut,
    /// It is not what its trailer says.
    Damaged,
    /// A newer version wrote it, or a line of it.
    Newer,
}

/// How the stream stands to a checkpoint that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The stream begins with the entries of the checkpoint.
    Holds,
    /// The ledger of the stream did not grow out of it.
    Contradicted,
    /// The ledger of the stream is smaller.
    Smaller,
    /// Not enough came to tell.
    Unknown,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Contradicted => "contradicted",
            Self::Smaller => "smaller",
            Self::Unknown => "unknown",
        }
    }
}

/// The outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Entries that came, whatever was wrong with them.
    pub entries: u64,
    /// Lines of an entry that came before.
    pub repeated: u64,
    /// Things that they are about.
    pub things: u64,
    /// Keys that signed them.
    pub actors: u64,
    /// Entries without payload.
    pub stubs: u64,
    /// Things with several heads, as far as they came.
    pub forked: u64,
    /// Entries of actors or origins that no card names that is trusted; all of
    /// them if none is.
    pub strangers: u64,
    /// What the stream is.
    pub stream: Whole,
    /// What the node signed last, and its key.
    pub checkpoint: Option<(NodeKey, SignedCheckpoint)>,
    /// How the stream stands to the checkpoint that was kept, if one was.
    pub kept: Option<Standing>,
    /// What is wrong, in the order of the stream; the first thousand.
    pub problems: Vec<Problem>,
    /// How much is wrong.
    pub problems_total: u64,
    /// How much of it is false, and not only missing.
    pub failures: u64,
}

impl Report {
    /// Whether everything holds, and it is the whole ledger of its checkpoint.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems_total == 0 && self.stream == Whole::Whole && self.kept.is_none_or(|kept| kept == Standing::Holds)
    }
}

/// Where an entry stands in its history. Things are numbered.
#[derive(Clone, Copy, Debug)]
struct Place {
    thing: u32,
    /// How many entries came before it.
    number: u32,
    is_followed: bool,
    seq: u64,
    time: Time,
}

/// Looks at a stream as a whole, from examined lines in their order.
#[derive(Debug, Default)]
pub struct Audit {
    check: StreamCheck,
    nodes: BTreeMap<Origin, NodeKey>,
    actors_trusted: HashSet<Actor>,
    kept: Option<SignedCheckpoint>,
    places: HashMap<EntryId, Place>,
    things: HashMap<ThingId, u32>,
    actors: HashSet<Actor>,
    /// Entries of which a prev had not come.
    waiting: Vec<(u64, EntryId, Vec<EntryId>)>,
    /// The graver of what is wrong with the stream.
    state: Option<Whole>,
    newest: Option<(NodeKey, SignedCheckpoint)>,
    signed: Signed,
    report: Report,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            entries: 0,
            repeated: 0,
            things: 0,
            actors: 0,
            stubs: 0,
            forked: 0,
            strangers: 0,
            stream: Whole::Bare,
            checkpoint: None,
            kept: None,
            problems: Vec::new(),
            problems_total: 0,
            failures: 0,
        }
    }
}

impl Audit {
    /// Trusting nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checkpoints must be of the node of this card, or of another that is
    /// trusted; its actors are known.
    #[must_use]
    pub fn trust(mut self, card: &Card) -> Self {
        self.nodes.insert(card.node_key.origin(), card.node_key);
        self.actors_trusted.extend(card.actors.iter().map(|(key, _)| *key));
        self.check = self.check.knowing([card.node_key]);
        self
    }

    /// The stream must begin with the entries of a checkpoint that was kept.
    #[must_use]
    pub fn kept(mut self, note: SignedCheckpoint) -> Self {
        self.check.watch(note.claimed());
        self.kept = Some(note);
        self
    }

    /// The lines come out of a JSON array: no digest is compared.
    #[must_use]
    pub fn rewritten(mut self, is_rewritten: bool) -> Self {
        self.check = self.check.rewritten(is_rewritten);
        self
    }

    /// Takes a line.
    pub fn take(&mut self, examined: Examined) {
        let Examined { number, hash, what } = examined;
        match what {
            What::Blank => {}
            What::Header(header) => {
                self.signed.begins();
                match self.check.header(&header) {
                    Ok(node) => {
                        if let Some((node, note)) = node.as_ref().zip(header.checkpoint.as_ref()) {
                            self.note(number, node, note);
                        }
                        self.is_trusted(number, node.or_else(|| header.card.as_ref().map(|card| card.node_key)));
                    }
                    Err(problem) => self.stream_problem(Some(number), &problem),
                }
            }
            What::Trailer(trailer) => match self.check.trailer(&trailer) {
                Ok(extent) => self.ended(number, extent),
                Err(problem) => {
                    self.signed.broken();
                    self.stream_problem(Some(number), &problem);
                }
            },
            What::Entry { id, is_stub, header, problem } => {
                self.report.entries = self.report.entries.saturating_add(1);
                if let Err(problem) = self.check.entry(&id, &hash) {
                    self.stream_problem(Some(number), &problem);
                }
                match problem {
                    Some(problem) => {
                        self.signed.entry(None);
                        self.add(fault_of(&problem), Some(number), Some(id), problem.to_string());
                    }
                    None => self.entry(number, id, is_stub, &header),
                }
            }
            What::Unread { kind, is_last, begins_as_header, problem } => {
                let was_torn = self.check.is_open() || (self.check.is_at_start() && begins_as_header);
                if is_last && was_torn && !problem.is_newer_version() {
                    self.worse(Whole::Cut);
                    return;
                }
                let refused = match kind {
                    LineKind::Header => {
                        self.signed.begins();
                        self.check.unreadable_header()
                    }
                    LineKind::Trailer => {
                        self.signed.broken();
                        self.check.unreadable_trailer();
                        Ok(())
                    }
                    LineKind::Entry | LineKind::Blank => {
                        self.check.unreadable(&hash);
                        Ok(())
                    }
                };
                if let Err(problem) = refused {
                    self.stream_problem(Some(number), &problem);
                }
                let is_framing = matches!(kind, LineKind::Header | LineKind::Trailer);
                if problem.is_newer_version() {
                    self.worse(Whole::Newer);
                } else if is_framing {
                    self.worse(Whole::Damaged);
                }
                self.add(fault_of(&problem), Some(number), None, problem.to_string());
            }
        }
    }

    /// The stream can be read no further.
    pub fn broken(&mut self, number: u64, problem: &Error) {
        self.stream_problem(Some(number), problem);
    }

    fn stream_problem(&mut self, number: Option<u64>, problem: &Error) {
        if matches!(problem, Error::Cut { .. }) {
            self.worse(Whole::Cut);
            return;
        }
        let is_newer = problem.is_newer_version();
        self.worse(if is_newer { Whole::Newer } else { Whole::Damaged });
        let fault = if is_newer { Fault::Newer } else { Fault::Unreadable };
        self.add(fault, number, None, problem.to_string());
    }

    fn worse(&mut self, state: Whole) {
        let gravity = |state: &Whole| match state {
            Whole::Newer => 3,
            Whole::Damaged => 2,
            Whole::Cut => 1,
            Whole::Bare | Whole::Whole | Whole::Part => 0,
        };
        if self.state.as_ref().map_or(0, gravity) < gravity(&state) {
            self.state = Some(state);
        }
    }

    fn is_trusted(&mut self, number: u64, node: Option<NodeKey>) {
        let Some(node) = node else { return };
        if !self.nodes.is_empty() && !self.nodes.values().any(|known| *known == node) {
            let detail = format!("the stream is that of the node {}, which no card is of", node.origin());
            self.add(Fault::OtherNode, Some(number), None, detail);
        }
    }

    fn ended(&mut self, number: u64, extent: Extent) {
        self.signed.ended(&extent);
        let (Extent::Whole(claim) | Extent::Part(claim)) = extent else { return };
        // That it contradicts one before it comes out in the end, with all others.
        self.note(number, &claim.node, &claim.note);
        let kept = self.kept.as_ref().map(SignedCheckpoint::claimed).filter(|kept| kept.origin == claim.node.origin());
        if let Some(kept) = kept
            && claim.root_at(kept.size).is_some_and(|root| root != kept.root)
        {
            let detail =
                format!("the first {} entries of the ledger are others than those of the kept checkpoint", kept.size);
            self.report.kept = Some(Standing::Contradicted);
            self.add(Fault::RolledBack, Some(number), None, detail);
        }
        let is_older = |(node, note): &(NodeKey, SignedCheckpoint)| {
            *node != claim.node || note.claimed().size <= claim.note.claimed().size
        };
        if self.newest.as_ref().is_none_or(is_older) {
            self.newest = Some((claim.node, claim.note));
        }
    }

    fn note(&mut self, number: u64, node: &NodeKey, note: &SignedCheckpoint) {
        if let Some(detail) = self.signed.note(number, node, note) {
            self.add(Fault::RolledBack, Some(number), None, detail);
        }
    }

    fn entry(&mut self, number: u64, id: EntryId, is_stub: bool, header: &Header) {
        self.actors.insert(header.actor);
        let is_known = self.actors_trusted.contains(&header.actor) && self.nodes.contains_key(&header.origin);
        self.report.strangers = self.report.strangers.saturating_add(u64::from(!is_known));
        if let Some(place) = self.places.get(&id) {
            self.signed.entry(Some(place.number));
            self.report.repeated = self.report.repeated.saturating_add(1);
            return;
        }
        self.report.stubs = self.report.stubs.saturating_add(u64::from(is_stub));
        // There are fewer things than a stream has bytes.
        let next = u32::try_from(self.things.len()).unwrap_or(u32::MAX);
        let thing = match self.things.get(&header.thing) {
            Some(thing) => *thing,
            None => *self.things.entry(header.thing.clone()).or_insert(next),
        };
        let number_of = u32::try_from(self.places.len()).ok();
        self.signed.entry(number_of);
        let place = Place {
            thing,
            number: number_of.unwrap_or(u32::MAX),
            is_followed: false,
            seq: header.seq,
            time: header.time,
        };
        self.places.insert(id, place);
        if header.prev.iter().all(|prev| self.places.contains_key(prev)) {
            self.link(number, id, &header.prev);
        } else {
            self.waiting.push((number, id, header.prev.clone()));
        }
    }

    /// Checks what must hold between an entry and those before it, all of which
    /// are there.
    fn link(&mut self, number: u64, id: EntryId, prev: &[EntryId]) {
        let Some(own) = self.places.get(&id).copied() else { return };
        let mut greatest = 0;
        let mut wrong = None;
        for prev in prev {
            let Some(place) = self.places.get_mut(prev) else { continue };
            place.is_followed = place.is_followed || place.thing == own.thing;
            greatest = greatest.max(place.seq);
            if place.thing != own.thing {
                wrong = Some(format!("its prev {prev} is an entry of another thing"));
            } else if place.time >= own.time {
                wrong = Some(format!("its time is not after that of its prev {prev}"));
            }
        }
        if wrong.is_none() && own.seq != greatest.saturating_add(1) {
            wrong = Some(format!("its seq is {}, that of its prev is {greatest}", own.seq));
        }
        if let Some(detail) = wrong {
            self.add(Fault::BadLink, Some(number), Some(id), detail);
        }
    }

    /// The stream has ended.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for (number, id, prev) in std::mem::take(&mut self.waiting) {
            match prev.iter().find(|prev| !self.places.contains_key(*prev)) {
                None => self.link(number, id, &prev),
                Some(missing) => {
                    // Those that came are followed all the same.
                    for prev in &prev {
                        if let Some(place) = self.places.get_mut(prev) {
                            place.is_followed = true;
                        }
                    }
                    self.add(Fault::MissingPrev, Some(number), Some(id), format!("its prev {missing} did not come"));
                }
            }
        }
        self.settle_kept();
        self.settle_signed();
        let outcome = std::mem::take(&mut self.check).finish();
        let mut report = std::mem::take(&mut self.report);
        report.stream = match (self.state.take(), outcome) {
            (Some(state), _) => state,
            (None, Err(_)) => Whole::Cut,
            (None, Ok(Outcome::Bare)) => Whole::Bare,
            (None, Ok(Outcome::Complete { extent: Extent::Whole(_), .. })) => Whole::Whole,
            (None, Ok(Outcome::Complete { .. })) => Whole::Part,
        };
        let mut heads: HashMap<u32, u32> = HashMap::new();
        for place in self.places.values().filter(|place| !place.is_followed) {
            let count = heads.entry(place.thing).or_default();
            *count = count.saturating_add(1);
        }
        report.forked = heads.values().filter(|count| **count > 1).count() as u64;
        report.things = self.things.len() as u64;
        report.actors = self.actors.len() as u64;
        report.checkpoint = self.newest;
        report.problems.sort_by_key(|problem| problem.line.unwrap_or(u64::MAX));
        report
    }

    fn settle_signed(&mut self) {
        if !self.signed.is_of_interest() {
            return;
        }
        let mut ids = vec![EntryId([0; 32]); self.places.len()];
        for (id, place) in &self.places {
            if let Some(slot) = ids.get_mut(place.number as usize) {
                *slot = *id;
            }
        }
        for (line, detail) in self.signed.contradictions(&ids) {
            self.add(Fault::RolledBack, Some(line), None, detail);
        }
    }

    fn settle_kept(&mut self) {
        let Some(kept) = self.kept.clone() else { return };
        let claimed = kept.claimed();
        let node = self.nodes.get(&claimed.origin).copied();
        let node =
            node.or_else(|| self.newest.as_ref().map(|(node, _)| *node)).filter(|n| n.origin() == claimed.origin);
        let Some(node) = node else {
            let detail = format!("the kept checkpoint is of the node {}, of which nothing is known", claimed.origin);
            self.report.kept = Some(Standing::Unknown);
            return self.add(Fault::OtherNode, None, None, detail);
        };
        if kept.verify(&node).is_err() {
            let detail = "the kept checkpoint is not signed by its node".to_owned();
            self.report.kept = Some(Standing::Unknown);
            return self.add(Fault::BadSignature, None, None, detail);
        }
        if self.report.kept.is_some() {
            return;
        }
        if self.check.began_with(claimed) {
            self.report.kept = Some(Standing::Holds);
            return;
        }
        let newest = self.newest.as_ref().map(|(_, note)| note.claimed().clone());
        let (standing, problem) = match newest {
            Some(ledger) if ledger.size == claimed.size && ledger.root != claimed.root => {
                let detail = format!("the node signed two ledgers of {} entries", ledger.size);
                (Standing::Contradicted, Some((Fault::RolledBack, detail)))
            }
            Some(ledger) if ledger.size < claimed.size => {
                let detail = format!(
                    "the kept checkpoint counts {} entries, the ledger of the stream {}",
                    claimed.size, ledger.size
                );
                (Standing::Smaller, Some((Fault::Truncated, detail)))
            }
            _ => (Standing::Unknown, None),
        };
        self.report.kept = Some(standing);
        if let Some((fault, detail)) = problem {
            self.add(fault, None, None, detail);
        }
    }

    fn add(&mut self, fault: Fault, line: Option<u64>, id: Option<EntryId>, detail: String) {
        let report = &mut self.report;
        report.problems_total = report.problems_total.saturating_add(1);
        report.failures = report.failures.saturating_add(u64::from(fault.is_failure()));
        if report.problems.len() < MAX_PROBLEMS {
            report.problems.push(Problem { fault, line, id, detail });
        }
    }
}

/// The word for what an error says of a line.
pub(crate) fn fault_of(problem: &Error) -> Fault {
    match problem {
        Error::Line { problem, .. } => fault_of(problem),
        problem if problem.is_newer_version() => Fault::Newer,
        Error::BadSignature { .. } | Error::BadProof { .. } | Error::UnacceptableKey { .. } => Fault::BadSignature,
        Error::BadHash { .. } => Fault::BadHash,
        _ => Fault::Unreadable,
    }
}

#[cfg(test)]
mod tests;

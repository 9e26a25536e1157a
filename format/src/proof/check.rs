//! Looks at a proof file as a whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::erased::ProofErasures;
use super::examine::{Content, Examined, ProofLine, What};
use super::gap::gap_subtrees;
use super::heads::Complete;
use super::receipt::Received;
use super::{MAX_ENTRIES, MAX_RECEIPTS, MAX_TIMESTAMPS, ProofEnd, ProofHeader, ProofTimestamp, Subject};
use crate::audit::{Fault, Problem, Standing, fault_of};
use crate::erasure::Erasure;
use crate::erasure::receipt::SignedErasureReceipt;
use crate::heads::HeadsProof;
use crate::merkle::{self, Frontier};
use crate::stream::Digest;
use crate::{Actor, Card, Checkpoint, EntryId, Envelope, Hash, Header, NodeKey, SignedCheckpoint, Time, VerifierKey};

/// Problems that a report lists one by one.
const MAX_PROBLEMS: usize = 1000;

/// On whose word a proof file stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Nobody said whom to trust: the file is consistent with itself, and
    /// whoever made up a key can have made up all of it.
    None,
    /// The node is one that was named.
    Trusted,
    /// The node is another one.
    Other,
}

/// An entry of which everything holds that a line can show. Its place holds if
/// the [report](ProofReport::is_good) says so.
#[derive(Debug)]
pub struct Proven {
    /// Its position in the ledger, from 0.
    pub place: u64,
    /// Its id.
    pub id: EntryId,
    /// What is signed.
    pub header: Header,
    /// The name that a trusted card gives the key; without such a card, the one in
    /// the file.
    pub name: Option<String>,
    /// What is here of its content. Of what is [withheld](Content::Withheld) the
    /// [report](ProofReport::erased_by) says whether it was erased.
    pub content: Content,
    /// To whom the content is sealed.
    pub envelopes: Vec<Envelope>,
}

/// A checkpoint of the file, and a token that is said to be of it. Whether an
/// authority has made it is for others to see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamped {
    /// Entries in the ledger of the checkpoint.
    pub size: u64,
    /// The [imprint](SignedCheckpoint::imprint) of the checkpoint, and the token.
    pub timestamp: ProofTimestamp,
}

/// The outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProofReport {
    /// What the file claims to be; nothing without its first line.
    pub header: Option<ProofHeader>,
    /// On whose word it stands.
    pub anchor: Option<Anchor>,
    /// Entries.
    pub entries: u64,
    /// What is said to be stamped of it, in the order of the file.
    pub timestamps: Vec<Stamped>,
    /// Entries whose content is shown.
    pub shown: u64,
    /// Entries of whose content some fields are shown.
    pub partly_shown: u64,
    /// Entries whose content was sealed to the reader, and opened.
    pub opened: u64,
    /// Entries whose payload is here without a key to it.
    pub sealed: u64,
    /// Entries whose header alone is here, because their content was erased: a record in
    /// the file says so. Of a file that is not [good](Self::is_good) none.
    pub erased: u64,
    /// These entries, each with the first record in the file that covers it.
    pub erased_by: BTreeMap<EntryId, EntryId>,
    /// What nodes answered to erasure records of the file, in its order. Of a file that is
    /// not [good](Self::is_good) none.
    pub receipts: Vec<Received>,
    /// Other entries whose header alone is here.
    pub withheld: u64,
    /// Entries whose key has no [name](Proven::name).
    pub nameless: u64,
    /// Entries that no other one follows, in ledger order. More than one: the
    /// thing has forked.
    pub heads: Vec<EntryId>,
    /// Prev that are not in the file and need not be: they stand before its
    /// range, or it has some entries only.
    pub outside: u64,
    /// The time of the first and of the last entry, as their writers claim.
    pub times: Option<(Time, Time)>,
    /// How the ledger stands to the checkpoint that was kept, if one was.
    pub kept: Option<Standing>,
    /// What the heads note says of the thing, if the file has one that holds: then no
    /// newer entry and no branch was left out.
    pub complete: Option<Complete>,
    /// Whether the last line came.
    pub is_complete: bool,
    /// What is wrong, in the order of the file; the first thousand.
    pub problems: Vec<Problem>,
    /// How much is wrong.
    pub problems_total: u64,
}

impl ProofReport {
    /// Whether all that the file claims holds, as far as its node is believed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problems_total == 0 && self.is_complete
    }

    /// The state of the ledger that the places are of.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.header.as_ref().map(|header| header.checkpoint.claimed())
    }
}

#[derive(Clone, Copy)]
struct Place {
    place: u64,
    seq: u64,
    time: Time,
    is_followed: bool,
}

/// Takes the examined lines of a proof file in their order.
///
/// It keeps the id, seq, place and time of each entry, some 100 bytes, of at
/// most [`MAX_ENTRIES`].
///
/// ```
/// use thingdb_format::audit::Memos;
/// use thingdb_format::proof::{Content, ProofCheck, examine};
/// # use thingdb_format::proof::{ProofEnd, ProofEntry, ProofHeader, Subject};
/// # use thingdb_format::*;
/// # let key = SigningKey::generate(&mut rand::rng());
/// # let card = Card::sign(CardFields { time: Time::from_micros(0)?, node_key: key.node_key(),
/// #     encryption_key: DecryptionKey::generate(&mut rand::rng()).encryption_key(), tls: None, name: String::new(), actors: vec![] }, &key)?;
/// # let cek = Cek::generate(&mut rand::rng());
/// # let sealed = payload::seal(Suite::Aes256Gcm, &cek, Body::new("alice", "create", "application/json", b"{}")?)?;
/// # let header = Header::new(Fields { suite: Suite::Aes256Gcm, thing: ThingId::new("part-42")?, seq: 1,
/// #     time: Time::from_micros(0)?, origin: key.node_key().origin(), actor: key.actor(), prev: vec![],
/// #     data_hash: sealed.data_hash, payload_hash: sealed.payload_hash, payload_len: sealed.payload.len() as u32 })?;
/// # let signature = Signature::Single(signature::sign_single(&key, &header.to_bytes()));
/// # let entry = Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] };
/// # let root = merkle::leaf(&entry.id());
/// # let checkpoint = Checkpoint::new(key.node_key().origin(), 1, root).sign(&key)?;
/// # let mut file = Vec::new();
/// # let mut digest = stream::Digest::default();
/// # ProofHeader { subject: Subject::History { thing: ThingId::new("part-42")? }, card: card.clone(), checkpoint, earlier: vec![], heads: None }.encode(&mut file);
/// # digest.push(&stream::hash_of_line(&file));
/// # let start = file.len();
/// # ProofEntry { place: 0, gap: vec![], cek: Some(cek), fields: None, entry }.encode(&mut file);
/// # digest.push(&stream::hash_of_line(&file[start..]));
/// # ProofEnd { entries: 1, gap: vec![], digest: digest.value() }.encode(&mut file);
/// let (mut check, mut memos) = (ProofCheck::new().trust(&card), Memos::default());
/// for (line, number) in file.split_inclusive(|byte| *byte == b'\n').zip(1..) {
///     if let Some(proven) = check.take(examine(line, number, &mut memos)) {
///         let Content::Shown(body) = proven.content else { panic!("it is shown") };
///         assert_eq!(body.data(), b"{}");
///     }
/// }
/// assert!(check.finish().is_good());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Default)]
pub struct ProofCheck {
    trusted: Vec<Card>,
    fingerprints: Vec<Hash>,
    /// Nodes whose word counts that they have recomputed the heads, by name.
    others: Vec<(String, VerifierKey)>,
    kept: Option<SignedCheckpoint>,
    names: BTreeMap<Actor, String>,
    digest: Digest,
    tree: Frontier,
    /// Whether the tree can still come to the checkpoint's root.
    is_broken: bool,
    places: HashMap<EntryId, Place>,
    /// Prev that had not come where an entry named them: they must not come later.
    outside: HashSet<EntryId>,
    /// The earlier states of which the file shows that the ledger grew out of
    /// them.
    earlier: Vec<Checkpoint>,
    /// What can be stamped of the checkpoints, and their sizes.
    imprints: Vec<(Hash, u64)>,
    erasures: Option<ProofErasures>,
    report: ProofReport,
}

impl std::fmt::Debug for ProofCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProofCheck").field("entries", &self.places.len()).finish_non_exhaustive()
    }
}

impl ProofCheck {
    /// Trusting nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The file must be of the node of this card, or of another that is
    /// trusted.
    #[must_use]
    pub fn trust(mut self, card: &Card) -> Self {
        for (key, name) in &card.actors {
            self.names.insert(*key, name.clone());
        }
        if let Ok(vkey) = card.node_key.log_vkey() {
            let name = Some(&card.name).filter(|name| !name.is_empty());
            self.others.push((name.cloned().unwrap_or_else(|| card.node_key.origin().to_string()), vkey));
        }
        self.trusted.push(card.clone());
        self
    }

    /// The file must be of the node whose key has this fingerprint, or of another
    /// that is trusted.
    #[must_use]
    pub fn trust_fingerprint(mut self, fingerprint: Hash) -> Self {
        self.fingerprints.push(fingerprint);
        self
    }

    /// Another node, whose word counts that it has recomputed the heads: by its key as
    /// a log or as a witness.
    #[must_use]
    pub fn recomputer(mut self, name: &str, vkey: VerifierKey) -> Self {
        self.others.push((name.to_owned(), vkey));
        self
    }

    /// The ledger must have grown out of a checkpoint that was kept.
    #[must_use]
    pub fn kept(mut self, note: SignedCheckpoint) -> Self {
        self.kept = Some(note);
        self
    }

    /// Takes a line. Returns an entry that is good by itself.
    pub fn take(&mut self, line: ProofLine) -> Option<Proven> {
        let ProofLine { number, hash, what } = line;
        if matches!(what, What::Blank) {
            return None;
        }
        if self.report.is_complete {
            self.unreadable(number, "something stands behind the last line");
            return None;
        }
        if !matches!(what, What::End(_)) {
            self.digest.push(&hash);
        }
        let is_first = self.report.header.is_none() && self.report.entries == 0;
        match what {
            What::Blank => None,
            What::Header(header) if is_first => {
                self.header(number, *header);
                None
            }
            What::Header(_) => {
                self.unreadable(number, "a second first line");
                None
            }
            What::Timestamp(timestamp) => {
                self.timestamp(number, timestamp);
                None
            }
            What::Receipt(receipt) => {
                self.receipt(number, *receipt);
                None
            }
            What::Entry(entry) => {
                if !self.report.receipts.is_empty() {
                    self.unreadable(number, "an entry behind a receipt");
                }
                if is_first {
                    self.unreadable(number, "an entry before the first line of a proof file");
                }
                self.entry(number, *entry)
            }
            What::End(end) => {
                self.end(number, &end);
                None
            }
            What::Unread { is_entry, has_line_end, problem } => {
                self.is_broken = true;
                self.report.entries = self.report.entries.saturating_add(u64::from(is_entry));
                if has_line_end || problem.is_newer_version() {
                    self.add(fault_of(&problem), Some(number), None, problem.to_string());
                }
                // The last line without its end is told of as a cut.
                None
            }
        }
    }

    fn header(&mut self, number: u64, header: ProofHeader) {
        let node = header.card.node_key;
        let is_trusted =
            self.trusted.iter().any(|card| card.node_key == node) || self.fingerprints.contains(&node.fingerprint());
        let anchor = match (self.trusted.is_empty() && self.fingerprints.is_empty(), is_trusted) {
            (true, _) => Anchor::None,
            (false, true) => Anchor::Trusted,
            (false, false) => Anchor::Other,
        };
        self.report.anchor = Some(anchor);
        if anchor == Anchor::Other {
            let detail = format!("the file is of the node {}, which is none that you trust", node.origin());
            self.add(Fault::OtherNode, Some(number), None, detail);
        }
        // A card that came with the file can give a name that the reader knows to
        // another key: it counts only where there is no better one.
        if self.trusted.is_empty() {
            self.names.extend(header.card.actors.iter().cloned());
        }
        if let Err(problem) = header.checkpoint.verify(&node) {
            self.add(fault_of(&problem), Some(number), None, format!("the checkpoint: {problem}"));
        }
        let ledger = header.checkpoint.claimed();
        for earlier in &header.earlier {
            let claimed = earlier.checkpoint.claimed();
            let follows = earlier.checkpoint.verify(&node).and_then(|_| {
                merkle::verify_consistency(claimed.size, ledger.size, &earlier.proof, &claimed.root, &ledger.root)
            });
            match follows {
                Ok(()) => self.earlier.push(claimed.clone()),
                Err(problem) => {
                    let size = claimed.size;
                    let detail = format!("the ledger did not grow out of its checkpoint of {size} entries: {problem}");
                    self.add(Fault::RolledBack, Some(number), None, detail);
                }
            }
        }
        let notes = header.earlier.iter().map(|earlier| &earlier.checkpoint);
        let imprint = |note: &SignedCheckpoint| Some((note.imprint(&node).ok()?, note.claimed().size));
        self.imprints = std::iter::once(&header.checkpoint).chain(notes).filter_map(imprint).collect();
        if let Some(heads) = &header.heads {
            self.heads(number, &node, &header, heads);
        } else if matches!(header.subject, Subject::Absent { .. }) {
            self.unreadable(number, "nothing in the file says that there is no such thing");
        }
        self.erasures = Some(ProofErasures::new(&header.card));
        self.report.header = Some(header);
    }

    /// Checks what the heads note says by itself. Whether the entries agree shows at
    /// the end.
    fn heads(&mut self, number: u64, node: &NodeKey, header: &ProofHeader, heads: &HeadsProof) {
        let add = |check: &mut Self, fault, detail| check.add(fault, Some(number), None, detail);
        if let Err(problem) = heads.note.verify(node) {
            return add(self, fault_of(&problem), format!("the heads note: {problem}"));
        }
        if let Err(problem) = heads.fits(&header.subject, header.checkpoint.claimed()) {
            return add(self, Fault::OtherHeads, format!("the heads note {problem}"));
        }
        if let Err(problem) = heads.verify(header.subject.thing()) {
            return add(self, Fault::OtherHeads, problem.to_string());
        }
        let mut recomputed_by = Vec::new();
        for (name, vkey) in &self.others {
            match heads.note.is_recomputed_by(vkey) {
                Ok(true) => recomputed_by.push(name.clone()),
                Ok(false) => {}
                Err(problem) => return add(self, fault_of(&problem), format!("the heads note by {name}: {problem}")),
            }
        }
        self.report.complete = Some(heads.complete(recomputed_by));
    }

    /// Holds the entries that came against the heads note.
    fn settle_heads(&mut self) {
        let Some(header) = self.report.header.take() else { return };
        if let (Some(heads), true, true) = (&header.heads, self.report.complete.is_some(), self.report.is_complete) {
            // An entry of which only the id is known is followed by what names it.
            let is_followed =
                |id: &EntryId| self.places.get(id).is_some_and(|place| place.is_followed) || self.outside.contains(id);
            let greatest = self.places.values().map(|place| place.seq).max().unwrap_or(0);
            let (entries, open) = (self.report.entries, &self.report.heads);
            if let Err(detail) = heads.agrees(&header.subject, (entries, greatest), open, is_followed) {
                self.add(Fault::OtherHeads, None, None, detail);
            }
        }
        self.report.header = Some(header);
        if !self.report.is_good() {
            self.report.complete = None;
        }
    }

    fn timestamp(&mut self, number: u64, timestamp: ProofTimestamp) {
        if self.report.entries > 0 || !self.report.receipts.is_empty() {
            return self.unreadable(number, "a timestamp behind an entry");
        }
        if self.report.timestamps.len() >= MAX_TIMESTAMPS {
            return self.unreadable(number, "more timestamps than a proof file can have");
        }
        match self.imprints.iter().find(|(imprint, _)| *imprint == timestamp.imprint) {
            Some((_, size)) => self.report.timestamps.push(Stamped { size: *size, timestamp }),
            None => self.unreadable(number, "a timestamp of something else than a checkpoint of the file"),
        }
    }

    /// Takes what a node answered to a record of the file: that is all that it shows.
    fn receipt(&mut self, number: u64, receipt: SignedErasureReceipt) {
        let (said, receipts) = (receipt.said(), &self.report.receipts);
        if receipts.len() >= MAX_RECEIPTS {
            return self.unreadable(number, "more receipts than a proof file can have");
        }
        if !self.places.contains_key(&said.record) {
            return self.unreadable(number, "a receipt for an erasure that is not in the file");
        }
        let is_same = |other: &Received| {
            let other = other.receipt.said();
            (other.node, other.record) == (said.node, said.record)
        };
        if receipts.iter().any(is_same) {
            return self.unreadable(number, "a second receipt of a node for one erasure");
        }
        let card = self.trusted.iter().find(|card| card.node_key == said.node);
        let name = card.map(|card| if card.name.is_empty() { said.origin().to_string() } else { card.name.clone() });
        self.report.receipts.push(Received { receipt, name });
    }

    fn entry(&mut self, number: u64, entry: Examined) -> Option<Proven> {
        let Examined { place, gap, id, header, content, envelopes, problem } = entry;
        self.report.entries = self.report.entries.saturating_add(1);
        if self.report.entries > MAX_ENTRIES {
            self.is_broken = true;
            if self.report.entries == MAX_ENTRIES.saturating_add(1) {
                self.unreadable(number, "more entries than a proof file can have");
            }
            return None;
        }
        self.place(number, place, &gap, &id);
        if let Some(problem) = problem {
            self.add(fault_of(&problem), Some(number), Some(id), problem.to_string());
            // Those that follow it have their prev.
            self.places.insert(id, Place { place, seq: header.seq, time: header.time, is_followed: true });
            return None;
        }
        self.link(number, &id, place, &header);
        let count = match &content {
            Content::Shown(_) => &mut self.report.shown,
            Content::PartlyShown(_) => &mut self.report.partly_shown,
            Content::Opened(_) => &mut self.report.opened,
            Content::Sealed => &mut self.report.sealed,
            Content::Withheld => &mut self.report.withheld,
        };
        *count = count.saturating_add(1);
        self.note_erasure(id, &header, &content);
        let (first, last) = self.report.times.unwrap_or((header.time, header.time));
        self.report.times = Some((first.min(header.time), last.max(header.time)));
        let name = self.names.get(&header.actor).cloned();
        self.report.nameless = self.report.nameless.saturating_add(u64::from(name.is_none()));
        Some(Proven { place, id, header, name, content, envelopes })
    }

    /// Takes a stub, or an erasure record. One that cannot be read erases nothing.
    fn note_erasure(&mut self, id: EntryId, header: &Header, content: &Content) {
        let Some(erasures) = &mut self.erasures else { return };
        match content.body().and_then(Erasure::of) {
            Some(Ok(record)) => erasures.record(id, header, &record),
            None if matches!(content, Content::Withheld) => erasures.stub(id, header),
            _ => {}
        }
    }

    fn settle_erasures(&mut self) {
        let Some(erasures) = self.erasures.take().filter(|_| self.report.is_good()) else { return };
        let report = &mut self.report;
        report.erased_by = erasures.erased();
        report.erased = report.erased_by.len() as u64;
        report.withheld = report.withheld.saturating_sub(report.erased);
    }

    /// Adds the hashes before a place, and its leaf, to the tree.
    fn place(&mut self, number: u64, place: u64, gap: &[Hash], id: &EntryId) {
        if self.is_broken {
            return;
        }
        if place < self.tree.size() {
            self.is_broken = true;
            return self.unreadable(number, "its place is not behind the one before");
        }
        if self.fill(number, place, gap) {
            self.tree.push(merkle::leaf(id));
        }
    }

    /// Adds the hashes of a gap that ends at `end`.
    fn fill(&mut self, number: u64, end: u64, gap: &[Hash]) -> bool {
        let parts: Vec<_> = gap_subtrees(self.tree.size(), end).collect();
        if parts.len() != gap.len() {
            self.is_broken = true;
            let detail = format!("the gap before place {end} has {} hashes, not {}", gap.len(), parts.len());
            self.add(Fault::NotInLedger, Some(number), None, detail);
            return false;
        }
        for ((_, height), hash) in parts.into_iter().zip(gap) {
            self.tree.push_subtree(height, *hash);
        }
        true
    }

    /// Checks what must hold between an entry, those before it and the subject.
    fn link(&mut self, number: u64, id: &EntryId, place: u64, header: &Header) {
        let Some(subject) = self.report.header.as_ref().map(|header| header.subject.clone()) else { return };
        if header.thing != *subject.thing() {
            return self.add(Fault::BadLink, Some(number), Some(*id), "it is an entry of another thing".to_owned());
        }
        if matches!(subject, Subject::Absent { .. }) {
            let detail = "it is an entry of the thing of which the file says that it is not there".to_owned();
            return self.add(Fault::BadLink, Some(number), Some(*id), detail);
        }
        let (from, to) = match subject {
            Subject::Range { from, to, .. } => (from, to),
            _ => (1, crate::header::MAX_SEQ),
        };
        if header.seq < from || header.seq > to {
            let detail = format!("its seq {} is not in the range", header.seq);
            self.add(Fault::BadLink, Some(number), Some(*id), detail);
        }
        let (mut greatest, mut absent, mut wrong) = (0, Vec::new(), None);
        for prev in &header.prev {
            let Some(known) = self.places.get_mut(prev) else {
                absent.push(*prev);
                continue;
            };
            known.is_followed = true;
            greatest = greatest.max(known.seq);
            if known.time >= header.time {
                wrong = Some(format!("its time is not after that of its prev {prev}"));
            }
        }
        let is_greatest_here = greatest.checked_add(1) == Some(header.seq);
        // Of those that are absent one may have the greatest seq.
        if wrong.is_none() && (greatest >= header.seq || (absent.is_empty() && !is_greatest_here)) {
            wrong = Some(format!("its seq is {}, that of its prev is {greatest}", header.seq));
        }
        if let Some(detail) = wrong {
            self.add(Fault::BadLink, Some(number), Some(*id), detail);
        }
        if self.outside.contains(id) {
            let detail = "an entry that follows it stands before it".to_owned();
            self.add(Fault::BadLink, Some(number), Some(*id), detail);
        }
        self.outside.extend(&absent);
        if self.outside.len() as u64 > MAX_ENTRIES {
            self.outside.clear();
            self.unreadable(number, "more prev outside of the file than a proof file can have");
        }
        let may_be_absent = match subject {
            Subject::History { .. } => false,
            // The one with the seq before it is of the range, too.
            Subject::Range { .. } => header.seq == from || is_greatest_here,
            Subject::Entries { .. } | Subject::Absent { .. } => true,
        };
        match absent.first() {
            Some(missing) if !may_be_absent => {
                let detail = format!("its prev {missing} is not in the file");
                self.add(Fault::MissingPrev, Some(number), Some(*id), detail);
            }
            _ => self.report.outside = self.report.outside.saturating_add(absent.len() as u64),
        }
        let own = Place { place, seq: header.seq, time: header.time, is_followed: false };
        if self.places.insert(*id, own).is_some() {
            self.unreadable(number, "the entry stands twice in the file");
        }
    }

    fn end(&mut self, number: u64, end: &ProofEnd) {
        self.report.is_complete = true;
        if end.entries != self.report.entries || end.digest != self.digest.value() {
            self.unreadable(number, "the lines are not those that the last line counts");
        }
        let is_absence =
            self.report.header.as_ref().is_some_and(|header| matches!(header.subject, Subject::Absent { .. }));
        if self.report.entries == 0 && !is_absence {
            self.unreadable(number, "there is no entry in the file");
        }
        let Some(ledger) = self.report.checkpoint().cloned() else { return };
        if self.is_broken {
            return;
        }
        if self.tree.size() > ledger.size {
            let detail = format!("a place is not below the {} entries of the checkpoint", ledger.size);
            return self.add(Fault::NotInLedger, Some(number), None, detail);
        }
        if self.fill(number, ledger.size, &end.gap) && self.tree.root() != ledger.root {
            let detail = "the places do not lead to the root that the node signed".to_owned();
            self.add(Fault::NotInLedger, Some(number), None, detail);
        }
    }

    /// The file can be read no further, as when what it is packed in is damaged or
    /// cut. It is not good then, even if all lines came: what vouches for them is
    /// wrong.
    ///
    /// `is_cut` if what is packed ends before its end; `detail` is what the
    /// unpacker says.
    pub fn broken(&mut self, is_cut: bool, detail: impl Into<String>) {
        let fault = if is_cut { Fault::Truncated } else { Fault::Unreadable };
        self.add(fault, None, None, detail.into());
    }

    /// The file has ended.
    #[must_use]
    pub fn finish(mut self) -> ProofReport {
        if self.report.header.is_none() {
            self.add(Fault::Unreadable, None, None, "the first line of a proof file did not come".to_owned());
        }
        if !self.report.is_complete {
            self.add(Fault::Truncated, None, None, "the last line did not come: the file is cut".to_owned());
        } else if self.is_broken {
            let detail = "that the entries stand in the ledger cannot be checked".to_owned();
            self.add(Fault::NotInLedger, None, None, detail);
        }
        self.settle_kept();
        let mut heads: Vec<_> = self.places.iter().filter(|(_, place)| !place.is_followed).collect();
        heads.sort_unstable_by_key(|(_, place)| place.place);
        self.report.heads = heads.into_iter().map(|(id, _)| *id).collect();
        self.settle_heads();
        self.settle_erasures();
        if !self.report.is_good() {
            self.report.receipts.clear();
        }
        self.report
    }

    fn settle_kept(&mut self) {
        let Some(kept) = self.kept.clone() else { return };
        let Some(header) = self.report.header.clone() else { return };
        let (claimed, ledger) = (kept.claimed(), header.checkpoint.claimed());
        self.report.kept = Some(Standing::Unknown);
        if let Err(problem) = kept.verify(&header.card.node_key) {
            let detail = format!("the kept checkpoint is not of this node: {problem}");
            return self.add(Fault::OtherNode, None, None, detail);
        }
        if claimed.size == ledger.size {
            self.report.kept = Some(Standing::Holds);
            if claimed.root != ledger.root {
                self.report.kept = Some(Standing::Contradicted);
                let detail = format!("the node signed two ledgers of {} entries", ledger.size);
                self.add(Fault::RolledBack, None, None, detail);
            }
            return;
        }
        if let Some(earlier) = self.earlier.iter().find(|earlier| earlier.size == claimed.size) {
            self.report.kept = Some(Standing::Holds);
            if earlier.root != claimed.root {
                self.report.kept = Some(Standing::Contradicted);
                let detail = format!("the node signed two ledgers of {} entries", claimed.size);
                self.add(Fault::RolledBack, None, None, detail);
            }
            return;
        }
        if claimed.size > ledger.size {
            self.report.kept = Some(Standing::Smaller);
        }
    }

    fn unreadable(&mut self, number: u64, detail: &str) {
        self.add(Fault::Unreadable, Some(number), None, detail.to_owned());
    }

    fn add(&mut self, fault: Fault, line: Option<u64>, id: Option<EntryId>, detail: String) {
        let report = &mut self.report;
        report.problems_total = report.problems_total.saturating_add(1);
        if report.problems.len() < MAX_PROBLEMS {
            report.problems.push(Problem { fault, line, id, detail });
        }
    }
}

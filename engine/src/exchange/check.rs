//! Checks lines by themselves. Cheap checks come first.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use thingdb_format::{
    Entry, EntryId, Envelope, Hash, Header, Line, Origin, StreamHeader, Trailer, Verified,
    key_record::{self, KeyRecord},
    line,
    signature::BatchMemo,
    stream::{LineKind, hash_of_line},
};

use super::framing::Broken;
use super::import::{Room, TrustPolicy};
use super::opening::Opener;
use super::source::{Chunk, ENTRY_BYTES, Items, RawLine};
use crate::committer::Arrived;
use crate::entry::refusal::{Cause, Refusal, RefusalCode};
use crate::keyring::passphrase::Passphrase;
use crate::prototype;
use crate::store::packets::PacketsMemo;
use crate::store::provenance::{self, Hand};
use crate::store::schema::Tag;
use crate::store::stored::{StoredEnvelope, StoredPayload};
use crate::store::{Located, Store};

/// What came, for whoever keeps what is refused.
#[derive(Clone)]
pub(super) enum Came {
    Line(RawLine),
    /// In a frame. As a line it can be many times as large.
    Entry(Box<Entry>),
    /// Nobody keeps it.
    NotKept,
}

impl Came {
    /// Writes it as a line. One that came in a frame goes without its envelopes
    /// if it takes more than `most` bytes with them. Gives the bytes that it
    /// took, and whether it has lost envelopes.
    pub(super) fn write_to(&self, out: &mut dyn Write, most: u64) -> std::io::Result<(u64, bool)> {
        let mut encoded = Vec::new();
        let (line, is_bare) = match self {
            Self::NotKept => return Ok((0, false)),
            Self::Line(raw) => (&raw[..], false),
            Self::Entry(entry) => {
                let is_bare = !entry.envelopes.is_empty() && {
                    line::encode(entry, &mut encoded);
                    encoded.len() as u64 > most
                };
                if is_bare || encoded.is_empty() {
                    encoded.clear();
                    let Entry { header, signature, payload, .. } = &**entry;
                    let (header, signature, payload) = (header.clone(), signature.clone(), payload.clone());
                    line::encode(&Entry { header, signature, payload, envelopes: Vec::new() }, &mut encoded);
                }
                (&encoded[..], is_bare)
            }
        };
        let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
        out.write_all(line)?;
        out.write_all(end)?;
        Ok((line.len().saturating_add(end.len()) as u64, is_bare))
    }
}

/// An entry on its way in.
pub(super) struct Candidate {
    pub(super) line: u64,
    pub(super) came: Came,
    pub(super) arrived: Arrived,
    /// Its envelopes as they came.
    pub(super) envelopes: Vec<Envelope>,
}

impl Candidate {
    /// Bytes that it has as a line, about. In memory it takes less, as far as
    /// its KEK packets are those of others.
    pub(super) fn bytes(&self) -> usize {
        const PACKET_BYTES: usize = 160;
        let packets: usize = self.envelopes.iter().map(|envelope| 2 + envelope.recipients.len()).sum();
        ENTRY_BYTES + self.arrived.record.size() * 4 / 3 + packets * PACKET_BYTES
    }

    /// The line that says the same.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let Arrived { header, id, signature, record, .. } = &self.arrived;
        let mut line = Vec::new();
        line::encode_parts(header, id, signature, record.payload(), &self.envelopes, &mut line);
        line
    }
}

/// What a worker made of a line.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are entries, and a box each would be freed by another thread"
)]
pub(super) enum Checked {
    Header(Box<StreamHeader>),
    Trailer(Box<Trailer>),
    /// Nothing behind this can be read.
    Broken(Box<Broken>),
    /// A line that does not decode.
    Unread {
        kind: LineKind,
        is_newer: bool,
        raw: RawLine,
        refusal: Refusal,
    },
    Entry(Candidate),
    /// An entry that is here, with all that the line has.
    Known(EntryId),
    /// An entry whose actor nobody knows, unless a key log that comes before it says who
    /// that is.
    Unknown {
        line: u64,
        raw: Option<RawLine>,
        entry: Box<Entry>,
    },
    Refused {
        id: Option<EntryId>,
        came: Came,
        refusal: Refusal,
    },
}

/// A line or frame with the hash of its bytes.
pub(super) struct Seen {
    pub(super) hash: Hash,
    pub(super) what: Checked,
}

impl Seen {
    pub(super) fn broken(broken: Box<Broken>) -> Self {
        Self { hash: Hash::of(b""), what: Checked::Broken(broken) }
    }
}

/// What became of a chunk.
pub(super) struct Outcome {
    pub(super) read: u64,
    pub(super) held: usize,
    pub(super) room: Option<Room>,
    pub(super) checked: Vec<Seen>,
}

/// Checks a part of a stream.
pub(super) fn check_chunk(checker: &Checker<'_>, chunk: Chunk, memos: &mut Memos) -> Outcome {
    let Chunk { read, held, room, before, items } = chunk;
    let mut checked = Vec::new();
    match items {
        Items::Lines { bytes, ends } => {
            let bytes = Arc::new(bytes);
            let mut start = 0;
            for (line, (end, too_long)) in (before + 1..).zip(ends) {
                let raw = RawLine::of(&bytes, start..end);
                let hash = hash_of_line(&raw);
                let what = checker.line(line, raw, too_long, memos);
                checked.extend(what.map(|what| Seen { hash, what }));
                start = end;
            }
        }
        Items::Frames(frames, broken) => {
            for (number, (line, hash)) in (before + 1..).zip(frames) {
                let what = checker.parsed(number, None, line, memos);
                checked.extend(what.map(|what| Seen { hash, what }));
            }
            checked.extend(broken.map(Seen::broken));
        }
    }
    Outcome { read, held, room, checked }
}

/// Whether an entry is here.
enum Here {
    /// With all that the line has.
    Known(EntryId),
    /// It is, and the line is not good.
    Refused(Cause),
    /// It is not, or the line has more than is here.
    New(Option<Box<Located>>),
}

/// What a worker remembers from line to line.
#[derive(Default)]
pub(super) struct Memos {
    batch: BatchMemo,
    packets: PacketsMemo,
}

/// Checks lines by themselves, in any thread.
pub(super) struct Checker<'a> {
    store: &'a Store,
    trust: TrustPolicy,
    /// Entries of other things are refused.
    prefix: String,
    /// Whether somebody wants what is refused.
    keeps: bool,
    origins: Vec<Origin>,
    trusted_origins: Vec<Origin>,
    /// Who brings the stream.
    hand: Hand,
    opener: Opener<'a>,
}

impl<'a> Checker<'a> {
    /// The directory of the database.
    pub(super) fn dir(&self) -> &Path {
        &self.store.dir
    }

    pub(super) fn new(store: &'a Store, trust: TrustPolicy, passphrase: Option<&'a Passphrase>) -> Self {
        let keyring = store.keyring();
        let former = keyring.former_nodes();
        let mut origins = vec![keyring.node_key().node_key().origin()];
        origins.extend(former.iter().map(|node| node.node_key.origin()));
        let keys = std::iter::once(keyring.decryption_key()).chain(former.iter().map(|node| &node.decryption_key));
        let opener = Opener::new(store, keys.map(Arc::clone), passphrase);
        let known = keyring.trust().origins().filter(|known| known.withdrawn.is_none());
        let trusted_origins = known.map(|known| known.key.origin()).collect();
        drop(keyring);
        Self {
            store,
            trust,
            prefix: String::new(),
            keeps: false,
            origins,
            trusted_origins,
            hand: Hand::unknown(),
            opener,
        }
    }

    /// Refuses entries of things whose id does not begin with `prefix`.
    pub(super) fn only(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// The stream comes by this hand.
    pub(super) const fn from(mut self, hand: Hand) -> Self {
        self.hand = hand;
        self
    }

    /// Keeps what is refused, as it came, if it is wanted.
    pub(super) const fn keeping(mut self, wanted: bool) -> Self {
        self.keeps = wanted;
        self
    }

    fn line(&self, number: u64, raw: RawLine, too_long: bool, memos: &mut Memos) -> Option<Checked> {
        let unread = |raw: RawLine, column, cause: Cause, is_newer| {
            let kind = if too_long { LineKind::Entry } else { LineKind::of(&raw) };
            Some(Checked::Unread { kind, is_newer, raw, refusal: cause.refusal(number, column, None) })
        };
        if too_long {
            let reason = format!("longer than {} bytes", line::MAX_LINE_BYTES);
            return unread(raw, None, Cause::new(RefusalCode::TooLong, reason), false);
        }
        match Line::parse(&raw, number) {
            Ok(line) => self.parsed(number, self.keeps.then_some(raw), line, memos),
            Err(_) if prototype::is_ledger_line(&raw) => {
                let reason = "a line of the Python prototype: thingdb migrate DIR brings its directory in";
                unread(raw, None, Cause::new(RefusalCode::Prototype, reason), false)
            }
            Err(thingdb_format::Error::Line { column, problem, .. }) => {
                unread(raw, Some(column), Cause::format(&problem), problem.is_newer_version())
            }
            Err(problem) => unread(raw, None, Cause::format(&problem), problem.is_newer_version()),
        }
    }

    /// Looks at what was read, the cheapest first: nothing is done for an entry
    /// that is not wanted or not trusted. `raw` is its line, if that is kept.
    fn parsed(&self, number: u64, raw: Option<RawLine>, line: Line, memos: &mut Memos) -> Option<Checked> {
        let entry = match line {
            Line::Blank => return None,
            Line::Header(header) => return Some(Checked::Header(header)),
            Line::Trailer(trailer) => return Some(Checked::Trailer(trailer)),
            Line::Entry(entry) => entry,
        };
        if self.trust != TrustPolicy::All && self.is_unknown(&entry.header) {
            return Some(Checked::Unknown { line: number, raw, entry });
        }
        Some(self.judged(number, raw, entry, memos))
    }

    /// What becomes of an entry, as far as is known by now.
    pub(super) fn judged(&self, number: u64, raw: Option<RawLine>, entry: Box<Entry>, memos: &mut Memos) -> Checked {
        let refused = |raw: Option<RawLine>, entry: Box<Entry>, cause: Cause| {
            let id = Some(entry.id());
            let came = match raw {
                Some(raw) => Came::Line(raw),
                None if self.keeps => Came::Entry(entry),
                None => Came::NotKept,
            };
            Checked::Refused { id, came, refusal: cause.refusal(number, None, id) }
        };
        if let Err(cause) = self.wants(&entry).and_then(|()| self.trusts(&entry.header)) {
            return refused(raw, entry, cause);
        }
        let tag = self.store.tag(&entry.header.thing);
        let found = match self.known(&entry, &tag, memos) {
            Here::Known(id) => return Checked::Known(id),
            Here::Refused(cause) => return refused(raw, entry, cause),
            Here::New(found) => found,
        };
        let kept = (self.keeps && raw.is_none()).then(|| entry.clone());
        match self.entry(number, *entry, tag, (self.hand, found.as_deref()), memos) {
            Ok(mut candidate) => {
                candidate.came = match (raw, kept) {
                    (Some(raw), _) => Came::Line(raw),
                    (None, Some(entry)) => Came::Entry(entry),
                    (None, None) => Came::NotKept,
                };
                Checked::Entry(candidate)
            }
            Err(back) => refused(raw, Box::new(back.1), back.0),
        }
    }

    /// Whether an entry is here and the line has nothing to add to it. What is
    /// signed is named by the id, and the line was decoded, so its payload has
    /// the hash that stands there: what is left to check is the signature.
    fn known(&self, entry: &Entry, tag: &Tag, memos: &mut Memos) -> Here {
        let Some((id, found)) = self.here(entry, tag) else { return Here::New(None) };
        if !self.is_whole(entry, &found) {
            return Here::New(Some(Box::new(found)));
        }
        match self.check_again(entry, &id, &found, memos) {
            Ok(()) => Here::Known(id),
            Err(problem) => Here::Refused(Cause::format(&problem)),
        }
    }

    /// The entry as it is here.
    fn here(&self, entry: &Entry, tag: &Tag) -> Option<(EntryId, Located)> {
        let seq = entry.header.seq;
        // What cannot be read is told where the entry is taken in.
        let state = self.store.state(tag).ok()??;
        if seq > state.last_seq() {
            return None;
        }
        let id = entry.id();
        Some((id, self.store.find(tag, &state, &id, Some(seq)).ok()??))
    }

    /// Whether the line has nothing to add to the entry as it is here.
    fn is_whole(&self, entry: &Entry, found: &Located) -> bool {
        let stored = &found.stored;
        // What was erased does not come back. Where that cannot be read, it is told as
        // the entry is taken in.
        if self.store.is_covered(found.position).is_ok_and(|is_covered| is_covered) {
            return true;
        }
        if entry.payload.is_some() && matches!(stored.payload, StoredPayload::Absent) {
            return false;
        }
        let mut coming = Vec::with_capacity(entry.envelopes.len());
        for envelope in &entry.envelopes {
            let mut packets = envelope.recipients.iter();
            if stored.masked_cek.is_some() && packets.clone().all(|packet| self.opener.is_own(packet)) {
                continue;
            }
            if stored.masked_cek.is_none() && packets.any(|packet| self.opener.may_open(packet)) {
                return false;
            }
            let provenance = self.hand.provenance(&entry.header.origin, &envelope.from);
            coming.push(StoredEnvelope::brought(envelope, provenance, self.hand.bringer()));
        }
        if coming.is_empty() {
            return true;
        }
        let here = self.store.stored_envelopes(found);
        let merged = provenance::merge(&here, &coming, Some(&self.hand));
        // One that finds no place is told.
        merged.dropped == 0 && merged.kept == here
    }

    /// Checks the signature of an entry that is here. The same bytes were good
    /// when they came; others may be good as well, or nobody's.
    fn check_again(
        &self,
        entry: &Entry,
        id: &EntryId,
        found: &Located,
        memos: &mut Memos,
    ) -> std::result::Result<(), thingdb_format::Error> {
        if found.stored.signature.alone().as_ref() == Some(&entry.signature) {
            return Ok(());
        }
        // Of a batch that lies here as a whole the paths are not stored: each is
        // followed to the root, and the signature over that is checked once.
        let verifier = self.store.verifier(&entry.header.actor)?;
        entry.signature.verify_with(&verifier, &entry.header.to_bytes(), id, &mut memos.batch)
    }

    /// Refuses an entry if trust in its actor or origin was withdrawn: one that
    /// waits was accepted when it came, and does not go on.
    pub(super) fn withdrawn(&self, header: &Header) -> std::result::Result<(), Cause> {
        if self.trust == TrustPolicy::All {
            return Ok(());
        }
        let keyring = self.store.keyring();
        let trust = keyring.trust();
        let is_log = key_record::first_key(&header.thing).is_some();
        if !is_log && trust.actor(&header.actor).is_some_and(|known| known.withdrawn.is_some()) {
            return Err(Cause::withdrawn_actor(&header.actor));
        }
        if trust.origin(&header.origin).is_some_and(|known| known.withdrawn.is_some()) {
            return Err(Cause::withdrawn_origin(&header.origin));
        }
        Ok(())
    }

    /// Checks an entry whose actor and origin are accepted; one that is refused
    /// comes back with the reason. With who brings it, and what is here of it.
    pub(super) fn entry(
        &self,
        line: u64,
        mut entry: Entry,
        tag: Tag,
        (hand, found): (Hand, Option<&Located>),
        memos: &mut Memos,
    ) -> std::result::Result<Candidate, Box<(Cause, Entry)>> {
        let verifier = match self.store.verifier(&entry.header.actor) {
            Ok(verifier) => verifier,
            Err(problem) => return Err(Box::new((Cause::format(&problem), entry))),
        };
        let mut envelopes = std::mem::take(&mut entry.envelopes);
        let entry = match entry.verify_or_back(&verifier, &mut memos.batch) {
            Ok(entry) => entry,
            Err((problem, entry)) => return Err(Box::new((Cause::format(&problem), Entry { envelopes, ..entry }))),
        };
        for envelope in &mut envelopes {
            envelope.recipients = memos.packets.share(&envelope.recipients);
        }
        let key = match key_of(&entry, &envelopes) {
            Ok(key) => key,
            Err(problem) => {
                return Err(Box::new((Cause::format(&problem), Entry { envelopes, ..entry.into_entry() })));
            }
        };
        let opened = self.opener.open(&entry, &envelopes, &hand, found);
        let mut arrived = Arrived::new(entry, tag, opened, hand);
        (arrived.key, arrived.takes_revoked) = (key, self.trust == TrustPolicy::All);
        Ok(Candidate { line, came: Came::NotKept, arrived, envelopes })
    }

    fn wants(&self, entry: &Entry) -> std::result::Result<(), Cause> {
        if key_record::is_within(&entry.header.thing, &self.prefix) {
            return Ok(());
        }
        let reason = format!("only things that begin with {:?} may be brought in here", self.prefix);
        Err(Cause::new(RefusalCode::OtherPrefix, reason))
    }

    /// Whether nobody here knows the actor. Of a key log that is not asked: whose it is
    /// says nothing of whom one trusts.
    fn is_unknown(&self, header: &Header) -> bool {
        key_record::first_key(&header.thing).is_none() && !self.store.trusts(&header.actor)
    }

    fn trusts(&self, header: &Header) -> std::result::Result<(), Cause> {
        if self.trust == TrustPolicy::All {
            return Ok(());
        }
        if self.is_unknown(header) {
            self.withdrawn(header)?;
            return Err(Cause::unknown_actor(&header.actor));
        }
        if self.origins.contains(&header.origin) {
            return Ok(());
        }
        // Trust may end while the stream comes, which can be for as long as its
        // sender likes.
        if !self.trusted_origins.contains(&header.origin) || self.store.withdrawn().origins.contains(&header.origin) {
            self.withdrawn(header)?;
            return Err(Cause::unknown_origin(&header.origin));
        }
        Ok(())
    }
}

/// The record of an entry in a key log: nothing for every other thing.
fn key_of(entry: &Verified, envelopes: &[Envelope]) -> std::result::Result<Option<KeyRecord>, thingdb_format::Error> {
    let thing = &entry.header.thing;
    if key_record::first_key(thing).is_some() {
        return KeyRecord::open(&entry.header, entry.payload.as_deref(), envelopes).map(Some);
    }
    match thing.as_str().starts_with(key_record::RESERVED) {
        true => Err(thingdb_format::Error::Malformed { what: "thing", problem: "ids that begin so are reserved" }),
        false => Ok(None),
    }
}

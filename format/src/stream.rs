//! The stream: lines of entries, between a header line and a trailer line if
//! whoever wrote it wants a cut file to be noticed.
//!
//! ```text
//! {"thingdb":1,"card":CARD,"checkpoint":NOTE}
//! entries, one a line
//! {"thingdb_end":1,"entries":N,"root":HEX,"checkpoint":NOTE}
//! ```

use serde::de::{IgnoredAny, MapAccess};

use crate::checkpoint::MAX_SIZE;
use crate::codec::within;
use crate::json::{Members, Object, hex, may_be_object, push_hex, push_number, push_string, read_line, strip_line_end};
use crate::line::MAX_LINE_BYTES;
use crate::merkle::{self, Frontier};
use crate::{Card, Entry, EntryId, Error, Hash, SignedCheckpoint, line};

/// Version of the header and of the trailer line.
pub const VERSION: u64 = 1;

/// The members of the header line, in the order in which they are written.
pub const HEADER_MEMBERS: [&str; 3] = ["thingdb", "card", "checkpoint"];

/// The members of the trailer line, in the order in which they are written.
pub const TRAILER_MEMBERS: [&str; 4] = ["thingdb_end", "entries", "root", "checkpoint"];

/// The line before the first entry.
///
/// ```
/// use thingdb_format::StreamHeader;
/// let mut out = Vec::new();
/// StreamHeader::default().encode(&mut out);
/// assert_eq!(out, b"{\"thingdb\":1}\n");
/// assert_eq!(StreamHeader::decode(&out, 1)?, StreamHeader::default());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHeader {
    /// The node that wrote the stream.
    pub card: Option<Card>,
    /// A state of its ledger.
    pub checkpoint: Option<SignedCheckpoint>,
}

impl StreamHeader {
    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"thingdb\":1");
        if let Some(card) = &self.card {
            out.extend_from_slice(b",\"card\":");
            push_string(out, &card.to_string());
        }
        push_checkpoint(out, self.checkpoint.as_ref());
        out.extend_from_slice(b"}\n");
    }

    /// Reads the line. The card verifies; whether the checkpoint does is for
    /// the one who knows the node key to ask.
    ///
    /// # Errors
    /// [`Error::Line`] with `number`.
    pub fn decode(line: &[u8], number: u64) -> Result<Self, Error> {
        read_line::<WireHeader>(line, number).map_err(|error| newer_or("thingdb", line, error))
    }
}

/// The line after the last entry.
///
/// ```
/// use thingdb_format::{EntryId, Trailer, merkle};
/// let mut ids = merkle::Frontier::default();
/// ids.push(merkle::leaf(&EntryId([1; 32])));
/// let trailer = Trailer { entries: ids.size(), root: ids.root(), checkpoint: None };
/// let mut out = Vec::new();
/// trailer.encode(&mut out);
/// assert_eq!(Trailer::decode(&out, 3)?, trailer);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Entry lines since the header.
    pub entries: u64,
    /// Merkle tree hash over their ids.
    pub root: Hash,
    /// The state of the ledger when the stream was written.
    pub checkpoint: Option<SignedCheckpoint>,
}

impl Trailer {
    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"thingdb_end\":1,\"entries\":");
        push_number(out, self.entries);
        out.extend_from_slice(b",\"root\":\"");
        push_hex(out, &self.root.0);
        out.push(b'"');
        push_checkpoint(out, self.checkpoint.as_ref());
        out.extend_from_slice(b"}\n");
    }

    /// Reads the line.
    ///
    /// # Errors
    /// [`Error::Line`] with `number`.
    pub fn decode(line: &[u8], number: u64) -> Result<Self, Error> {
        read_line::<WireTrailer>(line, number).map_err(|error| newer_or("thingdb_end", line, error))
    }

    /// Whether the stream was the whole ledger, in order, of the checkpoint:
    /// then the signature of the checkpoint covers the stream.
    #[must_use]
    pub fn is_whole_ledger(&self) -> bool {
        self.checkpoint.as_ref().is_some_and(|note| {
            let claimed = note.claimed();
            claimed.size == self.entries && claimed.root == self.root
        })
    }
}

fn push_checkpoint(out: &mut Vec<u8>, checkpoint: Option<&SignedCheckpoint>) {
    if let Some(note) = checkpoint {
        out.extend_from_slice(b",\"checkpoint\":");
        push_string(out, note.as_str());
    }
}

struct WireHeader;

impl Object for WireHeader {
    const NAME: &'static str = "stream header";
    const MEMBERS: &'static [&'static str] = &HEADER_MEMBERS;
    type Value = StreamHeader;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<StreamHeader, A::Error> {
        let (mut thingdb, mut card, mut checkpoint) = (None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "thingdb" => members.number(name, &mut thingdb, |found| version(name, found))?,
                "card" => members.text(name, &mut card, str::parse::<Card>)?,
                _ => members.text(name, &mut checkpoint, SignedCheckpoint::parse)?,
            }
        }
        members.need("thingdb", thingdb)?;
        Ok(StreamHeader { card, checkpoint })
    }
}

struct WireTrailer;

impl Object for WireTrailer {
    const NAME: &'static str = "trailer";
    const MEMBERS: &'static [&'static str] = &TRAILER_MEMBERS;
    type Value = Trailer;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<Trailer, A::Error> {
        let (mut thingdb_end, mut entries, mut root, mut checkpoint) = (None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "thingdb_end" => members.number(name, &mut thingdb_end, |found| version(name, found))?,
                "entries" => members.number(name, &mut entries, |n| within(name, n, 0, MAX_SIZE).map(|()| n))?,
                "root" => members.text(name, &mut root, |text| hex(name, text).map(Hash))?,
                _ => members.text(name, &mut checkpoint, SignedCheckpoint::parse)?,
            }
        }
        members.need("thingdb_end", thingdb_end)?;
        let entries = members.need("entries", entries)?;
        Ok(Trailer { entries, root: members.need("root", root)?, checkpoint })
    }
}

fn version(field: &'static str, found: u64) -> Result<(), Error> {
    if found == VERSION { Ok(()) } else { Err(Error::NewerVersion { field, found }) }
}

/// A newer version may have members that we do not know before its number.
fn newer_or(member: &'static str, text: &[u8], error: Error) -> Error {
    #[derive(serde::Deserialize)]
    struct Numbers {
        thingdb: Option<u64>,
        thingdb_end: Option<u64>,
    }
    let Error::Line { line, column, .. } = error else { return error };
    if text.len() > MAX_LINE_BYTES || !may_be_object(text) {
        return error;
    }
    let numbers = serde_json::from_slice::<Numbers>(text).ok();
    match numbers.and_then(|numbers| numbers.thingdb.or(numbers.thingdb_end)).map(|found| version(member, found)) {
        Some(Err(newer)) => Error::Line { line, column, problem: Box::new(newer) },
        _ => error,
    }
}

/// One line of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An empty line, to be ignored.
    Blank,
    /// The line before the first entry.
    Header(Box<StreamHeader>),
    /// An entry, well formed; nothing more is known of it.
    Entry(Box<Entry>),
    /// The line after the last entry.
    Trailer(Box<Trailer>),
}

impl Line {
    /// Reads a line of whatever kind, with or without its line end. `number`
    /// is its place in the stream, from 1, for errors.
    ///
    /// # Errors
    /// [`Error::Line`].
    ///
    /// ```
    /// use thingdb_format::{Line, StreamHeader};
    /// assert_eq!(Line::parse(b"\r\n", 1)?, Line::Blank);
    /// assert_eq!(Line::parse(b"{\"thingdb\":1}\n", 2)?, Line::Header(Box::default()));
    /// let problem = Line::parse(b"{\"v\":1,\"v\":1}", 3).unwrap_err();
    /// assert_eq!(problem.to_string(), "line 3, column 10: entry has the member `v` twice");
    /// # Ok::<(), thingdb_format::Error>(())
    /// ```
    pub fn parse(line: &[u8], number: u64) -> Result<Self, Error> {
        match kind(strip_line_end(line)) {
            Kind::Blank => Ok(Self::Blank),
            Kind::Header => StreamHeader::decode(line, number).map(|header| Self::Header(Box::new(header))),
            Kind::Entry => line::decode(line, number).map(|entry| Self::Entry(Box::new(entry))),
            Kind::Trailer => Trailer::decode(line, number).map(|trailer| Self::Trailer(Box::new(trailer))),
        }
    }
}

enum Kind {
    Blank,
    Header,
    Entry,
    Trailer,
}

/// What a line claims to be, by its members. What is not JSON claims to be an
/// entry, and is refused as one.
fn kind(line: &[u8]) -> Kind {
    if line.is_empty() {
        return Kind::Blank;
    }
    // As our writer begins; nearly every line does.
    if line.starts_with(b"{\"v\":") || line.len() > MAX_LINE_BYTES {
        return Kind::Entry;
    }
    #[derive(serde::Deserialize)]
    struct Names {
        thingdb: Option<IgnoredAny>,
        thingdb_end: Option<IgnoredAny>,
    }
    match serde_json::from_slice::<Names>(line) {
        Ok(Names { thingdb: Some(_), .. }) => Kind::Header,
        Ok(Names { thingdb_end: Some(_), .. }) => Kind::Trailer,
        _ => Kind::Entry,
    }
}

/// Whether a stream is complete: fed with what its lines hold, in their order.
///
/// Each entry stays good on its own whatever comes out here.
///
/// ```
/// use thingdb_format::{EntryId, Error, StreamCheck, stream::Outcome};
/// let mut check = StreamCheck::default();
/// check.entry(&EntryId([1; 32]))?;
/// assert_eq!(check.finish()?, Outcome::Bare);
///
/// let mut check = StreamCheck::default();
/// check.header()?;
/// check.entry(&EntryId([1; 32]))?;
/// assert_eq!(check.finish(), Err(Error::Cut { entries: 1 }));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamCheck {
    state: State,
    streams: u64,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// Nothing yet.
    #[default]
    Start,
    /// Entries without a header before them.
    Bare,
    /// After a header.
    Open(Frontier),
    /// After a trailer.
    Closed,
}

/// What a stream turned out to be, if nothing is missing from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Entries without header and trailer, or nothing at all: whether it was
    /// cut cannot be known.
    Bare,
    /// As many streams, each with a header and the trailer that goes with it.
    Complete {
        /// How many.
        streams: u64,
    },
}

impl StreamCheck {
    /// A header line came.
    ///
    /// # Errors
    /// [`Error::Cut`] if the stream before it has no trailer,
    /// [`Error::Damaged`] if entries without a header stand before it. One may
    /// go on: the stream that begins here is checked all the same.
    pub fn header(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.state, State::Open(Frontier::default())) {
            State::Start | State::Closed => Ok(()),
            State::Open(tree) => Err(Error::Cut { entries: tree.size() }),
            State::Bare => Err(damaged("the header comes after entries".into())),
        }
    }

    /// An entry line came, whatever becomes of the entry.
    ///
    /// # Errors
    /// [`Error::Damaged`] after a trailer.
    pub fn entry(&mut self, id: &EntryId) -> Result<(), Error> {
        match &mut self.state {
            State::Open(tree) => tree.push(merkle::leaf(id)),
            State::Start => self.state = State::Bare,
            State::Bare => {}
            State::Closed => return Err(damaged("an entry comes after the trailer".into())),
        }
        Ok(())
    }

    /// A trailer line came.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it does not match what came before.
    pub fn trailer(&mut self, trailer: &Trailer) -> Result<(), Error> {
        let State::Open(tree) = std::mem::replace(&mut self.state, State::Closed) else {
            return Err(damaged("the trailer has no header before it".into()));
        };
        self.streams = self.streams.saturating_add(1);
        if tree.size() != trailer.entries {
            let noun = if trailer.entries == 1 { "entry" } else { "entries" };
            return Err(damaged(format!("the trailer counts {} {noun}, {} came", trailer.entries, tree.size())));
        }
        if tree.root() != trailer.root {
            return Err(damaged(format!(
                "the trailer has the root {}, the entries give {}",
                trailer.root,
                tree.root()
            )));
        }
        Ok(())
    }

    /// The stream ends.
    ///
    /// # Errors
    /// [`Error::Cut`] if a header came and its trailer did not.
    pub fn finish(self) -> Result<Outcome, Error> {
        match self.state {
            State::Open(tree) => Err(Error::Cut { entries: tree.size() }),
            State::Start | State::Bare => Ok(Outcome::Bare),
            State::Closed => Ok(Outcome::Complete { streams: self.streams }),
        }
    }
}

const fn damaged(problem: String) -> Error {
    Error::Damaged { problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CardFields, Checkpoint, DecryptionKey, SigningKey, Time};

    fn node() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn note(ids: &[EntryId]) -> SignedCheckpoint {
        let root = merkle::root(ids.iter().map(merkle::leaf));
        Checkpoint::new(node().node_key().origin(), ids.len() as u64, root).sign(&node()).unwrap()
    }

    fn header() -> StreamHeader {
        let fields = CardFields {
            time: Time::from_micros(0).unwrap(),
            node_key: node().node_key(),
            encryption_key: DecryptionKey::from_bytes([6; 32]).encryption_key(),
            tls: None,
            name: String::new(),
            actors: vec![],
        };
        StreamHeader { card: Some(Card::sign(fields, &node()).unwrap()), checkpoint: Some(note(&ids(3))) }
    }

    fn ids(n: u8) -> Vec<EntryId> {
        (0..n).map(|n| EntryId([n; 32])).collect()
    }

    fn trailer(ids: &[EntryId]) -> Trailer {
        let root = merkle::root(ids.iter().map(merkle::leaf));
        Trailer { entries: ids.len() as u64, root, checkpoint: Some(note(ids)) }
    }

    fn fed(ids: &[EntryId]) -> StreamCheck {
        let mut check = StreamCheck::default();
        check.header().unwrap();
        for id in ids {
            check.entry(id).unwrap();
        }
        check
    }

    #[test]
    fn headers_and_trailers_come_back() {
        let mut out = Vec::new();
        header().encode(&mut out);
        assert_eq!(Line::parse(&out, 1).unwrap(), Line::Header(Box::new(header())));
        let mut out = Vec::new();
        trailer(&ids(3)).encode(&mut out);
        assert_eq!(Line::parse(&out, 1).unwrap(), Line::Trailer(Box::new(trailer(&ids(3)))));
        assert!(trailer(&ids(3)).is_whole_ledger());
        assert!(!Trailer { checkpoint: Some(note(&ids(2))), ..trailer(&ids(3)) }.is_whole_ledger());
    }

    #[test]
    fn every_truncation_and_bit_of_a_trailer_is_refused_or_another_trailer() {
        let trailer = trailer(&ids(3));
        let mut line = Vec::new();
        trailer.encode(&mut line);
        line.pop();
        for len in 1..line.len() {
            assert!(Line::parse(&line[..len], 1).is_err(), "{len}");
        }
        for bit in 0..line.len() * 8 {
            let mut flipped = line.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Line::parse(&flipped, 1) {
                assert_ne!(other, Line::Trailer(Box::new(trailer.clone())), "{bit}");
            }
        }
    }

    #[test]
    fn members_are_strict() {
        for bad in [
            &b"{\"thingdb\":1,\"thingdb\":1}"[..],
            b"{\"thingdb\":1,\"x\":1}",
            b"{\"thingdb\":\"1\"}",
            b"{\"thingdb\":1.0}",
            b"{\"thingdb\":1,\"thingdb_end\":1}",
            b"{\"thingdb\":1,\"card\":\"\"}",
            b"{\"thingdb\":1,\"card\":null}",
            b"{\"thingdb\":1,\"checkpoint\":\"x\"}",
            b"{\"thingdb\":1} {}",
            b"{\"thingdb_end\":1}",
            b"{\"thingdb_end\":1,\"entries\":9007199254740992,\"root\":\"00\"}",
            b"[]",
            b"1",
            b" ",
        ] {
            assert!(Line::parse(bad, 1).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn newer_versions_are_told_apart() {
        for newer in [
            &b"{\"thingdb\":2}"[..],
            b"{\"new\":[],\"thingdb\":2}",
            b"{\"thingdb_end\":2}",
            b"{\"v\":2,\"x\":1}",
            b"{\"x\":1,\"v\":2}",
        ] {
            let problem = Line::parse(newer, 1).unwrap_err();
            assert!(problem.is_newer_version(), "{problem}");
        }
    }

    #[test]
    fn a_matching_trailer_completes_a_stream() {
        for n in [0, 1, 2, 7] {
            let mut check = fed(&ids(n));
            check.trailer(&trailer(&ids(n))).unwrap();
            assert_eq!(check.finish().unwrap(), Outcome::Complete { streams: 1 });
        }
        assert_eq!(StreamCheck::default().finish().unwrap(), Outcome::Bare);
    }

    #[test]
    fn streams_can_be_concatenated() {
        let mut check = fed(&ids(3));
        check.trailer(&trailer(&ids(3))).unwrap();
        check.header().unwrap();
        check.trailer(&trailer(&[])).unwrap();
        assert_eq!(check.finish().unwrap(), Outcome::Complete { streams: 2 });
    }

    #[test]
    fn a_missing_trailer_is_a_cut() {
        assert_eq!(fed(&ids(3)).finish(), Err(Error::Cut { entries: 3 }));
        let mut check = fed(&ids(3));
        assert_eq!(check.header(), Err(Error::Cut { entries: 3 }));
        check.trailer(&trailer(&[])).unwrap();
    }

    #[test]
    fn what_does_not_match_is_damage() {
        let damaged = |result| assert!(matches!(result, Err(Error::Damaged { .. })), "{result:?}");
        damaged(fed(&ids(3)).trailer(&trailer(&ids(2))));
        let mut swapped = ids(3);
        swapped.swap(0, 1);
        damaged(fed(&swapped).trailer(&trailer(&ids(3))));
        damaged(StreamCheck::default().trailer(&trailer(&[])));
        let mut check = StreamCheck::default();
        check.entry(&EntryId([0; 32])).unwrap();
        damaged(check.header());
        let mut check = fed(&[]);
        check.trailer(&trailer(&[])).unwrap();
        damaged(check.entry(&EntryId([0; 32])));
        damaged(check.trailer(&trailer(&[])));
    }
}

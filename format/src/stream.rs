//! The stream: lines of entries, between a header line and a trailer line if
//! whoever wrote it wants a cut file to be noticed.
//!
//! ```text
//! {"thingdb":1,"card":CARD,"checkpoint":NOTE}
//! entries, one a line
//! {"thingdb_end":1,"entries":N,"root":HEX,"digest":HEX,"checkpoint":NOTE}
//! ```
//!
//! [`StreamCheck`] says what a stream is as a whole.

mod check;
mod digest;

use serde::de::{IgnoredAny, MapAccess};

use crate::checkpoint::MAX_SIZE;
use crate::codec::within;
use crate::json::{Members, Object, hex, push_hex, push_number, push_string, read_line, strip_line_end};
use crate::line::MAX_LINE_BYTES;
use crate::walk::{Step, walk};
use crate::{Card, Entry, Error, Hash, SignedCheckpoint, line};

pub use check::{Claim, Extent, Outcome, StreamCheck};
pub use digest::{Digest, hash_of_line};

/// Version of the header and of the trailer line.
pub const VERSION: u64 = 1;

/// The members that hold it.
const VERSION_MEMBERS: [&str; 2] = ["thingdb", "thingdb_end"];

/// The members of the header line, in the order in which they are written.
pub const HEADER_MEMBERS: [&str; 3] = ["thingdb", "card", "checkpoint"];

/// The members of the trailer line, in the order in which they are written.
pub const TRAILER_MEMBERS: [&str; 5] = ["thingdb_end", "entries", "root", "digest", "checkpoint"];

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
        read_line::<WireHeader>(line, number).map_err(|error| newer_or("thingdb", &VERSION_MEMBERS, line, error))
    }
}

/// The line after the last entry.
///
/// ```
/// use thingdb_format::{EntryId, Trailer, merkle};
/// let mut ids = merkle::Frontier::default();
/// ids.push(merkle::leaf(&EntryId([1; 32])));
/// let trailer = Trailer { entries: ids.size(), root: ids.root(), digest: None, checkpoint: None };
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
    /// [`Digest`] of the lines, or frames, of the entries.
    pub digest: Option<Hash>,
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
        if let Some(digest) = &self.digest {
            out.extend_from_slice(b",\"digest\":\"");
            push_hex(out, &digest.0);
            out.push(b'"');
        }
        push_checkpoint(out, self.checkpoint.as_ref());
        out.extend_from_slice(b"}\n");
    }

    /// Reads the line.
    ///
    /// # Errors
    /// [`Error::Line`] with `number`.
    pub fn decode(line: &[u8], number: u64) -> Result<Self, Error> {
        read_line::<WireTrailer>(line, number).map_err(|error| newer_or("thingdb_end", &VERSION_MEMBERS, line, error))
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
        let (mut thingdb_end, mut entries, mut root, mut digest, mut checkpoint) = (None, None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "thingdb_end" => members.number(name, &mut thingdb_end, |found| version(name, found))?,
                "entries" => members.number(name, &mut entries, |n| within(name, n, 0, MAX_SIZE).map(|()| n))?,
                "root" => members.text(name, &mut root, |text| hex(name, text).map(Hash))?,
                "digest" => members.text(name, &mut digest, |text| hex(name, text).map(Hash))?,
                _ => members.text(name, &mut checkpoint, SignedCheckpoint::parse)?,
            }
        }
        members.need("thingdb_end", thingdb_end)?;
        let entries = members.need("entries", entries)?;
        Ok(Trailer { entries, root: members.need("root", root)?, digest, checkpoint })
    }
}

fn version(field: &'static str, found: u64) -> Result<(), Error> {
    if found == VERSION { Ok(()) } else { Err(Error::NewerVersion { field, found }) }
}

/// A newer version may have members that we do not know before its number. The
/// number of this version is 1 in every kind of file; it is the first of `names`
/// that is there, and stands for `member` in the error.
pub(crate) fn newer_or(member: &'static str, names: &[&'static str], text: &[u8], error: Error) -> Error {
    let Error::Line { line, column, .. } = error else { return error };
    if text.len() > MAX_LINE_BYTES {
        return error;
    }
    let mut number = None;
    let mut keep = |found| number = number.or(Some(found));
    let reads = names.iter().all(|name| walk(text, &[Step::Optional(name)], &mut keep));
    match number.filter(|_| reads).map(|found| version(member, found)) {
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
        match LineKind::of(line) {
            LineKind::Blank => Ok(Self::Blank),
            LineKind::Header => StreamHeader::decode(line, number).map(|header| Self::Header(Box::new(header))),
            LineKind::Entry => line::decode(line, number).map(|entry| Self::Entry(Box::new(entry))),
            LineKind::Trailer => Trailer::decode(line, number).map(|trailer| Self::Trailer(Box::new(trailer))),
        }
    }
}

/// What a line claims to be, whether it can be read or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// An empty line.
    Blank,
    /// A header: an object with the member `thingdb`.
    Header,
    /// An entry, and everything that is nothing else.
    Entry,
    /// A trailer: an object with the member `thingdb_end`.
    Trailer,
}

impl LineKind {
    /// What a line claims to be, by its members. What is not JSON claims to be
    /// an entry, and is refused as one.
    ///
    /// ```
    /// use thingdb_format::stream::LineKind;
    /// assert_eq!(LineKind::of(b"{\"thingdb_end\":1,\"entries\":-1}"), LineKind::Trailer);
    /// ```
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Names {
            thingdb: Option<IgnoredAny>,
            thingdb_end: Option<IgnoredAny>,
        }
        let line = strip_line_end(line);
        if line.is_empty() {
            return Self::Blank;
        }
        // As our writer begins; nearly every line does.
        if line.starts_with(b"{\"v\":") || line.len() > MAX_LINE_BYTES {
            return Self::Entry;
        }
        match serde_json::from_slice::<Names>(line) {
            Ok(Names { thingdb: Some(_), .. }) => Self::Header,
            Ok(Names { thingdb_end: Some(_), .. }) => Self::Trailer,
            _ => Self::Entry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CardFields, Checkpoint, DecryptionKey, EntryId, SigningKey, Time, merkle};

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
        Trailer { entries: ids.len() as u64, root, digest: Some(Hash([9; 32])), checkpoint: Some(note(ids)) }
    }

    #[test]
    fn headers_and_trailers_come_back() {
        let mut out = Vec::new();
        header().encode(&mut out);
        assert_eq!(Line::parse(&out, 1).unwrap(), Line::Header(Box::new(header())));
        let mut out = Vec::new();
        trailer(&ids(3)).encode(&mut out);
        assert_eq!(Line::parse(&out, 1).unwrap(), Line::Trailer(Box::new(trailer(&ids(3)))));
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
}

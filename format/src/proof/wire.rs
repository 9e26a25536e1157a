//! The lines of a proof file.

use serde::de::{IgnoredAny, MapAccess};

use super::heads::WireHeads;
use super::{Earlier, MAX_EARLIER, ProofEnd, ProofEntry, ProofHeader, Subject, VERSION};
use crate::checkpoint::MAX_SIZE;
use crate::codec::within;
use crate::header::MAX_SEQ;
use crate::json::{
    self, List, Members, Object, Seed, base64_array, hex, push_base64, push_hex, push_number, push_string, read_line,
    strip_line_end,
};
use crate::line::{self, MAX_LINE_BYTES, WireEntry};
use crate::stream::newer_or;
use crate::{Card, Cek, Error, Hash, SignedCheckpoint, ThingId};

/// The most hashes in a gap, or in a consistency proof: two for each level of
/// the largest tree.
const MAX_HASHES: usize = 128;

/// The members that hold the version.
const VERSION_MEMBERS: [&str; 2] = ["thingdb_proof", "thingdb_proof_end"];

impl ProofHeader {
    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"thingdb_proof\":1,\"subject\":{\"kind\":\"");
        out.extend_from_slice(self.subject.kind().as_bytes());
        out.extend_from_slice(b"\",\"thing\":");
        push_string(out, self.subject.thing().as_str());
        if let Subject::Range { from, to, .. } = &self.subject {
            out.extend_from_slice(b",\"from\":");
            push_number(out, *from);
            out.extend_from_slice(b",\"to\":");
            push_number(out, *to);
        }
        out.extend_from_slice(b"},\"card\":");
        push_string(out, &self.card.to_string());
        out.extend_from_slice(b",\"checkpoint\":");
        push_string(out, self.checkpoint.as_str());
        if !self.earlier.is_empty() {
            out.extend_from_slice(b",\"earlier\":[");
            for (place, earlier) in self.earlier.iter().enumerate() {
                if place != 0 {
                    out.push(b',');
                }
                out.extend_from_slice(b"{\"checkpoint\":");
                push_string(out, earlier.checkpoint.as_str());
                push_hashes(out, "proof", &earlier.proof);
                out.push(b'}');
            }
            out.push(b']');
        }
        if let Some(heads) = &self.heads {
            out.extend_from_slice(b",\"heads\":");
            heads.encode(out);
        }
        out.extend_from_slice(b"}\n");
    }

    /// Reads the line. The card verifies; the checkpoints are looked at by
    /// [`ProofCheck`](super::ProofCheck).
    ///
    /// # Errors
    /// [`Error::Line`] with `number`.
    pub fn decode(line: &[u8], number: u64) -> Result<Self, Error> {
        read_line::<WireHeader>(line, number).map_err(|error| newer_or("thingdb_proof", &VERSION_MEMBERS, line, error))
    }
}

impl ProofEntry {
    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"place\":");
        push_number(out, self.place);
        push_hashes(out, "gap", &self.gap);
        if let Some(cek) = &self.cek {
            out.extend_from_slice(b",\"cek\":\"");
            push_base64(out, cek.as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b",\"entry\":");
        line::encode(&self.entry, out);
        // The line feed of the entry's own line.
        out.pop();
        out.extend_from_slice(b"}\n");
    }

    /// Reads the line. The entry's id and payload are checked against its
    /// header; the signature is not.
    ///
    /// # Errors
    /// [`Error::Line`] with `number`.
    pub fn decode(line: &[u8], number: u64) -> Result<Self, Error> {
        let (claimed, read) = read_line::<WireLine>(line, number)?;
        line::check(&claimed, &read.entry, line, number)?;
        Ok(read)
    }
}

impl ProofEnd {
    /// Appends the line, with its line feed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"thingdb_proof_end\":1,\"entries\":");
        push_number(out, self.entries);
        push_hashes(out, "gap", &self.gap);
        out.extend_from_slice(b",\"digest\":\"");
        push_hex(out, &self.digest.0);
        out.extend_from_slice(b"\"}\n");
    }

    /// Reads the line.
    ///
    /// # Errors
    /// [`Error::Line`] with `number`.
    pub fn decode(line: &[u8], number: u64) -> Result<Self, Error> {
        read_line::<WireEnd>(line, number).map_err(|error| newer_or("thingdb_proof_end", &VERSION_MEMBERS, line, error))
    }
}

fn push_hashes(out: &mut Vec<u8>, name: &str, hashes: &[Hash]) {
    if hashes.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
    push_base64(out, &bytes);
    out.push(b'"');
}

/// One or more hashes; a member without any is left out.
fn hashes(what: &'static str, text: &str) -> Result<Vec<Hash>, Error> {
    let hashes = json::hashes(what, text, MAX_HASHES.saturating_mul(32))?;
    if hashes.is_empty() {
        return Err(Error::Malformed { what, problem: "is not a whole number of hashes" });
    }
    Ok(hashes)
}

fn version(field: &'static str, found: u64) -> Result<(), Error> {
    if found == VERSION { Ok(()) } else { Err(Error::NewerVersion { field, found }) }
}

/// What a line claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Blank,
    Header,
    Timestamp,
    Receipt,
    Entry,
    End,
}

impl Kind {
    pub(super) fn of(line: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Names {
            thingdb_proof: Option<IgnoredAny>,
            thingdb_proof_end: Option<IgnoredAny>,
            timestamp: Option<IgnoredAny>,
            receipt: Option<IgnoredAny>,
        }
        let line = strip_line_end(line);
        if line.is_empty() {
            return Self::Blank;
        }
        // As our writer begins; nearly every line does.
        if line.starts_with(b"{\"place\":") || line.len() > MAX_LINE_BYTES {
            return Self::Entry;
        }
        match serde_json::from_slice::<Names>(line) {
            Ok(Names { thingdb_proof: Some(_), .. }) => Self::Header,
            Ok(Names { thingdb_proof_end: Some(_), .. }) => Self::End,
            Ok(Names { timestamp: Some(_), .. }) => Self::Timestamp,
            Ok(Names { receipt: Some(_), .. }) => Self::Receipt,
            _ => Self::Entry,
        }
    }
}

struct WireHeader;

impl Object for WireHeader {
    const NAME: &'static str = "first line";
    const MEMBERS: &'static [&'static str] = &["thingdb_proof", "subject", "card", "checkpoint", "earlier", "heads"];
    type Value = ProofHeader;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<ProofHeader, A::Error> {
        let faults = members.faults;
        let (mut v, mut subject, mut card, mut checkpoint) = (None, None, None, None);
        let (mut earlier, mut heads) = (None, None);
        while let Some(name) = members.next()? {
            match name {
                "thingdb_proof" => members.number(name, &mut v, |found| version(name, found))?,
                "subject" => members.value(name, &mut subject, Seed::<WireSubject>::new(faults))?,
                "card" => members.text(name, &mut card, str::parse::<Card>)?,
                "checkpoint" => members.text(name, &mut checkpoint, SignedCheckpoint::parse)?,
                "heads" => members.value(name, &mut heads, Seed::<WireHeads>::new(faults))?,
                _ => {
                    let item = || Seed::<WireEarlier>::new(faults);
                    members.value(name, &mut earlier, List { name, faults, most: MAX_EARLIER, item })?;
                    if earlier.as_ref().is_some_and(Vec::is_empty) {
                        let problem = "earlier is empty; without any it is absent".into();
                        return Err(faults.put(Error::Json { problem }));
                    }
                }
            }
        }
        members.need("thingdb_proof", v)?;
        Ok(ProofHeader {
            subject: members.need("subject", subject)?,
            card: members.need("card", card)?,
            checkpoint: members.need("checkpoint", checkpoint)?,
            earlier: earlier.unwrap_or_default(),
            heads,
        })
    }
}

struct WireSubject;

impl Object for WireSubject {
    const NAME: &'static str = "subject";
    const MEMBERS: &'static [&'static str] = &["kind", "thing", "from", "to"];
    type Value = Subject;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<Subject, A::Error> {
        let (mut kind, mut thing, mut from, mut to) = (None, None, None, None);
        let seq = |name, seq| within(name, seq, 1, MAX_SEQ).map(|()| seq);
        while let Some(name) = members.next()? {
            match name {
                "kind" => members.text(name, &mut kind, |kind| Ok(kind.to_owned()))?,
                "thing" => members.text(name, &mut thing, ThingId::new)?,
                "from" => members.number(name, &mut from, |found| seq(name, found))?,
                _ => members.number(name, &mut to, |found| seq(name, found))?,
            }
        }
        let kind = members.need("kind", kind)?;
        let thing = members.need("thing", thing)?;
        if kind == "range" {
            let (from, to) = (members.need("from", from)?, members.need("to", to)?);
            within("to", to, from, MAX_SEQ).map_err(|error| members.faults.put(error))?;
            return Ok(Subject::Range { thing, from, to });
        }
        members.refuse("from", &from)?;
        members.refuse("to", &to)?;
        match kind.as_str() {
            "history" => Ok(Subject::History { thing }),
            "entries" => Ok(Subject::Entries { thing }),
            "absent" => Ok(Subject::Absent { thing }),
            _ => Err(members.faults.put(Error::Malformed { what: "kind", problem: "is none of a subject" })),
        }
    }
}

struct WireEarlier;

impl Object for WireEarlier {
    const NAME: &'static str = "earlier checkpoint";
    const MEMBERS: &'static [&'static str] = &["checkpoint", "proof"];
    type Value = Earlier;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<Earlier, A::Error> {
        let (mut checkpoint, mut proof) = (None, None);
        while let Some(name) = members.next()? {
            match name {
                "checkpoint" => members.text(name, &mut checkpoint, SignedCheckpoint::parse)?,
                _ => members.text(name, &mut proof, |text| hashes(name, text))?,
            }
        }
        Ok(Earlier { checkpoint: members.need("checkpoint", checkpoint)?, proof: proof.unwrap_or_default() })
    }
}

struct WireLine;

impl Object for WireLine {
    const NAME: &'static str = "line";
    const MEMBERS: &'static [&'static str] = &["place", "gap", "cek", "entry"];
    type Value = (crate::EntryId, ProofEntry);

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<Self::Value, A::Error> {
        let faults = members.faults;
        let (mut place, mut gap, mut cek, mut entry) = (None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "place" => members.number(name, &mut place, |n| within(name, n, 0, MAX_SIZE - 1).map(|()| n))?,
                "gap" => members.text(name, &mut gap, |text| hashes(name, text))?,
                "cek" => members.text(name, &mut cek, |text| base64_array(name, text).map(Cek::from_bytes))?,
                _ => members.value(name, &mut entry, Seed::<WireEntry>::new(faults))?,
            }
        }
        let place = members.need("place", place)?;
        let (claimed, entry) = members.need("entry", entry)?;
        if cek.is_some() && entry.is_stub() {
            let problem = "cek without a payload that it opens".into();
            return Err(faults.put(Error::Json { problem }));
        }
        Ok((claimed, ProofEntry { place, gap: gap.unwrap_or_default(), cek, entry }))
    }
}

struct WireEnd;

impl Object for WireEnd {
    const NAME: &'static str = "last line";
    const MEMBERS: &'static [&'static str] = &["thingdb_proof_end", "entries", "gap", "digest"];
    type Value = ProofEnd;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<ProofEnd, A::Error> {
        let (mut v, mut entries, mut gap, mut digest) = (None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "thingdb_proof_end" => members.number(name, &mut v, |found| version(name, found))?,
                "entries" => {
                    members.number(name, &mut entries, |n| within(name, n, 0, super::MAX_ENTRIES).map(|()| n))?;
                }
                "gap" => members.text(name, &mut gap, |text| hashes(name, text))?,
                _ => members.text(name, &mut digest, |text| hex(name, text).map(Hash))?,
            }
        }
        members.need("thingdb_proof_end", v)?;
        Ok(ProofEnd {
            entries: members.need("entries", entries)?,
            gap: gap.unwrap_or_default(),
            digest: members.need("digest", digest)?,
        })
    }
}

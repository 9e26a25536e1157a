//! The line: an entry as one JSON object on one line, self-contained.
//!
//! ```text
//! {"v":1,"id":…,"thing":…,"seq":…,"time":…,"origin":…,"actor":…,"prev":[…],
//!  "suite":…,"data_hash":…,"payload_hash":…,"payload_len":…,
//!  "sig":{"kind":…,"value":…},"payload":…,"envelopes":[…]}
//! ```
//!
//! ```
//! use thingdb_format::line;
//! # use thingdb_format::{Entry, Fields, Hash, Header, Origin, Signature, SigningKey, Suite, ThingId, Time, signature};
//! # let key = SigningKey::from_seed(&[1; 32]);
//! # let header = Header::new(Fields {
//! #     suite: Suite::Aes256Gcm, thing: ThingId::new("part-42")?, seq: 1, time: Time::from_micros(0)?,
//! #     origin: Origin([1; 16]), actor: key.actor(), prev: vec![], data_hash: Hash([3; 32]),
//! #     payload_hash: Hash([4; 32]), payload_len: 61,
//! # })?;
//! # let signature = Signature::Single(signature::sign_single(&key, &header.to_bytes()));
//! # let entry = Entry { header, signature, payload: None, envelopes: vec![] };
//! let mut out = Vec::new();
//! line::encode(&entry, &mut out);
//! assert_eq!(line::decode(&out, 1)?, entry);
//! # Ok::<(), thingdb_format::Error>(())
//! ```

use serde::de::MapAccess;

use crate::codec::within;
use crate::envelope::{MAX_ENVELOPES, MAX_RECIPIENTS};
use crate::header::{MAX_PAYLOAD_BYTES, MAX_PREV};
use crate::json::{
    List, Members, Object, Seed, Text, base64, base64_array, escaped_base64, hashes, hex, push_base64, push_hex,
    push_number, push_string, read_line,
};
use crate::signature::{MAX_BATCH, MIN_BATCH};
use crate::walk::{Step, walk};
use crate::{
    Actor, BatchSignature, Entry, EntryId, Envelope, Error, Fields, Hash, Header, KdfParams, KekPacket, Origin,
    RecipientId, Signature, Suite, ThingId, Time, merkle, payload,
};

pub use crate::json::MAX_LINE_BYTES;

/// Version of the line.
pub const VERSION: u64 = 1;

/// The members of an entry, in the order in which they are written.
pub const MEMBERS: [&str; 15] = [
    "v",
    "id",
    "thing",
    "seq",
    "time",
    "origin",
    "actor",
    "prev",
    "suite",
    "data_hash",
    "payload_hash",
    "payload_len",
    "sig",
    "payload",
    "envelopes",
];

/// Appends the line of an entry, with its line feed.
pub fn encode(entry: &Entry, out: &mut Vec<u8>) {
    encode_with_id(entry, &entry.id(), out);
}

/// The same for one who has the id at hand.
pub fn encode_with_id(entry: &Entry, id: &EntryId, out: &mut Vec<u8>) {
    encode_parts(&entry.header, id, &entry.signature, entry.payload.as_deref(), &entry.envelopes, out);
}

/// The same for one who has the parts of an entry in different places.
pub fn encode_parts(
    header: &Header,
    id: &EntryId,
    signature: &Signature,
    payload: Option<&[u8]>,
    envelopes: &[Envelope],
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"v\":1,\"id\":\"");
    push_hex(out, &id.0);
    out.extend_from_slice(b"\",\"thing\":");
    push_string(out, header.thing.as_str());
    out.extend_from_slice(b",\"seq\":");
    push_number(out, header.seq);
    out.extend_from_slice(b",\"time\":\"");
    out.extend_from_slice(&header.time.to_ascii());
    out.extend_from_slice(b"\",\"origin\":\"");
    push_hex(out, &header.origin.0);
    out.extend_from_slice(b"\",\"actor\":\"");
    push_hex(out, &header.actor.0);
    out.extend_from_slice(b"\",\"prev\":[");
    push_list(out, &header.prev, |out, prev| {
        out.push(b'"');
        push_hex(out, &prev.0);
        out.push(b'"');
    });
    out.extend_from_slice(b"],\"suite\":");
    push_number(out, u64::from(header.suite.number()));
    out.extend_from_slice(b",\"data_hash\":\"");
    push_hex(out, &header.data_hash.0);
    out.extend_from_slice(b"\",\"payload_hash\":\"");
    push_hex(out, &header.payload_hash.0);
    out.extend_from_slice(b"\",\"payload_len\":");
    push_number(out, u64::from(header.payload_len));
    push_signature(out, signature);
    if let Some(payload) = payload {
        out.extend_from_slice(b",\"payload\":\"");
        push_base64(out, payload);
        out.push(b'"');
    }
    if !envelopes.is_empty() {
        out.extend_from_slice(b",\"envelopes\":[");
        push_list(out, envelopes, push_envelope);
        out.push(b']');
    }
    out.extend_from_slice(b"}\n");
}

fn push_signature(out: &mut Vec<u8>, signature: &Signature) {
    out.extend_from_slice(match signature {
        Signature::Single(_) => b",\"sig\":{\"kind\":1,\"value\":\"",
        Signature::Batch(_) => b",\"sig\":{\"kind\":2,\"value\":\"",
    });
    push_base64(out, signature.value());
    if let Signature::Batch(batch) = signature {
        out.extend_from_slice(b"\",\"index\":");
        push_number(out, u64::from(batch.index));
        out.extend_from_slice(b",\"size\":");
        push_number(out, u64::from(batch.size));
        out.extend_from_slice(b",\"path\":\"");
        let path: Vec<u8> = batch.path.iter().flat_map(|hash| hash.0).collect();
        push_base64(out, &path);
    }
    out.extend_from_slice(b"\"}");
}

fn push_envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    out.extend_from_slice(b"{\"from\":\"");
    push_hex(out, &envelope.from.0);
    out.extend_from_slice(b"\",\"cek\":\"");
    push_base64(out, &envelope.cek);
    out.extend_from_slice(b"\",\"recipients\":[");
    push_list(out, &envelope.recipients, push_packet);
    out.extend_from_slice(b"]}");
}

fn push_packet(out: &mut Vec<u8>, packet: &KekPacket) {
    match packet {
        KekPacket::X25519 { id, kek } => {
            out.extend_from_slice(b"{\"kind\":1,\"id\":\"");
            push_hex(out, &id.0);
            out.extend_from_slice(b"\",\"kek\":\"");
            push_base64(out, kek);
        }
        KekPacket::Passphrase { salt, kdf, kek } => {
            out.extend_from_slice(b"{\"kind\":2,\"salt\":\"");
            push_hex(out, salt);
            out.extend_from_slice(b"\",\"m\":");
            push_number(out, u64::from(kdf.memory_kib()));
            out.extend_from_slice(b",\"t\":");
            push_number(out, u64::from(kdf.passes()));
            out.extend_from_slice(b",\"p\":");
            push_number(out, u64::from(kdf.lanes()));
            out.extend_from_slice(b",\"kek\":\"");
            push_base64(out, kek);
        }
        KekPacket::Public { kek } => {
            out.extend_from_slice(b"{\"kind\":3,\"kek\":\"");
            push_base64(out, kek);
        }
    }
    out.extend_from_slice(b"\"}");
}

fn push_list<T>(out: &mut Vec<u8>, items: &[T], push: impl Fn(&mut Vec<u8>, &T)) {
    for (place, item) in items.iter().enumerate() {
        if place != 0 {
            out.push(b',');
        }
        push(out, item);
    }
}

/// Reads the line of an entry, with or without its line end. The id and the
/// payload are checked against the header; the signature is not.
///
/// # Errors
/// [`Error::Line`] with `number`, the column and what is wrong there.
pub fn decode(line: &[u8], number: u64) -> Result<Entry, Error> {
    let (claimed, entry) = read_line::<WireEntry>(line, number).map_err(|error| newer_or(line, error))?;
    check(&claimed, &entry, line, number)?;
    Ok(entry)
}

/// Checks what can be without a key to verify with: the claimed id, and the
/// payload if it is there.
pub(crate) fn check(claimed: &EntryId, entry: &Entry, line: &[u8], number: u64) -> Result<(), Error> {
    let at = |member: &str, problem| Error::Line {
        line: number,
        column: column_of(line, member),
        problem: Box::new(problem),
    };
    let computed = entry.id();
    if *claimed != computed {
        let (found, computed) = (claimed.to_string(), computed.to_string());
        return Err(at("\"id\"", Error::BadHash { field: "id", found, computed }));
    }
    let Some(bytes) = &entry.payload else { return Ok(()) };
    payload::check(&entry.header, bytes).map_err(|error| match error {
        Error::BadHash { .. } => at("\"payload_hash\"", error),
        _ => at("\"payload_len\"", error),
    })
}

/// Where a member stands. A quote within a string is escaped, so that the
/// quoted name is found where it is a whole string only.
fn column_of(line: &[u8], quoted: &str) -> usize {
    line.windows(quoted.len()).position(|window| window == quoted.as_bytes()).map_or(1, |at| at.saturating_add(1))
}

pub(crate) struct WireEntry;

impl Object for WireEntry {
    const NAME: &'static str = "entry";
    const MEMBERS: &'static [&'static str] = &MEMBERS;
    type Value = (EntryId, Entry);

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<(EntryId, Entry), A::Error> {
        let faults = members.faults;
        let (mut v, mut id, mut thing, mut seq, mut time) = (None, None, None, None, None);
        let (mut origin, mut actor, mut prev, mut suite) = (None, None, None, None);
        let (mut data_hash, mut payload_hash, mut payload_len) = (None, None, None);
        let (mut sig, mut payload, mut envelopes) = (None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "v" => members.number(name, &mut v, version)?,
                "id" => members.text(name, &mut id, |text| hex(name, text).map(EntryId))?,
                "thing" => members.text(name, &mut thing, ThingId::new)?,
                "seq" => members.number(name, &mut seq, Ok)?,
                "time" => members.text(name, &mut time, str::parse::<Time>)?,
                "origin" => members.text(name, &mut origin, |text| hex(name, text).map(Origin))?,
                "actor" => members.text(name, &mut actor, |text| hex(name, text).map(Actor))?,
                "prev" => {
                    let item = || Text { name, faults, parse: |text: &str| hex(name, text).map(EntryId) };
                    members.value(name, &mut prev, List { name, faults, most: MAX_PREV, item })?;
                }
                "suite" => members.number(name, &mut suite, Suite::from_number)?,
                "data_hash" => members.text(name, &mut data_hash, |text| hex(name, text).map(Hash))?,
                "payload_hash" => members.text(name, &mut payload_hash, |text| hex(name, text).map(Hash))?,
                "payload_len" => members.number(name, &mut payload_len, |len| number32(name, len))?,
                "sig" => members.value(name, &mut sig, Seed::<WireSignature>::new(faults))?,
                "payload" => {
                    members.raw(name, &mut payload, |text| escaped_base64(name, text, MAX_PAYLOAD_BYTES as usize))?;
                }
                _ => {
                    let item = || Seed::<WireEnvelope>::new(faults);
                    members.value(name, &mut envelopes, List { name, faults, most: MAX_ENVELOPES, item })?;
                    if envelopes.as_ref().is_some_and(Vec::is_empty) {
                        let problem = "envelopes is empty; without any it is absent".into();
                        return Err(faults.put(Error::Json { problem }));
                    }
                }
            }
        }
        members.need("v", v)?;
        let id = members.need("id", id)?;
        let header = Header::new(Fields {
            thing: members.need("thing", thing)?,
            seq: members.need("seq", seq)?,
            time: members.need("time", time)?,
            origin: members.need("origin", origin)?,
            actor: members.need("actor", actor)?,
            prev: members.need("prev", prev)?,
            suite: members.need("suite", suite)?,
            data_hash: members.need("data_hash", data_hash)?,
            payload_hash: members.need("payload_hash", payload_hash)?,
            payload_len: members.need("payload_len", payload_len)?,
        })
        .map_err(|error| faults.put(error))?;
        let signature = members.need("sig", sig)?;
        Ok((id, Entry { header, signature, payload, envelopes: envelopes.unwrap_or_default() }))
    }
}

fn version(found: u64) -> Result<(), Error> {
    if found == VERSION { Ok(()) } else { Err(Error::NewerVersion { field: "v", found }) }
}

/// A number that is far below the limit of u32 where it is good.
fn number32(field: &'static str, found: u64) -> Result<u32, Error> {
    let most = u64::from(u32::MAX);
    u32::try_from(found).map_err(|_| Error::OutOfRange { field, found, least: 0, most })
}

struct WireSignature;

impl Object for WireSignature {
    const NAME: &'static str = "sig";
    const MEMBERS: &'static [&'static str] = &["kind", "value", "index", "size", "path"];
    type Value = Signature;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<Signature, A::Error> {
        let (mut kind, mut value, mut index, mut size, mut path) = (None, None, None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "kind" => members.number(name, &mut kind, signature_kind)?,
                "value" => members.text(name, &mut value, |text| base64_array(name, text))?,
                "index" => members.number(name, &mut index, |index| number32(name, index))?,
                "size" => members.number(name, &mut size, |size| number32(name, size))?,
                _ => members.text(name, &mut path, |text| hashes(name, text, 512))?,
            }
        }
        let kind = members.need("kind", kind)?;
        let value = members.need("value", value)?;
        if kind == 1 {
            members.refuse("index", &index)?;
            members.refuse("size", &size)?;
            members.refuse("path", &path)?;
            return Ok(Signature::Single(value));
        }
        let batch = BatchSignature {
            value,
            index: members.need("index", index)?,
            size: members.need("size", size)?,
            path: members.need("path", path)?,
        };
        check_batch(&batch).map_err(|error| members.faults.put(error))?;
        Ok(Signature::Batch(batch))
    }
}

fn signature_kind(found: u64) -> Result<u64, Error> {
    if matches!(found, 1 | 2) { Ok(found) } else { Err(Error::NewerVersion { field: "signature kind", found }) }
}

fn recipient_kind(found: u64) -> Result<u64, Error> {
    if matches!(found, 1..=3) { Ok(found) } else { Err(Error::NewerVersion { field: "recipient kind", found }) }
}

/// Concatenated hashes; a batch of the greatest size has paths of 16.
fn check_batch(batch: &BatchSignature) -> Result<(), Error> {
    let (index, size) = (u64::from(batch.index), u64::from(batch.size));
    within("size", size, u64::from(MIN_BATCH), u64::from(MAX_BATCH))?;
    within("index", index, 0, size.saturating_sub(1))?;
    let len = merkle::inclusion_proof_len(index, size) as u64;
    within("path", batch.path.len() as u64, len, len)
}

struct WireEnvelope;

impl Object for WireEnvelope {
    const NAME: &'static str = "envelope";
    const MEMBERS: &'static [&'static str] = &["from", "cek", "recipients"];
    type Value = Envelope;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<Envelope, A::Error> {
        let faults = members.faults;
        let (mut from, mut cek, mut recipients) = (None, None, None);
        while let Some(name) = members.next()? {
            match name {
                "from" => members.text(name, &mut from, |text| hex(name, text).map(Origin))?,
                "cek" => members.text(name, &mut cek, |text| base64_array(name, text))?,
                _ => {
                    let item = || Seed::<WirePacket>::new(faults);
                    members.value(name, &mut recipients, List { name, faults, most: MAX_RECIPIENTS, item })?;
                }
            }
        }
        let from = members.need("from", from)?;
        let cek = members.need("cek", cek)?;
        let recipients = members.need("recipients", recipients)?;
        Envelope::new(from, cek, recipients).map_err(|error| faults.put(error))
    }
}

struct WirePacket;

impl Object for WirePacket {
    const NAME: &'static str = "recipient";
    const MEMBERS: &'static [&'static str] = &["kind", "id", "salt", "m", "t", "p", "kek"];
    type Value = KekPacket;

    fn read<'de, A: MapAccess<'de>>(mut members: Members<'_, A>) -> Result<KekPacket, A::Error> {
        let faults = members.faults;
        let (mut kind, mut id, mut salt, mut m) = (None, None, None, None);
        let (mut t, mut p, mut kek) = (None, None, None::<Vec<u8>>);
        while let Some(name) = members.next()? {
            match name {
                "kind" => members.number(name, &mut kind, recipient_kind)?,
                "id" => members.text(name, &mut id, |text| hex(name, text).map(RecipientId))?,
                "salt" => members.text(name, &mut salt, |text| hex(name, text))?,
                "m" => members.number(name, &mut m, |m| number32(name, m))?,
                "t" => members.number(name, &mut t, |t| number32(name, t))?,
                "p" => members.number(name, &mut p, |p| number32(name, p))?,
                _ => members.text(name, &mut kek, |text| base64(name, text, 80))?,
            }
        }
        let kind = members.need("kind", kind)?;
        let kek = members.need("kek", kek)?;
        let packet = if kind == 1 {
            members.refuse("salt", &salt)?;
            members.refuse("m", &m)?;
            members.refuse("t", &t)?;
            members.refuse("p", &p)?;
            let id = members.need("id", id)?;
            sized(&kek).map(|kek| KekPacket::X25519 { id, kek })
        } else if kind == 3 {
            members.refuse("id", &id)?;
            members.refuse("salt", &salt)?;
            members.refuse("m", &m)?;
            members.refuse("t", &t)?;
            members.refuse("p", &p)?;
            sized(&kek).map(|kek| KekPacket::Public { kek })
        } else {
            members.refuse("id", &id)?;
            let salt = members.need("salt", salt)?;
            let (m, t, p) = (members.need("m", m)?, members.need("t", t)?, members.need("p", p)?);
            KdfParams::new(m, t, p).and_then(|kdf| sized(&kek).map(|kek| KekPacket::Passphrase { salt, kdf, kek }))
        };
        packet.map_err(|error| faults.put(error))
    }
}

fn sized<const N: usize>(kek: &[u8]) -> Result<[u8; N], Error> {
    within("kek", kek.len() as u64, N as u64, N as u64)?;
    Ok(kek.try_into().expect("the length was compared"))
}

/// The numbers that a newer version would change, wherever they stand: the
/// line may be refused for something else before they are reached.
fn newer_or(line: &[u8], error: Error) -> Error {
    fn newer(line: &[u8]) -> Result<(), Error> {
        if line.len() > MAX_LINE_BYTES {
            return Ok(());
        }
        let first = |path: &[Step]| {
            let mut first = None;
            walk(line, path, &mut |number| first = first.or(Some(number))).then_some(first).flatten()
        };
        let Some(v) = first(&[Step::Member("v")]) else { return Ok(()) };
        version(v)?;
        let suite = first(&[Step::Member("suite")]);
        let sig = first(&[Step::Member("sig"), Step::Member("kind")]);
        let packets =
            [Step::Optional("envelopes"), Step::Items, Step::Member("recipients"), Step::Items, Step::Member("kind")];
        let mut strange = None;
        let mut packet = |kind| strange = strange.or_else(|| recipient_kind(kind).is_err().then_some(kind));
        let (Some(suite), Some(sig), true) = (suite, sig, walk(line, &packets, &mut packet)) else { return Ok(()) };
        Suite::from_number(suite)?;
        signature_kind(sig)?;
        strange.map_or(Ok(()), |kind| recipient_kind(kind).map(drop))
    }
    if error.is_newer_version() {
        return error;
    }
    match (newer(line), error) {
        (Err(newer), Error::Line { line, column, .. }) => Error::Line { line, column, problem: Box::new(newer) },
        (_, error) => error,
    }
}

#[cfg(test)]
mod tests;

//! The binary stream: what the stream of lines says, in fewer bytes.
//!
//! ```text
//! "tdbs" 1                         once, at the beginning
//! length ‖ kind 1 ‖ fields         a frame: header, entry or trailer
//! ```
//!
//! What the reader can compute is not sent: the id; the payload's hash if the
//! payload is there; prev and seq if prev is the entry before it of the same
//! thing. What was sent before is named by how many definitions ago that was:
//! things, nodes, actors, sets of KEK packets, batch signatures. Of the inclusion
//! paths of a batch each hash goes once.
//!
//! ```
//! use thingdb_format::frame::{Decoder, Encoder};
//! # use thingdb_format::{Cek, Body, Entry, Fields, Header, Line, Signature, SigningKey, Suite, ThingId, Time, payload, signature};
//! # let key = SigningKey::generate(&mut rand::rng());
//! # let body = Body::new("alice", "create", "application/json", b"{}")?;
//! # let sealed = payload::seal(Suite::Aes256Gcm, &Cek::generate(&mut rand::rng()), body)?;
//! # let header = Header::new(Fields { suite: Suite::Aes256Gcm, thing: ThingId::new("x")?, seq: 1,
//! #     time: Time::from_micros(0)?, origin: key.node_key().origin(), actor: key.actor(), prev: vec![],
//! #     data_hash: sealed.data_hash, payload_hash: sealed.payload_hash, payload_len: sealed.payload.len() as u32 })?;
//! # let signature = Signature::Single(signature::sign_single(&key, &header.to_bytes()));
//! # let entry = Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] };
//! let mut bytes = Vec::new();
//! Encoder::default().entry(&entry, &entry.id(), &mut bytes)?;
//! let (line, used) = Decoder::default().next(&bytes)?.expect("a whole entry");
//! assert_eq!(line, Line::Entry(Box::new(entry)));
//! assert_eq!(used, bytes.len());
//! # Ok::<(), thingdb_format::Error>(())
//! ```

mod batch;
mod recent;

use crate::codec::{Reader, push_signed_varint, push_varint, utf8, within};
use crate::envelope::{MAX_ENVELOPES, MAX_RECIPIENTS};
use crate::header::{MAX_PAYLOAD_BYTES, MAX_PREV};
use crate::{
    Actor, BatchSignature, Card, Entry, EntryId, Envelope, Error, Fields, Hash, Header, KdfParams, KekPacket, Line,
    Origin, RecipientId, Recipients, Signature, SignedCheckpoint, StreamHeader, Suite, ThingId, Time, Trailer,
};

use batch::Batch;
pub use batch::KNOWN_HASHES;
use recent::Recent;

/// What a stream begins with: four letters and the version.
pub const MAGIC: [u8; 5] = *b"tdbs\x01";

/// Largest frame, in bytes, its length not counted.
pub const MAX_FRAME_BYTES: usize = 17_825_792;

/// Things that can be named by when they were defined.
pub const RECENT_THINGS: usize = 4096;

/// The same of nodes, of actors, and of sets of KEK packets.
pub const RECENT_KEYS: usize = 256;

/// The same of batch signatures.
pub const RECENT_BATCHES: usize = 8;

const KIND_ENTRY: u8 = 1;
const KIND_HEADER: u8 = 2;
const KIND_TRAILER: u8 = 3;

const WITH_PAYLOAD: u8 = 1;
const FOLLOWS_LAST: u8 = 2;
const IN_BATCH: u8 = 4;
const CHACHA: u8 = 8;
const FLAGS: u8 = WITH_PAYLOAD | FOLLOWS_LAST | IN_BATCH | CHACHA;

const WITH_CARD: u8 = 1;
const WITH_CHECKPOINT: u8 = 2;
const WITH_DIGEST: u8 = 4;

const fn malformed(problem: &'static str) -> Error {
    Error::Malformed { what: "frame", problem }
}

/// What both sides remember of the stream so far.
#[derive(Debug)]
struct Memory {
    begun: bool,
    ended: bool,
    /// Each with its last entry in this stream.
    things: Recent<ThingId, Option<(EntryId, u64)>>,
    origins: Recent<Origin, ()>,
    actors: Recent<Actor, ()>,
    /// By their name.
    packets: Recent<Hash, Recipients>,
    batches: Recent<(Actor, u32, [u8; 64]), Batch>,
    time: i64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            begun: false,
            ended: false,
            things: Recent::new(RECENT_THINGS),
            origins: Recent::new(RECENT_KEYS),
            actors: Recent::new(RECENT_KEYS),
            packets: Recent::new(RECENT_KEYS),
            batches: Recent::new(RECENT_BATCHES),
            time: 0,
        }
    }
}

/// Writes a binary stream.
#[derive(Debug, Default)]
pub struct Encoder {
    memory: Memory,
    frame: Vec<u8>,
}

impl Encoder {
    /// Appends the frame before the first entry.
    pub fn header(&mut self, header: &StreamHeader, out: &mut Vec<u8>) {
        self.frame.push(KIND_HEADER);
        let flags = flag(header.card.is_some(), WITH_CARD) | flag(header.checkpoint.is_some(), WITH_CHECKPOINT);
        self.frame.push(flags);
        if let Some(card) = &header.card {
            push_bytes(&mut self.frame, &card.to_bytes());
        }
        if let Some(note) = &header.checkpoint {
            push_bytes(&mut self.frame, note.as_str().as_bytes());
        }
        self.end_frame(out);
    }

    /// Appends the frame after the last entry.
    pub fn trailer(&mut self, trailer: &Trailer, out: &mut Vec<u8>) {
        self.frame.push(KIND_TRAILER);
        let flags = flag(trailer.checkpoint.is_some(), WITH_CHECKPOINT) | flag(trailer.digest.is_some(), WITH_DIGEST);
        self.frame.push(flags);
        push_varint(&mut self.frame, trailer.entries);
        self.frame.extend_from_slice(&trailer.root.0);
        if let Some(digest) = &trailer.digest {
            self.frame.extend_from_slice(&digest.0);
        }
        if let Some(note) = &trailer.checkpoint {
            push_bytes(&mut self.frame, note.as_str().as_bytes());
        }
        self.end_frame(out);
    }

    /// Appends an entry. `id` must be its id.
    ///
    /// # Errors
    /// [`Error::BadProof`] or [`Error::OutOfRange`] for a batch signature that
    /// cannot verify, or that contradicts one before it. Nothing is written
    /// then.
    pub fn entry(&mut self, entry: &Entry, id: &EntryId, out: &mut Vec<u8>) -> Result<(), Error> {
        let Self { memory, frame } = self;
        let header = &entry.header;
        if let Signature::Batch(batch) = &entry.signature {
            let known = memory.batches.find(&(header.actor, batch.size, batch.value));
            Batch::check(known.and_then(|ago| memory.batches.get(ago)), id, batch)?;
        }
        let follows = follows(memory, &header.thing, &header.prev, header.seq);
        frame.push(KIND_ENTRY);
        let suite = match header.suite {
            Suite::Aes256Gcm => 0,
            Suite::ChaCha20Poly1305 => CHACHA,
        };
        frame.push(
            suite
                | flag(entry.payload.is_some(), WITH_PAYLOAD)
                | flag(follows, FOLLOWS_LAST)
                | flag(matches!(entry.signature, Signature::Batch(_)), IN_BATCH),
        );
        memory.things.name(frame, &header.thing, |frame| push_bytes(frame, header.thing.as_str().as_bytes()), || None);
        if !follows {
            push_varint(frame, header.seq);
            push_varint(frame, header.prev.len() as u64);
            header.prev.iter().for_each(|prev| frame.extend_from_slice(&prev.0));
        }
        let time = header.time.micros().cast_signed();
        push_signed_varint(frame, time.wrapping_sub(memory.time));
        memory.time = time;
        memory.origins.name(frame, &header.origin, |frame| frame.extend_from_slice(&header.origin.0), || ());
        memory.actors.name(frame, &header.actor, |frame| frame.extend_from_slice(&header.actor.0), || ());
        frame.extend_from_slice(&header.data_hash.0);
        push_varint(frame, u64::from(header.payload_len));
        frame.extend_from_slice(entry.payload.as_deref().unwrap_or(&header.payload_hash.0));
        match &entry.signature {
            Signature::Single(value) => frame.extend_from_slice(value),
            Signature::Batch(batch) => push_batch(memory, frame, header.actor, id, batch),
        }
        push_varint(frame, entry.envelopes.len() as u64);
        for envelope in &entry.envelopes {
            push_envelope(memory, frame, envelope);
        }
        memory.note_last(&header.thing, *id, header.seq);
        self.end_frame(out);
        Ok(())
    }

    fn end_frame(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.memory.begun, true) {
            out.extend_from_slice(&MAGIC);
        }
        push_bytes(out, &self.frame);
        self.frame.clear();
    }
}

const fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_batch(memory: &mut Memory, frame: &mut Vec<u8>, actor: Actor, id: &EntryId, batch: &BatchSignature) {
    let key = (actor, batch.size, batch.value);
    let define = |frame: &mut Vec<u8>| {
        push_varint(frame, u64::from(batch.size));
        frame.extend_from_slice(&batch.value);
    };
    let known = memory.batches.name(frame, &key, define, Batch::default);
    known.push(frame, id, batch);
}

fn push_envelope(memory: &mut Memory, frame: &mut Vec<u8>, envelope: &Envelope) {
    memory.origins.name(frame, &envelope.from, |frame| frame.extend_from_slice(&envelope.from.0), || ());
    let packets = &envelope.recipients;
    let define = |frame: &mut Vec<u8>| frame.extend_from_slice(&packets_to_bytes(packets));
    memory.packets.name(frame, &packets.name(), define, || packets.clone());
    frame.extend_from_slice(&envelope.cek);
}

/// The definition of a set of packets.
pub(crate) fn packets_to_bytes(packets: &[KekPacket]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_varint(&mut bytes, packets.len() as u64);
    for packet in packets {
        bytes.push(packet.kind());
        match packet {
            KekPacket::X25519 { id, kek } => {
                bytes.extend_from_slice(&id.0);
                bytes.extend_from_slice(kek);
            }
            KekPacket::Passphrase { salt, kdf, kek } => {
                bytes.extend_from_slice(salt);
                push_varint(&mut bytes, u64::from(kdf.memory_kib()));
                push_varint(&mut bytes, u64::from(kdf.passes()));
                push_varint(&mut bytes, u64::from(kdf.lanes()));
                bytes.extend_from_slice(kek);
            }
            KekPacket::Public { kek } => bytes.extend_from_slice(kek),
        }
    }
    bytes
}

/// Whether prev and seq follow from the thing's last entry in the stream.
fn follows(memory: &Memory, thing: &ThingId, prev: &[EntryId], seq: u64) -> bool {
    let last = memory.things.find(thing).and_then(|ago| *memory.things.get(ago)?);
    matches!((last, prev), (Some((id, last_seq)), [prev]) if *prev == id && last_seq.checked_add(1) == Some(seq))
}

impl Memory {
    fn note_last(&mut self, thing: &ThingId, id: EntryId, seq: u64) {
        if let Some(last) = self.things.find(thing).and_then(|ago| self.things.get_mut(ago)) {
            *last = Some((id, seq));
        }
    }
}

/// Reads a binary stream. After an error nothing that follows can be read;
/// entries that came before stay good.
#[derive(Debug, Default)]
pub struct Decoder {
    memory: Memory,
}

impl Decoder {
    /// Reads what stands at the front of `input`, if it is there whole: what it
    /// is, and how many bytes of the input it took. `input` must begin where
    /// the last call ended.
    ///
    /// # Errors
    /// [`Error::NewerVersion`], [`Error::Malformed`], [`Error::Truncated`] if a
    /// frame ends inside a field, [`Error::Trailing`], and what is wrong with
    /// the fields.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<(Line, usize)>, Error> {
        let mut front = Reader::new(input);
        if !self.memory.begun && !begin(&mut front)? {
            return Ok(None);
        }
        let Some(len) = frame_length(&mut front)? else { return Ok(None) };
        if front.left() < len {
            return Ok(None);
        }
        if self.memory.ended {
            return Err(malformed("follows the trailer"));
        }
        let frame = front.take(len, "frame")?;
        self.memory.begun = true;
        let line = self.frame(frame)?;
        Ok(Some((line, input.len().saturating_sub(front.left()))))
    }

    fn frame(&mut self, frame: &[u8]) -> Result<Line, Error> {
        let mut r = Reader::new(frame);
        let line = match r.u8("kind")? {
            KIND_ENTRY => Line::Entry(Box::new(self.entry(&mut r)?)),
            KIND_HEADER => Line::Header(Box::new(stream_header(&mut r)?)),
            KIND_TRAILER => {
                self.memory.ended = true;
                Line::Trailer(Box::new(trailer(&mut r)?))
            }
            found => return Err(Error::NewerVersion { field: "frame kind", found: u64::from(found) }),
        };
        r.finish("frame")?;
        Ok(line)
    }

    fn entry(&mut self, r: &mut Reader<'_>) -> Result<Entry, Error> {
        let memory = &mut self.memory;
        let flags = known_flags(r, FLAGS)?;
        let thing = memory.things.named(r, "thing", |r| Ok((thing_id(r)?, None)))?;
        let last = memory.things.find(&thing).and_then(|ago| *memory.things.get(ago)?);
        let (seq, prev) = if flags & FOLLOWS_LAST != 0 {
            let (id, seq) = last.ok_or_else(|| malformed("follows an entry that is not in the stream"))?;
            (seq.saturating_add(1), vec![id])
        } else {
            let seq = r.varint("seq")?;
            let prev = ids(r)?;
            if follows(memory, &thing, &prev, seq) {
                return Err(malformed("names a prev that follows from the stream"));
            }
            (seq, prev)
        };
        let time = memory.time.checked_add(r.signed_varint("time")?);
        let time = time.ok_or_else(|| malformed("has a time that cannot be"))?;
        memory.time = time;
        let time = Time::from_micros(u64::try_from(time).map_err(|_| malformed("has a time before 1970"))?)?;
        let origin = memory.origins.named(r, "origin", |r| Ok((Origin(r.array("origin")?), ())))?;
        let actor = memory.actors.named(r, "actor", |r| Ok((Actor(r.array("actor")?), ())))?;
        let data_hash = Hash(r.array("data_hash")?);
        let payload_len = r.varint("payload_len")?;
        within("payload_len", payload_len, 0, u64::from(MAX_PAYLOAD_BYTES))?;
        let payload = match flags & WITH_PAYLOAD {
            0 => None,
            _ => Some(r.take(usize::try_from(payload_len).unwrap_or(usize::MAX), "payload")?.to_vec()),
        };
        let payload_hash = match &payload {
            Some(payload) => Hash::of(payload),
            None => Hash(r.array("payload_hash")?),
        };
        let suite = if flags & CHACHA == 0 { Suite::Aes256Gcm } else { Suite::ChaCha20Poly1305 };
        let payload_len = u32::try_from(payload_len).unwrap_or(u32::MAX);
        let fields = Fields { suite, thing, seq, time, origin, actor, prev, data_hash, payload_hash, payload_len };
        let header = Header::new(fields)?;
        let id = header.id();
        let signature = match flags & IN_BATCH {
            0 => Signature::Single(r.array("signature")?),
            _ => Signature::Batch(batch(memory, r, actor, &id)?),
        };
        let count = r.varint("envelopes")?;
        within("envelopes", count, 0, MAX_ENVELOPES as u64)?;
        let envelopes = (0..count).map(|_| envelope(memory, r)).collect::<Result<_, _>>()?;
        memory.note_last(&header.thing, id, header.seq);
        Ok(Entry { header, signature, payload, envelopes })
    }
}

/// Whether the beginning is there.
fn begin(front: &mut Reader<'_>) -> Result<bool, Error> {
    if front.left() < MAGIC.len() {
        return Ok(false);
    }
    let [letters @ .., version] = front.array::<5>("magic")?;
    let [known @ .., ours] = MAGIC;
    if letters != known {
        return Err(Error::Malformed { what: "stream", problem: "does not begin as a binary stream does" });
    }
    if version != ours {
        return Err(Error::NewerVersion { field: "binary stream", found: u64::from(version) });
    }
    Ok(true)
}

/// The length of a frame, if it is there whole.
fn frame_length(front: &mut Reader<'_>) -> Result<Option<usize>, Error> {
    let len = match front.varint("frame length") {
        Ok(len) => len,
        Err(Error::Truncated { .. }) => return Ok(None),
        Err(problem) => return Err(problem),
    };
    within("frame length", len, 1, MAX_FRAME_BYTES as u64)?;
    Ok(usize::try_from(len).ok())
}

fn known_flags(r: &mut Reader<'_>, known: u8) -> Result<u8, Error> {
    match r.u8("flags")? {
        flags if flags & !known == 0 => Ok(flags),
        found => Err(Error::NewerVersion { field: "flags", found: u64::from(found) }),
    }
}

fn thing_id(r: &mut Reader<'_>) -> Result<ThingId, Error> {
    let len = r.varint("thing")?;
    within("thing", len, 1, 512)?;
    ThingId::new(utf8(r.take(usize::try_from(len).unwrap_or(usize::MAX), "thing")?, "thing")?)
}

fn ids(r: &mut Reader<'_>) -> Result<Vec<EntryId>, Error> {
    let count = r.varint("prev")?;
    within("prev", count, 0, MAX_PREV as u64)?;
    (0..count).map(|_| r.array("prev").map(EntryId)).collect()
}

fn batch(memory: &mut Memory, r: &mut Reader<'_>, actor: Actor, id: &EntryId) -> Result<BatchSignature, Error> {
    let key = memory.batches.named(r, "batch", |r| {
        let size = r.varint("batch size")?;
        let size = u32::try_from(size).map_err(|_| malformed("has a batch size beyond 32 bits"))?;
        Ok(((actor, size, r.array("signature")?), Batch::default()))
    })?;
    let (signer, size, value) = key;
    if signer != actor {
        return Err(malformed("is in the batch of another actor"));
    }
    let known = memory.batches.find(&key).and_then(|ago| memory.batches.get_mut(ago));
    known.ok_or_else(|| malformed("is in no batch"))?.take(r, id, size, value)
}

fn envelope(memory: &mut Memory, r: &mut Reader<'_>) -> Result<Envelope, Error> {
    let from = memory.origins.named(r, "from", |r| Ok((Origin(r.array("from")?), ())))?;
    let name = memory.packets.named(r, "recipients", |r| {
        let packets = packets(r)?;
        Ok((packets.name(), packets))
    })?;
    let recipients = memory.packets.find(&name).and_then(|ago| memory.packets.get(ago)).cloned();
    let recipients = recipients.ok_or_else(|| malformed("has recipients that were not defined"))?;
    Ok(Envelope { from, cek: r.array("cek")?, recipients })
}

fn packets(r: &mut Reader<'_>) -> Result<Recipients, Error> {
    let count = r.varint("recipients")?;
    within("recipients", count, 1, MAX_RECIPIENTS as u64)?;
    Recipients::new((0..count).map(|_| packet(r)).collect::<Result<_, _>>()?)
}

fn packet(r: &mut Reader<'_>) -> Result<KekPacket, Error> {
    let number = |r: &mut Reader<'_>, field| {
        let number = r.varint(field)?;
        within(field, number, 0, u64::from(u32::MAX)).map(|()| u32::try_from(number).unwrap_or(u32::MAX))
    };
    match r.u8("recipient kind")? {
        1 => Ok(KekPacket::X25519 { id: RecipientId(r.array("id")?), kek: r.array("kek")? }),
        2 => {
            let salt = r.array("salt")?;
            let kdf = KdfParams::new(number(r, "m")?, number(r, "t")?, number(r, "p")?)?;
            Ok(KekPacket::Passphrase { salt, kdf, kek: r.array("kek")? })
        }
        3 => Ok(KekPacket::Public { kek: r.array("kek")? }),
        found => Err(Error::NewerVersion { field: "recipient kind", found: u64::from(found) }),
    }
}

fn bytes<'a>(r: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], Error> {
    let len = r.varint(field)?;
    r.take(usize::try_from(len).unwrap_or(usize::MAX), field)
}

fn checkpoint(r: &mut Reader<'_>, flags: u8) -> Result<Option<SignedCheckpoint>, Error> {
    if flags & WITH_CHECKPOINT == 0 {
        return Ok(None);
    }
    SignedCheckpoint::parse(utf8(bytes(r, "checkpoint")?, "checkpoint")?).map(Some)
}

fn stream_header(r: &mut Reader<'_>) -> Result<StreamHeader, Error> {
    let flags = known_flags(r, WITH_CARD | WITH_CHECKPOINT)?;
    let card = if flags & WITH_CARD == 0 { None } else { Some(Card::from_bytes(bytes(r, "card")?)?) };
    Ok(StreamHeader { card, checkpoint: checkpoint(r, flags)? })
}

fn trailer(r: &mut Reader<'_>) -> Result<Trailer, Error> {
    let flags = known_flags(r, WITH_CHECKPOINT | WITH_DIGEST)?;
    let entries = r.varint("entries")?;
    within("entries", entries, 0, crate::checkpoint::MAX_SIZE)?;
    let root = Hash(r.array("root")?);
    let digest = if flags & WITH_DIGEST == 0 { None } else { Some(Hash(r.array("digest")?)) };
    Ok(Trailer { entries, root, digest, checkpoint: checkpoint(r, flags)? })
}

#[cfg(test)]
mod tests;

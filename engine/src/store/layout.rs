//! The bytes of records, and of the head of their block, before they are sealed.
//!
//! ```text
//! head    batches n × (first position − that of the block, zigzag; size; signature 64)
//!         time of the first record
//!         origins n × 16    actors n × 32    packets n × 16    things n × (length ‖ bytes)
//! record  kinds 1: bits 0-1 signature, 2-3 payload, 4 has a CEK, 5-7 suite
//!         thing   origin   actor    each its number in the head
//!         seq     time − that of the first record, zigzag
//!         prev n × (back ‖ id 32 if back is 0)    data_hash 32
//!         payload  length ‖ bytes, or length ‖ payload_hash 32 if it is not here
//!         signature: 64; or the number of a batch; or 64 ‖ index ‖ size ‖ path n × 32
//!         CEK 32, masked
//!         envelopes n × (from ‖ packets, by number; kinds 1; bringers n × 8; sealed CEK 48, masked)
//! ```
//!
//! Integers are of [variable length](super::varint). What can be derived is not there:
//! the header's version, the hash and length of a payload that lies in the record, and
//! the id of a prev that lies in the same block, which is named by how many records
//! back it is. The exact bytes of the header are made again from the rest; the entry
//! id, which is their hash, shows whether they are the ones.
//!
//! To give a record's header, the record before may have to be read, but no third
//! one: who is referred to spells its own prev out.

use std::ops::Range;

use thingdb_format::{Actor, EntryId, Fields, Hash, Header, Origin, Suite, ThingId, Time, header};

use super::provenance::{Bringer, Provenance};
use super::stored::{BatchHead, StoredEnvelope, StoredPayload, StoredRecord, StoredSignature};
use super::varint::{self, Flaw, Taker, unzigzag, zigzag};

const SINGLE: u8 = 0;
const LOCAL: u8 = 1;
const ALONE: u8 = 2;

const ABSENT: u8 = 0;
const INLINE: u8 = 1;
const PARTS: u8 = 2;

const HAS_CEK: u8 = 1 << 4;
const SUITE_SHIFT: u32 = 5;
const PRIVATE: u8 = 1 << 3;

/// What a record is made of. Its secrets are masked.
pub(crate) struct Laid<'a> {
    pub(crate) header: &'a Header,
    pub(crate) id: EntryId,
    pub(crate) signature: &'a StoredSignature,
    pub(crate) payload: PayloadBytes<'a>,
    pub(crate) cek: Option<[u8; 32]>,
    pub(crate) envelopes: &'a [StoredEnvelope],
}

/// A payload, as far as it lies in the record.
#[derive(Clone, Copy)]
pub(crate) enum PayloadBytes<'a> {
    Absent,
    Inline(&'a [u8]),
    Parts,
}

/// The names that the records of a block share, while it is filled.
#[derive(Default)]
pub(super) struct Names {
    batches: Vec<BatchHead>,
    base_time: Option<u64>,
    origins: Vec<[u8; 16]>,
    actors: Vec<[u8; 32]>,
    packets: Vec<[u8; 16]>,
    things: Vec<u8>,
    thing_ends: Vec<usize>,
}

/// How many names there were.
pub(super) struct Mark([usize; 5], Option<u64>);

impl Names {
    pub(super) fn mark(&self) -> Mark {
        let Self { batches, origins, actors, packets, thing_ends, base_time, .. } = self;
        Mark([batches.len(), origins.len(), actors.len(), packets.len(), thing_ends.len()], *base_time)
    }

    /// Forgets the names since then.
    pub(super) fn back_to(&mut self, mark: &Mark) {
        let Mark([batches, origins, actors, packets, things], base_time) = *mark;
        self.batches.truncate(batches);
        self.origins.truncate(origins);
        self.actors.truncate(actors);
        self.packets.truncate(packets);
        self.thing_ends.truncate(things);
        self.things.truncate(self.thing_ends.last().copied().unwrap_or(0));
        self.base_time = base_time;
    }

    fn thing(&mut self, thing: &str) -> usize {
        let mut start = 0;
        for (at, end) in self.thing_ends.iter().enumerate() {
            if self.things.get(start..*end) == Some(thing.as_bytes()) {
                return at;
            }
            start = *end;
        }
        self.things.extend_from_slice(thing.as_bytes());
        self.thing_ends.push(self.things.len());
        self.thing_ends.len() - 1
    }

    /// Bytes of the head, about.
    pub(super) fn size(&self) -> usize {
        let Self { batches, origins, actors, packets, things, thing_ends, .. } = self;
        let names = origins.len() * 16 + actors.len() * 32 + packets.len() * 16 + things.len() + thing_ends.len();
        16 + batches.len() * 70 + names
    }

    /// Appends the head of the block that begins at `first`.
    pub(super) fn put(&self, first: u64, out: &mut Vec<u8>) {
        varint::put(out, self.batches.len() as u64);
        for batch in &self.batches {
            varint::put(out, zigzag(batch.first.wrapping_sub(first) as i64));
            varint::put(out, u64::from(batch.size));
            out.extend_from_slice(&batch.value);
        }
        varint::put(out, self.base_time.unwrap_or_default());
        put_all(out, &self.origins);
        put_all(out, &self.actors);
        put_all(out, &self.packets);
        varint::put(out, self.thing_ends.len() as u64);
        let mut start = 0;
        for end in &self.thing_ends {
            varint::put(out, (end - start) as u64);
            out.extend_from_slice(self.things.get(start..*end).unwrap_or_default());
            start = *end;
        }
    }

    /// Appends a record. `back` says how many records before it an entry is, if a
    /// record may refer to that one. Whether it refers to one.
    pub(super) fn put_record(
        &mut self,
        record: &Laid<'_>,
        mut back: impl FnMut(&EntryId) -> Option<u64>,
        out: &mut Vec<u8>,
    ) -> bool {
        let Laid { header, signature, payload, cek, envelopes, .. } = record;
        let signature_kind = match signature {
            StoredSignature::Single(_) => SINGLE,
            StoredSignature::Local(_) => LOCAL,
            StoredSignature::Batch { .. } => ALONE,
        };
        let payload_kind = match payload {
            PayloadBytes::Absent => ABSENT,
            PayloadBytes::Inline(_) => INLINE,
            PayloadBytes::Parts => PARTS,
        };
        let cek_kind = if cek.is_some() { HAS_CEK } else { 0 };
        out.push(signature_kind | payload_kind << 2 | cek_kind | header.suite.number() << SUITE_SHIFT);
        for number in [
            self.thing(header.thing.as_str()),
            number_of(&mut self.origins, &header.origin.0),
            number_of(&mut self.actors, &header.actor.0),
        ] {
            varint::put(out, number as u64);
        }
        varint::put(out, header.seq);
        let time = header.time.micros();
        varint::put(out, zigzag(time.wrapping_sub(*self.base_time.get_or_insert(time)) as i64));
        varint::put(out, header.prev.len() as u64);
        let mut refers = false;
        for prev in &header.prev {
            let back = back(prev);
            varint::put(out, back.unwrap_or(0));
            match back {
                Some(_) => refers = true,
                None => out.extend_from_slice(&prev.0),
            }
        }
        out.extend_from_slice(&header.data_hash.0);
        varint::put(out, u64::from(header.payload_len));
        match payload {
            PayloadBytes::Inline(bytes) => out.extend_from_slice(bytes),
            _ => out.extend_from_slice(&header.payload_hash.0),
        }
        self.put_signature(signature, out);
        if let Some(cek) = cek {
            out.extend_from_slice(cek);
        }
        varint::put(out, envelopes.len() as u64);
        for envelope in *envelopes {
            varint::put(out, number_of(&mut self.origins, &envelope.from) as u64);
            varint::put(out, number_of(&mut self.packets, &envelope.packets) as u64);
            let private = if envelope.is_private { PRIVATE } else { 0 };
            let bringers = u8::try_from(envelope.brought_by.len()).expect("few bringers are noted");
            out.push(envelope.provenance.bits() | private | bringers << 4);
            for bringer in &envelope.brought_by {
                out.extend_from_slice(&bringer.0);
            }
            out.extend_from_slice(&envelope.cek);
        }
        refers
    }

    fn put_signature(&mut self, signature: &StoredSignature, out: &mut Vec<u8>) {
        match signature {
            StoredSignature::Single(value) => out.extend_from_slice(value),
            StoredSignature::Local(batch) => varint::put(out, number_of(&mut self.batches, batch) as u64),
            StoredSignature::Batch { value, index, size, path } => {
                out.extend_from_slice(value);
                varint::put(out, u64::from(*index));
                varint::put(out, u64::from(*size));
                put_all(out, path);
            }
        }
    }
}

fn put_all<const N: usize>(out: &mut Vec<u8>, items: &[[u8; N]]) {
    varint::put(out, items.len() as u64);
    out.extend_from_slice(items.as_flattened());
}

/// The place of a name, which is added if it is not there.
fn number_of<T: Copy + PartialEq>(names: &mut Vec<T>, name: &T) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(*name);
        names.len() - 1
    })
}

/// The head of a block, read.
pub(super) struct Head {
    bytes: Vec<u8>,
    batches: Vec<BatchHead>,
    base_time: u64,
    origins: Range<usize>,
    actors: Range<usize>,
    packets: Range<usize>,
    things: Range<usize>,
    /// Where it ends in its bytes.
    end: usize,
}

impl Head {
    /// Reads the head of the block that begins at `first`.
    pub(super) fn read(first: u64, bytes: Vec<u8>) -> Result<Self, Flaw> {
        let len = bytes.len();
        let mut taker = Taker::new(&bytes);
        let batches = (0..taker.count(66)?).map(|_| read_batch(first, &mut taker)).collect::<Result<_, _>>()?;
        let base_time = taker.varint()?;
        let mut items = |size: usize| -> Result<Range<usize>, Flaw> {
            let count = taker.count(size)?;
            let start = len - taker.left();
            taker.take(count * size)?;
            Ok(start..start + count * size)
        };
        let (origins, actors, packets) = (items(16)?, items(32)?, items(16)?);
        let things = taker.count(1)?;
        let start = len - taker.left();
        for _ in 0..things {
            taker.bytes()?;
        }
        let end = len - taker.left();
        Ok(Self { batches, base_time, origins, actors, packets, things: start..end, end, bytes })
    }

    /// The batches of which records of the block are.
    pub(super) fn batches(&self) -> &[BatchHead] {
        &self.batches
    }

    /// What lies behind the head.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.end..).unwrap_or_default()
    }

    fn item<const N: usize>(&self, of: &Range<usize>, number: u64) -> Result<[u8; N], Flaw> {
        let items = self.bytes.get(of.clone()).unwrap_or_default();
        let item = usize::try_from(number).ok().and_then(|number| items.chunks_exact(N).nth(number));
        item.and_then(|item| item.try_into().ok()).ok_or("it names what its block does not have")
    }

    fn thing(&self, number: u64) -> Result<&[u8], Flaw> {
        let mut taker = Taker::new(self.bytes.get(self.things.clone()).unwrap_or_default());
        for _ in 0..number {
            taker.bytes()?;
        }
        taker.bytes()
    }
}

fn read_batch(first: u64, taker: &mut Taker<'_>) -> Result<BatchHead, Flaw> {
    let first = first.wrapping_add(unzigzag(taker.varint()?) as u64);
    let size = u32::try_from(taker.varint()?).map_err(|_| "a batch is too large")?;
    Ok(BatchHead { first, size, value: taker.array()? })
}

/// An entry that a record follows.
enum Prev {
    Id(EntryId),
    /// The record that lies so many before.
    Back(u64),
}

/// A record, read, but for what other records of its block say.
pub(super) struct Read {
    fields: Fields,
    prev: Vec<Prev>,
    signature: StoredSignature,
    payload: StoredPayload,
    cek: Option<[u8; 32]>,
    envelopes: Vec<StoredEnvelope>,
}

/// A record, read.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) header: Header,
    pub(crate) id: EntryId,
    pub(crate) stored: StoredRecord,
}

impl Read {
    pub(super) fn new(head: &Head, bytes: &[u8]) -> Result<Self, Flaw> {
        let mut taker = Taker::new(bytes);
        let kinds = taker.u8()?;
        let thing = head.thing(taker.varint()?)?;
        let thing = std::str::from_utf8(thing).ok().and_then(|thing| ThingId::new(thing).ok());
        let thing = thing.ok_or("the id of its thing is none")?;
        let origin = Origin(head.item(&head.origins, taker.varint()?)?);
        let actor = Actor(head.item(&head.actors, taker.varint()?)?);
        let seq = taker.varint()?;
        let time = head.base_time.wrapping_add(unzigzag(taker.varint()?) as u64);
        let time = Time::from_micros(time).map_err(|_| "its time is none")?;
        let prev_count = taker.count(1)?;
        if prev_count > header::MAX_PREV {
            return Err("it has too many prev");
        }
        let prev = (0..prev_count).map(|_| read_prev(&mut taker)).collect::<Result<_, _>>()?;
        let data_hash = Hash(taker.array()?);
        let payload_len = u32::try_from(taker.varint()?).map_err(|_| "its payload is too long")?;
        let (payload, payload_hash) = match kinds >> 2 & 3 {
            INLINE => {
                let bytes = taker.take(payload_len as usize)?;
                (StoredPayload::Inline(bytes.to_vec()), Hash::of(bytes))
            }
            ABSENT => (StoredPayload::Absent, Hash(taker.array()?)),
            PARTS => (StoredPayload::Parts, Hash(taker.array()?)),
            _ => return Err("its payload is of a kind that is not known"),
        };
        let signature = read_signature(head, kinds & 3, &mut taker)?;
        let cek = if kinds & HAS_CEK == 0 { None } else { Some(taker.array()?) };
        let envelopes =
            (0..taker.count(51)?).map(|_| read_envelope(head, &mut taker)).collect::<Result<Vec<_>, _>>()?;
        taker.finish()?;
        let suite = Suite::from_number(u64::from(kinds >> SUITE_SHIFT)).map_err(|_| "its suite is not known")?;
        let prev_of_fields = Vec::new();
        let fields = Fields {
            suite,
            thing,
            seq,
            time,
            origin,
            actor,
            prev: prev_of_fields,
            data_hash,
            payload_hash,
            payload_len,
        };
        Ok(Self { fields, prev, signature, payload, cek, envelopes })
    }

    /// Puts in what other records of the block say: `id_of` gives the id of the
    /// record that lies so many before.
    pub(super) fn place(mut self, mut id_of: impl FnMut(u64) -> Result<EntryId, String>) -> Result<Placed, String> {
        self.fields.prev.reserve_exact(self.prev.len());
        for prev in self.prev {
            self.fields.prev.push(match prev {
                Prev::Id(id) => id,
                Prev::Back(back) => id_of(back)?,
            });
        }
        let header = Header::new(self.fields).map_err(|problem| problem.to_string())?;
        let bytes = header.to_bytes();
        let id = header::id_of(&bytes);
        let Self { signature, payload, cek, envelopes, .. } = self;
        let stored = StoredRecord { header: bytes, signature, masked_cek: cek, payload, masked_envelopes: envelopes };
        Ok(Placed { header, id, stored })
    }
}

fn read_prev(taker: &mut Taker<'_>) -> Result<Prev, Flaw> {
    match taker.varint()? {
        0 => taker.array().map(EntryId).map(Prev::Id),
        back => Ok(Prev::Back(back)),
    }
}

fn read_signature(head: &Head, kind: u8, taker: &mut Taker<'_>) -> Result<StoredSignature, Flaw> {
    match kind {
        SINGLE => taker.array().map(StoredSignature::Single),
        LOCAL => {
            let number = usize::try_from(taker.varint()?).ok();
            let batch = number.and_then(|number| head.batches.get(number)).copied();
            batch.map(StoredSignature::Local).ok_or("its block does not have the signature of its batch")
        }
        ALONE => {
            let value = taker.array()?;
            let mut number = || u32::try_from(taker.varint()?).map_err(|_| "its batch is too large");
            let (index, size) = (number()?, number()?);
            let path = (0..taker.count(32)?).map(|_| taker.array()).collect::<Result<_, _>>()?;
            Ok(StoredSignature::Batch { value, index, size, path })
        }
        _ => Err("its signature is of a kind that is not known"),
    }
}

fn read_envelope(head: &Head, taker: &mut Taker<'_>) -> Result<StoredEnvelope, Flaw> {
    let from = head.item(&head.origins, taker.varint()?)?;
    let packets = head.item(&head.packets, taker.varint()?)?;
    let kinds = taker.u8()?;
    let brought_by = (0..kinds >> 4).map(|_| taker.array().map(Bringer)).collect::<Result<_, _>>()?;
    let provenance = Provenance::from_bits(kinds & (PRIVATE - 1));
    Ok(StoredEnvelope { from, cek: taker.array()?, packets, is_private: kinds & PRIVATE != 0, provenance, brought_by })
}

//! Blocks of records below the engine: a second spelling of the layouts in
//! `engine/src/store/block.rs` and `layout.rs`.

use hkdf::Hkdf;
use sha2::Sha256;
use thingdb::keyring::{Keyring, SealKey};
use thingdb_format::{Actor, EntryId, Fields, Hash, Header, Origin, Suite, ThingId, Time, header};

const NONCE: usize = 11;
const TAG: usize = 16;

/// A block, open: the head and the records as they are before they are sealed. If
/// there is one record, it is behind the head.
#[derive(Clone, Debug)]
pub struct Block {
    first: u64,
    records: u8,
    parts: Vec<Vec<u8>>,
}

/// A batch signature in the head of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Position of the first entry of the batch.
    pub first: u64,
    /// Entries in the batch.
    pub size: u32,
    /// The signature.
    pub value: [u8; 64],
}

/// A record, open. What is secret in it is masked no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The signed bytes.
    pub header: Vec<u8>,
    /// Where the signature is.
    pub signature: Signature,
    /// The key to the payload.
    pub cek: Option<[u8; 32]>,
    /// Where the payload is.
    pub payload: Payload,
}

/// Where the signature of a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// Here.
    Single([u8; 64]),
    /// In the head of the block, under this number.
    Local(u64),
    /// Here, with the path to the root of a batch that is elsewhere.
    Batch {
        /// The signature.
        value: [u8; 64],
        /// Place in the batch.
        index: u64,
        /// Entries in the batch.
        size: u64,
        /// The inclusion path.
        path: Vec<[u8; 32]>,
    },
}

/// Where the payload of a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Not in this database.
    Absent,
    /// Here.
    Inline(Vec<u8>),
    /// In rows of its own.
    Parts,
}

/// The names that records share.
#[derive(Clone, Debug, Default)]
struct Names {
    batches: Vec<Head>,
    base_time: u64,
    origins: Vec<[u8; 16]>,
    actors: Vec<[u8; 32]>,
    packets: Vec<[u8; 16]>,
    things: Vec<Vec<u8>>,
}

/// Where the parts of a block lie in its row: the head, and the records behind it.
///
/// # Panics
/// If it is no block.
#[must_use]
pub fn parts_of(row: &[u8]) -> Vec<std::ops::Range<usize>> {
    let records = usize::from(row[0]);
    let parts = if records == 1 { 1 } else { records + 1 };
    let mut start = 1 + NONCE + 2 * (parts - 1);
    let mut ranges = Vec::new();
    for n in 0..parts {
        let at = 1 + NONCE + 2 * n;
        let end =
            if n + 1 == parts { row.len() } else { start + usize::from(u16::from_be_bytes([row[at], row[at + 1]])) };
        ranges.push(start..end);
        start = end;
    }
    assert_eq!(start, row.len());
    ranges
}

fn block_key(keyring: &Keyring, first: u64) -> SealKey {
    SealKey::new(&expand(keyring.records_key().as_bytes(), &[b"thingdb/1/block-key", &(first / 65_536).to_be_bytes()]))
}

fn expand<const N: usize>(key: &[u8], info: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    Hkdf::<Sha256>::from_prk(key).expect("32 bytes").expand_multi_info(info, &mut out).expect("few bytes");
    out
}

/// Takes the mask of a CEK away, or puts it on.
fn mask_cek(keyring: &Keyring, position: u64, header: &[u8], cek: &mut [u8; 32]) {
    let key = keyring.key_tree().position_key(position).expect("a key");
    let id = header::id_of(header);
    let mask: [u8; 32] = expand(key.as_bytes(), &[b"thingdb/1/cek-at-rest", &id.0]);
    cek.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
}

fn aad(first: u64, records: u8, part: usize, lengths: &[u8]) -> Vec<u8> {
    let lengths = if part == 0 { lengths } else { &[] };
    [&b"thingdb/1/block"[..], &first.to_be_bytes(), &[records, part as u8], lengths].concat()
}

impl Block {
    /// Opens the block that begins at `first`.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn open(keyring: &Keyring, first: u64, row: &[u8]) -> Self {
        Self::try_open(keyring, first, row).expect("the block opens")
    }

    /// The same; nothing if it does not.
    #[must_use]
    pub fn try_open(keyring: &Keyring, first: u64, row: &[u8]) -> Option<Self> {
        let key = block_key(keyring, first);
        let ranges = parts_of(row);
        let lengths = &row[1 + NONCE..ranges[0].start];
        let parts = ranges.iter().enumerate().map(|(n, range)| {
            let nonce = [&row[1..=NONCE], &[n as u8]].concat().try_into().expect("12 bytes");
            key.open_with(&nonce, &aad(first, row[0], n, lengths), &row[range.clone()])
        });
        let parts = parts.collect::<Option<_>>()?;
        Some(Self { first, records: row[0], parts })
    }

    /// The row.
    ///
    /// # Panics
    /// Never: parts are small.
    #[must_use]
    pub fn seal(&self, keyring: &Keyring) -> Vec<u8> {
        let key = block_key(keyring, self.first);
        let nonce: [u8; NONCE] = rand::random();
        let others = self.parts.len() - 1;
        let lengths: Vec<u8> =
            self.parts[..others].iter().flat_map(|part| ((part.len() + TAG) as u16).to_be_bytes()).collect();
        let mut row = [&[self.records][..], &nonce, &lengths].concat();
        for (n, part) in self.parts.iter().enumerate() {
            let nonce = [&nonce[..], &[n as u8]].concat().try_into().expect("12 bytes");
            key.seal_with(&nonce, &aad(self.first, self.records, n, &lengths), part, &mut row);
        }
        row
    }

    /// Records in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records as usize
    }

    /// Whether it has none, which is never.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The bytes of a record as they are sealed: with the head, if it is the only one.
    pub fn plain(&mut self, slot: usize) -> &mut Vec<u8> {
        &mut self.parts[if self.records == 1 { 0 } else { slot + 1 }]
    }

    /// The names, and the bytes of a record.
    fn split(&self, slot: usize) -> (Names, Vec<u8>) {
        let (names, rest) = Names::read(self.first, &self.parts[0]);
        let record = if self.records == 1 { rest } else { self.parts[slot + 1].clone() };
        (names, record)
    }

    fn join(&mut self, slot: usize, names: &Names, record: &[u8]) {
        self.parts[0] = names.write(self.first);
        if self.records == 1 {
            self.parts[0].extend_from_slice(record);
        } else {
            self.parts[slot + 1] = record.to_vec();
        }
    }

    /// The record in a slot, the CEK as it lies there.
    fn record_masked(&self, slot: usize) -> Record {
        let (names, bytes) = self.split(slot);
        read_record(&names, &bytes, |back| {
            let header = self.record_masked(slot - back).header;
            header::id_of(&header)
        })
    }

    /// The record in a slot.
    #[must_use]
    pub fn record(&self, keyring: &Keyring, slot: usize) -> Record {
        let mut record = self.record_masked(slot);
        if let Some(cek) = &mut record.cek {
            mask_cek(keyring, self.first + slot as u64, &record.header, cek);
        }
        record
    }

    /// The CEK of the record in a slot as it lies there, under its mask.
    #[must_use]
    pub fn masked_cek(&self, slot: usize) -> Option<[u8; 32]> {
        self.record_masked(slot).cek
    }

    /// The entry in a slot.
    #[must_use]
    pub fn id(&self, slot: usize) -> EntryId {
        header::id_of(&self.record_masked(slot).header)
    }

    /// Replaces a record, without its envelopes. Others do not follow it by number.
    pub fn put_record(&mut self, keyring: &Keyring, slot: usize, record: &Record) {
        let mut record = record.clone();
        if let Some(cek) = &mut record.cek {
            mask_cek(keyring, self.first + slot as u64, &record.header, cek);
        }
        let (mut names, _) = self.split(slot);
        let bytes = write_record(&mut names, &record);
        self.join(slot, &names, &bytes);
    }

    /// The batch signatures in its head.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        self.split(0).0.batches
    }

    /// Replaces them.
    pub fn put_heads(&mut self, heads: Vec<Head>) {
        let (mut names, record) = self.split(0);
        names.batches = heads;
        self.join(0, &names, &record);
    }
}

/// Takes bytes apart.
struct Taker<'a>(&'a [u8]);

impl<'a> Taker<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(len);
        self.0 = left;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("as many")
    }

    fn number(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.take(1)[0];
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        value
    }

    fn signed(&mut self) -> i64 {
        let value = self.number();
        if value & 1 == 0 { (value / 2) as i64 } else { -((value / 2) as i64) - 1 }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.number()).map(|_| item(self)).collect()
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        out.push((value % 128) as u8 + 128);
        value /= 128;
    }
    out.push(value as u8);
}

fn signed(out: &mut Vec<u8>, value: i64) {
    number(out, if value < 0 { (!(value as u64)).wrapping_mul(2).wrapping_add(1) } else { value as u64 * 2 });
}

fn list<T: AsRef<[u8]>>(out: &mut Vec<u8>, items: &[T]) {
    number(out, items.len() as u64);
    items.iter().for_each(|item| out.extend_from_slice(item.as_ref()));
}

impl Names {
    fn read(first: u64, bytes: &[u8]) -> (Self, Vec<u8>) {
        let mut taker = Taker(bytes);
        let names = Self {
            batches: taker.list(|taker| Head {
                first: first.wrapping_add_signed(taker.signed()),
                size: taker.number() as u32,
                value: taker.array(),
            }),
            base_time: taker.number(),
            origins: taker.list(Taker::array),
            actors: taker.list(Taker::array),
            packets: taker.list(Taker::array),
            things: taker.list(|taker| {
                let len = taker.number() as usize;
                taker.take(len).to_vec()
            }),
        };
        (names, taker.0.to_vec())
    }

    fn write(&self, first: u64) -> Vec<u8> {
        let mut out = Vec::new();
        number(&mut out, self.batches.len() as u64);
        for Head { first: of_batch, size, value } in &self.batches {
            signed(&mut out, of_batch.wrapping_sub(first) as i64);
            number(&mut out, u64::from(*size));
            out.extend_from_slice(value);
        }
        number(&mut out, self.base_time);
        list(&mut out, &self.origins);
        list(&mut out, &self.actors);
        list(&mut out, &self.packets);
        number(&mut out, self.things.len() as u64);
        for thing in &self.things {
            number(&mut out, thing.len() as u64);
            out.extend_from_slice(thing);
        }
        out
    }
}

fn number_of<T: PartialEq>(names: &mut Vec<T>, name: T) -> u64 {
    let known = names.iter().position(|known| *known == name);
    let number = known.unwrap_or(names.len());
    if known.is_none() {
        names.push(name);
    }
    number as u64
}

fn read_record(names: &Names, bytes: &[u8], id_of: impl Fn(usize) -> EntryId) -> Record {
    let mut taker = Taker(bytes);
    let kinds = taker.take(1)[0];
    let thing = String::from_utf8(names.things[taker.number() as usize].clone()).expect("a thing");
    let origin = Origin(names.origins[taker.number() as usize]);
    let actor = Actor(names.actors[taker.number() as usize]);
    let seq = taker.number();
    let time = names.base_time.wrapping_add_signed(taker.signed());
    let prev = taker.list(|taker| match taker.number() {
        0 => EntryId(taker.array()),
        back => id_of(back as usize),
    });
    let data_hash = Hash(taker.array());
    let payload_len = taker.number() as u32;
    let (payload, payload_hash) = match kinds >> 2 & 3 {
        1 => {
            let payload = taker.take(payload_len as usize).to_vec();
            let hash = Hash::of(&payload);
            (Payload::Inline(payload), hash)
        }
        0 => (Payload::Absent, Hash(taker.array())),
        _ => (Payload::Parts, Hash(taker.array())),
    };
    let signature = match kinds & 3 {
        0 => Signature::Single(taker.array()),
        1 => Signature::Local(taker.number()),
        _ => Signature::Batch {
            value: taker.array(),
            index: taker.number(),
            size: taker.number(),
            path: taker.list(Taker::array),
        },
    };
    let cek = (kinds & 16 != 0).then(|| taker.array());
    let suite = Suite::from_number(u64::from(kinds >> 5)).expect("a suite");
    let header = Header::new(Fields {
        suite,
        thing: ThingId::new(&thing).expect("a thing"),
        seq,
        time: Time::from_micros(time).expect("a time"),
        origin,
        actor,
        prev,
        data_hash,
        payload_hash,
        payload_len,
    });
    Record { header: header.expect("a header").to_bytes(), signature, cek, payload }
}

fn write_record(names: &mut Names, record: &Record) -> Vec<u8> {
    let header = Header::from_bytes(&record.header).expect("a header");
    let signature = match record.signature {
        Signature::Single(_) => 0,
        Signature::Local(_) => 1,
        Signature::Batch { .. } => 2,
    };
    let payload = match record.payload {
        Payload::Absent => 0,
        Payload::Inline(_) => 1,
        Payload::Parts => 2,
    };
    let has_cek = u8::from(record.cek.is_some());
    let mut out = vec![signature + 4 * payload + 16 * has_cek + 32 * header.suite.number()];
    number(&mut out, number_of(&mut names.things, header.thing.as_str().as_bytes().to_vec()));
    number(&mut out, number_of(&mut names.origins, header.origin.0));
    number(&mut out, number_of(&mut names.actors, header.actor.0));
    number(&mut out, header.seq);
    signed(&mut out, header.time.micros().wrapping_sub(names.base_time) as i64);
    number(&mut out, header.prev.len() as u64);
    for prev in &header.prev {
        out.push(0);
        out.extend_from_slice(&prev.0);
    }
    out.extend_from_slice(&header.data_hash.0);
    number(&mut out, u64::from(header.payload_len));
    match &record.payload {
        Payload::Inline(payload) => out.extend_from_slice(payload),
        _ => out.extend_from_slice(&header.payload_hash.0),
    }
    match &record.signature {
        Signature::Single(value) => out.extend_from_slice(value),
        Signature::Local(of) => number(&mut out, *of),
        Signature::Batch { value, index, size, path } => {
            out.extend_from_slice(value);
            number(&mut out, *index);
            number(&mut out, *size);
            list(&mut out, path);
        }
    }
    out.extend(record.cek.iter().flatten());
    // No envelopes.
    out.push(0);
    out
}

//! The worst that a stream of a megabyte can hold: what is small on its way and
//! large once it is taken apart.

use std::io::Write;

use thingdb::format::frame::Encoder;
use thingdb::format::{
    BatchSignature, Entry, Envelope, Fields, Hash, Header, KekPacket, Origin, RecipientId, Recipients, Signature,
    SigningKey, Suite, ThingId, Time, line, merkle, signature,
};

/// How large an input may be, before or after compression.
pub(crate) const INPUT_BYTES: usize = 1 << 20;

/// Bytes of the largest payload.
const PAYLOAD_BYTES: usize = 16 << 20;

/// How many of them a stream has.
const PAYLOADS: usize = 2;

/// A stream, and what it is.
pub(crate) struct Worst {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) bytes: Vec<u8>,
}

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Lines,
    Array,
    Frames,
}

impl Form {
    /// As a server is told.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Array => "application/json",
            Self::Frames => "application/vnd.thingdb.stream",
        }
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// A stub that nobody wrote; its signature is good.
fn stub(n: u64) -> Entry {
    let fields = Fields {
        suite: Suite::Aes256Gcm,
        thing: ThingId::new("x").unwrap(),
        seq: 1,
        time: Time::from_micros(n).unwrap(),
        origin: Origin([9; 16]),
        actor: key().actor(),
        prev: vec![],
        data_hash: Hash([1; 32]),
        payload_hash: Hash([2; 32]),
        payload_len: 61,
    };
    let header = Header::new(fields).unwrap();
    let signature = Signature::Single(signature::sign_single(&key(), &header.to_bytes()));
    Entry { header, signature, payload: None, envelopes: vec![] }
}

/// As many KEK packets as an envelope can have. `n` tells sets apart.
fn packets(n: u32) -> Recipients {
    let packet = |i: u32| {
        let mut id = [0; 8];
        id[..4].copy_from_slice(&i.to_be_bytes());
        id[4..].copy_from_slice(&n.to_be_bytes());
        KekPacket::X25519 { id: RecipientId(id), kek: [7; 80] }
    };
    Recipients::new((0..256).map(packet).collect()).unwrap()
}

/// As many envelopes as an entry can have; each to the set of its place.
fn envelopes(set: impl Fn(u8) -> Recipients) -> Vec<Envelope> {
    (0..8).map(|n| Envelope { from: Origin([n; 16]), cek: [n; 48], recipients: set(n) }).collect()
}

/// The largest payload, all zeros, under a header that fits.
fn largest(n: u64) -> Entry {
    with_payload(n, PAYLOAD_BYTES)
}

/// As many bytes as in [`large`], and nothing large by itself.
pub(crate) fn ordinary() -> Vec<u8> {
    let mut out = Vec::new();
    (0..32).for_each(|n| line::encode(&with_payload(n, PAYLOADS * PAYLOAD_BYTES / 32), &mut out));
    out
}

fn with_payload(n: u64, bytes: usize) -> Entry {
    let payload = vec![0; bytes];
    let payload_hash = Hash::of(&payload);
    let old = stub(n).header;
    let fields = Fields {
        suite: old.suite,
        thing: old.thing.clone(),
        seq: 1,
        time: old.time,
        origin: old.origin,
        actor: old.actor,
        prev: vec![],
        data_hash: old.data_hash,
        payload_hash,
        payload_len: bytes as u32,
    };
    let header = Header::new(fields).unwrap();
    let signature = Signature::Single(signature::sign_single(&key(), &header.to_bytes()));
    Entry { header, signature, payload: Some(payload), envelopes: vec![] }
}

fn frames(entries: impl IntoIterator<Item = Entry>, most: usize) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    for entry in entries {
        let before = out.len();
        encoder.entry(&entry, &entry.id(), &mut out).unwrap();
        if out.len() > most {
            out.truncate(before);
            break;
        }
    }
    out
}

fn lines(entries: impl IntoIterator<Item = Entry>, most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let before = out.len();
        line::encode(&entry, &mut out);
        if out.len() > most {
            out.truncate(before);
            break;
        }
    }
    out
}

/// Packs a stream, cut where it would be larger than a megabyte.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut packed = zstd::encode_all(bytes, 3).unwrap();
    packed.truncate(INPUT_BYTES);
    packed
}

/// The same.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    let mut packed = out.finish().unwrap();
    packed.truncate(INPUT_BYTES);
    packed
}

/// The frames of an entry again and again, in batches as large as they can be:
/// its reader learns hash after hash.
fn of_batches(most: usize) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    let mut entry = stub(1);
    let id = entry.id();
    // All leaves are the same, so a level has one hash.
    let path: Vec<Hash> =
        std::iter::successors(Some(merkle::leaf(&id)), |hash| Some(merkle::node(hash, hash))).take(16).collect();
    for n in 0_u32.. {
        // Each from another end, so that little of its way up is known.
        let (index, batch) = ((n / 8).reverse_bits() >> 16, (n % 8) as u8);
        let signature = BatchSignature { value: [batch; 64], index, size: 65_536, path: path.clone() };
        entry.signature = Signature::Batch(signature);
        let before = out.len();
        encoder.entry(&entry, &id, &mut out).unwrap();
        if out.len() > most {
            out.truncate(before);
            return out;
        }
    }
    out
}

/// What can be written in each form within `most` bytes of a stream that is not
/// compressed.
pub(crate) fn plain(most: usize) -> Vec<Worst> {
    let stubs: Vec<Entry> = (0..10_000).map(stub).collect();
    let one = packets(0);
    let shared = || {
        let envelopes = envelopes(|_| one.clone());
        stubs.iter().cycle().map(move |stub| Entry { envelopes: envelopes.clone(), ..stub.clone() })
    };
    let distinct = || {
        let defines = |n: u32| Entry { envelopes: envelopes(|k| packets(n * 8 + u32::from(k))), ..stubs[1].clone() };
        (0..).map(defines)
    };
    let worst = |name, form, bytes| Worst { name, form, bytes };
    // Each is told of, so they take long.
    let short = most.min(256 << 10);
    vec![
        worst("frames that name the same packets", Form::Frames, frames(shared(), most)),
        worst("frames that define packets", Form::Frames, frames(distinct(), most)),
        worst("frames of nothing but stubs", Form::Frames, frames(stubs.iter().cycle().cloned(), most)),
        worst("frames of batches", Form::Frames, of_batches(most)),
        worst("lines with envelopes", Form::Lines, lines(distinct(), most)),
        worst("lines of stubs", Form::Lines, lines(stubs.iter().cycle().cloned(), most)),
        worst("the shortest lines", Form::Lines, b"x\n".repeat(short / 2)),
        worst("the shortest objects", Form::Lines, b"{}\n".repeat(short / 3)),
        worst("the shortest elements", Form::Array, [b"[", &b"{},".repeat(short / 3 - 1)[..], b"{}]"].concat()),
        worst("elements of one letter", Form::Array, [b"[", &b"\"x\",".repeat(short / 4 - 1)[..], b"\"\"]"].concat()),
        worst("deep elements", Form::Array, [b"[", &b"{\"a\":".repeat(most / 5)[..]].concat()),
    ]
}

/// What is small once it is compressed: much of what is small.
pub(crate) fn packed() -> Vec<Worst> {
    plain(2 << 20)
}

/// Lines, frames and elements that only a compressed stream can hold within a
/// megabyte.
pub(crate) fn large() -> Vec<Worst> {
    let worst = |name, form, bytes| Worst { name, form, bytes };
    let mut payloads = Vec::new();
    let mut payload_frames = Vec::new();
    let mut encoder = Encoder::default();
    for n in 0..PAYLOADS as u64 {
        let entry = largest(n);
        line::encode(&entry, &mut payloads);
        encoder.entry(&entry, &entry.id(), &mut payload_frames).unwrap();
    }
    let element = {
        let text = serde_json::to_string(std::str::from_utf8(&payloads[..payloads.len() / PAYLOADS]).unwrap()).unwrap();
        format!("[{text},{text}]").into_bytes()
    };
    // One escape is enough for a parser to hold the string once more.
    let escaped = {
        let line = std::str::from_utf8(&payloads[..payloads.len() / PAYLOADS]).unwrap();
        line.replacen("\"payload\":\"A", "\"payload\":\"\\u0041", 1).into_bytes()
    };
    // An error that quotes what it found has six letters for each of these.
    let quoted = |name: &str| [format!("{{\"{name}\":\"").as_bytes(), &vec![0x7f; 22 << 20], b"\"}\n"].concat();
    let many = |one: &str| {
        let envelopes = one.repeat((22 << 20) / one.len());
        format!("{{\"v\":1,\"envelopes\":[{envelopes}{{\"recipients\":[]}}]}}\n").into_bytes()
    };
    let strings = [b"{}\n[", &b"\"\",".repeat(7 << 20)[..], b"\"\"]\n"].concat();
    let escapes = [b"[\"", &b"\\u0061".repeat(10 << 20)[..], b"\"]"].concat();
    vec![
        worst("lines of the largest payload", Form::Lines, payloads),
        worst("frames of the largest payload", Form::Frames, payload_frames.clone()),
        worst("a frame that is cut", Form::Frames, payload_frames[..PAYLOAD_BYTES].to_vec()),
        worst("elements of the largest payload", Form::Array, element),
        worst("an element of escapes", Form::Array, escapes),
        worst("a line of blanks", Form::Lines, vec![b' '; 64 << 20]),
        worst("a line of brackets", Form::Lines, vec![b'['; 64 << 20]),
        worst("a largest payload with an escape", Form::Lines, escaped),
        worst("a long string for a number", Form::Lines, quoted("v")),
        worst("a long string for an object", Form::Lines, quoted("sig")),
        worst("a long string for an array", Form::Lines, quoted("prev")),
        worst("a long string in a header", Form::Lines, quoted("thingdb")),
        worst("many envelopes in a line", Form::Lines, many("{\"recipients\":[{\"kind\":1}]},")),
        worst("many strings in a line", Form::Lines, strings),
    ]
}

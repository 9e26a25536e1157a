//! What each fuzz target does with its bytes: one function a decoder, and one
//! for the [way into a database](import) as a whole.
//!
//! A decoder may refuse anything. It must not panic, hang or take memory
//! without bounds, and what it reads must encode back to the same bytes, or to
//! the same value where there are several spellings.
//!
//! `cargo fuzz run --sanitizer none line` fuzzes; `tests/fuzz_seeds.rs` runs
//! the same functions over the corpus and its neighbours as an ordinary test.

#![forbid(unsafe_code)]

// By its path: nothing depends on the package of the tests.
#[path = "../../tests/support/checker.rs"]
mod checker;
mod import;
// The command is no library: the room of its tokens by its path.
#[allow(dead_code, reason = "what asks for timestamps is not fuzzed")]
#[path = "../../tools/src/timestamp/mod.rs"]
mod timestamp;

pub use import::import;

use timestamp::roots::Roots;
use timestamp::token::Token;

use thingdb_format::audit::Memos;
use thingdb_format::erasure::receipt::SignedErasureReceipt;
use thingdb_format::fields::show;
use thingdb_format::frame::{Decoder, Encoder};
use thingdb_format::heads::SignedHeads;
use thingdb_format::key_record::KeyRecord;
use thingdb_format::note::signature_line_of;
use thingdb_format::proof::{ProofCheck, ProofEntry, ProofHeader, ProofTimestamp, examine};
use thingdb_format::{
    Body, Card, Cek, EntryId, Fields, Header, Line, SignedCheckpoint, SigningKey, StreamCheck, Suite, ThingId, Time,
    TlogProof, Verifier, label, line as wire, payload, receipt, stream::hash_of_line,
};

/// What is done with the bytes of a fuzzer.
pub type Target = fn(&[u8]);

/// The targets by their names.
pub const TARGETS: [(&str, Target); 18] = [
    ("body", body),
    ("card", card),
    ("erasure-receipt", erasure_receipt),
    ("fields", fields),
    ("frame", frame),
    ("header", header),
    ("heads", heads),
    ("import", import),
    ("key", key),
    ("keyring", thingdb::keyring::fuzz_keyring),
    ("line", line),
    ("note", note),
    ("proof", proof),
    ("receipt", receipted),
    ("stored", thingdb::fuzz_stored),
    ("stream", stream),
    ("timestamp", token),
    ("tlog-proof", tlog_proof),
];

/// The header of an entry.
pub fn header(bytes: &[u8]) {
    if let Ok(header) = Header::from_bytes(bytes) {
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.time.to_string().parse(), Ok(header.time));
    }
}

/// The plaintext of a payload.
pub fn body(bytes: &[u8]) {
    if let Ok(body) = Body::from_bytes(bytes.to_vec()) {
        assert_eq!(body.as_bytes(), bytes);
        let again =
            Body::with_attachment(body.actor_name(), body.action(), body.media_type(), body.data(), body.attachment());
        let again = again.map(|again| if body.has_provable_fields() { again.with_provable_fields() } else { again });
        assert_eq!(again.as_ref(), Ok(&body));
    }
}

/// Data of which fields can be shown: all that are shown verify, and each alone, under a
/// header that commits to it.
pub fn fields(bytes: &[u8]) {
    let body = Body::new("a", "b", "application/json", bytes).expect("it is within bounds").with_provable_fields();
    let (suite, cek) = (Suite::Aes256Gcm, Cek::from_bytes([5; 32]));
    let all = ["@actor", ""].map(|name| name.parse().expect("it is a name"));
    let Ok(shown) = show(suite, &cek, &body, &all) else { return };
    let mut shown = shown.expect("there is an actor");
    let sealed = payload::seal(suite, &cek, body).expect("its fields can be shown");
    let key = SigningKey::from_seed(&[1; 32]);
    let header = Header::new(Fields {
        suite,
        thing: ThingId::new("x").expect("it is an id"),
        seq: 1,
        time: Time::from_micros(0).expect("it is a time"),
        origin: key.node_key().origin(),
        actor: key.actor(),
        prev: vec![],
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: 100,
    });
    let header = header.expect("the fields go together");
    assert_eq!(shown.verify(&header), Ok(()));
    assert_eq!(shown.hidden(), 2);
    let parsed = serde_json::from_slice::<serde_json::Value>(bytes);
    for field in &shown.fields[1..] {
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&field.value);
        if let Ok(parsed) = &parsed {
            assert_eq!(parsed.pointer(field.name.as_str()), value.ok().as_ref());
        }
    }
    shown.fields.drain(..shown.fields.len() - 1);
    assert_eq!(shown.verify(&header), Ok(()));
    shown.fields[0].salt[0] ^= 1;
    assert!(shown.verify(&header).is_err());
}

/// A card, as it is and as if its node had signed it: else no input but the
/// seeds would come beyond the signature.
pub fn card(bytes: &[u8]) {
    read_card(bytes);
    let key = SigningKey::from_seed(&[1; 32]);
    let mut signed = bytes.to_vec();
    let Some(place) = signed.get_mut(9..41) else { return };
    place.copy_from_slice(&key.node_key().0);
    let mut message = [0; 32].to_vec();
    message[..label::CARD.len()].copy_from_slice(label::CARD.as_bytes());
    message.extend_from_slice(&signed);
    signed.extend_from_slice(&key.sign(&message));
    read_card(&signed);
}

fn read_card(bytes: &[u8]) {
    if let Ok(card) = Card::from_bytes(bytes) {
        assert_eq!(card.to_bytes(), bytes);
        assert_eq!(card.to_string().parse().as_ref(), Ok(&card));
    }
}

/// A checkpoint, as a signed note.
pub fn note(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(note) = SignedCheckpoint::parse(text) else { return };
    assert_eq!(note.as_str(), text);
    let key = SigningKey::from_seed(&[1; 32]);
    if let Ok(checkpoint) = note.verify(&key.node_key())
        && checkpoint.extensions.is_empty()
    {
        let again = checkpoint.sign(&key).expect("what verifies can be signed");
        assert_eq!(again.claimed(), checkpoint);
    }
}

/// A proof of one entry for clients of transparency logs.
pub fn tlog_proof(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(proof) = TlogProof::parse(text) else { return };
    assert_eq!(proof.to_string(), text);
    let key = SigningKey::from_seed(&[1; 32]).node_key();
    assert!(proof.verify(&EntryId([0xee; 32]), &key).is_err(), "it is of no such entry");
}

/// The receipt of an entry.
pub fn receipted(bytes: &[u8]) {
    let key = SigningKey::from_seed(&[1; 32]).node_key();
    assert!(receipt::verify(bytes, &EntryId([0xee; 32]), &key).is_err(), "it is of no such entry");
}

/// A heads note.
pub fn heads(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(note) = SignedHeads::parse(text) else { return };
    assert_eq!(note.as_str(), text);
    let key = SigningKey::from_seed(&[1; 32]);
    if let Ok(claimed) = note.verify(&key.node_key()) {
        let again = claimed.sign(&key).expect("what verifies can be signed");
        assert_eq!(again.text(), note.text());
    }
}

/// A key record.
pub fn key(bytes: &[u8]) {
    if let Ok(record) = KeyRecord::from_json(bytes) {
        assert_eq!(KeyRecord::from_json(record.to_json().as_bytes()).as_ref(), Ok(&record));
    }
}

/// A receipt for an erasure, as it is and as if its node had signed it.
pub fn erasure_receipt(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    read_erasure_receipt(text);
    let key = SigningKey::from_seed(&[1; 32]);
    if let Some((text, _)) = text.split_once("\n\n")
        && let Ok(line) = signature_line_of(&key, &format!("{text}\n"))
    {
        read_erasure_receipt(&format!("{text}\n\n{line}"));
    }
}

fn read_erasure_receipt(text: &str) {
    let Ok(receipt) = SignedErasureReceipt::parse(text) else { return };
    assert_eq!(receipt.as_str(), text);
    let key = SigningKey::from_seed(&[1; 32]);
    if receipt.said().node == key.node_key() {
        let again = receipt.said().sign(&key).expect("what was signed can be signed");
        assert_eq!(again.as_str(), text);
    }
}

/// A proof file.
pub fn proof(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let (mut check, mut memos) = (ProofCheck::new(), Memos::default());
    for (line, number) in lines.iter().zip(1..) {
        if let Ok(read) = ProofEntry::decode(line, number) {
            let mut out = Vec::new();
            read.encode(&mut out);
            assert_eq!(ProofEntry::decode(&out, number).as_ref(), Ok(&read));
        }
        if let Ok(read) = ProofTimestamp::decode(line, number) {
            let mut out = Vec::new();
            read.encode(&mut out);
            assert_eq!(ProofTimestamp::decode(&out, number).as_ref(), Ok(&read));
        }
        if let Ok(read) = ProofHeader::decode(line, number) {
            let mut out = Vec::new();
            read.encode(&mut out);
            assert_eq!(ProofHeader::decode(&out, number).as_ref(), Ok(&read));
        }
        check.take(examine(line, number, &mut memos));
    }
    let report = check.finish();
    assert!(report.is_good() || report.problems_total > 0);
}

/// The line of an entry.
pub fn line(bytes: &[u8]) {
    let Ok(entry) = wire::decode(bytes, 1) else { return };
    let mut out = Vec::new();
    wire::encode(&entry, &mut out);
    assert_eq!(wire::decode(&out, 1).as_ref(), Ok(&entry));
    if let Ok(verifier) = Verifier::new(&entry.header.actor.0) {
        let _ = entry.verify(&verifier);
    }
}

/// A binary stream. What is read of it is written as it was.
pub fn frame(bytes: &[u8]) {
    let (mut decoder, mut encoder) = (Decoder::default(), Encoder::default());
    let (mut read, mut out) = (0, Vec::new());
    while let Ok(Some((line, used))) = decoder.next(bytes.get(read..).unwrap_or_default()) {
        assert!(used > 0);
        read += used;
        match line {
            Line::Blank => unreachable!("frames are not blank"),
            Line::Header(header) => encoder.header(&header, &mut out),
            Line::Trailer(trailer) => encoder.trailer(&trailer, &mut out),
            // A batch signature that cannot verify is read, and not written.
            Line::Entry(entry) if encoder.entry(&entry, &entry.id(), &mut out).is_err() => return,
            Line::Entry(_) => {}
        }
    }
    assert_eq!(out, bytes.get(..read).unwrap_or_default());
}

/// Lines of all kinds, one after the other.
pub fn stream(bytes: &[u8]) {
    let mut check = StreamCheck::default();
    for (line, number) in bytes.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        let mut out = Vec::new();
        let _ = match Line::parse(line, number) {
            Err(_) => continue,
            Ok(Line::Blank) => continue,
            Ok(Line::Header(header)) => {
                header.encode(&mut out);
                assert_eq!(Line::parse(&out, number).as_ref(), Ok(&Line::Header(header.clone())));
                check.header(&header).map(drop)
            }
            Ok(Line::Entry(entry)) => check.entry(&entry.id(), &hash_of_line(line)),
            Ok(Line::Trailer(trailer)) => {
                trailer.encode(&mut out);
                assert_eq!(Line::parse(&out, number).as_ref(), Ok(&Line::Trailer(trailer.clone())));
                check.trailer(&trailer).map(drop)
            }
        };
    }
    let _ = check.finish();
}

/// A token of a time-stamp authority, or the answer that brings one. Whoever reads it
/// again reads the same, and only for its own imprint.
pub fn token(bytes: &[u8]) {
    let brought = timestamp::request::token(bytes);
    let tokens = brought.iter().map(Vec::as_slice).chain([bytes]);
    for token in tokens {
        let Ok(read) = Token::read(token) else { continue };
        assert!(read.time <= read.not_later_than);
        assert_eq!(Token::of(token, &read.imprint).map(|again| again.time), Ok(read.time));
        let mut other = read.imprint;
        other.0[0] ^= 1;
        assert!(Token::of(token, &other).is_err());
        assert!(Roots::of_pem(&[]).is_err());
    }
}

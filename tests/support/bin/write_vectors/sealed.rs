//! What opens with a key: payload and envelope.

use thingdb_format::{Cek, Hash, Header, Kek, KekPacket, RecipientId, Suite, envelope, payload};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{body, cek, fields, kek, origin, passphrase_packet, reader, second, x25519_packet};

/// A header that has this payload, as if it had been written so.
fn header_of(suite: Suite, data_hash: Option<Hash>, payload: &[u8]) -> Header {
    let (mut fields, _) = fields(suite);
    fields.data_hash = data_hash.unwrap_or(fields.data_hash);
    fields.payload_hash = Hash::of(payload);
    fields.payload_len = u32::try_from(payload.len()).expect("it is small");
    Header::new(fields).expect("the fields go together")
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

pub(crate) fn payload(w: &mut Writer) {
    let case = |expect, comment, header: &Header, cek: &Cek| {
        Vector::new(expect, comment).with_hex("header", &header.to_bytes()).with_hex("cek", cek.as_bytes())
    };
    for (mutation, suite) in [("good-suite-1", Suite::Aes256Gcm), ("good-suite-2", Suite::ChaCha20Poly1305)] {
        let (fields, payload) = fields(suite);
        let header = Header::new(fields).expect("the fields go together");
        let vector = case("ok", "opens to the body", &header, &cek()).with_hex("body", body().as_bytes());
        w.add("payload", mutation, &vector.hex(&payload));
    }
    let suite = Suite::Aes256Gcm;
    let good = fields(suite).1;
    let header = header_of(suite, None, &good);
    let other = Cek::from_bytes([6; 32]);
    w.add("payload", "other-cek", &case("not-opened", "the CEK of another entry", &header, &other).hex(&good));
    let expect = "not-opened";
    for (mutation, comment, bytes) in [
        ("tag-flipped", "one bit of the tag, and a header that has it so", flipped(&good, good.len() - 1)),
        ("ciphertext-flipped", "one bit of the ciphertext, and a header that has it so", flipped(&good, 0)),
        ("ciphertext-short", "a byte is missing, and the header has it so", good[1..].to_vec()),
    ] {
        w.add("payload", mutation, &case(expect, comment, &header_of(suite, None, &bytes), &cek()).hex(&bytes));
    }
    let comment = "sealed with suite 1, and the header says 2";
    let header2 = header_of(Suite::ChaCha20Poly1305, None, &good);
    w.add("payload", "other-suite", &case(expect, comment, &header2, &cek()).hex(&good));
    let committed = payload::commitment(suite, &other, body().as_bytes());
    let comment = "it opens, but the header commits to another key";
    let uncommitted = header_of(suite, Some(committed), &good);
    w.add("payload", "not-what-was-committed-to", &case("bad-hash", comment, &uncommitted, &cek()).hex(&good));
    let comment = "the payload is not that of the header";
    w.add("payload", "other-payload", &case("bad-hash", comment, &header, &cek()).hex(&flipped(&good, 3)));
    let comment = "the header counts one byte more";
    w.add("payload", "other-length", &case("out-of-range", comment, &header, &cek()).hex(&good[1..]));
}

pub(crate) fn envelope(w: &mut Writer) {
    cek_cases(w);
    x25519_cases(w);
    passphrase_cases(w);
    let good = Vector::new("ok", "the KEK itself").with("kind", 3).with_hex("kek", kek().as_bytes());
    w.add("envelope", "good-public", &good.hex(kek().as_bytes()));
}

fn cek_cases(w: &mut Writer) {
    let id = second().id();
    let sealed = envelope::seal_cek(&kek(), &id, &cek());
    let case = |expect, comment, kek: &Kek, id: &dyn ToString| {
        Vector::new(expect, comment).with("kind", "cek").with_hex("kek", kek.as_bytes()).with("id", id.to_string())
    };
    let good = case("ok", "the CEK of an entry under a KEK", &kek(), &id).with_hex("cek", cek().as_bytes());
    w.add("envelope", "good-cek", &good.hex(&sealed));
    let expect = "not-opened";
    let other = crate::key::first().id();
    w.add("envelope", "cek-other-id", &case(expect, "the CEK of another entry", &kek(), &other).hex(&sealed));
    let other = Kek::from_bytes([5; 32]);
    w.add("envelope", "cek-other-kek", &case(expect, "another KEK", &other, &id).hex(&sealed));
    w.add("envelope", "cek-flipped", &case(expect, "one bit", &kek(), &id).hex(&flipped(&sealed, 47)));
    w.add("envelope", "cek-short", &case("out-of-range", "47 bytes", &kek(), &id).hex(&sealed[1..]));
}

fn x25519_cases(w: &mut Writer) {
    let KekPacket::X25519 { id, kek: sealed } = x25519_packet() else { unreachable!("it was sealed to a key") };
    let case = |expect: &str, comment: &str, from: [u8; 16], id: RecipientId, secret: [u8; 32]| {
        Vector::new(expect, comment)
            .with("kind", 1)
            .with_hex("from", &from)
            .with("id", id)
            .with_hex("decryption_key", &secret)
    };
    let good = case("ok", "the KEK, sealed to a key", origin().0, id, [3; 32])
        .with("encryption_key", reader().encryption_key())
        .with_hex("ephemeral_ikm", &[6; 32])
        .with_hex("kek", kek().as_bytes());
    w.add("envelope", "good-x25519", &good.hex(&sealed));
    let expect = "not-opened";
    let open = |w: &mut Writer, mutation: &str, comment: &str, sealed: &[u8]| {
        w.add("envelope", mutation, &case(expect, comment, origin().0, id, [3; 32]).hex(sealed));
    };
    open(w, "x25519-enc-flipped", "one bit of the encapsulated key", &flipped(&sealed, 0));
    open(w, "x25519-kek-flipped", "one bit of the sealed KEK", &flipped(&sealed, 79));
    let mut zero = sealed;
    zero[..32].fill(0);
    open(w, "x25519-enc-small-order", "a shared secret of zero", &zero);
    let other = case(expect, "made by another node", [9; 16], id, [3; 32]);
    w.add("envelope", "x25519-other-from", &other.hex(&sealed));
    let other = case(expect, "for another recipient", origin().0, id, [4; 32]);
    w.add("envelope", "x25519-other-recipient", &other.hex(&sealed));
    let other = case(expect, "the name of another recipient", origin().0, RecipientId([0; 8]), [3; 32]);
    w.add("envelope", "x25519-other-id", &other.hex(&sealed));
}

fn passphrase_cases(w: &mut Writer) {
    let KekPacket::Passphrase { salt, kek: sealed, .. } = passphrase_packet() else {
        unreachable!("it was sealed under a passphrase")
    };
    let case = |expect, comment, from: [u8; 16], passphrase: &str, [m, t, p]: [u32; 3]| {
        Vector::new(expect, comment)
            .with("kind", 2)
            .with_hex("from", &from)
            .with_hex("salt", &salt)
            .with("m", m)
            .with("t", t)
            .with("p", p)
            .with("passphrase", passphrase)
    };
    let (from, words, params) = (origin().0, "correct horse", [64, 1, 2]);
    let good = case("ok", "the KEK under a passphrase", from, words, params).with_hex("kek", kek().as_bytes());
    w.add("envelope", "good-passphrase", &good.hex(&sealed));
    let expect = "not-opened";
    let other = case(expect, "another passphrase", from, "Correct horse", params);
    w.add("envelope", "passphrase-other", &other.hex(&sealed));
    let other = case(expect, "made by another node", [9; 16], words, params);
    w.add("envelope", "passphrase-other-from", &other.hex(&sealed));
    let other = case(expect, "stretched twice", from, words, [64, 2, 2]);
    w.add("envelope", "passphrase-other-passes", &other.hex(&sealed));
    let other = case(expect, "one bit of the sealed KEK", from, words, params);
    w.add("envelope", "passphrase-kek-flipped", &other.hex(&flipped(&sealed, 0)));
    let expect = "out-of-range";
    for (mutation, comment, params) in [
        ("argon2-memory-too-great", "1 GiB and 1 KiB", [1_048_577, 1, 1]),
        ("argon2-memory-too-little", "less than 8 KiB a lane", [15, 1, 2]),
        ("argon2-no-passes", "no pass at all", [64, 0, 2]),
        ("argon2-passes-too-many", "65 passes", [64, 65, 2]),
        ("argon2-no-lanes", "no lane at all", [64, 1, 0]),
        ("argon2-lanes-too-many", "17 lanes", [1024, 1, 17]),
    ] {
        w.add("envelope", mutation, &case(expect, comment, from, words, params).hex(&sealed));
    }
}

//! Every spelling of a line but the good ones is refused.

use super::*;
use crate::{Body, Cek, DecryptionKey, Kek, SigningKey, envelope, signature};

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn entry(prev: &[u8]) -> (Entry, Cek) {
    let cek = Cek::from_bytes([2; 32]);
    let body = Body::new("alice", "update", "application/json", br#"{"temp":20}"#).unwrap();
    let sealed = payload::seal(Suite::Aes256Gcm, &cek, body).unwrap();
    let header = Header::new(Fields {
        suite: Suite::Aes256Gcm,
        thing: ThingId::new("gérät \"7\" \\ 😀").unwrap(),
        seq: prev.len() as u64 + 1,
        time: Time::from_micros(1_795_327_272_000_500).unwrap(),
        origin: key().node_key().origin(),
        actor: key().actor(),
        prev: prev.iter().map(|n| EntryId([*n; 32])).collect(),
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: sealed.payload.len() as u32,
    })
    .unwrap();
    let signature = Signature::Single(signature::sign_single(&key(), &header.to_bytes()));
    (Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] }, cek)
}

fn full() -> Entry {
    let (mut entry, cek) = entry(&[3, 4]);
    let id = entry.id();
    let from = key().node_key().origin();
    let kek = Kek::from_bytes([5; 32]);
    let reader = DecryptionKey::from_bytes([6; 32]).encryption_key();
    let kdf = KdfParams::new(8, 1, 1).unwrap();
    let recipients = vec![
        KekPacket::seal_x25519(&kek, from, &reader, &mut rand::rng()).unwrap(),
        KekPacket::seal_passphrase(&kek, from, b"pass", kdf, &mut rand::rng()).unwrap(),
    ];
    entry.envelopes = vec![Envelope::new(from, envelope::seal_cek(&kek, &id, &cek), recipients).unwrap()];
    let leaves = [merkle::leaf(&EntryId([7; 32])), merkle::leaf(&id), merkle::leaf(&EntryId([8; 32]))];
    let value = signature::sign_batch(&key(), 3, &merkle::root(leaves));
    let path = merkle::inclusion_proof(&leaves[..], 1, 3).unwrap();
    entry.signature = Signature::Batch(BatchSignature { value, index: 1, size: 3, path });
    entry
}

fn stub() -> Entry {
    Entry { payload: None, ..entry(&[]).0 }
}

fn text(entry: &Entry) -> String {
    let mut out = Vec::new();
    encode(entry, &mut out);
    assert_eq!(out.pop(), Some(b'\n'));
    String::from_utf8(out).unwrap()
}

/// Replaces once, and is refused with a problem that says so.
fn refused(from: &str, to: &str, says: &str) {
    let line = text(&full());
    assert!(line.contains(from), "{from}");
    let problem = decode(line.replacen(from, to, 1).as_bytes(), 9).unwrap_err();
    let Error::Line { line: 9, column, .. } = &problem else { panic!("{problem}") };
    assert!(*column >= 1);
    assert!(problem.to_string().contains(says), "{problem}");
}

#[test]
fn what_decodes_encodes_back() {
    for entry in [entry(&[]).0, entry(&[9]).0, full(), stub()] {
        let line = text(&entry);
        let read = decode(line.as_bytes(), 1).unwrap();
        assert_eq!(read, entry);
        assert_eq!(text(&read), line);
        read.verify(&key().verifier()).unwrap();
        assert_eq!(decode(format!("{line}\r\n").as_bytes(), 1).unwrap(), entry);
    }
}

#[test]
fn every_truncation_is_refused() {
    let line = text(&full());
    for len in 0..line.len() {
        assert!(decode(&line.as_bytes()[..len], 1).is_err(), "{len}");
    }
}

#[test]
fn every_bit_flipped_is_refused_or_the_unsigned_part_or_found_by_verify() {
    let entry = full();
    let line = text(&entry).into_bytes();
    for bit in 0..line.len() * 8 {
        let mut flipped = line.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(other) = decode(&flipped, 1) else { continue };
        assert_eq!(other.header, entry.header, "{bit}");
        assert_eq!(other.payload, entry.payload, "{bit}");
        if other.signature == entry.signature {
            assert_ne!(other.envelopes, entry.envelopes, "{bit}");
        } else {
            assert!(other.verify(&key().verifier()).is_err(), "{bit}");
        }
    }
}

#[test]
fn any_order_white_space_and_escapes_are_read() {
    let entry = entry(&[]).0;
    let line = text(&entry);
    let members = line.strip_prefix("{\"v\":1,").unwrap().strip_suffix('}').unwrap();
    let moved = format!(" {{ {members} ,\t\"v\" : 1 }} \r");
    assert_eq!(decode(moved.as_bytes(), 1).unwrap(), entry);
    let escaped = line.replacen("\"v\"", "\"\\u0076\"", 1).replacen('😀', "\\ud83d\\ude00", 1);
    assert_eq!(decode(escaped.as_bytes(), 1).unwrap(), entry);
}

#[test]
fn each_member_is_needed_once_and_of_its_type() {
    let line = text(&full());
    for member in MEMBERS.iter().filter(|member| !["payload", "envelopes"].contains(member)) {
        let renamed = line.replacen(&format!("\"{member}\""), "\"other\"", 1);
        assert!(decode(renamed.as_bytes(), 1).unwrap_err().to_string().contains("unknown member `other`"));
        let mut map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        let value = map.remove(*member).unwrap();
        let without = serde_json::to_string(&map).unwrap();
        let problem = decode(without.as_bytes(), 1).unwrap_err().to_string();
        assert!(problem.ends_with(&format!("entry has no member `{member}`")), "{problem}");
        let twice = line.replacen('{', &format!("{{\"{member}\":{value},"), 1);
        let problem = decode(twice.as_bytes(), 1).unwrap_err().to_string();
        assert!(problem.ends_with(&format!("entry has the member `{member}` twice")), "{problem}");
    }
    for member in MEMBERS {
        for value in ["null", "true", "1.0", "-1", "1e2", "{}", "\"\"", "[[]]", "123456789012345678901234"] {
            let mut map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
            map.remove(member).unwrap();
            let rest = serde_json::to_string(&map).unwrap();
            let wrong = rest.replacen('{', &format!("{{\"{member}\":{value},"), 1);
            assert!(decode(wrong.as_bytes(), 1).is_err(), "{member} {value}");
        }
    }
}

#[test]
fn problems_name_the_member_and_the_fact() {
    refused("\"v\":1", "\"v\":2", "v 2 was written by a newer version");
    refused("\"suite\":1", "\"suite\":3", "suite 3 was written by a newer version");
    refused("\"sig\":{\"kind\":2", "\"sig\":{\"kind\":3", "signature kind 3 was written by a newer version");
    refused("[{\"kind\":1", "[{\"kind\":9", "recipient kind 9 was written by a newer version");
    refused("\"v\":1", "\"v\":01", "number");
    refused("\"v\":1", "\"v\":-0", "v as an integer");
    refused("\"seq\":3", "\"seq\":4", "id is");
    refused("\"seq\":3", "\"seq\":1", "only seq 1 has none");
    refused("\"seq\":3", "\"seq\":9007199254740992", "seq is 9007199254740992");
    refused("\"seq\":3", "\"seq\":\"3\"", "seq as an integer");
    refused("2026-11", "2026-13", "time: not of the form");
    refused(".000500Z", ".0005Z", "time: not of the form");
    refused("😀", "\\u0001", "thing holds a control character");
    refused("😀", "\\ud83d", "hex escape");
    refused("\"actor\":\"8a", "\"actor\":\"8A", "actor: is not 32 bytes in lower-case hex");
    refused("\"actor\":\"8a", "\"actor\":\"8", "actor: is not 32 bytes in lower-case hex");
    refused("\"prev\":[", "\"prev\":[1,", "prev as a string");
    refused("\"path\":\"", "\"path\":\"AAAA", "path");
    refused("\"index\":1", "\"index\":3", "index is 3");
    refused("\"index\":1", "\"index\":2", "path is 2, allowed are 1 to 1");
    refused("\"size\":3", "\"size\":1", "size is 1, allowed are 2 to 65536");
    refused("\"size\":3", "\"size\":65537", "size is 65537");
    refused("\"kind\":2,\"value\"", "\"kind\":1,\"value\"", "sig of this kind has no member `index`");
    refused("\"m\":8", "\"m\":7", "m is 7, allowed are 8");
    refused("\"m\":8", "\"m\":1048577", "m is 1048577");
    refused("\"t\":1", "\"t\":65", "t is 65");
    refused("\"p\":1", "\"p\":0", "p is 0");
    refused("\"kind\":2,\"salt\"", "\"kind\":1,\"salt\"", "recipient of this kind has no member `salt`");
    refused("\"cek\":\"", "\"cek\":\"AAAA", "cek is 51, allowed are 0 to 48");
}

#[test]
fn the_payload_is_that_of_the_header() {
    let mut entry = full();
    entry.payload.as_mut().unwrap()[0] ^= 1;
    let problem = decode(text(&entry).as_bytes(), 1).unwrap_err();
    assert!(problem.is_forgery());
    assert!(problem.to_string().contains("payload_hash is"), "{problem}");
    entry.payload.as_mut().unwrap().pop();
    assert!(decode(text(&entry).as_bytes(), 1).unwrap_err().to_string().contains("payload is"));
}

#[test]
fn nothing_is_too_much() {
    let line = text(&full());
    let packet = &line[line.find("{\"kind\":1,\"id\"").unwrap()..line.find(",{\"kind\":2,\"salt\"").unwrap()];
    let with = |n: usize| line.replacen(packet, &[packet].repeat(n).join(","), 1);
    assert!(decode(with(255).as_bytes(), 1).is_ok());
    assert!(decode(with(256).as_bytes(), 1).unwrap_err().to_string().contains("more than 256"));
    let start = line.find("{\"from\"").unwrap();
    let envelope = &line[start..line.len() - 2];
    let with = |n: usize| line.replacen(envelope, &[envelope].repeat(n).join(","), 1);
    assert!(decode(with(8).as_bytes(), 1).is_ok());
    assert!(decode(with(9).as_bytes(), 1).unwrap_err().to_string().contains("more than 8"));
    assert!(decode(with(0).as_bytes(), 1).unwrap_err().to_string().contains("envelopes is empty"));

    let long = format!("{line}{}", " ".repeat(MAX_LINE_BYTES - line.len()));
    assert!(decode(long.as_bytes(), 1).is_ok());
    assert!(decode(format!("{long} ").as_bytes(), 1).unwrap_err().to_string().contains("line is 25165825"));
    let deep = format!("{{\"prev\":{}", "[".repeat(1_000_000));
    assert!(decode(deep.as_bytes(), 1).is_err());
    let deep = format!("{{\"x\":{}", "[".repeat(1_000_000));
    assert!(decode(deep.as_bytes(), 1).is_err());
    let chatty = format!("{{\"seq\":\"{}\"", "x".repeat(1_000_000));
    assert!(decode(chatty.as_bytes(), 1).unwrap_err().to_string().len() < 1000);
    assert!(decode(b"{\"v\":1,\n\"v\":1}", 1).unwrap_err().to_string().contains("a line feed within the line"));
}

#[test]
fn errors_say_where() {
    let line = text(&full());
    let Error::Line { column, .. } = decode(line.replacen("\"seq\":3", "\"seq\":4", 1).as_bytes(), 1).unwrap_err()
    else {
        panic!("not a line")
    };
    assert_eq!(column, 8);
    assert_eq!(
        decode(b"{\"v\":1,\"thing\":7}", 12).unwrap_err().to_string(),
        "line 12, column 16: invalid type: integer `7`, expected thing as a string"
    );
}

#[test]
fn an_array_of_numbers_is_no_newer_line() {
    for text in ["[2]", " [9,3]", "[1,2,{\"kind\":9}]"] {
        let problem = decode(text.as_bytes(), 1).unwrap_err();
        assert!(!problem.is_newer_version(), "{text}: {problem}");
        let problem = crate::Line::parse(text.as_bytes(), 1).unwrap_err();
        assert!(!problem.is_newer_version(), "{text}: {problem}");
    }
}

#[test]
fn a_newer_line_is_told_apart_whatever_else_it_holds() {
    let problem = decode(b"{\"colour\":\"red\",\"v\":2,\"sig\":\"x\"}", 1).unwrap_err();
    assert!(problem.is_newer_version(), "{problem}");
    let line = text(&full()).replacen("\"sig\":{\"kind\":2,", "\"sig\":{\"keys\":[],\"kind\":3,", 1);
    assert!(decode(line.as_bytes(), 1).unwrap_err().is_newer_version());
}

//! The stream: lines between a header and a trailer.

use thingdb_format::stream::{Digest, hash_of_line};
use thingdb_format::{
    Card, CardFields, Checkpoint, Entry, Hash, Line, SignedCheckpoint, SigningKey, StreamHeader, Time, Trailer, merkle,
};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{actor, first, node, origin, reader, second};
use crate::text::text;

/// A checkpoint of the node with this seed.
fn note_of(seed: u8, size: u64, root: Hash) -> SignedCheckpoint {
    let key = SigningKey::from_seed(&[seed; 32]);
    Checkpoint::new(key.node_key().origin(), size, root).sign(&key).expect("it is good")
}

fn signed_by_node(size: u64, root: Hash) -> SignedCheckpoint {
    Checkpoint::new(origin(), size, root).sign(&node()).expect("it is good")
}

/// What a note says, with the signature of another.
fn forged(note: &SignedCheckpoint) -> SignedCheckpoint {
    let other = signed_by_node(9, Hash([9; 32])).to_string();
    let text = note.to_string();
    let (said, _) = text.split_once("\n\n").expect("a note has an empty line");
    let (_, signed) = other.split_once("\n\n").expect("a note has an empty line");
    SignedCheckpoint::parse(&format!("{said}\n\n{signed}")).expect("it is well formed")
}

/// A note as it stands in a line.
fn json_of(note: &SignedCheckpoint) -> String {
    note.to_string().replace('\n', "\\n")
}

pub(crate) fn stream(w: &mut Writer) {
    let entries = [first(), second()];
    let lines: Vec<String> = entries.iter().map(text).collect();
    let ids: Vec<_> = entries.iter().map(Entry::id).collect();
    let root = merkle::root(ids.iter().map(merkle::leaf));
    let note = Checkpoint::new(origin(), 2, root).sign(&node()).expect("it is good");
    let card = CardFields {
        time: Time::from_micros(crate::key::TIME).expect("it is a good time"),
        node_key: node().node_key(),
        encryption_key: reader().encryption_key(),
        tls: None,
        name: "workshop".into(),
        actors: vec![(actor().actor(), "alice".into())],
    };
    let card = Card::sign(card, &node()).expect("it is good");
    let encode = |line: Line| {
        let mut out = Vec::new();
        match line {
            Line::Header(header) => header.encode(&mut out),
            Line::Trailer(trailer) => trailer.encode(&mut out),
            _ => unreachable!("entries are encoded already"),
        }
        String::from_utf8(out).expect("a line is UTF-8")
    };
    let header = encode(Line::Header(Box::new(StreamHeader { card: Some(card), checkpoint: Some(note.clone()) })));
    let bare_header = encode(Line::Header(Box::default()));
    let trailer = |entries, root: Hash, checkpoint| {
        encode(Line::Trailer(Box::new(Trailer { entries, root, digest: None, checkpoint })))
    };
    let end = trailer(2, root, Some(note.clone()));
    let empty_end = trailer(0, Hash::of(b""), None);
    let both = lines.concat();
    let whole = format!("{header}{both}{end}");
    let none = format!("{bare_header}{empty_end}");
    for (mutation, comment, outcome, entries, ledger, input) in [
        ("good-nothing", "no line at all", "bare", 0, false, String::new()),
        ("good-bare", "entries without header and trailer", "bare", 2, false, both.clone()),
        ("good-whole-ledger", "all of a ledger, in order, with its checkpoint", "complete 1", 2, true, whole.clone()),
        ("good-no-entries", "a header and a trailer", "complete 1", 0, false, none.clone()),
        ("good-concatenated", "two streams in one file", "complete 2", 2, false, format!("{whole}{none}")),
        (
            "good-empty-lines",
            "empty lines are ignored",
            "complete 1",
            2,
            true,
            format!("\n{}\n", whole.replace('\n', "\n\n")),
        ),
    ] {
        let vector =
            Vector::new("ok", comment).with("outcome", outcome).with("entries", entries).with("whole_ledger", ledger);
        w.add("stream", mutation, &vector.text(&input));
    }
    let digest = {
        let mut digest = Digest::default();
        lines.iter().for_each(|line| digest.push(&hash_of_line(line.as_bytes())));
        digest.value()
    };
    let digested =
        |digest: &Hash| whole.replacen(&format!("\"{root}\""), &format!("\"{root}\",\"digest\":\"{digest}\""), 1);
    let with_digest = digested(&digest);
    let vector = Vector::new("ok", "the digest of the lines")
        .with("outcome", "complete 1")
        .with("entries", 2)
        .with("whole_ledger", true);
    w.add("stream", "good-digest", &vector.text(&with_digest));
    let vector = Vector::new("ok", "line ends are not in the digest")
        .with("outcome", "complete 1")
        .with("entries", 2)
        .with("whole_ledger", true);
    w.add("stream", "good-digest-crlf", &vector.hex(with_digest.replace('\n', "\r\n").as_bytes()));
    let one = lines[..1].concat();
    let part = trailer(1, merkle::root([merkle::leaf(&first().id())]), Some(note.clone()));
    let vector = Vector::new("ok", "a part: the trailer was written anew for fewer entries, which nobody signed")
        .with("outcome", "complete 1")
        .with("entries", 1)
        .with("whole_ledger", false);
    w.add("stream", "good-part-rewritten-trailer", &vector.text(&format!("{header}{one}{part}")));
    let unsigned_whole = format!("{bare_header}{both}{end}");
    let vector = Vector::new("ok", "no card, and nobody knows the node of the checkpoint")
        .with("outcome", "complete 1")
        .with("entries", 2)
        .with("whole_ledger", false);
    w.add("stream", "good-without-card", &vector.text(&unsigned_whole));
    let vector = Vector::new("ok", "lines ended by CR LF")
        .with("outcome", "complete 1")
        .with("entries", 2)
        .with("whole_ledger", true);
    w.add("stream", "good-crlf", &vector.hex(whole.replace('\n', "\r\n").as_bytes()));

    let (cut, damaged, json) = ("cut", "damaged", "json");
    for (mutation, expect, comment, input) in [
        ("no-trailer", cut, "the trailer is missing", format!("{header}{both}")),
        ("header-only", cut, "cut after the header", header.clone()),
        ("header-instead-of-trailer", cut, "another stream begins", format!("{header}{both}{none}")),
        ("cut-in-a-line", json, "cut in the middle of an entry", format!("{header}{}", &both[..200])),
        ("entry-missing", damaged, "the first entry is missing", format!("{header}{}{end}", lines[1])),
        ("entry-twice", damaged, "an entry is there twice", format!("{header}{both}{}{end}", lines[1])),
        (
            "entries-swapped",
            damaged,
            "another order has another root",
            format!("{header}{}{}{end}", lines[1], lines[0]),
        ),
        ("entry-after-trailer", damaged, "an entry after the trailer", format!("{whole}{}", lines[0])),
        ("trailer-twice", damaged, "two trailers", format!("{whole}{end}")),
        ("trailer-without-header", damaged, "a trailer and no header", format!("{both}{end}")),
        (
            "header-after-entries",
            damaged,
            "a header in the midst of entries",
            format!("{}{header}{}{end}", lines[0], lines[1]),
        ),
        ("trailer-other-count", damaged, "the trailer counts 3", whole.replacen("\"entries\":2", "\"entries\":3", 1)),
        (
            "trailer-other-root",
            damaged,
            "the root of nothing",
            format!("{header}{both}{}", trailer(2, Hash::of(b""), None)),
        ),
        (
            "digest-other",
            damaged,
            "an entry line has other bytes, and is the same entry",
            with_digest.replacen(",\"thing\":", ", \"thing\":", 1),
        ),
        ("digest-of-nothing", damaged, "the digest of no line", digested(&Hash::of(b""))),
        (
            "digest-upper-case",
            "malformed",
            "hex is lower case",
            with_digest.replacen(&digest.to_string(), &digest.to_string().to_uppercase(), 1),
        ),
        (
            "checkpoint-of-another-node",
            damaged,
            "the trailer's checkpoint is signed by a node that is not that of the card",
            format!("{header}{both}{}", trailer(2, root, Some(note_of(9, 2, root)))),
        ),
        (
            "header-checkpoint-of-another-node",
            damaged,
            "the header's checkpoint is signed by a node that is not that of the card",
            whole.replacen(&json_of(&note), &json_of(&note_of(9, 2, root)), 1),
        ),
        (
            "checkpoint-signature-forged",
            damaged,
            "the signature is that of another checkpoint",
            format!("{header}{both}{}", trailer(2, root, Some(forged(&note)))),
        ),
        (
            "checkpoint-with-other-entries",
            damaged,
            "the node has signed a ledger of as many entries, and they are others",
            format!("{header}{both}{}", trailer(2, root, Some(signed_by_node(2, Hash([7; 32]))))),
        ),
        (
            "checkpoint-of-fewer-entries",
            damaged,
            "the checkpoint of a trailer counts at least the entries of the stream",
            format!("{header}{both}{}", trailer(2, root, Some(signed_by_node(1, Hash([7; 32]))))),
        ),
        (
            "checkpoint-older-than-in-header",
            damaged,
            "a ledger does not shrink while a stream is written",
            format!("{}{both}{end}", header.replacen(&json_of(&note), &json_of(&signed_by_node(3, Hash([7; 32]))), 1)),
        ),
        (
            "header-version-2",
            "newer-version",
            "version 2",
            whole.replacen("{\"thingdb\":1", "{\"x\":0,\"thingdb\":2", 1),
        ),
        (
            "trailer-version-2",
            "newer-version",
            "version 2",
            whole.replacen("\"thingdb_end\":1", "\"thingdb_end\":2", 1),
        ),
        (
            "header-unknown-member",
            json,
            "a member that is not known",
            whole.replacen("{\"thingdb\":1", "{\"x\":0,\"thingdb\":1", 1),
        ),
        ("header-and-trailer-in-one", json, "a line is one thing", "{\"thingdb\":1,\"thingdb_end\":1}\n".into()),
        (
            "header-card-changed",
            "bad-signature",
            "a card that does not verify",
            whole.replacen("tdbcard1:AQAG", "tdbcard1:AQAH", 1),
        ),
        ("header-card-null", json, "null is no value", "{\"thingdb\":1,\"card\":null}\n".into()),
        ("header-checkpoint-malformed", "malformed", "no note", "{\"thingdb\":1,\"checkpoint\":\"x\"}\n".into()),
        (
            "trailer-without-root",
            json,
            "a member is missing",
            format!("{bare_header}{{\"thingdb_end\":1,\"entries\":0}}\n"),
        ),
        (
            "trailer-root-upper-case",
            "malformed",
            "hex is lower case",
            whole.replacen(&root.to_string(), &root.to_string().to_uppercase(), 1),
        ),
    ] {
        assert!(!input.is_empty());
        w.add("stream", mutation, &Vector::new(expect, comment).text(&input));
    }
}

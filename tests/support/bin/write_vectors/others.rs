//! The proofs of one entry for tools of others: tlog-proof and receipt.

use thingdb_format::{Checkpoint, EntryId, Hash, SigningKey, TlogProof, merkle, receipt};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{node, numbered_id};

/// Entries of the ledger, and the place of the one that is proven.
const SIZE: u64 = 7;
const INDEX: u64 = 3;

fn id(n: u64) -> EntryId {
    numbered_id(n.try_into().expect("they are few"))
}

fn leaves() -> Vec<Hash> {
    (0..SIZE).map(|n| merkle::leaf(&id(n))).collect()
}

fn path() -> Vec<Hash> {
    merkle::inclusion_proof(&leaves()[..], INDEX, SIZE).expect("it stands there")
}

fn case(expect: &str, comment: &str) -> Vector {
    Vector::new(expect, comment).with("node_key", node().node_key()).with("id", id(INDEX))
}

pub(crate) fn tlog_proof(w: &mut Writer) {
    let subject = "tlog-proof";
    let signed = |key: &SigningKey, size, root| {
        Checkpoint::new(key.node_key().origin(), size, root).sign(key).expect("it is good")
    };
    let root = merkle::root(leaves());
    let proof = TlogProof { index: INDEX, path: path(), checkpoint: signed(&node(), SIZE, root) };
    let text = proof.to_string();
    let good = |index: u64, size: u64, comment| case("ok", comment).with("index", index).with("size", size);
    w.add(subject, "good", &good(INDEX, SIZE, "the fourth entry of seven").text(&text));
    let cosigned = format!("{text}\u{2014} witness.example/1 AAAAAAAAAAAA\n");
    w.add(subject, "good-cosigned", &good(INDEX, SIZE, "with a line of a witness").text(&cosigned));
    let leaf = merkle::leaf(&id(INDEX));
    let alone = TlogProof { index: 0, path: vec![], checkpoint: signed(&node(), 1, leaf) }.to_string();
    w.add(subject, "good-alone", &good(0, 1, "the only entry: no hashes").text(&alone));

    let re = |from: &str, to: &str| {
        assert!(text.contains(from), "{from:?}");
        text.replacen(from, to, 1)
    };
    let other = |index, path, checkpoint| TlogProof { index, path, checkpoint }.to_string();
    let stranger = SigningKey::from_seed(&[9; 32]);
    let (malformed, bad_proof) = ("malformed", "bad-proof");
    let hash = text.lines().nth(2).expect("there are hashes").to_owned();
    let many = format!("index 3\n{}", format!("{hash}\n").repeat(62));
    for (mutation, expect, comment, input) in [
        ("empty", "out-of-range", "nothing at all", String::new()),
        ("other-first-line", malformed, "another version", re("@v1", "@v2")),
        ("no-index", malformed, "the index is missing", re("index 3\n", "")),
        ("index-leading-zero", malformed, "another spelling of 3", re("index 3", "index 03")),
        ("index-plus", malformed, "another spelling of 3", re("index 3", "index +3")),
        ("index-too-great", "out-of-range", "no ledger is so long", re("index 3", "index 9007199254740992")),
        ("extra", malformed, "extra data, which a proof of ours never has", re("index 3", "extra AAAA\nindex 3")),
        ("hash-too-short", "out-of-range", "a hash of 31 bytes", re(&hash, &format!("{}==", "A".repeat(42)))),
        ("too-many-hashes", "out-of-range", "65 hashes", re("index 3\n", &many)),
        ("carriage-return", malformed, "lines end in LF", text.replace('\n', "\r\n")),
        ("no-checkpoint", malformed, "without its note", text.split_once("\n\n").expect("a note").0.to_owned()),
        ("other-index", bad_proof, "the path of another place", other(INDEX - 1, path(), proof.checkpoint.clone())),
        ("index-beyond", bad_proof, "a place beyond the ledger", other(SIZE, path(), proof.checkpoint)),
        ("hash-left-out", bad_proof, "a hash is missing", re(&format!("{hash}\n"), "")),
        (
            "other-root",
            bad_proof,
            "a ledger with another root",
            other(INDEX, path(), signed(&node(), SIZE, Hash([7; 32]))),
        ),
        ("other-node", "bad-signature", "signed by another node", other(INDEX, path(), signed(&stranger, SIZE, root))),
    ] {
        w.add(subject, mutation, &case(expect, comment).text(&input));
    }
    let moved = Vector::new(bad_proof, "of another entry").with("node_key", node().node_key());
    w.add(subject, "other-entry", &moved.with("id", id(INDEX + 1)).text(&text));
}

pub(crate) fn receipt(w: &mut Writer) {
    let subject = "receipt";
    let signed = |key: &SigningKey| receipt::sign(key, &id(INDEX), INDEX, SIZE, &path()).expect("it stands there");
    let good = signed(&node());
    w.add(subject, "good", &case("ok", "the fourth entry of seven").hex(&good));
    let alone = receipt::sign(&node(), &id(INDEX), 0, 1, &[]).expect("it stands there");
    w.add(subject, "good-alone", &case("ok", "the only entry: no hashes").hex(&alone));
    let moved = Vector::new("bad-signature", "of another entry").with("node_key", node().node_key());
    w.add(subject, "other-entry", &moved.with("id", id(INDEX + 1)).hex(&good));
    // One byte or some are others.
    let re = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|bytes| bytes == from).expect("it stands there");
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let hash = path()[0].0;
    let last = good.len() - 1;
    let turned = [&good[..last], &[good[last] ^ 1]].concat();
    let malformed = "malformed";
    for (mutation, expect, comment, input) in [
        ("empty", "out-of-range", "nothing at all", Vec::new()),
        ("untagged", malformed, "without the tag 18", good[1..].to_vec()),
        ("truncated", malformed, "cut", good[..last].to_vec()),
        ("trailing", malformed, "something follows", [&good[..], &[0]].concat()),
        ("algorithm", malformed, "another algorithm than EdDSA", re(&[1, 0x27], &[1, 0x26])),
        ("tree", malformed, "another kind of tree than RFC9162_SHA256", re(&[0x19, 1, 0x8b, 1], &[0x19, 1, 0x8b, 2])),
        ("other-node", malformed, "signed by another node", signed(&SigningKey::from_seed(&[9; 32]))),
        ("size-longer", malformed, "a size that is not spelled shortest", re(&[0x83, 7, 3], &[0x83, 0x18, 7, 3])),
        ("index-beyond", "bad-proof", "a place beyond the ledger", re(&[0x83, 7, 3], &[0x83, 7, 7])),
        ("other-index", "bad-signature", "another place: another root", re(&[0x83, 7, 3], &[0x83, 7, 2])),
        ("other-hash", "bad-signature", "another sibling", re(&hash, &[9; 32])),
        ("bad-signature", "bad-signature", "a bit of the signature is another one", turned),
    ] {
        w.add(subject, mutation, &case(expect, comment).hex(&input));
    }
}

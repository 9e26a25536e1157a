//! What a key or a root vouches for: signature, merkle, checkpoint.

use data_encoding::BASE64;
use thingdb_format::{Checkpoint, EntryId, Hash, Signature, merkle};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{actor, first, in_batch, node, numbered_id, origin, second, small_order};

fn hex_list(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

fn signature_case(expect: &str, comment: &str, actor: [u8; 32], signature: &Signature) -> Vector {
    let vector = Vector::new(expect, comment).with_hex("actor", &actor).with_hex("value", signature.value());
    match signature {
        Signature::Batch(batch) => vector
            .with("kind", 2)
            .with("index", batch.index)
            .with("size", batch.size)
            .with_hex("path", &hex_list(&batch.path)),
        _ => vector.with("kind", 1),
    }
}

pub(crate) fn signature(w: &mut Writer) {
    let entry = first();
    let header = entry.header.to_bytes();
    let key = actor().actor().0;
    let value = *entry.signature.value();
    let single = Signature::Single;
    let good = signature_case("ok", "over one entry", key, &entry.signature);
    w.add("signature", "good-single", &good.hex(&header));

    let bad = "bad-signature";
    let mut flipped = value;
    flipped[0] ^= 1;
    let mut s_plus_l = value;
    add_order(&mut s_plus_l[32..]);
    let mut small_r = [0; 64];
    small_r[..32].copy_from_slice(&small_order());
    let unlabelled = actor().sign(&header);
    let by_node = node().sign(&[&label32("thingdb/1/sign-entry")[..], &header].concat());
    for (mutation, comment, value) in [
        ("flipped", "one bit of the signature", flipped),
        ("s-not-canonical", "S + L: the same signature to a careless verifier", s_plus_l),
        ("r-small-order", "R is the neutral element and S is 0", small_r),
        ("no-label", "over the header without the label", unlabelled),
        ("other-signer", "by the node key", by_node),
    ] {
        w.add("signature", mutation, &signature_case(bad, comment, key, &single(value)).hex(&header));
    }
    let comment = "the signature of another entry";
    let other = second().header.to_bytes();
    w.add("signature", "other-entry", &signature_case(bad, comment, key, &single(value)).hex(&other));

    let unacceptable = "unacceptable-key";
    let mut not_canonical = [0xff; 32];
    (not_canonical[0], not_canonical[31]) = (0xee, 0x7f);
    let mut not_a_point = [0; 32];
    not_a_point[0] = 2;
    for (mutation, comment, key) in [
        ("key-small-order", "the neutral element", small_order()),
        ("key-not-canonical", "y = p + 1, another spelling of the neutral element", not_canonical),
        ("key-not-a-point", "y = 2 is on no point", not_a_point),
        ("key-with-torsion", "an honest key plus a point of order 8", with_torsion()),
    ] {
        w.add("signature", mutation, &signature_case(unacceptable, comment, key, &single(value)).hex(&header));
    }
    batches(w);
}

fn batches(w: &mut Writer) {
    let key = actor().actor().0;
    for (mutation, comment, index, size) in [
        ("good-batch-of-2", "the first of two", 0, 2),
        ("good-batch-middle", "number 3 of 7", 3, 7),
        ("good-batch-last", "the last of 5: its path is the shortest", 4, 5),
        ("good-batch-of-65536", "the greatest batch", 40_000, 65_536),
    ] {
        let entry = in_batch(first(), index, size);
        let vector = signature_case("ok", comment, key, &entry.signature);
        w.add("signature", mutation, &vector.hex(&entry.header.to_bytes()));
    }
    let entry = in_batch(first(), 3, 7);
    let header = entry.header.to_bytes();
    let Signature::Batch(good) = &entry.signature else { unreachable!("it was signed in a batch") };
    let mut cases = vec![];
    let mut case = |mutation, expect, comment, change: &dyn Fn(&mut thingdb_format::BatchSignature)| {
        let mut batch = good.clone();
        change(&mut batch);
        cases.push((mutation, signature_case(expect, comment, key, &Signature::Batch(batch))));
    };
    case("batch-of-1", "out-of-range", "one entry is signed alone", &|b| b.size = 1);
    case("batch-too-great", "out-of-range", "65537 entries", &|b| b.size = 65_537);
    case("batch-index-beyond", "bad-proof", "number 7 of 7", &|b| b.index = 7);
    case("batch-path-short", "bad-proof", "a hash is missing", &|b| b.path.truncate(2));
    case("batch-path-long", "bad-proof", "a hash too many", &|b| b.path.push(Hash([0; 32])));
    case("batch-path-changed", "bad-signature", "leads to another root", &|b| b.path[1].0[0] ^= 1);
    case("batch-other-index", "bad-signature", "leads to another root", &|b| b.index = 2);
    case("batch-other-size", "bad-signature", "8 has the same path length, and the size is signed", &|b| b.size = 8);
    case("batch-flipped", "bad-signature", "one bit of the signature", &|b| b.value[63] ^= 1);
    for (mutation, vector) in cases {
        w.add("signature", mutation, &vector.hex(&header));
    }
    let comment = "the place of another entry";
    let vector = signature_case("bad-signature", comment, key, &entry.signature);
    w.add("signature", "batch-other-entry", &vector.hex(&second().header.to_bytes()));
}

fn label32(label: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out[..label.len()].copy_from_slice(label.as_bytes());
    out
}

/// Adds the order of the prime-order subgroup, little-endian.
fn add_order(s: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in s.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
}

/// The key of the actor plus a point of order 8.
fn with_torsion() -> [u8; 32] {
    let honest = curve25519_dalek::edwards::CompressedEdwardsY(actor().actor().0).decompress().expect("it is a point");
    (honest + curve25519_dalek::constants::EIGHT_TORSION[1]).compress().to_bytes()
}

pub(crate) fn merkle(w: &mut Writer) {
    let leaves = |n: u32| (0..n).map(|n| merkle::leaf(&numbered_id(n))).collect::<Vec<_>>();
    let root = |n: u32| merkle::root(leaves(n));
    for n in [0, 1, 2, 3, 4, 5, 7, 8, 100] {
        let ids: Vec<u8> = (0..n).flat_map(|n| numbered_id(n).0).collect();
        let vector = Vector::new("ok", "the root over these ids").with("proof", "root").with("root", root(n));
        w.add("merkle", &format!("good-root-{n}"), &vector.hex(&ids));
    }
    let bad = "bad-proof";
    let inclusion = |expect, comment, id: EntryId, index: u64, size: u64, root: Hash| {
        Vector::new(expect, comment)
            .with("proof", "inclusion")
            .with("id", id)
            .with("index", index)
            .with("size", size)
            .with("root", root)
    };
    let path = |index, size| {
        let all = leaves(size);
        hex_list(&merkle::inclusion_proof(&all[..], index, size.into()).expect("the index is within the size"))
    };
    for (index, size) in [(0, 1), (0, 2), (3, 7), (6, 7), (4, 8), (64, 100)] {
        let id = numbered_id(u32::try_from(index).expect("it is small"));
        let vector = inclusion("ok", "an id and its path", id, index, size.into(), root(size));
        w.add("merkle", &format!("good-inclusion-{index}-of-{size}"), &vector.hex(&path(index, size)));
    }
    let (id, other) = (numbered_id(3), numbered_id(4));
    let good = path(3, 7);
    let mut changed = good.clone();
    changed[40] ^= 1;
    for (mutation, comment, vector, path) in [
        ("inclusion-other-id", "the path of another id", (other, 3, 7, root(7)), good.clone()),
        ("inclusion-other-index", "the path of another place", (id, 2, 7, root(7)), good.clone()),
        ("inclusion-index-beyond", "number 7 of 7", (id, 7, 7, root(7)), good.clone()),
        ("inclusion-size-0", "nothing is in an empty tree", (id, 0, 0, root(0)), vec![]),
        ("inclusion-other-root", "the root of another tree", (id, 3, 7, root(8)), good.clone()),
        ("inclusion-short", "a hash is missing", (id, 3, 7, root(7)), good[32..].to_vec()),
        ("inclusion-long", "a hash too many", (id, 3, 7, root(7)), [&good[..], &[0; 32]].concat()),
        ("inclusion-changed", "one bit of the path", (id, 3, 7, root(7)), changed),
    ] {
        let (id, index, size, root) = vector;
        w.add("merkle", mutation, &inclusion(bad, comment, id, index, size, root).hex(&path));
    }
    consistency(w, &leaves);
}

fn consistency(w: &mut Writer, leaves: &dyn Fn(u32) -> Vec<Hash>) {
    let root = |n: u32| merkle::root(leaves(n));
    let case = |expect, comment, (old, new): (u32, u32), old_root: Hash, new_root: Hash| {
        Vector::new(expect, comment)
            .with("proof", "consistency")
            .with("old_size", old)
            .with("new_size", new)
            .with("old_root", old_root)
            .with("new_root", new_root)
    };
    let proof = |old: u32, new: u32| {
        let all = leaves(new);
        hex_list(&merkle::consistency_proof(&all[..], old.into(), new.into()).expect("the sizes are in order"))
    };
    for (old, new) in [(0, 0), (0, 5), (1, 2), (3, 7), (4, 7), (4, 8), (6, 100), (7, 7)] {
        let vector = case("ok", "one tree grew out of the other", (old, new), root(old), root(new));
        w.add("merkle", &format!("good-consistency-{old}-{new}"), &vector.hex(&proof(old, new)));
    }
    let good = proof(3, 7);
    let mut changed = good.clone();
    changed[0] ^= 1;
    for (mutation, comment, sizes, roots, proof) in [
        ("consistency-older-is-larger", "7 before 3", (7, 3), (7, 3), good.clone()),
        ("consistency-other-old-root", "the old root of another tree", (3, 7), (2, 7), good.clone()),
        ("consistency-other-new-root", "the new root of another tree", (3, 7), (3, 8), good.clone()),
        ("consistency-short", "a hash is missing", (3, 7), (3, 7), good[32..].to_vec()),
        ("consistency-empty", "no proof at all", (3, 7), (3, 7), vec![]),
        ("consistency-long", "a hash too many", (3, 7), (3, 7), [&good[..], &[0; 32]].concat()),
        ("consistency-changed", "one bit of the proof", (3, 7), (3, 7), changed),
        ("consistency-same-size-other-root", "one size, two roots", (7, 7), (7, 8), vec![]),
        ("consistency-same-size-with-proof", "nothing is to be proven", (7, 7), (7, 7), vec![0; 32]),
        ("consistency-from-nothing-with-proof", "nothing is to be proven", (0, 7), (0, 7), vec![0; 32]),
        ("consistency-from-nothing-other-root", "the empty tree has one root", (0, 7), (1, 7), vec![]),
    ] {
        let vector = case("bad-proof", comment, sizes, root(roots.0), root(roots.1));
        w.add("merkle", mutation, &vector.hex(&proof));
    }
    let word = Hash([1; 32]);
    let vector = case("bad-proof", "both roots are the same, and not that of nothing", (0, 0), word, word);
    w.add("merkle", "consistency-nothing-other-roots", &vector.hex(&[]));
}

pub(crate) fn checkpoint(w: &mut Writer) {
    let root = Hash([7; 32]);
    let case = |expect, comment| Vector::new(expect, comment).with("node_key", node().node_key());
    let good = |size: u64, root: Hash, comment| {
        case("ok", comment).with("origin", origin()).with("size", size).with("root", root)
    };
    let signed = |size, root| Checkpoint::new(origin(), size, root).sign(&node()).expect("it is good").to_string();
    let note = signed(7, root);
    w.add("checkpoint", "good", &good(7, root, "a ledger of 7 entries").text(&note));
    let nothing = Hash::of(b"");
    w.add("checkpoint", "good-empty", &good(0, nothing, "an empty ledger").text(&signed(0, nothing)));
    let most = 9_007_199_254_740_991;
    w.add("checkpoint", "good-greatest", &good(most, root, "the greatest ledger").text(&signed(most, root)));
    let witness = "\u{2014} witness.example/1 AAAAAAAAAAAA\n";
    let comment = "signed by a witness too";
    w.add("checkpoint", "good-witness", &good(7, root, comment).text(&format!("{note}{witness}")));
    let first = note.replace("\n\n", &format!("\n\n{witness}"));
    w.add("checkpoint", "good-witness-first", &good(7, root, "signed by a witness first").text(&first));

    let text = note.split_once("\n\n").expect("a note has an empty line").0;
    let extended = by_hand(&format!("{text}\nextension\n"));
    let comment = "with an extension line";
    let vector = good(7, root, comment).with("extensions", "extension");
    w.add("checkpoint", "good-extension", &vector.text(&extended));

    let name = format!("thingdb.node/{}", origin());
    let line = note.lines().last().expect("a note has lines");
    let many = |n: usize| format!("{note}{}", "\u{2014} w AAAAAAAA\n".repeat(n));
    let re = |from: &str, to: &str| {
        assert!(note.contains(from), "{from:?}");
        note.replacen(from, to, 1)
    };
    let resigned = |from: &str, to: &str| by_hand(&format!("{text}\n").replacen(from, to, 1));
    let malformed = "malformed";
    for (mutation, expect, comment, input) in [
        ("empty", "out-of-range", "nothing at all", String::new()),
        ("no-signature", malformed, "the text alone", format!("{text}\n")),
        ("no-signature-line", malformed, "the text and an empty line", format!("{text}\n\n")),
        ("no-line-feed-at-end", malformed, "the last line feed is missing", note.trim_end().to_owned()),
        ("line-feed-too-many", malformed, "an empty line at the end", format!("{note}\n")),
        ("carriage-returns", malformed, "lines end in LF", note.replace('\n', "\r\n")),
        ("other-name", malformed, "not the name of a ThingDB node", resigned("thingdb.node", "example.com")),
        ("origin-upper-case", malformed, "hex is lower case", note.replace(&name, &name.replace('a', "A"))),
        ("size-leading-zero", malformed, "another spelling of 7", resigned("\n7\n", "\n07\n")),
        ("size-plus", malformed, "another spelling of 7", resigned("\n7\n", "\n+7\n")),
        ("size-hex", malformed, "sizes are decimal", resigned("\n7\n", "\n0x7\n")),
        ("size-too-great", "out-of-range", "2^53", resigned("\n7\n", "\n9007199254740992\n")),
        ("size-beyond-u64", "out-of-range", "2^64", resigned("\n7\n", "\n18446744073709551616\n")),
        ("size-0-other-root", "bad-hash", "the empty ledger has one root", resigned("\n7\n", "\n0\n")),
        ("root-not-canonical", malformed, "unused bits are zero", resigned("Bwc=\n", "Bwd=\n")),
        ("root-31-bytes", malformed, "a root has 32 bytes", resigned("BwcHBwc=\n", "BwcHBw==\n")),
        ("extension-control", "text", "U+0085 in an extension line", by_hand(&format!("{text}\nx\u{85}\n"))),
        ("dash", malformed, "a hyphen is no em dash", re("\u{2014} ", "- ")),
        ("signature-name-plus", malformed, "a plus in a name", format!("{note}\u{2014} a+b AAAAAAAA\n")),
        ("signature-without-name", malformed, "no name", format!("{note}\u{2014} AAAAAAAA\n")),
        ("signature-short", malformed, "3 bytes", format!("{note}\u{2014} w AAAA\n")),
        ("signature-not-base64", malformed, "not base64", format!("{note}\u{2014} w ****\n")),
        ("signature-lines-65", "out-of-range", "one line too many", many(64)),
        ("signature-flipped", "bad-signature", "another size than was signed", re("\n7\n", "\n8\n")),
        ("signature-twice", "bad-signature", "a node signs once", format!("{note}{line}\n")),
        ("signature-of-others-only", "bad-signature", "a witness and no node", format!("{text}\n\n{witness}")),
        ("key-id-other", "bad-signature", "the id of no key", key_id_changed(&note)),
        ("extension-unsigned", "bad-signature", "a line that was not signed", re("\n\n", "\nx\n\n")),
    ] {
        w.add("checkpoint", mutation, &case(expect, comment).text(&input));
    }
    let other = Vector::new("bad-signature", "the key of another node").with("node_key", actor().node_key());
    w.add("checkpoint", "other-node", &other.text(&note));
}

/// Signs any text as the node would.
fn by_hand(text: &str) -> String {
    let name = format!("thingdb.node/{}", origin());
    let id = Hash::of(&[name.as_bytes(), &[0x0a, 0x01], &node().node_key().0].concat());
    let blob = [&id.0[..4], &node().sign(text.as_bytes())].concat();
    format!("{text}\n\u{2014} {name} {}\n", BASE64.encode(&blob))
}

fn key_id_changed(note: &str) -> String {
    let (before, blob) = note.trim_end().rsplit_once(' ').expect("a signature line has a space");
    let mut blob = BASE64.decode(blob.as_bytes()).expect("a signature is base64");
    blob[0] ^= 1;
    format!("{before} {}\n", BASE64.encode(&blob))
}

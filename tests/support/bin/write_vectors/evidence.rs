//! What convicts somebody: two entries in the place of one, and two
//! checkpoints of one node that contradict each other.

use thingdb_format::heads::{HeadsNote, SignedHeads};
use thingdb_format::{Checkpoint, Entry, Hash, Signature, SigningKey, Suite, ThingId, Time, line, merkle, signature};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{TIME, entry_of, fields, first, in_batch, node, numbered_id, second};

/// The line of a stub.
fn stub(entry: &Entry) -> String {
    let mut out = Vec::new();
    line::encode(&Entry { payload: None, envelopes: vec![], ..entry.clone() }, &mut out);
    String::from_utf8(out).expect("a line is UTF-8")
}

/// In the place of [`second`], by the same actor at the same node.
fn other() -> thingdb_format::Fields {
    let (mut fields, _) = fields(Suite::Aes256Gcm);
    fields.seq = 2;
    fields.time = Time::from_micros(TIME + 2_000_000).expect("it is a good time");
    fields.prev = vec![first().id()];
    fields
}

fn signed_by(key: &SigningKey, mut fields: thingdb_format::Fields) -> Entry {
    fields.actor = key.actor();
    let mut entry = entry_of(fields, None);
    entry.signature = Signature::Single(signature::sign_single(key, &entry.header.to_bytes()));
    entry
}

pub(crate) fn equivocation(w: &mut Writer) {
    let (one, two) = (second(), entry_of(other(), None));
    let good = |comment: &str, input: String, entries: [&Entry; 2]| {
        let ids = entries.map(|entry| entry.id().to_string()).join(" ");
        let vector = Vector::new("ok", comment).with("thing", "part-42").with("actor", one.header.actor);
        vector.with("origin", one.header.origin).with("entries", ids).text(&input)
    };
    let lines = |a: &Entry, b: &Entry| stub(a) + &stub(b);
    let case = good("two headers, each signed alone", lines(&one, &two), [&one, &two]);
    w.add("equivocation", "good-two", &case);
    let case = good("the other one first", lines(&two, &one), [&two, &one]);
    w.add("equivocation", "good-other-order", &case);
    let mut root = fields(Suite::Aes256Gcm).0;
    root.time = Time::from_micros(TIME + 5).expect("it is a good time");
    let root = entry_of(root, None);
    let case = good("two first entries: both follow nothing", lines(&first(), &root), [&first(), &root]);
    w.add("equivocation", "good-two-firsts", &case);
    let batched = in_batch(two.clone(), 3, 7);
    let case = good("one of them in a batch", lines(&one, &batched), [&one, &batched]);
    w.add("equivocation", "good-in-batch", &case);
    let mut same_but_suite = other();
    same_but_suite.suite = Suite::ChaCha20Poly1305;
    same_but_suite.time = one.header.time;
    let suite = entry_of(same_but_suite, None);
    let case = good("nothing differs but the suite: two entries all the same", lines(&one, &suite), [&one, &suite]);
    w.add("equivocation", "good-other-suite", &case);

    let mut elsewhere = other();
    elsewhere.origin = SigningKey::from_seed(&[8; 32]).node_key().origin();
    let mut thing = other();
    thing.thing = ThingId::new("part-43").expect("it is a good id");
    let mut prev = other();
    prev.prev = vec![numbered_id(1)];
    let mut flipped = two.clone();
    let mut value = *flipped.signature.value();
    value[0] ^= 1;
    flipped.signature = Signature::Single(value);
    let no = "no-evidence";
    for (mutation, expect, comment, input) in [
        ("same-entry", no, "one entry twice", lines(&one, &one)),
        ("one-entry", no, "one entry convicts nobody", stub(&one)),
        ("three-entries", no, "two and another one", lines(&one, &two) + &stub(&first())),
        ("nothing", no, "nothing at all", String::new()),
        ("follows", no, "one follows the other: an honest history", lines(&first(), &one)),
        ("other-thing", no, "on two things", lines(&one, &entry_of(thing, None))),
        (
            "other-prev",
            no,
            "after another entry: a fork, but nobody wrote twice in one place",
            lines(&one, &entry_of(prev, None)),
        ),
        (
            "other-origin",
            no,
            "one actor at two nodes, who may not know of each other",
            lines(&one, &entry_of(elsewhere, None)),
        ),
        (
            "other-actor",
            no,
            "two actors at one node",
            lines(&one, &signed_by(&SigningKey::from_seed(&[9; 32]), other())),
        ),
        ("bad-signature", "bad-signature", "one bit of the second signature", lines(&one, &flipped)),
        ("bad-line", "json", "the second line is cut", stub(&one) + stub(&two).get(..200).unwrap_or_default()),
    ] {
        w.add("equivocation", mutation, &Vector::new(expect, comment).text(&input));
    }
}

/// A note of the test node over a ledger of so many entries, of which those
/// from `changed` on are others.
fn note(size: u32, changed: u32) -> String {
    note_by(&node(), size, changed)
}

fn note_by(key: &SigningKey, size: u32, changed: u32) -> String {
    let root = merkle::root(leaves(size, changed));
    let note = Checkpoint::new(key.node_key().origin(), size.into(), root).sign(key).expect("it is a good checkpoint");
    note.as_str().to_owned()
}

fn leaves(size: u32, changed: u32) -> Vec<Hash> {
    (0..size).map(|n| merkle::leaf(&numbered_id(if n < changed { n } else { n + 1000 }))).collect()
}

fn file(found: &str, proof: &str, remembered: &str, shown: &str) -> String {
    let proof = if proof.is_empty() { String::new() } else { format!("proof {proof}\n") };
    let seen = Time::from_micros(TIME).expect("it is a good time");
    format!(
        "thingdb evidence 1\nnode {}\nseen {seen}\nfound {found}\n{proof}\n-- remembered\n{remembered}-- shown\n{shown}",
        node().node_key()
    )
}

pub(crate) fn evidence(w: &mut Writer) {
    let proof = |changed| {
        let hashes = merkle::consistency_proof(&leaves(9, changed)[..], 7, 9).expect("the sizes are in order");
        hashes.iter().map(Hash::to_string).collect::<String>()
    };
    let (honest, forged) = (proof(9), proof(3));
    let good = |comment: &str, weight: &str, sizes: &str, input: &str| {
        let vector = Vector::new("ok", comment).with("weight", weight).with("sizes", sizes);
        vector.with("origin", node().node_key().origin()).text(input)
    };
    for (mutation, comment, weight, sizes, input) in [
        (
            "good-same-size",
            "two ledgers of one size: nothing else is needed",
            "proof",
            "7 7",
            file("split-view", "", &note(7, 7), &note(7, 3)),
        ),
        (
            "good-rolled-back",
            "a smaller ledger later: that it came later is testimony",
            "testimony",
            "9 7",
            file("rolled-back", "", &note(9, 9), &note(7, 7)),
        ),
        (
            "good-not-grown",
            "a larger one with a proof that does not hold",
            "testimony",
            "7 9",
            file("split-view", &forged, &note(7, 7), &note(9, 3)),
        ),
        (
            "good-no-proof",
            "a larger one, and no proof came",
            "testimony",
            "7 9",
            file("split-view", "", &note(7, 7), &note(9, 3)),
        ),
        (
            "good-rolled-back-to-nothing",
            "an empty ledger after one of seven",
            "testimony",
            "7 0",
            file("rolled-back", "", &note(7, 7), &note(0, 0)),
        ),
    ] {
        w.add("evidence", mutation, &good(comment, weight, sizes, &input));
    }
    let split = file("split-view", "", &note(7, 7), &note(7, 3));
    let re = |from: &str, to: &str| {
        assert!(split.contains(from), "{from}");
        split.replacen(from, to, 1)
    };
    let stranger = SigningKey::from_seed(&[8; 32]);
    let no = "no-evidence";
    for (mutation, expect, comment, input) in [
        ("same-note", no, "one ledger shown twice", file("split-view", "", &note(7, 7), &note(7, 7))),
        ("grown", no, "the proof holds: an honest growth", file("split-view", &honest, &note(7, 7), &note(9, 9))),
        ("from-nothing", no, "everything grew out of nothing", file("split-view", "", &note(0, 0), &note(9, 9))),
        ("grown-said-rolled-back", no, "the second is larger", file("rolled-back", "", &note(7, 7), &note(9, 9))),
        ("smaller-said-split", no, "the second is smaller", file("split-view", "", &note(9, 9), &note(7, 3))),
        (
            "same-size-said-rolled-back",
            no,
            "a ledger of the same size is not rolled back",
            file("rolled-back", "", &note(7, 7), &note(7, 3)),
        ),
        (
            "other-node",
            no,
            "one note is of another node",
            file("split-view", "", &note(7, 7), &note_by(&stranger, 7, 3)),
        ),
        (
            "other-key",
            no,
            "the file names another node key",
            re(&node().node_key().to_string(), &stranger.node_key().to_string()),
        ),
        ("other-version", no, "evidence 2", re("evidence 1", "evidence 2")),
        ("other-found", no, "a contradiction that there is not", re("split-view", "odd")),
        (
            "other-order",
            no,
            "lines in another order",
            re(
                &format!("seen {}\nfound split-view", Time::from_micros(TIME).expect("good")),
                &format!("found split-view\nseen {}", Time::from_micros(TIME).expect("good")),
            ),
        ),
        ("other-line", no, "a line that is none", re("found split-view\n", "found split-view\nnote x\n")),
        ("crlf", no, "lines end in LF", re("thingdb evidence 1\n", "thingdb evidence 1\r\n")),
        ("proof-cut", no, "half a hash", re("found split-view\n", "found split-view\nproof 00\n")),
        (
            "proof-upper-case",
            no,
            "hex is lower case",
            re("found split-view\n", &format!("found split-view\nproof {}\n", "AB".repeat(32))),
        ),
        ("one-note", no, "what was shown is missing", split.split("-- shown").next().unwrap_or_default().to_owned()),
        ("nothing", no, "nothing at all", String::new()),
        ("bytes-behind", "malformed", "bytes behind the second note", format!("{split}x\n")),
    ] {
        w.add("evidence", mutation, &Vector::new(expect, comment).text(&input));
    }
    split_heads(w);
}

/// A heads note of a node; the roots are made up.
fn heads_by(key: &SigningKey, size: u64, map: u8, ledger: u8) -> String {
    let (map, ledger) = (Hash([map; 32]), Hash([ledger; 32]));
    let note = HeadsNote { origin: key.node_key().origin(), size, map, ledger };
    note.sign(key).expect("it is a good note").as_str().to_owned()
}

fn split_heads(w: &mut Writer) {
    let heads = |size, map, ledger| heads_by(&node(), size, map, ledger);
    let file = |remembered: &str, shown: &str| file("split-heads", "", remembered, shown);
    let split = file(&heads(7, 1, 1), &heads(7, 2, 1));
    let others = {
        let (note, other) = (SignedHeads::parse(&heads(7, 2, 1)).expect("good"), SigningKey::from_seed(&[8; 32]));
        let line = note.signature(&other).expect("it is a good key");
        note.with_signatures(&line).expect("it is a good line").as_str().to_owned()
    };
    for (mutation, comment, input) in [
        ("good-split-heads", "two maps of heads of one ledger", split.clone()),
        ("good-split-heads-ledger", "one map, of two ledgers of one size", file(&heads(7, 1, 1), &heads(7, 1, 2))),
        ("good-split-heads-recomputed", "another node has signed one, too", file(&heads(7, 1, 1), &others)),
    ] {
        let vector = Vector::new("ok", comment).with("weight", "proof").with("sizes", "7 7");
        w.add("evidence", mutation, &vector.with("origin", node().node_key().origin()).text(&input));
    }
    let stranger = SigningKey::from_seed(&[8; 32]);
    let no = "no-evidence";
    let one = note(7, 7);
    for (mutation, expect, comment, input) in [
        ("split-heads-same", no, "one heads note shown twice", file(&heads(7, 1, 1), &heads(7, 1, 1))),
        ("split-heads-other-size", no, "of a ledger that has grown", file(&heads(7, 1, 1), &heads(9, 2, 2))),
        ("split-heads-other-node", no, "one is of another node", file(&heads(7, 1, 1), &heads_by(&stranger, 7, 2, 1))),
        (
            "split-heads-other-key",
            no,
            "the file names another node key",
            split.replacen(&node().node_key().to_string(), &stranger.node_key().to_string(), 1),
        ),
        ("split-heads-of-checkpoints", "malformed", "checkpoints are no heads notes", file(&one, &note(7, 3))),
        (
            "split-view-of-heads",
            "malformed",
            "heads notes are no checkpoints",
            split.replacen("found split-heads", "found split-view", 1),
        ),
        (
            "split-heads-with-proof",
            no,
            "a proof, where none can be",
            split.replacen("found split-heads\n", &format!("found split-heads\nproof {}\n", "ab".repeat(32)), 1),
        ),
        ("split-heads-bytes-behind", "malformed", "bytes behind the second note", format!("{split}x\n")),
    ] {
        w.add("evidence", mutation, &Vector::new(expect, comment).text(&input));
    }
}

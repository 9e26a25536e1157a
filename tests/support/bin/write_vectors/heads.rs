//! The heads of all things: the map, the note, and both in a proof file.

use data_encoding::HEXLOWER;
use thingdb_format::heads::{
    HeadsNote, HeadsProof, Other, Place, Sibling, SignedHeads, key, leaf, subtree, value, way,
};
use thingdb_format::proof::Subject;
use thingdb_format::{EntryId, Hash, SigningKey, ThingId};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{cek, entry_of, fields, first, node, numbered_id, second};
use crate::proof::{File, SIZE, header, note, thing, with};

/// Two names whose keys begin with the same 42 bits.
const NEAR: [&str; 2] = ["near-110692", "near-2434077"];

/// A thing, how many entries it has, and its heads.
type Known = (ThingId, u64, Vec<EntryId>);

fn named(name: &str) -> ThingId {
    ThingId::new(name).expect("it is a good id")
}

fn numbered(name: &str, count: u64, heads: &[u32]) -> Known {
    (named(name), count, heads.iter().map(|n| numbered_id(*n)).collect())
}

/// `part-42` has two entries in the ledger of the proof files; what else is in it is
/// made up.
fn things() -> Vec<Known> {
    vec![
        (thing(), 2, vec![second().id()]),
        numbered("part-43", 1, &[0]),
        numbered("part-44", 7, &[1, 2]),
        numbered(NEAR[0], 1, &[3]),
        numbered("größe/µ", 2, &[4, 6]),
    ]
}

fn leaves(things: &[Known]) -> Vec<(Hash, Hash)> {
    let of = |(thing, count, heads): &Known| (key(thing), leaf(&key(thing), &value(thing, *count, heads)));
    let mut leaves: Vec<_> = things.iter().map(of).collect();
    leaves.sort_unstable();
    leaves
}

fn signed(things: &[Known]) -> SignedHeads {
    HeadsNote::of(note(&node(), SIZE).claimed(), subtree(&leaves(things), 0)).sign(&node()).expect("it is good")
}

fn proof(things: &[Known], of: &ThingId) -> HeadsProof {
    let (path, found) = way(&leaves(things), &key(of), 0);
    let found = found.map(|at| leaves(things)[at].0);
    let known = things.iter().find(|(thing, ..)| found == Some(key(thing)));
    let place = match known {
        Some((thing, count, heads)) if thing == of => Place::Thing { count: *count, heads: heads.clone() },
        Some((thing, count, heads)) => Place::Other(Other { key: key(thing), value: value(thing, *count, heads) }),
        None => Place::Empty,
    };
    HeadsProof { note: signed(things), place, path }
}

pub(crate) fn heads(w: &mut Writer) {
    map(w);
    notes(w);
    good_files(w);
    bad_files(w);
}

/// A line a thing: its id in hex, how many entries it has, its heads.
fn map(w: &mut Writer) {
    let both = [things(), vec![numbered(NEAR[1], 3, &[9])]].concat();
    for (mutation, comment, things) in [
        ("nothing", "no thing at all", vec![]),
        ("one", "a thing alone: inner nodes down to its leaf at depth 40", things()[..1].to_vec()),
        ("five", "five things, one of which has forked", things()),
        ("near", "two keys that begin with the same 42 bits: leaves below depth 40", both),
    ] {
        let line = |(thing, count, heads): &Known| {
            let heads: String = heads.iter().map(|head| format!(" {head}")).collect();
            format!("{} {count}{heads}\n", HEXLOWER.encode(thing.as_str().as_bytes()))
        };
        let root = subtree(&leaves(&things), 0);
        let input: String = things.iter().map(line).collect();
        w.add("heads-map", mutation, &Vector::new("ok", comment).with("root", root).text(&input));
    }
}

fn notes(w: &mut Writer) {
    let good = signed(&things());
    let peer = SigningKey::from_seed(&[2; 32]);
    let recomputed = good.with_signatures(&good.signature(&peer).expect("the key is good")).expect("it is a line");
    let nothing = HeadsNote { origin: node().node_key().origin(), size: 0, map: Hash([0; 32]), ledger: Hash::of(b"") };
    let of = |expect: &str, comment: &str| {
        Vector::new(expect, comment).with("node_key", node().node_key()).with("other_key", peer.node_key())
    };
    for (mutation, comment, note) in [
        ("good", "a note of the node alone", good.clone()),
        ("good-recomputed", "another node has recomputed it", recomputed),
        ("good-empty", "of an empty ledger", nothing.sign(&node()).expect("it is good")),
    ] {
        let claimed = note.claimed();
        let vector = of("ok", comment)
            .with("origin", claimed.origin)
            .with("size", claimed.size)
            .with("map", claimed.map)
            .with("ledger", claimed.ledger)
            .with("recomputed", note.is_signed_by(&peer.node_key()).expect("it is good"));
        w.add("heads", mutation, &vector.text(note.as_str()));
    }
    let text = good.as_str();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let [name, size, map, ledger, empty, own] = lines[..] else { unreachable!("a note has six lines") };
    let moved = peer.node_key().origin().to_string();
    let malformed = "malformed";
    let cases: Vec<(&str, &str, &str, String)> = vec![
        ("no-ledger", malformed, "without the root of the ledger", [name, size, map, empty, own].concat()),
        ("more-lines", malformed, "another line", [name, size, map, ledger, "more\n", empty, own].concat()),
        ("other-word", malformed, "another word before the root", text.replace("ledger ", "Ledger ")),
        ("name-of-a-checkpoint", malformed, "the name of a checkpoint", text.replace("thingdb.heads", "thingdb.node")),
        ("size-zero", "bad-hash", "no entries, and roots of some", text.replacen("\n13\n", "\n0\n", 1)),
        ("size-leading-zero", malformed, "a number with two spellings", text.replacen("\n13\n", "\n013\n", 1)),
        ("size-huge", "out-of-range", "more than a ledger has", text.replacen("\n13\n", "\n9007199254740992\n", 1)),
        ("other-size", "bad-signature", "one entry more", text.replacen("\n13\n", "\n14\n", 1)),
        ("map-empty", "bad-hash", "13 entries and no thing", text.replace(map, &format!("{}=\n", "A".repeat(43)))),
        ("no-signature", malformed, "no signature line", [name, size, map, ledger, empty].concat()),
        ("signed-twice", "bad-signature", "two lines of the node", format!("{text}{own}")),
        ("other-node", "bad-signature", "the name of another node", {
            text.replacen(&node().node_key().origin().to_string(), &moved, 1)
        }),
        ("recomputed-other", "bad-signature", "the line of the other node is of another note", {
            let line = signed(&things()[1..]).signature(&peer).expect("the key is good");
            format!("{text}{line}")
        }),
    ];
    for (mutation, expect, comment, input) in cases {
        assert_ne!(input, text);
        w.add("heads", mutation, &of(expect, comment).text(&input));
    }
}

fn history() -> Subject {
    Subject::History { thing: thing() }
}

fn absent(name: &str) -> Subject {
    Subject::Absent { thing: named(name) }
}

/// The file of the history with this proof.
fn file(proof: HeadsProof) -> File {
    let mut file = File::history();
    file.header.heads = Some(proof);
    file
}

/// A file that says that a thing is not there.
fn file_of_nothing(name: &str, heads: HeadsProof) -> File {
    let mut header = header(absent(name));
    header.heads = Some(heads);
    File { header, entries: vec![], ..File::history() }
}

fn good_files(w: &mut Writer) {
    let ok = |comment: &str, entries: u64, heads: &str, complete: &str| {
        let states = vec!["shown"; usize::try_from(entries).expect("they are few")].join(" ");
        let vector = Vector::new("ok", comment).with("entries", entries).with("states", states);
        vector.with("heads", heads).with("complete", complete)
    };
    let (things, newest) = (things(), second().id().to_string());
    let whole = file(proof(&things, &thing())).text();
    w.add("proof", "good-complete", &ok("all entries of the thing", 2, &newest, "2 1").text(&whole));
    let mut one = File::new(Subject::Entries { thing: thing() });
    one.entries.pop();
    one.header.heads = Some(proof(&things, &thing()));
    let older = first().id().to_string();
    w.add("proof", "good-one-of-two", &ok("one entry of two, the older one", 1, &older, "2 1").text(&one.text()));
    let nothing = file_of_nothing("part-45", proof(&things, &named("part-45"))).text();
    w.add("proof", "good-absent", &ok("there is no such thing", 0, "", "0 0").text(&nothing));
    let beside = file_of_nothing(NEAR[1], proof(&things, &named(NEAR[1]))).text();
    let comment = "another thing stands in its place, whose key begins alike";
    w.add("proof", "good-absent-near", &ok(comment, 0, "", "0 0").text(&beside));
}

/// What one can try who has all keys of the node.
fn bad_files(w: &mut Writer) {
    let (things, good) = (things(), proof(&things(), &thing()));
    let other_heads = "other heads";
    let place = |place: Place| file(HeadsProof { place, ..good.clone() }).text();
    let told = |count: u64, heads: &[EntryId]| {
        let lie = [vec![(thing(), count, heads.to_vec())], things[1..].to_vec()].concat();
        file(proof(&lie, &thing())).text()
    };
    let bent = |edit: &dyn Fn(&mut Vec<Sibling>)| {
        let mut bent = good.clone();
        edit(&mut bent.path);
        file(bent).text()
    };
    let claimed = good.note.claimed().clone();
    let stranger = SigningKey::from_seed(&[9; 32]);
    let signed = |note: HeadsNote, key: &SigningKey| {
        file(HeadsProof { note: note.sign(key).expect("it is good"), ..good.clone() }).text()
    };
    let text = file(good.clone()).text();
    let unreadable = "unreadable";
    let cases: Vec<(&str, &str, &str, String)> = vec![
        ("heads-newest-hidden", other_heads, "the newest entry is left out", {
            let mut file = file(good.clone());
            file.entries.pop();
            file.text()
        }),
        ("heads-fork-hidden", other_heads, "a branch of a fork is left out", {
            told(3, &ascending([second().id(), entry_of(third(), None).id()]))
        }),
        ("heads-count", other_heads, "three entries are signed for, two are in the file", told(3, &[second().id()])),
        ("heads-followed", other_heads, "a head that another entry in the file follows", {
            let mut file = File::new(Subject::Entries { thing: thing() });
            let lie = [vec![(thing(), 2, vec![first().id()])], things[1..].to_vec()].concat();
            file.header.heads = Some(proof(&lie, &thing()));
            file.text()
        }),
        ("heads-claimed-count", other_heads, "another number than the note has", {
            place(Place::Thing { count: 3, heads: vec![second().id()] })
        }),
        ("heads-absent-with-entries", other_heads, "a history of a thing that is said not to be there", {
            place(Place::Empty)
        }),
        ("heads-of-another", other_heads, "the proof of another thing", file(proof(&things, &named("part-43"))).text()),
        ("heads-path-short", other_heads, "a sibling is left out", bent(&|path| path.truncate(path.len() - 1))),
        ("heads-path-other", other_heads, "another sibling", bent(&|path| path[0].hash.0[31] ^= 1)),
        (
            "heads-path-deeper",
            other_heads,
            "a sibling at another depth",
            bent(&|path| {
                path.last_mut().expect("there is one").depth += 1;
            }),
        ),
        ("heads-other-size", other_heads, "the note of a ledger of 12", {
            let note = note(&node(), 12).claimed().clone();
            signed(HeadsNote::of(&note, claimed.map), &node())
        }),
        ("heads-other-ledger", other_heads, "the note of another ledger of 13", {
            signed(HeadsNote { ledger: Hash([7; 32]), ..claimed }, &node())
        }),
        ("heads-other-node", "bad signature", "the note of another node", {
            signed(HeadsNote { origin: stranger.node_key().origin(), ..claimed }, &stranger)
        }),
        ("absent-is-there", other_heads, "a thing that is there is said to be absent", {
            file_of_nothing("part-43", HeadsProof { place: Place::Empty, ..proof(&things, &named("part-43")) }).text()
        }),
        ("absent-says-there", other_heads, "the note says that the thing is there", {
            file_of_nothing("part-43", proof(&things, &named("part-43"))).text()
        }),
        ("absent-of-another", other_heads, "the proof that another thing is absent", {
            file_of_nothing("part-46", proof(&things, &named("part-45"))).text()
        }),
        ("absent-other-itself", other_heads, "the thing itself, said to be another one", {
            let (of, count, heads) = things[3].clone();
            let other = Other { key: key(&of), value: value(&of, count, &heads) };
            file_of_nothing(NEAR[0], HeadsProof { place: Place::Other(other), ..proof(&things, &of) }).text()
        }),
        ("absent-other-elsewhere", other_heads, "a thing that does not stand there", {
            let absent = named("part-45");
            let (of, count, heads) = things[3].clone();
            let other = Other { key: key(&of), value: value(&of, count, &heads) };
            file_of_nothing("part-45", HeadsProof { place: Place::Other(other), ..proof(&things, &absent) }).text()
        }),
        ("absent-with-entry", "bad link", "an entry of the thing that is not there", {
            let mut file = file_of_nothing("part-42", proof(&things[1..], &thing()));
            file.entries = vec![(5, Some(cek()), first())];
            file.text()
        }),
        ("absent-without-heads", unreadable, "nothing says that it is not there", {
            File { header: header(absent("part-45")), entries: vec![], ..File::history() }.text()
        }),
        ("no-entries", unreadable, "a history without entries", {
            File { header: header(history()), entries: vec![], ..File::history() }.text()
        }),
        ("heads-twice", unreadable, "a head that is there twice", {
            place(Place::Thing { count: 2, heads: vec![second().id(); 2] })
        }),
        ("heads-none", unreadable, "a thing without a head", place(Place::Thing { count: 2, heads: vec![] })),
        ("heads-more-than-entries", unreadable, "more heads than entries", {
            place(Place::Thing { count: 1, heads: ascending([first().id(), second().id()]) })
        }),
        ("heads-without-count", unreadable, "heads and no count", with(&text, 0, "\"count\":2,", "")),
        ("heads-and-other", unreadable, "the thing and another one", {
            let other = format!("\"count\":2,\"other\":\"{}==\",", "A".repeat(86));
            with(&text, 0, "\"count\":2,", &other)
        }),
        ("heads-path-empty", unreadable, "an empty path is left out", {
            let (before, after) = text.split_once("\"path\":\"").expect("there is one");
            let (_, after) = after.split_once('"').expect("the string ends");
            let first = format!("{before}\"path\":\"\"{after}");
            with(&text, 0, text.lines().next().expect("there is one"), first.lines().next().expect("there is one"))
        }),
        ("heads-path-descending", unreadable, "siblings in another order", bent(&|path| path.reverse())),
        ("heads-path-zero", unreadable, "an empty sibling is left out", bent(&|path| path[0].hash = Hash([0; 32]))),
        ("heads-empty", unreadable, "a member without a note", {
            with(&File::history().text(), 0, "\"checkpoint\":", "\"heads\":{},\"checkpoint\":")
        }),
    ];
    for (mutation, expect, comment, input) in cases {
        w.add("proof", mutation, &Vector::new(expect, comment).text(&input));
    }
}

/// A branch beside [`second`].
fn third() -> thingdb_format::Fields {
    let (mut third, _) = fields(thingdb_format::Suite::ChaCha20Poly1305);
    third.seq = 2;
    third.time = second().header.time;
    third.prev = vec![first().id()];
    third
}

fn ascending<const N: usize>(mut ids: [EntryId; N]) -> Vec<EntryId> {
    ids.sort_unstable();
    ids.to_vec()
}

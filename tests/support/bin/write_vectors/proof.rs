//! The proof file: entries with their places in a ledger.

use thingdb_format::erasure::receipt::SignedErasureReceipt;
use thingdb_format::proof::{Earlier, ProofEncoder, ProofEnd, ProofEntry, ProofHeader, ProofTimestamp, Subject};
use thingdb_format::stream::{Digest, hash_of_line};
use thingdb_format::{
    Actor, Card, CardFields, Cek, Checkpoint, Entry, Hash, SignedCheckpoint, SigningKey, ThingId, Time, merkle,
};
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{actor, cek, first, node, numbered_id, reader, second};

/// Entries in the ledger; [`first`] and [`second`] stand at 5 and 9.
pub(crate) const SIZE: u64 = 13;

pub(crate) fn alice() -> (Actor, String) {
    (actor().actor(), "alice".into())
}

fn leaves() -> Vec<Hash> {
    let mut leaves: Vec<Hash> = (0..13).map(|n| merkle::leaf(&numbered_id(n))).collect();
    leaves[5] = merkle::leaf(&first().id());
    leaves[9] = merkle::leaf(&second().id());
    leaves
}

pub(crate) fn note(key: &SigningKey, size: u64) -> SignedCheckpoint {
    let root = merkle::root(leaves()[..usize::try_from(size).expect("it is small")].iter().copied());
    Checkpoint::new(key.node_key().origin(), size, root).sign(key).expect("it is good")
}

pub(crate) fn card(key: &SigningKey, actors: Vec<(Actor, String)>) -> Card {
    let fields = CardFields {
        time: Time::from_micros(crate::key::TIME).expect("it is a good time"),
        node_key: key.node_key(),
        encryption_key: reader().encryption_key(),
        tls: None,
        name: "workshop".into(),
        actors,
    };
    Card::sign(fields, key).expect("it is good")
}

pub(crate) fn thing() -> ThingId {
    ThingId::new("part-42").expect("it is a good id")
}

pub(crate) fn header(subject: Subject) -> ProofHeader {
    ProofHeader {
        subject,
        card: card(&node(), vec![alice()]),
        checkpoint: note(&node(), SIZE),
        earlier: vec![],
        heads: None,
    }
}

/// What is in a file, before it is written.
pub(crate) struct File {
    pub(crate) header: ProofHeader,
    pub(crate) timestamps: Vec<ProofTimestamp>,
    pub(crate) entries: Vec<(u64, Option<Cek>, Entry)>,
    /// Of the ledger.
    pub(crate) leaves: Vec<Hash>,
    pub(crate) receipts: Vec<SignedErasureReceipt>,
}

impl File {
    pub(crate) fn new(subject: Subject) -> Self {
        let entries = vec![(5, Some(cek()), first()), (9, Some(cek()), second())];
        Self { header: header(subject), timestamps: vec![], entries, leaves: leaves(), receipts: vec![] }
    }

    pub(crate) fn history() -> Self {
        Self::new(Subject::History { thing: thing() })
    }

    pub(crate) fn text(self) -> String {
        let mut out = Vec::new();
        let mut encoder = ProofEncoder::new(&self.header, &mut out);
        self.timestamps.iter().for_each(|timestamp| encoder.timestamp(timestamp, &mut out));
        for (place, cek, entry) in self.entries {
            encoder.entry(&self.leaves[..], place, cek, entry, &mut out).expect("the place is in the ledger");
        }
        self.receipts.iter().for_each(|receipt| encoder.receipt(receipt, &mut out));
        encoder.end(&self.leaves[..], &mut out).expect("the ledger is whole");
        String::from_utf8(out).expect("lines are UTF-8")
    }
}

/// Nobody looks into the token here.
fn timestamp(note: &SignedCheckpoint) -> ProofTimestamp {
    let imprint = note.imprint(&node().node_key()).expect("the node has signed it");
    ProofTimestamp { imprint, token: b"no token".to_vec() }
}

/// A history with an earlier checkpoint, and a timestamp of each.
fn stamped() -> File {
    let mut file = File::history();
    let proof = merkle::consistency_proof(&leaves()[..], 5, SIZE).expect("the ledger is whole");
    file.header.earlier = vec![Earlier { checkpoint: note(&node(), 5), proof }];
    file.timestamps = [SIZE, 5].map(|size| timestamp(&note(&node(), size))).to_vec();
    file
}

fn is_entry(line: &str) -> bool {
    !line.starts_with("{\"timestamp\"") && !line.starts_with("{\"receipt\"")
}

/// The lines with a last line that counts them, as whoever writes a file can.
pub(crate) fn framed_anew(text: &str, edit: impl Fn(usize, &str) -> String) -> String {
    let mut lines: Vec<String> = text.lines().enumerate().map(|(n, line)| edit(n, line)).collect();
    let last = lines.pop().expect("there is a last line");
    lines.retain(|line| !line.is_empty());
    let mut end = ProofEnd::decode(last.as_bytes(), 1).expect("it is the last line");
    let mut digest = Digest::default();
    lines.iter().for_each(|line| digest.push(&hash_of_line(line.as_bytes())));
    end.entries = lines[1..].iter().filter(|line| is_entry(line)).count() as u64;
    end.digest = digest.value();
    let mut out = Vec::new();
    end.encode(&mut out);
    format!("{}\n{}", lines.join("\n"), String::from_utf8(out).expect("lines are UTF-8"))
}

/// One line with something else in the place of a text that is in it once.
pub(crate) fn with(text: &str, line: usize, from: &str, to: &str) -> String {
    framed_anew(text, |n, found| {
        if n != line {
            return found.to_owned();
        }
        assert_eq!(found.matches(from).count(), 1, "{from} in {found}");
        found.replace(from, to)
    })
}

pub(crate) fn proof(w: &mut Writer) {
    good(w);
    of_an_operator(w);
    of_the_text(w);
}

fn good(w: &mut Writer) {
    let ok = |comment: &str, entries: u64, states: &str, heads: &[Entry]| {
        let heads: Vec<String> = heads.iter().map(|entry| entry.id().to_string()).collect();
        Vector::new("ok", comment).with("entries", entries).with("states", states).with("heads", heads.join(" "))
    };
    let vector = ok("a history in a ledger of 13, all shown", 2, "shown shown", &[second()]);
    w.add("proof", "good-history", &vector.text(&File::history().text()));
    let mut file = File::history();
    file.entries[0].1 = None;
    file.entries[0].2.payload = None;
    file.entries[1].1 = None;
    let vector = ok("content withheld, and content sealed", 2, "withheld sealed", &[second()]);
    w.add("proof", "good-withheld-and-sealed", &vector.text(&file.text()));
    let mut file = File::new(Subject::Range { thing: thing(), from: 2, to: 7 });
    file.entries.remove(0);
    let vector = ok("a range: what the first of it follows stands before", 1, "shown", &[second()]);
    w.add("proof", "good-range", &vector.text(&file.text()));
    let mut file = File::new(Subject::Entries { thing: thing() });
    file.entries.remove(0);
    let vector = ok("one entry", 1, "shown", &[second()]);
    w.add("proof", "good-one-entry", &vector.text(&file.text()));
    let mut file = File::history();
    file.entries.pop();
    let vector = ok("a newer entry is hidden in a gap: no file like this can show it", 1, "shown", &[first()]);
    w.add("proof", "good-older-head", &vector.text(&file.text()));
    let mut file = File::history();
    file.header.earlier = [0, 5, 13]
        .map(|size| Earlier {
            checkpoint: note(&node(), size),
            proof: merkle::consistency_proof(&leaves()[..], size, SIZE).expect("the ledger is whole"),
        })
        .to_vec();
    let vector = ok("with earlier checkpoints, the empty one and itself among them", 2, "shown shown", &[second()]);
    w.add("proof", "good-earlier", &vector.text(&file.text()));
    let vector = ok("timestamps of the checkpoint and of an earlier one", 2, "shown shown", &[second()]);
    w.add("proof", "good-timestamps", &vector.text(&stamped().text()));
    let text = File::history().text();
    let vector = ok("lines ended by CR LF, and empty lines", 2, "shown shown", &[second()]);
    w.add("proof", "good-crlf", &vector.hex(format!("\r\n{}", text.replace('\n', "\r\n\r\n")).as_bytes()));
}

/// What one can try who has all keys of the node.
fn of_an_operator(w: &mut Writer) {
    let text = File::history().text();
    let stranger = SigningKey::from_seed(&[9; 32]);
    let cases: Vec<(&str, &str, &str, String)> = vec![
        ("left-out", "missing prev", "the first entry is left out of a history", {
            let mut file = File::history();
            file.entries.remove(0);
            file.text()
        }),
        ("place-moved", "not in the ledger", "an entry at the place after its own", {
            with(&text, 2, "\"place\":9", "\"place\":10")
        }),
        ("place-zero", "unreadable", "a place before that of the line before", {
            with(&text, 2, "\"place\":9", "\"place\":0")
        }),
        ("place-twice", "unreadable", "the place of the line before", with(&text, 2, "\"place\":9", "\"place\":5")),
        ("place-beyond", "not in the ledger", "a place behind the end of the ledger", {
            let mut file = File::history();
            file.header.checkpoint = note(&node(), 8);
            let wanted = file.text();
            let first = wanted.lines().next().expect("there is one").to_owned();
            framed_anew(&text, |n, line| if n == 0 { first.clone() } else { line.to_owned() })
        }),
        ("gap-short", "not in the ledger", "one hash less than the gap has parts", {
            framed_anew(&text, |n, line| {
                if n != 1 {
                    return line.to_owned();
                }
                let mut entry = ProofEntry::decode(line.as_bytes(), 1).expect("it is a line");
                entry.gap.pop();
                encoded(&entry)
            })
        }),
        ("gap-other", "not in the ledger", "another hash in a gap", {
            framed_anew(&text, |n, line| {
                if n != 1 {
                    return line.to_owned();
                }
                let mut entry = ProofEntry::decode(line.as_bytes(), 1).expect("it is a line");
                entry.gap[0].0[31] ^= 1;
                encoded(&entry)
            })
        }),
        ("other-thing", "bad link", "a file about another thing", {
            File::new(Subject::History { thing: ThingId::new("part-43").expect("it is a good id") }).text()
        }),
        ("beyond-range", "bad link", "a seq that is not in the range", {
            File::new(Subject::Range { thing: thing(), from: 1, to: 1 }).text()
        }),
        ("range-with-hole", "missing prev", "the seq before is of the range and not there", {
            let mut file = File::new(Subject::Range { thing: thing(), from: 1, to: 2 });
            file.entries.remove(0);
            file.text()
        }),
        ("twice", "unreadable", "an entry stands twice in the ledger that is claimed", {
            let mut file = File::history();
            file.entries.push((11, Some(cek()), second()));
            file.text()
        }),
        ("other-cek", "unreadable", "a key that does not open the payload", {
            let mut file = File::history();
            file.entries[1].1 = Some(Cek::from_bytes([7; 32]));
            file.text()
        }),
        ("other-signature", "bad signature", "the signature of another entry", {
            let mut file = File::history();
            file.entries[1].2.signature = first().signature;
            file.text()
        }),
        ("other-payload", "bad hash", "the payload of another entry", {
            let mut file = File::history();
            let payload = file.entries[1].2.payload.as_mut().expect("it has one");
            payload[0] ^= 1;
            file.text()
        }),
        ("other-card", "bad signature", "the card of another node", {
            let mut file = File::history();
            file.header.card = card(&stranger, vec![alice()]);
            file.text()
        }),
        ("other-ledger", "not in the ledger", "the checkpoint of an earlier ledger", {
            let mut file = File::history();
            file.header.checkpoint = note(&node(), 10);
            let first = file.text().lines().next().expect("there is one").to_owned();
            framed_anew(&text, |n, line| if n == 0 { first.clone() } else { line.to_owned() })
        }),
        ("earlier-of-other", "rolled back", "an earlier checkpoint of another node", {
            let mut file = File::history();
            let proof = merkle::consistency_proof(&leaves()[..], 5, SIZE).expect("the ledger is whole");
            file.header.earlier = vec![Earlier { checkpoint: note(&stranger, 5), proof }];
            file.text()
        }),
        ("earlier-without-proof", "rolled back", "no way from the earlier checkpoint", {
            let mut file = File::history();
            file.header.earlier = vec![Earlier { checkpoint: note(&node(), 5), proof: vec![] }];
            file.text()
        }),
        ("timestamp-of-other", "unreadable", "a timestamp of a checkpoint that is not in the file", {
            let mut file = stamped();
            file.timestamps[1] = timestamp(&note(&node(), 9));
            file.text()
        }),
        ("timestamp-of-cosigned", "unreadable", "the hash of a note with a line of somebody else", {
            let mut file = stamped();
            let cosigned = note(&node(), SIZE).cosign(&stranger, 1).expect("it is a good time");
            let cosigned = note(&node(), SIZE).with_signatures(&cosigned).expect("it is a line");
            file.timestamps[0].imprint = Hash::of(cosigned.as_str().as_bytes());
            file.text()
        }),
        ("glued", "unreadable", "two files in one", format!("{text}{text}")),
    ];
    for (mutation, expect, comment, input) in cases {
        w.add("proof", mutation, &Vector::new(expect, comment).text(&input));
    }
}

fn encoded(entry: &ProofEntry) -> String {
    let mut out = Vec::new();
    entry.encode(&mut out);
    String::from_utf8(out).expect("lines are UTF-8").trim_end().to_owned()
}

/// What is no proof file.
fn of_the_text(w: &mut Writer) {
    let text = File::history().text();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (unreadable, newer) = ("unreadable", "newer version");
    for (mutation, expect, comment, input) in [
        ("no-last-line", "truncated", "the last line is missing", lines[..3].concat()),
        ("no-first-line", unreadable, "the first line is missing", lines[1..].concat()),
        ("nothing", unreadable, "no line at all", String::new()),
        ("behind-the-end", unreadable, "an entry behind the last line", format!("{text}{}", lines[1])),
        ("line-removed", unreadable, "fewer lines than the last one counts", [lines[0], lines[1], lines[3]].concat()),
        ("digest", unreadable, "a space that is not in the digest", text.replacen("{\"place\":5", "{ \"place\":5", 1)),
        ("cek-without-payload", unreadable, "a cek and no payload", {
            let mut file = File::history();
            file.entries[1].2.payload = None;
            file.text()
        }),
        ("empty-earlier", unreadable, "an empty list", with(&text, 0, "\"card\":", "\"earlier\":[],\"card\":")),
        ("empty-gap", unreadable, "an empty gap is left out", {
            framed_anew(&text, |n, line| {
                let Some((before, after)) = line.split_once("\"gap\":\"").filter(|_| n == 1) else {
                    return line.to_owned();
                };
                let (_, after) = after.split_once('"').expect("the string ends");
                format!("{before}\"gap\":\"\"{after}")
            })
        }),
        ("unknown-kind", unreadable, "a kind that is none", with(&text, 0, "\"history\"", "\"whole\"")),
        ("range-backwards", unreadable, "a range that ends before it begins", {
            with(&text, 0, "\"kind\":\"history\"", "\"kind\":\"range\",\"from\":3,\"to\":2")
        }),
        ("history-with-range", unreadable, "from belongs to a range", {
            with(&text, 0, "\"kind\":\"history\"", "\"kind\":\"history\",\"from\":3")
        }),
        (
            "unknown-member",
            unreadable,
            "a member that is not listed",
            with(&text, 1, "{\"place\"", "{\"x\":1,\"place\""),
        ),
        ("huge-place", unreadable, "a place that no ledger has", {
            with(&text, 2, "\"place\":9", "\"place\":9007199254740991")
        }),
        ("timestamp-empty", unreadable, "a token of no bytes", {
            let mut file = stamped();
            file.timestamps[0].token.clear();
            file.text()
        }),
        ("timestamp-huge", unreadable, "a token of 65537 bytes", {
            let mut file = stamped();
            file.timestamps[0].token = vec![0; 65_537];
            file.text()
        }),
        ("timestamps-many", unreadable, "17 timestamps", {
            let mut file = stamped();
            file.timestamps = vec![file.timestamps[0].clone(); 17];
            file.text()
        }),
        ("timestamp-without-imprint", unreadable, "a timestamp that is not said to be of anything", {
            framed_anew(&stamped().text(), |n, line| match line.split_once(",\"imprint\"") {
                Some((before, _)) if n == 1 => format!("{before}}}"),
                _ => line.to_owned(),
            })
        }),
        ("timestamp-behind-entry", unreadable, "a timestamp behind an entry", {
            let text = stamped().text();
            let lines: Vec<&str> = text.lines().collect();
            framed_anew(&text, |n, _| {
                lines[match n {
                    2 => 3,
                    3 => 2,
                    n => n,
                }]
                .to_owned()
            })
        }),
        ("newer", newer, "version 2", with(&text, 0, "\"thingdb_proof\":1", "\"thingdb_proof\":2")),
        ("newer-end", newer, "version 2 in the last line", text.replace("proof_end\":1", "proof_end\":2")),
    ] {
        w.add("proof", mutation, &Vector::new(expect, comment).text(&input));
    }
}

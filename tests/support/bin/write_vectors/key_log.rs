//! Key records, and key logs of several.

use thingdb_format::key_log::KeyLog;
use thingdb_format::key_record::{self, ACTION, KeyRecord, LedgerState, MAX_AS_OF, MEDIA_TYPE, Successor, promise};
use thingdb_format::{
    Actor, Body, Entry, Envelope, Fields, Hash, Header, KekPacket, Origin, Signature, SigningKey, Suite, ThingId, Time,
    envelope, line, payload, signature,
};
use thingdb_tests::key_log::logged;
use thingdb_tests::vector::Vector;

use crate::Writer;
use crate::key::{TIME, cek, kek, origin};

/// Test key. Never use it.
fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn hash(seed: u8) -> Hash {
    promise(&key(seed).actor())
}

const FIRST: u8 = 20;

fn first() -> Actor {
    key(FIRST).actor()
}

fn state(n: u8, size: u64) -> LedgerState {
    LedgerState { origin: Origin([n; 16]), size, root: Hash([n; 32]) }
}

fn successor(signer: u8, to: u8, next: Option<u8>) -> Successor {
    Successor::new(&key(to), &first(), &key(signer).actor(), next.map(hash))
}

fn introduced(next: Option<u8>) -> KeyRecord {
    KeyRecord::introduced("alice", first(), next.map(hash)).expect("the name is good")
}

fn rotated(signer: u8, to: u8, next: Option<u8>) -> KeyRecord {
    KeyRecord::Rotated(successor(signer, to, next))
}

fn revoked(signer: u8, of: u8, to: Option<u8>) -> KeyRecord {
    let to = to.map(|to| successor(signer, to, None));
    KeyRecord::revoked(key(of).actor(), vec![state(2, 7), state(1, 0)], "the laptop was stolen", to)
        .expect("it is a record")
}

pub(crate) fn key_record(w: &mut Writer) {
    let start = introduced(Some(31));
    let step = rotated(31, 21, Some(32));
    let revocation = revoked(31, FIRST, Some(21));
    for (mutation, comment, record) in [
        ("good-introduced", "an actor with a promised key", &start),
        ("good-introduced-alone", "no key is promised", &introduced(None)),
        ("good-rotated", "another key, and a promise", &step),
        ("good-rotated-last", "another key, and no promise", &rotated(31, 21, None)),
        ("good-revoked", "a key is revoked, another one follows", &revocation),
        ("good-revoked-ended", "a key is revoked, none follows", &revoked(31, FIRST, None)),
    ] {
        let next = record.next().map_or_else(|| "none".to_owned(), |next| next.to_string());
        let vector = Vector::new("ok", comment).with("kind", record.kind()).with("next", next);
        w.add("key-record", mutation, &vector.text(&record.to_json()));
    }
    let re = |record: &KeyRecord, from: &str, to: &str| {
        let text = record.to_json();
        assert!(text.contains(from), "{from} in {text}");
        text.replacen(from, to, 1)
    };
    let (json, range) = ("json", "out-of-range");
    let (low, high) = (state(1, 0), state(2, 7));
    let spelt = |state: &LedgerState| {
        format!("{{\"origin\":\"{}\",\"size\":{},\"root\":\"{}\"}}", state.origin, state.size, state.root)
    };
    let both = format!("[{},{}]", spelt(&low), spelt(&high));
    let many: Vec<String> = (0..=MAX_AS_OF as u64).map(|size| spelt(&state(1, size))).collect();
    let hex = first().to_string();
    let of = |seed: u8| key(seed).actor().to_string();
    let cases = [
        ("v-2", "newer-version", "version 2", re(&start, "\"v\":1", "\"v\":2")),
        ("no-v", json, "without a version", re(&start, "\"v\":1,", "")),
        ("no-kind", json, "without a kind", re(&start, "\"kind\":\"introduced\",", "")),
        ("unknown-kind", "malformed", "a kind that is none", re(&start, "introduced", "renounced")),
        ("unknown-member", json, "a member that is none", re(&start, "{", "{\"note\":\"x\",")),
        ("repeated-next", json, "a member is there twice", re(&start, "{", &format!("{{\"next\":\"{hex}\","))),
        ("introduced-without-name", json, "without a name", re(&start, "\"name\":\"alice\",", "")),
        (
            "introduced-with-proof",
            json,
            "a member of another kind",
            re(&start, "{", "{\"proof\":\"\",")
                .replace("\"proof\":\"\"", &format!("\"proof\":\"{}\"", "A".repeat(86) + "==")),
        ),
        ("introduced-with-reason", json, "a member of another kind", re(&start, "{", "{\"reason\":\"x\",")),
        ("empty-name", range, "a name without a letter", re(&start, "alice", "")),
        ("long-name", range, "129 bytes of name", re(&start, "alice", &"x".repeat(129))),
        ("control-in-name", "text", "a line feed in the name", re(&start, "alice", "al\\nice")),
        ("null-next", json, "null is no string", re(&start, &format!("\"{}\"", hash(31)), "null")),
        ("short-key", "malformed", "a key of 31 bytes", re(&start, &hex, &hex[2..])),
        ("upper-case-key", "malformed", "a key in upper case", re(&start, &hex, &hex.to_uppercase())),
        ("rotated-with-name", json, "a member of another kind", re(&step, "{", "{\"name\":\"bob\",")),
        ("rotated-without-key", json, "without a key", re(&step, &format!("\"key\":\"{}\",", of(21)), "")),
        ("rotated-without-proof", json, "the new key signs nothing", {
            let text = step.to_json();
            let (before, rest) = text.split_once(",\"proof\":\"").expect("it is there");
            format!("{before}{}", rest.split_once('"').expect("it ends").1)
        }),
        ("short-proof", range, "a proof of three bytes", {
            let text = step.to_json();
            let (before, rest) = text.split_once("\"proof\":\"").expect("it is there");
            format!("{before}\"proof\":\"AAAA\"{}", rest.split_once('"').expect("it ends").1)
        }),
        ("revoked-without-key-with-next", json, "none follows, and one is promised", {
            re(&revoked(31, FIRST, None), "\"reason\"", &format!("\"next\":\"{hex}\",\"reason\""))
        }),
        ("revoked-without-reason", json, "without a reason", {
            re(&revocation, "\"reason\":\"the laptop was stolen\",", "")
        }),
        ("empty-reason", range, "a reason without a letter", re(&revocation, "the laptop was stolen", "")),
        ("control-in-reason", "text", "a tab in the reason", re(&revocation, "laptop ", "laptop\\t")),
        ("empty-as-of", range, "no state of a ledger", re(&revocation, &both, "[]")),
        ("many-as-of", json, "257 states of ledgers", re(&revocation, &both, &format!("[{}]", many.join(",")))),
        ("descending-as-of", "not-ascending", "the greater origin first", {
            re(&revocation, &both, &format!("[{},{}]", spelt(&high), spelt(&low)))
        }),
        ("repeated-as-of", "not-ascending", "a state is there twice", {
            re(&revocation, &both, &format!("[{},{}]", spelt(&low), spelt(&low)))
        }),
        ("large-size", range, "a size of 2^53", re(&revocation, "\"size\":7", "\"size\":9007199254740992")),
        ("state-without-root", json, "a state without a root", {
            re(&revocation, &format!(",\"root\":\"{}\"", Hash([1; 32])), "")
        }),
        ("array", json, "an array", format!("[{}]", start.to_json())),
        ("two-objects", json, "something behind it", format!("{}{{}}", start.to_json())),
        ("line-feed-behind", json, "a line feed at the end", format!("{}\n", start.to_json())),
    ];
    for (mutation, expect, comment, input) in cases {
        w.add("key-record", mutation, &Vector::new(expect, comment).text(&input));
    }
}

/// An entry in the log of the first key.
fn entry(thing: &ThingId, body: Body, signer: u8, prev: &[&Entry]) -> Entry {
    let sealed = payload::seal(Suite::Aes256Gcm, &cek(), body).expect("it is small");
    let seq = 1 + prev.iter().map(|prev| prev.header.seq).max().unwrap_or(0);
    let mut ids: Vec<_> = prev.iter().map(|prev| prev.id()).collect();
    ids.sort_unstable();
    let header = Header::new(Fields {
        suite: Suite::Aes256Gcm,
        thing: thing.clone(),
        seq,
        time: Time::from_micros(TIME + seq).expect("it is a good time"),
        origin: origin(),
        actor: key(signer).actor(),
        prev: ids,
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: u32::try_from(sealed.payload.len()).expect("it is small"),
    })
    .expect("the fields go together");
    let signature = Signature::Single(signature::sign_single(&key(signer), &header.to_bytes()));
    let mut entry = Entry { header, signature, payload: Some(sealed.payload), envelopes: vec![] };
    let cek = envelope::seal_cek(&kek(), &entry.id(), &cek());
    entry.envelopes.push(Envelope::new(origin(), cek, vec![KekPacket::public(&kek())]).expect("it is one packet"));
    entry
}

fn step(record: &KeyRecord, signer: u8, prev: &[&Entry]) -> Entry {
    let body = Body::new("alice", ACTION, MEDIA_TYPE, record.to_json().as_bytes()).expect("the body is good");
    entry(&key_record::thing(&first()), body, signer, prev)
}

fn text(entries: &[&Entry]) -> String {
    let mut out = Vec::new();
    for entry in entries {
        line::encode(entry, &mut out);
    }
    String::from_utf8(out).expect("lines are UTF-8")
}

pub(crate) fn key_log(w: &mut Writer) {
    let start = step(&introduced(Some(31)), FIRST, &[]);
    let theirs = step(&introduced(Some(66)), FIRST, &[]);
    let second = step(&rotated(31, 21, Some(32)), 31, &[&start]);
    let revocation = step(&revoked(31, FIRST, Some(21)), 31, &[&start]);
    let ended = step(&revoked(31, FIRST, None), 31, &[&start]);
    let late = step(&revoked(32, FIRST, Some(22)), 32, &[&second]);
    let theft = step(&rotated(66, 67, None), 66, &[&theirs]);
    let by_today = step(&rotated(FIRST, 67, None), FIRST, &[&start]);
    let by_new = step(&rotated(21, 67, None), 21, &[&second]);
    let known = step(&rotated(32, FIRST, None), 32, &[&second]);
    let unlinked = step(&rotated(32, 22, None), 32, &[&start]);
    let cases: [(&str, &str, Vec<&Entry>); 13] = [
        ("introduced", "one key", vec![&start]),
        ("rotated", "the promised key names another one", vec![&start, &second]),
        ("revoked", "the first key is revoked", vec![&start, &revocation]),
        ("ended", "the first key is revoked, and none follows", vec![&start, &ended]),
        ("revoked-later", "a key is revoked that was replaced before", vec![&start, &second, &late]),
        ("thief-of-today", "the key of today cannot take a step", vec![&start, &by_today]),
        ("thief-of-new", "neither can the new one", vec![&start, &second, &by_new]),
        ("thief-introduces", "the stolen key introduces itself anew", vec![&start, &theirs, &theft]),
        ("thief-introduces-late", "after a step it changes nothing", vec![&start, &second, &theirs, &theft]),
        ("owner-after-thief", "the owner goes on, and people decide", vec![&start, &theirs, &second]),
        ("rivals", "two steps by the promised key", vec![&start, &second, &revocation]),
        ("known-key", "a key that the log had does not come back", vec![&start, &second, &known]),
        ("unlinked", "a step that does not follow the promise", vec![&start, &second, &unlinked]),
    ];
    for (mutation, comment, entries) in cases {
        let input = text(&entries);
        let records = logged(input.as_bytes()).expect("the entries are good");
        let log = KeyLog::resolve(&first(), &records).expect("it begins");
        let states: Vec<String> = log
            .keys()
            .iter()
            .map(|key| format!("{key}={}", log.state(key).expect("it is one of them").as_str()))
            .collect();
        let believed = log.keys().iter().filter(|key| log.succeeds(key, &first())).count();
        let vector = Vector::new("ok", comment).with("states", states.join(" "));
        let vector = vector.with("rivals", log.rivals().len()).with("successors", believed);
        w.add("key-log", mutation, &vector.text(&input));
    }
    let data = introduced(None).to_json();
    let log = key_record::thing(&first());
    let body = |action: &str, media_type: &str, data: &str| {
        Body::new("alice", action, media_type, data.as_bytes()).expect("the body is good")
    };
    let other = key_record::thing(&key(21).actor());
    let plain = ThingId::new("part-42").expect("it is a good id");
    let mut stub = start.clone();
    (stub.payload, stub.envelopes) = (None, vec![]);
    let mut sealed = start.clone();
    sealed.envelopes.clear();
    let foreign = Successor::new(&key(21), &key(22).actor(), &key(31).actor(), None);
    let swapped = Successor::new(&key(21), &first(), &key(32).actor(), None);
    let malformed = "malformed";
    let cases = [
        ("other-log", malformed, "the record in the log of another key", {
            entry(&other, body(ACTION, MEDIA_TYPE, &data), FIRST, &[])
        }),
        ("other-thing", malformed, "the record in an ordinary thing", {
            entry(&plain, body(ACTION, MEDIA_TYPE, &data), FIRST, &[])
        }),
        ("other-signer", malformed, "another key introduces it", {
            entry(&log, body(ACTION, MEDIA_TYPE, &data), 21, &[])
        }),
        ("other-action", malformed, "an update", entry(&log, body("update", MEDIA_TYPE, &data), FIRST, &[])),
        ("other-media-type", malformed, "JSON", entry(&log, body(ACTION, "application/json", &data), FIRST, &[])),
        ("introduced-late", malformed, "an introduction behind another one", step(&introduced(None), FIRST, &[&start])),
        ("rotated-first", malformed, "a step without a log before it", step(&rotated(31, 21, None), 31, &[])),
        ("stub", malformed, "a record that nobody can read", stub),
        ("sealed", malformed, "a record without a public packet", sealed),
        ("proof-of-other-log", "bad-signature", "the new key follows in another log", {
            step(&KeyRecord::Rotated(foreign), 31, &[&start])
        }),
        ("proof-for-other-signer", "bad-signature", "the new key follows by another record", {
            step(&KeyRecord::Rotated(swapped), 31, &[&start])
        }),
    ];
    for (mutation, expect, comment, entry) in cases {
        w.add("key-log", mutation, &Vector::new(expect, comment).text(&text(&[&entry])));
    }
}

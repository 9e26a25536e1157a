//! The way in from the Python prototype: every entry comes with its original,
//! to the byte; what is damaged, forged or foreign is left out and named.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thingdb::{
    ActorOutcome, ChainVerdict, Db, Draft, EntryId, ExportOptions, Form, ImportOptions, JSON, KdfChoice,
    MigrateOptions, MigrateReport, ORIGINAL, Options, PYTHON_JSON, Passphrase, Report, Scope, Time, TokenRefusal,
    Verdict, VerifyOptions,
};
use thingdb_tests::prototype::{OldActor, Prototype};

const OLD: &str = "old päss";

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

fn database(dir: &Path) -> Db {
    Options::new().kdf(KdfChoice::weakest()).create(dir.join("db"), &passphrase()).unwrap()
}

fn migrate(db: &Db, dir: &Path) -> MigrateReport {
    db.migrate(dir, &Passphrase::new(OLD), MigrateOptions::new()).unwrap()
}

fn verify(db: &Db) -> Report {
    db.verify(VerifyOptions::new()).unwrap()
}

fn verdicts(report: &MigrateReport) -> BTreeMap<&str, ChainVerdict> {
    report.original.chains.iter().map(|chain| (chain.thing.as_str(), chain.verdict)).collect()
}

fn counts(report: &MigrateReport) -> (u64, u64, u64, u64) {
    assert_eq!(report.refused.len() as u64, report.refused_total);
    (report.entries, report.migrated, report.known, report.refused_total)
}

fn refusals(report: &MigrateReport) -> Vec<(u64, &str)> {
    report.refused.iter().map(|refused| (refused.line, refused.reason.as_str())).collect()
}

/// Data as the prototype spelled it, and whether it is JSON.
const DATA: [(&str, bool); 14] = [
    ("1e-07", true),
    ("[1e+22,-0.0,1.0,5e-324]", true),
    ("[9007199254740993,18446744073709551616,-12345678901234567890123456789]", true),
    (r#"{"gr\u00f6\u00dfe":"\ud83d\ude80","\u043a\u043b\u044e\u0447":1}"#, true),
    (r#"{"a":"quote\" back\\slash \n\t\u0001 / \u2028"}"#, true),
    (r#"{"data":{"pubkey":"x","signature":"y"},"x":",\"pubkey\":\"k\",\"signature\":\"s\""}"#, true),
    ("null", true),
    ("\"\"", true),
    ("{}", true),
    ("NaN", false),
    (r#"{"a":[Infinity,-Infinity]}"#, false),
    // A lone surrogate, which is no text.
    (r#""\ud800""#, false),
    // More than a float holds, as no reader of ours would take it.
    ("[1e400]", false),
    (r#"{"f":[0.1,1e+16,1.7976931348623157e+308]}"#, true),
];

#[test]
fn data_comes_over_as_it_was_spelled_in_both_forms() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let (alice, bob) = (OldActor::new("alice"), OldActor::new("böb"));
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    let mut document = String::new();
    for (number, (data, _)) in DATA.iter().enumerate() {
        prototype.legacy(&alice, "düse/ß 2", if number == 0 { "create" } else { "update" }, data);
        prototype.envelope(&bob, "valve-7", "inspect", data);
        document = bob.sign("other", "create", data, None);
    }
    // From another node, for which this one has another name.
    let (line, _) = prototype.seal_from_elsewhere(&document, "node-b");
    prototype.lines.push(line);
    prototype.save();
    let db = database(tmp.path());
    let report = migrate(&db, &old);
    assert_eq!(refusals(&report), []);
    assert_eq!(counts(&report), (29, 29, 0, 0));
    assert_eq!((report.things, report.original.signatures_good, report.original.signatures_bad), (3, 29, 0));
    let expected = [("düse/ß 2", ChainVerdict::Absent), ("other", ChainVerdict::Good), ("valve-7", ChainVerdict::Good)];
    assert_eq!(verdicts(&report), BTreeMap::from(expected));
    for thing in ["düse/ß 2", "valve-7"] {
        for ((data, is_json), record) in DATA.iter().zip(db.history(thing).unwrap()) {
            let record = record.unwrap();
            assert_eq!(record.data(), Some(data.as_bytes()));
            assert_eq!(record.media_type(), Some(if *is_json { JSON } else { PYTHON_JSON }), "{data}");
            assert_eq!(record.actor_name(), Some("owner"));
            let original = record.original().unwrap();
            assert!(original.document.contains(data));
            let form = if thing == "valve-7" { Form::Envelope } else { Form::Legacy };
            assert_eq!((original.form, original.prev_hash.is_some()), (form, thing == "valve-7" && record.seq() > 1));
            assert_eq!(original.line, (record.seq() - 1) * 2 + if form == Form::Legacy { 1 } else { 2 });
            assert_eq!(original.actor_name().as_deref(), Some(if form == Form::Legacy { "alice" } else { "böb" }));
        }
    }
    assert_eq!(db.get_seq("valve-7", 3).unwrap()[0].action(), Some("inspect"));
    let report = verify(&db);
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!(report.original.unwrap().chains, migrate(&db, &old).original.chains);
}

/// Of the entries that count until `time` the one that is latest here.
fn expected_at(db: &Db, thing: &str, time: Time) -> Option<EntryId> {
    let records = db.history(thing).unwrap().map(|record| record.unwrap());
    let counting = records.filter(|record| record.dated() <= time);
    counting.max_by_key(|record| (record.time(), record.seq(), record.id())).map(|record| record.id())
}

/// A migrated entry counts by the time of its original, in a line and where the
/// thing has forked, here and on a node that got it from here.
#[test]
fn as_of_a_time_migrated_entries_count_by_their_originals() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let bob = OldActor::new("bob");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    let time = |text: &str| text.parse::<Time>().unwrap();
    // The clock of the old node once went back; a time without a fraction, one
    // with an offset, and one that lies in the future of everybody.
    let times =
        ["2024-03-01T10:00:00Z", "2024-03-02T10:00:00.5Z", "2024-03-02T09:00:00+00:00", "2024-03-05T01:00:00+02:00"];
    for (n, at) in times.iter().enumerate() {
        for thing in ["line", "forked"] {
            let line = prototype.seal_legacy(&bob.sign_at(at, thing, "update", &n.to_string(), None));
            prototype.lines.push(line);
        }
    }
    let line = prototype.seal_legacy(&bob.sign_at("2999-01-01T00:00:00Z", "ahead", "create", "1", None));
    prototype.lines.push(line);
    prototype.save();
    let db = database(tmp.path());
    db.put("forked", "\"native\"").unwrap();
    assert_eq!(migrate(&db, &old).migrated, 9);
    db.put("line", "\"later\"").unwrap();
    // What is migrated later still counts by its original.
    let line = prototype.seal_legacy(&bob.sign_at("2024-03-03T00:00:00Z", "line", "update", "9", None));
    prototype.lines.push(line);
    prototype.save();
    assert_eq!(migrate(&db, &old).migrated, 1);

    let data = |db: &Db, thing: &str, at: &str| {
        let record = db.get_at(thing, time(at)).unwrap();
        record.map(|record| String::from_utf8(record.data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(data(&db, "line", "2024-03-01T09:59:59.999999Z"), None);
    assert_eq!(data(&db, "line", "2024-03-01T10:00:00.000000Z").as_deref(), Some("0"));
    assert_eq!(data(&db, "line", "2024-03-02T09:30:00.000000Z").as_deref(), Some("2"));
    assert_eq!(data(&db, "line", "2024-03-02T10:00:00.500000Z").as_deref(), Some("2"), "it follows the other");
    assert_eq!(data(&db, "line", "2024-03-04T00:00:00.000000Z").as_deref(), Some("9"));
    // An original that is younger than its entry counts by the entry.
    let ahead = db.get("ahead").unwrap().unwrap();
    assert_eq!(
        (ahead.dated(), ahead.original().unwrap().time()),
        (ahead.time(), Some(time("2999-01-01T00:00:00.000000Z")))
    );
    let checked = ahead.checked_original().unwrap();
    assert_eq!((checked.actor_name.as_deref(), checked.is_trusted, checked.fault), (Some("bob"), false, None));

    let twin = {
        let dir = tmp.path().join("twin");
        let twin = Options::new().kdf(KdfChoice::weakest()).create(&dir, &passphrase()).unwrap();
        twin.add_peer("here", &db.card().unwrap()).unwrap();
        db.add_peer("twin", &twin.card().unwrap()).unwrap();
        db.share_prefix("", &["twin".to_owned()], 0).unwrap();
        // It writes the same thing apart.
        twin.put("forked", "\"apart\"").unwrap();
        let mut stream = Vec::new();
        db.export(ExportOptions::new(), &mut stream).unwrap();
        twin.import(ImportOptions::new(), &stream[..]).unwrap();
        twin
    };
    assert_eq!(twin.heads("forked").unwrap().len(), 2);
    let close_and_open = |db: Db, name: &str| {
        db.close().unwrap();
        Db::open(tmp.path().join(name), &passphrase()).unwrap()
    };
    for db in [close_and_open(db, "db"), close_and_open(twin, "twin")] {
        for thing in ["line", "forked", "ahead"] {
            let mut moments: Vec<Time> = db.history(thing).unwrap().map(|record| record.unwrap().dated()).collect();
            moments.extend(moments.clone().iter().map(|time| Time::from_micros(time.micros() - 1).unwrap()));
            moments.extend(db.history(thing).unwrap().map(|record| record.unwrap().time()));
            for moment in moments {
                let found = db.get_at(thing, moment).unwrap().map(|record| record.id());
                assert_eq!(found, expected_at(&db, thing, moment), "{thing} at {moment}");
            }
            let latest = db.get(thing).unwrap().unwrap().id();
            assert_eq!(db.get_at(thing, Time::MAX).unwrap().unwrap().id(), latest, "{thing}");
        }
    }
}

/// Who migrates could invent an original: one that does not hold dates nothing
/// back.
#[test]
fn an_original_that_does_not_hold_dates_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (old, bob) = (tmp.path().join("old"), OldActor::new("bob"));
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    let line = prototype.seal_legacy(&bob.sign_at("2024-03-01T10:00:00Z", "x", "create", "1", None));
    prototype.lines.push(line);
    prototype.save();
    let db = database(tmp.path());
    migrate(&db, &old);
    let good = db.get("x").unwrap().unwrap();
    let kept = String::from_utf8(good.attachment().unwrap().bytes.to_vec()).unwrap();
    for bad in
        [kept.replace("2024-03-01", "2024-02-01"), kept.replace("\"version\":1", "\"version\":7"), "{}".to_owned()]
    {
        assert_ne!(bad, kept);
        let draft = Draft::json("x", "1").unwrap().attach(ORIGINAL, bad.into_bytes());
        db.write(draft).unwrap();
        let forged = db.get("x").unwrap().unwrap();
        assert_eq!(forged.dated(), forged.time());
        assert!(forged.checked_original().unwrap().fault.is_some());
        let then = db.get_at("x", "2024-03-02T00:00:00.000000Z".parse().unwrap()).unwrap().unwrap();
        assert_eq!(then.id(), good.id());
        assert!(db.get_at("x", "2024-02-02T00:00:00.000000Z".parse().unwrap()).unwrap().is_none());
    }
    // Nor does a good one on another thing, or with other data.
    for draft in [Draft::json("y", "1"), Draft::json("x", "2")] {
        let draft = draft.unwrap().attach(ORIGINAL, kept.clone().into_bytes());
        let receipt = db.write(draft).unwrap();
        let forged = db.get_id(&receipt.id).unwrap().unwrap();
        assert_eq!(forged.dated(), forged.time());
    }
}

#[test]
fn a_second_run_adds_only_what_is_new() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    prototype.legacy(&alice, "a", "create", "1");
    prototype.envelope(&alice, "b", "create", "2");
    // The same line twice is one entry.
    prototype.lines.push(prototype.lines[0].clone());
    prototype.save();
    let db = database(tmp.path());
    let dry = db.migrate(&old, &Passphrase::new(OLD), MigrateOptions::new().dry_run(true)).unwrap();
    assert_eq!((counts(&dry), db.stats().unwrap().entries, dry.dry_run), ((3, 2, 1, 0), 0, true));
    assert_eq!(counts(&migrate(&db, &old)), (3, 2, 1, 0));
    prototype.envelope(&alice, "b", "update", "3");
    // The same document, sealed anew: another entry, for all the prototype knew.
    let again = prototype.seal_legacy(&alice.sign("a", "create", "1", None));
    prototype.lines.push(again);
    prototype.save();
    let report = migrate(&db, &old);
    assert_eq!(counts(&report), (5, 2, 3, 0));
    assert_eq!(verdicts(&report)["b"], ChainVerdict::Good);
    assert_eq!(counts(&migrate(&db, &old)), (5, 0, 5, 0));
    assert_eq!(db.stats().unwrap().entries, 4);
    let report = verify(&db);
    assert!(report.is_ok());
    assert_eq!(report.original.unwrap().signatures_good, 4);
}

#[test]
fn lines_that_are_torn_glued_or_garbage_are_listed_and_the_rest_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    for number in 0..4 {
        prototype.envelope(&alice, "x", "put", &number.to_string());
        prototype.legacy(&alice, "y", "put", &number.to_string());
    }
    let good = std::mem::take(&mut prototype.lines);
    let torn = |line: &str| line[..line.len() / 2].to_owned();
    prototype.lines = vec![
        good[0].clone(),
        String::new(),
        format!("{}{}", good[1], good[2]),
        "no json".into(),
        format!("{}{}", torn(&good[3]), good[4]),
        r#"{"nonce": "x", "ciphertext": "y"}"#.into(),
        r#"{"other": 1}"#.into(),
        format!("\u{feff}{}", good[5]),
        format!("{} {}", good[6], torn(&good[7])),
        torn(&good[0]),
    ];
    prototype.save();
    let mut bytes = fs::read(old.join("ledger.ndjson")).unwrap();
    bytes.extend_from_slice(b"\xff\xfe{\n");
    bytes.extend_from_slice(good[7].as_bytes());
    fs::write(old.join("ledger.ndjson"), bytes).unwrap();
    let db = database(tmp.path());
    let report = migrate(&db, &old);
    let lines: Vec<u64> = report.refused.iter().map(|refused| refused.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8, 9, 10, 11], "{:?}", report.refused);
    assert_eq!(report.migrated, 7);
    assert_eq!(verdicts(&report)["x"], ChainVerdict::Good);
    let data = db.history("y").unwrap().map(|record| record.unwrap().data().unwrap().to_vec());
    assert_eq!(data.collect::<Vec<_>>(), [b"0", b"2", b"3"]);
    for (line, says) in [(4, "not JSON"), (5, "torn"), (6, "nonce"), (7, "neither form"), (10, "torn")] {
        let found = refusals(&report).into_iter().find(|(at, _)| *at == line).unwrap().1;
        assert!(found.contains(says), "{line}: {found}");
    }
    assert!(verify(&db).is_ok());
}

#[test]
fn what_was_tampered_with_is_refused_and_named() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let (alice, bob) = (OldActor::new("alice"), OldActor::new("bob"));
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    let good = alice.sign("x", "put", r#"{"t":20.5}"#, None);
    let other = bob.sign("x", "put", r#"{"t":20.5}"#, None);
    let member = |text: &str, name: &str| {
        let from = text.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
        text[from..from + text[from..].find('"').unwrap()].to_owned()
    };
    let swap = |name: &str| good.replace(&member(&good, name), &member(&other, name));
    let weak = {
        let mut key = [0; 32];
        key[0] = 1;
        good.replace(&member(&good, "pubkey"), &data_encoding::BASE64.encode(&key))
    };
    let tampered: Vec<(String, &str)> = vec![
        (good.replace("20.5", "21.5"), "its data has the hash"),
        (good.replace("20.5", "2.05e+1"), "its data has the hash"),
        (swap("signature"), "signature"),
        (swap("pubkey"), "signature"),
        (good.replace("\"put\"", "\"get\""), "signature"),
        (good.replace("\"prev_hash\":null", &format!("\"prev_hash\":\"{}\"", "ab".repeat(32))), "signature"),
        (good.replace("\"x\"", "\"y\""), "signature"),
        (weak, "small order"),
        (good.replace(":null", ": null"), "canonical"),
        (good.replace("{\"action\"", "{\"a\":1,\"action\""), "signature"),
        (good.replace("\"data\":", "\"data\":1,\"data\":"), "ascend"),
        (good.replace("\"data\":", "\"dat\\u0061\":1,\"data\":"), "escapes"),
        (alice.sign("", "put", "1", None), "thing"),
        (alice.sign(&"x".repeat(513), "put", "1", None), "513"),
        (alice.sign("a\nb", "put", "1", None), "control"),
        (alice.sign("x", "put", "[1,]", None), "canonical"),
        ("[]".into(), "canonical"),
        ("\u{e9}".into(), "canonical"),
    ];
    prototype.lines = tampered.iter().map(|(document, _)| prototype.seal_legacy(document)).collect();
    let (envelope, _) = prototype.seal_envelope(&good);
    let count = tampered.len() as u64;
    prototype.lines.push(prototype.seal_legacy(&good));
    let mut flipped = prototype.seal_legacy(&good);
    let at = flipped.len() - 20;
    let digit = if &flipped[at..=at] == "A" { "B" } else { "A" };
    flipped.replace_range(at..=at, digit);
    prototype.lines.push(flipped);
    prototype.lines.push(envelope.replacen("\"payload\": {\"nonce\": \"", "\"payload\": {\"nonce\": \"AAAA", 1));
    prototype.lines.push(prototype.seal_to_stranger(&good));
    prototype.save();
    let db = database(tmp.path());
    let report = migrate(&db, &old);
    assert_eq!(counts(&report), (count + 4, 1, 0, count + 3));
    for ((line, reason), (document, says)) in refusals(&report).into_iter().zip(&tampered) {
        assert!(reason.contains(says), "line {line}: {reason} does not say {says}: {document}");
    }
    let last = refusals(&report);
    assert!(last[last.len() - 3].1.contains("does not open"), "{last:?}");
    assert!(last[last.len() - 2].1.contains("nonce"), "{last:?}");
    assert!(last[last.len() - 1].1.contains("sealed to stranger and not to this node"), "{last:?}");
    assert_eq!(report.original.signatures_bad, 9);
    assert!(verify(&db).is_ok());
}

#[test]
fn chains_of_the_prototype_are_reported_apart_and_again_by_verify() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    for thing in ["good", "lost", "swapped"] {
        for number in 0..4 {
            prototype.envelope(&alice, thing, "put", &number.to_string());
        }
    }
    prototype.lines.swap(9, 10);
    prototype.lines.remove(5);
    prototype.envelope(&alice, "forked", "create", "1");
    let prev = prototype.head("forked");
    prototype.envelope(&alice, "forked", "update", "2");
    prototype.envelope_after(prev.as_deref(), &alice, "forked", "update", "3");
    prototype.envelope(&alice, "forked", "update", "4");
    for _ in 0..2 {
        prototype.envelope_after(None, &alice, "begun twice", "create", "1");
    }
    prototype.envelope(&alice, "wrong", "create", "1");
    prototype.envelope_after(Some(&"ab".repeat(32)), &alice, "wrong", "update", "1");
    prototype.legacy(&alice, "legacy", "create", "1");
    prototype.save();
    let db = database(tmp.path());
    let report = migrate(&db, &old);
    assert_eq!(refusals(&report), []);
    let expected = [
        ("begun twice", ChainVerdict::Forked),
        ("forked", ChainVerdict::Forked),
        ("good", ChainVerdict::Good),
        ("legacy", ChainVerdict::Absent),
        ("lost", ChainVerdict::Broken),
        ("swapped", ChainVerdict::Broken),
        ("wrong", ChainVerdict::Broken),
    ];
    assert_eq!(verdicts(&report), BTreeMap::from(expected));
    let detail = report.original.chains.iter().find(|chain| chain.thing.as_str() == "wrong").unwrap().detail.clone();
    assert!(detail.unwrap().contains(&"ab".repeat(32)));
    // What the prototype lost is no fault of this ledger.
    let verified = verify(&db);
    assert!(verified.is_ok());
    assert_eq!(verified.original.unwrap(), report.original);
    for chain in &report.original.chains {
        let of_thing = db.verify(VerifyOptions::new().thing(chain.thing.as_str())).unwrap().original.unwrap();
        assert_eq!((of_thing.signatures_good, &of_thing.chains), (chain.entries, &vec![chain.clone()]));
    }
}

#[test]
fn entries_that_are_not_what_their_original_says_are_bad_originals() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.legacy(&alice, "x", "create", "20.1");
    prototype.save();
    let db = database(tmp.path());
    assert!(verify(&db).original.is_none());
    migrate(&db, &old);
    let kept = db.get("x").unwrap().unwrap().attachment().unwrap().bytes.to_vec();
    let text = String::from_utf8(kept.clone()).unwrap();
    let forged = [
        ("x", "21.1", text.clone()),
        ("y", "20.1", text.clone()),
        ("x", "21.1", text.replace("20.1", "21.1")),
        ("x", "20.1", text.replace("\"prev_hash\":null", &format!("\"prev_hash\":\"{}\"", "ab".repeat(32)))),
        ("x", "20.1", text.replace("update", "create").replace("alice", "mallory")),
        ("x", "20.1", text.replace("\"version\":1", "\"version\":2")),
        ("x", "20.1", "{}".to_owned()),
        ("x", "20.1", String::new()),
    ];
    let count = forged.len();
    for (thing, data, attachment) in forged {
        db.write(Draft::bytes(thing, JSON, data).unwrap().attach(ORIGINAL, attachment)).unwrap();
    }
    let report = verify(&db);
    assert!(!report.is_ok());
    assert_eq!(report.problems.len(), count);
    assert!(report.problems.iter().all(|problem| problem.verdict == Verdict::BadOriginal), "{:?}", report.problems);
    let original = report.original.unwrap();
    assert_eq!((original.signatures_good, original.signatures_bad), (1, count as u64));
    // Nor does a forged original hide a good one.
    let fresh = tmp.path().join("fresh");
    fs::create_dir(&fresh).unwrap();
    let db = database(&fresh);
    db.write(Draft::bytes("x", JSON, "21.1").unwrap().attach(ORIGINAL, kept)).unwrap();
    assert_eq!(migrate(&db, &old).migrated, 1);
}

#[test]
fn migrated_entries_are_checked_wherever_they_go() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    for number in 0..3 {
        prototype.envelope(&alice, "x", "put", &number.to_string());
    }
    prototype.save();
    let a = database(tmp.path());
    let b = Options::new().actor("b").kdf(KdfChoice::weakest()).create(tmp.path().join("b"), &passphrase()).unwrap();
    a.add_peer("b", &b.card().unwrap()).unwrap();
    b.add_peer("a", &a.card().unwrap()).unwrap();
    migrate(&a, &old);
    a.share("x", &["b".to_owned()], 2).unwrap();
    let mut stream = Vec::new();
    a.export(ExportOptions::new(), &mut stream).unwrap();
    let summary = b.import(ImportOptions::new(), &stream[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (3, 0), "{:?}", summary.reasons);
    let report = verify(&b);
    assert!(report.is_ok(), "{:?}", report.problems);
    let original = report.original.unwrap();
    assert_eq!((original.signatures_good, original.chains[0].verdict), (2, ChainVerdict::Unreadable));
}

#[test]
fn import_names_the_way_for_lines_of_the_prototype() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.legacy(&alice, "x", "create", "1");
    prototype.envelope(&alice, "y", "create", "1");
    let lines = prototype.lines.clone();
    let stream = format!("{}\n{}\n{}\n", lines[0], lines[1], serde_json::to_string(&lines).unwrap());
    let summary = database(tmp.path()).import(ImportOptions::new(), stream.as_bytes()).unwrap();
    assert_eq!((summary.added, summary.refused), (0, 3));
    assert!(summary.reasons.iter().all(|refusal| refusal.reason.contains("thingdb migrate DIR")));
}

#[test]
fn actors_peers_and_tokens_come_along_as_far_as_they_can() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let [alice, bob, carol, dave, owner] = ["alice", "bob", "carol", "dave", "owner"].map(OldActor::new);
    let mut prototype = Prototype::new(&old, OLD);
    prototype.save_node_key();
    prototype.legacy(&alice, "x", "create", "1");
    prototype.save();
    // The name of alice stands in what she signed, that of bob in the file.
    prototype.save_key("actor_key.enc", alice.pem().as_bytes());
    prototype.save_key("actor_bob.enc", bob.pem().as_bytes());
    prototype.save_key("press-7.enc", carol.pem().as_bytes());
    prototype.save_file("actor_key.pem", &dave.pem());
    prototype.save_key("owner.enc", owner.pem().as_bytes());
    prototype.save_key("other.enc", b"no key");
    prototype.save_file("broken.enc", "short");
    prototype.save_file(
        "peers.json",
        r#"{"nodeB": {"x25519_pub": "Yg/SSO5a/K3SU0MHE9ppL4lIftjuFsYQ1ryPSHBzOGg=", "meta": {}}, "odd": null}"#,
    );
    prototype.save_file(
        "tokens.json",
        r#"{"tok-a-long-secret-1": {"name": "t", "scopes": ["export", "fly"]},
            "tok-a-long-secret-2": {"name": "t", "scopes": []},
            "tok-a-long-secret-3": {"scopes": ["import"], "expires_at": 1000.5},
            "tok-a-long-secret-4": {"scopes": ["import"], "expires_at": "soon"},
            "tok-short": {"name": "u", "scopes": ["export"]}}"#,
    );
    let db = database(tmp.path());
    let dry = db.migrate(&old, &Passphrase::new(OLD), MigrateOptions::new().dry_run(true)).unwrap();
    assert_eq!(db.own_actors().len(), 1);
    let report = migrate(&db, &old);
    assert_eq!(report.actors, dry.actors);
    let told: Vec<(&str, Option<&str>, &str)> = report
        .actors
        .iter()
        .map(|actor| {
            let outcome = match &actor.outcome {
                ActorOutcome::Added => "added",
                ActorOutcome::Refused(reason) => reason,
                _ => "known",
            };
            (actor.file.as_str(), actor.name.as_deref(), outcome)
        })
        .collect();
    let expected = [
        ("actor_bob.enc", Some("bob"), "added"),
        ("actor_key.enc", Some("alice"), "added"),
        ("actor_key.pem", None, "neither its file nor an entry that it signed tells its name"),
        ("broken.enc", None, "it is too short to be a key"),
        ("other.enc", None, "it holds no Ed25519 key in PKCS#8"),
        ("owner.enc", Some("owner"), "another key goes by the name owner here"),
        ("press-7.enc", Some("press-7"), "added"),
    ];
    assert_eq!(told, expected);
    let own: Vec<String> = db.own_actors().into_iter().map(|actor| actor.name).collect();
    assert_eq!(own, ["owner", "bob", "alice", "press-7"]);
    assert_eq!(db.own_actors()[1].key.to_string(), bob.key());
    assert!(migrate(&db, &old).actors.iter().all(|actor| actor.outcome != ActorOutcome::Added));
    let peers: Vec<(&str, bool)> =
        report.peers.iter().map(|peer| (peer.name.as_str(), peer.encryption_key.is_some())).collect();
    assert_eq!(peers, [("nodeB", true), ("odd", false)]);
    assert_eq!((report.tokens, report.tokens_without_scopes), (5, 3));
    assert_eq!((dry.tokens, dry.tokens_without_scopes), (5, 3));
    let told: Vec<(String, String)> = db
        .tokens()
        .into_iter()
        .map(|token| (token.name, token.scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")))
        .collect();
    let expected =
        [("t", "export"), ("t (2)", ""), ("prototype token 3", "import"), ("prototype token 4", ""), ("u", "")];
    assert_eq!(told, expected.map(|(name, scopes)| (name.to_owned(), scopes.to_owned())));
    assert!(db.check_token("tok-a-long-secret-1").unwrap().allows(Scope::Export));
    assert_eq!(db.check_token("tok-a-long-secret-3"), Err(TokenRefusal::Expired));
    assert!(report.notes.iter().any(|note| note.contains("u: it has fewer than 16 bytes")), "{:?}", report.notes);
    assert!(!format!("{report:?}").contains("tok-"));
    // They sign like any other.
    db.write(Draft::json("x", "2").unwrap().actor("alice")).unwrap();
    assert!(verify(&db).is_ok());
}

#[test]
fn a_wrong_passphrase_and_a_wrong_directory_change_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let db = database(tmp.path());
    let wrong = Passphrase::new("wrong");
    for kind in ["legacy", "envelope"] {
        let old = tmp.path().join(kind);
        let mut prototype = Prototype::new(&old, OLD);
        if kind == "legacy" {
            prototype.legacy(&OldActor::new("alice"), "x", "create", "1");
        } else {
            prototype.save_node_key();
        }
        prototype.save();
        let problem = db.migrate(&old, &wrong, MigrateOptions::new()).unwrap_err();
        assert!(problem.is_wrong_passphrase(), "{kind}: {problem}");
    }
    let problem = db.migrate(tmp.path().join("db"), &wrong, MigrateOptions::new()).unwrap_err();
    assert!(problem.is_invalid_input(), "{problem}");
    assert_eq!(db.stats().unwrap().entries, 0);
    // Without the node's key the lines say so, one by one.
    let old = tmp.path().join("no-key");
    let mut prototype = Prototype::new(&old, OLD);
    prototype.envelope(&OldActor::new("alice"), "x", "create", "1");
    prototype.save();
    let report = migrate(&db, &old);
    assert_eq!(refusals(&report), [(1, "there is no node_x25519.enc to open it with")]);
}

#[test]
fn a_node_that_cannot_read_its_past_does_not_repeat_it() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let mut prototype = Prototype::new(&old, OLD);
    for number in 0..3 {
        prototype.legacy(&OldActor::new("alice"), "x", "put", &number.to_string());
    }
    prototype.save();
    let reader = database(tmp.path());
    let options = Options::new().kdf(KdfChoice::weakest()).write_only(true);
    let db = options.create(tmp.path().join("sensor"), &passphrase()).unwrap();
    db.add_peer("reader", &reader.card().unwrap()).unwrap();
    db.set_audience(thingdb::Audience { default: vec!["reader".into()], prefixes: vec![] }).unwrap();
    assert_eq!(counts(&migrate(&db, &old)), (3, 3, 0, 0));
    assert_eq!(counts(&migrate(&db, &old)), (3, 0, 0, 3));
    assert_eq!(db.stats().unwrap().entries, 3);
}

#[test]
fn many_entries_come_in_their_order() {
    let tmp = tempfile::tempdir().unwrap();
    let old = tmp.path().join("old");
    let alice = OldActor::new("alice");
    let mut prototype = Prototype::new(&old, OLD);
    for number in 0..2500 {
        prototype.legacy(&alice, &format!("t{}", number % 7), "put", &number.to_string());
    }
    prototype.save();
    let db = database(tmp.path());
    let mut last = 0;
    let mut progress = |progress: thingdb::Progress| last = progress.done;
    let options = MigrateOptions::new().progress(&mut progress);
    let report = db.migrate(&old, &Passphrase::new(OLD), options).unwrap();
    assert_eq!((counts(&report), last), ((2500, 2500, 0, 0), 2500));
    for first in 0..7 {
        let found = db.history(&format!("t{first}")).unwrap().map(|record| {
            let record = record.unwrap();
            assert_eq!(record.original().unwrap().line, record.position() + 1);
            String::from_utf8(record.data().unwrap().to_vec()).unwrap()
        });
        let expected: Vec<String> = (first..2500).step_by(7).map(|number: u32| number.to_string()).collect();
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
    assert!(verify(&db).is_ok());
}

/// The samples that the prototype itself wrote lie beside the repository, if
/// they are there.
fn samples() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    let samples = root.join("shared/prototype");
    samples.join("expected.json").is_file().then_some(samples)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_prototypes_own_directories_give_what_it_answers_itself() {
    let Some(samples) = samples() else {
        println!("skipped 1: the prototype's sample directories are not there");
        return;
    };
    let (expected, secrets) = (json(&samples.join("expected.json")), json(&samples.join("secrets.json")));
    for (dir, things) in expected.as_object().unwrap() {
        let name = dir.rsplit('/').next().unwrap();
        let old = Passphrase::new(secrets["passphrases"][name].as_str().unwrap());
        let tmp = tempfile::tempdir().unwrap();
        let db = database(tmp.path());
        let report = db.migrate(samples.join(dir), &old, MigrateOptions::new()).unwrap();
        let mut entries = 0;
        for (thing, answer) in things.as_object().unwrap() {
            let chain = answer["chain"].as_array().unwrap();
            assert_eq!(db.history(thing).unwrap().count(), chain.len(), "{dir} {thing}");
            for (record, expected) in db.history(thing).unwrap().zip(chain) {
                let record = record.unwrap();
                let original = record.original().unwrap();
                assert_eq!(original.ciphertext_hash.to_string(), expected["line_sha256_ct"]);
                assert_eq!(record.action(), expected["payload"]["action"].as_str());
                // The values, as far as this reader of JSON keeps them apart.
                assert_eq!(
                    serde_json::from_slice::<Value>(record.data().unwrap()).unwrap(),
                    expected["payload"]["data"]
                );
                assert_eq!(serde_json::from_str::<Value>(&original.document).unwrap(), expected["payload"]);
            }
            entries += chain.len() as u64;
            if let Some(last) = chain.last() {
                assert_eq!(last["payload"], answer["latest"]);
                let found = report.original.chains.iter().find(|chain| chain.thing.as_str() == thing).unwrap();
                let verdict = if dir == "legacy" { ChainVerdict::Absent } else { ChainVerdict::Good };
                assert_eq!(found.verdict, verdict);
            }
        }
        assert_eq!((report.migrated, report.original.signatures_good), (entries, entries), "{dir}");
        // One entry in one ledger is for another node alone.
        let refused = u64::from(dir.ends_with("/A"));
        assert_eq!(report.refused_total, refused, "{dir}: {:?}", report.refused);
        let report = verify(&db);
        assert!(report.is_ok(), "{dir}: {:?}", report.problems);
        assert_eq!(report.original.unwrap().signatures_good, entries);
    }
}

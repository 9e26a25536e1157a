//! Nodes share things: cards and peers, envelopes to an audience, readers who
//! come later, nodes that only write, forks and their proof.

use std::path::Path;

use thingdb::{
    Audience, Content, Db, ExportOptions, ImportOptions, ImportSummary, KdfChoice, Options, Passphrase, TrustPolicy,
    VerifyOptions, verify_fork,
};

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

fn node(dir: &Path, name: &str) -> Db {
    Options::new().actor(name).kdf(KdfChoice::weakest()).create(dir.join(name), &passphrase()).unwrap()
}

/// Makes two nodes known to each other.
fn introduce(a: (&Db, &str), b: (&Db, &str)) {
    a.0.add_peer(b.1, &b.0.card().unwrap()).unwrap();
    b.0.add_peer(a.1, &a.0.card().unwrap()).unwrap();
}

fn stream(db: &Db) -> Vec<u8> {
    let mut out = Vec::new();
    db.export(ExportOptions::new(), &mut out).unwrap();
    out
}

/// Exchanges everything both ways.
fn exchange(a: &Db, b: &Db) {
    for (from, to) in [(a, b), (b, a)] {
        let summary = to.import(ImportOptions::new(), &stream(from)[..]).unwrap();
        assert_eq!((summary.refused, summary.pending), (0, 0), "{:?}", summary.reasons);
        assert!(summary.stream.is_complete(), "{:?}", summary.stream);
    }
}

fn data(db: &Db, thing: &str) -> Option<String> {
    let record = db.get(thing).unwrap()?;
    record.data().map(|data| String::from_utf8(data.to_vec()).unwrap())
}

#[test]
fn a_peer_reads_what_is_addressed_to_it_and_verifies_the_rest() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.set_audience(Audience { default: vec![], prefixes: vec![("shared/".into(), vec!["hall-2".into()])] }).unwrap();
    a.put("shared/x", r#""for both""#).unwrap();
    a.put("own/x", r#""for me""#).unwrap();
    a.write(thingdb::Draft::json("own/y", r#""for bob""#).unwrap().to(["hall-2"])).unwrap();
    exchange(&a, &b);

    assert_eq!(data(&b, "shared/x").as_deref(), Some(r#""for both""#));
    assert_eq!(data(&b, "own/y").as_deref(), Some(r#""for bob""#));
    assert_eq!(data(&b, "own/x"), None);
    assert!(matches!(b.get("own/x").unwrap().unwrap().content(), Content::Undecryptable));
    assert_eq!(b.get("shared/x").unwrap().unwrap().actor_name(), Some("alice"));
    let report = b.verify(VerifyOptions::new()).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!((report.entries, report.undecryptable), (3, 1));

    // What A wrote stays readable to A whatever happens to peers.
    a.remove_peer("hall-2").unwrap();
    assert_eq!(data(&a, "shared/x").as_deref(), Some(r#""for both""#));
    assert!(a.audience().unwrap().prefixes.is_empty());
}

#[test]
fn a_kek_is_paid_once_for_many_entries() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.set_audience(Audience { default: vec!["hall-2".into()], prefixes: vec![] }).unwrap();
    for n in 0..20 {
        a.put("x", &n.to_string()).unwrap();
    }
    let text = String::from_utf8(stream(&a)).unwrap();
    let own = b.card().unwrap().encryption_key.recipient_id().to_string();
    let packets: std::collections::HashSet<&str> = text
        .split(&format!("\"id\":\"{own}\",\"kek\":\""))
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(packets.len(), 1, "20 entries share one sealed KEK");
    // A change of the set means a new KEK.
    a.set_audience(Audience { default: vec!["hall-2".into()], prefixes: vec![] }).unwrap();
    a.put("x", "20").unwrap();
    let text = String::from_utf8(stream(&a)).unwrap();
    let packets: std::collections::HashSet<&str> = text
        .split(&format!("\"id\":\"{own}\",\"kek\":\""))
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(packets.len(), 2);
}

#[test]
fn readers_can_come_later_and_are_listed() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    for n in 1..=5 {
        a.put("x", &n.to_string()).unwrap();
    }
    exchange(&a, &b);
    assert_eq!(data(&b, "x"), None);
    let before = a.verify(VerifyOptions::new()).unwrap();

    let summary = a.share("x", &["hall-2".into()], 3).unwrap();
    assert_eq!((summary.shared, summary.known), (3, 0));
    let again = a.share("x", &["hall-2".into()], 1).unwrap();
    assert_eq!((again.shared, again.known), (2, 3));
    let after = a.verify(VerifyOptions::new()).unwrap();
    assert!(after.is_ok());
    assert_eq!(before.root, after.root, "what is signed is not touched");

    let summary = b.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    assert_eq!((summary.added, summary.completed), (0, 5));
    assert_eq!(data(&b, "x").as_deref(), Some("5"));
    assert!(b.verify(VerifyOptions::new()).unwrap().is_ok());

    let readers = a.readers("x").unwrap();
    let bob = readers.iter().find(|reader| reader.name.as_deref() == Some("hall-2")).unwrap();
    assert_eq!((bob.entries, bob.first_seq, bob.last_seq), (5, 1, 5));
    assert_eq!(bob.from, [a.origin()]);
    assert!(readers.iter().any(|reader| reader.name.as_deref() == Some("this node")));
}

#[test]
fn a_write_only_node_cannot_read_its_own_past() {
    let tmp = tempfile::tempdir().unwrap();
    let reader = node(tmp.path(), "reader");
    let dir = tmp.path().join("sensor");
    let sensor =
        Options::new().actor("sensor").kdf(KdfChoice::weakest()).write_only(true).create(&dir, &passphrase()).unwrap();
    assert!(sensor.put("x", "1").is_err(), "nobody could read it");
    introduce((&reader, "office"), (&sensor, "sensor"));
    sensor.set_audience(Audience { default: vec!["office".into()], prefixes: vec![] }).unwrap();
    sensor.put("x", r#"{"secret":"canary-4711"}"#).unwrap();
    assert!(matches!(sensor.get("x").unwrap().unwrap().content(), Content::Undecryptable));
    let out = stream(&sensor);
    sensor.close().unwrap();
    let sensor = Db::open(&dir, &passphrase()).unwrap();
    assert!(sensor.verify(VerifyOptions::new()).unwrap().is_ok());
    assert!(matches!(sensor.get("x").unwrap().unwrap().content(), Content::Undecryptable));

    let summary = reader.import(ImportOptions::new(), &out[..]).unwrap();
    assert_eq!(summary.added, 1, "{:?}", summary.reasons);
    assert_eq!(data(&reader, "x").as_deref(), Some(r#"{"secret":"canary-4711"}"#));
}

#[test]
fn a_relay_that_can_read_nothing_passes_everything_on() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, relay, c) = (node(tmp.path(), "alice"), node(tmp.path(), "relay"), node(tmp.path(), "carol"));
    introduce((&a, "a"), (&relay, "relay"));
    introduce((&relay, "relay"), (&c, "c"));
    introduce((&a, "a"), (&c, "c"));
    a.set_audience(Audience { default: vec!["c".into()], prefixes: vec![] }).unwrap();
    let drafts = (0..50).map(|n| thingdb::Draft::json("x", n.to_string()).unwrap()).collect();
    a.write_batch(drafts).unwrap();
    relay.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    assert_eq!(data(&relay, "x"), None);
    let report = relay.verify(VerifyOptions::new()).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!(report.undecryptable, 50);
    let summary = c.import(ImportOptions::new(), &stream(&relay)[..]).unwrap();
    assert_eq!(summary.added, 50, "{:?}", summary.reasons);
    assert_eq!(data(&c, "x").as_deref(), Some("49"));
}

#[test]
fn a_card_that_changed_its_keys_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b, c) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"), node(tmp.path(), "mallory"));
    a.add_peer("hall-2", &b.card().unwrap()).unwrap();
    let problem = a.add_peer("hall-2", &c.card().unwrap()).unwrap_err().to_string();
    assert!(problem.contains(&b.node_key().fingerprint().to_string()), "{problem}");
    assert!(problem.contains(&c.node_key().fingerprint().to_string()), "{problem}");
    assert!(a.add_peer("me", &a.card().unwrap()).is_err());
    assert!(a.add_peer("again", &b.card().unwrap()).is_err());
    // The same card again, or a newer one of the same node, is welcome.
    b.new_actor("bob-2").unwrap();
    a.add_peer("hall-2", &b.card().unwrap()).unwrap();
    assert!(a.trusted_actors().iter().any(|actor| actor.name == "bob-2"));
}

#[test]
fn an_actor_whose_name_is_taken_gets_another() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    let dir = tmp.path().join("other");
    let b = Options::new().actor("alice").kdf(KdfChoice::weakest()).create(dir, &passphrase()).unwrap();
    a.add_peer("hall-2", &b.card().unwrap()).unwrap();
    let names: Vec<String> = a.trusted_actors().into_iter().map(|actor| actor.name).collect();
    assert_eq!(names, ["alice", "hall-2/alice"]);
}

#[test]
fn two_writers_fork_and_the_next_put_joins() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.put("x", "0").unwrap();
    exchange(&a, &b);
    a.put("x", "1").unwrap();
    b.put("x", "2").unwrap();
    b.put("x", "3").unwrap();
    exchange(&a, &b);
    assert_eq!(a.heads("x").unwrap().len(), 2);
    assert_eq!(a.heads("x").unwrap(), b.heads("x").unwrap());
    assert_eq!(a.get("x").unwrap().unwrap().id(), b.get("x").unwrap().unwrap().id());
    let forks = a.forks(None).unwrap();
    assert_eq!(forks.len(), 1);
    assert_eq!(forks[0].heads.len(), 2);
    assert!(forks[0].equivocations.is_empty(), "two writers are no equivocation");

    a.put("x", "4").unwrap();
    assert_eq!(a.heads("x").unwrap().len(), 1);
    assert_eq!(a.get("x").unwrap().unwrap().prev().len(), 2);
    exchange(&a, &b);
    assert_eq!(b.heads("x").unwrap().len(), 1);
    assert!(b.verify(VerifyOptions::new()).unwrap().is_ok());
}

#[test]
fn a_resolution_says_which_side_stands_and_why() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.set_audience(Audience { default: vec!["hall-2".into()], prefixes: vec![] }).unwrap();
    b.set_audience(Audience { default: vec!["hall-1".into()], prefixes: vec![] }).unwrap();
    let kept = a.put("x", r#""good""#).unwrap();
    b.put("x", r#""bad""#).unwrap();
    exchange(&a, &b);
    a.resolve("x", &kept.id, "the other one was measured cold", None).unwrap();
    let joined = a.get("x").unwrap().unwrap();
    assert_eq!(joined.data(), Some(&br#""good""#[..]));
    assert_eq!(joined.action(), Some("resolve"));
    let document = String::from_utf8(joined.attachment().unwrap().bytes.to_vec()).unwrap();
    assert!(document.contains("measured cold") && document.contains(&kept.id.to_string()), "{document}");
    assert!(a.forks(Some("x")).unwrap().is_empty());
    assert!(a.resolve("x", &kept.id, "again", None).is_err());
    exchange(&a, &b);
    assert_eq!(data(&b, "x").as_deref(), Some(r#""good""#));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn an_equivocation_is_marked_and_two_headers_prove_it() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    a.put("x", "0").unwrap();
    a.close().unwrap();
    // Someone copies the directory and goes on with both.
    copy(&tmp.path().join("alice"), &tmp.path().join("copy"));
    let (a, twin) = (
        Db::open(tmp.path().join("alice"), &passphrase()).unwrap(),
        Db::open(tmp.path().join("copy"), &passphrase()).unwrap(),
    );
    a.put("x", "1").unwrap();
    twin.put("x", "2").unwrap();
    let summary = a.import(ImportOptions::new(), &stream(&twin)[..]).unwrap();
    assert_eq!((summary.added, summary.known), (1, 1));
    let forks = a.forks(None).unwrap();
    let [equivocation] = &forks[0].equivocations[..] else { panic!("{forks:?}") };
    let evidence = a.prove_fork("x", equivocation).unwrap();
    assert!(!evidence.contains("payload\":"), "nothing but headers");
    let (thing, proven) = verify_fork(&evidence).unwrap();
    assert_eq!((thing.as_str(), &proven), ("x", equivocation));

    // One entry twice, one alone, and altered ones prove nothing.
    let lines: Vec<&str> = evidence.lines().collect();
    assert!(verify_fork(lines[0]).is_err());
    assert!(verify_fork(&format!("{}\n{}\n", lines[0], lines[0])).is_err());
    for at in (0..lines[0].len()).step_by(3) {
        let mut bytes = evidence.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        assert!(verify_fork(&text).is_err(), "byte {at}");
    }
    let (other, _) = (a.put("y", "0").unwrap(), ());
    let mut unrelated = Vec::new();
    a.export(ExportOptions::new().prefix("y"), &mut unrelated).unwrap();
    let unrelated = String::from_utf8(unrelated).unwrap();
    let line = unrelated.lines().find(|line| line.contains(&other.id.to_string())).unwrap();
    assert!(verify_fork(&format!("{}\n{line}\n", lines[0])).is_err());
}

#[test]
fn a_copy_with_a_new_node_key_does_not_equivocate() {
    let tmp = tempfile::tempdir().unwrap();
    let a = node(tmp.path(), "alice");
    a.put("x", "0").unwrap();
    a.close().unwrap();
    copy(&tmp.path().join("alice"), &tmp.path().join("copy"));
    let twin = Db::open(tmp.path().join("copy"), &passphrase()).unwrap();
    let old = twin.origin();
    twin.new_node_key().unwrap();
    let twin = Db::open(tmp.path().join("copy"), &passphrase()).unwrap();
    assert_ne!(twin.origin(), old);
    assert!(twin.warnings().is_empty(), "{:?}", twin.warnings());
    twin.put("x", "2").unwrap();
    let a = Db::open(tmp.path().join("alice"), &passphrase()).unwrap();
    a.put("x", "1").unwrap();
    a.import(ImportOptions::new().trust(TrustPolicy::All), &stream(&twin)[..]).unwrap();
    assert_eq!(a.heads("x").unwrap().len(), 2);
    assert!(a.equivocations("x").unwrap().is_empty());
    assert!(twin.verify(VerifyOptions::new()).unwrap().is_ok());
}

#[test]
fn entries_that_come_before_their_prev_wait_across_imports() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    for n in 0..30 {
        a.put("x", &n.to_string()).unwrap();
    }
    let text = String::from_utf8(stream(&a)).unwrap();
    let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with("{\"v\"")).collect();
    lines.reverse();
    let (late, early) = lines.split_at(15);
    let summary = b.import(ImportOptions::new(), late.join("\n").as_bytes()).unwrap();
    assert_eq!((summary.added, summary.pending), (0, 15));
    drop(b);
    let b = Db::open(tmp.path().join("bob"), &passphrase()).unwrap();
    assert_eq!(b.stats().unwrap().entries, 0);
    let summary = b.import(ImportOptions::new(), early.join("\n").as_bytes()).unwrap();
    assert_eq!((summary.added, summary.pending), (30, 0), "{:?}", summary.reasons);
    assert!(b.verify(VerifyOptions::new()).unwrap().is_ok());
    let again = b.import(ImportOptions::new(), &b""[..]).unwrap();
    assert_eq!((again.added, again.pending), (0, 0));
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    for n in 0..10 {
        a.put("x", &n.to_string()).unwrap();
    }
    let out = stream(&a);
    let mut dry = b.import(ImportOptions::new().dry_run(true), &out[..]).unwrap();
    assert_eq!(b.stats().unwrap().entries, 0);
    let wet = b.import(ImportOptions::new(), &out[..]).unwrap();
    // Only what was taken in is here.
    let is_here = |summary: &ImportSummary| summary.stream.ledger().unwrap().is_here;
    assert!(!is_here(&dry) && is_here(&wet));
    dry.stream = wet.stream.clone();
    assert_eq!(dry, wet);
    let known = b.import(ImportOptions::new().dry_run(true), &out[..]).unwrap();
    assert_eq!((known.added, known.known), (0, 10));
}

#[test]
fn fail_fast_keeps_what_came_before() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    for n in 0..10 {
        a.put("x", &n.to_string()).unwrap();
    }
    let text = String::from_utf8(stream(&a)).unwrap();
    let mut lines: Vec<&str> = text.lines().filter(|line| line.starts_with("{\"v\"")).collect();
    lines.insert(4, "{not json}");
    let summary = b.import(ImportOptions::new().fail_fast(true), lines.join("\n").as_bytes()).unwrap();
    assert!(summary.stopped);
    assert_eq!((summary.added, summary.refused), (4, 1));
    assert_eq!(summary.reasons[0].line, 5);
}

#[test]
fn an_export_to_a_peer_has_stubs_where_it_may_not_read() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    introduce((&a, "hall-1"), (&b, "hall-2"));
    a.put("mixed", "1").unwrap();
    a.write(thingdb::Draft::json("mixed", "2").unwrap().to(["hall-2"])).unwrap();
    a.put("mixed", "3").unwrap();
    a.put("private", "1").unwrap();
    let mut out = Vec::new();
    let summary = a.export(ExportOptions::new().to("hall-2"), &mut out).unwrap();
    assert_eq!(summary.entries, 3);
    let summary = b.import(ImportOptions::new(), &out[..]).unwrap();
    assert_eq!(summary.added, 3, "{:?}", summary.reasons);
    let report = b.verify(VerifyOptions::new()).unwrap();
    assert!(report.is_ok(), "{:?}", report.problems);
    assert_eq!((report.things, report.stubs), (1, 2));
    let data: Vec<Option<Vec<u8>>> =
        b.history("mixed").unwrap().map(|record| record.unwrap().data().map(<[u8]>::to_vec)).collect();
    assert_eq!(data, [None, Some(b"2".to_vec()), None]);

    let mut only = Vec::new();
    let summary = a.export(ExportOptions::new().to("hall-2").only_addressed(true), &mut only).unwrap();
    assert_eq!(summary.entries, 1);

    // A later full copy completes the stubs.
    let summary = b.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (1, 0));
    assert!(summary.completed >= 2);
    // Another export of the same says nothing new.
    let summary = b.import(ImportOptions::new(), &stream(&a)[..]).unwrap();
    assert_eq!((summary.added, summary.completed, summary.known), (0, 0, 4));
}

#[test]
fn an_archive_opens_with_its_passphrase_anywhere() {
    let tmp = tempfile::tempdir().unwrap();
    let (a, b) = (node(tmp.path(), "alice"), node(tmp.path(), "bob"));
    for n in 0..10 {
        a.put("x", &n.to_string()).unwrap();
    }
    let archive = Passphrase::new("the archive's own");
    let kdf = thingdb::format::KdfParams::new(8, 1, 1).unwrap();
    let mut out = Vec::new();
    a.export(ExportOptions::new().passphrase(&archive, kdf), &mut out).unwrap();
    let wrong = Passphrase::new("not this one");
    let sealed = b.import(ImportOptions::new().trust(TrustPolicy::All).passphrase(&wrong), &out[..]).unwrap();
    assert_eq!(sealed.added, 10);
    assert_eq!(data(&b, "x"), None);
    let opened = b.import(ImportOptions::new().trust(TrustPolicy::All).passphrase(&archive), &out[..]).unwrap();
    assert_eq!(opened.completed, 10);
    assert_eq!(data(&b, "x").as_deref(), Some("9"));
}

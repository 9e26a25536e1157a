//! What a stream can do that was made to do harm: nothing that it should not,
//! in bounded memory.

use std::io::{BufReader, Read};

use thingdb::format::{Signature, Verifier, signature};
use thingdb::{ImportOptions, ImportSummary, StreamState, TrustPolicy};
use thingdb_tests::database::{assert_intact, export, fresh, passphrase, relaxed, text, verify};
use thingdb_tests::stranger::{Plan, Stranger, line_of, lines_of, random_id};

fn import(db: &thingdb::Db, bytes: &[u8]) -> ImportSummary {
    db.import(ImportOptions::new(), bytes).unwrap()
}

fn import_all(db: &thingdb::Db, bytes: &[u8]) -> ImportSummary {
    db.import(ImportOptions::new().trust(TrustPolicy::All), bytes).unwrap()
}

#[test]
fn garbage_is_refused_line_by_line_and_what_is_good_stays() {
    let (_scratch, db) = fresh();
    let good = lines_of(&Stranger::default().history("x", 1, 3));
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    let deep = "[".repeat(200_000);
    let garbage: [&[u8]; 8] = [
        b"not json\n",
        b"{}\n",
        b"[1]\n",
        b"\xff\xfe\n",
        b"{\"v\":2}\n",
        b"null\n",
        deep.as_bytes(),
        b"\n{\"v\":1,\"v\":1}\n",
    ];
    let mut stream = Vec::new();
    for (good, bad) in lines.iter().zip(garbage.chunks(3)) {
        stream.extend_from_slice(good);
        for bad in bad {
            stream.extend_from_slice(bad);
            stream.push(b'\n');
        }
    }
    let summary = import_all(&db, &stream);
    assert_eq!((summary.added, summary.refused), (3, 8), "{summary:?}");
    assert!(summary.reasons.iter().all(|refusal| refusal.line > 0));
    db.trust_actor("mallory", db.get("x").unwrap().unwrap().actor()).unwrap();
    assert_intact(&db);
}

#[test]
fn a_forged_actor_gets_nowhere() {
    let (_scratch, db) = fresh();
    db.put("x", "1").unwrap();
    // Claims the name of the owner.
    let forger = Stranger::new("owner");
    let entry = forger.entry(&Plan::first("y", 1, "\"forged\""));
    assert_eq!(import(&db, &line_of(&entry)).refused, 1);
    assert_eq!(import_all(&db, &line_of(&entry)).added, 1);
    let record = db.get("y").unwrap().unwrap();
    assert!(!record.is_trusted());
    let report = verify(&db);
    assert!(!report.is_ok());
    assert_eq!(report.problems[0].verdict.as_str(), "unknown actor");

    // Puts the owner's key into the header.
    let owner = db.own_actors()[0].key;
    let genuine = entry.header.to_bytes();
    let at = genuine.windows(32).position(|window| window == forger.actor().0).unwrap();
    let mut altered = genuine;
    altered[at..at + 32].copy_from_slice(&owner.0);
    let mut forged = entry;
    forged.header = thingdb::format::Header::from_bytes(&altered).unwrap();
    let summary = import_all(&db, &line_of(&forged));
    assert_eq!(summary.refused, 1);
    assert!(summary.reasons[0].reason.contains("signature"), "{summary:?}");
}

#[test]
fn an_unknown_origin_is_refused_although_the_actor_is_known() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    db.trust_actor("mallory", stranger.actor()).unwrap();
    let summary = import(&db, &line_of(&stranger.entry(&Plan::first("x", 1, "1"))));
    assert_eq!(summary.refused, 1);
    assert!(summary.reasons[0].reason.contains("origin"), "{summary:?}");
}

#[test]
fn an_entry_of_a_test_database_is_not_replayed_into_the_real_one() {
    // The same actor writes at both; only the origin tells them apart.
    let (_scratch, real) = fresh();
    let (_other, test) = fresh();
    test.put("x", "\"only a test\"").unwrap();
    real.trust_actor("me at the test", test.own_actors()[0].key).unwrap();
    let summary = import(&real, &export(&test));
    assert_eq!((summary.added, summary.refused), (0, 1), "{summary:?}");
}

#[test]
fn an_entry_under_another_thing_or_place_is_another_entry_and_its_signature_breaks() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    let entry = stranger.entry(&Plan::first("part-1", 1, "1"));
    let text = String::from_utf8(line_of(&entry)).unwrap();
    for (from, to) in [("\"part-1\"", "\"part-2\""), ("\"seq\":1", "\"seq\":2")] {
        let summary = import_all(&db, text.replace(from, to).as_bytes());
        assert_eq!((summary.added, summary.refused), (0, 1), "{summary:?}");
    }
    let mut header = entry.header.to_bytes();
    let at = header.windows(6).position(|window| window == b"part-1").unwrap();
    header[at + 5] = b'2';
    let mut moved = entry;
    moved.header = thingdb::format::Header::from_bytes(&header).unwrap();
    assert_eq!(import_all(&db, &line_of(&moved)).refused, 1);
}

#[test]
fn links_that_do_not_follow_are_refused() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    let first = stranger.entry(&Plan::first("x", 1_000, "1"));
    let second = stranger.entry(&Plan::after(&first, "2"));
    assert_eq!(import_all(&db, &lines_of([&first, &second])).added, 2);
    let jump = stranger.entry(&Plan { seq: 9, ..Plan::after(&second, "3") });
    let back = stranger.entry(&Plan { time: 1_001, ..Plan::after(&second, "3") });
    let future = stranger.entry(&Plan { time: 9_000_000_000_000_000, ..Plan::after(&second, "3") });
    for bad in [&jump, &back, &future] {
        let summary = import_all(&db, &line_of(bad));
        assert_eq!((summary.added, summary.refused), (0, 1), "{summary:?}");
    }
    // prev of another thing is not here.
    let crossed = stranger.entry(&Plan { thing: "y".into(), ..Plan::after(&second, "3") });
    assert_eq!(import_all(&db, &line_of(&crossed)).pending, 1);
    assert_eq!(db.stats().unwrap().entries, 2);
}

#[test]
fn two_entries_with_one_seq_are_a_fork_and_an_equivocation() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    let first = stranger.entry(&Plan::first("x", 1, "1"));
    let (one, other) = (stranger.entry(&Plan::after(&first, "2")), stranger.entry(&Plan::after(&first, "3")));
    assert_eq!(import_all(&db, &lines_of([&first, &one, &other])).added, 3);
    assert_eq!(db.heads("x").unwrap().len(), 2);
    assert_eq!(db.equivocations("x").unwrap().len(), 1);
}

#[test]
fn an_envelope_with_another_cek_does_not_get_in() {
    let (_scratch, db) = fresh();
    let mut stranger = Stranger::default();
    stranger.readers.push(db.card().unwrap().encryption_key);
    let mut entry = stranger.entry(&Plan::first("x", 1, "\"mine\""));
    let wrong = stranger.envelopes(&entry.id(), &thingdb::format::Cek::from_bytes([9; 32]));
    let right = std::mem::replace(&mut entry.envelopes, wrong);
    let summary = import_all(&db, &line_of(&entry));
    assert_eq!((summary.added, summary.refused), (0, 1), "{summary:?}");
    // With a good one beside it, it is passed over.
    entry.envelopes.extend(right);
    assert_eq!(import_all(&db, &line_of(&entry)).added, 1);
    assert_eq!(text(&db.get("x").unwrap().unwrap()), "\"mine\"");
}

#[test]
fn a_repeated_import_changes_nothing() {
    let (_scratch, db) = fresh();
    for n in 0..50 {
        db.put("x", &n.to_string()).unwrap();
    }
    let stream = export(&db);
    let before = verify(&db).root;
    for _ in 0..3 {
        let summary = import(&db, &stream);
        assert_eq!((summary.added, summary.known, summary.completed), (0, 50, 0), "{summary:?}");
        assert_eq!(summary.stream, StreamState::Complete);
    }
    assert_eq!(verify(&db).root, before);
}

#[test]
fn a_stream_that_was_cut_or_lies_is_told() {
    let (_scratch, db) = fresh();
    for n in 0..5 {
        db.put("x", &n.to_string()).unwrap();
    }
    let stream = String::from_utf8(export(&db)).unwrap();
    let lines: Vec<&str> = stream.lines().collect();
    let other = relaxed().create(_scratch.path().join("other"), &passphrase()).unwrap();
    let state = |lines: &[&str]| import_all(&other, lines.join("\n").as_bytes()).stream;
    assert_eq!(state(&lines), StreamState::Complete);
    assert_eq!(state(&lines[..lines.len() - 1]), StreamState::Cut);
    assert_eq!(state(&lines[..3]), StreamState::Cut);
    assert!(matches!(state(&[&lines[..2], &lines[3..]].concat()), StreamState::Damaged(_)));
    let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4], lines[5], lines[6]];
    assert!(matches!(state(&swapped), StreamState::Damaged(_)));
    assert_eq!(state(&lines[1..lines.len() - 1]), StreamState::Bare);
}

#[test]
fn many_entries_that_wait_are_bounded_and_let_go_of_nothing() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    // One good entry, signed once and repeated with prev that nobody has.
    let mut stream = Vec::new();
    for n in 0..2_000_u64 {
        let plan =
            Plan { thing: format!("t{}", n % 7), seq: 2, time: n + 1, prev: vec![random_id()], data: "1".into() };
        stream.extend(line_of(&stranger.entry(&plan)));
    }
    let summary = import_all(&db, &stream);
    assert_eq!((summary.added, summary.pending), (0, 2_000), "{:?}", summary.reasons);
    let again = import_all(&db, &stream);
    assert_eq!((again.added, again.pending), (0, 2_000));
    assert_eq!(db.stats().unwrap().entries, 0);
}

/// A reader of one endless line.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.0).unwrap_or(usize::MAX));
        buffer[..count].fill(b'a');
        self.0 -= count as u64;
        Ok(count)
    }
}

#[test]
fn a_line_of_a_gigabyte_is_read_past_and_not_kept() {
    let (_scratch, db) = fresh();
    let good = line_of(&Stranger::default().entry(&Plan::first("x", 1, "1")));
    let source = Endless(1 << 30).chain(&b"\n"[..]).chain(&good[..]);
    let options = ImportOptions::new().trust(TrustPolicy::All);
    let summary = db.import(options, BufReader::with_capacity(1 << 16, source)).unwrap();
    assert_eq!((summary.added, summary.refused), (1, 1), "{summary:?}");
    assert!(summary.reasons[0].reason.contains("longer"), "{summary:?}");
    // Linux tells the peak; a gigabyte that was kept would show.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        assert!(kib < 600 << 10, "{kib} KiB");
    }
}

#[test]
fn a_batch_signature_of_one_entry_covers_no_other() {
    let (_scratch, db) = fresh();
    let drafts = (0..4).map(|n| thingdb::Draft::json("x", n.to_string()).unwrap()).collect();
    db.write_batch(drafts).unwrap();
    let stream = String::from_utf8(export(&db)).unwrap();
    let entries: Vec<_> = stream
        .lines()
        .filter(|line| line.starts_with("{\"v\""))
        .map(|line| thingdb::format::line::decode(line.as_bytes(), 1).unwrap())
        .collect();
    let verifier = Verifier::new(&entries[0].header.actor.0).unwrap();
    for one in &entries {
        for other in &entries {
            let swapped = thingdb::format::Entry { signature: other.signature.clone(), ..one.clone() };
            assert_eq!(swapped.verify(&verifier).is_ok(), one.id() == other.id());
        }
    }
    let Signature::Batch(batch) = &entries[0].signature else { panic!("they share a signature") };
    assert_eq!(batch.size, 4);
    assert!(batch.size >= signature::MIN_BATCH);
}

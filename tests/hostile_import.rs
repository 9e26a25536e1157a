//! What a stream can do that was made to do harm: nothing that it should not,
//! in bounded memory.

use std::io::{BufReader, Read};
use std::time::{Duration, Instant};

use thingdb::format::{Cek, DecryptionKey, Entry, Signature, Verifier, signature};
use thingdb::{Db, Draft, ImportOptions, ImportSummary, StreamState, TrustPolicy};
use thingdb_tests::database::{assert_intact, export, fresh, passphrase, relaxed, scratch, text, verify};
use thingdb_tests::rows::Rows;
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

/// A parser that calls itself for each level would run out of stack.
#[test]
fn deep_json_is_refused_wherever_it_stands() {
    const LEVELS: usize = 500_000;
    let (_scratch, db) = fresh();
    let entry = Stranger::default().entry(&Plan::first("x", 1, "1"));
    let good = String::from_utf8(line_of(&entry)).unwrap();
    let arrays = format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let objects = format!("{}1{}", "{\"a\":".repeat(LEVELS), "}".repeat(LEVELS));
    let mut lines = vec!["[".repeat(LEVELS), "{\"v\":".repeat(LEVELS)];
    for deep in [arrays, objects] {
        lines.push(format!("{{\"thingdb\":{deep}}}"));
        lines.push(format!("{{\"thingdb_end\":1,\"root\":{deep}}}"));
        // In the place of each kind of member, and as one that nobody knows.
        for (member, start) in [("thing", "\"x\""), ("seq", "1"), ("prev", "[]"), ("sig", "{"), ("envelopes", "")] {
            let at = format!("\"{member}\":{start}");
            let line = if start.is_empty() {
                good.trim_end().replacen('}', &format!("}},\"{member}\":[{{\"recipients\":[{deep}]}}]"), 1)
            } else {
                good.trim_end().replacen(&at, &format!("\"{member}\":{deep},\"{member}\":{start}"), 1)
            };
            assert!(line.len() > good.len() + LEVELS, "{member}");
            lines.push(line);
        }
        lines.push(good.trim_end().replacen('{', &format!("{{\"more\":{deep},"), 1));
    }
    let bad = lines.len() as u64;
    lines.push(good);
    let summary = import_all(&db, lines.join("\n").as_bytes());
    assert_eq!((summary.added, summary.refused), (1, bad), "{summary:?}");
    assert!(summary.reasons.iter().all(|refusal| refusal.column.is_some()), "{summary:?}");
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
    assert_eq!(db.stats().unwrap().entries, 2);
}

/// An entry that follows one of another thing can never go on, whichever comes
/// first, and does not wait for ever.
#[test]
fn an_entry_after_one_of_another_thing_is_refused_and_does_not_wait() {
    let stranger = Stranger::default();
    let first = stranger.entry(&Plan::first("x", 1_000, "1"));
    let second = stranger.entry(&Plan::after(&first, "2"));
    let crossed = stranger.entry(&Plan { thing: "y".into(), ..Plan::after(&second, "3") });
    let two_prev = {
        let own = stranger.entry(&Plan::first("y", 1_000, "1"));
        let mut prev = vec![own.id(), first.id()];
        prev.sort_unstable();
        stranger.entry(&Plan { prev, ..Plan::after(&own, "2") })
    };
    let after_it = stranger.entry(&Plan::after(&crossed, "4"));
    let is_refused = |summary: &ImportSummary, at: u64, prev: &Entry| {
        let refused: Vec<_> = summary.reasons.iter().map(|refusal| (refusal.line, refusal.reason.as_str())).collect();
        assert_eq!(refused, [(at, &*format!("its prev {} is an entry of another thing", prev.id()))], "{summary:?}");
        assert_eq!((summary.pending, summary.refused), (0, 1), "{summary:?}");
    };
    for dry_run in [true, false] {
        // In one stream, in both orders.
        for (lines, at) in [([&first, &second, &crossed], 3), ([&crossed, &first, &second], 1)] {
            let (_scratch, db) = fresh();
            let mut rejects = Vec::new();
            let options = ImportOptions::new().trust(TrustPolicy::All).dry_run(dry_run).rejects(&mut rejects);
            let summary = db.import(options, &lines_of(lines)[..]).unwrap();
            is_refused(&summary, at, &second);
            assert_eq!(rejects, line_of(&crossed));
            assert_eq!((summary.added, db.get("y").unwrap().is_some()), (2, false));
        }
    }
    // Before: the prev is here since long.
    let (_scratch, db) = fresh();
    assert_eq!(import_all(&db, &lines_of([&first, &second])).added, 2);
    is_refused(&import_all(&db, &line_of(&crossed)), 1, &second);
    // Not only the prev for which it waits.
    is_refused(&import_all(&db, &line_of(&two_prev)), 1, &first);
    // What follows what was refused may wait: nobody knows that it was.
    assert_eq!(import_all(&db, &line_of(&after_it)).pending, 1);
    assert_intact_but_unknown(&db);
    // After: it waits over imports and a reopening until the prev comes.
    let (later_scratch, db) = fresh();
    assert_eq!(import_all(&db, &line_of(&crossed)).pending, 1);
    assert_eq!(import_all(&db, &line_of(&first)).pending, 1);
    db.close().unwrap();
    let later = later_scratch.path().join("db");
    let db = relaxed().open(&later, &passphrase()).unwrap();
    is_refused(&import_all(&db, &line_of(&second)), 0, &second);
    assert_eq!(import_all(&db, &[]), ImportSummary::default());
    db.close().unwrap();
    assert_eq!(Rows::edit(&later, |rows| rows.all(b"W").len()), 0);
}

/// Nothing is wrong but that nobody knows the actor.
fn assert_intact_but_unknown(db: &Db) {
    let report = verify(db);
    assert!(report.problems.iter().all(|problem| problem.verdict.as_str() == "unknown actor"), "{report:?}");
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
    // It is not signed, so it is not held against the entry.
    let summary = import_all(&db, &line_of(&entry));
    assert_eq!((summary.added, summary.refused), (1, 0), "{summary:?}");
    assert_eq!(*db.get("x").unwrap().unwrap().content(), thingdb::Content::Undecryptable);
    assert_eq!(db.get("x").unwrap().unwrap().recipients(), 0);
    // With a good one beside it, it is passed over.
    entry.envelopes.extend(right);
    assert_eq!(import_all(&db, &line_of(&entry)).completed, 1);
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
        assert!(summary.stream.is_complete(), "{:?}", summary.stream);
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
    assert!(state(&lines).is_complete());
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
    // More than there is room for: `absent_prev.rs`.
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

/// Copies of one entry, poor and rich, side by side in one stream: what is kept
/// is all that any of them brought.
#[test]
fn copies_of_an_entry_in_one_stream_complete_each_other() {
    let (_scratch, db) = fresh();
    let mut stranger = Stranger::default();
    stranger.readers.push(db.card().unwrap().encryption_key);
    let full = stranger.entry(&Plan::first("x", 1, "\"data\""));
    let stub = Entry { payload: None, envelopes: Vec::new(), ..full.clone() };
    let sealed = Entry { envelopes: Vec::new(), ..full.clone() };
    for copies in [vec![&stub, &full], vec![&sealed, &full], vec![&stub, &sealed, &full], vec![&sealed, &stub, &full]] {
        // A node with the same keys and nothing in it.
        let dir = scratch();
        thingdb_tests::database::keys_alone(db.dir(), &dir.path().join("own"));
        let node = relaxed().open(dir.path().join("own"), &passphrase()).unwrap();
        let summary = import_all(&node, &lines_of(copies));
        assert_eq!((summary.added, summary.refused), (1, 0), "{summary:?}");
        assert_eq!(text(&node.get("x").unwrap().unwrap()), "\"data\"");
        assert_eq!(import_all(&node, &line_of(&full)).known, 1);
    }
}

/// Envelopes are not signed: anyone can hang new ones on a copy of an entry.
#[test]
fn envelopes_that_nobody_asked_for_do_not_fill_the_disk() {
    let (scratch, db) = fresh();
    let entry = Stranger::default().entry(&Plan::first("x", 1, "1"));
    let mut stream = line_of(&entry);
    for _ in 0..200 {
        let mut junk = Stranger::default();
        junk.readers.push(DecryptionKey::generate(&mut rand::rng()).encryption_key());
        let envelopes = junk.envelopes(&entry.id(), &Cek::from_bytes([1; 32]));
        stream.extend(line_of(&Entry { envelopes, ..entry.clone() }));
    }
    for _ in 0..2 {
        assert_eq!(import_all(&db, &stream).refused, 0);
    }
    assert!(db.get("x").unwrap().unwrap().recipients() <= thingdb::format::envelope::MAX_ENVELOPES);
    db.close().unwrap();
    let rows = Rows::edit(&scratch.path().join("db"), |rows| rows.all(b"K").len());
    assert!(rows <= thingdb::format::envelope::MAX_ENVELOPES, "{rows} rows of packets");
}

/// A stream that imports another one in its middle.
struct Nested<'a> {
    db: &'a Db,
    inner: Option<&'a [u8]>,
    rest: &'a [u8],
}

impl Read for Nested<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if let Some(inner) = self.inner.take() {
            assert_eq!(import_all(self.db, inner).pending, 1);
        }
        self.rest.read(buffer)
    }
}

#[test]
fn imports_at_the_same_time_forget_nothing_that_waits() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    let history = stranger.history("x", 1, 2);
    let (waits, other) = (line_of(&history[1]), line_of(&stranger.entry(&Plan::first("y", 1, "1"))));
    let nested = BufReader::new(Nested { db: &db, inner: Some(&waits), rest: &other });
    let summary = db.import(ImportOptions::new().trust(TrustPolicy::All), nested).unwrap();
    // The waiting room is one for all imports.
    assert_eq!((summary.added, summary.pending), (1, 1));
    assert_eq!(import_all(&db, &line_of(&history[0])).added, 2);
    assert_eq!(db.heads("x").unwrap()[0].seq, 2);
}

#[test]
fn a_line_that_waits_and_is_damaged_keeps_nobody_from_importing() {
    let (scratch, db) = fresh();
    let dir = scratch.path().join("db");
    let stranger = Stranger::default();
    let (one, other) = (stranger.history("x", 1, 2), stranger.history("y", 1, 2));
    assert_eq!(import_all(&db, &lines_of([&one[1], &other[1]])).pending, 2);
    db.close().unwrap();
    Rows::edit(&dir, |rows| {
        let (key, mut value) = rows.all(b"W").remove(0);
        value[20] ^= 1;
        rows.put(&key, value);
    });
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    // The one that is whole goes on.
    assert_eq!(import_all(&db, &lines_of([&one[0], &other[0]])).added, 3);
    assert_eq!(import_all(&db, &lines_of([&one[1], &other[1]])).added, 1);
    db.close().unwrap();
    assert_eq!(Rows::edit(&dir, |rows| rows.all(b"W").len()), 0);
}

/// An entry whose record here is damaged is refused; the others go on.
#[test]
fn a_damaged_record_does_not_stop_an_import() {
    let (scratch, db) = fresh();
    let dir = scratch.path().join("db");
    for n in 0..5 {
        db.put("x", &n.to_string()).unwrap();
    }
    db.write_batch((0..130).map(|n| Draft::json("y", n.to_string()).unwrap()).collect()).unwrap();
    let mut stream = export(&db);
    db.put("x", "5").unwrap();
    db.close().unwrap();
    Rows::edit(&dir, |rows| {
        let mut block = rows.get(&thingdb_tests::rows::block_key(2));
        *block.last_mut().unwrap() ^= 1;
        rows.put(&thingdb_tests::rows::block_key(2), block);
    });
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let stranger = Stranger::default();
    stream.extend(line_of(&stranger.entry(&Plan::first("z", 1, "1"))));
    let summary = import_all(&db, &stream);
    assert_eq!((summary.known, summary.added, summary.refused), (134, 1, 1), "{summary:?}");
    assert!(summary.reasons[0].reason.contains("damaged here"), "{summary:?}");
}

/// Entries of a long history whose prev is nowhere: the history is gone through
/// once for many of them, not once for each.
#[test]
fn prev_that_are_nowhere_do_not_cost_a_history_each() {
    let (_scratch, db) = fresh();
    for _ in 0..10 {
        db.write_batch((0..1000).map(|n| Draft::json("long", n.to_string()).unwrap()).collect()).unwrap();
    }
    let stranger = Stranger::default();
    let plan =
        |n: u64| Plan { thing: "long".into(), seq: 9_000, time: n + 1, prev: vec![random_id()], data: "1".into() };
    let stream: Vec<u8> = (0..1_000).flat_map(|n| line_of(&stranger.entry(&plan(n)))).collect();
    let start = Instant::now();
    assert_eq!(import_all(&db, &stream).pending, 1_000);
    assert_eq!(import_all(&db, &[]).pending, 1_000);
    let dry = ImportOptions::new().trust(TrustPolicy::All).dry_run(true);
    assert_eq!(db.import(dry, &stream[..]).unwrap().added, 0);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

/// Thousands of heads: each costs more than the one before, but not a copy of
/// all of them.
#[test]
fn thousands_of_forks_end_in_time() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    db.trust_actor("mallory", stranger.actor()).unwrap();
    let first = stranger.entry(&Plan::first("x", 1, "1"));
    let mut stream = line_of(&first);
    stream.extend((0..3_000).flat_map(|_| line_of(&stranger.entry(&Plan::after(&first, "2")))));
    let start = Instant::now();
    assert_eq!(import_all(&db, &stream).added, 3_001);
    assert_eq!(db.heads("x").unwrap().len(), 3_000);
    // A put joins the greatest of them, as many as an entry can name.
    let before = db.heads("x").unwrap();
    let receipt = db.put("x", "3").unwrap();
    let record = db.get("x").unwrap().unwrap();
    assert_eq!((record.id(), record.prev().len()), (receipt.id, 32));
    assert!(before[..32].iter().all(|head| record.prev().contains(&head.id)));
    assert_eq!(db.heads("x").unwrap().len(), 3_000 - 32 + 1);
    assert_eq!(db.history("x").unwrap().map(Result::unwrap).count(), 3_002);
    assert_eq!(assert_intact(&db).forked, 1);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

/// A batch that is large in bytes is not held in memory until it is whole.
#[test]
fn a_batch_of_large_entries_is_taken_in_piece_by_piece() {
    let (_scratch, db) = fresh();
    let data = || Draft::bytes("large", "text/plain", vec![b'a'; 900_000]).unwrap();
    db.write_batch((0..24).map(|_| data()).collect()).unwrap();
    let stream = export(&db);
    let (_other, other) = fresh();
    let mut some_were_in = false;
    let mut watch = |_| some_were_in |= (1..24).contains(&other.stats().unwrap().entries);
    let options = ImportOptions::new().trust(TrustPolicy::All).progress(&mut watch);
    let summary = other.import(options, &stream[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (24, 0));
    assert!(some_were_in, "all were held until the last came");
}

/// An old entry of one thing, found for one that follows it, is not there for an
/// entry of another thing in the same stream.
#[test]
fn a_prev_that_was_found_for_one_thing_is_none_of_another() {
    for dry_run in [true, false] {
        let (_scratch, db) = fresh();
        let stranger = Stranger::default();
        let history = stranger.history("x", 1, 6);
        assert_eq!(import_all(&db, &lines_of(&history)).added, 6);
        let last = Plan::after(&history[5], "2");
        let mut prev = vec![history[1].id(), history[5].id()];
        prev.sort_unstable();
        let joins = stranger.entry(&Plan { prev, ..last.clone() });
        let crossed = Plan { thing: "y".into(), seq: 3, prev: vec![history[1].id()], ..last };
        let crossed = stranger.entry(&crossed);
        let options = ImportOptions::new().trust(TrustPolicy::All).dry_run(dry_run);
        let summary = db.import(options, &lines_of([&joins, &crossed])[..]).unwrap();
        assert_eq!((summary.added, summary.refused, summary.pending), (1, 1, 0), "{summary:?}");
        assert!(db.get("y").unwrap().is_none());
    }
}

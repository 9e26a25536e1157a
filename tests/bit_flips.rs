//! Every bit counts: what someone alters in the rows of a closed database is
//! noticed, is named by thing and seq, and costs nothing else; what someone
//! alters in a line is refused, or is no part of the entry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thingdb::storage::Row;
use thingdb::{Db, Draft, ImportOptions, Problem, TrustPolicy, Verdict, Warning};
use thingdb_format::{Entry, Signature, Verifier, line};
use thingdb_tests::database::{assert_intact, export, passphrase, relaxed, scratch, text, verify};
use thingdb_tests::rows::{self, Rows, block_key, tile_key};
use thingdb_tests::stranger::{Plan, Stranger, line_of};

/// How many damaged entries one verification lists at most, and some.
const AT_ONCE: usize = 900;

fn name(n: usize) -> String {
    format!("thing {n:05}")
}

/// Entries of the same shape, each in a block of its own.
fn singles(count: usize) -> (TempDir, PathBuf) {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    for n in 0..count {
        db.put(&name(n), &format!("{{\"n\":\"{n:05}\"}}")).unwrap();
    }
    // What follows has no damage to stand on.
    let end = (0..200).map(|n| Draft::json("the end", format!("{n}")).unwrap()).collect();
    db.write_batch(end).unwrap();
    db.close().unwrap();
    (scratch, dir)
}

/// The things and seqs that problems name.
fn named(problems: &[Problem]) -> BTreeSet<(String, u64)> {
    let name = |problem: &Problem| {
        let thing = problem.thing.as_ref().unwrap_or_else(|| panic!("no thing is named: {problem}"));
        (thing.as_str().to_owned(), problem.seq.unwrap_or_else(|| panic!("no seq is named: {problem}")))
    };
    problems.iter().map(name).collect()
}

/// One bit of each block is another, over all bits that a block has: each
/// entry is named, and no other.
#[test]
fn every_bit_of_a_stored_entry_is_noticed_and_named() {
    let (_scratch, dir) = singles(AT_ONCE);
    let block_bytes = Rows::edit(&dir, |rows| rows.get(&block_key(0)).len());
    for start in (0..block_bytes * 8).step_by(AT_ONCE) {
        // Entry n has bit start + n altered.
        let count = (block_bytes * 8 - start).min(AT_ONCE);
        let flip = |rows: &Rows| {
            rows.put_all((0..count).map(|n| {
                let bit = start + n;
                let key = block_key(n as u64);
                let mut block = rows.get(&key);
                assert_eq!(block.len(), block_bytes, "blocks have the same shape");
                block[bit / 8] ^= 1 << (bit % 8);
                (key, Some(block))
            }));
        };
        Rows::edit(&dir, flip);
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        let report = verify(&db);
        let expected: BTreeSet<(String, u64)> = (0..count).map(|n| (name(n), 1)).collect();
        let found = named(&report.problems);
        let missed: Vec<_> = expected.difference(&found).collect();
        let accused: Vec<_> = found.difference(&expected).collect();
        assert!(missed.is_empty() && accused.is_empty(), "missed {missed:?}, accused {accused:?}");
        assert_eq!(report.problems_total, count as u64);
        for n in (0..count).step_by(37) {
            let problem = db.get(&name(n)).unwrap_err();
            assert!(problem.is_damaged(), "{problem}");
            assert!(problem.to_string().contains(&name(n)), "a reader is not told which entry: {problem}");
            assert!(db.history(&name(n)).unwrap().next().unwrap().is_err());
        }
        // The rest goes on.
        assert_eq!(db.history("the end").unwrap().map(Result::unwrap).count(), 200);
        let things: Vec<String> = db.things().unwrap().map(|info| info.unwrap().thing.as_str().to_owned()).collect();
        assert!((0..AT_ONCE).all(|n| things.contains(&name(n))));
        db.put("meanwhile", "1").unwrap();
        db.close().unwrap();
        Rows::edit(&dir, flip);
    }
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_intact(&db);
    for n in 0..AT_ONCE {
        assert_eq!(text(&db.get(&name(n)).unwrap().unwrap()), format!("{{\"n\":\"{n:05}\"}}"));
    }
}

/// Three entries under one batch signature, in one block: a bit of one record
/// is that record's alone; a bit of the head is the block's.
#[test]
fn a_bit_in_a_block_of_a_batch_accuses_no_other_entry() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let batch = |n: usize| (0..3).map(|k| Draft::json(&format!("{} {k}", name(n)), "1").unwrap()).collect();
    let (block_bytes, ends) = {
        let db = relaxed().create(&dir, &passphrase()).unwrap();
        db.write_batch(batch(0)).unwrap();
        db.close().unwrap();
        let bytes = Rows::edit(&dir, |rows| rows.get(&block_key(0)));
        std::fs::remove_dir_all(&dir).unwrap();
        (bytes.len(), rows::parts_of(&bytes).split_off(1))
    };
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    for n in 0..AT_ONCE / 3 {
        db.write_batch(batch(n)).unwrap();
    }
    db.write_batch((0..200).map(|n| Draft::json("the end", format!("{n}")).unwrap()).collect()).unwrap();
    db.close().unwrap();
    for start in (0..block_bytes).step_by(AT_ONCE / 3) {
        let range = start..block_bytes.min(start + AT_ONCE / 3);
        let flip = |rows: &Rows| {
            rows.put_all(range.clone().map(|at| {
                let key = block_key((at - start) as u64 * 3);
                let mut block = rows.get(&key);
                assert_eq!(block.len(), block_bytes);
                block[at] ^= 1 << (at * 5 % 8);
                (key, Some(block))
            }));
        };
        Rows::edit(&dir, flip);
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        let report = verify(&db);
        let mut expected = BTreeSet::new();
        for at in range.clone() {
            let hit = ends.iter().position(|record| record.contains(&at));
            let records = hit.map_or(0..3, |hit| hit..hit + 1);
            expected.extend(records.map(|k| (format!("{} {k}", name(at - start)), 1)));
        }
        let found = named(&report.problems);
        let missed: Vec<_> = expected.difference(&found).collect();
        let accused: Vec<_> = found.difference(&expected).collect();
        assert!(missed.is_empty() && accused.is_empty(), "missed {missed:?}, accused {accused:?}");
        assert!(report.problems.iter().all(|problem| problem.verdict != Verdict::RolledBack));
        // A record that does not open keeps nobody from reading the next one.
        for at in range.clone().filter(|at| ends[0].contains(at)).step_by(10) {
            assert_eq!(text(&db.get(&format!("{} 1", name(at - start))).unwrap().unwrap()), "1");
        }
        db.close().unwrap();
        Rows::edit(&dir, flip);
    }
    assert_intact(&relaxed().open(&dir, &passphrase()).unwrap());
}

/// A database with a row of every kind, and a copy of it for each attack.
struct Victim {
    scratch: TempDir,
    dir: PathBuf,
    copies: u32,
}

/// Things of the victim with a history of one block each.
const LAMPS: usize = 5;

impl Victim {
    fn new() -> Self {
        let scratch = scratch();
        let dir = scratch.path().join("db");
        let db = relaxed().create(&dir, &passphrase()).unwrap();
        for n in 0..LAMPS {
            db.put(&format!("lamp {n}"), &format!("{n}")).unwrap();
        }
        // Postings of several chunks, and full tiles.
        let long = (0..400).map(|n| Draft::json("long", format!("{n}")).unwrap()).collect();
        db.write_batch(long).unwrap();
        for n in 0..2 {
            db.write(Draft::bytes(&format!("large {n}"), "text/plain", vec![b'a'; 20_000]).unwrap()).unwrap();
        }
        // An entry of someone else, with packets.
        let mut stranger = Stranger::default();
        stranger.readers.push(db.card().unwrap().encryption_key);
        // For somebody else too: what serves only this node is not kept.
        stranger.readers.push(thingdb::format::DecryptionKey::from_bytes([9; 32]).encryption_key());
        db.trust_actor("mallory", stranger.actor()).unwrap();
        let entry = stranger.entry(&Plan::first("sealed to us", 1, "\"hello\""));
        let summary = db.import(ImportOptions::new().trust(TrustPolicy::All), &line_of(&entry)[..]).unwrap();
        assert_eq!(summary.added, 1, "{summary:?}");
        for n in 0..LAMPS {
            db.put(&format!("lamp {n}"), &format!("\"{n} again\"")).unwrap();
        }
        assert_eq!(text(&db.get("sealed to us").unwrap().unwrap()), "\"hello\"");
        assert_intact(&db);
        db.close().unwrap();
        Self { scratch, dir, copies: 0 }
    }

    fn copy(&mut self) -> PathBuf {
        self.copies += 1;
        let copy = self.scratch.path().join(format!("copy {}", self.copies));
        thingdb_tests::database::copy_directory(&self.dir, &copy);
        copy
    }

    /// All rows.
    fn rows(&self) -> Vec<Row> {
        Rows::edit(&self.dir, |rows| rows.all(b""))
    }
}

/// Opens, verifies, reads. Whatever was done, it is noticed at opening or by
/// the verification, and what is read is what was written or an error.
fn assert_noticed(dir: &Path, what: &str) -> (Vec<Warning>, Vec<Problem>) {
    let db = match relaxed().open(dir, &passphrase()) {
        Ok(db) => db,
        Err(problem) => panic!("{what}: it does not open: {problem}"),
    };
    let report = db.verify(thingdb::VerifyOptions::new()).unwrap_or_else(|problem| panic!("{what}: {problem}"));
    let warnings = db.warnings();
    assert!(!report.is_ok() || !warnings.is_empty(), "{what}: nobody noticed");
    let mut readable = 0;
    for n in 0..LAMPS {
        if let Ok(Some(record)) = db.get(&format!("lamp {n}")) {
            assert_eq!(record.thing(), format!("lamp {n}"), "{what}");
            assert!([format!("{n}"), format!("\"{n} again\"")].contains(&text(&record).to_owned()), "{what}");
            readable += 1;
        }
    }
    for record in db.history("long").into_iter().flatten().flatten() {
        assert_eq!((record.thing(), text(&record)), ("long", &*format!("{}", record.seq() - 1)), "{what}");
        readable += 1;
    }
    assert!(readable > 0, "{what}: nothing can be read any more");
    for n in 0..2 {
        if let Ok(Some(record)) = db.get(&format!("large {n}")) {
            assert!(record.data().unwrap().iter().all(|byte| *byte == b'a'), "{what}");
        }
    }
    if let Ok(Some(record)) = db.get("sealed to us") {
        assert_eq!(text(&record), "\"hello\"", "{what}");
    }
    // An export ends, with an error or a whole stream of good lines.
    let mut out = Vec::new();
    let exported = db.export(thingdb::ExportOptions::new(), &mut out);
    let (_scratch, other) = thingdb_tests::database::fresh();
    let summary = other.import(ImportOptions::new().trust(TrustPolicy::All), &out[..]).unwrap();
    assert_eq!(summary.refused, 0, "{what}: {exported:?}, {summary:?}");
    (warnings, report.problems)
}

fn kind(key: &[u8]) -> char {
    char::from(key[0])
}

#[test]
fn a_bit_of_a_row_of_any_kind_is_noticed() {
    let mut victim = Victim::new();
    let mut kinds: BTreeMap<char, usize> = BTreeMap::new();
    for (key, value) in victim.rows() {
        let seen = kinds.entry(kind(&key)).or_default();
        *seen += 1;
        if *seen > 3 {
            continue;
        }
        let dir = victim.copy();
        let mut altered = value.clone();
        let at = altered.len() / 2;
        altered[at] ^= 4;
        Rows::edit(&dir, |rows| rows.put(&key, altered));
        assert_noticed(&dir, &format!("a bit of a row {}", kind(&key)));
    }
    assert_eq!(kinds.keys().collect::<String>(), "CKLMPST");
}

#[test]
fn a_row_of_any_kind_that_is_gone_is_noticed() {
    let mut victim = Victim::new();
    let mut kinds: BTreeMap<char, usize> = BTreeMap::new();
    for (key, _) in victim.rows() {
        let seen = kinds.entry(kind(&key)).or_default();
        *seen += 1;
        // Without this row the whole ledger is read anew: nothing is lost.
        if *seen > 3 || key == b"Sindexed" {
            continue;
        }
        let dir = victim.copy();
        Rows::edit(&dir, |rows| rows.delete(&key));
        assert_noticed(&dir, &format!("a row {} that is gone", kind(&key)));
    }
}

#[test]
fn rows_of_any_kind_that_change_places_are_noticed() {
    let mut victim = Victim::new();
    let all = victim.rows();
    for kind_of in "CLMPT".chars() {
        let of_kind: Vec<&Row> = all.iter().filter(|(key, _)| kind(key) == kind_of).collect();
        let [(first, a), .., (last, b)] = of_kind[..] else { panic!("too few rows {kind_of}") };
        let dir = victim.copy();
        Rows::edit(&dir, |rows| rows.put_all([(first.clone(), Some(b.clone())), (last.clone(), Some(a.clone()))]));
        assert_noticed(&dir, &format!("rows {kind_of} that change places"));
        let dir = victim.copy();
        Rows::edit(&dir, |rows| rows.put(last, a.clone()));
        assert_noticed(&dir, &format!("a row {kind_of} that stands twice"));
    }
}

#[test]
fn rows_that_nobody_wrote_are_no_panic() {
    let mut victim = Victim::new();
    let block = victim.rows().into_iter().find(|(key, _)| kind(key) == 'L').unwrap().1;
    let state = victim.rows().into_iter().find(|(key, _)| kind(key) == 'T').unwrap().1;
    let huge = [&[255][..], &[0; 11], &[0, 16].repeat(255), &[7; 256 * 16]].concat();
    let planted: Vec<(&str, Vec<u8>, Vec<u8>)> = vec![
        ("a block at the last position", block_key(u64::MAX), block.clone()),
        ("a block far away", block_key(1 << 40), block.clone()),
        ("a block just behind the end", block_key(413), block.clone()),
        ("a block of many records", block_key(412), huge),
        ("a block without a position", b"L".to_vec(), block.clone()),
        ("a block with half a position", b"L\0\0\0\xff".to_vec(), block.clone()),
        ("a block with a long position", [&block_key(7)[..], b"x"].concat(), block),
        ("a block that promises too much", block_key(1 << 20), vec![0xff; 100]),
        ("an empty block", block_key(413), Vec::new()),
        ("a block of no records", block_key(413), vec![0; 16]),
        ("a state of nobody", b"T0123456789abcdef".to_vec(), state.clone()),
        ("a state without a tag", b"T".to_vec(), state),
        ("a tile of the highest level", tile_key(255, u64::MAX), vec![0; 40]),
        ("a tile behind the last", tile_key(0, 1 << 30), vec![0; 40]),
        ("an index of garbage", b"Sindexed".to_vec(), b"garbage".to_vec()),
    ];
    for (what, key, value) in planted {
        println!("{what}");
        let dir = victim.copy();
        Rows::edit(&dir, |rows| rows.put(&key, value));
        let opened = relaxed().open(&dir, &passphrase());
        match opened {
            Ok(db) => {
                let report = verify(&db);
                let silent = report.is_ok() && db.warnings().is_empty();
                // A row that nothing leads to is read by nobody.
                assert!(!silent || kind(&key) == 'M' || key == b"L", "{what}: nobody noticed");
                // One took the place of the last entry.
                for n in 0..LAMPS - 1 {
                    assert_eq!(
                        text(&db.get(&format!("lamp {n}")).unwrap().unwrap()),
                        format!("\"{n} again\""),
                        "{what}"
                    );
                }
            }
            Err(problem) => panic!("{what}: it does not open: {problem}"),
        }
    }
}

/// A record that got its payload later: the block from before opens just as
/// well, and the entry is a stub again. That costs the data and shows in the
/// counts.
#[test]
fn an_older_version_of_a_block_shows_as_a_stub() {
    let (scratch, db) = thingdb_tests::database::fresh();
    let dir = scratch.path().join("db");
    let mut stranger = Stranger::default();
    stranger.readers.push(db.card().unwrap().encryption_key);
    db.trust_actor("mallory", stranger.actor()).unwrap();
    let entry = stranger.entry(&Plan::first("lamp", 1, "1"));
    let stub = Entry { payload: None, ..entry.clone() };
    let all = || ImportOptions::new().trust(TrustPolicy::All);
    assert_eq!(db.import(all(), &line_of(&stub)[..]).unwrap().added, 1);
    assert_eq!(verify(&db).stubs, 1);
    db.close().unwrap();
    let older = Rows::edit(&dir, |rows| rows.get(&block_key(0)));
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!(db.import(all(), &line_of(&entry)[..]).unwrap().completed, 1);
    assert_eq!(text(&db.get("lamp").unwrap().unwrap()), "1");
    assert_eq!(assert_intact(&db).stubs, 0);
    db.close().unwrap();
    Rows::edit(&dir, |rows| rows.put(&block_key(0), older));
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!(assert_intact(&db).stubs, 1);
    assert_eq!(db.get("lamp").unwrap().unwrap().content(), &thingdb::Content::Stub);
    // The payload can come again.
    assert_eq!(db.import(all(), &line_of(&entry)[..]).unwrap().completed, 1);
    assert_eq!(text(&db.get("lamp").unwrap().unwrap()), "1");
}

/// The state of a thing from before its last entries opens just as well:
/// verification compares it with the ledger.
#[test]
fn an_older_version_of_a_state_is_noticed() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    db.put("lamp", "1").unwrap();
    db.close().unwrap();
    let (key, older) = Rows::edit(&dir, |rows| rows.all(b"T").remove(0));
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    db.put("lamp", "2").unwrap();
    db.close().unwrap();
    Rows::edit(&dir, |rows| rows.put(&key, older));
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let report = verify(&db);
    assert!(report.problems.iter().any(|problem| problem.verdict == Verdict::BadIndex
        && problem.thing.as_ref().is_some_and(|thing| thing.as_str() == "lamp")));
    drop(db);
    let db = relaxed().rebuild(true).open(&dir, &passphrase()).unwrap();
    assert_intact(&db);
    assert_eq!(text(&db.get("lamp").unwrap().unwrap()), "2");
}

/// Every bit of every line of an export: the line is refused, or what it gives
/// is the entry that it was.
#[test]
fn every_bit_of_a_line_is_refused_or_no_part_of_the_entry() {
    let (_scratch, db) = thingdb_tests::database::fresh();
    db.put("lamp", "1").unwrap();
    db.write_batch(["a", "b", "c"].map(|thing| Draft::json(thing, "2").unwrap()).to_vec()).unwrap();
    db.put("lamp", "3").unwrap();
    let stream = export(&db);
    let lines: Vec<&[u8]> =
        stream.split_inclusive(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"v\"")).collect();
    assert_eq!(lines.len(), 5);
    let mut accepted = 0;
    for good in &lines {
        let entry = line::decode(good, 1).unwrap();
        let verifier = Verifier::new(&entry.header.actor.0).unwrap();
        for bit in 0..good.len() * 8 {
            let mut altered = good.to_vec();
            altered[bit / 8] ^= 1 << (bit % 8);
            // Cheap checks first: most do not decode.
            let Ok(found) = line::decode(&altered, 1) else { continue };
            let Ok(found) = found.verify(&verifier) else { continue };
            let found = found.into_entry();
            assert_eq!(found.header, entry.header, "bit {bit}");
            assert_eq!(found.signature, entry.signature, "bit {bit}");
            assert_eq!(found.payload, entry.payload, "bit {bit}");
            accepted += 1;
        }
        assert!(matches!(entry.signature, Signature::Single(_) | Signature::Batch(_)));
    }
    // Bits of the envelopes are not signed.
    assert!(accepted > 0);
}

/// The same through an import: a node that holds all altered lines holds the
/// entry itself or nothing.
#[test]
fn an_import_of_altered_lines_adds_the_entry_or_nothing() {
    let (_scratch, db) = thingdb_tests::database::fresh();
    db.put("lamp", "{\"n\":1}").unwrap();
    let stream = export(&db);
    let good = stream.split_inclusive(|byte| *byte == b'\n').find(|line| line.starts_with(b"{\"v\"")).unwrap();
    let entry = line::decode(good, 1).unwrap();
    // Without the end of the line, so that no flip makes a second line.
    let bits = (good.len() - 1) * 8;
    let mut altered = Vec::new();
    let mut lines = 0;
    for bit in 0..bits {
        let mut line = good.to_vec();
        line[bit / 8] ^= 1 << (bit % 8);
        if line[bit / 8] != b'\n' {
            altered.extend(line);
            lines += 1;
        }
    }
    let check = |other: &Db, summary: thingdb::ImportSummary| {
        let sum = summary.added + summary.known + summary.completed + summary.refused;
        assert_eq!((sum, summary.pending), (lines, 0), "{summary:?}");
        assert!(other.stats().unwrap().entries <= 1);
        if let Some(record) = other.get("lamp").unwrap() {
            assert_eq!(record.id(), entry.id());
            assert_eq!(record.header(), &entry.header);
        }
        assert!(verify(other).problems.iter().all(|problem| problem.verdict == Verdict::UnknownActor));
    };
    // A stranger takes what verifies.
    let (_other_scratch, other) = thingdb_tests::database::fresh();
    let summary = other.import(ImportOptions::new().trust(TrustPolicy::All), &altered[..]).unwrap();
    assert_eq!(summary.added, 1, "bits of the envelope are no part of the entry");
    check(&other, summary);
    // The node itself, and it opens what is sealed to it.
    let copy = scratch();
    thingdb_tests::database::keys_alone(db.dir(), &copy.path().join("own"));
    let own = relaxed().open(copy.path().join("own"), &passphrase()).unwrap();
    let summary = own.import(ImportOptions::new(), &altered[..]).unwrap();
    check(&own, summary);
    assert_eq!(own.import(ImportOptions::new(), good).unwrap().refused, 0);
    assert_eq!(text(&own.get("lamp").unwrap().unwrap()), "{\"n\":1}");
    assert_intact(&own);
}

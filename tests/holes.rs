//! What cannot be read, in the middle of a ledger: it is named, and the rest
//! comes out.

use thingdb::{Db, ExportOptions, ImportOptions, TrustPolicy, Verdict, VerifyOptions};
use thingdb_tests::database::{fresh, options, passphrase, scratch};
use thingdb_tests::rows::Rows;

/// Entries of five things, each in a block of its own, and one with a payload
/// in parts.
const ENTRIES: u64 = 40;

fn filled() -> (tempfile::TempDir, std::path::PathBuf) {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = options().create(&dir, &passphrase()).unwrap();
    for n in 0..ENTRIES - 1 {
        db.put(&format!("thing-{}", n % 5), n.to_string().as_str()).unwrap();
    }
    let large = format!("\"{}\"", "a".repeat(20_000));
    db.put("large", large.as_str()).unwrap();
    db.close().unwrap();
    (scratch, dir)
}

fn open(dir: &std::path::Path) -> Db {
    options().open(dir, &passphrase()).unwrap()
}

/// The blocks, by first position.
fn blocks(rows: &Rows) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.all(b"L").into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn an_export_goes_past_holes_and_names_them() {
    let (_scratch, dir) = filled();
    let mut lost = Vec::new();
    Rows::edit(&dir, |rows| {
        let blocks = blocks(rows);
        let position = |key: &[u8]| u64::from_be_bytes(key[1..].try_into().unwrap());
        // One is gone, of one the layout is garbled, and of one a record.
        let (gone, garbled, record) = (&blocks[3], &blocks[7], &blocks[9]);
        rows.delete(&gone.0);
        rows.put(&garbled.0, b"no block".to_vec());
        let mut flipped = record.1.clone();
        *flipped.last_mut().unwrap() ^= 1;
        rows.put(&record.0, flipped);
        lost.extend([gone, garbled, record].map(|(key, _)| position(key)));
        // The last entry keeps its record and loses a part of its payload.
        let part = rows.all(b"P").pop().unwrap().0;
        rows.delete(&part);
        lost.push(ENTRIES - 1);
    });
    let db = open(&dir);
    // Who wants the whole or nothing gets an error.
    let refused = db.export(ExportOptions::new(), Vec::new()).unwrap_err();
    assert!(refused.is_damaged(), "{refused}");
    let mut stream = Vec::new();
    let summary = db.export(ExportOptions::new().past_holes(true), &mut stream).unwrap();
    let found: Vec<u64> = summary.holes.iter().flat_map(|hole| hole.positions.clone()).collect();
    assert_eq!(found, lost, "{:?}", summary.holes);
    assert_eq!(summary.lost, 4);
    // The one without its payload goes as a stub.
    assert_eq!(summary.entries, ENTRIES - 3);
    for hole in &summary.holes {
        let expected = match hole.positions.start {
            39 => ("large".to_owned(), 1),
            position => (format!("thing-{}", position % 5), position / 5 + 1),
        };
        let named: Vec<_> = hole.entries.iter().map(|(thing, seq)| (thing.to_string(), *seq)).collect();
        assert_eq!(named, [expected], "{hole}");
    }

    // What came out verifies elsewhere, and is seen to be a part.
    let (_other_scratch, other) = fresh();
    let imported = other.import(ImportOptions::new().trust(TrustPolicy::All), &stream[..]).unwrap();
    assert_eq!((imported.entries, imported.refused), (ENTRIES - 3, 0), "{imported:?}");
    assert!(!format!("{:?}", imported.stream).starts_with("Whole"), "{:?}", imported.stream);

    // `verify` names the same, and counts the rest.
    let report = db.verify(VerifyOptions::new()).unwrap();
    for position in &lost {
        let named = report.problems.iter().any(|problem| {
            problem.verdict == Verdict::Unreadable && problem.position == Some(*position) && problem.thing.is_some()
        });
        assert!(named, "position {position}: {:?}", report.problems);
    }
    // The histories go on behind them.
    let readable = db.history("thing-3").unwrap().filter(std::result::Result::is_ok).count();
    assert_eq!(readable, 8 - lost.iter().filter(|position| *position % 5 == 3).count());
}

#[test]
fn an_export_of_a_stretch_tells_of_the_holes_in_it() {
    let (_scratch, dir) = filled();
    Rows::edit(&dir, |rows| {
        for (key, _) in blocks(rows).drain(10..20) {
            rows.delete(&key);
        }
    });
    let db = open(&dir);
    for (since, until, lost, entries) in [(0, 10, 0, 10), (5, 15, 5, 5), (12, 30, 8, 10), (20, 30, 0, 10)] {
        let options = ExportOptions::new().past_holes(true).since(since).until(until);
        let summary = db.export(options, Vec::new()).unwrap();
        assert_eq!((summary.lost, summary.entries), (lost, entries), "{since} to {until}");
        let places: Vec<_> = summary.holes.iter().map(|hole| hole.positions.clone()).collect();
        let expected: Vec<_> = (lost > 0).then(|| since.max(10)..until.min(20)).into_iter().collect();
        assert_eq!(places, expected);
    }
}

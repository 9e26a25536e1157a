//! Blocks of records: how large they are, and what becomes of one that grows.

use thingdb::{Db, Draft, ExportOptions, ImportOptions, TrustPolicy, Unlock};
use thingdb_format::Entry;
use thingdb_tests::database::{assert_intact, passphrase, relaxed, scratch, text};
use thingdb_tests::rows::Rows;
use thingdb_tests::stranger::{Stranger, lines_of};

fn import(db: &Db, entries: &[Entry]) -> thingdb::ImportSummary {
    db.import(ImportOptions::new().trust(TrustPolicy::All), &lines_of(entries)[..]).unwrap()
}

/// Stubs lie close together. When they get their payloads, what has no room in their
/// block goes into another one, and everything finds them there.
#[test]
fn a_block_that_grows_becomes_several() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let mut stranger = Stranger::default();
    stranger.readers.push(db.card().unwrap().encryption_key);
    db.trust_actor("mallory", stranger.actor()).unwrap();
    let whole = stranger.history("grows", 1_000_000, 120);
    let stubs: Vec<Entry> =
        whole.iter().cloned().map(|entry| Entry { payload: None, envelopes: Vec::new(), ..entry }).collect();
    assert_eq!(import(&db, &stubs).added, 120);
    db.put("behind", "1").unwrap();
    db.close().unwrap();
    let blocks = || Rows::edit(&dir, |rows| rows.all(b"L"));
    let before = blocks();

    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_eq!(import(&db, &whole).completed, 120);
    db.put("behind", "2").unwrap();
    let read = |db: &Db| -> Vec<u64> {
        db.history("grows")
            .unwrap()
            .map(|record| record.unwrap())
            .inspect(|record| assert!(!text(record).is_empty()))
            .map(|record| record.seq())
            .collect()
    };
    let check = |db: &Db| {
        assert_intact(db);
        assert_eq!(read(db), (1..=120).collect::<Vec<_>>());
        assert_eq!(db.get("grows").unwrap().unwrap().seq(), 120);
        let mut out = Vec::new();
        let summary = db.export(ExportOptions::new(), &mut out).unwrap();
        assert_eq!((summary.entries, summary.holes.len()), (122, 0));
    };
    check(&db);
    db.close().unwrap();
    let after = blocks();
    assert!(after.len() > before.len() + 2, "{} blocks became {}", before.len(), after.len());
    assert!(after.iter().all(|(_, row)| row.len() < 7000));
    for rebuild in [false, true] {
        let db = relaxed().rebuild(rebuild).open(&dir, &passphrase()).unwrap();
        check(&db);
        db.close().unwrap();
    }
    // What the log of the storage still has of before gives way to what came later.
    let out = scratch.path().join("salvaged");
    let passphrase = passphrase();
    let salvage = relaxed().salvage(&dir, &out, Unlock::Passphrase(&passphrase), &[]).unwrap();
    let salvaged = salvage.finish().unwrap();
    assert!(salvaged.is_whole(), "{salvaged:?}");
    check(&relaxed().open(&out, &passphrase).unwrap());
}

/// What is stored of an entry with 256 bytes of JSON, besides what the storage adds.
#[test]
fn records_take_no_more_than_they_must() {
    let scratch = scratch();
    let data = |n: usize| format!("{{\"n\":\"{n:08}\",\"text\":\"{}\"}}", "x".repeat(230));
    assert_eq!(data(0).len(), 256);
    let thing = |n: usize| format!("thing/{:05}", n % 1000);
    let bytes_an_entry = |name: &str, write: &dyn Fn(&Db)| {
        let dir = scratch.path().join(name);
        let db = relaxed().create(&dir, &passphrase()).unwrap();
        write(&db);
        let entries = db.stats().unwrap().entries as usize;
        db.close().unwrap();
        let bytes: usize = Rows::edit(&dir, |rows| rows.all(b"L")).iter().map(|(key, row)| key.len() + row.len()).sum();
        println!("{name}: {} bytes an entry", bytes / entries);
        bytes / entries
    };
    let singly = bytes_an_entry("singly", &|db| {
        for n in 0..2000 {
            db.put(&thing(n), &data(n)).unwrap();
        }
    });
    let batch = |db: &Db, thing: &dyn Fn(usize) -> String| {
        for start in [0, 1000] {
            let drafts = (start..start + 1000).map(|n| Draft::json(&thing(n), data(n)).unwrap());
            db.write_batch(drafts.collect()).unwrap();
        }
    };
    let batches = bytes_an_entry("batches", &|db| batch(db, &thing));
    let history = bytes_an_entry("batches of one thing", &|db| batch(db, &|_| "thing".to_owned()));
    assert!(singly <= 590 && batches <= 480 && history <= 455, "{singly}, {batches}, {history}");
}

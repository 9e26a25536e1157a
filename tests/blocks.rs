//! Blocks of records: how large they are, and what becomes of one that grows.

use std::fs;
use std::path::Path;

use thingdb::{Db, Draft, ExportOptions, ImportOptions, Options, TrustPolicy, Unlock, VerifyOptions};
use thingdb_format::Entry;
use thingdb_tests::database::{Dice, assert_intact, copy_directory, passphrase, relaxed, rounds, scratch, seed, text};
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

/// Blocks that were written one by one lie in few rows of the store. What is read of it
/// is the same as of a store that has each by itself, of the journal, and of a store
/// that is built anew from it, whatever was written, completed and killed in between.
#[test]
fn blocks_that_were_written_one_by_one_lie_together() {
    let mut dice = Dice::new(seed("blocks together"));
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let mut db = relaxed().create(&dir, &passphrase()).unwrap();
    let mut stranger = Stranger::default();
    stranger.readers.push(db.card().unwrap().encryption_key);
    db.trust_actor("mallory", stranger.actor()).unwrap();
    let mut waiting: Vec<Entry> = Vec::new();
    for round in 0..rounds(6) {
        for n in 0..dice.roll(60) {
            let text = format!("\"{}\"", "x".repeat(1 + dice.roll(900) as usize));
            db.put(&format!("thing/{}", dice.roll(9)), &text).unwrap();
            if n % 20 == 19 {
                db.sync().unwrap();
            }
        }
        let drafts = (0..1 + dice.roll(20)).map(|n| Draft::json(&format!("thing/{n}"), format!("{round}")).unwrap());
        db.write_batch(drafts.collect()).unwrap();
        let whole = stranger.history(&format!("of others/{round}"), 1_000_000, 5);
        for entry in &whole {
            let stub = Entry { payload: None, envelopes: Vec::new(), ..entry.clone() };
            assert_eq!(import(&db, &[stub]).added, 1);
        }
        waiting.extend(whole);
        if dice.roll(2) == 0 {
            assert_eq!(import(&db, &waiting).completed, waiting.len() as u64);
            waiting.clear();
        }
        db = match dice.roll(3) {
            0 => db,
            1 => {
                db.close().unwrap();
                relaxed().open(&dir, &passphrase()).unwrap()
            }
            _ => {
                // A copy of a directory that is open is what a kill leaves of it.
                let killed = scratch.path().join(format!("killed {round}"));
                db.sync().unwrap();
                copy_directory(&dir, &killed);
                drop(db);
                fs::remove_dir_all(&dir).unwrap();
                fs::rename(killed, &dir).unwrap();
                relaxed().open(&dir, &passphrase()).unwrap()
            }
        };
    }
    assert_eq!(import(&db, &waiting).completed, waiting.len() as u64);
    assert_intact(&db);
    db.close().unwrap();
    let read = |dir: &Path, options: Options| {
        let db = options.open(dir, &passphrase()).unwrap();
        assert_intact(&db);
        let mut entries = Vec::new();
        for thing in db.things().unwrap() {
            let history = db.history(thing.unwrap().thing.as_str()).unwrap().map(|record| record.unwrap());
            entries.extend(history.map(|record| (record.position(), record.id(), text(&record).to_owned())));
        }
        db.close().unwrap();
        entries
    };
    let expected = read(&dir, relaxed());
    let blocks = Rows::edit(&dir, |rows| rows.all(b"L"));
    let of_store = Rows::edit_ungrouped(&dir, |rows| rows.all(b"L"));
    assert!(of_store.len() * 3 < blocks.len() * 2, "{} blocks lie in {} rows", blocks.len(), of_store.len());

    // One by one.
    let apart = scratch.path().join("apart");
    copy_directory(&dir, &apart);
    Rows::edit_ungrouped(&apart, |rows| {
        rows.put_all(of_store.iter().map(|(key, _)| (key.clone(), None)));
        rows.put_all(blocks.iter().map(|(key, value)| (key.clone(), Some(value.clone()))));
    });
    assert!(read(&apart, relaxed()) == expected);
    // The journal alone, and the store that is built from it.
    assert!(read(&dir, relaxed().read_only(true)) == expected);
    fs::remove_dir_all(apart.join("store")).unwrap();
    assert!(read(&apart, relaxed()) == expected);
    assert!(Rows::edit(&apart, |rows| rows.all(b"L")) == blocks);

    // What is lost or damaged of one of them comes from the journal.
    let (key, _) = &of_store[of_store.len() / 2];
    Rows::edit_ungrouped(&dir, |rows| rows.delete(key));
    assert!(read(&dir, relaxed().heal(true)) == expected);
    assert!(Rows::edit(&dir, |rows| rows.all(b"L")) == blocks);
    let (key, _) = of_store.iter().find(|(key, _)| key.len() == 10).unwrap();
    Rows::edit_ungrouped(&dir, |rows| rows.put(key, b"nonsense".to_vec()));
    if let Ok(db) = relaxed().open(&dir, &passphrase()) {
        assert!(db.verify(VerifyOptions::new()).is_err() || !db.verify(VerifyOptions::new()).unwrap().is_ok());
        let _ = db.close();
    }
    assert!(read(&dir, relaxed()) == expected);
    assert!(Rows::edit(&dir, |rows| rows.all(b"L")) == blocks);
}

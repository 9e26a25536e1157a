//! A sync that fails ends all writing, for good: the kernel may have dropped
//! what it could not write. Reading goes on, and opening anew works.

use thingdb::{Db, Draft, Durability, Options};
use thingdb_tests::database::{assert_intact, options, passphrase, scratch, text};

/// Every call that writes is refused as read-only.
fn assert_refuses_writes(db: &Db) {
    for _ in 0..2 {
        for durability in [Durability::Durable, Durability::Relaxed] {
            let problem = db.write_with(Draft::json("lamp", "0").unwrap(), durability).unwrap_err();
            assert!(problem.is_read_only(), "{problem}");
            assert!(problem.to_string().contains("made to fail"), "it does not say why: {problem}");
        }
        assert!(db.checkpoint().unwrap_err().is_read_only());
        assert!(db.sync().unwrap_err().is_read_only());
    }
}

#[test]
fn the_first_failed_sync_ends_writing_and_reading_goes_on() {
    let scratch = scratch();
    // The n-th sync fails; creation and each write need some.
    for n in 1..12 {
        let dir = scratch.path().join(format!("{n}"));
        let failing = Options::fail_sync_at(options(), n);
        options().create(&dir, &passphrase()).unwrap().close().unwrap();
        let db = failing.open(&dir, &passphrase()).unwrap();
        let mut acknowledged = Vec::new();
        let problem = loop {
            match db.put("lamp", &format!("{}", acknowledged.len())) {
                Ok(receipt) => acknowledged.push(receipt),
                Err(problem) => break problem,
            }
            assert!(acknowledged.len() < 100, "a sync fails at some point");
        };
        assert!(problem.is_read_only(), "{problem}");
        assert_refuses_writes(&db);
        for (n, receipt) in acknowledged.iter().enumerate() {
            let records = db.get_seq("lamp", receipt.seq).unwrap();
            assert_eq!(text(&records[0]), n.to_string());
        }
        // What was not acknowledged is visible as one of the last, or is not.
        assert!(db.stats().unwrap().entries <= acknowledged.len() as u64 + 1);
        assert!(db.close().is_err(), "a close that could not sync says so");

        let db = options().open(&dir, &passphrase()).unwrap();
        assert_eq!(db.warnings(), []);
        let size = assert_intact(&db).size;
        assert!((acknowledged.len() as u64..=acknowledged.len() as u64 + 1).contains(&size), "{size} entries");
        for receipt in &acknowledged {
            assert_eq!(db.get_seq("lamp", receipt.seq).unwrap()[0].id(), receipt.id);
        }
        db.put("lamp", "\"again\"").unwrap();
        db.close().unwrap();
    }
}

/// Those who wait for the same sync all hear that it failed.
#[test]
fn no_thread_is_told_that_its_write_is_durable_when_the_sync_failed() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    options().create(&dir, &passphrase()).unwrap().close().unwrap();
    let db = Options::fail_sync_at(options(), 5).open(&dir, &passphrase()).unwrap();
    let acknowledged: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|thread| {
                let db = &db;
                scope.spawn(move || {
                    let write = |n: i32| db.put(&format!("thing {thread}"), &format!("{n}"));
                    (0..1000).map_while(|n| write(n).ok()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(acknowledged.len() < 100);
    assert_refuses_writes(&db);
    drop(db);
    let db = options().open(&dir, &passphrase()).unwrap();
    for receipt in acknowledged {
        assert_eq!(db.get_seq(receipt.thing.as_str(), receipt.seq).unwrap()[0].id(), receipt.id);
    }
    assert_intact(&db);
}

/// A relaxed write that nobody waits for fails behind the scenes: the next one
/// is told.
#[test]
fn a_sync_that_fails_with_nobody_waiting_shows_at_the_next_write() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    options().create(&dir, &passphrase()).unwrap().close().unwrap();
    let db = Options::fail_sync_at(options(), 1).open(&dir, &passphrase()).unwrap();
    db.write_with(Draft::json("lamp", "1").unwrap(), Durability::Relaxed).unwrap();
    let problem = db.sync().unwrap_err();
    assert!(problem.is_read_only(), "{problem}");
    assert_refuses_writes(&db);
    assert_eq!(text(&db.get("lamp").unwrap().unwrap()), "1");
    // An export reads, and so works; it has no new checkpoint to give.
    let mut out = Vec::new();
    let summary = db.export(thingdb::ExportOptions::new(), &mut out);
    assert_eq!(summary.expect("reading goes on").entries, 1);
}

/// What was written is not refused because its checkpoint cannot be.
#[test]
fn a_checkpoint_that_cannot_be_written_refuses_no_entry() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = options().durability(Durability::Relaxed).create(&dir, &passphrase()).unwrap();
    let checkpoint = dir.join("checkpoint");
    std::fs::remove_file(&checkpoint).unwrap();
    // A directory in its place that is not empty: no file can take it.
    std::fs::create_dir_all(checkpoint.join("in the way")).unwrap();
    let batch = || (0..4096).map(|n| Draft::bytes(&format!("{}", n % 50), "text/plain", "x").unwrap()).collect();
    for _ in 0..5 {
        db.write_batch(batch()).unwrap();
    }
    assert!(db.checkpoint().is_err());
    std::fs::remove_dir_all(&checkpoint).unwrap();
    db.put("lamp", "1").unwrap();
    assert_eq!(db.last_checkpoint().unwrap().unwrap().claimed().size, 5 * 4096 + 1);
    db.close().unwrap();
    assert_eq!(options().open(&dir, &passphrase()).unwrap().stats().unwrap().entries, 5 * 4096 + 1);
}

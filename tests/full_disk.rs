//! A disk without room stops writes, and nothing else: they say so, reading and
//! exporting go on, nothing that was acknowledged is lost, the database opens
//! while the disk is full, and writing goes on once there is room.
//!
//! On a small tmpfs; needs root to mount, is skipped, and says so, without.

use std::fs;
use std::path::Path;

use thingdb::{Db, Draft, ImportOptions, Options, Receipt, Result, TrustPolicy};
use thingdb_tests::database::{assert_intact, export, fresh, options, passphrase, scratch};
use thingdb_tests::disk::Tmpfs;

fn small() -> Options {
    options().free_floor_bytes(1 << 20).reserve_bytes(1 << 20).cache_bytes(4 << 20)
}

/// A tmpfs with a database, or the reason why there is none.
fn tmpfs(size: &str) -> Option<(tempfile::TempDir, Tmpfs)> {
    let scratch = scratch();
    match Tmpfs::new(scratch.path(), size) {
        Ok(tmpfs) => Some((scratch, tmpfs)),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

fn put(db: &Db, n: usize) -> Result<Receipt> {
    let data = format!("{n} ").repeat(600);
    db.write(Draft::bytes(&format!("thing {}", n % 20), "text/plain", data)?)
}

/// Writes until it is refused for want of room.
fn fill(db: &Db, receipts: &mut Vec<Receipt>) {
    loop {
        match put(db, receipts.len()) {
            Ok(receipt) => receipts.push(receipt),
            Err(problem) => {
                assert!(problem.is_disk_full(), "{problem}");
                assert!(problem.to_string().contains("free"), "{problem}");
                return;
            }
        }
        assert!(receipts.len() < 50_000, "the disk is full at some point");
    }
}

fn assert_all_there(db: &Db, receipts: &[Receipt]) {
    // A sample; verification reads them all.
    for receipt in receipts.iter().step_by(5).chain(receipts.last()) {
        let found = db.get_seq(receipt.thing.as_str(), receipt.seq).unwrap();
        assert_eq!(found.iter().map(thingdb::Record::id).collect::<Vec<_>>(), [receipt.id]);
    }
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let Some((_scratch, tmpfs)) = tmpfs("8m") else { return };
    let dir = tmpfs.path().join("db");
    let db = small().create(&dir, &passphrase()).unwrap();
    let mut receipts = Vec::new();
    fill(&db, &mut receipts);
    println!("{} entries fit", receipts.len());
    assert!(receipts.len() > 50);

    // Every way to write says the same, and leaves nothing behind.
    let size = db.stats().unwrap().entries;
    assert_eq!(size, receipts.len() as u64);
    for _ in 0..3 {
        assert!(put(&db, 0).unwrap_err().is_disk_full());
        let batch = (0..10).map(|n| Draft::json("batch", format!("{n}")).unwrap()).collect();
        assert!(db.write_batch(batch).unwrap_err().is_disk_full());
        let (_other_scratch, other) = fresh();
        other.put("lamp", "1").unwrap();
        let all = ImportOptions::new().trust(TrustPolicy::All);
        assert!(db.import(all, &export(&other)[..]).unwrap_err().is_disk_full());
    }
    assert_eq!(db.stats().unwrap().entries, size);
    assert!(db.get("batch").unwrap().is_none());

    // Reading goes on.
    assert_all_there(&db, &receipts);
    assert_intact(&db);
    let (_copy_scratch, copy) = fresh();
    let summary = copy.import(ImportOptions::new().trust(TrustPolicy::All), &export(&db)[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (size, 0));

    // It opens while the disk is full to the last byte.
    drop(db);
    let db = full_to_the_last_byte(&tmpfs, &dir, &receipts);

    // Writing goes on once there is room, without opening anew.
    tmpfs.resize("64m");
    receipts.push(put(&db, receipts.len()).unwrap());
    db.checkpoint().unwrap();
    db.close().unwrap();
    let db = small().open(&dir, &passphrase()).unwrap();
    assert_all_there(&db, &receipts);
    assert_eq!(db.warnings(), []);
    assert_intact(&db);
}

fn full_to_the_last_byte(tmpfs: &Tmpfs, dir: &Path, receipts: &[Receipt]) -> Db {
    let filler = tmpfs.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    let mut written = 0;
    while std::io::Write::write_all(&mut file, &[0xaa; 4096]).is_ok() {
        written += 4096;
    }
    println!("{written} bytes of somebody else's");
    let db = small().open(dir, &passphrase()).unwrap();
    assert_all_there(&db, receipts);
    assert_intact(&db);
    assert!(put(&db, 0).unwrap_err().is_disk_full());
    // Also a second time: whatever room was given up is not there any more.
    drop(db);
    let db = small().open(dir, &passphrase()).unwrap();
    assert_all_there(&db, receipts);
    assert!(put(&db, 0).unwrap_err().is_disk_full());
    fs::remove_file(filler).unwrap();
    db
}

/// The disk fills up under a writer that does not ask first: no entry is torn,
/// none that was acknowledged is lost.
#[test]
fn a_disk_that_fills_up_without_warning_loses_nothing_acknowledged() {
    let Some((_scratch, tmpfs)) = tmpfs("6m") else { return };
    let dir = tmpfs.path().join("db");
    // No floor: the file system itself refuses.
    let careless = || small().free_floor_bytes(0).reserve_bytes(512 << 10);
    let db = careless().create(&dir, &passphrase()).unwrap();
    let mut receipts = Vec::new();
    let problem = loop {
        match put(&db, receipts.len()) {
            Ok(receipt) => receipts.push(receipt),
            Err(problem) => break problem,
        }
        assert!(receipts.len() < 50_000, "the disk is full at some point");
    };
    assert!(problem.is_disk_full() || problem.is_read_only(), "{problem}");
    drop(db);
    tmpfs.resize("64m");
    let db = careless().open(&dir, &passphrase()).unwrap();
    assert_all_there(&db, &receipts);
    assert_intact(&db);
    receipts.push(put(&db, receipts.len()).unwrap());
    db.close().unwrap();
    assert_all_there(&careless().open(&dir, &passphrase()).unwrap(), &receipts);
}

#[test]
fn a_database_is_not_made_on_a_full_disk_and_can_be_made_later() {
    let Some((_scratch, tmpfs)) = tmpfs("4m") else { return };
    let dir = tmpfs.path().join("db");
    fs::write(tmpfs.path().join("filler"), vec![0; 5 << 20]).unwrap_err();
    let problem = small().create(&dir, &passphrase()).unwrap_err();
    assert!(problem.is_disk_full(), "{problem}");
    assert!(small().open(&dir, &passphrase()).unwrap_err().is_no_database());
    fs::remove_file(tmpfs.path().join("filler")).unwrap();
    tmpfs.resize("32m");
    let db = small().create(&dir, &passphrase()).unwrap();
    put(&db, 0).unwrap();
    db.close().unwrap();
}

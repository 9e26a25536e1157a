//! What was acknowledged as durable survives when the power goes, in a whole
//! database: entries, keyring, checkpoint.
//!
//! A child writes to an ext4 image on a loop device from several threads; in
//! the middle of that the file system is shut down without a flush of its
//! journal, so that what had not reached the device is gone. After a restart
//! the database has to open, hold every durable entry, agree with its own
//! checkpoint, and verify.
//!
//! Needs root, a loop device, `mkfs.ext4` and `python3`; is skipped, and says
//! so, without them.

use std::fs;
use std::thread;
use std::time::Duration;

use thingdb_tests::acknowledged::{self, Acknowledged, Writer};
use thingdb_tests::database::{Dice, assert_intact, options, passphrase, rounds, scratch, seed};
use thingdb_tests::disk::LoopDisk;

const WRITER: &str = env!("CARGO_BIN_EXE_db_writer");

/// Bytes that have to be free for a write: the image is small.
const FLOOR: &str = "2000000";

fn disk(scratch: &tempfile::TempDir) -> Option<LoopDisk> {
    match LoopDisk::new(scratch.path(), 4 << 30) {
        Ok(disk) => Some(disk),
        Err(reason) => {
            println!("skipped: {reason}");
            None
        }
    }
}

#[test]
fn durable_entries_survive_power_cuts() {
    let mut dice = Dice::new(seed("power cut"));
    let scratch = scratch();
    let Some(mut disk) = disk(&scratch) else { return };
    let dir = disk.path().join("db");
    let options = || options().free_floor_bytes(2_000_000);
    let mut told: Vec<Acknowledged> = Vec::new();
    for round in 0..rounds(4) {
        // One that has grown too large for the image starts afresh.
        if round % 6 == 5 {
            fs::remove_dir_all(&dir).unwrap();
            told.clear();
        }
        let mut writer = Writer::start(WRITER, &dir, &[FLOOR]);
        told.extend(writer.first(1 + dice.roll(100) as usize));
        // The moment of the cut.
        thread::sleep(Duration::from_micros(dice.roll(700_000)));
        if let Err(reason) = disk.cut() {
            let _ = writer.kill();
            println!("skipped: {reason}");
            return;
        }
        // What is told after the cut has to be true as well.
        told.extend(writer.rest());
        disk.restart();

        let db = options().open(&dir, &passphrase()).unwrap_or_else(|problem| panic!("round {round}: {problem}"));
        let size = db.stats().unwrap().entries;
        let before = told.len();
        told.retain(|one| one.durable || one.position < size);
        println!("round {round}: {size} entries, {} relaxed ones of {before} told are gone", before - told.len());
        acknowledged::check(&db, &told).unwrap_or_else(|problem| panic!("round {round}: {problem}"));
        // The own checkpoint names nothing that a cut took back.
        assert_eq!(db.warnings(), [], "round {round}");
        assert_intact(&db);
        // The next round begins behind a clean end, or behind a cut.
        if round % 2 == 0 {
            db.checkpoint().unwrap();
            db.close().unwrap();
        }
    }
}

/// From the moment at which making it returns, there is a database.
#[test]
fn a_database_that_was_made_is_there_after_a_power_cut() {
    let scratch = scratch();
    let Some(mut disk) = disk(&scratch) else { return };
    let dir = disk.path().join("db");
    for _ in 0..rounds(1) {
        let mut writer = Writer::start(WRITER, &dir, &["--once"]);
        // It is ready, and has perhaps not written yet.
        if let Err(reason) = disk.cut() {
            let _ = writer.kill();
            println!("skipped: {reason}");
            return;
        }
        let _ = writer.child.kill();
        let _ = writer.rest();
        disk.restart();
        let db = options().open(&dir, &passphrase()).unwrap();
        assert_eq!(db.warnings(), []);
        assert_intact(&db);
        db.put("lamp", "1").unwrap();
        db.close().unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
}

//! What was acknowledged survives the death of the process, whenever it comes.
//!
//! A child writes from several threads, singly and in batches, durable and
//! relaxed, and tells over a pipe what was acknowledged. It is killed, the
//! database is opened, and everything that was told has to be there. A relaxed
//! write promises the same of the end of a process; only a power cut may take
//! it back.

use std::fs;
use std::thread;
use std::time::Duration;

use thingdb_tests::acknowledged::{self, Acknowledged, Writer};
use thingdb_tests::database::{Dice, assert_intact, options, passphrase, rounds, scratch, seed};

const WRITER: &str = env!("CARGO_BIN_EXE_db_writer");

#[test]
fn acknowledged_writes_survive_kill() {
    let mut dice = Dice::new(seed("kill"));
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let mut told: Vec<Acknowledged> = Vec::new();
    let mut entries = 0;
    for round in 0..rounds(8) {
        let writer = Writer::start(WRITER, &dir, &[]);
        told.extend(writer.first(1 + dice.roll(50) as usize));
        // The moment of the kill.
        thread::sleep(Duration::from_micros(dice.roll(300_000)));
        told.extend(writer.kill());

        let db = options().open(&dir, &passphrase()).unwrap();
        acknowledged::check(&db, &told).unwrap_or_else(|problem| panic!("round {round}: {problem}"));
        assert_eq!(db.warnings(), [], "round {round}");
        let report = assert_intact(&db);
        assert_eq!(report.size, db.stats().unwrap().entries);
        assert!(report.size >= told.len() as u64);
        entries = report.size;
        // Closed in every other round: what lies behind a clean end and what
        // behind a kill must not differ. In the others the kill comes on top.
        if round % 2 == 0 {
            db.put("parent", "1").unwrap();
            db.close().unwrap();
        }
    }
    println!("{} acknowledged, {entries} there", told.len());
}

/// The first moments of a database: wherever the kill hits, there is a
/// database afterwards, or there is none and one can be made.
#[test]
fn a_kill_while_a_database_is_made_leaves_one_or_none() {
    let mut dice = Dice::new(seed("kill at creation"));
    let scratch = scratch();
    let (mut none, mut some) = (0, 0);
    for round in 0..rounds(12) {
        let dir = scratch.path().join(format!("{round}"));
        let mut child = std::process::Command::new(WRITER)
            .arg(&dir)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(dice.roll(60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let db = match options().open(&dir, &passphrase()) {
            Ok(db) => {
                some += 1;
                db
            }
            Err(problem) => {
                assert!(problem.is_no_database(), "round {round}: {problem}");
                none += 1;
                options().create(&dir, &passphrase()).unwrap_or_else(|problem| panic!("round {round}: {problem}"))
            }
        };
        db.put("lamp", "1").unwrap();
        assert_intact(&db);
        db.close().unwrap();
        fs::remove_dir_all(&dir).unwrap();
    }
    println!("{none} had none yet, {some} had one");
}

//! What was acknowledged survives the death of the process, whenever it comes.
//!
//! A child writes from several threads, singly and in batches, durable and
//! relaxed, and tells over a pipe what was acknowledged. It is killed, the
//! database is opened, and everything durable that was told has to be there. Of
//! the relaxed writes the last half second may be gone, from one place in the
//! ledger on.

use std::fs;
use std::thread;
use std::time::Duration;

use thingdb::Warning;
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
        // What is gone is the end of the ledger, and nobody was promised it.
        let size = db.stats().unwrap().entries;
        let gone = told.len();
        told.retain(|one| one.durable || one.position < size);
        let gone = gone - told.len();
        acknowledged::check(&db, &told).unwrap_or_else(|problem| panic!("round {round}: {problem}"));
        println!("round {round}: {size} entries, {gone} relaxed ones are gone");
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

/// Nobody waits for a relaxed write, and half a second later it is durable.
#[test]
fn relaxed_writes_survive_kill_half_a_second_later() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    for _ in 0..rounds(2) {
        let writer = Writer::start(WRITER, &dir, &["--once"]);
        let told = writer.first(1);
        // Four times what is promised, for a machine that is busy.
        thread::sleep(Duration::from_secs(2));
        assert_eq!(writer.kill(), []);
        let db = options().open(&dir, &passphrase()).unwrap();
        acknowledged::check(&db, &told).unwrap();
    }
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

/// A change of the node's keys that is killed half way: the node has the keys of
/// before or the new ones, and works.
#[test]
fn a_kill_while_the_node_gets_new_keys_leaves_it_with_keys() {
    let mut dice = Dice::new(seed("kill at new keys"));
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = options().create(&dir, &passphrase()).unwrap();
    (0..20).for_each(|n| drop(db.put("lamp", &n.to_string()).unwrap()));
    let mut key = db.node_key();
    db.close().unwrap();
    let (mut before, mut between, mut after) = (0, 0, 0);
    for round in 0..rounds(20) {
        let mut writer = Writer::start(WRITER, &dir, &["--new-node-key"]);
        thread::sleep(Duration::from_micros(dice.roll(15_000)));
        // It may have ended by itself.
        let _ = writer.child.kill();
        assert_eq!(writer.rest(), []);
        let db = options().open(&dir, &passphrase()).unwrap();
        let mut warnings = db.warnings();
        // Between the two files of the keyring the older one is told of and mended.
        warnings.retain(|warning| !matches!(warning, Warning::Keyring(_)));
        match (db.node_key() == key, &warnings[..]) {
            (true, []) => before += 1,
            (false, []) => after += 1,
            (false, [Warning::Checkpoint(_)]) => between += 1,
            (is_old, warnings) => panic!("round {round}: the old key: {is_old}, {warnings:?}"),
        }
        if db.node_key() != key {
            let former = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert!(former.into_iter().any(|name| name.starts_with("checkpoint.former-")));
        }
        key = db.node_key();
        let entries = assert_intact(&db).entries;
        db.put("lamp", "1").unwrap();
        db.close().unwrap();
        let db = options().open(&dir, &passphrase()).unwrap();
        assert_eq!((db.node_key(), db.warnings()), (key, vec![]), "round {round}");
        assert_eq!(assert_intact(&db).entries, entries + 1);
    }
    println!("{before} had the old keys, {after} the new ones, {between} had signed nothing with these");
}

//! One directory, one process: the second is told who has it, after a second
//! of patience, and gets in as soon as the first is gone.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use thingdb::Error;
use thingdb_tests::acknowledged::Writer;
use thingdb_tests::database::{assert_intact, fresh, options, passphrase, relaxed, rounds, scratch};

const WRITER: &str = env!("CARGO_BIN_EXE_db_writer");

#[test]
fn a_second_process_is_told_who_has_the_database() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    for _ in 0..rounds(2) {
        let writer = Writer::start(WRITER, &dir, &["--once"]);
        let told = writer.first(1);
        let pid = writer.child.id();
        let start = Instant::now();
        let problem = options().open(&dir, &passphrase()).unwrap_err();
        let waited = start.elapsed();
        assert!(problem.is_locked(), "{problem}");
        assert!(matches!(problem, Error::Locked { holder: Some(holder), .. } if holder == pid), "{problem:?}");
        assert!(problem.to_string().contains(&pid.to_string()), "{problem}");
        assert!((Duration::from_millis(900)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
        assert!(options().create(&dir, &passphrase()).unwrap_err().is_already_exists());
        // Whoever holds it was not disturbed, and a killed holder holds nothing.
        let _ = writer.kill();
        let start = Instant::now();
        let db = options().open(&dir, &passphrase()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        assert!(db.stats().unwrap().entries <= told.len() as u64 + 2);
        assert_intact(&db);
        db.put("parent", "1").unwrap();
        db.close().unwrap();
    }
}

#[test]
fn a_second_handle_of_one_process_is_refused_too() {
    let (scratch, db) = fresh();
    let dir = scratch.path().join("db");
    let problem = relaxed().open(&dir, &passphrase()).unwrap_err();
    assert!(problem.is_locked(), "{problem}");
    // The same directory by another name.
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    assert!(relaxed().open(&link, &passphrase()).unwrap_err().is_locked());
    db.put("lamp", "1").unwrap();
    db.close().unwrap();
    let db = relaxed().open(&link, &passphrase()).unwrap();
    assert_eq!(db.stats().unwrap().entries, 1);
}

/// A wrong passphrase or a refusal leaves no lock behind.
#[test]
fn an_opening_that_fails_lets_go() {
    let (scratch, db) = fresh();
    let dir = scratch.path().join("db");
    db.put("lamp", "1").unwrap();
    db.close().unwrap();
    let wrong = thingdb::Passphrase::new("not the passphrase");
    for _ in 0..3 {
        let start = Instant::now();
        let problem = relaxed().open(&dir, &wrong).unwrap_err();
        assert!(problem.is_wrong_passphrase(), "{problem}");
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        assert!(start.elapsed() < Duration::from_secs(20));
        // Dropping closes as well as closing does.
        drop(db);
    }
}

/// Many open, write and close at once: each either has it alone or is refused,
/// and each entry that was acknowledged is there.
#[test]
fn handles_that_take_turns_lose_nothing() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let (sender, told) = mpsc::channel();
    thread::scope(|scope| {
        for writer in 0..4 {
            let (dir, sender) = (&dir, sender.clone());
            scope.spawn(move || {
                for n in 0..5 {
                    let opened = match relaxed().open(dir, &passphrase()) {
                        Err(problem) if problem.is_no_database() => relaxed().create(dir, &passphrase()),
                        opened => opened,
                    };
                    let db = match opened {
                        Ok(db) => db,
                        Err(problem) => {
                            assert!(problem.is_locked() || problem.is_already_exists(), "{problem}");
                            continue;
                        }
                    };
                    let receipt = db.put("shared", &format!("\"{writer} {n}\"")).unwrap();
                    db.close().unwrap();
                    sender.send(receipt).unwrap();
                }
            });
        }
    });
    drop(sender);
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let mut count = 0;
    for receipt in told {
        let found = db.get_seq("shared", receipt.seq).unwrap();
        assert_eq!(found.iter().map(thingdb::Record::id).collect::<Vec<_>>(), [receipt.id]);
        count += 1;
    }
    assert!(count >= 5, "only {count} turns");
    assert_eq!(db.stats().unwrap().entries, count);
    assert_eq!(db.warnings(), []);
    assert_intact(&db);
}

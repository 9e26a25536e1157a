//! Files that were cut or garbled, whoever did it: the database opens with what
//! is left and says what is missing, or does not open and says why. It never
//! panics, never hangs, and never shows something that nobody wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use thingdb::{Draft, Error, VerifyOptions, Warning};
use thingdb_tests::database::{
    Dice, copy_directory, files_in, options, passphrase, relaxed, rounds, scratch, seed, text, verify,
};

/// Entries of the database that is torn.
const ENTRIES: u64 = 350;

/// A closed database with histories, batches and a large payload.
fn whole() -> (TempDir, PathBuf) {
    let scratch = scratch();
    let dir = scratch.path().join("whole");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    for n in 0..ENTRIES / 7 {
        let batch = (0..6).map(|k| Draft::json(&format!("thing {k}"), format!("\"{k} {n}\"")).unwrap());
        db.write_batch(batch.collect()).unwrap();
        db.put("single", &format!("\"s {n}\"")).unwrap();
    }
    db.close().unwrap();
    (scratch, dir)
}

/// Runs `work` in a thread of its own, so that a hang is a failure with a name.
fn within_a_minute(what: &str, work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: it hangs"),
        _ => assert!(thread.join().is_ok(), "{what}: it panics"),
    }
}

/// What may come of a torn file.
fn assert_clear(dir: PathBuf, what: &str) {
    let name = what.to_owned();
    within_a_minute(what, move || {
        let what = name;
        let db = match options().open(&dir, &passphrase()) {
            Ok(db) => db,
            Err(problem) => {
                // One says what is wrong, and it is not the passphrase.
                let clear = problem.is_damaged()
                    || problem.is_no_database()
                    || matches!(
                        problem,
                        Error::Storage(_)
                            | Error::File { .. }
                            | Error::NewerVersion { .. }
                            | Error::OlderVersion { .. }
                    );
                assert!(clear && !problem.is_wrong_passphrase() && !problem.is_locked(), "{what}: {problem:?}");
                assert!(problem.to_string().len() < 1000, "{what}: {problem}");
                println!("{what}: {problem}");
                return;
            }
        };
        let size = db.stats().map_or(0, |stats| stats.entries);
        let warnings = db.warnings();
        // Whatever is read was written.
        let mut read = 0;
        for k in 0..6 {
            let thing = format!("thing {k}");
            for record in db.history(&thing).into_iter().flatten().flatten() {
                assert_eq!(text(&record), format!("\"{k} {}\"", record.seq() - 1), "{what}");
                read += 1;
            }
        }
        for record in db.history("single").into_iter().flatten().flatten() {
            assert_eq!(text(&record), format!("\"s {}\"", record.seq() - 1), "{what}");
            read += 1;
        }
        // What is missing was told.
        let told = match db.verify(VerifyOptions::new()) {
            Ok(report) => !report.is_ok(),
            Err(problem) => {
                assert!(problem.is_damaged() || matches!(problem, Error::Storage(_)), "{what}: {problem}");
                true
            }
        };
        assert!(read == ENTRIES || told || !warnings.is_empty(), "{what}: {read} entries left and nobody says so");
        // Who was cut does not write over it.
        let wrote = db.put("single", "\"new\"");
        let cut = warnings.iter().any(|warning| matches!(warning, Warning::Standing(_) | Warning::Damaged(_)));
        assert!(!cut || wrote.is_err(), "{what}: it writes although {warnings:?}");
        println!("{what}: {size} in the ledger, {read} read, {} warnings, told: {told}", warnings.len());
    });
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Cut,
    Zeros,
    Noise,
    OneByte,
}

fn damage(path: &Path, at: u64, damage: Damage) {
    let mut bytes = fs::read(path).unwrap();
    let at = at as usize;
    match damage {
        Damage::Cut => bytes.truncate(at),
        Damage::Zeros => bytes[at..].iter_mut().take(4096).for_each(|byte| *byte = 0),
        Damage::Noise => {
            let mut dice = Dice::new(at as u64);
            bytes[at..].iter_mut().take(512).for_each(|byte| *byte = dice.roll(256) as u8);
        }
        Damage::OneByte => bytes[at] ^= 0x10,
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn torn_files_of_the_storage_are_told_and_hide_nothing() {
    let mut dice = Dice::new(seed("torn files"));
    let (scratch, dir) = whole();
    // Of a large file of zeros only what is used; the end is the newest.
    let used = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    };
    let mut cases: Vec<(PathBuf, u64, Damage)> = Vec::new();
    for path in files_in(&dir.join("store")) {
        let used = used(&path);
        if used == 0 {
            continue;
        }
        let file = path.strip_prefix(&dir).unwrap().to_owned();
        for damage in [Damage::Cut, Damage::Zeros, Damage::Noise, Damage::OneByte] {
            for at in [0, used / 2, used - 1] {
                cases.push((file.clone(), at, damage));
            }
            for _ in 0..rounds(2) {
                cases.push((file.clone(), dice.roll(used), damage));
                // The newest tenth.
                cases.push((file.clone(), used - 1 - dice.roll(used.div_ceil(10)), damage));
            }
        }
    }
    for (n, (file, at, kind)) in cases.into_iter().enumerate() {
        let copy = scratch.path().join(format!("{n}"));
        copy_directory(&dir, &copy);
        damage(&copy.join(&file), at, kind);
        assert_clear(copy.clone(), &format!("{} {kind:?} at {at}", file.display()));
        fs::remove_dir_all(copy).unwrap();
    }
}

/// One bit of the log that rotted: the store is moved aside as it was, and built
/// anew from the journal.
#[test]
fn a_garbled_log_costs_nothing_and_is_kept() {
    let (scratch, dir) = whole();
    let log = dir.join("store/db");
    let used = fs::read(&log).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    for (n, at) in [used / 5, used / 2, used * 4 / 5].into_iter().enumerate() {
        let copy = scratch.path().join(format!("{n}"));
        copy_directory(&dir, &copy);
        damage(&copy.join("store/db"), at as u64, Damage::OneByte);
        let garbled = fs::read(copy.join("store/db")).unwrap();
        let db = options().open(&copy, &passphrase()).unwrap();
        assert_eq!(db.stats().unwrap().entries, ENTRIES, "at {at}");
        let told = db.warnings();
        assert!(
            matches!(&told[..], [Warning::Repaired(text)] if text.contains("built anew from the journal")),
            "{told:?}"
        );
        assert!(fs::read(copy.join("store.aside-1/db")).unwrap() == garbled, "at {at}");
        assert!(verify(&db).is_ok());
        db.close().unwrap();
        let db = options().open(&copy, &passphrase()).unwrap();
        assert_eq!((db.stats().unwrap().entries, db.warnings()), (ENTRIES, Vec::new()), "at {at}");
    }
}

/// Without either copy there is nothing, and that is said: no empty database is
/// made in the place of one that was lost.
#[test]
fn a_database_without_both_copies_is_refused() {
    let (_scratch, dir) = whole();
    fs::remove_dir_all(dir.join("store")).unwrap();
    fs::remove_dir_all(dir.join("journal")).unwrap();
    for _ in 0..2 {
        let problem = options().open(&dir, &passphrase()).unwrap_err();
        assert!(problem.is_damaged() && problem.to_string().contains("restore a backup"), "{problem}");
    }
}

#[test]
fn files_of_the_storage_that_are_gone_are_told() {
    let (scratch, dir) = whole();
    for (n, path) in files_in(&dir).into_iter().enumerate() {
        let file = path.strip_prefix(&dir).unwrap();
        let copy = scratch.path().join(format!("{n}"));
        copy_directory(&dir, &copy);
        fs::remove_file(copy.join(file)).unwrap();
        assert_clear(copy.clone(), &format!("{} gone", file.display()));
        fs::remove_dir_all(copy).unwrap();
    }
    let copy = scratch.path().join("without a store");
    copy_directory(&dir, &copy);
    fs::remove_dir_all(copy.join("store")).unwrap();
    assert_clear(copy, "the store gone");
}

#[test]
fn every_cut_of_the_small_files_is_told() {
    let (scratch, dir) = whole();
    let copy = scratch.path().join("copy");
    copy_directory(&dir, &copy);
    let bytes = fs::read(dir.join("checkpoint")).unwrap();
    for end in (0..bytes.len()).filter(|end| end % 11 == 0 || end + 3 > bytes.len()) {
        fs::write(copy.join("checkpoint"), &bytes[..end]).unwrap();
        let db = options().open(&copy, &passphrase()).unwrap();
        let told = db.warnings().iter().any(|warning| matches!(warning, Warning::Checkpoint(_)));
        assert!(told, "cut at {end}: {:?}", db.warnings());
        assert!(end % 5 > 0 || !verify(&db).is_ok(), "cut at {end}");
        // Closing makes a new one.
        db.close().unwrap();
        fs::write(copy.join("checkpoint"), &bytes).unwrap();
    }
    // Beside a keyring that opens what is stored it says nothing that is not
    // known, and is made anew.
    let bytes = fs::read(dir.join("VERSION")).unwrap();
    let cuts = (0..bytes.len()).map(|end| bytes[..end].to_vec());
    let garbage =
        [&b"\xff\xfe\xfd"[..], b"thingdb", b"thingdb 1 1", b"thingdb -1\n", b"thingdb 0x1\n", b"thingdb\t1\n"];
    let zeroed = vec![0; bytes.len()];
    for damaged in cuts.chain(garbage.map(<[u8]>::to_vec)).chain([zeroed]).map(Some).chain([None]) {
        match &damaged {
            Some(damaged) => fs::write(copy.join("VERSION"), damaged).unwrap(),
            None => fs::remove_file(copy.join("VERSION")).unwrap(),
        }
        let db = options().open(&copy, &passphrase()).unwrap();
        let told = db.warnings().iter().any(|warning| matches!(warning, Warning::Repaired(_)));
        assert!(told, "{damaged:?}: {:?}", db.warnings());
        assert_eq!(fs::read(copy.join("VERSION")).unwrap(), bytes, "{damaged:?}");
        db.close().unwrap();
    }
    for newer in ["thingdb 6\n", "thingdb 18446744073709551615\n"] {
        fs::write(copy.join("VERSION"), newer).unwrap();
        assert!(options().open(&copy, &passphrase()).unwrap_err().is_newer_version(), "{newer}");
    }
    for older in ["thingdb 4\n", "thingdb 3\n", "thingdb 2\n", "thingdb 1\n", "thingdb 0\n"] {
        fs::write(copy.join("VERSION"), older).unwrap();
        let problem = options().open(&copy, &passphrase()).unwrap_err();
        assert!(problem.is_older_version() && !problem.is_damaged(), "{older}: {problem}");
    }
    assert!(options().create(&copy, &passphrase()).unwrap_err().is_already_exists());
}

#[test]
fn a_torn_keyring_is_damaged_and_no_wrong_passphrase() {
    let mut dice = Dice::new(seed("torn keyring"));
    let (scratch, dir) = whole();
    let copy = scratch.path().join("copy");
    copy_directory(&dir, &copy);
    let (path, second) = (copy.join("keyring"), copy.join("keyring.copy"));
    let bytes = fs::read(&path).unwrap();
    for n in 0..40 {
        let at = dice.roll(bytes.len() as u64) as usize;
        let mut torn = bytes.clone();
        if n % 2 == 0 {
            torn.truncate(at)
        } else {
            torn[at] ^= 1 << dice.roll(8)
        }
        fs::write(&path, &torn).unwrap();
        fs::write(&second, &torn).unwrap();
        let problem = options().open(&copy, &passphrase()).unwrap_err();
        assert!(problem.is_damaged() && !problem.is_wrong_passphrase(), "at {at}: {problem}");
        // One of the two is enough, and mends the other.
        let whole = if n % 4 < 2 { &path } else { &second };
        fs::write(whole, &bytes).unwrap();
        let db = options().open(&copy, &passphrase()).unwrap();
        assert!(db.warnings().iter().any(|warning| matches!(warning, Warning::Keyring(_))), "{:?}", db.warnings());
        db.close().unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&second).unwrap()), (bytes.clone(), bytes.clone()));
    }
    // The keyring of another database is a good one, and opens nothing here.
    let other = scratch.path().join("other");
    options().create(&other, &passphrase()).unwrap().close().unwrap();
    fs::copy(other.join("keyring"), &path).unwrap();
    let db = options().open(&copy, &passphrase()).unwrap();
    assert!(db.warnings().iter().any(|warning| matches!(warning, Warning::Keyring(_))), "{:?}", db.warnings());
    assert_eq!(db.stats().unwrap().entries, ENTRIES);
    db.close().unwrap();
    for path in [&path, &second] {
        fs::copy(other.join("keyring"), path).unwrap();
    }
    match options().open(&copy, &passphrase()) {
        Err(problem) => assert!(problem.is_damaged(), "{problem}"),
        Ok(db) => {
            assert!(!db.warnings().is_empty());
            assert!(db.put("single", "1").is_err());
        }
    }
    fs::write(&path, &bytes).unwrap();
    fs::write(&second, &bytes).unwrap();
    let db = options().open(&copy, &passphrase()).unwrap();
    assert_eq!(db.stats().unwrap().entries, ENTRIES);
    assert!(verify(&db).is_ok(), "what another keyring could not open was not touched by it");
}

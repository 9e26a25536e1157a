//! Backups: of a database that is written to, killed at any moment, on a full
//! disk, damaged, and what is restored from them. And reading beside a writer.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use thingdb::{Db, Error, ImportOptions, Restored, Standing, Warning};
use thingdb_tests::database::{
    Dice, assert_intact, copy_directory, files_in, fresh, options, passphrase, relaxed, rounds, seed, text,
};
use thingdb_tests::disk::Tmpfs;
use thingdb_tests::stranger::{Stranger, line_of};

const COPIER: &str = env!("CARGO_BIN_EXE_backup_copier");

/// JSON of about so many bytes.
fn filler(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes))
}

/// Ends the writers of a test also when it panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn read(dir: &Path) -> Db {
    options().read_only(true).open(dir, &passphrase()).unwrap()
}

/// Everything below a directory: name, bytes, time.
fn snapshot(dir: &Path) -> Vec<(PathBuf, u64, i64, Vec<u8>)> {
    let of = |path: PathBuf| {
        let found = fs::symlink_metadata(&path).unwrap();
        let bytes = if found.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        (path, found.ino(), found.mtime_nsec() ^ found.ctime_nsec(), bytes)
    };
    files_in(dir).into_iter().map(of).collect()
}

/// The backup opens, has no damage, and holds a prefix of the database's ledger,
/// with what its checkpoint counts.
fn assert_prefix(db: &Db, dest: &Path) -> u64 {
    let backup = read(dest);
    assert_eq!(backup.warnings(), []);
    let report = assert_intact(&backup);
    assert_eq!(db.standing_of_backup(&backup).unwrap(), Standing::Consistent);
    let checkpoint = backup.last_checkpoint().unwrap().expect("a backup has a checkpoint");
    assert!(checkpoint.claimed().size <= report.size);
    report.size
}

#[test]
fn a_backup_grows_with_the_database_and_is_restored() {
    let (scratch, db) = fresh();
    let (dest, new) = (scratch.path().join("backup"), scratch.path().join("new"));
    let mut last = 0;
    for round in 0..6 {
        for n in 0..round * 20 {
            db.put(&format!("thing-{}", n % 7), &format!("{{\"round\":{round},\"n\":{n}}}")).unwrap();
        }
        let made = db.backup(&dest).unwrap();
        assert_eq!(made.missing, Vec::<String>::new());
        assert!(made.commits >= last);
        last = made.commits;
        assert_eq!(assert_prefix(&db, &dest), db.stats().unwrap().entries);
        assert_eq!(thingdb::last_backups(db.dir()).unwrap()[0].commits, made.commits);
        assert_eq!(thingdb::backup(db.dir(), &dest).unwrap().copied_bytes, 0);
    }
    for file in files_in(&dest) {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if file.ends_with("VERSION") { 0o644 } else { 0o600 }, "{}", file.display());
    }
    let entries = db.stats().unwrap().entries;
    let latest = text(&db.get("thing-3").unwrap().unwrap()).to_owned();
    db.close().unwrap();
    let restored = thingdb::restore(&dest, &new, None).unwrap();
    assert_eq!((restored.entries, restored.missing), (entries, Vec::new()));
    let db = options().open(&new, &passphrase()).unwrap();
    assert_intact(&db);
    assert_eq!(db.stats().unwrap().entries, entries);
    assert_eq!(text(&db.get("thing-3").unwrap().unwrap()), latest);
    // It is written to, and the backup goes on with it.
    db.put("thing-3", "{}").unwrap();
    db.backup(&dest).unwrap();
    assert_eq!(assert_prefix(&db, &dest), entries + 1);
}

#[test]
fn a_backup_is_not_written_to_and_other_directories_are_left_alone() {
    let (scratch, db) = fresh();
    db.put("thing", "1").unwrap();
    let at = |name: &str| scratch.path().join(name);
    db.backup(at("backup")).unwrap();
    assert!(matches!(options().open(at("backup"), &passphrase()), Err(Error::IsBackup { .. })));
    fs::create_dir(at("other")).unwrap();
    fs::write(at("other").join("file"), "precious").unwrap();
    let before = snapshot(&at("other"));
    assert!(matches!(db.backup(at("other")), Err(Error::NotEmpty { .. })));
    assert!(matches!(thingdb::restore(at("backup"), at("other"), None), Err(Error::NotEmpty { .. })));
    assert!(matches!(thingdb::restore(at("backup"), db.dir(), None), Err(Error::NotEmpty { .. })));
    assert!(matches!(thingdb::backup(at("backup"), at("second")), Err(Error::IsBackup { .. })));
    std::os::unix::fs::symlink(db.dir(), at("link")).unwrap();
    let outside = scratch.path().to_owned();
    for (of, dest) in [
        (db.dir().to_owned(), db.dir().to_owned()),
        (db.dir().to_owned(), db.dir().join("backup")),
        (db.dir().to_owned(), at("link").join("deep").join("backup")),
        (at("link"), db.dir().join("backup")),
        (db.dir().to_owned(), outside),
    ] {
        let problem = thingdb::backup(&of, &dest).unwrap_err();
        assert!(matches!(problem, Error::Within { .. }), "{}: {problem}", dest.display());
        assert!(!db.dir().join("backup").exists() && !db.dir().join("deep").exists());
    }
    for dest in [at("backup"), at("backup").join("new")] {
        assert!(matches!(thingdb::restore(at("backup"), &dest, None), Err(Error::Within { .. })));
    }
    assert!(matches!(thingdb::restore(at("other"), at("new"), None), Err(Error::NoBackup { .. })));
    assert_eq!(snapshot(&at("other")), before);
    let other = options().create(at("another"), &passphrase()).unwrap();
    other.put("thing", "1").unwrap();
    let before = snapshot(&at("backup"));
    assert!(other.backup(at("backup")).unwrap_err().is_damaged());
    assert_eq!(snapshot(&at("backup")), before);
}

/// A database that was set back must not take the place of what the backup has.
#[test]
fn a_database_that_was_set_back_is_refused() {
    let (scratch, db) = fresh();
    let at = |name: &str| scratch.path().join(name);
    let dir = db.dir().to_owned();
    db.put("thing", "1").unwrap();
    db.close().unwrap();
    copy_directory(&dir, &at("old"));
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    db.put("thing", "2").unwrap();
    db.backup(at("backup")).unwrap();
    db.close().unwrap();
    let before = snapshot(&at("backup").join("journal"));
    let problem = thingdb::backup(at("old"), at("backup")).unwrap_err();
    assert!(problem.is_damaged() && problem.to_string().contains("set back"), "{problem}");
    // It has gone on otherwise.
    let old = relaxed().open(at("old"), &passphrase()).unwrap();
    old.put("thing", "3").unwrap();
    old.put("thing", "4").unwrap();
    old.put("thing", "5").unwrap();
    old.close().unwrap();
    assert!(thingdb::backup(at("old"), at("backup")).unwrap_err().is_damaged());
    assert_eq!(snapshot(&at("backup").join("journal")), before);
}

#[test]
fn a_database_is_restored_as_it_was_before() {
    let (scratch, db) = fresh();
    let at = |name: &str| scratch.path().join(name);
    let mut times = Vec::new();
    for n in 0..30 {
        let receipt = db.put("thing", &format!("{n}")).unwrap();
        times.push(db.get("thing").unwrap().unwrap().time());
        assert_eq!(receipt.seq, n + 1);
    }
    db.backup(at("backup")).unwrap();
    let backup = read(&at("backup"));
    for entries in [0, 1, 17, 29, 30] {
        let until = times.get(entries as usize).map(|time| time.micros() - 1);
        if let Some(until) = until {
            assert_eq!(backup.entries_until(thingdb::Time::from_micros(until).unwrap()).unwrap(), entries);
        }
        let new = at(&format!("new-{entries}"));
        let restored = thingdb::restore(at("backup"), &new, Some(entries)).unwrap();
        assert_eq!(restored.entries, entries);
        let db = options().open(&new, &passphrase()).unwrap();
        assert_eq!(db.stats().unwrap().entries, entries);
        if entries == 30 {
            assert_intact(&db);
            assert!(db.is_writable());
            continue;
        }
        // Its own checkpoint counts more: it goes on as another node.
        assert!(db.warnings().iter().any(|warning| matches!(warning, Warning::Standing(Standing::Truncated { .. }))));
        assert!(!db.is_writable());
        db.new_node_key().unwrap();
        let db = options().open(&new, &passphrase()).unwrap();
        db.put("thing", "31").unwrap();
        assert_intact(&db);
    }
    assert!(matches!(thingdb::restore(at("backup"), at("more"), Some(31)), Err(Error::BeyondLedger { .. })));
    assert!(!at("more").exists());
}

/// A compacted journal goes into a backup that has it as it was, and the two come to
/// the same.
#[test]
fn a_backup_goes_on_after_a_compaction() {
    let (scratch, db) = fresh();
    let at = |name: &str| scratch.path().join(name);
    let mut friend = Stranger::new("friend");
    friend.origin = db.origin();
    db.trust_actor("friend", friend.actor()).unwrap();
    let mut last = 0;
    for round in 0..4_u64 {
        // What waits goes again, so the journal has something dead.
        let history = friend.history(&format!("thing {round}"), 1_000, 20);
        for entry in history.iter().rev() {
            db.import(ImportOptions::new(), &line_of(entry)[..]).unwrap();
        }
        last += 20;
        if round % 2 == 0 {
            db.backup(at("backup")).unwrap();
        }
        let had = db.stats().unwrap().disk_bytes;
        db.compact().unwrap();
        assert!(db.stats().unwrap().disk_bytes <= had + (1 << 20));
        db.put("own", &format!("{round}")).unwrap();
        last += 1;
        let made = db.backup(at("backup")).unwrap();
        assert_eq!(made.missing, Vec::<String>::new());
        assert_eq!(assert_prefix(&db, &at("backup")), last);
        let new = at(&format!("new-{round}"));
        assert_eq!(thingdb::restore(at("backup"), &new, None).unwrap().entries, last);
        let restored = options().open(&new, &passphrase()).unwrap();
        assert_eq!(assert_intact(&restored).size, last);
        assert_eq!(restored.stats().unwrap().waiting, db.stats().unwrap().waiting);
        assert_eq!(files_in(&at("backup")).iter().filter(|file| file.to_string_lossy().contains(".new")).count(), 0);
    }
    // It was written without what was there between.
    let problem = thingdb::restore(at("backup"), at("before"), Some(5)).unwrap_err();
    assert!(!at("before").join("keyring").exists(), "{problem}");
    assert!(format!("{:?}", problem).contains("compacted"), "{problem:?}");
    assert!(options().read_only(true).open(at("backup"), &passphrase()).unwrap().compact().is_err());
}

/// Reading beside a writer: a prefix, nothing written, nobody waits.
#[test]
fn reading_only_writes_nothing_beside_a_writer_and_after_it() {
    let (_scratch, db) = fresh();
    let dir = db.dir().to_owned();
    for n in 0..50 {
        db.put(&format!("thing-{n}"), "1").unwrap();
    }
    let before = snapshot(&dir);
    let reader = read(&dir);
    assert_eq!(reader.stats().unwrap().entries, 50);
    assert_intact(&reader);
    assert!(!reader.is_writable());
    for problem in [
        reader.put("thing-1", "2").unwrap_err(),
        reader.checkpoint().unwrap_err(),
        reader.new_actor("bob").unwrap_err(),
        reader.change_passphrase(&passphrase()).unwrap_err(),
    ] {
        assert!(problem.is_read_only(), "{problem}");
    }
    assert!(matches!(reader.new_node_key(), Err(Error::OpenedReadOnly)));
    assert_eq!(snapshot(&dir), before);
    db.close().unwrap();
    let before = snapshot(&dir);
    let reader = read(&dir);
    assert_intact(&reader);
    assert_eq!(reader.stats().unwrap().entries, 50);
    reader.close().unwrap();
    assert_eq!(snapshot(&dir), before);
}

#[test]
fn readers_and_backups_beside_writers_have_prefixes() {
    let (scratch, db) = fresh();
    let dest = scratch.path().join("backup");
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (db, ended) = (&db, &ended);
            scope.spawn(move || {
                let mut n = 0;
                while !ended.load(Ordering::SeqCst) && n < 400 {
                    db.put(&format!("thing-{writer}-{}", n % 5), &filler(n % 3000)).unwrap();
                    n += 1;
                    if n % 200 == 0 {
                        db.checkpoint().unwrap();
                    }
                }
            });
        }
        let _ends = Ends(&ended);
        let mut last = 0;
        for _ in 0..rounds(5) {
            thingdb::backup(db.dir(), &dest).unwrap();
            let size = assert_prefix(&db, &dest);
            assert!(size >= last);
            last = size;
            // Several at once, beside each other.
            thread::scope(|readers| {
                for _ in 0..3 {
                    readers.spawn(|| {
                        let reader = read(db.dir());
                        assert_eq!(reader.warnings(), []);
                        assert!(reader.stats().unwrap().entries >= size);
                        assert_intact(&reader);
                    });
                }
            });
        }
    });
    assert_intact(&db);
}

/// Wherever a backup or a restore is killed, the backup has a prefix, and both can
/// be done again.
#[test]
fn backups_and_restores_that_are_killed_can_be_repeated() {
    let mut dice = Dice::new(seed("backup killed"));
    // In memory where that can be had: a kill leaves what a disk would have, too,
    // and nothing waits for one.
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).unwrap();
    let (dest, new) = (scratch.path().join("backup"), scratch.path().join("new"));
    let mut last = 0;
    let run = |args: &[&Path], after: Duration| {
        let mut child = Command::new(COPIER).args(args).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(after);
        let _ = child.kill();
        child.wait().unwrap().success()
    };
    let (mut killed, mut broken_off) = (0, 0);
    for round in 0..rounds(25) {
        for n in 0..10 {
            db.put(&format!("thing-{n}"), &filler(dice.roll(40_000) as usize)).unwrap();
        }
        if round % 3 == 0 {
            db.checkpoint().unwrap();
        }
        let done = run(&[db.dir(), &dest], Duration::from_micros(dice.roll(60_000)));
        killed += u64::from(!done);
        if dest.join("keyring").exists() && dest.join("journal").is_dir() && dest.join("checkpoint").exists() {
            let size = assert_prefix(&db, &dest);
            assert!(size >= last, "round {round}");
            last = size;
        }
        if round % 5 == 4 {
            thingdb::backup(db.dir(), &dest).unwrap();
            assert_eq!(assert_prefix(&db, &dest), db.stats().unwrap().entries);
            let done = run(&[Path::new("restore"), &dest, &new], Duration::from_micros(dice.roll(60_000)));
            if !done {
                broken_off += 1;
                assert!(!Db::exists(&new) || read(&new).stats().unwrap().entries == db.stats().unwrap().entries);
            }
            if !Db::exists(&new) {
                thingdb::restore(&dest, &new, None).unwrap();
            }
            assert_eq!(read(&new).stats().unwrap().entries, db.stats().unwrap().entries);
            fs::remove_dir_all(&new).unwrap();
        }
    }
    println!("{killed} backups and {broken_off} restores were killed");
}

#[test]
fn a_full_disk_leaves_the_backup_as_it_was() {
    let (scratch, db) = fresh();
    let disk = match Tmpfs::new(scratch.path(), "1m") {
        Ok(disk) => disk,
        Err(why) => return println!("skipped: {why}"),
    };
    let dest = disk.path().join("backup");
    db.put("thing", "1").unwrap();
    db.backup(&dest).unwrap();
    for n in 0..60 {
        db.put(&format!("thing-{n}"), &filler(60_000)).unwrap();
    }
    for _ in 0..3 {
        let problem = db.backup(&dest).unwrap_err();
        assert!(problem.is_disk_full(), "{problem}");
        assert!(assert_prefix(&db, &dest) >= 1);
    }
    let new = disk.path().join("new");
    disk.resize("8m");
    db.backup(&dest).unwrap();
    assert_eq!(assert_prefix(&db, &dest), 61);
    // As full when it is restored: then there is no database.
    disk.resize("6m");
    let problem = thingdb::restore(&dest, &new, None).unwrap_err();
    assert!(problem.is_disk_full(), "{problem}");
    assert!(!Db::exists(&new));
    disk.resize("40m");
    let Restored { entries, .. } = thingdb::restore(&dest, &new, None).unwrap();
    assert_eq!(entries, 61);
}

/// One file of the backup cut, flipped or gone: the next backup mends it, and
/// nothing that opens is silently less.
#[test]
fn damage_of_a_backup_is_told_and_mended() {
    let (scratch, db) = fresh();
    let dest = scratch.path().join("backup");
    for n in 0..40 {
        db.put(&format!("thing-{n}"), &filler(2000)).unwrap();
    }
    db.backup(&dest).unwrap();
    let whole = scratch.path().join("whole");
    copy_directory(&dest, &whole);
    let files: Vec<_> = files_in(&whole).iter().map(|file| file.strip_prefix(&whole).unwrap().to_owned()).collect();
    for file in &files {
        let bytes = fs::read(whole.join(file)).unwrap();
        let flips = [0, 4100, bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)];
        let cuts = flips.map(|at| ("cut", at)).into_iter().chain(flips.map(|at| ("flipped", at)));
        for (how, at) in cuts.chain([("gone", 0)]) {
            if at >= bytes.len() && how != "gone" {
                continue;
            }
            let what = format!("{} {how} at {at}", file.display());
            fs::remove_dir_all(&dest).unwrap();
            copy_directory(&whole, &dest);
            let path = dest.join(file);
            let mut damaged = bytes.clone();
            match how {
                "cut" => damaged.truncate(at),
                "flipped" => damaged[at] ^= 4,
                _ => {}
            }
            match how {
                "gone" => fs::remove_file(&path).unwrap(),
                _ => fs::write(&path, damaged).unwrap(),
            }
            if let Ok(backup) = options().read_only(true).open(&dest, &passphrase()) {
                let size = backup.stats().unwrap().entries;
                let is_told = !backup.warnings().is_empty() || !thingdb_tests::database::verify(&backup).is_ok();
                assert!(size == 40 || is_told, "{what}: {size} entries");
            }
            let made = thingdb::backup(db.dir(), &dest).unwrap_or_else(|problem| panic!("{what}: {problem}"));
            assert_eq!(made.missing, Vec::<String>::new(), "{what}");
            let backup = read(&dest);
            assert_eq!((backup.warnings(), backup.stats().unwrap().entries), (vec![], 40), "{what}");
            assert_intact(&backup);
        }
    }
}

/// The journal was lost and written anew, or lost its end: a backup goes on, and
/// keeps what it had.
#[test]
fn a_backup_goes_on_when_the_journal_was_written_anew() {
    for lost in ["all", "the end", "an old one is there"] {
        let (scratch, db) = fresh();
        let at = |name: &str| scratch.path().join(name);
        let dir = db.dir().to_owned();
        let put = |db: &Db, n: u64| db.put("thing", &format!("{n}")).unwrap();
        (0..10).for_each(|n| drop(put(&db, n)));
        db.close().unwrap();
        copy_directory(&dir.join("journal"), &at("journal"));
        let db = options().open(&dir, &passphrase()).unwrap();
        (10..30).for_each(|n| drop(put(&db, n)));
        db.backup(at("backup")).unwrap();
        put(&db, 30);
        db.close().unwrap();
        let journal = dir.join("journal");
        match lost {
            "all" => fs::remove_dir_all(&journal).unwrap(),
            "the end" => {
                for file in files_in(&journal) {
                    let bytes = fs::read(&file).unwrap();
                    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
                }
            }
            _ => {
                fs::remove_dir_all(&journal).unwrap();
                copy_directory(&at("journal"), &journal);
            }
        }
        for round in 0..2_u64 {
            let db = options().open(&dir, &passphrase()).unwrap();
            put(&db, 31 + round);
            let made = db.backup(at("backup")).unwrap();
            assert_eq!((made.former.is_some(), &made.missing), (round == 0, &vec![]), "{lost}: {made:?}");
            if let Some(former) = made.former {
                assert_eq!(former, at("backup").join("journal.aside-1"));
                // What it had can still be read.
                copy_directory(&at("backup"), &at("before"));
                fs::remove_dir_all(at("before").join("journal")).unwrap();
                fs::rename(at("before").join("journal.aside-1"), at("before").join("journal")).unwrap();
                assert_eq!(read(&at("before")).stats().unwrap().entries, 30, "{lost}");
            }
            assert_eq!(assert_prefix(&db, &at("backup")), 32 + round, "{lost}");
            assert_intact(&db);
            db.close().unwrap();
        }
        // The store of before does not go before the journal.
        fs::remove_dir_all(dir.join("store")).unwrap();
        let db = options().open(&dir, &passphrase()).unwrap();
        assert_eq!(db.stats().unwrap().entries, 33, "{lost}");
        assert_intact(&db);
        // A database of before the journal was written anew was set back.
        db.close().unwrap();
        fs::remove_dir_all(&journal).unwrap();
        copy_directory(&at("journal"), &journal);
        fs::remove_dir_all(dir.join("store")).unwrap();
        let problem = thingdb::backup(&dir, at("backup")).unwrap_err();
        assert!(problem.to_string().contains("set back"), "{lost}: {problem}");
    }
}

/// A journal that is cut, or has a hole, does not have all that the database has.
#[test]
fn a_backup_of_a_damaged_journal_says_what_it_lacks_until_it_has_it() {
    for how in ["cut", "hole"] {
        let (scratch, db) = fresh();
        let (dir, dest) = (db.dir().to_owned(), scratch.path().join("backup"));
        for n in 0..30 {
            db.put("thing", &format!("[{n},{}]", filler(900))).unwrap();
        }
        db.close().unwrap();
        let journal = files_in(&dir.join("journal")).remove(0);
        let mut bytes = fs::read(&journal).unwrap();
        match how {
            "cut" => bytes.truncate(20_000),
            _ => bytes[20_000] ^= 1,
        }
        fs::write(&journal, bytes).unwrap();
        for _ in 0..2 {
            let made = thingdb::backup(&dir, &dest).unwrap();
            assert!(!made.missing.is_empty(), "{how}");
            let told = if how == "cut" { "the checkpoint counts them" } else { "the commits " };
            assert!(made.missing[0].contains(told), "{how}: {:?}", made.missing);
        }
        options().heal(true).open(&dir, &passphrase()).unwrap().close().unwrap();
        let db = options().open(&dir, &passphrase()).unwrap();
        assert_eq!(db.backup(&dest).unwrap().missing, Vec::<String>::new(), "{how}");
        assert_eq!(assert_prefix(&db, &dest), 30, "{how}");
    }
}

//! Salvage: whatever is left anywhere comes into a new database, what is not is
//! named, and the damaged directory stays as it was.

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thingdb::{Db, Draft, EntryId, ExportOptions, Salvaged, Unlock, VerifyOptions};
use thingdb_tests::database::{
    Dice, assert_intact, copy_directory, files_in, options, passphrase, relaxed, rounds, scratch, seed,
};

const ENTRIES: u64 = 700;

/// A closed database with histories, batches and large payloads, and an export
/// of it.
fn whole() -> (TempDir, PathBuf, Vec<u8>) {
    let scratch = scratch();
    let dir = scratch.path().join("whole");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    for n in 0..ENTRIES / 7 {
        let batch = (0..6).map(|k| Draft::json(&format!("thing {k}"), format!("\"{k} {n}\"")).unwrap());
        db.write_batch(batch.collect()).unwrap();
        let size = if n % 10 == 0 { 30_000 } else { 900 };
        db.put("single", &format!("\"{}\"", "s".repeat(size))).unwrap();
    }
    let mut export = Vec::new();
    db.export(ExportOptions::new(), &mut export).unwrap();
    db.close().unwrap();
    (scratch, dir, export)
}

/// The journal would heal what is to be salvaged.
fn without_journal(dir: &Path) {
    let _ = fs::remove_dir_all(dir.join("journal"));
}

fn salvage(dir: &Path, out: &Path, backups: &[PathBuf], exports: &[&[u8]]) -> Salvaged {
    let before: Vec<_> = files_in(dir).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let passphrase = passphrase();
    let salvage = options().salvage(dir, out, Unlock::Passphrase(&passphrase), backups).unwrap();
    assert!(!out.exists(), "it appears when it is done");
    for export in exports {
        salvage.import(Cursor::new(*export)).unwrap();
    }
    let salvaged = salvage.finish().unwrap();
    let after: Vec<_> = files_in(dir).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(before == after, "the damaged directory stays as it was");
    salvaged
}

fn ids(db: &Db) -> BTreeSet<String> {
    db.find_ids("", usize::MAX).unwrap().into_iter().map(|id| id.to_string()).collect()
}

fn assert_all(out: &Path, of: &Path) {
    let db = options().open(out, &passphrase()).unwrap();
    assert_eq!(db.stats().unwrap().entries, ENTRIES);
    assert_intact(&db);
    assert!(db.is_writable());
    let original = options().open(of, &passphrase()).unwrap();
    assert_eq!(ids(&db), ids(&original));
    db.put("after", "1").unwrap();
    db.close().unwrap();
}

#[test]
fn nothing_is_missing_of_a_database_without_damage() {
    let (scratch, dir, _) = whole();
    let out = scratch.path().join("out");
    // Another one was broken off; what is not of a database stays.
    let left = scratch.path().join(".out.salvage");
    copy_directory(&dir, &left);
    fs::write(left.join("notes"), b"mine").unwrap();
    let passphrase = passphrase();
    let begun = options().salvage(&dir, &out, Unlock::Passphrase(&passphrase), &[]);
    assert!(begun.unwrap_err().is_already_exists());
    fs::remove_file(left.join("notes")).unwrap();
    let salvaged = salvage(&dir, &out, &[], &[]);
    assert!(!left.exists());
    assert!(salvaged.is_whole(), "{salvaged:?}");
    assert_eq!((salvaged.entries, salvaged.node_key), (ENTRIES, None));
    assert_all(&out, &dir);
}

#[test]
fn an_export_and_the_keyring_make_the_node_again() {
    let (scratch, dir, export) = whole();
    for (n, keeps) in [&["keyring"][..], &["keyring.copy"], &["keyring", "checkpoint"]].into_iter().enumerate() {
        let (bare, out) = (scratch.path().join(format!("bare {n}")), scratch.path().join(format!("out {n}")));
        fs::create_dir(&bare).unwrap();
        for name in keeps {
            fs::copy(dir.join(name), bare.join(name)).unwrap();
        }
        let salvaged = salvage(&bare, &out, &[], &[&export]);
        assert!(salvaged.is_whole(), "{salvaged:?}");
        assert!(salvaged.node_key.is_some(), "the old key has signed for more than is known here");
        // With the checkpoint of the old ledger it is seen to be that, entry by entry.
        assert_eq!(in_order(&out), in_order(&dir));
        assert_all(&out, &dir);
    }
}

/// The ids of the ledger in its order.
fn in_order(dir: &Path) -> Vec<EntryId> {
    let db = options().open(dir, &passphrase()).unwrap();
    let ids = db.ids(0..db.ledger_size()).unwrap();
    db.close().unwrap();
    ids
}

/// The log in pieces: each entry is there or named, and with an export none is
/// missing.
#[test]
fn what_a_damaged_log_has_left_is_taken_and_the_rest_is_named() {
    let (scratch, dir, export) = whole();
    let mut dice = Dice::new(seed("salvage"));
    let mut lost = 0;
    for round in 0..rounds(4) {
        let (damaged, out) = (scratch.path().join("damaged"), scratch.path().join("out"));
        copy_directory(&dir, &damaged);
        without_journal(&damaged);
        let file = fs::OpenOptions::new().read(true).write(true).open(damaged.join("store/db")).unwrap();
        let length = file.metadata().unwrap().len();
        match round % 4 {
            0 => file.set_len(dice.roll(length / 2)).unwrap(),
            1 => file.write_all_at(&vec![0; 1 << 16], dice.roll(length)).unwrap(),
            2 => (0..20).for_each(|_| file.write_all_at(&[0xa5], dice.roll(length)).unwrap()),
            // Every header.
            _ => (0..length).step_by(512 << 10).for_each(|at| file.write_all_at(&[0xa5; 20], at).unwrap()),
        }
        let salvaged = salvage(&damaged, &out, &[], &[]);
        println!("round {round}: {} entries, {} missing", salvaged.entries, salvaged.missing_total);
        assert!(salvaged.entries + salvaged.missing_total >= ENTRIES, "{salvaged:?}");
        if round % 4 == 3 {
            assert_eq!(salvaged.missing_total, 0, "what is left of messages needs no header");
        }
        lost += salvaged.missing_total;
        // It can be written to, also if entries are missing before its last.
        for n in 0..2 {
            let db = options().open(&out, &passphrase()).unwrap();
            assert!(db.is_writable(), "{:?}", db.warnings());
            db.put("after", &n.to_string()).unwrap();
            db.verify(VerifyOptions::new()).unwrap();
            db.close().unwrap();
        }
        fs::remove_dir_all(&out).unwrap();

        let salvaged = salvage(&damaged, &out, &[], &[&export]);
        assert_eq!(salvaged.entries, ENTRIES, "{salvaged:?}");
        // What is left keeps its places; what the export has beside that comes behind, in its order.
        let (before, after) = (in_order(&dir), in_order(&out));
        let is_moved = |place: usize, id: &EntryId| before.get(place) != Some(id);
        let place_of = |id: &EntryId| before.iter().position(|known| known == id);
        let moved = after.iter().enumerate().filter(|(place, id)| is_moved(*place, id));
        let moved: Vec<_> = moved.filter_map(|(_, id)| place_of(id)).collect();
        assert!(moved.is_sorted(), "{moved:?}");
        // With another directory of the same database nothing is missing at all.
        fs::remove_dir_all(&out).unwrap();
        let salvaged = salvage(&damaged, &out, std::slice::from_ref(&dir), &[]);
        assert!(salvaged.is_whole(), "{salvaged:?}");
        assert_all(&out, &dir);
        for path in [damaged, out] {
            fs::remove_dir_all(path).unwrap();
        }
    }
    assert!(lost > 0, "the damage costs something");
}

/// What was made when it was broken off is made anew; what is not its own stays.
#[test]
fn a_salvage_that_was_broken_off_can_be_repeated() {
    let (scratch, dir, _) = whole();
    let (out, unfinished) = (scratch.path().join("out"), scratch.path().join(".out.salvage"));
    let passphrase = passphrase();
    let begin = || options().salvage(&dir, &out, Unlock::Passphrase(&passphrase), &[]);
    let begun = begin().unwrap();
    assert!(unfinished.is_dir());
    assert!(begin().unwrap_err().is_locked(), "somebody is at it");
    // As a kill would leave it.
    drop(begun);
    assert!(unfinished.is_dir() && !out.exists());
    fs::write(unfinished.join("notes"), "mine").unwrap();
    assert!(begin().unwrap_err().is_already_exists());
    fs::remove_file(unfinished.join("notes")).unwrap();
    assert!(begin().unwrap().finish().unwrap().is_whole());
    assert!(!unfinished.exists());
    assert_all(&out, &dir);
}

#[test]
fn a_salvage_touches_nothing_that_is_there() {
    let (scratch, dir, _) = whole();
    let passphrase = passphrase();
    let unlock = Unlock::Passphrase(&passphrase);
    let begin = |dir: &Path, out: &Path| options().salvage(dir, out, unlock, &[]).unwrap_err();
    assert!(begin(&dir, &dir).is_already_exists());
    let wrong = thingdb::Passphrase::new("none of these");
    let out = scratch.path().join("out");
    let problem = options().salvage(&dir, &out, Unlock::Passphrase(&wrong), &[]).unwrap_err();
    assert!(problem.is_wrong_passphrase(), "{problem}");
    assert!(begin(&scratch.path().join("nothing"), &out).is_no_database());
    let db = options().open(&dir, &passphrase).unwrap();
    assert!(begin(&dir, &out).is_locked());
    db.close().unwrap();
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "nothing half made is left");
}

/// What only a journal has that was set aside, or what a file of it was before it was
/// mended, comes back; also out of a file without a header.
#[test]
fn what_a_journal_has_that_was_set_aside_is_taken() {
    let (scratch, dir, _) = whole();
    for (n, garble) in [false, true].into_iter().enumerate() {
        let (damaged, out) = (scratch.path().join(format!("damaged {n}")), scratch.path().join(format!("out {n}")));
        copy_directory(&dir, &damaged);
        fs::remove_dir_all(damaged.join("store")).unwrap();
        fs::rename(damaged.join("journal"), damaged.join("journal.aside-10")).unwrap();
        for file in files_in(&damaged.join("journal.aside-10")) {
            if garble {
                let file = fs::OpenOptions::new().write(true).open(&file).unwrap();
                file.write_all_at(&[0; 4160], 0).unwrap();
            }
        }
        if garble {
            fs::create_dir(damaged.join("journal")).unwrap();
            for file in files_in(&damaged.join("journal.aside-10")) {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                fs::rename(&file, damaged.join("journal").join(format!("{name}.damaged"))).unwrap();
            }
        }
        let salvaged = salvage(&damaged, &out, &[], &[]);
        assert!(salvaged.is_whole(), "{salvaged:?}");
        assert_all(&out, &dir);
    }
}

//! What the node signs of the heads of all things follows from the entries, and shows
//! what was left out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use thingdb::{Db, Draft, Error, ImportOptions, ProveOptions, TrustPolicy, Verdict};
use thingdb_format::audit::Memos;
use thingdb_format::heads::{self, SignedHeads};
use thingdb_format::proof::{ProofCheck, ProofReport, examine};
use thingdb_format::{Hash, Line, ThingId};
use thingdb_tests::database::{
    Dice, assert_intact, copy_directory, export, fresh, passphrase, relaxed, rounds, scratch, seed, verify,
};
use thingdb_tests::rows::Rows;

/// The root of the map by its definition, from what the index lists.
fn root_of(db: &Db) -> Hash {
    let leaf = |info: thingdb::ThingInfo| {
        let mut ids: Vec<_> = info.heads.iter().map(|head| head.id).collect();
        ids.sort_unstable();
        let key = heads::key(&info.thing);
        (key, heads::leaf(&key, &heads::value(&info.thing, info.entries, &ids)))
    };
    let mut leaves: Vec<_> = db.things().unwrap().map(|info| leaf(info.unwrap())).collect();
    leaves.sort_unstable();
    heads::subtree(&leaves, 0)
}

/// The heads note, which is what the entries give.
fn note(db: &Db) -> SignedHeads {
    let (checkpoint, note) = db.heads_note().unwrap();
    let claimed = note.verify(&db.node_key()).unwrap();
    assert_eq!((claimed.size, claimed.ledger), (checkpoint.claimed().size, checkpoint.claimed().root));
    assert_eq!(claimed.size, db.stats().unwrap().entries);
    assert_eq!(claimed.map, root_of(db));
    note
}

fn proof(db: &Db, thing: &str, options: ProveOptions<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    assert!(db.prove(thing, options, &mut file).unwrap().is_complete);
    file
}

fn check(db: &Db, file: &[u8]) -> ProofReport {
    let (mut check, mut memos) = (ProofCheck::new().trust(&db.card().unwrap()), Memos::default());
    for (line, number) in file.split_inclusive(|byte| *byte == b'\n').zip(1..) {
        check.take(examine(line, number, &mut memos));
    }
    check.finish()
}

#[test]
fn it_follows_from_the_entries_whatever_was_asked_before() {
    let mut dice = Dice::new(seed("heads"));
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let mut db = relaxed().create(&dir, &passphrase()).unwrap();
    assert_eq!(note(&db).claimed().map, heads::empty());
    for round in 0..rounds(6) {
        let drafts = (0..dice.roll(60)).map(|_| Draft::json(&format!("thing {}", dice.roll(90)), "1").unwrap());
        db.write_batch(drafts.collect()).unwrap();
        match dice.roll(4) {
            0 => {
                db.close().unwrap();
                db = relaxed().open(&dir, &passphrase()).unwrap();
            }
            // What follows from the ledger is thrown away.
            1 => {
                db.close().unwrap();
                db = relaxed().rebuild(true).open(&dir, &passphrase()).unwrap();
            }
            _ => {}
        }
        if round % 3 != 1 {
            note(&db);
        }
        assert_intact(&db);
    }
    // The same entries in another order give the same map.
    let (_scratch, other) = fresh();
    other.import(ImportOptions::new().trust(TrustPolicy::All), &export(&db)[..]).unwrap();
    assert_eq!(note(&other).claimed().map, note(&db).claimed().map);
}

#[test]
fn it_is_of_one_moment_while_others_write() {
    let (_scratch, db) = fresh();
    let is_over = AtomicBool::new(false);
    let notes = std::thread::scope(|scope| {
        for thread in 0..2 {
            let (db, is_over) = (&db, &is_over);
            scope.spawn(move || {
                for n in 0_u64.. {
                    if is_over.load(Ordering::Acquire) {
                        break;
                    }
                    let drafts = (0..7).map(|m| Draft::json(&format!("{thread} {}", (n + m) % 40), "1").unwrap());
                    db.write_batch(drafts.collect()).unwrap();
                }
            });
        }
        let notes: Vec<SignedHeads> = (0..rounds(8)).map(|_| db.heads_note().unwrap().1).collect();
        is_over.store(true, Ordering::Release);
        notes
    });
    // Each is what the first entries of the ledger give.
    let mut things: BTreeMap<ThingId, (u64, Vec<thingdb::EntryId>)> = BTreeMap::new();
    let mut notes = notes.iter().map(SignedHeads::claimed).peekable();
    let stream = export(&db);
    let lines = stream.split_inclusive(|byte| *byte == b'\n').map(|line| Line::parse(line, 1).unwrap());
    let entries = lines.filter_map(|line| if let Line::Entry(entry) = line { Some(entry) } else { None });
    for (entry, size) in entries.zip(1..) {
        let (count, heads) = things.entry(entry.header.thing.clone()).or_default();
        *count += 1;
        heads.retain(|head| !entry.header.prev.contains(head));
        heads.push(entry.id());
        while let Some(note) = notes.next_if(|note| note.size == size) {
            let leaf = |(thing, (count, ids)): (&ThingId, &(u64, Vec<thingdb::EntryId>))| {
                let mut ids = ids.clone();
                ids.sort_unstable();
                let key = heads::key(thing);
                (key, heads::leaf(&key, &heads::value(thing, *count, &ids)))
            };
            let mut leaves: Vec<_> = things.iter().map(leaf).collect();
            leaves.sort_unstable();
            assert_eq!(note.map, heads::subtree(&leaves, 0), "{size}");
        }
        notes.next_if(|note| note.size == 0);
    }
    assert_eq!(notes.next(), None);
    assert_intact(&db);
}

#[test]
fn a_file_shows_what_was_left_out_and_what_is_not_there() {
    let (_scratch, db) = fresh();
    for n in 0..30 {
        db.put(&format!("thing {}", n % 7), "1").unwrap();
    }
    let report = check(&db, &proof(&db, "thing 3", ProveOptions::new()));
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.complete.map(|complete| (complete.count, complete.heads)), Some((4, 1)));
    let report = check(&db, &proof(&db, "thing 3", ProveOptions::new().seqs(2, 3)));
    assert_eq!((report.entries, report.complete.map(|complete| complete.count)), (2, Some(4)));
    let report = check(&db, &proof(&db, "thing 30", ProveOptions::new().absent(true)));
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.complete.map(|complete| complete.count), Some(0));
    let there = db.prove("thing 3", ProveOptions::new().absent(true), Vec::new()).unwrap_err();
    assert!(matches!(there, Error::NotAbsent { entries: 4, .. }), "{there:?}");
    let nowhere = db.prove("thing 30", ProveOptions::new(), Vec::new()).unwrap_err();
    assert!(nowhere.is_not_found());
    // Of an empty ledger everything is absent.
    let (_scratch, empty) = fresh();
    let report = check(&empty, &proof(&empty, "thing 3", ProveOptions::new().absent(true)));
    assert!(report.is_good(), "{report:?}");
}

/// The rows of the map of heads and of the note.
const PAGES: &[u8] = b"N";
const MAP: &[u8] = b"Sheads-map";
const NOTE: &[u8] = b"Sheads-note";

#[test]
fn a_map_that_is_damaged_or_that_lags_is_made_anew() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let drafts = (0..200).map(|n| Draft::json(&format!("thing {n}"), "1").unwrap());
    db.write_batch(drafts.collect()).unwrap();
    let expected = note(&db);
    db.close().unwrap();
    let pages = Rows::edit(&dir, |rows| rows.all(PAGES));
    assert!(pages.len() > 10);
    type Damage = fn(&Rows, &[(Vec<u8>, Vec<u8>)]);
    let damages: [Damage; 5] = [
        |rows, pages| rows.delete(&pages[0].0),
        |rows, pages| rows.delete(&pages[7].0),
        |rows, pages| rows.put(&pages[7].0, pages[8].1.clone()),
        |rows, pages| rows.put(&pages[0].0, vec![1; 40]),
        |rows, _| rows.delete(MAP),
    ];
    for damage in damages {
        let copy = scratch.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        copy_directory(&dir, &copy);
        Rows::edit(&copy, |rows| damage(rows, &pages));
        let db = relaxed().open(&copy, &passphrase()).unwrap();
        for n in (0..200).step_by(10) {
            let report = check(&db, &proof(&db, &format!("thing {n}"), ProveOptions::new()));
            assert!(report.is_good() && report.complete.is_some(), "{report:?}");
        }
        assert_eq!(note(&db).as_str(), expected.as_str());
        assert_intact(&db);
    }
}

/// The operator has shown others heads that are not those of the ledger.
#[test]
fn a_note_that_does_not_follow_from_the_ledger_shows() {
    let scratch = scratch();
    let (dir, twin) = (scratch.path().join("db"), scratch.path().join("twin"));
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    (0..9).for_each(|n| drop(db.put(&format!("thing {}", n % 4), "1").unwrap()));
    db.close().unwrap();
    copy_directory(&dir, &twin);
    let notes = [(&dir, "thing 1"), (&twin, "thing 2")].map(|(dir, name)| {
        let db = relaxed().open(dir, &passphrase()).unwrap();
        db.put(name, "2").unwrap();
        let note = note(&db);
        db.close().unwrap();
        note
    });
    assert!(notes[0].claimed().contradicts(notes[1].claimed()));
    let (map, said) = Rows::edit(&twin, |rows| (rows.get(MAP), rows.get(NOTE)));
    for (row, value, verdict) in [(NOTE, said, Verdict::RolledBack), (MAP, map, Verdict::BadIndex)] {
        let copy = scratch.path().join("copy");
        let _ = std::fs::remove_dir_all(&copy);
        copy_directory(&dir, &copy);
        Rows::edit(&copy, |rows| rows.put(row, value));
        let db = relaxed().open(&copy, &passphrase()).unwrap();
        let problems = verify(&db).problems;
        assert!(problems.iter().any(|problem| problem.verdict == verdict), "{problems:?}");
    }
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    assert_intact(&db);
}

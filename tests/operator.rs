//! The operator has the directory, the passphrase, and so every key in it. What
//! such a one can do and cannot hide.
//!
//! Against a checkpoint that somebody else keeps, nothing: the entries that it
//! counts are there, or they are truncated or rolled back. Without one, the
//! node's own last checkpoint and the links between rows show everything but a
//! whole directory that was set back or written anew with the same keys.

#[path = "operator/heads.rs"]
mod heads;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thingdb::{
    Db, Draft, Error, ImportOptions, Problem, SignedCheckpoint, Standing, TrustPolicy, Verdict, VerifyOptions, Warning,
};
use thingdb_format::{Cek, Fields, Header, SigningKey, payload, signature};
use thingdb_tests::database::{
    Dice, assert_intact, copy_directory, export, passphrase, relaxed, rounds, scratch, seed, text, verify,
};
use thingdb_tests::rows::{self, Payload, Rows, Signature, block_key, tile_key};
use thingdb_tests::stranger::{Plan, Stranger, line_of};

/// Entries of the ledger that is attacked: each in a block of its own.
const ENTRIES: u64 = 150;

/// A closed database, and a checkpoint of it that is kept elsewhere.
struct Ledger {
    scratch: TempDir,
    dir: PathBuf,
    kept: SignedCheckpoint,
}

fn thing(n: u64) -> String {
    format!("thing {}", n % 5)
}

impl Ledger {
    fn new() -> Self {
        let scratch = scratch();
        let dir = scratch.path().join("db");
        let db = relaxed().create(&dir, &passphrase()).unwrap();
        for n in 0..ENTRIES {
            db.put(&thing(n), &format!("{n}")).unwrap();
        }
        let kept = db.checkpoint().unwrap();
        db.close().unwrap();
        Self { scratch, dir, kept }
    }

    fn open(&self) -> Db {
        relaxed().open(&self.dir, &passphrase()).unwrap()
    }

    /// What verification says against the checkpoint that was kept.
    fn against_kept(&self, db: &Db) -> Vec<Problem> {
        db.verify(VerifyOptions::new().checkpoint(self.kept.as_str())).unwrap().problems
    }
}

fn verdicts(problems: &[Problem]) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = problems.iter().map(|problem| problem.verdict).collect();
    verdicts.dedup();
    verdicts
}

/// Writing is over, for good and with a reason; reading is not.
fn assert_reads_and_does_not_write(db: &Db) {
    for _ in 0..2 {
        let problem = db.put("new", "1").unwrap_err();
        assert!(matches!(problem, Error::RolledBack { .. }), "{problem:?}");
        assert!(problem.is_read_only());
        let batch = (0..3).map(|n| Draft::json("new", format!("{n}")).unwrap()).collect();
        assert!(db.write_batch(batch).unwrap_err().is_read_only());
        assert!(db.checkpoint().unwrap_err().is_read_only(), "no second history is signed");
        let (_scratch, other) = thingdb_tests::database::fresh();
        other.put("lamp", "1").unwrap();
        let all = ImportOptions::new().trust(TrustPolicy::All);
        assert!(db.import(all, &export(&other)[..]).unwrap_err().is_read_only());
    }
    assert!(db.get("new").unwrap().is_none());
    assert_eq!(text(&db.get_seq("thing 0", 1).unwrap()[0]), "0");
    assert!(db.history("thing 1").unwrap().next().unwrap().is_ok());
}

fn cut_tail(dir: &Path, from: u64) {
    Rows::edit(dir, |rows| (from..ENTRIES).for_each(|position| rows.delete(&block_key(position))));
}

#[test]
fn a_tail_that_is_cut_shows_at_opening() {
    for from in [0, 1, 100, 127, 128, 129, ENTRIES - 1] {
        let ledger = Ledger::new();
        cut_tail(&ledger.dir, from);
        let db = ledger.open();
        let expected = Warning::Standing(Standing::Truncated { expected: ENTRIES, found: from });
        assert!(db.warnings().contains(&expected), "{from}: {:?}", db.warnings());
        if from > 5 {
            assert_reads_and_does_not_write(&db);
        } else {
            assert!(db.put("new", "1").unwrap_err().is_read_only());
        }
        let problems = verify(&db).problems;
        assert!(problems.iter().any(|problem| problem.verdict == Verdict::Truncated), "{problems:?}");
        let problems = ledger.against_kept(&db);
        assert!(problems.iter().filter(|problem| problem.verdict == Verdict::Truncated).count() >= 2, "{problems:?}");
        // Nor does it go away by opening it again.
        db.close().unwrap();
        let db = ledger.open();
        assert!(db.put("new", "1").unwrap_err().is_read_only());
    }
}

/// Who cuts the tail and the own checkpoint with it forgets the index.
#[test]
fn a_tail_that_is_cut_with_the_checkpoint_shows_in_the_index() {
    let ledger = Ledger::new();
    cut_tail(&ledger.dir, 100);
    fs::remove_file(ledger.dir.join("checkpoint")).unwrap();
    let db = ledger.open();
    assert!(db.warnings().iter().any(|warning| matches!(warning, Warning::Checkpoint(_))), "{:?}", db.warnings());
    assert_reads_and_does_not_write(&db);
    assert!(!verify(&db).is_ok());
    assert!(ledger.against_kept(&db).iter().any(|problem| problem.verdict == Verdict::Truncated));
}

#[test]
fn a_directory_that_is_set_back_shows_against_a_kept_checkpoint() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let older = scratch.path().join("older");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    for n in 0..200 {
        db.put(&thing(n), &format!("{n}")).unwrap();
    }
    let early = db.checkpoint().unwrap();
    db.close().unwrap();
    copy_directory(&dir, &older);
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    for n in 200..300 {
        db.put(&thing(n), &format!("{n}")).unwrap();
    }
    let late = db.checkpoint().unwrap();
    assert!(db.verify(VerifyOptions::new().checkpoint(early.as_str())).unwrap().is_ok());
    db.close().unwrap();

    fs::remove_dir_all(&dir).unwrap();
    fs::rename(&older, &dir).unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    // By itself it cannot know.
    assert_eq!(db.warnings(), []);
    assert_intact(&db);
    assert!(db.verify(VerifyOptions::new().checkpoint(early.as_str())).unwrap().is_ok());
    let problems = db.verify(VerifyOptions::new().checkpoint(late.as_str())).unwrap().problems;
    assert_eq!(verdicts(&problems), [Verdict::Truncated]);
    assert!(problems[0].detail.contains("300") && problems[0].detail.contains("200"), "{}", problems[0]);
    // Another future of the same length, and of a greater one.
    for n in 200..300 {
        db.put(&thing(n), "\"another\"").unwrap();
    }
    for _ in 0..2 {
        let problems = db.verify(VerifyOptions::new().checkpoint(late.as_str())).unwrap().problems;
        assert_eq!(verdicts(&problems), [Verdict::RolledBack]);
        db.put("more", "1").unwrap();
    }
    // What both futures have stays provable.
    assert!(db.verify(VerifyOptions::new().checkpoint(early.as_str())).unwrap().is_ok());
}

/// A new ledger under the old keys: whoever keeps a checkpoint knows.
#[test]
fn a_ledger_written_anew_with_the_same_keys_shows_against_a_kept_checkpoint() {
    let ledger = Ledger::new();
    for count in [ENTRIES - 1, ENTRIES, ENTRIES + 1] {
        let dir = ledger.scratch.path().join(format!("anew {count}"));
        thingdb_tests::database::keys_alone(&ledger.dir, &dir);
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        assert!(matches!(db.warnings()[..], [Warning::Checkpoint(_)]));
        for n in 0..count {
            db.put(&thing(n), &format!("{}", n * 2)).unwrap();
        }
        assert!(db.checkpoint().unwrap().verify(&db.node_key()).is_ok());
        assert_intact(&db);
        let expected = if count < ENTRIES { Verdict::Truncated } else { Verdict::RolledBack };
        assert_eq!(verdicts(&ledger.against_kept(&db)), [expected], "{count}");
        db.close().unwrap();
        // Also a checkpoint of the old ledger beside the new one is noticed.
        fs::copy(ledger.dir.join("checkpoint"), dir.join("checkpoint")).unwrap();
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        assert!(matches!(db.warnings()[..], [Warning::Standing(_)]));
        assert!(matches!(db.put("new", "1").unwrap_err(), Error::RolledBack { .. }));
    }
}

/// The entry at a position, its parts exchanged by `alter`, signed by `key`.
fn rewrite(rows: &Rows, position: u64, key: &SigningKey, name: &str, data: &str) {
    let mut record = rows.record(position);
    let old = Header::from_bytes(&record.header).unwrap();
    let cek = Cek::generate(&mut rand::rng());
    let body = thingdb_format::Body::new(name, "update", "application/json", data.as_bytes()).unwrap();
    let sealed = payload::seal(old.suite, &cek, body).unwrap();
    let header = Header::new(Fields {
        suite: old.suite,
        thing: old.thing.clone(),
        seq: old.seq,
        time: old.time,
        origin: old.origin,
        actor: key.actor(),
        prev: old.prev.clone(),
        data_hash: sealed.data_hash,
        payload_hash: sealed.payload_hash,
        payload_len: u32::try_from(sealed.payload.len()).unwrap(),
    })
    .unwrap();
    record.header = header.to_bytes();
    record.signature = Signature::Single(signature::sign_single(key, &record.header));
    record.cek = Some(*cek.as_bytes());
    record.payload = Payload::Inline(sealed.payload);
    rows.put_record(position, &record);
}

#[test]
fn data_rewritten_in_place_is_noticed_whoever_signs_it() {
    let stranger = SigningKey::generate(&mut rand::rng());
    // In the middle, the last of its thing, the last of all.
    for position in [70, ENTRIES - 3, ENTRIES - 1] {
        for own_key in [true, false] {
            let ledger = Ledger::new();
            Rows::edit(&ledger.dir, |rows| {
                let actor = rows.keyring().default_actor().unwrap();
                let key = if own_key { &actor.key } else { &stranger };
                rewrite(rows, position, key, "owner", "\"another\"");
            });
            let db = ledger.open();
            let report = verify(&db);
            assert!(!report.is_ok());
            let found = verdicts(&report.problems);
            assert!(found.contains(&Verdict::RolledBack), "{position}: {found:?}");
            if own_key {
                assert!(!found.contains(&Verdict::UnknownActor));
            } else {
                let unknown = report.problems.iter().find(|problem| problem.verdict == Verdict::UnknownActor).unwrap();
                assert_eq!((unknown.position, unknown.seq), (Some(position), Some(position / 5 + 1)));
                assert!(unknown.detail.contains("claims to be owner"), "{unknown}");
            }
            // What stands in the index is not believed.
            let named = |problem: &Problem| problem.thing.as_ref().is_some_and(|of| of.as_str() == thing(position));
            assert!(report.problems.iter().any(named), "{:?}", report.problems);
            assert!(ledger.against_kept(&db).iter().any(|problem| problem.verdict == Verdict::RolledBack));
        }
    }
}

/// Not even one bit of an open record can change under the seal.
#[test]
fn a_record_that_is_altered_and_sealed_again_is_noticed() {
    let mut dice = Dice::new(seed("sealed again"));
    let ledger = Ledger::new();
    let (first, plain) = Rows::edit(&ledger.dir, |rows| {
        let (first, _) = rows.block_of(40);
        (first, rows.edit_block(40, |block, slot| block.plain(slot).clone()))
    });
    assert_eq!(first, 40);
    // One altered record a position, then all of them put back.
    for _ in 0..rounds(2) {
        let bits: Vec<u64> = (0..ENTRIES - 1).map(|_| dice.roll(plain.len() as u64 * 8)).collect();
        let flip = |rows: &Rows| {
            for (position, bit) in (0..).zip(&bits) {
                rows.edit_block(position, |block, slot| {
                    let plain = block.plain(slot);
                    let (at, bit) = ((*bit / 8) as usize % plain.len(), *bit % 8);
                    plain[at] ^= 1 << bit;
                });
            }
        };
        let copy = ledger.scratch.path().join("copy");
        copy_directory(&ledger.dir, &copy);
        Rows::edit(&copy, flip);
        let db = relaxed().open(&copy, &passphrase()).unwrap();
        let report = verify(&db);
        for n in 0..ENTRIES - 1 {
            let named = |problem: &Problem| {
                problem.position == Some(n)
                    || (problem.thing.as_ref().is_some_and(|of| of.as_str() == thing(n))
                        && problem.seq.is_none_or(|seq| seq == n / 5 + 1))
            };
            assert!(report.problems.iter().any(named), "position {n}, bit {}: {:?}", bits[n as usize], report.problems);
        }
        for n in 0..5 {
            for record in db.history(&thing(n)).unwrap().flatten() {
                assert_eq!(record.thing(), thing(n));
            }
        }
        drop(db);
        fs::remove_dir_all(copy).unwrap();
    }
}

/// Two records that change places, sealed for them.
#[test]
fn entries_that_change_places_are_noticed() {
    let ledger = Ledger::new();
    Rows::edit(&ledger.dir, |rows| {
        let (a, b) = (rows.record(10), rows.record(11));
        rows.put_record(10, &b);
        rows.put_record(11, &a);
    });
    let db = ledger.open();
    assert!(verdicts(&verify(&db).problems).contains(&Verdict::RolledBack));
    // Nobody reads one thing's data as another's.
    for n in 0..5 {
        for record in db.history(&thing(n)).unwrap().flatten() {
            assert_eq!((record.thing(), text(&record).parse::<u64>().unwrap() % 5), (&*thing(n), n));
        }
    }
}

#[test]
fn an_index_that_leads_elsewhere_is_noticed_and_not_followed() {
    let ledger = Ledger::new();
    let state_of = |n: u64| Rows::edit(&ledger.dir, |rows| rows.state(&thing(n)));
    let (lamp, other) = (state_of(0), state_of(1));
    let mut altered = Vec::new();
    // The latest is one of another thing.
    let mut state = lamp.clone();
    state.heads[0].2.position = other.heads[0].2.position;
    state.heads[0].2.slot = other.heads[0].2.slot;
    altered.push(("a head of another thing", state));
    // The latest is an older one.
    let mut state = lamp.clone();
    let before = state.tail[state.tail.len() - 2];
    state.heads[0].2 = before;
    altered.push(("an older head", state));
    // An entry is not listed.
    let mut state = lamp.clone();
    state.tail.remove(3);
    altered.push(("an entry that is not listed", state));
    // It says that it has another name.
    let mut state = lamp.clone();
    state.thing = thing(1);
    altered.push(("another name", state));
    // No head at all.
    let mut state = lamp.clone();
    state.heads.clear();
    altered.push(("no head", state));
    // A history without an end.
    let mut state = lamp.clone();
    state.heads[0].2.seq = 1 << 52;
    altered.push(("a seq without an end", state.clone()));
    state.entries = 1 << 52;
    altered.push(("entries without an end", state));
    // Postings that lead nowhere.
    let mut state = lamp.clone();
    state.tail[0].position = u64::MAX;
    state.tail[0].slot = 255;
    altered.push(("a posting at the last position", state));
    let mut state = lamp;
    state.tail[0].position = 3;
    state.tail[0].slot = 200;
    altered.push(("a slot before the first position", state));
    for (what, state) in altered {
        println!("{what}");
        let copy = ledger.scratch.path().join(what);
        copy_directory(&ledger.dir, &copy);
        Rows::edit(&copy, |rows| rows.put_state(&thing(0), &state));
        let db = relaxed().open(&copy, &passphrase()).unwrap();
        let report = verify(&db);
        assert!(!report.is_ok(), "{what}: nobody noticed");
        assert!(verdicts(&report.problems).contains(&Verdict::BadIndex), "{what}: {:?}", report.problems);
        // Where nothing is to be followed, that is said and nothing is given.
        let is_told = |problem: thingdb::Error| assert!(problem.is_damaged(), "{what}: {problem}");
        db.verify(VerifyOptions::new().thing(&thing(0))).map_or_else(is_told, drop);
        if let Ok(Some(record)) = db.get(&thing(0)) {
            assert_eq!(record.thing(), thing(0), "{what}");
        }
        match db.history(&thing(0)) {
            Ok(history) => {
                for record in history.flatten() {
                    assert_eq!((record.thing(), text(&record).parse::<u64>().unwrap() % 5), (&*thing(0), 0), "{what}");
                }
            }
            Err(problem) => is_told(problem),
        }
        // Other things are as they were.
        assert_eq!(text(&db.get(&thing(2)).unwrap().unwrap()), (ENTRIES - 3).to_string());
        drop(db);
        // The index can be made anew.
        let db = relaxed().rebuild(true).open(&copy, &passphrase()).unwrap();
        assert_intact(&db);
        assert_eq!(text(&db.get(&thing(0)).unwrap().unwrap()), (ENTRIES - 5).to_string(), "{what}");
    }
}

#[test]
fn a_tile_that_is_altered_and_sealed_again_is_noticed() {
    let ledger = Ledger::new();
    Rows::edit(&ledger.dir, |rows| {
        let mut ids = rows.open_row(&tile_key(0, 0));
        ids[33] ^= 1;
        rows.put_row(&tile_key(0, 0), &ids);
    });
    let db = ledger.open();
    assert!(!verify(&db).is_ok() || !db.warnings().is_empty());
    drop(db);
    let db = relaxed().rebuild(true).open(&ledger.dir, &passphrase()).unwrap();
    assert_intact(&db);
    db.put("new", "1").unwrap();
}

#[test]
fn heads_of_batches_that_are_altered_are_noticed() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    db.put("before", "1").unwrap();
    db.write_batch((0..8).map(|n| Draft::json(&thing(n), format!("{n}")).unwrap()).collect()).unwrap();
    db.put("after", "1").unwrap();
    db.close().unwrap();
    let head = Rows::edit(&dir, |rows| rows.head(1));
    assert_eq!((head.first, head.size), (1, 8));
    let good = head.value;
    let mut value = good;
    value[7] ^= 1;
    let altered = [
        rows::Head { first: 0, ..head.clone() },
        rows::Head { first: u64::MAX, ..head.clone() },
        rows::Head { first: 2, size: 7, ..head.clone() },
        rows::Head { size: 0, ..head.clone() },
        rows::Head { size: 1, ..head.clone() },
        rows::Head { size: 9, ..head.clone() },
        rows::Head { size: u32::MAX, ..head.clone() },
        rows::Head { value, ..head },
    ];
    for altered in altered {
        Rows::edit(&dir, |rows| rows.put_head(1, &altered));
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        let report = verify(&db);
        let bad = report.problems.iter().filter(|problem| problem.verdict == Verdict::BadSignature).count();
        assert_eq!((bad, report.problems_total), (8, 8), "{altered:?}: {:?}", report.problems);
        for n in 0..5 {
            let report = db.verify(VerifyOptions::new().thing(&thing(n))).unwrap();
            assert!(!report.is_ok(), "{altered:?}");
            assert!(db.get(&thing(n)).unwrap().is_some());
        }
        let _ = db.export(thingdb::ExportOptions::new(), std::io::sink());
        drop(db);
    }
    Rows::edit(&dir, |rows| rows.put_head(1, &rows::Head { first: 1, size: 8, value: good }));
    assert_intact(&relaxed().open(&dir, &passphrase()).unwrap());
}

/// An entry of a key that goes by the name of another: names are claims.
#[test]
fn another_key_under_the_same_name_is_an_unknown_actor() {
    let (_scratch, db) = thingdb_tests::database::fresh();
    db.put("lamp", "1").unwrap();
    let mut stranger = Stranger::new("owner");
    stranger.origin = db.origin();
    stranger.readers.push(db.card().unwrap().encryption_key);
    let latest = db.get("lamp").unwrap().unwrap();
    let plan = Plan {
        thing: "lamp".into(),
        seq: 2,
        time: latest.time().micros() + 1,
        prev: vec![latest.id()],
        data: "\"forged\"".into(),
    };
    let forged = line_of(&stranger.entry(&plan));
    let summary = db.import(ImportOptions::new(), &forged[..]).unwrap();
    assert_eq!((summary.added, summary.refused), (0, 1), "{summary:?}");
    assert!(summary.reasons[0].reason.contains("not known"), "{summary:?}");
    assert_eq!(text(&db.get("lamp").unwrap().unwrap()), "1");
    // Who lets everyone in is told afterwards.
    assert_eq!(db.import(ImportOptions::new().trust(TrustPolicy::All), &forged[..]).unwrap().added, 1);
    let record = db.get("lamp").unwrap().unwrap();
    assert!(!record.is_trusted());
    let report = verify(&db);
    assert_eq!(verdicts(&report.problems), [Verdict::UnknownActor]);
    assert!(report.problems[0].detail.contains("claims to be owner"), "{}", report.problems[0]);
}

#[test]
fn a_checkpoint_that_this_node_did_not_sign_is_refused() {
    let ledger = Ledger::new();
    let db = ledger.open();
    let (_scratch, other) = thingdb_tests::database::fresh();
    other.put("lamp", "1").unwrap();
    let foreign = other.checkpoint().unwrap();
    let problem = db.verify(VerifyOptions::new().checkpoint(foreign.as_str())).unwrap_err();
    assert!(matches!(problem, Error::OtherNode { .. }), "{problem}");
    for garbage in ["", "garbage", "a\nb\nc\n\n"] {
        assert!(db.verify(VerifyOptions::new().checkpoint(garbage)).unwrap_err().is_invalid_input());
    }
    // Another size under the same signature.
    let lied = ledger.kept.as_str().replacen(&format!("\n{ENTRIES}\n"), &format!("\n{}\n", ENTRIES - 1), 1);
    assert_ne!(lied, ledger.kept.as_str());
    assert!(db.verify(VerifyOptions::new().checkpoint(&lied)).unwrap_err().is_invalid_input());
    // Beside the database it is one that cannot be read.
    db.close().unwrap();
    for note in [foreign.as_str(), &lied] {
        fs::write(ledger.dir.join("checkpoint"), note).unwrap();
        let db = ledger.open();
        assert!(matches!(db.warnings()[..], [Warning::Checkpoint(_)]), "{:?}", db.warnings());
        assert!(!verify(&db).is_ok());
        std::mem::drop(db);
    }
}

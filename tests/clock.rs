//! Clocks that jump: histories stay in order, and nothing is lost.

use std::sync::atomic::{AtomicU64, Ordering};

use thingdb::{Db, Draft, Time};
use thingdb_tests::database::{assert_intact, export, options, passphrase, relaxed, scratch};

/// A day of microseconds.
const DAY: u64 = 86_400_000_000;

/// The last time that can be written.
const LAST: u64 = 253_402_300_799_999_999;

/// A clock for each test, so that they may run side by side. `Options::clock`
/// takes a function, not a closure.
macro_rules! clock {
    ($clock:ident, $now:ident) => {
        static $now: AtomicU64 = AtomicU64::new(1_700_000_000_000_000);
        fn $clock() -> u64 {
            $now.load(Ordering::SeqCst)
        }
    };
}

fn times(db: &Db, thing: &str) -> Vec<u64> {
    db.history(thing).unwrap().map(|record| record.unwrap().time().micros()).collect()
}

fn assert_growing(db: &Db, thing: &str) {
    let times = times(db, thing);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn a_clock_that_jumps_back_writes_just_after_the_last_entry() {
    clock!(clock, NOW);
    let scratch = scratch();
    let db = relaxed().clock(clock).create(scratch.path().join("db"), &passphrase()).unwrap();
    let first = db.put("lamp", "1").unwrap();
    assert_eq!(first.time.micros(), 1_700_000_000_000_000);
    NOW.fetch_sub(400 * DAY, Ordering::SeqCst);
    let second = db.put("lamp", "2").unwrap();
    assert_eq!(second.time.micros(), first.time.micros() + 1);
    // Other things have nothing to be later than.
    let other = db.put("door", "1").unwrap();
    assert_eq!(other.time.micros(), 1_700_000_000_000_000 - 400 * DAY);
    // Once the clock has caught up it counts again.
    NOW.fetch_add(401 * DAY, Ordering::SeqCst);
    assert_eq!(db.put("lamp", "3").unwrap().time.micros(), 1_700_000_000_000_000 + DAY);
    assert_growing(&db, "lamp");
    assert_intact(&db);
}

#[test]
fn a_clock_that_stands_still_still_orders_a_history() {
    clock!(clock, NOW);
    let scratch = scratch();
    let db = relaxed().clock(clock).create(scratch.path().join("db"), &passphrase()).unwrap();
    let batch = (0..200).map(|n| Draft::json("lamp", format!("{n}")).unwrap()).collect();
    db.write_batch(batch).unwrap();
    for n in 200..220 {
        db.put("lamp", &format!("{n}")).unwrap();
    }
    let now = NOW.load(Ordering::SeqCst);
    assert_eq!(times(&db, "lamp"), (now..now + 220).collect::<Vec<_>>());
    // "As of" tells entries apart that are a microsecond apart.
    for n in [0, 1, 63, 64, 65, 127, 128, 219] {
        let record = db.get_at("lamp", Time::from_micros(now + n).unwrap()).unwrap().unwrap();
        assert_eq!(record.seq(), n + 1);
    }
    assert!(db.get_at("lamp", Time::from_micros(now - 1).unwrap()).unwrap().is_none());
    assert_intact(&db);
}

#[test]
fn a_clock_that_jumps_forward_and_back_across_a_reopening() {
    clock!(clock, NOW);
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let options = options().clock(clock);
    let db = options.create(&dir, &passphrase()).unwrap();
    db.put("lamp", "1").unwrap();
    NOW.fetch_add(20_000 * DAY, Ordering::SeqCst);
    let ahead = db.put("lamp", "2").unwrap();
    db.close().unwrap();
    NOW.store(1_700_000_000_000_001, Ordering::SeqCst);
    let db = options.open(&dir, &passphrase()).unwrap();
    assert_eq!(db.put("lamp", "3").unwrap().time.micros(), ahead.time.micros() + 1);
    assert_growing(&db, "lamp");
    assert_intact(&db);
    // What one's own clock wrote ahead is in the future for others.
    let stream = export(&db);
    let other = relaxed().clock(clock).create(scratch.path().join("other"), &passphrase()).unwrap();
    let all = || thingdb::ImportOptions::new().trust(thingdb::TrustPolicy::All);
    let summary = other.import(all(), &stream[..]).unwrap();
    assert_eq!((summary.added, summary.refused, summary.pending), (1, 2, 0), "{summary:?}");
    assert!(summary.reasons[0].reason.contains("future"), "{summary:?}");
    // A day later, by this node's clock, it is not any more.
    NOW.fetch_add(20_001 * DAY, Ordering::SeqCst);
    let summary = other.import(all(), &stream[..]).unwrap();
    assert_eq!((summary.added, summary.known), (2, 1), "{summary:?}");
}

#[test]
fn the_last_time_that_can_be_written_ends_a_history_and_nothing_else() {
    clock!(clock, NOW);
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let options = relaxed().clock(clock);
    let db = options.create(&dir, &passphrase()).unwrap();
    NOW.store(LAST, Ordering::SeqCst);
    db.put("lamp", "1").unwrap();
    let problem = db.put("lamp", "2").unwrap_err();
    assert!(problem.to_string().contains("last time"), "{problem}");
    db.put("door", "1").unwrap();
    assert_eq!(db.get("lamp").unwrap().unwrap().seq(), 1);
    assert_eq!(db.get_at("lamp", Time::MAX).unwrap().unwrap().seq(), 1);
    // A batch is all or none, whichever of its entries has no time left.
    let batch = ["window", "lamp"].map(|thing| Draft::json(thing, "1").unwrap()).to_vec();
    db.write_batch(batch).unwrap_err();
    assert!(db.get("window").unwrap().is_none());
    assert_intact(&db);
    db.close().unwrap();
    assert_intact(&options.open(&dir, &passphrase()).unwrap());
}

#[test]
fn a_clock_beyond_all_times_is_an_error_and_no_panic() {
    clock!(clock, NOW);
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let options = relaxed().clock(clock);
    let db = options.create(&dir, &passphrase()).unwrap();
    for now in [LAST + 1, u64::MAX] {
        NOW.store(now, Ordering::SeqCst);
        db.put("lamp", "1").unwrap_err();
    }
    NOW.store(0, Ordering::SeqCst);
    assert_eq!(db.put("lamp", "1").unwrap().time.micros(), 0);
    assert_eq!(db.put("lamp", "2").unwrap().time.micros(), 1);
    assert_intact(&db);
}

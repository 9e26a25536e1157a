//! Content goes when its time has come, by the policy with the longest prefix, and
//! nothing else does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thingdb::{Content, Db, Draft, Error, ImportOptions, MAX_RETENTIONS, Retention, Time, TrustPolicy};
use thingdb_tests::database::{assert_intact, passphrase, relaxed, scratch};
use thingdb_tests::stranger::{Stranger, lines_of};

const DAY: Duration = Duration::from_secs(86_400);
const START: u64 = 1_700_000_000_000_000;

/// The time so many days after the start.
fn day(days: u64) -> Time {
    Time::from_micros(START + days * 86_400_000_000).unwrap()
}

/// A database whose clock is where it is set.
fn clocked(clock: fn() -> u64) -> (tempfile::TempDir, Db) {
    let scratch = scratch();
    let db = relaxed().clock(clock).create(scratch.path().join("db"), &passphrase());
    (scratch, db.unwrap())
}

fn put_on(db: &Db, clock: &AtomicU64, days: u64, thing: &str, data: &str) {
    clock.store(day(days).micros(), Ordering::SeqCst);
    db.put(thing, data).unwrap();
}

/// The seqs that have lost their content.
fn erased(db: &Db, thing: &str) -> Vec<u64> {
    let all = db.history(thing).unwrap().map(Result::unwrap);
    all.filter(|record| matches!(record.content(), Content::Erased { .. })).map(|record| record.seq()).collect()
}

#[test]
fn what_is_due_goes_by_the_longest_prefix_with_one_record_a_thing_and_run() {
    static CLOCK: AtomicU64 = AtomicU64::new(START);
    let (_scratch, db) = clocked(|| CLOCK.load(Ordering::SeqCst));
    db.retain(Retention::new("", 1000 * DAY, "kept for long")).unwrap();
    db.retain(Retention::new("log/", 10 * DAY, "kept for ten days").basis("house-rule")).unwrap();
    db.retain(Retention::new("log/door", 30 * DAY, "kept for thirty days").keep_latest(true)).unwrap();
    for days in [0, 5, 20] {
        for thing in ["log/a", "log/door", "other"] {
            put_on(&db, &CLOCK, days, thing, &days.to_string());
        }
    }
    put_on(&db, &CLOCK, 0, "log/b", "1");
    let due = db.plan_due(day(10)).unwrap();
    assert_eq!((due.plans().len(), due.entries()), (2, 2), "{due:?}");
    let just_before = Time::from_micros(day(10).micros() - 1).unwrap();
    assert_eq!(db.plan_due(just_before).unwrap().entries(), 0);
    CLOCK.store(day(25).micros(), Ordering::SeqCst);
    let before = db.ledger_size();
    let done = db.erase_due(&db.plan_due(day(25)).unwrap()).unwrap();
    assert_eq!((done.entries, done.records.len(), db.ledger_size() - before), (3, 2, 2));
    assert_eq!((erased(&db, "log/a"), erased(&db, "log/b")), (vec![1, 2], vec![1]));
    assert_eq!((erased(&db, "log/door"), erased(&db, "other")), (vec![], vec![]));
    let record = db.erasures(Some("log/a")).unwrap().next().unwrap().unwrap();
    let said = record.erasure.unwrap();
    assert_eq!((said.reason(), said.basis(), said.entries().len()), ("kept for ten days", Some("house-rule"), 2));
    // The thing is what it was, and nothing is due twice.
    assert_eq!(db.get("log/a").unwrap().unwrap().data(), Some(&b"20"[..]));
    assert_eq!(db.plan_due(day(25)).unwrap().entries(), 0);
    // The latest may stay, however old it is. Records never go.
    CLOCK.store(day(500).micros(), Ordering::SeqCst);
    db.erase_due(&db.plan_due(day(500)).unwrap()).unwrap();
    assert_eq!((erased(&db, "log/door"), erased(&db, "log/a")), (vec![1, 2], vec![1, 2, 3]));
    assert_eq!(db.plan_due(day(900)).unwrap().entries(), 0);
    assert_intact(&db);
}

#[test]
fn what_others_wrote_is_passed_over() {
    static CLOCK: AtomicU64 = AtomicU64::new(START);
    let (_scratch, db) = clocked(|| CLOCK.load(Ordering::SeqCst));
    let mallory = Stranger::new("mallory");
    db.trust_actor("mallory", mallory.actor()).unwrap();
    let summary =
        db.import(ImportOptions::new().trust(TrustPolicy::All), &lines_of(&mallory.history("x", START, 3))[..]);
    assert_eq!(summary.unwrap().added, 3);
    put_on(&db, &CLOCK, 1, "x", "1");
    db.retain(Retention::new("x", DAY, "a day")).unwrap();
    let due = db.plan_due(day(9)).unwrap();
    assert_eq!((due.entries(), due.of_others()), (1, 3));
    assert_eq!(db.erase_due(&due).unwrap().entries, 1);
    assert_eq!(erased(&db, "x"), [4]);
    assert_intact(&db);
}

#[test]
fn policies_are_kept_replaced_and_refused() {
    static CLOCK: AtomicU64 = AtomicU64::new(START);
    let (_scratch, db) = clocked(|| CLOCK.load(Ordering::SeqCst));
    let first = Retention::new("a", DAY, "one");
    assert_eq!(db.retain(first.clone()).unwrap(), None);
    let second = Retention::new("a", 2 * DAY, "two").basis("rule").actor("owner").keep_latest(true);
    assert_eq!(db.retain(second.clone()).unwrap(), Some(first));
    db.retain(Retention::new("", DAY, "all")).unwrap();
    let dir = db.dir().to_owned();
    db.close().unwrap();
    let db = relaxed().rebuild(true).open(&dir, &passphrase()).unwrap();
    let all = db.retentions().unwrap();
    assert_eq!((all.len(), all[0].prefix(), &all[1]), (2, "", &second));
    for bad in [
        Retention::new("b", Duration::from_millis(900), "less than a second"),
        Retention::new("b", DAY, ""),
        Retention::new("b", DAY, "two\nlines"),
        Retention::new("b", DAY, "why").basis("two words"),
        Retention::new("b\u{7}", DAY, "why"),
    ] {
        let problem = db.retain(bad.clone()).unwrap_err();
        assert!(problem.is_invalid_input(), "{bad:?}: {problem}");
    }
    let problem = db.retain(Retention::new("b", DAY, "why").actor("nobody")).unwrap_err();
    assert!(matches!(problem, Error::NoSuchActor { .. }), "{problem}");
    for n in all.len()..MAX_RETENTIONS {
        db.retain(Retention::new(&format!("x{n}"), DAY, "why")).unwrap();
    }
    assert!(matches!(db.retain(Retention::new("z", DAY, "why")), Err(Error::TooManyRetentions { .. })));
    // One that is there can still be replaced.
    db.retain(Retention::new("a", DAY, "why")).unwrap();
    assert!(db.remove_retention("nothing").unwrap_err().is_not_found());
    assert_eq!(db.remove_retention("a").unwrap().reason(), "why");
    assert_eq!(db.retentions().unwrap().len(), MAX_RETENTIONS - 1);
}

#[test]
fn what_is_on_hold_is_passed_over_and_named() {
    static CLOCK: AtomicU64 = AtomicU64::new(START);
    let (_scratch, db) = clocked(|| CLOCK.load(Ordering::SeqCst));
    for thing in ["a", "b"] {
        put_on(&db, &CLOCK, 0, thing, "1");
    }
    db.retain(Retention::new("", DAY, "a day")).unwrap();
    db.hold("a", "a lawsuit").unwrap();
    let due = db.plan_due(day(2)).unwrap();
    assert_eq!((due.entries(), due.held().len(), due.held()[0].as_str()), (1, 1, "a"));
    assert_eq!(db.erase_due(&due).unwrap().entries, 1);
    assert_eq!((erased(&db, "a"), erased(&db, "b")), (vec![], vec![1]));
    // One that came meanwhile: nothing is signed.
    db.release("a").unwrap();
    let due = db.plan_due(day(2)).unwrap();
    db.hold("a", "another").unwrap();
    let before = db.ledger_size();
    assert!(matches!(db.erase_due(&due), Err(Error::OnHold { .. })));
    assert_eq!((db.ledger_size(), erased(&db, "a")), (before, vec![]));
    assert_intact(&db);
}

/// A time that is longer than there were days reaches nothing.
#[test]
fn a_policy_of_more_than_all_time_erases_nothing() {
    static CLOCK: AtomicU64 = AtomicU64::new(START);
    let (_scratch, db) = clocked(|| CLOCK.load(Ordering::SeqCst));
    db.write(Draft::json("a", "1").unwrap()).unwrap();
    db.retain(Retention::new("a", Duration::from_secs(u64::MAX), "for ever")).unwrap();
    assert_eq!(db.plan_due(Time::MAX).unwrap().entries(), 0);
}

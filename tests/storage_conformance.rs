//! The contract of the storage seam, held against every implementation.
//!
//! Each claim is one function over `&dyn Storage`; the table at the end runs
//! all of them against each implementation, and those about reopening against
//! each that has something to reopen.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use thingdb::storage::journaled::{JournaledOptions, JournaledStorage};
use thingdb::storage::memory::MemoryStorage;
use thingdb::storage::sled::{SledOptions, SledStorage};
use thingdb::storage::{Batch, Direction, Health, KeyRange, Row, Storage, StorageError};

fn put(key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

fn rows(storage: &dyn Storage, range: &KeyRange, direction: Direction) -> Vec<Row> {
    storage.scan(range, direction).collect::<Result<_, _>>().unwrap()
}

/// Small, reproducible randomness (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn a_commit_is_visible_and_durable(storage: &dyn Storage) {
    assert_eq!(storage.get(b"lamp").unwrap(), None);
    let first = storage.commit(put(b"lamp", b"on")).unwrap();
    assert_eq!(storage.get(b"lamp").unwrap().as_deref(), Some(&b"on"[..]));
    let second = storage.commit(put(b"lamp", b"off")).unwrap();
    assert!(second > first);
    assert_eq!(storage.get(b"lamp").unwrap().as_deref(), Some(&b"off"[..]));
    storage.wait(second).unwrap();
    storage.wait(first).unwrap();
    assert_eq!(storage.health(), Health::Writable);
}

fn the_last_change_of_a_batch_decides(storage: &dyn Storage) {
    let mut batch = Batch::new();
    batch.put(*b"a", *b"1").delete(*b"a").put(*b"a", *b"2");
    batch.put(*b"b", *b"1").delete(*b"b");
    batch.delete(*b"never there");
    storage.commit(batch).unwrap();
    assert_eq!(storage.get(b"a").unwrap().as_deref(), Some(&b"2"[..]));
    assert_eq!(storage.get(b"b").unwrap(), None);
}

fn a_batch_of_one_deletion_deletes(storage: &dyn Storage) {
    storage.commit(put(b"gone", b"soon")).unwrap();
    let mut batch = Batch::new();
    batch.delete(*b"gone");
    storage.commit(batch).unwrap();
    assert_eq!(storage.get(b"gone").unwrap(), None);
}

fn empty_keys_and_values_are_stored(storage: &dyn Storage) {
    storage.commit(put(b"", b"for the empty key")).unwrap();
    storage.commit(put(b"empty", b"")).unwrap();
    assert_eq!(storage.get(b"").unwrap().as_deref(), Some(&b"for the empty key"[..]));
    assert_eq!(storage.get(b"empty").unwrap().as_deref(), Some(&b""[..]));
    let all = rows(storage, &KeyRange::all(), Direction::Forward);
    assert_eq!(all[0].0, b"");
    let mut batch = Batch::new();
    batch.delete(*b"");
    storage.commit(batch).unwrap();
    assert_eq!(storage.get(b"").unwrap(), None);
}

fn a_guard_that_does_not_hold_refuses_everything(storage: &dyn Storage) {
    storage.commit(put(b"head", b"1")).unwrap();
    let refused = |batch: Batch, key: &[u8]| match storage.commit(batch) {
        Err(StorageError::Conflict { key: found }) => assert_eq!(found, key),
        other => panic!("expected a conflict, got {other:?}"),
    };
    let mut batch = put(b"head", b"9");
    batch.put(*b"more", *b"9").expect_value(*b"head", *b"0");
    refused(batch, b"head");
    let mut batch = put(b"head", b"9");
    batch.expect_absent(*b"head");
    refused(batch, b"head");
    let mut batch = put(b"head", b"9");
    batch.expect_value(*b"other", *b"1");
    refused(batch, b"other");
    // The first that does not hold is named, whatever the others say.
    let mut batch = Batch::new();
    batch.expect_value(*b"head", *b"1").expect_value(*b"no", *b"");
    refused(batch, b"no");
    assert_eq!(storage.get(b"head").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(storage.get(b"more").unwrap(), None);

    let mut batch = put(b"head", b"2");
    batch.expect_value(*b"head", *b"1").expect_absent(*b"other");
    storage.commit(batch).unwrap();
    assert_eq!(storage.get(b"head").unwrap().as_deref(), Some(&b"2"[..]));
}

/// Two threads raise one number by compare-and-set: no step is lost.
fn guards_decide_between_threads(storage: &dyn Storage) {
    const EACH: u64 = 100;
    storage.commit(put(b"n", &0_u64.to_be_bytes())).unwrap();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut done = 0;
                while done < EACH {
                    let old = storage.get(b"n").unwrap().unwrap();
                    let n = u64::from_be_bytes(old.clone().try_into().unwrap());
                    let mut batch = put(b"n", &(n + 1).to_be_bytes());
                    batch.expect_value(*b"n", old);
                    match storage.commit(batch) {
                        Ok(_) => done += 1,
                        Err(StorageError::Conflict { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let n = storage.get(b"n").unwrap().unwrap();
    assert_eq!(n, (2 * EACH).to_be_bytes());
}

/// Random batches against a map, with every kind of range in both directions.
fn scans_agree_with_a_map(storage: &dyn Storage) {
    let seed = 0x5eed_u64;
    println!("seed {seed:#x}");
    let mut dice = Dice(seed);
    let mut model = BTreeMap::new();
    let key = |dice: &mut Dice| {
        let len = dice.roll(4) as usize;
        // Few letters and the two ends of the alphabet: prefixes and
        // neighbours are frequent.
        (0..len).map(|_| [0, 1, b'a', b'b', 0xfe, 0xff][dice.roll(6) as usize]).collect::<Vec<u8>>()
    };
    for round in 0..400_u32 {
        let mut batch = Batch::new();
        for _ in 0..=dice.roll(6) {
            let key = key(&mut dice);
            if dice.roll(3) == 0 {
                batch.delete(key.clone());
                model.remove(&key);
            } else {
                let value = round.to_be_bytes().to_vec();
                batch.put(key.clone(), value.clone());
                model.insert(key, value);
            }
        }
        storage.commit(batch).unwrap();
        let (a, b) = (key(&mut dice), key(&mut dice));
        for range in
            [KeyRange::between(a.clone(), b.clone()), KeyRange::from(a.clone()), KeyRange::prefix(b), KeyRange::all()]
        {
            let mut expected: Vec<Row> = model
                .iter()
                .filter(|(key, _)| {
                    key.as_slice() >= range.start() && range.end().is_none_or(|end| key.as_slice() < end)
                })
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(rows(storage, &range, Direction::Forward), expected);
            expected.reverse();
            assert_eq!(rows(storage, &range, Direction::Backward), expected, "{range:?}");
        }
        let probe = key(&mut dice);
        assert_eq!(storage.get(&probe).unwrap(), model.get(&probe).cloned());
    }
}

/// A scan that stands half way neither blocks a commit nor loses its place.
fn a_scan_outlives_commits(storage: &dyn Storage) {
    for n in 0..200_u8 {
        storage.commit(put(&[n], b"old")).unwrap();
    }
    let range = KeyRange::all();
    let mut scan = storage.scan(&range, Direction::Forward);
    for n in 0..100_u8 {
        assert_eq!(scan.next().unwrap().unwrap().0, [n]);
    }
    let mut batch = Batch::new();
    batch.put([100, 1], *b"new").delete([0]).delete([150]);
    storage.commit(batch).unwrap();
    let rest: Vec<u8> = scan.map(|row| row.unwrap().0[0]).collect();
    for n in (100..200).filter(|n| *n != 150) {
        assert!(rest.contains(&n), "row {n} was there throughout");
    }
    assert!(rest.is_sorted());
}

/// Every batch writes the same number under four keys: a reader that takes
/// them in the order in which no batch can pass it never sees them go back.
fn readers_see_whole_commits_in_order(storage: &dyn Storage) {
    let done = AtomicBool::new(false);
    let commits = AtomicU64::new(0);
    storage.commit(numbered(0)).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let read = |key: u8| {
                        let value = storage.get(&[key]).unwrap().unwrap();
                        u64::from_be_bytes(value.try_into().unwrap())
                    };
                    let seen: Vec<u64> = (0..4).map(read).collect();
                    assert!(seen.is_sorted(), "{seen:?}");
                    assert!(seen[0] >= last);
                    last = seen[3];
                    let before = commits.load(Ordering::SeqCst);
                    assert!(read(0) >= before, "a commit is visible when it returns");
                }
            });
        }
        for n in 1..1500 {
            storage.commit(numbered(n)).unwrap();
            commits.store(n, Ordering::SeqCst);
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn numbered(n: u64) -> Batch {
    let mut batch = Batch::new();
    for key in 0..4_u8 {
        batch.put([key], n.to_be_bytes());
    }
    batch
}

fn a_closed_storage_says_so(storage: &dyn Storage) {
    let ticket = storage.commit(put(b"a", b"1")).unwrap();
    storage.close().unwrap();
    storage.close().unwrap();
    assert_eq!(storage.health(), Health::Closed);
    assert!(matches!(storage.get(b"a"), Err(StorageError::Closed)));
    storage.wait(ticket).unwrap();
    assert!(matches!(storage.disk_bytes(), Err(StorageError::Closed)));
    assert!(matches!(storage.commit(put(b"a", b"2")), Err(StorageError::Closed)));
    let range = KeyRange::all();
    let mut scan = storage.scan(&range, Direction::Backward);
    assert!(matches!(scan.next(), Some(Err(StorageError::Closed))));
    assert!(scan.next().is_none());
}

type Claim = (&'static str, fn(&dyn Storage));

const CLAIMS: &[Claim] = &[
    ("visible and durable", a_commit_is_visible_and_durable),
    ("last change decides", the_last_change_of_a_batch_decides),
    ("one deletion", a_batch_of_one_deletion_deletes),
    ("empty keys and values", empty_keys_and_values_are_stored),
    ("guards refuse", a_guard_that_does_not_hold_refuses_everything),
    ("guards between threads", guards_decide_between_threads),
    ("scans agree with a map", scans_agree_with_a_map),
    ("scan outlives commits", a_scan_outlives_commits),
    ("whole commits in order", readers_see_whole_commits_in_order),
    ("closed", a_closed_storage_says_so),
];

fn small() -> JournaledOptions {
    let mut options = JournaledOptions::default();
    options.reserve_bytes = 64 << 10;
    options.cache_bytes = 8 << 20;
    options
}

#[test]
fn memory_holds_the_contract() {
    for (name, claim) in CLAIMS {
        println!("{name}");
        claim(&MemoryStorage::new());
    }
}

#[test]
fn sled_holds_the_contract() {
    for (name, claim) in CLAIMS {
        println!("{name}");
        let directory = tempfile::tempdir().unwrap();
        let mut options = SledOptions::default();
        options.reserve_bytes = 64 << 10;
        options.cache_bytes = 8 << 20;
        claim(&SledStorage::open(directory.path(), options).unwrap());
    }
}

#[test]
fn journaled_holds_the_contract() {
    for (name, claim) in CLAIMS {
        println!("{name}");
        let directory = tempfile::tempdir().unwrap();
        claim(&JournaledStorage::open(directory.path(), small()).unwrap());
    }
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let mut model = BTreeMap::new();
    for round in 0..8_u64 {
        let storage = JournaledStorage::open(directory.path(), small()).unwrap();
        let stored: BTreeMap<_, _> = rows(&storage, &KeyRange::all(), Direction::Forward).into_iter().collect();
        assert_eq!(stored, model);
        let mut batch = Batch::new();
        for n in 0..50_u64 {
            let key = (n * (round + 1)).to_be_bytes().to_vec();
            batch.put(key.clone(), [round as u8; 300]);
            model.insert(key, vec![round as u8; 300]);
        }
        storage.commit(batch).unwrap();
        // Half the rounds close, half only drop.
        if round % 2 == 0 {
            storage.close().unwrap();
        }
    }
}

#[test]
fn rows_of_any_size_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 7000, 70_000, 200_000, 3 << 20];
    let storage = JournaledStorage::open(directory.path(), small()).unwrap();
    for size in sizes {
        let key = (size as u64).to_be_bytes();
        let ticket = storage.commit(put(&key, &vec![7; size])).unwrap();
        storage.wait(ticket).unwrap();
    }
    assert!(storage.disk_bytes().unwrap() > 3 << 20);
    drop(storage);
    let storage = JournaledStorage::open(directory.path(), small()).unwrap();
    for size in sizes {
        let value = storage.get(&(size as u64).to_be_bytes()).unwrap().unwrap();
        assert_eq!(value, vec![7; size]);
    }
}

#[test]
fn a_store_that_is_open_cannot_be_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let storage = JournaledStorage::open(directory.path(), small()).unwrap();
    let error = JournaledStorage::open(directory.path(), small()).err().unwrap();
    assert!(matches!(error, StorageError::Locked { .. }), "{error}");
    storage.close().unwrap();
    JournaledStorage::open(directory.path(), small()).unwrap();
}

/// One failed sync ends all writing, for good and for everyone; what was
/// durable before stays acknowledged, and reads go on.
#[test]
fn a_failed_sync_is_never_retried() {
    let directory = tempfile::tempdir().unwrap();
    let calls = std::sync::Arc::new(AtomicU64::new(0));
    let mut options = small();
    options.sync_interval_ms = 600_000;
    options.sync_hook = Some({
        let calls = calls.clone();
        std::sync::Arc::new(move |n| {
            calls.fetch_add(1, Ordering::SeqCst);
            if n == 3 {
                // EIO, as the kernel would report it.
                return Err(std::io::Error::from_raw_os_error(5));
            }
            Ok(())
        })
    });
    let storage = JournaledStorage::open(directory.path(), options).unwrap();
    let mut durable = Vec::new();
    for n in 0..2_u8 {
        let ticket = storage.commit(put(&[n], b"durable")).unwrap();
        storage.wait(ticket).unwrap();
        durable.push(ticket);
    }
    let lost = storage.commit(put(&[2], b"not durable")).unwrap();
    let error = storage.wait(lost).unwrap_err();
    assert!(matches!(error, StorageError::SyncFailed { .. }), "{error}");
    assert!(error.to_string().contains("os error 5"), "{error}");
    for _ in 0..3 {
        let error = storage.wait(lost).unwrap_err();
        assert!(matches!(error, StorageError::SyncFailed { .. }), "{error}");
        let error = storage.commit(put(&[3], b"refused")).unwrap_err();
        assert!(matches!(error, StorageError::SyncFailed { .. }), "{error}");
    }
    for ticket in durable {
        storage.wait(ticket).unwrap();
    }
    assert!(matches!(storage.health(), Health::ReadOnly(_)));
    assert_eq!(storage.get(&[0]).unwrap().as_deref(), Some(&b"durable"[..]));
    let error = storage.close().unwrap_err();
    assert!(matches!(error, StorageError::SyncFailed { .. }), "{error}");
    assert_eq!(calls.load(Ordering::SeqCst), 3, "a failed sync is not retried");
    drop(storage);
    let storage = JournaledStorage::open(directory.path(), small()).unwrap();
    assert_eq!(storage.get(&[1]).unwrap().as_deref(), Some(&b"durable"[..]));
    storage.commit(put(&[3], b"accepted again")).unwrap();
}

/// The background thread syncs what nobody waits for, once, and only then.
#[test]
fn a_commit_without_a_wait_is_synced_in_the_background() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, syncs) = mpsc::channel();
    let mut options = small();
    options.sync_interval_ms = 20;
    options.sync_hook = Some({
        std::sync::Arc::new(move |n| {
            let _ = sender.send(n);
            Ok(())
        })
    });
    let storage = JournaledStorage::open(directory.path(), options).unwrap();
    assert!(syncs.recv_timeout(Duration::from_millis(100)).is_err());
    for n in 1..4_u64 {
        storage.commit(put(b"a", &n.to_be_bytes())).unwrap();
        assert_eq!(syncs.recv_timeout(Duration::from_secs(10)), Ok(n));
    }
    assert!(syncs.recv_timeout(Duration::from_millis(100)).is_err());
    let started = Instant::now();
    drop(storage);
    assert!(started.elapsed() < Duration::from_secs(2));
}

/// A background sync that fails is found by the next commit.
#[test]
fn a_failed_background_sync_shows() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, syncs) = mpsc::channel();
    let mut options = small();
    options.sync_interval_ms = 1;
    options.sync_hook = Some(std::sync::Arc::new(move |n| {
        let _ = sender.send(n);
        Err(std::io::Error::from_raw_os_error(5))
    }));
    let storage = JournaledStorage::open(directory.path(), options).unwrap();
    let ticket = storage.commit(put(b"a", b"1")).unwrap();
    syncs.recv_timeout(Duration::from_secs(10)).unwrap();
    // The lock of the syncer orders us behind the sync that is failing now.
    let error = storage.wait(ticket).unwrap_err();
    assert!(matches!(error, StorageError::SyncFailed { .. }), "{error}");
    assert!(matches!(storage.health(), Health::ReadOnly(_)));
}

/// Threads that wait at the same time share syncs.
#[test]
fn waiting_threads_share_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let count = std::sync::Arc::new(AtomicU64::new(0));
    let mut options = small();
    options.sync_interval_ms = 600_000;
    options.sync_hook = Some({
        let count = count.clone();
        std::sync::Arc::new(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    });
    let storage = JournaledStorage::open(directory.path(), options).unwrap();
    let tickets: Vec<_> = (0..100_u64).map(|n| storage.commit(put(&n.to_be_bytes(), b"x")).unwrap()).collect();
    thread::scope(|scope| {
        for ticket in tickets {
            let storage = &storage;
            scope.spawn(move || storage.wait(ticket).unwrap());
        }
    });
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// Threads sleep while one syncs for all. If that sync fails, each of them is
/// told, and none sleeps for ever or hears of success.
#[test]
fn a_sync_that_fails_is_told_to_all_who_wait_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let (began, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let mut options = small();
    options.sync_interval_ms = 600_000;
    options.sync_hook = Some(std::sync::Arc::new(move |_| {
        began.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        Err(std::io::Error::other("the disk is gone"))
    }));
    let storage = JournaledStorage::open(directory.path(), options).unwrap();
    let tickets: Vec<_> = (0..64_u64).map(|n| storage.commit(put(&n.to_be_bytes(), b"x")).unwrap()).collect();
    thread::scope(|scope| {
        let waiting: Vec<_> = tickets
            .into_iter()
            .map(|ticket| {
                let storage = &storage;
                scope.spawn(move || storage.wait(ticket))
            })
            .collect();
        has_begun.recv().unwrap();
        go_on.send(()).unwrap();
        for waiting in waiting {
            let told = waiting.join().unwrap();
            assert!(matches!(told, Err(StorageError::SyncFailed { .. })), "{told:?}");
        }
    });
    assert!(has_begun.try_recv().is_err(), "a failed sync was tried again");
}

/// sled has been reported to deadlock under many threads (its issue 1412).
/// Sixteen threads commit, wait, read and scan; the whole has to end in time.
#[test]
fn many_threads_do_not_deadlock() {
    let (sender, done) = mpsc::channel();
    thread::spawn(move || {
        let directory = tempfile::tempdir().unwrap();
        let mut options = small();
        options.cache_bytes = 1 << 20;
        options.sync_interval_ms = 5;
        let storage = JournaledStorage::open(directory.path(), options).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (storage, stop) = (&storage, &stop);
                scope.spawn(move || {
                    let mut dice = Dice(thread + 1);
                    while !stop.load(Ordering::Relaxed) {
                        let mut batch = Batch::new();
                        for _ in 0..=dice.roll(8) {
                            let key = dice.roll(3000).to_be_bytes();
                            if dice.roll(8) == 0 {
                                batch.delete(key);
                            } else {
                                batch.put(key, vec![thread as u8; dice.roll(2000) as usize]);
                            }
                        }
                        let ticket = storage.commit(batch).unwrap();
                        if dice.roll(4) == 0 {
                            storage.wait(ticket).unwrap();
                        }
                    }
                });
                scope.spawn(move || {
                    let mut dice = Dice(thread + 100);
                    while !stop.load(Ordering::Relaxed) {
                        let from = dice.roll(3000).to_be_bytes();
                        storage.get(&from).unwrap();
                        let direction = [Direction::Forward, Direction::Backward][dice.roll(2) as usize];
                        let range = KeyRange::from(from);
                        for row in storage.scan(&range, direction).take(20) {
                            row.unwrap();
                        }
                    }
                });
            }
            thread::sleep(Duration::from_secs(4));
            stop.store(true, Ordering::Relaxed);
        });
        storage.close().unwrap();
        let _ = sender.send(());
    });
    done.recv_timeout(Duration::from_secs(60)).expect("16 threads are done 60 seconds after they were told to stop");
}

//! Many threads at once: no deadlock, no lost entry, right counts, and readers
//! who see whole histories while others write.
//!
//! A thread that hangs would hang the test: a watchdog ends it with a message.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use thingdb::{
    Db, Draft, Durability, ExportOptions, ImportOptions, PeerAddress, Scope, TokenRequest, TrustPolicy, VerifyOptions,
};
use thingdb_tests::database::{
    Dice, assert_intact, export, fresh, options, passphrase, relaxed, rounds, scratch, seed, text,
};

/// Runs `work`, and ends the process if it takes more than two minutes.
fn within_two_minutes<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let (done, watched) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if watched.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("a thread hangs");
                std::process::abort();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// A history that a reader gets while others write: whole from the first to
/// some entry, each naming the one before.
fn assert_whole(db: &Db, thing: &str) -> u64 {
    let mut last = None;
    let mut seq = 0;
    for record in db.history(thing).unwrap() {
        let record = record.unwrap();
        seq += 1;
        assert_eq!(record.seq(), seq);
        assert_eq!(record.prev(), last.as_slice());
        assert!(record.data().is_some());
        last = Some(record.id());
    }
    seq
}

#[test]
fn writers_readers_and_verifiers_at_once() {
    const THREADS: u64 = 6;
    const THINGS: u64 = 9;
    let each = 60 * rounds(1);
    let scratch = scratch();
    let db = relaxed().threads(2).create(scratch.path().join("db"), &passphrase()).unwrap();
    let seed = seed("threads");
    let written = AtomicU64::new(0);
    let ended = AtomicBool::new(false);
    within_two_minutes(|| {
        thread::scope(|scope| {
            let (db, written, ended) = (&db, &written, &ended);
            let writers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut dice = Dice::new(seed ^ (thread * 7919 + 1));
                        for n in 0..each {
                            let thing = |dice: &mut Dice| format!("thing {}", dice.roll(THINGS));
                            let count = match dice.roll(4) {
                                0 => {
                                    let batch = 2 + dice.roll(9);
                                    let drafts =
                                        (0..batch).map(|_| Draft::json(&thing(&mut dice), format!("{n}")).unwrap());
                                    let drafts: Vec<Draft> = drafts.collect();
                                    db.write_batch(drafts).unwrap().len() as u64
                                }
                                1 => {
                                    let draft = Draft::json(&thing(&mut dice), format!("{n}")).unwrap();
                                    db.write_with(draft, Durability::Durable).unwrap();
                                    1
                                }
                                _ => {
                                    db.put(&thing(&mut dice), &format!("{n}")).unwrap();
                                    1
                                }
                            };
                            written.fetch_add(count, Ordering::SeqCst);
                            if n % 16 == 0 {
                                assert_whole(db, &thing(&mut dice));
                            }
                        }
                    })
                })
                .collect();
            // Readers of every kind, until the writers have ended.
            scope.spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    let before = written.load(Ordering::SeqCst);
                    let report = db.verify(VerifyOptions::new()).unwrap();
                    assert!(report.is_ok(), "{:?}", report.problems);
                    assert!(report.size >= before, "what was acknowledged is verified");
                }
            });
            scope.spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    for info in db.things().unwrap() {
                        let info = info.unwrap();
                        let latest = db.get(info.thing.as_str()).unwrap().unwrap();
                        assert!(latest.seq() >= info.heads[0].seq);
                        db.get_at(info.thing.as_str(), latest.time()).unwrap().unwrap();
                        db.verify(VerifyOptions::new().thing(info.thing.as_str())).unwrap();
                    }
                }
            });
            scope.spawn(move || {
                let mut size = 0;
                while !ended.load(Ordering::SeqCst) {
                    let note = db.checkpoint().unwrap();
                    assert!(note.claimed().size >= size, "checkpoints grow");
                    size = note.claimed().size;
                    let report = db.verify(VerifyOptions::new().checkpoint(note.as_str())).unwrap();
                    assert!(report.is_ok(), "{:?}", report.problems);
                    let mut out = Vec::new();
                    let summary = db.export(ExportOptions::new(), &mut out).unwrap();
                    assert!(summary.entries >= size);
                }
            });
            for writer in writers {
                writer.join().unwrap();
            }
            ended.store(true, Ordering::SeqCst);
        });
    });
    let total = written.into_inner();
    assert_eq!(db.stats().unwrap().entries, total);
    let of_things: u64 = db.things().unwrap().map(|info| info.unwrap().entries).sum();
    assert_eq!(of_things, total);
    let histories: u64 = (0..THINGS).map(|n| assert_whole(&db, &format!("thing {n}"))).sum();
    assert_eq!(histories, total);
    assert_eq!(assert_intact(&db).entries, total);
    db.close().unwrap();
    let db = options().open(scratch.path().join("db"), &passphrase()).unwrap();
    assert_eq!(assert_intact(&db).entries, total);
}

/// Threads that count in one thing, each on what the one before left: none of
/// the steps is lost.
#[test]
fn put_if_loses_no_update() {
    const THREADS: u64 = 4;
    let each = 15 * rounds(1);
    let (_scratch, db) = fresh();
    db.put("counter", "0").unwrap();
    let conflicts = AtomicU64::new(0);
    within_two_minutes(|| {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut done = 0;
                    while done < each {
                        let latest = db.get("counter").unwrap().unwrap();
                        let next = text(&latest).parse::<u64>().unwrap() + 1;
                        match db.put_if("counter", thingdb::Expect::Head(latest.id()), &next.to_string()) {
                            Ok(receipt) => {
                                assert_eq!(receipt.seq, latest.seq() + 1);
                                done += 1;
                            }
                            Err(problem) => {
                                assert!(problem.is_conflict(), "{problem}");
                                conflicts.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
    });
    println!("{} conflicts", conflicts.into_inner());
    assert_eq!(text(&db.get("counter").unwrap().unwrap()), (THREADS * each).to_string());
    assert_eq!(db.stats().unwrap().entries, THREADS * each + 1);
    assert_intact(&db);
}

/// One creates a thing, however many try.
#[test]
fn a_thing_is_created_once() {
    let (_scratch, db) = fresh();
    let created: u64 = within_two_minutes(|| {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let create = |n: &u32| db.put_if(&format!("thing {n}"), thingdb::Expect::Absent, "1").is_ok();
                        (0..40_u32).filter(create).count() as u64
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    });
    assert_eq!((created, db.stats().unwrap().things, db.stats().unwrap().entries), (40, 40, 40));
}

/// Two imports of the same stream, a writer, and a change of the keyring at the
/// same time.
#[test]
fn imports_at_once_add_each_entry_once() {
    let (_source_scratch, source) = fresh();
    for n in 0..100 {
        source.put(&format!("thing {}", n % 7), &format!("{n}")).unwrap();
    }
    source.write_batch((0..300).map(|n| Draft::json(&format!("b {}", n % 7), "1").unwrap()).collect()).unwrap();
    let stream = export(&source);
    let (_scratch, db) = fresh();
    let added: u64 = within_two_minutes(|| {
        thread::scope(|scope| {
            let imports: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let all = ImportOptions::new().trust(TrustPolicy::All);
                        let summary = db.import(all, &stream[..]).unwrap();
                        assert_eq!((summary.refused, summary.pending), (0, 0), "{summary:?}");
                        assert_eq!(summary.added + summary.known + summary.completed, 400, "{summary:?}");
                        summary.added
                    })
                })
                .collect();
            scope.spawn(|| {
                for n in 0..20 {
                    db.put("own", &format!("{n}")).unwrap();
                }
            });
            scope.spawn(|| {
                for n in 0..5 {
                    db.new_actor(&format!("actor {n}")).unwrap();
                    db.write(Draft::json("own", "0").unwrap().actor(&format!("actor {n}"))).unwrap();
                }
            });
            imports.into_iter().map(|import| import.join().unwrap()).sum()
        })
    });
    assert_eq!(added, 400);
    assert_eq!(db.stats().unwrap().entries, 425);
    db.trust_actor("the other", source.own_actors()[0].key).unwrap();
    assert_intact(&db);
    for n in 0..7 {
        let thing = format!("thing {n}");
        assert_eq!(db.heads(&thing).unwrap(), source.heads(&thing).unwrap());
    }
}

/// Writers whose actors differ share commits; each entry is signed by its own.
#[test]
fn actors_that_write_at_once_sign_what_is_theirs() {
    let (_scratch, db) = fresh();
    let names = ["alice", "bob", "carol", "dave"];
    let keys = names.map(|name| db.new_actor(name).unwrap());
    within_two_minutes(|| {
        thread::scope(|scope| {
            for name in names {
                let db = &db;
                scope.spawn(move || {
                    for n in 0..30 {
                        let drafts =
                            (0..1 + n % 4).map(|_| Draft::json("shared", format!("\"{name}\"")).unwrap().actor(name));
                        db.write_batch(drafts.collect()).unwrap();
                    }
                });
            }
        });
    });
    for record in db.history("shared").unwrap() {
        let record = record.unwrap();
        let at = names.iter().position(|name| Some(*name) == record.actor_name()).unwrap();
        assert_eq!(record.actor(), keys[at]);
        assert_eq!(text(&record), format!("\"{}\"", names[at]));
    }
    assert_intact(&db);
}

/// A name is of the node that got it first, whoever else asks for it meanwhile.
#[test]
fn peers_that_are_added_at_once_share_no_name() {
    const ADDERS: usize = 4;
    let scratch = scratch();
    let db = options().create(scratch.path().join("db"), &passphrase()).unwrap();
    let make = |n: usize| options().create(scratch.path().join(format!("node-{n}")), &passphrase()).unwrap();
    let cards: Vec<_> = (0..ADDERS).map(|n| make(n).card().unwrap()).collect();
    within_two_minutes(|| {
        for round in 0..10 * rounds(1) {
            let name = format!("peer-{round}");
            let won = AtomicU64::new(0);
            thread::scope(|scope| {
                for card in &cards {
                    let (db, name, won) = (&db, &name, &won);
                    scope.spawn(move || match db.add_peer(name, card) {
                        Ok(_) => drop(won.fetch_add(1, Ordering::Relaxed)),
                        Err(refusal) => assert!(refusal.is_invalid_input(), "{refusal}"),
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
            assert_eq!(db.peers().unwrap().len(), 1);
            db.remove_peer(&name).unwrap();
        }
    });
}

/// What is made for a peer goes with it, also if it is made while the peer is
/// removed.
#[test]
fn nothing_is_left_for_a_peer_that_was_removed_meanwhile() {
    let scratch = scratch();
    let db = options().create(scratch.path().join("db"), &passphrase()).unwrap();
    let peer = options().create(scratch.path().join("peer"), &passphrase()).unwrap().card().unwrap();
    let address =
        PeerAddress { url: "https://peer.example:1".to_owned(), token: "secret".to_owned().into(), tls: None };
    within_two_minutes(|| {
        for round in 0..20 * rounds(1) {
            db.add_peer("peer", &peer).unwrap();
            assert!(db.peer_address("peer").unwrap().is_none(), "the address of the peer that was removed is there");
            // Both are made over and over, until the peer is gone.
            let is_making = AtomicBool::new(false);
            let last = thread::scope(|scope| {
                let making = scope.spawn(|| {
                    let mut last = None;
                    for n in 0.. {
                        let request = TokenRequest::new(&format!("{round}-{n}")).scope(Scope::Export).peer("peer");
                        match db.new_token(&request) {
                            Ok((_, text)) => last = Some(text),
                            Err(_) => break,
                        }
                        is_making.store(true, Ordering::Release);
                    }
                    last
                });
                let noting = scope.spawn(|| while db.set_peer_address("peer", &address).is_ok() {});
                while !is_making.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                db.remove_peer("peer").unwrap();
                noting.join().unwrap();
                making.join().unwrap()
            });
            assert!(db.tokens().is_empty(), "a token of a peer that was removed is there");
            assert!(db.check_token(last.unwrap().as_str()).is_err(), "it is accepted");
        }
    });
}

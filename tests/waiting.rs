//! Entries whose prev has not come: nobody takes the room of others, what waits
//! costs nobody anything, and it goes on whatever brings what it waits for.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use thingdb::format::{Entry, EntryId};
use thingdb::{Db, ImportOptions, ImportSummary, Origin, RefusalCode, RefusalKind, Time, TrustPolicy};
use thingdb_tests::database::{assert_intact, copy_directory, fresh, passphrase, relaxed, rounds, scratch, seed};
use thingdb_tests::rows::Rows;
use thingdb_tests::stranger::{Plan, Stranger, line_of, lines_of, random_id};

const DAY: u64 = 24 * 60 * 60 * 1_000_000;

fn import(db: &Db, bytes: &[u8]) -> ImportSummary {
    db.import(ImportOptions::new(), bytes).unwrap()
}

/// Somebody whose entries are accepted.
fn friend(db: &Db, name: &str, origin: Origin) -> Stranger {
    let mut friend = Stranger::new(name);
    friend.origin = origin;
    db.trust_actor(name, friend.actor()).unwrap();
    friend
}

/// Entries that follow what nobody has.
fn orphans(of: &Stranger, count: u64) -> Vec<u8> {
    let orphan = |n: u64| {
        let plan =
            Plan { thing: format!("t{}", n % 7), seq: 2, time: 1_000 + n, prev: vec![random_id()], data: "1".into() };
        let mut entry = of.entry(&plan);
        entry.payload = None;
        line_of(&entry)
    };
    (0..count).flat_map(orphan).collect()
}

/// The rows of the waiting room in a closed database.
fn room_rows(dir: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    Rows::edit(dir, |rows| [&b"Y"[..], b"W", b"Swaiting"].iter().flat_map(|prefix| rows.all(prefix)).collect())
}

#[test]
fn a_flood_by_one_key_leaves_room_for_everybody_else() {
    let (_scratch, db) = fresh();
    let mallory = friend(&db, "mallory", db.origin());
    let good = friend(&db, "good", db.origin());
    let count = 18_000;
    let flood = import(&db, &orphans(&mallory, count));
    assert_eq!(flood.pending + flood.refused, count);
    assert!(flood.pending <= 16_384, "a quarter of the room: {}", flood.pending);
    assert!(flood.reasons.iter().all(|refusal| refusal.code == RefusalCode::WaitingRoomFull), "{:?}", flood.reasons[0]);
    assert_eq!((flood.kinds.passing, flood.kinds.again), (flood.refused, Some(Time::MIN)));
    // Entry 2 before entry 1, by somebody honest.
    let history = good.history("honest", 1_000, 2);
    let early = import(&db, &line_of(&history[1]));
    assert_eq!((early.pending, early.refused), (flood.pending + 1, 0), "{:?}", early.reasons);
    // More of the flood displaces nothing but the flood.
    let more = import(&db, &orphans(&mallory, 500));
    assert_eq!((more.pending, more.dropped, more.refused), (flood.pending + 1, 500, 0));
    let late = import(&db, &line_of(&history[0]));
    assert_eq!((late.added, late.pending), (2, flood.pending), "{late:?}");
    assert_eq!(db.get("honest").unwrap().unwrap().seq(), 2);
}

#[test]
fn what_waits_is_not_read_checked_or_written_again_for_imports_that_bring_nothing_for_it() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let mallory = friend(&db, "mallory", db.origin());
    let good = friend(&db, "good", db.origin());
    assert_eq!(import(&db, &orphans(&mallory, 2_000)).pending, 2_000);
    db.close().unwrap();
    let before = room_rows(&dir);
    assert_eq!(before.len(), 4_001);
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    for _ in 0..3 {
        assert_eq!(import(&db, b"").pending, 2_000);
        db.put("own", "1").unwrap();
    }
    assert_eq!(import(&db, &lines_of(&good.history("other", 1_000, 3))).added, 3);
    assert_eq!(import(&db, b"").pending, 2_000);
    db.close().unwrap();
    // A row that is sealed again has another nonce.
    assert!(room_rows(&dir) == before, "rows were written again");
}

/// As much waits as there is room for, of four actors: what that costs others.
#[test]
fn an_empty_import_does_not_depend_on_how_much_waits() {
    let (_scratch, db) = fresh();
    let per_actor = 1_500;
    let actors: Vec<Stranger> = (0..4).map(|n| friend(&db, &format!("m{n}"), db.origin())).collect();
    let cost = |db: &Db| {
        let start = std::time::Instant::now();
        (0..20).for_each(|_| drop(import(db, b"")));
        start.elapsed() / 20
    };
    let none = cost(&db);
    for actor in &actors {
        import(&db, &orphans(actor, per_actor));
    }
    assert_eq!(db.waiting().unwrap().entries, 4 * per_actor);
    let many = cost(&db);
    // No claim of a time: it is the rows that are compared in the test above.
    println!("an empty import: {none:?} with nothing that waits, {many:?} with {} entries", 4 * per_actor);
}

#[test]
fn what_waits_is_listed_with_what_it_waits_for() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let other = relaxed().create(scratch.path().join("other"), &passphrase()).unwrap();
    let good = friend(&db, "good", db.origin());
    let history = good.history("x", 1_000, 5);
    db.import(
        ImportOptions::new().from(thingdb::Sender::node(other.origin())),
        &lines_of([&history[4], &history[2]])[..],
    )
    .unwrap();
    let check = |db: &Db| {
        let waiting = db.waiting().unwrap();
        assert_eq!((waiting.entries, waiting.displaced, waiting.expired), (2, 0, 0));
        assert!(waiting.bytes > 1_000 && waiting.oldest.is_some());
        assert_eq!(db.stats().unwrap().waiting, waiting);
        let entries = db.waiting_entries(10).unwrap();
        assert_eq!(entries.len(), 2);
        for entry in entries {
            let of = &history[entry.seq as usize - 1];
            assert_eq!((entry.id, entry.waits_for, entry.thing.as_str()), (of.id(), of.header.prev[0], "x"));
            assert_eq!((entry.actor, entry.origin), (good.actor(), db.origin()));
            assert_eq!(entry.from, Some(other.origin()));
        }
        assert_eq!(db.waiting_entries(1).unwrap().len(), 1);
    };
    check(&db);
    db.close().unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    check(&db);
    // All of it goes on with what is missing, and nothing is left.
    let rest = import(&db, &lines_of([&history[3], &history[1], &history[0]]));
    assert_eq!((rest.added, rest.pending), (5, 0));
    assert_eq!((db.waiting().unwrap().entries, db.waiting().unwrap().oldest), (0, None));
    db.close().unwrap();
    assert_eq!(room_rows(&dir).len(), 1);
}

static NOW: AtomicU64 = AtomicU64::new(2_000_000_000_000_000);

#[test]
fn what_has_waited_for_a_month_goes_and_its_sender_is_told() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let options = relaxed().clock(|| NOW.load(Ordering::Relaxed));
    let db = options.create(&dir, &passphrase()).unwrap();
    let other = relaxed().create(scratch.path().join("other"), &passphrase()).unwrap();
    let good = friend(&db, "good", db.origin());
    let history = good.history("x", 1_000, 3);
    let send = |db: &Db, entry: &Entry| {
        db.import(ImportOptions::new().from(thingdb::Sender::node(other.origin())), &line_of(entry)[..]).unwrap()
    };
    assert_eq!(send(&db, &history[2]).pending, 1);
    NOW.fetch_add(20 * DAY, Ordering::Relaxed);
    assert_eq!(send(&db, &history[1]).pending, 2);
    assert_eq!(db.dropped_from(&other.origin()).unwrap(), 0);
    NOW.fetch_add(11 * DAY, Ordering::Relaxed);
    db.close().unwrap();
    let db = options.open(&dir, &passphrase()).unwrap();
    let summary = import(&db, b"");
    assert_eq!((summary.pending, summary.dropped, summary.refused), (1, 1, 0));
    assert_eq!((db.dropped_from(&other.origin()).unwrap(), db.waiting().unwrap().expired), (1, 1));
    db.close().unwrap();
    let db = options.open(&dir, &passphrase()).unwrap();
    assert_eq!((db.dropped_from(&other.origin()).unwrap(), db.waiting().unwrap().expired), (1, 1));
    // It is as if it had never come.
    assert_eq!((send(&db, &history[0]).added, send(&db, &history[2]).added), (2, 1));
}

/// An entry that is ahead of the clock is refused for now, and says until when.
#[test]
fn an_entry_ahead_of_the_clock_is_accepted_when_it_says() {
    static CLOCK: AtomicU64 = AtomicU64::new(1_700_000_000_000_000);
    let scratch = scratch();
    let options = relaxed().clock(|| CLOCK.load(Ordering::Relaxed));
    let db = options.create(scratch.path().join("db"), &passphrase()).unwrap();
    let good = friend(&db, "good", db.origin());
    let entry = good.entry(&Plan::first("x", CLOCK.load(Ordering::Relaxed) + 320_000_000, "1"));
    let summary = import(&db, &line_of(&entry));
    let refusal = &summary.reasons[0];
    assert_eq!((refusal.code, refusal.code.kind()), (RefusalCode::ClockAhead, RefusalKind::Passing));
    assert_eq!((summary.kinds.passing, summary.kinds.again), (1, refusal.again));
    let again = refusal.again.unwrap().micros();
    assert_eq!(again, CLOCK.load(Ordering::Relaxed) + 20_000_000);
    CLOCK.store(again - 1, Ordering::Relaxed);
    assert_eq!(import(&db, &line_of(&entry)).refused, 1);
    CLOCK.store(again, Ordering::Relaxed);
    assert_eq!(import(&db, &line_of(&entry)).added, 1);
}

#[test]
fn what_waits_does_not_go_on_once_its_actor_lost_trust() {
    let (_scratch, db) = fresh();
    let (good, bad) = (friend(&db, "good", db.origin()), friend(&db, "bad", db.origin()));
    let first = good.entry(&Plan::first("x", 1_000, "1"));
    let second = bad.entry(&Plan::after(&first, "2"));
    assert_eq!(import(&db, &line_of(&second)).pending, 1);
    db.untrust_actor(&bad.actor()).unwrap();
    let summary = import(&db, &line_of(&first));
    assert_eq!((summary.added, summary.pending, summary.refused), (1, 0, 1), "{summary:?}");
    let refusal = &summary.reasons[0];
    assert_eq!((refusal.code, refusal.line, refusal.id), (RefusalCode::WithdrawnActor, 0, Some(second.id())));
    assert_eq!(db.waiting().unwrap().entries, 0);
}

/// The same entry comes as a stub, with its payload, and with envelopes: all of
/// it is there when it goes on.
#[test]
fn an_entry_that_waits_keeps_what_each_copy_of_it_brings() {
    let scratch = scratch();
    let dir = scratch.path().join("db");
    let db = relaxed().create(&dir, &passphrase()).unwrap();
    let mut good = friend(&db, "good", db.origin());
    good.readers = vec![db.card().unwrap().encryption_key];
    let first = good.entry(&Plan::first("x", 1_000, "1"));
    let second = good.entry(&Plan::after(&first, "\"read me\""));
    let (mut stub, mut sealed) = (second.clone(), second.clone());
    (stub.payload, stub.envelopes) = (None, vec![]);
    sealed.envelopes = vec![];
    for (n, copy) in [&stub, &sealed, &second, &stub].into_iter().enumerate() {
        assert_eq!(import(&db, &line_of(copy)).pending, 1, "{n}");
    }
    db.close().unwrap();
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    let summary = import(&db, &line_of(&first));
    assert_eq!((summary.added, summary.pending), (2, 0), "{summary:?}");
    assert_eq!(db.get("x").unwrap().unwrap().data(), Some(&b"\"read me\""[..]));
    db.close().unwrap();
    assert_eq!(room_rows(&dir).len(), 1);
}

/// What a crash leaves: the prev is in, and the entry still waits; or it is in
/// as well, and its rows are still there.
#[test]
fn what_a_crash_left_waiting_goes_on_with_the_next_import() {
    for both in [false, true] {
        let scratch = scratch();
        let (dir, crashed) = (scratch.path().join("db"), scratch.path().join("crashed"));
        let db = relaxed().create(&dir, &passphrase()).unwrap();
        let good = friend(&db, "good", db.origin());
        let history = good.history("x", 1_000, 2);
        db.put("own", "1").unwrap();
        db.close().unwrap();
        copy_directory(&dir, &crashed);
        let db = relaxed().open(&dir, &passphrase()).unwrap();
        assert_eq!(import(&db, &line_of(&history[1])).pending, 1);
        db.close().unwrap();
        let waits = room_rows(&dir);
        // The key for lines that wait was made with the first of them.
        for name in ["keyring", "keyring.copy"] {
            fs::copy(dir.join(name), crashed.join(name)).unwrap();
        }
        let db = relaxed().open(&crashed, &passphrase()).unwrap();
        let came = if both { &history[..] } else { &history[..1] };
        assert_eq!(import(&db, &lines_of(came)).added, came.len() as u64);
        db.close().unwrap();
        Rows::edit(&crashed, |rows| waits.iter().for_each(|(key, value)| rows.put(key, value.clone())));
        let db = relaxed().open(&crashed, &passphrase()).unwrap();
        assert_eq!(db.waiting().unwrap().entries, 1);
        let summary = import(&db, b"");
        assert_eq!((summary.added, summary.pending, summary.refused), (u64::from(!both), 0, 0), "{summary:?}");
        assert_eq!(db.get("x").unwrap().unwrap().seq(), 2);
        db.close().unwrap();
        assert_eq!(room_rows(&crashed).len(), 1);
    }
}

/// Several imports at the same time, each with a part: whoever brings what
/// another one waits for, at the end nothing waits.
#[test]
fn imports_side_by_side_release_each_others_entries() {
    let seed = seed("imports side by side");
    for round in 0..rounds(8) {
        let seed = seed.wrapping_add(round);
        let mut rng = StdRng::seed_from_u64(seed);
        let (_scratch, db) = fresh();
        let good = friend(&db, "good", db.origin());
        let mut entries: Vec<Entry> = (0..4).flat_map(|n| good.history(&format!("x{n}"), 1_000, 40)).collect();
        entries.shuffle(&mut rng);
        let mut parts: Vec<Vec<&[Entry]>> = vec![vec![]; 4];
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let (some, left) = rest.split_at(rng.random_range(1..20).min(rest.len()));
            parts[rng.random_range(0..4)].push(some);
            rest = left;
        }
        let added: u64 = thread::scope(|scope| {
            let db = &db;
            let run =
                move |part: &Vec<&[Entry]>| part.iter().map(|some| import(db, &lines_of(*some)).added).sum::<u64>();
            let running: Vec<_> = parts.iter().map(|part| scope.spawn(move || run(part))).collect();
            running.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!((added, db.waiting().unwrap().entries), (160, 0), "seed {seed}");
        let ids: Vec<EntryId> = entries.iter().map(Entry::id).collect();
        assert_eq!(db.missing(&ids, "").unwrap(), [], "seed {seed}");
        assert_intact(&db);
    }
}

#[test]
fn a_dry_run_sees_what_waits_and_leaves_it() {
    let (_scratch, db) = fresh();
    let good = friend(&db, "good", db.origin());
    let history = good.history("x", 1_000, 4);
    assert_eq!(import(&db, &lines_of([&history[1], &history[3]])).pending, 2);
    let dry = db.import(ImportOptions::new().dry_run(true), &line_of(&history[0])[..]).unwrap();
    assert_eq!(db.waiting().unwrap().entries, 2);
    assert_eq!(dry, import(&db, &line_of(&history[0])));
    assert_eq!((dry.added, dry.pending), (2, 1));
}

/// An entry that waits under one policy is held against trust when it goes on.
#[test]
fn what_anybody_may_bring_in_waits_too() {
    let (_scratch, db) = fresh();
    let stranger = Stranger::default();
    let history = stranger.history("x", 1_000, 2);
    let all = |entry: &Entry| db.import(ImportOptions::new().trust(TrustPolicy::All), &line_of(entry)[..]).unwrap();
    assert_eq!(all(&history[1]).pending, 1);
    assert_eq!(all(&history[0]).added, 2);
}

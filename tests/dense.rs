//! Dense histories, several writers who join what they know of each other, cut
//! into imports in any order: after each of them everything is here whose prev
//! are here, and the rest waits.
//!
//! `THINGDB_TEST_SEED` says which history, `THINGDB_TEST_ROUNDS` how many.

use std::collections::{BTreeMap, HashSet};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use thingdb::format::{Entry, header};
use thingdb::{Db, EntryId, ImportOptions, ImportSummary};
use thingdb_tests::database::{assert_intact, export, passphrase, relaxed, rounds, scratch, seed};
use thingdb_tests::stranger::{Plan, Stranger, line_of, lines_of};
use thingdb_tests::world::{self, World};

fn node(world: &World, dir: &std::path::Path, name: &str) -> Db {
    let db = relaxed().actor(name).create(dir.join(name), &passphrase()).unwrap();
    for writer in &world.writers {
        db.trust_actor(&writer.name, writer.actor()).unwrap();
    }
    db
}

/// Gives a node a part, and holds what it says against what is true.
fn give(world: &World, db: &Db, given: &mut HashSet<usize>, some: &[usize], binary: bool, what: &str) -> ImportSummary {
    let before = world.reachable(given);
    given.extend(some);
    let here = world.reachable(given);
    let stream = world.stream(some, binary);
    let options = || ImportOptions::new().trust(thingdb::TrustPolicy::All);
    let dry = db.import(options().dry_run(true), &stream[..]).unwrap();
    let summary = db.import(options(), &stream[..]).unwrap();
    let missing: Vec<usize> = (0..world.entries.len()).filter(|at| !here.contains(at)).collect();
    let ids: Vec<EntryId> = missing.iter().map(|at| world.ids[*at]).collect();
    assert_eq!(db.missing(&world.ids, "").unwrap().len(), missing.len(), "{what}: {summary:?}");
    assert_eq!(db.missing(&ids, "").unwrap(), ids, "{what}: here is what has no prev here");
    assert_eq!(summary.added as usize, here.len() - before.len(), "{what}: {summary:?}");
    assert_eq!(summary.pending as usize, given.len() - here.len(), "{what}: {summary:?}");
    assert_eq!(summary.refused, 0, "{what}: {:?}", summary.reasons);
    assert_eq!((dry.added, dry.pending, dry.refused), (summary.added, summary.pending, 0), "{what}: a dry run");
    summary
}

#[test]
fn dense_histories_come_in_whole_however_they_are_cut() {
    let seed = seed("dense histories");
    for round in 0..rounds(6) {
        let what = format!("seed {} round {round}", seed.wrapping_add(round));
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(round));
        let mut world = World::default();
        world.grow("thing", rng.random_range(20..160), rng.random_range(1..4), &mut rng);
        let scratch = scratch();
        let names = ["n1", "n2", "n3"];
        let nodes: Vec<Db> = names.iter().map(|name| node(&world, scratch.path(), name)).collect();
        let mut given = vec![HashSet::new(); nodes.len()];
        for step in 0..rng.random_range(3..20) {
            let n = rng.random_range(0..nodes.len());
            if rng.random_bool(0.5) {
                // What another node has.
                let from = rng.random_range(0..nodes.len());
                let some: Vec<usize> = world.reachable(&given[from]).into_iter().collect();
                let mut some = some;
                some.sort_unstable();
                some.retain(|_| rng.random_bool(0.9));
                give(&world, &nodes[n], &mut given[n], &some, rng.random_bool(0.5), &format!("{what} step {step}"));
            } else {
                let some = world::part(world.entries.len(), &mut rng);
                give(&world, &nodes[n], &mut given[n], &some, rng.random_bool(0.5), &format!("{what} step {step}"));
            }
        }
        let all: Vec<usize> = (0..world.entries.len()).collect();
        let mut ends: Vec<BTreeMap<String, (Vec<EntryId>, EntryId)>> = vec![];
        for (n, db) in nodes.iter().enumerate() {
            let mut order = all.clone();
            order.shuffle(&mut rng);
            let summary = give(&world, db, &mut given[n], &order, rng.random_bool(0.5), &format!("{what} at the end"));
            assert_eq!(summary.pending, 0, "{what}");
            for writer in &world.writers {
                db.trust_actor(&writer.name, writer.actor()).unwrap();
            }
            assert_eq!(assert_intact(db).entries, world.entries.len() as u64, "{what}");
            let mut end = BTreeMap::new();
            for thing in db.things().unwrap() {
                let thing = thing.unwrap().thing;
                let mut heads: Vec<EntryId> = db.heads(thing.as_str()).unwrap().iter().map(|head| head.id).collect();
                heads.sort_unstable();
                let latest = db.get(thing.as_str()).unwrap().unwrap().id();
                end.insert(thing.to_string(), (heads, latest));
            }
            ends.push(end);
        }
        assert!(ends.iter().all(|end| *end == ends[0]), "{what}: heads or latest differ");
        // What one node gives on is whole for another one that has nothing.
        let fresh = node(&world, scratch.path(), "n4");
        let summary =
            fresh.import(ImportOptions::new().trust(thingdb::TrustPolicy::All), &export(&nodes[0])[..]).unwrap();
        assert_eq!((summary.added as usize, summary.pending), (all.len(), 0), "{what}");
    }
}

/// Three nodes and eleven entries: an entry joins a head here in the same import
/// in which another one follows that head, from far behind.
#[test]
fn a_head_that_the_same_import_joins_is_still_found_as_a_prev() {
    let scratch = scratch();
    let node = |name: &str| relaxed().actor(name).create(scratch.path().join(name), &passphrase()).unwrap();
    let names = ["n1", "n2", "n3"];
    let nodes = names.map(node);
    for (one, db) in nodes.iter().enumerate() {
        for (other, peer) in nodes.iter().enumerate().filter(|(other, _)| *other != one) {
            db.add_peer(names[other], &peer.card().unwrap()).unwrap();
        }
    }
    let [a, b, c] = &nodes;
    let take = |to: &Db, from: &Db| to.import(ImportOptions::new(), &export(from)[..]).unwrap();
    for n in 0..5 {
        a.put("x", &n.to_string()).unwrap();
    }
    take(b, a);
    a.put("x", "\"a6\"").unwrap();
    take(c, a);
    for n in 6..9 {
        b.put("x", &n.to_string()).unwrap();
    }
    take(b, a);
    // Joins a6 (seq 6) and the own head (seq 8).
    b.put("x", "\"joins\"").unwrap();
    a.put("x", "\"a7\"").unwrap();
    take(a, b);
    let summary = take(c, a);
    assert_eq!((summary.pending, summary.refused), (0, 0), "{summary:?}");
    assert_eq!(c.heads("x").unwrap(), a.heads("x").unwrap());
    assert_eq!(c.get("x").unwrap().unwrap().id(), a.get("x").unwrap().unwrap().id());
}

/// Each entry names its last `width` predecessors, which is allowed; the second
/// half comes with an import of its own.
#[test]
fn entries_with_up_to_32_prev_come_in_two_halves() {
    for width in [1, 2, 3, 8, 31, 32] {
        let scratch = scratch();
        let db = relaxed().actor("a").create(scratch.path().join("db"), &passphrase()).unwrap();
        let mut stranger = Stranger::new("mallory");
        stranger.origin = db.origin();
        db.trust_actor("mallory", stranger.actor()).unwrap();
        let mut entries: Vec<Entry> = vec![];
        for n in 0..120_u64 {
            let mut prev: Vec<EntryId> = entries.iter().rev().take(width).map(Entry::id).collect();
            prev.sort_unstable();
            let plan = Plan { thing: "x".into(), seq: n + 1, time: 1_000_000 + n, prev, data: "1".into() };
            entries.push(stranger.entry(&plan));
        }
        let (first, second) = entries.split_at(60);
        for (half, count) in [(first, 60), (second, 60), (&entries[..], 0)] {
            let summary = db.import(ImportOptions::new(), &lines_of(half)[..]).unwrap();
            assert_eq!((summary.added, summary.pending, summary.refused), (count, 0, 0), "{width}: {summary:?}");
        }
        assert_eq!(db.heads("x").unwrap().len(), 1);
        assert_intact(&db);
    }
}

/// Puts into a thing with many heads, some of them in one commit: each joins the
/// latest that there are then.
#[test]
fn each_of_many_puts_joins_the_latest_heads_of_then() {
    let scratch = scratch();
    let db = relaxed().actor("a").create(scratch.path().join("db"), &passphrase()).unwrap();
    let mut stranger = Stranger::new("mallory");
    stranger.origin = db.origin();
    db.trust_actor("mallory", stranger.actor()).unwrap();
    let first = stranger.entry(&Plan::first("x", 1_000, "1"));
    let mut stream = line_of(&first);
    for n in 0..400_u64 {
        let plan = Plan { time: 1_001 + n * 7919 % 400, ..Plan::after(&first, "2") };
        stream.extend(line_of(&stranger.entry(&plan)));
    }
    assert_eq!(db.import(ImportOptions::new(), &stream[..]).unwrap().added, 401);
    let mut heads = db.heads("x").unwrap();
    assert_eq!(heads.len(), 400);
    for batch in [1, 5, 12, 1] {
        let drafts = (0..batch).map(|n: u64| thingdb::Draft::json("x", n.to_string()).unwrap()).collect();
        for receipt in db.write_batch(drafts).unwrap() {
            heads.sort_unstable_by_key(|head| std::cmp::Reverse((head.time, head.seq, head.id)));
            let mut joined: Vec<EntryId> =
                heads.drain(..header::MAX_PREV.min(heads.len())).map(|head| head.id).collect();
            joined.sort_unstable();
            assert_eq!(db.get_id(&receipt.id).unwrap().unwrap().prev(), joined);
            heads.push(thingdb::Head { id: receipt.id, seq: receipt.seq, time: receipt.time });
        }
        let mut found = db.heads("x").unwrap();
        found.sort_unstable_by_key(|head| head.id);
        heads.sort_unstable_by_key(|head| head.id);
        assert_eq!(found, heads);
    }
    assert_eq!(heads.len(), 1);
    assert_intact(&db);
}

//! What is latest where a thing has forked: the same on every node that has the
//! same entries, and nothing that somebody dates back.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use thingdb::{Content, Db, Draft, EntryId, Erase, Expect, ImportOptions, Record, ThingQuery, Time, TrustPolicy};
use thingdb_format::Entry;
use thingdb_format::erasure::Erasure;
use thingdb_tests::database::{assert_intact, fresh, passphrase, relaxed, rounds, scratch};
use thingdb_tests::stranger::{Plan, Stranger, line_of, lines_of};
use thingdb_tests::vector::Vector;

const NOW: u64 = 1_700_000_000_000_000;

fn import(db: &Db, lines: &[u8]) {
    let summary = db.import(ImportOptions::new().trust(TrustPolicy::All), lines).unwrap();
    assert_eq!((summary.refused, summary.pending), (0, 0), "{summary:?}");
}

/// What decides: the time, then the seq, then the id.
fn rank(entry: &Entry) -> (u64, u64, EntryId) {
    (entry.header.time.micros(), entry.header.seq, entry.id())
}

/// Whether it is one of the records that strangers write here: they alone are for
/// everybody.
fn is_record(entry: &Entry) -> bool {
    !entry.envelopes.is_empty()
}

/// Of the entries until `time` the latest, and how many no other follows.
fn expected(entries: &[Entry], time: u64) -> Option<(EntryId, usize)> {
    let counting: Vec<&Entry> = entries.iter().filter(|entry| entry.header.time.micros() <= time).collect();
    let followed: HashSet<EntryId> = counting.iter().flat_map(|entry| entry.header.prev.iter().copied()).collect();
    let heads = counting.iter().filter(|entry| !followed.contains(&entry.id())).count();
    let latest = counting.iter().max_by_key(|entry| (!is_record(entry), rank(entry)));
    latest.map(|latest| (latest.id(), heads))
}

fn told(record: Option<Record>) -> Option<(EntryId, usize)> {
    record.map(|record| (record.id(), record.heads()))
}

/// A history of several writers, one of them of ill will: forks, joins of heads
/// and of what is no head, entries of one time, and times far apart.
fn dense(rng: &mut StdRng, writers: &[Stranger], entries: usize) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    let mut heads: Vec<usize> = Vec::new();
    let fork = rng.random_range(0.02..0.5);
    let records = *[0.0, 0.1, 0.5, 0.9].choose(rng).unwrap();
    for n in 0..entries {
        let mut follows: Vec<usize> = match rng.random_range(0..20) {
            // Late, from anywhere in the history, or a beginning of its own.
            _ if all.is_empty() => vec![],
            0 if rng.random_bool(fork) => vec![],
            1 | 2 if rng.random_bool(fork) => (0..rng.random_range(1..4)).map(|_| rng.random_range(0..n)).collect(),
            // A writer who knows one head only.
            3..8 if rng.random_bool(fork) => vec![*heads.choose(rng).unwrap()],
            _ => heads.iter().rev().copied().take(32).collect(),
        };
        follows.sort_unstable();
        follows.dedup();
        let seq = 1 + follows.iter().map(|at| all[*at].header.seq).max().unwrap_or(0);
        let after = follows.iter().map(|at| all[*at].header.time.micros() + 1).max().unwrap_or(0);
        let clock = if rng.random_bool(0.1) { rng.random_range(0..NOW) } else { NOW + rng.random_range(0..40) };
        let mut prev: Vec<EntryId> = follows.iter().map(|at| all[*at].id()).collect();
        prev.sort_unstable();
        let plan = Plan { thing: "x".into(), seq, time: after.max(clock), prev, data: n.to_string() };
        let writer = writers.choose(rng).unwrap();
        all.push(match all.choose(rng) {
            // Of some entry of the thing; not all may be erased by this writer.
            Some(some) if rng.random_bool(records) => {
                let data = Erasure::new(vec![some.id()], "why", None).unwrap().to_json();
                writer.record(&Plan { data, ..plan })
            }
            None if rng.random_bool(records) => writer.record(&Plan { data: "{}".into(), ..plan }),
            _ => writer.entry(&plan),
        });
        heads.retain(|head| !follows.contains(head));
        heads.push(n);
    }
    all
}

/// The entries in another order in which each comes after those that it
/// follows.
fn reordered(entries: &[Entry], rng: &mut StdRng) -> Vec<Entry> {
    let mut left: Vec<&Entry> = entries.iter().collect();
    left.shuffle(rng);
    let (mut out, mut here) = (Vec::new(), HashSet::new());
    while !left.is_empty() {
        let at = left.iter().position(|entry| entry.header.prev.iter().all(|prev| here.contains(prev))).unwrap();
        let entry = left.swap_remove(at);
        here.insert(entry.id());
        out.push(entry.clone());
    }
    out
}

#[test]
fn nodes_with_the_same_entries_agree_on_latest_and_on_every_time() {
    let first = std::env::var("THINGDB_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in first..first + rounds(5) {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let length = rng.random_range(1..200);
        let writers: Vec<Stranger> = (0..4).map(|n| Stranger::new(&format!("writer-{n}"))).collect();
        let entries = dense(&mut rng, &writers, length);
        let mut times: Vec<u64> = entries.iter().map(|entry| entry.header.time.micros()).collect();
        times.extend(times.clone().iter().map(|time| time.saturating_sub(1)));
        times.shuffle(&mut rng);
        times.truncate(60);
        times.push(Time::MAX.micros());
        let scratch = scratch();
        for node in 0..3 {
            let dir = scratch.path().join(format!("node-{node}"));
            let db = relaxed().create(&dir, &passphrase()).unwrap();
            writers.iter().for_each(|writer| db.trust_actor(&writer.name, writer.actor()).unwrap());
            let mut lines = reordered(&entries, &mut rng).iter().map(line_of).collect::<Vec<_>>();
            while !lines.is_empty() {
                let some: Vec<u8> = lines.drain(..rng.random_range(1..=lines.len())).flatten().collect();
                import(&db, &some);
            }
            let latest = db.get("x").unwrap();
            assert_eq!(told(latest), expected(&entries, u64::MAX), "seed {seed} node {node}");
            let greatest = entries.iter().max_by_key(|entry| rank(entry)).unwrap().id();
            assert_eq!(db.heads("x").unwrap()[0].id, greatest, "a head is a head, whatever it says");
            let listed = db.things().unwrap().next().unwrap().unwrap();
            assert_eq!(listed.latest.unwrap().id, expected(&entries, u64::MAX).unwrap().0);
            for time in &times {
                let found = told(db.get_at("x", Time::from_micros(*time).unwrap()).unwrap());
                assert_eq!(found, expected(&entries, *time), "seed {seed} node {node} time {time}");
            }
            let heads: Vec<EntryId> = db.heads("x").unwrap().iter().map(|head| head.id).collect();
            let records: Vec<EntryId> = db.head_records("x").unwrap().map(|record| record.unwrap().id()).collect();
            assert_eq!(heads, records);
            assert_intact(&db);
        }
    }
}

/// The attack that a greatest length would let through: a trusted key writes a
/// parallel history from seq 1, longer than the real one, dated back.
#[test]
fn a_longer_history_that_is_dated_back_is_never_latest() {
    let (_scratch, db) = fresh();
    let good: Vec<_> = (0..3).map(|n| db.put("v", &format!("\"good{n}\"")).unwrap()).collect();
    let mallory =
        Stranger { origin: db.origin(), readers: vec![db.card().unwrap().encryption_key], ..Stranger::new("mallory") };
    db.trust_actor("mallory", mallory.actor()).unwrap();
    import(&db, &lines_of(&mallory.history("v", 1_000_000, 200)));
    let latest = db.get("v").unwrap().unwrap();
    assert_eq!((latest.data(), latest.heads()), (Some(&b"\"good2\""[..]), 2));
    for (n, receipt) in good.iter().enumerate() {
        let then = db.get_at("v", receipt.time).unwrap().unwrap();
        assert_eq!((then.id(), then.heads()), (receipt.id, 2), "{n}");
    }
    assert_eq!(db.heads("v").unwrap()[0].id, good[2].id);
    assert_eq!(db.things().unwrap().next().unwrap().unwrap().heads[0].id, good[2].id);
    // Whoever wants no choice to be made gets none.
    let problem = db.get_only("v").unwrap_err();
    assert!(problem.is_forked() && problem.to_string().contains(&good[2].id.to_string()), "{problem}");
    assert!(db.get_only("nothing").unwrap().is_none());
    // The next put joins both, and stands on the greater seq.
    let joined = db.put("v", "\"joined\"").unwrap();
    assert_eq!(joined.seq, 201);
    let latest = db.get_only("v").unwrap().unwrap();
    assert_eq!((latest.id(), latest.heads(), latest.prev().len()), (joined.id, 1, 2));
    assert_intact(&db);
}

/// A put joins no more than 32 heads: the latest ones, whatever their seqs.
#[test]
fn a_put_joins_the_latest_of_too_many_heads() {
    let (_scratch, db) = fresh();
    let mallory = Stranger::new("mallory");
    db.trust_actor("mallory", mallory.actor()).unwrap();
    // The longer a branch, the older its end.
    let mut ends: Vec<Entry> = Vec::new();
    for n in 0..40_u64 {
        let branch = mallory.history("x", NOW - 1_000 * n, 1 + n);
        import(&db, &lines_of(&branch));
        ends.push(branch.into_iter().last().unwrap());
    }
    ends.sort_unstable_by_key(|entry| std::cmp::Reverse(rank(entry)));
    let mut joined: Vec<EntryId> = ends.iter().take(32).map(Entry::id).collect();
    joined.sort_unstable();
    let receipt = db.put("x", "1").unwrap();
    let record = db.get("x").unwrap().unwrap();
    assert_eq!((record.id(), record.prev(), record.heads()), (receipt.id, &joined[..], 9));
    let greatest = ends.iter().take(32).map(|entry| entry.header.seq).max().unwrap();
    assert_eq!(record.seq(), greatest + 1);
    assert_intact(&db);
}

/// A wide fork of one seq, and a line of many chunks of postings above it.
#[test]
fn as_of_finds_its_way_through_a_wide_fork_and_a_long_line() {
    let (_scratch, db) = fresh();
    let mallory = Stranger::new("mallory");
    let root = mallory.entry(&Plan::first("x", NOW, "0"));
    let mut entries = vec![root.clone()];
    for n in 0..300_u64 {
        entries.push(mallory.entry(&Plan { time: NOW + 1 + n, ..Plan::after(&root, "wide") }));
    }
    for n in 0..200_u64 {
        let last = entries.last().unwrap();
        entries.push(mallory.entry(&Plan { time: NOW + 10_000 + n, ..Plan::after(last, "line") }));
    }
    // One of the heads goes on late, and so is between the times of the line.
    let late = mallory.entry(&Plan { time: NOW + 10_100, ..Plan::after(&entries[5], "late") });
    entries.push(late);
    import(&db, &lines_of(&entries));
    for time in (NOW - 1..NOW + 310)
        .step_by(23)
        .chain((NOW + 9_990..NOW + 10_210).step_by(19))
        .chain([NOW + 10_099, NOW + 10_100])
    {
        let found = told(db.get_at("x", Time::from_micros(time).unwrap()).unwrap());
        assert_eq!(found, expected(&entries, time), "{}", time - NOW);
    }
    assert_eq!(told(db.get("x").unwrap()), expected(&entries, u64::MAX));
}

/// The vectors say what the engine does.
#[test]
fn the_engine_finds_the_latest_of_every_vector() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/latest")).unwrap();
    let mut count = 0;
    for file in files {
        let vector = Vector::parse(&std::fs::read(file.unwrap().path()).unwrap());
        let scratch = scratch();
        // After all that the vectors hold.
        let clock = || 1_795_413_672_000_000;
        let db = relaxed().clock(clock).create(scratch.path().join("db"), &passphrase()).unwrap();
        import(&db, &vector.input);
        let record = match vector.find("at") {
            Some(at) => db.get_at("part-42", at.parse().unwrap()).unwrap().unwrap(),
            None => db.get("part-42").unwrap().unwrap(),
        };
        assert_eq!(record.id().to_string(), vector.value("latest"), "{}", vector.value("comment"));
        let heads: Vec<&str> = vector.value("heads").split(' ').collect();
        assert_eq!(record.heads(), heads.len(), "{}", vector.value("comment"));
        if vector.find("at").is_none() {
            let mut ids: Vec<String> = db.heads("part-42").unwrap().iter().map(|head| head.id.to_string()).collect();
            ids.sort_unstable();
            assert_eq!(ids, heads);
        }
        count += 1;
    }
    assert!(count > 5);
}

/// Erases some seqs of a thing.
fn erase(db: &Db, thing: &str, seqs: std::ops::RangeInclusive<u64>) {
    db.erase(&db.plan_erasure(&Erase::new(thing, "asked for").seqs([seqs])).unwrap()).unwrap();
}

/// Whoever reads a thing, or lists it, does not see that older entries were erased.
#[test]
fn an_erasure_changes_nothing_of_what_a_thing_is() {
    let (_scratch, db) = fresh();
    db.put("a", "1").unwrap();
    let second = db.put("a", "2").unwrap();
    let last = db.write(Draft::json("a", "3").unwrap().action("retire")).unwrap();
    let check = |db: &Db, seq| {
        let latest = db.get("a").unwrap().unwrap();
        assert_eq!((latest.seq(), latest.data(), latest.heads()), (seq, Some(&b"3"[..]), 1));
        assert_eq!(db.get_at("a", Time::MAX).unwrap().unwrap().id(), last.id);
        let listed = db.things_from(&ThingQuery::new().retired().erased()).unwrap().next().unwrap().unwrap();
        assert_eq!((listed.latest.unwrap().id, listed.retired), (last.id, Some(true)));
        let head = db.head_records("a").unwrap().next().unwrap().unwrap();
        assert!(head.is_erasure() && head.erasure().unwrap().reason() == "asked for");
        assert_eq!(listed.heads, db.heads("a").unwrap());
        listed.erased.unwrap()
    };
    erase(&db, "a", 1..=1);
    assert_eq!(check(&db, 3), 1);
    erase(&db, "a", 2..=2);
    assert_eq!(check(&db, 3), 2);
    assert_eq!(db.stats().unwrap().erased, 2);
    let dir = db.dir().to_owned();
    db.close().unwrap();
    for rebuild in [false, true] {
        let db = relaxed().rebuild(rebuild).open(&dir, &passphrase()).unwrap();
        assert_eq!(check(&db, 3), 2);
        db.close().unwrap();
    }
    let db = relaxed().open(&dir, &passphrase()).unwrap();
    // Who has read the latest may write on what was read, and nobody else.
    let expect = |id| Draft::json("a", "4").unwrap().expect(Expect::Head(id));
    assert!(db.write(expect(second.id)).unwrap_err().is_conflict());
    let head = db.heads("a").unwrap()[0].id;
    let written = db.write(expect(last.id)).unwrap();
    assert_eq!(db.get("a").unwrap().unwrap().prev(), [head]);
    erase(&db, "a", 3..=3);
    db.write(expect(db.heads("a").unwrap()[0].id)).unwrap();
    assert!(db.write(expect(written.id)).unwrap_err().is_conflict());
    // The latest itself: it is the latest, and erased.
    erase(&db, "a", 8..=8);
    let latest = db.get("a").unwrap().unwrap();
    assert!(latest.seq() == 8 && matches!(latest.content(), Content::Erased { .. }), "{latest:?}");
    assert_intact(&db);
}

#[test]
fn an_erasure_joins_no_fork() {
    let (_scratch, db) = fresh();
    let root = db.put("x", "0").unwrap();
    let mallory = Stranger { readers: vec![db.card().unwrap().encryption_key], ..Stranger::new("mallory") };
    db.trust_actor("mallory", mallory.actor()).unwrap();
    let plan = |seconds: u64, data: &str| Plan {
        thing: "x".into(),
        seq: 2,
        time: root.time.micros() + seconds,
        prev: vec![root.id],
        data: data.into(),
    };
    import(&db, &lines_of(&[mallory.entry(&plan(1, "\"older\"")), mallory.entry(&plan(2, "\"newer\""))]));
    erase(&db, "x", 1..=1);
    let latest = db.get("x").unwrap().unwrap();
    assert_eq!((latest.data(), latest.heads()), (Some(&b"\"newer\""[..]), 2));
    assert!(db.get_only("x").unwrap_err().is_forked());
    // A record stands for what it follows.
    let head = db.heads("x").unwrap()[0].id;
    db.resolve("x", &head, "the newer one", None).unwrap();
    let latest = db.get_only("x").unwrap().unwrap();
    assert_eq!((latest.data(), latest.action()), (Some(&b"\"newer\""[..]), Some("resolve")));
    assert_intact(&db);
}

/// What nobody here can open may be anything.
#[test]
fn a_record_is_passed_over_as_soon_as_it_can_be_read() {
    let (_scratch, db) = fresh();
    let mallory = Stranger::new("mallory");
    db.trust_actor("mallory", mallory.actor()).unwrap();
    let history = mallory.history("x", NOW, 3);
    let data = Erasure::new(vec![history[0].id()], "why", None).unwrap().to_json();
    let record = mallory.record(&Plan::after(&history[2], &data));
    let stub = Entry { payload: None, envelopes: vec![], ..record.clone() };
    let late = mallory.record(&Plan::after(&record, "{}"));
    let sealed = Entry { envelopes: vec![], ..late.clone() };
    import(&db, &lines_of(&history));
    import(&db, &lines_of([&stub, &sealed]));
    let latest = || db.get("x").unwrap().unwrap().id();
    assert_eq!(latest(), late.id());
    import(&db, &line_of(&late));
    assert_eq!(latest(), record.id());
    import(&db, &line_of(&record));
    assert_eq!(latest(), history[2].id());
    assert!(matches!(db.get_seq("x", 1).unwrap()[0].content(), Content::Erased { .. }));
    assert_intact(&db);
}

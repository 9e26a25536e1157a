//! Nodes that exchange streams in any order, cut, repeated, shuffled, with
//! restarts between and killed at any moment, end with the same heads and the
//! same latest everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};
use thingdb::{Audience, Db, ExportOptions, Head, ImportOptions};
use thingdb_tests::acknowledged::{self, Acknowledged, Writer};
use thingdb_tests::database::{assert_intact, export, passphrase, relaxed, rounds};

const WORKER: &str = env!("CARGO_BIN_EXE_exchange_worker");

const NODES: usize = 3;
const THINGS: [&str; 4] = ["a", "b", "c", "d"];

struct Nodes {
    dirs: Vec<PathBuf>,
    dbs: Vec<Option<Db>>,
}

impl Nodes {
    fn new(dir: &Path, rng: &mut StdRng) -> Self {
        let dirs: Vec<PathBuf> = (0..NODES).map(|n| dir.join(format!("node-{n}"))).collect();
        let make =
            |(n, dir): (usize, &PathBuf)| relaxed().actor(&format!("actor-{n}")).create(dir, &passphrase()).unwrap();
        let dbs: Vec<Db> = dirs.iter().enumerate().map(make).collect();
        for (n, db) in dbs.iter().enumerate() {
            for (m, other) in dbs.iter().enumerate().filter(|(m, _)| *m != n) {
                db.add_peer(&format!("node-{m}"), &other.card().unwrap()).unwrap();
            }
            if rng.random_bool(0.5) {
                let default = vec![format!("node-{}", (n + 1) % NODES)];
                db.set_audience(Audience { default, ..Audience::default() }).unwrap();
            }
        }
        Self { dirs, dbs: dbs.into_iter().map(Some).collect() }
    }

    fn db(&self, n: usize) -> &Db {
        self.dbs[n].as_ref().unwrap()
    }

    fn close(&mut self, n: usize) {
        self.dbs[n] = None;
    }

    fn open(&mut self, n: usize) {
        self.dbs[n] = Some(relaxed().open(&self.dirs[n], &passphrase()).unwrap());
    }

    fn heads(&self, n: usize) -> Vec<(Vec<Head>, thingdb::EntryId)> {
        let of = |thing: &&str| {
            let heads = self.db(n).heads(thing).unwrap();
            (!heads.is_empty()).then(|| (heads, self.db(n).get(thing).unwrap().unwrap().id()))
        };
        THINGS.iter().filter_map(of).collect()
    }
}

/// Lines that are cut, repeated or shuffled on the way.
fn maul(stream: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let text = std::str::from_utf8(stream).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    match rng.random_range(0..5) {
        0 => lines.truncate(rng.random_range(0..=lines.len())),
        1 => lines.shuffle(rng),
        2 => {
            let again: Vec<&str> = lines.iter().copied().filter(|_| rng.random_bool(0.3)).collect();
            lines.extend(again);
        }
        3 => lines.retain(|_| rng.random_bool(0.7)),
        _ => {}
    }
    let mut bytes = lines.join("\n").into_bytes();
    if rng.random_bool(0.2) {
        bytes.truncate(rng.random_range(0..=bytes.len()));
    }
    bytes
}

fn stream(db: &Db, rng: &mut StdRng) -> Vec<u8> {
    let mut export = ExportOptions::new();
    if rng.random_bool(0.3) {
        export = export.since(rng.random_range(0..=db.stats().unwrap().entries));
    }
    if rng.random_bool(0.2) {
        export = export.prefix(THINGS.choose(rng).unwrap());
    }
    let mut out = Vec::new();
    db.export(export, &mut out).unwrap();
    out
}

fn converge(seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = Nodes::new(tmp.path(), &mut rng);
    for step in 0..60 {
        let n = rng.random_range(0..NODES);
        match rng.random_range(0..10) {
            0..4 => {
                let thing = THINGS.choose(&mut rng).unwrap();
                nodes.db(n).put(thing, &format!("{}", rng.next_u32())).unwrap();
            }
            4..9 => {
                let to = (n + rng.random_range(1..NODES)) % NODES;
                let bytes = maul(&stream(nodes.db(n), &mut rng), &mut rng);
                let summary = nodes.db(to).import(ImportOptions::new(), &bytes[..]).unwrap();
                // A line that was cut in the middle is refused; nothing else is.
                assert!(summary.refused <= 1, "seed {seed} step {step}: {:?}", summary.reasons);
            }
            _ => {
                nodes.close(n);
                nodes.open(n);
            }
        }
    }
    hand_round(&nodes, seed);
}

/// Hands everything to everybody; then all are the same.
fn hand_round(nodes: &Nodes, seed: u64) {
    // Two rounds hand everything round. In the first, what waits since before
    // may wait for a node whose turn has not come.
    for last in [false, true] {
        for from in 0..NODES {
            let bytes = export(nodes.db(from));
            for to in (0..NODES).filter(|to| *to != from) {
                let summary = nodes.db(to).import(ImportOptions::new(), &bytes[..]).unwrap();
                assert_eq!(summary.refused, 0, "seed {seed}: {:?}", summary.reasons);
                assert!(!last || summary.pending == 0, "seed {seed}: {summary:?}");
            }
        }
    }
    for n in 0..NODES {
        assert_eq!(nodes.heads(n), nodes.heads(0), "seed {seed}");
        let entries = assert_intact(nodes.db(n)).entries;
        assert_eq!(entries, nodes.db(0).stats().unwrap().entries, "seed {seed}");
    }
    // Once more says nothing new.
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let summary = nodes.db(to).import(ImportOptions::new(), &export(nodes.db(from))[..]).unwrap();
        assert_eq!((summary.added, summary.completed), (0, 0), "seed {seed}");
    }
}

fn seeds(usual: u64) -> impl Iterator<Item = u64> {
    let first = std::env::var("THINGDB_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    first..first + rounds(usual)
}

#[test]
fn any_exchange_converges() {
    seeds(4).for_each(converge);
}

/// Some nodes at a time work as processes of their own, that put, import what
/// the others had exported, and export, until they are killed in the midst of
/// it. What had been exported may be gone where it was written, and comes back.
fn converge_after_kills(seed: u64) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let tmp = tempfile::tempdir().unwrap();
    let mut nodes = Nodes::new(tmp.path(), &mut rng);
    (0..NODES).for_each(|n| nodes.close(n));
    let streams: Vec<PathBuf> = nodes.dirs.iter().map(|dir| dir.with_extension("ndjson")).collect();
    let mut told: Vec<Vec<Acknowledged>> = vec![Vec::new(); NODES];
    for _ in 0..5 {
        let mut at_work: Vec<usize> = (0..NODES).collect();
        at_work.shuffle(&mut rng);
        at_work.truncate(rng.random_range(1..=NODES));
        let start = |n: &usize| {
            let others = (0..NODES).filter(|other| other != n).map(|other| streams[other].to_str().unwrap());
            let number = rng.next_u32().to_string();
            let arguments: Vec<&str> = std::iter::once(number.as_str()).chain(others).collect();
            (*n, Writer::start(WORKER, &nodes.dirs[*n], &arguments))
        };
        let workers: Vec<(usize, Writer)> = at_work.iter().map(start).collect();
        for (n, worker) in workers {
            // The moment of the kill.
            thread::sleep(Duration::from_micros(rng.random_range(0..300_000)));
            told[n].extend(worker.kill().into_iter().filter(|one| one.durable));
        }
        // A stream that did not arrive as it was sent.
        let mauled = streams.choose(&mut rng).unwrap();
        if let (true, Ok(bytes)) = (rng.random_bool(0.5), fs::read(mauled)) {
            fs::write(mauled, maul(&bytes, &mut rng)).unwrap();
        }
    }
    for (n, told) in told.iter().enumerate() {
        nodes.open(n);
        assert_eq!(nodes.db(n).warnings(), [], "seed {seed}");
        acknowledged::check(nodes.db(n), told).unwrap_or_else(|problem| panic!("seed {seed}, node {n}: {problem}"));
        assert_intact(nodes.db(n));
    }
    let before: Vec<u64> = (0..NODES).map(|n| nodes.db(n).stats().unwrap().entries).collect();
    hand_round(&nodes, seed);
    let counts: Vec<usize> = told.iter().map(Vec::len).collect();
    let entries = nodes.db(0).stats().unwrap().entries;
    println!("{before:?} entries became {entries}; durable and told were {counts:?}");
}

#[test]
fn nodes_that_are_killed_at_any_moment_converge() {
    seeds(2).for_each(converge_after_kills);
}

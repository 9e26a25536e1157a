//! Nodes that exchange streams in any order, cut, repeated, shuffled and with
//! restarts between, end with the same heads and the same latest everywhere.

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};
use thingdb::{Audience, Db, ExportOptions, Head, ImportOptions, KdfChoice, Options, Passphrase, VerifyOptions};

const NODES: usize = 3;
const THINGS: [&str; 4] = ["a", "b", "c", "d"];

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

fn options() -> Options {
    Options::new().kdf(KdfChoice::weakest()).durability(thingdb::Durability::Relaxed)
}

struct Nodes {
    dirs: Vec<PathBuf>,
    dbs: Vec<Option<Db>>,
}

impl Nodes {
    fn new(dir: &Path, rng: &mut StdRng) -> Self {
        let dirs: Vec<PathBuf> = (0..NODES).map(|n| dir.join(format!("node-{n}"))).collect();
        let make =
            |(n, dir): (usize, &PathBuf)| options().actor(&format!("actor-{n}")).create(dir, &passphrase()).unwrap();
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

    fn reopen(&mut self, n: usize) {
        self.dbs[n] = None;
        self.dbs[n] = Some(options().open(&self.dirs[n], &passphrase()).unwrap());
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

fn whole(db: &Db) -> Vec<u8> {
    let mut out = Vec::new();
    db.export(ExportOptions::new(), &mut out).unwrap();
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
            _ => nodes.reopen(n),
        }
    }
    // Two rounds hand everything round. In the first, what waits since before
    // may wait for a node whose turn has not come.
    for last in [false, true] {
        for from in 0..NODES {
            let bytes = whole(nodes.db(from));
            for to in (0..NODES).filter(|to| *to != from) {
                let summary = nodes.db(to).import(ImportOptions::new(), &bytes[..]).unwrap();
                assert_eq!(summary.refused, 0, "seed {seed}: {:?}", summary.reasons);
                assert!(!last || summary.pending == 0, "seed {seed}: {summary:?}");
            }
        }
    }
    for n in 0..NODES {
        assert_eq!(nodes.heads(n), nodes.heads(0), "seed {seed}");
        assert_eq!(nodes.db(n).stats().unwrap().entries, nodes.db(0).stats().unwrap().entries, "seed {seed}");
        let report = nodes.db(n).verify(VerifyOptions::new()).unwrap();
        assert!(report.is_ok(), "seed {seed}: {:?}", report.problems);
    }
    // Once more says nothing new.
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        let summary = nodes.db(to).import(ImportOptions::new(), &whole(nodes.db(from))[..]).unwrap();
        assert_eq!((summary.added, summary.completed), (0, 0), "seed {seed}");
    }
}

#[test]
fn any_exchange_converges() {
    let rounds: u64 = std::env::var("THINGDB_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(4);
    let first = std::env::var("THINGDB_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    (first..first + rounds).for_each(converge);
}

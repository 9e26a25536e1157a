//! Dense histories on three nodes that exchange in any order, over lines that are
//! cut and servers that are killed: after each exchange everything is here that
//! the other side offered and whose prev are here, what waits is told, and at the
//! end all three have the same.
//!
//! `THINGDB_TEST_SEED` says which history, `THINGDB_TEST_ROUNDS` how many.

use std::collections::HashSet;
use std::process::{Output, Stdio};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use thingdb::{KdfChoice, Options, Passphrase};

use super::node::{Node, Place, Server};
use super::proxy::{Faults, Proxy};
use crate::world::{self, World};

const NAMES: [&str; 3] = ["a", "b", "c"];
const WAYS: [&str; 3] = ["pull", "push", "sync"];

/// Three nodes that serve, and what is known of what they have.
struct Net {
    place: Place,
    nodes: Vec<Node>,
    servers: Vec<Option<Server>>,
    lines: Vec<Proxy>,
    world: World,
    /// What each of them got, ever.
    given: Vec<HashSet<usize>>,
}

impl Net {
    fn new() -> Self {
        let place = Place::new();
        let nodes: Vec<Node> = NAMES.iter().map(|name| place.node(name)).collect();
        let open = |node: &Node| {
            let options = Options::new().kdf(KdfChoice::weakest());
            options.open(node.db(), &Passphrase::new("correct horse")).unwrap()
        };
        // The writers are at a node whose entries come by files.
        let away = place.node("away");
        let dbs: Vec<_> = nodes.iter().map(open).collect();
        let away = open(&away).card().unwrap();
        let world = World::at(away.node_key.origin());
        for (n, db) in dbs.iter().enumerate() {
            db.add_peer("away", &away).unwrap();
            for (m, other) in dbs.iter().enumerate().filter(|(m, _)| *m != n) {
                db.add_peer(NAMES[m], &other.card().unwrap()).unwrap();
            }
            for writer in &world.writers {
                db.trust_actor(&writer.name, writer.actor()).unwrap();
            }
        }
        dbs.into_iter().for_each(|db| db.close().unwrap());
        let servers: Vec<Server> = nodes.iter().map(Node::serve).collect();
        let lines: Vec<Proxy> = servers.iter().map(|server| Proxy::new(server.port, Faults::default())).collect();
        for one in 0..NAMES.len() {
            for other in (0..NAMES.len()).filter(|other| *other != one) {
                nodes[one].reaches(&nodes[other], &lines[other].url, "export,import");
            }
        }
        let servers = servers.into_iter().map(Some).collect();
        Self { place, nodes, servers, lines, world, given: vec![HashSet::new(); NAMES.len()] }
    }

    /// What a node has to have in its ledger.
    fn here(&self, n: usize) -> HashSet<usize> {
        self.world.reachable(&self.given[n])
    }

    fn waits(&self, n: usize, prefix: &str) -> usize {
        let here = self.here(n);
        self.given[n].iter().filter(|at| !here.contains(at) && self.is_of(**at, prefix)).count()
    }

    fn is_of(&self, at: usize, prefix: &str) -> bool {
        self.world.entries[at].header.thing.as_str().starts_with(prefix)
    }

    /// A node has what it has to have, and no more.
    fn holds(&self, n: usize, what: &str) {
        let stats = self.nodes[n].json(&["stats"]);
        let found = (stats["entries"].as_u64().unwrap() as usize, stats["waiting"].as_u64().unwrap() as usize);
        assert_eq!(found, (self.here(n).len(), self.waits(n, "")), "{} {what}: {}", NAMES[n], NAMES[n]);
    }

    /// The entries in the ledger of a node.
    fn ledger(&self, n: usize) -> HashSet<usize> {
        let lines = self.nodes[n].ok(&["export"]);
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let id = |line: Value| line["id"].as_str().and_then(|id| id.parse().ok());
        lines.filter_map(id).map(|id| self.world.by_id[&id]).collect()
    }

    /// After something that may have ended anywhere: a node has got what its
    /// ledger shows, and what it had before.
    fn look(&mut self, n: usize, what: &str) {
        let ledger = self.ledger(n);
        self.given[n].extend(&ledger);
        assert_eq!(ledger, self.here(n), "{what}: what has its prev at {} waits", NAMES[n]);
        self.holds(n, what);
    }

    /// Somebody brings a file.
    fn file(&mut self, n: usize, some: &[usize], binary: bool, what: &str) {
        let file = self.place.path("part");
        std::fs::write(&file, self.world.stream(some, binary)).unwrap();
        let output = self.nodes[n].run(&["import", file.to_str().unwrap(), "--json"]);
        let done = told(&output, what);
        let before = self.here(n).len();
        self.given[n].extend(some);
        let found = (&done["added"], &done["pending"], &done["refused"]);
        let expected = (self.here(n).len() - before, self.waits(n, ""), 0);
        assert_eq!(found, (&expected.0.into(), &expected.1.into(), &expected.2.into()), "{what}: {done}");
    }

    /// What an exchange offers that goes through.
    fn offer(&mut self, from: usize, to: usize, prefix: &str) {
        let here = self.here(from);
        let offered: Vec<usize> = here.into_iter().filter(|at| self.is_of(*at, prefix)).collect();
        self.given[to].extend(offered);
    }

    /// An exchange that nobody disturbs says exactly what it did.
    fn exchange(&mut self, n: usize, peer: usize, way: &str, more: &[&str], prefix: &str, what: &str) {
        let output = self.nodes[n].run(&[&[way, NAMES[peer], "--json"], more].concat());
        let (done, said) = (told(&output, what), String::from_utf8_lossy(&output.stderr).into_owned());
        let before = [self.here(n).len(), self.here(peer).len()];
        let (mut added, mut waits) = (0, 0);
        if way != "push" {
            self.offer(peer, n, prefix);
            let waiting = self.waits(n, prefix);
            assert_eq!(done["waiting"]["entries"].as_u64().unwrap_or(0), waiting as u64, "{what}: {done}");
            let pulled = self.here(n).len() - before[0];
            assert_eq!(done["pulled"]["added"], pulled, "{what}: {done}");
            (added, waits) = (added + pulled, waits + waiting);
        }
        if way != "pull" {
            self.offer(n, peer, prefix);
            let waiting = self.waits(peer, prefix);
            let is_told = done["waiting_there"]["waits_for"].as_array().is_some_and(|ids| !ids.is_empty());
            assert_eq!(is_told, waiting > 0, "{what}: {waiting} wait there: {done}");
            let pushed = self.here(peer).len() - before[1];
            // What waited there and went on is told as far as something was sent.
            assert!(done["pushed"]["added"].as_u64().unwrap() as usize <= pushed, "{what}: {done}");
            (added, waits) = (added + pushed, waits + waiting);
        }
        let code = if waits > 0 { 6 } else { 0 };
        assert_eq!(output.status.code(), Some(code), "{what}: {added} came, {waits} wait: {done} {said}");
        self.holds(n, what);
        self.holds(peer, what);
    }

    /// An exchange whose line breaks again and again, or whose servers are killed.
    fn disturbed(&mut self, n: usize, peer: usize, way: &str, rng: &mut StdRng, what: &str) {
        let line = &self.lines[peer];
        let bytes = rng.random_range(1_000..30_000);
        let killed = [None, None, Some(n), Some(peer)][rng.random_range(0..4)];
        let tries = ["1", "2", "3"][rng.random_range(0..3)];
        let (up, down) = (line.up(), line.down());
        match killed {
            None => line.set(Faults { break_after: Some(bytes), ..Faults::default() }),
            Some(_) => line.set(Faults { rate: Some(512 << 10), ..Faults::default() }),
        }
        let mut command = self.nodes[n].command(&[way, NAMES[peer], "--json", "--tries", tries]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if let Some(killed) = killed {
            while line.up() + line.down() < up + down + bytes && child.try_wait().unwrap().is_none() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            let server = self.servers[killed].take().unwrap();
            let port = server.port;
            server.kill();
            let status = child.wait().unwrap();
            self.servers[killed] = Some(self.nodes[killed].serve_at(port));
            assert!(status.code() != Some(4), "{what}");
        } else {
            let status = child.wait().unwrap();
            assert!(matches!(status.code(), Some(0 | 6 | 14)), "{what}: {status}");
        }
        self.lines[peer].set(Faults::default());
        self.look(n, what);
        self.look(peer, what);
    }
}

/// The JSON on stdout.
fn told(output: &Output, what: &str) -> Value {
    let said = || format!("{what}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said()))
}

fn rounds(usual: u64) -> u64 {
    std::env::var("THINGDB_TEST_ROUNDS").map_or(usual, |n| n.parse().expect("THINGDB_TEST_ROUNDS is a number"))
}

fn seed() -> u64 {
    let seed = std::env::var("THINGDB_TEST_SEED");
    let seed = seed.map_or_else(|_| rand::random(), |seed| seed.parse().expect("THINGDB_TEST_SEED is a number"));
    println!("dense histories over the wire: THINGDB_TEST_SEED={seed}");
    seed
}

/// Another node than this one.
fn other(n: usize, rng: &mut StdRng) -> usize {
    (n + rng.random_range(1..NAMES.len())) % NAMES.len()
}

#[test]
fn three_nodes_end_equal_whatever_was_cut_and_no_exchange_says_that_all_came_when_it_did_not() {
    let seed = seed();
    let mut net = Net::new();
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..rounds(2) {
        let name = format!("round{round}");
        let before = net.world.entries.len();
        net.world.grow(&name, rng.random_range(20..120), rng.random_range(1..4), &mut rng);
        let count = net.world.entries.len();
        for step in 0..rng.random_range(4..14) {
            let n = rng.random_range(0..NAMES.len());
            let peer = other(n, &mut rng);
            let way = WAYS[rng.random_range(0..3)];
            let what = format!("seed {seed} round {round} step {step}: {way} {} {}", NAMES[n], NAMES[peer]);
            match rng.random_range(0..10) {
                0..4 => {
                    let some: Vec<usize> = world::part(count - before, &mut rng).iter().map(|at| before + at).collect();
                    net.file(n, &some, rng.random_bool(0.5), &what);
                }
                4..7 => net.exchange(n, peer, way, &[], "", &what),
                7 => net.exchange(n, peer, way, &["--all"], "", &what),
                8 => {
                    let prefix = format!("{name}-{}", rng.random_range(0..3));
                    net.exchange(n, peer, way, &["--things", &prefix], &prefix, &what);
                }
                _ => net.disturbed(n, peer, way, &mut rng, &what),
            }
        }
        // What nobody got yet comes somewhere.
        let mut rest: Vec<usize> = (before..count).filter(|at| net.given.iter().all(|it| !it.contains(at))).collect();
        rest.shuffle(&mut rng);
        let n = rng.random_range(0..NAMES.len());
        net.file(n, &rest, true, &format!("seed {seed} round {round}: the rest"));
        let all: HashSet<usize> = (0..count).collect();
        // What waits at one may wait for what waits at another: some rounds.
        loop {
            let before: Vec<usize> = (0..NAMES.len()).map(|n| net.here(n).len()).collect();
            for (n, peer) in [(0, 1), (1, 2), (2, 0)] {
                let what = format!("seed {seed} round {round}: {} syncs with {} at the end", NAMES[n], NAMES[peer]);
                net.exchange(n, peer, "sync", &[], "", &what);
            }
            if (0..NAMES.len()).all(|n| net.here(n).len() == before[n]) {
                break;
            }
        }
        for (n, node) in net.nodes.iter().enumerate() {
            assert!(net.given[n].len() == count && net.here(n) == all, "seed {seed} round {round}: {}", NAMES[n]);
            assert_eq!(node.heads(), net.nodes[0].heads(), "seed {seed} round {round}");
            for thing in 0..4 {
                let latest = |node: &Node| node.run(&["get", &format!("{name}-{thing}"), "--json"]).stdout;
                let id =
                    |out: Vec<u8>| serde_json::from_slice::<Value>(&out).map_or(Value::Null, |it| it["id"].clone());
                assert_eq!(id(latest(node)), id(latest(&net.nodes[0])), "seed {seed} round {round}");
            }
        }
    }
    net.servers.clear();
    net.nodes.iter().for_each(Node::verifies);
}

/// Ledgers so large that the first exchange compares them by ranges: what waits on
/// either side goes on all the same.
#[test]
fn a_first_exchange_of_large_ledgers_leaves_nothing_behind() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut net = Net::new();
    net.world.grow("large", 1400, 70, &mut rng);
    let count = net.world.entries.len();
    // Each of them lacks some, and so those wait that follow.
    for n in [0, 1] {
        let lacks: HashSet<usize> = (0..12).map(|_| rng.random_range(0..count)).collect();
        let some: Vec<usize> = (0..count).filter(|at| !lacks.contains(at)).collect();
        net.file(n, &some, true, &format!("seed {seed}: the file for {}", NAMES[n]));
        assert!(net.here(n).len() >= 1000, "seed {seed}: too few to be compared by ranges");
    }
    let way = WAYS[rng.random_range(0..3)];
    for (n, peer, way) in [(0, 1, way), (1, 0, "sync"), (0, 1, "sync"), (0, 1, "sync"), (2, 0, "pull")] {
        let what = format!("seed {seed}: {way} {} {}", NAMES[n], NAMES[peer]);
        net.exchange(n, peer, way, &[], "", &what);
    }
    assert_eq!(net.nodes[0].heads(), net.nodes[1].heads(), "seed {seed}");
    assert_eq!(net.nodes[0].heads(), net.nodes[2].heads(), "seed {seed}");
}

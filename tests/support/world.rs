//! Dense histories: several writers who join what they know of each other.

use std::collections::{HashMap, HashSet};

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use thingdb::EntryId;
use thingdb::format::frame::Encoder;
use thingdb::format::{Entry, Origin, header};

use super::stranger::{Plan, Stranger, line_of};

const WRITERS: usize = 4;

/// What one writer has seen.
#[derive(Clone, Default)]
struct View(HashSet<usize>);

/// Everything that was ever written, prev before those who follow.
pub struct World {
    /// Who wrote it.
    pub writers: Vec<Stranger>,
    /// The entries.
    pub entries: Vec<Entry>,
    /// Their ids.
    pub ids: Vec<EntryId>,
    /// Where each of them is in the two lists.
    pub by_id: HashMap<EntryId, usize>,
}

impl Default for World {
    fn default() -> Self {
        let writers = (0..WRITERS).map(|n| Stranger::new(&format!("w{n}"))).collect();
        Self { writers, entries: vec![], ids: vec![], by_id: HashMap::new() }
    }
}

impl World {
    /// Writers who have written nothing, all at one node.
    #[must_use]
    pub fn at(origin: Origin) -> Self {
        let mut world = Self::default();
        world.writers.iter_mut().for_each(|writer| writer.origin = origin);
        world
    }

    /// So many more entries about so many new things, whose names begin with
    /// `name`. Writers join heads of what they have seen, as nodes do, or any
    /// older entries, as nothing forbids.
    pub fn grow(&mut self, name: &str, entries: usize, things: usize, rng: &mut StdRng) {
        let mut views = vec![View::default(); WRITERS];
        let mixing = rng.random_range(0.02..0.5);
        for _ in 0..entries {
            let writer = rng.random_range(0..WRITERS);
            if rng.random_bool(mixing) {
                let other = views[rng.random_range(0..WRITERS)].clone();
                views[writer].0.extend(other.0);
            }
            let thing = format!("{name}-{}", rng.random_range(0..things));
            let known = views[writer].0.iter().copied();
            let known = known.filter(|at| self.entries[*at].header.thing.as_str() == thing).collect();
            let prev = self.some_prev(known, rng);
            let at = self.write(writer, &thing, &prev);
            views[writer].0.insert(at);
        }
    }

    fn some_prev(&self, mut known: Vec<usize>, rng: &mut StdRng) -> Vec<usize> {
        known.sort_unstable();
        if known.is_empty() || rng.random_bool(0.01) {
            return vec![];
        }
        let followed: HashSet<EntryId> = known.iter().flat_map(|at| self.entries[*at].header.prev.clone()).collect();
        let mut prev: Vec<usize> = match rng.random_range(0..4) {
            // As a node does that knows no better.
            0..2 => known.iter().copied().filter(|at| !followed.contains(&self.ids[*at])).collect(),
            2 => vec![*known.choose(rng).expect("some are known")],
            _ => known.iter().copied().filter(|_| rng.random_bool(0.7)).collect(),
        };
        prev.shuffle(rng);
        prev.truncate(header::MAX_PREV);
        prev
    }

    fn write(&mut self, writer: usize, thing: &str, prev: &[usize]) -> usize {
        let greatest = prev.iter().map(|at| self.entries[*at].header.seq).max().unwrap_or(0);
        let at = self.entries.len();
        let mut ids: Vec<EntryId> = prev.iter().map(|at| self.ids[*at]).collect();
        ids.sort_unstable();
        // Times grow along every link.
        let time = 1_000_000 + at as u64;
        let plan = Plan { thing: thing.into(), seq: greatest + 1, time, prev: ids, data: at.to_string() };
        let entry = self.writers[writer].entry(&plan);
        self.ids.push(entry.id());
        self.by_id.insert(entry.id(), at);
        self.entries.push(entry);
        at
    }

    /// Those of `given` that can be taken in.
    #[must_use]
    pub fn reachable(&self, given: &HashSet<usize>) -> HashSet<usize> {
        let mut here = HashSet::new();
        for at in 0..self.entries.len() {
            let follows = |id: &EntryId| here.contains(&self.by_id[id]);
            if given.contains(&at) && self.entries[at].header.prev.iter().all(follows) {
                here.insert(at);
            }
        }
        here
    }

    /// These entries as a stream.
    ///
    /// # Panics
    /// If the format cannot hold one.
    #[must_use]
    pub fn stream(&self, some: &[usize], binary: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = Encoder::default();
        for at in some {
            let entry = &self.entries[*at];
            if binary {
                encoder.entry(entry, &self.ids[*at], &mut out).expect("an entry that can be sent");
            } else {
                out.extend(line_of(entry));
            }
        }
        out
    }
}

/// A part of so many entries, as somebody might hand it on.
#[must_use]
pub fn part(count: usize, rng: &mut StdRng) -> Vec<usize> {
    let mut some: Vec<usize> = match rng.random_range(0..4) {
        0 => {
            let start = rng.random_range(0..count);
            (start..(start + rng.random_range(1..=count)).min(count)).collect()
        }
        1 => (0..rng.random_range(1..=count)).collect(),
        2 => (0..count).filter(|_| rng.random_bool(0.3)).collect(),
        _ => (0..count).filter(|_| rng.random_bool(0.8)).collect(),
    };
    match rng.random_range(0..4) {
        0 => some.shuffle(rng),
        1 => some.reverse(),
        2 => some.extend_from_within(..some.len() / 2),
        _ => {}
    }
    some
}

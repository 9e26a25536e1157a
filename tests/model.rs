//! The engine against a map of chains, through random operations, closing,
//! reopening, and copies taken from under a running process.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;
use thingdb::{Db, Draft, EntryId, Expect, Record, ThingQuery};
use thingdb_tests::database::{assert_intact, copy_directory, passphrase, relaxed, rounds, scratch};

const THINGS: [&str; 5] = ["a", "a/1", "a/2", "b", "Ω"];
const ACTORS: [&str; 2] = ["owner", "second"];

#[derive(Clone, Debug)]
enum Op {
    Put { thing: usize, actor: usize, data: u32 },
    PutIf { thing: usize, right: bool, data: u32 },
    Batch(Vec<(usize, usize, u32)>),
    BatchThatFails(Vec<(usize, usize, u32)>),
    History { thing: usize, first: u64, count: u64, backward: bool },
    BothEnds { thing: usize, turns: Vec<bool> },
    AsOf { thing: usize, seq: u64 },
    ById { thing: usize, seq: u64 },
    List { prefix: usize, after: usize },
    Checkpoint,
    Reopen,
    Rebuild,
    Kill,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let thing = 0..THINGS.len();
    let write = (thing.clone(), 0..ACTORS.len(), any::<u32>());
    let op = prop_oneof![
        6 => write.clone().prop_map(|(thing, actor, data)| Op::Put { thing, actor, data }),
        2 => (thing.clone(), any::<bool>(), any::<u32>()).prop_map(|(thing, right, data)| Op::PutIf { thing, right, data }),
        3 => prop::collection::vec(write.clone(), 1..200).prop_map(Op::Batch),
        1 => prop::collection::vec(write, 1..20).prop_map(Op::BatchThatFails),
        2 => (thing.clone(), 0..300_u64, 0..200_u64, any::<bool>())
            .prop_map(|(thing, first, count, backward)| Op::History { thing, first, count, backward }),
        1 => (thing.clone(), prop::collection::vec(any::<bool>(), 1..40)).prop_map(|(thing, turns)| Op::BothEnds { thing, turns }),
        2 => (thing.clone(), 0..300_u64).prop_map(|(thing, seq)| Op::AsOf { thing, seq }),
        1 => (thing.clone(), 0..300_u64).prop_map(|(thing, seq)| Op::ById { thing, seq }),
        1 => (thing.clone(), thing).prop_map(|(prefix, after)| Op::List { prefix, after }),
        1 => Just(Op::Checkpoint),
        1 => Just(Op::Reopen),
        1 => Just(Op::Rebuild),
        1 => Just(Op::Kill),
    ];
    prop::collection::vec(op, 1..40)
}

/// What should be there.
#[derive(Clone, Debug)]
struct Written {
    id: EntryId,
    time: thingdb::Time,
    data: u32,
    actor: usize,
}

struct Machine {
    scratch: TempDir,
    dir: PathBuf,
    copies: u32,
    db: Option<Db>,
    chains: BTreeMap<&'static str, Vec<Written>>,
    /// Ids in ledger order.
    ledger: Vec<EntryId>,
}

impl Machine {
    fn new() -> Self {
        let scratch = scratch();
        let dir = scratch.path().join("db");
        let db = relaxed().actor(ACTORS[0]).create(&dir, &passphrase()).unwrap();
        db.new_actor(ACTORS[1]).unwrap();
        Self { scratch, dir, copies: 0, db: Some(db), chains: BTreeMap::new(), ledger: Vec::new() }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn draft((thing, actor, data): (usize, usize, u32)) -> Draft {
        Draft::json(THINGS[thing], data.to_string()).unwrap().actor(ACTORS[actor])
    }

    fn note(&mut self, (thing, actor, data): (usize, usize, u32), receipt: &thingdb::Receipt) {
        let chain = self.chains.entry(THINGS[thing]).or_default();
        assert_eq!(receipt.seq, chain.len() as u64 + 1);
        assert_eq!(receipt.position, self.ledger.len() as u64);
        assert!(chain.last().is_none_or(|last| last.time < receipt.time));
        chain.push(Written { id: receipt.id, time: receipt.time, data, actor });
        self.ledger.push(receipt.id);
    }

    fn chain(&self, thing: usize) -> &[Written] {
        self.chains.get(THINGS[thing]).map_or(&[], Vec::as_slice)
    }

    fn same(record: &Record, thing: usize, seq: u64, written: &Written) {
        assert_eq!((record.thing(), record.seq(), record.id()), (THINGS[thing], seq, written.id));
        assert_eq!((record.time(), record.actor_name()), (written.time, Some(ACTORS[written.actor])));
        assert_eq!(record.data(), Some(written.data.to_string().as_bytes()));
        assert_eq!(record.action(), Some(if seq == 1 { "create" } else { "update" }));
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Put { thing, actor, data } => {
                let receipt = self.db().write(Self::draft((thing, actor, data))).unwrap();
                self.note((thing, actor, data), &receipt);
            }
            Op::PutIf { thing, right, data } => {
                let head = self.chain(thing).last().map(|last| last.id);
                let expect = match (head, right) {
                    (Some(head), true) => Expect::Head(head),
                    (None, true) | (Some(_), false) => Expect::Absent,
                    (None, false) => Expect::Head(EntryId([7; 32])),
                };
                match self.db().put_if(THINGS[thing], expect, &data.to_string()) {
                    Ok(receipt) => {
                        assert!(right);
                        self.note((thing, 0, data), &receipt);
                    }
                    Err(problem) => assert!(!right && problem.is_conflict(), "{problem}"),
                }
            }
            Op::Batch(writes) => {
                let receipts = self.db().write_batch(writes.iter().copied().map(Self::draft).collect()).unwrap();
                for (write, receipt) in writes.into_iter().zip(&receipts) {
                    self.note(write, receipt);
                }
            }
            Op::BatchThatFails(writes) => {
                let mut drafts: Vec<Draft> = writes.into_iter().map(Self::draft).collect();
                drafts.push(Self::draft((0, 0, 0)).expect(Expect::Head(EntryId([7; 32]))));
                assert!(self.db().write_batch(drafts).unwrap_err().is_conflict());
            }
            Op::History { thing, first, count, backward } => {
                let range = first..first + count;
                let history = self.db().history_range(THINGS[thing], range.clone()).unwrap();
                let mut found: Vec<Record> =
                    if backward { history.rev().collect::<Result<_, _>>() } else { history.collect() }.unwrap();
                if backward {
                    found.reverse();
                }
                let expected = (1_u64..).zip(self.chain(thing)).filter(|(seq, _)| range.contains(seq));
                let expected: Vec<_> = expected.collect();
                assert_eq!(found.len(), expected.len());
                for (record, (seq, written)) in found.iter().zip(expected) {
                    Self::same(record, thing, seq, written);
                }
            }
            Op::BothEnds { thing, turns } => {
                let mut history = self.db().history(THINGS[thing]).unwrap();
                let chain = self.chain(thing);
                let (mut front, mut back) = (0, chain.len());
                for from_front in turns {
                    let found = if from_front { history.next() } else { history.next_back() };
                    if front == back {
                        assert!(found.is_none());
                        break;
                    }
                    let at = if from_front { front } else { back - 1 };
                    Self::same(&found.unwrap().unwrap(), thing, at as u64 + 1, &chain[at]);
                    if from_front { front += 1 } else { back -= 1 }
                }
            }
            Op::AsOf { thing, seq } => {
                let chain = self.chain(thing);
                let Some(written) = usize::try_from(seq).ok().and_then(|at| chain.get(at)) else { return };
                let found = self.db().get_at(THINGS[thing], written.time).unwrap().unwrap();
                Self::same(&found, thing, seq + 1, written);
                let just_before = thingdb::Time::from_micros(written.time.micros() - 1).unwrap();
                let before = self.db().get_at(THINGS[thing], just_before).unwrap();
                assert_eq!(before.map(|record| record.seq()), (seq > 0).then_some(seq));
            }
            Op::ById { thing, seq } => {
                let chain = self.chain(thing);
                let Some(written) = usize::try_from(seq).ok().and_then(|at| chain.get(at)) else { return };
                Self::same(&self.db().get_id(&written.id).unwrap().unwrap(), thing, seq + 1, written);
                let digits = written.id.to_string();
                assert!(self.db().find_ids(&digits[..20], 10).unwrap().contains(&written.id));
                assert!(self.db().get_id(&EntryId([7; 32])).unwrap().is_none());
            }
            Op::List { prefix, after } => {
                let query = ThingQuery::new().prefix(THINGS[prefix]).after(THINGS[after]);
                let found = self.db().things_from(&query).unwrap().map(|info| info.unwrap());
                let found: Vec<_> = found.map(|info| (info.thing.to_string(), info.entries)).collect();
                let expected = self
                    .chains
                    .iter()
                    .filter(|(thing, _)| thing.starts_with(THINGS[prefix]) && **thing > THINGS[after]);
                let expected: Vec<_> =
                    expected.map(|(thing, chain)| ((*thing).to_owned(), chain.len() as u64)).collect();
                assert_eq!(found, expected);
            }
            Op::Checkpoint => {
                let note = self.db().checkpoint().unwrap();
                assert_eq!(note.claimed().size, self.ledger.len() as u64);
                let leaves = self.ledger.iter().map(thingdb::format::merkle::leaf);
                assert_eq!(note.claimed().root, thingdb::format::merkle::root(leaves));
            }
            Op::Reopen => {
                self.db.take().unwrap().close().unwrap();
                self.open(false);
            }
            Op::Rebuild => {
                self.db.take().unwrap().close().unwrap();
                self.open(true);
            }
            Op::Kill => {
                // What a kill would leave: the files as they are, of a process
                // that did not close them.
                self.db().sync().unwrap();
                self.copies += 1;
                let copy = self.scratch.path().join(format!("copy-{}", self.copies));
                copy_directory(&self.dir, &copy);
                self.db = None;
                self.dir = copy;
                self.open(false);
            }
        }
    }

    fn open(&mut self, rebuild: bool) {
        self.db = Some(relaxed().rebuild(rebuild).open(&self.dir, &passphrase()).unwrap());
    }

    fn check(&self) {
        let db = self.db();
        for (thing, name) in THINGS.iter().enumerate() {
            let latest = db.get(name).unwrap();
            let chain = self.chain(thing);
            assert_eq!(latest.is_some(), !chain.is_empty());
            if let (Some(latest), Some(last)) = (latest, chain.last()) {
                Self::same(&latest, thing, chain.len() as u64, last);
            }
            let records = db.history(THINGS[thing]).unwrap().map(|record| record.unwrap());
            assert_eq!(
                records.map(|record| record.id()).collect::<Vec<_>>(),
                chain.iter().map(|w| w.id).collect::<Vec<_>>()
            );
        }
        let stats = db.stats().unwrap();
        assert_eq!((stats.entries, stats.things), (self.ledger.len() as u64, self.chains.len() as u64));
        assert_intact(db);
    }
}

#[test]
fn the_engine_does_what_a_map_of_chains_does() {
    let config = Config { cases: u32::try_from(rounds(24)).unwrap(), failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    runner
        .run(&ops(), |ops| {
            let mut machine = Machine::new();
            for op in ops {
                machine.apply(op);
            }
            machine.check();
            machine.apply(Op::Reopen);
            machine.check();
            Ok(())
        })
        .unwrap();
}

#[test]
fn many_entries_cross_every_boundary() {
    // Postings chunks of 64 seqs, tiles of 128 ids, index flushes of 16,384
    // postings, checkpoints every 16,384 entries.
    let mut machine = Machine::new();
    for round in 0..18 {
        let writes: Vec<_> = (0..1000_u32).map(|n| ((n % 3) as usize, 0, round * 1000 + n)).collect();
        machine.apply(Op::Batch(writes));
    }
    for n in 0..300 {
        machine.apply(Op::Put { thing: 3, actor: (n % 2) as usize, data: n });
    }
    machine.check();
    machine.apply(Op::Kill);
    machine.apply(Op::Checkpoint);
    machine.check();
}

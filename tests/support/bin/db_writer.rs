//! Writes into a database from several threads until it is killed or cut off.
//!
//! `db_writer DIRECTORY [FREE_FLOOR_BYTES]` makes the database if there is
//! none, prints `ready`, and then a line for each entry that was acknowledged:
//! `D` or `R` for durable or relaxed, position, seq, id, thing. What an entry
//! says follows from its thing: see `acknowledged.rs`. `--once` in the place of
//! the number writes one relaxed entry and waits to be killed;
//! `--new-node-key` gives the node new keys and ends; `--erase` erases one thing after
//! the other, and tells of each.

use std::io::Write;
use std::path::Path;
use std::thread;

use thingdb::{Db, Draft, Durability, Erase, Receipt};
use thingdb_tests::acknowledged;
use thingdb_tests::database::{options, passphrase};

/// Entries of one batch.
const BATCH: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let dir = Path::new(arguments.get(1).expect("a directory"));
    let mut options = options();
    let is = |option: &str| arguments.get(2).is_some_and(|argument| argument == option);
    let (once, rekey, erase) = (is("--once"), is("--new-node-key"), is("--erase"));
    if let Some(floor) = arguments.get(2).filter(|_| !once && !rekey && !erase) {
        options = options.free_floor_bytes(floor.parse().expect("a number of bytes"));
    }
    let db = match options.open(dir, &passphrase()) {
        Err(problem) if problem.is_no_database() => options.create(dir, &passphrase()).expect("a database"),
        opened => opened.expect("the database opens"),
    };
    println!("ready");
    if rekey {
        db.new_node_key().expect("new keys");
        return;
    }
    if erase {
        erase_all(&db);
        return;
    }
    if once {
        let draft = Draft::bytes("quick", "text/plain", acknowledged::data("quick", 40)).expect("a draft");
        let receipt = db.write_with(draft, Durability::Relaxed).expect("a write");
        report(&[receipt], Durability::Relaxed).expect("the parent reads");
        loop {
            thread::park();
        }
    }
    thread::scope(|scope| {
        let db = &db;
        scope.spawn(move || write(db, "single", Durability::Durable, 1));
        scope.spawn(move || write(db, "quick", Durability::Relaxed, 1));
        scope.spawn(move || write(db, "batch", Durability::Durable, BATCH));
        scope.spawn(move || write(db, "quick batch", Durability::Relaxed, BATCH));
        scope.spawn(move || write(db, "large", Durability::Durable, 1));
    });
    // Only when the disk is gone.
    std::process::exit(0);
}

/// Erases all things that have something to erase.
fn erase_all(db: &Db) {
    let things: Vec<String> =
        db.things().expect("things").map(|info| info.expect("a thing").thing.as_str().to_owned()).collect();
    for thing in things {
        let Ok(plan) = db.plan_erasure(&Erase::new(&thing, "a test")) else { continue };
        let erased = db.erase(&plan).expect("an erasure");
        report(&erased.records, Durability::Durable).expect("the parent reads");
    }
}

/// Writes about things of its own and one that all share, until it is refused.
fn write(db: &Db, name: &str, durability: Durability, batch: usize) {
    for round in 0_u64.. {
        let drafts = (0..batch as u64).map(|n| {
            let thing = match round + n {
                n if n % 7 == 0 => "shared".to_owned(),
                n => format!("{name} {}", n % 5),
            };
            let size = if name == "large" { 9000 } else { 40 };
            Draft::bytes(&thing, "text/plain", acknowledged::data(&thing, size)).expect("a draft")
        });
        let Ok(receipts) = db.write_batch_with(drafts.collect(), durability) else { return };
        if report(&receipts, durability).is_err() {
            return;
        }
    }
}

/// One write to the pipe, so that lines of threads do not mix.
fn report(receipts: &[Receipt], durability: Durability) -> std::io::Result<()> {
    let kind = if durability == Durability::Durable { 'D' } else { 'R' };
    let lines: String = receipts
        .iter()
        .map(|receipt| {
            format!("{kind} {} {} {} {}\n", receipt.position, receipt.seq, receipt.id, receipt.thing.as_str())
        })
        .collect();
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    out.flush()
}

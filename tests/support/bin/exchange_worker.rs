//! A node that puts, imports and exports, in no order, until it is killed.
//!
//! `exchange_worker DIRECTORY SEED [FILE…]` opens the database, prints `ready`,
//! and then a line for each entry that it put and that was acknowledged, as
//! `db_writer` does. It imports the files, which may be cut or not there, and
//! replaces DIRECTORY.ndjson with all that it has.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use thingdb::{Db, Draft, Durability, ExportOptions, ImportOptions};
use thingdb_tests::acknowledged;
use thingdb_tests::database::{passphrase, relaxed};

const THINGS: [&str; 4] = ["a", "b", "c", "d"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().expect("a directory"));
    let seed = arguments.next().and_then(|seed| seed.parse().ok()).expect("a seed");
    let files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let db = relaxed().open(&dir, &passphrase()).expect("the database opens");
    println!("ready");
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        match rng.random_range(0..8) {
            0..5 => put(&db, &mut rng),
            5 => export(&db, &dir.with_extension("ndjson")),
            _ => {
                if let Some(bytes) = files.choose(&mut rng).and_then(|file| fs::read(file).ok()) {
                    db.import(ImportOptions::new(), &bytes[..]).expect("a stream is no reason to fail");
                }
            }
        }
    }
}

fn put(db: &Db, rng: &mut StdRng) {
    let durability = if rng.random_bool(0.3) { Durability::Durable } else { Durability::Relaxed };
    let thing = THINGS.choose(rng).expect("there are four");
    let draft = |size| Draft::bytes(thing, "text/plain", acknowledged::data(thing, size)).expect("a draft");
    let drafts = (0..rng.random_range(1..4)).map(|_| draft(rng.random_range(40..6000))).collect();
    let receipts = db.write_batch_with(drafts, durability).expect("a write");
    let kind = if durability == Durability::Durable { 'D' } else { 'R' };
    let mut out = std::io::stdout().lock();
    for one in receipts {
        writeln!(out, "{kind} {} {} {} {}", one.position, one.seq, one.id, one.thing.as_str())
            .expect("the parent reads");
    }
    out.flush().expect("the parent reads");
}

fn export(db: &Db, file: &Path) {
    let unfinished = file.with_extension("unfinished");
    let mut out = Vec::new();
    db.export(ExportOptions::new(), &mut out).expect("an export into memory");
    fs::write(&unfinished, out).and_then(|()| fs::rename(unfinished, file)).expect("a file beside the database");
}

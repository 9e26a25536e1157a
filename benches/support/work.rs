//! The work that is measured: 256-byte JSON about 1000 things.

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use thingdb::format::{Card, CardFields, DecryptionKey, SigningKey, Time};
use thingdb::{Audience, Db, Draft, Durability, KdfChoice, Options, Passphrase};

/// Things that the entries are about.
pub(crate) const THINGS: u64 = 1000;

/// Bytes of JSON in an entry.
pub(crate) const JSON_BYTES: usize = 256;

/// Entries in a batch.
pub(crate) const BATCH: u64 = 1000;

/// The finalizer of splitmix64: looks random, is the same in every run.
pub(crate) const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// The thing that entry `n` is about.
pub(crate) fn thing(n: u64) -> String {
    thing_of(n, THINGS)
}

/// The same if there are so many things.
pub(crate) fn thing_of(n: u64, things: u64) -> String {
    format!("plant-3/part-{:04}", mix(n) % things)
}

/// The data of entry `n`.
pub(crate) fn json(n: u64) -> String {
    let temperature = mix(n) % 1000;
    let mut text = format!(r#"{{"temp":{}.{},"unit":"C","ok":true,"sensor":""#, temperature / 10, temperature % 10);
    let mut state = n;
    while text.len() + 2 + 16 <= JSON_BYTES {
        state = mix(state);
        write!(text, "{state:016x}").expect("writing to a string cannot fail");
    }
    while text.len() + 2 < JSON_BYTES {
        text.push('0');
    }
    text.push_str("\"}");
    assert_eq!(text.len(), JSON_BYTES);
    text
}

/// A database without the cost of stretching a passphrase.
pub(crate) fn create(dir: &Path, durability: Durability) -> Db {
    options(durability).create(dir, &passphrase()).expect("the directory is new")
}

pub(crate) fn open(dir: &Path, durability: Durability) -> Db {
    options(durability).open(dir, &passphrase()).expect("the database was just closed")
}

/// A database whose entries are sealed to this many peers.
pub(crate) fn create_with_peers(dir: &Path, durability: Durability, peers: usize) -> Db {
    let db = create(dir, durability);
    let names: Vec<String> = (0..peers).map(|n| format!("peer-{n}")).collect();
    for name in &names {
        let node = SigningKey::generate(&mut rand::rng());
        let fields = CardFields {
            time: Time::from_micros(0).expect("it is before the year 9999"),
            node_key: node.node_key(),
            encryption_key: DecryptionKey::generate(&mut rand::rng()).encryption_key(),
            tls: None,
            name: name.clone(),
            actors: vec![],
        };
        db.add_peer(name, &Card::sign(fields, &node).expect("it is its own card")).expect("the peer is new");
    }
    db.set_audience(Audience { default: names, ..Audience::default() }).expect("they are peers");
    db
}

fn options(durability: Durability) -> Options {
    Options::new().kdf(KdfChoice::weakest()).durability(durability)
}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery")
}

/// Writes these entries one by one.
pub(crate) fn put_each(db: &Db, range: Range<u64>) {
    for n in range {
        db.put(&thing(n), &json(n)).expect("the database takes writes");
    }
}

/// Writes these entries one by one, each from one of several threads.
pub(crate) fn put_in_threads(db: &Db, threads: u64, range: Range<u64>) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let range = range.clone();
            scope.spawn(move || range.filter(|n| n % threads == thread).for_each(|n| put_each(db, n..n + 1)));
        }
    });
}

/// Writes these entries in batches of [`BATCH`].
pub(crate) fn put_batches(db: &Db, range: Range<u64>) {
    put_batches_about(db, range, THINGS);
}

/// The same about so many things.
pub(crate) fn put_batches_about(db: &Db, range: Range<u64>, things: u64) {
    for start in range.clone().step_by(BATCH as usize) {
        let draft = |n| Draft::json(&thing_of(n, things), json(n)).expect("it is JSON");
        let drafts = (start..range.end.min(start + BATCH)).map(draft).collect();
        db.write_batch(drafts).expect("the database takes writes");
    }
}

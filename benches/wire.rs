//! Bytes an entry on the wire: lines and frames, compressed and not.
//!
//! `cargo bench --bench wire`. It counts and takes no times.

use std::io::Write;
use std::ops::ControlFlow;

use thingdb::format::frame::Encoder;
use thingdb::format::line;
use thingdb::{Audience, Db, Draft, Durability, KdfChoice, Options, Outgoing, Passphrase};

const ENTRIES: usize = 10_000;
const THINGS: usize = 100;

/// JSON of 200 bytes, as a sensor would send it.
fn data(n: usize) -> String {
    let noise = rand::random::<u64>();
    let text = format!(r#"{{"temp":{}.{},"unit":"C","n":{n},"id":"{noise:016x}""#, n % 40, n % 10);
    format!("{text},\"note\":\"{}\"}}", "x".repeat(200 - text.len() - 11))
}

fn node(dir: &std::path::Path, name: &str) -> Db {
    let options = Options::new().kdf(KdfChoice::weakest()).durability(Durability::Relaxed);
    options.create(dir.join(name), &Passphrase::new("a passphrase")).expect("a fresh database")
}

fn main() {
    let tmp = tempfile::tempdir().expect("a temporary directory");
    let peer = node(tmp.path(), "peer");
    println!("| bytes an entry | lines | lines, zstd | frames | frames, zstd |");
    println!("|---|---|---|---|---|");
    for (name, batch) in [("signed singly", 1), ("in batches of 1000", 1000)] {
        let db = node(tmp.path(), name);
        db.add_peer("peer", &peer.card().expect("a card")).expect("a peer");
        db.set_audience(Audience { default: vec!["peer".into()], prefixes: vec![] }).expect("a known peer");
        for first in (0..ENTRIES).step_by(batch) {
            let draft = |n: usize| Draft::json(&format!("hall-3/press-{}", n % THINGS), data(n)).expect("it is JSON");
            db.write_batch((first..first + batch).map(draft).collect()).expect("entries are written");
        }
        row(&db, &format!("{name}, all at once"), ENTRIES);
        row(&db, &format!("{name}, 8 at a time"), 8);
    }
}

/// Streams of so many entries each.
fn row(db: &Db, name: &str, entries: usize) {
    let mut sums = [0; 4];
    let mut count = 0;
    for first in (0..ENTRIES).step_by(entries) {
        let [mut lines, mut frames] = [Vec::new(), Vec::new()];
        let mut encoder = Encoder::default();
        let range = first as u64..(first + entries) as u64;
        let act = |Outgoing { id, entry, .. }: Outgoing| {
            line::encode_with_id(&entry, &id, &mut lines);
            encoder.entry(&entry, &id, &mut frames)?;
            count += 1;
            Ok(ControlFlow::Continue(()))
        };
        db.outgoing([range], act).expect("entries go out");
        let packed = [packed(&lines), packed(&frames)];
        for (sum, bytes) in sums.iter_mut().zip([lines.len(), packed[0], frames.len(), packed[1]]) {
            *sum += bytes;
        }
    }
    let each = sums.map(|sum| (sum as f64 / f64::from(count)).round());
    println!("| {name} | {} | {} | {} | {} |", each[0], each[1], each[2], each[3]);
}

fn packed(bytes: &[u8]) -> usize {
    let mut out = zstd::Encoder::new(Vec::new(), 1).expect("memory");
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory").len()
}

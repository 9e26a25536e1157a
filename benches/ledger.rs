//! A ledger of 100,000 entries beside its floor and beside SQLite: where the
//! time goes, and the ratios that are the goals.
//!
//! `cargo bench --bench ledger` takes about three minutes. With
//! `THINGDB_BENCH_MILLION=1` it also writes, opens, exports and imports a
//! million entries, twice.
//! `THINGDB_BENCH_DIR` is where the databases go, for another disk than that
//! of the temporary directory. Words on the command line choose parts:
//! `put batch to durable get history verify move million`.

mod support;

use std::fs::File;
use std::io::BufReader;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use support::floor::{Appended, Rows, Sealer, SeamRows, SledRows};
use support::race::{Contestant, Result, Table, race};
use support::sqlite::SqliteLedger;
use support::work::{self, THINGS, mix, put_batches, put_each, put_in_threads};
use thingdb::format::frame::Encoder;
use thingdb::{Db, Durability, ExportOptions, ImportOptions, Outgoing, TrustPolicy, VerifyOptions};

const ROUNDS: u64 = 5;
const MILLION: u64 = 1_000_000;

/// Entries a second that an export should reach.
const EXPORT_GOAL: f64 = 100_000.0;

/// Entries that are read of one thing.
const HISTORY: u64 = 100;

/// Peers to whom entries are sealed.
const RECIPIENTS: usize = 16;

/// Names the task of a child process: memory is measured by process.
const CHILD: &str = "THINGDB_BENCH_CHILD";

fn main() {
    if let Ok(task) = std::env::var(CHILD) {
        return child(&task);
    }
    // Without `--bench` this is a test of whether it runs at all.
    let whole = std::env::args().any(|argument| argument == "--bench");
    let words: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let base = std::env::var_os("THINGDB_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("thingdb-bench-").tempdir_in(base).expect("there is room");
    let mut bench = Bench {
        dir: dir.path().to_owned(),
        words,
        // Rounds must be longer than the half second after which what was
        // written relaxed is synced.
        round: if whole { 20_000 } else { 1000 },
        table: Table::default(),
        notes: Vec::new(),
    };
    bench.run();
}

struct Bench {
    dir: PathBuf,
    words: Vec<String>,
    /// Entries in a round.
    round: u64,
    table: Table,
    notes: Vec<String>,
}

/// Databases that were written and are read later.
struct Pair {
    ours: Db,
    sqlite: SqliteLedger,
}

impl Bench {
    fn run(&mut self) {
        let durable = self.wants("durable");
        let reads = ["get", "history", "verify", "move"].iter().any(|part| self.wants(part));
        let single = (self.wants("put") || reads).then(|| self.single());
        let batch = (self.wants("batch") || reads).then(|| self.batch());
        if self.wants("to") {
            self.recipients();
        }
        if durable {
            self.durable();
        }
        if let (Some(single), Some(batch)) = (single, batch) {
            if self.wants("get") {
                self.latest(&single);
            }
            if self.wants("history") {
                self.history(&single, &batch);
            }
            if self.wants("verify") {
                self.verify(&single, &batch);
            }
            if self.wants("move") {
                self.moving(&single, &batch);
            }
            self.reopen(single.ours);
        }
        if std::env::var_os("THINGDB_BENCH_MILLION").is_some() || self.words.iter().any(|word| word == "million") {
            self.million();
        }
        self.table.print();
        println!();
        for note in &self.notes {
            println!("{note}");
        }
    }

    fn wants(&self, part: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| word == part)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn pair(&self, name: &str, durability: Durability) -> Pair {
        Pair {
            ours: work::create(&self.path(name), durability),
            sqlite: SqliteLedger::create(&self.path(&format!("{name}.sqlite")), durability == Durability::Durable),
        }
    }

    /// One put after the other, relaxed, in one thread.
    fn single(&mut self) -> Pair {
        let mut pair = self.pair("single", Durability::Relaxed);
        let sealer = Sealer::new();
        let mut sled = SledRows::create(&self.path("single-sled"), Rows::of_commits(1));
        let seam = std::cell::RefCell::new(SeamRows::create(&self.path("single-seam"), Rows::of_commits(1)));
        let results = race(
            "one by one, relaxed",
            ROUNDS,
            self.round,
            vec![
                Contestant::new("seal", |range| sealer.seal_each(range)),
                Contestant::new("seal and sign", |range| sealer.seal_and_sign_each(range)),
                Contestant::new("sled, the same rows", |range| {
                    sled.write(range);
                    sled.flush();
                }),
                Contestant::new("storage seam, the same rows", |range| seam.borrow_mut().write(range, false))
                    .resting(|| seam.borrow().flush()),
                Contestant::new("ThingDB, put", |range| put_each(&pair.ours, range))
                    .resting(|| pair.ours.sync().expect("the disk takes it")),
                Contestant::new("SQLite by hand, transaction", |range| pair.sqlite.put_each(range)),
            ],
        );
        if let [seal, sign, _, seam, ours, sqlite] = &results[..] {
            self.table.add("put, relaxed, 1 thread / SQLite", ours, sqlite, 1.3);
            self.table.add("put, relaxed / seal + sign + storage alone", ours, &sign.plus(seam), 0.0);
            print_parts(
                &[("seal", seal.micros()), ("sign", sign.micros() - seal.micros()), ("storage", seam.micros())],
                ours,
            );
        }
        self.note_disk("one by one", &pair);
        pair
    }

    /// Batches of 1000, relaxed.
    fn batch(&mut self) -> Pair {
        let mut pair = self.pair("batch", Durability::Relaxed);
        let sealer = Sealer::new();
        let mut sled = SledRows::create(&self.path("batch-sled"), Rows::of_commits(work::BATCH));
        let seam = std::cell::RefCell::new(SeamRows::create(&self.path("batch-seam"), Rows::of_commits(work::BATCH)));
        let results = race(
            "batches of 1000, relaxed",
            ROUNDS,
            self.round,
            vec![
                Contestant::new("seal, sign the batch", |range| sealer.seal_and_sign_batches(range)),
                Contestant::new("sled, the same rows", |range| {
                    sled.write(range);
                    sled.flush();
                }),
                Contestant::new("storage seam, the same rows", |range| seam.borrow_mut().write(range, false))
                    .resting(|| seam.borrow().flush()),
                Contestant::new("ThingDB, write_batch", |range| put_batches(&pair.ours, range))
                    .resting(|| pair.ours.sync().expect("the disk takes it")),
                Contestant::new("SQLite by hand, transaction", |range| pair.sqlite.put_batches(range)),
            ],
        );
        if let [sign, _, seam, ours, sqlite] = &results[..] {
            self.table.add("batch of 1000, one signature / SQLite", ours, sqlite, 1.5);
            self.table.add("batch of 1000 / seal + sign + storage alone", ours, &sign.plus(seam), 0.0);
            print_parts(&[("seal and sign", sign.micros()), ("storage", seam.micros())], ours);
        }
        self.note_disk("in batches", &pair);
        pair
    }

    /// One put after the other, each survives a power cut.
    fn durable(&mut self) {
        let mut pair = self.pair("durable", Durability::Durable);
        let entries = self.round / 40;
        let mut growing = Appended::create(&self.path("growing"), 0);
        let mut preallocated = Appended::create(&self.path("preallocated"), 64 << 20);
        let mut seam = SeamRows::create(&self.path("durable-seam"), Rows::of_commits(1));
        let eight = work::create(&self.path("durable-8"), Durability::Durable);
        let many = work::create(&self.path("durable-64"), Durability::Durable);
        let results = race(
            "one by one, durable",
            ROUNDS,
            entries,
            vec![
                Contestant::new("append 424 bytes and fdatasync", |range| growing.write(range)),
                Contestant::new("the same in a file of its length", |range| preallocated.write(range)),
                Contestant::new("storage seam, the same rows", |range| seam.write(range, true)),
                Contestant::new("ThingDB, put", |range| put_each(&pair.ours, range)),
                Contestant::new("ThingDB, put in 8 threads", |range| put_in_threads(&eight, 8, range)),
                Contestant::new("ThingDB, put in 64 threads", |range| put_in_threads(&many, 64, range)),
                Contestant::new("SQLite by hand, synchronous=FULL", |range| pair.sqlite.put_each(range)),
            ],
        );
        if let [growing, preallocated, _, ours, eight, many, sqlite] = &results[..] {
            self.table.add("durable put / append + fdatasync", ours, growing, 0.6);
            self.table.add("durable put / append + fdatasync, preallocated", ours, preallocated, 0.0);
            self.table.add("durable put / SQLite", ours, sqlite, 0.0);
            self.table.add("durable put, 8 threads / 1 thread", eight, ours, 0.0);
            self.table.add("durable put, 64 threads / 1 thread", many, ours, 0.0);
        }
    }

    /// The latest entry of a random thing, decrypted.
    fn latest(&mut self, pair: &Pair) {
        let written = ROUNDS * self.round;
        let random = |n| work::thing(mix(n) % written);
        let results = race(
            "latest of a random thing",
            ROUNDS,
            self.round,
            vec![
                Contestant::new("ThingDB, get", |range| {
                    for n in range {
                        let record = pair.ours.get(&random(n)).expect("it reads").expect("it was put");
                        assert_eq!(record.data().map(<[u8]>::len), Some(work::JSON_BYTES));
                    }
                }),
                Contestant::new("SQLite by hand", |range| {
                    for n in range {
                        assert_eq!(pair.sqlite.latest(&random(n)).len(), work::JSON_BYTES);
                    }
                }),
            ],
        );
        if let [ours, sqlite] = &results[..] {
            self.table.add("latest of a random thing / SQLite", ours, sqlite, 1.0);
        }
    }

    /// The newest entries of a random thing, decrypted, the newest first.
    fn history(&mut self, single: &Pair, batch: &Pair) {
        let written = ROUNDS * self.round;
        let random = |n| work::thing(mix(n) % written);
        let read = |db: &Db, range: Range<u64>| {
            for n in range.step_by(HISTORY as usize) {
                let thing = random(n);
                let history = db.history(&thing).expect("it reads").rev().take(HISTORY as usize);
                for record in history {
                    assert_eq!(record.expect("it reads").data().map(<[u8]>::len), Some(work::JSON_BYTES));
                }
            }
        };
        let results = race(
            "history of 100 of a random thing",
            ROUNDS,
            self.round,
            vec![
                Contestant::new("ThingDB, written one by one", |range| read(&single.ours, range)),
                Contestant::new("ThingDB, written in batches", |range| read(&batch.ours, range)),
                Contestant::new("SQLite by hand", |range| {
                    for n in range.step_by(HISTORY as usize) {
                        assert!(single.sqlite.history(&random(n), HISTORY) > 0);
                    }
                }),
            ],
        );
        if let [single, batch, sqlite] = &results[..] {
            self.table.add("history of 100, written one by one / SQLite", single, sqlite, 0.8);
            self.table.add("history of 100, written in batches / SQLite", batch, sqlite, 0.8);
        }
    }

    /// Everything verified from the stored bytes.
    fn verify(&mut self, single: &Pair, batch: &Pair) {
        let entries = ROUNDS * self.round;
        let verify = |db: &Db| {
            let report = db.verify(VerifyOptions::new()).expect("it reads");
            assert!(report.is_ok(), "{:?}", report.problems);
            assert_eq!(report.entries, entries);
        };
        let results = race(
            "verify everything",
            3,
            entries,
            vec![
                Contestant::new("ThingDB, written in batches", |_| verify(&batch.ours)),
                Contestant::new("ThingDB, written one by one", |_| verify(&single.ours)),
                Contestant::new("SQLite by hand, 1 thread", |_| assert_eq!(batch.sqlite.verify(), entries)),
            ],
        );
        if let [batch, single, sqlite] = &results[..] {
            self.table.add("verify, written in batches / SQLite", batch, sqlite, 8.0);
            self.table.add("verify, written one by one / SQLite", single, sqlite, 1.5);
        }
    }

    /// Out as a stream, and verified into another database.
    fn moving(&mut self, single: &Pair, batch: &Pair) {
        let entries = ROUNDS * self.round;
        let out = |db: &Db| {
            let mut stream = Vec::new();
            let summary = db.export(ExportOptions::new(), &mut stream).expect("it reads");
            assert_eq!(summary.entries, entries);
            stream
        };
        let results = race(
            "export",
            3,
            entries,
            vec![
                Contestant::new("ThingDB, written in batches", |_| drop(out(&batch.ours))),
                Contestant::new("ThingDB, written one by one", |_| drop(out(&single.ours))),
            ],
        );
        for (result, written) in results.iter().zip(["in batches", "one by one"]) {
            let rate = result.per_second();
            let met = if rate >= EXPORT_GOAL { "met" } else { "MISS" };
            self.notes.push(format!("export, written {written}: {rate:.0} entries/s (goal {EXPORT_GOAL}: {met})"));
        }

        let (each, batches) = (out(&single.ours), out(&batch.ours));
        let frames = frames(&batch.ours, entries);
        let mut by_hand = Vec::new();
        batch.sqlite.export(&mut by_hand);
        for (name, stream) in [
            ("in batches", &batches),
            ("in batches, binary", &frames),
            ("one by one", &each),
            ("SQLite by hand", &by_hand),
        ] {
            self.notes.push(format!("stream, {name}: {} bytes an entry", stream.len() as u64 / entries));
        }
        let copies = self.path("copies");
        std::fs::create_dir(&copies).expect("there is room");
        let made = std::cell::Cell::new(0);
        let next = || {
            made.set(made.get() + 1);
            copies.join(made.get().to_string())
        };
        let import = |stream: &[u8]| {
            let copy = work::create(&next(), Durability::Relaxed);
            let options = ImportOptions::new().trust(TrustPolicy::All);
            let summary = copy.import(options, BufReader::new(stream)).expect("it reads");
            assert_eq!(summary.added, entries);
            copy.close().expect("the disk takes it");
        };
        let results = race(
            "import into a new database, verified",
            ROUNDS,
            entries,
            vec![
                Contestant::new("ThingDB, written in batches", |_| import(&batches)),
                Contestant::new("ThingDB, written in batches, binary", |_| import(&frames)),
                Contestant::new("ThingDB, written one by one", |_| import(&each)),
                Contestant::new("SQLite by hand, 1 thread", |_| {
                    let copy = SqliteLedger::create(&next(), false);
                    assert_eq!(copy.import(&batch.sqlite, &by_hand[..]), entries);
                }),
            ],
        );
        if let [batch, binary, single, sqlite] = &results[..] {
            self.table.add("import, written in batches / SQLite", batch, sqlite, 3.0);
            self.table.add("import, written in batches, binary / SQLite", binary, sqlite, 0.0);
            self.table.add("import, written in batches, binary / lines", binary, batch, 0.0);
            self.table.add("import, written one by one / SQLite", single, sqlite, 1.3);
        }
    }

    /// A batch of 1000 that is sealed to many peers, beside the same without.
    fn recipients(&mut self) {
        let alone = work::create(&self.path("alone"), Durability::Relaxed);
        let shared = work::create_with_peers(&self.path("shared"), Durability::Relaxed, RECIPIENTS);
        let fresh = work::create_with_peers(&self.path("fresh"), Durability::Relaxed, RECIPIENTS);
        let rest = |db: &Db| db.sync().expect("the disk takes it");
        let results = race(
            "a batch of 1000, relaxed, sealed to peers",
            5 * ROUNDS,
            work::BATCH,
            vec![
                Contestant::new("to nobody else", |range| put_batches(&alone, range)).resting(|| rest(&alone)),
                Contestant::new("to 16 recipients", |range| put_batches(&shared, range)).resting(|| rest(&shared)),
                Contestant::new("to 16 recipients, a fresh KEK each time", |range| put_batches(&fresh, range)).resting(
                    || {
                        rest(&fresh);
                        // What is set anew ends the KEK that was in use.
                        let audience = fresh.audience().expect("it reads");
                        fresh.set_audience(audience).expect("they are peers");
                    },
                ),
            ],
        );
        if let [alone, shared, fresh] = &results[..] {
            // At most 1.5 times the cost is at least two thirds of the speed.
            let goal = 1.0 / 1.5;
            self.table.add("batch of 1000, to 16 recipients / to nobody else", shared, alone, goal);
            self.table.add("the same, a fresh KEK / to nobody else", fresh, alone, goal);
        }
    }

    fn reopen(&mut self, db: Db) {
        let entries = db.stats().expect("it reads").entries;
        let dir = db.dir().to_owned();
        db.close().expect("the disk takes it");
        let start = Instant::now();
        let db = work::open(&dir);
        let opened = start.elapsed();
        self.notes.push(format!(
            "open {entries} entries: {:.0} ms (stretching the passphrase left out)",
            opened.as_secs_f64() * 1e3
        ));
        drop(db);
    }

    fn note_disk(&mut self, written: &str, pair: &Pair) {
        pair.ours.sync().expect("the disk takes it");
        let stats = pair.ours.stats().expect("it reads");
        let ours = stats.disk_bytes / stats.entries;
        let journal = journal_bytes(pair.ours.dir()) / stats.entries;
        let sqlite = pair.sqlite.disk_bytes() / stats.entries;
        let note = format!("disk, written {written}: {ours} bytes an entry, {journal} of them its journal");
        self.notes.push(format!("{note}; SQLite {sqlite}"));
    }

    /// A million entries, written, opened, exported and imported by processes
    /// of their own.
    fn million(&mut self) {
        let tasks = [
            ("batches", "million"),
            ("open", "million"),
            ("export", "million"),
            ("import", "million"),
            ("each", "million-each"),
            ("open", "million-each"),
            ("export", "million-each"),
            ("import", "million-each"),
            ("rebuild", "million"),
            ("rebuild", "million-each"),
        ];
        for (task, name) in tasks {
            let dir = self.path(name);
            let child = Command::new(std::env::current_exe().expect("this runs from a file"))
                .env(CHILD, format!("{task} {}", dir.display()))
                .output()
                .expect("this program starts");
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
            self.notes.push(String::from_utf8_lossy(&child.stdout).trim_end().to_owned());
        }
    }
}

/// The same entries as a binary stream, as an exchange sends them.
fn frames(db: &Db, entries: u64) -> Vec<u8> {
    let (mut encoder, mut stream) = (Encoder::default(), Vec::new());
    let act = |Outgoing { id, entry, .. }: Outgoing| {
        encoder.entry(&entry, &id, &mut stream)?;
        Ok(ControlFlow::Continue(()))
    };
    db.outgoing(std::iter::once(0..entries), act).expect("it reads");
    stream
}

fn print_parts(parts: &[(&str, f64)], whole: &Result) {
    let known: f64 = parts.iter().map(|(_, micros)| micros).sum();
    let parts: Vec<String> = parts.iter().map(|(name, micros)| format!("{name} {micros:.1}")).collect();
    let rest = whole.micros() - known;
    println!(
        "  {} us = {} + the rest of the engine {rest:.1}",
        format_args!("{:.1}", whole.micros()),
        parts.join(" + ")
    );
}

fn child(task: &str) {
    let (task, dir) = task.split_once(' ').expect("the parent names both");
    let dir = Path::new(dir);
    let start = Instant::now();
    let (what, db) = match task {
        "batches" => {
            let db = work::create(dir, Durability::Durable);
            put_batches(&db, 0..MILLION);
            ("durable batches of 1000", db)
        }
        "each" => {
            let db = work::create(dir, Durability::Relaxed);
            put_each(&db, 0..MILLION);
            ("relaxed one by one", db)
        }
        "export" => {
            let db = work::open(dir);
            let stream = File::create(stream_of(dir)).expect("there is room");
            db.export(ExportOptions::new(), stream).expect("it reads");
            ("export to a file", db)
        }
        "import" => {
            let db = work::create(&dir.with_extension("copy"), Durability::Relaxed);
            let stream = BufReader::new(File::open(stream_of(dir)).expect("it was exported"));
            let options = ImportOptions::new().trust(TrustPolicy::All);
            assert_eq!(db.import(options, stream).expect("it reads").added, MILLION);
            std::fs::remove_file(stream_of(dir)).expect("it was read");
            ("import from a file", db)
        }
        "rebuild" => {
            std::fs::remove_dir_all(dir.join("store")).expect("it is there");
            ("a store built anew from the journal", work::open(dir))
        }
        _ => ("open", work::open(dir)),
    };
    let took = start.elapsed().as_secs_f64();
    let stats = db.stats().expect("it reads");
    assert_eq!((stats.entries, stats.things), (MILLION, THINGS));
    let place = &db.dir().to_owned();
    db.close().expect("the disk takes it");
    let (mib, bytes) = (peak_rss_kib() >> 10, stats.disk_bytes / stats.entries);
    let journal = journal_bytes(place) / stats.entries;
    println!(
        "1 M entries, {what}: {took:.2} s, peak RSS {mib} MiB, {bytes} bytes of disk an entry, {journal} of them the \
         journal's"
    );
}

/// What the journal of a database takes on the disk.
fn journal_bytes(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir.join("journal")).expect("a database has one");
    // Blocks are of 512 bytes whatever the file system uses.
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |found| found.blocks() * 512)).sum()
}

fn stream_of(dir: &Path) -> PathBuf {
    dir.with_extension("ndjson")
}

/// The most memory that this process has had, in KiB.
fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

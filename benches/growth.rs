//! How speed changes as a ledger grows, and what a process takes on a large one.
//!
//! `cargo bench --bench growth` takes about two minutes. It prints lines of words
//! with commas between them, which `benches/measure` reads:
//!
//! ```text
//! entries,WORK,ENTRIES,A SECOND      one database about 1000 things, as it grows
//! things,WORK,THINGS,A SECOND        databases about so many things
//! process,WORK,MILLISECONDS,PEAK RSS IN MIB
//! large,WHAT,FIGURE                  payloads of 1 MiB, durable
//! ```

#[expect(dead_code, reason = "the ledger bench uses more of it")]
mod support;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use support::race::median;
use support::work::{self, mix, put_batches_about, thing_of};
use thingdb::{Db, Durability, ExportOptions, ImportOptions, TrustPolicy, VerifyOptions};

/// Names the task of a child process: memory is measured by process.
const CHILD: &str = "THINGDB_BENCH_CHILD";

/// Entries of a history that are read.
const HISTORY: u64 = 100;

/// Rounds of reading.
const ROUNDS: u64 = 5;

/// How often a process is started.
const STARTS: usize = 15;

const LARGE_BYTES: usize = 1 << 20;

/// How large everything is.
struct Scale {
    /// Entries at which is measured.
    entries: Vec<u64>,
    things: Vec<u64>,
    /// Entries about each number of things, at least.
    about_things: u64,
    /// Entries that are read in a round.
    round: u64,
    large: u64,
}

fn main() {
    if let Ok(task) = std::env::var(CHILD) {
        return child(&task);
    }
    // Without `--bench` this is a test of whether it runs at all.
    let scale = if std::env::args().any(|argument| argument == "--bench") {
        Scale {
            entries: vec![100_000, 250_000, 500_000, 1_000_000],
            things: vec![1000, 10_000, 100_000, 1_000_000],
            about_things: 200_000,
            round: 20_000,
            large: 128,
        }
    } else {
        Scale { entries: vec![2000, 4000], things: vec![1000, 2000], about_things: 2000, round: 1000, large: 2 }
    };
    let base = std::env::var_os("THINGDB_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::Builder::new().prefix("thingdb-growth-").tempdir_in(base).expect("there is room");
    entries(&dir.path().join("entries"), &scale);
    for things in &scale.things {
        let place = dir.path().join(format!("things-{things}"));
        about(&place, *things, &scale);
        std::fs::remove_dir_all(&place).expect("nobody has it open");
    }
    large(&dir.path().join("large"), &scale);
}

/// One database, as it grows.
fn entries(dir: &Path, scale: &Scale) {
    let db = work::create(dir, Durability::Relaxed);
    let mut written = 0;
    for (step, end) in scale.entries.iter().enumerate() {
        let say = |what: &str, rate: f64| println!("entries,{what},{end},{rate:.0}");
        // Of a long way the last part counts.
        let last = end - (end - written).min(50_000);
        put_batches_about(&db, written..last, work::THINGS);
        say("batches of 1000", rate(end - last, || put_batches_about(&db, last..*end, work::THINGS)));
        written = *end;
        db.sync().expect("the disk takes it");
        read(&db, work::THINGS, scale.round, say);
        // At its end processes of their own do that.
        if step + 1 < scale.entries.len() {
            whole(&db, say);
        }
    }
    db.close().expect("the disk takes it");
    for task in ["verify", "export", "import"] {
        let (millis, mib) = start(task, dir);
        println!("process,{task},{millis:.0},{mib}");
        println!("entries,{task},{written},{:.0}", written as f64 * 1e3 / millis);
    }
    // A process that was just measured may have left work for the next one.
    for task in ["open", "put"] {
        let runs: Vec<(f64, u64)> = (0..STARTS).map(|_| start(task, dir)).collect();
        let millis = median(runs.iter().map(|(millis, _)| *millis).collect());
        println!("process,{task},{millis:.1},{}", runs.iter().map(|(_, mib)| *mib).max().unwrap_or(0));
    }
}

/// A database about so many things.
fn about(dir: &Path, things: u64, scale: &Scale) {
    let say = |what: &str, rate: f64| println!("things,{what},{things},{rate:.0}");
    let db = work::create(dir, Durability::Relaxed);
    let all = scale.about_things.max(things);
    put_batches_about(&db, 0..all / 2, things);
    say("batches of 1000", rate(all - all / 2, || put_batches_about(&db, all / 2..all, things)));
    db.sync().expect("the disk takes it");
    read(&db, things, scale.round, say);
    whole(&db, say);
    db.close().expect("the disk takes it");
}

/// Reads of random things. Each round has other ones; the first fills caches.
fn read(db: &Db, things: u64, round: u64, say: impl Fn(&str, f64)) {
    let entries = db.stats().expect("it reads").entries;
    let latest = |round_number: u64| {
        rate(round, || {
            for n in round_number * round..(round_number + 1) * round {
                let record = db.get(&thing_of(mix(n) % entries, things)).expect("it reads").expect("it was put");
                assert_eq!(record.data().map(<[u8]>::len), Some(work::JSON_BYTES));
            }
        })
    };
    latest(ROUNDS);
    say("latest of a random thing", median((0..ROUNDS).map(latest).collect()));
    if things * HISTORY > entries {
        return;
    }
    let history = |round_number: u64| {
        rate(round, || {
            for n in (round_number * round..(round_number + 1) * round).step_by(HISTORY as usize) {
                let history = db.history(&thing_of(mix(n) % entries, things)).expect("it reads");
                for record in history.rev().take(HISTORY as usize) {
                    assert_eq!(record.expect("it reads").data().map(<[u8]>::len), Some(work::JSON_BYTES));
                }
            }
        })
    };
    say("history of 100", median((0..ROUNDS).map(history).collect()));
}

/// What reads everything.
fn whole(db: &Db, say: impl Fn(&str, f64)) {
    let entries = db.stats().expect("it reads").entries;
    say("verify", rate(entries, || verify(db)));
    say("export", rate(entries, || drop(db.export(ExportOptions::new(), std::io::sink()).expect("it reads"))));
}

fn verify(db: &Db) {
    let report = db.verify(VerifyOptions::new()).expect("it reads");
    assert!(report.is_ok(), "{:?}", report.problems);
}

/// Durable puts of 1 MiB.
fn large(dir: &Path, scale: &Scale) {
    let db = work::create(dir, Durability::Durable);
    let data = "x".repeat(LARGE_BYTES - 2);
    let before = written_bytes();
    let a_second = rate(scale.large, || {
        for n in 0..scale.large {
            db.put(&format!("scan-{n}"), &format!("\"{data}\"")).expect("the database takes writes");
        }
    });
    db.close().expect("the disk takes it");
    let bytes = (scale.large * LARGE_BYTES as u64) as f64;
    println!("large,MB a second,{:.0}", a_second * LARGE_BYTES as f64 / 1e6);
    println!("large,bytes written a byte,{:.2}", (written_bytes() - before) as f64 / bytes);
}

/// How many a second.
fn rate(count: u64, act: impl FnOnce()) -> f64 {
    let start = Instant::now();
    act();
    count as f64 / start.elapsed().as_secs_f64()
}

/// Runs a task in a process of its own: milliseconds and the most memory in MiB.
fn start(task: &str, dir: &Path) -> (f64, u64) {
    let mut command = Command::new(std::env::current_exe().expect("this runs from a file"));
    let command = command.env(CHILD, format!("{task} {}", dir.display()));
    let start = Instant::now();
    let ran = command.output().expect("this program starts");
    let millis = start.elapsed().as_secs_f64() * 1e3;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    (millis, String::from_utf8_lossy(&ran.stdout).trim().parse().expect("it tells its memory"))
}

fn child(task: &str) {
    let (task, dir) = task.split_once(' ').expect("the parent names both");
    let dir = Path::new(dir);
    let stream = dir.with_extension("ndjson");
    match task {
        "import" => {
            let copy = dir.with_extension("copy");
            let db = work::create(&copy, Durability::Relaxed);
            let from = BufReader::new(File::open(&stream).expect("it was exported"));
            db.import(ImportOptions::new().trust(TrustPolicy::All), from).expect("it reads");
            db.close().expect("the disk takes it");
            std::fs::remove_file(&stream).expect("it was read");
            std::fs::remove_dir_all(&copy).expect("nobody has it open");
        }
        "put" => {
            let db = work::open(dir, Durability::Durable);
            db.put("plant-3/part-0001", &work::json(1)).expect("the database takes writes");
            db.close().expect("the disk takes it");
        }
        task => {
            let db = work::open(dir, Durability::Relaxed);
            match task {
                "verify" => verify(&db),
                "export" => {
                    let out = File::create(&stream).expect("there is room");
                    db.export(ExportOptions::new(), out).expect("it reads");
                }
                _ => {}
            }
        }
    }
    println!("{}", peak_rss_kib() >> 10);
}

/// The most memory that this process has had, in KiB.
fn peak_rss_kib() -> u64 {
    field("/proc/self/status", "VmHWM:")
}

/// What this process has had written to disks, in bytes.
fn written_bytes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

fn field(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

//! Every command, with one system call after the other that fails, or at which the
//! process is killed: the command says what went wrong and what helps, nothing that
//! was acknowledged is lost, nothing is left half done, and the command can be given
//! again.
//!
//! `strace` lets the calls fail; without it the test is skipped, and says so. All of
//! them take an hour, so each run takes some, by a seed; `THINGDB_FAULTS=all` takes
//! all, and `THINGDB_FAULTS_OF=NAME` those of the commands whose name contains NAME.

mod commands;
mod strace;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use commands::{Case, Entries, Goods};
use strace::{Fault, Ran};

use super::world::{Answer, World, skip};

/// How many faults a run tries if it is not told.
const TRIED: usize = 20;

/// Threads that try them: most of the time they wait for the disk.
const THREADS: usize = 3;

fn seed() -> u64 {
    let seed = std::env::var("THINGDB_TEST_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().expect("THINGDB_TEST_SEED is a number"));
    println!("faults: THINGDB_TEST_SEED={seed}");
    seed
}

/// A fault that is tried: of which case, what, and at which call.
type Try<'a> = (&'a Case, Fault, usize);

#[test]
fn a_call_that_fails_takes_nothing_that_was_acknowledged() {
    let goods = Goods::make();
    match strace::run(goods.world.thingdb(&["stats"]), Fault::error("fsync", "EIO"), 1) {
        Ok(Ran { answer, .. }) if answer.code != 0 && answer.stderr.contains("Input/output error") => {}
        Ok(Ran { answer, .. }) => return skip(&format!("strace lets no call fail: {}", answer.stderr.trim())),
        Err(problem) => return skip(&format!("strace: {problem}")),
    }
    let of = std::env::var("THINGDB_FAULTS_OF").unwrap_or_default();
    let cases: Vec<Case> = commands::cases().into_iter().filter(|case| case.name.contains(&of)).collect();
    let all = std::env::var("THINGDB_FAULTS").unwrap_or_default();
    let mut dice = seed() | 1;
    let mut roll = |sides: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        usize::try_from(dice % sides as u64).unwrap()
    };
    let counted: Vec<(&Case, strace::Counts)> = if all == "all" {
        cases.iter().map(|case| (case, counts(&goods, case))).collect()
    } else {
        // Of so many commands at the most the calls are counted.
        (0..all.parse().unwrap_or(TRIED).div_ceil(3))
            .map(|_| &cases[roll(cases.len())])
            .map(|case| (case, counts(&goods, case)))
            .collect()
    };
    let mut tries: Vec<Try<'_>> = Vec::new();
    for (case, counts) in &counted {
        for fault in Fault::ALL {
            tries.extend(counts.of(fault.call).map(|n| (*case, fault, n)));
        }
    }
    println!("{} faults in {} commands", tries.len(), counted.len());
    if all != "all" {
        let tried = all.parse().unwrap_or(TRIED);
        tries = (0..tried).map(|_| tries[roll(tries.len())]).collect();
    }
    let (next, told, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((case, fault, n)) = tries.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match check(&goods, case, *fault, *n) {
                        Ok(was_told) => drop(told.fetch_add(usize::from(was_told), Ordering::Relaxed)),
                        Err(what) => {
                            let what = format!("{}, {} {n}: {what}", case.name, fault.name());
                            println!("{what}");
                            wrong.lock().unwrap().push(what);
                        }
                    }
                }
            });
        }
    });
    let (wrong, told) = (wrong.into_inner().unwrap(), told.into_inner());
    println!("{} tried, {told} told, {} wrong", tries.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tries.len() < TRIED || told > 0, "calls that fail are told");
}

/// A call that is refused for a reason of the process, and not of the file, is no damage:
/// `verify` says that it could not be done, or what it says without that.
#[test]
fn a_passing_failure_to_open_a_file_is_no_damage() {
    let world = World::new();
    world.run(&["put", "x", "1"]).ok();
    let verify = || world.thingdb(&["verify", "--format", "table"]);
    let good = Answer::of(verify()).ok();
    let probe = strace::run(verify(), Fault::error("openat", "EMFILE"), 1);
    if !probe.is_ok_and(|ran| ran.answer.code == 127 || ran.answer.code == 1) {
        return skip("strace lets no call fail");
    }
    let calls = strace::count(verify(), world.path("")).unwrap().of("openat");
    let mut told = 0;
    for n in calls {
        let answer = strace::run(verify(), Fault::error("openat", "EMFILE"), n).unwrap().answer;
        match answer.code {
            0 => assert_eq!((&answer.stdout, &answer.stderr), (&good.stdout, &good.stderr), "{n}"),
            1 => {
                assert!(answer.stderr.starts_with("error[system]"), "{n}: {answer:?}");
                told += 1;
            }
            _ => panic!("{n}: {answer:?}"),
        }
    }
    assert!(told > 10, "{told} were told");
    // A directory that has lost its keyring and cannot be looked at is not made anew.
    world.shell("rm db/keyring db/keyring.copy").ok();
    let init = || world.thingdb(&["init", "db", "--actor", "bob", "--if-absent"]);
    for n in strace::count(world.thingdb(&["ls"]), world.path("")).unwrap().of("openat") {
        let answer = strace::run(init(), Fault::error("openat", "EMFILE"), n).unwrap().answer;
        assert!(answer.code != 0 && !world.path("db/keyring").exists(), "{n}: {answer:?}");
    }
}

/// The calls that a command makes.
fn counts(goods: &Goods, case: &Case) -> strace::Counts {
    let place = goods.place(case);
    let counts = strace::count(case.command(&place), place.path("")).unwrap();
    assert!(!counts.is_empty(), "{}", case.name);
    counts
}

/// Tries a fault. Says whether the command told it.
fn check(goods: &Goods, case: &Case, fault: Fault, n: usize) -> Result<bool, String> {
    let place = goods.place(case);
    let before = names_in(&place);
    let ran = strace::run(case.command(&place), fault, n).map_err(|problem| problem.to_string())?;
    let answer = ran.answer;
    let is_done = answer.code == 0;
    if !(ran.was_killed || fault.may_abort() && answer.code < 0) {
        told(case, &answer)?;
    }
    // Nobody lets calls fail any more.
    let again = Answer::of(case.command(&place));
    let expected: &[i32] = if is_done { case.when_done } else { case.again };
    if !expected.contains(&again.code) {
        return Err(format!("again: {again:?}\nfirst: {answer:?}"));
    }
    let refused = |line: &&str| line.contains("may be missing") || line.contains("read-only");
    if let Some(line) = again.stderr.lines().find(refused) {
        return Err(format!("again says {line}\nfirst: {answer:?}"));
    }
    if let Some(entries) = case.entries {
        let report = place.run(&["verify", "--json"]);
        let counted = (report.code == 0).then(|| report.json()["entries"].as_u64()).flatten();
        let acknowledged = u64::from(is_done) + u64::from(again.code == 0);
        let range = match entries {
            Entries::Stay(n) => n..=n,
            Entries::Grow { from, by } => from + acknowledged * by..=from + 2 * by,
        };
        if !counted.is_some_and(|counted| range.contains(&counted)) {
            return Err(format!("expected {range:?}: {report:?}\nfirst: {answer:?}\nagain: {again:?}"));
        }
        let written = place.run(&["put", "after", "1"]);
        if written.code != 0 || written.stderr.contains("warning[") {
            return Err(format!("nothing can be written: {written:?}\nfirst: {answer:?}\nagain: {again:?}"));
        }
    }
    (case.check)(&place).map_err(|problem| format!("{problem}\nfirst: {answer:?}\nagain: {again:?}"))?;
    // An error that passes is no damage: nothing good was moved aside, but for a file
    // of the keyring, which is there twice; and nothing that was begun is left.
    let after = names_in(&place);
    let left: Vec<_> = after
        .iter()
        .filter(|name| !before.contains(name))
        .filter(|name| {
            (name.contains("aside") && !name.contains("keyring") && !case.sets_aside)
                || name.ends_with(".new")
                || name.ends_with(".old")
        })
        .collect();
    if !left.is_empty() {
        return Err(format!("left behind: {left:?}\nfirst: {answer:?}"));
    }
    Ok(!is_done)
}

/// What a command says that could not do what it was asked to: what it was, in the
/// words of the system, and what helps.
fn told(case: &Case, answer: &Answer) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {answer:?}"));
    if answer.stderr.contains("panicked") || answer.stderr.contains("RUST_BACKTRACE") {
        return wrong("a panic");
    }
    if answer.stderr.contains("error[unexpected]") {
        return wrong("unexpected");
    }
    if answer.code == 0 || case.when_done.contains(&answer.code) || answer.code == 127 {
        return Ok(());
    }
    if !answer.stderr.contains("error[") && !answer.stderr.contains("\"error\"") {
        return wrong("no error");
    }
    // Nothing is to be done then.
    let is_done = ["only its report is missing", "is made\n", "has the new key"];
    if is_done.iter().any(|text| answer.stderr.contains(text)) {
        return Ok(());
    }
    if !answer.stderr.contains("hint: ") && !answer.stderr.contains("\"hint\"") {
        return wrong("no hint");
    }
    Ok(())
}

/// All names below a directory.
fn names_in(place: &World) -> Vec<String> {
    fn walk(dir: &Path, names: &mut Vec<String>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            names.push(entry.path().display().to_string());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                walk(&entry.path(), names);
            }
        }
    }
    let mut names = Vec::new();
    walk(&place.path(""), &mut names);
    names
}

/// Copies files with everything that they are.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status().unwrap();
    assert!(status.success(), "{} to {}", from.display(), to.display());
}

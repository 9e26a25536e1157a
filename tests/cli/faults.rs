//! System calls that fail, one at a time, wherever a command makes them: it says
//! so without a word of a panic, nothing that was acknowledged is lost, and the
//! next command finds everything in order.
//!
//! `strace` lets them fail; without it the test is skipped, and says so.

use std::process::Command;

use super::world::{Answer, World, skip};

/// What fails, and with what. Reads are not among them: where one of sled's own
/// fails that succeeded just before, sled clears the segment (see
/// `docs/durability.md`).
const FAULTS: [(&str, &str); 7] = [
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("write", "EIO"),
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("rename", "EIO"),
    ("unlink", "EIO"),
];

/// Runs a command whose `n`-th call fails.
fn with_fault(world: &World, (call, error): (&str, &str), n: usize, args: &[&str]) -> std::io::Result<Answer> {
    let plain = world.thingdb(args);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:error={error}:when={n}")]);
    strace.arg(plain.get_program()).args(plain.get_args());
    if let Some(dir) = plain.get_current_dir() {
        strace.current_dir(dir);
    }
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let output = strace.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Answer { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

#[test]
fn a_call_that_fails_takes_nothing_that_was_acknowledged() {
    let world = World::new();
    world.run(&["put", "x", "0"]).ok();
    match with_fault(&world, ("fsync", "EIO"), 1, &["put", "x", "1"]) {
        Ok(answer) if answer.code != 0 && answer.stderr.contains("Input/output error") => {}
        Ok(answer) => return skip(&format!("strace lets no call fail: {}", answer.stderr.trim())),
        Err(problem) => return skip(&format!("strace: {problem}")),
    }
    let entries = || world.run(&["stats", "--json"]).ok().json()["entries"].as_u64().unwrap();
    let (mut told, mut failed) = (entries(), 0);
    for fault in FAULTS {
        for n in [1, 2, 3, 5, 8, 13] {
            let what = format!("{fault:?} {n}");
            let read = with_fault(&world, fault, n, &["stats", "--json"]).unwrap();
            assert!(!read.stderr.contains("panicked at"), "{what}: {read:?}");
            if read.code == 0 {
                assert_eq!(read.json()["entries"].as_u64(), Some(told), "{what}: {read:?}");
            }
            let wrote = with_fault(&world, fault, n, &["put", "x", "1"]).unwrap();
            assert!(!wrote.stderr.contains("panicked at"), "{what}: {wrote:?}");
            failed += u64::from(wrote.code != 0) + u64::from(read.code != 0);
            let now = entries();
            let acknowledged = u64::from(wrote.code == 0);
            assert!((told + acknowledged..=told + 1).contains(&now), "{what}: {told}, then {now}: {wrote:?}");
            told = now;
            // An error that passes is no damage: nothing good was moved aside.
            let names = std::fs::read_dir(world.path("db")).unwrap().map(|entry| entry.unwrap().file_name());
            let aside: Vec<_> = names.filter(|name| name.to_string_lossy().contains("aside")).collect();
            assert!(aside.is_empty(), "{what}: {aside:?}: {read:?} {wrote:?}");
        }
    }
    assert!(failed > 20, "calls that fail are told: {failed}");
    assert_eq!(world.run(&["verify", "--json"]).ok().json()["ok"], true);
}

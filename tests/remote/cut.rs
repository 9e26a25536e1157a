//! A server whose ledger is not all that was written says so, as the database does.

use std::fs;

use serde_json::Value;

use super::reading::{Bytes, remote, with_token};
use super::running::Running;
use super::world::World;

/// What the database says here and as a server is the same.
fn told_alike(world: World, code: &str, detail: &str) {
    let questions: [&[&str]; 6] = [
        &["ls", "--json"],
        &["log", "lamp", "--json"],
        &["get", "nothing", "--json"],
        &["log", "nothing", "--json"],
        &["stats", "--json"],
        &["export", "-o", "out.ndjson", "--json"],
    ];
    let here = questions.map(|args| world.run(args));
    assert!(here[0].stderr.contains(detail), "{:?}", here[0]);
    let server = Running::start(world, &[]);
    for (args, here) in questions.iter().zip(here) {
        let there = Bytes::of(remote(&server, args));
        // What leads on is to be done where the database is.
        let error = |said: &str| {
            let line = said.lines().find(|line| line.starts_with("{\"error\"")).unwrap_or_default();
            let mut told: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{args:?}: {said}"));
            told["error"].as_object_mut().unwrap().remove("hint");
            told
        };
        assert_eq!((there.code, here.code), (Some(6), 6), "{args:?}: {} {here:?}", there.stderr);
        assert_eq!(error(&there.stderr), error(&here.stderr), "{args:?}");
        assert_eq!(error(&here.stderr)["error"]["code"], code, "{args:?}");
    }
    Bytes::of(remote(&server, &["get", "lamp"])).exit(0);
    server.stop();
}

#[test]
fn of_a_ledger_that_was_cut() {
    let world = World::new();
    with_token(&world, "read,export", &[]);
    world.run(&["put", "lamp", "1"]).ok();
    world.shell("cp -a db older").ok();
    world.run(&["put", "lamp", "2"]).ok();
    world.shell("cp db/checkpoint older/checkpoint && rm -r db && mv older db").ok();
    told_alike(world, "truncated", "the ledger has 1");
}

/// Entries of the beginning are lost, where the tree has the ids, or of the end.
#[test]
fn of_a_ledger_with_holes() {
    for (entries, detail) in [(40, "writing is refused"), (200, " is lost")] {
        let world = World::new();
        with_token(&world, "read,export", &[]);
        let data = "x".repeat(900);
        let lines: String = (0..entries).map(|n| format!("{{\"thing\":\"lamp\",\"data\":\"{n}{data}\"}}\n")).collect();
        world.feed(&["append", "--batch", "1"], &lines).ok();
        let journal = fs::read_dir(world.path("db/journal")).unwrap().map(|file| file.unwrap().path());
        let file = journal.filter(|path| path.file_name().is_some_and(|name| name.len() == 20)).min().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        bytes[20_000] ^= 1;
        fs::write(&file, bytes).unwrap();
        fs::remove_dir_all(world.path("db/store")).unwrap();
        told_alike(world, "holes", detail);
    }
}

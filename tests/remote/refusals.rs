//! Tokens and certificates that are not right, servers that are not there.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::reading::{Bytes, bare, keep, remote, url, with_token};
use super::running::Running;
use super::world::World;

/// Every command that reads, with what it asks for.
const READS: [&[&str]; 10] = [
    &["get", "part-42"],
    &["log", "part-42"],
    &["ls"],
    &["show", "0000000000"],
    &["diff", "part-42", "1", "1"],
    &["stats"],
    &["checkpoint"],
    &["forks"],
    &["export"],
    &["export", "-o", "exported"],
];

#[test]
fn a_token_that_does_not_hold_is_told_with_its_exit_code() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    with_token(&world, "read,export", &[]);
    let expired = Running::token(&world, "expired", &["--scope", "read,export", "--expires", "1s"]);
    let writer = Running::token(&world, "writer", &["--scope", "write"]);
    let mistyped = format!("{}x", &writer[..writer.len() - 1]);
    let server = Running::start(world, &[]);
    while server.get(&expired, "/readyz").status != 401 {}
    for (name, token) in [("expired", &expired), ("writer", &writer), ("mistyped", &mistyped)] {
        keep(&server.world, name, token);
        for args in READS {
            // Any token that holds may ask for a checkpoint.
            if name == "writer" && args == ["checkpoint"] {
                continue;
            }
            let mut command = bare(&server.world, args);
            command.args(["--url", &url(&server), "--card", "card", "--token-file", name]);
            let answer = Bytes::of(command).exit(13).says("error[token-refused]").says("hint: ");
            // A token is made where the server is.
            let is_there = |line: &str| line.contains("at the other side: thingdb token new --name NAME --scope ");
            let hints: Vec<&str> = answer.stderr.lines().filter(|line| line.contains("thingdb token new")).collect();
            assert!(
                hints.iter().all(|line| is_there(line)) && hints.len() == usize::from(name != "mistyped"),
                "{hints:?}"
            );
            assert!(answer.stdout.is_empty() && !answer.stderr.contains("tdb_"), "{args:?} {answer:?}");
        }
    }
    assert!(!server.world.path("exported").exists());
    server.stop();
}

#[test]
fn a_token_for_a_part_reads_that_part() {
    let world = World::new();
    for thing in ["part-42", "part-41", "lamp-2"] {
        world.run(&["put", thing, "1"]).ok();
    }
    let lamp = world.run(&["get", "lamp-2"]).ok().json()["id"].as_str().unwrap().to_owned();
    let part = world.run(&["show", world.run(&["get", "part-42"]).ok().json()["id"].as_str().unwrap()]).ok().stdout;
    let id = world.run(&["get", "part-42"]).ok().json()["id"].as_str().unwrap().to_owned();
    with_token(&world, "read,export", &["--things", "part-"]);
    let server = Running::start(world, &[]);
    let read = |args: &[&str]| Bytes::of(remote(&server, args));
    let listed = read(&["ls", "--format", "raw"]).exit(0).says("that begin with part-: all others were left out");
    assert_eq!(listed.text(), "part-41\npart-42\n");
    for args in [&["ls", "part-4"][..], &["ls", "-q"], &["get", "part-42"], &["export", "--prefix", "part-", "-q"]] {
        assert_eq!(read(args).exit(0).stderr, "", "{args:?}");
    }
    read(&["forks"]).exit(0).says("left out");
    assert_eq!(read(&["show", &id[..20]]).exit(0).text(), part);
    read(&["show", &lamp]).exit(3);
    read(&["show", &lamp[..20]]).exit(3);
    read(&["get", "lamp-2"]).exit(13).says("part-");
    read(&["log", "lamp-2"]).exit(13);
    read(&["stats"]).exit(13).says("part-");
    // Names of things that the token is not for are no hints.
    let answer = read(&["get", "part-43"]).exit(3).says("similar names: part-41, part-42");
    assert!(!answer.stderr.contains("lamp"), "{answer:?}");
    let exported = read(&["export"]).exit(0).says("left out").text();
    assert!(exported.contains("part-41") && !exported.contains("lamp"), "{exported}");
    server.stop();
}

#[test]
fn whoever_has_another_certificate_sees_no_token() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    with_token(&world, "read,export", &[]);
    let other = World::new().run(&["card"]).ok().stdout;
    world.write("other", other);
    let server = Running::start(world, &[]);
    let before = server.log().len();
    for args in READS {
        let mut command = bare(&server.world, args);
        command.args(["--url", &url(&server), "--card", "other", "--token-file", "token"]);
        Bytes::of(command).exit(14).says("error[wrong-peer]").says("is pinned");
    }
    assert!(!server.log()[before..].contains("\"request\""), "{}", server.log());
    assert!(!server.world.path("exported").exists());
    let (url, world) = (url(&server), server.stop());
    for args in READS {
        let mut command = bare(&world, args);
        command.args(["--url", &url, "--card", "card", "--token-file", "token"]);
        Bytes::of(command).exit(14).says("error[unreachable]").says("at the other side: thingdb serve --listen");
    }
    assert!(!world.path("exported").exists());
}

#[test]
fn an_export_from_behind_the_end_is_refused_as_it_is_here() {
    let world = World::new();
    world.run(&["put", "part-42", "1"]).ok();
    with_token(&world, "export", &[]);
    let mut here = world.thingdb(&["export", "--since", "2"]);
    here.arg("--no-input");
    let here = Bytes::of(here).exit(2).says("error[invalid-input]").says("the ledger has 1 entry");
    let server = Running::start(world, &[]);
    assert_eq!(Bytes::of(remote(&server, &["export", "--since", "2"])), here);
    Bytes::of(remote(&server, &["export", "--since", "2", "-o", "exported"])).exit(2);
    assert!(!server.world.path("exported").exists());
    Bytes::of(remote(&server, &["export", "--since", "1"])).exit(0).says("--since 1");
    server.stop();
}

#[test]
fn an_export_that_is_interrupted_leaves_no_file() {
    // A server that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::empty();
    keep(&world, "token", "tdb_something");
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut command = bare(&world, &["export", "-o", "exported", "--url", &url, "--token-file", "token"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let (held, _) = silent.accept().unwrap();
    let start = Instant::now();
    let interrupt = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(30), "the line may stall for longer than that");
    drop(held);
    let left: Vec<_> = fs::read_dir(world.path(".")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "token" || name == "passphrase"), "{left:?}");
}

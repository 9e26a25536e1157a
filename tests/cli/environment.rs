//! The environment of a process: empty variables, a directory that is gone, an
//! output that is full, who may look at it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use crate::cli::world::{Answer, CANARY, WEAK, World, skip};

#[test]
fn empty_variables_are_unset_ones() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    let names = [
        "THINGDB_TOKEN_FILE",
        "THINGDB_ACTOR",
        "THINGDB_URL",
        "THINGDB_CARD",
        "THINGDB_FORMAT",
        "THINGDB_WAIT",
        "THINGDB_PASSPHRASE",
        "THINGDB_PASSPHRASE_COMMAND",
        "CREDENTIALS_DIRECTORY",
        "NO_COLOR",
        "CLICOLOR_FORCE",
    ];
    let with_empty = |args: &[&str], names: &[&str]| {
        let mut command = world.thingdb(args);
        for name in names {
            command.env(name, "");
        }
        Answer::of(command)
    };
    for name in names {
        assert_eq!(with_empty(&["get", "lamp", "--raw"], &[name]).ok().stdout, "1", "{name}");
        with_empty(&["put", "lamp", "1"], &[name]).ok();
    }
    assert_eq!(with_empty(&["get", "lamp", "--raw"], &names).ok().stdout, "1");
    with_empty(&["put", "lamp", "1"], &names).ok();
    // Without these two there is nothing to go on with, as if they were not set.
    with_empty(&["get", "lamp"], &["THINGDB_DIR"]).exit(2).says("neither --db nor THINGDB_DIR names one");
    with_empty(&["--no-input", "get", "lamp"], &["THINGDB_PASSPHRASE_FILE"]).exit(2).says("error[no-passphrase]");
    // What help says does not depend on it.
    let help = with_empty(&["put", "--help"], &names).ok();
    assert!(help.stdout.contains("--actor <NAME>"), "{help:?}");
    // Nor does an error that has nothing to do with it.
    with_empty(&["put", "lamp"], &names).exit(2).says("<JSON|@FILE|->");
}

#[test]
fn empty_variables_are_unset_ones_beside_a_server() {
    let world = World::new();
    let mut server = serving(world.thingdb(&["serve"]));
    let mut command = world.thingdb(&["put", "lamp", "1"]);
    for name in ["THINGDB_ACTOR", "THINGDB_FORMAT", "THINGDB_URL", "THINGDB_WAIT"] {
        command.env(name, "");
    }
    Answer::of(command).ok();
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_working_directory_that_was_deleted_is_named() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    let gone = |line: &str| world.shell(&format!("mkdir gone && cd gone && rmdir ../gone && {line}"));
    for line in ["thingdb --db ../db get lamp", "thingdb --db db stats", "thingdb init new"] {
        gone(line).exit(2).says("the working directory was deleted").says("hint: cd ");
    }
    for line in ["thingdb put lamp @file.json", "thingdb import file.ndjson", "thingdb export -o out.ndjson"] {
        let answer = gone(line).says("the working directory was deleted");
        assert_ne!(answer.code, 0, "{answer:?}");
    }
    // Whole paths do not need it.
    assert_eq!(gone("thingdb get lamp --raw").ok().stdout, "1");
}

#[test]
fn a_full_output_does_not_hide_what_was_done() {
    let world = World::new();
    let full = |line: &str| world.shell(&format!("{line} > /dev/full")).exit(16).says("stdout: No space left");
    let answer = full("thingdb put lamp 1").says("the entry is stored: lamp #1 ");
    assert!(!answer.stderr.contains("again"), "it would be stored twice: {answer:?}");
    full("thingdb put lamp 2 --relaxed").says("the entry is stored: lamp #2 ");
    assert_eq!(world.run(&["get", "lamp", "--raw"]).ok().stdout, "2");
    world.write("in.ndjson", "{\"thing\":\"a\",\"data\":1}\n{\"thing\":\"b\",\"data\":1}\n");
    full("thingdb append in.ndjson").says("2 entries are stored");
    assert_eq!(world.run(&["ls"]).ok().lines().len(), 3);
    world.shell("thingdb export -o out.ndjson && thingdb card > card").ok();
    let import = "thingdb init other --kdf-memory 8K --kdf-passes 1 --kdf-lanes 1 --actor bob > /dev/null && \
                  thingdb --db other peer add origin @card --yes > /dev/null && thingdb --db other import out.ndjson";
    full(import).says("4 entries are stored");
    full("thingdb actor new carol").says("what was asked for is done");
    assert!(world.run(&["actor", "ls"]).ok().stdout.contains("carol"));
    full("thingdb token new --name hall --scope read").says("thingdb token rm hall");
    full("thingdb recovery-key").says("nobody has seen it");
    // What changes nothing has nothing to say.
    let answer = full("thingdb get lamp");
    assert!(!answer.stderr.contains("stored") && !answer.stderr.contains("done"), "{answer:?}");
}

#[test]
fn a_full_output_beside_a_server_does_not_hide_what_was_done() {
    let world = World::new();
    let mut server = serving(world.thingdb(&["serve"]));
    let answer = world.shell("thingdb put lamp 1 > /dev/full");
    answer.exit(16).says("stdout: No space left").says("the entry is stored: lamp #1 ");
    server.kill().unwrap();
    server.wait().unwrap();
}

/// A server that has said that it serves.
fn serving(mut command: std::process::Command) -> Child {
    let mut server = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stderr.as_mut().unwrap()), &mut said).unwrap();
    assert!(said.contains("serving"), "{said}");
    server
}

#[test]
fn the_environment_of_a_server_does_not_hold_the_passphrase() {
    if !fs::exists("/proc/self/environ").unwrap_or(false) {
        return skip("there is no /proc to look into");
    }
    let world = World::new();
    let mut command = world.thingdb(&["serve"]);
    command.env_remove("THINGDB_PASSPHRASE_FILE").env("THINGDB_PASSPHRASE", CANARY).env("THINGDB_KEPT", "yes");
    let mut server = serving(command);
    let of = |name: &str| fs::read(format!("/proc/{}/{name}", server.id())).unwrap();
    let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
    let (environ, arguments) = (of("environ"), of("cmdline"));
    assert!(!has(&environ, CANARY) && !has(&environ, "THINGDB_PASSPHRASE="));
    assert!(has(&environ, "THINGDB_KEPT=yes") && has(&arguments, "serve") && !has(&arguments, CANARY));
    assert!(String::from_utf8_lossy(&of("comm")).starts_with("thingdb"));
    // It is open all the same.
    let mut put = world.thingdb(&["--no-input", "put", "lamp", "1"]);
    put.env_remove("THINGDB_PASSPHRASE_FILE");
    Answer::of(put).ok();
    server.kill().unwrap();
    server.wait().unwrap();
    // One that is not needed does not stay either.
    let mut command = world.thingdb(&["serve"]);
    command.env("THINGDB_PASSPHRASE", CANARY);
    let mut server = serving(command);
    assert!(!has(&fs::read(format!("/proc/{}/environ", server.id())).unwrap(), CANARY));
    server.kill().unwrap();
    server.wait().unwrap();
    // A wrong one is still a wrong one.
    let mut command = world.thingdb(&["serve"]);
    command.env_remove("THINGDB_PASSPHRASE_FILE").env("THINGDB_PASSPHRASE", "another passphrase");
    Answer::of(command).exit(12);
}

#[test]
fn the_memory_of_a_server_is_in_no_dump() {
    if !fs::exists("/proc/self/limits").unwrap_or(false) {
        return skip("there is no /proc to look into");
    }
    let world = World::empty();
    let user = fs::metadata("/proc/self").unwrap().uid();
    // Root's own files look the same either way.
    let as_user = if user == 0 { 65_534 } else { user };
    if user == 0 {
        std::os::unix::fs::chown(world.path(""), Some(as_user), None).unwrap();
        std::os::unix::fs::chown(world.path("passphrase"), Some(as_user), None).unwrap();
    }
    let run = |args: &[&str]| {
        let mut command = world.thingdb(args);
        if user == 0 {
            command.uid(as_user).gid(as_user);
        }
        command
    };
    if !run(&["--version"]).output().is_ok_and(|output| output.status.success()) {
        return skip("the user nobody cannot run the program where it lies");
    }
    Answer::of(run(&[&["init", "--actor", "alice"][..], &WEAK].concat())).ok();
    let mut server = serving(run(&["serve"]));
    let at = format!("/proc/{}", server.id());
    let limits = fs::read_to_string(format!("{at}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // What belongs to the user of the process can be read by all of the user's
    // processes; of one that cannot be dumped it belongs to root.
    assert_eq!(fs::metadata(format!("{at}/environ")).unwrap().uid(), 0);
    server.kill().unwrap();
    server.wait().unwrap();
}

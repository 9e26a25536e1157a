//! Several commands on one database: each gets its turn.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::cli::world::{Answer, World, skip};

fn hold(world: &World) -> File {
    let lock = File::options().read(true).write(true).open(world.path("db/LOCK")).unwrap();
    lock.lock().unwrap();
    lock
}

fn piped(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn puts_at_once_all_succeed() {
    let world = World::new();
    let put = |n: u32| {
        let mut command = world.thingdb(&["put", "lamp", &n.to_string()]);
        // The machine may have little to give to each.
        command.env("THINGDB_WAIT", "300");
        piped(command)
    };
    let children: Vec<Child> = (0..10).map(put).collect();
    let mut seqs: Vec<u64> =
        children.into_iter().map(|child| Answer::wait(child).ok().json()["seq"].as_u64().unwrap()).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
}

#[test]
fn who_does_not_want_to_wait_is_told_who_is_there() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    let lock = hold(&world);
    world.run(&["--wait", "0", "get", "lamp"]).exit(11).says("error[locked]").says("hint: thingdb --wait SECONDS");
    world.run(&["--wait", "0.3", "get", "lamp"]).exit(11).says("waited 0.3 s");
    for bad in ["-1", "x", "inf", "NaN", "86401"] {
        world.run(&[&format!("--wait={bad}"), "get", "lamp"]).exit(2);
    }
    drop(lock);
    world.run(&["--wait", "0", "get", "lamp"]).ok();
}

/// A command on a terminal, which tells what it waits for.
fn on_terminal(world: &World, line: &str) -> Option<(Child, BufReader<std::process::ChildStdout>)> {
    if Command::new("script").arg("--version").output().is_err() {
        skip("there is no script to make a terminal with");
        return None;
    }
    let mut command = world.command("timeout");
    command.args(["120", "script", "-qec", line, "/dev/null"]).env("TERM", "xterm");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut shown = String::new();
    while !shown.contains("waiting for ") {
        assert!(output.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    Some((child, output))
}

#[test]
fn a_person_is_told_what_a_command_waits_for() {
    let world = World::new();
    world.run(&["put", "lamp", "\"shines\""]).ok();
    let lock = hold(&world);
    let Some((mut child, mut output)) = on_terminal(&world, "thingdb --wait 100 get lamp --raw") else { return };
    drop(lock);
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("shines"), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupt_ends_the_wait() {
    let world = World::new();
    let _lock = hold(&world);
    let Some((mut child, mut output)) = on_terminal(&world, "thingdb --wait 100 get lamp; echo \"rc $?\"") else {
        return;
    };
    child.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    // A shell that is interrupted with its command says nothing more.
    assert!(!rest.contains("rc 0") && !rest.contains("rc 11"), "{rest}");
    child.wait().unwrap();
}

/// A program that started it learns of an exit code, not of a signal.
#[test]
fn an_interrupted_wait_has_an_exit_code() {
    let world = World::new();
    let _lock = hold(&world);
    for (signal, args) in [("-INT", &["get", "lamp"][..]), ("-TERM", &["put", "lamp", "1"])] {
        let mut child = piped(world.thingdb(&[&["--wait", "100"], args].concat()));
        // Once it takes signals; before, they end it as they end all.
        let takes = |line: &str| {
            let mask = u64::from_str_radix(line.strip_prefix("SigCgt:")?.trim(), 16).ok()?;
            Some(mask & 1 << 1 != 0 && mask & 1 << 14 != 0)
        };
        let status = format!("/proc/{}/status", child.id());
        loop {
            let Ok(text) = std::fs::read_to_string(&status) else {
                child.kill().unwrap();
                child.wait().unwrap();
                return skip("the system does not tell which signals a process takes");
            };
            match text.lines().find_map(takes) {
                Some(true) => break,
                Some(false) => std::thread::yield_now(),
                None => panic!("it ended: {:?}", Answer::wait(child)),
            }
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        Answer::wait(child).exit(130);
    }
}

/// The loop that everybody writes.
#[test]
fn a_loop_over_what_ls_prints_can_read_each_thing() {
    let world = World::new();
    let lines: String = (0..3_000).map(|n| format!("{{\"thing\":\"t{n}\",\"data\":{n}}}\n")).collect();
    world.feed(&["append"], lines).ok();
    let each =
        "while read -r name; do thingdb --wait 300 get \"$name\" --raw; echo; n=$((n+1)); [ $n = 3 ] && break; done";
    let answer = world.shell(&format!("thingdb ls --format raw | {{ {each}; }}")).ok();
    assert_eq!(answer.stdout, "0\n1\n10\n");
}

/// What waits for a slow reader is not all in memory, and not for others to read.
#[test]
fn a_slow_reader_does_not_hold_the_database() {
    let world = World::new();
    let line = |n: u32| format!("{{\"thing\":\"lamp\",\"data\":[\"watchword-{n}\",\"{}\"]}}\n", "x".repeat(1 << 20));
    world.feed(&["append"], (0..7).map(line).collect::<String>()).ok();
    world.run(&["put", "door", "\"shut\""]).ok();
    let mut was_kept = !std::fs::exists("/proc/self/fd").unwrap_or(false);
    for args in [&["log", "lamp"][..], &["get", "lamp"]] {
        let mut child = piped(world.thingdb(args));
        let mut output = BufReader::new(child.stdout.take().unwrap());
        // It has begun, and is not read any further.
        let mut first = [0; 1];
        output.read_exact(&mut first).unwrap();
        assert_eq!(world.run(&["--wait", "300", "get", "door", "--raw"]).ok().stdout, "\"shut\"");
        assert!(child.try_wait().unwrap().is_none(), "it did not wait for its reader");
        // The file that nobody can name, where there is a /proc to see it.
        let files = std::fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
        for file in files.map(|file| file.path()) {
            if std::fs::read_link(&file).is_ok_and(|name| name.to_string_lossy().ends_with("(deleted)")) {
                let bytes = std::fs::read(&file).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(bytes.len() > 1 << 20 && !text.contains("watchword-") && !text.contains("xxxxxxxxxx"));
                was_kept = true;
            }
        }
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        let count = rest.matches("watchword-").count();
        assert_eq!(count, if args[0] == "get" { 1 } else { 7 }, "{args:?}");
        assert!(child.wait().unwrap().success());
    }
    assert!(was_kept, "nothing was kept on the disk");
}

#[test]
fn what_is_said_keeps_its_order_in_one_pipe() {
    let world = World::new();
    let lines: String = (0..200).map(|n| format!("{{\"thing\":\"t{n}\",\"data\":{n}}}\n")).collect();
    world.feed(&["append"], lines).ok();
    let answer = world.shell("thingdb ls --limit 100 2>&1 | cat").ok();
    assert_eq!(answer.stdout.lines().count(), 101);
    assert!(answer.stdout.lines().last().unwrap().contains("there are more"), "{answer:?}");
    let answer = world.shell("thingdb ls | head -n 1").ok();
    assert!(answer.stderr.is_empty(), "{answer:?}");
}

/// A server, which has the database when this returns.
fn serve(world: &World) -> Child {
    let mut server = world.thingdb(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(server.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("serving"), "{said}");
    server
}

/// Starts a command that gets as far as its passphrase, then a server, and then
/// lets the command go on.
fn overtaken(world: &World, args: &[&str], input: &[u8]) -> Answer {
    let pipe = world.path("pipe");
    let _ = std::fs::remove_file(&pipe);
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = world.thingdb(&["--passphrase-command", "cat pipe"]);
    command.args(args).stdin(Stdio::piped());
    let mut child = piped(command);
    child.stdin.take().unwrap().write_all(input).unwrap();
    // It is open once the command waits at its other end.
    let mut passphrase = File::options().write(true).open(&pipe).unwrap();
    let mut server = serve(world);
    passphrase.write_all(format!("{}\n", crate::cli::world::CANARY).as_bytes()).unwrap();
    drop(passphrase);
    let answer = Answer::wait(child);
    server.kill().unwrap();
    server.wait().unwrap();
    answer
}

#[test]
fn a_command_that_a_server_overtakes_runs_in_it() {
    let world = World::new();
    let answer = overtaken(&world, &["put", "lamp", "-"], br#"{"n":12345678901234567890}"#).ok();
    assert_eq!(answer.json()["seq"], 1);
    assert_eq!(world.run(&["get", "lamp", "--raw"]).ok().stdout, r#"{"n":12345678901234567890}"#);
    let answer = overtaken(&world, &["doctor"], b"").ok();
    assert_eq!(answer.lines().len(), 1, "{answer:?}");
    assert!(answer.stdout.contains("holds the database, and runs this"), "{answer:?}");
}

/// Half of an input would look like a whole one.
#[test]
fn an_input_that_was_begun_is_not_handed_over() {
    let world = World::new();
    world.run(&["put", "lamp", "1"]).ok();
    let stream = world.run(&["export"]).ok().stdout;
    let answer = overtaken(&world, &["import", "-"], stream.as_bytes());
    assert!(answer.stdout.is_empty(), "{answer:?}");
    answer.exit(11).says("hint: run the command again");
}

#[test]
fn a_command_waits_for_a_server_that_starts() {
    let world = World::new();
    world.run(&["put", "lamp", "\"shines\""]).ok();
    let lock = hold(&world);
    // It has no passphrase: only a server can answer it. The place of the lock is
    // given from hand to hand, so there is no moment at which nobody has it.
    let mut command = world.thingdb(&["--no-input", "--wait", "100", "get", "lamp", "--raw"]);
    command.env_remove("THINGDB_PASSPHRASE_FILE");
    let asked = piped(command);
    let other = World::new();
    other.run(&["put", "lamp", "\"of the server\""]).ok();
    let mut server = serve(&other);
    // As if that server were the one of this directory.
    std::fs::rename(other.path("db/socket"), world.path("db/socket")).unwrap();
    assert_eq!(Answer::wait(asked).ok().stdout, "\"of the server\"");
    drop(lock);
    server.kill().unwrap();
    server.wait().unwrap();
}

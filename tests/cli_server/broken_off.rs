//! Commands that are broken off: by Ctrl-C, by the death of the client, by that
//! of the server. What was acknowledged is stored.

use std::io::{BufRead, BufReader, Write};
use std::process::Child;
use std::thread;

use super::server::{Server, client, done_at_least, piped, signal, through};
use crate::world::{Answer, World};

/// An append that is fed without end until its source is closed.
struct Append {
    child: Child,
    talk: BufReader<std::process::ChildStderr>,
    feeder: thread::JoinHandle<()>,
}

impl Append {
    fn start(world: &World) -> Self {
        let mut child = piped(client(world, &["append", "--batch", "50", "--progress", "json"]));
        let mut input = child.stdin.take().unwrap();
        let feeder = thread::spawn(move || {
            for n in 0_u64.. {
                if writeln!(input, "{{\"thing\":\"t-{}\",\"data\":{{\"n\":{n}}}}}", n % 7).is_err() {
                    return;
                }
            }
        });
        let talk = BufReader::new(child.stderr.take().unwrap());
        Self { child, talk, feeder }
    }

    /// Its answer, and what it said since it was asked last.
    fn end(self) -> (Answer, String) {
        let Self { child, talk, feeder } = self;
        let rest = thread::spawn(move || std::io::read_to_string(talk).unwrap());
        let answer = Answer::wait(child);
        feeder.join().unwrap();
        (answer, rest.join().unwrap())
    }
}

fn entries(world: &World) -> u64 {
    world.run(&["verify"]).ok().json()["entries"].as_u64().unwrap()
}

#[test]
fn an_interrupted_append_has_stored_what_it_reports() {
    for name in ["INT", "TERM"] {
        let world = World::new();
        let server = Server::start(&world);
        let mut append = Append::start(&world);
        let done = done_at_least(&mut append.talk, 1);
        signal(name, append.child.id());
        let (answer, rest) = append.end();
        let summary = answer.exit(130).json();
        let added = summary["added"].as_u64().unwrap();
        assert!(added >= done && summary["interrupted"] == true && summary["lines"] == added, "{summary}");
        assert!(rest.contains("error[interrupted]") && rest.contains("the next line of the input"), "{rest}");
        assert_eq!(through(&world, &["stats"]).ok().json()["entries"], added);
        server.stop();
        assert_eq!(entries(&world), added);
    }
}

#[test]
fn a_killed_client_leaves_what_was_acknowledged_and_a_server_that_works() {
    let world = World::new();
    let server = Server::start(&world);
    let mut append = Append::start(&world);
    let done = done_at_least(&mut append.talk, 200);
    append.child.kill().unwrap();
    append.end();
    through(&world, &["put", "after", "1"]).ok();
    // Its command ends, although nobody closes what it reads: the server stops
    // with no command left in it.
    server.stop();
    assert!(entries(&world) > done);
}

#[test]
fn a_client_that_is_killed_while_its_source_is_silent_ends_its_command() {
    let world = World::new();
    let server = Server::start(&world);
    let mut appends = Vec::new();
    for args in [&["append", "--progress", "json"][..], &["import", "-"], &["put", "x", "-"]] {
        appends.push(piped(client(&world, args)));
    }
    // Kept open on this side, so that no end of file ends them.
    let mut sources: Vec<_> = appends.iter_mut().map(|child| child.stdin.take().unwrap()).collect();
    writeln!(sources[0], "{{\"thing\":\"a\",\"data\":1}}").unwrap();
    done_at_least(&mut BufReader::new(appends[0].stderr.take().unwrap()), 1);
    for mut child in appends {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    server.stop();
    drop(sources);
    assert_eq!(entries(&world), 1);
}

#[test]
fn a_reader_who_never_reads_does_not_keep_the_server() {
    let world = World::new();
    let server = Server::start(&world);
    let lines: String = (0..20_000).map(|n| format!("{{\"thing\":\"a\",\"data\":\"{n:0100}\"}}\n")).collect();
    world.feed(&["append"], lines).ok();
    let mut log = piped(client(&world, &["log", "a"]));
    let mut output = BufReader::with_capacity(64, log.stdout.take().unwrap());
    output.read_until(b'\n', &mut Vec::new()).unwrap();
    // It ends at once, by the signal or with its exit code.
    signal("INT", log.id());
    assert!(matches!(log.wait().unwrap().code(), None | Some(130)));
    server.stop();
    drop(output);
}

#[test]
fn a_killed_server_leaves_what_was_acknowledged() {
    let world = World::new();
    for round in 1..=3 {
        let mut server = Server::start(&world);
        let before = through(&world, &["stats"]).ok().json()["entries"].as_u64().unwrap();
        let mut append = Append::start(&world);
        let done = done_at_least(&mut append.talk, 100);
        server.kill();
        let (answer, rest) = append.end();
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(rest.contains("error[server-gone]") && rest.contains("hint: "), "{rest}");
        // The progress that came last counts, too.
        let said = rest.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let done = said.filter_map(|progress| progress["done"].as_u64()).fold(done, u64::max);
        let stored = entries(&world);
        assert!(stored >= before + done, "round {round}: {stored} entries, {before} before and {done} acknowledged");
    }
}

#[test]
fn a_server_that_ends_asks_its_commands_to_stop() {
    let world = World::new();
    let server = Server::start(&world);
    let mut append = Append::start(&world);
    done_at_least(&mut append.talk, 100);
    server.stop();
    let (answer, rest) = append.end();
    let added = answer.exit(130).json()["added"].as_u64().unwrap();
    assert!(rest.contains("error[interrupted]"), "{rest}");
    assert_eq!(entries(&world), added);
}

#[test]
fn an_export_that_breaks_off_leaves_no_file() {
    let world = World::new();
    let lines: String = (0..20_000).map(|n| format!("{{\"thing\":\"a\",\"data\":\"{n:0100}\"}}\n")).collect();
    world.feed(&["append", "--relaxed"], lines).ok();
    let mut server = Server::start(&world);
    let mut export = piped(client(&world, &["export", "-o", "out", "--progress", "json"]));
    let mut talk = BufReader::new(export.stderr.take().unwrap());
    // The first word comes after half a second, or with the end.
    let mut line = String::new();
    talk.read_line(&mut line).unwrap();
    server.kill();
    let code = Answer::wait(export).code;
    if code == 0 {
        return crate::world::skip("the export was complete before the server could be killed");
    }
    let said = std::io::read_to_string(talk).unwrap();
    assert!(code == 1 && said.contains("error[server-gone]"), "{code} {said}");
    let names: Vec<_> = std::fs::read_dir(world.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name == "out" || name.to_string_lossy().starts_with(".thingdb-")), "{names:?}");
}

/// Threads of a process that run commands, where the system tells.
fn commands(process: u32) -> Option<usize> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let is_one = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "command")
    };
    Some(tasks.flatten().filter(is_one).count())
}

#[test]
fn what_a_killed_client_wanted_to_know_is_not_worked_out() {
    let world = World::new();
    let input: String = (0..20_000).map(|n| format!("{{\"thing\":\"t-{n}\",\"data\":{n}}}\n")).collect();
    world.feed(&["append"], input).ok();
    let server = Server::start(&world);
    // More than the server has time for when it is told to end, if each of them
    // went on to its end.
    let clients: Vec<Child> = (0..48)
        .map(|n| piped(client(&world, if n % 2 == 0 { &["verify"] } else { &["export", "--prefix", "none"] })))
        .collect();
    match commands(server.id()) {
        None => crate::world::skip("the system does not tell what threads a process has"),
        Some(_) => while commands(server.id()) < Some(24) {},
    }
    for mut client in clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    // It has a place for another one, and none is left when it ends.
    through(&world, &["stats"]).ok();
    server.stop();
}

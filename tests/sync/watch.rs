//! Exchanges that go on until somebody wants them to end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::node::{Node, Place};

const BOTH: &str = "export,import";

#[test]
fn it_goes_on_watching() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    let mut watch = a.command(&["sync", "b", "--watch", "60s", "--json"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    b.write("lamp", 10);
    let (sender, lines) = channel();
    let mut out = BufReader::new(watch.stdout.take().unwrap());
    std::thread::spawn(move || {
        for document in serde_json::Deserializer::from_reader(&mut out).into_iter::<serde_json::Value>() {
            let _ = sender.send(document.unwrap());
        }
    });
    let mut came = 0;
    while came < 10 {
        let told = lines.recv_timeout(Duration::from_secs(60)).expect("what is written there comes here");
        came += told["pulled"]["added"].as_u64().unwrap();
    }
    // It waits for the peer to have more, and ends all the same.
    assert_eq!(asked_to_end(watch, "-TERM").code(), Some(0));
    assert_eq!(a.heads(), b.heads());
    assert_eq!(a.entries(), 10);
}

/// The lines of what a command says.
fn talk(watch: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let err = BufReader::new(watch.stderr.take().unwrap());
    std::thread::spawn(move || err.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// Waits until a line holds a text, and gives what was said up to it.
fn said(lines: &Receiver<String>, text: &str) -> String {
    let mut all = String::new();
    while !all.contains(text) {
        let line = lines.recv_timeout(Duration::from_secs(60));
        all.push_str(&line.unwrap_or_else(|_| panic!("{text:?} is not said: {all}")));
        all.push('\n');
    }
    all
}

#[test]
fn who_watches_is_told_why_and_once() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    a.ok(&["actor", "new", "carol"]);
    let id = a.json(&["put", "plant-1", "1", "--actor", "carol"])["id"].as_str().unwrap().to_owned();
    let server = b.serve();
    a.reaches(&b, &server.url, BOTH);
    let mut watch = a.command(&["sync", "b", "--watch", "300ms", "--tries", "1"]);
    let mut watch = watch.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = talk(&mut watch);
    let told = said(&lines, "offers them again");
    assert!(told.contains("warning[refused-entries]") && told.contains(&id[..12]), "{told}");
    assert!(told.contains("is not known here"), "{told}");
    let port = server.port;
    server.stop();
    let told = said(&lines, "Connection refused");
    assert!(told.contains("warning[sync]") && !told.contains("still refused"), "{told}");
    let server = b.serve_at(port);
    said(&lines, "b is reached again");
    assert_eq!(asked_to_end(watch, "-TERM").code(), Some(0));
    let rest: String = lines.iter().collect();
    assert!(!rest.contains("refused-entries") && !rest.contains("reached again"), "{rest}");
    // Whoever watches does something.
    assert_eq!(a.run(&["sync", "b", "--watch", "--dry-run"]).status.code(), Some(2));
    server.stop();
}

#[test]
fn what_is_written_here_goes_while_it_watches() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let (_here, server) = (a.serve(), b.serve());
    a.reaches(&b, &server.url, BOTH);
    a.put("lamp", "1");
    for way in ["sync", "push"] {
        // Nobody would wait an hour for the next exchange.
        let watch = a.command(&[way, "b", "--watch", "1h", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        let arrives = || {
            let start = Instant::now();
            while a.heads() != b.heads() {
                assert!(start.elapsed() < Duration::from_secs(60), "{way}: what is written here goes there");
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        arrives();
        a.put("lamp", "2");
        arrives();
        a.put("part", "3");
        arrives();
        assert_eq!(asked_to_end(watch, "-TERM").code(), Some(0));
    }
}

/// Waits until a node has a thing.
pub(crate) fn arrives(node: &Node, thing: &str) {
    let start = Instant::now();
    while node.run(&["get", thing]).status.code() != Some(0) {
        assert!(start.elapsed() < Duration::from_secs(60), "{thing} does not arrive");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_watch_goes_on_when_the_server_of_its_node_is_there_again() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let (here, there) = (a.serve(), b.serve());
    a.reaches(&b, &there.url, BOTH);
    let mut watch = a.command(&["sync", "b", "--watch", "300ms"]);
    let mut watch = watch.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = talk(&mut watch);
    b.put("lamp", "1");
    arrives(&a, "lamp");
    // It ends in order, and the watch lets others have the database.
    here.stop();
    let told = said(&lines, "the server of this node has ended");
    assert!(told.contains("warning[server-gone]"), "{told}");
    assert_eq!(watch.try_wait().unwrap(), None);
    a.put("door", "1");
    let here = a.serve();
    said(&lines, "the server of this node is there again");
    arrives(&b, "door");
    // It is killed.
    here.kill();
    said(&lines, "the server of this node has ended");
    let here = a.serve();
    said(&lines, "is there again");
    b.put("shelf", "1");
    arrives(&a, "shelf");
    // While there is none, a signal ends it.
    here.stop();
    said(&lines, "the server of this node has ended");
    assert_eq!(asked_to_end(watch, "-TERM").code(), Some(0));
    let rest: String = lines.iter().collect();
    assert!(!rest.contains("error["), "{rest}");
}

#[test]
fn a_watch_that_nobody_reads_ends() {
    let place = Place::new();
    let (a, b) = (place.node("a"), place.node("b"));
    a.knows(&b);
    let (_here, there) = (a.serve(), b.serve());
    a.reaches(&b, &there.url, BOTH);
    let watch = a.command(&["sync", "b", "--watch", "300ms", "--json"]).stdout(Stdio::piped()).spawn();
    let mut watch = watch.unwrap();
    drop(watch.stdout.take());
    for n in 0.. {
        if let Some(status) = watch.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            return;
        }
        assert!(n < 1000, "it goes on, and nobody reads it");
        b.put("lamp", &n.to_string());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sends a signal, and gives how the command ends, which it has to.
pub(crate) fn asked_to_end(mut command: Child, signal: &str) -> ExitStatus {
    assert!(Command::new("kill").args([signal, &command.id().to_string()]).status().unwrap().success());
    for _ in 0..300 {
        if let Some(status) = command.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    command.kill().unwrap();
    panic!("it goes on although it was asked to end");
}

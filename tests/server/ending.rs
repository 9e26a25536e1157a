//! Ends of all kinds: asked for, sudden, and of the client.

use std::io::{BufReader, Write};

use serde_json::json;

use super::client::{Reply, chunk};
use super::routes::served;
use super::running::Running;
use super::world::World;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// A database that knows the writer of a stream of `entries` lines, and the
/// stream.
fn stream(entries: usize) -> (World, Vec<String>) {
    let writer = World::new();
    let input: String = (0..entries).map(|n| format!("{{\"thing\":\"t-{}\",\"data\":{n}}}\n", n % 10)).collect();
    writer.feed(&["append", "--batch", "1", "--relaxed"], input).ok();
    let world = World::new();
    world.write("card", writer.run(&["card"]).ok().stdout);
    world.run(&["peer", "add", "writer", "@card", "--yes"]).ok();
    let lines = writer.run(&["export"]).ok().stdout.lines().map(|line| format!("{line}\n")).collect();
    (world, lines)
}

#[test]
fn a_stop_in_the_middle_of_an_import_loses_nothing() {
    let (world, lines) = stream(40);
    let (server, token) = served(world, &["--shutdown-timeout", "60"]);
    let mut import = server.begin(&token, "POST", "/import", &[NDJSON]);
    let (first, last) = lines.split_at(20);
    import.write_all(&chunk(first.concat().as_bytes())).unwrap();
    import.flush().unwrap();
    server.get(&token, "/info").is(200);
    server.signal("-TERM");
    while !server.log().contains("coming to an end") {
        std::thread::yield_now();
    }
    // Nobody new is let in.
    while server.client.connect().is_ok() {}
    import.write_all(&chunk(last.concat().as_bytes())).unwrap();
    import.write_all(b"0\r\n\r\n").unwrap();
    let reply = Reply::read(&mut BufReader::new(&mut import), false).unwrap().is(200);
    let summary = reply.lines().pop().unwrap();
    assert_eq!((&summary["added"], &summary["stream"]), (&json!(40), &json!("whole")));
    drop(import);
    let (code, world, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 40);
}

#[test]
fn an_import_that_does_not_end_is_left_with_what_it_has() {
    let (world, lines) = stream(40);
    let (server, token) = served(world, &["--shutdown-timeout", "0.5"]);
    let mut import = server.begin(&token, "POST", "/import", &[NDJSON]);
    import.write_all(&chunk(lines[..21].concat().as_bytes())).unwrap();
    import.flush().unwrap();
    server.get(&token, "/info").is(200);
    server.signal("-TERM");
    let reply = Reply::read(&mut BufReader::new(&mut import), false).unwrap().is(200);
    let summary = reply.lines().pop().unwrap();
    assert_eq!(
        (&summary["added"], &summary["stream"], &summary["interrupted"]),
        (&json!(20), &json!("cut"), &json!(true))
    );
    drop(import);
    let (code, world, log) = server.wait();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 20);
}

#[test]
fn what_came_before_a_connection_broke_is_kept() {
    let (world, lines) = stream(40);
    let (server, token) = served(world, &[]);
    let mut import = server.begin(&token, "POST", "/import", &[NDJSON]);
    let part = lines[..21].concat();
    import.write_all(&chunk(&part.as_bytes()[..part.len() - 10])).unwrap();
    import.flush().unwrap();
    import.sock.shutdown(std::net::Shutdown::Both).unwrap();
    while server.get(&token, "/info").is(200).json()["entries"] != 19 {}
    // What is sent again is known, and the rest is taken.
    let reply = server.ask(&token, "POST", "/import", &[NDJSON], lines.concat().as_bytes()).is(200);
    let summary = reply.lines().pop().unwrap();
    assert_eq!((&summary["added"], &summary["known"]), (&json!(21), &json!(19)));
    let world = server.stop();
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 40);
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let (mut world, lines) = stream(60);
    let token = Running::token(&world, "all", &["--scope", "read,write,import"]);
    let (mut imported, mut written) = (0, 0);
    for round in 0..3 {
        let server = Running::start(world, &[]);
        let part = lines[1 + round * 20..][..10].concat();
        let summary = server.ask(&token, "POST", "/import", &[NDJSON], part.as_bytes()).is(200).lines().pop().unwrap();
        imported += summary["added"].as_u64().unwrap() + summary["completed"].as_u64().unwrap();
        server.post(&token, "/things/own/entries", &round.to_string()).is(201);
        written += 1;
        let mut import = server.begin(&token, "POST", "/import", &[NDJSON]);
        let more = lines[11 + round * 20..][..10].concat();
        import.write_all(&chunk(more.as_bytes())).unwrap();
        import.flush().unwrap();
        server.signal("-KILL");
        let (code, left, log) = server.wait();
        assert_eq!(code, None, "{log}");
        world = left;
        let report = world.run(&["verify"]).ok().json();
        assert!(
            report["entries"].as_u64().unwrap() >= imported + written,
            "{report}, {imported} imported, {written} written"
        );
        assert_eq!(world.run(&["log", "own"]).ok().lines().len(), round + 1);
    }
    let server = Running::start(world, &[]);
    let summary =
        server.ask(&token, "POST", "/import", &[NDJSON], lines.concat().as_bytes()).is(200).lines().pop().unwrap();
    assert_eq!(summary["refused"], 0, "{summary}");
    let world = server.stop();
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 63);
}

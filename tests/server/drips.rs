//! Clients that send or take a little now and then, and tokens that take more
//! than their part.

use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

use super::client::{Connection, Reply, chunk, read_head};
use super::routes::{furnished, served};
use super::running::Running;
use super::world::World;

const NDJSON: [(&str, &str); 1] = [("content-type", "application/x-ndjson")];

/// Sends a byte of a body again and again until there is an answer.
fn drip(mut connection: Connection) -> Reply {
    connection.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut first = [0; 1];
    loop {
        let sent = connection.write_all(&chunk(b"\n")).and_then(|()| connection.flush());
        match connection.read(&mut first) {
            Ok(1) => break,
            Ok(_) => panic!("closed without an answer; {sent:?}"),
            Err(problem) => assert!(
                matches!(problem.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
                "{problem}; {sent:?}"
            ),
        }
    }
    connection.sock.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    Reply::read(&mut BufReader::new(first.as_slice().chain(connection)), false).unwrap()
}

#[test]
fn bodies_that_drip_are_let_go() {
    let (server, token) = served(furnished(), &["--min-rate", "1000", "--rate-window", "1"]);
    for (path, headers) in [
        ("/things/a/entries", [("content-type", "application/json")]),
        ("/have", [("content-type", "application/json")]),
        ("/import", NDJSON),
    ] {
        drip(server.begin(&token, "POST", path, &headers)).problem(408, "too-slow");
    }
    // Slow, and fast enough: the place of an import that goes on for longer than
    // the window is its own.
    let mut slow = server.begin(&token, "POST", "/import", &NDJSON);
    for _ in 0..30 {
        slow.write_all(&chunk(&[b'\n'; 200])).unwrap();
        slow.flush().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    slow.write_all(b"0\r\n\r\n").unwrap();
    Reply::read(&mut BufReader::new(&mut slow), false).unwrap().is(200);
    server.stop();
}

#[test]
fn answers_that_are_taken_in_drips_are_let_go() {
    let world = World::new();
    let input: String =
        (0..1_500).map(|n| format!("{{\"thing\":\"t\",\"data\":\"{n}{}\"}}\n", "x".repeat(20_000))).collect();
    world.feed(&["append"], input).ok();
    let args = ["--min-rate", "100000000", "--rate-window", "1", "--max-exports", "1"];
    let (server, token) = served(world, &args);
    let mut dripping = BufReader::with_capacity(256, server.begin(&token, "GET", "/export", &[]));
    assert_eq!(read_head(&mut dripping).unwrap().0, 200);
    server.get(&token, "/export?since=1500").problem(503, "busy");
    // It reads all the time, and its place is free again all the same.
    let mut piece = [0; 64];
    while server.get(&token, "/export?since=1500").status != 200 {
        let _ = dripping.read(&mut piece);
    }
    server.stop();
}

#[test]
fn one_token_does_not_shut_out_another() {
    let world = furnished();
    let other = Running::token(&world, "other", &["--scope", "export,import"]);
    let args = ["--max-imports", "3", "--max-followers", "4", "--metrics", "0"];
    let (server, token) = served(world, &args);
    let held: Vec<Connection> = (0..2)
        .map(|_| {
            let mut import = server.begin(&token, "POST", "/import", &NDJSON);
            // Lines are refused, so the answer begins: it has its place.
            import.write_all(&chunk(&b"junk\n".repeat(20_000))).unwrap();
            import.flush().unwrap();
            assert_eq!(read_head(&mut BufReader::new(&mut import)).unwrap().0, 200);
            import
        })
        .collect();
    let refused = server.ask(&token, "POST", "/import", &NDJSON, b"").problem(429, "too-many-requests");
    assert!(refused.header("retry-after").is_some());
    server.ask(&other, "POST", "/import", &NDJSON, b"").is(200);
    // Those who wait, too.
    let waiting: Vec<Connection> =
        (0..3).map(|_| server.begin(&token, "GET", "/export?since=3&wait=300", &[])).collect();
    while !server.metrics().contains("\nthingdb_requests_under_way 3\n") {
        std::thread::yield_now();
    }
    server.get(&token, "/export?since=3&wait=300").problem(429, "too-many-requests");
    server.get(&token, "/sync/wait?size=3&revision=99&seconds=60").problem(429, "too-many-requests");
    server.get(&other, "/export?since=3&wait=1").is(200);
    drop((held, waiting));
    server.signal("-KILL");
    server.wait();
}

#[test]
fn a_body_that_says_that_it_is_too_large_takes_no_place() {
    let (server, token) = served(furnished(), &["--max-stream", "1", "--max-imports", "1"]);
    let mut large = server.client.connect().unwrap();
    let head = format!(
        "POST /import HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/x-ndjson\r\n\
         content-length: 1048577\r\n\r\n"
    );
    large.write_all(head.as_bytes()).unwrap();
    large.flush().unwrap();
    // Nothing of the body has come, and nothing is waited for.
    Reply::read(&mut BufReader::new(&mut large), false).unwrap().problem(413, "too-large");
    server.ask(&token, "POST", "/import", &NDJSON, b"").is(200);
    server.stop();
}

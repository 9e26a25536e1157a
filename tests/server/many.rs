//! Many at once, and too many.

use std::io::{BufReader, Write};

use super::client::{Reply, chunk, head, read_head};
use super::routes::{furnished, served};

#[test]
fn two_hundred_connections_are_served_at_once() {
    let (server, token) = served(furnished(), &[]);
    let bearer = format!("Bearer {token}");
    let mut open: Vec<_> = (0..200).map(|_| server.client.connect().unwrap()).collect();
    for round in 0..3 {
        for connection in &mut open {
            let request = head("GET", "/things/part-42", &[("authorization", &bearer)], Some(0));
            connection.write_all(&request).unwrap();
            connection.flush().unwrap();
        }
        for connection in &mut open {
            let reply = Reply::read(&mut BufReader::new(connection), false).unwrap().is(200);
            assert_eq!(reply.json()["seq"], 2, "round {round}");
        }
    }
    drop(open);
    server.stop();
}

#[test]
fn writers_at_once_lose_nothing() {
    let (server, token) = served(furnished(), &[]);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (server, token) = (&server, &token);
            scope.spawn(move || {
                for n in 0..20 {
                    server.post(token, &format!("/things/t-{}/entries", n % 3), &format!("[{writer},{n}]")).is(201);
                }
            });
        }
    });
    let world = server.stop();
    assert_eq!(world.run(&["verify"]).ok().json()["entries"], 163);
}

#[test]
fn a_rate_is_kept_by_token() {
    let world = furnished();
    let other = super::running::Running::token(&world, "other", &["--scope", "read"]);
    let (server, token) = served(world, &["--max-rate", "3"]);
    let limited = (0..50).map(|_| server.get(&token, "/info")).find(|reply| reply.status == 429);
    let limited = limited.expect("fifty are more than three a second").problem(429, "too-many-requests");
    assert!(limited.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    server.get(&other, "/info").is(200);
    assert!(
        (0..50).any(|_| server.client.send("GET", "/info", &[("connection", "close")], b"").unwrap().status == 429)
    );
    server.stop();
}

#[test]
fn places_run_out_with_a_word() {
    let args = ["--max-imports", "1", "--max-followers", "1", "--max-requests-per-token", "2", "--metrics", "0"];
    let (server, token) = served(furnished(), &args);
    let ndjson = [("content-type", "application/x-ndjson")];
    // Lines are refused, so the answer begins: it has its place.
    let mut import = server.begin(&token, "POST", "/import", &ndjson);
    import.write_all(&chunk(&b"junk\n".repeat(20_000))).unwrap();
    import.flush().unwrap();
    let mut answer = BufReader::new(&mut import);
    assert_eq!(read_head(&mut answer).unwrap().0, 200);
    let busy = server.ask(&token, "POST", "/import", &ndjson, b"").problem(503, "busy");
    assert_eq!(busy.header("retry-after"), Some("1"));
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(server.begin(&token, "GET", "/export?since=3&wait=300", &[]));
        while !server.metrics().contains("\nthingdb_requests_under_way 1\n") {
            std::thread::yield_now();
        }
        // One waits, there is no place for another, and that one is answered.
        if waiting.len() == 2 {
            let reply = Reply::read(&mut BufReader::new(waiting.pop().unwrap()), false).unwrap();
            reply.problem(503, "busy");
        }
    }
    let _write = server.begin(&token, "POST", "/things/a/entries", &[("content-type", "application/json")]);
    while !server.metrics().contains("\nthingdb_requests_under_way 2\n") {
        std::thread::yield_now();
    }
    server.get(&token, "/info").problem(429, "too-many-requests");
    server.signal("-KILL");
    server.wait();
}

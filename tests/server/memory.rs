//! How much memory clients can make the server take.

use std::io::{BufReader, Write};
use std::sync::{Barrier, Mutex};

use super::client::{Client, head, read_head};
use super::http2::{END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, request};
use super::routes::served;
use super::running::Running;
use super::world::{World, skip};
use super::worst_streams::{self as streams, Worst};
use crate::peak::{self, Table};

/// Connections at once.
const CLIENTS: usize = 64;

/// What the server is told to take of bodies at once, and of answers.
const HELD: [&str; 2] = ["--max-held", "32"];
const HELD_KIB: u64 = 32 << 10;

/// An entry on its way to the disk: as it came, sealed, in rows, in the
/// storage's log and cache.
const COPIES: u64 = 5;

/// Entries that are read at once, and as what each is there: rows, opened, JSON.
const READS: u64 = 16;
const COPIES_READ: u64 = 4;

/// An entry that is read.
const LARGE_KIB: u64 = 256;

/// A connection with a piece of each of ten answers.
const CONNECTION_KIB: u64 = 256;

/// Tells how much a server takes beyond what it took before, at most.
fn is_bounded(server: &Running, before: Option<u64>, most: u64) {
    match (before, peak::kib(server.pid())) {
        (Some(before), Some(after)) => assert!(after - before < most, "{} KiB, more than {most}", after - before),
        _ => skip("the system does not tell how much memory a process takes"),
    }
}

/// Does something on many connections at once.
fn at_once(count: usize, act: impl Fn(usize) + Sync) {
    let begun = Barrier::new(count);
    std::thread::scope(|scope| {
        for number in 0..count {
            let (act, begun) = (&act, &begun);
            scope.spawn(move || {
                begun.wait();
                act(number);
            });
        }
    });
}

/// 4 MiB of names that are all different.
fn names() -> String {
    let mut text = String::new();
    text.push('{');
    for n in 0_u32.. {
        text += &format!("\"{n:x}\":0,");
        if text.len() > 4 << 20 {
            break;
        }
    }
    text + "\"last\":0}"
}

/// Sends a body on a connection of its own; gives the status, if there is one.
fn post(client: &Client, token: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<u16> {
    let bearer = format!("Bearer {token}");
    let headers = [&[("authorization", bearer.as_str()), ("connection", "close")], headers].concat();
    client.send("POST", path, &headers, body).ok().map(|reply| reply.status)
}

#[test]
fn many_large_bodies_at_once_take_bounded_memory() {
    let world = World::new();
    let other = Running::token(&world, "other", &["--scope", "read,write,import"]);
    let (server, token) = served(world, &HELD);
    let json = [("content-type", "application/json")];
    assert_eq!(post(&server.client, &token, "/things/warm/entries", &json, b"1"), Some(201));
    let before = peak::kib(server.pid());
    let names = names();
    let twice = names.replace("\"last\"", "\"0\"");
    let empty = format!("[{}\"\"]", "\"\",".repeat(1_398_000));
    let packed = zstd::encode_all(names.as_bytes(), 1).unwrap();
    let zstd = [json[0], ("content-encoding", "zstd")];
    at_once(CLIENTS, |number| {
        let token = if number % 8 == 0 { &other } else { &token };
        let status = match number % 4 {
            // A name stands twice; it is checked to the end, and nothing is stored.
            0 | 1 => post(&server.client, token, "/things/a/entries", &json, twice.as_bytes()),
            2 => post(&server.client, token, "/have", &json, empty.as_bytes()),
            _ if number == 3 => post(&server.client, token, "/things/a/entries", &zstd, &packed),
            _ => post(&server.client, token, "/things/a/entries", &zstd, &packed[..packed.len() / 2]),
        };
        assert!(status.is_none_or(|status| matches!(status, 201 | 400 | 413 | 422 | 429 | 503)), "{status:?}");
        // Whoever asks whether it lives is told so in between.
        server.client.send("GET", "/healthz", &[("connection", "close")], b"").unwrap().is(200);
    });
    is_bounded(&server, before, HELD_KIB * COPIES);
    server.stop();
}

#[test]
fn answers_that_nobody_reads_take_bounded_memory() {
    let world = World::new();
    world.feed(&["put", "large", "-"], format!("\"{}\"", "x".repeat(256 << 10))).ok();
    let (server, token) = served(world, &HELD);
    server.client.send("GET", "/healthz", &[("connection", "close")], b"").unwrap().is(200);
    let before = peak::kib(server.pid());
    let bearer = format!("Bearer {token}");
    // All stay open until the end.
    let open = Mutex::new(Vec::new());
    let paths = ["/things/large", "/things/large/entries", "/export"];
    at_once(CLIENTS, |number| {
        let path = paths[number % paths.len()];
        if number % 2 == 0 {
            let mut deaf = server.client.connect().unwrap();
            deaf.write_all(&head("GET", path, &[("authorization", &bearer)], Some(0))).unwrap();
            deaf.flush().unwrap();
            let (status, _) = read_head(&mut BufReader::new(&mut deaf)).unwrap();
            assert!(matches!(status, 200 | 429 | 503), "{status}");
            return open.lock().unwrap().push(deaf);
        }
        // Many answers on one connection, whose windows are shut.
        let mut http2 = Http2::connect(&server.client, &[(4, 0)]);
        let head = request("GET", path, &token);
        for stream in (1..20).step_by(2) {
            if http2.send(HEADERS, END_HEADERS | END_STREAM, stream, &head).is_err() {
                break;
            }
        }
        let mut heads = 0;
        http2.until(|frame| {
            heads += usize::from(matches!(frame.kind, HEADERS | RST_STREAM));
            heads == 10
        });
        open.lock().unwrap().push(http2.0);
    });
    is_bounded(&server, before, HELD_KIB + READS * COPIES_READ * LARGE_KIB + CLIENTS as u64 * CONNECTION_KIB);
    // With them their answers go.
    drop(open);
    while server.get(&token, "/things/large").status != 200 {}
    server.stop();
}

/// Streams that are a megabyte on their way and much once they are taken apart,
/// of nobody whom the server trusts, three at once.
#[test]
fn imports_of_a_megabyte_stay_within_what_is_held() {
    const MIB: [&str; 2] = ["--max-held", "96"];
    // What is held, and what of the program itself is touched for the first time.
    const KIB: u64 = 104 << 10;
    let world = World::new();
    let other = Running::token(&world, "other", &["--scope", "import"]);
    let (server, token) = served(world, &MIB);
    let lines = [("content-type", "application/x-ndjson")];
    assert_eq!(post(&server.client, &token, "/import", &lines, b"{}\n"), Some(200));
    let Some(before) = peak::count_anew(server.pid()) else {
        return skip("the system does not tell how much memory a process takes");
    };
    let mut table = Table::new(before).at_most(KIB);
    for Worst { name, form, bytes } in streams::packed() {
        let body = streams::zstd(&bytes);
        peak::count_anew(server.pid());
        at_once(3, |number| {
            let token = if number == 0 { &other } else { &token };
            let headers = [("content-type", form.media_type()), ("content-encoding", "zstd")];
            let status = post(&server.client, token, "/import", &headers, &body);
            assert!(
                status.is_none_or(|status| matches!(status, 200 | 400 | 413 | 422 | 429 | 503)),
                "{name}: {status:?}"
            );
        });
        table.add(name, peak::kib(server.pid()));
    }
    table.end();
    server.stop();
}

/// Each asks for memory for one large line at a time, and gets its turn.
#[test]
fn imports_of_lines_that_are_too_long_all_come_to_their_end() {
    let world = World::new();
    let other = Running::token(&world, "other", &["--scope", "import"]);
    let (server, token) = served(world, &["--max-held", "96"]);
    let long = [&vec![b'x'; 56 << 20][..], b"\n"].concat().repeat(3);
    // What was received is enough for what it unpacks to.
    let body = zstd::encode_all(&[&noise(2 << 20)[..], b"\n", &long].concat()[..], 1).unwrap();
    at_once(3, |number| {
        let bearer = format!("Bearer {}", if number == 0 { &other } else { &token });
        let headers = [
            ("authorization", bearer.as_str()),
            ("connection", "close"),
            ("content-type", "application/x-ndjson"),
            ("content-encoding", "zstd"),
        ];
        let lines = server.client.send("POST", "/import", &headers, &body).unwrap().is(200).lines();
        let summary = lines.last().unwrap();
        assert_eq!((&summary["refused"], &summary["stream"]), (&4.into(), &"bare".into()), "{summary}");
    });
    server.stop();
}

/// Bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // No line end.
        state as u8 | 0x80
    };
    (0..bytes).map(|_| next()).collect()
}

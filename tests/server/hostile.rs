//! Requests that mean no good.

use std::io::{BufReader, Read, Write};

use super::client::{Reply, chunk, head, read_head};
use super::routes::{furnished, served};
use super::running::Running;
use super::world::World;
use crate::peak;

fn all_files(world: &World) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![world.path("")];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else if !entry.path().components().any(|part| part.as_os_str() == "sled") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn no_id_becomes_a_path() {
    let (server, token) = served(furnished(), &[]);
    let before = all_files(&server.world);
    let ids = [
        "..",
        ".",
        "%2e%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "..%2fkeyring",
        "%2fetc%2fpasswd",
        "db%2fkeyring",
        "C:%5cwindows",
        "..%5c..%5ckeyring",
        "%c3%a9",
        "keyring",
        "-rf",
        "a%20b%22%27%3b",
        "%7e%2f",
    ];
    for id in ids {
        for path in [format!("/things/{id}"), format!("/things/{id}/entries")] {
            assert!(matches!(server.get(&token, &path).status, 200 | 404));
        }
        server.post(&token, &format!("/things/{id}/entries"), "1").is(201);
        assert_eq!(server.get(&token, &format!("/things/{id}")).is(200).json()["data"], 1, "{id}");
        server.ask(&token, "DELETE", &format!("/things/{id}"), &[], b"").problem(405, "usage");
        // The prototype joined the id of an upload into a path.
        for path in
            [format!("/upload/{id}"), format!("/uploads/{id}"), format!("/import/{id}"), format!("/entries/{id}")]
        {
            let reply = server.get(&token, &path);
            assert!(matches!(reply.status, 404 | 422), "{path}: {}", reply.text());
            let reply = server.ask(&token, "DELETE", &path, &[], b"");
            assert!(matches!(reply.status, 404 | 405), "{path}: {}", reply.text());
        }
    }
    for id in ["%00", "a%00b", "%0a", "%ff", "%", "%zz", &"x".repeat(513), ""] {
        let reply = server.post(&token, &format!("/things/{id}/entries"), "1");
        assert!(matches!(reply.status, 201 | 404 | 422), "{id}: {}", reply.text());
        if matches!(id, "%00" | "a%00b" | "%0a" | "%ff") {
            assert_eq!(reply.status, 422, "{id}: {}", reply.text());
        }
    }
    for path in ["/../healthz", "//healthz", "/things/../../etc/passwd", "/./info", "/%2e%2e/info", "/healthz/"] {
        server.get(&token, path).problem(404, "not-found");
    }
    assert_eq!(all_files(&server.world), before, "no file came or went");
    let world = server.stop();
    assert_eq!(world.run(&["verify"]).ok().json()["ok"], true);
}

#[test]
fn slow_clients_are_let_go() {
    let (server, token) =
        served(furnished(), &["--head-timeout", "0.5", "--stall-timeout", "0.5", "--idle-timeout", "0.5"]);
    // Nothing, half a handshake, half a head, half a body, nothing after an answer.
    let mut silent = std::net::TcpStream::connect(server.client.address).unwrap();
    let mut half = std::net::TcpStream::connect(server.client.address).unwrap();
    half.write_all(&[0x16, 3, 1, 2]).unwrap();
    let mut slow_head = server.client.connect().unwrap();
    slow_head.write_all(b"GET /healthz HTTP/1.1\r\nx: ").unwrap();
    slow_head.flush().unwrap();
    let mut slow_body = server.begin(&token, "POST", "/things/a/entries", &[("content-type", "application/json")]);
    slow_body.write_all(&chunk(b"{")).unwrap();
    slow_body.flush().unwrap();
    let mut slow_import = server.begin(&token, "POST", "/import", &[("content-type", "application/x-ndjson")]);
    slow_import.write_all(&chunk(b"\n")).unwrap();
    slow_import.flush().unwrap();
    let mut idle = server.client.connect().unwrap();
    idle.write_all(&head("GET", "/healthz", &[], Some(0))).unwrap();
    idle.flush().unwrap();
    let mut rest = Vec::new();
    for socket in [&mut silent, &mut half] {
        let _ = socket.read_to_end(&mut rest);
    }
    let _ = slow_head.read_to_end(&mut rest);
    Reply::read(&mut BufReader::new(&mut slow_body), false).unwrap().problem(408, "too-slow");
    Reply::read(&mut BufReader::new(&mut slow_import), false).unwrap().problem(408, "too-slow");
    Reply::read(&mut BufReader::new(&mut idle), false).unwrap().is(200);
    let _ = idle.read_to_end(&mut rest);
    server.get(&token, "/info").is(200);
    server.stop();
}

#[test]
fn who_does_not_read_is_let_go() {
    let world = World::new();
    let input: String =
        (0..1_500).map(|n| format!("{{\"thing\":\"t\",\"data\":\"{n}{}\"}}\n", "x".repeat(20_000))).collect();
    world.feed(&["append"], input).ok();
    let (server, token) = served(world, &["--stall-timeout", "0.5", "--max-exports", "1"]);
    let mut deaf = BufReader::new(server.begin(&token, "GET", "/export", &[]));
    assert_eq!(read_head(&mut deaf).unwrap().0, 200);
    // More than sockets hold is still to come. Its place is free again before
    // it says a word.
    server.get(&token, "/export?since=1500").problem(503, "busy");
    while server.get(&token, "/export?since=1500").status != 200 {}
    drop(deaf);
    server.stop();
}

#[test]
fn what_is_too_large_is_told_so() {
    let (server, token) = served(furnished(), &["--max-body", "1", "--max-stream", "1"]);
    let json = [("content-type", "application/json")];
    let large = vec![b' '; (1 << 20) + 1];
    server.ask(&token, "POST", "/things/a/entries", &json, &large).problem(413, "too-large");
    let mut chunked = server.begin(&token, "POST", "/things/a/entries", &json);
    for piece in large.chunks(64 << 10) {
        chunked.write_all(&chunk(piece)).unwrap();
    }
    chunked.write_all(b"0\r\n\r\n").unwrap();
    Reply::read(&mut BufReader::new(&mut chunked), false).unwrap().problem(413, "too-large");
    let blank = vec![b'\n'; (1 << 20) + (64 << 10)];
    let reply = server.ask(&token, "POST", "/import", &[("content-type", "application/x-ndjson")], &blank);
    reply.problem(413, "too-large");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&vec![b' '; 8 << 20]).unwrap();
    let packed = packed.finish().unwrap();
    let gzip = [json[0], ("content-encoding", "gzip")];
    server.ask(&token, "POST", "/things/a/entries", &gzip, &packed).problem(413, "too-large");
    let many: Vec<String> = (0..60_000).map(|n| format!("\"{n:064x}\"")).collect();
    server.post(&token, "/have", &format!("[{}]", many.join(","))).problem(413, "too-large");
    server.post(&token, "/have", "[1]").problem(422, "bad-json");
    server.post(&token, "/have", "[\"x\"]").problem(422, "invalid-input");
    let headers: Vec<(String, String)> = (0..200).map(|n| (format!("x-{n}"), "x".to_owned())).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert!(matches!(server.ask(&token, "GET", "/info", &headers, b"").status, 400 | 431));
    let long = "x".repeat(60_000);
    assert!(matches!(server.get(&token, &format!("/info?{long}")).status, 400 | 414 | 431));
    server.get(&token, "/info").is(200);
    server.stop();
}

#[test]
fn hostile_imports_take_bounded_memory() {
    let (server, token) = served(furnished(), &[]);
    let ndjson = [("content-type", "application/x-ndjson")];
    let zeros = |zstd: bool| {
        let mut source = std::io::repeat(b' ').take(192 << 20);
        if zstd {
            let mut out = zstd::Encoder::new(Vec::new(), 1).unwrap();
            std::io::copy(&mut source, &mut out).unwrap();
            out.finish().unwrap()
        } else {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::copy(&mut source, &mut out).unwrap();
            out.finish().unwrap()
        }
    };
    // Bombs of one line without an end.
    for (encoding, bomb) in [("zstd", zeros(true)), ("gzip", zeros(false))] {
        let headers = [ndjson[0], ("content-encoding", encoding)];
        let reply = server.ask(&token, "POST", "/import", &headers, &bomb);
        let problem = if reply.status == 200 { reply.lines().pop().unwrap()["error"].clone() } else { reply.json() };
        assert_eq!(problem["code"], "too-large", "{encoding}: {problem}");
    }
    // A frame that wants a window of 2 GiB.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0, 0];
    let headers = [ndjson[0], ("content-encoding", "zstd")];
    let summary = |reply: Reply| reply.is(200).lines().pop().unwrap();
    assert_eq!(summary(server.ask(&token, "POST", "/import", &headers, &window))["stream"], "damaged");
    // A line without an end, a deep one, and millions of short ones.
    let mut endless = server.begin(&token, "POST", "/import", &ndjson);
    let piece = chunk(&vec![b'x'; 1 << 20]);
    for _ in 0..64 {
        endless.write_all(&piece).unwrap();
    }
    endless.write_all(b"0\r\n\r\n").unwrap();
    let lines = Reply::read(&mut BufReader::new(&mut endless), false).unwrap().is(200).lines();
    assert_eq!((lines.len(), &lines[1]["refused"]), (2, &1.into()));
    let deep = "[".repeat(1 << 20);
    assert_eq!(server.ask(&token, "POST", "/import", &ndjson, deep.as_bytes()).is(200).lines()[1]["refused"], 1);
    let reply = server.ask(&token, "POST", "/import", &[("content-type", "application/json")], deep.as_bytes());
    assert_eq!(summary(reply)["stream"], "damaged");
    let mut short = server.begin(&token, "POST", "/import", &ndjson);
    let piece = chunk(&b"x\n".repeat(1 << 15));
    for _ in 0..32 {
        short.write_all(&piece).unwrap();
    }
    short.write_all(b"0\r\n\r\n").unwrap();
    // It is read after everything was sent: what does not fit is counted.
    let lines = Reply::read(&mut BufReader::new(&mut short), false).unwrap().is(200).lines();
    let summary = lines.last().unwrap();
    assert_eq!(summary["refused"], 1 << 20);
    let unlisted = summary["unlisted"].as_u64().unwrap_or(0);
    assert_eq!(lines.len() as u64 - 1 + unlisted, 1 << 20);
    match peak::kib(server.pid()) {
        Some(kib) => assert!(kib < 600 << 10, "it took {kib} KiB"),
        None => super::world::skip("the system does not tell how much memory a process takes"),
    }
    server.stop();
}

#[test]
fn a_token_is_not_guessed_through_its_spelling() {
    let (server, token) = served(World::new(), &[]);
    for other in
        [token.to_uppercase(), format!("{token}="), format!("{token} "), format!(" {token}"), token.replace("tdb_", "")]
    {
        let reply = server.get(&other, "/info");
        // White space around a header's value is not part of it.
        assert!(reply.status == 401 || other.trim() == token, "{}", reply.text());
    }
    let _: Running = server;
}

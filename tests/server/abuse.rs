//! Connections and frames that mean no good: floods, half-open connections,
//! requests that two servers would read differently.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::client::{Reply, head};
use super::http2::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING, RST_STREAM, SETTINGS, frame,
    request,
};
use super::routes::{furnished, served};
use super::running::Running;
use super::world::{World, skip};
use crate::peak;

const INITIAL_WINDOW_SIZE: u16 = 4;

/// What one connection may make the server take, in KiB: what it may send
/// ahead, the heads and the pieces of its streams, the buffers of TLS.
const CONNECTION_KIB: u64 = 8 << 10;

/// Open descriptors of a process, where the system tells.
fn descriptors(process: u32) -> Option<usize> {
    std::fs::read_dir(format!("/proc/{process}/fd")).ok().map(Iterator::count)
}

/// It answers, has taken no more than so many KiB for the abuse, and has let go
/// of what was there before.
struct Before {
    kib: Option<u64>,
    descriptors: Option<usize>,
}

impl Before {
    fn of(server: &Running) -> Self {
        server.client.send("GET", "/healthz", &[("connection", "close")], b"").unwrap().is(200);
        Self { kib: peak::kib(server.pid()), descriptors: descriptors(server.pid()) }
    }

    fn holds(&self, server: &Running, most_kib: u64) {
        server.client.send("GET", "/healthz", &[("connection", "close")], b"").unwrap().is(200);
        let (Some(kib), Some(before)) = (peak::kib(server.pid()), self.kib) else {
            return skip("the system does not tell how much memory a process takes");
        };
        assert!(kib - before <= most_kib, "it took {} KiB", kib - before);
        let Some(most) = self.descriptors else { return };
        // The listener looks at its connections now and then.
        while descriptors(server.pid()).is_some_and(|open| open > most + 1) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn requests_that_are_taken_back_at_once_end_the_connection() {
    let (server, token) = served(furnished(), &[]);
    let before = Before::of(&server);
    let mut http2 = Http2::connect(&server.client, &[]);
    let head = request("GET", "/things?limit=1000", &token);
    let mut flood = Vec::new();
    for stream in (1..40_000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        flood.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let sent = http2.0.write_all(&flood).and_then(|()| http2.0.flush());
    let frames = http2.rest();
    let told = frames.iter().any(|frame| frame.kind == GOAWAY && frame.payload[4..8] == 11_u32.to_be_bytes());
    assert!(sent.is_err() || told, "it was told to keep calm, or has no connection any more");
    drop(http2);
    before.holds(&server, CONNECTION_KIB);
    server.stop();
}

#[test]
fn a_connection_has_no_more_than_its_streams() {
    let (server, token) = served(furnished(), &["--stall-timeout", "1"]);
    let before = Before::of(&server);
    let mut http2 = Http2::connect(&server.client, &[]);
    let head = request("POST", "/things/a/entries", &token);
    let mut flood = Vec::new();
    for stream in (1..4_000).step_by(2) {
        flood.extend(frame(HEADERS, END_HEADERS, stream, &head));
    }
    // What is beyond is refused, until the connection is; what is within waits
    // for a body that does not come.
    let sent = http2.0.write_all(&flood).and_then(|()| http2.0.flush());
    let frames = http2.until(|frame| frame.kind == GOAWAY);
    let refused = frames.iter().filter(|frame| frame.kind == RST_STREAM && frame.payload == [0, 0, 0, 7]).count();
    assert!(sent.is_err() || refused >= 100 || frames.last().is_some_and(|last| last.kind == GOAWAY), "{frames:?}");
    drop(http2);
    before.holds(&server, CONNECTION_KIB);
    server.stop();
}

#[test]
fn heads_without_end_are_cut() {
    let (server, token) = served(furnished(), &[]);
    let before = Before::of(&server);
    // A head that goes on and on.
    let mut http2 = Http2::connect(&server.client, &[]);
    let mut flood = frame(HEADERS, END_STREAM, 1, &request("GET", "/info", &token));
    let more = frame(CONTINUATION, 0, 1, &http2::headers(&[("x", "y")]).repeat(2_000));
    for _ in 0..2_000 {
        flood.extend(&more);
    }
    let _ = http2.0.write_all(&flood).and_then(|()| http2.0.flush());
    let frames = http2.rest();
    assert!(!frames.iter().any(|frame| frame.kind == DATA), "{frames:?}");
    // One without a byte in each part: the parts are what costs.
    let mut http2 = Http2::connect(&server.client, &[]);
    let mut flood = frame(HEADERS, END_STREAM, 1, &request("GET", "/info", &token));
    flood.extend(frame(CONTINUATION, 0, 1, &[]).repeat(500_000));
    let _ = http2.0.write_all(&flood).and_then(|()| http2.0.flush());
    assert!(!http2.rest().iter().any(|frame| frame.kind == DATA));
    // One that is small and unpacks to 40 MiB.
    let mut http2 = Http2::connect(&server.client, &[]);
    let mut bomb = request("GET", "/info", &token);
    // Into the table: the name "x", 4000 bytes.
    bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
    bomb.extend([b'v'; 4_000]);
    bomb.extend([0x80 | 62; 10_000]);
    http2.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb).unwrap();
    let frames = http2.until(|frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY));
    let last = frames.last().unwrap();
    // 200 is one byte, the eighth of the static table.
    assert!(last.kind != HEADERS || last.payload.first() != Some(&0x88), "{last:?}");
    drop(http2);
    before.holds(&server, CONNECTION_KIB);
    server.stop();
}

#[test]
fn windows_that_stay_shut_are_waited_for_only_so_long() {
    let world = World::new();
    world.feed(&["put", "large", "-"], format!("\"{}\"", "x".repeat(1 << 20))).ok();
    let (server, token) = served(world, &["--rate-window", "1", "--metrics", "0"]);
    let before = Before::of(&server);
    let mut http2 = Http2::connect(&server.client, &[(INITIAL_WINDOW_SIZE, 0)]);
    let head = request("GET", "/things/large", &token);
    for stream in [1, 3, 5] {
        http2.send(HEADERS, END_HEADERS | END_STREAM, stream, &head).unwrap();
    }
    // It ends without a byte of the answer.
    let frames = http2.rest();
    let heads: Vec<u32> = frames.iter().filter(|frame| frame.kind == HEADERS).map(|frame| frame.stream).collect();
    assert_eq!(heads.len(), 3, "{heads:?}");
    assert!(!frames.iter().any(|frame| frame.kind == DATA), "{frames:?}");
    drop(http2);
    before.holds(&server, 16 << 10);
    server.stop();
}

#[test]
fn floods_of_small_frames_are_stood() {
    let (server, token) = served(furnished(), &["--stall-timeout", "0.5"]);
    let before = Before::of(&server);
    let floods = [
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        frame(PING, 0, 0, &[7; 8]),
        frame(0x55, 0, 0, &[1; 8]),
        frame(8, 0, 0, &[0, 0, 0, 1]),
    ];
    for one in floods {
        let mut http2 = Http2::connect(&server.client, &[]);
        let many = one.repeat(1_000);
        // Nothing that it answers is read: at the latest when it has too much
        // to say it lets go. What it has no answer to it takes.
        let mut took = 0;
        while took < 1_000 && http2.0.write_all(&many).and_then(|()| http2.0.flush()).is_ok() {
            took += 1;
        }
        drop(http2);
    }
    server.get(&token, "/info").is(200);
    before.holds(&server, 4 * CONNECTION_KIB);
    server.stop();
}

/// What comes back for these bytes, until the server closes.
fn said(server: &Running, bytes: &[u8]) -> String {
    let mut connection = server.client.connect().unwrap();
    let _ = connection.write_all(bytes).and_then(|()| connection.flush());
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn requests_that_can_be_read_in_two_ways_are_not_read_in_both() {
    let (server, token) = served(furnished(), &["--idle-timeout", "1", "--head-timeout", "1"]);
    let before = Before::of(&server);
    let auth = format!("host: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    let post = |rest: &str| format!("POST /things/a/entries HTTP/1.1\r\n{auth}{rest}");
    let smuggled = format!("GET /smuggled HTTP/1.1\r\n{auth}\r\n");
    let shapes = [
        post("content-length: 4\r\ncontent-length: 5\r\n\r\n1234"),
        post("content-length: 4, 5\r\n\r\n1234"),
        post("content-length: -1\r\n\r\n"),
        post("content-length: +4\r\n\r\n1234"),
        post("content-length: 0x4\r\n\r\n1234"),
        post("content-length: 99999999999999999999999\r\n\r\n1234"),
        post("content-length: 4 4\r\n\r\n1234"),
        post("transfer-encoding: chunked\r\n\r\n-1\r\n1\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n1\r\n0\r\n\r\n"),
        post("transfer-encoding: chunked\r\n\r\n0x1\r\n1\r\n0\r\n\r\n"),
        post(&format!("transfer-encoding: chunked\r\n\r\n1;{}\r\n1\r\n0\r\n\r\n", "x".repeat(64 << 10))),
        post("transfer-encoding: chunked\r\n\r\n1\n1\n0\n\n"),
        post("transfer-encoding: identity\r\ncontent-length: 1\r\n\r\n1"),
        post("transfer-encoding: chunked, identity\r\n\r\n1\r\n1\r\n0\r\n\r\n"),
        post("transfer-encoding: xchunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"),
        post("transfer-encoding : chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"),
        post("x: y\r\n folded: z\r\ncontent-length: 1\r\n\r\n1"),
        post("content-length: 1\r\n content-length: 50\r\n\r\n1"),
        post("x\0y: z\r\ncontent-length: 1\r\n\r\n1"),
        post("x: a\0b\r\ncontent-length: 1\r\n\r\n1"),
        post("x: a\rb\r\ncontent-length: 1\r\n\r\n1"),
        post(": nameless\r\ncontent-length: 1\r\n\r\n1"),
        format!("POST /things/a/entries HTTP/1.0\r\n{auth}transfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n"),
        format!("GET /in\0fo HTTP/1.1\r\n{auth}\r\n"),
        format!("GET /in fo HTTP/1.1\r\n{auth}\r\n"),
        format!("GET  /info HTTP/1.1\r\n{auth}\r\n"),
        format!("GET /info HTTP/9.9\r\n{auth}\r\n"),
        format!("GET /info\r\n{auth}\r\n"),
        format!("GET localhost:443 HTTP/1.1\r\n{auth}\r\n"),
        format!("CONNECT localhost:443 HTTP/1.1\r\n{auth}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{auth}\r\n"),
        format!("GET http://other.example/info HTTP/1.1\r\n{auth}connection: close\r\n\r\n"),
        format!("GET /info HTTP/1.1\r\n{auth}{}\r\n", "x: y\r\n".repeat(5_000)),
        "\0".repeat(100_000),
    ];
    for shape in &shapes {
        let said = said(&server, format!("{shape}{smuggled}").as_bytes());
        let shown: String = shape.chars().take(300).collect();
        // One answer, if any, or two where the request is one to both: then the
        // second one is for the whole of what follows.
        let answers: Vec<&str> = said.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
        assert!(!said.contains("500 ") && answers.len() <= 2, "{shown:?}: {said}");
        let first = answers.first().copied().unwrap_or("HTTP/1.1 400");
        let is_refused = first.starts_with("HTTP/1.1 4");
        let is_absolute = shape.contains("other.example");
        assert!(is_refused || is_absolute, "{shown:?}: {said}");
        assert!(answers.len() < 2 || answers[1].starts_with("HTTP/1.1 4"), "{shown:?}: {said}");
    }
    // None of them wrote anything.
    server.get(&token, "/things/a").problem(404, "not-found");
    before.holds(&server, CONNECTION_KIB);
    server.stop();
}

#[test]
fn a_length_beside_chunks_ends_the_connection() {
    let world = furnished();
    let token = Running::token(&world, "all", &["--scope", "read,write"]);
    let server = Running::start(world, &["--plain-http", "--idle-timeout", "1"]);
    let auth = format!("host: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    for lengths in
        ["content-length: 6\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 6"]
    {
        let mut socket = TcpStream::connect(server.client.address).unwrap();
        // A proxy that believes the length has sent its last byte before the
        // second request begins.
        let both = format!(
            "POST /things/b/entries HTTP/1.1\r\n{auth}{lengths}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n{auth}\r\n"
        );
        socket.write_all(both.as_bytes()).unwrap();
        let mut said = String::new();
        let _ = socket.read_to_string(&mut said);
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{lengths}: {said}");
    }
    server.signal("-TERM");
    assert_eq!(server.wait().0, Some(0));
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let (server, token) = served(furnished(), &["--head-timeout", "1", "--idle-timeout", "1"]);
    let before = Before::of(&server);
    let silent: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(server.client.address).unwrap()).collect();
    server.get(&token, "/info").is(200);
    // Half-open ones, which will say nothing more, and slow heads.
    let half: Vec<_> = (0..50)
        .map(|n| {
            let mut connection = server.client.connect().unwrap();
            let whole = head("GET", "/info", &[("x-slow", "y")], Some(0));
            connection.write_all(&whole[..whole.len() - 1 - n % 10]).unwrap();
            connection.flush().unwrap();
            connection.sock.shutdown(Shutdown::Write).unwrap();
            connection
        })
        .collect();
    server.get(&token, "/info").is(200);
    let mut rest = Vec::new();
    for mut socket in silent {
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        assert_eq!(socket.read_to_end(&mut rest).unwrap_or(0), 0, "closed without a word");
    }
    for mut connection in half {
        let reply = Reply::read(&mut BufReader::new(&mut connection), false);
        assert!(reply.is_err() || reply.is_ok_and(|reply| (400..500).contains(&reply.status)));
    }
    before.holds(&server, 550 * 128);
    server.stop();
}

//! The worst that a client can send in each place where something is read: no
//! more than 64 MiB beyond what an ordinary request takes.

use std::io::{BufReader, Read, Write};

use super::client::{Reply, chunk, head};
use super::routes::served;
use super::running::Running;
use super::world::{World, skip};
use super::worst_streams::{self as streams, Form, Worst};
use crate::peak::{self, Table};
use crate::shapes;

/// A server that has answered ordinary requests.
struct Tried {
    server: Running,
    token: String,
    table: Table,
}

/// Where to, with which headers, and what.
type Posted<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<u8>);

const JSON: (&str, &str) = ("content-type", "application/json");
const BYTES: (&str, &str) = ("content-type", "application/octet-stream");
const FRAMES: (&str, &str) = ("content-type", "application/vnd.thingdb.stream");
const ZSTD: (&str, &str) = ("content-encoding", "zstd");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

/// Bytes of each kind of body, as far as it is read.
/// An eighth of the largest entry, and so an eighth of what it may take: the
/// largest ones take a debug build minutes.
const ENTRY_BYTES: usize = (2 << 20) - 1024;
const ENTRY_KIB: u64 = peak::MOST_KIB / 8;
const HAVE_BYTES: usize = 4 << 20;
const SHOWN_BYTES: usize = 256 << 10;
const IDS_BYTES: usize = 1 << 20;

impl Tried {
    /// Ordinary requests of each kind come first.
    fn new(world: World, ordinary: &[Posted<'_>]) -> Option<Self> {
        Self::with(world, &[], ordinary)
    }

    fn with(world: World, args: &[&str], ordinary: &[Posted<'_>]) -> Option<Self> {
        let (server, token) = served(world, args);
        for (path, headers, body) in ordinary {
            let reply = server.ask(&token, "POST", path, headers, body);
            assert!(matches!(reply.status, 200 | 201), "{path}: {}", reply.text());
        }
        let Some(ordinary) = peak::count_anew(server.pid()) else {
            skip("the system does not tell how much memory a process takes");
            return None;
        };
        Some(Self { server, token, table: Table::new(ordinary) })
    }

    /// Sends a body, which need not be read to its end.
    fn post(&mut self, name: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        peak::count_anew(self.server.pid());
        let bearer = format!("Bearer {}", self.token);
        let headers = [&[("authorization", bearer.as_str()), ("connection", "close")], headers].concat();
        let reply = self.server.client.send("POST", path, &headers, body);
        let status = reply.map_or(0, |reply| {
            assert!(reply.body.len() < 8 << 20, "{name}: {} bytes", reply.body.len());
            reply.status
        });
        assert!(matches!(status, 0 | 200 | 201 | 400 | 403 | 408 | 413 | 415 | 422 | 431), "{name}: {status}");
        self.table.add(&format!("{path}, {name}, {} KiB, {status}", body.len() >> 10), peak::kib(self.server.pid()));
    }

    fn end(self) {
        // It lives, and knows what it stored.
        self.server.get(&self.token, "/healthz").is(200);
        self.server.stop();
        self.table.end();
    }
}

fn furnished() -> World {
    let world = World::new();
    world.run(&["put", "x", "1"]).ok();
    world
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// What an entry of that size takes that is good is ordinary.
#[test]
fn the_worst_data_takes_little_more_than_other_data() {
    const PATH: &str = "/things/x/entries";
    let good = [b"\"", &vec![b'x'; ENTRY_BYTES - 2][..], b"\""].concat();
    let plain = shapes::values(ENTRY_BYTES).into_iter().map(|(name, body)| (name, vec![JSON], body));
    let packed = shapes::values(ENTRY_BYTES).into_iter().filter(|(name, _)| matches!(*name, "names" | "numbers"));
    let packed = packed.map(|(name, body)| (name, vec![JSON, ZSTD], zstd::encode_all(&body[..], 1).unwrap()));
    let bombs = [
        ("a bomb", vec![JSON, ZSTD], shapes::zstd_of_one(b'[', 8192)),
        ("a bomb", vec![JSON, GZIP], gzip(&vec![b'['; 64 << 20]).repeat(8)),
        ("a window", vec![JSON, ZSTD], greedy_window()),
    ];
    // What was stored stays in memory for a while: each to a server of its own.
    let fresh = || Tried::with(furnished(), &["--max-body", "2"], &[]);
    let Some(ordinary) = fresh() else { return };
    ordinary.server.ask(&ordinary.token, "POST", PATH, &[JSON], &good).is(201);
    let mut table = Table::new(peak::kib(ordinary.server.pid()).unwrap()).at_most(ENTRY_KIB);
    for (name, headers, body) in plain.chain(packed).chain(bombs) {
        let mut tried = fresh().unwrap();
        std::mem::swap(&mut tried.table, &mut table);
        tried.post(name, PATH, &headers, &body);
        std::mem::swap(&mut tried.table, &mut table);
        tried.end();
    }
    table.end();
}

/// A frame that wants a window of 2 GiB.
fn greedy_window() -> Vec<u8> {
    let mut frame = shapes::zstd_of_one(b'a', 1);
    frame[5] = (31 - 10) << 3;
    frame
}

#[test]
fn the_worst_questions_take_little() {
    let world = furnished();
    let id = "ab".repeat(32);
    let ordinary: [Posted<'_>; 4] = [
        ("/have", &[JSON], format!("[\"{id}\"]").into_bytes()),
        ("/sync/have", &[BYTES], vec![1; 16]),
        ("/sync/locate", &[BYTES], vec![1; 16]),
        ("/sync/fetch", &[BYTES], [0_u64.to_be_bytes(), 1_u64.to_be_bytes()].concat()),
    ];
    let Some(mut tried) = Tried::new(world, &ordinary) else { return };
    for (name, body) in shapes::values(HAVE_BYTES) {
        tried.post(name, "/have", &[JSON], &body);
    }
    let ids = format!("[{}\"{id}\"]", format!("\"{id}\",").repeat(49_999));
    tried.post("as many ids as may be", "/have", &[JSON], ids.as_bytes());
    let ranges: Vec<u8> = (0..4096_u64).flat_map(|n| [n * 2, n * 2 + 1]).flat_map(u64::to_be_bytes).collect();
    for path in ["/sync/have", "/sync/locate", "/sync/reconcile", "/sync/reconcile?size=1", "/sync/fetch"] {
        for (name, body) in [
            ("zeros", vec![0; IDS_BYTES]),
            ("ones", vec![0xff; IDS_BYTES]),
            ("one byte too many", vec![1; IDS_BYTES + 1]),
            ("much too much", vec![1; 16 << 20]),
            ("ranges", ranges.clone()),
            ("everything", [0_u64.to_be_bytes(), u64::MAX.to_be_bytes()].concat()),
            // The version of negentropy, and no range, or ranges of ids.
            ("negentropy", [&[0x61][..], &[0; (256 << 10) - 1]].concat()),
            ("negentropy of ids", [&[0x61, 0, 0, 2][..], &[0xff; (256 << 10) - 4]].concat()),
        ] {
            tried.post(name, path, &[BYTES], &body);
        }
        tried.post("a bomb", path, &[BYTES, ZSTD], &shapes::zstd_of_one(0, 8192));
        tried.post("a bomb", path, &[BYTES, GZIP], &gzip(&vec![0; 64 << 20]).repeat(4));
    }
    tried.end();
}

#[test]
fn the_worst_checkpoints_take_little() {
    let world = furnished();
    world.run(&["init", "peer", "--actor", "bob", "--kdf-memory", "8K", "--kdf-passes", "1", "--kdf-lanes", "1"]).ok();
    let card = world.run(&["-d", "peer", "card"]).ok().stdout;
    world.run(&["peer", "add", "bob", card.trim(), "--yes"]).ok();
    world.run(&["-d", "peer", "put", "x", "1"]).ok();
    let note = world.run(&["-d", "peer", "checkpoint"]).ok().stdout;
    let origin = world.run(&["-d", "peer", "card", "--json"]).ok().json()["origin"].clone();
    let token = world.run(&["token", "new", "--peer", "bob", "--scope", "import", "--format", "raw"]).ok().stdout;
    let good = serde_json::json!({"node": origin, "since": 0, "checkpoint": note, "proof": []});
    let Some(mut tried) = Tried::new(world, &[]) else { return };
    tried.token = token.trim().to_owned();
    tried.server.post(&tried.token, "/sync/checkpoint", &good.to_string()).is(200);
    let values = ["node", "since", "checkpoint", "proof"].map(|name| (name, good[name].to_string()));
    let members = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    for (name, body) in shapes::documents(&members, SHOWN_BYTES - 1024) {
        tried.post(&name, "/sync/checkpoint", &[JSON], &body);
    }
    // Proofs that are too long, and notes that somebody signed again and again.
    let hash = format!("\"{}\",", "ab".repeat(32));
    let proof = format!("[{}\"\"]", hash.repeat((SHOWN_BYTES - 2048) / hash.len()));
    let line = note.lines().last().unwrap();
    let notes = serde_json::to_string(&format!("{note}{}", format!("{line}\n").repeat(60_000 / line.len()))).unwrap();
    for (name, body) in [
        ("a proof", good.to_string().replace("[]", &proof)),
        ("signatures", good.to_string().replace(&good["checkpoint"].to_string(), &notes)),
    ] {
        assert!(body.len() < SHOWN_BYTES);
        tried.post(name, "/sync/checkpoint", &[JSON], body.as_bytes());
    }
    tried.post("a bomb", "/sync/checkpoint", &[JSON, ZSTD], &shapes::zstd_of_one(b'[', 8192));
    tried.end();
}

/// What another node sends comes as frames in zstd.
#[test]
fn the_worst_entries_of_an_exchange_take_little() {
    let world = furnished();
    let stream = format!("/sync/entries?node={}", "ab".repeat(16));
    let Some(mut tried) = Tried::new(world, &[(&stream, &[FRAMES, ZSTD], zstd::encode_all(&b""[..], 1).unwrap())])
    else {
        return;
    };
    for Worst { name, form, bytes } in streams::packed().into_iter().chain(streams::large()) {
        if form == Form::Frames {
            tried.post(name, &stream, &[FRAMES, ZSTD], &streams::zstd(&bytes));
        }
    }
    for (name, body) in [
        ("zeros", shapes::zstd_of_one(0, 8192)),
        ("ones", shapes::zstd_of_one(0xff, 8192)),
        ("a window", greedy_window()),
    ] {
        tried.post(name, &stream, &[FRAMES, ZSTD], &body);
    }
    tried.end();
}

/// Sends bytes again and again until nobody takes them, or as often as is
/// enough.
fn again(tried: &Tried, first: &[u8], again: &[u8], times: usize) -> Option<u16> {
    let mut connection = tried.server.client.connect().unwrap();
    let sent = connection.write_all(first).and_then(|()| (0..times).try_for_each(|_| connection.write_all(again)));
    let _ = sent.and_then(|()| connection.flush());
    // An answer may have come, or the connection broke under what was sent.
    connection.sock.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let reply = Reply::read(&mut BufReader::new(&mut connection), false).ok().map(|reply| reply.status);
    let _ = connection.read(&mut [0]);
    reply
}

#[test]
fn the_worst_heads_and_chunks_take_little() {
    let quick = ["--head-timeout", "1", "--stall-timeout", "1", "--idle-timeout", "1"];
    let Some(mut tried) = Tried::with(furnished(), &quick, &[]) else { return };
    let bearer = format!("Bearer {}", tried.token);
    let begun = |path: &str| head("POST", path, &[("authorization", &bearer), JSON], None);
    let piece = [b'x'; 64 << 10];
    let lines = b"x: y\r\n".repeat(1 << 13);
    let ended = [&begun("/things/x/entries")[..], &chunk(b"1"), b"0\r\n"].concat();
    let requests = head("GET", "/healthz", &[], Some(0)).repeat(1 << 8);
    let cases: [(&str, Vec<u8>, &[u8]); 10] = [
        ("a long line", b"GET /".to_vec(), &piece),
        ("a long query", b"GET /things?prefix=".to_vec(), &piece),
        ("a long header", b"GET /healthz HTTP/1.1\r\nx: ".to_vec(), &piece),
        ("many headers", b"GET /healthz HTTP/1.1\r\n".to_vec(), &lines),
        ("the size of a chunk", begun("/have"), &[b'0'; 64 << 10]),
        ("words behind the size of a chunk", [&begun("/have")[..], b"1;"].concat(), &piece),
        ("many trailers", ended.clone(), &lines),
        ("a long trailer", [&ended[..], b"x: "].concat(), &piece),
        ("chunks of a byte", begun("/import"), &b"1\r\n\n\r\n"[..].repeat(1 << 13).leak()[..]),
        ("requests that nobody waits for", Vec::new(), &requests),
    ];
    for (name, first, next) in cases {
        peak::count_anew(tried.server.pid());
        let status = again(&tried, &first, next, 16);
        tried.table.add(&format!("{name}, {status:?}"), peak::kib(tried.server.pid()));
    }
    tried.end();
}

//! A peer whose server answers the worst that it can: an exchange takes no more
//! than 64 MiB beyond what it takes with an honest one.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::liar::{Asked, Liar, Said};
use super::node::{Node, Place};
use super::worst_streams::{self as streams, Form};
use crate::peak::{self, Table};
use crate::shapes;

/// The longest answer that is kept in memory.
const ANSWER_BYTES: usize = 4 << 20;

/// The longest description of a problem.
const PROBLEM_BYTES: usize = 1 << 20;

/// What is said at which path.
type Lie = (&'static str, Said);

/// A node, and its peer, which lies as it is told.
struct Pair {
    a: Node,
    lie: Arc<Mutex<Option<Lie>>>,
    table: Table,
}

impl Pair {
    /// Both have much in common, and each has what the other one lacks. Honest
    /// exchanges of each kind come first, of copies.
    fn new(place: &Place) -> Option<(Self, super::node::Server)> {
        let (a, b) = (place.node("a"), place.node("b"));
        a.knows(&b);
        a.write("plant", 1100);
        let file = place.path("all.ndjson");
        a.ok(&["export", "-o", file.to_str().unwrap()]);
        b.ok(&["import", file.to_str().unwrap()]);
        a.write("door", 3);
        b.write("lamp", 3);
        let server = b.serve_plainly();
        let lie = Arc::new(Mutex::new(None::<Lie>));
        let told = Arc::clone(&lie);
        let liar = Liar::new(&server, move |asked: &Asked| {
            let mut lie = told.lock().unwrap();
            match lie.take_if(|(path, _)| asked.target.starts_with(*path)) {
                Some((_, said)) => said,
                None => Said::Truth,
            }
        });
        liar.poses(&a, &b);
        let (done, ordinary) = peak::of(&mut a.command(&["sync", "b", "--dry-run"]));
        assert!(done.status.success(), "{done:?}");
        let Some(ordinary) = ordinary else {
            println!("skipped: this system does not tell how much memory a process takes");
            return None;
        };
        Some((Self { a, lie, table: Table::new(ordinary) }, server))
    }

    /// An exchange in which this is said. It was asked for.
    fn told(&mut self, how: &str, path: &'static str, name: &str, said: Said) {
        *self.lie.lock().unwrap() = Some((path, said));
        let a = self.a.copied("once");
        let (output, kib) = peak::of(&mut a.command(&[how, "b", "--tries", "1", "--stall", "5s", "--json"]));
        let code = output.status.code();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!err.contains("panicked") && err.len() < 100_000, "{how} {path} {name}: {err}");
        assert!(matches!(code, Some(0 | 1 | 4 | 6 | 14)), "{how} {path} {name}: {code:?} {err}");
        assert!(self.lie.lock().unwrap().is_none(), "{how} does not ask for {path}: {code:?} {err}");
        self.table.add(&format!("{how} {path}, {name}, exit {}", code.unwrap_or(-1)), kib);
    }
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Said {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    Said::Instead([head.as_bytes(), body].concat())
}

fn ok(body: &[u8]) -> Said {
    answer("200 OK", "", body)
}

/// Shapes of which each is another way to be large, so that not all of them are
/// tried in every place.
fn some(bytes: usize) -> impl Iterator<Item = shapes::Shape> {
    let some = ["one string", "one string of escapes", "names", "empty strings", "empty objects", "numbers"];
    shapes::values(bytes).into_iter().filter(move |(name, _)| some.contains(name))
}

#[test]
fn the_worst_state_takes_little() {
    let place = Place::new();
    let Some((mut pair, server)) = Pair::new(&place) else { return };
    for (name, body) in shapes::values(ANSWER_BYTES) {
        pair.told("pull", "/sync/state", name, ok(&body));
    }
    // In the place of a member, in an answer that is right otherwise.
    let all = shapes::values(ANSWER_BYTES - 4096);
    for (member, name) in [
        ("origin", "one string"),
        ("checkpoint", "one string"),
        ("checkpoint", "one string of escapes"),
        ("proof", "empty strings"),
        ("revision", "one string"),
        ("things", "one string"),
        ("contradiction", "one string"),
        ("unknown", "names"),
    ] {
        let (_, value) = all.iter().find(|(known, _)| *known == name).unwrap().clone();
        let value = String::from_utf8(value).unwrap();
        let edit = move |body: Vec<u8>| {
            let mut state: Value = serde_json::from_slice(&body).unwrap();
            state[member] = "HERE".into();
            state.to_string().replace("\"HERE\"", &value).into_bytes()
        };
        pair.told("pull", "/sync/state", &format!("{name} for {member}"), Said::EditedBy(Arc::new(edit)));
    }
    drop(server);
    pair.table.end();
}

#[test]
fn the_worst_answers_take_little() {
    let place = Place::new();
    let Some((mut pair, server)) = Pair::new(&place) else { return };
    for (name, body) in some(ANSWER_BYTES) {
        pair.told("push", "/sync/checkpoint", name, ok(&body));
    }
    let of_bytes = |byte: u8| vec![byte; ANSWER_BYTES];
    // The version of negentropy, then ranges: to be passed over, or of ids.
    let ranges = [&[0x61][..], &of_bytes(0)[1..]].concat();
    let ids = [&[0x61, 0, 0, 2, 0x80, 0x80, 0x70][..], &of_bytes(0xff)[7..]].concat();
    for (how, path) in [("pull", "/sync/reconcile"), ("pull", "/sync/locate")] {
        for (name, body) in [("zeros", &of_bytes(0)), ("ones", &of_bytes(0xff)), ("ranges", &ranges), ("ids", &ids)] {
            pair.told(how, path, name, ok(body));
        }
    }
    for (name, said) in problems() {
        pair.told("pull", "/sync/reconcile", &name, said);
    }
    for (name, body) in some(ANSWER_BYTES) {
        pair.told("push", "/sync/entries", name, ok(&body));
    }
    // Heads of answers, and chunks.
    let head = b"HTTP/1.1 200 OK\r\n";
    for (name, bytes) in [
        ("a long header", [&head[..], b"x: ", &vec![b'x'; 8 << 20]].concat()),
        ("many headers", [&head[..], &b"x: y\r\n".repeat(1 << 20)].concat()),
        ("many early hints", b"HTTP/1.1 103 Early Hints\r\nlink: </>\r\n\r\n".repeat(1 << 18)),
        (
            "chunks of a byte",
            [&head[..], b"transfer-encoding: chunked\r\n\r\n", &b"1\r\n[\r\n".repeat(1 << 20)].concat(),
        ),
        ("a length beyond all", [&head[..], b"content-length: 18446744073709551615\r\n\r\n", &of_bytes(b'[')].concat()),
    ] {
        pair.told("pull", "/sync/state", name, Said::Raw(bytes));
    }
    drop(server);
    pair.table.end();
}

/// Problems as long as they are read, and ones that unpack to more.
fn problems() -> Vec<(String, Said)> {
    let refused = |headers: &str, body: &[u8]| answer("422 Unprocessable Content", headers, body);
    let members = [("title", "\"t\""), ("code", "\"c\""), ("detail", "\"d\""), ("candidates", "[]")];
    let documents = shapes::documents(&members, PROBLEM_BYTES - 1024).into_iter();
    let wanted =
        ["one string", "one string of escapes for detail", "empty strings for candidates", "names", "brackets"];
    let mut all: Vec<(String, Said)> = documents
        .filter(|(name, _)| wanted.contains(&name.as_str()))
        .map(|(name, body)| (format!("a problem of {name}"), refused("", &body)))
        .collect();
    for (name, byte) in [("a problem that is a bomb", b'['), ("a problem of nothing", 0)] {
        all.push((name.to_owned(), refused("content-encoding: zstd\r\n", &shapes::zstd_of_one(byte, 8192))));
    }
    all
}

#[test]
fn the_worst_streams_take_little() {
    let place = Place::new();
    let Some((mut pair, server)) = Pair::new(&place) else { return };
    for stream in streams::packed().into_iter().chain(streams::large()).filter(|stream| stream.form == Form::Frames) {
        pair.told("pull", "/sync/fetch", stream.name, ok(&streams::zstd(&stream.bytes)));
    }
    for (name, body) in [
        ("zeros", shapes::zstd_of_one(0, 1 << 16)),
        ("ones", shapes::zstd_of_one(0xff, 1 << 16)),
        ("what is not packed", vec![b'['; 8 << 20]),
    ] {
        pair.told("pull", "/sync/fetch", name, ok(&body));
    }
    let lie = Said::Endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"8\r\n\"\"\"\"\"\"\"\"\r\n");
    pair.told("pull", "/sync/fetch", "chunks without an end", lie);
    drop(server);
    pair.table.end();
}

//! The worst that a server can answer to a command that reads it: no more than
//! 64 MiB beyond what an ordinary answer takes.

use super::liar::{entry, liar, say, world};
use super::reading::bare;
use super::world::{World, skip};
use super::worst_streams as streams;
use crate::peak::{self, Table};
use crate::shapes;

/// The longest answers that are read, and a little less.
const SMALL_BYTES: usize = (4 << 20) - 1024;
const ENTRY_BYTES: usize = (32 << 20) - 4096;
const LISTING_BYTES: usize = (32 << 20) - 4096;
const PAGE_BYTES: usize = (56 << 20) - 4096;

/// Bytes of the largest data.
const DATA_BYTES: usize = 16 << 20;

const GET: &[&str] = &["get", "part-42"];
const SHOW: &[&str] = &["show", "0000000000"];
const LOG: &[&str] = &["log", "part-42"];

/// What a command takes to which a server says this.
fn told(world: &World, args: &[&str], headers: &'static str, body: Vec<u8>) -> (Option<i32>, Option<u64>) {
    let url = liar(move |_, stream| say(stream, "200 OK", headers, &body));
    let args = [args, &["--url", &url, "--token-file", "token"]].concat();
    let (output, kib) = peak::of(&mut bare(world, &args));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!err.contains("panicked") && err.len() < 4000, "{args:?}: {err}");
    (output.status.code(), kib)
}

/// A table of commands of which an ordinary answer is this.
fn table(world: &World, args: &[&str], body: Vec<u8>) -> Option<Table> {
    let (code, kib) = told(world, args, "", body);
    assert_eq!(code, Some(0), "{args:?}");
    if kib.is_none() {
        skip("this system does not tell how much memory a process takes");
    }
    kib.map(Table::new)
}

fn all_take_little(
    mut table: Table,
    world: &World,
    args: &[&str],
    answers: impl IntoIterator<Item = (String, Vec<u8>)>,
) {
    for (name, body) in answers {
        let (code, kib) = told(world, args, "thingdb-next-position: 7\r\n", body);
        assert_eq!(code, Some(1), "{args:?} {name}");
        table.add(&format!("{args:?}, {name}"), kib);
    }
    table.end();
}

fn named(shapes: Vec<shapes::Shape>) -> Vec<(String, Vec<u8>)> {
    shapes.into_iter().map(|(name, body)| (name.to_owned(), body)).collect()
}

/// Of what is long, those that are read furthest: all would take a debug build
/// minutes.
fn some(bytes: usize) -> Vec<(String, Vec<u8>)> {
    let some = ["one string", "empty objects", "blanks", "no JSON at all"];
    named(shapes::values(bytes)).into_iter().filter(|(name, _)| some.contains(&name.as_str())).collect()
}

/// An entry with a value in the place of one of its members.
fn with(member: &str, value: &str) -> Vec<u8> {
    let mut entry = entry();
    entry[member] = "HERE".into();
    entry.to_string().replace("\"HERE\"", value).into_bytes()
}

/// Every member of an entry, as large as it can be.
fn large_members(bytes: usize, members: &[&str]) -> Vec<(String, Vec<u8>)> {
    let all = shapes::values(bytes);
    let of = |name: &str| String::from_utf8(all.iter().find(|(known, _)| *known == name).unwrap().1.clone()).unwrap();
    let (string, escapes, strings) = (of("one string"), of("one string of escapes"), of("empty strings"));
    [
        ("thing", &string),
        ("seq", &string),
        ("time", &escapes),
        ("actor", &strings),
        ("action", &string),
        ("prev", &strings),
        ("media_type", &escapes),
        ("data", &string),
        ("content", &string),
    ]
    .into_iter()
    .filter(|(member, _)| members.is_empty() || members.contains(member))
    .map(|(member, value)| (format!("a large {member}"), with(member, value)))
    .collect()
}

#[test]
fn the_worst_entries_take_little() {
    let world = world();
    let largest = format!("\"{}\"", "A".repeat(DATA_BYTES.div_ceil(3) * 4));
    let Some(table) = table(&world, GET, with("data", &largest)) else { return };
    let values = some(ENTRY_BYTES).into_iter();
    all_take_little(table, &world, GET, values.chain(large_members(ENTRY_BYTES, &[])));
}

#[test]
fn the_worst_pages_take_little() {
    let world = world();
    let largest = format!("\"{}\"", "A".repeat(DATA_BYTES.div_ceil(3) * 4));
    let Some(table) = table(&world, LOG, [b"[", &with("data", &largest)[..], b"]"].concat()) else { return };
    let list = |body: Vec<u8>| [b"[", &body[..], b"]"].concat();
    let values = some(PAGE_BYTES).into_iter();
    let members =
        large_members(PAGE_BYTES, &["thing", "media_type", "prev"]).into_iter().map(|(name, body)| (name, list(body)));
    // As many entries as go into a page, which are none that were asked for.
    let one = format!("{},", entry().to_string().replace("part-42", "part-43"));
    let many = one.repeat(PAGE_BYTES / one.len());
    let many = ("many entries".to_owned(), list(many.trim_end_matches(',').as_bytes().to_vec()));
    all_take_little(table, &world, LOG, values.chain(members).chain([many]));
}

#[test]
fn the_worst_listings_take_little() {
    let world = world();
    for args in [&["ls"][..], &["forks"]] {
        let Some(table) = table(&world, args, b"[]".to_vec()) else { return };
        all_take_little(table, &world, args, some(LISTING_BYTES));
    }
}

#[test]
fn the_worst_small_answers_take_little() {
    let world = world();
    let Some(table) = table(&world, &["ls"], b"[]".to_vec()) else { return };
    let mut all = named(shapes::values(SMALL_BYTES));
    all.push(("a note of nothing".to_owned(), b"thingdb\n".repeat(SMALL_BYTES / 8)));
    let source = World::new();
    let note = source.run(&["checkpoint"]).ok().stdout;
    let line = note.lines().last().unwrap();
    let signatures = format!("{note}{}", format!("{line}\n").repeat((SMALL_BYTES - note.len()) / (line.len() + 1)));
    all.push(("a note with many signatures".to_owned(), signatures.into_bytes()));
    let mut tables = vec![table];
    for args in [&["stats"][..], &["checkpoint"]] {
        let mut table = tables.pop().unwrap();
        for (name, body) in &all {
            let (code, kib) = told(&world, args, "", body.clone());
            assert_eq!(code, Some(1), "{args:?} {name}");
            table.add(&format!("{args:?}, {name}"), kib);
        }
        tables.push(table);
    }
    tables.pop().unwrap().end();
    let Some(table) = self::table(&world, GET, entry().to_string().into_bytes()) else { return };
    all_take_little(table, &world, SHOW, named(shapes::values(SMALL_BYTES)));
}

/// A stream is handed on as it comes.
#[test]
fn the_worst_streams_take_little() {
    let world = world();
    let Some(mut table) = table(&world, &["ls"], b"[]".to_vec()) else { return };
    for stream in streams::packed().into_iter().chain(streams::large()) {
        let form = if stream.form == streams::Form::Frames { "--binary" } else { "--compress=none" };
        let args = ["export", "-o", "exported", form];
        let headers = "thingdb-next-position: 7\r\ncontent-encoding: zstd\r\n";
        let (code, kib) = told(&world, &args, headers, streams::zstd(&stream.bytes));
        assert_ne!(code, Some(0), "{}", stream.name);
        table.add(&format!("{args:?}, {}, exit {code:?}", stream.name), kib);
    }
    table.end();
}

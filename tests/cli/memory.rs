//! How much memory `thingdb import` takes beyond what it takes for an ordinary
//! file, whatever a megabyte holds.

use std::process::Stdio;

use thingdb::format::Line;

use super::world::{Answer, World, skip};
use super::worst::{self, INPUT_BYTES, Worst};
use crate::peak::{Table, Watch};

/// Runs a command, and watches how much memory it takes at most.
pub(crate) fn peak(world: &World, args: &[&str]) -> (Answer, Option<u64>) {
    let child = world.thingdb(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let watch = Watch::of(child.id());
    (Answer::wait(child), watch.end())
}

fn fresh() -> World {
    let world = World::new();
    world.run(&["put", "here", "1"]).ok();
    world
}

/// What an ordinary import of one line takes.
fn ordinary() -> Option<u64> {
    let world = fresh();
    let lines = world.run(&["export"]).ok().stdout;
    world.write("ordinary", lines);
    let (answer, peak) = peak(&world, &["import", "ordinary", "--json"]);
    answer.ok();
    peak
}

/// What an import takes that stores as much in payloads of a megabyte: the
/// storage keeps 64 MiB of what was written.
fn ordinary_and_stored() -> Option<u64> {
    let world = fresh();
    world.write("ordinary", worst::ordinary());
    let (answer, peak) = peak(&world, &["import", "ordinary", "--json", "--trust", "all"]);
    answer.ok();
    peak
}

fn all_take_little(inputs: impl IntoIterator<Item = (String, Vec<u8>)>, args: &[&str]) {
    all_take_little_beyond(ordinary(), inputs, args);
}

fn all_take_little_beyond(ordinary: Option<u64>, inputs: impl IntoIterator<Item = (String, Vec<u8>)>, args: &[&str]) {
    let Some(ordinary) = ordinary else {
        return skip("this system does not tell how much memory a process takes");
    };
    let mut table = Table::new(ordinary);
    if args.contains(&"all") {
        // What is stored is held by the storage, too, until both copies have it.
        table = table.at_most(80 << 10);
    }
    for (name, bytes) in inputs {
        assert!(bytes.len() <= INPUT_BYTES, "{name}: {} bytes", bytes.len());
        let world = fresh();
        world.write("worst", &bytes);
        let (answer, peak) = peak(&world, &[&["import", "worst", "--json"], args].concat());
        assert!([0, 1, 4, 6, 15].contains(&answer.code), "{name}: {answer:?}");
        table.add(&format!("{name}, {} KiB, {args:?}, exit {}", bytes.len() >> 10, answer.code), peak);
        assert_eq!(world.run(&["get", "here", "--field", ""]).ok().stdout, "1\n");
    }
    table.end();
}

fn as_they_are() -> impl Iterator<Item = (String, Vec<u8>)> {
    worst::plain(INPUT_BYTES).into_iter().map(|Worst { name, bytes, .. }| (name.to_owned(), bytes))
}

/// All with zstd, whose window is large; those of the largest payload with gzip
/// as well.
fn compressed(inputs: Vec<Worst>) -> impl Iterator<Item = (String, Vec<u8>)> {
    inputs.into_iter().flat_map(|Worst { name, bytes, .. }| {
        let zstd = (format!("{name}, zstd"), worst::zstd(&bytes));
        let gzip = name.contains("largest").then(|| (format!("{name}, gzip"), worst::gzip(&bytes)));
        [Some(zstd), gzip].into_iter().flatten()
    })
}

#[test]
fn a_megabyte_of_anything_takes_little_memory() {
    all_take_little(as_they_are(), &[]);
}

#[test]
fn a_megabyte_that_unpacks_to_much_takes_little_memory() {
    all_take_little(compressed(worst::packed()), &[]);
}

/// As lines, frames that name the same packets are hundreds of times as large:
/// one after the other goes to the file.
#[test]
fn what_is_kept_of_a_stream_takes_little_memory() {
    all_take_little(compressed(worst::plain(64 << 10)), &["--rejects", "rejects"]);
}

/// Their envelopes, which the frames name once, are left out where they would
/// fill the disk.
#[test]
fn what_is_kept_of_frames_does_not_fill_the_disk() {
    let world = fresh();
    let Worst { bytes, .. } = worst::plain(256 << 10).into_iter().next().unwrap();
    world.write("worst", &bytes);
    let answer = world.run(&["import", "worst", "--json", "--rejects", "rejects"]).exit(6);
    let refused = answer.json()["refused"].as_u64().unwrap();
    let bare = answer.stderr.split(" entries are kept without envelopes").next().unwrap().rsplit('"').next().unwrap();
    // Some stand beside the number so that it can be read.
    let bare: u64 = bare.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap();
    assert!(bare > 100 && bare < refused, "{bare} of {refused}");
    let kept = std::fs::read(world.path("rejects")).unwrap();
    assert!(kept.len() < 80 << 20, "{} bytes", kept.len());
    let lines: Vec<&[u8]> = kept.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len() as u64, refused);
    // Each is an entry all the same.
    let envelopes = |line: &&[u8]| match Line::parse(line, 1).unwrap() {
        Line::Entry(entry) => entry.envelopes.len(),
        other => panic!("{other:?}"),
    };
    let counts: Vec<usize> = lines.iter().map(envelopes).collect();
    println!("{bare} of {refused}, {} bytes, {counts:?}", kept.len());
    assert_eq!(counts.iter().filter(|count| **count == 0).count() as u64, bare);
    assert_eq!(counts.iter().filter(|count| **count == 8).count() as u64, refused - bare);
}

#[test]
fn a_megabyte_of_a_trusted_key_takes_little_memory() {
    all_take_little(compressed(worst::packed()), &["--trust", "all"]);
}

#[test]
fn a_megabyte_that_unpacks_to_large_lines_takes_little_memory() {
    all_take_little(compressed(worst::large()), &[]);
}

#[test]
fn the_largest_payloads_of_a_trusted_key_take_little_memory() {
    let payloads = worst::large().into_iter().filter(|worst| worst.name.ends_with("s of the largest payload"));
    // Each is stored, which takes its time: in one compression.
    let payloads = payloads.filter(|worst| worst.form != worst::Form::Array);
    let packed = payloads.map(|Worst { name, bytes, .. }| (name.to_owned(), worst::zstd(&bytes)));
    all_take_little_beyond(ordinary_and_stored(), packed, &["--trust", "all"]);
}

//! How much memory `thingdb import` takes beyond what it takes for an ordinary
//! file, whatever a megabyte holds.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use super::world::{Answer, World, skip};
use super::worst::{self, INPUT_BYTES, Worst};

/// What a command may take beyond what it takes anyway.
const MOST_KIB: u64 = 64 << 10;

/// Runs a command, and watches how much memory it takes at most.
pub(crate) fn peak(world: &World, args: &[&str]) -> (Answer, Option<u64>) {
    let child = world.thingdb(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let watch = thread::spawn(move || {
        let mut peak = None;
        // There until it has ended, and without memory from then on.
        while let Ok(text) = std::fs::read_to_string(&status) {
            let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
            peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            thread::sleep(Duration::from_millis(1));
        }
        peak
    });
    let answer = Answer::wait(child);
    (answer, watch.join().unwrap())
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
    let mut greedy = Vec::new();
    for (name, bytes) in inputs {
        assert!(bytes.len() <= INPUT_BYTES, "{name}: {} bytes", bytes.len());
        let world = fresh();
        world.write("worst", &bytes);
        let (answer, peak) = peak(&world, &[&["import", "worst", "--json"], args].concat());
        assert!([0, 1, 4, 6, 15].contains(&answer.code), "{name}: {answer:?}");
        let more = peak.unwrap_or(0).saturating_sub(ordinary);
        println!("{name}, {} KiB, {args:?}: {} MiB more, exit {}", bytes.len() >> 10, more >> 10, answer.code);
        if more >= MOST_KIB {
            greedy.push((name, more));
        }
        assert_eq!(world.run(&["get", "here", "--field", ""]).ok().stdout, "1\n");
    }
    assert!(greedy.is_empty(), "{greedy:?}");
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
    all_take_little(compressed(worst::packed()), &["--rejects", "rejects"]);
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

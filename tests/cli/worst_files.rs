//! The worst that can stand in a file that somebody was handed: a card, a
//! checkpoint, evidence, entries to be verified. No more than 64 MiB beyond what
//! an ordinary one takes.

use super::memory::peak;
use super::world::{World, skip};
use super::worst::{self, Worst};
use crate::peak::Table;
use crate::shapes;

/// As long as any such file is read.
const FILE_BYTES: usize = 16 << 20;

/// Files as long as they are read, and longer ones, of the kind of `ordinary`.
fn files(ordinary: &str) -> Vec<(String, Vec<u8>)> {
    let last = ordinary.lines().last().unwrap().to_owned() + "\n";
    let first = ordinary.lines().next().unwrap().to_owned() + "\n";
    let again = |text: &str, bytes: usize| text.as_bytes().repeat(bytes / text.len());
    let mut files: Vec<(String, Vec<u8>)> = vec![
        ("the last line again and again".to_owned(), [ordinary.as_bytes(), &again(&last, FILE_BYTES)].concat()),
        ("the first line again and again".to_owned(), again(&first, FILE_BYTES)),
        ("itself again and again".to_owned(), again(ordinary, FILE_BYTES)),
        ("a long line behind it".to_owned(), [ordinary.as_bytes(), &again("A", FILE_BYTES)].concat()),
        ("a long line".to_owned(), [first.trim_end().as_bytes(), &again("A", FILE_BYTES)].concat()),
        ("line ends".to_owned(), again("\n", FILE_BYTES)),
        ("its first line, and line ends".to_owned(), [first.as_bytes(), &again("\n", FILE_BYTES)].concat()),
        ("zeros".to_owned(), again("\0", 4 * FILE_BYTES)),
        ("what is no text".to_owned(), vec![0xff; FILE_BYTES]),
        ("letters of three bytes".to_owned(), again("\u{202e}", FILE_BYTES)),
        ("a bomb".to_owned(), shapes::zstd_of_one(b'\n', 8192)),
    ];
    let some = ["one string of escapes", "brackets", "names"];
    let values = shapes::values(FILE_BYTES).into_iter().filter(|(name, _)| some.contains(name));
    files.extend(values.map(|(name, file)| (name.to_owned(), file)));
    files
}

fn all_take_little(world: &World, args: &[&str], ordinary: &str, exits: &[i32]) {
    world.write("file", ordinary);
    let (answer, kib) = peak(world, args);
    answer.ok();
    let Some(kib) = kib else { return skip("this system does not tell how much memory a process takes") };
    let mut table = Table::new(kib);
    for (name, file) in files(ordinary) {
        world.write("file", file);
        let (answer, kib) = peak(world, args);
        assert!(exits.contains(&answer.code), "{args:?} {name}: {}", answer.code);
        assert!(answer.stderr.len() < 10_000, "{args:?} {name}: {} bytes", answer.stderr.len());
        table.add(&format!("{args:?}, {name}, exit {}", answer.code), kib);
    }
    table.end();
}

fn furnished() -> World {
    let world = World::new();
    world.run(&["put", "x", "1"]).ok();
    world
}

#[test]
fn the_worst_checkpoints_take_little() {
    let world = furnished();
    let note = world.run(&["checkpoint"]).ok().stdout;
    all_take_little(&world, &["verify", "--checkpoint", "file"], &note, &[0, 2, 4]);
}

#[test]
fn the_worst_cards_take_little() {
    let world = furnished();
    let other = furnished();
    let card = other.run(&["card"]).ok().stdout;
    all_take_little(&world, &["peer", "add", "other", "@file", "--yes"], &card, &[0, 2, 4]);
}

#[test]
fn the_worst_evidence_takes_little() {
    let world = World::new();
    let vector = include_str!("../vectors/evidence/good-same-size.txt");
    let (_, good) = vector.split_once("\n\n").unwrap();
    all_take_little(&world, &["verify-evidence", "file"], good, &[0, 2, 4]);
}

/// Entries that are verified without a database.
#[test]
fn the_worst_streams_take_little_to_verify() {
    let world = furnished();
    let stream = world.run(&["export"]).ok().stdout;
    world.write("file", stream);
    let (answer, kib) = peak(&world, &["verify", "@file"]);
    assert!([0, 6].contains(&answer.code), "{answer:?}");
    let Some(kib) = kib else { return skip("this system does not tell how much memory a process takes") };
    let mut table = Table::new(kib);
    let plain = worst::plain(worst::INPUT_BYTES).into_iter().map(|Worst { name, bytes, .. }| (name, bytes));
    let packed = worst::packed().into_iter().chain(worst::large());
    let packed = packed.map(|Worst { name, bytes, .. }| (name, worst::zstd(&bytes)));
    for (name, file) in plain.chain(packed) {
        world.write("file", &file);
        let (answer, kib) = peak(&world, &["verify", "@file", "--json"]);
        assert!([1, 2, 4, 6, 15].contains(&answer.code), "{name}: {answer:?}");
        table.add(&format!("{name}, {} KiB, exit {}", file.len() >> 10, answer.code), kib);
    }
    table.end();
}

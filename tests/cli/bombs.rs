//! Small files that unpack to gigabytes: `thingdb import` takes little memory,
//! says what is wrong, and keeps what is good around it.

use std::io::Write;

use serde_json::json;

use super::memory::peak;
use super::world::{Answer, World, skip};
use crate::shapes::zstd_of_one;

/// What an import may take, whatever it reads: a line may have 24 MiB, and some
/// are under way at once.
const MOST_MIB: u64 = 300;

/// Bytes of a block of zstd.
const BLOCK: usize = 128 << 10;

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A database, and the three entry lines of another one.
fn furnished() -> (World, Vec<u8>) {
    let world = World::new();
    world.run(&["put", "here", "1"]).ok();
    for n in ["1", "2", "3"] {
        world.run(&["put", "x", n]).ok();
    }
    let lines = world.run(&["export", "--prefix", "x"]).ok().stdout;
    world.shell("rm -r db").ok();
    world.run(&["init", "--actor", "bob", "--kdf-memory", "8K", "--kdf-passes", "1", "--kdf-lanes", "1"]).ok();
    world.run(&["put", "here", "1"]).ok();
    (
        world,
        lines
            .lines()
            .filter(|line| line.starts_with("{\"v\""))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
            .into(),
    )
}

/// Imports a file, and watches how much memory the process takes at most.
fn import(world: &World, file: &str) -> Answer {
    let (answer, peak) = peak(world, &["import", file, "--trust", "all", "--rejects", "rejects", "--json"]);
    match peak {
        Some(kib) => {
            println!("{file}: {} MiB at most", kib >> 10);
            assert!(kib >> 10 < MOST_MIB, "{file}: {} MiB", kib >> 10);
        }
        None => skip("this system does not tell how much memory a process takes"),
    }
    answer
}

/// The good lines are in, and nothing that was there is different.
fn assert_kept(world: &World) {
    assert_eq!(world.run(&["get", "here", "--field", ""]).ok().stdout, "1\n");
    assert_eq!(world.run(&["log", "x"]).ok().lines().len(), 3);
    let report = world.run(&["verify", "--json"]).exit(4).json();
    let problems = report["problems"].as_array().unwrap();
    assert!(problems.iter().all(|problem| problem["verdict"] == "unknown actor"), "{problems:?}");
}

#[test]
fn one_endless_line_takes_bounded_memory_and_refuses_that_line_only() {
    // 8 GiB from 256 KiB, 2 GiB from 2 MiB.
    let endless: [(&str, Vec<u8>); 2] =
        [("bomb.zst", zstd_of_one(b'a', 65_536)), ("bomb.gz", gzip(&vec![b'a'; 64 << 20]).repeat(32))];
    for (file, bomb) in endless {
        let (world, lines) = furnished();
        let pack = if file == "bomb.zst" { zstd } else { gzip };
        let end = lines.split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
        let start = &lines[..lines.len() - end.len()];
        // What comes behind it is good again.
        let parts = [pack(start), bomb, pack(b"\n"), pack(end)];
        world.write(file, parts.concat());
        let answer = import(&world, file).exit(6).says("error[bad-lines]: 1 line refused, 3 stored");
        let answer = answer.says("line 3: longer than").says("hint:");
        let summary = answer.json();
        assert_eq!((&summary["added"], &summary["refused"]), (&json!(3), &json!(1)));
        let kept = std::fs::metadata(world.path("rejects")).unwrap().len();
        assert!(kept < 1 << 20, "{kept} bytes of the bomb are kept");
        assert_kept(&world);
    }
}

#[test]
fn endless_short_lines_take_bounded_memory() {
    // As many as there is time for: the memory must not grow with their number.
    let short = b"x\n".repeat(1 << 20);
    for (file, bomb) in [("bomb.zst", zstd(&short)), ("bomb.gz", gzip(&short))] {
        assert!(bomb.len() < 16 << 10, "{} bytes", bomb.len());
        let (world, lines) = furnished();
        let pack = if file == "bomb.zst" { zstd } else { gzip };
        world.write(file, [pack(&lines), bomb].concat());
        let answer = import(&world, file).exit(6).says("error[bad-lines]: 1 048 576 lines refused, 3 stored");
        let answer = answer.says("and 1 048 566 more").says("line 4, column 1");
        let summary = answer.json();
        assert_eq!((&summary["added"], &summary["refused"]), (&json!(3), &json!(1 << 20)));
        assert_eq!(summary["reasons"].as_array().unwrap().len(), 1000);
        assert_kept(&world);
    }
    // Nothing but line ends is nothing at all.
    let (world, lines) = furnished();
    world.write("bomb.zst", [zstd(&lines), zstd_of_one(b'\n', 32), zstd(b"{}\n")].concat());
    let answer = import(&world, "bomb.zst").exit(6).says("1 line refused, 3 stored");
    assert_eq!(answer.json()["reasons"][0]["line"], 4 + 32 * BLOCK);
    assert_kept(&world);
}

/// A proof file of which nearly all is line ends holds all the same, in little memory.
#[test]
fn endless_empty_lines_around_a_proof_take_nothing() {
    let world = World::new();
    world.run(&["put", "x", "1"]).ok();
    let proof = world.run(&["prove", "x"]).ok().stdout;
    let (first, rest) = proof.split_at(proof.find('\n').unwrap() + 1);
    // 512 MiB, and some with a CR.
    let between = [zstd_of_one(b'\n', 4096), zstd(&b"\r\n".repeat(1 << 20))].concat();
    world.write("bomb.zst", [zstd(first.as_bytes()), between, zstd(rest.as_bytes())].concat());
    let (answer, peak) = peak(&world, &["verify-proof", "bomb.zst", "--json"]);
    assert_eq!(answer.ok().json()["entries"], 1);
    match peak {
        Some(kib) => assert!(kib >> 10 < 100, "{} MiB", kib >> 10),
        None => skip("this system does not tell how much memory a process takes"),
    }
    // The line that is wrong is named by its number all the same.
    let torn = rest.replacen("\"place\"", "\"plate\"", 1);
    let blanks = zstd_of_one(b'\n', 16);
    world.write("bad.zst", [zstd(first.as_bytes()), blanks, zstd(torn.as_bytes())].concat());
    let report = world.run(&["verify-proof", "bad.zst", "--json"]).exit(4).json();
    assert_eq!(report["problems"][0]["line"], 2 + 16 * BLOCK, "{report}");
}

/// An array has elements in the place of lines.
#[test]
fn an_endless_element_of_an_array_takes_bounded_memory() {
    for start in [&b"[\""[..], b"[{\"a\":"] {
        let (world, lines) = furnished();
        world.write("good", &lines);
        world.run(&["import", "good", "--trust", "all"]).ok();
        world.write("bomb.zst", [zstd(start), zstd_of_one(b'a', 4096)].concat());
        import(&world, "bomb.zst").exit(6).says("the array has no end");
        assert_kept(&world);
    }
}

/// A frame that asks for more history than a reader should hold is no stream.
#[test]
fn a_frame_that_asks_for_memory_gets_none() {
    let (world, lines) = furnished();
    world.write("good", &lines);
    world.run(&["import", "good", "--trust", "all"]).ok();
    let mut greedy = zstd_of_one(b'a', 1);
    // A window of 2 GiB.
    greedy[5] = (31 - 10) << 3;
    world.write("greedy.zst", greedy);
    import(&world, "greedy.zst").exit(4).says("error[");
    assert_kept(&world);
}

//! The fuzz targets over their seeds and what is near them: every truncation
//! and bit flip of small ones, some of larger ones.
//!
//! What a fuzzer finds is added to `fuzz/corpus` and is tested here from then on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thingdb_fuzz::TARGETS;
use thingdb_tests::vector::Vector;

/// Neighbours of a seed that are tried; more would take longer than they are
/// worth.
fn most(target: &str) -> usize {
    match target {
        // Each input gets a database of its own.
        "import" => 12,
        // Each line has a card, checkpoints or an entry to verify.
        "proof" => 60,
        // Each note or token has a signature to verify.
        "erasure-receipt" | "heads" | "timestamp" => 200,
        _ => 1000,
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    files.sort();
    files
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are a directory of the repository")
}

/// The vectors of the subject that a target reads.
fn vectors(target: &str) -> Vec<Vec<u8>> {
    let subject = match target {
        "note" => "checkpoint",
        "key" => "key-record",
        target => target,
    };
    let dir = repository().join("tests/vectors").join(subject);
    // What lies in a database only has no vectors: it is no format for others.
    if !dir.exists() {
        return Vec::new();
    }
    files(&dir).iter().map(|file| Vector::parse(&std::fs::read(file).expect("it is there")).input).collect()
}

#[test]
fn every_corpus_has_a_target_and_every_target_a_corpus() {
    let found: BTreeSet<String> = files(&repository().join("fuzz/corpus"))
        .iter()
        .map(|dir| dir.file_name().expect("it has a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(found, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

#[test]
fn no_seed_and_no_neighbour_of_one_breaks_a_target() {
    for (target, run) in TARGETS {
        let most = most(target);
        vectors(target).iter().for_each(|input| run(input));
        for file in files(&repository().join("fuzz/corpus").join(target)) {
            let seed = std::fs::read(&file).expect("it is there");
            run(&seed);
            // What a fuzzer left here has a SHA-1 for a name, and is much.
            if file.file_name().is_some_and(|name| name.len() == 40) {
                continue;
            }
            for len in (0..seed.len()).step_by(seed.len() / most + 1) {
                run(&seed[..len]);
            }
            let bits = seed.len() * 8;
            // Odd, so that not always the same bit of a byte is flipped.
            for bit in (0..bits).step_by((bits / most) | 1) {
                let mut flipped = seed.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                run(&flipped);
            }
        }
    }
}

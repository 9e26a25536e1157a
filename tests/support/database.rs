//! Databases that tests may break: made fast, copied, written about.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use thingdb::{
    Db, Durability, ImportOptions, ImportSummary, KdfChoice, Options, Passphrase, Record, Report, TrustPolicy,
};

/// The passphrase of every database that the tests make.
pub const PASSPHRASE: &str = "a passphrase of the tests";

/// The passphrase, as the calls take it.
#[must_use]
pub fn passphrase() -> Passphrase {
    Passphrase::new(PASSPHRASE)
}

/// Options that do not spend the tests' time: the weakest stretching, no
/// reserve file.
#[must_use]
pub fn options() -> Options {
    Options::new().kdf(KdfChoice::weakest()).reserve_bytes(0).cache_bytes(16 << 20)
}

/// The same, with writes that do not wait for the disk.
#[must_use]
pub fn relaxed() -> Options {
    options().durability(Durability::Relaxed)
}

/// A directory that goes when it is dropped, with room for databases.
///
/// # Panics
/// If the system has no temporary directory.
#[must_use]
pub fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Makes a database in `to`, a new directory, that has the keys of the one in `of`
/// and nothing else of it.
///
/// # Panics
/// If that is not to be done.
pub fn keys_alone(of: &Path, to: &Path) {
    options().create(to, &passphrase()).expect("it is new").close().expect("it is empty");
    for name in ["VERSION", "keyring", "keyring.copy"] {
        fs::copy(of.join(name), to.join(name)).expect("they are there");
    }
    fs::remove_file(to.join("checkpoint")).expect("it was closed");
}

/// Another node beside it; both know each other, the one in `db` as `origin`.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn peer_of(db: &Db, dir: &Path, name: &str) -> Db {
    let peer = relaxed().actor(name).create(dir.join(name), &passphrase()).expect("a fresh database");
    peer.add_peer("origin", &db.card().expect("it has one")).expect("it is new to it");
    db.add_peer(name, &peer.card().expect("it has one")).expect("it is new to it");
    peer
}

/// Takes in what a stream has, whoever signed it.
///
/// # Panics
/// If it is not to be read.
pub fn import(db: &Db, stream: &[u8]) -> ImportSummary {
    db.import(ImportOptions::new().trust(TrustPolicy::All), stream).expect("it reads")
}

/// A fresh database of relaxed writes in a directory of its own.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn fresh() -> (TempDir, Db) {
    let scratch = scratch();
    let db = relaxed().create(scratch.path().join("db"), &passphrase()).expect("a fresh database");
    (scratch, db)
}

/// Copies a directory with everything in it.
///
/// Files may vanish while it runs: the copy of a database that is in use is
/// what a killed process would leave.
///
/// # Panics
/// If something else goes wrong.
pub fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap_or_else(|problem| panic!("{}: {problem}", to.display()));
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("a name");
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_directory(&source, &target);
            continue;
        }
        match fs::copy(&source, &target) {
            Ok(_) => {}
            Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {}
            Err(problem) => panic!("{}: {problem}", source.display()),
        }
    }
}

/// All files below a directory.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|problem| panic!("{}: {problem}", directory.display())) {
        let path = entry.expect("a name").path();
        if path.is_dir() { found.extend(files_in(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Verifies everything.
///
/// # Panics
/// If verification itself cannot go on.
#[must_use]
pub fn verify(db: &Db) -> Report {
    db.verify(thingdb::VerifyOptions::new()).expect("verification goes through")
}

/// Verifies everything and expects nothing to be wrong.
///
/// # Panics
/// If something is.
pub fn assert_intact(db: &Db) -> Report {
    let report = verify(db);
    assert!(
        report.is_ok(),
        "{} problems: {:#?}",
        report.problems_total,
        report.problems.iter().take(20).collect::<Vec<_>>()
    );
    report
}

/// The data of a record as text.
///
/// # Panics
/// If it is not open, or not text.
#[must_use]
pub fn text(record: &Record) -> &str {
    std::str::from_utf8(record.data().expect("the content is open")).expect("the tests write text")
}

/// The whole stream of a database.
///
/// # Panics
/// If it cannot be exported.
#[must_use]
pub fn export(db: &Db) -> Vec<u8> {
    let mut out = Vec::new();
    db.export(thingdb::ExportOptions::new(), &mut out).expect("an export into memory");
    out
}

/// How many rounds a test that repeats itself should make: `usual`, or what
/// the variable `THINGDB_TEST_ROUNDS` says.
///
/// # Panics
/// If the variable is no number.
#[must_use]
pub fn rounds(usual: u64) -> u64 {
    std::env::var("THINGDB_TEST_ROUNDS").map_or(usual, |n| n.parse().expect("THINGDB_TEST_ROUNDS is a number"))
}

/// A seed that is printed, and taken from `THINGDB_TEST_SEED` if it is set.
///
/// # Panics
/// If the variable is no number.
#[must_use]
pub fn seed(of: &str) -> u64 {
    let seed = std::env::var("THINGDB_TEST_SEED")
        .map_or_else(|_| rand::random(), |seed| seed.parse().expect("THINGDB_TEST_SEED is a number"));
    println!("{of}: THINGDB_TEST_SEED={seed}");
    seed
}

/// Small, reproducible randomness (xorshift).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The same seed gives the same rolls.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// A number below `sides`.
    pub const fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

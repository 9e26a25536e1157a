//! A journal whose files are compacted loses what was replaced or deleted, and
//! nothing else.

#[path = "support/storage_script.rs"]
mod storage_script;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use thingdb::storage::journaled::{JournaledOptions, JournaledStorage};
use thingdb::storage::{Batch, Direction, KeyRange, Storage, StorageError};
use thingdb_tests::database::{Dice, copy_directory, files_in, rounds, seed};

fn options() -> JournaledOptions {
    let mut options = JournaledOptions::default();
    options.journal_file_bytes = 128 << 10;
    options.reserve_bytes = 0;
    options
}

fn open(directory: &Path) -> JournaledStorage {
    JournaledStorage::open(directory, options()).unwrap()
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("database");
    fs::create_dir(&directory).unwrap();
    (scratch, directory)
}

fn put(storage: &dyn Storage, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
    let mut batch = Batch::new();
    batch.put(key, value);
    storage.commit(batch).unwrap();
}

fn rows(storage: &dyn Storage) -> Vec<(Vec<u8>, Vec<u8>)> {
    storage.scan(&KeyRange::all(), Direction::Forward).collect::<Result<_, _>>().unwrap()
}

fn journal_bytes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory.join("journal")).unwrap();
    files.map(|file| file.unwrap().metadata().map_or(0, |found| found.len())).sum()
}

/// How many files of the journal have these bytes.
fn files_with(directory: &Path, bytes: &[u8]) -> usize {
    let files = fs::read_dir(directory.join("journal")).unwrap();
    let has = |path: PathBuf| fs::read(path).unwrap().windows(bytes.len()).any(|found| found == bytes);
    files.filter(|file| has(file.as_ref().unwrap().path())).count()
}

#[test]
fn what_was_replaced_or_deleted_is_in_no_file_of_a_compacted_journal() {
    let (_scratch, directory) = scratch();
    let write = |storage: &JournaledStorage, n: u32| {
        put(storage, format!("row {}", n % 700), format!("the value of {n:06} {}", "x".repeat(300)));
    };
    // The store has the first of them on the disk before they are replaced.
    let storage = open(&directory);
    (0..700).for_each(|n| write(&storage, n));
    storage.close().unwrap();
    let storage = open(&directory);
    (700..2000).for_each(|n| write(&storage, n));
    let mut batch = Batch::new();
    batch.delete(*b"row 7").delete(*b"row 600");
    storage.commit(batch).unwrap();
    let before = rows(&storage);
    assert!(files_with(&directory, b"the value of 000007") > 0);
    storage.compact().unwrap();
    for dead in [0, 7, 707, 1407, 600, 1300, 1299] {
        assert_eq!(files_with(&directory, format!("the value of {dead:06}").as_bytes()), 0, "{dead}");
    }
    for alive in [1999, 1399, 1301, 1408] {
        assert_eq!(files_with(&directory, format!("the value of {alive:06}").as_bytes()), 1, "{alive}");
    }
    assert_eq!(rows(&storage), before);
    // What comes later goes on behind it.
    put(&storage, "row 8", "new");
    let store = directory.join("store");
    let is_in_store = |dead: i32| bytes_with(&store, format!("the value of {dead:06}").as_bytes()) > 0;
    assert!([0, 7, 707, 600].into_iter().any(is_in_store), "sled keeps old rows");
    storage.close().unwrap();
    // Nothing is left in the store either.
    assert_eq!(bytes_with(&store, b"the value of 001999"), 1);
    for dead in [0, 7, 707, 1407, 600, 1300, 1299] {
        assert_eq!(bytes_with(&directory, format!("the value of {dead:06}").as_bytes()), 0, "{dead}");
    }
    let kept = open(&directory);
    assert_eq!(kept.notices(), <[String; 0]>::default());
    assert_eq!(rows(&kept).len(), before.len());
    kept.close().unwrap();
    fs::remove_dir_all(directory.join("store")).unwrap();
    let storage = open(&directory);
    assert_eq!(storage.get(b"row 8").unwrap().as_deref(), Some(&b"new"[..]));
    assert_eq!(rows(&storage).len(), before.len());
    storage.close().unwrap();
    assert!(matches!(storage.compact(), Err(StorageError::Closed)));
}

/// Whatever ends a process while the store is written anew, the next opening has all.
#[test]
fn a_store_that_was_being_written_anew_is_there() {
    let (scratch, directory) = scratch();
    let storage = open(&directory);
    (0..500_u32).for_each(|n| put(&storage, format!("row {n}"), vec![n as u8; 400]));
    storage.close().unwrap();
    let before = rows(&open(&directory));
    // Not finished; or finished, and not yet in its place; or between two renames.
    for (n, from, to) in
        [(0, "store/conf", "store.new/conf"), (1, "store", "store.new/store"), (2, "store", "store.old")]
    {
        let copy = scratch.path().join(format!("copy {n}"));
        copy_directory(&directory, &copy);
        if n < 2 {
            fs::create_dir(copy.join("store.new")).unwrap();
            let status = Command::new("cp").arg("-a").args([copy.join(from), copy.join(to)]).status().unwrap();
            assert!(status.success());
        } else {
            fs::rename(copy.join(from), copy.join(to)).unwrap();
        }
        let storage = open(&copy);
        assert_eq!(storage.notices(), <[String; 0]>::default());
        assert!(rows(&storage) == before);
        storage.close().unwrap();
        assert!(!copy.join("store.new").exists() && !copy.join("store.old").exists());
    }
}

/// How many files below a directory have these bytes.
fn bytes_with(directory: &Path, wanted: &[u8]) -> usize {
    let has = |path: &Path| fs::read(path).unwrap().windows(wanted.len()).any(|bytes| bytes == wanted);
    files_in(directory).iter().filter(|path| has(path)).count()
}

/// A journal of rows that are replaced all the time does not grow with each of them.
#[test]
fn a_journal_is_compacted_by_itself() {
    let (_scratch, directory) = scratch();
    let storage = open(&directory);
    let mut written = 0;
    let mut least = u64::MAX;
    // Fifty times what is alive, and until it was seen to be far less.
    while written < 50 << 20 && least > written / 4 {
        for n in 0..500_u32 {
            put(&storage, format!("row {}", n % 250), vec![n as u8; 2000]);
            written += 2000;
        }
        if written > 8 << 20 {
            least = least.min(journal_bytes(&directory));
        }
    }
    assert!(least <= written / 4, "{least} of {written}");
    let before = rows(&storage);
    storage.close().unwrap();
    fs::remove_dir_all(directory.join("store")).unwrap();
    assert!(rows(&open(&directory)) == before);
}

/// What was deleted may be told by nothing any more: a store from before has it, and
/// is not taken for what it was.
#[test]
fn a_store_from_before_a_compaction_is_built_anew() {
    let (scratch, directory) = scratch();
    let storage = open(&directory);
    (0..2000_u32).for_each(|n| put(&storage, format!("row {n}"), vec![n as u8; 400]));
    storage.close().unwrap();
    copy_directory(&directory.join("store"), &scratch.path().join("old"));
    let storage = open(&directory);
    for n in 0..1000_u32 {
        let mut batch = Batch::new();
        batch.delete(format!("row {}", n * 2));
        storage.commit(batch).unwrap();
    }
    storage.compact().unwrap();
    let before = rows(&storage);
    assert_eq!(before.len(), 1000);
    storage.close().unwrap();
    fs::remove_dir_all(directory.join("store")).unwrap();
    fs::rename(scratch.path().join("old"), directory.join("store")).unwrap();
    let storage = open(&directory);
    assert!(rows(&storage) == before);
    assert!(storage.notices()[0].contains("the journal was compacted up to commit 3000"), "{:?}", storage.notices());
    storage.close().unwrap();
    let storage = open(&directory);
    assert!(rows(&storage) == before && storage.notices().is_empty());
}

/// A process that compacts all the time is killed: journal and store have the same
/// prefix of the commits, and so has each of them alone.
#[test]
fn a_compaction_that_is_killed_loses_nothing() {
    let mut dice = Dice::new(seed("kill while compacting"));
    let (scratch, directory) = scratch();
    for round in 0..rounds(10) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_storage_writer"))
            .arg(&directory)
            .args(["20", "true", "compact"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut last: u64 = lines.next().unwrap().unwrap().parse().unwrap();
        // The moment of the kill.
        thread::sleep(Duration::from_micros(dice.roll(400_000)));
        child.kill().unwrap();
        last = lines.map_while(Result::ok).last().map_or(last, |line| line.parse().unwrap());
        child.wait().unwrap();

        let copy = scratch.path().join("copy");
        copy_directory(&directory, &copy);
        fs::remove_dir_all(copy.join("store")).unwrap();
        let mut found = Vec::new();
        for place in [&directory, &copy] {
            let storage = JournaledStorage::open(place, storage_script::options()).unwrap();
            found.push(
                storage_script::check_prefix(&storage, last).unwrap_or_else(|problem| panic!("{round}: {problem}")),
            );
            storage.close().unwrap();
        }
        assert_eq!(found[0], found[1], "round {round}");
        println!("round {round}: {last} acknowledged, {} there", found[0]);
        fs::remove_dir_all(&copy).unwrap();
    }
}

/// An opening that builds the store anew is killed: the next one goes on, and has
/// every commit.
#[test]
fn a_store_that_was_being_built_when_the_process_was_killed_is_built() {
    let mut dice = Dice::new(seed("kill while rebuilding"));
    let (_scratch, directory) = scratch();
    let storage = JournaledStorage::open(&directory, storage_script::options()).unwrap();
    let mut commits = 6000;
    for n in 1..=commits {
        storage.commit(storage_script::commit(n)).unwrap();
        if n == commits / 2 {
            storage.compact().unwrap();
        }
    }
    storage.close().unwrap();
    let mut before = 0;
    for round in 0..rounds(8) {
        fs::remove_dir_all(directory.join("store")).unwrap();
        // It builds the store, and then says what it has.
        let mut child = Command::new(env!("CARGO_BIN_EXE_storage_reader"))
            .arg(&directory)
            .arg("only-look")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(dice.roll(1_000_000 >> (round % 4 * 2))));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        before += u64::from(output.stdout.is_empty());
        let storage = JournaledStorage::open(&directory, storage_script::options()).unwrap();
        let found =
            storage_script::check_prefix(&storage, commits).unwrap_or_else(|problem| panic!("{round}: {problem}"));
        commits = found;
        storage.close().unwrap();
        // What was begun was gone on with: it was not taken for one that is damaged.
        let aside = fs::read_dir(&directory)
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("aside"));
        assert_eq!(aside.count(), 0, "round {round}");
    }
    println!("{before} were killed before the store was there");
    assert!(before > 0);
}

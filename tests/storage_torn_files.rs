//! A store whose newest file was cut or garbled opens with its commits or with a
//! clear error: never with a panic, never without end.
//!
//! A closed store is copied, damaged at one place, and opened and read by a
//! child process, which is given a minute. `THINGDB_TORN_FILES` is the number
//! of places for each kind of damage; the default is 12.

#[path = "support/storage_script.rs"]
mod storage_script;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use thingdb::storage::Storage;
use thingdb::storage::journaled::JournaledStorage;

const COMMITS: u64 = 1200;

fn closed_store(directory: &Path) -> PathBuf {
    let store = directory.join("intact");
    fs::create_dir(&store).unwrap();
    // Two openings, so that there is a snapshot with something in it.
    let mut n = 0;
    for until in [COMMITS / 2, COMMITS] {
        let storage = JournaledStorage::open(&store, storage_script::options()).unwrap();
        while n < until {
            n += 1;
            storage.commit(storage_script::commit(n)).unwrap();
        }
        storage.close().unwrap();
    }
    store
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What the child says: `prefix N`, `error TEXT`, or that it panicked or hung.
fn open_in_a_child(directory: &Path) -> Result<String, String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_storage_reader"))
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            return Err("hangs".into());
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{}: {said} {errors}", output.status))
}

fn places() -> u64 {
    std::env::var("THINGDB_TORN_FILES").map_or(12, |n| n.parse().expect("a number of places"))
}

/// Damages one copy after the other. The other copy of the rows makes it good: at
/// once, or, where the damage is met while reading, at the next opening.
fn damage_everywhere(of: &str, file: &str, damage: impl Fn(&fs::File, u64)) {
    let directory = tempfile::tempdir().unwrap();
    let intact = closed_store(directory.path());
    let (mut whole, mut met, mut bad) = (0, 0, Vec::new());
    for place in 0..places() {
        let copied = directory.path().join("copy");
        copy(&intact, &copied);
        let path = newest(&copied.join(of), file);
        let damaged = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let length = damaged.metadata().unwrap().len();
        let offset = length * place / places() + place * 37 % 512;
        damage(&damaged, offset.min(length - 1));
        let mut told = open_in_a_child(&copied);
        if told.as_ref().is_ok_and(|said| said.contains("is damaged") && !said.starts_with("error ")) {
            met += 1;
            told = open_in_a_child(&copied);
        }
        match told {
            Ok(said) if said == format!("prefix {COMMITS}") => whole += 1,
            Ok(said) => bad.push(format!("at {offset}: {said}")),
            Err(said) => bad.push(format!("at {offset}: {said}")),
        }
        fs::remove_dir_all(&copied).unwrap();
    }
    println!("{file}: {whole} whole, {met} of them at the second opening");
    assert!(bad.is_empty(), "{bad:#?}");
}

fn newest(store: &Path, file: &str) -> PathBuf {
    let mut names: Vec<_> = fs::read_dir(store)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(file))
        .collect();
    names.sort();
    store.join(names.pop().unwrap())
}

fn garble(file: &fs::File, offset: u64) {
    let mut bytes = [0; 16];
    let n = file.read_at(&mut bytes, offset).unwrap();
    for byte in &mut bytes[..n] {
        *byte ^= 0xa5;
    }
    file.write_all_at(&bytes[..n], offset).unwrap();
}

#[test]
fn a_log_that_was_cut() {
    damage_everywhere("store", "db", |file, at| file.set_len(at).unwrap());
}

#[test]
fn a_log_that_was_garbled() {
    damage_everywhere("store", "db", garble);
}

/// The log has everything that a snapshot has, so nothing is lost.
#[test]
fn a_snapshot_that_was_cut() {
    damage_everywhere("store", "snap.", |file, at| file.set_len(at).unwrap());
}

#[test]
fn a_snapshot_that_was_garbled() {
    damage_everywhere("store", "snap.", garble);
}

#[test]
fn a_configuration_that_was_cut() {
    damage_everywhere("store", "conf", |file, at| file.set_len(at).unwrap());
}

#[test]
fn a_configuration_that_was_garbled() {
    damage_everywhere("store", "conf", garble);
}

#[test]
fn a_journal_that_was_cut() {
    damage_everywhere("journal", "0", |file, at| file.set_len(at).unwrap());
}

#[test]
fn a_journal_that_was_garbled() {
    damage_everywhere("journal", "0", garble);
}

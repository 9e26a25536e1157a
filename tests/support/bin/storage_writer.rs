//! Writes numbered commits into a storage until it is cut off.
//!
//! `storage_writer DIRECTORY COMMITS_PER_WAIT ORDERED [sled|compact]` goes on behind the
//! last commit that it finds and prints the number of each commit that it waited
//! for. What commit `n` does depends on `n` alone, see `storage_script.rs`. With
//! `compact` a second thread compacts the storage all the time.

#[path = "../storage_script.rs"]
mod storage_script;

use std::io::Write;
use std::path::Path;

use thingdb::storage::Storage;
use thingdb::storage::journaled::JournaledStorage;
use thingdb::storage::sled::SledStorage;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, directory, commits_per_wait, ordered, alone @ ..] = arguments.as_slice() else {
        panic!("expected a directory, a number and true or false");
    };
    let ordered = ordered.parse().expect("true or false");
    let commits_per_wait: u64 = commits_per_wait.parse().expect("a number");
    let directory = Path::new(directory);
    let is_compacted = alone == ["compact"];
    if alone.is_empty() || is_compacted {
        let mut options = storage_script::options();
        options.ordered_writes = ordered;
        let storage = JournaledStorage::open(directory, options).expect("open");
        std::thread::scope(|threads| {
            if is_compacted {
                threads.spawn(|| while storage.compact().is_ok() {});
            }
            write(&storage, commits_per_wait)
        })
    } else {
        let mut options = storage_script::sled_options();
        options.ordered_writes = ordered;
        write(&SledStorage::open(directory, options).expect("open"), commits_per_wait)
    }
}

fn write(storage: &dyn Storage, commits_per_wait: u64) -> ! {
    let mut n = storage_script::last_commit(storage).expect("read");
    let mut out = std::io::stdout();
    loop {
        n += 1;
        let ticket = match storage.commit(storage_script::commit(n)) {
            Ok(ticket) => ticket,
            Err(error) => {
                eprintln!("commit {n}: {error}");
                break;
            }
        };
        if n.is_multiple_of(commits_per_wait) {
            if let Err(error) = storage.wait(ticket) {
                eprintln!("wait for {n}: {error}");
                break;
            }
            if writeln!(out, "{n}").and_then(|()| out.flush()).is_err() {
                break;
            }
        }
    }
    // The files are gone under us; there is nothing to close.
    std::process::exit(0);
}

//! Opens a storage, compares it with its script and says what it found. Then it
//! writes the first commit again, unless the second argument is `only-look`.

#[path = "../storage_script.rs"]
mod storage_script;

use std::path::Path;

use thingdb::storage::Storage;
use thingdb::storage::journaled::JournaledStorage;

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    let storage = match JournaledStorage::open(Path::new(&directory), storage_script::options()) {
        Ok(storage) => storage,
        Err(error) => return println!("error {error}"),
    };
    match storage_script::check_prefix(&storage, 0) {
        Ok(n) => println!("prefix {n}"),
        Err(reason) => println!("not a prefix: {reason}"),
    }
    // Writing to it must not panic either, whatever it answers.
    if std::env::args().nth(2).as_deref() != Some("only-look") {
        let _ = storage.commit(storage_script::commit(1));
    }
    let _ = storage.close();
}

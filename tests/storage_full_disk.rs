//! A disk without room stops writes, and nothing else.
//!
//! On a tmpfs of 8 MB: writes stop with a message that says so, reads go on,
//! nothing that was acknowledged is lost, the store opens while the disk is
//! full, and writes work again once there is room. Needs root to mount; is
//! skipped, and says so, without.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use thingdb::storage::journaled::{JournaledOptions, JournaledStorage};
use thingdb::storage::{Batch, Health, Storage, StorageError, Ticket};

struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(directory: &Path, size: &str) -> Option<Self> {
        let path = directory.join("tmpfs");
        fs::create_dir(&path).unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &path);
        mounted.then_some(Self(path))
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(mount(&["-o", &options], &self.0), "remount");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    Command::new("mount").args(arguments).arg(path).output().is_ok_and(|output| output.status.success())
}

fn options() -> JournaledOptions {
    let mut options = JournaledOptions::default();
    options.cache_bytes = 4 << 20;
    options.free_floor_bytes = 1 << 20;
    options.reserve_bytes = 1 << 20;
    options
}

fn row(n: u64) -> (Vec<u8>, Vec<u8>) {
    (n.to_be_bytes().to_vec(), vec![n as u8; 1000])
}

fn put(storage: &dyn Storage, n: u64) -> Result<Ticket, StorageError> {
    let (key, value) = row(n);
    let mut batch = Batch::new();
    batch.put(key, value);
    let ticket = storage.commit(batch)?;
    storage.wait(ticket)?;
    Ok(ticket)
}

/// Writes until it is refused; returns how many rows there are and why.
fn fill(storage: &dyn Storage, mut n: u64) -> (u64, StorageError) {
    loop {
        match put(storage, n) {
            Ok(_) => n += 1,
            Err(error) => return (n, error),
        }
        assert!(n < 100_000, "8 MB are full at some point");
    }
}

fn assert_rows(storage: &dyn Storage, count: u64) {
    for n in 0..count {
        let (key, value) = row(n);
        assert_eq!(storage.get(&key).unwrap(), Some(value), "row {n}");
    }
}

#[test]
fn writes_stop_below_the_floor_and_go_on_with_room() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::new(directory.path(), "8m") else {
        println!("skipped: mounting a tmpfs needs root");
        return;
    };
    let database = disk.0.join("database");
    fs::create_dir(&database).unwrap();
    let storage = JournaledStorage::open(&database, options()).unwrap();
    assert!(fs::metadata(database.join("reserve")).unwrap().len() == 1 << 20);
    let (count, error) = fill(&storage, 0);
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    println!("{count} rows, then: {error}");
    assert!(count > 100);
    assert_rows(&storage, count);

    // Others take what is left.
    fill_file(&disk.0.join("others"));
    assert!(matches!(storage.health(), Health::DiskFull { .. }));
    assert!(put(&storage, count).is_err());
    assert_rows(&storage, count);
    // The store has no room to say that it was closed.
    let _ = storage.close();

    // The reserve pays for opening a disk that is full.
    let storage = JournaledStorage::open(&database, options()).unwrap();
    assert!(!database.join("reserve").exists());
    assert_rows(&storage, count);
    // What was allocated ahead for the journal was given back when it was closed.
    let (count, error) = fill(&storage, count);
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");

    // Room returns while the store is open: writes work and so does a reserve.
    disk.resize("16m");
    put(&storage, count).unwrap();
    assert_eq!(storage.health(), Health::Writable);
    assert!(database.join("reserve").exists());
    assert_rows(&storage, count + 1);
    let (count, error) = fill(&storage, count + 1);
    assert!(matches!(error, StorageError::DiskFull { .. }), "{error}");
    storage.close().unwrap();
    let storage = JournaledStorage::open(&database, options()).unwrap();
    assert_rows(&storage, count);
}

/// Without a floor the journal or sled meets the end of the disk itself: sled's
/// errors last until the storage is opened anew, the journal's do not. Neither
/// loses anything.
#[test]
fn a_disk_that_ends_without_a_floor_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::new(directory.path(), "8m") else {
        println!("skipped: mounting a tmpfs needs root");
        return;
    };
    let database = disk.0.join("database");
    fs::create_dir(&database).unwrap();
    let mut options = options();
    options.free_floor_bytes = 0;
    let storage = JournaledStorage::open(&database, options.clone()).unwrap();
    put(&storage, 0).unwrap();
    // The first look at the free space is not repeated for a while.
    fill_file(&disk.0.join("others"));
    let (count, error) = fill(&storage, 1);
    println!("{count} rows, then: {error}");
    assert_rows(&storage, count);
    let is_over = matches!(storage.health(), Health::ReadOnly(_));
    assert!(is_over || matches!(error, StorageError::DiskFull { .. }), "{error}");
    disk.resize("16m");
    assert!(!is_over || put(&storage, count).is_err(), "sled's errors last");
    let _ = storage.close();
    let storage = JournaledStorage::open(&database, options).unwrap();
    assert_rows(&storage, count);
    put(&storage, count).unwrap();
}

fn fill_file(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    let page = [1; 4096];
    while std::io::Write::write_all(&mut file, &page).is_ok() {}
}

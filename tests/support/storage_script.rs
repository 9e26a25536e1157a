//! Numbered commits whose sum anyone can recompute.
//!
//! Commit `n` adds the row `L n`, and three times in four it also rewrites and
//! deletes a few rows `S slot` at random places in the same batch, now and then
//! many: a storage may treat one row, few rows and many rows differently. So the
//! last row `L` tells how many commits a storage has, and [`check_prefix`]
//! compares all of it with the first so many commits: one row too many, too few
//! or too old is a torn batch or a hole.
#![allow(dead_code, reason = "each of the tests uses a part")]

use std::collections::BTreeMap;

use thingdb::storage::journaled::JournaledOptions;
use thingdb::storage::sled::{Grouped, SledOptions};
use thingdb::storage::{Batch, Direction, KeyRange, Storage, StorageError};

/// Rows that are rewritten at random places.
const SLOTS: u64 = 1500;

/// The changes of commit `n`: key and value, or no value for a deletion.
pub(crate) fn changes(n: u64) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut dice = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    let mut changes = vec![(log_key(n), Some(value(n, 16 + roll(408) as usize)))];
    let rows = match n {
        n if n.is_multiple_of(50) => 60,
        n if n.is_multiple_of(4) => 0,
        _ => 1 + roll(4),
    };
    for _ in 0..rows {
        let mut key = b"S".to_vec();
        key.extend(roll(SLOTS).to_be_bytes());
        let deleted = roll(8) == 0;
        let size = 8 + roll(1200) as usize;
        changes.push((key, (!deleted).then(|| value(n, size))));
    }
    changes
}

/// Commit `n`.
pub(crate) fn commit(n: u64) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes(n) {
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        };
    }
    batch
}

/// How many commits a storage has.
pub(crate) fn last_commit(storage: &dyn Storage) -> Result<u64, StorageError> {
    let range = KeyRange::prefix(*b"L");
    match storage.scan(&range, Direction::Backward).next() {
        None => Ok(0),
        Some(row) => {
            let (key, _) = row?;
            let n = key[1..].try_into().expect("a log key has nine bytes");
            Ok(u64::from_be_bytes(n))
        }
    }
}

/// Says what is wrong unless the storage holds exactly the first so many
/// commits, at least `acknowledged`; returns how many.
pub(crate) fn check_prefix(storage: &dyn Storage, acknowledged: u64) -> Result<u64, String> {
    let read = |error: StorageError| format!("cannot read: {error}");
    let last = last_commit(storage).map_err(read)?;
    if last < acknowledged {
        return Err(format!("{acknowledged} commits were acknowledged, {last} are here"));
    }
    let mut expected = BTreeMap::new();
    for n in 1..=last {
        for (key, value) in changes(n) {
            match value {
                Some(value) => expected.insert(key, value),
                None => expected.remove(&key),
            };
        }
    }
    let mut expected = expected.into_iter();
    for (found, row) in storage.scan(&KeyRange::all(), Direction::Forward).enumerate() {
        let row = row.map_err(read)?;
        let wanted = expected.next();
        if wanted.as_ref() != Some(&row) {
            return Err(format!(
                "after {last} commits row {found} should be {:?} and is {:?}",
                wanted.map(|(key, _)| key),
                row.0
            ));
        }
    }
    match expected.next() {
        Some((key, _)) => Err(format!("after {last} commits row {key:?} is missing")),
        None => Ok(last),
    }
}

/// Small enough for small disks.
pub(crate) fn options() -> JournaledOptions {
    let mut options = JournaledOptions::default();
    // Of many files, so that they are compacted while the commits come.
    options.journal_file_bytes = 512 << 10;
    options.cache_bytes = 16 << 20;
    options.reserve_bytes = 256 << 10;
    options.free_floor_bytes = 2 << 20;
    options.grouped = Some(Grouped::new(b"L", 9));
    options
}

/// The same for the store alone.
pub(crate) fn sled_options() -> SledOptions {
    let mut options = SledOptions::default();
    options.cache_bytes = 16 << 20;
    options.reserve_bytes = 256 << 10;
    options.free_floor_bytes = 2 << 20;
    options.grouped = Some(Grouped::new(b"L", 9));
    options
}

fn log_key(n: u64) -> Vec<u8> {
    let mut key = b"L".to_vec();
    key.extend(n.to_be_bytes());
    key
}

fn value(n: u64, size: usize) -> Vec<u8> {
    n.to_be_bytes().iter().copied().cycle().take(size).collect()
}

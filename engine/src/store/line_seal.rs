//! How lines are sealed whose entries wait for their prev: under a key of their own,
//! which is replaced with each erasure.
//!
//! A line has an envelope to this node, and no position key covers it. When its entry
//! goes on, its rows are deleted, and their bytes stay in the files for a while. What is
//! to be erased may lie there: so the key goes.

use std::sync::RwLock;

use crate::keyring::{Keyring, SealKey};

/// The record of the keyring that holds the keys, the newest first. It is made before
/// the first line waits; without it the key is that of rows.
pub(crate) const RECORD: &str = "waiting-lines";

const KEY_BYTES: usize = 32;

/// The keys, the newest first.
pub(crate) struct LineSeal(RwLock<Vec<SealKey>>);

impl LineSeal {
    pub(super) fn new(keyring: &Keyring) -> Self {
        Self(RwLock::new(seal_keys(keyring)))
    }

    /// Takes over what the keyring has now.
    pub(crate) fn take_over(&self, keyring: &Keyring) {
        *self.0.write().expect("no thread panics while it holds the keys") = seal_keys(keyring);
    }

    pub(crate) fn seal(&self, row: &[u8], line: &[u8]) -> Vec<u8> {
        let keys = self.0.read().expect("no thread panics while it holds the keys");
        let mut rng = rand::rng();
        keys.first().map_or_else(Vec::new, |key| key.seal(row, line, &mut rng))
    }

    /// Nothing if the key is gone, or the row is damaged.
    pub(crate) fn open(&self, row: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.read().expect("no thread panics while it holds the keys");
        keys.iter().find_map(|key| key.open(row, sealed))
    }
}

/// The record with a fresh key, and with the ones before it if lines lie under them.
pub(crate) fn renewed(keyring: &Keyring, keeps_old: bool) -> Vec<u8> {
    let mut keys = rand::random::<[u8; KEY_BYTES]>().to_vec();
    match keyring.record(RECORD) {
        Some(old) if keeps_old => keys.extend_from_slice(old),
        None if keeps_old => keys.extend_from_slice(keyring.row_key().as_bytes()),
        _ => {}
    }
    keys
}

/// The record without the keys before the newest one; nothing if there are none.
pub(crate) fn newest_alone(keyring: &Keyring) -> Option<Vec<u8>> {
    let record = keyring.record(RECORD).filter(|record| record.len() > KEY_BYTES)?;
    record.get(..KEY_BYTES).map(<[u8]>::to_vec)
}

fn seal_keys(keyring: &Keyring) -> Vec<SealKey> {
    let (keys, _) = keyring.record(RECORD).unwrap_or_default().as_chunks::<KEY_BYTES>();
    if keys.is_empty() { vec![keyring.row_key().seal_key()] } else { keys.iter().map(SealKey::new).collect() }
}

//! Looks for what was erased: in every file of a database, with every key that is
//! there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use thingdb::EntryId;
use thingdb::keyring::{Keyring, SealKey, Unlock};
use thingdb::storage::journal::{self, Piece};

use crate::blocks::Block;
use crate::database::{copy_directory, files_in, passphrase, scratch};
use crate::rows::Rows;

/// What opens an entry.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Its place in the ledger.
    pub position: u64,
    /// The entry.
    pub id: EntryId,
    /// Its CEK.
    pub cek: [u8; 32],
}

/// What opens the entries at these positions of a database that is closed.
///
/// # Panics
/// If one of them does not open.
#[must_use]
pub fn secrets(dir: &Path, positions: &[u64]) -> Vec<Secret> {
    Rows::edit(dir, |rows| {
        let secret = |position: &u64| {
            let record = rows.record(*position);
            let id = thingdb::format::header::id_of(&record.header);
            Secret { position: *position, id, cek: record.cek.expect("it can be opened") }
        };
        positions.iter().map(secret).collect()
    })
}

/// Where something is that opens one of these entries, in words.
///
/// Every file is looked through for the keys as they are. Every version of every row,
/// in the store and in the journal, is opened with every keyring that lies anywhere in
/// the directory; what comes out is looked through, too. Each CEK that lies there under
/// its mask is unmasked with the key of each position that a keyring has, and with what
/// follows from each node of its tree as if it were the one above.
///
/// # Panics
/// If the directory is no closed database.
#[must_use]
pub fn search(dir: &Path, secrets: &[Secret]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files_in(dir) {
        look(&fs::read(&file).expect("a file"), secrets, &file.display().to_string(), &mut found);
    }
    let keyrings = keyrings(dir);
    assert!(!keyrings.is_empty(), "a database has a keyring");
    let rows = rows(dir);
    assert!(rows.iter().any(|(key, _)| key.starts_with(b"L")), "there are blocks");
    for (name, keyring) in &keyrings {
        for (key, value) in &rows {
            let at = format!("row {key:02x?} with {}", name.display());
            if let Some(open) = keyring.row_key().seal_key().open(key, value) {
                look(&open, secrets, &at, &mut found);
            }
            if key.first() == Some(&b'L') && key.len() == 9 {
                let first = u64::from_be_bytes(key[1..].try_into().expect("eight bytes"));
                let Some(block) = Block::try_open(keyring, first, value) else { continue };
                for secret in secrets {
                    found.extend(unmasked(keyring, &block, first, secret).then(|| format!("{secret:?}: {at}")));
                }
            }
        }
    }
    found
}

/// Every version of every row of a kind, as any keyring that is there opens it, with the
/// keys that stand in its record for lines that wait.
///
/// # Panics
/// If the directory is no closed database.
#[must_use]
pub fn opened_rows(dir: &Path, kind: u8) -> Vec<Vec<u8>> {
    let rows = rows(dir);
    let mut opened = Vec::new();
    for (_, keyring) in keyrings(dir) {
        let lines = keyring.record("waiting-lines").unwrap_or_default();
        let mut keys: Vec<SealKey> = lines.as_chunks::<32>().0.iter().map(SealKey::new).collect();
        keys.push(keyring.row_key().seal_key());
        for (key, value) in rows.iter().filter(|(key, _)| key.first() == Some(&kind)) {
            opened.extend(keys.iter().filter_map(|seal| seal.open(key, value)));
        }
    }
    opened
}

fn look(bytes: &[u8], secrets: &[Secret], at: &str, found: &mut Vec<String>) {
    for secret in secrets {
        if bytes.windows(32).any(|window| window == secret.cek) {
            found.push(format!("{secret:?}: {at}"));
        }
    }
}

/// All keyrings that lie anywhere, whatever they are called.
fn keyrings(dir: &Path) -> Vec<(PathBuf, Keyring)> {
    let mut all = Vec::new();
    for file in files_in(dir) {
        let bytes = fs::read(&file).expect("a file");
        if !bytes.starts_with(b"thingdb keyring\n") {
            continue;
        }
        let place = scratch();
        let path = place.path().join("keyring");
        fs::write(&path, &bytes).expect("a copy");
        let passphrase = passphrase();
        if let Ok(keyring) = Keyring::open(&path, Unlock::Passphrase(&passphrase), &mut rand::rng()) {
            all.push((file, keyring));
        }
    }
    all
}

/// Every version of every row.
fn rows(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let place = scratch();
    let copy = place.path().join("copy");
    copy_directory(dir, &copy);
    let mut rows = Rows::edit(&copy, |rows| rows.all(b""));
    for journal in files_in(&copy).iter().filter_map(|file| file.parent()).collect::<std::collections::BTreeSet<_>>() {
        for piece in journal::read(journal, 0).into_iter().flatten() {
            let Ok(Piece::Frame { changes, .. }) = piece else { continue };
            rows.extend(changes.into_iter().filter_map(|(key, value)| Some((key, value?))));
        }
    }
    rows
}

fn unmasked(keyring: &Keyring, block: &Block, first: u64, secret: &Secret) -> bool {
    let Some(slot) = secret.position.checked_sub(first).filter(|slot| *slot < block.len() as u64) else { return false };
    let Some(masked) = block.masked_cek(slot as usize) else { return false };
    assert_eq!(block.id(slot as usize), secret.id, "no block has another entry in its place");
    keys(keyring, secret.position).iter().any(|key| {
        let mut mask = [0; 32];
        let info = [&b"thingdb/1/cek-at-rest"[..], &secret.id.0].concat();
        Hkdf::<Sha256>::from_prk(key).expect("32 bytes").expand(&info, &mut mask).expect("few bytes");
        masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).eq(secret.cek)
    })
}

/// What can be made of the nodes of a keyring's tree around a position as if it lay
/// below each of them.
fn keys(keyring: &Keyring, position: u64) -> Vec<[u8; 32]> {
    let mut nodes = BTreeMap::new();
    for near in (0..64).chain(position.saturating_sub(64)..position + 64) {
        for height in 0..=20 {
            if let Some(node) = keyring.key_tree().subtree(near, height) {
                nodes.insert((height, *node.key().as_bytes()), ());
            }
        }
    }
    let below = |(height, mut key): (u8, [u8; 32])| {
        for level in (0..height).rev() {
            let number = (position >> (2 * level)) as u8 & 3;
            key = Sha256::digest([&b"thingdb/1/key-tree"[..], &[0, number], &key].concat()).into();
        }
        key
    };
    nodes.into_keys().map(below).collect()
}

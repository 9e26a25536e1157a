//! Whether the keyring is that of what is stored. One of another database opens
//! nothing, and must not be let near what follows from the ledger: everything
//! would be taken for damaged and made anew.

use std::path::Path;

use super::standing::{self, Kept};
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::storage::Direction;
use crate::storage::journal::{self, Piece};
use crate::store::Store;
use crate::store::block::Block;
use crate::store::schema;
use crate::store::seals::Seals;

/// Blocks at each end of the ledger that are tried.
const TRIED: usize = 4;

/// Refuses a keyring that opens nothing here.
pub(crate) fn check(store: &Store) -> Result<()> {
    if opens_something(store)? { Ok(()) } else { Err(foreign()) }
}

/// Whether a keyring is that of what lies in a directory that is not open: by its
/// checkpoint, and by the first blocks in its journal. Nothing if that cannot be told.
pub(crate) fn is_of(dir: &Path, keyring: &Keyring) -> Option<bool> {
    if let Ok(Kept::Own(_) | Kept::Former) = standing::load(dir, keyring) {
        return Some(true);
    }
    let seals = Seals::new(keyring);
    let mut tried = 0;
    for piece in journal::read(&dir.join(journal::DIRECTORY), 0).into_iter().flatten() {
        let Ok(Piece::Frame { changes, .. }) = piece else { continue };
        for (key, value) in changes.iter().filter(|(key, _)| key.starts_with(b"L")) {
            let (Some(first), Some(bytes)) = (schema::first_of_block(key), value) else { continue };
            let Ok(block) = Block::from_bytes(first, bytes) else { continue };
            let opened = block.open(seals.block_key(first));
            if opened.is_ok_and(|mut block| (0..u8::MAX).take(block.len()).any(|slot| block.record(slot).is_ok())) {
                return Some(true);
            }
            tried += 1;
        }
        if tried >= TRIED {
            return Some(false);
        }
    }
    // The frames have checksums: what does not open there is no damage. Where no entry
    // is, it counts who signed the checkpoint.
    let is_foreign =
        standing::claimed_origin(dir).is_some_and(|origin| origin != keyring.node_key().node_key().origin());
    (is_foreign || tried > 0).then_some(false)
}

fn foreign() -> Error {
    let detail = "it opens nothing of what is stored here: it is that of another database; nothing was changed";
    Error::damaged("the keyring", detail)
}

/// Whether a row of the index or one of the first and last records opens. What
/// cannot be read proves nothing.
fn opens_something(store: &Store) -> Result<bool> {
    let mut tried = 0;
    if let Ok(Some(row)) = store.storage.get(schema::INDEXED) {
        if store.rows.open(schema::INDEXED, &row).is_ok() {
            return Ok(true);
        }
        tried += 1;
    }
    for direction in [Direction::Forward, Direction::Backward] {
        for row in store.storage.scan(&schema::blocks(), direction).take(TRIED) {
            let Ok((key, bytes)) = row else { return Ok(true) };
            let Some(first) = schema::first_of_block(&key) else { continue };
            if Block::from_bytes(first, &bytes).is_err() {
                continue;
            }
            tried += 1;
            let Ok(mut block) = store.open_block(first, &bytes) else { continue };
            if (0..u8::MAX).take(block.len()).any(|slot| block.record(slot).is_ok()) {
                return Ok(true);
            }
        }
    }
    // Nothing was there to tell it by, or all of it is damaged.
    Ok(tried <= 1)
}

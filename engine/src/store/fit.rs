//! Whether the keyring is that of what is stored. One of another database opens
//! nothing, and must not be let near what follows from the ledger: everything
//! would be taken for damaged and made anew.

use super::Store;
use super::block::Block;
use super::schema;
use crate::error::{Error, Result};
use crate::storage::Direction;

/// Blocks at each end of the ledger that are tried.
const TRIED: usize = 4;

/// Refuses a keyring that opens nothing here.
pub(crate) fn check(store: &Store) -> Result<()> {
    if opens_something(store)? { Ok(()) } else { Err(foreign()) }
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

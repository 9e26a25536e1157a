//! Whether the keyring is that of what is stored. One of another database opens
//! nothing, and must not be let near what follows from the ledger: everything
//! would be taken for damaged and made anew. An old one lacks keys.

use std::ops::RangeInclusive;
use std::path::Path;

use super::Store;
use super::schema;
use super::stored::{Block, SEGMENT_POSITIONS};
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::node::standing::{self, Kept};
use crate::storage::Direction;
use crate::storage::journal::{self, Piece};

/// Blocks at each end of the ledger that are tried.
const TRIED: usize = 4;

/// Refuses a keyring that opens nothing here, and tells which keys are missing.
pub(crate) fn check(store: &Store) -> Result<Option<String>> {
    let Some(last) = last_position(store)? else { return Ok(None) };
    let lacking = lacking(store, last);
    if lacking.is_empty() {
        return if opens_something(store)? { Ok(None) } else { Err(foreign()) };
    }
    // Where keys are missing it is this database's if those that are there fit.
    if store.keyring().segments().next().is_some() && !opens_something(store)? {
        return Err(foreign());
    }
    let segments = lacking.iter().map(|range| match (range.start(), range.end()) {
        (first, last) if first == last => format!("{first}"),
        (first, last) => format!("{first} to {last}"),
    });
    let segments = segments.collect::<Vec<_>>().join(", ");
    let first = lacking.first().map_or(0, |range| range.start() * SEGMENT_POSITIONS);
    Ok(Some(format!(
        "the keyring lacks the keys of segments {segments}: entries from position {first} on cannot be read with it; \
         it is an old one, and a newer copy of it has them: thingdb keyring import FILE"
    )))
}

/// Whether a keyring is that of what lies in a directory that is not open: by its
/// checkpoint, and by the first blocks in its journal. Nothing if that cannot be told.
pub(crate) fn is_of(dir: &Path, keyring: &Keyring) -> Option<bool> {
    if let Ok(Kept::Own(_) | Kept::Former) = standing::load(dir, keyring) {
        return Some(true);
    }
    let mut tried = 0;
    for piece in journal::read(&dir.join(journal::DIRECTORY), 0).into_iter().flatten() {
        let Ok(Piece::Frame { changes, .. }) = piece else { continue };
        for (key, value) in changes.iter().filter(|(key, _)| key.starts_with(b"L")) {
            let (Some(first), Some(bytes)) = (schema::first_of_block(key), value) else { continue };
            let Ok(block) = Block::from_bytes(first, bytes) else { continue };
            let Some(key) = keyring.segment_key(first / SEGMENT_POSITIONS) else { continue };
            if (0..=u8::MAX).take(block.len()).any(|slot| block.record(&key, first, slot).is_ok()) {
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

/// The segments up to that of `last` that have no key.
fn lacking(store: &Store, last: u64) -> Vec<RangeInclusive<u64>> {
    let mut lacking = Vec::new();
    let mut next = 0;
    let end = last / SEGMENT_POSITIONS;
    for segment in store.keyring().segments().take_while(|segment| *segment <= end).chain([end.saturating_add(1)]) {
        if segment > next {
            lacking.push(next..=segment - 1);
        }
        next = segment.saturating_add(1);
    }
    lacking
}

/// The first position of the last block.
fn last_position(store: &Store) -> Result<Option<u64>> {
    for row in store.storage.scan(&schema::blocks(), Direction::Backward) {
        match row {
            Ok((key, _)) => {
                if let Some(first) = schema::first_of_block(&key) {
                    return Ok(Some(first));
                }
            }
            // That the end cannot be read is told where the ledger is loaded.
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
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
            let (Ok(block), Some(key)) = (Block::from_bytes(first, &bytes), store.segment_key(first).ok()) else {
                continue;
            };
            tried += 1;
            if (0..=u8::MAX).take(block.len()).any(|slot| block.record(&key, first, slot).is_ok()) {
                return Ok(true);
            }
        }
    }
    // Nothing was there to tell it by, or all of it is damaged.
    Ok(tried <= 1)
}

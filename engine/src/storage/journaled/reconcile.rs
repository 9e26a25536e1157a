//! Journal and store against each other: what one has lost comes from the other.
//!
//! One reading of the journal finds the newest frame of each key, one scan of the
//! store compares its rows with that, and a second reading brings what the store
//! lacks. What the journal lacks is appended to it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::journal::{self, Journal, Piece};
use super::super::sled::SledStorage;
use super::super::{Change, Direction, KeyRange, Storage, StorageError};
use super::overlay::Layer;

/// Rows that one frame or one write takes.
const ROWS: usize = 512;

/// Whose word counts where the two differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// The store's: it has commits that the journal has lost.
    Store,
    /// The journal's, unless a hole in it is newer than what it has of a key.
    Newer,
}

/// What was brought from one to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Healed {
    /// Rows that the store had lost, or had older.
    pub(super) to_store: u64,
    /// Rows that the journal had lost.
    pub(super) to_journal: u64,
}

impl fmt::Display for Healed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to_store, to_journal } = self;
        write!(
            f,
            "{to_journal} rows were written to the journal from the store, {to_store} to the store from the journal"
        )
    }
}

/// What the journal has of a key.
struct Known {
    sequence: u64,
    /// Of the value; nothing if it was deleted.
    value: Option<[u8; 16]>,
    store: Found,
}

/// What the store has of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The same, or what counts.
    Right,
    Older,
}

fn hash(bytes: &[u8]) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    *hash.first_chunk().expect("16 is less than 32")
}

/// Which rows are what.
#[derive(Clone, Copy)]
pub(super) struct Kinds {
    /// See [`JournaledOptions::is_derived`](super::JournaledOptions::is_derived).
    pub(super) is_derived: fn(&[u8]) -> bool,
    /// See [`JournaledOptions::is_permanent`](super::JournaledOptions::is_permanent).
    pub(super) is_permanent: fn(&[u8]) -> bool,
}

/// Brings both to what they have together; the store has everything that was
/// committed, and nothing is committed meanwhile. A journal that `has_all` by design
/// gets what it lacks; of one that keeps recent commits only, most rows are gone. Takes about 100 bytes of memory
/// a key.
pub(super) fn reconcile(
    journal: &Journal,
    journal_path: &Path,
    sled: &SledStorage,
    kinds: Kinds,
    trust: Trust,
    has_all: bool,
) -> Result<Healed, StorageError> {
    let end = journal.next();
    let (mut known, newest_hole) = read_journal(journal_path)?;
    let mut healed = Healed::default();
    let mut lost: Vec<Change> = Vec::new();
    for row in sled.scan(&KeyRange::all(), Direction::Forward) {
        let (key, value) = row?;
        if (kinds.is_derived)(&key) {
            continue;
        }
        let entry = known.get_mut(&hash(&key));
        let is_same = entry.as_ref().is_some_and(|known| known.value == Some(hash(&value)));
        let is_right =
            is_same || trust == Trust::Store || entry.as_ref().is_none_or(|known| newest_hole > known.sequence);
        let is_gone = entry.is_none() && !has_all;
        if let Some(entry) = entry {
            entry.store = if is_right { Found::Right } else { Found::Older };
        }
        if is_right && !is_same && !is_gone {
            healed.to_journal += 1;
            lost.push((key, Some(value)));
            append_full(journal, &mut lost, ROWS)?;
        }
    }
    // What only the journal has, or has newer.
    known.retain(|_, known| match known.store {
        Found::Right => false,
        Found::Nothing => known.value.is_some(),
        Found::Older => true,
    });
    let mut layer = Layer::default();
    for piece in journal::read(journal_path, 0)? {
        let Piece::Frame { sequence, changes } = piece? else { continue };
        if known.is_empty() || sequence >= end {
            break;
        }
        for (key, value) in changes {
            let Some(known) = known.get(&hash(&key)).filter(|known| known.sequence == sequence) else { continue };
            // The store has it not, and the journal may have lost why.
            let may_be_deleted = trust == Trust::Store || newest_hole > sequence;
            if known.store == Found::Nothing && may_be_deleted && !(kinds.is_permanent)(&key) {
                lost.push((key, None));
                healed.to_journal += 1;
                append_full(journal, &mut lost, ROWS)?;
            } else {
                healed.to_store += 1;
                layer.put([(key, value)]);
            }
        }
        if layer.rows.len() >= ROWS {
            bring(sled, &mut layer, kinds.is_derived)?;
        }
    }
    append_full(journal, &mut lost, 1)?;
    bring(sled, &mut layer, kinds.is_derived)?;
    journal.sync(journal.next() - 1)?;
    sled.sync_all()?;
    Ok(healed)
}

fn append_full(journal: &Journal, changes: &mut Vec<Change>, rows: usize) -> Result<(), StorageError> {
    if changes.len() >= rows {
        journal.append(&std::mem::take(changes))?;
    }
    Ok(())
}

fn bring(sled: &SledStorage, layer: &mut Layer, is_derived: fn(&[u8]) -> bool) -> Result<(), StorageError> {
    match sled.marks()? {
        Some(marks) if !layer.rows.is_empty() => sled.feed(&std::mem::take(layer).rows, is_derived, marks).map(drop),
        _ => Ok(()),
    }
}

/// The newest frame of each key, and the newest commit that cannot be read.
fn read_journal(path: &Path) -> Result<(HashMap<[u8; 16], Known>, u64), StorageError> {
    let mut known = HashMap::new();
    let mut newest_hole = 0;
    for piece in journal::read(path, 0)? {
        match piece? {
            Piece::Hole(hole) if hole.sequences.is_empty() => {}
            Piece::Hole(hole) => newest_hole = newest_hole.max(*hole.sequences.end()),
            Piece::Frame { sequence, changes } => {
                for (key, value) in changes {
                    let value = value.as_deref().map(hash);
                    known.insert(hash(&key), Known { sequence, value, store: Found::Nothing });
                }
            }
        }
    }
    Ok((known, newest_hole))
}

//! Where the ledger stands with which commit, as the layout of the blocks tells:
//! nothing is opened.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};
use crate::storage::journal::{self, Piece};
use crate::storage::{Change, StorageError};
use crate::store::block::Block;
use crate::store::schema;

/// Where the commits that are wanted end.
pub(super) struct Cut {
    /// The last of them.
    pub(super) until: u64,
    /// Entries that the ledger has with it.
    pub(super) entries: u64,
    /// Entries that it has with the commit behind it, which was not wanted.
    pub(super) beyond: Option<u64>,
}

/// The commits before the first with which the ledger has more than `most`
/// entries.
pub(super) fn cut(journal: &Path, most: Option<u64>) -> Result<Cut> {
    let mut cut = Cut { until: u64::MAX, entries: 0, beyond: None };
    let pieces = journal::read(journal, 1).map_err(|problem| match problem {
        StorageError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            Error::damaged(journal.display().to_string(), "it is missing, or has no file")
        }
        problem => problem.into(),
    })?;
    for piece in pieces {
        let Piece::Frame { sequence, changes } = piece? else { continue };
        match (end_of(&changes), most) {
            (Some(size), Some(most)) if size > most => {
                (cut.until, cut.beyond) = (sequence - 1, Some(size));
                return Ok(cut);
            }
            (size, _) => cut.entries = cut.entries.max(size.unwrap_or_default()),
        }
    }
    match most.filter(|most| *most > cut.entries) {
        Some(position) => Err(Error::BeyondLedger { position, size: cut.entries }),
        None => Ok(cut),
    }
}

/// Positions of the first `entries` entries that the commits behind a cut say are erased,
/// ascending.
pub(super) fn erased_after(journal: &Path, cut: &Cut) -> Result<Vec<u64>> {
    let mut positions = BTreeSet::new();
    if cut.until < u64::MAX {
        for piece in journal::read(journal, cut.until + 1)? {
            let Piece::Frame { changes, .. } = piece? else { continue };
            let erased = changes.iter().filter(|(key, value)| value.is_some() && schema::is_erased_entry(key));
            positions.extend(erased.filter_map(|(key, _)| schema::position_in(key)));
        }
    }
    Ok(positions.into_iter().filter(|position| *position < cut.entries).collect())
}

/// Entries that the ledger has with the commits from `from` on; 0 if they bring none.
pub(super) fn brought_by(journal: &Path, from: u64) -> Result<u64> {
    let mut entries = 0;
    for piece in journal::read(journal, from)? {
        if let Piece::Frame { changes, .. } = piece? {
            entries = entries.max(end_of(&changes).unwrap_or_default());
        }
    }
    Ok(entries)
}

fn end_of(changes: &[Change]) -> Option<u64> {
    changes.iter().filter_map(|(key, value)| end_of_block(key, value.as_deref()?)).max()
}

/// The position behind a block of records.
fn end_of_block(key: &[u8], value: &[u8]) -> Option<u64> {
    let first = key.starts_with(b"L").then(|| schema::first_of_block(key)).flatten()?;
    Some(first.saturating_add(Block::from_bytes(first, value).ok()?.len() as u64))
}

//! The log of entries that were completed after they came: sealed to more
//! recipients, or given the payload or an envelope by an import.
//!
//! New entries show by their ledger position; these keep theirs. Each
//! completion gives the entry a new *revision*, one more than any before it, in
//! the commit that changes the record. An entry has one row, that of its newest
//! revision, so the log is never longer than the ledger.
//!
//! A row tells from which node the change came, so that it is not offered to
//! that node again. If changes of an entry came from several, it names none.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use bincode::{Decode, Encode};
use thingdb_format::Origin;

use super::Store;
use super::schema;
use crate::encoding;
use crate::error::Result;
use crate::storage::{Batch, Direction, Storage};

/// The entries of a commit that were completed, and from where that came.
pub(crate) type Changed = BTreeMap<u64, Option<Origin>>;

/// Notes a change among those of a commit.
pub(crate) fn note(changed: &mut Changed, position: u64, from: Option<Origin>) {
    changed
        .entry(position)
        .and_modify(|known| {
            if *known != from {
                *known = None;
            }
        })
        .or_insert(from);
}

#[derive(Encode, Decode)]
struct ChangeRow {
    position: u64,
    from: Option<[u8; 16]>,
}

/// The newest revision in the rows.
pub(crate) fn newest(storage: &dyn Storage) -> Result<u64> {
    let newest = storage.scan(&schema::changes_after(0), Direction::Backward).next().transpose()?;
    Ok(newest.and_then(|(key, _)| schema::revision_of_change(&key)).unwrap_or(0))
}

/// Puts the rows of changes into the batch and gives the newest revision: for
/// the committer, which notes it once the batch is in.
pub(crate) fn log(store: &Store, changed: Changed, batch: &mut Batch) -> Result<u64> {
    let mut revision = store.revision.load(Ordering::Acquire);
    for (position, mut from) in changed {
        let row_of_position = schema::changed(position);
        if let Some(sealed) = store.storage.get(&row_of_position)?
            // What does not open is written anew.
            && let Ok(before) = store.rows.open_value::<u64>(&row_of_position, &sealed)
        {
            let row = schema::change(before);
            let known = store.storage.get(&row)?;
            let known = known.and_then(|sealed| store.rows.open_value::<ChangeRow>(&row, &sealed).ok());
            if known.is_none_or(|known| known.from.map(Origin) != from) {
                from = None;
            }
            batch.delete(row);
        }
        revision += 1;
        let row = schema::change(revision);
        let value = encoding::encode(&ChangeRow { position, from: from.map(|origin| origin.0) });
        let sealed = store.rows.seal(&row, &value);
        batch.put(row, sealed);
        let sealed = store.rows.seal(&row_of_position, &encoding::encode(&revision));
        batch.put(row_of_position, sealed);
    }
    Ok(revision)
}

/// Entries that were completed after they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Changes {
    /// Their ledger positions, in the order of their revisions.
    pub positions: Vec<u64>,
    /// From which revision to ask on the next time.
    pub revision: u64,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// The entries that were completed after revision `since`, as
/// [`Db::changes`](crate::Db::changes) has it.
pub(crate) fn after(store: &Store, since: u64, prefix: &str, not_from: Option<Origin>, most: usize) -> Result<Changes> {
    let mut changes = Changes { positions: Vec::new(), revision: since, more: false };
    let newest = store.revision.load(Ordering::Acquire);
    for row in store.storage.scan(&schema::changes_after(since), Direction::Forward) {
        let (key, sealed) = row?;
        // A row of another shape is none of ours.
        let Some(revision) = schema::revision_of_change(&key).filter(|revision| *revision <= newest) else {
            continue;
        };
        if changes.positions.len() >= most {
            changes.more = true;
            return Ok(changes);
        }
        changes.revision = revision;
        let row: ChangeRow = store.rows.open_value(&key, &sealed)?;
        let is_new = row.from.is_none() || row.from.map(Origin) != not_from;
        if is_new && (prefix.is_empty() || store.is_of(row.position, prefix)?) {
            changes.positions.push(row.position);
        }
    }
    changes.revision = changes.revision.max(newest);
    Ok(changes)
}

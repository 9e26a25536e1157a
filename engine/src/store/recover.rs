//! Brings memory to where the storage is, and makes anew what follows from the
//! ledger if it is damaged.
//!
//! The records are the truth. The tree's rows and the index rows follow from
//! them; where these do not open, they are thrown away and written again. If
//! records of the ledger's end do not open, nobody can say what the next entry
//! would stand on: reading goes on, and writing is refused.

use std::ops::{ControlFlow, Range};

use bincode::{Decode, Encode};
use thingdb_format::EntryId;

use super::block::{BLOCK_RECORDS, Block};
use super::holes;
use super::index::{self, Index, Indexed, IndexedRow};
use super::ledger::{self, Ledger, WIDTH};
use super::postings::{Posting, id8};
use super::schema;
use super::stored::at;
use super::{Store, located_in};
use crate::error::{Error, Result};
use crate::storage::{Batch, Direction, KeyRange};

/// Rows that one commit of a repair writes or deletes.
const REPAIR_ROWS: usize = 512;

/// Missing entries in a row beyond which nobody can say what the ledger was.
const MAX_GAP: u64 = 1 << 20;

/// What the ledger stands for in the place of an id that cannot be read.
pub(crate) const UNREADABLE: EntryId = EntryId([0; 32]);

/// What was found and done.
#[derive(Default)]
pub(crate) struct Recovered {
    /// Why nothing may be written.
    pub(crate) read_only: Option<Error>,
    /// What was made anew, in words.
    pub(crate) repaired: Vec<String>,
}

/// Loads the ledger's size and tree, and takes the entries that are not in the
/// index rows into the index. `anew` throws away what follows from the ledger.
pub(crate) fn recover(store: &Store, anew: bool) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    if store.storage.get(schema::COMMITS_LOST)?.is_some() {
        let detail = "the journal was lost, or its end, while the database was not closed: entries that were written \
                      last may be missing, and the node cannot sign what may contradict them; with a new node key it \
                      goes on from what is here";
        recovered.read_only = Some(Error::RolledBack { detail: detail.to_owned() });
    }
    if store.storage.get(schema::IDS_LOST)?.is_some() {
        recovered.read_only = Some(Error::damaged(
            "the ledger",
            "ids of some of its entries are lost, so the node cannot sign what follows them; with a new node key it \
             goes on from what is here",
        ));
    }
    let Some(size) = ledger_size(store, &mut recovered)? else { return Ok(recovered) };
    let loaded = if anew { None } else { load_tree(store, size, &mut recovered)? };
    let ledger = match loaded {
        Some(ledger) => ledger,
        None => rebuild_tree(store, size, &mut recovered)?,
    };
    *store.ledger.write().expect("no thread panics while it holds the ledger") = ledger;
    if anew {
        rebuild_index(store, size, &mut recovered)?;
        return Ok(recovered);
    }
    match replay_index(store, size, &mut recovered) {
        Err(problem) if problem.is_damaged() => rebuild_index(store, size, &mut recovered)?,
        replayed => replayed?,
    }
    Ok(recovered)
}

/// Entries in the ledger, from its last block; nothing for an empty one.
///
/// A block of which nothing opens counts if it stands right behind the one
/// before it: it is damaged. Elsewhere it is none of ours.
fn ledger_size(store: &Store, recovered: &mut Recovered) -> Result<Option<u64>> {
    for row in store.storage.scan(&schema::blocks(), Direction::Backward) {
        let (key, bytes) = match row {
            Ok(row) => row,
            Err(problem) => return end_past_holes(store, problem.into(), recovered),
        };
        let (first, problem) = match schema::first_of_block(&key) {
            None => (None, Error::damaged("the ledger", "a row among its blocks is none")),
            Some(first) => match opens(store, first, &bytes) {
                Ok(end) => return Ok(Some(end)),
                Err(problem) if problem.is_damaged() => (Some(first), problem),
                Err(problem) => return Err(problem),
            },
        };
        recovered.read_only.get_or_insert(problem);
        if let Some(first) = first
            && stands_behind(store, first)?
        {
            let len = Block::from_bytes(first, &bytes).map_or(1, |block| block.len()) as u64;
            return Ok(Some(first.saturating_add(len)));
        }
    }
    Ok(None)
}

/// The end of a ledger whose last rows cannot be read: it is behind what can, and
/// behind what the index lists.
fn end_past_holes(store: &Store, problem: Error, recovered: &mut Recovered) -> Result<Option<u64>> {
    if !holes::is_of_a_place(&problem) {
        return Err(problem);
    }
    recovered.read_only.get_or_insert(problem);
    let mut end = index::indexed(&*store.storage, &store.rows).map_or(0, |indexed| indexed.position);
    holes::each_row(&*store.storage, &schema::blocks(), |row| {
        let Ok((key, bytes)) = row else { return Ok(ControlFlow::Continue(())) };
        if let Some(first) = schema::first_of_block(&key)
            && let Ok(block) = Block::from_bytes(first, &bytes)
        {
            end = end.max(first.saturating_add(block.len() as u64));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((end > 0).then_some(end))
}

/// The position behind a block, if one of its records opens.
fn opens(store: &Store, first: u64, bytes: &[u8]) -> Result<u64> {
    let mut block = store.open_block(first, bytes)?;
    let end = first + block.len() as u64;
    let mut problem = None;
    for slot in (0..=u8::MAX).take(block.len()) {
        match located_in(&mut block, slot) {
            Ok(_) => return Ok(end),
            Err(found) => problem = problem.or(Some(found)),
        }
    }
    Err(problem.unwrap_or_else(|| Error::damaged(at(first), "its block is empty")))
}

/// Whether the block before ends at this position, as far as it can be said.
fn stands_behind(store: &Store, first: u64) -> Result<bool> {
    let Some(last) = first.checked_sub(1) else { return Ok(true) };
    match store.block_of(last) {
        Ok((before, bytes)) => {
            let len = Block::from_bytes(before, &bytes).map_or(BLOCK_RECORDS, |block| block.len());
            Ok(first - before <= len as u64)
        }
        Err(problem) if problem.is_damaged() => Ok(false),
        Err(problem) => Err(problem),
    }
}

/// The tree from its rows and the last records; nothing if the rows do not
/// open.
fn load_tree(store: &Store, size: u64, recovered: &mut Recovered) -> Result<Option<Ledger>> {
    let accepted = accepted(store)?.lost;
    let mut last_ids = Vec::new();
    for position in size - size % WIDTH..size {
        match store.located_at(position) {
            Ok(located) => last_ids.push(located.id),
            Err(problem) if problem.is_damaged() => {
                if !accepted.contains(&position) {
                    recovered.read_only.get_or_insert(problem);
                }
                last_ids.push(UNREADABLE);
            }
            Err(problem) => return Err(problem),
        }
    }
    match Ledger::load(&*store.storage, &store.rows, size, &last_ids) {
        Ok(ledger) => Ok(Some(ledger)),
        Err(problem) if problem.is_damaged() => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// Makes the tree anew if it turns out later that its rows do not open.
pub(crate) fn repair_tree(store: &Store, recovered: &mut Recovered) -> Result<()> {
    let ledger = rebuild_tree(store, store.size(), recovered)?;
    *store.ledger.write().expect("no thread panics while it holds the ledger") = ledger;
    Ok(())
}

/// What a node has taken for lost when it got a key that has not signed for it.
#[derive(Default, Encode, Decode)]
struct Accepted {
    /// Size of the ledger then.
    until: u64,
    /// Positions of which no id is known, and for which no full row of the tree has a
    /// placeholder. Another loss beside them is a new one.
    lost: Vec<u64>,
}

fn accepted(store: &Store) -> Result<Accepted> {
    store.rows.read_or_default(&*store.storage, schema::IDS_ACCEPTED)
}

/// Size of the ledger when the node got the key that signs for it as it is, although
/// something of it is lost; 0 if it never did.
pub(crate) fn accepted_until(store: &Store) -> Result<u64> {
    Ok(accepted(store)?.until)
}

/// Takes it that ids are lost, for a node whose key has not signed for them.
pub(crate) fn accept_lost_ids(store: &Store) -> Result<()> {
    let size = store.size();
    let mut lost = accepted(store)?.lost;
    for position in size - size % WIDTH..size {
        match store.located_at(position) {
            Err(problem) if problem.is_damaged() && !lost.contains(&position) => lost.push(position),
            Err(problem) if !problem.is_damaged() => return Err(problem),
            _ => {}
        }
    }
    let row = crate::encoding::encode(&Accepted { until: size, lost });
    let mut batch = Batch::new();
    batch.put(schema::IDS_ACCEPTED, store.rows.seal(schema::IDS_ACCEPTED, &row));
    batch.delete(schema::IDS_LOST);
    batch.delete(schema::COMMITS_LOST);
    store.commit(batch).map(drop)
}

/// The positions of the ledger's end that a salvage did not find, until that is accepted.
pub(crate) fn lost_end(store: &Store) -> Result<Option<Range<u64>>> {
    let (found, all): (u64, u64) = store.rows.read_or_default(&*store.storage, schema::END_LOST)?;
    Ok((found < all).then_some(found..all))
}

/// Notes what a salvage did not find of the ledger's end.
pub(crate) fn note_lost_end(store: &Store, lost: &Range<u64>) -> Result<()> {
    let row = crate::encoding::encode(&(lost.start, lost.end));
    let mut batch = Batch::new();
    batch.put(schema::END_LOST, store.rows.seal(schema::END_LOST, &row));
    store.commit(batch).map(drop)
}

/// Takes it that the ledger's end is lost.
pub(crate) fn accept_lost_end(store: &Store) -> Result<()> {
    if lost_end(store)?.is_none() {
        return Ok(());
    }
    let mut batch = Batch::new();
    batch.delete(schema::END_LOST);
    store.commit(batch).map(drop)
}

/// Makes the tree and its rows anew from the records. The ids of those that
/// cannot be read are taken over from the rows of before, placeholders too:
/// these were either [accepted](accept_lost_ids) or are told of by their mark.
fn rebuild_tree(store: &Store, size: u64, recovered: &mut Recovered) -> Result<Ledger> {
    let accepted = accepted(store)?.lost;
    let mut ledger = Ledger::default();
    let mut batch = Batch::new();
    let push = |ledger: &mut Ledger, batch: &mut Batch, id: Option<EntryId>| -> Result<()> {
        // Once a full row has a placeholder, the next opening finds nothing
        // missing. What fills no row yet is read from the records each time.
        if id.is_none() && !accepted.contains(&ledger.size()) && ledger.size() < size - size % WIDTH {
            batch.put(schema::IDS_LOST, store.rows.seal(schema::IDS_LOST, &[]));
        }
        ledger.push(&id.unwrap_or(UNREADABLE), &store.rows, batch);
        if batch.bytes() > 1 << 20 {
            store.commit(std::mem::take(batch))?;
        }
        Ok(())
    };
    let mut id_before = |position: u64, problem: Error| {
        let row = ledger::read_row(&*store.storage, &store.rows, 0, position / WIDTH);
        let known = row.ok().and_then(|row| row.get((position % WIDTH) as usize).copied());
        if known.is_none() && !accepted.contains(&position) {
            recovered.read_only.get_or_insert(problem);
        }
        known.map(EntryId)
    };
    for_each_record(store, 0, |position, found| {
        // One that a block behind it has, too, or that is none of the ledger's.
        if position < ledger.size() || position >= size {
            return Ok(());
        }
        if position - ledger.size() > MAX_GAP {
            let detail = format!("the {} entries before it are missing", position - ledger.size());
            return Err(Error::damaged(at(position), detail));
        }
        // Where blocks are missing, so are ids.
        while ledger.size() < position {
            let id = id_before(ledger.size(), Error::damaged("the ledger", "blocks are missing"));
            push(&mut ledger, &mut batch, id)?;
        }
        let id = found.map_or_else(|problem| id_before(position, problem), |entry| Some(entry.id));
        push(&mut ledger, &mut batch, id)
    })?;
    if !batch.is_empty() {
        store.commit(batch)?;
    }
    // A damaged last block may have held more than one entry.
    if ledger.size() < size {
        let problem = Error::damaged("the ledger", "blocks are missing");
        recovered.read_only.get_or_insert(problem);
    }
    recovered.repaired.push(format!("the tree over {size} entries was made anew"));
    Ok(ledger)
}

/// Takes what is not in the index rows into memory.
fn replay_index(store: &Store, size: u64, recovered: &mut Recovered) -> Result<()> {
    let indexed = index::indexed(&*store.storage, &store.rows)?;
    store.index.set_things(indexed.things);
    if indexed.position > size {
        // No crash does that: records are there before the index lists them.
        let detail = format!("truncated: the index counts {} entries, the ledger has {size}", indexed.position);
        recovered.read_only.get_or_insert(Error::RolledBack { detail });
    }
    store.index.set_unlisted(indexed.unlisted.below(indexed.position));
    replay(store, indexed.position, size)
}

/// Throws the index rows away and makes them anew from the records.
fn rebuild_index(store: &Store, size: u64, recovered: &mut Recovered) -> Result<()> {
    // From here on a crash makes the next opening begin at the first entry.
    let mut batch = Batch::new();
    batch.put(schema::INDEXED, store.rows.seal(schema::INDEXED, &crate::encoding::encode(&IndexedRow::default())));
    batch.delete(schema::HEADS_MAP);
    store.commit(batch)?;
    for range in [schema::states(), schema::all_postings(), schema::all_heads(), schema::heads_pages()] {
        delete_all(store, &range)?;
    }
    store.index.clear();
    replay(store, 0, size)?;
    recovered.repaired.push(format!("the index of {size} entries was made anew"));
    Ok(())
}

fn delete_all(store: &Store, range: &KeyRange) -> Result<()> {
    loop {
        let mut batch = Batch::new();
        for row in store.storage.scan(range, Direction::Forward).take(REPAIR_ROWS) {
            batch.delete(row?.0);
        }
        if batch.is_empty() {
            return Ok(());
        }
        store.commit(batch)?;
    }
}

/// Takes the entries from `start` on into the index, and notes which of those up to
/// `size` cannot be read.
fn replay(store: &Store, start: u64, size: u64) -> Result<()> {
    let mut expected = start;
    for_each_record(store, start, |position, found| {
        // A record that does not open is told by `verify`.
        let Ok(entry) = found else { return Ok(()) };
        if position > expected {
            store.index.leave_out(expected..position);
        }
        expected = expected.max(position + 1);
        let indexed = Indexed {
            thing: &entry.header.thing,
            tag: store.tag(&entry.header.thing),
            id: entry.id,
            time: entry.header.time,
            prev: &entry.header.prev,
            posting: Posting { seq: entry.header.seq, position: entry.position, slot: entry.slot, id8: id8(&entry.id) },
            is_new: false,
        };
        store.index.apply(&*store.storage, &store.rows, &[indexed])?;
        write_due(store, &store.index, entry.position + 1)
    })?;
    if expected < size {
        store.index.leave_out(expected..size);
    }
    Ok(())
}

/// Positions that the index had to leave out, and of which that was not
/// [accepted](accept_lost_ids).
pub(crate) fn unlisted(store: &Store) -> Result<Vec<Range<u64>>> {
    let unlisted = store.index.unlisted();
    if unlisted.is_empty() {
        return Ok(Vec::new());
    }
    Ok(unlisted.from(accepted(store)?.until))
}

/// Writes index rows if too many entries wait for it, as the committer does.
fn write_due(store: &Store, index: &Index, end: u64) -> Result<()> {
    while let Some(flush) = index.due_rows(&store.rows, end) {
        store.commit(flush.batch)?;
        index.written(&flush.tags);
    }
    Ok(())
}

/// Calls `act` for each record from the block at `position` on.
pub(crate) fn for_each_record(
    store: &Store,
    position: u64,
    mut act: impl FnMut(u64, Result<crate::store::Located>) -> Result<()>,
) -> Result<()> {
    holes::each_row(&*store.storage, &schema::blocks_between(position, u64::MAX), |row| {
        // What is not there is missing at its position.
        let Ok((key, bytes)) = row else { return Ok(ControlFlow::Continue(())) };
        // A row of another shape is told by `verify`.
        let Some(first) = schema::first_of_block(&key) else { return Ok(ControlFlow::Continue(())) };
        let mut block = match store.open_block(first, &bytes) {
            Ok(block) => block,
            Err(problem) => {
                act(first, Err(problem))?;
                return Ok(ControlFlow::Continue(()));
            }
        };
        for (position, slot) in (first..=u64::MAX).zip(0..=u8::MAX).take(block.len()) {
            let located = match located_in(&mut block, slot) {
                Err(problem) if !problem.is_damaged() => return Err(problem),
                located => located,
            };
            act(position, located)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

//! Brings memory to where the storage is, and makes anew what follows from the
//! ledger if it is damaged.
//!
//! The records are the truth. The tree's rows and the index rows follow from
//! them; where these do not open, they are thrown away and written again. If
//! records of the ledger's end do not open, nobody can say what the next entry
//! would stand on: reading goes on, and writing is refused.

use thingdb_format::EntryId;

use crate::committer::id8;
use crate::error::{Error, Result};
use crate::index::{self, Index, Indexed, IndexedRow, Posting};
use crate::ledger::{Ledger, WIDTH};
use crate::schema;
use crate::storage::{Batch, Direction, KeyRange};
use crate::store::Store;
use crate::stored::Block;

/// Rows that one commit of a repair writes or deletes.
const REPAIR_ROWS: usize = 512;

/// What the ledger stands for in the place of an id that cannot be read.
const UNREADABLE: EntryId = EntryId([0; 32]);

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
    let Some(size) = ledger_size(store, &mut recovered)? else { return Ok(recovered) };
    let loaded = if anew { None } else { load_tree(store, size, &mut recovered)? };
    let ledger = match loaded {
        Some(ledger) => ledger,
        None => rebuild_tree(store, size, &mut recovered)?,
    };
    *store.ledger.write().expect("no thread panics while it holds the ledger") = ledger;
    let replayed = if anew { Err(Error::Closed) } else { replay_index(store) };
    match replayed {
        Ok(()) => {}
        Err(problem) if problem.is_damaged() || anew => rebuild_index(store, size, &mut recovered)?,
        Err(problem) => return Err(problem),
    }
    Ok(recovered)
}

/// Entries in the ledger, from its last block; nothing for an empty one.
fn ledger_size(store: &Store, recovered: &mut Recovered) -> Result<Option<u64>> {
    let last = store.storage.scan(&schema::blocks(), Direction::Backward).next().transpose()?;
    let Some((key, bytes)) = last else { return Ok(None) };
    let first = first_of(&key)?;
    let len = Block::from_bytes(first, &bytes).map(|block| block.len() as u64).unwrap_or_else(|problem| {
        recovered.read_only = Some(problem);
        1
    });
    Ok(Some(first + len))
}

/// The tree from its rows and the last records; nothing if the rows do not
/// open.
fn load_tree(store: &Store, size: u64, recovered: &mut Recovered) -> Result<Option<Ledger>> {
    let mut last_ids = Vec::new();
    for position in size - size % WIDTH..size {
        match store.located_at(position) {
            Ok(located) => last_ids.push(located.id),
            Err(problem) if problem.is_damaged() => {
                recovered.read_only.get_or_insert(problem);
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

/// Makes the tree and its rows anew from the records.
fn rebuild_tree(store: &Store, size: u64, recovered: &mut Recovered) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let mut batch = Batch::new();
    for_each_record(store, 0, |position, found| {
        // Where blocks are missing, so are ids.
        while ledger.size() < position {
            recovered.read_only.get_or_insert_with(|| Error::damaged("the ledger", "blocks are missing"));
            ledger.push(&UNREADABLE, &store.rows, &mut batch);
        }
        let id = found.map(|entry| entry.id).unwrap_or_else(|problem| {
            recovered.read_only.get_or_insert(problem);
            UNREADABLE
        });
        ledger.push(&id, &store.rows, &mut batch);
        if batch.bytes() > 1 << 20 {
            store.commit(std::mem::take(&mut batch))?;
        }
        Ok(())
    })?;
    if !batch.is_empty() {
        store.commit(batch)?;
    }
    debug_assert!(ledger.size() >= size || recovered.read_only.is_some());
    recovered.repaired.push(format!("the tree over {size} entries was made anew"));
    Ok(ledger)
}

/// Takes what is not in the index rows into memory.
fn replay_index(store: &Store) -> Result<()> {
    let indexed = index::indexed(&*store.storage, &store.rows)?;
    store.index.set_things(indexed.things);
    replay(store, indexed.position)
}

/// Throws the index rows away and makes them anew from the records.
fn rebuild_index(store: &Store, size: u64, recovered: &mut Recovered) -> Result<()> {
    // From here on a crash makes the next opening begin at the first entry.
    let mut batch = Batch::new();
    batch.put(schema::INDEXED, store.rows.seal(schema::INDEXED, &crate::stored::encode(&IndexedRow::default())));
    store.commit(batch)?;
    for range in [schema::states(), schema::all_postings()] {
        delete_all(store, &range)?;
    }
    store.index.clear();
    replay(store, 0)?;
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

/// Takes the entries from `position` on into the index.
fn replay(store: &Store, position: u64) -> Result<()> {
    for_each_record(store, position, |_, found| {
        // A record that does not open is told by `verify`.
        let Ok(entry) = found else { return Ok(()) };
        let indexed = Indexed {
            thing: &entry.header.thing,
            tag: store.tag(&entry.header.thing),
            id: entry.id,
            time: entry.header.time,
            prev: &entry.header.prev,
            posting: Posting { seq: entry.header.seq, position: entry.position, slot: entry.slot, id8: id8(&entry.id) },
        };
        store.index.apply(&*store.storage, &store.rows, &[indexed])?;
        write_due(store, &store.index, entry.position + 1)
    })
}

/// Writes index rows if too many entries wait for it, as the committer does.
fn write_due(store: &Store, index: &Index, end: u64) -> Result<()> {
    if let Some(flush) = index.due_rows(&store.rows, end) {
        store.commit(flush.batch)?;
        index.written(&flush.tags);
    }
    Ok(())
}

/// Calls `act` for each record from the block at `position` on.
fn for_each_record(
    store: &Store,
    position: u64,
    mut act: impl FnMut(u64, Result<crate::store::Located>) -> Result<()>,
) -> Result<()> {
    for row in store.storage.scan(&schema::blocks_between(position, u64::MAX), Direction::Forward) {
        let (key, bytes) = row?;
        let first = first_of(&key)?;
        let block = match Block::from_bytes(first, &bytes) {
            Ok(block) => block,
            Err(problem) => {
                act(first, Err(problem))?;
                continue;
            }
        };
        for slot in (0..=u8::MAX).take(block.len()) {
            let located = match store.located_in(&block, first, slot) {
                Err(problem) if !problem.is_damaged() => return Err(problem),
                located => located,
            };
            act(first + u64::from(slot), located)?;
        }
    }
    Ok(())
}

fn first_of(key: &[u8]) -> Result<u64> {
    schema::first_of_block(key).ok_or_else(|| Error::damaged("the ledger", "a block has no key"))
}

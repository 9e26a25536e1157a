//! The rows of the waiting room.
//!
//! ```text
//! Y ‖ id 16             who waits, for what, and since when
//! W ‖ id 16 ‖ part 2    a part of its line; parts of the n-th line from n · 8192 on
//! Swaiting              how many wait, and how far the ledger was looked through
//! ```
//!
//! They are written in this order, so that whatever a crash leaves is found: what
//! is to go first, then who waits, and at last how far the ledger was looked
//! through.

use bincode::{Decode, Encode};
use thingdb_format::{Actor, EntryId, Origin};

use super::{Owner, Parked, ParkedLine, Room};
use crate::encoding;
use crate::error::Result;
use crate::node::Node;
use crate::storage::{Batch, Direction};
use crate::store::Store;
use crate::store::provenance::Hand;
use crate::store::schema::{self, Tag};
use crate::store::stored::PART_BYTES;

/// Parts that one line may have.
const LINE_PARTS: u16 = 8192;

const _: () = assert!(LINE_PARTS as usize * PART_BYTES > thingdb_format::line::MAX_LINE_BYTES + 2);
const _: () = assert!(super::MAX_LINES * LINE_PARTS as usize <= u16::MAX as usize);

/// Bytes of rows in one commit.
const COMMIT_BYTES: u64 = 1 << 20;

#[derive(Encode, Decode)]
struct ParkedRow {
    id: [u8; 32],
    prev: [u8; 32],
    tag: [u8; 16],
    origin: [u8; 16],
    actor: [u8; 32],
    from: Option<[u8; 16]>,
    since: u64,
    /// Slot, first bytes of the hash, what it is counted with, length, and who
    /// brought it.
    lines: Vec<(u8, [u8; 8], u32, u32, Hand)>,
}

/// The row that says how many wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct RoomRow {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) oldest: Option<u64>,
    pub(super) checked: u64,
    pub(super) displaced: u64,
    pub(super) expired: u64,
    pub(super) dropped: Vec<([u8; 16], u64)>,
}

pub(super) fn entry_key(id: &EntryId) -> Vec<u8> {
    schema::waiting(id)
}

pub(super) fn line_keys(id: &EntryId, slot: u8, len: u32) -> impl Iterator<Item = Vec<u8>> {
    let parts = u16::try_from((len as usize).div_ceil(PART_BYTES)).unwrap_or(LINE_PARTS).min(LINE_PARTS);
    let first = u16::from(slot) * LINE_PARTS;
    (first..first + parts).map(move |part| schema::waiting_line(id, part))
}

/// A line; nothing if some of it is missing or damaged.
pub(super) fn read_line(store: &Store, id: &EntryId, slot: u8, len: u32) -> Option<Vec<u8>> {
    let mut line = Vec::with_capacity(len as usize);
    for key in line_keys(id, slot, len) {
        let sealed = store.storage.get(&key).ok()??;
        line.extend_from_slice(&store.lines.open(&key, &sealed)?);
    }
    (len > 0 && line.len() == len as usize).then_some(line)
}

pub(super) fn read_room(store: &Store) -> Result<RoomRow> {
    let Some(sealed) = store.storage.get(schema::WAITING)? else { return Ok(RoomRow::default()) };
    // One that does not open is made anew from the rows of the entries.
    let found = store.rows.open_value(schema::WAITING, &sealed);
    Ok(found.unwrap_or_else(|_| RoomRow { entries: 1, ..RoomRow::default() }))
}

/// Those who wait, the oldest first. Rows that do not open are for `dead`:
/// whoever sent the entry has it.
pub(super) fn load(store: &Store, dead: &mut Vec<Vec<u8>>) -> Result<Vec<(EntryId, Parked)>> {
    let mut all = Vec::new();
    for row in store.storage.scan(&schema::waiting_entries(), Direction::Forward) {
        let (key, sealed) = row?;
        let Ok(row) = store.rows.open_value::<ParkedRow>(&key, &sealed) else {
            for row in store.storage.scan(&schema::waiting_lines_of(&key), Direction::Forward) {
                dead.push(row?.0);
            }
            dead.push(key);
            continue;
        };
        let line =
            |(slot, hash, cost, len, hand)| ParkedLine { slot, hash, cost, len, hand, is_stored: true, held: None };
        let parked = Parked {
            prev: EntryId(row.prev),
            tag: Tag(row.tag),
            owner: Owner { origin: Origin(row.origin), actor: Actor(row.actor) },
            from: row.from.map(Origin),
            since: row.since,
            came: 0,
            import: 0,
            line: 0,
            lines: row.lines.into_iter().map(line).collect(),
            is_stored: true,
            is_dirty: false,
        };
        all.push((EntryId(row.id), parked));
    }
    all.sort_by_key(|(_, parked)| parked.since);
    Ok(all)
}

impl Room {
    /// Writes what has changed, and nothing else.
    pub(in crate::exchange) fn flush(&mut self, node: &Node) -> Result<()> {
        if !self.is_loaded {
            return Ok(());
        }
        let mut batch = Batch::new();
        let store = &node.store;
        let submit = |batch: &mut Batch| node.rows(std::mem::take(batch));
        // Rows that could not be written are tried again.
        let dead = self.dead.len();
        for key in &self.dead {
            batch.delete(key.clone());
            if batch.bytes() >= COMMIT_BYTES {
                submit(&mut batch)?;
            }
        }
        let dirty: Vec<EntryId> = self.parked.iter().filter(|(_, parked)| parked.is_dirty).map(|(id, _)| *id).collect();
        if !dirty.is_empty() {
            node.ready_lines()?;
        }
        for id in &dirty {
            let Some(parked) = self.parked.get_mut(id) else { continue };
            put(store, &mut batch, id, parked);
            if batch.bytes() >= COMMIT_BYTES {
                submit(&mut batch)?;
            }
        }
        let row = self.new_row();
        let lags = self.shares.entries() > 0 && row.checked.saturating_sub(self.row.checked) >= super::LAG_ENTRIES;
        let same = RoomRow { checked: self.row.checked, ..row.clone() } == self.row;
        if !batch.is_empty() || !same || lags {
            batch.put(schema::WAITING.to_vec(), store.rows.seal(schema::WAITING, &encoding::encode(&row)));
            submit(&mut batch)?;
            self.row = row;
        }
        self.dead.drain(..dead);
        for id in &dirty {
            let Some(parked) = self.parked.get_mut(id) else { continue };
            (parked.is_stored, parked.is_dirty) = (true, false);
            for line in &mut parked.lines {
                line.is_stored |= line.held.take().is_some();
            }
        }
        self.held_bytes = self.parked.values().map(super::held_bytes).sum();
        Ok(())
    }

    fn new_row(&self) -> RoomRow {
        // What leaves is still in the rows: a crash must find it again.
        let leaving = self.leaving.values().map(|leaving| leaving.position).min();
        RoomRow {
            entries: self.shares.entries() + self.leaving.len() as u64,
            bytes: self.shares.bytes(),
            oldest: self.oldest(),
            checked: self.checked.min(leaving.unwrap_or(u64::MAX)),
            displaced: self.displaced,
            expired: self.expired,
            dropped: self.dropped.iter().map(|(node, count)| (*node, *count)).collect(),
        }
    }
}

/// Puts the row of an entry, and the lines that have none.
fn put(store: &Store, batch: &mut Batch, id: &EntryId, parked: &mut Parked) {
    for line in parked.lines.iter_mut().filter(|line| !line.is_stored) {
        let Some(held) = &line.held else { continue };
        let text = held.to_line();
        line.len = u32::try_from(text.len()).unwrap_or(u32::MAX);
        for (key, bytes) in line_keys(id, line.slot, line.len).zip(text.chunks(PART_BYTES)) {
            let sealed = store.lines.seal(&key, bytes);
            batch.put(key, sealed);
        }
    }
    let row = ParkedRow {
        id: id.0,
        prev: parked.prev.0,
        tag: parked.tag.0,
        origin: parked.owner.origin.0,
        actor: parked.owner.actor.0,
        from: parked.from.map(|from| from.0),
        since: parked.since,
        lines: parked.lines.iter().map(|line| (line.slot, line.hash, line.cost, line.len, line.hand)).collect(),
    };
    let key = entry_key(id);
    let sealed = store.rows.seal(&key, &encoding::encode(&row));
    batch.put(key, sealed);
}

//! What waits, for those who ask.

use std::sync::{Mutex, PoisonError};

use thingdb_format::{Actor, EntryId, Line, Origin, ThingId, Time};

use super::{Room, rows};
use crate::error::Result;
use crate::store::Store;

/// How much waits for its prev.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// Entries.
    pub entries: u64,
    /// Bytes of their lines, about, with 1024 for each.
    pub bytes: u64,
    /// When the one came that has waited longest.
    pub oldest: Option<Time>,
    /// How many lost their place to others, ever.
    pub displaced: u64,
    /// How many have waited for too long, ever.
    pub expired: u64,
}

/// An entry that waits for its prev.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingEntry {
    /// The entry.
    pub id: EntryId,
    /// About what it is.
    pub thing: ThingId,
    /// Who signed it.
    pub actor: Actor,
    /// The node that it names as its origin.
    pub origin: Origin,
    /// Its place in the history.
    pub seq: u64,
    /// When it came.
    pub since: Time,
    /// The first of its prev that is not here.
    pub waits_for: EntryId,
    /// The node that sent it last, if an exchange brought it.
    pub from: Option<Origin>,
}

/// The waiting room of a database, opened when it is first asked for.
#[derive(Default)]
pub(crate) struct WaitingRoom(Mutex<Option<Room>>);

impl WaitingRoom {
    /// How much waits.
    pub(crate) fn waiting(&self, store: &Store) -> Result<Waiting> {
        self.with(store, |room| {
            let (bytes, oldest) =
                if room.is_loaded { (room.shares.bytes(), room.oldest()) } else { (room.row.bytes, room.row.oldest) };
            Ok(Waiting {
                entries: room.len(),
                bytes,
                oldest: oldest.and_then(|micros| Time::from_micros(micros).ok()),
                displaced: room.displaced,
                expired: room.expired,
            })
        })
    }

    /// Those who have waited longest, at most `most` of them.
    pub(crate) fn entries(&self, store: &Store, most: usize) -> Result<Vec<WaitingEntry>> {
        self.with(store, |room| {
            room.load(store)?;
            let mut order: Vec<(u64, EntryId)> = room.parked.iter().map(|(id, parked)| (parked.came, *id)).collect();
            order.sort_unstable();
            let mut entries = Vec::new();
            for (_, id) in order.into_iter().take(most) {
                let Some(parked) = room.parked.get(&id) else { continue };
                let Some(line) = parked.lines.first() else { continue };
                let header = match &line.held {
                    Some(candidate) => candidate.arrived.header.clone(),
                    None => {
                        // A line that is damaged is told when it is its turn.
                        let read = rows::read_line(store, &id, line.slot, line.len);
                        let Some(Ok(Line::Entry(entry))) = read.map(|raw| Line::parse(&raw, 0)) else { continue };
                        entry.header
                    }
                };
                entries.push(WaitingEntry {
                    id,
                    thing: header.thing.clone(),
                    actor: header.actor,
                    origin: header.origin,
                    seq: header.seq,
                    since: Time::from_micros(parked.since).unwrap_or(Time::MAX),
                    waits_for: parked.prev,
                    from: parked.from,
                });
            }
            Ok(entries)
        })
    }

    /// How many entries that `node` sent were kept to wait and then dropped.
    pub(crate) fn dropped_from(&self, store: &Store, node: &Origin) -> Result<u64> {
        self.with(store, |room| Ok(room.dropped_from(node)))
    }

    /// Runs `act` on the room.
    pub(in crate::exchange) fn with<T>(&self, store: &Store, act: impl FnOnce(&mut Room) -> Result<T>) -> Result<T> {
        let mut room = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if room.is_none() {
            *room = Some(Room::open(store)?);
        }
        act(room.as_mut().expect("it was opened if it was not"))
    }
}

//! What waits, for those who ask.

use std::sync::MutexGuard;

use thingdb_format::{Actor, EntryId, Line, Origin, ThingId, Time};

use super::{Room, rows};
use crate::db::Db;
use crate::error::Result;

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

/// What waits.
impl Db {
    /// How much waits for its prev. Every import, and so every exchange, takes in
    /// what can go on.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let options = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest());
    /// # let db = options.create(&ours, &passphrase)?;
    /// # let other = options.create(&theirs, &passphrase)?;
    /// # db.add_peer("other", &other.card()?)?;
    /// let first = other.put("part-42", "1")?;
    /// let second = other.put("part-42", "2")?;
    ///
    /// // The second entry comes alone.
    /// let mut stream = Vec::new();
    /// other.export(thingdb::ExportOptions::new().since(1).bare(true), &mut stream)?;
    /// db.import(thingdb::ImportOptions::new(), &stream[..])?;
    ///
    /// assert_eq!(db.waiting()?.entries, 1);
    /// let waiting = &db.waiting_entries(10)?[0];
    /// assert_eq!((waiting.id, waiting.waits_for), (second.id, first.id));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn waiting(&self) -> Result<Waiting> {
        self.with_waiting_room(|room| {
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
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn waiting_entries(&self, most: usize) -> Result<Vec<WaitingEntry>> {
        let store = &self.store;
        self.with_waiting_room(|room| {
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

    /// How many entries that `node` sent ([`ImportOptions::from`]) were kept to
    /// wait and then dropped before their prev came: others took their place, or
    /// they had waited for too long. The number only grows. They were refused
    /// for now, after the exchange had moved on: where it is another number than
    /// when the exchange ended last, everything is compared again.
    ///
    /// [`ImportOptions::from`]: crate::ImportOptions::from
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn dropped_from(&self, node: &Origin) -> Result<u64> {
        self.with_waiting_room(|room| Ok(room.dropped_from(node)))
    }

    /// Runs `act` on the waiting room.
    pub(in crate::exchange) fn with_waiting_room<T>(&self, act: impl FnOnce(&mut Room) -> Result<T>) -> Result<T> {
        let mut room: MutexGuard<'_, Option<Room>> =
            self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if room.is_none() {
            *room = Some(Room::open(&self.store)?);
        }
        act(room.as_mut().expect("it was opened if it was not"))
    }
}

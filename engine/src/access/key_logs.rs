//! The key logs that are known here, decided, and which names follow from them.

use std::collections::{BTreeMap, HashMap};

use thingdb_format::key_log::{KeyLog, KeyState, LoggedRecord, MAX_RECORDS};
use thingdb_format::{Actor, EntryId};

/// Records of all logs together, from elsewhere, at most.
const MAX_LOGGED: usize = 16_384;

/// The key logs, decided by the records in the order of this ledger.
#[derive(Clone, Default)]
pub(crate) struct KeyLogs {
    /// By the first key: the records with their positions, and what they come to.
    logs: HashMap<Actor, Known>,
    /// The log that each signing key stands in.
    of: HashMap<Actor, Actor>,
    count: usize,
}

#[derive(Clone, Default)]
struct Known {
    records: BTreeMap<u64, LoggedRecord>,
    log: Option<KeyLog>,
}

impl KeyLogs {
    /// Takes in a record at a position of the ledger.
    pub(crate) fn add(&mut self, first: &Actor, position: u64, record: LoggedRecord) {
        let known = self.logs.entry(*first).or_default();
        if known.records.insert(position, record).is_none() {
            self.count = self.count.saturating_add(1);
        }
        known.log = KeyLog::resolve(first, known.records.values());
        for key in known.log.iter().flat_map(KeyLog::keys) {
            // A key that two logs name stands in the one that had it first.
            self.of.entry(*key).or_insert(*first);
        }
    }

    /// Whether there is room for another record of this log, from elsewhere.
    pub(crate) fn has_room(&self, first: &Actor) -> bool {
        let of_it = self.logs.get(first).map_or(0, |known| known.records.len());
        of_it < MAX_RECORDS && self.count < MAX_LOGGED
    }

    /// A record of a log, by its entry.
    pub(crate) fn record(&self, first: &Actor, id: &EntryId) -> Option<&LoggedRecord> {
        self.logs.get(first)?.records.values().find(|logged| logged.id == *id)
    }

    /// Where the entry of a record stands here.
    pub(crate) fn position(&self, first: &Actor, id: &EntryId) -> Option<u64> {
        self.logs.get(first)?.records.iter().find(|(_, logged)| logged.id == *id).map(|(position, _)| *position)
    }

    /// Whether the ledger has a record at this position.
    pub(crate) fn has(&self, first: &Actor, position: u64) -> bool {
        self.logs.get(first).is_some_and(|known| known.records.contains_key(&position))
    }

    /// The log in which a signing key stands, with its first key.
    pub(crate) fn of(&self, key: &Actor) -> Option<(&Actor, &KeyLog)> {
        let first = self.of.get(key)?;
        Some((first, self.log(first)?))
    }

    /// The log that begins with a key.
    pub(crate) fn log(&self, first: &Actor) -> Option<&KeyLog> {
        self.logs.get(first)?.log.as_ref()
    }

    /// All logs, by their first keys.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Actor, &KeyLog)> {
        self.logs.iter().filter_map(|(first, known)| Some((first, known.log.as_ref()?)))
    }

    /// What the log of a key says of it; nothing if it stands in none.
    pub(crate) fn state(&self, key: &Actor) -> Option<KeyState> {
        self.of(key)?.1.state(key)
    }

    /// The keys whose place a key took, the newest first.
    pub(crate) fn before(&self, key: &Actor) -> impl Iterator<Item = &Actor> {
        self.of(key).map_or(&[][..], |(_, log)| log.before(key)).iter().rev()
    }

    /// Whether `key` took the place of `before`.
    pub(crate) fn succeeds(&self, key: &Actor, before: &Actor) -> bool {
        self.of(key).is_some_and(|(_, log)| log.succeeds(key, before))
    }

    /// The keys of all logs, ascending: whom one accepts follows from them.
    pub(crate) fn keys(&self) -> Vec<Actor> {
        let mut keys: Vec<Actor> = self.of.keys().copied().collect();
        keys.sort_unstable();
        keys
    }
}

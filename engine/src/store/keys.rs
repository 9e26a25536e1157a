//! Key logs: a row for each record, and which signatures are believed.
//!
//! ```text
//! Q ‖ position 8   a key record: its log, its entry, and what it says
//! ```
//!
//! The row comes with the entry, in one commit. All of them are in memory while the
//! database is open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};

use bincode::{Decode, Encode};
use thingdb_format::key_log::{LoggedRecord, Revocation};
use thingdb_format::key_record::{self, KeyRecord, LedgerState};
use thingdb_format::{Actor, EntryId, Hash, ThingId, payload};

use super::row_seal::RowSeal;
use super::things::ThingQuery;
use super::{Located, Store, postings, schema};
use crate::access::key_logs::KeyLogs;
use crate::encoding;
use crate::error::Result;
use crate::storage::{Batch, Direction, Storage};

/// States of this ledger that were compared, at most.
const MAX_COMPARED: usize = 4096;

/// The key logs of the ledger.
#[derive(Default)]
pub(crate) struct Keys {
    logs: RwLock<Arc<KeyLogs>>,
    /// Whether a row could not be read: then all are made anew from the entries.
    pub(crate) is_damaged: bool,
    /// Whether this ledger was once in a state: it never changes.
    compared: Mutex<HashMap<(u64, Hash), bool>>,
}

#[derive(Encode, Decode)]
struct Row {
    first: [u8; 32],
    id: [u8; 32],
    signer: [u8; 32],
    prev: Vec<[u8; 32]>,
    json: String,
}

/// A key record on its way into the ledger.
#[derive(Clone)]
pub(crate) struct NewRecord {
    pub(crate) first: Actor,
    pub(crate) logged: LoggedRecord,
}

impl Keys {
    pub(super) fn load(storage: &dyn Storage, rows: &RowSeal) -> Result<Self> {
        let (mut logs, mut is_damaged) = (KeyLogs::default(), false);
        for row in storage.scan(&schema::key_records(), Direction::Forward) {
            let (key, sealed) = row?;
            let Some(position) = schema::position_in(&key) else { continue };
            let read = rows.open_value::<Row>(&key, &sealed).ok().and_then(|row| {
                let record = KeyRecord::from_json(row.json.as_bytes()).ok()?;
                let prev = row.prev.into_iter().map(EntryId).collect();
                Some((row.first, LoggedRecord { id: EntryId(row.id), signer: Actor(row.signer), prev, record }))
            });
            match read {
                Some((first, logged)) => logs.add(&Actor(first), position, logged),
                None => is_damaged = true,
            }
        }
        Ok(Self { logs: RwLock::new(Arc::new(logs)), is_damaged, compared: Mutex::default() })
    }

    /// The logs as they are now.
    pub(crate) fn logs(&self) -> Arc<KeyLogs> {
        Arc::clone(&self.logs.read().expect("no thread panics while it holds the logs"))
    }

    /// The rows of these logs are in.
    pub(crate) fn replace(&self, logs: Arc<KeyLogs>) {
        *self.logs.write().expect("no thread panics while it holds the logs") = logs;
    }

    /// Puts the row of a record into the batch.
    pub(crate) fn put(store: &Store, position: u64, record: &NewRecord, batch: &mut Batch) {
        let LoggedRecord { id, signer, prev, record: said } = &record.logged;
        let prev = prev.iter().map(|id| id.0).collect();
        let value = Row { first: record.first.0, id: id.0, signer: signer.0, prev, json: said.to_json() };
        let row = schema::key_record(position);
        let sealed = store.rows.seal(&row, &encoding::encode(&value));
        batch.put(row, sealed);
    }
}

impl Store {
    /// The name by which an actor is known, if its entries are accepted: its own, or that
    /// of the key whose place it took.
    pub(crate) fn name_of(&self, actor: &Actor) -> Option<String> {
        let trusted = self.trusted();
        if let Some(name) = trusted.get(actor) {
            return Some(name.clone());
        }
        let logs = self.keys.logs();
        logs.of(actor)?;
        if self.withdrawn().actors.contains_key(actor) {
            return None;
        }
        logs.before(actor).find_map(|before| trusted.get(before).cloned())
    }

    /// Whether entries of an actor are accepted.
    pub(crate) fn trusts(&self, actor: &Actor) -> bool {
        self.trusted().contains_key(actor) || self.name_of(actor).is_some()
    }

    /// The name of the actor whose step an entry of a key log is: the key that signs it is
    /// promised, and signs nothing else.
    pub(super) fn name_of_step(&self, located: &Located) -> Option<String> {
        let first = key_record::first_key(&located.header.thing)?;
        let logs = self.keys.logs();
        let log = logs.log(&first)?;
        let is_step = log.steps().any(|id| *id == located.id);
        log.keys().iter().filter(|_| is_step).find_map(|key| self.name_of(key))
    }

    /// Whether what `actor` signed at a position of this ledger is not believed: its key
    /// was revoked or contested, and the place is none where it is good. Without a
    /// position, for an entry that is not here.
    pub(crate) fn is_disbelieved(&self, logs: &KeyLogs, actor: &Actor, position: Option<u64>) -> Result<bool> {
        let Some((first, log)) = logs.of(actor) else { return Ok(false) };
        if let Some(rival) = log.contested(actor)
            && position.is_none_or(|position| logs.position(first, rival).is_some_and(|rival| rival <= position))
        {
            return Ok(true);
        }
        for Revocation { as_of, .. } in log.revocations(actor) {
            let Some(position) = position else { return Ok(true) };
            let mut stands = false;
            for state in as_of.iter().filter(|state| position < state.size) {
                stands = stands || self.was(state)?;
            }
            if !stands {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this ledger was once in a state, whichever node it was said to be of.
    fn was(&self, state: &LedgerState) -> Result<bool> {
        let compared = || self.keys.compared.lock().expect("no thread panics while it holds this");
        if let Some(known) = compared().get(&(state.size, state.root)) {
            return Ok(*known);
        }
        let tree = self.tree();
        if tree.size() < state.size {
            return Ok(false);
        }
        let is_same = tree.view(&*self.storage, &self.rows).root_at(state.size)? == state.root;
        let mut compared = compared();
        if compared.len() >= MAX_COMPARED {
            compared.clear();
        }
        compared.insert((state.size, state.root), is_same);
        Ok(is_same)
    }

    /// Takes the records that no row has from their entries, and writes the rows where
    /// that may be done. How many they were.
    pub(crate) fn mend_keys(&self, may_write: bool) -> Result<u64> {
        let (mut logs, mut batch, mut mended) = ((*self.keys.logs()).clone(), Batch::new(), 0);
        for info in self.catalogue.list(self, &ThingQuery::new().prefix(key_record::THINGS))? {
            let thing = info?.thing;
            let tag = self.tag(&thing);
            let (Some(first), Some(state)) = (key_record::first_key(&thing), self.state(&tag)?) else { continue };
            let mut positions = Vec::new();
            for chunk in postings::chunks(1, state.last_seq().min(self.size())) {
                positions.extend(self.chunk(&tag, &state, chunk)?.iter().map(|posting| posting.position));
            }
            positions.sort_unstable();
            for position in positions.into_iter().filter(|position| !logs.has(&first, *position)).collect::<Vec<_>>() {
                let located = self.located_at(position)?;
                let (Some(cek), Some(bytes)) = (self.cek(&located), self.payload(&located)?) else { continue };
                let body = payload::open(&located.header, &cek, &bytes).map_err(|problem| located.damaged(problem))?;
                let record = KeyRecord::of(&located.header, &body).map_err(|problem| located.damaged(problem))?;
                let (signer, prev) = (located.header.actor, located.header.prev.clone());
                let new = NewRecord { first, logged: LoggedRecord { id: located.id, signer, prev, record } };
                Keys::put(self, position, &new, &mut batch);
                logs.add(&first, position, new.logged);
                mended += 1;
            }
        }
        if mended > 0 {
            if may_write {
                self.commit(batch)?;
            }
            self.keys.replace(Arc::new(logs));
        }
        Ok(mended)
    }

    /// Whether an entry of a key log is here, and its record is not known.
    pub(crate) fn lacks_record(&self, thing: &ThingId, position: u64) -> bool {
        key_record::first_key(thing).is_some_and(|first| !self.keys.logs().has(&first, position))
    }
}

//! Erasures are carried out: what opens an entry is taken out of the keyring, then its
//! content out of the records.
//!
//! ```text
//! the record is in the ledger, with a row that says that it is due    durable
//! rows that say which entries it erases                               durable
//! the keyring and its copy, without the keys of their positions       durable
//! their records, without content; the row goes                        durable
//! ```
//!
//! Whatever breaks it off between two of these, the next one begins anew at the first:
//! each step can be repeated. Nothing is opened by the content once the third is done.

use std::collections::HashMap;
use std::path::PathBuf;

use thingdb_format::EntryId;
use thingdb_format::erasure::receipt::Answer;

use super::{Node, taken_keys};
use crate::error::Result;
use crate::storage::{Batch, Direction};
use crate::store::Located;
use crate::store::erasures::{ErasedBy, Erasures, Outcome};
use crate::store::postings::{self, id8};
use crate::store::schema::{self, Tag};
use crate::store::stored::StoredPayload;
use crate::store::{line_seal, packets};

/// Positions that one change of the keyring takes away, at least where there are more.
const KEYRING_POSITIONS: usize = 65_536;

/// Bytes of lines that wait, in one commit.
const LINE_BYTES: u64 = 1 << 20;

/// Positions in one commit.
const COMMIT_POSITIONS: usize = 2048;

/// What one record comes to.
struct Plan {
    position: u64,
    /// The id of the record.
    id: EntryId,
    outcome: Outcome,
    /// Entries that it lists and that are here; nothing if it cannot be read.
    found: Option<u64>,
    /// Of the entries that it erases, ascending.
    erased: Vec<u64>,
}

/// What erasures that were due did.
#[derive(Default)]
pub(crate) struct Finished {
    /// Entries that have lost their content.
    pub(crate) entries: u64,
    /// Files with keyrings of before that were removed.
    pub(crate) removed: Vec<PathBuf>,
}

impl Node {
    /// Carries out all erasures that are due.
    pub(crate) fn finish_erasures(&self) -> Result<Finished> {
        let mut finished = Finished::default();
        if self.store.erasures.due_positions().is_empty() {
            return Ok(finished);
        }
        let mut all_removed = self.erasing.lock().expect("no thread panics while it erases");
        // A record that is not there after a power cut has erased nothing.
        self.sync()?;
        let due = self.store.erasures.due_positions();
        let mut damaged = None;
        let mut due = due.into_iter().peekable();
        while due.peek().is_some() {
            let (mut plans, mut positions) = (Vec::new(), 0);
            while let Some(position) = due.next_if(|_| positions < KEYRING_POSITIONS) {
                match self.plan(position) {
                    Ok(Some(plan)) => {
                        positions += plan.erased.len();
                        plans.push(plan);
                    }
                    // It waits for a hold to end.
                    Ok(None) => {}
                    // It stays due, and holds no other one up.
                    Err(problem) if problem.is_damaged() => drop(damaged.get_or_insert(problem)),
                    Err(problem) => return Err(problem),
                }
            }
            self.sync()?;
            let positions: Vec<u64> = plans.iter().flat_map(|plan| plan.erased.iter().copied()).collect();
            finished.removed.extend(self.forget(&positions)?);
            self.strip(plans)?;
            finished.entries += positions.len() as u64;
        }
        all_removed.extend(finished.removed.iter().cloned());
        damaged.map_or(Ok(finished), Err)
    }

    /// Files of keyrings that erasures have removed since the opening.
    pub(crate) fn removed_keyrings(&self) -> Vec<PathBuf> {
        self.erasing.lock().expect("no thread panics while it erases").clone()
    }

    /// Says in rows what a record erases; nothing if a hold keeps that.
    fn plan(&self, position: u64) -> Result<Option<Plan>> {
        let store = &self.store;
        let record = store.located_at(position)?;
        let mut plan = Plan { position, id: record.id, outcome: Outcome::default(), found: None, erased: Vec::new() };
        // One that cannot be read erases nothing, and is listed as one that does not.
        let Some(erasure) = store.readable_erasure(&record)? else { return Ok(Some(plan)) };
        plan.outcome.listed = erasure.entries().len() as u64;
        let by = ErasedBy { position, id: record.id.0 };
        let tag = store.tag(&record.header.thing);
        let (mut found, absent) = self.places(&tag, erasure.entries())?;
        if !absent.is_empty() {
            let mut rows = Batch::new();
            absent.iter().for_each(|id| Erasures::put_ahead(store, id, &by, &mut rows));
            self.rows(rows)?;
            // One may have come before the rows were in.
            found.extend(self.places(&tag, &absent)?.0);
        }
        plan.found = Some(found.len() as u64);
        let hold = store.hold_of(&tag);
        if let Some(hold) = hold
            && self.is_held(&record, &by, &found, hold.reason)?
        {
            return Ok(None);
        }
        let mut readers = store.readers_of_erased(position)?;
        let known_readers = readers.len();
        let mut packets = HashMap::new();
        let mut rows = Batch::new();
        for (count, entry) in found.iter().enumerate() {
            // What was decided once stays so, whoever is trusted since.
            let known = store.erased_by(entry.position)?;
            let may = store.may_erase(&record, &entry.header)? && !store.is_erasure(entry.position)?;
            if known.is_some_and(|known| known != by) {
                plan.outcome.erased += 1;
            } else if known.is_some() || may {
                plan.erased.push(entry.position);
                plan.outcome.erased += 1;
                readers.extend(self.readers_of(entry, &mut packets));
                Erasures::put_erased(store, entry.position, &by, &mut rows);
            } else {
                plan.outcome.refused += 1;
            }
            if count % COMMIT_POSITIONS == COMMIT_POSITIONS - 1 {
                self.rows(std::mem::take(&mut rows))?;
            }
        }
        if readers.len() > known_readers {
            // Once the keys are gone nobody can tell any more.
            Erasures::put_due_with(store, position, &readers, &mut rows);
        }
        self.rows(rows)?;
        plan.erased.sort_unstable();
        plan.outcome.readers = readers;
        plan.outcome.first = plan.erased.first().copied();
        Ok(Some(plan))
    }

    /// Whether a hold keeps something that a record covers: then that is answered, and the
    /// record waits.
    fn is_held(&self, record: &Located, by: &ErasedBy, found: &[Located], reason: String) -> Result<bool> {
        let (covered, with_content) = self.covered(record, by, found)?;
        if with_content == 0 {
            return Ok(false);
        }
        self.answer_record(by.position, record.id, Answer::Held { reason }, with_content, found.len() as u64)?;
        self.store.erasures.wait_for_release(by.position, covered);
        Ok(true)
    }

    /// What of these entries a record covers, and how many of those have their content here.
    fn covered(&self, record: &Located, by: &ErasedBy, found: &[Located]) -> Result<(Vec<(u64, ErasedBy)>, u64)> {
        let store = &self.store;
        let (mut covered, mut with_content) = (Vec::new(), 0);
        for entry in found {
            let may = store.may_erase(record, &entry.header)? && !store.is_erasure(entry.position)?;
            if may && store.erased_by(entry.position)?.is_none_or(|known| known == *by) {
                covered.push((entry.position, *by));
                with_content += u64::from(!matches!(entry.stored.payload, StoredPayload::Absent));
            }
        }
        Ok((covered, with_content))
    }

    /// What a record erases here, if it were carried out now, and whether a hold keeps it:
    /// nothing is written.
    pub(super) fn would_erase(&self, position: u64) -> Result<(bool, Vec<(u64, ErasedBy)>)> {
        let store = &self.store;
        let record = store.located_at(position)?;
        let Some(erasure) = store.readable_erasure(&record)? else { return Ok((false, Vec::new())) };
        let by = ErasedBy { position, id: record.id.0 };
        let tag = store.tag(&record.header.thing);
        let found = self.places(&tag, erasure.entries())?.0;
        let (covered, with_content) = self.covered(&record, &by, &found)?;
        Ok((store.hold_of(&tag).is_some() && with_content > 0, covered))
    }

    /// To whose keys an entry is sealed here. `known` has those of the rows that were read.
    fn readers_of(&self, entry: &Located, known: &mut HashMap<Vec<u8>, Vec<[u8; 8]>>) -> Vec<[u8; 8]> {
        let mut readers = Vec::new();
        for envelope in self.store.stored_envelopes(entry) {
            let of = known.entry(envelope.row(entry.position)).or_insert_with(|| {
                // One that cannot be read names nobody.
                let packets = self.store.packets(entry.position, &envelope).ok();
                let ids = packets.iter().flat_map(|packets| packets.iter()).filter_map(packets::recipient);
                ids.map(|id| id.0).collect()
            });
            readers.extend_from_slice(of);
        }
        readers
    }

    /// Those of these entries that are of the thing, and the ids of those that are not
    /// here.
    fn places(&self, tag: &Tag, ids: &[EntryId]) -> Result<(Vec<Located>, Vec<EntryId>)> {
        let store = &self.store;
        let mut wanted: HashMap<[u8; 8], Vec<EntryId>> = HashMap::new();
        for id in ids {
            wanted.entry(id8(id)).or_default().push(*id);
        }
        let mut positions = Vec::new();
        if let Some(state) = store.state(tag)? {
            for chunk in postings::chunks(1, state.last_seq().min(store.size())) {
                let listed = store.chunk(tag, &state, chunk)?;
                positions.extend(listed.iter().filter(|one| wanted.contains_key(&one.id8)).map(|one| one.position));
            }
        }
        positions.sort_unstable();
        let mut found = Vec::new();
        store.each_at(&positions, |located| {
            if let Some(ids) = wanted.get_mut(&id8(&located.id))
                && let Some(at) = ids.iter().position(|id| *id == located.id)
            {
                ids.swap_remove(at);
                found.push(located);
            }
        })?;
        Ok((found, wanted.into_values().flatten().collect()))
    }

    /// Takes the keys of positions out of the keyring and out of memory.
    pub(super) fn forget(&self, positions: &[u64]) -> Result<Vec<PathBuf>> {
        if positions.is_empty() {
            return Ok(Vec::new());
        }
        let waits = self.has_lines();
        let removed = {
            let mut keyring = self.store.keyring();
            let records = vec![
                (line_seal::RECORD, line_seal::renewed(&keyring, waits)),
                (taken_keys::RECORD, taken_keys::mark()),
            ];
            let removed = keyring.take_positions(positions, records, &mut rand::rng())?;
            self.store.seals.take_over(&keyring);
            self.store.lines.take_over(&keyring);
            removed
        };
        self.renew_lines()?;
        Ok(removed)
    }

    fn has_lines(&self) -> bool {
        self.store.storage.scan(&schema::waiting_lines(), Direction::Forward).next().is_some()
    }

    /// Makes the key for lines that wait, before the first one does.
    pub(crate) fn ready_lines(&self) -> Result<()> {
        let mut keyring = self.store.keyring();
        if keyring.record(line_seal::RECORD).is_none() {
            let record = line_seal::renewed(&keyring, self.has_lines());
            keyring.put_record(line_seal::RECORD, record, &mut rand::rng())?;
            self.store.lines.take_over(&keyring);
        }
        Ok(())
    }

    /// Seals the lines that wait under the newest key, and lets go of the ones before.
    fn renew_lines(&self) -> Result<()> {
        let store = &self.store;
        if line_seal::newest_alone(&store.keyring()).is_none() {
            return Ok(());
        }
        // A line whose entry goes on meanwhile must not come back.
        self.committer.still(|| {
            let mut rows = Batch::new();
            for row in store.storage.scan(&schema::waiting_lines(), Direction::Forward) {
                let (key, sealed) = row?;
                // One that does not open is as good as lost: whoever sent it has it.
                let Some(line) = store.lines.open(&key, &sealed) else { continue };
                let again = store.lines.seal(&key, &line);
                rows.put(key, again);
                if rows.bytes() >= LINE_BYTES {
                    store.commit(std::mem::take(&mut rows))?;
                }
            }
            store.commit(rows).map(drop)
        })?;
        self.sync()?;
        let mut keyring = store.keyring();
        if let Some(newest) = line_seal::newest_alone(&keyring) {
            keyring.put_record(line_seal::RECORD, newest, &mut rand::rng())?;
            keyring.write_twice()?;
        }
        store.lines.take_over(&keyring);
        Ok(())
    }

    /// Takes the content out of the records.
    fn strip(&self, plans: Vec<Plan>) -> Result<()> {
        let positions: Vec<u64> = plans.iter().map(|plan| plan.position).collect();
        for Plan { position, id, outcome, found, erased } in plans {
            for some in erased.chunks(COMMIT_POSITIONS) {
                self.committer.erase(&self.store, some.to_vec(), Batch::new())?;
            }
            if let Some(found) = found {
                self.answer_record(position, id, Answer::Erased, outcome.erased, found)?;
            }
            let mut rows = Batch::new();
            Erasures::put_done(&self.store, position, &outcome, &mut rows);
            self.rows(rows)?;
        }
        self.note_keys_taken()?;
        self.sync()?;
        positions.iter().for_each(|position| self.store.erasures.note_done(*position));
        Ok(())
    }
}

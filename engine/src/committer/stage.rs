//! What one commit will write.

use std::collections::{HashMap, HashSet, hash_map};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use thingdb_format::key_log::LoggedRecord;
use thingdb_format::key_record::{self, KeyRecord};
use thingdb_format::{Cek, EncryptionKey, EntryId, Fields, Header, Origin, Time, header, payload};

use super::Committer;
use super::envelope::{Joined, Packed, join, seal_public, seal_to};
use super::job::{Arrived, Due, Fate, Imported, Job, NewEntry, Sealed, Shared};
use super::layout::{Run, RunSignature, runs};
use super::links::{Links, Verdict};
use super::staged::{Signing, Staged};
use super::tip::{Tip, tip_of};
use crate::access::key_logs::KeyLogs;
use crate::entry::record::Receipt;
use crate::entry::refusal::Cause;
use crate::error::{Error, Result};
use crate::heads::{Expect, Head};
use crate::storage::{Batch, Ticket};
use crate::store::block::{BlockBuilder, pack};
use crate::store::changes::{self, Changed};
use crate::store::erasures::Erasures;
use crate::store::index::Indexed;
use crate::store::keys::{Keys, NewRecord};
use crate::store::layout::{Laid, PayloadBytes, Placed};
use crate::store::postings::{Posting, id8};
use crate::store::provenance::Hand;
use crate::store::schema::{self, Tag, TagMap};
use crate::store::stored::{INLINE_PAYLOAD_BYTES, LooseRecord, PART_BYTES, StoredPayload, StoredSignature, at};
use crate::store::{Located, Store};

/// Everything that one commit will write.
pub(super) struct Stage<'a> {
    committer: &'a Committer,
    store: &'a Store,
    now: u64,
    entries: Vec<Staged>,
    /// Where in `entries` one from elsewhere is.
    by_id: HashMap<EntryId, usize>,
    tips: TagMap<Tip>,
    /// Prev that were looked for.
    links: Links,
    /// Tips as they were before the job at hand, if it is not the first.
    undo: TagMap<Tip>,
    is_first: bool,
    /// Blocks of which records are completed.
    rewritten: HashMap<u64, Rewritten>,
    /// Entries of before that are completed.
    changed: Changed,
    /// Where erasure records are that came, or can be read now.
    erasing: Vec<u64>,
    /// The key logs, with the records of this commit.
    keys: Arc<KeyLogs>,
    has_keys: bool,
    /// The node from which the import at hand comes.
    from: Option<Origin>,
    /// Envelopes that the job at hand had no place for, or that lost theirs.
    dropped: u64,
    batch: Batch,
}

impl<'a> Stage<'a> {
    pub(super) fn new(committer: &'a Committer, store: &'a Store) -> Self {
        Self {
            committer,
            store,
            now: (committer.clock)(),
            entries: Vec::new(),
            by_id: HashMap::new(),
            tips: TagMap::default(),
            links: Links::default(),
            undo: TagMap::default(),
            is_first: true,
            rewritten: HashMap::new(),
            changed: Changed::new(),
            erasing: Vec::new(),
            keys: store.keys.logs(),
            has_keys: false,
            from: None,
            dropped: 0,
            batch: Batch::new(),
        }
    }

    pub(super) fn job(&mut self, job: Job) -> Due {
        self.undo.clear();
        self.from = None;
        self.dropped = 0;
        let before = self.entries.len();
        self.is_first = before == 0;
        let due = match job {
            Job::Write { entries, waits, answer } => {
                let done = entries.into_iter().map(|entry| self.write(entry)).collect();
                Due::Write { done, waits, answer }
            }
            Job::Import(entries, from, answer) => {
                self.from = from;
                let fates = self.import_all(entries);
                Due::Import(fates.map(|fates| Imported { fates, dropped: self.dropped }), answer)
            }
            Job::Share(entries, to, answer) => {
                let entries = self.share(entries, &to);
                Due::Share(entries.map(|entries| Sealed { entries, displaced: self.dropped }), answer)
            }
            Job::Erase(positions, rows, answer) => {
                let erased = positions.iter().try_for_each(|position| self.erase(*position));
                self.batch.append(rows);
                Due::Erase(erased, answer)
            }
            Job::Rows(rows, answer) => {
                self.batch.append(rows);
                Due::Rows(answer)
            }
        };
        if due.is_refused() {
            for staged in self.entries.drain(before..) {
                self.by_id.remove(&staged.id);
            }
            self.tips.extend(self.undo.drain());
            if self.is_first {
                self.tips.clear();
            }
            self.gather_keys();
        }
        due
    }

    /// Puts the key logs together anew, from what is stored and what is staged.
    fn gather_keys(&mut self) {
        if !std::mem::take(&mut self.has_keys) {
            return;
        }
        self.keys = self.store.keys.logs();
        let staged = self.entries.iter().map(|staged| staged.key.clone()).collect::<Vec<_>>();
        for (position, key) in (self.store.size()..).zip(staged) {
            self.add_key(position, key);
        }
    }

    fn add_key(&mut self, position: u64, key: Option<NewRecord>) {
        let Some(NewRecord { first, logged }) = key else { return };
        Arc::make_mut(&mut self.keys).add(&first, position, logged);
        self.has_keys = true;
    }

    /// Why an entry from elsewhere is not taken in, for the keys of its actor.
    fn refused_by_keys(&self, arrived: &Arrived) -> Result<Option<Cause>> {
        let header = &arrived.header;
        if let (Some(first), Some(record)) = (key_record::first_key(&header.thing), &arrived.key) {
            if !self.keys.has_room(&first) {
                return Ok(Some(Cause::no_room(None)));
            }
            let promises =
                |id: &EntryId| self.keys.record(&first, id).is_some_and(|before| before.record.promises(&header.actor));
            let is_step = matches!(record, KeyRecord::Introduced { .. }) || header.prev.iter().any(promises);
            return Ok((!is_step).then(Cause::no_step));
        }
        let is_refused = !arrived.takes_revoked && self.store.is_disbelieved(&self.keys, &header.actor, None)?;
        Ok(is_refused.then(|| Cause::revoked_key(&header.actor)))
    }

    /// Gives a sealed draft its place.
    fn write(&mut self, new: NewEntry) -> Result<Receipt> {
        let tip = tip_of(self.store, &mut self.tips, &new.tag)?;
        let is_new = tip.state.is_none();
        // An entry joins all heads, or the latest if there are too many. An erasure record
        // says nothing of the thing: a fork is not for it to join.
        let joined = tip.latest(if new.erases { 1 } else { header::MAX_PREV });
        if let Some(expected) = new.expect {
            let holds = match &expected {
                Expect::Absent => joined.is_empty(),
                Expect::Head(id) => match &joined[..] {
                    [head] if head.id == *id => true,
                    // Who has read the latest has passed over erasure records.
                    [head] => tip.is_as_at(self.store, &new.tag, &head.id, id)?,
                    _ => false,
                },
                Expect::Heads(ids) => {
                    tip.len() == ids.len() && {
                        let ids: HashSet<&EntryId> = ids.iter().collect();
                        tip.heads().all(|head| ids.contains(&head.id))
                    }
                }
            };
            if !holds {
                let heads = tip.heads().collect();
                return Err(Error::Conflict { thing: new.thing, expected, heads });
            }
        }
        let mut prev: Vec<EntryId> = joined.iter().map(|head| head.id).collect();
        prev.sort_unstable();
        let seq = joined.iter().map(|head| head.seq).max().unwrap_or(0) + 1;
        let time = later_than(self.now, joined.iter().map(|head| head.time).max())?;
        let header = Header::new(Fields {
            suite: new.suite,
            thing: new.thing,
            seq,
            time,
            origin: self.committer.origin,
            actor: new.signer.actor(),
            prev,
            data_hash: new.sealed.data_hash,
            payload_hash: new.sealed.payload_hash,
            payload_len: u32::try_from(new.sealed.payload.len()).expect("payloads have at most 16 MiB"),
        })?;
        let position = self.store.size() + self.entries.len() as u64;
        let header_bytes = header.to_bytes();
        let id = header::id_of(&header_bytes);
        let mut record = LooseRecord::new(header_bytes, Some(new.sealed.payload));
        if new.is_public {
            record.envelopes.push(seal_public(self.committer, self.store, &mut self.batch, &id, &new.cek)?);
        } else if !new.to.is_empty() {
            record.envelopes.push(seal_to(self.committer, self.store, &mut self.batch, &new.to, &id, &new.cek)?);
        }
        record.cek = new.keep_cek.then_some(new.cek);
        let key = new.key.and_then(|record| logged(&id, &header, record));
        let (signing, erases) = (Signing::Due(new.signer), new.erases);
        let staged = Staged { tag: new.tag, id, header, signing, record, is_new, erases, key };
        let receipt = Receipt {
            thing: staged.header.thing.clone(),
            seq,
            id: staged.id,
            time,
            position,
            actor: staged.header.actor,
        };
        self.push(staged)?;
        Ok(receipt)
    }

    fn import_all(&mut self, entries: Vec<Arrived>) -> Result<Vec<Fate>> {
        self.by_id.reserve(entries.len());
        let Self { links, store, by_id, .. } = self;
        links.look_for(store, &entries, |id| by_id.contains_key(id))?;
        entries
            .into_iter()
            .map(|entry| match self.import(entry) {
                // A record here that is damaged stops none but who needs it.
                Err(Error::Damaged { what, detail }) => Ok(Fate::Refused(Cause::damaged_here(&what, &detail))),
                fate => fate,
            })
            .collect()
    }

    /// Checks the links of an entry from elsewhere and takes it in.
    fn import(&mut self, arrived: Arrived) -> Result<Fate> {
        if let Some(fate) = self.known(&arrived)? {
            return Ok(fate);
        }
        let Self { committer, store, links, by_id, entries, .. } = self;
        let taken = |id: &EntryId| {
            let staged = by_id.get(id).and_then(|at| entries.get(*at))?;
            Some((staged.tag, (staged.header.seq, staged.header.time)))
        };
        match links.judge(committer, store, (&arrived.tag, &arrived.header), taken)? {
            Verdict::Follows => {}
            Verdict::Missing(prev) => return Ok(Fate::MissingPrev(prev, Box::new(arrived))),
            Verdict::Refused(cause) => return Ok(Fate::Refused(cause)),
        }
        if let Some(cause) = self.refused_by_keys(&arrived)? {
            return Ok(Fate::Refused(cause));
        }
        let position = self.store.size() + self.entries.len() as u64;
        let Arrived { id, tag, header, signature, mut record, mut envelopes, hand, empty, erases, key, .. } = arrived;
        let key = key.and_then(|record| logged(&id, &header, record));
        // What was erased before it came is taken in without its content.
        if let Some(by) = self.store.erased_ahead(&id, &header)? {
            record = LooseRecord::new(record.header().to_vec(), None);
            envelopes.clear();
            Erasures::put_erased(self.store, position, &by, &mut self.batch);
        }
        let place = (position, &mut record.envelopes);
        let joined = join(envelopes, Some(&hand), place, self.committer, self.store, &mut self.batch)?;
        self.dropped += joined.dropped + empty;
        let is_new = self.tip(&tag)?.state.is_none();
        self.by_id.insert(id, self.entries.len());
        self.push(Staged { tag, id, header, signing: Signing::Done(signature), record, is_new, erases, key })?;
        Ok(Fate::Added)
    }

    /// Takes the content out of a record.
    fn erase(&mut self, position: u64) -> Result<()> {
        let place = placed(self.store, &mut self.rewritten, position)?;
        let parts = match place.record.stored.payload {
            StoredPayload::Parts => (place.record.header.payload_len as usize).div_ceil(PART_BYTES),
            StoredPayload::Absent | StoredPayload::Inline(_) => 0,
        };
        for part in (0..=u16::MAX).take(parts) {
            self.batch.delete(schema::part(position, part));
        }
        for envelope in place.record.stored.masked_envelopes.iter().filter(|envelope| envelope.is_private) {
            self.batch.delete(envelope.row(position));
        }
        let stored = &mut place.record.stored;
        let is_bare = matches!(stored.payload, StoredPayload::Absent) && stored.masked_cek.is_none();
        if !is_bare || !stored.masked_envelopes.is_empty() {
            (stored.payload, stored.masked_cek) = (StoredPayload::Absent, None);
            stored.masked_envelopes.clear();
            *place.is_changed = true;
        }
        Ok(())
    }

    fn push(&mut self, staged: Staged) -> Result<()> {
        let head = Head { id: staged.id, seq: staged.header.seq, time: staged.header.time };
        let Self { store, tips, undo, is_first, .. } = self;
        let tip = tip_of(store, tips, &staged.tag)?;
        if !*is_first {
            undo.entry(staged.tag).or_insert_with(|| tip.clone());
        }
        tip.push(head, &staged.header.prev);
        self.add_key(self.store.size() + self.entries.len() as u64, staged.key.clone());
        self.entries.push(staged);
        Ok(())
    }

    /// A thing as this commit leaves it so far.
    fn tip(&mut self, tag: &Tag) -> Result<&Tip> {
        tip_of(self.store, &mut self.tips, tag).map(|tip| &*tip)
    }

    /// What becomes of an entry that is here already.
    fn known(&mut self, arrived: &Arrived) -> Result<Option<Fate>> {
        if let Some(at) = self.by_id.get(&arrived.id).copied() {
            return Ok(Some(if self.complete_staged(at, arrived)? { Fate::Completed } else { Fate::Known }));
        }
        let Some(state) = self.tip(&arrived.tag)?.state.clone() else { return Ok(None) };
        let seq = arrived.header.seq;
        let Some(found) = self.store.find(&arrived.tag, &state, &arrived.id, Some(seq))? else { return Ok(None) };
        Ok(Some(if self.complete(found, arrived)? { Fate::Completed } else { Fate::Known }))
    }

    /// Adds what a stored record lacks and `arrived` brings.
    fn complete(&mut self, found: Located, arrived: &Arrived) -> Result<bool> {
        let record = &arrived.record;
        self.dropped += arrived.empty;
        // What was erased does not come back.
        if self.store.is_covered(found.position)? {
            return Ok(false);
        }
        let envelopes = arrived.envelopes.clone();
        let added = self.add(found.position, record.payload(), record.cek.as_ref(), envelopes, Some(&arrived.hand))?;
        if added.is_completed && arrived.erases {
            self.erasing(found.position)?;
        }
        Ok(added.is_completed)
    }

    /// Notes an erasure record that could not be read before.
    fn erasing(&mut self, position: u64) -> Result<()> {
        if !self.store.is_erasure(position)? {
            Erasures::put_due(self.store, position, &mut self.batch);
            self.erasing.push(position);
        }
        Ok(())
    }

    /// The same for an entry that came in this commit.
    fn complete_staged(&mut self, at: usize, arrived: &Arrived) -> Result<bool> {
        let Self { committer, store, batch, entries, dropped, .. } = self;
        let Some(staged) = entries.get_mut(at) else { return Ok(false) };
        if store.erased_ahead(&staged.id, &staged.header)?.is_some() {
            return Ok(false);
        }
        staged.erases |= arrived.erases;
        let record = &mut staged.record;
        let mut changed = record.complete(arrived.record.payload());
        if let (None, Some(cek)) = (&record.cek, &arrived.record.cek) {
            record.cek = Some(Cek::from_bytes(*cek.as_bytes()));
            changed = true;
        }
        let envelopes = arrived.envelopes.clone();
        let place = (store.size() + at as u64, &mut record.envelopes);
        let joined = join(envelopes, Some(&arrived.hand), place, committer, store, batch)?;
        *dropped += joined.dropped + arrived.empty;
        Ok(changed || joined.added > 0)
    }

    /// Seals entries to more recipients.
    fn share(&mut self, entries: Vec<Shared>, to: &[EncryptionKey]) -> Result<u64> {
        let mut shared = 0;
        for Shared { position, id, cek } in entries {
            let envelope = seal_to(self.committer, self.store, &mut self.batch, to, &id, &cek)?;
            let added = self.add(position, None, None, vec![Packed::made_here(envelope)], None)?;
            shared += added.joined.added;
            // That it found no place itself is told as full.
            self.dropped -= u64::from(added.joined.added == 0);
        }
        Ok(shared)
    }

    /// Adds to the record at `position` what it lacks.
    fn add(
        &mut self,
        position: u64,
        payload: Option<&[u8]>,
        cek: Option<&Cek>,
        coming: Vec<Packed>,
        hand: Option<&Hand>,
    ) -> Result<Added> {
        let Self { committer, store, rewritten, batch, dropped, .. } = self;
        let Place { record: place, is_changed } = placed(store, rewritten, position)?;
        let key = store.seals.position_key(position);
        let key = key.ok_or_else(|| Error::damaged(at(position), "the key of its position is gone"))?;
        let mut record = place.stored.clone();
        let mut changed = false;
        if matches!(record.payload, StoredPayload::Absent)
            && let Some(payload) = payload
        {
            record.payload = place_payload(store, batch, position, payload);
            changed = true;
        }
        if record.masked_cek.is_none()
            && let Some(cek) = cek
        {
            record.masked_cek = Some(key.mask_cek(&place.id, cek));
            changed = true;
        }
        let mut envelopes = record.masked_envelopes;
        envelopes.iter_mut().for_each(|envelope| key.mask_envelope(&place.id, envelope));
        let joined = join(coming, hand, (position, &mut envelopes), committer, store, batch)?;
        envelopes.iter_mut().for_each(|envelope| key.mask_envelope(&place.id, envelope));
        record.masked_envelopes = envelopes;
        *dropped += joined.dropped;
        changed |= joined.added > 0;
        if changed || joined.is_changed {
            place.stored = record;
            *is_changed = true;
        }
        // What is known of an envelope stays here: nobody else lacks it.
        if changed {
            changes::note(&mut self.changed, position, self.from);
        }
        Ok(Added { is_completed: changed, joined })
    }

    /// Signs, seals, commits, and then changes memory.
    pub(super) fn commit(mut self) -> Result<Option<Ticket>> {
        if self.entries.is_empty() && self.rewritten.is_empty() && self.batch.is_empty() {
            return Ok(None);
        }
        let base = self.store.size();
        let mut entries = std::mem::take(&mut self.entries);
        let runs = runs(&entries);
        let mut ledger = self.store.tree();
        for (position, staged) in (base..).zip(&entries) {
            ledger.push(&staged.id, &self.store.rows, &mut self.batch);
            if staged.erases {
                Erasures::put_due(self.store, position, &mut self.batch);
                self.erasing.push(position);
            }
            if let Some(key) = &staged.key {
                Keys::put(self.store, position, key, &mut self.batch);
            }
        }
        let slots = self.lay_out(&mut entries, base, &runs)?;
        for (first, block) in std::mem::take(&mut self.rewritten) {
            block.put(self.store, first, &mut self.batch);
        }
        let revision = changes::log(self.store, std::mem::take(&mut self.changed), &mut self.batch)?;
        let batch = std::mem::take(&mut self.batch);
        let ticket = self.store.commit(batch).inspect_err(|_| {
            // Rows of packets may not have been written after all.
            self.committer.stored_packets.lock().expect("no thread panics while it holds this").clear();
        })?;
        let indexed: Vec<Indexed<'_>> = (base..)
            .zip(entries.iter().zip(&slots))
            .map(|(position, (staged, slot))| Indexed {
                thing: &staged.header.thing,
                tag: staged.tag,
                id: staged.id,
                time: staged.header.time,
                prev: &staged.header.prev,
                posting: Posting { seq: staged.header.seq, position, slot: *slot, id8: id8(&staged.id) },
                is_new: staged.is_new,
            })
            .collect();
        // Whoever else holds a state makes the index copy it.
        self.tips.clear();
        // The entries are in. Whatever fails from here on must not let another
        // commit take their positions.
        *self.store.ledger.write().expect("no thread panics while it holds the ledger") = ledger;
        self.store.revision.store(revision, Ordering::Release);
        self.store.erasures.note_due(&self.erasing);
        if self.has_keys {
            self.store.keys.replace(Arc::clone(&self.keys));
        }
        if let Err(problem) = self.store.index.apply(&*self.store.storage, &self.store.rows, &indexed) {
            self.committer.close(problem.clone());
            return Err(problem);
        }
        let end = base + entries.len() as u64;
        while let Some(flush) = self.store.index.due_rows(&self.store.rows, end) {
            // The entries are in; rows that could not be written are made anew
            // at the next opening.
            if self.store.commit(flush.batch).is_err() {
                break;
            }
            self.store.index.written(&flush.tags);
        }
        Ok(Some(ticket))
    }

    /// Packs records into blocks and puts these into the batch. Returns the
    /// slot of each record. Large payloads are let go of once they are rows.
    fn lay_out(&mut self, entries: &mut [Staged], base: u64, runs: &[Run]) -> Result<Vec<u8>> {
        let mut slots = Vec::with_capacity(entries.len());
        let mut block = BlockBuilder::new(base);
        let mut start = 0;
        for run in runs {
            let some = &mut entries[start..start + run.len];
            let signing = run.sign(some, base + start as u64);
            for (position, staged) in (base + start as u64..).zip(some) {
                let signature = match &signing {
                    RunSignature::Head(head) => StoredSignature::Local(*head),
                    RunSignature::Single(value) => StoredSignature::Single(*value),
                    RunSignature::AsArrived => match &staged.signing {
                        Signing::Done(signature) => signature.into(),
                        Signing::Due(_) => unreachable!("runs of entries to sign are signed"),
                    },
                };
                if let Some(payload) = staged.record.take_large_payload() {
                    place_parts(self.store, &mut self.batch, position, &payload);
                }
                self.lay_out_one(position, staged, &signature, &mut block)?;
                slots.push(u8::try_from(block.len() - 1).expect("a block has at most 255 records"));
            }
            start += run.len;
        }
        put_block(self.store, &block, &mut self.batch);
        Ok(slots)
    }

    /// Puts a record into the block, or into the next one if that is full.
    fn lay_out_one(
        &mut self,
        position: u64,
        staged: &Staged,
        signature: &StoredSignature,
        block: &mut BlockBuilder,
    ) -> Result<()> {
        let Staged { header, id, record, .. } = staged;
        let mut envelopes = record.envelopes.clone();
        let mut cek = None;
        if record.cek.is_some() || !envelopes.is_empty() {
            let key = self.store.seals.next_position_key(position)?;
            cek = record.cek.as_ref().map(|cek| key.mask_cek(id, cek));
            envelopes.iter_mut().for_each(|envelope| key.mask_envelope(id, envelope));
        }
        let payload = record.payload_bytes();
        if let PayloadBytes::Inline(bytes) = payload {
            debug_assert!(payload::check(header, bytes).is_ok(), "the payload is not the one that the header names");
        }
        let record = Laid { header, id: *id, signature, payload, cek, envelopes: &envelopes };
        if !block.push(&record) {
            put_block(self.store, block, &mut self.batch);
            *block = BlockBuilder::new(position);
            let _has_room = block.push(&record);
        }
        Ok(())
    }
}

/// The record in an entry of a key log.
fn logged(id: &EntryId, header: &Header, record: KeyRecord) -> Option<NewRecord> {
    let logged = LoggedRecord { id: *id, signer: header.actor, prev: header.prev.clone(), record };
    Some(NewRecord { first: key_record::first_key(&header.thing)?, logged })
}

/// A record in a block that is written anew.
struct Place<'r> {
    record: &'r mut Placed,
    is_changed: &'r mut bool,
}

/// The record at a position, in its block among those that are written anew.
fn placed<'r>(store: &Store, rewritten: &'r mut HashMap<u64, Rewritten>, position: u64) -> Result<Place<'r>> {
    let (first, bytes) = store.block_of(position)?;
    let block = match rewritten.entry(first) {
        hash_map::Entry::Occupied(known) => known.into_mut(),
        hash_map::Entry::Vacant(free) => free.insert(Rewritten::load(store, first, bytes)?),
    };
    let Rewritten { records, is_changed, .. } = block;
    let record = usize::try_from(position - first).ok().and_then(|slot| records.get_mut(slot));
    let record = record.ok_or_else(|| Error::damaged(at(position), "its block is missing"))?;
    Ok(Place { record, is_changed })
}

/// A block of which records are completed.
struct Rewritten {
    before: Vec<u8>,
    records: Vec<Placed>,
    is_changed: bool,
}

impl Rewritten {
    /// All of its records have to open: a block is sealed as a whole.
    fn load(store: &Store, first: u64, before: Vec<u8>) -> Result<Self> {
        let mut block = store.open_block(first, &before)?;
        let records = (0..u8::MAX).take(block.len()).map(|slot| block.record(slot)).collect::<Result<_>>()?;
        Ok(Self { before, records, is_changed: false })
    }

    /// Puts its row into the batch, or its rows if there is too much for one.
    fn put(self, store: &Store, first: u64, batch: &mut Batch) {
        if self.is_changed {
            batch.expect_value(schema::block(first), self.before);
            pack(first, self.records.iter().map(Placed::laid), |block| put_block(store, block, batch));
        }
    }
}

fn put_block(store: &Store, block: &BlockBuilder, batch: &mut Batch) {
    if block.len() > 0 {
        // No guard that the row is absent: there is one committer, and a guard
        // would cost every put a read.
        batch.put(schema::block(block.first()), block.seal(&store.seals.block_key(block.first())));
    }
}

/// Puts large payloads into rows of their own.
fn place_payload(store: &Store, batch: &mut Batch, position: u64, payload: &[u8]) -> StoredPayload {
    if payload.len() <= INLINE_PAYLOAD_BYTES {
        return StoredPayload::Inline(payload.to_vec());
    }
    place_parts(store, batch, position, payload);
    StoredPayload::Parts
}

fn place_parts(store: &Store, batch: &mut Batch, position: u64, payload: &[u8]) {
    let key = store.seals.block_key(position);
    for (part, bytes) in (0..).zip(payload.chunks(PART_BYTES)) {
        let row = schema::part(position, part);
        let sealed = key.seal(&row, bytes, &mut rand::rng());
        batch.put(row, sealed);
    }
}

/// What became of something for an entry that is here.
struct Added {
    /// Whether the entry has something that it lacked.
    is_completed: bool,
    joined: Joined,
}

/// The clock, or the time just after `latest` if the clock lags behind it.
fn later_than(now: u64, latest: Option<Time>) -> Result<Time> {
    let now = Time::from_micros(now)?;
    match latest {
        Some(latest) if latest >= now => latest.next().ok_or_else(|| {
            Error::damaged("the thing's history", "its last entry has the last time that can be written")
        }),
        _ => Ok(now),
    }
}

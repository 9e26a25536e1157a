//! What reading and writing share: the storage, the seals, the index and the
//! ledger's tree. Whoever reads goes through here; whoever writes is the
//! [committer](crate::committer).

pub(crate) mod as_of;
pub(crate) mod block;
pub(crate) mod changes;
pub(crate) mod erasures;
pub(crate) mod heads_map;
mod held;
pub(crate) mod history;
pub(crate) mod holds;
pub(crate) mod holes;
mod ids;
pub(crate) mod index;
pub(crate) mod keys;
mod latest;
pub(crate) mod layout;
pub(crate) mod ledger;
pub(crate) mod line_seal;
pub(crate) mod originals;
pub(crate) mod packets;
pub(crate) mod postings;
pub(crate) mod provenance;
pub(crate) mod receipts;
pub(crate) mod recover;
pub(crate) mod row_seal;
pub(crate) mod schema;
pub(crate) mod seals;
pub(crate) mod state;
pub(crate) mod states;
pub(crate) mod stored;
pub(crate) mod things;
mod varint;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use thingdb_format::{
    Actor, BatchSignature, Cek, EntryId, Envelope, Hash, Header, Origin, Recipients, Signature, ThingId, Verifier,
    merkle, payload,
};

use crate::access::erasers::Erasers;
use crate::access::readers::Readers;
use crate::entry::record::{Content, Record, Signed};
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::prototype::Original;
use crate::storage::{Batch, Direction, Storage, Ticket, Value};

use block::{Block, OpenBlock};
use erasures::Erasures;
use holds::Holds;
use index::Index;
use keys::Keys;
use layout::Placed;
use ledger::{Ledger, LedgerView};
use line_seal::LineSeal;
use originals::Originals;
use postings::{Posting, id8};
use provenance::Provenance;
use receipts::Receipts;
use row_seal::RowSeal;
use schema::{Tag, Tagger};
use seals::Seals;
use state::State;
use stored::{BatchHead, PART_BYTES, StoredEnvelope, StoredPayload, StoredRecord, StoredSignature, at};
use things::Catalogue;

/// Checked keys that are kept; a check costs as much as a signature.
const MAX_VERIFIERS: usize = 4096;

pub(crate) struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) rows: RowSeal,
    tagger: Tagger,
    pub(crate) index: Index,
    /// Replaced by the committer after each commit.
    pub(crate) ledger: RwLock<Ledger>,
    pub(crate) keyring: Mutex<Keyring>,
    pub(crate) seals: Seals,
    /// Seals lines whose entries wait.
    pub(crate) lines: LineSeal,
    /// Names of trusted keys, as the keyring has them.
    trusted: RwLock<Arc<HashMap<Actor, String>>>,
    /// Those in which trust was withdrawn.
    withdrawn: RwLock<Arc<Withdrawn>>,
    readers: RwLock<Arc<Readers>>,
    erasers: RwLock<Arc<Erasers>>,
    verifiers: RwLock<HashMap<Actor, Arc<Verifier>>>,
    /// The newest revision in the log of changes.
    pub(crate) revision: AtomicU64,
    /// Where migrated entries may be.
    pub(crate) originals: Originals,
    pub(crate) catalogue: Catalogue,
    /// What was erased.
    pub(crate) erasures: Erasures,
    /// What actors say of their keys.
    pub(crate) keys: Keys,
    /// What is not erased here, and why.
    pub(crate) holds: Holds,
    /// The newest of the receipts for erasure records.
    pub(crate) receipts: Receipts,
    /// The ticket of the last commit.
    last_ticket: Mutex<Option<Ticket>>,
}

/// Keys in which trust was withdrawn.
#[derive(Default)]
pub(crate) struct Withdrawn {
    /// With their names.
    pub(crate) actors: HashMap<Actor, String>,
    pub(crate) origins: HashSet<Origin>,
}

/// A record and where it lies.
pub(crate) struct Located {
    pub(crate) position: u64,
    pub(crate) slot: u8,
    pub(crate) header: Header,
    pub(crate) id: EntryId,
    pub(crate) stored: StoredRecord,
}

/// The block of the entry that was read last, if it is still open.
pub(crate) type Near = Option<OpenBlock<Value>>;

impl Store {
    pub(crate) fn new(dir: PathBuf, storage: Box<dyn Storage>, keyring: Keyring, states_bytes: usize) -> Result<Self> {
        let store = Self {
            dir,
            rows: RowSeal::new(keyring.row_key().seal_key()),
            tagger: Tagger::new(keyring.index_key().as_bytes()),
            revision: AtomicU64::new(changes::newest(&*storage)?),
            originals: Originals::load(&*storage, &RowSeal::new(keyring.row_key().seal_key()))?,
            erasures: Erasures::load(&*storage)?,
            keys: Keys::load(&*storage, &RowSeal::new(keyring.row_key().seal_key()))?,
            holds: Holds::load(&*storage, &RowSeal::new(keyring.row_key().seal_key()))?,
            receipts: Receipts::load(&*storage)?,
            storage,
            index: Index::new(states_bytes),
            ledger: RwLock::default(),
            seals: Seals::new(&keyring),
            lines: LineSeal::new(&keyring),
            keyring: Mutex::new(keyring),
            trusted: RwLock::default(),
            withdrawn: RwLock::default(),
            readers: RwLock::default(),
            verifiers: RwLock::default(),
            catalogue: Catalogue::default(),
            erasers: RwLock::default(),
            last_ticket: Mutex::default(),
        };
        store.take_over(&store.keyring())?;
        Ok(store)
    }

    pub(crate) fn keyring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.lock().expect("no thread panics while it holds the keyring")
    }

    /// Takes over what the keyring says of trust, peers and audience.
    pub(crate) fn take_over(&self, keyring: &Keyring) -> Result<()> {
        let (mut names, mut withdrawn) = (HashMap::new(), Withdrawn::default());
        for known in keyring.trust().actors() {
            let of = if known.withdrawn.is_none() { &mut names } else { &mut withdrawn.actors };
            of.insert(known.key, known.name.clone());
        }
        let origins = keyring.trust().origins().filter(|known| known.withdrawn.is_some());
        withdrawn.origins = origins.map(|known| known.key.origin()).collect();
        let readers = Readers::load(keyring)?;
        let erasers = Erasers::load(keyring)?;
        *self.trusted.write().expect("no thread panics while it holds the names") = Arc::new(names);
        *self.withdrawn.write().expect("no thread panics while it holds the names") = Arc::new(withdrawn);
        *self.readers.write().expect("no thread panics while it holds the readers") = Arc::new(readers);
        *self.erasers.write().expect("no thread panics while it holds the erasers") = Arc::new(erasers);
        Ok(())
    }

    /// Who may erase what.
    pub(crate) fn erasers(&self) -> Arc<Erasers> {
        Arc::clone(&self.erasers.read().expect("no thread panics while it holds the erasers"))
    }

    /// To whom entries are sealed.
    pub(crate) fn readers(&self) -> Arc<Readers> {
        Arc::clone(&self.readers.read().expect("no thread panics while it holds the readers"))
    }

    pub(crate) fn trusted(&self) -> Arc<HashMap<Actor, String>> {
        Arc::clone(&self.trusted.read().expect("no thread panics while it holds the names"))
    }

    /// The keys in which trust was withdrawn.
    pub(crate) fn withdrawn(&self) -> Arc<Withdrawn> {
        Arc::clone(&self.withdrawn.read().expect("no thread panics while it holds the names"))
    }

    pub(crate) fn tag(&self, thing: &ThingId) -> Tag {
        self.tagger.tag(thing)
    }

    /// The tag of bytes that are no thing id, for rows of their own.
    pub(crate) fn tag_of(&self, bytes: &[u8]) -> Tag {
        self.tagger.tag_of(bytes)
    }

    pub(crate) fn state(&self, tag: &Tag) -> Result<Option<Arc<State>>> {
        self.index.state(&*self.storage, &self.rows, tag)
    }

    pub(crate) fn chunk<'s>(&self, tag: &Tag, state: &'s State, chunk: u64) -> Result<Cow<'s, [Posting]>> {
        self.index.chunk(&*self.storage, &self.rows, tag, state, chunk)
    }

    pub(crate) fn postings_at<'s>(&self, tag: &Tag, state: &'s State, seq: u64) -> Result<Cow<'s, [Posting]>> {
        self.index.postings_at(&*self.storage, &self.rows, tag, state, seq)
    }

    /// Runs `act` on the tree as it is now.
    pub(crate) fn with_tree<T>(&self, act: impl FnOnce(&LedgerView<'_>) -> Result<T>) -> Result<T> {
        let ledger = self.tree();
        act(&ledger.view(&*self.storage, &self.rows))
    }

    /// The tree as it is now.
    pub(crate) fn tree(&self) -> Ledger {
        self.ledger.read().expect("no thread panics while it holds the ledger").clone()
    }

    /// Entries in the ledger.
    pub(crate) fn size(&self) -> u64 {
        self.ledger.read().expect("no thread panics while it holds the ledger").size()
    }

    /// The checked key of an actor.
    pub(crate) fn verifier(&self, actor: &Actor) -> std::result::Result<Arc<Verifier>, thingdb_format::Error> {
        let known = self.verifiers.read().expect("no thread panics while it holds the keys").get(actor).cloned();
        if let Some(verifier) = known {
            return Ok(verifier);
        }
        let verifier = Arc::new(Verifier::new(&actor.0)?);
        let mut verifiers = self.verifiers.write().expect("no thread panics while it holds the keys");
        if verifiers.len() >= MAX_VERIFIERS {
            verifiers.clear();
        }
        verifiers.insert(*actor, Arc::clone(&verifier));
        Ok(verifier)
    }

    /// Commits to the storage. Only the committer and the one who closes call
    /// this.
    pub(crate) fn commit(&self, batch: Batch) -> Result<Ticket> {
        let ticket = self.storage.commit(batch)?;
        *self.last_ticket.lock().expect("no thread panics while it holds the ticket") = Some(ticket);
        Ok(ticket)
    }

    /// Waits until everything that was committed so far is durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let last = *self.last_ticket.lock().expect("no thread panics while it holds the ticket");
        last.map_or(Ok(()), |ticket| Ok(self.storage.wait(ticket)?))
    }

    /// The record at a posting.
    pub(crate) fn located(&self, posting: &Posting) -> Result<Located> {
        self.located_near(posting, &mut None)
    }

    /// The same, for who goes on with entries that may lie in the same block: it stays
    /// open until one is asked for that is not in it.
    fn located_near(&self, posting: &Posting, near: &mut Near) -> Result<Located> {
        let first = posting.block();
        if let Some(block) = near.as_mut().filter(|block| block.first() == first)
            && usize::from(posting.slot) < block.len()
        {
            return located_in(block, posting.slot);
        }
        // Where it was written it still is, unless its block was packed since.
        *near = None;
        if let Some(bytes) = self.storage.get_shared(&schema::block(first))? {
            let mut block = self.open_block(first, bytes)?;
            if usize::from(posting.slot) < block.len() {
                let located = located_in(&mut block, posting.slot)?;
                *near = Some(block);
                return Ok(located);
            }
        }
        self.located_at(posting.position)
    }

    /// The record at a posting of a thing's state. An index that leads to
    /// another entry is damaged: nobody must read one thing's data as
    /// another's.
    pub(crate) fn located_of(&self, state: &State, posting: &Posting) -> Result<Located> {
        self.located_near_of(state, posting, &mut None)
    }

    /// The same, for who goes on with entries that may lie in the same block.
    pub(crate) fn located_near_of(&self, state: &State, posting: &Posting, near: &mut Near) -> Result<Located> {
        let what = || format!("{} seq {}", state.thing, posting.seq);
        let located = self.located_near(posting, near).map_err(|problem| match problem {
            Error::Damaged { detail, .. } => Error::damaged(what(), detail),
            problem => problem,
        })?;
        let header = &located.header;
        if header.thing != state.thing || header.seq != posting.seq || posting.id8[..] != located.id.0[..8] {
            return Err(Error::damaged(what(), "the index leads to another entry"));
        }
        Ok(located)
    }

    /// Opens the block that begins at `first`.
    pub(crate) fn open_block<B: AsRef<[u8]>>(&self, first: u64, bytes: B) -> Result<OpenBlock<B>> {
        Block::from_bytes(first, bytes)?.open(self.seals.block_key(first))
    }

    /// The block in which a ledger position lies: its first position and bytes.
    pub(crate) fn block_of(&self, position: u64) -> Result<(u64, Vec<u8>)> {
        for row in self.storage.scan(&schema::blocks_up_to(position), Direction::Backward) {
            let (key, bytes) = row?;
            // A row of another shape is none of ours.
            if let Some(first) = schema::first_of_block(&key) {
                return Ok((first, bytes));
            }
        }
        Err(Error::damaged(at(position), "its block is missing"))
    }

    /// The record at a ledger position.
    pub(crate) fn located_at(&self, position: u64) -> Result<Located> {
        let (first, bytes) = self.block_of(position)?;
        let slot = u8::try_from(position - first).ok();
        let mut block = self.open_block(first, &bytes)?;
        let slot = slot.filter(|slot| usize::from(*slot) < block.len());
        located_in(&mut block, slot.ok_or_else(|| Error::damaged(at(position), "its block is missing"))?)
    }

    /// Calls `act` with the records at these positions, which ascend: each block is
    /// opened once.
    pub(crate) fn each_at(&self, positions: &[u64], mut act: impl FnMut(Located)) -> Result<()> {
        let mut positions = positions.iter().copied().peekable();
        while let Some(position) = positions.peek().copied() {
            let (first, bytes) = self.block_of(position)?;
            let mut block = self.open_block(first, &bytes)?;
            let end = first.saturating_add(block.len() as u64);
            if position >= end {
                return Err(Error::damaged(at(position), "its block is missing"));
            }
            while let Some(position) = positions.next_if(|position| *position < end) {
                let slot =
                    u8::try_from(position - first).map_err(|_| Error::damaged(at(position), "it has no slot"))?;
                act(located_in(&mut block, slot)?);
            }
        }
        Ok(())
    }

    /// The CEK of a record, if this node has it.
    pub(crate) fn cek(&self, located: &Located) -> Option<Cek> {
        let masked = located.stored.masked_cek?;
        Some(self.seals.position_key(located.position)?.unmask_cek(&located.id, &masked))
    }

    /// The envelopes of a record, without their packets.
    pub(crate) fn stored_envelopes(&self, located: &Located) -> Vec<StoredEnvelope> {
        let mut envelopes = located.stored.masked_envelopes.clone();
        if envelopes.is_empty() {
            return envelopes;
        }
        let Some(key) = self.seals.position_key(located.position) else { return Vec::new() };
        envelopes.iter_mut().for_each(|envelope| key.mask_envelope(&located.id, envelope));
        envelopes
    }

    /// The payload of a record, if it is here.
    pub(crate) fn payload(&self, located: &Located) -> Result<Option<Vec<u8>>> {
        match &located.stored.payload {
            StoredPayload::Absent => Ok(None),
            StoredPayload::Inline(payload) => Ok(Some(payload.clone())),
            StoredPayload::Parts => self.parts(located.position, located.header.payload_len as usize).map(Some),
        }
    }

    fn parts(&self, position: u64, len: usize) -> Result<Vec<u8>> {
        let key = self.seals.block_key(position);
        let mut payload = Vec::with_capacity(len);
        for part in 0..len.div_ceil(PART_BYTES) {
            let part =
                u16::try_from(part).map_err(|_| Error::damaged(at(position), "its payload has too many parts"))?;
            let row = schema::part(position, part);
            let sealed = self.storage.get(&row)?;
            let open = sealed.and_then(|sealed| key.open(&row, &sealed));
            let missing =
                || Error::damaged(at(position), format!("part {part} of its payload is missing or does not open"));
            payload.extend_from_slice(&open.ok_or_else(missing)?);
        }
        Ok(payload)
    }

    /// Opens a record of a thing that has so many heads, as far as this node can.
    pub(crate) fn record(&self, located: Located, heads: usize) -> Result<Record> {
        let content = match (&located.stored.payload, self.cek(&located)) {
            (StoredPayload::Absent, _) | (_, None) => self.closed_content(&located)?,
            (StoredPayload::Inline(inline), Some(cek)) => {
                Content::Open(payload::open(&located.header, &cek, inline).map_err(|problem| located.damaged(problem))?)
            }
            (StoredPayload::Parts, Some(cek)) => {
                let parts = self.parts(located.position, located.header.payload_len as usize)?;
                Content::Open(payload::open(&located.header, &cek, &parts).map_err(|problem| located.damaged(problem))?)
            }
        };
        let signed = match &located.stored.signature {
            StoredSignature::Batch { index, size, .. } => Signed::Batch { index: *index, size: *size },
            StoredSignature::Local(head) => {
                Signed::Batch { index: located.position.saturating_sub(head.first) as u32, size: head.size }
            }
            StoredSignature::Single(_) => Signed::Single,
        };
        // Packets that do not open are for verification to tell.
        let envelopes = located.stored.masked_envelopes.iter();
        let recipients =
            envelopes.map(|envelope| self.packets(located.position, envelope).map_or(0, |packets| packets.len())).sum();
        let is_revoked = self.is_disbelieved(&self.keys.logs(), &located.header.actor, Some(located.position))?;
        let known_name = self.name_of(&located.header.actor).or_else(|| self.name_of_step(&located));
        let (trusted_name, revoked_name) = if is_revoked { (None, known_name) } else { (known_name, None) };
        let original_name = match &content {
            Content::Open(body) => body.attachment().and_then(Original::of).and_then(|original| original.actor()),
            _ => None,
        };
        let original_name = original_name.and_then(|actor| self.name_of(&actor));
        let withdrawn = self.withdrawn();
        let withdrawn_name = withdrawn.actors.get(&located.header.actor).cloned();
        let is_origin_withdrawn = withdrawn.origins.contains(&located.header.origin);
        Ok(Record {
            id: located.id,
            position: located.position,
            signed,
            recipients,
            content,
            trusted_name,
            original_name,
            withdrawn_name,
            is_revoked,
            revoked_name,
            is_origin_withdrawn,
            heads,
            header: located.header,
        })
    }

    /// Why a record whose content does not open has none here.
    pub(crate) fn closed_content(&self, located: &Located) -> Result<Content> {
        if let Some(by) = self.erased_by(located.position)? {
            return Ok(Content::Erased { by: EntryId(by.id) });
        }
        Ok(match located.stored.payload {
            // A key that was taken away without an erasure is nobody's doing that counts.
            _ if self.seals.position_key(located.position).is_none() => Content::Lost,
            StoredPayload::Absent => Content::Stub,
            _ => Content::Undecryptable,
        })
    }

    /// The signature of a record, complete with its path.
    pub(crate) fn signature(&self, located: &Located, paths: &mut Paths) -> Result<Signature> {
        if let Some(signature) = located.stored.signature.alone() {
            return Ok(signature);
        }
        let no_head = || Error::damaged(at(located.position), "its block has no signature of its batch");
        let head = *located.stored.signature.batch().ok_or_else(no_head)?;
        let index = located.position.checked_sub(head.first).and_then(|index| u32::try_from(index).ok());
        let index = index.filter(|index| *index < head.size).ok_or_else(no_head)?;
        let path = paths.path(self, &head, index)?;
        Ok(Signature::Batch(BatchSignature { value: head.value, index, size: head.size, path }))
    }

    /// The envelopes of a record, with their KEK packets and with what is known
    /// of where they come from: the best first.
    pub(crate) fn envelopes(&self, located: &Located) -> Result<Vec<(Envelope, Provenance)>> {
        let mut stored = self.stored_envelopes(located);
        stored.sort_by_key(|stored| std::cmp::Reverse(stored.provenance));
        let open = |stored: StoredEnvelope| {
            let recipients = self.packets(located.position, &stored)?;
            let envelope = Envelope { from: stored.from(), cek: stored.cek, recipients };
            Ok((envelope, stored.provenance))
        };
        stored.into_iter().map(open).collect()
    }

    /// The KEK packets of an envelope of the record at `position`.
    pub(crate) fn packets(&self, position: u64, stored: &StoredEnvelope) -> Result<Recipients> {
        let row = stored.row(position);
        let sealed = self.storage.get(&row)?.ok_or_else(|| Error::damaged("a row of KEK packets", "it is missing"))?;
        packets::decode(&self.rows.open(&row, &sealed)?)
    }

    /// Finds an entry of a thing by its id. `seq` is where it should be, if
    /// that is known.
    pub(crate) fn find(&self, tag: &Tag, state: &State, id: &EntryId, seq: Option<u64>) -> Result<Option<Located>> {
        let in_postings = |postings: &[Posting]| -> Result<Option<Located>> {
            for posting in postings.iter().filter(|posting| posting.id8[..] == id.0[..8]) {
                let located = self.located(posting)?;
                if located.id == *id {
                    return Ok(Some(located));
                }
            }
            Ok(None)
        };
        if let Some(seq) = seq {
            let id8 = id8(id);
            return in_postings(&self.index.postings_of(&*self.storage, &self.rows, tag, state, seq, id8)?);
        }
        for chunk in postings::chunks(1, state.last_seq().min(self.size())).rev() {
            if let Some(found) = in_postings(&self.chunk(tag, state, chunk)?)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The record in a slot of an open block.
pub(crate) fn located_in(block: &mut OpenBlock<impl AsRef<[u8]>>, slot: u8) -> Result<Located> {
    let Placed { header, id, stored } = block.record(slot)?;
    Ok(Located { position: block.first() + u64::from(slot), slot, header, id, stored })
}

impl Located {
    /// An error that names the entry.
    pub(crate) fn damaged(&self, problem: impl std::fmt::Display) -> Error {
        Error::damaged(format!("{} seq {} ({})", self.header.thing, self.header.seq, self.id), problem)
    }
}

/// The paths of the batch that was asked for last: entries of a batch lie side
/// by side and are asked for one after the other.
#[derive(Default)]
pub(crate) struct Paths {
    batch: Option<(BatchHead, Vec<Vec<Hash>>)>,
}

impl Paths {
    fn path(&mut self, store: &Store, head: &BatchHead, index: u32) -> Result<Vec<Hash>> {
        if self.batch.as_ref().is_none_or(|(known, _)| known != head) {
            let ids = store.with_tree(|tree| tree.ids(head.first, head.first + u64::from(head.size)))?;
            self.batch = Some((*head, levels(ids.iter().map(merkle::leaf).collect())));
        }
        let levels = self.batch.as_ref().map_or(&[][..], |(_, levels)| levels);
        Ok(path_in(levels, index as usize))
    }
}

/// All levels of the tree over `leaves`, from the leaves up. A node without a
/// sibling moves up as it is, as RFC 9162 has it.
fn levels(leaves: Vec<Hash>) -> Vec<Vec<Hash>> {
    let mut levels = vec![leaves];
    while let Some(last) = levels.last().filter(|last| last.len() > 1) {
        let next = last
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => merkle::node(left, right),
                rest => rest[0],
            })
            .collect();
        levels.push(next);
    }
    levels
}

fn path_in(levels: &[Vec<Hash>], index: usize) -> Vec<Hash> {
    levels.iter().enumerate().filter_map(|(height, level)| level.get((index >> height) ^ 1).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_from_levels_are_those_of_the_rfc() {
        for size in 1..70_u64 {
            let leaves: Vec<Hash> = (0..size).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect();
            let levels = levels(leaves.clone());
            for index in 0..size {
                let expected = merkle::inclusion_proof(&leaves[..], index, size).unwrap();
                assert_eq!(path_in(&levels, index as usize), expected, "{index} of {size}");
            }
        }
    }
}

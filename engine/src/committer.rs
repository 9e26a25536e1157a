//! The one place that writes entries.
//!
//! Callers seal in their own threads and queue a job. Whoever finds nobody at
//! work becomes the committer for everything that is queued: it gives each
//! entry its position, seq and prev, signs (one batch signature for what
//! arrived together from one actor), commits once, and wakes the others. A
//! thread that writes alone does all of this without a change of thread; there
//! is never more than one committer, which is what sled wants.
//!
//! Invariants:
//! - An entry is committed after every entry of its prev.
//! - Memory (index, tree) changes only after the commit has returned.
//! - A job is accepted as a whole or not at all; one that is refused leaves no
//!   trace in the jobs committed with it.

use std::collections::{HashMap, HashSet, hash_map};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use thingdb_format::{
    Cek, EncryptionKey, EntryId, Envelope, Fields, Hash, Header, Kek, KekPacket, Origin, Signature, SigningKey, Suite,
    ThingId, Time, Verified, envelope, header, merkle, signature,
};

use crate::draft::Expect;
use crate::error::{Error, Result};
use crate::exchange::packets::{self, PacketsMemo};
use crate::heads::Heads;
use crate::index::{Indexed, State};
use crate::keyring::SealKey;
use crate::postings::Posting;
use crate::record::{Head, Receipt};
use crate::replica::change::{self, Changed};
use crate::schema::{self, Tag, TagMap};
use crate::storage::{Batch, Ticket};
use crate::store::{Located, Places, Store};
use crate::stored::{
    self, BLOCK_BYTES, BLOCK_RECORDS, BatchHead, Block, BlockBytes, INLINE_PAYLOAD_BYTES, LooseRecord, OpenRecord,
    PART_BYTES, SEGMENT_POSITIONS, StoredEnvelope, StoredPayload, StoredSignature,
};

/// Entries under one of our own batch signatures: a path of ten hashes.
const BATCH_ENTRIES: usize = 1024;

/// Entries that one commit takes from the queue before it leaves the rest to
/// the next.
const COMMIT_ENTRIES: usize = 4096;

/// Entries that share a KEK, at most.
const KEK_ENTRIES: u64 = 10_000;

/// How long entries share a KEK, at most.
const KEK_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A sealed draft, ready for its place.
pub(crate) struct NewEntry {
    pub(crate) thing: ThingId,
    pub(crate) tag: Tag,
    pub(crate) signer: Arc<SigningKey>,
    pub(crate) expect: Option<Expect>,
    pub(crate) suite: Suite,
    pub(crate) cek: Cek,
    pub(crate) sealed: thingdb_format::payload::Sealed,
    /// To whom it is sealed beside this node: ascending, without repeats.
    pub(crate) to: Vec<EncryptionKey>,
    /// Whether this node keeps the CEK.
    pub(crate) keep_cek: bool,
}

/// An entry that is to be sealed to more recipients.
pub(crate) struct Shared {
    pub(crate) position: u64,
    pub(crate) id: EntryId,
    pub(crate) cek: Cek,
}

/// An entry from elsewhere, its signature and hashes checked, laid out for the
/// storage as far as its place does not matter.
pub(crate) struct Arrived {
    pub(crate) id: EntryId,
    pub(crate) tag: Tag,
    pub(crate) header: Header,
    pub(crate) signature: Signature,
    /// Without its envelopes.
    pub(crate) record: LooseRecord,
    /// Those of the entry's envelopes that are kept.
    pub(crate) envelopes: Vec<Packed>,
}

impl Arrived {
    pub(crate) fn new(
        entry: Verified,
        tag: Tag,
        cek: Option<Cek>,
        envelopes: &[Envelope],
        packets: &mut PacketsMemo,
    ) -> Self {
        let id = entry.id();
        let entry = entry.into_entry();
        let mut record = LooseRecord::new(&entry.header.to_bytes(), entry.payload);
        record.cek = cek;
        let envelopes = envelopes.iter().map(|envelope| Packed::new(envelope, packets)).collect();
        Self { id, tag, header: entry.header, signature: entry.signature, record, envelopes }
    }
}

pub(crate) enum Job {
    Write(Vec<NewEntry>),
    /// With the node that sent them, if it is known.
    Import(Vec<Arrived>, Option<Origin>),
    Share(Vec<Shared>, Vec<EncryptionKey>),
    /// Rows that are no entries; sealed by the caller.
    Rows(Batch),
}

/// What became of an entry from elsewhere.
pub(crate) enum Fate {
    Added,
    Known,
    /// It was here, and something that was missing was added to it.
    Completed,
    /// The first of its prev that is not here, and the entry itself.
    MissingPrev(EntryId, Box<Arrived>),
    Refused(String),
}

pub(crate) enum Done {
    Written(Vec<Receipt>),
    Imported(Vec<Fate>),
    /// How many entries were not sealed to these recipients before.
    Shared(u64),
    Rows,
}

/// The queue, and who works on it.
pub(crate) struct Committer {
    origin: Origin,
    clock: fn() -> u64,
    future_tolerance_us: u64,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Why nothing may be written any more, if so.
    closed: Mutex<Option<Error>>,
    /// KEK packets that are known to have their row; touched by the committer
    /// only.
    stored_packets: Mutex<HashSet<[u8; 16]>>,
    keks: Mutex<HashMap<Vec<EncryptionKey>, SharedKek>>,
}

/// A KEK that is in use for one set of recipients.
struct SharedKek {
    kek: Kek,
    /// The row with its packets, encoded, and the row's name.
    packets: Vec<u8>,
    name: [u8; 16],
    used: u64,
    since: Instant,
}

impl SharedKek {
    fn new(from: Origin, to: &[EncryptionKey]) -> Result<Self> {
        let mut rng = rand::rng();
        let kek = Kek::generate(&mut rng);
        let packets = to
            .iter()
            .map(|key| KekPacket::seal_x25519(&kek, from, key, &mut rng))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let packets = packets::encode(&packets);
        let name = packets::name(&packets);
        Ok(Self { kek, packets, name, used: 0, since: Instant::now() })
    }

    fn is_spent(&self) -> bool {
        self.used >= KEK_ENTRIES || self.since.elapsed() >= KEK_TIME
    }
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Waiting>,
    busy: bool,
}

type Answer = Result<(Done, Option<Ticket>)>;

struct Waiting {
    job: Job,
    answer: Arc<Mutex<Option<Answer>>>,
}

impl Committer {
    pub(crate) fn new(origin: Origin, clock: fn() -> u64, future_tolerance_ms: u64) -> Self {
        Self {
            origin,
            clock,
            future_tolerance_us: future_tolerance_ms.saturating_mul(1000),
            queue: Mutex::default(),
            changed: Condvar::new(),
            closed: Mutex::default(),
            stored_packets: Mutex::default(),
            keks: Mutex::default(),
        }
    }

    /// Recipients have changed: the next entries get new KEKs.
    pub(crate) fn forget_keks(&self) {
        self.keks.lock().expect("no thread panics while it holds the keys").clear();
    }

    /// From now on every job is refused with `why`.
    pub(crate) fn close(&self, why: Error) {
        *self.closed.lock().expect("no thread panics while it holds this") = Some(why);
    }

    /// Whether jobs are accepted.
    pub(crate) fn check_open(&self) -> Result<()> {
        self.closed.lock().expect("no thread panics while it holds this").clone().map_or(Ok(()), Err)
    }

    /// Commits `job`, perhaps together with others. When this returns, the
    /// entries are visible; they are durable once the ticket was waited for.
    pub(crate) fn submit(&self, store: &Store, job: Job) -> Answer {
        self.check_open()?;
        let answer = Arc::new(Mutex::new(None));
        let mut queue = self.lock();
        queue.jobs.push(Waiting { job, answer: Arc::clone(&answer) });
        loop {
            if let Some(answer) = answer.lock().expect("answers are only put and taken").take() {
                return answer;
            }
            if queue.busy {
                queue = self.changed.wait(queue).expect("no thread panics while it holds the queue");
                continue;
            }
            queue.busy = true;
            let jobs = take_some(&mut queue.jobs);
            drop(queue);
            Shift { committer: self, jobs: Some(jobs) }.work(store);
            queue = self.lock();
        }
    }

    /// Why an entry from elsewhere cannot be taken in now, whatever its prev.
    pub(crate) fn untimely(&self, header: &Header) -> Option<String> {
        let latest = (self.clock)().saturating_add(self.future_tolerance_us);
        (header.time.micros() > latest).then(|| format!("time {} is in the future", header.time))
    }

    /// Why an entry from elsewhere does not follow from its prev, given their
    /// seqs and times.
    pub(crate) fn refusal(header: &Header, prev: &[(u64, Time)]) -> Option<String> {
        if let Some((_, time)) = prev.iter().find(|(_, time)| header.time <= *time) {
            return Some(format!("time {} is not later than {time} of its prev", header.time));
        }
        let greatest = prev.iter().map(|(seq, _)| *seq).max().unwrap_or(0);
        (header.seq != greatest + 1).then(|| format!("seq {} does not follow seq {greatest} of its prev", header.seq))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().expect("no thread panics while it holds the queue")
    }
}

/// The oldest jobs, up to [`COMMIT_ENTRIES`] or one job.
fn take_some(jobs: &mut Vec<Waiting>) -> Vec<Waiting> {
    let mut entries = 0;
    let fits = jobs.iter().take_while(|waiting| {
        let fits = entries == 0 || entries + waiting.job.len() <= COMMIT_ENTRIES;
        entries += waiting.job.len();
        fits
    });
    let count = fits.count();
    jobs.drain(..count).collect()
}

impl Job {
    const fn len(&self) -> usize {
        match self {
            Self::Write(entries) => entries.len(),
            Self::Import(entries, _) => entries.len(),
            Self::Share(entries, _) => entries.len(),
            Self::Rows(_) => 1,
        }
    }
}

/// One committer's turn. Ends in any case with the queue free and an answer
/// for every job, so that a panic does not leave other threads waiting.
struct Shift<'a> {
    committer: &'a Committer,
    jobs: Option<Vec<Waiting>>,
}

impl Shift<'_> {
    fn work(mut self, store: &Store) {
        let mut jobs = std::mem::take(self.jobs.get_or_insert_default());
        // What one actor writes lies together, for one signature over it. The
        // jobs came at the same time, so their order is free.
        jobs.sort_by_key(|waiting| match &waiting.job {
            Job::Write(entries) => entries.first().map(|entry| entry.signer.actor()),
            Job::Import(..) | Job::Share(..) | Job::Rows(_) => None,
        });
        let (work, answers): (Vec<Job>, Vec<_>) = jobs.into_iter().map(|waiting| (waiting.job, waiting.answer)).unzip();
        self.jobs = Some(
            answers.iter().map(|answer| Waiting { job: Job::Write(vec![]), answer: Arc::clone(answer) }).collect(),
        );
        let results = commit(self.committer, store, work);
        for (answer, result) in answers.iter().zip(results) {
            *answer.lock().expect("answers are only put and taken") = Some(result);
        }
    }
}

impl Drop for Shift<'_> {
    fn drop(&mut self) {
        for waiting in self.jobs.iter().flatten() {
            let mut answer = waiting.answer.lock().expect("answers are only put and taken");
            if answer.is_none() && std::thread::panicking() {
                *answer = Some(Err(Error::damaged("the committer", "it stopped in the middle of a commit")));
            }
        }
        self.committer.lock().busy = false;
        self.committer.changed.notify_all();
    }
}

/// Stages all jobs, commits what was accepted, and answers each.
fn commit(committer: &Committer, store: &Store, jobs: Vec<Job>) -> Vec<Answer> {
    let mut stage = Stage::new(committer, store);
    let staged: Vec<Result<Done>> = jobs.into_iter().map(|job| stage.job(job)).collect();
    let ticket = match stage.commit() {
        Ok(ticket) => ticket,
        Err(problem) => return staged.into_iter().map(|_| Err(problem.clone())).collect(),
    };
    staged.into_iter().map(|done| done.map(|done| (done, ticket))).collect()
}

/// An entry that waits for the commit.
struct Staged {
    tag: Tag,
    header: Header,
    id: EntryId,
    signing: Signing,
    record: LooseRecord,
    /// Whether the store has nothing of its thing.
    is_new: bool,
}

enum Signing {
    /// By a key of this node, when it is known what lies together.
    Due(Arc<SigningKey>),
    Done(Signature),
}

/// What a thing looks like to the next entry of this commit: as it is in the
/// store, and what this commit changes. It may have very many heads.
#[derive(Clone)]
struct Tip {
    state: Option<Arc<State>>,
    /// Heads of the store that entries of this commit follow.
    joined: Heads<EntryId>,
    /// Heads that this commit makes.
    made: Heads<Head>,
}

impl Tip {
    fn new(state: Option<Arc<State>>) -> Self {
        Self { state, joined: Heads::default(), made: Heads::default() }
    }

    fn heads(&self) -> impl Iterator<Item = Head> {
        let stored = self.state.iter().flat_map(|state| state.heads());
        stored.filter(|head| !self.joined.contains(&head.id)).chain(self.made.iter().copied())
    }

    fn head(&self, id: &EntryId) -> Option<Head> {
        self.made.get(id).copied().or_else(|| self.stored_head(id))
    }

    fn stored_head(&self, id: &EntryId) -> Option<Head> {
        let head = self.state.as_ref()?.heads.get(id)?;
        (!self.joined.contains(id)).then(|| head.head())
    }

    /// An entry follows `prev` and is a head itself.
    fn push(&mut self, head: Head, prev: &[EntryId]) {
        for id in prev {
            if self.made.remove(id).is_none() && self.stored_head(id).is_some() {
                self.joined.insert(*id);
            }
        }
        self.made.insert(head);
    }
}

/// Everything that one commit will write.
struct Stage<'a> {
    committer: &'a Committer,
    store: &'a Store,
    now: u64,
    entries: Vec<Staged>,
    /// Where in `entries` one from elsewhere is.
    by_id: HashMap<EntryId, usize>,
    tips: TagMap<Tip>,
    /// Prev that were looked for.
    places: Places,
    /// The seqs of the entries of the import at hand.
    arriving: HashMap<EntryId, u64>,
    /// Tips as they were before the job at hand, if it is not the first.
    undo: TagMap<Tip>,
    is_first: bool,
    /// Blocks with completed records: their bytes before and after.
    rewritten: HashMap<u64, (Vec<u8>, Vec<u8>)>,
    /// Entries of before that are completed.
    changed: Changed,
    /// The node from which the import at hand comes.
    from: Option<Origin>,
    batch: Batch,
}

impl<'a> Stage<'a> {
    fn new(committer: &'a Committer, store: &'a Store) -> Self {
        Self {
            committer,
            store,
            now: (committer.clock)(),
            entries: Vec::new(),
            by_id: HashMap::new(),
            tips: TagMap::default(),
            places: Places::default(),
            arriving: HashMap::new(),
            undo: TagMap::default(),
            is_first: true,
            rewritten: HashMap::new(),
            changed: Changed::new(),
            from: None,
            batch: Batch::new(),
        }
    }

    fn job(&mut self, job: Job) -> Result<Done> {
        self.undo.clear();
        self.from = None;
        let before = self.entries.len();
        self.is_first = before == 0;
        let done = match job {
            Job::Write(entries) => {
                entries.into_iter().map(|entry| self.write(entry)).collect::<Result<_>>().map(Done::Written)
            }
            Job::Import(entries, from) => {
                self.from = from;
                self.import_all(entries).map(Done::Imported)
            }
            Job::Share(entries, to) => self.share(entries, &to).map(Done::Shared),
            Job::Rows(rows) => {
                self.batch.append(rows);
                Ok(Done::Rows)
            }
        };
        if done.is_err() {
            for staged in self.entries.drain(before..) {
                self.by_id.remove(&staged.id);
            }
            self.tips.extend(self.undo.drain());
            if self.is_first {
                self.tips.clear();
            }
        }
        done
    }

    /// Gives a sealed draft its place.
    fn write(&mut self, new: NewEntry) -> Result<Receipt> {
        let tip = self.tip(&new.tag)?;
        let is_new = tip.state.is_none();
        let heads: Vec<Head> = tip.heads().collect();
        if let Some(expected) = new.expect {
            let holds = match &expected {
                Expect::Absent => heads.is_empty(),
                Expect::Head(id) => matches!(&heads[..], [head] if head.id == *id),
                Expect::Heads(ids) => heads.len() == ids.len() && heads.iter().all(|head| ids.contains(&head.id)),
            };
            if !holds {
                return Err(Error::Conflict { thing: new.thing, expected, heads });
            }
        }
        // An entry joins all heads, or the greatest if there are too many.
        let mut joined = heads;
        joined.sort_unstable_by_key(|head| std::cmp::Reverse((head.seq, head.time, head.id)));
        joined.truncate(header::MAX_PREV);
        let mut prev: Vec<EntryId> = joined.iter().map(|head| head.id).collect();
        prev.sort_unstable();
        let seq = joined.first().map_or(0, |head| head.seq) + 1;
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
        let mut record = LooseRecord::new(&header_bytes, Some(new.sealed.payload));
        if !new.to.is_empty() {
            record.envelopes.push(self.seal_to(&new.to, &id, &new.cek)?);
        }
        record.cek = new.keep_cek.then_some(new.cek);
        let staged = Staged { tag: new.tag, id, header, signing: Signing::Due(new.signer), record, is_new };
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
        self.look_for_prev(&entries)?;
        entries
            .into_iter()
            .map(|entry| match self.import(entry) {
                // A record here that is damaged stops none but who needs it.
                Err(Error::Damaged { what, detail }) => Ok(Fate::Refused(format!("{what} is damaged here: {detail}"))),
                fate => fate,
            })
            .collect()
    }

    /// Finds those prev that are neither heads, nor in this import, nor where a
    /// single prev has to be.
    fn look_for_prev(&mut self, entries: &[Arrived]) -> Result<()> {
        self.arriving = entries.iter().map(|arrived| (arrived.id, arrived.header.seq)).collect();
        self.by_id.reserve(entries.len());
        let mut wanted: HashMap<Tag, HashSet<EntryId>> = HashMap::new();
        for arrived in entries {
            let header = &arrived.header;
            for prev in &header.prev {
                if self.arriving.contains_key(prev) {
                    continue;
                }
                match self.place_of(&arrived.tag, prev, header.seq) {
                    Ok(None) => drop(wanted.entry(arrived.tag).or_default().insert(*prev)),
                    Err(problem) if !problem.is_damaged() => return Err(problem),
                    _ => {}
                }
            }
        }
        for (tag, ids) in wanted {
            match self.places.look_for(self.store, &tag, &ids) {
                Err(problem) if !problem.is_damaged() => return Err(problem),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks the links of an entry from elsewhere and takes it in.
    fn import(&mut self, arrived: Arrived) -> Result<Fate> {
        if let Some(fate) = self.known(&arrived)? {
            return Ok(fate);
        }
        let header = &arrived.header;
        if let Some(reason) = self.committer.untimely(header) {
            return Ok(Fate::Refused(reason));
        }
        let mut places = Vec::with_capacity(header.prev.len());
        for prev in &header.prev {
            let Some(place) = self.place_of(&arrived.tag, prev, header.seq)? else {
                return Ok(Fate::MissingPrev(*prev, Box::new(arrived)));
            };
            places.push(place);
        }
        if let Some(reason) = Committer::refusal(header, &places) {
            return Ok(Fate::Refused(reason));
        }
        let Arrived { id, tag, header, signature, mut record, envelopes } = arrived;
        for packed in envelopes {
            packed.join(&mut record.envelopes, self.committer, self.store, &mut self.batch)?;
        }
        let is_new = self.tip(&tag)?.state.is_none();
        self.by_id.insert(id, self.entries.len());
        self.push(Staged { tag, id, header, signing: Signing::Done(signature), record, is_new })?;
        Ok(Fate::Added)
    }

    fn push(&mut self, staged: Staged) -> Result<()> {
        let head = Head { id: staged.id, seq: staged.header.seq, time: staged.header.time };
        let Self { store, tips, undo, is_first, .. } = self;
        let tip = tip_of(store, tips, &staged.tag)?;
        if !*is_first {
            undo.entry(staged.tag).or_insert_with(|| tip.clone());
        }
        tip.push(head, &staged.header.prev);
        self.entries.push(staged);
        Ok(())
    }

    /// A thing as this commit leaves it so far.
    fn tip(&mut self, tag: &Tag) -> Result<&Tip> {
        tip_of(self.store, &mut self.tips, tag).map(|tip| &*tip)
    }

    /// Seq and time of an entry that another one follows. If it does not stand
    /// just before, it is known if it was [looked for](Self::look_for_prev).
    fn place_of(&mut self, tag: &Tag, id: &EntryId, before: u64) -> Result<Option<(u64, Time)>> {
        let tip = self.tip(tag)?;
        if let Some(head) = tip.head(id) {
            return Ok(Some((head.seq, head.time)));
        }
        let state = tip.state.clone();
        if let Some(staged) = self.by_id.get(id).and_then(|at| self.entries.get(*at)) {
            return Ok((staged.tag == *tag).then_some((staged.header.seq, staged.header.time)));
        }
        if let Some(place) = self.places.get(tag, id) {
            return Ok(Some(place));
        }
        let Some(state) = state else { return Ok(None) };
        // A copy of it in the same import tells where it is if it is here.
        let seq = self.arriving.get(id).copied().unwrap_or_else(|| before.saturating_sub(1));
        let found = self.store.find(tag, &state, id, Some(seq))?;
        Ok(found.map(|found| (found.header.seq, found.header.time)))
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
        self.add(found.position, record.payload(), record.cek.as_ref(), arrived.envelopes.clone())
    }

    /// The same for an entry that came in this commit.
    fn complete_staged(&mut self, at: usize, arrived: &Arrived) -> Result<bool> {
        let Self { committer, store, batch, entries, .. } = self;
        let Some(staged) = entries.get_mut(at) else { return Ok(false) };
        let record = &mut staged.record;
        let mut changed = record.complete(arrived.record.payload());
        if let (None, Some(cek)) = (&record.cek, &arrived.record.cek) {
            record.cek = Some(Cek::from_bytes(*cek.as_bytes()));
            changed = true;
        }
        for packed in arrived.envelopes.iter().cloned() {
            changed |= packed.join(&mut record.envelopes, committer, store, batch)?;
        }
        Ok(changed)
    }

    /// Seals entries to more recipients.
    fn share(&mut self, entries: Vec<Shared>, to: &[EncryptionKey]) -> Result<u64> {
        let mut shared = 0;
        for Shared { position, id, cek } in entries {
            let envelope = self.seal_to(to, &id, &cek)?;
            shared += u64::from(self.add(position, None, None, vec![Packed::made_here(envelope)])?);
        }
        Ok(shared)
    }

    /// Adds to the record at `position` what it lacks. Where there is no room
    /// for an envelope, one that this node makes takes the place of the oldest
    /// that came from elsewhere: nobody can say what that one opens.
    fn add(
        &mut self,
        position: u64,
        payload: Option<&[u8]>,
        cek: Option<&Cek>,
        envelopes: Vec<Packed>,
    ) -> Result<bool> {
        let (first, original) = self.store.block_of(position)?;
        let bytes = self.rewritten.get(&first).map_or_else(|| original.clone(), |(_, after)| after.clone());
        let block = Block::from_bytes(first, &bytes)?;
        let slot = u8::try_from(position - first).expect("a block has at most 255 records");
        // Read again: an earlier entry of this commit may have added to it.
        let mut record = self.store.located_in(&block, first, slot)?.stored;
        let mut changed = false;
        if matches!(record.payload, StoredPayload::Absent)
            && let Some(payload) = payload
        {
            record.payload = self.place_payload(position, payload)?;
            changed = true;
        }
        if record.cek.is_none()
            && let Some(cek) = cek
        {
            record.cek = Some(*cek.as_bytes());
            changed = true;
        }
        for packed in envelopes {
            changed |= packed.join(&mut record.envelopes, self.committer, self.store, &mut self.batch)?;
        }
        if changed {
            let key = self.store.segment_key(position)?;
            let after = block.with_record(slot, &stored::seal_record(&key, position, &record));
            self.rewritten.insert(first, (original, after));
            change::note(&mut self.changed, position, self.from);
        }
        Ok(changed)
    }

    /// Seals a CEK to a set of recipients, under the KEK that is in use for it.
    fn seal_to(&mut self, to: &[EncryptionKey], id: &EntryId, cek: &Cek) -> Result<StoredEnvelope> {
        let mut keks = self.committer.keks.lock().expect("no thread panics while it holds the keys");
        if keks.get(to).is_none_or(SharedKek::is_spent) {
            keks.insert(to.to_vec(), SharedKek::new(self.committer.origin, to)?);
        }
        let shared = keks.get_mut(to).expect("it was put there if it was not");
        shared.used += 1;
        let stored = StoredEnvelope {
            from: self.committer.origin.0,
            cek: envelope::seal_cek(&shared.kek, id, cek),
            packets: shared.name,
        };
        place_packets(self.committer, self.store, &mut self.batch, shared.name, &shared.packets)?;
        Ok(stored)
    }

    /// Puts large payloads into rows of their own.
    fn place_payload(&mut self, position: u64, payload: &[u8]) -> Result<StoredPayload> {
        if payload.len() <= INLINE_PAYLOAD_BYTES {
            return Ok(StoredPayload::Inline(payload.to_vec()));
        }
        self.place_parts(position, payload)?;
        Ok(StoredPayload::Parts)
    }

    fn place_parts(&mut self, position: u64, payload: &[u8]) -> Result<()> {
        let key = self.store.segment_key_to_write(position)?;
        for (part, bytes) in (0..).zip(payload.chunks(PART_BYTES)) {
            let row = schema::part(position, part);
            let sealed = key.seal(&row, bytes, &mut rand::rng());
            self.batch.put(row, sealed);
        }
        Ok(())
    }

    /// Signs, seals, commits, and then changes memory.
    fn commit(mut self) -> Result<Option<Ticket>> {
        if self.entries.is_empty() && self.rewritten.is_empty() && self.batch.is_empty() {
            return Ok(None);
        }
        let base = self.store.size();
        let entries = std::mem::take(&mut self.entries);
        let runs = runs(&entries);
        let mut ledger = self.store.tree();
        for staged in &entries {
            ledger.push(&staged.id, &self.store.rows, &mut self.batch);
        }
        let slots = self.lay_out(&entries, base, &runs)?;
        for (first, (before, after)) in std::mem::take(&mut self.rewritten) {
            self.batch.expect_value(schema::block(first), before);
            self.batch.put(schema::block(first), after);
        }
        let revision = change::log(self.store, std::mem::take(&mut self.changed), &mut self.batch)?;
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
        if let Err(problem) = self.store.index.apply(&*self.store.storage, &self.store.rows, &indexed) {
            self.committer.close(problem.clone());
            return Err(problem);
        }
        let end = base + entries.len() as u64;
        if let Some(flush) = self.store.index.due_rows(&self.store.rows, end) {
            // The entries are in; rows that could not be written are made anew
            // at the next opening.
            if self.store.commit(flush.batch).is_ok() {
                self.store.index.written(&flush.tags);
            }
        }
        Ok(Some(ticket))
    }

    /// Packs records into blocks and puts these into the batch. Returns the
    /// slot of each record.
    fn lay_out(&mut self, entries: &[Staged], base: u64, runs: &[Run]) -> Result<Vec<u8>> {
        let mut slots = Vec::with_capacity(entries.len());
        let mut block = OpenBlock::at(self.store, base)?;
        let mut open = OpenRecord::default();
        let mut start = 0;
        for run in runs {
            let some = &entries[start..start + run.len];
            let signing = run.sign(some, base + start as u64);
            let head = match &signing {
                RunSignature::Head(head) => Some(*head),
                _ => None,
            };
            for (position, staged) in (base + start as u64..).zip(some) {
                let signature = match &signing {
                    RunSignature::Head(_) => StoredSignature::Local,
                    RunSignature::Single(value) => StoredSignature::Single(*value),
                    RunSignature::AsArrived => match &staged.signing {
                        Signing::Done(signature) => signature.into(),
                        Signing::Due(_) => unreachable!("runs of entries to sign are signed"),
                    },
                };
                if let Some(payload) = staged.record.large_payload() {
                    self.place_parts(position, payload)?;
                }
                staged.record.lay_out(&signature, &mut open);
                if !block.takes(position, open.sealed_len(), head.as_ref()) {
                    block.close(&mut self.batch);
                    block = OpenBlock::at(self.store, position)?;
                }
                slots.push(block.push(position, &open, head));
            }
            start += run.len;
        }
        block.close(&mut self.batch);
        Ok(slots)
    }
}

/// A thing as a commit leaves it so far.
fn tip_of<'t>(store: &Store, tips: &'t mut TagMap<Tip>, tag: &Tag) -> Result<&'t mut Tip> {
    match tips.entry(*tag) {
        hash_map::Entry::Occupied(known) => Ok(known.into_mut()),
        hash_map::Entry::Vacant(free) => Ok(free.insert(Tip::new(store.state(tag)?))),
    }
}

/// Puts a row of KEK packets into the batch, unless it is known to be there.
fn place_packets(
    committer: &Committer,
    store: &Store,
    batch: &mut Batch,
    name: [u8; 16],
    packets: &[u8],
) -> Result<()> {
    let mut stored = committer.stored_packets.lock().expect("no thread panics while it holds this");
    if !stored.contains(&name) {
        let row = schema::kek(&name);
        if store.storage.get(&row)?.is_none() {
            let sealed = store.rows.seal(&row, packets);
            batch.put(row, sealed);
        }
        if stored.len() > 10_000 {
            stored.clear();
        }
        stored.insert(name);
    }
    Ok(())
}

/// An envelope on its way into a record. Its packets get their row when the
/// record takes it: whoever sends copies of an entry with ever new envelopes
/// must not fill the disk with their packets.
#[derive(Clone)]
pub(crate) struct Packed {
    stored: StoredEnvelope,
    /// Nothing if they have their row.
    packets: Option<Arc<[u8]>>,
}

impl Packed {
    fn new(envelope: &Envelope, memo: &mut PacketsMemo) -> Self {
        let (name, packets) = memo.encode(&envelope.recipients);
        Self { stored: StoredEnvelope::new(envelope, name), packets: Some(packets) }
    }

    /// One that this node made, its packets in their row.
    const fn made_here(stored: StoredEnvelope) -> Self {
        Self { stored, packets: None }
    }

    /// Whether there was room for it, and it was not there.
    fn join(
        self,
        envelopes: &mut Vec<StoredEnvelope>,
        committer: &Committer,
        store: &Store,
        batch: &mut Batch,
    ) -> Result<bool> {
        if envelopes.contains(&self.stored) {
            return Ok(false);
        }
        if envelopes.len() >= envelope::MAX_ENVELOPES {
            // Those of others do not keep out this node's own.
            let elsewhere = envelopes.iter().position(|known| known.from() != committer.origin);
            match elsewhere.filter(|_| self.packets.is_none()) {
                Some(at) => drop(envelopes.remove(at)),
                None => return Ok(false),
            }
        }
        if let Some(packets) = &self.packets {
            place_packets(committer, store, batch, self.stored.packets, packets)?;
        }
        envelopes.push(self.stored);
        Ok(true)
    }
}

/// A block that is being filled.
struct OpenBlock {
    first: u64,
    /// Of the block's segment.
    key: Arc<SealKey>,
    head: Option<BatchHead>,
    bytes: BlockBytes,
}

impl OpenBlock {
    fn at(store: &Store, first: u64) -> Result<Self> {
        let key = store.segment_key_to_write(first)?;
        Ok(Self { first, key, head: None, bytes: BlockBytes::default() })
    }

    fn takes(&self, position: u64, bytes: usize, head: Option<&BatchHead>) -> bool {
        self.bytes.len() == 0
            || (self.bytes.bytes() + bytes <= BLOCK_BYTES
                && self.bytes.len() < BLOCK_RECORDS as u64
                && self.head.as_ref() == head
                && position / SEGMENT_POSITIONS == self.first / SEGMENT_POSITIONS)
    }

    fn push(&mut self, position: u64, record: &OpenRecord, head: Option<BatchHead>) -> u8 {
        let slot = u8::try_from(self.bytes.len()).expect("a block has at most 255 records");
        self.head = head;
        self.bytes.push(&self.key, position, record);
        slot
    }

    fn close(&self, batch: &mut Batch) {
        if self.bytes.len() == 0 {
            return;
        }
        let head = self.head.as_ref().map(|head| stored::seal_head(&self.key, self.first, head));
        // No guard that the row is absent: there is one committer, and a guard
        // would cost every put a read.
        batch.put(schema::block(self.first), self.bytes.finish(&head.unwrap_or_default()));
    }
}

/// Entries side by side that share a signature, or a single one.
struct Run {
    len: usize,
    whole_batch: bool,
}

enum RunSignature {
    Single([u8; 64]),
    Head(BatchHead),
    AsArrived,
}

impl Run {
    fn sign(&self, entries: &[Staged], first: u64) -> RunSignature {
        let size = self.len as u32;
        match entries {
            [Staged { signing: Signing::Due(key), record, .. }] => {
                RunSignature::Single(signature::sign_single(key, record.header()))
            }
            [Staged { signing: Signing::Due(key), .. }, ..] => {
                let root: Hash = merkle::root(entries.iter().map(|staged| merkle::leaf(&staged.id)));
                RunSignature::Head(BatchHead { first, size, value: signature::sign_batch(key, size, &root) })
            }
            [Staged { signing: Signing::Done(signature), .. }, ..] if self.whole_batch => {
                RunSignature::Head(BatchHead { first, size, value: *signature.value() })
            }
            _ => RunSignature::AsArrived,
        }
    }
}

/// Splits the entries of a commit into runs.
fn runs(entries: &[Staged]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut rest = entries;
    while let [first, ..] = rest {
        let run = match &first.signing {
            Signing::Due(key) => {
                let actor = key.actor();
                let same = |staged: &&Staged| matches!(&staged.signing, Signing::Due(key) if key.actor() == actor);
                Run { len: rest.iter().take(BATCH_ENTRIES).take_while(same).count(), whole_batch: false }
            }
            Signing::Done(Signature::Batch(batch)) => {
                let follows = |(index, staged): &(u32, &Staged)| {
                    matches!(&staged.signing, Signing::Done(Signature::Batch(other))
                        if other.value == batch.value && other.size == batch.size && other.index == *index)
                };
                let len = (0..).zip(rest).take_while(follows).count();
                if len == batch.size as usize {
                    Run { len, whole_batch: true }
                } else {
                    Run { len: 1, whole_batch: false }
                }
            }
            Signing::Done(_) => Run { len: 1, whole_batch: false },
        };
        rest = &rest[run.len..];
        runs.push(run);
    }
    runs
}

pub(crate) fn id8(id: &EntryId) -> [u8; 8] {
    *id.0.first_chunk().expect("ids have 32 bytes")
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

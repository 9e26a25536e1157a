//! Reads the ledger in order and has each entry checked by itself, on all
//! cores.
//!
//! One thread reads blocks and cuts them into units that never cut a batch, so
//! that whoever checks a unit has all ids that a batch signature covers.

use std::collections::{BTreeMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use thingdb_format::erasure::Erasure;
use thingdb_format::signature::{self, BatchMemo};
use thingdb_format::{EntryId, Hash, Header, key_record, merkle, payload};

use super::report::Verdict;
use crate::error::{Error, Result};
use crate::progress;
use crate::prototype;
use crate::store::block::Block;
use crate::store::erasures::ErasedBy;
use crate::store::holes;
use crate::store::schema::{self, Tag};
use crate::store::stored::{BatchHead, StoredPayload};
use crate::store::{Located, Store, located_in};
use crate::threads;

const NO_BLOCK: &str = "its block is missing";

/// Blocks in a unit, unless a batch needs more.
const UNIT_BLOCKS: usize = 64;

/// What was found at one ledger position.
pub(super) struct Finding {
    pub(super) position: u64,
    /// Nothing if the record could not be read.
    pub(super) entry: Option<Seen>,
    /// What is wrong with the entry by itself.
    pub(super) problems: Vec<(Verdict, String)>,
}

/// An entry, as far as the checks between entries need it.
pub(super) struct Seen {
    pub(super) tag: Tag,
    pub(super) header: Header,
    pub(super) id: EntryId,
    pub(super) leaf: Hash,
    /// Intact, stub, undecryptable, erased or lost.
    pub(super) content: Verdict,
    /// What was found of its original, if it is a migrated entry.
    pub(super) original: Option<Box<prototype::Checked>>,
    /// Whether it is an erasure record that lists what it must not erase.
    pub(super) is_refused_erasure: bool,
}

/// Blocks that one worker checks.
struct Unit {
    number: u64,
    blocks: Vec<(u64, Vec<u8>)>,
}

/// Positions of which no record can be read, and why. None for a row that is
/// at no position.
pub(super) struct Gap {
    pub(super) positions: Range<u64>,
    pub(super) detail: String,
}

/// A stretch of the ledger, checked.
pub(super) struct Stretch {
    pub(super) findings: Vec<Finding>,
    /// Ascending.
    pub(super) gaps: Vec<Gap>,
}

/// What a worker remembers from one entry to the next.
#[derive(Default)]
pub(super) struct Memo {
    batch: BatchMemo,
    /// Rows of KEK packets that open.
    packets: HashSet<Vec<u8>>,
    /// The erasure record that was looked at last, and its header.
    erasure: Option<(ErasedBy, Header, Erasure)>,
}

/// Rows of packets that a worker remembers.
const MAX_PACKETS: usize = 4096;

/// How often it is asked whether the work is still wanted, while workers are at
/// a unit: that may be some ten thousand entries.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Goes through the ledger's first `size` positions and gives `take` each
/// stretch, in order, for as long as that is wanted.
pub(super) fn ledger(
    store: &Store,
    size: u64,
    many: usize,
    is_wanted: progress::Wanted<'_>,
    mut take: impl FnMut(Stretch) -> Result<()>,
) -> Result<()> {
    let is_left = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (to_workers, units) = bounded::<Handed>(many * 2);
        let (results, from_workers) = bounded::<Result<(u64, Stretch)>>(many * 2);
        threads::start(scope, &store.dir, many, || {
            let (units, results) = (units.clone(), results.clone());
            move || work(store, &units, &results, is_left)
        })?;
        threads::start_one(scope, &store.dir, move || read(store, size, &to_workers))?;
        drop((units, results));
        let mut early = BTreeMap::new();
        let mut next = 0;
        // When this returns early the channels close, and the threads end.
        loop {
            progress::go_on(is_wanted).inspect_err(|_| is_left.store(true, Ordering::Relaxed))?;
            let result = match from_workers.recv_timeout(ASK_EVERY) {
                Ok(result) => result,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let (number, stretch) = result?;
            early.insert(number, stretch);
            while let Some(stretch) = early.remove(&next) {
                next += 1;
                take(stretch)?;
            }
        }
    })
}

type Handed = Result<(Unit, Vec<Gap>)>;

fn read(store: &Store, size: u64, to_workers: &Sender<Handed>) {
    let mut unit = Unit { number: 0, blocks: Vec::new() };
    let mut gaps = Vec::new();
    let mut expected = 0;
    let mut reason = NO_BLOCK.to_owned();
    // Until where the batch at hand goes on.
    let mut batch_end = 0;
    let walked = holes::each_row(&*store.storage, &schema::blocks_between(0, size), |row| {
        let (key, bytes) = match row {
            Ok(row) => row,
            Err(problem) => {
                reason = holes::unreadable(&problem);
                return Ok(ControlFlow::Continue(()));
            }
        };
        let Some(first) = schema::first_of_block(&key) else {
            let detail = "a row among the blocks is none".to_owned();
            gaps.push(Gap { positions: expected..expected, detail });
            return Ok(ControlFlow::Continue(()));
        };
        if first > expected {
            gaps.push(Gap { positions: expected..first, detail: reason.clone() });
        }
        let is_behind = first < expected;
        expected = expected.max(first);
        let block = match store.open_block(first, &bytes) {
            Ok(block) => block,
            Err(problem) => {
                // A gap as far as the next block.
                reason = format!("its block: {}", holes::detail_of(&problem));
                return Ok(ControlFlow::Continue(()));
            }
        };
        NO_BLOCK.clone_into(&mut reason);
        let end = first.saturating_add(block.len() as u64);
        if is_behind && end <= expected {
            // The block before was read, and written anew as two meanwhile.
            if is_covered(store, first) {
                let detail = format!("the block at position {first} lies within another one");
                gaps.push(Gap { positions: expected..expected, detail });
            }
            return Ok(ControlFlow::Continue(()));
        }
        let of_batches = block.end_of_batches();
        if unit.blocks.len() >= UNIT_BLOCKS && first >= batch_end {
            let number = unit.number + 1;
            let full = std::mem::replace(&mut unit, Unit { number, blocks: Vec::new() });
            if to_workers.send(Ok((full, std::mem::take(&mut gaps)))).is_err() {
                return Ok(ControlFlow::Break(()));
            }
        }
        batch_end = batch_end.max(of_batches);
        expected = expected.max(end);
        unit.blocks.push((first, bytes));
        Ok(ControlFlow::Continue(()))
    });
    if let Err(problem) = walked {
        let _ = to_workers.send(Err(problem));
        return;
    }
    if expected < size {
        gaps.push(Gap { positions: expected..size, detail: reason });
    }
    let _ = to_workers.send(Ok((unit, gaps)));
}

/// Whether a position lies in the block before the one that begins there.
fn is_covered(store: &Store, first: u64) -> bool {
    let before = first.checked_sub(1).and_then(|last| store.block_of(last).ok());
    before.is_some_and(|(at, bytes)| Block::from_bytes(at, &bytes).is_ok_and(|block| at + block.len() as u64 > first))
}

fn work(store: &Store, units: &Receiver<Handed>, results: &Sender<Result<(u64, Stretch)>>, is_left: &AtomicBool) {
    let mut memo = Memo::default();
    for handed in units {
        let result = handed.map(|(unit, gaps)| {
            let findings = check_unit(store, &unit, &mut memo, is_left);
            (unit.number, Stretch { findings, gaps })
        });
        if results.send(result).is_err() {
            return;
        }
    }
}

/// A batch of which blocks are being checked.
struct OpenBatch {
    head: BatchHead,
    /// Where its findings begin.
    from: usize,
    /// The leaves that were found, by position.
    leaves: BTreeMap<u64, Hash>,
}

/// Checks what is in a unit; nobody wants what is left of it once the work is
/// left.
fn check_unit(store: &Store, unit: &Unit, memo: &mut Memo, is_left: &AtomicBool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut batch: Option<OpenBatch> = None;
    for (first, bytes) in &unit.blocks {
        // One that does not open was taken for a gap.
        let Ok(mut block) = store.open_block(*first, bytes) else { continue };
        if is_left.load(Ordering::Relaxed) {
            return findings;
        }
        for (position, slot) in (*first..=u64::MAX).zip(0..=u8::MAX).take(block.len()) {
            match located_in(&mut block, slot) {
                Ok(located) => {
                    let finding = check(store, &located, memo);
                    let head = located.stored.signature.batch();
                    if batch.as_ref().map(|batch| &batch.head) != head {
                        close(store, batch.take(), &mut findings, memo);
                        batch =
                            head.map(|head| OpenBatch { head: *head, from: findings.len(), leaves: BTreeMap::new() });
                    }
                    if let (Some(batch), Some(seen)) = (&mut batch, &finding.entry) {
                        batch.leaves.insert(position, seen.leaf);
                    }
                    findings.push(finding);
                }
                Err(problem) => findings.push(unreadable(position, &problem)),
            }
        }
    }
    close(store, batch, &mut findings, memo);
    findings
}

fn unreadable(position: u64, problem: &Error) -> Finding {
    let detail = match problem {
        Error::Damaged { detail, .. } => format!("the record: {detail}"),
        problem => problem.to_string(),
    };
    Finding { position, entry: None, problems: vec![(Verdict::Unreadable, detail)] }
}

/// Checks the signature of a batch over the ids that were found for it; if it
/// does not hold, it holds for none of them.
fn close(store: &Store, batch: Option<OpenBatch>, findings: &mut [Finding], memo: &mut Memo) {
    let Some(OpenBatch { head, from, leaves }) = batch else { return };
    let members = &mut findings[from..];
    let actor = members.iter().find_map(|finding| finding.entry.as_ref()).map(|seen| seen.header.actor);
    let Some(actor) = actor else { return };
    let found = leaves.len();
    let problem = match all_leaves(store, &head, leaves) {
        None => Some(format!("its batch of {} entries has {found} left to check the signature over", head.size)),
        Some(leaves) => {
            let root = merkle::root(leaves);
            let verifier = store.verifier(&actor);
            let good = verifier.and_then(|verifier| memo.batch.verify(&verifier, head.size, &root, &head.value));
            good.err().map(|problem| problem.to_string())
        }
    };
    for finding in members {
        let Some(seen) = &finding.entry else { continue };
        if let Some(problem) = &problem {
            finding.problems.push((Verdict::BadSignature, problem.clone()));
        } else if seen.header.actor != actor {
            let detail = "its batch is signed by another actor".to_owned();
            finding.problems.push((Verdict::BadSignature, detail));
        }
    }
}

/// The leaves of a batch in order. For entries that cannot be read the ledger's
/// tree has the ids; if it had other ones, the signature would not hold.
fn all_leaves(store: &Store, head: &BatchHead, mut found: BTreeMap<u64, Hash>) -> Option<Vec<Hash>> {
    let end = head.first.checked_add(u64::from(head.size))?;
    if found.len() != head.size as usize {
        let ids = store.with_tree(|tree| tree.ids(head.first, end.min(tree.size()))).ok()?;
        for (position, id) in (head.first..).zip(ids) {
            found.entry(position).or_insert_with(|| merkle::leaf(&id));
        }
    }
    let whole = found.len() == head.size as usize && found.keys().next() == Some(&head.first);
    whole.then(|| found.into_values().collect())
}

/// Checks what an entry says of itself.
pub(super) fn check(store: &Store, located: &Located, memo: &mut Memo) -> Finding {
    let mut problems = Vec::new();
    let header = &located.header;
    match store.verifier(&header.actor) {
        Err(problem) => problems.push((Verdict::BadSignature, problem.to_string())),
        Ok(verifier) => {
            if let Some(signature) = located.stored.signature.alone() {
                let good = signature.verify_with(&verifier, &located.stored.header, &located.id, &mut memo.batch);
                problems.extend(good.err().map(|problem| (Verdict::BadSignature, problem.to_string())));
            } else if located.stored.signature.batch().is_none() {
                problems.push((Verdict::BadSignature, "the signature of its batch is over no batch".to_owned()));
            }
        }
    }
    let Content { verdict: content, original, is_refused_erasure } = content(store, located, &mut problems, memo);
    let fault = original.as_ref().and_then(|original| original.fault.clone());
    problems.extend(fault.map(|fault| (Verdict::BadOriginal, fault)));
    for envelope in &located.stored.masked_envelopes {
        let row = envelope.row(located.position);
        if memo.packets.contains(&row) {
            continue;
        }
        match store.packets(located.position, envelope) {
            Ok(_) if memo.packets.len() < MAX_PACKETS => drop(memo.packets.insert(row)),
            Ok(_) => {}
            Err(problem) => problems.push((Verdict::Unreadable, format!("an envelope: {problem}"))),
        }
    }
    if store.lacks_record(&header.thing, located.position) {
        let fact = "the row that keeps what it says is missing: thingdb doctor --fix";
        problems.push((Verdict::LostKeyRecord, fact.to_owned()));
    }
    let is_log = key_record::first_key(&header.thing).is_some();
    match store.is_disbelieved(&store.keys.logs(), &header.actor, Some(located.position)) {
        Ok(true) if !is_log => {
            let name = store.name_of(&header.actor).unwrap_or_else(|| "an actor".to_owned());
            let fact =
                format!("signed by a revoked key of {name}, and not shown to be from before; the key {}", header.actor);
            problems.push((Verdict::RevokedKey, fact));
        }
        Ok(_) => {}
        Err(problem) => problems.push((Verdict::Unreadable, format!("the ledger: {problem}"))),
    }
    if !is_log && !store.trusts(&header.actor) {
        problems.push(match store.withdrawn().actors.get(&header.actor) {
            Some(name) => (
                Verdict::WithdrawnActor,
                format!("signed by {name}, in whom trust was withdrawn; the key {}", header.actor),
            ),
            None => (Verdict::UnknownActor, unknown(store, located)),
        });
    }
    Finding {
        position: located.position,
        entry: Some(Seen {
            tag: store.tag(&header.thing),
            header: header.clone(),
            id: located.id,
            leaf: merkle::leaf(&located.id),
            content,
            original,
            is_refused_erasure,
        }),
        problems,
    }
}

/// What was found of an entry's content.
struct Content {
    verdict: Verdict,
    original: Option<Box<prototype::Checked>>,
    is_refused_erasure: bool,
}

impl From<Verdict> for Content {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, original: None, is_refused_erasure: false }
    }
}

/// Checks the payload, and opens it if this node can; then its original too.
fn content(store: &Store, located: &Located, problems: &mut Vec<(Verdict, String)>, memo: &mut Memo) -> Content {
    let parts;
    let bytes: &[u8] = match &located.stored.payload {
        StoredPayload::Absent => return closed(store, located, Verdict::Stub, problems, memo).into(),
        StoredPayload::Inline(bytes) => bytes,
        StoredPayload::Parts => match store.payload(located) {
            Ok(read) => {
                parts = read.unwrap_or_default();
                &parts
            }
            Err(problem) => {
                problems.push((Verdict::Unreadable, problem.to_string()));
                return Verdict::Stub.into();
            }
        },
    };
    if let Err(problem) = payload::check(&located.header, bytes) {
        problems.push((Verdict::BadHash, problem.to_string()));
    }
    let Some(cek) = store.cek(located) else {
        return closed(store, located, Verdict::Undecryptable, problems, memo).into();
    };
    match payload::open(&located.header, &cek, bytes) {
        Ok(body) => Content {
            verdict: Verdict::Intact,
            original: prototype::check(&located.header.thing, &body, |key| store.verifier(key)),
            is_refused_erasure: Erasure::of(&body).is_some_and(|erasure| is_refused(store, located, erasure.is_ok())),
        },
        Err(problem) => {
            problems.push((Verdict::BadHash, problem.to_string()));
            Verdict::Intact.into()
        }
    }
}

/// Why there is no content, which is `otherwise` if nothing was taken away.
fn closed(
    store: &Store,
    located: &Located,
    otherwise: Verdict,
    problems: &mut Vec<(Verdict, String)>,
    memo: &mut Memo,
) -> Verdict {
    let fault = match store.erased_by(located.position) {
        Ok(Some(by)) => match memo.check_erased(store, located, &by) {
            Ok(()) => return Verdict::Erased,
            Err(problem) => problem,
        },
        Ok(None) if store.seals.position_key(located.position).is_none() => {
            "what opened its content was taken away, and no erasure covers it".to_owned()
        }
        Ok(None) => return otherwise,
        Err(problem) => problem.to_string(),
    };
    problems.push((Verdict::Lost, fault));
    Verdict::Lost
}

/// Whether an erasure record has not erased what it lists.
fn is_refused(store: &Store, located: &Located, is_readable: bool) -> bool {
    let outcome = store.outcome_of(located.position).ok().flatten();
    !is_readable || outcome.is_some_and(|outcome| outcome.refused > 0)
}

impl Memo {
    /// Whether the record that is said to have erased an entry is there and lists it.
    fn check_erased(&mut self, store: &Store, entry: &Located, by: &ErasedBy) -> std::result::Result<(), String> {
        if self.erasure.as_ref().is_none_or(|(known, ..)| known != by) {
            let record = store.located_at(by.position).map_err(|problem| problem.to_string())?;
            if record.id.0 != by.id {
                return Err("what is said to have erased it is another entry".to_owned());
            }
            let erasure = store.erasure(&record).map_err(|problem| problem.to_string())?;
            let erasure = erasure.ok_or("what is said to have erased it is no erasure record that can be read")?;
            self.erasure = Some((*by, record.header, erasure));
        }
        let Some((_, record, erasure)) = &self.erasure else { return Ok(()) };
        if record.thing != entry.header.thing || !erasure.covers(&entry.id) {
            return Err("the record that is said to have erased it does not list it".to_owned());
        }
        // Whether its signer might was decided when the record was taken in, by the cards
        // of then: what was erased stays so, whoever is an actor of that node today.
        Ok(())
    }
}

fn unknown(store: &Store, located: &Located) -> String {
    let key = located.header.actor;
    let claimed = match (&located.stored.payload, store.cek(located)) {
        (StoredPayload::Inline(bytes), Some(cek)) => payload::open(&located.header, &cek, bytes).ok(),
        _ => None,
    };
    let Some(body) = claimed else { return format!("signed by the key {key}, which is not in the trust store") };
    let name = body.actor_name();
    if store.trusted().values().any(|known| known == name) {
        format!("claims to be {name}, but the key {key} is not the one known by that name")
    } else {
        format!("claims to be {name}; the key {key} is not in the trust store")
    }
}

/// Whether an entry's signature holds, wherever it lies. Reads the ids of its
/// batch if need be.
pub(super) fn check_alone(store: &Store, located: &Located, memo: &mut Memo) -> Finding {
    let mut finding = check(store, located, memo);
    if let Some(head) = located.stored.signature.batch()
        && let Err(problem) = check_batch(store, located, head, memo)
    {
        finding.problems.push((Verdict::BadSignature, problem));
    }
    finding
}

fn check_batch(store: &Store, located: &Located, head: &BatchHead, memo: &mut Memo) -> std::result::Result<(), String> {
    let last = head.first.checked_add(u64::from(head.size)).ok_or("its batch has no end")?;
    if !(head.first..last).contains(&located.position) {
        return Err("it is not in its batch".to_owned());
    }
    let ids = store.with_tree(|tree| tree.ids(head.first, last)).map_err(|problem| problem.to_string())?;
    // The tree's rows only say which ids the signature should cover; that this
    // entry's id is among them, at its place, ties it to the signature.
    let place = usize::try_from(located.position - head.first).ok().and_then(|place| ids.get(place));
    if place != Some(&located.id) {
        return Err("the ledger's tree has another id at its position".to_owned());
    }
    let root = merkle::root(ids.iter().map(merkle::leaf));
    let verifier = store.verifier(&located.header.actor).map_err(|problem| problem.to_string())?;
    memo.batch.verify(&verifier, head.size, &root, &head.value).map_err(|problem| problem.to_string())?;
    debug_assert!(head.size >= signature::MIN_BATCH);
    Ok(())
}

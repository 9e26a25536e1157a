//! Entries in, as ndjson: checked on all cores, committed in batches.
//!
//! The caller's thread reads lines, hands chunks to the workers, and takes the
//! chunks back in order to commit them. What a worker checks needs nothing but
//! the entry itself and the trust store; what needs the entries before it (prev,
//! seq, time) is for the committer. Cheap checks come first.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read, Write};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, bounded};
use thingdb_format::{
    Cek, DecryptionKey, Entry, EntryId, Envelope, Hash, Kek, KekPacket, Line, Origin, StreamCheck, Verified, envelope,
    line, payload, signature::BatchMemo,
};

use crate::committer::{Arrived, Done, Fate, Job};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::exchange::pending::Pending;
use crate::options::Durability;
use crate::progress::{self, Progress};
use crate::store::Store;

/// Lines that are handed to a worker at once, at most.
const CHUNK_LINES: usize = 512;

/// Bytes that are handed to a worker at once, about.
const CHUNK_BYTES: usize = 1 << 20;

/// Entries after which an import makes sure that they are durable.
const SYNC_ENTRIES: u64 = 32_768;

/// Opened KEKs that are kept.
const MAX_KEKS: usize = 1024;

/// Reasons that a summary lists one by one.
const MAX_REASONS: usize = 1000;

/// Whose entries are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustPolicy {
    /// Those of actors that the trust store knows, from this node or from
    /// origins that it knows.
    #[default]
    Known,
    /// Anyone's whose signature holds. Verification will tell that the actor
    /// is unknown.
    All,
}

/// How to import.
///
/// ```
/// use thingdb::{ImportOptions, TrustPolicy};
/// let mut rejects = Vec::new();
/// let options = ImportOptions::new().trust(TrustPolicy::All).rejects(&mut rejects);
/// # let _ = options;
/// ```
#[derive(Default)]
pub struct ImportOptions<'a> {
    trust: TrustPolicy,
    rejects: Option<&'a mut dyn Write>,
    progress: progress::Report<'a>,
}

impl<'a> ImportOptions<'a> {
    /// Known actors from known origins only.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whose entries are accepted.
    #[must_use]
    pub const fn trust(mut self, policy: TrustPolicy) -> Self {
        self.trust = policy;
        self
    }

    /// Where lines go that are refused, as they came.
    #[must_use]
    pub fn rejects(mut self, out: &'a mut dyn Write) -> Self {
        self.rejects = Some(out);
        self
    }

    /// Is told of progress now and then: lines and bytes that were read.
    #[must_use]
    pub fn progress(mut self, report: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(report);
        self
    }
}

impl std::fmt::Debug for ImportOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImportOptions").field("trust", &self.trust).finish_non_exhaustive()
    }
}

/// What became of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportSummary {
    /// Entries that were not here.
    pub added: u64,
    /// Entries that were here already.
    pub known: u64,
    /// Entries that were here and lacked their payload, key or envelopes.
    pub completed: u64,
    /// Entries that came before their prev and were let go at the end. Import
    /// them again together with what they follow.
    pub pending: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Why, for the first thousand of them.
    pub reasons: Vec<Refusal>,
    /// Whether the stream is whole.
    pub stream: StreamState,
}

/// Why a line was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Line in the stream, from 1.
    pub line: u64,
    /// Column in the line, in bytes, from 1, if the line does not decode.
    pub column: Option<usize>,
    /// The entry, if the line decodes.
    pub id: Option<EntryId>,
    /// The reason.
    pub reason: String,
}

/// What the header and trailer of a stream say of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// There were none: whether lines are missing cannot be known.
    #[default]
    Bare,
    /// Everything that the trailer counts came.
    Complete,
    /// The trailer is missing.
    Cut,
    /// The trailer counts other entries than came.
    Damaged(String),
}

/// An entry on its way in.
pub(super) struct Candidate {
    line: u64,
    raw: Vec<u8>,
    arrived: Arrived,
}

impl Candidate {
    pub(super) fn bytes(&self) -> usize {
        self.raw.len() + self.arrived.entry.payload.as_ref().map_or(0, Vec::len) + 512
    }
}

/// Lines for a worker.
struct Chunk {
    number: u64,
    /// Line in the stream, bytes, and whether the line was too long to read.
    lines: Vec<(u64, Vec<u8>, bool)>,
}

/// What a worker made of a line.
enum Checked {
    Header,
    Trailer(Box<thingdb_format::Trailer>),
    Entry { id: EntryId, candidate: Box<Candidate> },
    Refused { id: Option<EntryId>, raw: Vec<u8>, refusal: Refusal },
}

impl Db {
    /// Reads a stream of ndjson lines and adds what is not here.
    ///
    /// It takes constant memory and can be repeated: entries that are here
    /// already change nothing. A line that is refused stops no other.
    ///
    /// # Errors
    /// [`Error::Stream`] if `input` fails, [`Error::is_disk_full`],
    /// [`Error::is_read_only`]. What was added until then stays.
    pub fn import(&self, options: ImportOptions<'_>, input: impl BufRead) -> Result<ImportSummary> {
        let ImportOptions { trust, rejects, progress } = options;
        let checker = Checker::new(self, trust);
        let threads = self.options.threads;
        let mut intake = Intake {
            db: self,
            rejects,
            progress,
            check: StreamCheck::default(),
            pending: Pending::default(),
            unsynced: 0,
            lines: 0,
            bytes: 0,
            summary: ImportSummary::default(),
        };
        std::thread::scope(|scope| {
            let (to_workers, chunks) = bounded::<Chunk>(threads * 2);
            let (results, from_workers) = bounded(threads * 4);
            for _ in 0..threads {
                let (chunks, results, checker) = (chunks.clone(), results.clone(), &checker);
                scope.spawn(move || work(checker, &chunks, &results));
            }
            drop((chunks, results));
            // The channel is dropped when this returns, also with an error, so
            // that the workers end.
            intake.run(input, to_workers, &from_workers, threads as u64 * 3)
        })?;
        intake.finish()
    }
}

fn work(checker: &Checker<'_>, chunks: &Receiver<Chunk>, results: &Sender<(u64, Vec<Checked>)>) {
    let mut memo = BatchMemo::default();
    for chunk in chunks {
        let checked = chunk
            .lines
            .into_iter()
            .filter_map(|(number, raw, too_long)| checker.line(number, raw, too_long, &mut memo));
        if results.send((chunk.number, checked.collect())).is_err() {
            return;
        }
    }
}

/// Takes checked chunks in, in order.
struct Intake<'a, 'o> {
    db: &'a Db,
    rejects: Option<&'o mut dyn Write>,
    progress: progress::Report<'o>,
    check: StreamCheck,
    pending: Pending,
    unsynced: u64,
    lines: u64,
    bytes: u64,
    summary: ImportSummary,
}

impl Intake<'_, '_> {
    fn run(
        &mut self,
        mut input: impl BufRead,
        to_workers: Sender<Chunk>,
        from_workers: &Receiver<(u64, Vec<Checked>)>,
        most_under_way: u64,
    ) -> Result<()> {
        let mut early = BTreeMap::new();
        let (mut sent, mut taken) = (0_u64, 0_u64);
        let mut to_workers = Some(to_workers);
        let mut line = 0;
        loop {
            if let Some(sender) = &to_workers {
                match read_chunk(&mut input, sent, &mut line)? {
                    Some((chunk, bytes)) => {
                        self.bytes += bytes;
                        // Workers end only when this channel is closed.
                        let _ = sender.send(chunk);
                        sent += 1;
                    }
                    None => to_workers = None,
                }
            }
            while sent - taken > if to_workers.is_some() { most_under_way } else { 0 } {
                let Ok((number, checked)) = from_workers.recv() else {
                    return Err(Error::damaged("the import", "a worker stopped"));
                };
                early.insert(number, checked);
                while let Some(checked) = early.remove(&taken) {
                    taken += 1;
                    self.take(checked)?;
                }
            }
            if to_workers.is_none() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, checked: Vec<Checked>) -> Result<()> {
        let mut candidates = Vec::with_capacity(checked.len());
        for one in checked {
            match one {
                Checked::Header => {
                    let noted = self.check.header();
                    self.note(noted);
                }
                Checked::Trailer(trailer) => {
                    let noted = self.check.trailer(&trailer);
                    self.note(noted);
                }
                Checked::Entry { id, candidate } => {
                    let noted = self.check.entry(&id);
                    self.note(noted);
                    candidates.push(*candidate);
                }
                Checked::Refused { id, raw, refusal } => {
                    if let Some(id) = id {
                        let noted = self.check.entry(&id);
                        self.note(noted);
                    }
                    self.refuse(&raw, refusal)?;
                }
            }
            self.lines += 1;
        }
        self.commit(candidates)?;
        progress::tell(&mut self.progress, self.lines, 0, self.bytes);
        Ok(())
    }

    /// Commits entries, and those that waited for them, until none is left
    /// that can go on.
    fn commit(&mut self, mut candidates: Vec<Candidate>) -> Result<()> {
        while !candidates.is_empty() {
            let (whence, entries): (Vec<_>, Vec<Arrived>) =
                candidates.drain(..).map(|candidate| ((candidate.line, candidate.raw), candidate.arrived)).unzip();
            let ids: Vec<EntryId> = entries.iter().map(|arrived| arrived.entry.id()).collect();
            let (done, ticket) = self.db.committer.submit(&self.db.store, Job::Import(entries))?;
            self.db.settle(ticket, Durability::Relaxed)?;
            let Done::Imported(fates) = done else { unreachable!("an import is answered as an import") };
            for ((fate, id), (line, raw)) in fates.into_iter().zip(ids).zip(whence) {
                match fate {
                    Fate::Added => {
                        self.summary.added += 1;
                        self.unsynced += 1;
                        candidates.extend(self.pending.release(&id));
                    }
                    Fate::Known => self.summary.known += 1,
                    Fate::Completed => self.summary.completed += 1,
                    Fate::Refused(reason) => {
                        self.refuse(&raw, Refusal { line, column: None, id: Some(id), reason })?;
                    }
                    Fate::MissingPrev(prev, arrived) => {
                        let candidate = Candidate { line, raw, arrived: *arrived };
                        if let Err(candidate) = self.pending.wait(prev, candidate) {
                            let reason = format!("its prev {prev} is not here, and too many entries wait already");
                            self.refuse(&candidate.raw, Refusal { line, column: None, id: Some(id), reason })?;
                        }
                    }
                }
            }
        }
        if self.unsynced >= SYNC_ENTRIES {
            self.unsynced = 0;
            self.db.sync()?;
        }
        Ok(())
    }

    fn refuse(&mut self, raw: &[u8], refusal: Refusal) -> Result<()> {
        self.summary.refused += 1;
        if self.summary.reasons.len() < MAX_REASONS {
            self.summary.reasons.push(refusal);
        }
        if let Some(out) = &mut self.rejects {
            let end: &[u8] = if raw.ends_with(b"\n") { b"" } else { b"\n" };
            out.write_all(raw)
                .and_then(|()| out.write_all(end))
                .map_err(|source| Error::Stream { action: "written (rejects)", source: Arc::new(source) })?;
        }
        Ok(())
    }

    /// Notes what is wrong with the stream as a whole; the first thing counts.
    fn note(&mut self, checked: std::result::Result<(), thingdb_format::Error>) {
        if let Err(problem) = checked
            && self.summary.stream == StreamState::Bare
        {
            self.summary.stream = state_of(&problem);
        }
    }

    fn finish(mut self) -> Result<ImportSummary> {
        self.db.sync()?;
        self.summary.pending = self.pending.len() as u64;
        let check = std::mem::take(&mut self.check);
        if self.summary.stream == StreamState::Bare {
            self.summary.stream = match check.finish() {
                Ok(thingdb_format::stream::Outcome::Complete { .. }) => StreamState::Complete,
                Ok(_) => StreamState::Bare,
                Err(problem) => state_of(&problem),
            };
        }
        if let Some(out) = &mut self.rejects {
            out.flush().map_err(|source| Error::Stream { action: "written (rejects)", source: Arc::new(source) })?;
        }
        Ok(self.summary)
    }
}

fn state_of(problem: &thingdb_format::Error) -> StreamState {
    match problem {
        thingdb_format::Error::Cut { .. } => StreamState::Cut,
        problem => StreamState::Damaged(problem.to_string()),
    }
}

/// The next lines, and how many bytes they had; nothing at the end.
fn read_chunk(input: &mut impl BufRead, number: u64, line: &mut u64) -> Result<Option<(Chunk, u64)>> {
    let read = |source| Error::Stream { action: "read", source: Arc::new(source) };
    let mut lines = Vec::new();
    let mut bytes = 0;
    while lines.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
        let mut raw = Vec::new();
        let most = line::MAX_LINE_BYTES as u64 + 2;
        let mut got = input.by_ref().take(most).read_until(b'\n', &mut raw).map_err(read)?;
        if got == 0 {
            break;
        }
        let too_long = got as u64 == most && raw.last() != Some(&b'\n');
        if too_long {
            // What is left of it is passed over without being kept.
            raw.truncate(1024);
            got += input.skip_until(b'\n').map_err(read)?;
        }
        *line += 1;
        bytes += got;
        lines.push((*line, raw, too_long));
    }
    Ok((!lines.is_empty()).then_some((Chunk { number, lines }, bytes as u64)))
}

/// Checks lines by themselves.
struct Checker<'a> {
    store: &'a Store,
    trust: TrustPolicy,
    origins: Vec<Origin>,
    trusted_origins: Vec<Origin>,
    keys: Vec<Arc<DecryptionKey>>,
    /// KEKs that were opened, by the hash of their packet.
    keks: Mutex<HashMap<Hash, Option<Arc<Kek>>>>,
}

impl<'a> Checker<'a> {
    fn new(db: &'a Db, trust: TrustPolicy) -> Self {
        let keyring = db.store.keyring();
        let former = keyring.former_nodes();
        let mut origins = vec![keyring.node_key().node_key().origin()];
        origins.extend(former.iter().map(|node| node.node_key.origin()));
        let mut keys = vec![Arc::clone(keyring.decryption_key())];
        keys.extend(former.iter().map(|node| Arc::clone(&node.decryption_key)));
        let known = keyring.trust().origins().filter(|known| known.withdrawn.is_none());
        let trusted_origins = known.map(|known| known.key.origin()).collect();
        drop(keyring);
        Self { store: &db.store, trust, origins, trusted_origins, keys, keks: Mutex::default() }
    }

    fn line(&self, number: u64, raw: Vec<u8>, too_long: bool, memo: &mut BatchMemo) -> Option<Checked> {
        let refused = |id, raw, column, reason| {
            Some(Checked::Refused { id, raw, refusal: Refusal { line: number, column, id, reason } })
        };
        if too_long {
            let reason = format!("longer than {} bytes", line::MAX_LINE_BYTES);
            return refused(None, raw, None, reason);
        }
        let entry = match Line::parse(&raw, number) {
            Ok(Line::Blank) => return None,
            Ok(Line::Header(_)) => return Some(Checked::Header),
            Ok(Line::Trailer(trailer)) => return Some(Checked::Trailer(trailer)),
            Ok(Line::Entry(entry)) => *entry,
            Err(thingdb_format::Error::Line { column, problem, .. }) => {
                return refused(None, raw, Some(column), problem.to_string());
            }
            Err(problem) => return refused(None, raw, None, problem.to_string()),
        };
        let id = entry.id();
        match self.entry(entry, memo) {
            Ok(arrived) => {
                // The line is kept only where it may be asked for again.
                let candidate = Box::new(Candidate { line: number, raw, arrived });
                Some(Checked::Entry { id, candidate })
            }
            Err(reason) => refused(Some(id), raw, None, reason),
        }
    }

    fn entry(&self, mut entry: Entry, memo: &mut BatchMemo) -> std::result::Result<Arrived, String> {
        self.trusts(&entry)?;
        let verifier = self.store.verifier(&entry.header.actor).map_err(|problem| problem.to_string())?;
        let tag = self.store.tag(&entry.header.thing);
        let envelopes = std::mem::take(&mut entry.envelopes);
        let entry = entry.verify_with(&verifier, memo).map_err(|problem| problem.to_string())?;
        let (cek, envelopes) = self.open(&entry, envelopes)?;
        Ok(Arrived { entry, envelopes, tag, cek })
    }

    fn trusts(&self, entry: &Entry) -> std::result::Result<(), String> {
        if self.trust == TrustPolicy::All {
            return Ok(());
        }
        let header = &entry.header;
        if !self.store.trusted().contains_key(&header.actor) {
            return Err(format!("the actor {} is not known here", header.actor));
        }
        if !self.origins.contains(&header.origin) && !self.trusted_origins.contains(&header.origin) {
            return Err(format!("the origin {} is not known here", header.origin));
        }
        Ok(())
    }

    /// The CEK, if an envelope is addressed to this node, and the envelopes
    /// that are kept. One that is addressed to us and does not open the entry
    /// is not passed on; if none that is addressed to us does, the entry is
    /// refused.
    fn open(
        &self,
        entry: &Verified,
        envelopes: Vec<Envelope>,
    ) -> std::result::Result<(Option<Cek>, Vec<Envelope>), String> {
        let Some(payload) = &entry.payload else { return Ok((None, envelopes)) };
        let mut cek = None;
        let mut failed = None;
        let mut kept = Vec::with_capacity(envelopes.len());
        for envelope in envelopes {
            let Some(kek) = self.kek(&envelope) else {
                kept.push(envelope);
                continue;
            };
            let opened = kek.and_then(|kek| envelope::open_cek(&kek, &entry.id(), &envelope.cek).ok());
            let opened = opened.ok_or_else(|| "an envelope to this node does not open".to_owned()).and_then(|cek| {
                payload::open(&entry.header, &cek, payload).map(|_| cek).map_err(|problem| problem.to_string())
            });
            match opened {
                Ok(opened) => {
                    cek = Some(opened);
                    kept.push(envelope);
                }
                Err(problem) => failed = Some(problem),
            }
        }
        match (cek, failed) {
            (None, Some(problem)) => Err(problem),
            (cek, _) => Ok((cek, kept)),
        }
    }

    /// The KEK of an envelope: nothing if it is not addressed to this node,
    /// `Some(None)` if it is and does not open.
    fn kek(&self, envelope: &Envelope) -> Option<Option<Arc<Kek>>> {
        for key in &self.keys {
            let own = key.encryption_key().recipient_id();
            let addressed = |packet: &&KekPacket| matches!(packet, KekPacket::X25519 { id, .. } if *id == own);
            let Some(packet @ KekPacket::X25519 { kek, .. }) = envelope.recipients.iter().find(addressed) else {
                continue;
            };
            let name = Hash::of(&[&envelope.from.0[..], &own.0, kek].concat());
            if let Some(known) = self.lock().get(&name) {
                return Some(known.clone());
            }
            let opened = packet.open_x25519(envelope.from, key).ok().map(Arc::new);
            let mut keks = self.lock();
            if keks.len() >= MAX_KEKS {
                keks.clear();
            }
            keks.insert(name, opened.clone());
            return Some(opened);
        }
        None
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, Option<Arc<Kek>>>> {
        self.keks.lock().expect("no thread panics while it holds the keys")
    }
}

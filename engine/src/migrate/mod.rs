//! Brings a prototype directory in: lines are opened and checked on all cores,
//! and become entries in the order of the ledger.
//!
//! What is migrated can be migrated again: an entry whose original is here
//! already changes nothing. So a run that was cut off is simply repeated.

pub(crate) mod report;
mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, ScopedJoinHandle};

use data_encoding::BASE64;
use serde::Deserialize;
use thingdb_format::{Actor, EncryptionKey, Hash, MAX_ACTION_BYTES, SigningKey, ThingId, header};

use crate::clock::unix_now;
use crate::entry::draft::Draft;
use crate::entry::record::Content;
use crate::error::{Error, Result};
use crate::keyring::passphrase::Passphrase;
use crate::node::{Durability, Node};
use crate::progress::{self, Progress};
use crate::prototype::document::Document;
use crate::prototype::keys::{self, KeyFile, OldKeys};
use crate::prototype::original::{self, ORIGINAL, Original};
use crate::prototype::sealed::{Form, Sealed};
use crate::prototype::{Chains, LEDGER_FILE};
use crate::store::Store;
use crate::store::history::History;
use report::{ActorOutcome, MigrateReport, MigratedActor, PrototypePeer};
use tokens::RawToken;

/// Entries, and about bytes, that are written at once.
const BATCH_ENTRIES: usize = 1000;
const BATCH_BYTES: usize = 8 << 20;

/// Longest line that is read. An entry that fits one of ours is shorter.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What is left for everything in a payload but data and attachment.
const PAYLOAD_ROOM: usize = 2048;

/// Longest `peers.json` and `tokens.json`.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// How to bring a prototype directory in.
///
/// ```
/// use thingdb::MigrateOptions;
/// let first_look = MigrateOptions::new().dry_run(true);
/// # let _ = first_look;
/// ```
#[derive(Default)]
pub struct MigrateOptions<'a> {
    dry_run: bool,
    progress: progress::Report<'a>,
}

impl<'a> MigrateOptions<'a> {
    /// All of it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only tells what would become of it.
    #[must_use]
    pub const fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Is told of progress now and then: entries and bytes that were read.
    #[must_use]
    pub fn progress(mut self, report: &'a mut dyn FnMut(Progress)) -> Self {
        self.progress = Some(report);
        self
    }
}

impl std::fmt::Debug for MigrateOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MigrateOptions").field("dry_run", &self.dry_run).finish_non_exhaustive()
    }
}

/// Brings a prototype directory in, which `old` opens.
pub(crate) fn migrate(
    node: &Node,
    durability: Durability,
    dir: &Path,
    old: &Passphrase,
    mut options: MigrateOptions<'_>,
) -> Result<MigrateReport> {
    if !keys::is_prototype(dir) {
        return Err(Error::NoPrototype { dir: dir.to_owned() });
    }
    let keys = OldKeys::load(dir, old)?;
    if opens_nothing(dir, &keys)? {
        return Err(Error::PrototypePassphrase { dir: dir.to_owned() });
    }
    let mut migration = Migration::new((node, durability), &keys.actors, options.dry_run);
    let mut ledger = Ledger::open(dir)?;
    loop {
        let lines = ledger.lines()?;
        if lines.is_empty() {
            break;
        }
        for found in look_at(&node.store, &keys, node.threads, &lines) {
            migration.take(found)?;
        }
        progress::tell(&mut options.progress, migration.report.entries, 0, ledger.bytes);
    }
    migration.write()?;
    migration.bring_actors(&keys.actors)?;
    migration.tell_of_peers(dir)?;
    migration.bring_tokens(dir)?;
    Ok(migration.finish())
}

/// Whether there is something that the passphrase should open, and it opens
/// none of it.
fn opens_nothing(dir: &Path, keys: &OldKeys) -> Result<bool> {
    if keys.opened {
        return Ok(false);
    }
    let mut failed = keys.failed;
    let mut ledger = Ledger::open(dir)?;
    loop {
        let lines = ledger.lines()?;
        if lines.is_empty() {
            return Ok(failed);
        }
        let sealed = lines.iter().flat_map(|line| Sealed::of_line(&line.bytes)).flatten();
        for sealed in sealed.filter(|sealed| sealed.form() == Form::Legacy && keys.ledger().is_ok()) {
            if sealed.open(keys).is_ok() {
                return Ok(false);
            }
            failed = true;
        }
    }
}

/// The ledger, read line by line.
struct Ledger {
    path: PathBuf,
    /// Nothing if there is no ledger: a node that never wrote.
    source: Option<BufReader<File>>,
    line: u64,
    bytes: u64,
}

struct LedgerLine {
    number: u64,
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Ledger {
    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(LEDGER_FILE);
        let source = match File::open(&path) {
            Err(problem) if problem.kind() == ErrorKind::NotFound => None,
            file => Some(BufReader::with_capacity(1 << 18, file.map_err(Error::file(&path, "cannot be read"))?)),
        };
        Ok(Self { path, source, line: 0, bytes: 0 })
    }

    /// The next lines; none at the end.
    fn lines(&mut self) -> Result<Vec<LedgerLine>> {
        let Some(source) = &mut self.source else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        let mut room = BATCH_BYTES;
        while lines.len() < BATCH_ENTRIES && room > 0 {
            let mut bytes = Vec::new();
            let read = source.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes);
            let mut len = read.map_err(Error::file(&self.path, "cannot be read"))?;
            if len == 0 {
                break;
            }
            let is_too_long = len as u64 == MAX_LINE_BYTES && bytes.last() != Some(&b'\n');
            if is_too_long {
                bytes.clear();
                len += source.skip_until(b'\n').map_err(Error::file(&self.path, "cannot be read"))?;
            }
            self.line += 1;
            self.bytes += len as u64;
            room = room.saturating_sub(bytes.len());
            lines.push(LedgerLine { number: self.line, bytes, is_too_long });
        }
        Ok(lines)
    }
}

/// What was found in a line.
struct Found {
    line: u64,
    outcome: std::result::Result<Ready, Unfit>,
}

/// An original that holds, ready to become an entry.
struct Ready {
    thing: ThingId,
    action: Option<String>,
    signer: Actor,
    name: Option<String>,
    data: String,
    original: Original,
}

/// Why it does not become one.
struct Unfit {
    reason: String,
    /// Its signature, or the hash of its data, does not hold.
    is_forged: bool,
}

impl From<String> for Unfit {
    fn from(reason: String) -> Self {
        Self { reason, is_forged: false }
    }
}

/// Opens and checks lines, on all cores, and gives them in their order.
fn look_at(store: &Store, keys: &OldKeys, threads: usize, lines: &[LedgerLine]) -> Vec<Found> {
    let share = lines.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let look = |lines: &[LedgerLine]| -> Vec<Found> {
            lines.iter().flat_map(|line| look_at_line(store, keys, line)).collect()
        };
        let begin = |lines| Builder::new().spawn_scoped(scope, move || look(lines));
        let workers: Vec<_> = lines.chunks(share).map(|lines| (lines, begin(lines))).collect();
        // Where the system gives no thread, this one does it.
        let finish = |(lines, worker): (&[LedgerLine], std::io::Result<ScopedJoinHandle<'_, Vec<Found>>>)| match worker
        {
            Ok(worker) => worker.join().expect("a worker that checks lines does not panic"),
            Err(_) => look(lines),
        };
        workers.into_iter().flat_map(finish).collect()
    })
}

fn look_at_line(store: &Store, keys: &OldKeys, line: &LedgerLine) -> Vec<Found> {
    let found = |outcome| Found { line: line.number, outcome };
    if line.is_too_long {
        return vec![found(Err(format!("longer than {MAX_LINE_BYTES} bytes").into()))];
    }
    let pieces = Sealed::of_line(&line.bytes).into_iter();
    pieces
        .map(|piece| {
            found(piece.map_err(Unfit::from).and_then(|sealed| look_at_entry(store, keys, line.number, &sealed)))
        })
        .collect()
}

fn look_at_entry(store: &Store, keys: &OldKeys, line: u64, sealed: &Sealed) -> std::result::Result<Ready, Unfit> {
    let text = sealed.open(keys)?;
    let document = Document::cut(&text)?;
    let faults = [document.check_data(), document.check_signature(|key| store.verifier(key))];
    let faults: Vec<String> = faults.into_iter().filter_map(std::result::Result::err).collect();
    if !faults.is_empty() {
        return Err(Unfit { reason: faults.join("; "), is_forged: true });
    }
    let thing = ThingId::new(&document.thing()?).map_err(|problem| problem.to_string())?;
    let original = Original {
        form: sealed.form(),
        line,
        ciphertext_hash: sealed.ciphertext_hash(),
        prev_hash: document.prev_hash()?,
        document: text.to_string(),
    };
    Ok(Ready {
        thing,
        action: document.action().filter(|action| is_action(action)),
        signer: document.key()?,
        name: document.actor_name(),
        data: document.data()?.to_owned(),
        original,
    })
}

/// Whether an action fits an entry of ours.
fn is_action(action: &str) -> bool {
    (1..=MAX_ACTION_BYTES).contains(&action.len()) && !action.chars().any(char::is_control)
}

/// A migration under way.
struct Migration<'a> {
    node: &'a Node,
    durability: Durability,
    report: MigrateReport,
    chains: Chains,
    /// Fingerprints of the originals that each thing has here; nothing if that
    /// cannot be told.
    here: HashMap<ThingId, Option<HashSet<Hash>>>,
    /// The names under which the keys signed that we have.
    names: HashMap<Actor, BTreeSet<String>>,
    batch: Vec<Draft>,
    batch_bytes: usize,
}

impl<'a> Migration<'a> {
    fn new((node, durability): (&'a Node, Durability), actors: &[KeyFile], dry_run: bool) -> Self {
        let keys = actors.iter().filter_map(|file| file.key.as_ref().ok());
        Self {
            node,
            durability,
            report: MigrateReport { dry_run, ..MigrateReport::default() },
            chains: Chains::default(),
            here: HashMap::new(),
            names: keys.map(|key| (key.actor(), BTreeSet::new())).collect(),
            batch: Vec::new(),
            batch_bytes: 0,
        }
    }

    fn take(&mut self, found: Found) -> Result<()> {
        self.report.entries += 1;
        let line = found.line;
        let ready = match found.outcome {
            Ok(ready) => ready,
            Err(unfit) => {
                self.report.original.signatures_bad += u64::from(unfit.is_forged);
                self.report.refuse(line, unfit.reason);
                return Ok(());
            }
        };
        self.report.original.signatures_good += 1;
        if let (Some(names), Some(name)) = (self.names.get_mut(&ready.signer), &ready.name)
            // Two names are as good as many: it cannot be told which.
            && names.len() < 2
        {
            names.insert(name.clone());
        }
        let kept = ready.original.encode();
        let size = ready.data.len().saturating_add(kept.len());
        let most = header::MAX_PAYLOAD_BYTES as usize - PAYLOAD_ROOM;
        if size > most {
            self.report.refuse(line, format!("{size} bytes with its original; an entry holds {most}"));
            return Ok(());
        }
        let fingerprint = ready.original.fingerprint();
        let Some(here) = self.here(&ready.thing)? else {
            let reason = "this node cannot read what it has of the thing, nor tell whether the entry is among it";
            self.report.refuse(line, reason.to_owned());
            return Ok(());
        };
        let is_new = here.insert(fingerprint);
        self.chains.take(&ready.thing, &ready.original.link());
        if !is_new {
            self.report.known += 1;
            return Ok(());
        }
        self.report.migrated += 1;
        if self.report.dry_run {
            return Ok(());
        }
        let media_type = original::media_type(&ready.data);
        let mut draft = Draft::bytes(ready.thing.as_str(), media_type, ready.data)?.attach(ORIGINAL, kept);
        if let Some(action) = ready.action {
            draft = draft.action(&action);
        }
        self.batch.push(draft);
        self.batch_bytes = self.batch_bytes.saturating_add(size);
        if self.batch.len() >= BATCH_ENTRIES || self.batch_bytes >= BATCH_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        self.batch_bytes = 0;
        self.node.write(std::mem::take(&mut self.batch), self.durability).map(|_| ())
    }

    fn here(&mut self, thing: &ThingId) -> Result<Option<&mut HashSet<Hash>>> {
        if !self.here.contains_key(thing) {
            let here = originals_here(self.node, thing)?;
            self.here.insert(thing.clone(), here);
        }
        Ok(self.here.get_mut(thing).and_then(Option::as_mut))
    }

    /// Makes actors of our own of the keys whose name can be told.
    fn bring_actors(&mut self, files: &[KeyFile]) -> Result<()> {
        for KeyFile { file, key } in files {
            let mut actor = MigratedActor { file: file.clone(), key: None, name: None, outcome: ActorOutcome::Known };
            match key {
                Err(problem) => actor.outcome = ActorOutcome::Refused(problem.clone()),
                Ok(key) => {
                    actor.key = Some(key.actor());
                    actor.name = self.name(file, &key.actor());
                    actor.outcome = self.bring_actor(actor.name.as_deref(), key)?;
                }
            }
            self.report.actors.push(actor);
        }
        Ok(())
    }

    /// The one name under which the key signed, or that of the file.
    fn name(&self, file: &str, key: &Actor) -> Option<String> {
        let signed = self.names.get(key).filter(|names| names.len() == 1).and_then(BTreeSet::first);
        signed.cloned().or_else(|| keys::name_of_file(file).map(str::to_owned))
    }

    fn bring_actor(&self, name: Option<&str>, key: &Arc<SigningKey>) -> Result<ActorOutcome> {
        let keyring = self.node.store.keyring();
        if keyring.actors().iter().any(|own| own.key.actor() == key.actor()) {
            return Ok(ActorOutcome::Known);
        }
        let Some(name) = name else {
            let reason = "neither its file nor an entry that it signed tells its name";
            return Ok(ActorOutcome::Refused(reason.to_owned()));
        };
        if keyring.actor(name).is_ok()
            || keyring.trust().actor_named(name).is_some_and(|known| known.key != key.actor())
        {
            return Ok(ActorOutcome::Refused(format!("another key goes by the name {name} here")));
        }
        if let Some(at) = keyring.trust().actor(&key.actor()).and_then(|known| known.withdrawn) {
            return Ok(ActorOutcome::Refused(format!("trust in its key was withdrawn on {at}")));
        }
        if self.report.dry_run {
            return Ok(ActorOutcome::Added);
        }
        drop(keyring);
        let imported = self.node.change_keyring(|keyring| {
            Ok(keyring.import_actor(name, Arc::clone(key), unix_now(), &mut rand::rng()).map(drop)?)
        });
        Ok(match imported {
            Ok(()) => ActorOutcome::Added,
            Err(problem) => ActorOutcome::Refused(problem.to_string()),
        })
    }

    fn tell_of_peers(&mut self, dir: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct RawPeer {
            x25519_pub: String,
        }
        for (name, peer) in self.list::<Option<RawPeer>>(dir, "peers.json")? {
            let key = peer.and_then(|peer| BASE64.decode(peer.x25519_pub.as_bytes()).ok());
            let encryption_key = key.and_then(|key| key.try_into().ok()).map(EncryptionKey);
            self.report.peers.push(PrototypePeer { name, encryption_key });
        }
        Ok(())
    }

    fn bring_tokens(&mut self, dir: &Path) -> Result<()> {
        // The keys are the tokens themselves, which nobody is to see.
        for (number, (text, raw)) in (1..).zip(self.list::<RawToken>(dir, "tokens.json")?) {
            tokens::bring(self.node, &mut self.report, number, text, &raw)?;
        }
        Ok(())
    }

    fn list<T: serde::de::DeserializeOwned>(&mut self, dir: &Path, file: &str) -> Result<BTreeMap<String, T>> {
        let Some(bytes) = keys::read_up_to(&dir.join(file), MAX_LIST_BYTES)? else { return Ok(BTreeMap::new()) };
        Ok(serde_json::from_slice(&bytes).unwrap_or_else(|problem| {
            // The text of the problem could repeat a secret.
            let place = format!("line {}, column {}", problem.line(), problem.column());
            self.report.notes.push(format!("{file} is not as the prototype writes it: {place}"));
            BTreeMap::new()
        }))
    }

    fn finish(mut self) -> MigrateReport {
        self.report.things = self.chains.things();
        self.report.original.chains = self.chains.settle(|_| false);
        self.report
    }
}

/// The originals that a thing has here. Nothing if this node wrote entries
/// about it that it cannot read.
fn originals_here(node: &Node, thing: &ThingId) -> Result<Option<HashSet<Hash>>> {
    let mut here = HashSet::new();
    for record in History::new(&node.store, thing, ..)? {
        let record = record?;
        match record.content() {
            Content::Open(body) => {
                let original = body.attachment().and_then(Original::of);
                // One that claims to be an original and is not hides none.
                let original = original.filter(|original| {
                    Document::cut(&original.document)
                        .is_ok_and(|document| original.check_entry(&document, thing, body).is_ok())
                });
                here.extend(original.map(|original| original.fingerprint()));
            }
            _ if record.origin() == node.origin() => return Ok(None),
            _ => {}
        }
    }
    Ok(Some(here))
}

//! The database: open it, write to it, read from it.

use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use thingdb_format::{Body, Cek, EntryId, NodeKey, Origin, SignedCheckpoint, ThingId, Time, payload};

use crate::actors::unix_now;
use crate::committer::{Committer, Done, Job, NewEntry};
use crate::disk;
use crate::draft::{Draft, Expect};
use crate::error::{Error, Result};
use crate::history::{self, History};
use crate::index::{self, Indexed, Posting};
use crate::keyring::{KdfUpgrade, Keyring, KeyringError, Unlock};
use crate::ledger::{self, Ledger, WIDTH};
use crate::lock::{DirLock, LockError};
use crate::options::{Durability, Options};
use crate::passphrase::Passphrase;
use crate::record::{Head, Receipt, Record};
use crate::schema;
use crate::standing::{self, Standing};
use crate::storage::sled::{SledOptions, SledStorage};
use crate::storage::{Direction, Ticket};
use crate::store::Store;
use crate::stored::Block;
use crate::things::{Catalogue, ThingQuery, Things};

/// Version of the layout of the directory and of the rows.
pub const STORE_VERSION: u64 = 1;

const VERSION_FILE: &str = "VERSION";
const KEYRING_FILE: &str = "keyring";

/// Entries after which the own checkpoint is renewed while writing.
const CHECKPOINT_ENTRIES: u64 = 16_384;

/// A database: one directory, one node.
///
/// All methods take `&self`; share it between threads by reference or in an
/// [`Arc`](std::sync::Arc). Dropping it closes it; [`Db::close`] does the same
/// and tells of errors.
///
/// ```
/// use thingdb::{Db, Passphrase};
/// # let tmp = tempfile::tempdir()?;
/// # let dir = tmp.path().join("things");
/// let passphrase = Passphrase::new("correct horse battery");
/// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(&dir, &passphrase)?;
/// # #[cfg(any())]
/// let db = Db::create(&dir, &passphrase)?;
/// let receipt = db.put("part-42", r#"{"temp":20.1}"#)?;
/// assert_eq!(db.get("part-42")?.expect("just put").id(), receipt.id);
/// assert!(db.verify(Default::default())?.is_ok());
/// db.close()?;
///
/// let db = Db::open(&dir, &passphrase)?;
/// assert_eq!(db.stats()?.entries, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Db {
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) options: Options,
    catalogue: Catalogue,
    warnings: Mutex<Vec<Warning>>,
    /// Size of the ledger at the last own checkpoint.
    checkpointed: Mutex<u64>,
    closed: bool,
    /// Held until everything else is gone.
    _lock: DirLock,
}

/// Something that was noticed when the database was opened, and that its user
/// should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The ledger is not what the node's own last checkpoint says. Reading
    /// goes on, writing is refused.
    Standing(Standing),
    /// The own checkpoint cannot be read.
    Checkpoint(String),
    /// The keyring can be read by others.
    KeyringMode(String),
    /// The passphrase's stretching could not be strengthened.
    KdfUpgrade(String),
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standing(standing) => write!(f, "{standing}"),
            Self::Checkpoint(text) | Self::KeyringMode(text) | Self::KdfUpgrade(text) => f.write_str(text),
        }
    }
}

/// Making, opening, closing.
impl Db {
    /// Makes a database in `dir` with the default [`Options`].
    ///
    /// # Errors
    /// As [`Options::create`].
    pub fn create(dir: impl AsRef<Path>, passphrase: &Passphrase) -> Result<Self> {
        Options::new().create(dir, passphrase)
    }

    /// Opens the database in `dir` with the default [`Options`].
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(dir: impl AsRef<Path>, passphrase: &Passphrase) -> Result<Self> {
        Options::new().open(dir, passphrase)
    }

    pub(crate) fn create_with(dir: &Path, passphrase: &Passphrase, options: &Options) -> Result<Self> {
        if dir.join(KEYRING_FILE).exists() {
            return Err(Error::AlreadyExists { dir: dir.to_owned() });
        }
        // Refused before anything is made.
        passphrase.check_new()?;
        disk::create_private_directory(dir).map_err(Error::file(dir, "cannot be created"))?;
        let lock = lock(dir)?;
        let version = format!("thingdb {STORE_VERSION}\n");
        let version_file = dir.join(VERSION_FILE);
        disk::replace_file(&version_file, version.as_bytes(), 0o644)
            .map_err(Error::file(&version_file, "cannot be written"))?;
        let storage = open_storage(dir, options)?;
        // The keyring comes last: a directory without it is no database yet.
        let mut rng = rand::rng();
        let mut keyring = Keyring::create(&dir.join(KEYRING_FILE), passphrase, options.kdf, &mut rng)?;
        keyring.add_actor(&options.actor, unix_now(), &mut rng)?;
        keyring.create_segment_key(0, &mut rng)?;
        Self::assemble(dir, lock, storage, keyring, options)
    }

    pub(crate) fn open_with(dir: &Path, unlock: Unlock<'_>, options: &Options) -> Result<Self> {
        check_version(dir)?;
        let lock = lock(dir)?;
        let keyring = Keyring::open(&dir.join(KEYRING_FILE), unlock, &mut rand::rng());
        let keyring = keyring.map_err(|problem| match problem {
            KeyringError::NotFound { .. } => Error::NoDatabase { dir: dir.to_owned() },
            problem => problem.into(),
        })?;
        let storage = open_storage(dir, options)?;
        Self::assemble(dir, lock, storage, keyring, options)
    }

    fn assemble(dir: &Path, lock: DirLock, storage: SledStorage, keyring: Keyring, options: &Options) -> Result<Self> {
        let mut warnings: Vec<Warning> = keyring.mode_warning().map(Warning::KeyringMode).into_iter().collect();
        if let KdfUpgrade::Failed { cause } = keyring.kdf_upgrade() {
            warnings.push(Warning::KdfUpgrade(format!("the passphrase could not be stretched more: {cause}")));
        }
        let node = keyring.node_key().node_key();
        // About 2 KiB a state.
        let index_capacity = usize::try_from(options.cache_bytes / 2048).unwrap_or(usize::MAX);
        let store = Store::new(dir.to_owned(), Box::new(storage), keyring, index_capacity);
        recover(&store)?;
        let committer = Committer::new(node.origin(), options.clock, options.future_tolerance_ms);
        let mut checkpointed = 0;
        match standing::load(dir, &node) {
            Ok(None) => {}
            Ok(Some(note)) => match standing::compare(&store, node.origin(), note.claimed())? {
                Standing::Consistent => checkpointed = note.claimed().size,
                found => {
                    committer.close(Error::RolledBack { detail: found.to_string() });
                    warnings.push(Warning::Standing(found));
                }
            },
            Err(problem) => warnings.push(Warning::Checkpoint(problem.to_string())),
        }
        Ok(Self {
            store,
            committer,
            options: options.clone(),
            catalogue: Catalogue::default(),
            warnings: Mutex::new(warnings),
            checkpointed: Mutex::new(checkpointed),
            closed: false,
            _lock: lock,
        })
    }

    /// Makes everything durable, signs the ledger's state and lets go of the
    /// directory.
    ///
    /// # Errors
    /// If what was written cannot be made durable.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    fn shut(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let writable = self.committer.check_open().is_ok();
        self.committer.close(Error::Closed);
        if writable {
            self.write_index()?;
            self.renew_checkpoint(1)?;
        }
        self.store.storage.close().map_err(Error::from)
    }

    fn write_index(&self) -> Result<()> {
        while let Some(flush) = self.store.index.rows(&self.store.rows, self.store.size(), 1024) {
            self.store.commit(flush.batch)?;
            self.store.index.written(&flush.tags);
        }
        Ok(())
    }

    /// What was noticed when the database was opened.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().expect("no thread panics while it holds the warnings").clone()
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.store.dir
    }

    /// The node's public key.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        self.store.keyring().node_key().node_key()
    }

    /// The name under which this node writes entries.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.node_key().origin()
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("dir", &self.dir()).field("entries", &self.store.size()).finish_non_exhaustive()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Nobody is left to be told; whoever wants to know calls `close`.
        let _ = self.shut();
    }
}

/// Writing.
impl Db {
    /// Writes JSON data about a thing, signed by the default actor.
    ///
    /// # Errors
    /// [`Error::is_invalid_input`], [`Error::is_disk_full`],
    /// [`Error::is_read_only`]; nothing was written then.
    pub fn put(&self, thing: &str, json: &str) -> Result<Receipt> {
        self.write(Draft::json(thing, json)?)
    }

    /// Writes JSON data only if the thing is as expected.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// use thingdb::Expect;
    /// let first = db.put_if("part-42", Expect::Absent, "1")?;
    /// db.put_if("part-42", Expect::Head(first.id), "2")?;
    /// assert!(db.put_if("part-42", Expect::Head(first.id), "3").unwrap_err().is_conflict());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::is_conflict`], and as [`Db::put`].
    pub fn put_if(&self, thing: &str, expect: Expect, json: &str) -> Result<Receipt> {
        self.write(Draft::json(thing, json)?.expect(expect))
    }

    /// Writes a draft.
    ///
    /// # Errors
    /// [`Error::NoSuchActor`], and as [`Db::put_if`].
    pub fn write(&self, draft: Draft) -> Result<Receipt> {
        self.write_with(draft, self.options.durability)
    }

    /// Writes a draft with another durability than the database's.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_with(&self, draft: Draft, durability: Durability) -> Result<Receipt> {
        let mut receipts = self.write_batch_with(vec![draft], durability)?;
        Ok(receipts.pop().expect("one draft gives one receipt"))
    }

    /// Writes drafts in their order, all or none. Those of one actor share a
    /// signature.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_batch(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>> {
        self.write_batch_with(drafts, self.options.durability)
    }

    /// The same with another durability than the database's.
    ///
    /// # Errors
    /// As [`Db::write`].
    pub fn write_batch_with(&self, drafts: Vec<Draft>, durability: Durability) -> Result<Vec<Receipt>> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let (done, ticket) = self.committer.submit(&self.store, Job::Write(self.seal(drafts)?))?;
        self.settle(ticket, durability)?;
        match done {
            Done::Written(receipts) => Ok(receipts),
            Done::Imported(_) => unreachable!("a write is answered as a write"),
        }
    }

    /// Waits until everything that was written so far survives a power cut.
    ///
    /// # Errors
    /// [`Error::is_read_only`] if a sync failed.
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// Seals drafts in the caller's thread.
    fn seal(&self, drafts: Vec<Draft>) -> Result<Vec<NewEntry>> {
        let mut rng = rand::rng();
        let mut signers = Signers::default();
        let mut created = std::collections::HashSet::new();
        drafts
            .into_iter()
            .map(|draft| {
                let tag = self.store.tag(&draft.thing);
                let (name, signer) = signers.find(self, draft.actor.as_deref())?;
                let action = match &draft.action {
                    Some(action) => action,
                    None if !created.insert(tag) || self.store.state(&tag)?.is_some() => "update",
                    None => "create",
                };
                let body = Body::new(&name, action, &draft.media_type, &draft.data)?;
                let cek = Cek::generate(&mut rng);
                let sealed = payload::seal(self.options.suite, &cek, body)?;
                let expect = draft.expect;
                Ok(NewEntry { thing: draft.thing, tag, signer, expect, suite: self.options.suite, cek, sealed })
            })
            .collect()
    }

    /// Waits for a commit as the caller wants, and renews the own checkpoint
    /// when it is due.
    pub(crate) fn settle(&self, ticket: Option<Ticket>, durability: Durability) -> Result<()> {
        if let (Some(ticket), Durability::Durable) = (ticket, durability) {
            self.store.storage.wait(ticket)?;
        }
        self.renew_checkpoint(CHECKPOINT_ENTRIES)
    }

    /// Signs the ledger's state if it has grown by `entries` since it was
    /// signed last.
    fn renew_checkpoint(&self, entries: u64) -> Result<()> {
        let due = |checkpointed: u64| self.store.size() >= checkpointed.saturating_add(entries);
        // Whoever holds the lock is at it.
        let Ok(mut checkpointed) = self.checkpointed.try_lock() else { return Ok(()) };
        if due(*checkpointed) {
            *checkpointed = self.sign_checkpoint()?.claimed().size;
        }
        Ok(())
    }

    /// Syncs, so that a checkpoint never names what a power cut can undo.
    fn sign_checkpoint(&self) -> Result<SignedCheckpoint> {
        let tree = self.store.tree();
        self.store.sync()?;
        let key = Arc::clone(self.store.keyring().node_key());
        standing::sign(self.dir(), &key, tree.size(), tree.root())
    }

    /// Signs the state of the ledger (C2SP signed note). The note is kept
    /// beside the database; keep it elsewhere too, and
    /// [`VerifyOptions::checkpoint`](crate::VerifyOptions::checkpoint) shows
    /// whether anything was cut or changed since.
    ///
    /// # Errors
    /// [`Error::RolledBack`] if the ledger contradicts the last checkpoint.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint> {
        self.committer.check_open()?;
        let mut checkpointed = self.checkpointed.lock().expect("no thread panics while it signs");
        let note = self.sign_checkpoint()?;
        *checkpointed = note.claimed().size;
        Ok(note)
    }

    /// The last checkpoint that is kept beside the database.
    ///
    /// # Errors
    /// [`Error::is_damaged`] if it does not verify.
    pub fn last_checkpoint(&self) -> Result<Option<SignedCheckpoint>> {
        standing::load(self.dir(), &self.node_key())
    }
}

/// The actors of a batch, each looked up once.
#[derive(Default)]
struct Signers(Vec<(Option<String>, String, Arc<thingdb_format::SigningKey>)>);

impl Signers {
    fn find(&mut self, db: &Db, name: Option<&str>) -> Result<(String, Arc<thingdb_format::SigningKey>)> {
        if let Some((_, name, key)) = self.0.iter().find(|(asked, ..)| asked.as_deref() == name) {
            return Ok((name.clone(), Arc::clone(key)));
        }
        let keyring = db.store.keyring();
        let actor = match name {
            Some(name) => keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?,
            None => keyring.default_actor()?,
        };
        let found = (actor.name.clone(), Arc::clone(&actor.key));
        self.0.push((name.map(str::to_owned), found.0.clone(), Arc::clone(&found.1)));
        Ok(found)
    }
}

/// Reading.
impl Db {
    /// The latest entry of a thing: the head with the greatest (seq, time,
    /// id), the same on every node that has the same entries.
    ///
    /// # Errors
    /// [`Error::is_damaged`] if it does not open.
    pub fn get(&self, thing: &str) -> Result<Option<Record>> {
        let tag = self.store.tag(&ThingId::new(thing)?);
        let Some(state) = self.store.state(&tag)? else { return Ok(None) };
        let Some(head) = state.latest() else { return Ok(None) };
        self.store.located(&head.posting).and_then(|located| self.store.record(located)).map(Some)
    }

    /// The entries of a thing with this seq: none, one, or several if the
    /// thing has forked there.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_seq(&self, thing: &str, seq: u64) -> Result<Vec<Record>> {
        self.history_range(thing, seq..=seq)?.collect()
    }

    /// The entry that was the latest at `time`, by the clocks of the writers.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_at(&self, thing: &str, time: Time) -> Result<Option<Record>> {
        let found = history::as_of(&self.store, &ThingId::new(thing)?, time)?;
        found.map(|located| self.store.record(located)).transpose()
    }

    /// The entry with this id. Takes time in proportion to the ledger (32
    /// bytes an entry are read); with the thing at hand, its history is
    /// shorter.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub fn get_id(&self, id: &EntryId) -> Result<Option<Record>> {
        let mut found = None;
        self.scan_ids(|position, candidate| {
            if candidate == id.0 {
                found = Some(position);
            }
            found.is_none()
        })?;
        let Some(position) = found else { return Ok(None) };
        self.store.located_at(position).and_then(|located| self.store.record(located)).map(Some)
    }

    /// The ids that begin with these hex digits, at most `limit`, in ledger
    /// order. Takes time in proportion to the ledger.
    ///
    /// # Errors
    /// [`Error::is_invalid_input`] for a prefix that is not lower-case hex.
    pub fn find_ids(&self, hex_prefix: &str, limit: usize) -> Result<Vec<EntryId>> {
        let nibbles = hex_prefix
            .bytes()
            .map(|digit| match digit {
                b'0'..=b'9' => Some(digit - b'0'),
                b'a'..=b'f' => Some(digit - b'a' + 10),
                _ => None,
            })
            .collect::<Option<Vec<u8>>>()
            .filter(|nibbles| nibbles.len() <= 64)
            .ok_or(thingdb_format::Error::Malformed {
                what: "entry id",
                problem: "not up to 64 lower-case hex digits",
            })?;
        let matches = |id: &[u8; 32]| {
            nibbles.iter().enumerate().all(|(at, nibble)| {
                let byte = id[at / 2];
                *nibble == if at % 2 == 0 { byte >> 4 } else { byte & 15 }
            })
        };
        let mut found = Vec::new();
        self.scan_ids(|_, id| {
            if matches(&id) {
                found.push(EntryId(id));
            }
            found.len() < limit
        })?;
        Ok(found)
    }

    /// Goes through all ids in ledger order for as long as `act` says.
    fn scan_ids(&self, mut act: impl FnMut(u64, [u8; 32]) -> bool) -> Result<()> {
        let tree = self.store.tree();
        let full = tree.size() / WIDTH;
        for (index, row) in (0..full).zip(self.store.storage.scan(&schema::tiles(0), Direction::Forward)) {
            let (key, sealed) = row?;
            if key != schema::tile(0, index) {
                return Err(Error::damaged("the ledger's tree", format!("tile {index} is missing")));
            }
            for (position, id) in (index * WIDTH..).zip(ledger::open_row(&self.store.rows, &key, &sealed)?) {
                if !act(position, id) {
                    return Ok(());
                }
            }
        }
        for (position, id) in (full * WIDTH..).zip(tree.last_ids()) {
            if !act(position, *id) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The entries of a thing that no other follows: one, or several if it has
    /// forked, the latest first.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn heads(&self, thing: &str) -> Result<Vec<Head>> {
        let state = self.store.state(&self.store.tag(&ThingId::new(thing)?))?;
        let mut heads: Vec<Head> = state.map_or_else(Vec::new, |state| state.heads().collect());
        heads.sort_unstable_by_key(|head| std::cmp::Reverse((head.seq, head.time, head.id)));
        Ok(heads)
    }

    /// The history of a thing, from both ends, in constant memory.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn history(&self, thing: &str) -> Result<History<'_>> {
        self.history_range(thing, ..)
    }

    /// A part of the history of a thing, by seq.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn history_range(&self, thing: &str, seqs: impl RangeBounds<u64>) -> Result<History<'_>> {
        History::new(&self.store, &ThingId::new(thing)?, seqs)
    }

    /// All things, ascending by id.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn things(&self) -> Result<Things<'_>> {
        self.things_from(&ThingQuery::new())
    }

    /// The things that `query` asks for, ascending by id. The first listing
    /// puts all ids in order in memory.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn things_from(&self, query: &ThingQuery) -> Result<Things<'_>> {
        self.catalogue.list(&self.store, query)
    }

    /// Counts and sizes.
    ///
    /// # Errors
    /// If the storage cannot tell its size.
    pub fn stats(&self) -> Result<Stats> {
        let keyring = self.store.keyring();
        Ok(Stats {
            entries: self.store.size(),
            things: self.store.index.things(),
            disk_bytes: self.store.storage.disk_bytes()?,
            actors: keyring.actors().len(),
            trusted_actors: self.store.trusted().len(),
            store_version: STORE_VERSION,
        })
    }
}

/// Counts and sizes of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Entries in the ledger.
    pub entries: u64,
    /// Things with at least one entry.
    pub things: u64,
    /// Bytes that the storage takes on the disk.
    pub disk_bytes: u64,
    /// Actors whose key is in the keyring.
    pub actors: usize,
    /// Keys that the trust store knows, own ones included.
    pub trusted_actors: usize,
    /// Version of the directory's layout.
    pub store_version: u64,
}

/// Brings memory to where the storage is: the size of the ledger, its tree,
/// and the entries that are not in the index rows yet.
fn recover(store: &Store) -> Result<()> {
    let last = store.storage.scan(&schema::blocks(), Direction::Backward).next().transpose()?;
    let Some((key, bytes)) = last else { return Ok(()) };
    let first =
        schema::first_of_block(&key).ok_or_else(|| Error::damaged("the ledger", "its last block has no key"))?;
    let size = first + Block::from_bytes(first, &bytes)?.len() as u64;
    let mut last_ids = Vec::new();
    for position in size - size % WIDTH..size {
        last_ids.push(store.located_at(position)?.id);
    }
    let ledger = Ledger::load(&*store.storage, &store.rows, size, &last_ids)?;
    *store.ledger.write().expect("no thread panics while it holds the ledger") = ledger;
    let indexed = index::indexed(&*store.storage, &store.rows)?;
    store.index.set_things(indexed.things);
    replay(store, indexed.position)
}

/// Takes the entries from `position` on into the index.
fn replay(store: &Store, position: u64) -> Result<()> {
    for row in store.storage.scan(&schema::blocks_between(position, u64::MAX), Direction::Forward) {
        let (key, bytes) = row?;
        let first = schema::first_of_block(&key).ok_or_else(|| Error::damaged("the ledger", "a block has no key"))?;
        let block = Block::from_bytes(first, &bytes)?;
        for slot in 0..block.len() {
            let slot = u8::try_from(slot).map_err(|_| Error::damaged("the ledger", "a block has too many records"))?;
            // A record that does not open is told by `verify`; what can be
            // read is there.
            let Ok(located) = store.located_in(&block, first, slot) else { continue };
            let entry = Indexed {
                thing: &located.header.thing,
                tag: store.tag(&located.header.thing),
                id: located.id,
                time: located.header.time,
                prev: &located.header.prev,
                posting: Posting {
                    seq: located.header.seq,
                    position: located.position,
                    slot,
                    id8: crate::committer::id8(&located.id),
                },
            };
            store.index.apply(&*store.storage, &store.rows, &[entry])?;
        }
    }
    Ok(())
}

fn lock(dir: &Path) -> Result<DirLock> {
    DirLock::acquire(dir).map_err(|problem| match problem {
        LockError::Locked { holder, .. } => Error::Locked { dir: dir.to_owned(), holder },
        LockError::Io { path, source } => Error::file(path, "cannot be locked")(source),
    })
}

fn open_storage(dir: &Path, options: &Options) -> Result<SledStorage> {
    let mut with = SledOptions::default();
    with.cache_bytes = options.cache_bytes;
    with.free_floor_bytes = options.free_floor_bytes;
    with.reserve_bytes = options.reserve_bytes;
    if let Some(at) = options.fail_sync_at {
        with.sync_hook =
            Some(Arc::new(
                move |n| {
                    if n >= at { Err(std::io::Error::other("a sync was made to fail")) } else { Ok(()) }
                },
            ));
    }
    Ok(SledStorage::open(dir, with)?)
}

/// Refuses a directory that is no database, or one of a newer version.
fn check_version(dir: &Path) -> Result<()> {
    let path: PathBuf = dir.join(VERSION_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoDatabase { dir: dir.to_owned() });
        }
        Err(problem) => return Err(Error::file(&path, "cannot be read")(problem)),
    };
    let found = text.strip_prefix("thingdb ").and_then(|rest| rest.trim_end().parse::<u64>().ok());
    match found {
        Some(STORE_VERSION) => Ok(()),
        Some(found) => Err(Error::NewerVersion { found, known: STORE_VERSION }),
        None => Err(Error::damaged(path.display().to_string(), "it does not hold a version")),
    }
}

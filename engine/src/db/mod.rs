//! The database: what it is made of, how it is opened and closed.

pub(crate) mod compare;
pub(crate) mod forks;
pub(crate) mod options;
pub(crate) mod prove;
pub(crate) mod read;
mod read_only;
pub(crate) mod salvage;
pub(crate) mod share;
pub(crate) mod short_ids;
pub(crate) mod witness;
pub(crate) mod write;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thingdb_format::{NodeKey, Origin, SignedCheckpoint};

use crate::access::actors::unix_now;
use crate::access::peers;
use crate::access::tokens::Tokens;
use crate::backup;
use crate::committer::Committer;
use crate::directory;
use crate::directory::unfinished;
use crate::directory::version::{self, Version};
use crate::disk;
use crate::disk::lock::DirLock;
use crate::error::{Error, Result};
use crate::exchange::waiting::Room;
use crate::keyring::passphrase::Passphrase;
use crate::keyring::{KdfUpgrade, Keyring, KeyringError, Opening, Unlock};
use crate::node::standing::{self, Kept, Standing};
use crate::storage::Batch;
use crate::storage::open::{self, Opened, With};
use crate::storage::sled::SyncHook;
use crate::store::Store;
use crate::store::fit;
use crate::store::recover::{Recovered, accept_lost_ids, recover, repair_tree};
use crate::store::schema;
use crate::store::things::Catalogue;

use options::Options;

/// Version of the layout of the directory and of the rows.
pub const STORE_VERSION: u64 = 3;

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
    pub(crate) catalogue: Catalogue,
    pub(crate) tokens: Tokens,
    warnings: Mutex<Vec<Warning>>,
    /// Size of the ledger at the last own checkpoint.
    pub(crate) checkpointed: Mutex<u64>,
    /// Held while what is remembered of another node is compared and replaced.
    pub(crate) replica: Mutex<()>,
    /// Opened when it is first asked for.
    pub(crate) waiting: Mutex<Option<Room>>,
    closed: bool,
    /// The own checkpoint that goes with what is read, if it is only read: the file
    /// may be that of more by now.
    pub(crate) read_with: Option<Option<SignedCheckpoint>>,
    /// Held until everything else is gone; nobody holds one who only reads.
    _lock: Option<DirLock>,
}

/// Something that was noticed when the database was opened, and that its user
/// should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The ledger is not what the node's own last checkpoint says. Reading
    /// goes on, writing is refused.
    Standing(Standing),
    /// The own checkpoint is missing or cannot be read: a ledger that was cut
    /// would not be noticed.
    Checkpoint(String),
    /// Entries at the end of the ledger do not open. Reading goes on, writing
    /// is refused.
    Damaged(String),
    /// Something that follows from the ledger was damaged and made anew.
    Repaired(String),
    /// One of the two files of the keyring was damaged, missing or old, or keys
    /// are missing in it.
    Keyring(String),
    /// It was opened to read only because nothing can be written there.
    ReadOnly(String),
    /// The keyring can be read by others.
    KeyringMode(String),
    /// The directory can be written to by others.
    DirectoryMode(String),
    /// The passphrase's stretching could not be strengthened.
    KdfUpgrade(String),
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standing(standing) => write!(f, "{standing}"),
            Self::Checkpoint(text)
            | Self::Damaged(text)
            | Self::Repaired(text)
            | Self::ReadOnly(text)
            | Self::Keyring(text)
            | Self::KeyringMode(text)
            | Self::DirectoryMode(text)
            | Self::KdfUpgrade(text) => f.write_str(text),
        }
    }
}

/// Making, opening, closing.
impl Db {
    pub(crate) const KEYRING_FILE: &'static str = "keyring";

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

    pub(crate) fn create_with<E: From<Error>>(
        dir: &Path,
        passphrase: &Passphrase,
        options: &Options,
        prepare: impl FnOnce(&Self) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let db = Self::draft(dir, passphrase, options)?;
        prepare(&db)?;
        // From here on it is a database.
        db.store.keyring().publish(&mut rand::rng()).map_err(Error::from)?;
        Ok(db)
    }

    /// A database but for its keyring, without which a directory is none: the
    /// keyring is in memory.
    fn draft(dir: &Path, passphrase: &Passphrase, options: &Options) -> Result<Self> {
        directory::check(dir)?;
        let refuse_other =
            || if Self::exists(dir) { Err(Error::AlreadyExists { dir: dir.to_owned() }) } else { Ok(()) };
        refuse_other()?;
        // Refused before anything is made.
        passphrase.check_new()?;
        disk::create_private_directory(dir).map_err(Error::file(dir, "cannot be created"))?;
        let lock = lock(dir, options)?;
        // Whoever held the lock may have made one.
        refuse_other()?;
        unfinished::sweep(dir)?;
        version::write(dir)?;
        let (opened, told) = unfinished::storage(dir, || open_storage(dir, options, true))?;
        let keyring = draft_keyring(dir, passphrase, options)?;
        Self::assemble(dir, Some(lock), opened, keyring, told, None, options)
    }

    pub(crate) fn open_with(dir: &Path, unlock: Unlock<'_>, options: &Options) -> Result<Self> {
        directory::check(dir)?;
        let version = version::read(dir)?;
        if !Self::exists(dir) {
            return Err(unfinished::without_keyring(dir));
        }
        if options.read_only {
            return read_only::open(dir, unlock, options);
        }
        if backup::is_one(dir) {
            return Err(Error::IsBackup { dir: dir.to_owned() });
        }
        let lock = match lock(dir, options) {
            Err(problem) if problem.is_read_only_medium() => return read_only::open_there(dir, unlock, options),
            lock => lock?,
        };
        let is_right = |keyring: &Keyring| matches!(standing::load(dir, keyring), Ok(Kept::Own(_) | Kept::Former));
        let opening = Opening { is_right: &is_right, ..Opening::default() };
        let keyring = Keyring::open_with(&dir.join(Self::KEYRING_FILE), unlock, &opening, &mut rand::rng());
        let keyring = keyring.map_err(|problem| match problem {
            KeyringError::NotFound { .. } => Error::NoDatabase { dir: dir.to_owned() },
            problem => problem.into(),
        })?;
        if matches!(version, Version::WithoutJournal) {
            // From here on a program that knows no journal must not write.
            version::write(dir)?;
        }
        let opened = open_storage(dir, options, false)?;
        let db = Self::assemble(dir, Some(lock), opened, keyring, None, None, options)?;
        db.mend_version(&version);
        Ok(db)
    }

    /// Writes the file `VERSION` anew if it was lost. That everything else opens
    /// says that it is of this version.
    fn mend_version(&self, found: &Version) {
        let fact = match found {
            Version::Known | Version::WithoutJournal => return,
            Version::Missing => "VERSION is missing".to_owned(),
            Version::Damaged(detail) => format!("VERSION is damaged ({detail})"),
        };
        let done = if self.is_writable() { Some(version::write(self.dir())) } else { None };
        self.warn(Warning::Repaired(match done {
            Some(Ok(())) => format!("{fact}, and was made anew"),
            Some(Err(problem)) => format!("{fact}, and cannot be made anew: {problem}"),
            None => format!("{fact}, and is made anew once the database can be written to"),
        }));
    }

    /// `kept` is the own checkpoint, if it was read before.
    pub(crate) fn assemble(
        dir: &Path,
        lock: Option<DirLock>,
        opened: Opened,
        keyring: Keyring,
        told: Option<Warning>,
        kept: Option<Result<Kept>>,
        options: &Options,
    ) -> Result<Self> {
        let mut warnings: Vec<Warning> = told.into_iter().collect();
        warnings.extend(keyring.mode_warning().map(Warning::KeyringMode));
        warnings.extend(keyring.mending().map(|mending| Warning::Keyring(mending.to_string())));
        warnings.extend(directory::mode_warning(dir).map(Warning::DirectoryMode));
        if let KdfUpgrade::Failed { cause } = keyring.kdf_upgrade() {
            warnings.push(Warning::KdfUpgrade(format!("the passphrase could not be stretched more: {cause}")));
        }
        let node = keyring.node_key().node_key();
        // About 2 KiB a state.
        let index_capacity = usize::try_from(options.cache_bytes / 2048).unwrap_or(usize::MAX);
        let store = Store::new(dir.to_owned(), opened.storage, keyring, index_capacity)?;
        warnings.extend(fit::check(&store)?);
        if opened.may_lack_commits {
            let mut batch = Batch::new();
            batch.put(schema::COMMITS_LOST, store.rows.seal(schema::COMMITS_LOST, &[]));
            store.commit(batch)?;
            store.sync()?;
        }
        let mut recovered = recover(&store, options.rebuild)?;
        let is_read_only = kept.is_some();
        let kept = kept.unwrap_or_else(|| standing::load(dir, &store.keyring()));
        let kept_is_good = kept.is_ok();
        let read_with = match &kept {
            Ok(Kept::Own(note)) => Some(note.clone()),
            _ => None,
        };
        let standing = match &kept {
            Ok(Kept::Own(note)) => Some((compare(&store, &node, note, &mut recovered)?, note.claimed().size)),
            _ => None,
        };
        let committer = Committer::new(node.origin(), options.clock, options.future_tolerance_ms);
        warnings.extend(opened.notices.into_iter().map(Warning::Repaired));
        warnings.extend(recovered.repaired.into_iter().map(Warning::Repaired));
        if let Some(problem) = recovered.read_only {
            warnings.push(Warning::Damaged(format!("{problem}; reading goes on, writing is refused")));
            committer.close(problem);
        }
        let mut checkpointed = 0;
        match standing {
            Some((Standing::Consistent, size)) => checkpointed = size,
            // What cannot be read cannot be compared.
            Some((Standing::Different { .. }, _)) if committer.check_open().is_err() => {}
            Some((found, _)) => {
                committer.close(Error::RolledBack { detail: found.to_string() });
                warnings.push(Warning::Standing(found));
            }
            None => warnings.extend(without_checkpoint(kept)),
        }
        Ok(Self {
            tokens: Tokens::load(&store)?,
            store,
            committer,
            options: options.clone(),
            catalogue: Catalogue::default(),
            warnings: Mutex::new(warnings),
            checkpointed: Mutex::new(checkpointed),
            replica: Mutex::default(),
            waiting: Mutex::default(),
            closed: false,
            // One that is damaged is told of each time.
            read_with: (is_read_only && kept_is_good).then_some(read_with),
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
        if writable {
            self.flush_last_used();
        }
        self.committer.close(Error::Closed);
        if writable {
            self.write_index()?;
            self.renew_checkpoint(1)?;
        }
        self.store.storage.close().map_err(Error::from)
    }

    /// Gives the node a new node key and encryption key, and closes the
    /// database: for a copy or restored backup, which must not write under the
    /// same key as the original, and for a ledger that was cut, which can then
    /// be written to again. The last checkpoint of the former key is kept
    /// beside the database. Entries stay readable.
    ///
    /// If it is broken off by a crash, the node has its former keys or the new
    /// ones, and it can be repeated.
    ///
    /// # Errors
    /// [`Error::Keyring`] or [`Error::File`] if files cannot be replaced.
    pub fn new_node_key(mut self) -> Result<NodeKey> {
        if matches!(self.committer.check_open(), Err(Error::OpenedReadOnly)) {
            return Err(Error::OpenedReadOnly);
        }
        // Where nothing can be written any more, the keys stay.
        self.store.sync()?;
        // What proves how the ledger was comes first: from the next step on
        // the checkpoint may be replaced.
        standing::keep_former(self.dir())?;
        let key = self.store.keyring().rotate_node_key(&mut rand::rng())?;
        if self.committer.check_open().is_err() {
            // The ledger is taken as it is, which is for a key to say that has
            // signed nothing yet. What follows from it may still speak of what
            // it was.
            recover(&self.store, true)?;
            accept_lost_ids(&self.store)?;
        }
        let tree = self.store.tree();
        let signer = Arc::clone(self.store.keyring().node_key());
        self.store.sync()?;
        standing::sign(self.dir(), &signer, tree.size(), tree.root())?;
        self.committer.close(Error::Closed);
        self.shut()?;
        Ok(key)
    }

    fn write_index(&self) -> Result<()> {
        while let Some(flush) = self.store.index.rows(&self.store.rows, self.store.size(), 1024) {
            self.store.commit(flush.batch)?;
            self.store.index.written(&flush.tags);
        }
        Ok(())
    }

    /// Whether entries are taken. Not so after an opening that found the ledger
    /// damaged or set back, or a peer that proved it, and after a write that
    /// could not be completed, until it is opened again.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.committer.check_open().is_ok()
    }

    /// What was noticed when the database was opened, and what is wrong now.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.lock().expect("no thread panics while it holds the warnings").clone();
        if let Some(problem) = self.store.keyring().copy_problem() {
            let fact = format!(
                "the copy of the keyring is older than the keyring: {problem}; it is written with the next change"
            );
            warnings.push(Warning::Keyring(fact));
        }
        warnings
    }

    /// There is one more.
    pub(crate) fn warn(&self, warning: Warning) {
        self.warnings.lock().expect("no thread panics while it holds the warnings").push(warning);
    }

    /// Refuses a directory of another user, and one in which a link, pipe or
    /// other thing lies in the place of a file of the database, as opening does.
    /// It is for programs that look into the directory before they open it. One
    /// that is not there, or holds no database, is not refused.
    ///
    /// # Errors
    /// [`Error::is_other_user`], [`Error::is_not_own_file`].
    pub fn check_directory(dir: impl AsRef<Path>) -> Result<()> {
        directory::check(dir.as_ref())
    }

    /// Whether there is a database in `dir`: a keyring, or its copy. A directory
    /// without one is none, or one that was not finished.
    pub fn exists(dir: impl AsRef<Path>) -> bool {
        Keyring::there(&dir.as_ref().join(Self::KEYRING_FILE)).is_some()
    }

    /// The names in a directory that are not those of files that a database has in
    /// it, sorted. What is left of a database that was not finished is not named:
    /// [`Options::create`] can be repeated.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be listed.
    pub fn strangers_in(dir: impl AsRef<Path>) -> Result<Vec<std::ffi::OsString>> {
        directory::strangers(dir.as_ref())
    }

    /// The names of files that a process which was killed left half written.
    /// Nothing reads them. One that is being written in this moment can be among
    /// them.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be listed.
    pub fn unfinished(&self) -> Result<Vec<String>> {
        let _keyring = self.store.keyring();
        let _checkpoint = self.checkpointed.lock().expect("no thread panics while it signs");
        unfinished::files(self.dir())
    }

    /// Removes them, and tells their names.
    ///
    /// # Errors
    /// [`Error::File`] if one cannot be removed.
    pub fn remove_unfinished(&self) -> Result<Vec<String>> {
        // Nobody writes such a file meanwhile.
        let _keyring = self.store.keyring();
        let _checkpoint = self.checkpointed.lock().expect("no thread panics while it signs");
        unfinished::sweep(self.dir())
    }

    /// Whether another process, or another handle of this one, has the database
    /// open: nothing is waited for, made or written. [`Error::Locked`] tells its
    /// process.
    ///
    /// # Errors
    /// [`Error::is_locked`] if so; [`Error::File`] if that cannot be told.
    pub fn check_unlocked(dir: impl AsRef<Path>) -> Result<()> {
        let dir = dir.as_ref();
        match DirLock::holder(dir) {
            Ok(None) => Ok(()),
            Ok(Some(holder)) => Err(Error::Locked { dir: dir.to_owned(), holder }),
            Err(problem) => Err(Error::of_lock(dir, problem)),
        }
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

/// A keyring in memory, and the checkpoint of an empty ledger.
fn draft_keyring(dir: &Path, passphrase: &Passphrase, options: &Options) -> Result<Keyring> {
    let mut rng = rand::rng();
    let mut keyring = Keyring::draft(&dir.join(Db::KEYRING_FILE), passphrase, options.kdf, &mut rng)?;
    keyring.add_actor(&options.actor, unix_now(), &mut rng)?;
    keyring.create_segment_key(0, &mut rng)?;
    if options.write_only {
        peers::set_write_only(&mut keyring)?;
    }
    standing::sign(dir, keyring.node_key(), 0, thingdb_format::merkle::root([]))?;
    Ok(keyring)
}

/// How the ledger stands against the own checkpoint. Rows of the tree that do
/// not open are made anew.
fn compare(store: &Store, node: &NodeKey, note: &SignedCheckpoint, recovered: &mut Recovered) -> Result<Standing> {
    match standing::compare(store, node.origin(), note.claimed()) {
        Err(problem) if problem.is_damaged() => {
            repair_tree(store, recovered)?;
            standing::compare(store, node.origin(), note.claimed())
        }
        found => found,
    }
}

/// What is to be said if there is no own checkpoint to compare with.
fn without_checkpoint(kept: Result<Kept>) -> Option<Warning> {
    let text = match kept {
        Ok(Kept::Own(_)) => return None,
        // A new database gets its first one when it is made.
        Ok(Kept::Nothing) => "the node's own last checkpoint is gone".to_owned(),
        Ok(Kept::Former) => "the last checkpoint is of a key that the node had before: a change of its keys was \
                             broken off, or an old file was put back"
            .to_owned(),
        Err(problem) => problem.to_string(),
    };
    Some(Warning::Checkpoint(text))
}

fn lock(dir: &Path, options: &Options) -> Result<DirLock> {
    DirLock::acquire_within(dir, Duration::from_millis(options.lock_timeout_ms))
        .map_err(|problem| Error::of_lock(dir, problem))
}

/// The lock of a directory that is not opened.
pub(crate) fn lock_for(dir: &Path) -> Result<DirLock> {
    lock(dir, &Options::new())
}

pub(crate) fn open_storage(dir: &Path, options: &Options, create: bool) -> Result<Opened> {
    let with = With {
        cache_bytes: options.cache_bytes,
        free_floor_bytes: options.free_floor_bytes,
        reserve_bytes: options.reserve_bytes,
        sync_hook: options.fail_sync_at.map(failing_sync),
        is_derived: schema::is_derived,
        is_permanent: schema::is_permanent,
        keep: options.journal,
        heal: options.heal,
        create,
        in_memory: options.in_memory,
    };
    Ok(open::open(dir, with)?)
}

/// Lets every sync from the `at`-th on fail.
fn failing_sync(at: u64) -> SyncHook {
    Arc::new(move |n| if n >= at { Err(std::io::Error::other("a sync was made to fail")) } else { Ok(()) })
}

//! The database: what it is made of, how it is opened and closed.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thingdb_format::{NodeKey, Origin, SignedCheckpoint};

use crate::actors::unix_now;
use crate::committer::Committer;
use crate::directory;
use crate::disk::{self, Access};
use crate::error::{Error, Result};
use crate::exchange::waiting::Room;
use crate::keyring::{KdfUpgrade, Keyring, KeyringError, Unlock};
use crate::lock::{DirLock, LockError};
use crate::options::Options;
use crate::passphrase::Passphrase;
use crate::peers;
use crate::recover::{Recovered, accept_lost_ids, recover, repair_tree};
use crate::schema;
use crate::standing::{self, Kept, Standing};
use crate::storage::journal;
use crate::storage::memory::MemoryStorage;
use crate::storage::sled::{SledOptions, SledStorage, SyncHook};
use crate::storage::view::View;
use crate::storage::{Direction, Storage};
use crate::store::Store;
use crate::things::Catalogue;
use crate::tokens::Tokens;

/// Version of the layout of the directory and of the rows.
pub const STORE_VERSION: u64 = 2;

const VERSION_FILE: &str = "VERSION";
const KEYRING_FILE: &str = "keyring";
/// A keyring that is being made. The first keyring that is written removes it
/// if a crash left it.
const UNFINISHED_KEYRING_FILE: &str = ".keyring.unfinished.new";

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
            | Self::KeyringMode(text)
            | Self::DirectoryMode(text)
            | Self::KdfUpgrade(text) => f.write_str(text),
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
        directory::check(dir)?;
        if has_keyring(dir) {
            return Err(Error::AlreadyExists { dir: dir.to_owned() });
        }
        // Refused before anything is made.
        passphrase.check_new()?;
        disk::create_private_directory(dir).map_err(Error::file(dir, "cannot be created"))?;
        let lock = lock(dir, options)?;
        // Whoever held the lock may have made one.
        if has_keyring(dir) {
            return Err(Error::AlreadyExists { dir: dir.to_owned() });
        }
        sweep(dir)?;
        let version = format!("thingdb {STORE_VERSION}\n");
        let version_file = dir.join(VERSION_FILE);
        disk::replace_file(&version_file, version.as_bytes(), 0o644)
            .map_err(Error::file(&version_file, "cannot be written"))?;
        let storage = open_storage(dir, options)?;
        if storage.scan(&schema::blocks(), Direction::Forward).next().transpose()?.is_some() {
            return Err(Error::damaged(dir.display().to_string(), "it holds entries, and their keyring is missing"));
        }
        let keyring = create_keyring(dir, passphrase, options)?;
        Self::assemble(dir, Some(lock), storage, keyring, None, options)
    }

    pub(crate) fn open_with(dir: &Path, unlock: Unlock<'_>, options: &Options) -> Result<Self> {
        directory::check(dir)?;
        check_version(dir)?;
        if options.read_only {
            return Self::open_to_read(dir, unlock, options);
        }
        let lock = match lock(dir, options) {
            Err(problem) if problem.is_read_only_medium() => {
                let db = Self::open_to_read(dir, unlock, options)?;
                db.warn(Warning::ReadOnly(
                    "nothing can be written where it lies: it is opened to read only".to_owned(),
                ));
                return Ok(db);
            }
            lock => lock?,
        };
        let keyring = Keyring::open(&dir.join(KEYRING_FILE), unlock, &mut rand::rng());
        let keyring = keyring.map_err(|problem| match problem {
            KeyringError::NotFound { .. } => Error::NoDatabase { dir: dir.to_owned() },
            problem => problem.into(),
        })?;
        let storage = open_storage(dir, options)?;
        Self::assemble(dir, Some(lock), storage, keyring, None, options)
    }

    /// Opens from the journal alone and writes nothing; others may write.
    fn open_to_read(dir: &Path, unlock: Unlock<'_>, options: &Options) -> Result<Self> {
        let path = dir.join(KEYRING_FILE);
        let open = || Keyring::open_read_only(&path, unlock);
        let is_of = || std::fs::metadata(&path).ok().map(|found| (found.ino(), found.mtime(), found.mtime_nsec()));
        let was = is_of();
        let keyring = open().map_err(|problem| match problem {
            KeyringError::NotFound { .. } => Error::NoDatabase { dir: dir.to_owned() },
            problem => problem.into(),
        })?;
        // A checkpoint is signed for what is in the journal by then, and a key is
        // in the keyring before anything is sealed with it.
        let kept = standing::load(dir, &keyring);
        let view = Arc::new(View::open(&dir.join(journal::DIRECTORY), None)?);
        let keyring = if is_of() == was { keyring } else { open()? };
        let holes = view.holes().iter().filter(|hole| !hole.sequences.is_empty()).map(|hole| {
            let (first, last) = hole.sequences.clone().into_inner();
            let file = hole.file.display();
            Warning::Damaged(format!("{file}: the commits {first} to {last} cannot be read; the store may have them"))
        });
        let holes: Vec<_> = holes.collect();
        let db = Self::assemble(dir, None, Box::new(Arc::clone(&view)), keyring, Some(kept), options)?;
        db.committer.close(Error::OpenedReadOnly);
        view.seal();
        holes.into_iter().for_each(|hole| db.warn(hole));
        Ok(db)
    }

    fn assemble(
        dir: &Path,
        lock: Option<DirLock>,
        storage: Box<dyn Storage>,
        keyring: Keyring,
        kept: Option<Result<Kept>>,
        options: &Options,
    ) -> Result<Self> {
        let mut warnings: Vec<Warning> = keyring.mode_warning().map(Warning::KeyringMode).into_iter().collect();
        warnings.extend(directory::mode_warning(dir).map(Warning::DirectoryMode));
        if let KdfUpgrade::Failed { cause } = keyring.kdf_upgrade() {
            warnings.push(Warning::KdfUpgrade(format!("the passphrase could not be stretched more: {cause}")));
        }
        let node = keyring.node_key().node_key();
        // About 2 KiB a state.
        let index_capacity = usize::try_from(options.cache_bytes / 2048).unwrap_or(usize::MAX);
        let store = Store::new(dir.to_owned(), storage, keyring, index_capacity)?;
        let mut recovered = recover(&store, options.rebuild)?;
        let kept = kept.unwrap_or_else(|| standing::load(dir, &store.keyring()));
        let standing = match &kept {
            Ok(Kept::Own(note)) => Some((compare(&store, &node, note, &mut recovered)?, note.claimed().size)),
            _ => None,
        };
        let committer = Committer::new(node.origin(), options.clock, options.future_tolerance_ms);
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

    /// What was noticed when the database was opened.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().expect("no thread panics while it holds the warnings").clone()
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

    /// The names in a directory that are not those of files that a database has in
    /// it, sorted. What is left of a database that was not finished is not named:
    /// [`Options::create`] can be repeated.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be listed.
    pub fn strangers_in(dir: impl AsRef<Path>) -> Result<Vec<std::ffi::OsString>> {
        directory::strangers(dir.as_ref())
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
            Err(problem) => Err(lock_problem(dir, problem)),
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

/// Makes the keyring, which comes last: a directory without it is no database
/// yet. Under its name it appears with everything in it.
fn create_keyring(dir: &Path, passphrase: &Passphrase, options: &Options) -> Result<Keyring> {
    let (unfinished, path) = (dir.join(UNFINISHED_KEYRING_FILE), dir.join(KEYRING_FILE));
    let mut rng = rand::rng();
    let mut keyring = Keyring::create(&unfinished, passphrase, options.kdf, &mut rng)?;
    keyring.add_actor(&options.actor, unix_now(), &mut rng)?;
    keyring.create_segment_key(0, &mut rng)?;
    if options.write_only {
        peers::set_write_only(&mut keyring)?;
    }
    standing::sign(dir, keyring.node_key(), 0, thingdb_format::merkle::root([]))?;
    std::fs::rename(&unfinished, &path)
        .and_then(|()| disk::sync_directory(dir))
        .map_err(Error::file(&path, "cannot be written"))?;
    Ok(Keyring::open(&path, Unlock::Passphrase(passphrase), &mut rng)?)
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

fn has_keyring(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir.join(KEYRING_FILE)).is_ok()
}

/// Removes what was being made when an earlier process ended.
fn sweep(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(Error::file(dir, "cannot be listed"))? {
        let entry = entry.map_err(Error::file(dir, "cannot be listed"))?;
        if entry.file_name().to_str().is_some_and(directory::is_unfinished) {
            std::fs::remove_file(entry.path()).map_err(Error::file(entry.path(), "cannot be removed"))?;
        }
    }
    Ok(())
}

fn lock(dir: &Path, options: &Options) -> Result<DirLock> {
    DirLock::acquire_within(dir, Duration::from_millis(options.lock_timeout_ms))
        .map_err(|problem| lock_problem(dir, problem))
}

fn lock_problem(dir: &Path, problem: LockError) -> Error {
    match problem {
        LockError::Locked { holder, .. } => Error::Locked { dir: dir.to_owned(), holder },
        LockError::Io { path, source } => Error::file(path, "cannot be locked")(source),
    }
}

fn open_storage(dir: &Path, options: &Options) -> Result<Box<dyn Storage>> {
    if options.in_memory {
        return Ok(Box::new(MemoryStorage::new()));
    }
    let with = SledOptions {
        cache_bytes: options.cache_bytes,
        free_floor_bytes: options.free_floor_bytes,
        reserve_bytes: options.reserve_bytes,
        sync_hook: options.fail_sync_at.map(failing_sync),
        ..SledOptions::default()
    };
    Ok(Box::new(SledStorage::open(dir, with)?))
}

/// Lets every sync from the `at`-th on fail.
fn failing_sync(at: u64) -> SyncHook {
    Arc::new(move |n| if n >= at { Err(std::io::Error::other("a sync was made to fail")) } else { Ok(()) })
}

/// Refuses a directory that is no database, or one of a newer version.
fn check_version(dir: &Path) -> Result<()> {
    let path: PathBuf = dir.join(VERSION_FILE);
    let damaged = |detail: &str| Error::damaged(path.display().to_string(), detail);
    let read = disk::open_file(&path, Access::Read).and_then(|file| {
        let mut text = Vec::new();
        // More than a version has.
        file.take(1 << 10).read_to_end(&mut text)?;
        Ok(text)
    });
    let text = match read {
        Ok(text) => text,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
            return Err(if has_keyring(dir) {
                damaged("it is missing")
            } else {
                Error::NoDatabase { dir: dir.to_owned() }
            });
        }
        Err(problem) => return Err(Error::file(&path, "cannot be read")(problem)),
    };
    let digits = std::str::from_utf8(&text).ok().and_then(|text| text.strip_prefix("thingdb "));
    match digits.and_then(|digits| digits.trim_end().parse::<u64>().ok()) {
        Some(STORE_VERSION) => Ok(()),
        Some(found) if found > STORE_VERSION => Err(Error::NewerVersion { found, known: STORE_VERSION }),
        Some(found) => Err(Error::OlderVersion { found, known: STORE_VERSION }),
        _ => Err(damaged("it does not hold a version")),
    }
}

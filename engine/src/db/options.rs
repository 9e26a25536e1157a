//! How a database is made and opened.

use std::path::Path;
use std::sync::Arc;

use thingdb_format::Suite;

use super::Db;
use crate::backup::Restore;
use crate::clock::system_clock;
use crate::disk::lock::DirLock;
use crate::error::{Error, Result};
use crate::keyring::passphrase::Passphrase;
use crate::keyring::{KdfChoice, RecoveryKey, Unlock};
use crate::node::Durability;
use crate::progress::Progress;
use crate::storage::journaled::{Keep, ReplayHook};

/// Options with defaults, for [`Db::create`] and [`Db::open`].
///
/// ```
/// use thingdb::{Durability, Options, Passphrase};
/// # let tmp = tempfile::tempdir()?;
/// # let dir = tmp.path().join("things");
/// let passphrase = Passphrase::new(b"correct horse battery".to_vec());
/// let options = Options::new().actor("alice").durability(Durability::Relaxed);
/// # let options = options.kdf(thingdb::KdfChoice::weakest());
/// let db = options.create(&dir, &passphrase)?;
/// db.put("part-42", r#"{"temp":20.1}"#)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) actor: String,
    pub(crate) durability: Durability,
    pub(crate) cache_bytes: u64,
    pub(crate) kdf: KdfChoice,
    pub(crate) suite: Suite,
    pub(crate) fields_provable: bool,
    pub(crate) future_tolerance_ms: u64,
    pub(crate) threads: usize,
    pub(crate) free_floor_bytes: u64,
    pub(crate) reserve_bytes: u64,
    pub(crate) lock_timeout_ms: u64,
    pub(crate) write_only: bool,
    pub(crate) rebuild: bool,
    pub(crate) read_only: bool,
    pub(crate) restoring: Option<Arc<DirLock>>,
    pub(crate) heal: bool,
    pub(crate) journal: Option<Keep>,
    pub(crate) rebuilding: Option<Rebuilding>,
    pub(crate) fail_sync_at: Option<u64>,
    pub(crate) in_memory: bool,
    pub(crate) clock: fn() -> u64,
}

/// Told of a store that is built anew.
#[derive(Clone)]
pub(crate) struct Rebuilding(Arc<dyn Fn(Progress) + Send + Sync>);

impl Rebuilding {
    pub(crate) fn hook(self) -> ReplayHook {
        Arc::new(move |done, total| (self.0)(Progress { done, total, bytes: 0 }))
    }
}

impl std::fmt::Debug for Rebuilding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rebuilding(..)")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            actor: "owner".into(),
            durability: Durability::Durable,
            cache_bytes: 64 << 20,
            kdf: KdfChoice::Default,
            suite: Suite::Aes256Gcm,
            fields_provable: false,
            future_tolerance_ms: 300_000,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            free_floor_bytes: 16 << 20,
            reserve_bytes: 4 << 20,
            lock_timeout_ms: 1_000,
            write_only: false,
            rebuild: false,
            read_only: false,
            restoring: None,
            heal: false,
            journal: None,
            rebuilding: None,
            fail_sync_at: None,
            in_memory: false,
            clock: system_clock,
        }
    }
}

impl Options {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Name of the first actor of a new database; `owner` by default.
    #[must_use]
    pub fn actor(mut self, name: &str) -> Self {
        self.actor = name.into();
        self
    }

    /// When writes are acknowledged; [`Durability::Durable`] by default.
    #[must_use]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Memory for pages that were read, in bytes, and the same again for what is
    /// known of the things that were used last; 64 MiB each by default. The
    /// storage takes more for its own bookkeeping.
    #[must_use]
    pub const fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How the passphrase of a new database is stretched.
    #[must_use]
    pub const fn kdf(mut self, kdf: KdfChoice) -> Self {
        self.kdf = kdf;
        self
    }

    /// The cipher for new payloads; AES-256-GCM by default.
    #[must_use]
    pub const fn suite(mut self, suite: Suite) -> Self {
        self.suite = suite;
        self
    }

    /// Whether single fields can be shown of what is written from now on, where the draft
    /// says nothing of it ([`Draft::fields_provable`](crate::Draft::fields_provable)); not
    /// so by default.
    #[must_use]
    pub const fn fields_provable(mut self, provable: bool) -> Self {
        self.fields_provable = provable;
        self
    }

    /// How far ahead of this node's clock an imported entry may be, in
    /// milliseconds; 5 minutes by default.
    #[must_use]
    pub const fn future_tolerance_ms(mut self, ms: u64) -> Self {
        self.future_tolerance_ms = ms;
        self
    }

    /// Threads that verify and import; all cores by default.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads.max(1);
        self
    }

    /// Free space of the file system below which writes are refused, in
    /// bytes; 16 MiB by default.
    #[must_use]
    pub const fn free_floor_bytes(mut self, bytes: u64) -> Self {
        self.free_floor_bytes = bytes;
        self
    }

    /// Size of the file that is given up so that a full disk can be opened,
    /// in bytes; 4 MiB by default.
    #[must_use]
    pub const fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }

    /// How long to wait for another process, or another handle of this one, that
    /// has the database open, in milliseconds; 1 second by default. Who waits
    /// tries at random times, at most 40 ms apart.
    #[must_use]
    pub const fn lock_timeout_ms(mut self, ms: u64) -> Self {
        self.lock_timeout_ms = ms;
        self
    }

    /// Makes a new database write-only: it keeps no CEK, so it cannot read what
    /// it wrote, nor can who takes it over. Entries are sealed to peers, of
    /// whom each entry needs at least one.
    #[must_use]
    pub const fn write_only(mut self, write_only: bool) -> Self {
        self.write_only = write_only;
        self
    }

    /// Makes everything anew at opening that follows from the ledger: the
    /// index and the tree. Takes time in proportion to the ledger.
    #[must_use]
    pub const fn rebuild(mut self, rebuild: bool) -> Self {
        self.rebuild = rebuild;
        self
    }

    /// Opens to read only, from the journal alone: nothing is written in the
    /// directory, no lock is taken, and another process may have the database
    /// open; what it had stored at the moment of the opening is read. What would
    /// write returns [`Error::is_read_only`](crate::Error::is_read_only). Opening
    /// reads the whole journal, and what follows from the ledger is made anew in
    /// memory if it is not in the journal: about 33 bytes a row and 200 a thing.
    #[must_use]
    pub const fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Opens what a [restore](crate::Restore) has made that is not ended yet, which
    /// nobody else can.
    #[must_use]
    pub fn restoring(mut self, restore: &Restore) -> Self {
        self.restoring = Some(restore.lock());
        self
    }

    /// Reads the whole journal at opening and holds the store against it: what one
    /// of them has lost comes from the other, and is written back. Takes time in
    /// proportion to the database, and 100 bytes of memory a row.
    #[must_use]
    pub const fn heal(mut self, heal: bool) -> Self {
        self.heal = heal;
        self
    }

    /// How much of the journal is kept, from this opening on: later ones keep as much
    /// by themselves. At first all of it is.
    ///
    /// A journal that keeps recent commits only is no second copy: a store that is
    /// damaged cannot be built anew from it, and nobody can read beside a writer or
    /// begin a backup once commits were dropped. What a backup that was begun has not
    /// fetched is kept for it. If all is to be kept again, the journal is written anew
    /// from the store at this opening.
    ///
    /// ```
    /// use thingdb::{Db, Keep, Options, Passphrase};
    /// # let tmp = tempfile::tempdir()?;
    /// # let dir = tmp.path().join("things");
    /// let passphrase = Passphrase::new("correct horse battery");
    /// # let kdf = thingdb::KdfChoice::weakest();
    /// let db = Options::new().journal(Keep::Recent).kdf(kdf).create(&dir, &passphrase)?;
    /// db.close()?;
    /// assert_eq!(Db::open(&dir, &passphrase)?.stats()?.journal, Keep::Recent);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn journal(mut self, keep: Keep) -> Self {
        self.journal = Some(keep);
        self
    }

    /// Told how many commits of the journal the store has, and of how many, while an
    /// opening builds it anew or brings it up to date and that takes a while.
    #[must_use]
    pub fn while_rebuilding(mut self, report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.rebuilding = Some(Rebuilding(Arc::new(report)));
        self
    }

    /// Makes the `n`-th sync fail, to test what happens then.
    #[doc(hidden)]
    #[must_use]
    pub const fn fail_sync_at(mut self, n: u64) -> Self {
        self.fail_sync_at = Some(n);
        self
    }

    /// Keeps the rows in memory, for tests that need none of them afterwards.
    /// Keyring and checkpoint are files as ever.
    #[doc(hidden)]
    #[must_use]
    pub const fn in_memory(mut self, in_memory: bool) -> Self {
        self.in_memory = in_memory;
        self
    }

    /// Another clock than the system's, in microseconds since 1970, to test
    /// what happens when clocks jump.
    #[doc(hidden)]
    #[must_use]
    pub const fn clock(mut self, clock: fn() -> u64) -> Self {
        self.clock = clock;
        self
    }

    /// Makes a database in `dir`, which is created if it is not there.
    ///
    /// # Errors
    /// [`Error::is_already_exists`](crate::Error::is_already_exists) among
    /// others.
    pub fn create(&self, dir: impl AsRef<Path>, passphrase: &Passphrase) -> Result<Db> {
        self.create_prepared(dir, passphrase, |_| Ok(()))
    }

    /// Makes a database that has its settings from its first moment on: peers,
    /// audience, tokens. Until `prepare` has returned there is no database in
    /// `dir`; whatever ends it before, it can be made again. It is not for
    /// entries.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let dir = tmp.path().join("things");
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let options = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest());
    /// let db = options.create_prepared(&dir, &passphrase, |db| db.new_actor("press").map(drop))?;
    /// assert_eq!(db.own_actors().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Options::create`], and what `prepare` returns.
    pub fn create_prepared<E: From<Error>>(
        &self,
        dir: impl AsRef<Path>,
        passphrase: &Passphrase,
        prepare: impl FnOnce(&Db) -> std::result::Result<(), E>,
    ) -> std::result::Result<Db, E> {
        Db::create_with(dir.as_ref(), passphrase, self, prepare)
    }

    /// Opens the database in `dir`.
    ///
    /// # Errors
    /// [`Error::is_no_database`](crate::Error::is_no_database),
    /// [`Error::is_other_user`](crate::Error::is_other_user),
    /// [`Error::is_not_own_file`](crate::Error::is_not_own_file),
    /// [`Error::is_locked`](crate::Error::is_locked),
    /// [`Error::is_wrong_passphrase`](crate::Error::is_wrong_passphrase),
    /// [`Error::is_newer_version`](crate::Error::is_newer_version),
    /// [`Error::is_damaged`](crate::Error::is_damaged) among others.
    pub fn open(&self, dir: impl AsRef<Path>, passphrase: &Passphrase) -> Result<Db> {
        Db::open_with(dir.as_ref(), Unlock::Passphrase(passphrase), self)
    }

    /// Opens the database in `dir` with its recovery key.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open_with_recovery_key(&self, dir: impl AsRef<Path>, key: &RecoveryKey) -> Result<Db> {
        Db::open_with(dir.as_ref(), Unlock::RecoveryKey(key), self)
    }
}

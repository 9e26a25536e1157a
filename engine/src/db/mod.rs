//! Every public call on a database, a file a subject. This is the only room that
//! knows [`Db`]: what the calls work on is the [node](crate::node).

mod actors;
mod addresses;
mod backup;
mod begun;
mod changes;
mod close;
mod compare;
pub(crate) mod erase;
mod exchange;
mod export;
pub(crate) mod forks;
mod heads;
pub(crate) mod hold;
mod import;
mod keyring;
pub(crate) mod keys;
mod migrate;
mod open;
pub(crate) mod options;
mod peers;
mod prove;
pub(crate) mod read;
mod read_only;
pub(crate) mod receipts;
pub(crate) mod retain;
pub(crate) mod salvage;
pub(crate) mod share;
pub(crate) mod short_ids;
mod slots;
mod timestamp;
mod tls;
mod tokens;
mod verify;
mod waiting;
pub(crate) mod warning;
mod witness;
mod write;

use std::path::Path;
use std::sync::{Arc, Mutex};

use thingdb_format::{NodeKey, Origin};

use crate::directory::{self, unfinished};
use crate::disk::lock::DirLock;
use crate::error::{Error, Result};
use crate::exchange::waiting::WaitingRoom;
use crate::keyring::Keyring;
use crate::keyring::passphrase::Passphrase;
use crate::node::Node;

use options::Options;
use warning::Warning;

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
    node: Node,
    options: Options,
    /// Held by one import at a time.
    waiting: WaitingRoom,
    warnings: Mutex<Vec<Warning>>,
    closed: bool,
    /// Held until everything else is gone; nobody holds one who only reads.
    _lock: Option<Arc<DirLock>>,
}

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

    /// Whether entries are taken. Not so after an opening that found the ledger
    /// damaged or set back, or a peer that proved it, and after a write that
    /// could not be completed, until it is opened again.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.node.committer.check_open().is_ok()
    }

    /// What was noticed when the database was opened, and what is wrong now.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.warnings.lock().expect("no thread panics while it holds the warnings").clone();
        if let Some(problem) = self.node.store.keyring().copy_problem() {
            let fact = format!(
                "the copy of the keyring is older than the keyring: {problem}; it is written with the next change"
            );
            warnings.push(Warning::Keyring(fact));
        }
        warnings.extend(self.node.removed_keyrings().into_iter().map(|path| {
            Warning::Keyring(format!(
                "{} was removed: it may have held keys of entries that were erased",
                path.display()
            ))
        }));
        warnings
    }

    /// There is one more.
    pub(crate) fn warn(&self, warning: Warning) {
        self.warnings.lock().expect("no thread panics while it holds the warnings").push(warning);
    }

    /// Changes what the keyring says of trust, peers or audience, and carries out the
    /// erasures that are allowed since: what was refused is decided anew.
    fn change_keyring<T>(&self, change: impl FnOnce(&mut Keyring) -> Result<T>) -> Result<T> {
        let changed = self.node.change_keyring(change)?;
        self.erase_what_is_due();
        Ok(changed)
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
        directory::is_database(dir.as_ref())
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
        let _keyring = self.node.store.keyring();
        let _checkpoint = self.node.checkpointed.lock().expect("no thread panics while it signs");
        unfinished::files(self.dir())
    }

    /// Removes them, and tells their names.
    ///
    /// # Errors
    /// [`Error::File`] if one cannot be removed.
    pub fn remove_unfinished(&self) -> Result<Vec<String>> {
        // Nobody writes such a file meanwhile.
        let _keyring = self.node.store.keyring();
        let _checkpoint = self.node.checkpointed.lock().expect("no thread panics while it signs");
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
        self.node.dir()
    }

    /// The node's public key.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        self.node.node_key()
    }

    /// The name under which this node writes entries.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.node.origin()
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("dir", &self.dir()).field("entries", &self.node.store.size()).finish_non_exhaustive()
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Nobody is left to be told; whoever wants to know calls `close`.
        let _ = self.shut();
    }
}

//! Backups: a directory that has the journal, the keyring and everything else
//! that a restore needs, and grows with the database.
//!
//! ```text
//! DEST/
//!   BACKUP        of which database, up to which commit, when; written last
//!   VERSION
//!   checkpoint, checkpoint.former-N, evidence/
//!   keyring, keyring.copy
//!   journal/      the files of the journal, with a prefix of its commits
//!   LOCK          one backup at a time
//! ```
//!
//! It is made beside whoever has the database open, and needs no passphrase:
//! everything in it is sealed as it is in the database.
//!
//! *The order.* The checkpoint is read first, then it is looked how far the
//! journal goes, then the keyring is read: so the journal has what the checkpoint
//! counts, and the keyring every key that the journal needs. They are written in
//! the order keyring, journal, checkpoint. So whenever it ends, the backup has a
//! prefix of the commits, with the keys of all of them, and a checkpoint that
//! counts no more.

mod mark;
mod restore;

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thingdb_format::{Checkpoint, Time};

use crate::access::actors::unix_now;
use crate::db::Db;
use crate::directory;
use crate::directory::version;
use crate::disk::lock::DirLock;
use crate::disk::{self, Access};
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::node::standing::{self, Standing};
use crate::storage::journal::{self, Copied, Hole, Plan};
use crate::store::recover::for_each_record;
use mark::Mark;
pub(crate) use mark::{LAST, MARK};
pub use mark::{LastBackup, last_backups};
pub use restore::{Restored, restore};

const EVIDENCE: &str = "evidence";

/// More than a checkpoint or evidence has.
const MAX_SMALL_BYTES: u64 = 1 << 20;

/// How long another backup to the same place is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// What a backup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Commits that the backup has now.
    pub commits: u64,
    /// Bytes of the journal that were new and were copied.
    pub copied_bytes: u64,
    /// When it was made.
    pub time: Time,
    /// What the backup lacks because the database cannot read it, in words. The
    /// backup of a database without damage has none.
    pub missing: Vec<String>,
}

/// Brings a backup in `dest` up to the database in `dir`, which may be open in
/// this or another process. What is new since the last one is copied. The first
/// makes the directory, which has to be new or empty.
///
/// ```
/// use thingdb::{Db, Passphrase};
/// # let tmp = tempfile::tempdir()?;
/// # let (dir, dest, new) = (tmp.path().join("things"), tmp.path().join("backup"), tmp.path().join("new"));
/// let passphrase = Passphrase::new("correct horse battery");
/// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(&dir, &passphrase)?;
/// # #[cfg(any())]
/// let db = Db::open(&dir, &passphrase)?;
/// db.put("part-42", r#"{"temp":20.1}"#)?;
/// db.backup(&dest)?;
///
/// thingdb::restore(&dest, &new, None)?;
/// assert_eq!(Db::open(&new, &passphrase)?.stats()?.entries, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NotEmpty`] if something else lies there. [`Error::is_damaged`] if it is
/// the backup of another database, or has commits that this one has not: then the
/// database was set back. [`Error::is_disk_full`]; the backup has then what it had,
/// and can be gone on with.
pub fn backup(dir: impl AsRef<Path>, dest: impl AsRef<Path>) -> Result<Backup> {
    let (dir, dest) = (dir.as_ref(), dest.as_ref());
    directory::check(dir)?;
    version::read(dir)?;
    if !Db::exists(dir) {
        return Err(Error::NoDatabase { dir: dir.to_owned() });
    }
    let small = Small::read(dir)?;
    directory::check(dest)?;
    let known = Mark::read(dest)?;
    if known.is_none() && !is_empty(dest)? {
        return Err(Error::NotEmpty { dir: dest.to_owned() });
    }
    let (journal, copy) = (dir.join(journal::DIRECTORY), dest.join(journal::DIRECTORY));
    let plan = Plan::new(&journal, &copy, u64::MAX)?;
    let mark = Mark { database: plan.database(), commits: 0, time: None };
    if known.as_ref().is_some_and(|known| known.database != mark.database) {
        return Err(Error::damaged(dest.display().to_string(), "it is the backup of another database"));
    }
    disk::create_private_directory(dest).map_err(Error::file(dest, "cannot be created"))?;
    let _lock = DirLock::acquire_within(dest, LOCK_WAIT).map_err(|problem| Error::of_lock(dest, problem))?;
    // Another backup may have gone on until the lock was free.
    let plan = Plan::new(&journal, &copy, u64::MAX)?;
    let keyring = Keyring::newest_bytes(&dir.join(Db::KEYRING_FILE))?;
    crate::directory::unfinished::sweep(dest)?;
    if known.is_none() {
        mark.write(dest)?;
    }
    version::write(dest)?;
    Keyring::put_bytes(&dest.join(Db::KEYRING_FILE), &keyring)?;
    let Copied { bytes, next, holes } = plan.run()?;
    small.write(dest)?;
    let time = unix_now();
    let commits = next - 1;
    Mark { commits, time: Some(time), ..mark }.write(dest)?;
    mark::note(dir, dest, commits, time);
    Ok(Backup { commits, copied_bytes: bytes, time, missing: holes.iter().map(in_words).collect() })
}

impl Db {
    /// Brings a backup in `dest` up to this database, with a checkpoint of what it
    /// has now. See [`backup`].
    ///
    /// # Errors
    /// As [`backup`].
    pub fn backup(&self, dest: impl AsRef<Path>) -> Result<Backup> {
        self.store.sync()?;
        if self.is_writable() {
            self.renew_checkpoint(1)?;
        }
        backup(self.dir(), dest)
    }
}

impl Db {
    /// How many of the first entries of the ledger are before the first that is
    /// later than `time`.
    ///
    /// # Errors
    /// If rows cannot be read. An entry that is damaged is passed over.
    pub fn entries_until(&self, time: Time) -> Result<u64> {
        let mut until = self.store.size();
        let walked = for_each_record(&self.store, 0, |position, found| match found {
            Ok(entry) if entry.header.time > time => {
                until = position;
                Err(Error::Cancelled)
            }
            _ => Ok(()),
        });
        match walked {
            Err(Error::Cancelled) | Ok(()) => Ok(until),
            Err(problem) => Err(problem),
        }
    }

    /// How this ledger stands against that of a backup of it, which was opened to
    /// read only: [`Standing::Consistent`] if this one is it, or grew out of it.
    ///
    /// # Errors
    /// [`Error::is_damaged`] if the tree of one of them cannot be read.
    pub fn standing_of_backup(&self, backup: &Self) -> Result<Standing> {
        let tree = backup.store.tree();
        let state = Checkpoint::new(backup.origin(), tree.size(), tree.root());
        standing::compare(&self.store, self.origin(), &state)
    }
}

/// Whether a backup lies in a directory.
pub(crate) fn is_one(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(MARK)).is_ok()
}

fn in_words(hole: &Hole) -> String {
    let (first, last) = hole.sequences.clone().into_inner();
    format!("the commits {first} to {last}, which cannot be read in {}", hole.file.display())
}

/// Whether there is nothing in a directory, or no directory.
fn is_empty(dir: &Path) -> Result<bool> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let others = |name: &std::ffi::OsStr| name != "lost+found" && name != DirLock::FILE_NAME;
            for entry in entries {
                let name = entry.map_err(Error::file(dir, "cannot be listed"))?.file_name();
                let is_new = name.to_str().is_some_and(directory::is_unfinished);
                if others(&name) && !is_new {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(true),
        Err(problem) => Err(Error::file(dir, "cannot be listed")(problem)),
    }
}

/// The small files beside the journal, read before it.
struct Small {
    /// Names below the directory, and bytes. The checkpoint is the last.
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Small {
    fn read(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for folder in [Path::new(""), Path::new(EVIDENCE)] {
            for name in names(&dir.join(folder))? {
                let is_wanted = folder != Path::new("") || name.starts_with("checkpoint.former-");
                if !is_wanted || name.starts_with('.') {
                    continue;
                }
                let name = folder.join(name);
                files.extend(read_small(&dir.join(&name))?.map(|bytes| (name, bytes)));
            }
        }
        let checkpoint = standing::path(dir);
        let name = checkpoint.strip_prefix(dir).expect("it lies in it").to_owned();
        files.extend(read_small(&checkpoint)?.map(|bytes| (name, bytes)));
        Ok(Self { files })
    }

    fn write(&self, dest: &Path) -> Result<()> {
        for (name, bytes) in &self.files {
            let path = dest.join(name);
            if read_small(&path)?.as_ref() == Some(bytes) {
                continue;
            }
            if name.starts_with(EVIDENCE) {
                let folder = dest.join(EVIDENCE);
                disk::create_private_directory(&folder).map_err(Error::file(&folder, "cannot be created"))?;
            }
            disk::replace_file(&path, bytes, 0o600).map_err(Error::file(&path, "cannot be written"))?;
        }
        Ok(())
    }
}

/// The names in a directory that are text, sorted; none if there is none.
fn names(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(problem) => return Err(Error::file(dir, "cannot be listed")(problem)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(Error::file(dir, "cannot be listed"))?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn read_small(path: &Path) -> Result<Option<Vec<u8>>> {
    let read = disk::open_file(path, Access::Read).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(MAX_SMALL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(Error::file(path, "cannot be read")(problem)),
    }
}

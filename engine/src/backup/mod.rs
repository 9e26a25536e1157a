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
//!   journal.new/  a copy that was begun anew and is not finished
//!   journal.aside-N/   the copy of before the journal was written anew
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
//!
//! *A new generation.* A journal that was lost is written anew from the store: then
//! its commits have other sequences, and the copy is begun anew beside the one that
//! is there, which may have what the database lost.

mod entries;
mod mark;
mod restore;
mod target;

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use thingdb_format::{SignedCheckpoint, Time};

use crate::clock::unix_now;
use crate::directory::version;
use crate::directory::{self, EVIDENCE};
use crate::disk::lock::DirLock;
use crate::disk::{self, Access};
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::node::standing;
use crate::storage::journal::{self, Copied, Hole};
use mark::Mark;
pub(crate) use mark::fetched;
pub use mark::{LastBackup, forget_backup, has_dropped_commits, last_backups};
pub use restore::{Restore, Restored, restore};
use target::Target;

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
    /// Files of the backup that were damaged and are copied anew.
    pub mended: Vec<PathBuf>,
    /// Where the copy of the journal is that was there before, if one was begun
    /// anew: the database had lost its journal, or its end.
    pub former: Option<PathBuf>,
}

/// How a backup is made; see [`BackupOptions::make`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BackupOptions {
    check: bool,
    write_nothing: bool,
}

impl BackupOptions {
    /// The defaults, which are those of [`backup`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads all of the backup, and copies anew what is damaged in it. Takes time in
    /// proportion to it. By default files that are complete are not read again.
    #[must_use]
    pub const fn check(mut self, check: bool) -> Self {
        self.check = check;
        self
    }

    /// Writes nothing in the directory of the database: it does not remember the
    /// backup.
    #[must_use]
    pub const fn write_nothing(mut self, write_nothing: bool) -> Self {
        self.write_nothing = write_nothing;
        self
    }

    /// Makes the backup, as [`backup`] does.
    ///
    /// # Errors
    /// As [`backup`].
    pub fn make(self, dir: impl AsRef<Path>, dest: impl AsRef<Path>) -> Result<Backup> {
        make(dir.as_ref(), dest.as_ref(), self)
    }
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
/// [`Error::NotEmpty`] if something else lies there, [`Error::Within`] if one of the
/// two directories lies in the other, [`Error::IsBackup`] if `dir` is a backup.
/// [`Error::NotItsBackup`] if it is the backup of another database, or has commits
/// that this one has not: then the database was set back. [`Error::is_disk_full`];
/// the backup has then what it had, and can be gone on with.
pub fn backup(dir: impl AsRef<Path>, dest: impl AsRef<Path>) -> Result<Backup> {
    BackupOptions::new().make(dir, dest)
}

fn make(dir: &Path, dest: &Path, options: BackupOptions) -> Result<Backup> {
    directory::check(dir)?;
    version::read(dir)?;
    refuse_within(dir, dest)?;
    if is_one(dir) {
        return Err(Error::IsBackup { dir: dir.to_owned() });
    }
    if !directory::is_database(dir) {
        return Err(standing::without_keyring(dir));
    }
    let small = Small::read(dir)?;
    directory::check(dest)?;
    let target = Target::look(dir, dest, options)?;
    // Refused before anything is written.
    let database = target.plan()?.database();
    disk::create_private_directory(dest).map_err(Error::file(dest, "cannot be created"))?;
    let _lock = DirLock::acquire_within(dest, LOCK_WAIT).map_err(|problem| Error::of_lock(dest, problem))?;
    // Another backup may have gone on until the lock was free.
    let target = Target::look(dir, dest, options)?;
    target.remove_unfinished()?;
    let plan = target.plan()?;
    let keyring = Keyring::newest_bytes(&dir.join(directory::KEYRING))?;
    crate::directory::unfinished::sweep(dest)?;
    if !target.is_marked {
        Mark::begun(database).write(dest)?;
    }
    version::write(dest)?;
    Keyring::put_bytes(&dest.join(directory::KEYRING), &keyring)?;
    let Copied { bytes, next, holes, mended } = plan.run()?;
    let entries = target.entries()?;
    let former = target.finish()?;
    let claimed = small.checkpoint_size();
    small.write(dest)?;
    let (time, commits) = (unix_now(), next - 1);
    let lost = holes.iter().map(|hole| hole.sequences.clone()).collect();
    Mark { database, commits, time: Some(time), entries: Some(entries), missing: lost }.write(dest)?;
    if !options.write_nothing {
        mark::note(dir, dest, commits, target.generation(), time);
    }
    let mut missing: Vec<String> = holes.iter().map(in_words).collect();
    missing.extend(claimed.filter(|claimed| *claimed > entries).map(|claimed| {
        format!(
            "the entries from position {entries} to {}: the checkpoint counts them, the journal ends before",
            claimed - 1
        )
    }));
    Ok(Backup { commits, copied_bytes: bytes, time, missing, mended, former })
}

/// Refuses two directories of which one lies in the other, or is the other. What is
/// made of a database is to lie apart from it.
///
/// # Errors
/// [`Error::Within`].
pub fn refuse_within(one: &Path, other: &Path) -> Result<()> {
    let (a, b) = (resolved(one), resolved(other));
    if a.starts_with(&b) {
        return Err(Error::Within { inner: one.to_owned(), outer: other.to_owned() });
    }
    if b.starts_with(&a) {
        return Err(Error::Within { inner: other.to_owned(), outer: one.to_owned() });
    }
    Ok(())
}

/// The path without links, as far as it is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|known| Some((known, known.canonicalize().ok()?)));
    match there {
        Some((known, real)) => real.join(path.strip_prefix(known).unwrap_or_else(|_| Path::new(""))),
        None => path,
    }
}

/// Whether a backup lies in a directory that has lost its mark: nothing is in it
/// but what a backup has.
fn is_without_mark(dir: &Path) -> Result<bool> {
    if dir.join("store").exists() || !dir.join(journal::DIRECTORY).is_dir() {
        return Ok(false);
    }
    Ok(directory::strangers(dir)?.iter().all(|name| name == EVIDENCE))
}

/// Whether a backup lies in a directory, also if its file `BACKUP` is damaged or
/// missing: it can be [restored](restore) from.
///
/// # Errors
/// [`Error::File`] if that cannot be looked at.
pub fn is_backup(dir: impl AsRef<Path>) -> Result<bool> {
    let dir = dir.as_ref();
    match Mark::read(dir) {
        Ok(Some(_)) => Ok(true),
        Ok(None) | Err(Error::Damaged { .. }) => Ok(is_without_mark(dir)? && directory::is_database(dir)),
        Err(problem) => Err(problem),
    }
}

/// Whether a backup lies in a directory.
pub(crate) fn is_one(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(directory::BACKUP_MARK)).is_ok()
}

/// Whether a backup was begun there and none was completed.
fn was_never_finished(dir: &Path) -> bool {
    matches!(Mark::read(dir), Ok(Some(mark)) if mark.time.is_none())
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

    /// The entries that the checkpoint counts.
    fn checkpoint_size(&self) -> Option<u64> {
        let (_, bytes) = self.files.iter().find(|(name, _)| standing::path(Path::new("")) == *name)?;
        Some(SignedCheckpoint::parse(std::str::from_utf8(bytes).ok()?).ok()?.claimed().size)
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

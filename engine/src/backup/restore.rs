//! Restoring: a database from a backup, as it was last or as it was before.
//!
//! A [mark](crate::directory::restoring) is written first and removed last, so that
//! one that was broken off is never taken for a database, and can be repeated. The
//! keyring comes last but for that: what a program that knows no mark finds is no
//! database either. Whoever has more to do with what was restored before it is a
//! database [begins](Restore::begin) one, and ends it then.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entries::{Cut, cut, erased_after};
use super::{Small, in_words, is_empty, names, refuse_within};
use crate::directory;
use crate::directory::{restoring, version};
use crate::disk;
use crate::disk::lock::DirLock;
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::storage::journal::{self, Copied, Doubt, Plan};

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Commits that the database has.
    pub commits: u64,
    /// Entries in its ledger.
    pub entries: u64,
    /// Entries that it had with the next commit, if that was left out because it has
    /// more than were wanted.
    pub beyond: Option<u64>,
    /// Positions of its entries that were erased after the commit with which it ends, as
    /// the journal of the backup says, ascending. The keyring of the backup has lost what
    /// opens them, so their content does not come back.
    pub erased_since: Vec<u64>,
    /// What cannot be read in the backup, in words.
    pub missing: Vec<String>,
}

/// Makes a database in `dir`, which has to be new or empty, from the backup in
/// `src`: all of it, or as it was when its ledger had at most `entries` entries.
/// What was committed at once is taken at once or not at all, so it may have a few
/// less.
///
/// One that was broken off, wherever that was, can be repeated, and has to be: until
/// then nothing opens the directory ([`Error::RestoreUnfinished`]).
///
/// The database goes on under the node key that it had. Where somebody has seen
/// more of this node than the backup has, the node would contradict itself:
/// [`Db::new_node_key`](crate::Db::new_node_key) is needed then. A ledger that is shorter than its last
/// checkpoint is opened to read until that was done.
///
/// # Errors
/// [`Error::NoBackup`], [`Error::NotEmpty`], [`Error::BeyondLedger`],
/// [`Error::is_damaged`], [`Error::is_disk_full`].
pub fn restore(src: impl AsRef<Path>, dir: impl AsRef<Path>, entries: Option<u64>) -> Result<Restored> {
    Restore::begin(src, dir, entries)?.end()
}

/// A restore whose files are there, and which is not ended: until then nobody else
/// opens the directory, and it can be repeated.
///
/// ```
/// use thingdb::{Db, Options, Passphrase, Restore};
/// # let tmp = tempfile::tempdir()?;
/// # let (dir, dest, new) = (tmp.path().join("things"), tmp.path().join("backup"), tmp.path().join("new"));
/// let passphrase = Passphrase::new("correct horse battery");
/// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(&dir, &passphrase)?;
/// # db.put("part-42", "1")?;
/// # db.put("part-42", "2")?;
/// # db.backup(&dest)?;
/// let restore = Restore::begin(&dest, &new, Some(1))?;
/// assert!(Db::open(&new, &passphrase).is_err());
/// Options::new().restoring(&restore).open(&new, &passphrase)?.new_node_key()?;
/// restore.end()?;
/// assert_eq!(Db::open(&new, &passphrase)?.stats()?.entries, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "what is not ended is no database"]
pub struct Restore {
    dir: PathBuf,
    restored: Restored,
    /// Held to the end: another restore would begin with what this one has made.
    lock: Arc<DirLock>,
}

impl Restore {
    /// Makes the files of a database in `dir`, as [`restore`] does. They are to be
    /// opened with [`Options::restoring`](crate::Options::restoring).
    ///
    /// # Errors
    /// As [`restore`].
    pub fn begin(src: impl AsRef<Path>, dir: impl AsRef<Path>, entries: Option<u64>) -> Result<Self> {
        let dir = dir.as_ref();
        let (restored, lock) = restore_in_steps(src.as_ref(), dir, entries, &mut || Ok(()))?;
        Ok(Self { dir: dir.to_owned(), restored, lock: Arc::new(lock) })
    }

    /// The lock of the directory, for who opens it on behalf of this.
    pub(crate) fn lock(&self) -> Arc<DirLock> {
        Arc::clone(&self.lock)
    }

    /// What it came to.
    #[must_use]
    pub const fn restored(&self) -> &Restored {
        &self.restored
    }

    /// Ends it: from here on it is a database.
    ///
    /// # Errors
    /// [`Error::File`] if that cannot be written.
    pub fn end(self) -> Result<Restored> {
        restoring::end(&self.dir)?;
        Ok(self.restored)
    }
}

/// `step` is called after each step, and an error of it ends the restore there, as a
/// kill would.
fn restore_in_steps(
    src: &Path,
    dir: &Path,
    entries: Option<u64>,
    step: &mut dyn FnMut() -> Result<()>,
) -> Result<(Restored, DirLock)> {
    directory::check(src)?;
    directory::check_files(dir)?;
    refuse_within(src, dir)?;
    if !super::is_backup(src)? {
        return Err(Error::NoBackup { dir: src.to_owned() });
    }
    version::read(src)?;
    let (from, to) = (src.join(journal::DIRECTORY), dir.join(journal::DIRECTORY));
    let there = cut(&from, entries).and_then(|cut| {
        let keyring = Keyring::newest_bytes(&src.join(directory::KEYRING))?;
        Ok((erased_after(&from, &cut)?, cut, keyring))
    });
    let (erased_since, cut, keyring) = there.map_err(|problem| match problem {
        Error::BeyondLedger { .. } => problem,
        // One that was broken off may have nothing to restore yet.
        _ if super::was_never_finished(src) => Error::BackupUnfinished { dir: src.to_owned() },
        _ => problem,
    })?;
    let small = Small::read(src)?;
    refuse_other(dir)?;
    disk::create_private_directory(dir).map_err(Error::file(dir, "cannot be created"))?;
    let lock = DirLock::acquire_within(dir, super::LOCK_WAIT).map_err(|problem| Error::of_lock(dir, problem))?;
    refuse_other(dir)?;
    restoring::begin(dir, src, entries)?;
    step()?;
    clear(dir)?;
    step()?;
    version::write(dir)?;
    step()?;
    let plan = Plan::new(&from, &to, cut.until, Doubt::Some(&[]))?;
    let Copied { next, holes, .. } = plan.run()?;
    step()?;
    small.write(dir)?;
    step()?;
    Keyring::put_bytes(&dir.join(directory::KEYRING), &keyring)?;
    step()?;
    let missing = holes.iter().map(in_words).collect();
    let Cut { entries, beyond, .. } = cut;
    Ok((Restored { commits: next - 1, entries, beyond, erased_since, missing }, lock))
}

/// Nothing may be there but what a restore leaves that was broken off.
fn refuse_other(dir: &Path) -> Result<()> {
    if is_empty(dir)? || restoring::is_under_way(dir) {
        return Ok(());
    }
    Err(Error::NotEmpty { dir: dir.to_owned() })
}

/// Removes what a restore that was broken off has left: it may be of another backup.
fn clear(dir: &Path) -> Result<()> {
    crate::directory::unfinished::sweep(dir)?;
    for name in names(dir)? {
        let path = dir.join(&name);
        let removed = match name.as_str() {
            journal::DIRECTORY | journal::NEXT | "journal.new" | "journal.old" => fs::remove_dir_all(&path),
            directory::EVIDENCE | "store" | "store.new" | "store.old" => fs::remove_dir_all(&path),
            directory::KEYRING | "keyring.copy" | "checkpoint" | directory::LAST_BACKUP => fs::remove_file(&path),
            name if name.starts_with("checkpoint.former-") => fs::remove_file(&path),
            _ => continue,
        };
        match removed {
            Err(problem) if problem.kind() != ErrorKind::NotFound => {
                return Err(Error::file(path, "cannot be removed")(problem));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::options::Options;
    use crate::keyring::KdfChoice;
    use crate::keyring::passphrase::Passphrase;
    use crate::{Db, Warning};

    fn options() -> Options {
        Options::new().kdf(KdfChoice::weakest())
    }

    /// A backup with so many entries, and the passphrase.
    fn backup(dir: &Path, entries: u64) -> Passphrase {
        let passphrase = Passphrase::new("correct horse battery");
        let db = options().create(dir.join("db"), &passphrase).unwrap();
        (0..entries).for_each(|n| drop(db.put("thing", &n.to_string()).unwrap()));
        db.backup(dir.join("backup")).unwrap();
        passphrase
    }

    /// Steps of a restore until its files are there.
    const FILES: u32 = 6;

    /// Breaks a restore with a new node key off after so many steps; whether it was.
    fn broken_off_at(src: &Path, dir: &Path, at: Option<u64>, passphrase: &Passphrase, steps: u32) -> bool {
        if steps < FILES {
            return broken_off(src, dir, at, steps);
        }
        let restore = Restore::begin(src, dir, at).unwrap();
        if steps > FILES {
            let db = options().restoring(&restore).open(dir, passphrase).unwrap();
            if steps > FILES + 1 {
                db.new_node_key().unwrap();
            }
        }
        if steps > FILES + 2 {
            restore.end().unwrap();
        }
        steps <= FILES + 2
    }

    /// Breaks a restore off after so many steps; whether it was.
    fn broken_off(src: &Path, dir: &Path, at: Option<u64>, steps: u32) -> bool {
        let mut left = steps;
        let mut step = || match left.checked_sub(1) {
            Some(fewer) => {
                left = fewer;
                Ok(())
            }
            None => Err(Error::Cancelled),
        };
        match restore_in_steps(src, dir, at, &mut step) {
            Err(Error::Cancelled) => true,
            done => done.map(|_| false).unwrap(),
        }
    }

    #[test]
    fn a_restore_that_was_broken_off_after_any_step_is_no_database_and_can_be_repeated() {
        let scratch = tempfile::tempdir().unwrap();
        let passphrase = backup(scratch.path(), 5);
        let src = scratch.path().join("backup");
        for at in [None, Some(3)] {
            of_steps(scratch.path(), &src, at, &passphrase);
        }
    }

    fn of_steps(scratch: &Path, src: &Path, at: Option<u64>, passphrase: &Passphrase) {
        let new = |steps: u32| scratch.join(format!("new-{}-{steps}", at.unwrap_or(0)));
        let mut steps = 0;
        while broken_off_at(src, &new(steps), at, passphrase, steps) {
            let dir = new(steps);
            let (read, written) = (options().read_only(true), options());
            for refused in [
                read.open(&dir, passphrase).unwrap_err(),
                written.open(&dir, passphrase).unwrap_err(),
                written.create(&dir, passphrase).unwrap_err(),
                super::super::backup(&dir, scratch.join("other")).unwrap_err(),
                restore(&dir, scratch.join("other"), None).unwrap_err(),
            ] {
                match refused {
                    Error::RestoreUnfinished { from, entries, .. } => {
                        assert_eq!((from.as_deref(), entries), (Some(src), at), "step {steps}");
                    }
                    other => panic!("step {steps}: {other}"),
                }
            }
            // Also if that is broken off in turn, wherever it is.
            assert!(broken_off(src, &dir, at, 5 - steps.min(5)));
            assert!(!broken_off_at(src, &dir, at, passphrase, FILES + 3));
            let db = options().open(&dir, passphrase).unwrap();
            assert!(db.is_writable() && db.stats().unwrap().entries == at.unwrap_or(5));
            assert!(!db.warnings().iter().any(|warning| matches!(warning, Warning::Standing(_))));
            steps += 1;
        }
        assert_eq!(steps, FILES + 3);
    }

    /// Two at once into one directory: one of them has it, the other is told who does, or
    /// finds a database.
    #[test]
    fn of_two_restores_into_one_directory_one_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let passphrase = backup(scratch.path(), 4);
        let (src, dir) = (scratch.path().join("backup"), scratch.path().join("new"));
        let first = Restore::begin(&src, &dir, Some(3)).unwrap();
        let refused = Restore::begin(&src, &dir, None).unwrap_err();
        assert!(refused.is_locked(), "{refused}");
        let db = options().restoring(&first).open(&dir, &passphrase).unwrap();
        db.close().unwrap();
        assert!(Restore::begin(&src, &dir, None).unwrap_err().is_locked());
        assert_eq!(first.end().unwrap().entries, 3);
        assert!(matches!(Restore::begin(&src, &dir, None), Err(Error::NotEmpty { .. })));
        assert_eq!(Db::open(&dir, &passphrase).unwrap().stats().unwrap().entries, 3);
        let dir = scratch.path().join("raced");
        let made: Vec<_> = std::thread::scope(|scope| {
            let (src, dir) = (&src, &dir);
            let begin = |entries| scope.spawn(move || restore(src, dir, entries).map(|restored| restored.entries));
            let both = [begin(Some(2)), begin(None)];
            both.into_iter().filter_map(|one| one.join().unwrap().ok()).collect()
        });
        let found = Db::open(&dir, &passphrase).unwrap().stats().unwrap().entries;
        assert!(made.contains(&found), "{made:?}, {found}");
    }

    /// What another backup left does not stay.
    #[test]
    fn a_restore_from_another_backup_leaves_nothing_of_the_first() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, other, dir) = (scratch.path().join("one"), scratch.path().join("other"), scratch.path().join("new"));
        for dir in [&one, &other] {
            fs::create_dir(dir).unwrap();
        }
        backup(&one, 3);
        fs::write(one.join("backup/checkpoint.former-1"), "of the one").unwrap();
        let passphrase = backup(&other, 4);
        assert!(broken_off(&one.join("backup"), &dir, None, 5));
        assert_eq!(restore(other.join("backup"), &dir, None).unwrap().entries, 4);
        assert!(!dir.join("checkpoint.former-1").exists());
        assert_eq!(Db::open(&dir, &passphrase).unwrap().stats().unwrap().entries, 4);
    }

    /// One that somebody copied into a database does not shut it, and goes.
    #[test]
    fn a_mark_in_a_database_that_was_opened_since_counts_no_more() {
        let scratch = tempfile::tempdir().unwrap();
        let passphrase = backup(scratch.path(), 2);
        let dir = scratch.path().join("db");
        restoring::begin(scratch.path(), scratch.path(), Some(1)).unwrap();
        fs::rename(scratch.path().join(directory::RESTORE_MARK), dir.join(directory::RESTORE_MARK)).unwrap();
        assert!(matches!(restore(scratch.path().join("backup"), &dir, None), Err(Error::NotEmpty { .. })));
        assert_eq!(Db::open(&dir, &passphrase).unwrap().stats().unwrap().entries, 2);
        assert!(!dir.join(directory::RESTORE_MARK).exists());
    }
}

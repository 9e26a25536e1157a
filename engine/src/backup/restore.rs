//! Restoring: a database from a backup, as it was last or as it was before.
//!
//! The keyring comes last: without it a directory is no database, so one that was
//! broken off is never taken for one, and can be restored to again.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::entries::cut;
use super::{Small, in_words, is_empty, refuse_within};
use crate::directory;
use crate::directory::version;
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
    /// What cannot be read in the backup, in words.
    pub missing: Vec<String>,
}

/// Makes a database in `dir`, which has to be new or empty, from the backup in
/// `src`: all of it, or as it was when its ledger had at most `entries` entries.
/// What was committed at once is taken at once or not at all, so it may have a few
/// less.
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
    let (src, dir) = (src.as_ref(), dir.as_ref());
    directory::check(src)?;
    refuse_within(src, dir)?;
    if !super::is_to_restore(src)? {
        return Err(Error::NoBackup { dir: src.to_owned() });
    }
    version::read(src)?;
    let (from, to) = (src.join(journal::DIRECTORY), dir.join(journal::DIRECTORY));
    let cut = cut(&from, entries)?;
    let keyring = Keyring::newest_bytes(&src.join(directory::KEYRING))?;
    let small = Small::read(src)?;
    refuse_other(dir)?;
    disk::create_private_directory(dir).map_err(Error::file(dir, "cannot be created"))?;
    let _lock = DirLock::acquire_within(dir, super::LOCK_WAIT).map_err(|problem| Error::of_lock(dir, problem))?;
    refuse_other(dir)?;
    clear(dir)?;
    version::write(dir)?;
    let plan = Plan::new(&from, &to, cut.until, Doubt::Some(&[]))?;
    let Copied { next, holes, .. } = plan.run()?;
    small.write(dir)?;
    Keyring::put_bytes(&dir.join(directory::KEYRING), &keyring)?;
    let missing = holes.iter().map(in_words).collect();
    Ok(Restored { commits: next - 1, entries: cut.entries, beyond: cut.beyond, missing })
}

/// Nothing may be there but what a restore leaves that was broken off.
fn refuse_other(dir: &Path) -> Result<()> {
    let begun = !dir.join("store").exists() && !directory::is_database(dir);
    if is_empty(dir)? || (begun && directory::strangers(dir)?.is_empty()) {
        return Ok(());
    }
    Err(Error::NotEmpty { dir: dir.to_owned() })
}

/// Removes what a restore that was broken off has left.
fn clear(dir: &Path) -> Result<()> {
    crate::directory::unfinished::sweep(dir)?;
    let journal = dir.join(journal::DIRECTORY);
    match fs::remove_dir_all(&journal) {
        Err(problem) if problem.kind() != ErrorKind::NotFound => {
            Err(Error::file(journal, "cannot be removed")(problem))
        }
        _ => Ok(()),
    }
}

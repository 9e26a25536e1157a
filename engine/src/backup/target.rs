//! Where the journal is copied to: to the copy that is there, or, if the journal was
//! written anew since, to one that is begun anew beside it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::entries::brought_by;
use super::mark::Mark;
use super::{BackupOptions, is_empty, is_without_mark};
use crate::disk;
use crate::error::{Error, Result};
use crate::storage::StorageError;
use crate::storage::journal::{self, Doubt, Plan};

/// A copy that was begun anew.
const UNFINISHED: &str = "journal.new";

pub(super) struct Target {
    dest: PathBuf,
    /// The journal of the database.
    journal: PathBuf,
    /// The copy in the backup.
    copy: PathBuf,
    /// Of the journal of the database.
    generation: u32,
    /// The copy is of an earlier generation.
    is_anew: bool,
    /// There is a mark that reads.
    pub(super) is_marked: bool,
    mark: Mark,
    check: bool,
}

impl Target {
    /// Looks at what lies in `dest`, and refuses what is no backup of the database
    /// in `dir`.
    pub(super) fn look(dir: &Path, dest: &Path, options: BackupOptions) -> Result<Self> {
        let (journal, copy) = (dir.join(journal::DIRECTORY), dest.join(journal::DIRECTORY));
        let (here, there) = (journal::generation(&journal)?, journal::generation(&copy)?);
        let database = here.map_or([0; 16], |(database, _)| database);
        let is_of_this = there.is_some_and(|(there, _)| there == database);
        let (is_marked, mark) = match Mark::read(dest) {
            Ok(Some(mark)) if mark.database == database || !is_of_this => (true, mark),
            Ok(None) if is_empty(dest)? => (false, Mark::begun(database)),
            // The journal in it says whose backup it is.
            Ok(_) | Err(Error::Damaged { .. }) if is_of_this && is_without_mark(dest)? => {
                (false, Mark::begun(database))
            }
            Ok(_) => return Err(Error::NotEmpty { dir: dest.to_owned() }),
            Err(problem) => return Err(problem),
        };
        let refused = |detail: &str| Error::NotItsBackup { dest: dest.to_owned(), detail: detail.to_owned() };
        if here.is_some() && mark.database != database {
            return Err(refused("it is the backup of another database"));
        }
        let generations = (here.map(|(_, here)| here), there.filter(|_| is_of_this).map(|(_, there)| there));
        let is_anew = match generations {
            (Some(here), Some(there)) if here < there => {
                return Err(refused("it has the journal of after it was written anew: the database was set back"));
            }
            (Some(here), Some(there)) => here > there,
            _ => false,
        };
        let generation = here.map_or(0, |(_, here)| here);
        Ok(Self { dest: dest.to_owned(), journal, copy, generation, is_anew, is_marked, mark, check: options.check })
    }

    /// How often the journal was written anew.
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Where it is copied to.
    fn to(&self) -> PathBuf {
        if self.is_anew { self.dest.join(UNFINISHED) } else { self.copy.clone() }
    }

    /// What is to be copied.
    pub(super) fn plan(&self) -> Result<Plan> {
        let doubt = match self.check || !self.is_marked {
            true => Doubt::All,
            false => Doubt::Some(&self.mark.missing),
        };
        let to = self.to();
        Plan::new(&self.journal, &to, u64::MAX, doubt).map_err(|problem| match problem {
            StorageError::Corrupt { path, detail } if path == to => {
                Error::NotItsBackup { dest: self.dest.clone(), detail }
            }
            problem => problem.into(),
        })
    }

    /// Removes a copy that was begun anew and not finished.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        let path = self.dest.join(UNFINISHED);
        match fs::remove_dir_all(&path) {
            Err(problem) if problem.kind() != ErrorKind::NotFound => {
                Err(Error::file(path, "cannot be removed")(problem))
            }
            _ => Ok(()),
        }
    }

    /// Entries that the ledger in the copy has, once it is made.
    pub(super) fn entries(&self) -> Result<u64> {
        let known = self.mark.entries.filter(|_| !self.is_anew && self.mark.missing.is_empty());
        let from = if known.is_some() { self.mark.commits + 1 } else { 1 };
        Ok(brought_by(&self.to(), from)?.max(known.unwrap_or(0)))
    }

    /// Puts a copy that was begun anew in its place. Returns where the one is that
    /// was there.
    pub(super) fn finish(&self) -> Result<Option<PathBuf>> {
        if !self.is_anew {
            return Ok(None);
        }
        let aside = (1_u32..)
            .map(|n| self.dest.join(format!("{}.aside-{n}", journal::DIRECTORY)))
            .find(|aside| aside.symlink_metadata().is_err())
            .expect("there are more numbers than names in a directory");
        // Broken off in between, the next backup copies all of it once more.
        fs::rename(&self.copy, &aside)
            .and_then(|()| fs::rename(self.to(), &self.copy))
            .and_then(|()| disk::sync_directory(&self.dest))
            .map_err(Error::file(&self.copy, "cannot be replaced"))?;
        Ok(Some(aside))
    }
}

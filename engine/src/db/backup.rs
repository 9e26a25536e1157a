//! Backups of an open database.

use std::path::Path;

use thingdb_format::{Checkpoint, Time};

use super::Db;
use crate::backup::{self, Backup};
use crate::error::{Error, Result};
use crate::node::standing::{self, Standing};
use crate::store::recover::for_each_record;

impl Db {
    /// Brings a backup in `dest` up to this database, with a checkpoint of what it
    /// has now. See [`backup`](fn@crate::backup).
    ///
    /// # Errors
    /// As [`backup`](fn@crate::backup).
    pub fn backup(&self, dest: impl AsRef<Path>) -> Result<Backup> {
        self.node.store.sync()?;
        if self.is_writable() {
            self.node.renew_checkpoint(1)?;
        }
        backup::backup(self.dir(), dest)
    }

    /// How many of the first entries of the ledger are before the first that is
    /// later than `time`.
    ///
    /// # Errors
    /// If rows cannot be read. An entry that is damaged is passed over.
    pub fn entries_until(&self, time: Time) -> Result<u64> {
        let mut until = self.node.store.size();
        let walked = for_each_record(&self.node.store, 0, |position, found| match found {
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
        let tree = backup.node.store.tree();
        let state = Checkpoint::new(backup.origin(), tree.size(), tree.root());
        standing::compare(&self.node.store, self.origin(), &state)
    }
}

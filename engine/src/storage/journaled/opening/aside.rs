//! What is moved aside, and what is taken from it: a store that was not understood, a journal
//! of which no file says what it is.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::super::journal::Journal;
use super::super::super::sled::fault::io_error;
use super::super::super::sled::{Marks, SledStorage, raw};
use super::super::super::{Change, Storage, StorageError};
use super::super::overlay::Layer;
use super::{IN_PLACE_OF, JOURNAL, Opening, ROWS_OF_FRAME, STORE};
use crate::disk::sync_directory;

impl Opening<'_> {
    /// Tells of commits that the journal has lost, and takes what it can of them from
    /// a store that was moved aside. Says whether the journal had lost its end.
    pub(super) fn take_from_aside(
        &mut self,
        journal: &Journal,
        sled: &SledStorage,
        marks: &mut Marks,
        fresh: &mut Layer,
    ) -> Result<bool, StorageError> {
        let (mut taken, mut was_cut) = (0, false);
        if let Some(aside) = self.aside.take() {
            self.feed(sled, fresh, marks)?;
            taken = self.take_from(&aside, journal, sled, fresh)?;
            // Who was killed while the store was built has seen the holes.
            if taken > 0 && self.lost.is_empty() {
                self.lost = self.all_holes()?;
            }
            was_cut = taken > 0 && self.lost.is_empty();
            if was_cut && let Some(row) = &self.options.row_of_loss {
                fresh.sequence = journal.append(std::slice::from_ref(row))?;
                fresh.put([row.clone()]);
                journal.sync(fresh.sequence)?;
            }
            let name = self.store().join(IN_PLACE_OF);
            match fs::remove_file(&name) {
                Err(problem) if problem.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("remove", &name)(problem));
                }
                _ => {}
            }
        }
        if was_cut {
            self.notices.push(format!(
                "the journal ended before what the store had: {taken} rows are taken from where it was moved"
            ));
        }
        let what = match taken {
            0 => "a store that was set aside may have them (thingdb salvage)".to_owned(),
            taken => format!("{taken} rows that only the store had are taken from where it was moved"),
        };
        for hole in std::mem::take(&mut self.lost) {
            let (first, last) = hole.sequences.clone().into_inner();
            let (file, at) = (hole.file.display(), hole.offset);
            self.notices
                .push(format!("the journal lost the commits {first} to {last}, in '{file}' at byte {at}; {what}"));
        }
        Ok(was_cut)
    }

    /// The store in whose place this one is being built, if it has not taken from it
    /// yet what only that had.
    pub(super) fn in_place_of(&self) -> Result<Option<PathBuf>, StorageError> {
        let path = self.store().join(IN_PLACE_OF);
        match fs::read_to_string(&path) {
            Ok(name) => {
                let is_aside = name.starts_with(&format!("{STORE}.aside-")) && !name.contains('/');
                Ok(is_aside.then(|| self.directory.join(name)))
            }
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(problem) => Err(io_error("read", &path)(problem)),
        }
    }

    /// Takes the rows of entries that are in a store, and were not in the journal.
    /// That store is only read, as raw as it is: rows authenticate themselves.
    pub(super) fn take_from(
        &self,
        store: &Path,
        journal: &Journal,
        sled: &SledStorage,
        fresh: &mut Layer,
    ) -> Result<u64, StorageError> {
        let mut found: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        raw::rows(store, self.options.grouped, &mut |key: Vec<u8>, value: Option<Vec<u8>>| {
            if !(self.options.is_of_entries)(&key) {
                return Ok(());
            }
            match value {
                None => drop(found.remove(&key)),
                Some(value) if sled.get(&key)?.is_none() => drop(found.insert(key, value)),
                Some(_) => {}
            }
            Ok::<(), StorageError>(())
        })?;
        let taken = found.len() as u64;
        let mut changes: Vec<Change> = found.into_iter().map(|(key, value)| (key, Some(value))).collect();
        changes.sort();
        for some in changes.chunks(ROWS_OF_FRAME) {
            fresh.sequence = journal.append(some)?;
            fresh.put(some.to_vec());
        }
        journal.sync(fresh.sequence)?;
        Ok(taken)
    }

    /// A journal that says of no file what it is. Its frames may be read some day;
    /// a store that knows its journal has what was in it, but for the last commits
    /// if it was not closed.
    pub(super) fn set_journal_aside(&mut self) -> Result<(), StorageError> {
        let no_header = || StorageError::Corrupt {
            path: self.journal(),
            detail:
                "no file of the journal has a header that is whole, and the store cannot stand in for it: restore a \
                     backup"
                    .into(),
        };
        let (sled, marks) = self.known_sled(None).map_err(|problem| match problem {
            StorageError::Corrupt { .. } => no_header(),
            other => other,
        })?;
        let Some(marks) = marks else {
            sled.close()?;
            return Err(no_header());
        };
        // Closed it says no more how it was found.
        sled.set_marks(Marks { sequence: self.brought_to(marks).sequence, ..marks })?;
        sled.close()?;
        let aside = self.move_aside(JOURNAL)?;
        self.notices.push(format!(
            "no file of the journal had a header that is whole: it was moved aside to '{}'; what was committed last may \
             be missing if the database was not closed",
            aside.display()
        ));
        Ok(())
    }

    pub(super) fn move_aside(&self, name: &str) -> Result<PathBuf, StorageError> {
        let from = self.directory.join(name);
        let to = (1_u32..)
            .map(|n| self.directory.join(format!("{name}.aside-{n}")))
            .find(|to| fs::symlink_metadata(to).is_err())
            .expect("a directory holds fewer than 2^32 names");
        fs::rename(&from, &to).map_err(io_error("move aside", &from))?;
        sync_directory(self.directory).map_err(io_error("sync", self.directory))?;
        Ok(to)
    }
}

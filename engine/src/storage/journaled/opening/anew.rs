//! A journal that is written anew from a store, or goes on from it: in a new generation.

use std::path::Path;

use super::super::super::journal::Journal;
use super::super::super::sled::fault::io_error;
use super::super::super::sled::{Marks, SledStorage};
use super::super::super::{Change, Direction, KeyRange, Storage, StorageError};
use super::super::overlay::Layer;
use super::super::{JournaledOptions, Keep};
use super::{
    FRAME_BYTES, JOURNAL, Opened, Opening, REPLACED_JOURNAL, UNFINISHED_JOURNAL, WHOLE, marks_of, remove_directory,
};
use crate::disk;

/// Makes a journal that recent commits only were kept of whole again.
pub(super) fn write_anew(directory: &Path, options: &JournaledOptions, opened: Opened) -> Result<Opened, StorageError> {
    let Opened { journal, sled, mut marks, mut fresh, mut notices, may_lack_commits, .. } = opened;
    let mut opening = Opening::new(directory, options);
    opening.feed(&sled, &mut fresh, &mut marks)?;
    let first = journal.first();
    // That commits may be lost is in the store by now.
    let marks = Marks { sequence: WHOLE, generation: marks.generation.saturating_add(1), ..marks };
    let (journal, marks, _) = opening.journal_of(&sled, marks, Some(journal))?;
    notices.append(&mut opening.notices);
    notices.push(format!("the journal began with commit {first} and was written anew from the store"));
    let fresh = Layer { sequence: marks.sequence, ..Layer::default() };
    Ok(Opened { journal, sled, marks, fresh, notices, keep: Keep::All, may_lack_commits })
}

/// Lets the journal go on from what the store has. Until the marks are set again
/// the store counts as having more: whatever ends this, it is done again.
pub(super) fn begin_generation(journal: &Journal, sled: &SledStorage, marks: Marks) -> Result<(), StorageError> {
    let than = journal.generation().max(marks.generation.saturating_sub(1));
    sled.set_marks(Marks { generation: than.saturating_add(1), ..marks })?;
    journal.begin_generation(than)
}

impl Opening<'_> {
    /// Writes a journal from a store and puts it in its place. Until the end the marks
    /// of the store say that it has more than the journal, `before`: whatever ends
    /// this, it is done again. Returns how many rows it has, too.
    pub(super) fn journal_of(
        &self,
        sled: &SledStorage,
        before: Marks,
        replaced: Option<Journal>,
    ) -> Result<(Journal, Marks, u64), StorageError> {
        sled.set_marks(before)?;
        let [path, unfinished, old] =
            [JOURNAL, UNFINISHED_JOURNAL, REPLACED_JOURNAL].map(|name| self.directory.join(name));
        let (rows, marks) = self.write_journal(sled, &unfinished, before.database, before.generation)?;
        drop(replaced);
        // What lies there holds no journal, or less of one. It goes at once, so that
        // no part of it is taken for one.
        disk::exchange(&unfinished, &path, &old).map_err(io_error("rename", &unfinished))?;
        [&unfinished, &old].into_iter().try_for_each(|path| remove_directory(path))?;
        sled.set_marks(marks)?;
        let (journal, _) = Journal::open(&path, self.journal_options())?;
        Ok((journal, marks, rows))
    }

    /// Returns how many rows it has, and the marks of a store that has the same.
    fn write_journal(
        &self,
        sled: &SledStorage,
        path: &Path,
        database: [u8; 16],
        generation: u32,
    ) -> Result<(u64, Marks), StorageError> {
        let journal = Journal::create_anew(path, database, generation, self.journal_options())?;
        let (mut changes, mut bytes, mut rows): (Vec<Change>, u64, u64) = (Vec::new(), 0, 0);
        for row in sled.scan(&KeyRange::all(), Direction::Forward) {
            let (key, value) = row?;
            if (self.options.is_derived)(&key) {
                continue;
            }
            bytes += (key.len() + value.len()) as u64;
            rows += 1;
            changes.push((key, Some(value)));
            if bytes >= FRAME_BYTES {
                journal.append(&std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        if !changes.is_empty() {
            journal.append(&changes)?;
        }
        let marks = marks_of(&journal, journal.next() - 1);
        journal.sync(marks.sequence)?;
        journal.close()?;
        Ok((rows, marks))
    }
}

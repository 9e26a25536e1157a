//! Which store belongs to a journal: the one that is there, or one that is to be built.

use std::fs;
use std::io;

use super::super::super::journal::Journal;
use super::super::super::sled::fault::io_error;
use super::super::super::sled::preflight::{self, Look};
use super::super::super::sled::{Marks, SledStorage};
use super::super::super::{Storage, StorageError};
use super::{DAMAGED, IN_PLACE_OF, Opening, STORE, marks_of, sled_options};
use crate::disk;

impl Opening<'_> {
    /// The store of a journal: the one that is there, or one that is to be built
    /// from it.
    pub(super) fn sled_of(&mut self, journal: &Journal) -> Result<(SledStorage, Marks), StorageError> {
        let database = journal.database();
        let refused = match self.known_sled(Some(journal)) {
            Ok((sled, Some(marks))) if marks.database == database => {
                let (has, first, level) = (marks.sequence, journal.first(), journal.level());
                let is_earlier = marks.generation < journal.generation();
                if !is_earlier && has + 1 >= first && !marks.is_before(level) {
                    self.aside = self.in_place_of()?;
                    return Ok((sled, marks));
                }
                sled.close()?;
                if is_earlier {
                    "it is of before the journal was last written anew".into()
                } else if has + 1 < first {
                    format!("it has commits up to {has}, and the journal begins with commit {first}")
                } else {
                    format!("it has commits up to {has}, and the journal was compacted up to commit {level}")
                }
            }
            Ok((sled, Some(_))) => {
                sled.close()?;
                return Err(self.corrupt(
                    "it is of another database than the journal beside it: put back the one that belongs to the other"
                        .into(),
                ));
            }
            Ok((sled, None)) if sled.is_empty()? && journal.first() == 1 => {
                if journal.next() > 1 {
                    self.notices.push(format!(
                        "the store was missing and is built anew from the journal's {} commits",
                        journal.next() - 1
                    ));
                }
                let marks = marks_of(journal, 0);
                sled.set_marks(marks)?;
                return Ok((sled, marks));
            }
            Ok((sled, None)) => {
                sled.close()?;
                "it does not say to which journal it belongs".into()
            }
            Err(StorageError::Corrupt { detail, .. }) => detail,
            Err(problem) => return Err(problem),
        };
        if journal.first() > 1 {
            return Err(self.corrupt(format!(
                "{refused}; the journal keeps recent commits only, so that the store cannot be built from it: restore a \
                 backup"
            )));
        }
        let aside = self.move_aside(STORE)?;
        self.aside = Some(aside.clone());
        self.notices.push(format!(
            "the store was damaged ({refused}): it was moved aside to '{}' and built anew from the journal's {} commits; \
             remove it when nothing is missing",
            aside.display(),
            journal.next() - 1
        ));
        let sled = SledStorage::open(self.directory, sled_options(self.options))?;
        let name = aside.file_name().unwrap_or_default();
        let path = self.store().join(IN_PLACE_OF);
        disk::replace_file(&path, name.as_encoded_bytes(), 0o600).map_err(io_error("write", &path))?;
        let marks = marks_of(journal, 0);
        sled.set_marks(marks)?;
        Ok((sled, marks))
    }

    /// The store as it is, if it is not known to be damaged. One that was copied
    /// while it was open may have less than it says: it counts as damaged if it can be
    /// built from the journal.
    pub(super) fn known_sled(&self, journal: Option<&Journal>) -> Result<(SledStorage, Option<Marks>), StorageError> {
        let mark = self.store().join(DAMAGED);
        match fs::read_to_string(&mark) {
            Ok(reason) => return Err(self.corrupt(reason.trim_end().chars().take(300).collect())),
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
            Err(problem) => return Err(io_error("read", &mark)(problem)),
        }
        let seen = preflight::look(&self.store())?;
        self.whole.set(seen.whole);
        if journal.is_some_and(|journal| journal.first() == 1) && seen.look == Look::Copied {
            return Err(self.corrupt("it was copied while it was open".into()));
        }
        let last = journal.map(|journal| (journal.generation(), journal.next() - 1));
        let whole = seen.whole.map(|whole| (whole.generation, whole.sequence));
        // The journal is written from it, which may be broken off.
        let stays_whole = whole > last;
        let sled = SledStorage::open_seen(self.directory, sled_options(self.options), &seen, stays_whole)?;
        if whole < last {
            sled.set_whole(None);
        }
        let marks = sled.marks()?;
        Ok((sled, marks))
    }
}

//! How journal and store are brought together when they are opened.
//!
//! | journal | store | |
//! |---|---|---|
//! | not there | not there | both are made |
//! | there | there, of this journal | what it lacks is repeated from the journal |
//! | there | not there, damaged, or of nobody knows what | it is moved aside and built anew from the journal; what only it had is taken from it |
//! | not there | there | the journal is written anew from the store, as a new generation |
//! | ends before what the store has, or is of an earlier generation | there | the journal takes from the store what it lacks, in a new generation |
//! | of a newer generation | there | it is moved aside and built anew from the journal |
//! | of one database | of another | refused |

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::journal::{self, Hole, Journal, JournalOptions, Piece};
use super::super::sled::fault::io_error;
use super::super::sled::preflight::{self, Look};
use super::super::sled::raw;
use super::super::sled::{Marks, SledOptions, SledStorage, Whole};
use super::super::{Change, Direction, KeyRange, Storage, StorageError};
use super::overlay::Layer;
use super::reconcile::{Healed, Kinds, Trust, reconcile};
use super::{JournaledOptions, Keep, MOST_FRESH_BYTES, renewal};
use crate::disk::{self, sync_directory};

/// So much is given to sled at once while it is built.
pub(super) const BUILD_BYTES: u64 = 8 << 20;

/// So much goes into one frame of a journal that is written from a store.
const FRAME_BYTES: u64 = 1 << 20;

/// sled is synced as rarely: what it loses in a power cut the journal repeats.
const SLED_SYNC_INTERVAL_MS: u64 = 5000;

/// The sequence in the marks of a store that the journal is being brought up to, or
/// written anew from. What was found is noted before anything is changed: whatever
/// ends it, the next opening finds another state and could not tell any more.
const MORE_THAN_JOURNAL: u64 = u64::MAX - 1;

/// The same of a store that has all that was committed: nothing can be missing.
const WHOLE: u64 = u64::MAX - 2;

/// So many rows go into one frame that are taken from a store set aside.
const ROWS_OF_FRAME: usize = 256;

const JOURNAL: &str = "journal";
/// A journal that is being written from a store.
const UNFINISHED_JOURNAL: &str = "journal.new";
/// The one in whose place it is put.
const REPLACED_JOURNAL: &str = "journal.old";
pub(super) const STORE: &str = "store";
/// In the store: it is damaged, and to be built anew. Holds why, for people.
const DAMAGED: &str = "damaged";
/// In a store that is being built: the name of the one that it takes the place of,
/// from which it has not taken yet what only that had.
const IN_PLACE_OF: &str = "in-place-of";

/// Both, as they were found or made.
pub(super) struct Opened {
    pub(super) journal: Journal,
    pub(super) sled: SledStorage,
    /// What sled says of itself.
    pub(super) marks: Marks,
    /// What sled still lacks.
    pub(super) fresh: Layer,
    pub(super) notices: Vec<String>,
    pub(super) keep: Keep,
    /// See [`JournaledStorage::may_lack_commits`](super::JournaledStorage).
    pub(super) may_lack_commits: bool,
}

/// The store has to be built anew at the next opening.
pub(super) fn mark_damaged(directory: &Path, reason: &str) -> io::Result<()> {
    disk::replace_file(&directory.join(STORE).join(DAMAGED), format!("{reason}\n").as_bytes(), 0o600)
}

/// Whether it has.
pub(super) fn is_marked_damaged(directory: &Path) -> bool {
    directory.join(STORE).join(DAMAGED).symlink_metadata().is_ok()
}

pub(super) fn open(directory: &Path, options: &JournaledOptions) -> Result<Opened, StorageError> {
    renewal::sweep(directory)?;
    for name in [UNFINISHED_JOURNAL, REPLACED_JOURNAL] {
        remove_directory(&directory.join(name))?;
    }
    let kept = Keep::of(directory)?;
    let mut opened = look(directory, options)?;
    // Where commits were dropped, it is no second copy, whatever became of the file
    // that says so.
    let is_recent = opened.journal.first() > 1;
    let keep = options.keep.unwrap_or(if is_recent { Keep::Recent } else { kept });
    if keep == Keep::All && is_recent {
        opened = write_anew(directory, options, opened)?;
    }
    if kept != keep || kept != Keep::of(directory)? {
        keep.store(directory)?;
    }
    opened.sled.begin()?;
    Ok(Opened { keep, ..opened })
}

/// Makes a journal that recent commits only were kept of whole again.
fn write_anew(directory: &Path, options: &JournaledOptions, opened: Opened) -> Result<Opened, StorageError> {
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

pub(super) fn remove_directory(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(problem)),
        _ => Ok(()),
    }
}

pub(super) fn sled_options(options: &JournaledOptions) -> SledOptions {
    SledOptions {
        cache_bytes: options.cache_bytes,
        sync_interval_ms: options.sync_interval_ms.max(SLED_SYNC_INTERVAL_MS),
        free_floor_bytes: options.free_floor_bytes,
        reserve_bytes: options.reserve_bytes,
        ordered_writes: options.ordered_writes,
        grouped: options.grouped,
        ..SledOptions::default()
    }
}

fn look(directory: &Path, options: &JournaledOptions) -> Result<Opened, StorageError> {
    let mut opening = Opening::new(directory, options);
    let path = opening.journal();
    if !journal::exists(&path)? {
        return opening.without_journal();
    }
    if journal::database(&path)?.is_none() {
        opening.set_journal_aside()?;
        return opening.without_journal();
    }
    opening.beside_journal()
}

struct Opening<'a> {
    directory: &'a Path,
    options: &'a JournaledOptions,
    notices: Vec<String>,
    /// Up to where the store has everything, as it was left.
    whole: Cell<Option<Whole>>,
    /// Where the store is that was moved aside now.
    aside: Option<PathBuf>,
    /// Commits that the journal had lost when the store was to get them.
    lost: Vec<Hole>,
}

impl<'a> Opening<'a> {
    const fn new(directory: &'a Path, options: &'a JournaledOptions) -> Self {
        Self { directory, options, notices: Vec::new(), whole: Cell::new(None), aside: None, lost: Vec::new() }
    }

    fn journal(&self) -> PathBuf {
        self.directory.join(JOURNAL)
    }

    fn store(&self) -> PathBuf {
        self.directory.join(STORE)
    }

    fn corrupt(&self, detail: String) -> StorageError {
        StorageError::Corrupt { path: self.store(), detail }
    }

    fn journal_options(&self) -> JournalOptions {
        JournalOptions {
            file_bytes: self.options.journal_file_bytes,
            free_floor_bytes: self.options.free_floor_bytes,
            sync_hook: self.options.sync_hook.clone(),
        }
    }

    fn beside_journal(mut self) -> Result<Opened, StorageError> {
        let (journal, found) = Journal::open(&self.journal(), self.journal_options())?;
        let (sled, mut marks) = self.sled_of(&journal)?;
        let last = journal.next() - 1;
        // A killed process may have left in memory what is read from here on.
        journal.sync(last)?;
        let mut fresh = Layer { sequence: marks.sequence, ..Layer::default() };
        let mut holes = found.holes;
        let had = marks.sequence;
        let is_earlier = journal.generation() < marks.generation;
        let trust = if is_earlier || had > last { Trust::Store } else { Trust::Newer };
        let may_lack = trust == Trust::Store && self.may_lack(marks);
        match trust {
            Trust::Newer => self.replay(&journal, &sled, &mut marks, &mut fresh)?,
            Trust::Store => begin_generation(&journal, &sled, self.brought_to(marks))?,
        }
        let was_cut = self.take_from_aside(&journal, &sled, &mut marks, &mut fresh)?;
        if self.options.heal {
            holes = self.all_holes()?;
        }
        if trust == Trust::Store || !holes.is_empty() || self.options.heal {
            if trust == Trust::Newer {
                self.feed(&sled, &mut fresh, &mut marks)?;
            }
            let healed = self.heal(&journal, &sled, &holes, trust, may_lack, &mut marks)?;
            fresh.sequence = marks.sequence;
            if trust == Trust::Store {
                self.notices.push(match had {
                    _ if is_earlier => format!("the journal was of before it was last written anew: {healed}"),
                    WHOLE | MORE_THAN_JOURNAL => {
                        format!("the journal ended with commit {last}, the store had more: {healed}")
                    }
                    had => format!("the journal ended with commit {last}, the store had {had}: {healed}"),
                });
            } else if let Some(hole) = holes.first() {
                self.notices.push(format!(
                    "the journal was damaged in '{}' at byte {}: {healed}",
                    hole.file.display(),
                    hole.offset
                ));
            } else if healed != Healed::default() {
                self.notices.push(format!("journal and store differed: {healed}"));
            }
        }
        let may_lack_commits = was_cut || may_lack;
        Ok(Opened { journal, sled, marks, fresh, notices: self.notices, keep: Keep::All, may_lack_commits })
    }

    /// Whether a store from which the journal goes on may lack commits that only the
    /// journal had: it was not closed with all of them, and what the journal had last
    /// is gone.
    fn may_lack(&self, marks: Marks) -> bool {
        match marks.sequence {
            WHOLE => false,
            MORE_THAN_JOURNAL => true,
            _ => self.whole.get().is_none(),
        }
    }

    /// The marks of a store up to which the journal is brought, in a new generation.
    fn brought_to(&self, marks: Marks) -> Marks {
        let sequence = if self.may_lack(marks) { MORE_THAN_JOURNAL } else { WHOLE };
        Marks { sequence, generation: marks.generation.saturating_add(1), ..marks }
    }

    /// Tells of commits that the journal has lost, and takes what it can of them from
    /// a store that was moved aside. Says whether the journal had lost its end.
    fn take_from_aside(
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
    fn in_place_of(&self) -> Result<Option<PathBuf>, StorageError> {
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
    fn take_from(
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

    /// The holes of all files.
    fn all_holes(&self) -> Result<Vec<Hole>, StorageError> {
        let mut holes = Vec::new();
        for piece in journal::read(&self.journal(), 0)? {
            if let Piece::Hole(hole) = piece? {
                holes.push(hole);
            }
        }
        Ok(holes)
    }

    /// Brings journal and store to what they have together, and then writes the
    /// damaged files anew without their holes.
    fn heal(
        &self,
        journal: &Journal,
        sled: &SledStorage,
        holes: &[Hole],
        trust: Trust,
        may_lack: bool,
        marks: &mut Marks,
    ) -> Result<Healed, StorageError> {
        let kinds = Kinds { is_derived: self.options.is_derived, is_permanent: self.options.is_permanent };
        // The oldest file may be lost, and not dropped.
        let is_begun_by_loss = || holes.iter().any(|hole| *hole.sequences.start() == 1);
        let has_all = journal.first() == 1 || is_begun_by_loss() && Keep::of(self.directory)? == Keep::All;
        let healed = reconcile(journal, &self.journal(), sled, kinds, trust, has_all)?;
        if trust == Trust::Newer && !holes.is_empty() {
            // A file that is mended says with regard to which commits that was done: a
            // store that has not noted them would count as too old, whatever ends this.
            let sequence = journal.next() - 1;
            journal.sync(sequence)?;
            marks.sequence = sequence;
            sled.set_marks(*marks)?;
        }
        for hole in holes {
            journal.mend(hole)?;
        }
        if may_lack && let Some(row) = &self.options.row_of_loss {
            journal.sync(journal.append(std::slice::from_ref(row))?)?;
            self.note_loss(sled, *marks)?;
        }
        *marks = Marks { replaced_bytes: marks.replaced_bytes, ..marks_of(journal, journal.next() - 1) };
        sled.set_marks(*marks)?;
        Ok(healed)
    }

    /// Gives the store the row that says that commits may be lost. The marks stay as
    /// they are.
    fn note_loss(&self, sled: &SledStorage, marks: Marks) -> Result<(), StorageError> {
        let mut layer = Layer::default();
        layer.put(self.options.row_of_loss.clone());
        sled.feed(&layer.rows, self.options.is_derived, sled.marks()?.unwrap_or(marks)).map(drop)
    }

    /// The store of a journal: the one that is there, or one that is to be built
    /// from it.
    fn sled_of(&mut self, journal: &Journal) -> Result<(SledStorage, Marks), StorageError> {
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
    fn known_sled(&self, journal: Option<&Journal>) -> Result<(SledStorage, Option<Marks>), StorageError> {
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

    /// A journal that says of no file what it is. Its frames may be read some day;
    /// a store that knows its journal has what was in it, but for the last commits
    /// if it was not closed.
    fn set_journal_aside(&mut self) -> Result<(), StorageError> {
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

    fn move_aside(&self, name: &str) -> Result<PathBuf, StorageError> {
        let from = self.directory.join(name);
        let to = (1_u32..)
            .map(|n| self.directory.join(format!("{name}.aside-{n}")))
            .find(|to| fs::symlink_metadata(to).is_err())
            .expect("a directory holds fewer than 2^32 names");
        fs::rename(&from, &to).map_err(io_error("move aside", &from))?;
        sync_directory(self.directory).map_err(io_error("sync", self.directory))?;
        Ok(to)
    }

    /// Repeats what sled lacks. The last of it is left to the feeder.
    fn replay(
        &mut self,
        journal: &Journal,
        sled: &SledStorage,
        marks: &mut Marks,
        fresh: &mut Layer,
    ) -> Result<(), StorageError> {
        if marks.sequence + 1 >= journal.next() {
            return Ok(());
        }
        let (from, next) = (marks.sequence + 1, journal.next());
        for piece in journal::read(&self.journal(), from)? {
            match piece? {
                Piece::Frame { sequence, changes } => {
                    fresh.put(changes);
                    fresh.sequence = sequence;
                }
                Piece::Hole(hole) if hole.sequences.is_empty() => {}
                Piece::Hole(hole) => {
                    fresh.sequence = *hole.sequences.end();
                    self.lost.push(hole);
                }
            }
            if fresh.bytes >= BUILD_BYTES {
                self.feed(sled, fresh, marks)?;
                if let Some(hook) = &self.options.replay_hook {
                    hook(marks.sequence + 1 - from, next - from);
                }
            }
        }
        // The last commits may have nothing left.
        fresh.sequence = journal.next() - 1;
        if fresh.bytes >= MOST_FRESH_BYTES {
            self.feed(sled, fresh, marks)?;
        }
        Ok(())
    }

    fn feed(&self, sled: &SledStorage, fresh: &mut Layer, marks: &mut Marks) -> Result<(), StorageError> {
        let layer = std::mem::take(fresh);
        fresh.sequence = layer.sequence;
        marks.sequence = layer.sequence;
        marks.replaced_bytes += layer.replaced_bytes;
        *marks = sled.feed(&layer.rows, self.options.is_derived, *marks)?;
        Ok(())
    }

    fn without_journal(mut self) -> Result<Opened, StorageError> {
        let is_nothing = fs::symlink_metadata(self.store().join("db")).is_err();
        if is_nothing && !self.options.create {
            return Err(self.corrupt("it is missing, and so is its journal: restore a backup".into()));
        }
        let (sled, marks) = self.known_sled(None).map_err(|problem| match problem {
            StorageError::Corrupt { detail, .. } => {
                self.corrupt(format!("{detail}; its journal is missing, too, from which it could be built anew"))
            }
            other => other,
        })?;
        let is_new = marks.is_none() && sled.is_empty()?;
        let database = match marks {
            Some(marks) => marks.database,
            None => rand::random(),
        };
        let path = self.journal();
        if is_new {
            let journal = Journal::create(&path, database, self.journal_options())?;
            let marks = marks_of(&journal, 0);
            sled.set_marks(marks)?;
            let (fresh, notices) = (Layer::default(), self.notices);
            return Ok(Opened { journal, sled, marks, fresh, notices, keep: Keep::All, may_lack_commits: false });
        }
        // Its commits get sequences that others had in the journal that is lost.
        let before = marks.map(|marks| self.brought_to(marks));
        let may_lack_commits = before.is_some_and(|before| before.sequence == MORE_THAN_JOURNAL);
        let before = before.unwrap_or(Marks { database, sequence: WHOLE, generation: 0, level: 0, replaced_bytes: 0 });
        if may_lack_commits {
            sled.set_marks(before)?;
            self.note_loss(&sled, before)?;
        }
        let (journal, marks_now, rows) = self.journal_of(&sled, before, None)?;
        if marks.is_some() {
            self.notices.push(format!("the journal was missing and was written anew from the store's {rows} rows; all of it is kept from now on, whatever was chosen"));
        }
        let fresh = Layer { sequence: marks_now.sequence, ..Layer::default() };
        Ok(Opened { journal, sled, marks: marks_now, fresh, notices: self.notices, keep: Keep::All, may_lack_commits })
    }

    /// Writes a journal from a store and puts it in its place. Until the end the marks
    /// of the store say that it has more than the journal, `before`: whatever ends
    /// this, it is done again. Returns how many rows it has, too.
    fn journal_of(
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

/// The marks of a store that has everything of a journal up to a commit.
fn marks_of(journal: &Journal, sequence: u64) -> Marks {
    Marks {
        database: journal.database(),
        sequence,
        generation: journal.generation(),
        level: journal.level(),
        replaced_bytes: 0,
    }
}

/// Lets the journal go on from what the store has. Until the marks are set again
/// the store counts as having more: whatever ends this, it is done again.
fn begin_generation(journal: &Journal, sled: &SledStorage, marks: Marks) -> Result<(), StorageError> {
    let than = journal.generation().max(marks.generation.saturating_sub(1));
    sled.set_marks(Marks { generation: than.saturating_add(1), ..marks })?;
    journal.begin_generation(than)
}

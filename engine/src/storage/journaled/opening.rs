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

mod anew;
mod aside;
mod store;

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::StorageError;
use super::super::journal::{self, Hole, Journal, JournalOptions, Piece};
use super::super::sled::fault::io_error;
use super::super::sled::{Marks, SledOptions, SledStorage, Whole};
use super::overlay::Layer;
use super::reconcile::{Healed, Kinds, Trust, reconcile};
use super::{JournaledOptions, Keep, MOST_FRESH_BYTES, renewal};
use crate::disk;
use anew::{begin_generation, write_anew};

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

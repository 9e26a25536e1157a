//! Salvage: a new database from whatever of an old one can still be read.
//!
//! Rows are taken wherever they are left: in the journal, in sled's log read
//! raw, in backups. What follows from the ledger is made anew. Exports fill what
//! is missing then. Nothing in the old directory is changed.
//!
//! Records are sealed under the keyring and for their position, so that none can
//! be taken for another. The ledger keeps its positions; where entries are
//! missing, or nobody can say that none is, the node goes on under a new node
//! key: the old one has signed for what was.

mod sources;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use thingdb_format::{EntryId, Hash, NodeKey};
use zeroize::Zeroizing;

use self::sources::{Rows, Source, sources};
use super::options::Options;
use super::{Db, open};
use crate::directory;
use crate::directory::version;
use crate::disk::{self, Access};
use crate::error::{Error, Result};
use crate::exchange::export::ExportOptions;
use crate::exchange::import::{ImportOptions, ImportSummary, TrustPolicy};
use crate::keyring::{Keyring, Unlock};
use crate::node::standing;
use crate::store::recover::{UNREADABLE, accept_lost_end, for_each_record, lost_end, note_lost_end};
use crate::store::seals::Seals;
use crate::verify::{Problem, Report, VerifyOptions};

/// Positions of another ledger that are taken at once.
const TAKEN_AT_ONCE: u64 = 64;

/// Ids of so many entries are looked up at once.
const IDS_AT_ONCE: u64 = 4096;

/// A salvage that is under way: see [`Options::salvage`].
#[derive(Debug)]
pub struct Salvage {
    db: Db,
    unfinished: PathBuf,
    out: PathBuf,
    /// The size and root that the old node key signed last.
    claimed: Option<(u64, Hash)>,
    /// Ids of the old ledger, as far as they are known; zeros stand for others.
    ids: Vec<EntryId>,
    /// Entries that the ledger had when it was salvaged before.
    ended: u64,
    /// Entries of other ledgers that were found, with their places there.
    others: Vec<Missing>,
    ledgers_differ: bool,
    node_key: Option<NodeKey>,
}

/// What a salvage came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Salvaged {
    /// Entries of the new database.
    pub entries: u64,
    /// Entries of the old ledger that are nowhere, in its order; the first
    /// thousand.
    pub missing: Vec<Missing>,
    /// How many are missing.
    pub missing_total: u64,
    /// What is wrong with entries that are there: payloads that are not, for
    /// example. The first thousand.
    pub problems: Vec<Problem>,
    /// How much is wrong.
    pub problems_total: u64,
    /// Whether two ledgers of the node were found that differ, or one that is not the
    /// one that it signed for. The new database has the one that was signed for, and
    /// behind it the entries that only others have. The node has a new key then.
    pub ledgers_differ: bool,
    /// The new key of the node, if it could not go on under the old one.
    pub node_key: Option<NodeKey>,
}

impl Salvaged {
    /// Whether nothing is missing.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.missing_total == 0 && self.problems_total == 0
    }
}

/// An entry of the old ledger that is nowhere, or one that was found in another ledger
/// of the node and could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Its place in that ledger.
    pub position: u64,
    /// Its id, if that is known.
    pub id: Option<EntryId>,
}

/// Missing entries that are listed.
const MAX_LISTED: usize = 1000;

impl Options {
    /// Begins to make a new database in `out` from what is left of the one in
    /// `dir`, of which only the keyring has to be whole, and from `backups`:
    /// directories with a journal or a store of the same database.
    ///
    /// Nothing in `dir` is changed. `out` must not be there; it appears when
    /// [`Salvage::finish`] has come to its end. One that was broken off can be
    /// repeated: what it made is made anew.
    ///
    /// # Errors
    /// [`Error::is_already_exists`], [`Error::is_locked`],
    /// [`Error::is_no_database`] if there is no keyring, [`Error::Keyring`] if it
    /// does not open, [`Error::Storage`] if the new rows cannot be written.
    pub fn salvage(
        &self,
        dir: impl AsRef<Path>,
        out: impl AsRef<Path>,
        unlock: Unlock<'_>,
        backups: &[PathBuf],
    ) -> Result<Salvage> {
        let (dir, out) = (dir.as_ref(), out.as_ref());
        directory::check(dir)?;
        if !Db::exists(dir) {
            return Err(Error::NoDatabase { dir: dir.to_owned() });
        }
        Db::check_unlocked(dir)?;
        let unfinished = unfinished(out)?;
        if fs::symlink_metadata(out).is_ok() {
            return Err(Error::AlreadyExists { dir: out.to_owned() });
        }
        crate::backup::refuse_within(dir, out)?;
        remove_broken_off(&beside(&unfinished))?;
        remove_broken_off(&unfinished)?;
        disk::create_private_directory(&unfinished).map_err(Error::file(&unfinished, "cannot be created"))?;
        let begun = self.begin(dir, &unfinished, unlock, backups);
        if begun.is_err() {
            let _ = fs::remove_dir_all(&unfinished);
        }
        let Begun { mut db, claimed, others } = begun?;
        let ids = ids_of(&db, db.node.store.size())?;
        let ended = lost_end(&db.node.store)?.map_or(0, |lost| lost.end);
        let ledgers_differ = !others.is_empty() || is_another(&db, &ids, claimed)?;
        let mut node_key = None;
        // The old key has signed for what was: unless that is here, and more.
        if !db.is_writable() || claimed.is_none() || ledgers_differ {
            node_key = Some(db.new_node_key()?);
            db = Db::open_with(&unfinished, unlock, self)?;
        }
        let known: HashSet<_> = ids.iter().copied().collect();
        let mut salvage = Salvage {
            db,
            unfinished,
            out: out.to_owned(),
            claimed,
            ids,
            ended,
            others: Vec::new(),
            ledgers_differ,
            node_key,
        };
        for other in others {
            let missing = other.ids.iter().filter(|(_, id)| !known.contains(*id));
            let mut missing: Vec<_> = missing.map(|(at, id)| Missing { position: *at, id: Some(*id) }).collect();
            missing.sort_by_key(|one| one.position);
            self.take_behind(&salvage, dir, &other, &missing, unlock)?;
            salvage.others.extend(missing);
        }
        Ok(salvage)
    }

    fn begin(&self, dir: &Path, new: &Path, unlock: Unlock<'_>, backups: &[PathBuf]) -> Result<Begun> {
        copy_small_files(dir, new, true)?;
        let keyring = Keyring::open(&new.join("keyring"), unlock, &mut rand::rng())?;
        // One that does not read is none.
        let kept = standing::load(new, &keyring).ok().and_then(standing::Kept::own);
        let claimed = kept.map(|note| (note.claimed().size, note.claimed().root));
        let mut sources = sources(dir, backups, &Seals::new(&keyring), claimed)?;
        let others = sources.split_off(1.min(sources.len()));
        let db = self.gather(new, unlock, keyring, &sources)?;
        Ok(Begun { db, claimed, others })
    }

    /// A database of the rows of sources; its keyring is there.
    fn gather(&self, new: &Path, unlock: Unlock<'_>, keyring: Keyring, sources: &[Source]) -> Result<Db> {
        version::write(new)?;
        {
            let storage = open::open_storage(new, self, true, None)?.storage;
            let mut rows = Rows::new(&*storage, Seals::new(&keyring));
            for part in sources.iter().flat_map(|source| &source.parts) {
                rows.take_all(part)?;
            }
            rows.commit()?;
            storage.close()?;
        }
        drop(keyring);
        Db::open_with(new, unlock, &self.clone().rebuild(true))
    }

    /// Takes the entries that only another ledger of the node has: as they would come
    /// from elsewhere, with their signatures verified. What cannot be taken is missing,
    /// and is told then.
    fn take_behind(
        &self,
        salvage: &Salvage,
        dir: &Path,
        other: &Source,
        missing: &[Missing],
        unlock: Unlock<'_>,
    ) -> Result<()> {
        let Some(first) = missing.first() else { return Ok(()) };
        let beside = beside(&salvage.unfinished);
        remove_broken_off(&beside)?;
        disk::create_private_directory(&beside).map_err(Error::file(&beside, "cannot be created"))?;
        let taken = (|| {
            copy_small_files(dir, &beside, false)?;
            let keyring = Keyring::open(&beside.join("keyring"), unlock, &mut rand::rng())?;
            let db = self.gather(&beside, unlock, keyring, std::slice::from_ref(other))?;
            // The node's key signs nothing of it, at closing neither.
            db.node.committer.close(Error::Closed);
            let size = db.node.store.size();
            for start in (first.position..size).step_by(TAKEN_AT_ONCE as usize) {
                let mut stream = Vec::new();
                // Nothing is signed for it.
                let part = ExportOptions::new().bare(true).past_holes(true);
                db.export(part.since(start).until(size.min(start + TAKEN_AT_ONCE)), &mut stream)?;
                salvage.import(Cursor::new(stream))?;
            }
            Ok(())
        })();
        let removed = fs::remove_dir_all(&beside).map_err(Error::file(&beside, "cannot be removed"));
        taken.and(removed)
    }
}

/// A new database, before entries from elsewhere come to it.
struct Begun {
    db: Db,
    claimed: Option<(u64, Hash)>,
    /// What has other entries at the same positions.
    others: Vec<Source>,
}

/// Whether all ids are known of what was signed for, and others were.
fn is_another(db: &Db, ids: &[EntryId], claimed: Option<(u64, Hash)>) -> Result<bool> {
    let Some((size, root)) = claimed else { return Ok(false) };
    let first = usize::try_from(size).ok().and_then(|size| ids.get(..size));
    if first.is_none_or(|first| first.contains(&UNREADABLE)) {
        return Ok(false);
    }
    Ok(db.node.store.with_tree(|tree| tree.root_at(size))? != root)
}

impl Salvage {
    /// Takes the entries of an export that are not here, whoever signed them: the
    /// signatures have to hold.
    ///
    /// # Errors
    /// As [`Db::import`].
    pub fn import(&self, input: impl BufRead) -> Result<ImportSummary> {
        self.db.import(ImportOptions::new().trust(TrustPolicy::All), input)
    }

    /// Compares what is here with what was, verifies it, and gives the new
    /// database its name.
    ///
    /// # Errors
    /// What verification or closing meets; [`Error::File`] if it cannot be renamed.
    pub fn finish(self) -> Result<Salvaged> {
        let here = self.here()?;
        let is_as_signed = self.is_as_signed(&here)?;
        let (missing, missing_total) = self.missing(&here, is_as_signed);
        let Report { problems, problems_total, .. } = self.db.verify(VerifyOptions::new())?;
        // What is missing has been told.
        let told = |problem: &Problem| problem.position.is_some_and(|at| missing.iter().any(|one| one.position == at));
        let before = problems.len();
        let problems: Vec<_> = problems.into_iter().filter(|problem| !told(problem)).collect();
        let problems_total = problems_total - (before - problems.len()) as u64;
        let entries = here.len() as u64;
        // What is missing at the end leaves no hole that could be seen.
        let end = self.ids.len() as u64;
        let all = self.claimed.filter(|_| !is_as_signed).map_or(0, |(size, _)| size).max(self.ended);
        if all > end {
            note_lost_end(&self.db.node.store, &(end..all))?;
        } else {
            accept_lost_end(&self.db.node.store)?;
        }
        self.db.close()?;
        fs::rename(&self.unfinished, &self.out).map_err(Error::file(&self.out, "cannot be given its name"))?;
        let parent = disk::parent_of(&self.out);
        disk::sync_directory(parent).map_err(Error::file(parent, "cannot be synced"))?;
        Ok(Salvaged {
            entries,
            missing,
            missing_total,
            problems,
            problems_total,
            ledgers_differ: self.ledgers_differ,
            node_key: self.node_key,
        })
    }

    /// The new database, as far as it has come.
    #[must_use]
    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// The new key of the node, if it cannot go on under the old one.
    #[must_use]
    pub const fn node_key(&self) -> Option<NodeKey> {
        self.node_key
    }

    /// The ids of the entries that can be read.
    fn here(&self) -> Result<HashSet<EntryId>> {
        let mut here = HashSet::new();
        for_each_record(&self.db.node.store, 0, |_, found| {
            here.extend(found.ok().map(|located| located.id));
            Ok(())
        })?;
        Ok(here)
    }

    fn missing(&self, here: &HashSet<EntryId>, is_as_signed: bool) -> (Vec<Missing>, u64) {
        let (mut missing, mut total) = self.missing_of_ledger(here, is_as_signed);
        let mut told = HashSet::new();
        for other in &self.others {
            if let Some(id) = other.id
                && !here.contains(&id)
                && told.insert(id)
            {
                total += 1;
                if missing.len() < MAX_LISTED {
                    missing.push(other.clone());
                }
            }
        }
        (missing, total)
    }

    /// Whether entries came in their order: those that were signed for.
    fn is_as_signed(&self, here: &HashSet<EntryId>) -> Result<bool> {
        let Some((size, root)) = self.claimed else { return Ok(false) };
        Ok(size >= self.ids.len() as u64
            && size <= self.db.node.store.size()
            && self.db.node.store.with_tree(|tree| tree.root_at(size))? == root
            && ids_of(&self.db, size)?.iter().all(|id| here.contains(id)))
    }

    fn missing_of_ledger(&self, here: &HashSet<EntryId>, is_as_signed: bool) -> (Vec<Missing>, u64) {
        let (mut missing, mut total) = (Vec::new(), 0);
        let claimed = self.claimed.map_or(0, |(size, _)| size);
        let known = claimed.max(self.ids.len() as u64);
        for position in (0..known).filter(|_| !is_as_signed).chain(known..self.ended) {
            let id = usize::try_from(position).ok().and_then(|at| self.ids.get(at)).filter(|id| **id != UNREADABLE);
            if id.is_none_or(|id| !here.contains(id)) {
                total += 1;
                if missing.len() < MAX_LISTED {
                    missing.push(Missing { position, id: id.copied() });
                }
            }
        }
        (missing, total)
    }
}

/// What surrounds the entries: the keyring, and what the node has signed, if that is
/// wanted.
fn copy_small_files(dir: &Path, new: &Path, with_checkpoints: bool) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(Error::file(dir, "cannot be listed"))?;
    for entry in entries {
        let name = entry.map_err(Error::file(dir, "cannot be listed"))?.file_name();
        let is_one = name.to_str().is_some_and(|name| {
            let is_checkpoint = name == "checkpoint" || name.starts_with("checkpoint.former-");
            matches!(name, "keyring" | "keyring.copy") || (with_checkpoints && is_checkpoint)
        });
        if is_one {
            let (from, to) = (dir.join(&name), new.join(&name));
            let mut bytes = Zeroizing::new(Vec::new());
            disk::open_file(&from, Access::Read)
                .and_then(|mut file| file.read_to_end(&mut bytes))
                .map_err(Error::file(&from, "cannot be read"))?;
            disk::replace_file(&to, &bytes, 0o600).map_err(Error::file(&to, "cannot be written"))?;
        }
    }
    Ok(())
}

/// The ids of the first entries of the ledger; zeros for those that are lost.
fn ids_of(db: &Db, size: u64) -> Result<Vec<EntryId>> {
    let mut ids = Vec::new();
    for start in (0..size).step_by(IDS_AT_ONCE as usize) {
        ids.extend(db.node.store.with_tree(|tree| tree.ids(start, size.min(start + IDS_AT_ONCE)))?);
    }
    Ok(ids)
}

/// Removes what a salvage left that was broken off. Who is still at it has it locked.
fn remove_broken_off(unfinished: &Path) -> Result<()> {
    let Ok(found) = fs::symlink_metadata(unfinished) else { return Ok(()) };
    if !found.is_dir() || !directory::strangers(unfinished)?.is_empty() {
        return Err(Error::AlreadyExists { dir: unfinished.to_owned() });
    }
    Db::check_unlocked(unfinished)?;
    fs::remove_dir_all(unfinished).map_err(Error::file(unfinished, "cannot be removed"))
}

/// Where another ledger is read: beside where the new database is made.
fn beside(unfinished: &Path) -> PathBuf {
    let mut other = unfinished.as_os_str().to_owned();
    other.push(".other");
    PathBuf::from(other)
}

/// Where the new database is made: `.NAME.salvage` beside it.
fn unfinished(out: &Path) -> Result<PathBuf> {
    let name = out.file_name().ok_or_else(|| Error::file(out, "names no directory")(ErrorKind::InvalidInput.into()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".salvage");
    Ok(disk::parent_of(out).join(hidden))
}

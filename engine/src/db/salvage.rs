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

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, ErrorKind, Read};
use std::path::{Path, PathBuf};

use thingdb_format::{EntryId, Hash, NodeKey};
use zeroize::Zeroizing;

use super::options::Options;
use super::{Db, open};
use crate::directory;
use crate::directory::version;
use crate::disk::{self, Access};
use crate::error::{Error, Result};
use crate::exchange::import::{ImportOptions, ImportSummary, TrustPolicy};
use crate::keyring::{Keyring, Unlock};
use crate::node::standing;
use crate::storage::journal::{self, Piece};
use crate::storage::sled::raw;
use crate::storage::{Batch, Storage};
use crate::store::block::Block;
use crate::store::recover::{UNREADABLE, for_each_record};
use crate::store::schema;
use crate::store::seals::Seals;
use crate::verify::{Problem, Report, VerifyOptions};

/// Bytes that one commit of salvaged rows has at the most, and some.
const COMMIT_BYTES: u64 = 1 << 20;

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

/// An entry of the old ledger that is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// Its place in the old ledger.
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
        remove_broken_off(&unfinished)?;
        disk::create_private_directory(&unfinished).map_err(Error::file(&unfinished, "cannot be created"))?;
        let begun = self.begin(dir, &unfinished, unlock, backups);
        if begun.is_err() {
            let _ = fs::remove_dir_all(&unfinished);
        }
        let (mut db, claimed) = begun?;
        let ids = ids_of(&db, db.node.store.size())?;
        let mut node_key = None;
        // The old key has signed for what was: unless that is here, and more.
        if !db.is_writable() || claimed.is_none() {
            node_key = Some(db.new_node_key()?);
            db = Db::open_with(&unfinished, unlock, self)?;
        }
        Ok(Salvage { db, unfinished, out: out.to_owned(), claimed, ids, node_key })
    }

    fn begin(
        &self,
        dir: &Path,
        new: &Path,
        unlock: Unlock<'_>,
        backups: &[PathBuf],
    ) -> Result<(Db, Option<(u64, Hash)>)> {
        copy_small_files(dir, new)?;
        let keyring = Keyring::open(&new.join("keyring"), unlock, &mut rand::rng())?;
        // One that does not read is none.
        let kept = standing::load(new, &keyring).ok().and_then(standing::Kept::own);
        let claimed = kept.map(|note| (note.claimed().size, note.claimed().root));
        version::write(new)?;
        {
            let storage = open::open_storage(new, self, true, None)?.storage;
            let mut rows =
                Rows { storage: &*storage, seals: Seals::new(&keyring), batch: Batch::new(), blocks: HashMap::new() };
            for from in backups.iter().map(PathBuf::as_path).chain([dir]) {
                rows.take_all(from)?;
            }
            rows.commit()?;
            storage.close()?;
        }
        drop(keyring);
        let db = Db::open_with(new, unlock, &self.clone().rebuild(true))?;
        Ok((db, claimed))
    }
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
        let (missing, missing_total) = self.missing()?;
        let Report { problems, problems_total, .. } = self.db.verify(VerifyOptions::new())?;
        // What is missing has been told.
        let told = |problem: &Problem| problem.position.is_some_and(|at| missing.iter().any(|one| one.position == at));
        let before = problems.len();
        let problems: Vec<_> = problems.into_iter().filter(|problem| !told(problem)).collect();
        let problems_total = problems_total - (before - problems.len()) as u64;
        let entries = self.here()?.len() as u64;
        self.db.close()?;
        fs::rename(&self.unfinished, &self.out).map_err(Error::file(&self.out, "cannot be given its name"))?;
        let parent = disk::parent_of(&self.out);
        disk::sync_directory(parent).map_err(Error::file(parent, "cannot be synced"))?;
        Ok(Salvaged { entries, missing, missing_total, problems, problems_total, node_key: self.node_key })
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

    fn missing(&self) -> Result<(Vec<Missing>, u64)> {
        let (mut missing, mut total) = (Vec::new(), 0);
        let claimed = self.claimed.map_or(0, |(size, _)| size);
        let here = self.here()?;
        // Entries that came in their order are those that were signed for.
        if let Some((size, root)) = self.claimed
            && size >= self.ids.len() as u64
            && size <= self.db.node.store.size()
            && self.db.node.store.with_tree(|tree| tree.root_at(size))? == root
            && ids_of(&self.db, size)?.iter().all(|id| here.contains(id))
        {
            return Ok((missing, 0));
        }
        for position in 0..claimed.max(self.ids.len() as u64) {
            let id = usize::try_from(position).ok().and_then(|at| self.ids.get(at)).filter(|id| **id != UNREADABLE);
            if id.is_none_or(|id| !here.contains(id)) {
                total += 1;
                if missing.len() < MAX_LISTED {
                    missing.push(Missing { position, id: id.copied() });
                }
            }
        }
        Ok((missing, total))
    }
}

/// The rows of the new database, while they are gathered.
struct Rows<'a> {
    storage: &'a dyn Storage,
    seals: Seals,
    batch: Batch,
    /// The blocks in the batch: how many of their records open.
    blocks: HashMap<Vec<u8>, usize>,
}

impl Rows<'_> {
    /// Takes what is left in a directory, the journal's version of a row last.
    fn take_all(&mut self, dir: &Path) -> Result<()> {
        let journal = dir.join(journal::DIRECTORY);
        // What a journal had that was set aside, or what nothing leads to any more: of
        // that only what does no harm if it was deleted since.
        for journal in aside(dir, "journal.")?.iter().chain([&journal]) {
            journal::raw::changes_in(journal, &mut |(key, value)| match value {
                Some(value) if schema::is_of_entries(&key) => self.take(key, Some(value)),
                _ => Ok(()),
            })?;
        }
        for store in aside(dir, "store.aside-")?.iter().chain([&dir.join("store")]) {
            raw::rows(store, Some(schema::GROUPED), &mut |key, value| self.take(key, value))?;
        }
        if !journal.is_dir() {
            return Ok(());
        }
        for piece in journal::read(&journal, 0)? {
            // What a hole had is missing, and is told then.
            let Piece::Frame { changes, .. } = piece? else { continue };
            for (key, value) in changes {
                self.take(key, value)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<()> {
        if !schema::is_worth_keeping(&key) {
            return Ok(());
        }
        match (schema::first_of_block(&key).filter(|_| key.first() == Some(&b'L')), value) {
            // No block is ever deleted.
            (Some(_), None) => {}
            (Some(first), Some(value)) => {
                // What comes later is newer: one that is whole counts, though others
                // of its records may lie in another block now.
                let (open, is_whole) = self.records(first, &value);
                if open > 0 && (is_whole || open >= self.records_here(first, &key)?) {
                    self.blocks.insert(key.clone(), open);
                    self.batch.put(key, value);
                }
            }
            (None, Some(value)) => drop(self.batch.put(key, value)),
            (None, None) => drop(self.batch.delete(key)),
        }
        if self.batch.bytes() > COMMIT_BYTES { self.commit() } else { Ok(()) }
    }

    /// How many records of the block that is here open.
    fn records_here(&self, first: u64, key: &[u8]) -> Result<usize> {
        if let Some(open) = self.blocks.get(key) {
            return Ok(*open);
        }
        Ok(self.storage.get(key)?.map_or(0, |block| self.records(first, &block).0))
    }

    /// How many records of a block open, and whether these are all.
    fn records(&self, first: u64, bytes: &[u8]) -> (usize, bool) {
        let block = Block::from_bytes(first, bytes).and_then(|block| block.open(self.seals.block_key(first)));
        let Ok(mut block) = block else { return (0, false) };
        let open = (0..u8::MAX).take(block.len()).filter(|slot| block.record(*slot).is_ok()).count();
        (open, open == block.len())
    }

    fn commit(&mut self) -> Result<()> {
        self.blocks.clear();
        self.storage.commit(std::mem::take(&mut self.batch))?;
        Ok(())
    }
}

/// The directories in one that begin so, in the order of their numbers: what was set
/// aside, or not finished.
fn aside(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>> {
    let mut aside = Vec::new();
    let entries = fs::read_dir(dir).map_err(Error::file(dir, "cannot be listed"))?;
    for entry in entries {
        let entry = entry.map_err(Error::file(dir, "cannot be listed"))?;
        let name = entry.file_name();
        let is_directory = entry.file_type().map_err(Error::file(entry.path(), "cannot be looked at"))?.is_dir();
        if is_directory && name.as_encoded_bytes().starts_with(prefix.as_bytes()) {
            aside.push(entry.path());
        }
    }
    aside.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    Ok(aside)
}

/// What surrounds the entries: the keyring, and what the node has signed.
fn copy_small_files(dir: &Path, new: &Path) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(Error::file(dir, "cannot be listed"))?;
    for entry in entries {
        let name = entry.map_err(Error::file(dir, "cannot be listed"))?.file_name();
        let is_one = name.to_str().is_some_and(|name| {
            matches!(name, "keyring" | "keyring.copy" | "checkpoint") || name.starts_with("checkpoint.former-")
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

/// Where the new database is made: `.NAME.salvage` beside it.
fn unfinished(out: &Path) -> Result<PathBuf> {
    let name = out.file_name().ok_or_else(|| Error::file(out, "names no directory")(ErrorKind::InvalidInput.into()))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".salvage");
    Ok(disk::parent_of(out).join(hidden))
}

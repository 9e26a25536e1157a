//! Where a salvage takes rows from, and which of them are of one ledger.
//!
//! Rows lie at their position. Two ledgers of one node, of which one was set back and
//! written to again, have others at the same positions: rows of both beside each other
//! would be neither. So parts of which two have another entry at a position are taken
//! apart.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use thingdb_format::{EntryId, Hash, merkle};

use crate::error::{Error, Result};
use crate::storage::journal::{self, Piece};
use crate::storage::sled::raw;
use crate::storage::{Batch, Storage};
use crate::store::block::Block;
use crate::store::schema;
use crate::store::seals::Seals;

/// Bytes that one commit of salvaged rows has at the most, and some.
const COMMIT_BYTES: u64 = 1 << 20;

/// Entries by their position.
pub(super) type Ids = HashMap<u64, EntryId>;

/// What is read as one: its rows are of one ledger, and what comes later is newer.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A journal read raw: what was set aside, or what nothing leads to any more. Of
    /// that only what does no harm if it was deleted since.
    RawJournal(PathBuf),
    /// A store that was set aside or not finished.
    RawStore(PathBuf),
    /// The store of a directory, and its journal, whose version of a row is the last.
    Directory(PathBuf),
}

impl Part {
    /// The parts of a directory, the newest last.
    fn of(dir: &Path) -> Result<Vec<Self>> {
        let mut parts: Vec<_> = aside(dir, "journal.")?.into_iter().map(Self::RawJournal).collect();
        parts.push(Self::RawJournal(dir.join(journal::DIRECTORY)));
        parts.extend(aside(dir, "store.aside-")?.into_iter().map(Self::RawStore));
        parts.push(Self::Directory(dir.to_owned()));
        Ok(parts)
    }

    fn each_row(&self, act: &mut dyn FnMut(Vec<u8>, Option<Vec<u8>>) -> Result<()>) -> Result<()> {
        match self {
            Self::RawJournal(journal) => journal::raw::changes_in(journal, &mut |(key, value)| match value {
                Some(value) if schema::is_of_entries(&key) => act(key, Some(value)),
                _ => Ok(()),
            }),
            Self::RawStore(store) => raw::rows(store, Some(schema::GROUPED), &mut |key, value| act(key, value)),
            Self::Directory(dir) => {
                raw::rows(&dir.join("store"), Some(schema::GROUPED), &mut |key, value| act(key, value))?;
                let journal = dir.join(journal::DIRECTORY);
                if !journal.is_dir() {
                    return Ok(());
                }
                for piece in journal::read(&journal, 0)? {
                    // What a hole had is missing, and is told then.
                    let Piece::Frame { changes, .. } = piece? else { continue };
                    changes.into_iter().try_for_each(|(key, value)| act(key, value))?;
                }
                Ok(())
            }
        }
    }

    /// The entries that it has.
    fn ids(&self, seals: &Seals) -> Result<Ids> {
        let mut ids = Ids::new();
        self.each_row(&mut |key, value| {
            let (Some(b'L'), Some(first), Some(bytes)) = (key.first(), schema::first_of_block(&key), value) else {
                return Ok(());
            };
            let block = Block::from_bytes(first, &bytes).and_then(|block| block.open(seals.block_key(first)));
            let Ok(mut block) = block else { return Ok(()) };
            for (position, slot) in (first..=u64::MAX).zip(0..u8::MAX).take(block.len()) {
                if let Ok(record) = block.record(slot) {
                    ids.insert(position, record.id);
                }
            }
            Ok(())
        })?;
        Ok(ids)
    }
}

/// Parts that have no two entries at one position.
pub(super) struct Source {
    /// The newest last.
    pub(super) parts: Vec<Part>,
    pub(super) ids: Ids,
}

impl Source {
    fn agrees(&self, ids: &Ids) -> bool {
        ids.iter().all(|(position, id)| self.ids.get(position).is_none_or(|known| known == id))
    }

    /// Whether its first entries are those that were signed for.
    fn is_of(&self, (size, root): (u64, Hash)) -> bool {
        let ids: Option<Vec<_>> = (0..size).map(|position| self.ids.get(&position).map(merkle::leaf)).collect();
        ids.is_some_and(|leaves| merkle::root(leaves) == root)
    }
}

/// The sources in a directory and in backups: first the one whose ledger the new
/// database has. That is the one that the node signed for; else that of the directory;
/// else the longest.
pub(super) fn sources(
    dir: &Path,
    backups: &[PathBuf],
    seals: &Seals,
    claimed: Option<(u64, Hash)>,
) -> Result<Vec<Source>> {
    let mut sources: Vec<Source> = Vec::new();
    let mut order = Vec::new();
    let mut is_of_dir = false;
    for from in [dir].into_iter().chain(backups.iter().rev().map(PathBuf::as_path)) {
        // The newest decides.
        for part in Part::of(from)?.into_iter().rev() {
            let ids = part.ids(seals)?;
            is_of_dir |= from == dir && !ids.is_empty();
            order.insert(0, part.clone());
            match sources.iter_mut().find(|source| source.agrees(&ids)) {
                Some(source) => {
                    source.parts.push(part);
                    source.ids.extend(ids);
                }
                None => sources.push(Source { parts: vec![part], ids }),
            }
        }
    }
    let signed = claimed.filter(|(size, _)| *size > 0);
    let signed = signed.and_then(|claimed| sources.iter().position(|source| source.is_of(claimed)));
    let longest = || {
        let all = sources.iter().enumerate();
        all.max_by_key(|(n, source)| (source.ids.len(), std::cmp::Reverse(*n))).map_or(0, |(n, _)| n)
    };
    let first = signed.unwrap_or_else(|| if is_of_dir { 0 } else { longest() });
    if first < sources.len() {
        let source = sources.remove(first);
        sources.insert(0, source);
    }
    for source in &mut sources {
        source.parts = order.iter().filter(|part| source.parts.contains(part)).cloned().collect();
    }
    Ok(sources)
}

/// The rows of the new database, while they are gathered.
pub(super) struct Rows<'a> {
    storage: &'a dyn Storage,
    seals: Seals,
    batch: Batch,
    /// The blocks in the batch: how many of their records open.
    blocks: HashMap<Vec<u8>, usize>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(storage: &'a dyn Storage, seals: Seals) -> Self {
        Self { storage, seals, batch: Batch::new(), blocks: HashMap::new() }
    }

    /// Takes what is left in a part.
    pub(super) fn take_all(&mut self, part: &Part) -> Result<()> {
        part.each_row(&mut |key, value| self.take(key, value))
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

    pub(super) fn commit(&mut self) -> Result<()> {
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

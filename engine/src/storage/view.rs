//! A storage over the files of a journal alone, which writes nothing.
//!
//! One scan of the journal learns for each key where its newest value is; values
//! are read from there when they are asked for. A row takes 24 bytes of memory
//! and its key; twice that while they are sorted. What is committed is kept in
//! memory: the engine writes rows that follow from others when it opens.
//! [`View::seal`] ends that.
//!
//! The files may have a writer. What counts is what they were when they were
//! scanned, also if they are dropped, compacted or replaced afterwards; but for files
//! beyond the first 256, of which an error tells that.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::journal::{Dropped, FileHead, Hole, Raw, Reader, io_error};
use super::{Batch, Change, Direction, Health, KeyRange, Row, Rows, Storage, StorageError, Ticket};
use crate::disk::{Access, open_file};

/// Files that are kept open; those beyond are opened for each value that is read.
const OPEN_FILES: usize = 256;

/// The least number of changes that are sorted into the rows together.
const UNSORTED_ROWS: usize = 1 << 16;

/// The rows of a journal.
pub struct View {
    dir: PathBuf,
    rows: Sorted,
    files: Vec<Held>,
    database: [u8; 16],
    last: u64,
    holes: Vec<Hole>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    /// What was committed since, over the rows of the journal.
    changed: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    commits: u64,
    is_sealed: bool,
    is_closed: bool,
}

impl View {
    /// Scans the journal in `dir` up to the commit with the sequence `until`, or
    /// to its end. Commits that cannot be read are told by [`View::holes`].
    ///
    /// # Errors
    /// [`StorageError::Io`], with [`io::ErrorKind::NotFound`] if there is no
    /// journal and [`io::ErrorKind::Unsupported`] if its first commits were
    /// dropped, or it was compacted with regard to later ones than `until`.
    /// [`StorageError::Corrupt`] if no file has a header that is whole,
    /// or the files are of several databases.
    pub fn open(dir: &Path, until: Option<u64>) -> Result<Self, StorageError> {
        let mut reader = Reader::new(dir, 1)?;
        if reader.first() > 1 {
            let text = format!("it begins with commit {}: those before it are in the store only", reader.first());
            return Err(io_error("read the journal in", dir)(Dropped(text).into()));
        }
        if reader.is_absent() {
            return Err(io_error("open the journal in", dir)(io::ErrorKind::NotFound.into()));
        }
        let Some(database) = reader.database() else {
            let detail = "no file of the journal has a header that is whole".to_owned();
            return Err(StorageError::Corrupt { path: dir.to_owned(), detail });
        };
        let mut view = Self {
            dir: dir.to_owned(),
            rows: Sorted::default(),
            files: Vec::new(),
            database,
            last: 0,
            holes: Vec::new(),
            state: RwLock::default(),
        };
        let until = until.unwrap_or(u64::MAX);
        let mut file = None;
        while let Some(raw) = reader.next()? {
            let frame = match raw {
                Raw::Hole(hole) if *hole.sequences.start() > until => break,
                Raw::Hole(hole) => {
                    view.last = view.last.max((*hole.sequences.end()).min(until));
                    view.holes.push(hole);
                    continue;
                }
                Raw::Frame(frame) if frame.sequence > until => break,
                Raw::Frame(frame) => frame,
            };
            view.last = frame.sequence;
            if file != Some(frame.file) {
                file = Some(frame.file);
                let held = view.hold(&reader)?;
                view.files.push(held);
            }
            let Some(places) = reader.places(&frame)? else {
                view.holes.push(reader.malformed(&frame));
                continue;
            };
            let file = view.files.len() - 1;
            let body = reader.body(&frame)?;
            for (key, value) in places {
                let at = value.as_ref().map_or(0, |value| frame.body_at + value.start as u64);
                view.rows.push(&body[key], file, at, value.map(|value| value.len())).ok_or_else(|| {
                    let detail = "it is larger than a view can be".to_owned();
                    StorageError::Corrupt { path: dir.to_owned(), detail }
                })?;
            }
        }
        if until == u64::MAX {
            view.last = view.last.max(reader.expected() - 1);
        } else if reader.needed() > until {
            let text = format!("it was compacted up to commit {}, and is no more as it was before", reader.needed());
            return Err(io_error("read the journal in", dir)(io::Error::new(io::ErrorKind::Unsupported, text)));
        }
        view.rows.sort();
        view.rows.shrink();
        Ok(view)
    }

    /// The database that the journal is of.
    pub fn database(&self) -> [u8; 16] {
        self.database
    }

    /// The sequence of the last commit that counts; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Commits that cannot be read.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// Refuses commits from now on, for good.
    pub fn seal(&self) {
        self.write().is_sealed = true;
    }

    fn hold(&self, reader: &Reader) -> Result<Held, StorageError> {
        let (path, head) = reader.file();
        if self.files.len() >= OPEN_FILES {
            return Ok(Held::Named { path, head });
        }
        let file = reader.open_file().map_err(io_error("open", &path))?;
        Ok(Held::Open { path, file })
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, State>, StorageError> {
        // Nothing panics half way through a change.
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.is_closed { Err(StorageError::Closed) } else { Ok(state) }
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, place: &Place) -> Result<Vec<u8>, StorageError> {
        let read = |file: &File, path: &Path| {
            let mut value = vec![0; place.value_len as usize];
            match file.read_exact_at(&mut value, place.at()) {
                Ok(()) => Ok(value),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(StorageError::Corrupt { path: path.to_owned(), detail: "it was cut while it was open".into() })
                }
                Err(error) => Err(io_error("read", path)(error)),
            }
        };
        match &self.files[place.file()] {
            Held::Open { path, file } => read(file, path),
            Held::Named { path, head } => {
                let file = open_file(path, Access::Read).map_err(io_error("open", path))?;
                if FileHead::read(&file).map_err(io_error("read", path))?.as_ref() != Some(head) {
                    let detail = "it was compacted while it was open: open it again".to_owned();
                    return Err(StorageError::Corrupt { path: path.clone(), detail });
                }
                read(&file, path)
            }
        }
    }

    /// The value of the journal.
    fn kept(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.rows.find(key).map(|place| self.value(&place)).transpose()
    }

    fn current(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if let Some(changed) = self.read()?.changed.get(key) {
            return Ok(changed.clone());
        }
        self.kept(key)
    }
}

impl Storage for View {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.current(key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_> {
        if range.is_empty() {
            return Box::new(std::iter::empty());
        }
        let end = range.end().map_or(Bound::Unbounded, |end| Bound::Excluded(end.to_vec()));
        let rows = self.rows.between(range.start(), range.end());
        Box::new(ViewRows { view: self, rows, start: Bound::Included(range.start().to_vec()), end, direction })
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        for (key, expected) in &batch.guards {
            if self.current(key)? != *expected {
                return Err(StorageError::Conflict { key: key.clone() });
            }
        }
        let mut state = self.write();
        if state.is_closed {
            return Err(StorageError::Closed);
        }
        if state.is_sealed && !batch.is_empty() {
            return Err(StorageError::ReadOnly { reason: "it was opened to read only".to_owned() });
        }
        state.changed.extend(batch.changes);
        state.commits += 1;
        Ok(Ticket(state.commits))
    }

    fn wait(&self, _ticket: Ticket) -> Result<(), StorageError> {
        Ok(())
    }

    fn health(&self) -> Health {
        match self.read() {
            Ok(state) if state.is_sealed => Health::ReadOnly("it was opened to read only".to_owned()),
            Ok(_) => Health::Writable,
            Err(_) => Health::Closed,
        }
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        drop(self.read()?);
        super::journal::allocated_bytes(&self.dir)
    }

    fn compact(&self) -> Result<u64, StorageError> {
        Err(StorageError::ReadOnly { reason: "it was opened to read only".to_owned() })
    }

    fn close(&self) -> Result<(), StorageError> {
        self.write().is_closed = true;
        Ok(())
    }
}

/// It is shared by the storage and whoever seals it.
impl Storage for Arc<View> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        View::get(self, key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_> {
        View::scan(self, range, direction)
    }

    fn commit(&self, batch: Batch) -> Result<Ticket, StorageError> {
        View::commit(self, batch)
    }

    fn wait(&self, ticket: Ticket) -> Result<(), StorageError> {
        View::wait(self, ticket)
    }

    fn health(&self) -> Health {
        View::health(self)
    }

    fn disk_bytes(&self) -> Result<u64, StorageError> {
        View::disk_bytes(self)
    }

    fn compact(&self) -> Result<u64, StorageError> {
        View::compact(self)
    }

    fn close(&self) -> Result<(), StorageError> {
        View::close(self)
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("dir", &self.dir).field("last", &self.last).finish_non_exhaustive()
    }
}

/// A file of the journal, as it was when it was scanned.
enum Held {
    Open { path: PathBuf, file: File },
    Named { path: PathBuf, head: FileHead },
}

/// The rows of a scan: those of the journal and those that were committed since.
struct ViewRows<'a> {
    view: &'a View,
    rows: &'a [Place],
    /// What is left of the range.
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    direction: Direction,
}

impl ViewRows<'_> {
    fn row(&mut self) -> Result<Option<Row>, StorageError> {
        loop {
            let kept = match self.direction {
                Direction::Forward => self.rows.first(),
                Direction::Backward => self.rows.last(),
            };
            let kept = kept.map(|place| (self.view.rows.key(place), *place));
            let changed = self.changed()?;
            let changed_first = match (&changed, &kept) {
                (Some((key, _)), Some((kept, _))) if self.direction == Direction::Forward => &key[..] <= *kept,
                (Some((key, _)), Some((kept, _))) => &key[..] >= *kept,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return Ok(None),
            };
            let (key, value) = match (changed, kept) {
                (Some((key, value)), kept) if changed_first => {
                    if kept.is_some_and(|(kept, _)| kept == key) {
                        self.skip();
                    }
                    (key, value)
                }
                (_, Some((kept, place))) => {
                    let row = (kept.to_vec(), Some(self.view.value(&place)?));
                    self.skip();
                    row
                }
                (_, None) => return Ok(None),
            };
            match self.direction {
                Direction::Forward => self.start = Bound::Excluded(key.clone()),
                Direction::Backward => self.end = Bound::Excluded(key.clone()),
            }
            if let Some(value) = value {
                return Ok(Some((key, value)));
            }
        }
    }

    /// The next change that was committed since.
    fn changed(&self) -> Result<Option<Change>, StorageError> {
        if let (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end)) = (&self.start, &self.end)
            && start >= end
        {
            return Ok(None);
        }
        let state = self.view.read()?;
        let mut range = state.changed.range::<Vec<u8>, _>((self.start.as_ref(), self.end.as_ref()));
        let next = match self.direction {
            Direction::Forward => range.next(),
            Direction::Backward => range.next_back(),
        };
        Ok(next.map(|(key, value)| (key.clone(), value.clone())))
    }

    fn skip(&mut self) {
        let rest = match self.direction {
            Direction::Forward => self.rows.split_first().map(|(_, rest)| rest),
            Direction::Backward => self.rows.split_last().map(|(_, rest)| rest),
        };
        self.rows = rest.unwrap_or_default();
    }
}

impl Iterator for ViewRows<'_> {
    type Item = Result<Row, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row();
        if row.is_err() {
            // It ends here.
            self.rows = &[];
            self.start = Bound::Excluded(Vec::new());
            self.end = Bound::Excluded(Vec::new());
        }
        row.transpose()
    }
}

/// Where a row is: 24 bytes.
#[derive(Clone, Copy)]
struct Place {
    key_at: u64,
    /// The number of the file, 24 bits, and the place in it.
    file_and_at: u64,
    key_len: u32,
    /// [`DELETED`] if there is no value.
    value_len: u32,
}

const DELETED: u32 = u32::MAX;
const AT_BITS: u32 = 40;

impl Place {
    fn file(&self) -> usize {
        (self.file_and_at >> AT_BITS) as usize
    }

    fn at(&self) -> u64 {
        self.file_and_at & ((1 << AT_BITS) - 1)
    }
}

/// Keys with their places, sorted but for the newest.
#[derive(Default)]
struct Sorted {
    keys: Vec<u8>,
    rows: Vec<Place>,
    /// How many of the rows are sorted; those behind are newer.
    sorted: usize,
}

impl Sorted {
    fn key(&self, place: &Place) -> &[u8] {
        let at = place.key_at as usize;
        &self.keys[at..at + place.key_len as usize]
    }

    /// Adds a change; `None` if it is at a place that cannot be told.
    fn push(&mut self, key: &[u8], file: usize, at: u64, value_len: Option<usize>) -> Option<()> {
        let file = u64::try_from(file).ok().filter(|file| *file < 1 << (64 - AT_BITS))?;
        let place = Place {
            key_at: self.keys.len() as u64,
            file_and_at: file << AT_BITS | Some(at).filter(|at| *at < 1 << AT_BITS)?,
            key_len: u32::try_from(key.len()).ok()?,
            value_len: match value_len {
                None => DELETED,
                Some(len) => u32::try_from(len).ok().filter(|len| *len != DELETED)?,
            },
        };
        self.keys.extend(key);
        self.rows.push(place);
        if self.rows.len() - self.sorted >= self.sorted.max(UNSORTED_ROWS) {
            self.sort();
        }
        Some(())
    }

    /// Sorts the newest in: of a key the last one stays, and nothing of one that
    /// was deleted.
    fn sort(&mut self) {
        let mut newer = self.rows.split_off(self.sorted);
        newer.sort_by(|one, other| self.key(one).cmp(self.key(other)));
        let old = std::mem::take(self);
        let mut merged = Self::default();
        let (mut rows, mut newer) = (old.rows.iter().peekable(), newer.iter().peekable());
        loop {
            let order = match (rows.peek(), newer.peek()) {
                (Some(row), Some(new)) => old.key(row).cmp(old.key(new)),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            if order.is_eq() {
                rows.next();
                continue;
            }
            let place = if order.is_lt() {
                rows.next()
            } else {
                let first = newer.next();
                let key = first.map(|place| old.key(place));
                let mut last = first;
                while let Some(place) = newer.next_if(|place| Some(old.key(place)) == key) {
                    last = Some(place);
                }
                last
            };
            if let Some(place) = place.filter(|place| place.value_len != DELETED) {
                let key = old.key(place);
                merged.rows.push(Place { key_at: merged.keys.len() as u64, ..*place });
                merged.keys.extend(key);
            }
        }
        merged.sorted = merged.rows.len();
        *self = merged;
    }

    fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.rows.shrink_to_fit();
    }

    fn find(&self, key: &[u8]) -> Option<Place> {
        let found = self.rows.binary_search_by(|place| self.key(place).cmp(key));
        found.ok().map(|at| self.rows[at])
    }

    fn between(&self, start: &[u8], end: Option<&[u8]>) -> &[Place] {
        let below = |bound: &[u8]| self.rows.partition_point(|place| self.key(place) < bound);
        &self.rows[below(start)..end.map_or(self.rows.len(), below)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::{Journal, JournalOptions};
    use super::super::memory::MemoryStorage;
    use super::*;

    fn rows(storage: &dyn Storage, range: &KeyRange, direction: Direction) -> Vec<Row> {
        storage.scan(range, direction).map(Result::unwrap).collect()
    }

    /// What a journal of random changes comes to is what a map comes to, with
    /// more changes over it, too.
    #[test]
    fn a_view_has_the_rows_of_a_map() {
        let directory = tempfile::tempdir().unwrap();
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let memory = MemoryStorage::new();
        let options = JournalOptions { file_bytes: 64 << 10, ..JournalOptions::default() };
        let journal = Journal::create(directory.path(), [1; 16], options).unwrap();
        let mut batches = Vec::new();
        for _ in 0..400 {
            let mut batch = Batch::new();
            for _ in 0..=random(400) {
                let key = random(3000).to_be_bytes()[5..].to_vec();
                match random(4) {
                    0 => batch.delete(key),
                    _ => batch.put(key, vec![random(250) as u8; random(30) as usize]),
                };
            }
            batches.push(batch);
        }
        let same = |view: &View| {
            let prefix = KeyRange::prefix([0, 3]);
            let part = KeyRange::between([0, 2, 7], [0, 8]);
            for range in [KeyRange::all(), prefix, part, KeyRange::from([0, 9, 9]), KeyRange::between([5], [4])] {
                for direction in [Direction::Forward, Direction::Backward] {
                    assert_eq!(rows(view, &range, direction), rows(&memory, &range, direction));
                }
            }
            for n in 0..3000_u64 {
                let key = &n.to_be_bytes()[5..];
                assert_eq!(view.get(key).unwrap(), memory.get(key).unwrap());
            }
        };
        let (half, rest) = batches.split_at(200);
        for batch in half {
            journal.append(&batch.changes).unwrap();
            memory.commit(batch.clone()).unwrap();
        }
        // A writer is at it, and one that goes on.
        let view = View::open(directory.path(), None).unwrap();
        assert_eq!((view.last(), view.holes(), view.database()), (200, &[][..], [1; 16]));
        same(&view);
        for batch in rest {
            journal.append(&batch.changes).unwrap();
        }
        let view = View::open(directory.path(), Some(200)).unwrap();
        same(&view);
        for batch in rest {
            view.commit(batch.clone()).unwrap();
            memory.commit(batch.clone()).unwrap();
        }
        same(&view);
        same(&View::open(directory.path(), None).unwrap());
        view.seal();
        let mut batch = Batch::new();
        batch.put(*b"key", *b"value");
        assert!(matches!(view.commit(batch), Err(StorageError::ReadOnly { .. })));
        same(&view);
        view.close().unwrap();
        assert!(matches!(view.get(b"key"), Err(StorageError::Closed)));
    }

    #[test]
    fn a_journal_without_its_first_commits_is_no_storage() {
        let directory = tempfile::tempdir().unwrap();
        let error = View::open(directory.path(), None).unwrap_err();
        assert!(matches!(&error, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));
        let journal = Journal::create_from(directory.path(), [1; 16], 5, JournalOptions::default()).unwrap();
        journal.append(&[(b"key".to_vec(), None)]).unwrap();
        let error = View::open(directory.path(), None).unwrap_err();
        assert!(matches!(&error, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::Unsupported));
    }

    #[test]
    fn a_place_is_24_bytes() {
        assert_eq!(size_of::<Place>(), 24);
    }
}

//! What cannot be read, and how reading goes on behind it.
//!
//! A page of the storage that does not read hides the rows on it. A scan that
//! meets one is begun anew behind it: first ever farther away, by a sixteenth of
//! the way that was gone, until a row reads again; then by halves back to the
//! first that does. That is some eight hundred looks at most for each such page,
//! however large the storage is. Good rows between two bad pages are passed over
//! if they are fewer than a sixteenth of the first.

use std::ops::{ControlFlow, Range};

use thingdb_format::ThingId;

use super::block::Block;
use super::postings;
use super::schema;
use super::states;
use super::stored::at;
use super::{Located, Store, located_in};
use crate::error::{Error, Result};
use crate::storage::{Direction, KeyRange, Storage, StorageError};

/// Entries of the ledger that cannot be read, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hole {
    /// Where they are in the ledger.
    pub positions: Range<u64>,
    /// The things and seqs of those of them that the index knows: a hundred at
    /// most.
    pub entries: Vec<(ThingId, u64)>,
    /// What is wrong there.
    pub detail: String,
}

/// Entries of a hole that are named.
const MAX_NAMED: usize = 100;

/// Holes that are told one by one.
const MAX_HOLES: usize = 1000;

/// The holes of one walk.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    /// Ascending.
    found: Vec<Hole>,
    /// Entries in them, and in those that are not told one by one.
    entries: u64,
}

impl Holes {
    /// Adds a hole behind those that are known. One that goes on where the last
    /// one ended, for the same reason, is the same.
    pub(crate) fn add(&mut self, hole: Hole) {
        self.entries = self.entries.saturating_add(hole.positions.end.saturating_sub(hole.positions.start));
        let is_full = self.found.len() >= MAX_HOLES;
        match self.found.last_mut() {
            Some(last) if last.positions.end == hole.positions.start && last.detail == hole.detail => {
                last.positions.end = hole.positions.end;
            }
            _ if is_full => {}
            _ => self.found.push(hole),
        }
    }

    /// The entries that are missing.
    pub(crate) const fn entries(&self) -> u64 {
        self.entries
    }

    /// The holes, with what the index knows of them.
    pub(crate) fn named(mut self, store: &Store) -> Vec<Hole> {
        if !self.found.is_empty() {
            // The index may be damaged, too: then they have no names.
            let _ = name(store, &mut self.found);
        }
        self.found
    }
}

fn name(store: &Store, holes: &mut [Hole]) -> Result<()> {
    states::each(store, |tag, state| {
        let (Some(tag), Ok(state)) = (tag, state) else { return Ok(()) };
        for chunk in postings::chunks(1, state.last_seq().min(store.size())) {
            let Ok(listed) = store.chunk(tag, state, chunk) else { continue };
            for posting in listed.iter() {
                let behind = holes.partition_point(|hole| hole.positions.end <= posting.position);
                let hole = holes.get_mut(behind).filter(|hole| hole.positions.contains(&posting.position));
                if let Some(hole) = hole.filter(|hole| hole.entries.len() < MAX_NAMED) {
                    hole.entries.push((state.thing.clone(), posting.seq));
                }
            }
        }
        Ok(())
    })?;
    holes.iter_mut().for_each(|hole| hole.entries.sort());
    Ok(())
}

/// Whether an error is one of a place, behind which reading can go on.
pub(crate) fn is_of_a_place(problem: &Error) -> bool {
    problem.is_damaged() || matches!(problem, Error::Storage(problem) if is_unreadable(problem))
}

fn is_unreadable(problem: &StorageError) -> bool {
    match problem {
        StorageError::Corrupt { .. } => true,
        StorageError::Io { source, .. } => source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()),
        _ => false,
    }
}

/// A row, or the reason why some could not be read.
pub(crate) type Found = std::result::Result<(Vec<u8>, Vec<u8>), StorageError>;

/// Calls `act` with each row of a range, and with each reason for which rows
/// before the next one are left out, for as long as it says.
pub(crate) fn each_row(
    storage: &dyn Storage,
    range: &KeyRange,
    mut act: impl FnMut(Found) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut range = range.clone();
    loop {
        let mut last = None;
        let mut problem = None;
        for row in storage.scan(&range, Direction::Forward) {
            match row {
                Ok((key, value)) => {
                    last = Some(key.clone());
                    if act(Ok((key, value)))?.is_break() {
                        return Ok(());
                    }
                }
                Err(found) if is_unreadable(&found) => {
                    problem = Some(found);
                    break;
                }
                Err(found) => return Err(found.into()),
            }
        }
        let Some(problem) = problem else { return Ok(()) };
        if act(Err(problem))?.is_break() {
            return Ok(());
        }
        // A key has at least one byte more than the one before it.
        let from = last.map_or_else(|| range.start().to_vec(), |key| [&key[..], &[0]].concat());
        match behind(storage, &from, range.end())? {
            Some(start) => range = between(start, range.end()),
            None => return Ok(()),
        }
    }
}

fn between(start: Vec<u8>, end: Option<&[u8]>) -> KeyRange {
    end.map_or_else(|| KeyRange::from(start.clone()), |end| KeyRange::between(start.clone(), end))
}

/// The first key behind `from` at which a scan reads a row or ends well.
fn behind(storage: &dyn Storage, from: &[u8], end: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
    // Behind the letter of a key is a position or a tag: eight bytes to count in.
    let (letter, rest) = from.split_first().map_or((0, &[][..]), |(letter, rest)| (*letter, rest));
    let mut number = [0; 8];
    number.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    let start = u64::from_be_bytes(number);
    let key = |number: u64| [&[letter][..], &number.to_be_bytes()].concat();
    let reads = |number: u64| -> Result<bool> {
        match storage.scan(&between(key(number), end), Direction::Forward).next() {
            None | Some(Ok(_)) => Ok(true),
            Some(Err(problem)) if is_unreadable(&problem) => Ok(false),
            Some(Err(problem)) => Err(problem.into()),
        }
    };
    let mut bad = start;
    let mut good = loop {
        let step = ((bad - start) / 16).max(1);
        let Some(next) = bad.checked_add(step).filter(|next| end.is_none_or(|end| *key(*next) < *end)) else {
            return Ok(None);
        };
        if reads(next)? {
            break next;
        }
        bad = next;
    };
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        if reads(middle)? { good = middle } else { bad = middle }
    }
    Ok(Some(key(good)))
}

/// Calls `act` with each record from position `since` up to `size`, and with
/// each hole between them, in order, for as long as it says.
pub(crate) fn each_record(
    store: &Store,
    since: u64,
    size: u64,
    mut act: impl FnMut(std::result::Result<Located, Hole>) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    if since >= size {
        return Ok(ControlFlow::Continue(()));
    }
    let hole = |positions: Range<u64>, detail: &str| Hole { positions, entries: Vec::new(), detail: detail.to_owned() };
    let missing = "its block is missing".to_owned();
    let start = match store.block_of(since) {
        Ok((first, _)) => first,
        Err(problem) if is_of_a_place(&problem) => since,
        Err(problem) => return Err(problem),
    };
    let mut reason = missing.clone();
    let mut expected = since;
    let mut flow = ControlFlow::Continue(());
    each_row(&*store.storage, &schema::blocks_between(start, size), |row| {
        let (key, bytes) = match row {
            Ok(row) => row,
            Err(problem) => {
                reason = unreadable(&problem);
                return Ok(ControlFlow::Continue(()));
            }
        };
        // A row of another shape is none of the ledger's.
        let Some(first) = schema::first_of_block(&key) else { return Ok(ControlFlow::Continue(())) };
        if first > expected {
            flow = act(Err(hole(expected..first, &reason)))?;
            expected = first;
        }
        let mut block = match store.open_block(first, &bytes) {
            Ok(block) => block,
            Err(problem) => {
                // A hole as far as the next block.
                reason = detail_of(&problem);
                return Ok(flow);
            }
        };
        reason.clone_from(&missing);
        for (position, slot) in (first..size).zip(0..=u8::MAX).take(block.len()) {
            if position < expected || flow.is_break() {
                continue;
            }
            flow = match located_in(&mut block, slot) {
                Ok(located) => act(Ok(located))?,
                Err(problem) if is_of_a_place(&problem) => {
                    act(Err(hole(position..position + 1, &detail_of(&problem))))?
                }
                Err(problem) => return Err(problem),
            };
            expected = position + 1;
        }
        Ok(flow)
    })?;
    if expected < size && flow.is_continue() {
        flow = act(Err(hole(expected..size, &reason)))?;
    }
    Ok(flow)
}

/// The same for those that can be read. A hole ends it.
pub(crate) fn each_readable(
    store: &Store,
    since: u64,
    size: u64,
    mut act: impl FnMut(Located) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    each_record(store, since, size, |found| act(found.map_err(Hole::into_error)?))
}

/// Positions that no block has, as the layout of the blocks tells: nothing is opened.
pub(crate) fn gaps(store: &Store) -> Result<Vec<Range<u64>>> {
    let (mut gaps, mut expected) = (Vec::new(), 0);
    each_row(&*store.storage, &schema::blocks(), |row| {
        let Ok((key, bytes)) = row else { return Ok(ControlFlow::Continue(())) };
        let Some(first) = schema::first_of_block(&key) else { return Ok(ControlFlow::Continue(())) };
        let Ok(block) = Block::from_bytes(first, &bytes) else { return Ok(ControlFlow::Continue(())) };
        if first > expected && gaps.len() < MAX_HOLES {
            gaps.push(expected..first);
        }
        expected = expected.max(first.saturating_add(block.len() as u64));
        Ok(ControlFlow::Continue(()))
    })?;
    if expected < store.size() {
        gaps.push(expected..store.size());
    }
    Ok(gaps)
}

/// What is said of rows that the storage does not read.
pub(crate) fn unreadable(problem: &StorageError) -> String {
    match problem {
        StorageError::Corrupt { detail, .. } => format!("the storage cannot read it: {detail}"),
        StorageError::Io { source, .. } => format!("the storage cannot read it: {source}"),
        problem => problem.to_string(),
    }
}

/// What is wrong, without the place.
pub(crate) fn detail_of(problem: &Error) -> String {
    match problem {
        Error::Damaged { detail, .. } => detail.clone(),
        Error::Storage(problem) => unreadable(problem),
        problem => problem.to_string(),
    }
}

impl Hole {
    /// The error of who cannot go on behind it.
    pub(crate) fn into_error(self) -> Error {
        Error::damaged(at(self.positions.start), self.detail)
    }
}

impl std::fmt::Display for Hole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Range { start, end } = self.positions;
        match end.saturating_sub(start) {
            1 => write!(f, "position {start}")?,
            _ => write!(f, "positions {start} to {}", end.saturating_sub(1))?,
        }
        write!(f, ": {}", self.detail)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::storage::memory::MemoryStorage;
    use crate::storage::{Batch, Health, Rows, Ticket};

    /// Pages of rows, some of which do not read.
    struct Pages {
        rows: MemoryStorage,
        /// By first position, up to not including the second.
        bad: Vec<Range<u64>>,
        looks: AtomicUsize,
    }

    fn position(key: &[u8]) -> u64 {
        schema::first_of_block(key).unwrap_or_default()
    }

    impl Storage for Pages {
        fn get(&self, key: &[u8]) -> std::result::Result<Option<Vec<u8>>, StorageError> {
            self.rows.get(key)
        }

        fn scan(&self, range: &KeyRange, direction: Direction) -> Rows<'_> {
            assert_eq!(direction, Direction::Forward);
            self.looks.fetch_add(1, Ordering::Relaxed);
            let corrupt = || StorageError::Corrupt { path: "store".into(), detail: "a checksum does not match".into() };
            let mut at = position(&[range.start(), &[0; 9]].concat()[..9]);
            let mut rows = self.rows.scan(range, direction).peekable();
            Box::new(std::iter::from_fn(move || {
                // A page is met where a row of it would come, or where the scan begins in it.
                let next = rows.peek().and_then(|row| row.as_ref().ok()).map_or(u64::MAX, |(key, _)| position(key));
                if self.bad.iter().any(|page| page.contains(&at) || (page.start >= at && page.contains(&next))) {
                    return Some(Err(corrupt()));
                }
                at = next.saturating_add(1);
                rows.next()
            }))
        }

        fn commit(&self, batch: Batch) -> std::result::Result<Ticket, StorageError> {
            self.rows.commit(batch)
        }

        fn wait(&self, ticket: Ticket) -> std::result::Result<(), StorageError> {
            self.rows.wait(ticket)
        }

        fn health(&self) -> Health {
            self.rows.health()
        }

        fn disk_bytes(&self) -> std::result::Result<u64, StorageError> {
            self.rows.disk_bytes()
        }

        fn compact(&self) -> std::result::Result<u64, StorageError> {
            Ok(0)
        }

        fn close(&self) -> std::result::Result<(), StorageError> {
            self.rows.close()
        }
    }

    #[test]
    fn rows_behind_pages_that_do_not_read_are_read() {
        let step = 7;
        let pages = |bad: &[(u64, u64)]| bad.iter().map(|(first, end)| *first..*end).collect::<Vec<_>>();
        for bad in [
            pages(&[]),
            pages(&[(0, 100)]),
            pages(&[(500, 700)]),
            pages(&[(100, 110), (400, 401), (3000, 5000), (5300, 5500)]),
            pages(&[(99_000, 100_000)]),
            pages(&[(0, 100_000)]),
        ] {
            let rows = MemoryStorage::new();
            let mut batch = Batch::new();
            for position in (0..100_000).step_by(step) {
                batch.put(schema::block(position), b"row".to_vec());
            }
            batch.put(*b"K", b"before".to_vec()).put(*b"M", b"behind".to_vec());
            rows.commit(batch).unwrap();
            let pages = Pages { rows, bad: bad.clone(), looks: AtomicUsize::new(0) };
            let (mut read, mut holes) = (Vec::new(), 0);
            each_row(&pages, &schema::blocks(), |row| {
                match row {
                    Ok((key, _)) => read.push(position(&key)),
                    Err(_) => holes += 1,
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            let is_bad = |position: &u64| bad.iter().any(|page| page.contains(position));
            let expected: Vec<u64> = (0..100_000).step_by(step).filter(|position| !is_bad(position)).collect();
            assert!(read == expected, "{bad:?}: {} rows were read, not {}", read.len(), expected.len());
            assert_eq!(holes, bad.len(), "{bad:?}");
            let looks = pages.looks.into_inner();
            assert!(looks <= 1 + 850 * bad.len(), "{looks} looks for {bad:?}");
        }
    }

    #[test]
    fn holes_side_by_side_are_one_and_their_number_is_bounded() {
        let hole = |position: u64, detail: &str| Hole {
            positions: position..position + 1,
            entries: Vec::new(),
            detail: detail.to_owned(),
        };
        let mut holes = Holes::default();
        for position in [3, 4, 5] {
            holes.add(hole(position, "gone"));
        }
        holes.add(hole(6, "cut"));
        let told: Vec<String> = holes.found.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["positions 3 to 5: gone", "position 6: cut"]);
        for position in (10..20_000).step_by(2) {
            holes.add(hole(position, "gone"));
        }
        assert_eq!((holes.found.len(), holes.entries()), (MAX_HOLES, 4 + 9_995));
    }
}

//! Scans over the rows of sled, and over those that lie in [groups](super::groups).

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::super::{Direction, KeyRange, Row, StorageError};
use super::Core;
use super::groups::{self, Grouped};

/// After so many bytes of a scan what was read is read again, so often.
///
/// sled notes each read of a page in one of 256 lists, and looks at a list only when it
/// has 64: then it lets pages go. A scan reads each page once, so 16,000 pages, a
/// gigabyte, would be in memory before the first one goes.
const READ_AGAIN_BYTES: usize = 48 << 10;
const READS_AGAIN: usize = 32;

/// The rows of a scan; nothing comes after the last one or an error.
pub(super) struct SledRows<'a> {
    core: &'a Core,
    tree: sled::Tree,
    range: KeyRange,
    direction: Direction,
    /// From the place of the scan on, if it has one.
    rows: Option<sled::Iter>,
    /// How often rows had moved when that place was looked for.
    moved: u64,
    /// Rows of a group that are still to come, in the order of the scan.
    of_group: VecDeque<Row>,
    /// The row that was given last, if rows can move.
    last: Option<Vec<u8>>,
    /// Bytes that were read since something was read again.
    read_bytes: usize,
    is_done: bool,
}

impl<'a> SledRows<'a> {
    pub(super) const fn new(core: &'a Core, tree: sled::Tree, range: KeyRange, direction: Direction) -> Self {
        let of_group = VecDeque::new();
        Self { core, tree, range, direction, rows: None, moved: 0, of_group, last: None, read_bytes: 0, is_done: false }
    }

    fn step(&mut self) -> Result<Option<Row>, StorageError> {
        let core = self.core;
        let _whole = core.whole.read().unwrap_or_else(PoisonError::into_inner);
        let moved = core.moved.load(Ordering::Relaxed);
        if self.rows.is_none() || self.moved != moved {
            self.of_group.clear();
            self.moved = moved;
            self.rows = Some(self.seek());
        }
        let Some(grouped) = core.options.grouped else { return self.next_of_sled() };
        let row = loop {
            if let Some(row) = self.of_group.pop_front() {
                break Some(row);
            }
            match self.next_of_sled()? {
                Some((key, value)) if grouped.is_group(&key) => {
                    let rows = core.caught(|| groups::rows_of(&key, &value).ok_or_else(|| groups::malformed(&key)))?;
                    let mut rows: Vec<_> = rows.into_iter().filter(|(key, _)| self.is_to_come(key)).collect();
                    if self.direction == Direction::Backward {
                        rows.reverse();
                    }
                    if rows.is_empty() && self.is_below(&key) {
                        break None;
                    }
                    self.of_group.extend(rows.into_iter().map(|(key, value)| (key, value.to_vec())));
                }
                Some((key, _)) if self.is_below(&key) => break None,
                // It was given before the rows moved.
                Some((key, _)) if !self.is_to_come(&key) => {}
                row => break row,
            }
        };
        if let Some((key, _)) = &row {
            let last = self.last.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
        }
        Ok(row)
    }

    fn next_of_sled(&mut self) -> Result<Option<Row>, StorageError> {
        let Self { core, rows: Some(rows), direction, .. } = self else { return Ok(None) };
        let row = core.caught(|| {
            match direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.next_back(),
            }
            .transpose()
        })?;
        if let Some((key, value)) = &row {
            self.read_bytes += key.len() + value.len();
            if self.read_bytes >= READ_AGAIN_BYTES {
                self.read_bytes = 0;
                core.read_again(&self.tree, key)?;
            }
        }
        Ok(row.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }

    /// Whether a row is in the range, and behind what was given.
    fn is_to_come(&self, key: &[u8]) -> bool {
        let is_in_range = key >= self.range.start() && self.range.end().is_none_or(|end| key < end);
        is_in_range
            && self.last.as_deref().is_none_or(|last| match self.direction {
                Direction::Forward => key > last,
                Direction::Backward => key < last,
            })
    }

    /// Whether a scan backwards has come to rows before its range.
    fn is_below(&self, key: &[u8]) -> bool {
        self.direction == Direction::Backward && key < self.range.start()
    }

    /// Looks for the place of the scan among the rows of sled. They begin with the group
    /// that begins before the range and may have rows of it.
    fn seek(&self) -> sled::Iter {
        let Self { range, direction, last, .. } = self;
        let grouped = self.core.options.grouped;
        let (start, end) = match (direction, last) {
            (Direction::Forward, Some(last)) => (&last[..], range.end()),
            (Direction::Backward, Some(last)) => (range.start(), Some(&last[..])),
            (_, None) => (range.start(), range.end()),
        };
        let before = match grouped.filter(|grouped| grouped.may_begin_before(start)) {
            None => None,
            Some(grouped) if *direction == Direction::Forward => self.group_before(grouped, start),
            // It is met on the way.
            Some(grouped) => Some(grouped.prefix().to_vec()),
        };
        let start = Bound::Included(before.as_deref().unwrap_or(start));
        let end = match end {
            None => Bound::Unbounded,
            // A group that begins there has a row before it.
            Some(end) if grouped.is_some_and(|grouped| grouped.is_group(end)) => Bound::Included(end),
            Some(end) => Bound::Excluded(end),
        };
        self.tree.range::<&[u8], _>((start, end))
    }

    /// The group that begins before `start`, and may have rows from there on.
    ///
    /// One that does not read hides its rows, and no others.
    fn group_before(&self, grouped: Grouped, start: &[u8]) -> Option<Vec<u8>> {
        let before = self.core.caught(|| self.tree.get_lt(start)).ok().flatten();
        before.filter(|(key, _)| grouped.is_group(key)).map(|(key, _)| key.to_vec())
    }
}

impl Core {
    /// Reads a row so often that sled notices, if its rows may not fit into its memory.
    fn read_again(&self, tree: &sled::Tree, key: &[u8]) -> Result<(), StorageError> {
        let log = std::fs::metadata(self.store().join("db"));
        if log.is_ok_and(|log| log.len() > self.options.cache_bytes) {
            for _ in 0..READS_AGAIN {
                self.caught(|| tree.get(key))?;
            }
        }
        Ok(())
    }
}

impl Iterator for SledRows<'_> {
    type Item = Result<Row, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let row = self.step().transpose();
        if !matches!(row, Some(Ok(_))) {
            self.is_done = true;
            self.rows = None;
        }
        row
    }
}

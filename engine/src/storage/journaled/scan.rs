//! Scans over the overlay and sled as if they were one map.
//!
//! A scan goes in chunks. For each it takes what the overlay has from its place
//! on, then what sled has from there; where both have a key, the overlay decides.
//! It returns rows only as far as both looks went. A row moves from the overlay
//! into sled and never back, and is dropped from the overlay when sled has it: so
//! what the first look missed the second one finds. That holds for a look into
//! sled that begins after the look into the overlay, which is why each chunk
//! looks for its place in sled anew.

use std::cmp::Ordering;
use std::vec::IntoIter;

use super::super::{Direction, KeyRange, Row, Storage, StorageError};
use super::Core;
use super::overlay::ahead;

/// Rows of the first chunk: many scans want one.
const FIRST_ROWS: usize = 1;

/// Rows of the largest chunk.
const MOST_ROWS: usize = 512;

/// After so many bytes a chunk ends with the row that reached them.
const CHUNK_BYTES: usize = 1 << 20;

/// The rows of a scan; nothing comes after the last one or an error.
pub(super) struct Merged<'a> {
    core: &'a Core,
    /// What is still to come.
    range: KeyRange,
    direction: Direction,
    chunk: IntoIter<Row>,
    rows: usize,
    is_done: bool,
    problem: Option<StorageError>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(core: &'a Core, range: KeyRange, direction: Direction) -> Self {
        Self { core, range, direction, chunk: Vec::new().into_iter(), rows: FIRST_ROWS, is_done: false, problem: None }
    }

    fn fill(&mut self) {
        let captured = match self.core.overlay_of_open() {
            Ok(overlay) => overlay.capture(&self.range, self.direction, self.rows, CHUNK_BYTES),
            Err(problem) => return self.fail(problem),
        };
        let newer = captured.rows;
        // No further than the first look went.
        let mut until = captured.is_cut.then(|| newer.last().map_or_else(Vec::new, |(key, _)| key.clone()));
        let mut older: Vec<Row> = Vec::new();
        let mut left = CHUNK_BYTES;
        for row in self.core.sled.scan(&self.range, self.direction) {
            let (key, value) = match row {
                Ok(row) => row,
                Err(problem) => {
                    self.problem = Some(self.core.told(problem));
                    // What the overlay has behind it is not reached.
                    until = older.last().map(|(key, _)| key.clone()).or(Some(Vec::new()));
                    break;
                }
            };
            if until.as_ref().is_some_and(|until| ahead(self.direction, &key, until) == Ordering::Greater) {
                break;
            }
            left = left.saturating_sub(key.len() + value.len());
            older.push((key, value));
            if older.len() >= self.rows || left == 0 {
                until = older.last().map(|(key, _)| key.clone());
                break;
            }
        }
        if self.problem.is_some() && older.is_empty() {
            return self.end(Vec::new());
        }
        let is_within = |key: &[u8]| until.as_ref().is_none_or(|until| ahead(self.direction, key, until).is_le());
        let mut newer = newer.into_iter().filter(|(key, _)| is_within(key)).peekable();
        let mut older = older.into_iter().peekable();
        let mut rows = Vec::new();
        loop {
            let order = match (newer.peek(), older.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => ahead(self.direction, a, b),
            };
            if order.is_ge() {
                let row = older.next();
                if order.is_gt() {
                    rows.extend(row);
                }
            }
            if order.is_le()
                && let Some((key, Some(value))) = newer.next()
            {
                rows.push((key, value));
            }
        }
        match until {
            Some(until) if self.problem.is_none() => {
                self.range = behind(&self.range, until, self.direction);
                self.rows = (self.rows * 4).min(MOST_ROWS);
                self.is_done = self.range.is_empty();
                self.chunk = rows.into_iter();
            }
            _ => self.end(rows),
        }
    }

    fn end(&mut self, rows: Vec<Row>) {
        self.is_done = true;
        self.chunk = rows.into_iter();
    }

    fn fail(&mut self, problem: StorageError) {
        self.problem = Some(problem);
        self.end(Vec::new());
    }
}

/// The part of a range that a scan comes to after `last`.
fn behind(range: &KeyRange, mut last: Vec<u8>, direction: Direction) -> KeyRange {
    match direction {
        Direction::Forward => {
            // The first key that is greater.
            last.push(0);
            KeyRange { start: last, end: range.end.clone() }
        }
        Direction::Backward => KeyRange { start: range.start.clone(), end: Some(last) },
    }
}

impl Iterator for Merged<'_> {
    type Item = Result<Row, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.chunk.next() {
                return Some(Ok(row));
            }
            if self.is_done {
                return self.problem.take().map(Err);
            }
            self.fill();
        }
    }
}

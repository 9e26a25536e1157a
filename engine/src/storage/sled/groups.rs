//! Small rows that lie side by side, several in one row of sled's.
//!
//! sled's price is per row, in time and in bytes of its log. So rows of one kind,
//! whose keys grow, are gathered while they are fed (`feed.rs`), and written as a
//! *group* when there is enough for one. Nobody outside of this folder sees that: the
//! rows of a group are read under their own keys, and are the same bytes.
//!
//! ```text
//! key    that of the first row ‖ 0
//! value  [1] how many bytes of their keys the rows have in common with that key
//!        then for each row, in order:
//!        [n] the rest of its key   [2] length of its value, little-endian   [m] its value
//! ```
//!
//! A row lies in one place: by itself, or in a group. Between the first and the last
//! row of a group there is no other row of sled's. Rows that move from one place to
//! another do so in one batch, which is whole after a crash, and alone: who reads holds
//! `Core::whole`, and a scan that finds that rows have moved (`Core::moved`) looks for
//! its place anew. No value changes with a move: in whatever order the log is read, the
//! newest value of a row comes last.

use std::cmp;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::{Change, Row};

/// Bytes of values from which on a group is full.
const GROUP_BYTES: usize = 6000;

/// Bytes of values beyond which a group that has grown is cut in two.
const MOST_GROUP_BYTES: usize = 6500;

/// A row of so many bytes lies by itself.
const LARGE_BYTES: usize = GROUP_BYTES / 2;

/// Which rows may lie in groups: those whose keys have so many bytes and begin so.
///
/// No other key may begin so and have one byte more, and of rows that are deleted
/// there should be few: a group is written anew without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouped {
    prefix: &'static [u8],
    key_bytes: usize,
}

impl Grouped {
    /// Rows whose keys have `key_bytes` bytes, at most 255, the first of which are
    /// `prefix`.
    #[must_use]
    pub const fn new(prefix: &'static [u8], key_bytes: u8) -> Self {
        Self { prefix, key_bytes: key_bytes as usize }
    }

    /// What the keys begin with.
    pub(super) const fn prefix(self) -> &'static [u8] {
        self.prefix
    }

    /// Whether a row may lie in a group.
    pub(super) fn takes(self, key: &[u8]) -> bool {
        key.len() == self.key_bytes && key.starts_with(self.prefix)
    }

    /// Whether a row of sled's is a group.
    pub(super) fn is_group(self, key: &[u8]) -> bool {
        key.len() == self.key_bytes + 1 && key.ends_with(&[0]) && key.starts_with(self.prefix)
    }

    /// Whether a group may begin before `key` and have rows from there on.
    pub(super) fn may_begin_before(self, key: &[u8]) -> bool {
        key.len() > self.prefix.len() && key.starts_with(self.prefix)
    }

    /// Behind it lie all rows that do not begin with the prefix, and come later.
    fn end(self) -> Vec<u8> {
        [self.prefix, &vec![0xff; self.key_bytes]].concat()
    }
}

/// The rows of a group, or `None` if it is none.
pub(super) fn rows_of<'a>(group: &'a [u8], value: &'a [u8]) -> Option<Vec<(Vec<u8>, &'a [u8])>> {
    let mut members = Members::new(group, value)?;
    let mut rows = Vec::new();
    while let Some(member) = members.next() {
        let (rest, value) = member?;
        rows.push(([members.common, rest].concat(), value));
    }
    (!rows.is_empty()).then_some(rows)
}

/// The rows of a group in their order: the rest of the key, and the value. An item that
/// is nothing says that it is no group.
struct Members<'a> {
    /// What their keys begin with.
    common: &'a [u8],
    /// The rest of the key of the group: that of its first row when it was made.
    first: &'a [u8],
    /// The rest of the row before.
    last: Option<&'a [u8]>,
    left: &'a [u8],
}

impl<'a> Members<'a> {
    fn new(group: &'a [u8], value: &'a [u8]) -> Option<Self> {
        let (first, _) = group.split_last_chunk::<1>()?;
        let (common, left) = value.split_first()?;
        let (common, first) = first.split_at_checked(usize::from(*common))?;
        Some(Self { common, first, last: None, left })
    }

    fn step(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (rest, behind) = self.left.split_at_checked(self.first.len())?;
        let (length, behind) = behind.split_first_chunk()?;
        let (value, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        if self.last.map_or(rest < self.first, |last| rest <= last) {
            return None;
        }
        (self.last, self.left) = (Some(rest), behind);
        Some((rest, value))
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() { None } else { Some(self.step()) }
    }
}

pub(super) fn malformed(group: &[u8]) -> sled::Error {
    sled::Error::ReportableBug(format!("the group of rows under a key of {} bytes is malformed", group.len()))
}

/// Rows that lie side by side, as rows of sled's: in groups, or by itself if it is only
/// one. The first group has the key `old` if these are the rows of a group that is
/// written anew.
fn groups_of(old: Option<Vec<u8>>, rows: impl IntoIterator<Item = Row>) -> Vec<Change> {
    let mut parts: Vec<Vec<Row>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        bytes += row.1.len();
        match parts.last_mut().filter(|_| bytes <= MOST_GROUP_BYTES) {
            Some(part) => part.push(row),
            None => {
                bytes = row.1.len();
                parts.push(vec![row]);
            }
        }
    }
    let mut changes = Vec::new();
    // Only the first part may have it: behind it come the keys of the others.
    let mut old = old;
    for (number, part) in parts.into_iter().enumerate() {
        match <[Row; 1]>::try_from(part) {
            Ok([(key, value)]) => changes.push((key, Some(value))),
            Err(part) => changes.push(group_of(old.take_if(|_| number == 0), &part)),
        }
    }
    changes.extend(old.map(|old| (old, None)));
    changes
}

/// The group of several rows, under the key that it has or that of its first row.
fn group_of(old: Option<Vec<u8>>, rows: &[Row]) -> Change {
    let [(first, _), .., (last, _)] = rows else { unreachable!("a group has several rows") };
    let key = old.unwrap_or_else(|| [&first[..], &[0]].concat());
    let common = key.iter().zip(last).take_while(|(a, b)| a == b).count();
    let mut value = vec![u8::try_from(common).expect("keys of groups are short")];
    for (key, of_row) in rows {
        let length = u16::try_from(of_row.len()).expect("what lies in a group with others is small");
        value.extend_from_slice(&key[common..]);
        value.extend_from_slice(&length.to_le_bytes());
        value.extend_from_slice(of_row);
    }
    (key, Some(value))
}

/// A row under its own key. Whether it lies in a group like the one that was read before
/// it decides where it is looked for first: by itself it is found with half the work.
pub(super) fn get(
    rows: &sled::Tree,
    grouped: Option<Grouped>,
    key: &[u8],
    in_groups_last: &AtomicBool,
) -> Result<Option<sled::IVec>, sled::Error> {
    let Some(grouped) = grouped.filter(|grouped| grouped.takes(key)) else { return rows.get(key) };
    if !in_groups_last.load(Ordering::Relaxed)
        && let Some(value) = rows.get(key)?
    {
        return Ok(Some(value));
    }
    let (value, is_in_group) = match place(rows, grouped, key)? {
        Place::Itself(value) => (value, false),
        Place::Group(_, value) => (value, true),
        Place::Within(_) | Place::Nowhere => return Ok(None),
    };
    in_groups_last.store(is_in_group, Ordering::Relaxed);
    Ok(Some(value))
}

/// Where a row lies.
enum Place {
    /// Under its own key.
    Itself(sled::IVec),
    /// In the group with this key.
    Group(sled::IVec, sled::IVec),
    /// It is not there, but between rows of the group with this key.
    Within(sled::IVec),
    Nowhere,
}

fn place(rows: &sled::Tree, grouped: Grouped, key: &[u8]) -> Result<Place, sled::Error> {
    // Behind the group that begins with this very row.
    let Some((at, value)) = rows.get_lt([key, &[1]].concat())? else { return Ok(Place::Nowhere) };
    if at == key {
        return Ok(Place::Itself(value));
    }
    if !grouped.is_group(&at) {
        return Ok(Place::Nowhere);
    }
    let found = find(&at, &value, key).ok_or_else(|| malformed(&at))?;
    Ok(match found {
        Found::Here(range) => {
            let value = value.subslice(range.start, range.len());
            Place::Group(at, value)
        }
        Found::Between => Place::Within(at),
        Found::Behind => Place::Nowhere,
    })
}

/// Where in a group a row is.
enum Found {
    /// These bytes of the group are its value.
    Here(Range<usize>),
    /// It is not there, but a row behind it is.
    Between,
    /// It is behind the last one.
    Behind,
}

/// Looks for a row in a group, `None` if it is none.
fn find(group: &[u8], value: &[u8], key: &[u8]) -> Option<Found> {
    let mut members = Members::new(group, value)?;
    let Some(wanted) = key.strip_prefix(members.common) else { return Some(Found::Behind) };
    while let Some(member) = members.next() {
        let (rest, of_row) = member?;
        match rest.cmp(wanted) {
            cmp::Ordering::Less => {}
            cmp::Ordering::Equal => {
                let end = value.len() - members.left.len();
                return Some(Found::Here(end - of_row.len()..end));
            }
            cmp::Ordering::Greater => return Some(Found::Between),
        }
    }
    Some(Found::Behind)
}

/// Changes of rows, some of which lie in groups, as changes of rows of sled's.
pub(super) struct Rewriting {
    rows: sled::Tree,
    grouped: Grouped,
    /// Groups that are written anew.
    groups: BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Rewriting {
    pub(super) const fn new(rows: sled::Tree, grouped: Grouped) -> Self {
        Self { rows, grouped, groups: BTreeMap::new() }
    }

    /// Takes a change of a row that lies in a group, or between the rows of one; gives
    /// any other back. With the bytes of the value that it replaces.
    pub(super) fn take(&mut self, change: Change) -> Result<(Option<Change>, Option<usize>), sled::Error> {
        let (key, value) = change;
        if !self.grouped.takes(&key) {
            return Ok((Some((key, value)), None));
        }
        let group = match place(&self.rows, self.grouped, &key)? {
            Place::Itself(old) => return Ok((Some((key, value)), Some(old.len()))),
            Place::Nowhere => return Ok((Some((key, value)), None)),
            // An opening repeats what a crash may have taken.
            Place::Group(group, old) if value.as_deref() == Some(&old[..]) && !self.groups.contains_key(&group[..]) => {
                return Ok((None, None));
            }
            Place::Group(group, _) | Place::Within(group) => group,
        };
        let members = match self.groups.get_mut(&group[..]) {
            Some(members) => members,
            None => {
                let bytes = self.rows.get(&group)?.ok_or_else(|| malformed(&group))?;
                let members = rows_of(&group, &bytes).ok_or_else(|| malformed(&group))?;
                let members = members.into_iter().map(|(key, value)| (key, value.to_vec())).collect();
                self.groups.entry(group.to_vec()).or_insert(members)
            }
        };
        let old = match value {
            Some(value) => members.insert(key, value),
            None => members.remove(&key),
        };
        Ok((None, old.map(|old| old.len())))
    }

    /// The groups as they are now.
    pub(super) fn finish(self) -> Moves {
        let mut moves = Moves::default();
        for (group, members) in self.groups {
            let members: Vec<Row> = members.into_iter().collect();
            let fits = |(_, value): &Row| u16::try_from(value.len()).is_ok();
            let parts = groups_of(Some(group.clone()), members.iter().cloned());
            match &parts[..] {
                [(key, Some(_))] if *key == group => moves.first.extend(parts),
                _ => {
                    if members.len() > 1 && members.iter().all(fits) {
                        moves.first.push(group_of(Some(group), &members));
                    }
                    moves.then.extend(parts);
                }
            }
        }
        moves
    }
}

/// What is to be written of rows that lie in groups, or did.
#[derive(Default)]
pub(super) struct Moves {
    /// New values, in the places where the rows are.
    pub(super) first: Vec<Change>,
    /// Rows in other places, with the values that they have then.
    pub(super) then: Vec<Change>,
}

impl Moves {
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_empty() && self.then.is_empty()
    }
}

/// What of a feed is behind all groups: small rows that wait for others beside them.
/// Where they have waited for longer than one feed, sled has them one by one.
#[derive(Default)]
pub(super) struct Tail {
    /// The last row that does not wait.
    before: Option<Vec<u8>>,
    rows: BTreeMap<Vec<u8>, Waiting>,
    /// Of their values.
    bytes: usize,
}

struct Waiting {
    value: Vec<u8>,
    /// sled has a row under its key, perhaps with an older value.
    is_stored: bool,
    /// And with this one.
    is_same: bool,
}

impl Tail {
    /// The tail of what sled has.
    pub(super) fn load(rows: &sled::Tree, grouped: Grouped) -> Result<Self, sled::Error> {
        let mut tail = Self::default();
        for row in rows.range(grouped.prefix.to_vec()..=grouped.end()).rev() {
            let (key, value) = row?;
            if grouped.takes(&key) && value.len() < LARGE_BYTES && tail.bytes + value.len() <= GROUP_BYTES {
                tail.bytes += value.len();
                let waiting = Waiting { value: value.to_vec(), is_stored: true, is_same: true };
                tail.rows.insert(key.to_vec(), waiting);
                continue;
            }
            tail.before = Some(if grouped.is_group(&key) {
                rows_of(&key, &value).and_then(|mut rows| rows.pop()).ok_or_else(|| malformed(&key))?.0
            } else {
                key.to_vec()
            });
            break;
        }
        Ok(tail)
    }

    /// Whether a row belongs to it.
    pub(super) fn takes(&self, key: &[u8]) -> bool {
        self.before.as_deref().is_none_or(|before| key > before)
    }

    /// Takes a row that belongs to it. Gives what is to be written, and the bytes of
    /// the value that was replaced.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> (Moves, Option<usize>) {
        let mut moves = Moves::default();
        let is_behind = self.rows.last_key_value().is_none_or(|(last, _)| key > &last[..]);
        if is_behind && (value.len() >= LARGE_BYTES || self.bytes + value.len() > GROUP_BYTES) {
            moves = self.take();
            if value.len() >= LARGE_BYTES {
                self.before = Some(key.to_vec());
                moves.first.push((key.to_vec(), Some(value.to_vec())));
                return (moves, None);
            }
        }
        self.bytes += value.len();
        let old = self.rows.get(key);
        let (replaced, is_stored) = (old.map(|old| old.value.len()), old.is_some_and(|old| old.is_stored));
        self.bytes -= replaced.unwrap_or_default();
        self.rows.insert(key.to_vec(), Waiting { value: value.to_vec(), is_stored, is_same: false });
        (moves, replaced)
    }

    /// Forgets a row. What is to be written, and the bytes of its value.
    pub(super) fn remove(&mut self, key: &[u8]) -> (Moves, Option<usize>) {
        let mut moves = Moves::default();
        let Some(Waiting { value, is_stored, .. }) = self.rows.remove(key) else { return (moves, None) };
        self.bytes -= value.len();
        if is_stored {
            moves.first.push((key.to_vec(), None));
        }
        (moves, Some(value.len()))
    }

    /// Makes groups of what waits.
    fn take(&mut self) -> Moves {
        let mut moves = Moves::default();
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let Some((last, _)) = rows.last_key_value() else { return moves };
        self.before = Some(last.clone());
        let old = rows.iter().filter(|(_, waiting)| waiting.is_stored && !waiting.is_same);
        moves.first.extend(old.map(|(key, waiting)| (key.clone(), Some(waiting.value.clone()))));
        let mut are_stored: HashSet<Vec<u8>> =
            rows.iter().filter(|(_, waiting)| waiting.is_stored).map(|(key, _)| key.clone()).collect();
        let now = groups_of(None, rows.into_iter().map(|(key, waiting)| (key, waiting.value)));
        // One that lies by itself may be there.
        moves.then.extend(now.into_iter().filter(|(key, _)| !are_stored.remove(key)));
        moves.then.extend(are_stored.into_iter().map(|key| (key, None)));
        moves
    }

    /// The rows of which sled has not the newest value. From here on it has.
    pub(super) fn not_stored(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (key, waiting) in self.rows.iter_mut().filter(|(_, waiting)| !waiting.is_same) {
            (waiting.is_stored, waiting.is_same) = (true, true);
            changes.push((key.clone(), Some(waiting.value.clone())));
        }
        changes
    }
}

#[cfg(test)]
mod tests;

//! What is committed and not yet in sled: two ordered maps in memory.
//!
//! Commits go into `fresh`. The feeder makes it `feeding`, which nobody changes,
//! and begins an empty `fresh`; when sled has all of `feeding`, that is dropped.
//! A key is looked for in `fresh`, in `feeding` and in sled, in this order: no
//! moment is without the newest value in the first place that has one.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::Arc;

use super::super::{Change, Direction, KeyRange};

/// A key's newest value, or no value for a deletion.
pub(super) type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// One of the two maps.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) rows: Rows,
    /// Of keys and values that were put, also of those that were put twice.
    pub(super) bytes: u64,
    /// Of those of the journal that others replaced here.
    pub(super) replaced_bytes: u64,
    /// The last frame of the journal of which changes are here.
    pub(super) sequence: u64,
}

impl Layer {
    /// Takes the changes of one commit, the last for a key decides.
    pub(super) fn put(&mut self, changes: impl IntoIterator<Item = Change>) {
        for (key, value) in changes {
            let key_bytes = key.len() as u64;
            let old = self.insert(key, value);
            self.replaced_bytes += old.flatten().map_or(0, |old| key_bytes + old.len() as u64);
        }
    }

    /// The same of rows that are not in the journal.
    pub(super) fn put_derived(&mut self, changes: impl IntoIterator<Item = Change>) {
        changes.into_iter().for_each(|(key, value)| drop(self.insert(key, value)));
    }

    fn insert(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Option<Vec<u8>>> {
        self.bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
        self.rows.insert(key, value)
    }
}

/// Both maps.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) fresh: Layer,
    pub(super) feeding: Arc<Layer>,
}

/// What a scan took from the maps at one moment.
pub(super) struct Captured {
    /// In the order of the scan.
    pub(super) rows: Vec<Change>,
    /// There may be more behind the last of them.
    pub(super) is_cut: bool,
}

impl Overlay {
    /// What is known of a key: a value, or that it was deleted.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&Vec<u8>>> {
        self.fresh.rows.get(key).or_else(|| self.feeding.rows.get(key)).map(Option::as_ref)
    }

    /// Makes what is fresh what is fed.
    pub(super) fn turn(&mut self) -> Arc<Layer> {
        self.feeding = Arc::new(std::mem::take(&mut self.fresh));
        // What comes next belongs to no earlier frame.
        self.fresh.sequence = self.feeding.sequence;
        Arc::clone(&self.feeding)
    }

    /// sled has all of what was fed.
    pub(super) fn fed(&mut self) {
        self.feeding = Arc::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.rows.is_empty() && self.feeding.rows.is_empty()
    }

    /// The changes in `range`, up to so many rows and about so many bytes.
    pub(super) fn capture(&self, range: &KeyRange, direction: Direction, rows: usize, bytes: usize) -> Captured {
        if range.is_empty() || self.is_empty() {
            return Captured { rows: Vec::new(), is_cut: false };
        }
        let mut fresh = within(&self.fresh.rows, range, direction);
        let mut feeding = within(&self.feeding.rows, range, direction);
        let mut taken: Vec<Change> = Vec::new();
        let mut left = bytes;
        loop {
            let next = match (fresh.peek(), feeding.peek()) {
                (None, None) => return Captured { rows: taken, is_cut: false },
                (Some(_), None) => fresh.next(),
                (None, Some(_)) => feeding.next(),
                (Some((a, _)), Some((b, _))) => match ahead(direction, a, b) {
                    Ordering::Less => fresh.next(),
                    Ordering::Greater => feeding.next(),
                    Ordering::Equal => {
                        feeding.next();
                        fresh.next()
                    }
                },
            };
            let Some((key, value)) = next else { continue };
            if taken.len() >= rows || left == 0 {
                return Captured { rows: taken, is_cut: true };
            }
            left = left.saturating_sub(key.len() + value.as_ref().map_or(0, Vec::len));
            taken.push((key.clone(), value.clone()));
        }
    }
}

/// Which of two keys a scan comes to first.
pub(super) fn ahead(direction: Direction, a: &[u8], b: &[u8]) -> Ordering {
    match direction {
        Direction::Forward => a.cmp(b),
        Direction::Backward => b.cmp(a),
    }
}

type Within<'a> = Peekable<Box<dyn Iterator<Item = (&'a Vec<u8>, &'a Option<Vec<u8>>)> + 'a>>;

fn within<'a>(rows: &'a Rows, range: &KeyRange, direction: Direction) -> Within<'a> {
    let end = range.end().map_or(Bound::Unbounded, Bound::Excluded);
    let rows = rows.range::<[u8], _>((Bound::Included(range.start()), end));
    let rows: Box<dyn Iterator<Item = _>> = match direction {
        Direction::Forward => Box::new(rows),
        Direction::Backward => Box::new(rows.rev()),
    };
    rows.peekable()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, value: Option<&str>) -> Change {
        (key.into(), value.map(Into::into))
    }

    fn overlay() -> Overlay {
        let mut overlay = Overlay::default();
        overlay.fresh.put([change("a", Some("1")), change("b", Some("1")), change("c", None)]);
        overlay.turn();
        overlay.fresh.put([change("b", Some("2")), change("d", Some("2")), change("a", None)]);
        overlay
    }

    #[test]
    fn the_newest_change_of_a_key_is_found() {
        let mut overlay = overlay();
        assert_eq!(overlay.get(b"b"), Some(Some(&b"2".to_vec())));
        assert_eq!(overlay.get(b"a"), Some(None));
        assert_eq!(overlay.get(b"c"), Some(None));
        assert_eq!(overlay.get(b"x"), None);
        overlay.fed();
        assert_eq!(overlay.get(b"c"), None);
        assert_eq!(overlay.get(b"a"), Some(None));
    }

    #[test]
    fn a_capture_is_in_order_and_says_whether_it_was_cut() {
        let overlay = overlay();
        let expected = vec![change("a", None), change("b", Some("2")), change("c", None), change("d", Some("2"))];
        for rows in 0..6 {
            for direction in [Direction::Forward, Direction::Backward] {
                let captured = overlay.capture(&KeyRange::all(), direction, rows, usize::MAX);
                let mut wanted = expected.clone();
                if direction == Direction::Backward {
                    wanted.reverse();
                }
                wanted.truncate(rows);
                assert_eq!((captured.rows, captured.is_cut), (wanted, rows < 4));
            }
        }
        let captured = overlay.capture(&KeyRange::between(*b"b", *b"d"), Direction::Backward, 9, usize::MAX);
        assert_eq!(captured.rows, [change("c", None), change("b", Some("2"))]);
        let captured = overlay.capture(&KeyRange::all(), Direction::Forward, 9, 1);
        assert_eq!((captured.rows, captured.is_cut), (vec![change("a", None)], true));
        let captured = overlay.capture(&KeyRange::between(*b"d", *b"a"), Direction::Forward, 9, 1);
        assert!(captured.rows.is_empty() && !captured.is_cut);
    }
}

//! The Merkle map: pure functions over its nodes.
//!
//! ```text
//! key    H("thingdb/1/heads-key" ‖ 0x00 ‖ thing)     its bits are the way from the root
//! value  H("thingdb/1/heads" ‖ 0x00 ‖ u16 length ‖ thing ‖ u64 count ‖ u64 number ‖ heads ascending)
//!
//! empty  32 zero bytes
//! leaf   H(0x00 ‖ key ‖ value)            one thing, at depth 40 or below
//! inner  H(0x01 ‖ left ‖ right)           things on both sides
//!        H(0x02 ‖ u8 side ‖ child)        on one side only
//! ```
//!
//! An inner node with one child takes the way of one bit, not of many: so whoever
//! is shown that a place is empty learns of the thing beside it no more bits than
//! he would have guessed.

use sha2::{Digest, Sha256};

use super::Sibling;
use crate::{EntryId, Hash, ThingId, label};

/// The least depth at which a leaf stands. A thing above it has inner nodes down to
/// there, whatever its neighbours are.
pub const LEAF_DEPTH: usize = 40;

/// The root of the map of nothing, and of each of its empty places.
#[must_use]
pub const fn empty() -> Hash {
    Hash([0; 32])
}

/// Where a thing stands: its bits, from the highest of the first byte on, are the way
/// from the root.
#[must_use]
pub fn key(thing: &ThingId) -> Hash {
    hash(&[label::HEADS_KEY.as_bytes(), &[0], thing.as_str().as_bytes()])
}

/// What stands there: how many entries the thing has, and its heads, ascending.
#[must_use]
pub fn value(thing: &ThingId, count: u64, heads: &[EntryId]) -> Hash {
    let name = thing.as_str().as_bytes();
    let len = u16::try_from(name.len()).expect("a thing id has at most 512 bytes");
    let mut hash = Sha256::new();
    for part in [label::HEADS.as_bytes(), &[0], &len.to_be_bytes(), name, &count.to_be_bytes()] {
        hash.update(part);
    }
    hash.update((heads.len() as u64).to_be_bytes());
    heads.iter().for_each(|head| hash.update(head.0));
    Hash(hash.finalize().into())
}

/// The leaf of a thing.
#[must_use]
pub fn leaf(key: &Hash, value: &Hash) -> Hash {
    hash(&[&[0], &key.0, &value.0])
}

/// The node above two places, either or both of which may be [`empty`].
#[must_use]
pub fn inner(left: &Hash, right: &Hash) -> Hash {
    match (*left == empty(), *right == empty()) {
        (true, true) => empty(),
        (false, true) => hash(&[&[2, 0], &left.0]),
        (true, false) => hash(&[&[2, 1], &right.0]),
        (false, false) => hash(&[&[1], &left.0, &right.0]),
    }
}

/// The bit of a key at a depth, from 0.
#[must_use]
pub fn bit(key: &Hash, depth: usize) -> bool {
    let byte = key.0.get(depth / 8).copied().unwrap_or(0);
    byte.checked_shr(7_u32.saturating_sub((depth % 8) as u32)).is_some_and(|bits| bits & 1 == 1)
}

/// The node at a depth over some things, which are `(key, leaf)`, ascending, and all
/// have the bits before that depth in common.
///
/// ```
/// use thingdb_format::heads::{empty, inner, key, leaf, subtree, value};
/// use thingdb_format::{EntryId, ThingId};
/// let thing = ThingId::new("part-42")?;
/// let key = key(&thing);
/// let one = [(key, leaf(&key, &value(&thing, 1, &[EntryId([7; 32])])))];
/// assert_eq!(subtree(&[], 0), empty());
/// // Its inner nodes go down to depth 40.
/// assert_ne!(subtree(&one, 0), one[0].1);
/// assert_eq!(subtree(&one, 40), one[0].1);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[must_use]
pub fn subtree(things: &[(Hash, Hash)], depth: usize) -> Hash {
    match things {
        [] => empty(),
        [(_, leaf)] if depth >= LEAF_DEPTH => *leaf,
        // Two of the same key would be two things with the same hash.
        _ if depth >= 256 => empty(),
        _ => {
            let (left, right) = things.split_at(things.partition_point(|(key, _)| !bit(key, depth)));
            inner(&subtree(left, depth.saturating_add(1)), &subtree(right, depth.saturating_add(1)))
        }
    }
}

/// The way from a node at a depth, over things as in [`subtree`], to the place of
/// `key`: the siblings that are not empty, and which of the things stands there.
#[must_use]
pub fn way(things: &[(Hash, Hash)], key: &Hash, depth: usize) -> (Vec<Sibling>, Option<usize>) {
    let (mut siblings, mut first, mut here) = (Vec::new(), 0_usize, things);
    for at in depth..256 {
        if here.is_empty() || (here.len() == 1 && at >= LEAF_DEPTH) {
            break;
        }
        let (left, right) = here.split_at(here.partition_point(|(key, _)| !bit(key, at)));
        let (own, sibling) = if bit(key, at) { (right, left) } else { (left, right) };
        first = first.saturating_add(if bit(key, at) { left.len() } else { 0 });
        let hash = subtree(sibling, at.saturating_add(1));
        if let (Ok(depth), true) = (u8::try_from(at), hash != empty()) {
            siblings.push(Sibling { depth, hash });
        }
        here = own;
    }
    (siblings, (!here.is_empty()).then_some(first))
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    Hash(hash.finalize().into())
}

//! From the place of one thing to the root of the map.

use super::SignedHeads;
use super::map::{LEAF_DEPTH, bit, empty, inner, key, leaf, value};
use crate::codec::{Reader, within};
use crate::{EntryId, Error, Hash, ThingId};

/// Bytes of a sibling: its depth and its hash.
const SIBLING_BYTES: usize = 33;

/// Longest path, in bytes.
pub(crate) const MAX_PATH_BYTES: usize = 256 * SIBLING_BYTES;

const fn bad(problem: &'static str) -> Error {
    Error::BadProof { what: "heads", problem }
}

/// A node beside the way to a place that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// The depth of the node above it, from 0: that of the bit in which the two
    /// places differ.
    pub depth: u8,
    /// The node.
    pub hash: Hash,
}

/// The thing that stands alone where another one is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its key.
    pub key: Hash,
    /// Its value.
    pub value: Hash,
}

/// What stands at the place of a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The thing.
    Thing {
        /// How many entries it has.
        count: u64,
        /// The entries that no other one follows, ascending.
        heads: Vec<EntryId>,
    },
    /// Nothing.
    Empty,
    /// Another thing, whose key begins with the same 40 bits, or more.
    Other(Other),
}

/// What the heads note of a ledger says of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsProof {
    /// The note.
    pub note: SignedHeads,
    /// What stands at the place of the thing.
    pub place: Place,
    /// The siblings on the way there that are not empty, from the root down.
    pub path: Vec<Sibling>,
}

impl HeadsProof {
    /// Checks that the path leads from the place of `thing` to the root of the map.
    /// Who signed the note is not looked at.
    ///
    /// # Errors
    /// [`Error::BadProof`].
    pub fn verify(&self, thing: &ThingId) -> Result<(), Error> {
        let key = key(thing);
        let last = self.path.last().map(|sibling| usize::from(sibling.depth).saturating_add(1));
        let (node, depth) = match &self.place {
            Place::Empty => (empty(), last.unwrap_or(0)),
            Place::Thing { count, heads } => {
                (leaf(&key, &value(thing, *count, heads)), last.unwrap_or(0).max(LEAF_DEPTH))
            }
            Place::Other(other) => {
                let depth = last.unwrap_or(0).max(LEAF_DEPTH);
                let is_there = (0..depth).all(|depth| bit(&other.key, depth) == bit(&key, depth));
                if !is_there || other.key == key {
                    return Err(bad("shows a thing that does not stand there"));
                }
                (leaf(&other.key, &other.value), depth)
            }
        };
        let mut siblings = self.path.iter().rev().peekable();
        let mut root = node;
        for depth in (0..depth).rev() {
            let sibling = siblings.next_if(|sibling| usize::from(sibling.depth) == depth);
            let sibling = sibling.map_or_else(empty, |sibling| sibling.hash);
            root = if bit(&key, depth) { inner(&sibling, &root) } else { inner(&root, &sibling) };
        }
        if siblings.next().is_some() || root != self.note.claimed().map {
            return Err(bad("does not lead to the root that was signed"));
        }
        Ok(())
    }
}

/// A path as bytes: of each sibling its depth and its hash.
pub(crate) fn path_bytes(path: &[Sibling]) -> Vec<u8> {
    path.iter().flat_map(|sibling| std::iter::once(sibling.depth).chain(sibling.hash.0)).collect()
}

/// Reads a path.
pub(crate) fn read_path(bytes: &[u8]) -> Result<Vec<Sibling>, Error> {
    within("path", bytes.len() as u64, 1, MAX_PATH_BYTES as u64)?;
    let (mut r, mut path) = (Reader::new(bytes), Vec::<Sibling>::new());
    while r.left() > 0 {
        let sibling = Sibling { depth: r.u8("depth")?, hash: Hash(r.array("sibling")?) };
        if path.last().is_some_and(|before| before.depth >= sibling.depth) {
            return Err(Error::NotAscending { field: "path" });
        }
        if sibling.hash == empty() {
            return Err(Error::Malformed { what: "path", problem: "has an empty sibling, which is left out" });
        }
        path.push(sibling);
    }
    Ok(path)
}

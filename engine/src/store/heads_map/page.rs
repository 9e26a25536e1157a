//! A page of the map of heads.
//!
//! ```text
//! 0 ‖ (key 32 ‖ value 32)*   the things, ascending
//! 1 ‖ node 32 × 16           the nodes four levels below, zeros where nothing is
//! ```

use thingdb_format::Hash;
use thingdb_format::heads::{self, LEAF_DEPTH, Sibling, bit, empty, inner};

/// Things that a page holds before it is split. Each is hashed down to depth 40 again
/// whenever one of them changes.
const MAX_LEAVES: usize = 24;

/// Levels of four bits above which pages are split. What stands together below, stands
/// there because somebody has looked for such names.
const MAX_LEVEL: usize = LEAF_DEPTH / 4;

/// A thing in the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leaf {
    pub(super) key: Hash,
    pub(super) value: Hash,
}

#[derive(Clone, Debug)]
pub(super) enum Page {
    Leaves(Vec<Leaf>),
    Inner(Box<[Hash; 16]>),
}

impl Default for Page {
    fn default() -> Self {
        Self::Leaves(Vec::new())
    }
}

/// Where the way of a key leads from a page.
pub(super) enum Place {
    /// To the next page.
    Below,
    Leaf(Leaf),
    Nothing,
}

impl Page {
    /// Takes things in. If they are for the pages below, gives `None`; if this page has
    /// become too large for that, all that are to be put below.
    pub(super) fn take_in(&mut self, level: usize, new: &[Leaf]) -> Option<Vec<Leaf>> {
        let Self::Leaves(leaves) = self else { return None };
        for leaf in new {
            match leaves.binary_search_by_key(&leaf.key, |known| known.key) {
                Ok(at) => leaves[at] = *leaf,
                Err(_) if leaves.last().is_none_or(|last| last.key < leaf.key) => leaves.push(*leaf),
                Err(at) => leaves.insert(at, *leaf),
            }
        }
        if leaves.len() <= MAX_LEAVES || level >= MAX_LEVEL {
            return None;
        }
        let all = std::mem::take(leaves);
        *self = Self::Inner(Box::new([empty(); 16]));
        Some(all)
    }

    /// The node at the beginning of the page.
    pub(super) fn node(&self, level: usize) -> Hash {
        match self {
            Self::Leaves(leaves) => heads::subtree(&hashed(leaves), level * 4),
            Self::Inner(children) => folded(&children[..]),
        }
    }

    /// Adds the siblings in this page on the way of a key.
    pub(super) fn find(&self, level: usize, key: &Hash, path: &mut Vec<Sibling>) -> Place {
        match self {
            Self::Leaves(leaves) => {
                let (siblings, at) = heads::way(&hashed(leaves), key, level * 4);
                path.extend(siblings);
                at.and_then(|at| leaves.get(at)).map_or(Place::Nothing, |leaf| Place::Leaf(*leaf))
            }
            Self::Inner(children) => {
                let mut here = &children[..];
                for depth in level * 4..level * 4 + 4 {
                    let (left, right) = here.split_at(here.len() / 2);
                    let (own, sibling) = if bit(key, depth) { (right, left) } else { (left, right) };
                    let hash = folded(sibling);
                    if hash != empty() {
                        path.push(Sibling { depth: depth as u8, hash });
                    }
                    here = own;
                }
                if here == [empty()] { Place::Nothing } else { Place::Below }
            }
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        match self {
            Self::Leaves(leaves) => leaves.len() as u64 * 64,
            Self::Inner(_) => 512,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Leaves(leaves) => {
                let bytes = leaves.iter().flat_map(|leaf| leaf.key.0.into_iter().chain(leaf.value.0));
                std::iter::once(0).chain(bytes).collect()
            }
            Self::Inner(children) => std::iter::once(1).chain(children.iter().flat_map(|child| child.0)).collect(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, bytes) = bytes.split_first()?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return None;
        }
        match kind {
            0 => {
                let (pairs, rest) = hashes.as_chunks::<2>();
                let leaf = |[key, value]: &[[u8; 32]; 2]| Leaf { key: Hash(*key), value: Hash(*value) };
                rest.is_empty().then(|| Self::Leaves(pairs.iter().map(leaf).collect()))
            }
            1 => Some(Self::Inner(Box::new(<[[u8; 32]; 16]>::try_from(hashes).ok()?.map(Hash)))),
            _ => None,
        }
    }
}

/// The four bits of a key at a level.
pub(super) fn nibble(key: &Hash, level: usize) -> usize {
    let byte = key.0.get(level / 2).copied().unwrap_or(0);
    usize::from(if level.is_multiple_of(2) { byte >> 4 } else { byte & 0xf })
}

fn hashed(leaves: &[Leaf]) -> Vec<(Hash, Hash)> {
    leaves.iter().map(|leaf| (leaf.key, heads::leaf(&leaf.key, &leaf.value))).collect()
}

fn folded(nodes: &[Hash]) -> Hash {
    match nodes {
        [] => empty(),
        [one] => *one,
        _ => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            inner(&folded(left), &folded(right))
        }
    }
}

//! The keys of ledger positions: the leaves of one tree, of which the keyring
//! holds the root.
//!
//! ```text
//! child = SHA-256("thingdb/1/key-tree" ‖ 0x00 ‖ number of the child, 1 byte ‖ key of its parent)
//! ```
//!
//! This is the construction of Goldreich, Goldwasser and Micali (*How to construct
//! random functions*, J. ACM 33, 1986) with four children a node. A node's key gives
//! the keys of all leaves below it and of no others. So a leaf can be taken away: the
//! nodes on the way down to it are replaced by the siblings beside that way. Every
//! other leaf is still there, and that one can be computed by nobody who has only
//! what is left.
//!
//! Four children, because the next leaf costs 4/3 hashes on the average and one in a
//! subtree of 64 leaves three, where two children cost 2 and 6. A leaf that is taken
//! away leaves 60 keys behind, where two children leave 40.

use std::collections::BTreeMap;

use rand::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::codec::{Flaw, Reader, Writer};
use super::seal::Secret;

const LABEL: &[u8] = b"thingdb/1/key-tree\0";

/// Each node has `2^ARITY_BITS` children.
const ARITY_BITS: u32 = 2;

/// Levels below the root.
const HEIGHT: u8 = 20;

/// Positions that have a key: those below this number.
pub const KEY_POSITIONS: u64 = 1 << (ARITY_BITS * HEIGHT as u32);

/// Bytes of a node in the keyring.
pub(super) const NODE_BYTES: usize = 1 + 8 + 32;

/// A subtree: `4^height` positions from `first` on.
struct Node {
    height: u8,
    key: Secret,
}

/// The keys of all positions but those that were taken away, as the fewest nodes
/// that have them all below.
pub struct KeyTree {
    /// By first position. They do not overlap.
    nodes: BTreeMap<u64, Node>,
}

impl KeyTree {
    /// The tree with a fresh root.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_root(Secret::generate(rng))
    }

    fn from_root(key: Secret) -> Self {
        Self { nodes: BTreeMap::from([(0, Node { height: HEIGHT, key })]) }
    }

    /// A copy for another owner.
    #[must_use]
    pub(crate) fn copy(&self) -> Self {
        let copy = |(first, node): (&u64, &Node)| {
            (*first, Node { height: node.height, key: Secret::copy_of(node.key.as_bytes()) })
        };
        Self { nodes: self.nodes.iter().map(copy).collect() }
    }

    /// The key of a position, unless it was taken away.
    #[must_use]
    pub fn position_key(&self, position: u64) -> Option<Secret> {
        Some(self.subtree(position, 0)?.key)
    }

    /// The subtree of `4^height` positions in which `position` lies, if none of
    /// them was taken away.
    #[must_use]
    pub fn subtree(&self, position: u64, height: u8) -> Option<Subtree> {
        let (first, node) = self.nodes.range(..=position).next_back()?;
        let is_below = node.height >= height && position - first < positions_below(node.height);
        is_below.then(|| Subtree {
            first: first_of(position, height),
            height,
            key: descend(&node.key, node.height, position, height),
        })
    }

    /// Takes the key of a position away. Whether it was there.
    pub fn puncture(&mut self, position: u64) -> bool {
        let Some(first) = self.nodes.range(..=position).next_back().map(|(first, _)| *first) else { return false };
        let is_below = |node: &Node| position - first < positions_below(node.height);
        let Some(Node { height, key }) =
            self.nodes.get(&first).is_some_and(is_below).then(|| self.nodes.remove(&first)).flatten()
        else {
            return false;
        };
        let (mut key, mut first) = (key, first);
        for height in (0..height).rev() {
            let on_the_way = digit(position, height);
            for number in (0..1 << ARITY_BITS).filter(|number| *number != on_the_way) {
                let sibling = first + u64::from(number) * positions_below(height);
                self.nodes.insert(sibling, Node { height, key: child_of(&key, number) });
            }
            first += u64::from(on_the_way) * positions_below(height);
            key = child_of(&key, on_the_way);
        }
        true
    }

    /// Gives fresh keys to those positions from `from` on that have none: keys that
    /// were taken away from entries which the ledger has no more.
    pub(super) fn renew(&mut self, from: u64, rng: &mut impl CryptoRng) {
        let mut at = from;
        while at < KEY_POSITIONS {
            let before = self.nodes.range(..=at).next_back();
            let end = before.map_or(0, |(first, node)| first + positions_below(node.height));
            if end > at {
                at = end;
                continue;
            }
            // The largest node that begins here and reaches no other one.
            let next = self.nodes.range(at..).next().map_or(KEY_POSITIONS, |(first, _)| *first);
            let fits = |height: &u8| first_of(at, *height) == at && at + positions_below(*height) <= next;
            let height = (0..=HEIGHT).rev().find(fits).unwrap_or(0);
            self.nodes.insert(at, Node { height, key: Secret::generate(rng) });
            at += positions_below(height);
        }
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        4 + self.nodes.len() * NODE_BYTES
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.count(self.nodes.len());
        for (first, node) in &self.nodes {
            w.put(&[node.height]);
            w.put(&first.to_be_bytes());
            w.put(node.key.as_bytes());
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Flaw> {
        let mut nodes = BTreeMap::new();
        let mut free_from = 0;
        for _ in 0..r.count(NODE_BYTES, "key node count")? {
            let height = r.u8("height of a key node")?;
            let first = r.u64("first position of a key node")?;
            let key = Secret::copy_of(r.array("key of a key node")?);
            if height > HEIGHT || first < free_from || first >= KEY_POSITIONS || first_of(first, height) != first {
                return Err(Flaw::Damaged(format!("a key node of height {height} cannot begin at position {first}")));
            }
            free_from = first + positions_below(height);
            nodes.insert(first, Node { height, key });
        }
        Ok(Self { nodes })
    }
}

impl std::fmt::Debug for KeyTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyTree").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

/// A node of the tree, on the way to the leaves below it.
pub struct Subtree {
    first: u64,
    height: u8,
    key: Secret,
}

impl Subtree {
    /// The key of the node.
    #[must_use]
    pub const fn key(&self) -> &Secret {
        &self.key
    }

    /// The key of a position in it.
    #[must_use]
    pub fn position_key(&self, position: u64) -> Option<Secret> {
        (first_of(position, self.height) == self.first).then(|| descend(&self.key, self.height, position, 0))
    }
}

impl std::fmt::Debug for Subtree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subtree").field("first", &self.first).field("height", &self.height).finish_non_exhaustive()
    }
}

/// The subtrees on the way to the position that was asked for last: the next one
/// shares most of it.
#[derive(Default)]
pub struct Way(Vec<Subtree>);

impl Way {
    /// The key of a position, unless it was taken away.
    pub fn position_key(&mut self, tree: &KeyTree, position: u64) -> Option<Secret> {
        while self.0.last().is_some_and(|last| first_of(position, last.height) != last.first) {
            self.0.pop();
        }
        if self.0.is_empty() {
            let (first, node) = tree.nodes.range(..=position).next_back()?;
            if position - first >= positions_below(node.height) {
                return None;
            }
            let key = Secret::copy_of(node.key.as_bytes());
            self.0.push(Subtree { first: *first, height: node.height, key });
        }
        while let Some(last) = self.0.last().filter(|last| last.height > 1) {
            let height = last.height - 1;
            let key = child_of(&last.key, digit(position, height));
            self.0.push(Subtree { first: first_of(position, height), height, key });
        }
        self.0.last()?.position_key(position)
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

const fn positions_below(height: u8) -> u64 {
    1 << (ARITY_BITS * height as u32)
}

const fn first_of(position: u64, height: u8) -> u64 {
    position & !(positions_below(height) - 1)
}

/// Which child of a node of `height + 1` the way to `position` takes.
const fn digit(position: u64, height: u8) -> u8 {
    ((position >> (ARITY_BITS * height as u32)) & ((1 << ARITY_BITS) - 1)) as u8
}

fn descend(key: &Secret, from: u8, position: u64, to: u8) -> Secret {
    let mut key = Zeroizing::new(*key.as_bytes());
    for height in (to..from).rev() {
        key = hash(&key, digit(position, height));
    }
    Secret::copy_of(&key)
}

fn child_of(key: &Secret, number: u8) -> Secret {
    Secret::copy_of(&hash(key.as_bytes(), number))
}

fn hash(key: &[u8; 32], number: u8) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(LABEL);
    hash.update([number]);
    hash.update(key);
    Zeroizing::new(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::RngExt;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn tree() -> KeyTree {
        KeyTree::from_root(Secret::copy_of(&[7; 32]))
    }

    fn key(tree: &KeyTree, position: u64) -> Option<[u8; 32]> {
        tree.position_key(position).map(|key| *key.as_bytes())
    }

    fn encoded(tree: &KeyTree) -> Vec<u8> {
        let mut w = Writer::with_capacity(tree.encoded_bytes());
        tree.write(&mut w);
        let bytes = w.into_bytes().to_vec();
        assert_eq!(bytes.len(), tree.encoded_bytes());
        bytes
    }

    /// The construction, spelled out a second time.
    #[test]
    fn a_leaf_is_twenty_hashes_below_the_root() {
        for position in [0_u64, 1, 4, 0x00_1234_5678, KEY_POSITIONS - 1] {
            let mut expected = [7; 32];
            for level in (0..20).rev() {
                let number = (position >> (2 * level)) as u8 & 3;
                let input = [&b"thingdb/1/key-tree"[..], &[0, number], &expected].concat();
                expected = Sha256::digest(input).into();
            }
            assert_eq!(key(&tree(), position), Some(expected), "{position}");
        }
        assert_eq!(key(&tree(), KEY_POSITIONS), None);
        assert_eq!(key(&tree(), u64::MAX), None);
    }

    #[test]
    fn keys_are_the_same_by_every_way() {
        let tree = tree();
        let mut way = Way::default();
        let mut rng = StdRng::seed_from_u64(1);
        let jumps = (0..200).map(|_| rng.random_range(0..KEY_POSITIONS));
        for position in (0..300).chain([70_000, 69_999, 5]).chain(jumps) {
            let expected = key(&tree, position).unwrap();
            assert_eq!(way.position_key(&tree, position).unwrap().as_bytes(), &expected, "{position}");
            for height in [0, 1, 3, 8, HEIGHT] {
                let subtree = tree.subtree(position, height).unwrap();
                assert_eq!(subtree.position_key(position).unwrap().as_bytes(), &expected, "{position} at {height}");
                if height < HEIGHT {
                    assert!(subtree.position_key(position ^ positions_below(height)).is_none());
                }
            }
        }
        assert!(way.position_key(&tree, KEY_POSITIONS).is_none());
    }

    #[test]
    fn what_was_taken_away_is_gone_and_everything_else_is_there() {
        let whole = tree();
        let mut rng = StdRng::seed_from_u64(2);
        let mut tree = tree();
        let mut taken = BTreeSet::new();
        let spots =
            [0, 1, 2, 3, 17, 64, KEY_POSITIONS - 1].into_iter().chain((0..60).map(|_| rng.random_range(0..4096)));
        for position in spots {
            assert_eq!(tree.puncture(position), taken.insert(position), "{position}");
            let (first, size) = (*taken.first().unwrap(), taken.len());
            assert!(tree.nodes.len() <= 60 * size, "{} nodes for {size}", tree.nodes.len());
            assert_eq!(key(&tree, first), None);
        }
        for position in 0..5000 {
            let expected = if taken.contains(&position) { None } else { key(&whole, position) };
            assert_eq!(key(&tree, position), expected, "{position}");
            assert_eq!(Way::default().position_key(&tree, position).map(|key| *key.as_bytes()), expected);
        }
        assert_eq!(key(&tree, KEY_POSITIONS / 2), key(&whole, KEY_POSITIONS / 2));
        // Nothing that is left is a key on the way to what was taken away.
        for position in &taken {
            for height in 0..=HEIGHT {
                let on_the_way = whole.subtree(*position, height).unwrap();
                assert!(tree.nodes.values().all(|node| node.key.as_bytes() != on_the_way.key.as_bytes()));
                assert!(tree.subtree(*position, height).is_none());
            }
        }
        // It reads back as it was.
        let bytes = encoded(&tree);
        let mut r = Reader::new(&bytes);
        let again = KeyTree::read(&mut r).unwrap();
        r.finish("tree").unwrap();
        assert_eq!(encoded(&again), bytes);
        assert!(!tree.puncture(KEY_POSITIONS));
    }

    #[test]
    fn positions_behind_the_ledger_get_fresh_keys_and_no_other() {
        let (whole, mut tree) = (tree(), tree());
        for position in [3, 5, 6, 7, 100, 4000] {
            tree.puncture(position);
        }
        tree.renew(6, &mut StdRng::seed_from_u64(3));
        for position in 0..5000 {
            match position {
                3 | 5 => assert_eq!(key(&tree, position), None),
                6 | 7 | 100 | 4000 => {
                    assert!(key(&tree, position).is_some_and(|fresh| Some(fresh) != key(&whole, position)));
                }
                _ => assert_eq!(key(&tree, position), key(&whole, position), "{position}"),
            }
        }
        assert_eq!(key(&tree, KEY_POSITIONS - 1), key(&whole, KEY_POSITIONS - 1));
        let mut r = encoded(&tree);
        assert!(KeyTree::read(&mut Reader::new(&std::mem::take(&mut r))).is_ok());
    }

    #[test]
    fn everything_can_be_taken_away() {
        let mut tree = KeyTree { nodes: BTreeMap::from([(16, Node { height: 1, key: Secret::copy_of(&[1; 32]) })]) };
        assert!((16..20).all(|position| tree.puncture(position)));
        assert!(tree.nodes.is_empty() && key(&tree, 16).is_none() && !tree.puncture(16));
    }

    #[test]
    fn nodes_that_overlap_or_begin_within_are_refused() {
        let node = |height: u8, first: u64| [&[height][..], &first.to_be_bytes(), &[9; 32]].concat();
        let read = |nodes: &[Vec<u8>]| {
            let bytes = [&u32::try_from(nodes.len()).unwrap().to_be_bytes()[..], &nodes.concat()].concat();
            KeyTree::read(&mut Reader::new(&bytes)).map(drop)
        };
        read(&[node(0, 3), node(1, 4), node(0, 8)]).unwrap();
        for bad in [
            vec![node(21, 0)],
            vec![node(1, 2)],
            vec![node(1, 4), node(0, 7)],
            vec![node(0, 4), node(0, 4)],
            vec![node(0, 5), node(0, 4)],
            vec![node(0, KEY_POSITIONS)],
            vec![node(20, u64::MAX)],
        ] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
    }
}

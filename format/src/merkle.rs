//! The Merkle tree of RFC 9162, section 2.1: a root over entry ids, proofs
//! that an id is in it, proofs that one tree grew out of another.

use sha2::{Digest, Sha256};

use crate::{EntryId, Error, Hash};

/// `H(0x00 ‖ id)`.
#[must_use]
pub fn leaf(id: &EntryId) -> Hash {
    leaf_hash(&id.0)
}

/// `H(0x00 ‖ data)`, for a leaf of any length.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(data);
    Hash(hash.finalize().into())
}

/// `H(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    let (_, halves) = bytes.split_at_mut(1);
    let (l, r) = halves.split_at_mut(32);
    l.copy_from_slice(&left.0);
    r.copy_from_slice(&right.0);
    Hash(Sha256::digest(bytes).into())
}

/// A tree that grows at its right edge and keeps only the roots of its
/// complete subtrees: at most 64 hashes, whatever its size.
///
/// ```
/// use thingdb_format::{EntryId, merkle};
/// let mut tree = merkle::Frontier::default();
/// tree.push(merkle::leaf(&EntryId([1; 32])));
/// assert_eq!(tree.size(), 1);
/// assert_eq!(tree.root(), merkle::leaf(&EntryId([1; 32])));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One root for each bit set in `size`, the largest subtree first.
    roots: Vec<Hash>,
}

impl Frontier {
    /// How many leaves the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        self.push_subtree(0, leaf);
    }

    /// Appends a complete subtree of 2^`height` leaves. The size must be a
    /// multiple of 2^`height`, as it is when subtrees of one height follow
    /// each other.
    ///
    /// # Panics
    /// If the size is not such a multiple.
    pub fn push_subtree(&mut self, height: u32, root: Hash) {
        let leaves = 1_u64.checked_shl(height).expect("subtrees have less than 2^64 leaves");
        assert!(
            self.size.trailing_zeros() >= height,
            "a subtree of {leaves} leaves cannot follow {} leaves",
            self.size
        );
        let mut root = root;
        let mut merged = self.size.checked_shr(height).unwrap_or(0);
        while merged & 1 == 1 {
            let left = self.roots.pop().expect("there is one root for each bit of the size");
            root = node(&left, &root);
            merged >>= 1;
        }
        self.roots.push(root);
        self.size = self.size.checked_add(leaves).expect("ledgers have less than 2^64 entries");
    }

    /// The Merkle tree hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.roots.iter().rev().copied().reduce(|right, left| node(&left, &right)).unwrap_or_else(|| Hash::of(b""))
    }
}

/// The Merkle tree hash over leaf hashes.
#[must_use]
pub fn root(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut tree = Frontier::default();
    for leaf in leaves {
        tree.push(leaf);
    }
    tree.root()
}

/// How many hashes the inclusion proof for `index` in a tree of `size` has.
#[must_use]
pub const fn inclusion_proof_len(index: u64, size: u64) -> usize {
    if index >= size {
        return 0;
    }
    let (inner, border) = split(index, size);
    inner.saturating_add(border) as usize
}

/// Where the path from leaf `index` leaves the path from the last leaf: below
/// that every level has a sibling, above only those to the left.
const fn split(index: u64, size: u64) -> (u32, u32) {
    let inner = 64_u32.saturating_sub((index ^ size.saturating_sub(1)).leading_zeros());
    let border = match index.checked_shr(inner) {
        Some(rest) => rest.count_ones(),
        None => 0,
    };
    (inner, border)
}

/// Checks that `leaf` stands at `index` in the tree of `size` leaves with
/// `root` (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// [`Error::BadProof`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), Error> {
    if root_of_inclusion(leaf, index, size, path)? == *root {
        Ok(())
    } else {
        Err(Error::BadProof { what: "inclusion", problem: "leads to another root" })
    }
}

/// The root to which an inclusion proof leads.
///
/// # Errors
/// [`Error::BadProof`] if the proof does not have the length that `index` and
/// `size` ask for.
pub fn root_of_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, Error> {
    if index >= size {
        return Err(Error::BadProof { what: "inclusion", problem: "has an index beyond the size" });
    }
    let (inner, border) = split(index, size);
    if path.len() != inner.saturating_add(border) as usize {
        return Err(Error::BadProof { what: "inclusion", problem: "has the wrong length" });
    }
    let (low, high) = path.split_at(inner as usize);
    Ok(chain_right(chain_inner(*leaf, low, index), high))
}

/// Hashes upwards where the tree has siblings on both sides.
fn chain_inner(seed: Hash, path: &[Hash], index: u64) -> Hash {
    path.iter().zip(0_u32..).fold(seed, |hash, (sibling, level)| {
        if index.checked_shr(level).unwrap_or(0) & 1 == 0 { node(&hash, sibling) } else { node(sibling, &hash) }
    })
}

/// The same, only where the sibling is to the left.
fn chain_inner_right(seed: Hash, path: &[Hash], index: u64) -> Hash {
    path.iter().zip(0_u32..).fold(seed, |hash, (sibling, level)| {
        if index.checked_shr(level).unwrap_or(0) & 1 == 1 { node(sibling, &hash) } else { hash }
    })
}

/// Hashes upwards along the right border of the tree.
fn chain_right(seed: Hash, path: &[Hash]) -> Hash {
    path.iter().fold(seed, |hash, sibling| node(sibling, &hash))
}

/// Checks that the tree of `new_size` leaves grew out of the one of `old_size`
/// (RFC 9162, section 2.1.4.2). An empty old tree has an empty proof.
///
/// # Errors
/// [`Error::BadProof`].
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    proof: &[Hash],
    old_root: &Hash,
    new_root: &Hash,
) -> Result<(), Error> {
    let bad = |problem| Err(Error::BadProof { what: "consistency", problem });
    if old_size > new_size {
        return bad("has the older tree larger than the newer one");
    }
    // An empty tree has one root, whatever it is said to have grown into.
    if old_size == 0 && *old_root != Hash::of(b"") {
        return bad("leads to another old root");
    }
    if old_size == new_size || old_size == 0 {
        if !proof.is_empty() {
            return bad("has the wrong length");
        }
        return if old_size < new_size || old_root == new_root { Ok(()) } else { bad("leads to another root") };
    }
    let last = old_size.saturating_sub(1);
    let (inner, border) = split(last, new_size);
    // The old tree ends in a complete subtree of 2^shift leaves, where the
    // proof begins.
    let shift = old_size.trailing_zeros();
    let inner = inner.saturating_sub(shift);
    let (seed, path) = if old_size.is_power_of_two() {
        (*old_root, proof)
    } else {
        let Some((seed, path)) = proof.split_first() else { return bad("has the wrong length") };
        (*seed, path)
    };
    if path.len() != inner.saturating_add(border) as usize {
        return bad("has the wrong length");
    }
    let (low, high) = path.split_at(inner as usize);
    let index = last.checked_shr(shift).unwrap_or(0);
    if chain_right(chain_inner_right(seed, low, index), high) != *old_root {
        return bad("leads to another old root");
    }
    if chain_right(chain_inner(seed, low, index), high) != *new_root {
        return bad("leads to another new root");
    }
    Ok(())
}

/// Where the hashes of a proof come from: a ledger's tiles, or a slice of
/// leaves.
pub trait Subtrees {
    /// What can go wrong when a hash is fetched.
    type Error;

    /// The Merkle tree hash of the leaves `start..end`.
    ///
    /// # Errors
    /// Whatever the source runs into.
    fn subtree(&self, start: u64, end: u64) -> Result<Hash, Self::Error>;
}

impl Subtrees for [Hash] {
    type Error = Error;

    fn subtree(&self, start: u64, end: u64) -> Result<Hash, Error> {
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let leaves = range.and_then(|(start, end)| self.get(start..end));
        let problem = Error::BadProof { what: "inclusion", problem: "is asked for beyond the size" };
        leaves.map(|leaves| root(leaves.iter().copied())).ok_or(problem)
    }
}

/// The inclusion proof for leaf `index` in the tree of the first `size`
/// leaves; empty if `index` is not among them.
///
/// # Errors
/// Those of the source.
///
/// ```
/// use thingdb_format::{EntryId, merkle};
/// let leaves: Vec<_> = (0..5).map(|n| merkle::leaf(&EntryId([n; 32]))).collect();
/// let path = merkle::inclusion_proof(&leaves[..], 3, 5)?;
/// merkle::verify_inclusion(&leaves[3], 3, 5, &path, &merkle::root(leaves.clone()))?;
/// # Ok::<(), thingdb_format::Error>(())
/// ```
pub fn inclusion_proof<S: Subtrees + ?Sized>(source: &S, index: u64, size: u64) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    if index >= size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, size);
    while let Some(middle) = halve(start, end) {
        if index < middle {
            path.push(source.subtree(middle, end)?);
            end = middle;
        } else {
            path.push(source.subtree(start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The consistency proof from the tree of `old_size` leaves to that of
/// `new_size`; empty if the old tree is empty or not older.
///
/// # Errors
/// Those of the source.
pub fn consistency_proof<S: Subtrees + ?Sized>(
    source: &S,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Hash>, S::Error> {
    let mut path = Vec::new();
    if old_size == 0 || old_size >= new_size {
        return Ok(path);
    }
    let (mut start, mut end) = (0, new_size);
    // Whether the subtree at hand begins at leaf 0: then the verifier has its
    // root if it is the whole old tree.
    while end > old_size {
        let Some(middle) = halve(start, end) else { break };
        if old_size <= middle {
            path.push(source.subtree(middle, end)?);
            end = middle;
        } else {
            path.push(source.subtree(start, middle)?);
            start = middle;
        }
    }
    if start != 0 {
        path.push(source.subtree(start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Where RFC 9162 splits a tree over `start..end`: the largest power of two
/// below its size. Nothing for a single leaf.
const fn halve(start: u64, end: u64) -> Option<u64> {
    let size = end.saturating_sub(start);
    if size < 2 {
        return None;
    }
    let below = size.saturating_sub(1);
    Some(start.saturating_add(1 << 63_u32.saturating_sub(below.leading_zeros())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    /// The definition of RFC 9162, section 2.1.1, word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(b""),
            [one] => *one,
            many => {
                let k = (1..many.len()).filter(|k| k.is_power_of_two()).max().unwrap();
                node(&mth(&many[..k]), &mth(&many[k..]))
            }
        }
    }

    #[test]
    fn root_is_that_of_the_definition() {
        for n in 0..70 {
            assert_eq!(root(leaves(n)), mth(&leaves(n)), "{n}");
        }
    }

    #[test]
    fn every_proof_verifies_and_no_changed_one_does() {
        for n in 1..40 {
            let all = leaves(n);
            let root = mth(&all);
            for i in 0..n {
                let path = inclusion_proof(&all[..], i, n).unwrap();
                assert_eq!(path.len(), inclusion_proof_len(i, n));
                let leaf = all[usize::try_from(i).unwrap()];
                verify_inclusion(&leaf, i, n, &path, &root).unwrap();
                assert!(verify_inclusion(&leaf, i + 1, n, &path, &root).is_err());
                for at in 0..path.len() {
                    let mut changed = path.clone();
                    changed[at].0[31] ^= 1;
                    assert!(verify_inclusion(&leaf, i, n, &changed, &root).is_err());
                }
                let mut longer = path;
                longer.push(root);
                assert!(verify_inclusion(&leaf, i, n, &longer, &root).is_err());
            }
        }
    }

    #[test]
    fn every_growth_is_consistent_and_no_other_tree_is() {
        for n in 1..40_u64 {
            let all = leaves(n);
            for m in 0..=n {
                let old = mth(&all[..usize::try_from(m).unwrap()]);
                let proof = consistency_proof(&all[..], m, n).unwrap();
                verify_consistency(m, n, &proof, &old, &mth(&all)).unwrap();
                let mut other = old;
                other.0[0] ^= 1;
                assert!(verify_consistency(m, n, &proof, &other, &mth(&all)).is_err(), "{m} {n}");
                for at in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[at].0[0] ^= 1;
                    assert!(verify_consistency(m, n, &changed, &old, &mth(&all)).is_err());
                }
            }
        }
    }

    #[test]
    fn an_empty_tree_has_one_root() {
        let (nothing, other) = (Hash::of(b""), Hash([1; 32]));
        verify_consistency(0, 0, &[], &nothing, &nothing).unwrap();
        verify_consistency(0, 1, &[], &nothing, &other).unwrap();
        assert!(verify_consistency(0, 0, &[], &other, &other).is_err());
        assert!(verify_consistency(0, 0, &[], &nothing, &other).is_err());
        assert!(verify_consistency(0, 1, &[], &other, &other).is_err());
    }

    #[test]
    fn subtrees_are_appended_whole() {
        let all = leaves(600);
        let mut tree = Frontier::default();
        tree.push_subtree(8, mth(&all[..256]));
        tree.push_subtree(8, mth(&all[256..512]));
        for leaf in &all[512..] {
            tree.push(*leaf);
        }
        assert_eq!(tree.root(), mth(&all));
        assert_eq!(tree.size(), 600);
    }
}

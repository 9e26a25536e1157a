//! What lies between two places of the ledger's tree, as few hashes as can be.

use crate::Hash;
use crate::merkle::Subtrees;

/// The complete subtrees that cover the positions `start..end`, from left to
/// right: of each its first position and its height. Each is the largest that
/// begins there. They are nodes of every tree (RFC 9162, section 2.1) that has
/// these positions.
///
/// ```
/// use thingdb_format::proof::gap_subtrees;
/// let parts: Vec<_> = gap_subtrees(3, 9).collect();
/// assert_eq!(parts, [(3, 0), (4, 2), (8, 0)]);
/// ```
pub fn gap_subtrees(start: u64, end: u64) -> impl Iterator<Item = (u64, u32)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let left = end.checked_sub(at)?;
        let fits = left.checked_ilog2()?;
        // 0 is a multiple of everything.
        let aligned = if at == 0 { u32::MAX } else { at.trailing_zeros() };
        let height = fits.min(aligned);
        let part = (at, height);
        at = at.checked_add(1 << height)?;
        Some(part)
    })
}

/// The hashes of a gap, for whoever writes a proof file.
///
/// # Errors
/// Those of the source.
pub fn gap_hashes<S: Subtrees + ?Sized>(source: &S, start: u64, end: u64) -> Result<Vec<Hash>, S::Error> {
    gap_subtrees(start, end).map(|(at, height)| source.subtree(at, at.saturating_add(1 << height))).collect()
}

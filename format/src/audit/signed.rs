//! What nodes signed in the streams of an audit, each held against the others.
//!
//! A node that shows one ledger to one and another to the next is found out where
//! both exports are checked together: the greatest ledger that came as a whole
//! must have had every root that its node signed at that size.

use std::collections::BTreeMap;

use crate::merkle::{self, Frontier};
use crate::stream::{Claim, Extent};
use crate::{EntryId, Hash, NodeKey, Origin, SignedCheckpoint};

/// The checkpoints and the ledgers that came.
#[derive(Debug, Default)]
pub(super) struct Signed {
    /// By node and size: the root, and the line that it stood in.
    notes: BTreeMap<Origin, BTreeMap<u64, (Hash, u64)>>,
    /// The entries of the stream at hand, by the order in which they came first.
    stream: Vec<u32>,
    /// Whether these are all: the place of one that is refused is not known.
    is_known: bool,
    /// What the next stream may go on from; without entries of its own it is the
    /// greatest of its node.
    covered: Option<(Origin, Option<Vec<u32>>)>,
    /// The greatest ledger of each node that came as a whole.
    greatest: BTreeMap<Origin, Vec<u32>>,
}

impl Signed {
    /// A header came.
    pub(super) fn begins(&mut self) {
        self.stream.clear();
        self.is_known = true;
    }

    /// An entry came; nothing if it was refused.
    pub(super) fn entry(&mut self, number: Option<u32>) {
        match number {
            Some(number) => self.stream.push(number),
            None => self.is_known = false,
        }
    }

    /// A checkpoint came that its node signed. Says what is wrong with it.
    pub(super) fn note(&mut self, line: u64, node: &NodeKey, note: &SignedCheckpoint) -> Option<String> {
        let claimed = note.claimed();
        let (root, _) =
            *self.notes.entry(node.origin()).or_default().entry(claimed.size).or_insert((claimed.root, line));
        (root != claimed.root).then(|| contradiction(node.origin(), claimed.size))
    }

    /// A trailer came that goes with its stream.
    pub(super) fn ended(&mut self, extent: &Extent) {
        let stream = std::mem::take(&mut self.stream);
        let Extent::Whole(claim) = extent else { return };
        let covered = self.covered.take();
        if self.is_known {
            self.whole(claim, stream, covered);
        }
    }

    /// A trailer came that does not.
    pub(super) fn broken(&mut self) {
        self.covered = None;
    }

    fn whole(&mut self, claim: &Claim, mut stream: Vec<u32>, covered: Option<(Origin, Option<Vec<u32>>)>) {
        let (origin, size) = (claim.node.origin(), claim.note.claimed().size);
        if stream.len() as u64 != size {
            // It went on from the one before it.
            let Some((_, before)) = covered else { return };
            let Some(mut before) = before.or_else(|| self.greatest.remove(&origin)) else { return };
            before.append(&mut stream);
            stream = before;
        }
        let is_greatest = self.greatest.get(&origin).is_none_or(|greatest| greatest.len() <= stream.len());
        let other = if is_greatest {
            self.greatest.insert(origin, stream);
            None
        } else {
            Some(stream)
        };
        self.covered = Some((origin, other));
    }

    /// Whether there is anything to compare.
    pub(super) fn is_of_interest(&self) -> bool {
        self.notes.values().any(|notes| notes.len() > 1)
    }

    /// Checkpoints that the greatest ledger of their node did not grow out of:
    /// their lines, and what is wrong. `ids` are those of the entries in the order
    /// in which they came first.
    pub(super) fn contradictions(&self, ids: &[EntryId]) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        for (origin, order) in &self.greatest {
            let Some(notes) = self.notes.get(origin) else { continue };
            let mut tree = Frontier::default();
            let mut at = 0;
            for (size, (root, line)) in notes {
                let Some(more) = usize::try_from(*size).ok().and_then(|size| order.get(at..size)) else { break };
                at = at.saturating_add(more.len());
                more.iter().filter_map(|number| ids.get(*number as usize)).for_each(|id| tree.push(merkle::leaf(id)));
                if tree.root() != *root {
                    found.push((*line, contradiction(*origin, *size)));
                }
            }
        }
        found
    }
}

fn contradiction(origin: Origin, size: u64) -> String {
    format!("the node {origin} signed two ledgers: with other entries among the first {size} than came")
}

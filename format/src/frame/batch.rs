//! The inclusion paths of a batch, each hash of them once.
//!
//! An entry's path has, at each height, the hash beside its own way up. What is
//! sent along with one entry is known at the next; so are the hashes that an
//! entry's own way up gives. Only what is not known yet is sent, from the leaf
//! up. Entries of a batch that come in order need one hash each.

use std::collections::HashMap;

use crate::codec::{Reader, push_signed_varint};
use crate::merkle::{self, root_of_inclusion};
use crate::signature::{MAX_BATCH, MIN_BATCH};
use crate::{BatchSignature, EntryId, Error, Hash};

use super::malformed;

/// Hashes of a batch that are kept, about: an entry that begins when as many
/// are known finds none.
pub const KNOWN_HASHES: usize = 8192;

/// What is known of the tree of a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// By height and place at that height.
    nodes: HashMap<(u8, u32), Hash>,
    /// The index that is likely the next one.
    next: u32,
}

impl Batch {
    /// Whether a signature can be written: its path leads somewhere, and says
    /// nothing else than what is known.
    pub(super) fn check(known: Option<&Self>, id: &EntryId, batch: &BatchSignature) -> Result<(), Error> {
        batch.root(id)?;
        let Some(known) = known.filter(|known| !known.is_full()) else { return Ok(()) };
        for (place, hash) in beside(batch.index, batch.size).zip(&batch.path) {
            if known.nodes.get(&place).is_some_and(|known| known != hash) {
                return Err(Error::BadProof { what: "inclusion", problem: "contradicts that of another entry" });
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.nodes.len() >= KNOWN_HASHES
    }

    /// Forgets what is known if it is much: whoever writes a stream must not
    /// choose how much its reader has to remember.
    fn make_room(&mut self) {
        if self.is_full() {
            self.nodes.clear();
        }
    }

    /// Writes index and path, as far as it is not known.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, id: &EntryId, batch: &BatchSignature) {
        self.make_room();
        push_signed_varint(out, i64::from(batch.index).wrapping_sub(i64::from(self.next)));
        for (place, hash) in beside(batch.index, batch.size).zip(&batch.path) {
            if !self.nodes.contains_key(&place) {
                out.extend_from_slice(&hash.0);
            }
        }
        self.learn(id, batch);
    }

    /// Reads index and path.
    pub(super) fn take(
        &mut self,
        r: &mut Reader<'_>,
        id: &EntryId,
        size: u32,
        value: [u8; 64],
    ) -> Result<BatchSignature, Error> {
        crate::codec::within("batch size", u64::from(size), u64::from(MIN_BATCH), u64::from(MAX_BATCH))?;
        let index = i64::from(self.next).checked_add(r.signed_varint("index")?);
        let index = index.and_then(|index| u32::try_from(index).ok()).filter(|index| *index < size);
        let index = index.ok_or_else(|| malformed("has an index beyond its batch"))?;
        self.make_room();
        let mut path = Vec::new();
        for place in beside(index, size) {
            path.push(match self.nodes.get(&place) {
                Some(known) => *known,
                None => Hash(r.array("path")?),
            });
        }
        let batch = BatchSignature { value, index, size, path };
        self.learn(id, &batch);
        Ok(batch)
    }

    /// Notes what the path of an entry says, and what its way up gives.
    fn learn(&mut self, id: &EntryId, batch: &BatchSignature) {
        self.next = batch.index.saturating_add(1);
        let mut own = merkle::leaf(id);
        let mut path = batch.path.iter();
        for (height, place, width) in way_up(batch.index, batch.size) {
            self.nodes.entry((height, place)).or_insert(own);
            let sibling = place ^ 1;
            if sibling >= width {
                continue;
            }
            let Some(hash) = path.next() else { return };
            self.nodes.entry((height, sibling)).or_insert(*hash);
            own = if place & 1 == 0 { merkle::node(&own, hash) } else { merkle::node(hash, &own) };
        }
        debug_assert!(
            root_of_inclusion(&merkle::leaf(id), batch.index.into(), batch.size.into(), &batch.path)
                .is_ok_and(|root| root == own)
        );
    }
}

/// The heights below the root, with the place of the entry's own hash at each
/// and how many hashes there are. One without a sibling moves up as it is.
fn way_up(index: u32, size: u32) -> impl Iterator<Item = (u8, u32, u32)> {
    (0_u8..32)
        .map(move |height| {
            let width = size.saturating_sub(1).checked_shr(height.into()).unwrap_or(0).saturating_add(1);
            (height, index.checked_shr(height.into()).unwrap_or(0), width)
        })
        .take_while(|(_, _, width)| *width > 1)
}

/// The places of the hashes of a path, from the leaf up.
fn beside(index: u32, size: u32) -> impl Iterator<Item = (u8, u32)> {
    way_up(index, size).filter_map(|(height, place, width)| {
        let sibling = place ^ 1;
        (sibling < width).then_some((height, sibling))
    })
}

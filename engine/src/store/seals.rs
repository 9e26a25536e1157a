//! The keys of records: those that seal blocks, and those of ledger positions,
//! under which the keys of entries lie.
//!
//! ```text
//! block key = Expand(records key, "thingdb/1/block-key" ‖ position / 65536)
//! at rest   = CEK ⊕ Expand(position key, "thingdb/1/cek-at-rest" ‖ entry id)
//!           = sealed CEK of an envelope ⊕ Expand(position key,
//!             "thingdb/1/envelope-at-rest" ‖ entry id ‖ from ‖ name of its packets)
//! ```
//!
//! A mask serves one entry, which has one CEK. So nothing is masked twice with the
//! same bytes, however often its record is written. What a block says beside the
//! keys of its entries outlives them: so blocks have keys of their own, and no key
//! of the tree seals one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard};

use thingdb_format::{Cek, EntryId};
use zeroize::Zeroizing;

use super::stored::{StoredEnvelope, at};
use crate::error::{Error, Result};
use crate::keyring::{KeyTree, Keyring, SealKey, Secret, Subtree, Way};

/// Positions whose blocks share a key: their number bounds how often it seals.
pub(crate) const BLOCK_KEY_POSITIONS: u64 = 65_536;

/// Height of the subtrees that are remembered: 64 positions.
const SUBTREE_HEIGHT: u8 = 3;
const SUBTREE_BITS: u32 = 6;

/// Subtrees that are remembered: those of a million entries, in about 2 MB.
const MAX_SUBTREES: usize = 16_384;

const BLOCK_LABEL: &[u8] = b"thingdb/1/block-key";
const CEK_LABEL: &[u8] = b"thingdb/1/cek-at-rest";
const ENVELOPE_LABEL: &[u8] = b"thingdb/1/envelope-at-rest";

pub(crate) struct Seals {
    records_key: Secret,
    /// With their schedules computed.
    block_keys: RwLock<HashMap<u64, Arc<SealKey>>>,
    tree: RwLock<KeyTree>,
    /// Where the committer is.
    way: Mutex<Way>,
    /// Where readers were.
    subtrees: RwLock<HashMap<u64, Arc<Subtree>>>,
}

impl Seals {
    pub(crate) fn new(keyring: &Keyring) -> Self {
        Self {
            records_key: Secret::copy_of(keyring.records_key().as_bytes()),
            block_keys: RwLock::default(),
            tree: RwLock::new(keyring.key_tree().copy()),
            way: Mutex::default(),
            subtrees: RwLock::default(),
        }
    }

    /// The key of the block that begins at `position`, and of the payloads that
    /// begin there.
    pub(crate) fn block_key(&self, position: u64) -> Arc<SealKey> {
        let range = position / BLOCK_KEY_POSITIONS;
        let known = self.block_keys.read().expect("no thread panics while it holds the keys").get(&range).cloned();
        known.unwrap_or_else(|| {
            let key = Arc::new(block_key(&self.records_key, range));
            let mut keys = self.block_keys.write().expect("no thread panics while it holds the keys");
            Arc::clone(keys.entry(range).or_insert(key))
        })
    }

    /// The key of a position, for reading; nothing if it was taken away.
    pub(crate) fn position_key(&self, position: u64) -> Option<PositionKey> {
        let number = position >> SUBTREE_BITS;
        let known = self.subtrees.read().expect("no thread panics while it holds the keys").get(&number).cloned();
        let subtree = match known {
            Some(subtree) => subtree,
            None => {
                // Held until it is remembered: what is taken away meanwhile must not be.
                let tree = self.tree();
                let Some(subtree) = tree.subtree(position, SUBTREE_HEIGHT).map(Arc::new) else {
                    return tree.position_key(position).map(PositionKey);
                };
                let mut subtrees = self.subtrees.write().expect("no thread panics while it holds the keys");
                if subtrees.len() >= MAX_SUBTREES {
                    subtrees.clear();
                }
                subtrees.insert(number, Arc::clone(&subtree));
                subtree
            }
        };
        subtree.position_key(position).map(PositionKey)
    }

    fn tree(&self) -> RwLockReadGuard<'_, KeyTree> {
        self.tree.read().expect("no thread panics while it holds the keys")
    }

    /// Takes over the tree of the keyring, from which keys were taken away.
    pub(crate) fn take_over(&self, keyring: &Keyring) {
        let mut way = self.way.lock().expect("no thread panics while it holds the keys");
        let mut tree = self.tree.write().expect("no thread panics while it holds the keys");
        *tree = keyring.key_tree().copy();
        *way = Way::default();
        self.subtrees.write().expect("no thread panics while it holds the keys").clear();
    }

    /// The same for the committer, which goes from one position to the next.
    pub(crate) fn next_position_key(&self, position: u64) -> Result<PositionKey> {
        let mut way = self.way.lock().expect("no thread panics while it holds the keys");
        let key = way.position_key(&self.tree(), position);
        key.map(PositionKey).ok_or_else(|| Error::damaged(at(position), "the keyring has no key for this position"))
    }
}

/// The key of the blocks of a range of positions.
fn block_key(records_key: &Secret, range: u64) -> SealKey {
    records_key.expand(&[BLOCK_LABEL, &range.to_be_bytes()]).seal_key()
}

/// The key of a ledger position.
pub(crate) struct PositionKey(Secret);

impl PositionKey {
    /// A CEK as it lies in its record.
    pub(crate) fn mask_cek(&self, id: &EntryId, cek: &Cek) -> [u8; 32] {
        let mut masked = *cek.as_bytes();
        self.mask(&[CEK_LABEL, &id.0], &mut masked);
        masked
    }

    /// The CEK that lies in a record.
    pub(crate) fn unmask_cek(&self, id: &EntryId, masked: &[u8; 32]) -> Cek {
        let mut cek = Zeroizing::new(*masked);
        self.mask(&[CEK_LABEL, &id.0], &mut *cek);
        Cek::from_bytes(*cek)
    }

    /// Masks the sealed CEK of an envelope, or takes the mask away.
    pub(crate) fn mask_envelope(&self, id: &EntryId, envelope: &mut StoredEnvelope) {
        let StoredEnvelope { from, packets, cek, .. } = envelope;
        self.mask(&[ENVELOPE_LABEL, &id.0, from, packets], cek);
    }

    fn mask(&self, info: &[&[u8]], bytes: &mut [u8]) {
        let mut mask = Zeroizing::new([0; 48]);
        let Some(mask) = mask.get_mut(..bytes.len()) else { unreachable!("a mask has at most 48 bytes") };
        self.0.expand_into(info, mask);
        bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= *mask);
    }
}

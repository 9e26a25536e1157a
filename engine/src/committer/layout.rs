//! How entries lie together: runs that share a signature, blocks that hold
//! records.

use std::sync::Arc;

use thingdb_format::{Hash, Signature, merkle, signature};

use super::stage::{Signing, Staged};
use crate::error::Result;
use crate::keyring::SealKey;
use crate::storage::Batch;
use crate::store::Store;
use crate::store::schema;
use crate::store::stored::{self, BLOCK_BYTES, BLOCK_RECORDS, BatchHead, BlockBytes, OpenRecord, SEGMENT_POSITIONS};

/// Entries under one of our own batch signatures: a path of ten hashes.
const BATCH_ENTRIES: usize = 1024;

/// A block that is being filled.
pub(super) struct OpenBlock {
    first: u64,
    /// Of the block's segment.
    key: Arc<SealKey>,
    head: Option<BatchHead>,
    bytes: BlockBytes,
}

impl OpenBlock {
    pub(super) fn at(store: &Store, first: u64) -> Result<Self> {
        let key = store.segment_key_to_write(first)?;
        Ok(Self { first, key, head: None, bytes: BlockBytes::default() })
    }

    pub(super) fn takes(&self, position: u64, bytes: usize, head: Option<&BatchHead>) -> bool {
        self.bytes.len() == 0
            || (self.bytes.bytes() + bytes <= BLOCK_BYTES
                && self.bytes.len() < BLOCK_RECORDS as u64
                && self.head.as_ref() == head
                && position / SEGMENT_POSITIONS == self.first / SEGMENT_POSITIONS)
    }

    pub(super) fn push(&mut self, position: u64, record: &OpenRecord, head: Option<BatchHead>) -> u8 {
        let slot = u8::try_from(self.bytes.len()).expect("a block has at most 255 records");
        self.head = head;
        self.bytes.push(&self.key, position, record);
        slot
    }

    pub(super) fn close(&self, batch: &mut Batch) {
        if self.bytes.len() == 0 {
            return;
        }
        let head = self.head.as_ref().map(|head| stored::seal_head(&self.key, self.first, head));
        // No guard that the row is absent: there is one committer, and a guard
        // would cost every put a read.
        batch.put(schema::block(self.first), self.bytes.finish(&head.unwrap_or_default()));
    }
}

/// Entries side by side that share a signature, or a single one.
pub(super) struct Run {
    pub(super) len: usize,
    whole_batch: bool,
}

pub(super) enum RunSignature {
    Single([u8; 64]),
    Head(BatchHead),
    AsArrived,
}

impl Run {
    pub(super) fn sign(&self, entries: &[Staged], first: u64) -> RunSignature {
        let size = self.len as u32;
        match entries {
            [Staged { signing: Signing::Due(key), record, .. }] => {
                RunSignature::Single(signature::sign_single(key, record.header()))
            }
            [Staged { signing: Signing::Due(key), .. }, ..] => {
                let root: Hash = merkle::root(entries.iter().map(|staged| merkle::leaf(&staged.id)));
                RunSignature::Head(BatchHead { first, size, value: signature::sign_batch(key, size, &root) })
            }
            [Staged { signing: Signing::Done(signature), .. }, ..] if self.whole_batch => {
                RunSignature::Head(BatchHead { first, size, value: *signature.value() })
            }
            _ => RunSignature::AsArrived,
        }
    }
}

/// Splits the entries of a commit into runs.
pub(super) fn runs(entries: &[Staged]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut rest = entries;
    while let [first, ..] = rest {
        let run = match &first.signing {
            Signing::Due(key) => {
                let actor = key.actor();
                let same = |staged: &&Staged| matches!(&staged.signing, Signing::Due(key) if key.actor() == actor);
                Run { len: rest.iter().take(BATCH_ENTRIES).take_while(same).count(), whole_batch: false }
            }
            Signing::Done(Signature::Batch(batch)) => {
                let follows = |(index, staged): &(u32, &Staged)| {
                    matches!(&staged.signing, Signing::Done(Signature::Batch(other))
                        if other.value == batch.value && other.size == batch.size && other.index == *index)
                };
                let len = (0..).zip(rest).take_while(follows).count();
                if len == batch.size as usize {
                    Run { len, whole_batch: true }
                } else {
                    Run { len: 1, whole_batch: false }
                }
            }
            Signing::Done(_) => Run { len: 1, whole_batch: false },
        };
        rest = &rest[run.len..];
        runs.push(run);
    }
    runs
}

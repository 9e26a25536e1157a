//! How entries lie together: runs that share a signature.

use thingdb_format::{Hash, Signature, merkle, signature};

use super::stage::{Signing, Staged};
use crate::store::stored::BatchHead;

/// Entries under one of our own batch signatures: a path of ten hashes.
const BATCH_ENTRIES: usize = 1024;

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

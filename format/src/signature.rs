//! The two kinds of signature: over one entry, and over the Merkle root of
//! entries that were written together.

use std::collections::VecDeque;

use crate::codec::{label32, within};
use crate::merkle::{self, root_of_inclusion};
use crate::{EntryId, Error, Hash, SigningKey, Verifier, label};

const ENTRY_LABEL: [u8; 32] = label32(label::SIGN_ENTRY);
const BATCH_LABEL: [u8; 32] = label32(label::SIGN_BATCH);

/// Fewest entries under one batch signature.
pub const MIN_BATCH: u32 = 2;

/// Most entries under one batch signature.
pub const MAX_BATCH: u32 = 65_536;

/// The signature of an entry, enough to verify it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signature {
    /// Kind 1: over the header.
    Single([u8; 64]),
    /// Kind 2: over the Merkle root of a batch.
    Batch(BatchSignature),
}

/// A batch signature as one of its entries carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSignature {
    /// Ed25519 over the size and root of the batch.
    pub value: [u8; 64],
    /// Place of the entry in the batch, from 0.
    pub index: u32,
    /// Entries in the batch.
    pub size: u32,
    /// Inclusion path of the entry's id.
    pub path: Vec<Hash>,
}

impl BatchSignature {
    /// The root that the signature must cover for the entry `id`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] or [`Error::BadProof`].
    pub fn root(&self, id: &EntryId) -> Result<Hash, Error> {
        within("batch size", u64::from(self.size), u64::from(MIN_BATCH), u64::from(MAX_BATCH))?;
        root_of_inclusion(&merkle::leaf(id), u64::from(self.index), u64::from(self.size), &self.path)
    }
}

impl Signature {
    /// The 64 bytes of the Ed25519 signature.
    #[must_use]
    pub const fn value(&self) -> &[u8; 64] {
        match self {
            Self::Single(value) => value,
            Self::Batch(batch) => &batch.value,
        }
    }

    /// Checks the signature of the entry with this header and id.
    ///
    /// # Errors
    /// [`Error::BadSignature`], [`Error::BadProof`], [`Error::OutOfRange`].
    pub fn verify(&self, verifier: &Verifier, header: &[u8], id: &EntryId) -> Result<(), Error> {
        self.verify_with(verifier, header, id, &mut BatchMemo::default())
    }

    /// The same for one who checks many.
    ///
    /// # Errors
    /// As [`Signature::verify`].
    pub fn verify_with(
        &self,
        verifier: &Verifier,
        header: &[u8],
        id: &EntryId,
        memo: &mut BatchMemo,
    ) -> Result<(), Error> {
        match self {
            Self::Single(value) => verify_single(verifier, header, value),
            Self::Batch(batch) => memo.verify(verifier, batch.size, &batch.root(id)?, &batch.value),
        }
    }
}

/// Batch signatures that are remembered.
const REMEMBERED: usize = 8;

/// Remembers the last batch signatures that were good: the entries of a batch
/// mostly come one after the other, or a few batches beside each other, and one
/// check serves all of a batch.
#[derive(Clone, Debug, Default)]
pub struct BatchMemo(VecDeque<([u8; 32], u32, Hash, [u8; 64])>);

impl BatchMemo {
    /// Checks a signature of kind 2, or finds that it was just checked.
    ///
    /// # Errors
    /// [`Error::BadSignature`].
    pub fn verify(&mut self, verifier: &Verifier, size: u32, root: &Hash, value: &[u8; 64]) -> Result<(), Error> {
        let this = (verifier.key(), size, *root, *value);
        if !self.0.contains(&this) {
            verify_batch(verifier, size, root, value)?;
            self.0.truncate(REMEMBERED - 1);
            self.0.push_front(this);
        }
        Ok(())
    }
}

/// Signs one entry.
#[must_use]
pub fn sign_single(key: &SigningKey, header: &[u8]) -> [u8; 64] {
    key.sign(&single_message(header))
}

/// Checks a signature of kind 1.
///
/// # Errors
/// [`Error::BadSignature`].
pub fn verify_single(verifier: &Verifier, header: &[u8], value: &[u8; 64]) -> Result<(), Error> {
    verifier.verify(&single_message(header), value, "the entry")
}

/// Signs the root over the ids of `size` entries.
#[must_use]
pub fn sign_batch(key: &SigningKey, size: u32, root: &Hash) -> [u8; 64] {
    key.sign(&batch_message(size, root))
}

/// Checks a signature of kind 2, once the root is known.
///
/// # Errors
/// [`Error::BadSignature`].
pub fn verify_batch(verifier: &Verifier, size: u32, root: &Hash, value: &[u8; 64]) -> Result<(), Error> {
    verifier.verify(&batch_message(size, root), value, "the batch")
}

fn single_message(header: &[u8]) -> Vec<u8> {
    [&ENTRY_LABEL[..], header].concat()
}

fn batch_message(size: u32, root: &Hash) -> Vec<u8> {
    [&BATCH_LABEL[..], &u64::from(size).to_be_bytes(), &root.0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_signature_covers_each_entry_and_no_other() {
        let key = SigningKey::from_seed(&[1; 32]);
        let ids: Vec<EntryId> = (0..5).map(|n| EntryId([n; 32])).collect();
        let leaves: Vec<Hash> = ids.iter().map(merkle::leaf).collect();
        let value = sign_batch(&key, 5, &merkle::root(leaves.clone()));
        for (index, id) in (0..).zip(&ids) {
            let path = merkle::inclusion_proof(&leaves[..], u64::from(index), 5).unwrap();
            let batch = BatchSignature { value, index, size: 5, path };
            let signature = Signature::Batch(batch.clone());
            signature.verify(&key.verifier(), b"", id).unwrap();
            assert!(signature.verify(&key.verifier(), b"", &EntryId([9; 32])).is_err());
            let other_size = Signature::Batch(BatchSignature { size: 6, ..batch });
            assert!(other_size.verify(&key.verifier(), b"", id).is_err());
        }
    }

    #[test]
    fn a_batch_of_one_is_refused() {
        let key = SigningKey::from_seed(&[1; 32]);
        let id = EntryId([1; 32]);
        let value = sign_batch(&key, 1, &merkle::leaf(&id));
        let batch = BatchSignature { value, index: 0, size: 1, path: vec![] };
        let problem = Signature::Batch(batch).verify(&key.verifier(), b"", &id).unwrap_err();
        assert!(matches!(problem, Error::OutOfRange { field: "batch size", .. }));
    }
}

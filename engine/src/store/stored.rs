//! How entries lie in the storage: what a record keeps of an entry.
//!
//! Records lie in [blocks](super::block), in the bytes of their [layout](super::layout).
//! What opens an entry lies in its record under a [mask](super::seals). Nothing that
//! is signed or hashed depends on any of this: a record gives the exact bytes of the
//! header.

use thingdb_format::{BatchSignature, Cek, Envelope, Hash, Origin, Signature, signature};

use super::block::BLOCK_BYTES;
use super::layout::{Laid, PayloadBytes, Placed};
use super::packets;
use super::provenance::{Bringer, Provenance};
use super::schema::{self, MAX_ROW_BYTES};

/// Payloads up to this size lie in their record, larger ones in parts.
pub(crate) const INLINE_PAYLOAD_BYTES: usize = 4096;

/// Bytes of a payload in one row.
pub(crate) const PART_BYTES: usize = 6144;

// sled moves pages of larger rows into files of their own.
const _: () = assert!(BLOCK_BYTES < MAX_ROW_BYTES && PART_BYTES < MAX_ROW_BYTES);

/// A record, open. What is secret in it is masked.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    pub(crate) header: Vec<u8>,
    pub(crate) signature: StoredSignature,
    pub(crate) masked_cek: Option<[u8; 32]>,
    pub(crate) payload: StoredPayload,
    pub(crate) masked_envelopes: Vec<StoredEnvelope>,
}

/// Where the signature of a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredSignature {
    Single([u8; 64]),
    /// The batch lies here as a whole: its signature is in the heads of its blocks,
    /// and the paths follow from the ids.
    Local(BatchHead),
    /// Came without the rest of its batch.
    Batch {
        value: [u8; 64],
        index: u32,
        size: u32,
        path: Vec<[u8; 32]>,
    },
}

impl From<&Signature> for StoredSignature {
    fn from(signature: &Signature) -> Self {
        match signature {
            Signature::Batch(batch) => Self::Batch {
                value: batch.value,
                index: batch.index,
                size: batch.size,
                path: batch.path.iter().map(|hash| hash.0).collect(),
            },
            single => Self::Single(*single.value()),
        }
    }
}

impl StoredSignature {
    /// What it says of its batch, if that lies here as a whole. One that cannot be is
    /// for verification to tell: the entry can still be read.
    pub(crate) fn batch(&self) -> Option<&BatchHead> {
        if let Self::Local(batch) = self { Some(batch).filter(|batch| batch.is_possible()) } else { None }
    }

    /// The signature, unless that of its batch is needed for it.
    pub(crate) fn alone(&self) -> Option<Signature> {
        match self {
            Self::Single(value) => Some(Signature::Single(*value)),
            Self::Local(_) => None,
            Self::Batch { value, index, size, path } => Some(Signature::Batch(BatchSignature {
                value: *value,
                index: *index,
                size: *size,
                path: path.iter().copied().map(Hash).collect(),
            })),
        }
    }
}

/// Where the payload of a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredPayload {
    Absent,
    Inline(Vec<u8>),
    /// In rows of [`PART_BYTES`]; the header tells how many bytes.
    Parts,
}

/// An envelope whose KEK packets lie in a row of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredEnvelope {
    pub(crate) from: [u8; 16],
    pub(crate) cek: [u8; 48],
    /// The name of the packets.
    pub(crate) packets: [u8; 16],
    /// Whether the row with the packets is of this record alone, and goes with
    /// the envelope. Others serve any number of records, and stay.
    pub(crate) is_private: bool,
    /// What is known of where it comes from.
    pub(crate) provenance: Provenance,
    /// Who brought it; nobody if this node made it.
    pub(crate) brought_by: Vec<Bringer>,
}

impl StoredPayload {
    const fn bytes(&self) -> PayloadBytes<'_> {
        match self {
            Self::Absent => PayloadBytes::Absent,
            Self::Inline(bytes) => PayloadBytes::Inline(bytes.as_slice()),
            Self::Parts => PayloadBytes::Parts,
        }
    }
}

impl Placed {
    /// The record, to be written once more.
    pub(crate) fn laid(&self) -> Laid<'_> {
        let StoredRecord { signature, masked_cek, payload, masked_envelopes, .. } = &self.stored;
        Laid {
            header: &self.header,
            id: self.id,
            signature,
            payload: payload.bytes(),
            cek: *masked_cek,
            envelopes: masked_envelopes,
        }
    }
}

impl StoredEnvelope {
    /// One that this node made.
    pub(crate) const fn made_here(from: Origin, cek: [u8; 48], packets: [u8; 16]) -> Self {
        Self { from: from.0, cek, packets, is_private: false, provenance: Provenance::HERE, brought_by: Vec::new() }
    }

    /// One that somebody brought.
    pub(crate) fn brought(envelope: &Envelope, provenance: Provenance, by: Bringer) -> Self {
        let packets = packets::row_name(&envelope.recipients);
        Self { from: envelope.from.0, cek: envelope.cek, packets, is_private: false, provenance, brought_by: vec![by] }
    }

    pub(crate) const fn from(&self) -> Origin {
        Origin(self.from)
    }

    /// The row with the packets, of a record at `position`.
    pub(crate) fn row(&self, position: u64) -> Vec<u8> {
        if !self.is_private {
            return schema::kek(&self.packets);
        }
        let name = Hash::of(&[&position.to_be_bytes()[..], &self.packets].concat());
        schema::kek(name.0.first_chunk().expect("16 is less than 32"))
    }
}

/// What a batch signature covers, as it lies in the head of each of its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchHead {
    /// Position of the first entry of the batch.
    pub(crate) first: u64,
    pub(crate) size: u32,
    pub(crate) value: [u8; 64],
}

impl BatchHead {
    /// Whether a batch can have so many entries from there on.
    pub(crate) fn is_possible(&self) -> bool {
        (signature::MIN_BATCH..=signature::MAX_BATCH).contains(&self.size)
            && self.first.checked_add(u64::from(self.size)).is_some()
    }
}

/// A record on its way into a block, which has no place yet.
pub(crate) struct LooseRecord {
    header: Vec<u8>,
    payload: Option<Vec<u8>>,
    /// The payload went into rows of its own.
    is_in_parts: bool,
    pub(crate) cek: Option<Cek>,
    pub(crate) envelopes: Vec<StoredEnvelope>,
}

impl LooseRecord {
    /// With the exact bytes of the header, and the payload that it names if that is
    /// here.
    pub(crate) const fn new(header: Vec<u8>, payload: Option<Vec<u8>>) -> Self {
        Self { header, payload, is_in_parts: false, cek: None, envelopes: Vec::new() }
    }

    /// The exact bytes of the header.
    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    /// The payload, if it is here.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref()
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn size(&self) -> usize {
        self.header.len() + self.payload.as_ref().map_or(0, Vec::len)
    }

    /// The payload that goes into rows of its own, if it is so large. It is here
    /// no more then.
    pub(crate) fn take_large_payload(&mut self) -> Option<Vec<u8>> {
        let large = self.payload.take_if(|payload| payload.len() > INLINE_PAYLOAD_BYTES);
        self.is_in_parts |= large.is_some();
        large
    }

    /// Gives a stub its payload. Whether it was one.
    pub(crate) fn complete(&mut self, payload: Option<&[u8]>) -> bool {
        let missing = self.payload.is_none() && payload.is_some();
        if missing {
            self.payload = payload.map(<[u8]>::to_vec);
        }
        missing
    }

    /// What of the payload lies in the record.
    pub(crate) fn payload_bytes(&self) -> PayloadBytes<'_> {
        match &self.payload {
            Some(payload) => PayloadBytes::Inline(payload),
            None if self.is_in_parts => PayloadBytes::Parts,
            None => PayloadBytes::Absent,
        }
    }
}

/// How errors name a record of which no more is known.
pub(crate) fn at(position: u64) -> String {
    format!("the entry at ledger position {position}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_is_completed_once() {
        for bytes in [1, INLINE_PAYLOAD_BYTES + 1] {
            let mut loose = LooseRecord::new(b"a header".to_vec(), None);
            assert!(!loose.complete(None));
            assert!(matches!(loose.payload_bytes(), PayloadBytes::Absent));
            assert!(loose.complete(Some(&vec![8; bytes])));
            assert!(!loose.complete(Some(&[9])));
            assert_eq!(loose.payload(), Some(&vec![8; bytes][..]));
            let is_large = bytes > INLINE_PAYLOAD_BYTES;
            assert_eq!(loose.take_large_payload().is_some(), is_large);
            assert_eq!(matches!(loose.payload_bytes(), PayloadBytes::Parts), is_large);
        }
    }
}

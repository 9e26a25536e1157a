//! How entries lie in the storage: records, packed into blocks.
//!
//! A block holds the records of up to 255 consecutive ledger positions that
//! were committed together. Each record is sealed by itself under the key of
//! its segment, with its position as associated data: one damaged record costs
//! no other, and none can be moved. The block's *head*, sealed likewise, holds
//! the batch signature that its records share, if they share one.
//!
//! The layouts are bincode's (fixed-width integers, a limit, the whole input
//! consumed). Nothing that is signed or hashed depends on them: a record keeps
//! the exact bytes of the header.

use bincode::{BorrowDecode, Decode, Encode};
use thingdb_format::{BatchSignature, Cek, Envelope, Hash, Header, Origin, Signature};
use zeroize::{Zeroize, Zeroizing};

use super::packets;
use super::provenance::{Bringer, Provenance};
use super::schema::{self, MAX_ROW_BYTES};
use crate::encoding::{append, decode, decode_borrowed, encode};
use crate::error::{Error, Result};
use crate::keyring::SealKey;

/// Positions that share a segment key.
pub(crate) const SEGMENT_POSITIONS: u64 = 65_536;

/// Payloads up to this size lie in their record, larger ones in parts.
pub(crate) const INLINE_PAYLOAD_BYTES: usize = 4096;

/// Bytes of a payload in one row.
pub(crate) const PART_BYTES: usize = 6144;

/// A block is closed when it has reached this size.
pub(crate) const BLOCK_BYTES: usize = 6000;

/// Most records in a block.
pub(crate) const BLOCK_RECORDS: usize = 255;

// sled moves pages of larger rows into files of their own.
const _: () = assert!(BLOCK_BYTES < MAX_ROW_BYTES && PART_BYTES < MAX_ROW_BYTES);

const RECORD_AAD: &[u8; 16] = b"thingdb/1/record";
const HEAD_AAD: &[u8; 16] = b"thingdb/1/b-head";

/// A record, open.
#[derive(Encode, Decode)]
pub(crate) struct StoredRecord {
    pub(crate) header: Vec<u8>,
    pub(crate) signature: StoredSignature,
    pub(crate) cek: Option<[u8; 32]>,
    pub(crate) payload: StoredPayload,
    pub(crate) envelopes: Vec<StoredEnvelope>,
}

impl Drop for StoredRecord {
    fn drop(&mut self) {
        self.cek.zeroize();
    }
}

/// Where the signature of a record is.
#[derive(Clone, Encode, Decode)]
pub(crate) enum StoredSignature {
    Single([u8; 64]),
    /// The batch lies here as a whole: its signature is in the block's head,
    /// and the paths follow from the ids.
    Local,
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
    /// The signature, unless it is in the block's head.
    pub(crate) fn alone(&self) -> Option<Signature> {
        match self {
            Self::Single(value) => Some(Signature::Single(*value)),
            Self::Local => None,
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
#[derive(Clone, Encode, Decode)]
pub(crate) enum StoredPayload {
    Absent,
    Inline(Vec<u8>),
    /// In rows of [`PART_BYTES`]; the header tells how many bytes.
    Parts,
}

/// An envelope whose KEK packets lie in a row of their own.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
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

impl StoredRecord {
    /// The header, decoded.
    pub(crate) fn header(&self, position: u64) -> Result<Header> {
        Header::from_bytes(&self.header).map_err(|problem| Error::damaged(at(position), problem))
    }

    pub(crate) fn cek(&self) -> Option<Cek> {
        self.cek.map(Cek::from_bytes)
    }
}

/// What a batch signature covers, as it lies in the head of each of its blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub(crate) struct BatchHead {
    /// Position of the first entry of the batch.
    pub(crate) first: u64,
    pub(crate) size: u32,
    pub(crate) value: [u8; 64],
}

/// A block as it lies in its row: every part sealed.
#[derive(Encode, BorrowDecode)]
pub(crate) struct Block<'a> {
    head: &'a [u8],
    records: Vec<&'a [u8]>,
}

impl<'a> Block<'a> {
    pub(crate) fn from_bytes(first: u64, bytes: &'a [u8]) -> Result<Self> {
        match decode_borrowed::<Self>(bytes) {
            Ok(block) if !block.records.is_empty() => Ok(block),
            _ => Err(Error::damaged(format!("the block at position {first}"), "its layout does not decode")),
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.records.len()
    }

    /// Opens the record in `slot`.
    pub(crate) fn record(&self, key: &SealKey, first: u64, slot: u8) -> Result<StoredRecord> {
        let position = first + u64::from(slot);
        let sealed = self.records.get(usize::from(slot));
        let sealed = sealed.ok_or_else(|| Error::damaged(at(position), "its block ends before it"))?;
        let open = key.open(&position_aad(RECORD_AAD, position), sealed);
        let open = Zeroizing::new(open.ok_or_else(|| Error::damaged(at(position), "it does not open"))?);
        decode(&open).map_err(|problem| Error::damaged(at(position), problem))
    }

    /// Opens the head, if the block has one.
    pub(crate) fn head(&self, key: &SealKey, first: u64) -> Result<Option<BatchHead>> {
        if self.head.is_empty() {
            return Ok(None);
        }
        let what = || format!("the batch signature at position {first}");
        let open = key.open(&position_aad(HEAD_AAD, first), self.head);
        let open = open.ok_or_else(|| Error::damaged(what(), "it does not open"))?;
        let head: BatchHead = decode(&open).map_err(|problem| Error::damaged(what(), problem))?;
        let sizes = thingdb_format::signature::MIN_BATCH..=thingdb_format::signature::MAX_BATCH;
        if !sizes.contains(&head.size) || head.first.checked_add(u64::from(head.size)).is_none() {
            return Err(Error::damaged(what(), format!("a batch of {} entries from {} on", head.size, head.first)));
        }
        Ok(Some(head))
    }

    /// The block with another record in `slot`.
    pub(crate) fn with_record(&self, slot: u8, sealed: &[u8]) -> Vec<u8> {
        let mut records = self.records.clone();
        if let Some(record) = records.get_mut(usize::from(slot)) {
            *record = sealed;
        }
        encode(&Block { head: self.head, records })
    }
}

/// Seals a record for its position.
pub(crate) fn seal_record(key: &SealKey, position: u64, record: &StoredRecord) -> Vec<u8> {
    let open = Zeroizing::new(encode(record));
    key.seal(&position_aad(RECORD_AAD, position), &open, &mut rand::rng())
}

/// Seals the head of the block that begins at `first`.
pub(crate) fn seal_head(key: &SealKey, first: u64, head: &BatchHead) -> Vec<u8> {
    key.seal(&position_aad(HEAD_AAD, first), &encode(head), &mut rand::rng())
}

/// A record on its way into a block: what does not depend on its place is laid
/// out already, once, wherever it was made.
pub(crate) struct LooseRecord {
    /// The header and the payload as they lie in a [`StoredRecord`].
    bytes: Vec<u8>,
    header_end: usize,
    /// A payload that goes into rows of its own.
    large: Option<Vec<u8>>,
    pub(crate) cek: Option<Cek>,
    pub(crate) envelopes: Vec<StoredEnvelope>,
}

impl LooseRecord {
    pub(crate) fn new(header: &[u8], payload: Option<Vec<u8>>) -> Self {
        let room = header.len() + payload.as_ref().map_or(0, Vec::len).min(INLINE_PAYLOAD_BYTES) + 32;
        let mut record =
            Self { bytes: Vec::with_capacity(room), header_end: 0, large: None, cek: None, envelopes: Vec::new() };
        append(&mut record.bytes, header);
        record.header_end = record.bytes.len();
        record.put_payload(payload);
        record
    }

    fn put_payload(&mut self, payload: Option<Vec<u8>>) {
        self.bytes.truncate(self.header_end);
        match payload {
            None => append(&mut self.bytes, &StoredPayload::Absent),
            Some(payload) if payload.len() <= INLINE_PAYLOAD_BYTES => {
                append(&mut self.bytes, &StoredPayload::Inline(payload));
            }
            Some(payload) => {
                append(&mut self.bytes, &StoredPayload::Parts);
                self.large = Some(payload);
            }
        }
    }

    /// The exact bytes of the header.
    pub(crate) fn header(&self) -> &[u8] {
        self.bytes.get(LEN_BYTES..self.header_end).unwrap_or_default()
    }

    /// The payload, if it is here.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        // A payload that lies here has its variant and its length before it.
        let inline = || self.bytes.get(self.header_end + VARIANT_BYTES + LEN_BYTES..);
        self.large.as_deref().or_else(inline)
    }

    /// Bytes that it takes in memory, about.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() + self.large.as_ref().map_or(0, Vec::len)
    }

    /// The payload that goes into rows of its own, if it is so large. It is here
    /// no more then.
    pub(crate) fn take_large_payload(&mut self) -> Option<Vec<u8>> {
        self.large.take()
    }

    /// Gives a stub its payload. Whether it was one.
    pub(crate) fn complete(&mut self, payload: Option<&[u8]>) -> bool {
        let missing = self.payload().is_none() && payload.is_some();
        if missing {
            self.put_payload(payload.map(<[u8]>::to_vec));
        }
        missing
    }

    /// Lays the record out as a [`StoredRecord`] with this signature.
    pub(crate) fn lay_out(&self, signature: &StoredSignature, out: &mut OpenRecord) {
        out.wipe();
        let (header, payload) = self.bytes.split_at(self.header_end);
        let cek = self.cek.as_ref().map(Cek::as_bytes);
        let room = self.bytes.len() + 512 + self.envelopes.len() * size_of::<StoredEnvelope>();
        out.reserve(room);
        out.bytes.extend_from_slice(header);
        append(&mut out.bytes, signature);
        let start = out.bytes.len();
        append(&mut out.bytes, &cek);
        out.secret = start..out.bytes.len();
        out.bytes.extend_from_slice(payload);
        append(&mut out.bytes, &self.envelopes);
    }
}

/// Bytes of a length, and of the number of an enum's variant.
const LEN_BYTES: usize = 8;
const VARIANT_BYTES: usize = 4;

/// Room in which one record after the other is laid out before it is sealed.
/// What is secret in it is wiped.
#[derive(Default)]
pub(crate) struct OpenRecord {
    bytes: Vec<u8>,
    secret: std::ops::Range<usize>,
}

impl OpenRecord {
    /// Bytes that it has when it is sealed.
    pub(crate) const fn sealed_len(&self) -> usize {
        self.bytes.len() + SealKey::OVERHEAD
    }

    /// Empty, and large enough that nothing is left behind in a freed buffer.
    fn reserve(&mut self, room: usize) {
        self.bytes.clear();
        self.bytes.reserve(room);
    }

    fn wipe(&mut self) {
        if let Some(secret) = self.bytes.get_mut(std::mem::take(&mut self.secret)) {
            secret.zeroize();
        }
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// A block that is being filled: the layout of a [`Block`].
#[derive(Default)]
pub(crate) struct BlockBytes {
    records: Vec<u8>,
    count: u64,
}

impl BlockBytes {
    pub(crate) const fn len(&self) -> u64 {
        self.count
    }

    /// Bytes of its records.
    pub(crate) fn bytes(&self) -> usize {
        self.records.len()
    }

    /// Seals a record for its position and puts it behind the others.
    pub(crate) fn push(&mut self, key: &SealKey, position: u64, record: &OpenRecord) {
        self.records.reserve(BLOCK_BYTES.max(record.sealed_len()) + LEN_BYTES);
        append(&mut self.records, &(record.sealed_len() as u64));
        key.seal_into(&position_aad(RECORD_AAD, position), &record.bytes, &mut rand::rng(), &mut self.records);
        self.count += 1;
    }

    /// The whole block, with its sealed head or none.
    pub(crate) fn finish(&self, head: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.len() + head.len() + 2 * LEN_BYTES);
        append(&mut out, head);
        append(&mut out, &self.count);
        out.extend_from_slice(&self.records);
        out
    }
}

fn position_aad(label: &[u8; 16], position: u64) -> [u8; 24] {
    let mut aad = [0; 24];
    aad[..16].copy_from_slice(label);
    aad[16..].copy_from_slice(&position.to_be_bytes());
    aad
}

/// How errors name a record of which no more is known.
pub(crate) fn at(position: u64) -> String {
    format!("the entry at ledger position {position}")
}

/// For fuzzing: reads bytes as a block, a record and a batch head. What is read
/// is written back as it was.
#[doc(hidden)]
pub fn fuzz_stored(bytes: &[u8]) {
    if let Ok(block) = Block::from_bytes(0, bytes) {
        assert_eq!(encode(&block), bytes, "the block has another spelling");
    }
    if let Ok(record) = decode::<StoredRecord>(bytes) {
        assert_eq!(encode(&record), bytes, "the record has another spelling");
        // The header may be anything; it is refused, not believed.
        let _ = record.header(0);
    }
    if let Ok(head) = decode::<BatchHead>(bytes) {
        assert_eq!(encode(&head), bytes, "the batch head has another spelling");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: Option<usize>, cek: bool) -> LooseRecord {
        let mut loose = LooseRecord::new(b"a header", payload.map(|bytes| vec![7; bytes]));
        loose.cek = cek.then(|| Cek::from_bytes([9; 32]));
        loose.envelopes = vec![StoredEnvelope::made_here(Origin([1; 16]), [2; 48], [3; 16])];
        loose
    }

    #[test]
    fn a_loose_record_is_laid_out_as_a_stored_one() {
        let path = vec![[4; 32], [5; 32]];
        let signatures = [
            StoredSignature::Single([6; 64]),
            StoredSignature::Local,
            StoredSignature::Batch { value: [8; 64], index: 1, size: 3, path },
        ];
        let mut open = OpenRecord::default();
        for signature in signatures {
            for (payload, stored) in [
                (None, StoredPayload::Absent),
                (Some(0), StoredPayload::Inline(vec![])),
                (Some(INLINE_PAYLOAD_BYTES), StoredPayload::Inline(vec![7; INLINE_PAYLOAD_BYTES])),
                (Some(INLINE_PAYLOAD_BYTES + 1), StoredPayload::Parts),
            ] {
                for cek in [false, true] {
                    let loose = record(payload, cek);
                    assert_eq!(loose.header(), b"a header");
                    assert_eq!(loose.payload().map(<[u8]>::len), payload);
                    loose.lay_out(&signature, &mut open);
                    let expected = StoredRecord {
                        header: b"a header".to_vec(),
                        signature: signature.clone(),
                        cek: cek.then_some([9; 32]),
                        payload: stored.clone(),
                        envelopes: loose.envelopes.clone(),
                    };
                    assert_eq!(open.bytes, encode(&expected));
                }
            }
        }
    }

    #[test]
    fn a_stub_is_completed_once() {
        for bytes in [1, INLINE_PAYLOAD_BYTES + 1] {
            let mut loose = record(None, true);
            assert!(!loose.complete(None));
            assert!(loose.complete(Some(&vec![8; bytes])));
            assert!(!loose.complete(Some(&[9])));
            assert_eq!(loose.payload(), Some(&vec![8; bytes][..]));
            assert_eq!(loose.take_large_payload().is_some(), bytes > INLINE_PAYLOAD_BYTES);
        }
    }

    #[test]
    fn a_block_that_was_filled_reads_as_one() {
        let key = SealKey::new(&[1; 32]);
        let mut bytes = BlockBytes::default();
        let mut open = OpenRecord::default();
        for position in 40..43 {
            record(Some(100), true).lay_out(&StoredSignature::Local, &mut open);
            bytes.push(&key, position, &open);
        }
        let head = BatchHead { first: 40, size: 3, value: [2; 64] };
        let packed = bytes.finish(&seal_head(&key, 40, &head));
        let block = Block::from_bytes(40, &packed).unwrap();
        assert_eq!(encode(&block), packed);
        assert_eq!(block.len() as u64, bytes.len());
        assert_eq!(block.head(&key, 40).unwrap(), Some(head));
        for slot in 0..3 {
            assert_eq!(block.record(&key, 40, slot).unwrap().header, b"a header");
        }
        assert!(block.record(&key, 41, 0).is_err(), "a record was moved");
    }
}

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

const RECORD_AAD: &[u8; 16] = b"thingdb/1/record";
const HEAD_AAD: &[u8; 16] = b"thingdb/1/b-head";

/// No stored value is larger than a payload and its envelopes.
const LIMIT: usize = 32 << 20;

/// bincode as every stored value uses it.
fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding().with_limit::<LIMIT>()
}

/// Encodes a value to be sealed.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config()).expect("stored values are bounded when made")
}

/// Decodes a whole value.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> std::result::Result<T, &'static str> {
    match bincode::decode_from_slice(bytes, config()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok(_) => Err("bytes follow its end"),
        Err(_) => Err("its layout is not that of this version"),
    }
}

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
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StoredEnvelope {
    pub(crate) from: [u8; 16],
    pub(crate) cek: [u8; 48],
    /// Names the row with the packets.
    pub(crate) packets: [u8; 16],
}

impl StoredEnvelope {
    pub(crate) fn new(envelope: &Envelope, packets: [u8; 16]) -> Self {
        Self { from: envelope.from.0, cek: envelope.cek, packets }
    }

    pub(crate) const fn from(&self) -> Origin {
        Origin(self.from)
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
        match bincode::borrow_decode_from_slice::<Self, _>(bytes, config()) {
            Ok((block, read)) if read == bytes.len() && !block.records.is_empty() => Ok(block),
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

/// Puts sealed records together.
pub(crate) fn pack(head: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    encode(&Block { head, records: records.iter().map(Vec::as_slice).collect() })
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

/// A row that is sealed under the row key, with its own key as associated
/// data.
pub(crate) struct RowSeal(SealKey);

impl RowSeal {
    pub(crate) const fn new(key: SealKey) -> Self {
        Self(key)
    }

    pub(crate) fn seal(&self, row: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(row, plaintext, &mut rand::rng())
    }

    pub(crate) fn open(&self, row: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        self.0.open(row, sealed).ok_or_else(|| Error::damaged(row_in_words(row), "it does not open"))
    }

    pub(crate) fn open_value<T: Decode<()>>(&self, row: &[u8], sealed: &[u8]) -> Result<T> {
        let open = Zeroizing::new(self.open(row, sealed)?);
        decode(&open).map_err(|problem| Error::damaged(row_in_words(row), problem))
    }
}

fn row_in_words(row: &[u8]) -> String {
    let what = match row.first() {
        Some(b'T') => "a thing's state row",
        Some(b'C') => "a thing's postings row",
        Some(b'M') => "a tile of the ledger's tree",
        Some(b'K') => "a row of KEK packets",
        Some(b'P') => "a part of a payload",
        Some(b'U' | b'V') => "a row of the log of changes",
        Some(b'R' | b'X') => "what is remembered of another node",
        _ => "a row",
    };
    what.to_owned()
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

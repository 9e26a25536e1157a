//! Blocks: the records of consecutive ledger positions, in one row.
//!
//! ```text
//! records 1 ‖ nonce 11 ‖ length 2, of each part but the last ‖ parts
//! part      ciphertext ‖ tag 16 (AES-256-GCM)
//! ```
//!
//! The first part is the *head*: the names that the records share. Behind it each
//! record is a part. If there is one record only, it lies in the same part as the
//! head. The [layout](super::layout) says what is in them.
//!
//! The nonce of a part is that of its block and the number of the part, and a block
//! is always sealed as a whole, under a fresh nonce: parts of two blocks, or of two
//! versions of a block, do not open beside each other. The associated data of a part
//! are the position of the first record, how many records there are, and the number
//! of the part; for the head also the lengths. So no part can be moved, and no record
//! can be taken away.

use std::sync::Arc;

use thingdb_format::{EntryId, Header};

use super::layout::{Head, Laid, Names, Placed, Read};
use super::stored::at;
use crate::error::{Error, Result};
use crate::keyring::{SealKey, TAG_BYTES};

/// A block is closed when it has reached this size.
pub(crate) const BLOCK_BYTES: usize = 6000;

/// Most records in a block.
pub(crate) const BLOCK_RECORDS: usize = 255;

const NONCE_BYTES: usize = 11;
const LENGTH_BYTES: usize = 2;
const LABEL: &[u8; 15] = b"thingdb/1/block";

/// A block as it lies in its row, the bytes of which are `B`: every part sealed.
#[derive(Clone)]
pub(crate) struct Block<B> {
    first: u64,
    records: u8,
    bytes: B,
    /// Where in the bytes each part ends, in order.
    ends: Vec<u32>,
}

impl<B: AsRef<[u8]>> Block<B> {
    pub(crate) fn from_bytes(first: u64, bytes: B) -> Result<Self> {
        match parse(first, bytes.as_ref()) {
            Some((records, ends)) => Ok(Self { first, records, bytes, ends }),
            None => Err(Error::damaged(format!("the block at position {first}"), "its layout does not decode")),
        }
    }

    /// Records in it, as the row says: whether that is so shows when it is opened.
    pub(crate) const fn len(&self) -> usize {
        self.records as usize
    }

    /// Opens its head.
    pub(crate) fn open(self, key: Arc<SealKey>) -> Result<OpenBlock<B>> {
        let head = self.part(&key, 0).and_then(|head| Head::read(self.first, head));
        let head = head.map_err(|problem| Error::damaged(format!("the block at position {}", self.first), problem))?;
        let ids = vec![None; self.len()];
        Ok(OpenBlock { block: self, key, head, ids })
    }

    fn part(&self, key: &SealKey, number: u8) -> std::result::Result<Vec<u8>, &'static str> {
        let (of_block, lengths, sealed) = self.sealed_part(number).ok_or("its block ends before it")?;
        let nonce = nonce(of_block, number);
        with_aad(self.first, self.records, number, lengths, |aad| key.open_with(&nonce, aad, sealed))
            .ok_or("it does not open")
    }

    /// A part as it lies in the row, behind the nonce of the block and the lengths.
    fn sealed_part(&self, number: u8) -> Option<(&[u8; NONCE_BYTES], &[u8], &[u8])> {
        let bytes = self.bytes.as_ref();
        let (of_block, rest) = bytes.get(1..)?.split_first_chunk()?;
        let lengths = rest.get(..(parts_of(self.records) - 1) * LENGTH_BYTES)?;
        let end = *self.ends.get(usize::from(number))? as usize;
        let start = match number.checked_sub(1) {
            None => 1 + NONCE_BYTES + lengths.len(),
            Some(before) => *self.ends.get(usize::from(before))? as usize,
        };
        Some((of_block, lengths, bytes.get(start..end)?))
    }
}

/// Reads the bytes of a block: how many records it has, and where its parts end.
fn parse(first: u64, bytes: &[u8]) -> Option<(u8, Vec<u32>)> {
    let (records, rest) = bytes.split_first().filter(|(records, _)| **records > 0)?;
    let (_, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let others = parts_of(*records) - 1;
    let (lengths, mut rest) = rest.split_at_checked(others * LENGTH_BYTES)?;
    let mut ends = Vec::with_capacity(others + 1);
    let mut end = u32::try_from(bytes.len() - rest.len()).ok()?;
    let is_sealed = |part: &[u8]| part.len() >= TAG_BYTES;
    for length in lengths.as_chunks::<LENGTH_BYTES>().0 {
        let length = u16::from_be_bytes(*length);
        let (_, behind) = rest.split_at_checked(usize::from(length)).filter(|(part, _)| is_sealed(part))?;
        end += u32::from(length);
        ends.push(end);
        rest = behind;
    }
    ends.push(u32::try_from(bytes.len()).ok()?);
    let fits = first.checked_add(u64::from(*records)).is_some();
    (fits && is_sealed(rest)).then_some((*records, ends))
}

/// Parts of a block of so many records.
const fn parts_of(records: u8) -> usize {
    if records == 1 { 1 } else { records as usize + 1 }
}

fn nonce(of_block: &[u8; NONCE_BYTES], number: u8) -> [u8; NONCE_BYTES + 1] {
    let mut nonce = [number; NONCE_BYTES + 1];
    nonce[..NONCE_BYTES].copy_from_slice(of_block);
    nonce
}

/// Gives the associated data of a part to `act`: with the lengths for the head of
/// several records.
fn with_aad<T>(first: u64, records: u8, number: u8, lengths: &[u8], act: impl FnOnce(&[u8]) -> T) -> T {
    let mut aad = [0; 25];
    aad[..15].copy_from_slice(LABEL);
    aad[15..23].copy_from_slice(&first.to_be_bytes());
    aad[23] = records;
    aad[24] = number;
    if number == 0 && records > 1 { act(&[&aad[..], lengths].concat()) } else { act(&aad) }
}

/// A block whose head was opened. Records are opened one by one.
pub(crate) struct OpenBlock<B> {
    block: Block<B>,
    key: Arc<SealKey>,
    head: Head,
    /// Of the records that were read.
    ids: Vec<Option<EntryId>>,
}

impl<B: AsRef<[u8]>> OpenBlock<B> {
    /// The position of its first record.
    pub(crate) const fn first(&self) -> u64 {
        self.block.first
    }

    /// Records in it, as the row says.
    pub(crate) const fn len(&self) -> usize {
        self.block.len()
    }

    /// The position behind the batches that begin in it, as its head says.
    pub(crate) fn end_of_batches(&self) -> u64 {
        let here = self.block.first..=self.block.first.saturating_add(u64::from(self.block.records));
        let here = self.head.batches().iter().filter(|batch| batch.is_possible() && here.contains(&batch.first));
        here.map(|batch| batch.first + u64::from(batch.size)).max().unwrap_or(0)
    }

    /// The record in `slot`.
    pub(crate) fn record(&mut self, slot: u8) -> Result<Placed> {
        let position = self.block.first.saturating_add(u64::from(slot));
        self.placed(slot, true).map_err(|problem| Error::damaged(at(position), problem))
    }

    fn placed(&mut self, slot: u8, may_refer: bool) -> std::result::Result<Placed, String> {
        if usize::from(slot) >= self.len() {
            return Err("its block ends before it".to_owned());
        }
        let head = &self.head;
        let read = match self.len() {
            1 => Read::new(head, head.rest())?,
            _ => Read::new(head, &self.block.part(&self.key, slot + 1)?)?,
        };
        let placed = read.place(|back| {
            let before = u8::try_from(back).ok().and_then(|back| slot.checked_sub(back));
            let before = before.ok_or("it follows a record that its block does not have")?;
            match self.ids.get(usize::from(before)) {
                Some(Some(id)) => Ok(*id),
                _ if may_refer => Ok(self.placed(before, false)?.id),
                _ => Err("it follows a record that follows another one of its block".to_owned()),
            }
        })?;
        if let Some(known) = self.ids.get_mut(usize::from(slot)) {
            *known = Some(placed.id);
        }
        Ok(placed)
    }
}

/// A block that is being filled.
pub(crate) struct BlockBuilder {
    first: u64,
    names: Names,
    /// The ids of its records, and whether one refers to another.
    ids: Vec<(EntryId, bool)>,
    /// Its records, one after the other.
    records: Vec<u8>,
    ends: Vec<usize>,
}

impl BlockBuilder {
    pub(crate) fn new(first: u64) -> Self {
        Self { first, names: Names::default(), ids: Vec::new(), records: Vec::new(), ends: Vec::new() }
    }

    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    pub(crate) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of its row, about.
    fn size(&self) -> usize {
        let parts = self.len() + 1;
        1 + NONCE_BYTES + self.names.size() + self.records.len() + parts * (LENGTH_BYTES + TAG_BYTES)
    }

    /// Puts a record behind the others, if it has room: the first one always has.
    pub(crate) fn push(&mut self, record: &Laid<'_>) -> bool {
        if self.len() >= BLOCK_RECORDS {
            return false;
        }
        // Where there is a second record, there may be more.
        if self.len() == 1 {
            self.records.reserve(BLOCK_BYTES);
        }
        let Self { names, ids, records, .. } = self;
        let (mark, start) = (names.mark(), records.len());
        let back = |id: &EntryId| {
            let found = ids.iter().rev().position(|(known, refers)| known == id && !refers);
            found.map(|before| before as u64 + 1)
        };
        let refers = names.put_record(record, back, records);
        self.ends.push(self.records.len());
        if self.len() > 1 && self.size() > BLOCK_BYTES {
            self.names.back_to(&mark);
            self.records.truncate(start);
            self.ends.pop();
            return false;
        }
        self.ids.push((record.id, refers));
        true
    }

    /// The row of the block.
    pub(crate) fn seal(&self, key: &SealKey) -> Vec<u8> {
        let records = u8::try_from(self.len()).expect("a block has at most 255 records");
        let of_block: [u8; NONCE_BYTES] = rand::random();
        let mut out = Vec::with_capacity(self.size() + 64);
        out.push(records);
        out.extend_from_slice(&of_block);
        let mut head = Vec::with_capacity(self.names.size() + if records == 1 { self.records.len() } else { 0 });
        self.names.put(self.first, &mut head);
        if records == 1 {
            head.extend_from_slice(&self.records);
        }
        let ends = if records > 1 { &self.ends[..] } else { &[] };
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let records_behind = starts.zip(ends).map(|(start, end)| &self.records[start..*end]);
        let parts: Vec<&[u8]> = std::iter::once(&head[..]).chain(records_behind).collect();
        let mut lengths = Vec::with_capacity(parts.len() * LENGTH_BYTES);
        for part in parts.iter().take(parts.len() - 1) {
            let length = u16::try_from(part.len() + TAG_BYTES);
            lengths.extend(length.expect("records and the names of a block are below 64 KiB").to_be_bytes());
        }
        out.extend_from_slice(&lengths);
        for (number, part) in (0..=u8::MAX).zip(parts) {
            let nonce = nonce(&of_block, number);
            with_aad(self.first, records, number, &lengths, |aad| key.seal_with(&nonce, aad, part, &mut out));
        }
        out
    }
}

/// Lays records out in blocks, from `first` on: the rows of these, by the position of
/// their first record.
pub(crate) fn pack<'a>(first: u64, records: impl Iterator<Item = Laid<'a>>, mut put: impl FnMut(&BlockBuilder)) {
    let mut block = BlockBuilder::new(first);
    for record in records {
        if !block.push(&record) {
            put(&block);
            block = BlockBuilder::new(block.first + block.len() as u64);
            let _ = block.push(&record);
        }
    }
    if block.len() > 0 {
        put(&block);
    }
}

/// For fuzzing: reads bytes as a block in its row, and as the parts of one before
/// they are sealed. Records that read are written and read again.
#[doc(hidden)]
pub fn fuzz_stored(bytes: &[u8]) {
    const FIRST: u64 = 40;
    if let Ok(block) = Block::from_bytes(FIRST, bytes) {
        let _ = block.open(Arc::new(SealKey::new(&[1; 32]))).and_then(|mut block| block.record(0));
    }
    // Parts behind their lengths: a head, and records.
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (part, behind) = behind.split_at(length);
        parts.push(part);
        rest = behind;
    }
    let Some((head, records)) = parts.split_first() else { return };
    let Ok(head) = Head::read(FIRST, head.to_vec()) else { return };
    let mut placed: Vec<Placed> = Vec::new();
    for record in records.iter().take(BLOCK_RECORDS) {
        let Ok(read) = Read::new(&head, record) else { return };
        let ids: Vec<EntryId> = placed.iter().map(|before| before.id).collect();
        let id_of = |back: u64| {
            let before = usize::try_from(back).ok().and_then(|back| ids.len().checked_sub(back));
            before.and_then(|before| ids.get(before)).copied().ok_or_else(String::new)
        };
        let Ok(record) = read.place(id_of) else { return };
        assert_eq!(Header::from_bytes(&record.stored.header).as_ref(), Ok(&record.header));
        placed.push(record);
    }
    let key = Arc::new(SealKey::new(&[1; 32]));
    pack(FIRST, placed.iter().map(Placed::laid), |block| {
        let row = block.seal(&key);
        let mut open =
            Block::from_bytes(block.first(), &row).and_then(|row| row.open(Arc::clone(&key))).expect("it was written");
        assert_eq!(open.len(), block.len());
        for slot in (0..u8::MAX).take(open.len()).rev() {
            let again = open.record(slot).expect("it was written");
            let before = &placed[(block.first() - FIRST) as usize + usize::from(slot)];
            assert!(again == *before, "it reads as another one");
        }
    });
}

#[cfg(test)]
mod tests;

//! Receipts of erasure records: of each node that answered the newest, and in which order
//! they came.
//!
//! ```text
//! I ‖ 0 ‖ position 8 ‖ tag 16   the newest receipt of a node, with its revision
//! I ‖ 1 ‖ revision 8            the key of the row that came with it
//! I ‖ 2 ‖ id 16                 the position of a record
//! ```
//!
//! Peers are given what came after the revision that they know. A receipt that takes the
//! place of another one has a new revision, and the old one goes.

use std::sync::{Mutex, MutexGuard};

use bincode::{Decode, Encode};
use thingdb_format::erasure::receipt::SignedErasureReceipt;
use thingdb_format::{EntryId, Origin};

use super::{Store, schema};
use crate::encoding;
use crate::error::{Error, Result};
use crate::storage::{Batch, Direction, Storage};

/// The newest revision. Held while a receipt is kept, so that they come in its order.
pub(crate) struct Receipts(Mutex<u64>);

/// A receipt as it is kept.
#[derive(Encode, Decode)]
struct Row {
    revision: u64,
    note: String,
}

impl Receipts {
    pub(super) fn load(storage: &dyn Storage) -> Result<Self> {
        let last = storage.scan(&schema::receipts_after(0), Direction::Backward).next().transpose()?;
        Ok(Self(Mutex::new(last.and_then(|(key, _)| schema::revision_of_receipt(&key)).unwrap_or(0))))
    }

    pub(crate) fn newest(&self) -> MutexGuard<'_, u64> {
        self.0.lock().expect("no thread panics while it keeps a receipt")
    }
}

/// Some receipts, in the order in which they came.
pub(crate) struct Since {
    pub(crate) receipts: Vec<(u64, SignedErasureReceipt)>,
    /// The revision to go on from.
    pub(crate) revision: u64,
    /// Whether there are more.
    pub(crate) more: bool,
}

impl Store {
    /// The receipt of a node for the record at a position, and its revision.
    fn receipt_row(&self, row: &[u8]) -> Result<Option<(u64, SignedErasureReceipt)>> {
        let Some(sealed) = self.storage.get(row)? else { return Ok(None) };
        let kept: Row = self.rows.open_value(row, &sealed)?;
        let receipt = SignedErasureReceipt::parse(&kept.note);
        Ok(Some((kept.revision, receipt.map_err(|problem| Error::damaged("a receipt", problem))?)))
    }

    /// The receipt of a node for the record at a position.
    pub(crate) fn receipt(&self, record: u64, node: &Origin) -> Result<Option<SignedErasureReceipt>> {
        Ok(self.receipt_row(&schema::receipt(record, &self.tag_of(&node.0)))?.map(|(_, receipt)| receipt))
    }

    /// The receipts for the record at a position.
    pub(crate) fn receipts_of(&self, record: u64) -> Result<Vec<SignedErasureReceipt>> {
        let mut receipts = Vec::new();
        for row in self.storage.scan(&schema::receipts_of(record), Direction::Forward) {
            receipts.extend(self.receipt_row(&row?.0)?.map(|(_, receipt)| receipt));
        }
        Ok(receipts)
    }

    /// Where the record with this id is, if it was answered here.
    pub(crate) fn answered_record(&self, id: &EntryId) -> Result<Option<u64>> {
        let row = schema::record_of_receipts(id);
        let Some(sealed) = self.storage.get(&row)? else { return Ok(None) };
        let position: u64 = self.rows.open_value(&row, &sealed)?;
        // Half an id names it.
        Ok((self.located_at(position)?.id == *id).then_some(position))
    }

    /// Puts a receipt into the batch, if it is newer than the one of its node that is
    /// kept. `newest` is the newest revision, and is to be one more once the batch is in.
    pub(crate) fn put_receipt(
        &self,
        record: u64,
        receipt: &SignedErasureReceipt,
        newest: u64,
        batch: &mut Batch,
    ) -> Result<bool> {
        let said = receipt.said();
        let row = schema::receipt(record, &self.tag_of(&said.origin().0));
        match self.receipt_row(&row) {
            Ok(Some((_, before))) if !receipt.is_newer_than(&before) => return Ok(false),
            Ok(Some((revision, _))) => {
                batch.delete(schema::receipt_revision(revision));
            }
            // One that does not open is as good as none.
            Ok(None) => {}
            Err(problem) if problem.is_damaged() => {}
            Err(problem) => return Err(problem),
        }
        let revision = newest + 1;
        let kept = Row { revision, note: receipt.to_string() };
        let sealed = self.rows.seal(&row, &encoding::encode(&kept));
        let order = schema::receipt_revision(revision);
        batch.put(order.clone(), self.rows.seal(&order, &row));
        batch.put(row, sealed);
        let of_id = schema::record_of_receipts(&said.record);
        let position = self.rows.seal(&of_id, &encoding::encode(&record));
        batch.put(of_id, position);
        Ok(true)
    }

    /// The receipts that came after a revision, at most so many, with the positions of
    /// their records.
    pub(crate) fn receipts_since(&self, revision: u64, most: usize) -> Result<Since> {
        let mut since = Since { receipts: Vec::new(), revision, more: false };
        for row in self.storage.scan(&schema::receipts_after(revision), Direction::Forward) {
            let (key, sealed) = row?;
            if since.receipts.len() == most {
                since.more = true;
                break;
            }
            let Some(revision) = schema::revision_of_receipt(&key) else { continue };
            since.revision = revision;
            // One that does not open keeps none of the others back.
            let Ok(row) = self.rows.open(&key, &sealed) else { continue };
            let Some(position) = row.get(2..10).and_then(|at| at.try_into().ok()).map(u64::from_be_bytes) else {
                continue;
            };
            if let Ok(Some((_, receipt))) = self.receipt_row(&row) {
                since.receipts.push((position, receipt));
            }
        }
        Ok(since)
    }
}

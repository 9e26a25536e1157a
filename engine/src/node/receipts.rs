//! Receipts: what this node answers to an erasure record, and keeping what others did.

use thingdb_format::erasure::receipt::{Answer, ErasureReceipt, SignedErasureReceipt};
use thingdb_format::{EntryId, Time};

use super::Node;
use crate::error::Result;
use crate::storage::Batch;

impl Node {
    /// Keeps a receipt for the record at a position, if it is newer than the one of its
    /// node that is kept. Whether it is. [`Self::sync`] makes that durable.
    pub(crate) fn keep_receipt(&self, record: u64, receipt: &SignedErasureReceipt) -> Result<bool> {
        let mut newest = self.store.receipts.newest();
        let mut rows = Batch::new();
        let is_newer = self.store.put_receipt(record, receipt, *newest, &mut rows)?;
        if is_newer {
            self.rows(rows)?;
            *newest += 1;
        }
        Ok(is_newer)
    }

    /// Answers a record, unless it was answered so already.
    pub(super) fn answer_record(&self, position: u64, id: EntryId, answer: Answer, count: u64, of: u64) -> Result<()> {
        let own = self.origin();
        let before = match self.store.receipt(position, &own) {
            Err(problem) if problem.is_damaged() => None,
            before => before?,
        };
        let is_same = |before: &ErasureReceipt| {
            (&before.record, &before.answer, before.count, before.of) == (&id, &answer, count, of)
        };
        if before.as_ref().is_some_and(|before| is_same(before.said())) {
            return Ok(());
        }
        let mut time = Time::from_micros(self.committer.now())?;
        // A clock that was set back must not make it look like an older one.
        if let Some(before) = before.map(|before| before.said().time)
            && before >= time
        {
            time = before.next().unwrap_or(before);
        }
        let receipt = {
            let keyring = self.store.keyring();
            let key = keyring.node_key();
            ErasureReceipt { node: key.node_key(), record: id, time, answer, count, of }.sign(key)?
        };
        self.keep_receipt(position, &receipt).map(drop)
    }
}

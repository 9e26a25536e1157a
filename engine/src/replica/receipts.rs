//! Receipts of other nodes: whose are kept, and which are given on.
//!
//! A receipt is believed for its signature alone, and only of nodes that are known, for
//! records that are here. Of each node and record the newest is kept, so nobody fills
//! anything, and what is replayed changes nothing.

use std::collections::HashSet;

use thingdb_format::erasure::receipt::SignedErasureReceipt;
use thingdb_format::{NodeKey, Origin};

use super::memory::Memory;
use crate::error::Result;

/// Most receipts that go at once.
pub const MAX_RECEIPTS: usize = 256;

/// What became of receipts that came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiptsTaken {
    /// Those that are kept: new, or newer than what was here.
    pub kept: u64,
    /// Those for records that are not here: they are to be offered again once these are.
    pub unknown: u64,
}

/// Receipts that came here after a revision.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiptsSince {
    /// As their nodes signed them.
    pub receipts: Vec<SignedErasureReceipt>,
    /// The revision to go on from.
    pub revision: u64,
    /// Whether there are more.
    pub more: bool,
}

impl Memory<'_> {
    /// Takes receipts.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub(crate) fn take_receipts(&self, receipts: &[SignedErasureReceipt]) -> Result<ReceiptsTaken> {
        let known: HashSet<NodeKey> = {
            let keyring = self.0.store.keyring();
            let own = keyring.node_key().node_key();
            let others = keyring.trust().origins().filter(|known| known.withdrawn.is_none()).map(|known| known.key);
            let former = keyring.former_nodes().iter().map(|former| former.node_key);
            others.chain(former).filter(|key| *key != own).collect()
        };
        let mut taken = ReceiptsTaken::default();
        for receipt in receipts.iter().filter(|receipt| known.contains(&receipt.said().node)) {
            let record = match self.0.store.answered_record(&receipt.said().record) {
                Err(problem) if problem.is_damaged() => None,
                record => record?,
            };
            match record {
                Some(position) => taken.kept += u64::from(self.0.keep_receipt(position, receipt)?),
                None => taken.unknown += 1,
            }
        }
        if taken.kept > 0 {
            self.0.sync()?;
        }
        Ok(taken)
    }

    /// The receipts that came here after a revision, for things whose id begins with
    /// `prefix`, but those of `to`.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub(crate) fn receipts_since(&self, to: &Origin, revision: u64, prefix: &str) -> Result<ReceiptsSince> {
        let since = self.0.store.receipts_since(revision, MAX_RECEIPTS)?;
        let is_of_prefix = |position| {
            let record = self.0.store.located_at(position);
            record.is_ok_and(|record| record.header.thing.as_str().starts_with(prefix))
        };
        let wanted = since.receipts.into_iter().filter(|(position, receipt)| {
            receipt.said().origin() != *to && (prefix.is_empty() || is_of_prefix(*position))
        });
        let receipts = wanted.map(|(_, receipt)| receipt).collect();
        Ok(ReceiptsSince { receipts, revision: since.revision, more: since.more })
    }
}

//! Receipts: who has answered erasure records, and how these answers travel.

use std::collections::HashSet;

use thingdb_format::Origin;
use thingdb_format::erasure::receipt::{ErasureReceipt, SignedErasureReceipt};

use super::Db;
use crate::error::Result;
use crate::replica::cursors;
use crate::replica::memory::Memory;
use crate::replica::receipts::{ReceiptsSince, ReceiptsTaken};
use crate::store::erasures::Outcome;

/// What a node answered to an erasure record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeReceipt {
    /// The receipt; its signature is good.
    pub receipt: SignedErasureReceipt,
    /// The name of the node here: that of a peer, or of an origin that was trusted by hand.
    pub name: Option<String>,
    /// Whether this node is it, now or under a former key.
    pub is_own: bool,
}

impl NodeReceipt {
    /// What it says.
    #[must_use]
    pub const fn said(&self) -> &ErasureReceipt {
        self.receipt.said()
    }
}

/// Receipts of erasure records.
impl Db {
    /// Takes receipts of other nodes, as they came with an exchange. Each was checked when
    /// it was [read](SignedErasureReceipt::parse). Those of nodes that are not known here are
    /// passed over; of each node and record the newest is kept.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub fn take_receipts(&self, receipts: &[SignedErasureReceipt]) -> Result<ReceiptsTaken> {
        Memory(&self.node).take_receipts(receipts)
    }

    /// The receipts that came here after a revision, at most
    /// [`MAX_RECEIPTS`](crate::MAX_RECEIPTS), for things whose id begins with `prefix`; not
    /// those of the node `to`, which has them.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn receipts_since(&self, to: &Origin, revision: u64, prefix: &str) -> Result<ReceiptsSince> {
        Memory(&self.node).receipts_since(to, revision, prefix)
    }

    /// The newest revision of a receipt: 0 if there is none.
    #[must_use]
    pub fn receipts_revision(&self) -> u64 {
        *self.node.store.receipts.newest()
    }

    /// Who answered the record at a position: this node first, then by origin.
    pub(super) fn answers(&self, record: u64) -> Result<Vec<NodeReceipt>> {
        let (own, names) = {
            let keyring = self.node.store.keyring();
            let former = keyring.former_nodes().iter().map(|former| former.node_key);
            let own: HashSet<_> = std::iter::once(keyring.node_key().node_key()).chain(former).collect();
            let names: Vec<_> = keyring.trust().origins().map(|known| (known.key, known.name.clone())).collect();
            (own, names)
        };
        let mut answers = Vec::new();
        for receipt in self.node.store.receipts_of(record)? {
            let node = receipt.said().node;
            let name = names.iter().find(|(key, _)| *key == node).map(|(_, name)| name.clone());
            answers.push(NodeReceipt { receipt, name, is_own: own.contains(&node) });
        }
        answers.sort_by_key(|answer| (!answer.is_own, answer.said().origin()));
        Ok(answers)
    }

    /// The peers to which something that a record erases was sealed or sent, and who have
    /// not answered it.
    pub(super) fn unanswered(&self, outcome: &Outcome, answers: &[NodeReceipt]) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for peer in self.peers()? {
            let origin = peer.origin();
            let is_sealed = outcome.readers.contains(&peer.card.encryption_key.recipient_id().0);
            let is_sent = || -> Result<bool> {
                Ok(outcome.first.is_some_and(|first| {
                    cursors::cursors(&self.node, &origin, "").is_ok_and(|cursors| cursors.pushed > first)
                }))
            };
            if (is_sealed || is_sent()?) && !answers.iter().any(|answer| answer.said().origin() == origin) {
                names.push(peer.name);
            }
        }
        Ok(names)
    }
}

//! The ledger that a stream or a proof is of, as JSON.

use serde::Serialize;
use thingdb::SignedCheckpoint;
use thingdb::format::NodeKey;

/// A ledger, as its node signed it.
#[derive(Serialize)]
pub(crate) struct LedgerJson {
    pub(crate) origin: String,
    pub(crate) fingerprint: String,
    /// Whether the reader said that the node is to be trusted.
    pub(crate) trusted: bool,
    pub(crate) size: u64,
    pub(crate) root: String,
}

impl LedgerJson {
    /// The ledger of the node with this key, in the state that it signed.
    pub(crate) fn new(node: &NodeKey, note: &SignedCheckpoint, trusted: bool) -> Self {
        let claimed = note.claimed();
        Self {
            origin: node.origin().to_string(),
            fingerprint: node.fingerprint().to_string(),
            trusted,
            size: claimed.size,
            root: claimed.root.to_string(),
        }
    }
}

//! Timestamps (RFC 3161) of this node's checkpoints.

use thingdb_format::SignedCheckpoint;

use super::Db;
use crate::error::Result;
use crate::replica::timestamps::{Timestamped, Timestamps};

/// Timestamps.
impl Db {
    /// Keeps what a time-stamp authority said of a checkpoint of this node: proof files
    /// carry it from then on. Whether the token is good is for the caller to know.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if this node has not signed the
    /// checkpoint, or the token is empty or too long;
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub fn keep_timestamp(&self, checkpoint: &SignedCheckpoint, token: &[u8]) -> Result<()> {
        Timestamps(&self.node).keep(checkpoint, token)
    }

    /// The timestamps that are kept, by the sizes of the ledger.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn timestamps(&self) -> Result<Vec<Timestamped>> {
        Timestamps(&self.node).all()
    }
}

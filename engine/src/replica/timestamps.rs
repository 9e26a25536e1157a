//! What time-stamp authorities (RFC 3161) have said of the checkpoints of this node.
//!
//! What is in a token is not looked at here: whoever keeps one has checked it.

use bincode::{Decode, Encode};
use thingdb_format::timestamp::MAX_TOKEN_BYTES;
use thingdb_format::{Hash, SignedCheckpoint};

use crate::encoding;
use crate::error::Result;
use crate::node::Node;
use crate::storage::{Batch, Direction, KeyRange};
use crate::store::schema;

/// Most checkpoints whose timestamps go into a proof file: the others are for those
/// that somebody kept or cosigned.
const MAX_SHOWN: usize = 8;

/// A checkpoint of this node, and what an authority said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timestamped {
    /// The checkpoint, as it was [stamped](SignedCheckpoint::stamped).
    pub checkpoint: SignedCheckpoint,
    /// The token (RFC 3161), in DER.
    pub token: Vec<u8>,
}

#[derive(Encode, Decode)]
struct Row {
    checkpoint: String,
    token: Vec<u8>,
}

/// The timestamps of a node.
pub(crate) struct Timestamps<'n>(pub(crate) &'n Node);

impl Timestamps<'_> {
    /// Keeps a token for a checkpoint of this node. It is durable on return.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if this node has not signed the
    /// checkpoint, or the token is empty or too long;
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub(crate) fn keep(&self, checkpoint: &SignedCheckpoint, token: &[u8]) -> Result<()> {
        let stamped = checkpoint.stamped(&self.0.node_key())?;
        let (least, most) = (1, MAX_TOKEN_BYTES as u64);
        let found = token.len() as u64;
        if found < least || found > most {
            return Err(thingdb_format::Error::Length { field: "token", found, least, most }.into());
        }
        let row = schema::timestamp(checkpoint.claimed().size, &Hash::of(token));
        let value = encoding::encode(&Row { checkpoint: stamped, token: token.to_vec() });
        let mut batch = Batch::new();
        batch.put(row.clone(), self.0.store.rows.seal(&row, &value));
        self.0.rows(batch)?;
        self.0.sync()
    }

    /// All that are kept, by the sizes of the ledger.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub(crate) fn all(&self) -> Result<Vec<Timestamped>> {
        self.read(&schema::timestamps())
    }

    /// Those that say most of entries at these places, which ascend: for each place
    /// those of the smallest ledger that has it. Of too many the newest.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub(crate) fn of(&self, places: impl DoubleEndedIterator<Item = u64>) -> Result<Vec<Timestamped>> {
        let storage = &self.0.store.storage;
        let mut sizes = Vec::new();
        for row in storage.scan(&schema::timestamps(), Direction::Forward) {
            sizes.extend(schema::size_of_timestamp(&row?.0));
        }
        sizes.dedup();
        let covering = |place: u64| sizes.get(sizes.partition_point(|size| *size <= place)).copied();
        let mut wanted: Vec<u64> = places.rev().filter_map(covering).collect();
        wanted.dedup();
        wanted.truncate(MAX_SHOWN);
        let mut found = Vec::new();
        for size in wanted {
            found.extend(self.read(&schema::timestamps_between(size, size.saturating_add(1)))?);
        }
        Ok(found)
    }

    /// Those of the key that the node has now: those of one that it had before say
    /// nothing of this ledger.
    fn read(&self, range: &KeyRange) -> Result<Vec<Timestamped>> {
        let (store, node) = (&self.0.store, self.0.node_key());
        let mut found = Vec::new();
        for row in store.storage.scan(range, Direction::Forward) {
            let (key, sealed) = row?;
            let Row { checkpoint, token } = store.rows.open_value(&key, &sealed)?;
            let checkpoint = SignedCheckpoint::parse(&checkpoint)?;
            if checkpoint.verify(&node).is_ok() {
                found.push(Timestamped { checkpoint, token });
            }
        }
        Ok(found)
    }
}

//! What is stored, in numbers.

use serde::{Deserialize, Serialize};
use thingdb::{Checkpoint, Db, SignedCheckpoint};
use utoipa::ToSchema;

use super::journal::Kept;

/// What is stored, in numbers.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Counts {
    /// Version of the layout on the disk.
    pub(crate) store_version: u64,
    /// Entries in the ledger.
    pub(crate) entries: u64,
    /// Entries whose content was erased; a server of before does not tell.
    #[serde(default)]
    pub(crate) erased: u64,
    /// Things with an entry.
    pub(crate) things: u64,
    /// Actors whose keys are here.
    pub(crate) actors: u64,
    /// Keys that are known.
    pub(crate) trusted_actors: u64,
    /// Bytes on the disk.
    pub(crate) disk_bytes: u64,
    /// Entries that wait for others that are not here.
    #[serde(default)]
    pub(crate) waiting: u64,
    /// How much of the journal is kept; a server of before does not tell.
    #[serde(default)]
    pub(crate) journal: Option<Kept>,
    /// The name under which the node writes entries.
    #[serde(with = "super::as_text")]
    #[schema(value_type = String)]
    pub(crate) origin: thingdb::Origin,
    /// Of the node's key.
    #[serde(with = "super::as_text")]
    #[schema(value_type = String)]
    pub(crate) fingerprint: thingdb::Hash,
    /// The newest checkpoint, if there is one.
    pub(crate) checkpoint: Option<SizeJson>,
}

/// The state of a ledger.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = LedgerState)]
pub(crate) struct SizeJson {
    /// Entries.
    pub(crate) size: u64,
    /// Root of the Merkle tree, in hex.
    #[serde(with = "super::as_text")]
    #[schema(value_type = String)]
    pub(crate) root: thingdb::Hash,
}

impl SizeJson {
    /// What a checkpoint says.
    pub(crate) const fn new(checkpoint: &Checkpoint) -> Self {
        Self { size: checkpoint.size, root: checkpoint.root }
    }
}

impl Counts {
    /// Counts.
    pub(crate) fn new(db: &Db) -> thingdb::Result<Self> {
        let stats = db.stats()?;
        Ok(Self {
            store_version: stats.store_version,
            entries: stats.entries,
            erased: stats.erased,
            things: stats.things,
            actors: stats.actors as u64,
            trusted_actors: stats.trusted_actors as u64,
            disk_bytes: stats.disk_bytes,
            waiting: db.waiting()?.entries,
            journal: Some(Kept::of(stats.journal)),
            origin: db.origin(),
            fingerprint: db.node_key().fingerprint(),
            checkpoint: last_checkpoint(db)?.map(|note| SizeJson::new(note.claimed())),
        })
    }
}

/// The last checkpoint; nothing if it does not read, which a warning tells.
pub(crate) fn last_checkpoint(db: &Db) -> thingdb::Result<Option<SignedCheckpoint>> {
    match db.last_checkpoint() {
        Err(problem) if problem.is_damaged() => Ok(None),
        found => found,
    }
}

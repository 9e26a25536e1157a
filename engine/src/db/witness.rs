//! Witnesses (c2sp.org/tlog-witness): this node as one, and those whom it asks.

use thingdb_format::{AddCheckpoint, SignedCheckpoint};

use super::Db;
use crate::error::Result;
use crate::replica::memory::Memory;
use crate::replica::witness::Cosigning;
use crate::replica::witnesses::{Cosigned, Witness, Witnesses};

/// Witnesses.
impl Db {
    /// Cosigns the checkpoint of a node that is known here, if its ledger has only
    /// grown since the last one that was seen, and remembers it: it is durable on
    /// return. This is what an exchange with the node looks at, too, so that both
    /// know one ledger of it.
    ///
    /// A request proves nothing against the node but by two checkpoints of one size:
    /// these are kept as evidence.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only), [`Error::is_disk_full`](crate::Error::is_disk_full), [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn cosign(&self, request: &AddCheckpoint) -> Result<Cosigning> {
        Memory(&self.node).cosign(request)
    }

    /// The last checkpoint that this node cosigned of the ledger whose name has this
    /// SHA-256, in lower-case hex; with the cosignature.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn cosigned_of(&self, hash: &str) -> Result<Option<SignedCheckpoint>> {
        Memory(&self.node).cosigned_of(hash)
    }

    /// The witnesses whom this node asks, in the order in which they were added.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn witnesses(&self) -> Result<Vec<Witness>> {
        Witnesses(&self.node).all()
    }

    /// Adds a witness to those whom this node asks.
    ///
    /// # Errors
    /// [`Error::WitnessKnown`](crate::Error::WitnessKnown) if its name or its key is one of them already,
    /// [`Error::TooManyWitnesses`](crate::Error::TooManyWitnesses) beyond [`MAX_WITNESSES`](crate::MAX_WITNESSES); [`Error::Invalid`](crate::Error::Invalid) if
    /// the key is not one of a witness; [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub fn add_witness(&self, witness: Witness) -> Result<()> {
        Witnesses(&self.node).add(witness)
    }

    /// Asks a witness no longer. What it has cosigned counts no more.
    ///
    /// # Errors
    /// [`Error::NoSuchWitness`](crate::Error::NoSuchWitness); [`Error::is_read_only`](crate::Error::is_read_only), [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub fn remove_witness(&self, name: &str) -> Result<Witness> {
        Witnesses(&self.node).remove(name)
    }

    /// Keeps what witnesses and peers say of a checkpoint of this node: the
    /// signatures of those that are known here, if they are good. Gives who they
    /// are, and what is kept now of this checkpoint.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if this node has not signed it; [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full), [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn keep_cosignatures(&self, note: &SignedCheckpoint) -> Result<Cosigned> {
        Witnesses(&self.node).keep(note)
    }

    /// The checkpoints of this node that others have cosigned, the oldest first: of
    /// each witness and each peer the newest, at most 16.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn cosigned(&self) -> Result<Vec<Cosigned>> {
        Witnesses(&self.node).cosigned()
    }
}

//! The node signs its ledger's state, and keeps the last of these checkpoints
//! beside the database.

use std::sync::Arc;

use thingdb_format::{Checkpoint, SignedCheckpoint};

use super::{Node, standing};
use crate::error::Result;

/// Entries after which the own checkpoint is renewed while writing.
pub(super) const RENEWED_AFTER: u64 = 16_384;

impl Node {
    /// Signs the state of the ledger, and keeps the note beside the database.
    pub(crate) fn checkpoint(&self) -> Result<SignedCheckpoint> {
        self.committer.check_open()?;
        let mut checkpointed = self.checkpointed.lock().expect("no thread panics while it signs");
        let note = self.sign_checkpoint()?;
        *checkpointed = note.claimed().size;
        Ok(note)
    }

    /// A checkpoint of the first `until` entries, or of all if they are fewer.
    /// What is kept beside the database is that of all.
    pub(crate) fn checkpoint_at(&self, until: u64) -> Result<SignedCheckpoint> {
        let note = self.checkpoint()?;
        if note.claimed().size <= until {
            return Ok(note);
        }
        let root = self.store.with_tree(|tree| tree.root_at(until))?;
        Ok(Checkpoint::new(self.origin(), until, root).sign(self.store.keyring().node_key())?)
    }

    /// The last checkpoint that is kept beside the database; of one that was
    /// opened to read only that of the opening.
    pub(crate) fn last_checkpoint(&self) -> Result<Option<SignedCheckpoint>> {
        match &self.read_with {
            Some(kept) => Ok(kept.clone()),
            None => Ok(standing::load(self.dir(), &self.store.keyring())?.own()),
        }
    }

    /// Makes everything durable, and lets the own checkpoint name all of it.
    pub(crate) fn settle_all(&self) -> Result<()> {
        if self.committer.check_open().is_err() {
            return Ok(());
        }
        self.sync()?;
        // Whoever waited here while another signed finds nothing left to do.
        let mut checkpointed = self.checkpointed.lock().expect("no thread panics while it signs");
        if self.store.size() > *checkpointed {
            *checkpointed = self.sign_checkpoint()?.claimed().size;
        }
        Ok(())
    }

    /// Signs the ledger's state if it has grown by `entries` since it was
    /// signed last.
    pub(crate) fn renew_checkpoint(&self, entries: u64) -> Result<()> {
        let due = |checkpointed: u64| self.store.size() >= checkpointed.saturating_add(entries);
        // Whoever holds the lock is at it.
        let Ok(mut checkpointed) = self.checkpointed.try_lock() else { return Ok(()) };
        if due(*checkpointed) {
            *checkpointed = self.sign_checkpoint()?.claimed().size;
        }
        Ok(())
    }

    /// Syncs, so that a checkpoint never names what a power cut can undo.
    fn sign_checkpoint(&self) -> Result<SignedCheckpoint> {
        let tree = self.store.tree();
        self.store.sync()?;
        let key = Arc::clone(self.store.keyring().node_key());
        standing::sign(self.dir(), &key, tree.size(), tree.root())
    }
}

//! Closing, and going on under new keys.

use std::sync::Arc;

use thingdb_format::NodeKey;

use super::Db;
use crate::error::{Error, Result};
use crate::node::standing;
use crate::store::recover::{accept_lost_end, accept_lost_ids, recover};

impl Db {
    /// Makes everything durable, signs the ledger's state and lets go of the
    /// directory.
    ///
    /// # Errors
    /// If what was written cannot be made durable.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    pub(super) fn shut(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        let writable = self.node.committer.check_open().is_ok();
        if writable {
            self.node.flush_last_used();
        }
        self.node.committer.close(Error::Closed);
        if writable {
            self.write_index()?;
            self.node.renew_checkpoint(1)?;
        }
        self.node.store.storage.close().map_err(Error::from)
    }

    /// Gives the node a new node key and encryption key, and closes the
    /// database: for a copy or restored backup, which must not write under the
    /// same key as the original, and for a ledger that was cut, which can then
    /// be written to again. The last checkpoint of the former key is kept
    /// beside the database. Entries stay readable.
    ///
    /// If it is broken off by a crash, the node has its former keys or the new
    /// ones, and it can be repeated.
    ///
    /// # Errors
    /// [`Error::Keyring`] or [`Error::File`] if files cannot be replaced.
    pub fn new_node_key(mut self) -> Result<NodeKey> {
        if matches!(self.node.committer.check_open(), Err(Error::OpenedReadOnly)) {
            return Err(Error::OpenedReadOnly);
        }
        // Where nothing can be written any more, the keys stay.
        self.node.store.sync()?;
        // What proves how the ledger was comes first: from the next step on
        // the checkpoint may be replaced.
        standing::keep_former(self.dir())?;
        let size = self.node.store.size();
        let key = self.node.store.keyring().together(&mut rand::rng(), |keyring| {
            // What lay there once may have been erased.
            keyring.renew_positions(size, &mut rand::rng())?;
            keyring.rotate_node_key(&mut rand::rng())
        })?;
        if self.node.committer.check_open().is_err() {
            // The ledger is taken as it is, which is for a key to say that has
            // signed nothing yet. What follows from it may still speak of what
            // it was.
            recover(&self.node.store, true)?;
            accept_lost_ids(&self.node.store)?;
        }
        accept_lost_end(&self.node.store)?;
        let tree = self.node.store.tree();
        let signer = Arc::clone(self.node.store.keyring().node_key());
        self.node.store.sync()?;
        standing::sign(self.dir(), &signer, tree.size(), tree.root())?;
        self.node.committer.close(Error::Closed);
        self.shut()?;
        Ok(key)
    }

    fn write_index(&self) -> Result<()> {
        while let Some(flush) = self.node.store.index.rows(&self.node.store.rows, self.node.store.size(), 1024) {
            self.node.store.commit(flush.batch)?;
            self.node.store.index.written(&flush.tags);
        }
        Ok(())
    }
}

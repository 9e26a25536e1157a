//! What every call works on: the store, the committer, and what the node holds
//! in memory beside them.
//!
//! Whatever writes goes through here, so that its durability is waited for and
//! the node's own checkpoint renewed in one place.

mod checkpoint;
mod drafts;
mod erasing;
pub(crate) mod fit;
mod heads;
mod holding;
pub(crate) mod originals;
mod receipts;
mod rotating;
pub(crate) mod standing;
mod taken_keys;
pub(crate) mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use thingdb_format::{EncryptionKey, NodeKey, Origin, SignedCheckpoint, Suite};

use crate::committer::{Arrived, Committer, Imported, Sealed, Shared};
use crate::entry::draft::Draft;
use crate::entry::record::Receipt;
use crate::error::Result;
use crate::keyring::Keyring;
use crate::prototype::ORIGINAL;
use crate::storage::{Batch, Ticket};
use crate::store::Store;

use tokens::Tokens;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// It survives a power cut.
    #[default]
    Durable,
    /// It is visible. It survives when the database is closed or dropped, and
    /// 500 ms later whatever happens. What the end of a process or a power cut
    /// before that takes is the end of what was written, never the middle.
    Relaxed,
}

pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) committer: Committer,
    pub(crate) tokens: Tokens,
    /// The cipher for new payloads.
    pub(crate) suite: Suite,
    /// Whether single fields of new entries can be shown, where a draft does not say.
    pub(crate) fields_provable: bool,
    /// Threads that check and verify.
    pub(crate) threads: usize,
    /// Size of the ledger at the last own checkpoint; held while one is signed.
    pub(crate) checkpointed: Mutex<u64>,
    /// Held while the map of heads is brought on.
    pub(crate) heads: Mutex<()>,
    /// Held while entries are erased; files of keyrings that were removed for it.
    pub(crate) erasing: Mutex<Vec<PathBuf>>,
    /// Held while the key log of an own actor takes a step.
    pub(crate) steps: Mutex<()>,
    /// Held while what is remembered of another node is compared and replaced.
    pub(crate) replica: Mutex<()>,
    /// The own checkpoint that goes with what is read, if it is only read: the
    /// file may be that of more by now.
    pub(crate) read_with: Option<Option<SignedCheckpoint>>,
}

impl Node {
    /// The directory of the database.
    pub(crate) fn dir(&self) -> &Path {
        &self.store.dir
    }

    pub(crate) fn node_key(&self) -> NodeKey {
        self.store.keyring().node_key().node_key()
    }

    /// The name under which this node writes entries.
    pub(crate) fn origin(&self) -> Origin {
        self.node_key().origin()
    }

    /// Writes drafts in their order, all or none.
    pub(crate) fn write(&self, drafts: Vec<Draft>, durability: Durability) -> Result<Vec<Receipt>> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let has_originals = drafts.iter().any(|draft| matches!(&draft.attachment, Some((kind, _)) if kind == ORIGINAL));
        let entries = self.seal(drafts)?;
        let _at_work = has_originals.then(|| self.originals_come(self.store.size())).transpose()?;
        let (receipts, ticket) = self.committer.write(&self.store, entries, durability == Durability::Durable)?;
        self.settle(ticket, durability)?;
        Ok(receipts)
    }

    /// Takes in entries from elsewhere, and erases what they say. [`Self::sync`] makes
    /// them durable. The second is how many entries lost their content.
    pub(crate) fn import(&self, entries: Vec<Arrived>, from: Option<Origin>) -> Result<(Imported, u64)> {
        let (imported, ticket) = self.committer.import(&self.store, entries, from)?;
        self.settle(ticket, Durability::Relaxed)?;
        let erased = match self.finish_erasures() {
            // It is told by verification, and the entries are in.
            Err(problem) if problem.is_damaged() => 0,
            finished => finished?.entries,
        };
        Ok((imported, erased))
    }

    /// Seals entries to more recipients. [`Self::sync`] makes that durable.
    pub(crate) fn share(&self, entries: Vec<Shared>, to: Vec<EncryptionKey>) -> Result<Sealed> {
        let (sealed, ticket) = self.committer.share(&self.store, entries, to)?;
        self.settle(ticket, Durability::Relaxed)?;
        Ok(sealed)
    }

    /// Writes rows that are no entries. [`Self::sync`] makes them durable.
    pub(crate) fn rows(&self, rows: Batch) -> Result<()> {
        self.committer.rows(&self.store, rows)
    }

    /// Waits until everything that was written so far survives a power cut.
    pub(crate) fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// Changes what the keyring says of trust, peers or audience, all or
    /// nothing, and takes over what follows from it.
    pub(crate) fn change_keyring<T>(&self, change: impl FnOnce(&mut Keyring) -> Result<T>) -> Result<T> {
        let mut keyring = self.store.keyring();
        let changed = keyring.together(&mut rand::rng(), change)?;
        self.store.take_over(&keyring)?;
        drop(keyring);
        self.committer.forget_keks();
        Ok(changed)
    }

    /// Waits for a commit as the caller wants, and renews the own checkpoint
    /// when it is due.
    fn settle(&self, ticket: Option<Ticket>, durability: Durability) -> Result<()> {
        if let (Some(ticket), Durability::Durable) = (ticket, durability) {
            self.store.storage.wait(ticket)?;
        }
        // The entries are in: that their checkpoint could not be written must
        // not make them look refused. It is tried again at the next write, and
        // closing tells.
        let _ = self.renew_checkpoint(checkpoint::RENEWED_AFTER);
        Ok(())
    }
}

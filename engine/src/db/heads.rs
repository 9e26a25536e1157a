//! The heads of all things, as this node signs them.

use thingdb_format::heads::SignedHeads;
use thingdb_format::{NodeKey, SignedCheckpoint};

use super::Db;
use crate::error::Result;
use crate::replica::heads::{HeadsConflict, Recomputed};
use crate::replica::memory::Memory;

impl Db {
    /// Signs what the heads of all things are at the ledger's end, and the ledger: so
    /// that whoever is shown a part can see that nothing newer was left out. What it
    /// costs depends on the things that have changed since it was last asked for.
    ///
    /// [`Db::prove`] puts it into each proof file.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full),
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    ///
    /// ```
    /// # use thingdb::{Options, Passphrase};
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = Passphrase::new(b"correct horse battery".to_vec());
    /// # let db = Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("things"), &passphrase)?;
    /// db.put("part-42", r#"{"length": 12}"#)?;
    /// let (checkpoint, heads) = db.heads_note()?;
    /// assert_eq!(heads.verify(&db.node_key())?.ledger, checkpoint.claimed().root);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn heads_note(&self) -> Result<(SignedCheckpoint, SignedHeads)> {
        self.node.heads()
    }

    /// Recomputes the heads note of a node that is known here, if the ledger here is its
    /// ledger, entry by entry, and signs it if it is true.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full),
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn recompute_heads(&self, note: &SignedHeads) -> Result<Recomputed> {
        Memory(&self.node).recompute_heads(note)
    }

    /// The two heads notes for one size by which another node contradicted itself, if it
    /// did, and nobody has said what to make of it ([`Db::forget_checkpoint`]).
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn heads_conflict(&self, node: &NodeKey) -> Result<Option<HeadsConflict>> {
        Memory(&self.node).heads_conflict(node)
    }

    /// Keeps the line by which another node says that it has recomputed the newest heads
    /// note of this one: it goes into proof files of this state of the ledger. Gives
    /// whether the line says that.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if it is no signature line;
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub fn keep_recomputed(&self, by: &NodeKey, line: &str) -> Result<bool> {
        Memory(&self.node).keep_recomputed(by, line)
    }
}

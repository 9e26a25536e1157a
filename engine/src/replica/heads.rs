//! Heads notes of other nodes: recomputed here, and signed if they are true.

use thingdb_format::heads::SignedHeads;

use super::memory::Memory;
use crate::error::Result;

/// What comes of recomputing the heads note of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recomputed {
    /// It is true: the signature line of this node, with its line feed.
    Signed(String),
    /// No node is known whose ledger has this name.
    UnknownNode,
    /// The node has not signed it.
    NotSigned,
    /// The ledger here is another one, or has another size: nobody can say from it
    /// what the heads are there.
    OtherLedger,
    /// The same entries in the same order give other heads.
    OtherHeads,
}

impl Memory<'_> {
    /// Recomputes the heads note of a node that is known here, if the ledger here is its
    /// ledger, entry by entry: then this node has all that the note is of. What that
    /// costs depends on what has changed since the own map was brought on last.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full),
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub(crate) fn recompute_heads(&self, note: &SignedHeads) -> Result<Recomputed> {
        let origin = note.claimed().origin;
        let known = self.0.store.keyring().trust().origin(&origin).filter(|known| known.withdrawn.is_none()).cloned();
        let Some(known) = known.filter(|known| known.key != self.0.node_key()) else {
            return Ok(Recomputed::UnknownNode);
        };
        if note.verify(&known.key).is_err() {
            return Ok(Recomputed::NotSigned);
        }
        // Looked at before anything is computed: who asks needs to know no secret.
        let is_same = |size, root| size == note.claimed().size && root == note.claimed().ledger;
        let (size, root) = self.0.store.with_tree(|tree| Ok((tree.size(), tree.root_at(tree.size())?)))?;
        if !is_same(size, root) {
            return Ok(Recomputed::OtherLedger);
        }
        let (checkpoint, own) = self.0.heads()?;
        if !is_same(checkpoint.claimed().size, checkpoint.claimed().root) {
            return Ok(Recomputed::OtherLedger);
        }
        if own.claimed().map != note.claimed().map {
            return Ok(Recomputed::OtherHeads);
        }
        Ok(Recomputed::Signed(note.signature(self.0.store.keyring().node_key())?))
    }

    /// Keeps what a node that is known here says of the newest heads note of this one.
    /// Gives whether it says something: that it has recomputed this note.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if it is no signature line;
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub(crate) fn keep_recomputed(&self, by: &thingdb_format::NodeKey, line: &str) -> Result<bool> {
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let Some(kept) = self.0.kept_heads()? else { return Ok(false) };
        if matches!(kept.is_signed_by(by), Ok(true)) {
            return Ok(true);
        }
        let with = kept.with_signatures(line)?;
        let is_good = *by != self.0.node_key() && matches!(with.is_signed_by(by), Ok(true));
        if is_good && with.verify(&self.0.node_key()).is_ok() {
            self.0.keep_heads(&with)?;
        }
        Ok(is_good)
    }
}

//! What exchanges with other nodes need: what is remembered of them, how far the
//! exchange is, and how it ended.

use thingdb_format::heads::SignedHeads;
use thingdb_format::{Hash, NodeKey, Origin, SignedCheckpoint};

use super::Db;
use super::warning::Warning;
use crate::error::{Error, Result};
use crate::node::standing::{self, Standing};
use crate::replica::cursors::{self, Cursors};
use crate::replica::exchanges::{self, Exchanges};
use crate::replica::heads::HeadsConflict;
use crate::replica::heard::Hearsay;
use crate::replica::memory::{Memory, Observation, Remembered};
use crate::replica::refused;

/// What is remembered of other nodes.
impl Db {
    /// What this node remembers of the ledger of another one.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn remembered(&self, node: &Origin) -> Result<Remembered> {
        Memory(&self.node).remembered(node)
    }

    /// Holds a checkpoint that another node showed against the one that is
    /// remembered, and remembers it if the ledger has only grown. `since` is
    /// the size of the remembered one (0 if there was none) from which `proof`
    /// leads to the new one.
    ///
    /// If the ledger has not grown out of what it was, both checkpoints are
    /// kept in a file in the directory, and every observation says so until
    /// [`Db::forget_checkpoint`]. Where that is no proof yet, a checkpoint that
    /// makes it one is kept in a file of its own and takes its place.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the note is not signed by the node.
    pub fn observe_checkpoint(
        &self,
        node: &NodeKey,
        note: &SignedCheckpoint,
        since: u64,
        proof: &[Hash],
    ) -> Result<Observation> {
        Memory(&self.node).observe(node, note, since, proof)
    }

    /// The newest checkpoints that this node has seen of other nodes, to be passed on to
    /// a peer; both of a node that contradicted itself.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn to_pass_on(&self, to: &Origin) -> Result<Vec<SignedCheckpoint>> {
        Memory(&self.node).to_pass_on(to)
    }

    /// Takes a checkpoint of a third node that a peer passes on. It is believed for its
    /// signature alone, and only of nodes that are known. Two ledgers of one size become
    /// evidence at once; another one is kept until the node itself shows that its ledger
    /// grew out of it ([`Db::settle_heard`]).
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`], [`Error::is_damaged`].
    pub fn hear(&self, note: &SignedCheckpoint) -> Result<Hearsay> {
        Memory(&self.node).hear(note)
    }

    /// The newest heads notes that this node has seen of other nodes, to be passed on to a
    /// peer; both of a node that said two things of one ledger.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn heads_to_pass_on(&self, to: &Origin) -> Result<Vec<SignedHeads>> {
        Memory(&self.node).heads_to_pass_on(to)
    }

    /// Takes a heads note of a third node that a peer passes on. It is believed for its
    /// signature alone, and only of nodes that are known. Two of one size that differ are
    /// evidence, and are kept; they are given once.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`], [`Error::is_damaged`].
    pub fn hear_heads(&self, note: &SignedHeads) -> Result<Option<HeadsConflict>> {
        Memory(&self.node).hear_heads(note)
    }

    /// What others passed on of a node and what it has not answered for yet.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn heard(&self, node: &Origin) -> Result<Option<SignedCheckpoint>> {
        Memory(&self.node).heard(node)
    }

    /// Holds what a node shows against what others [passed on](Db::heard) of it: `proof`
    /// has to lead from that to the checkpoint that is remembered of the node now.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the note is not signed by the node; as in [`Db::hear`].
    pub fn settle_heard(&self, node: &NodeKey, note: &SignedCheckpoint, proof: &[Hash]) -> Result<Observation> {
        Memory(&self.node).settle_heard(node, note, proof)
    }

    /// Forgets what another node showed, and how far the exchange with it was:
    /// somebody has looked at the evidence, which stays where it is. The next
    /// exchange begins anew.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`].
    pub fn forget_checkpoint(&self, node: &Origin) -> Result<()> {
        Memory(&self.node).forget(node)
    }

    /// How far the exchange of things whose id begins with `prefix` is.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn cursors(&self, node: &Origin, prefix: &str) -> Result<Cursors> {
        cursors::cursors(&self.node, node, prefix)
    }

    /// Notes how far the exchange is.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`].
    pub fn set_cursors(&self, node: &Origin, prefix: &str, cursors: &Cursors) -> Result<()> {
        cursors::set_cursors(&self.node, node, prefix, cursors)
    }

    /// Stands for all actors and nodes whose entries are accepted here, and for
    /// the version of this program: where it has changed, an entry that was
    /// refused [for trust or as newer](crate::RefusalKind) may be accepted now.
    /// The first 8 bytes of a SHA-256 over these keys and the version.
    #[must_use]
    pub fn trust_digest(&self) -> [u8; 8] {
        refused::trust_digest(&self.node.store.keyring(), &self.node.store.keys.logs())
    }

    /// How this ledger stands against a checkpoint of it that another node
    /// remembers. A ledger that was set back to an older state, its own
    /// checkpoint included, shows here.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this node did not sign it.
    pub fn standing(&self, note: &SignedCheckpoint) -> Result<Standing> {
        note.verify(&self.node_key())?;
        standing::compare(&self.node.store, self.origin(), note.claimed())
    }

    /// Takes a checkpoint of this ledger that another node has kept for what it
    /// is. If the ledger did not grow out of it, it was set back, or a copy of
    /// it went on elsewhere: the checkpoint takes the place of the own last one,
    /// and nothing is written from now on, as after an opening that finds a
    /// ledger to be set back. [`Db::new_node_key`] goes on as another node.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this node did not sign it; [`Error::File`] if it
    /// cannot be kept.
    pub fn heed(&self, note: &SignedCheckpoint) -> Result<Standing> {
        let standing = self.standing(note)?;
        if !standing.is_consistent() && self.is_writable() {
            self.node.committer.close(Error::RolledBack { detail: standing.to_string() });
            self.warn(Warning::Standing(standing.clone()));
            standing::keep(self.dir(), note)?;
        }
        Ok(standing)
    }

    /// The newest state of the ledger, signed: the last checkpoint if nothing
    /// was added since, else a new one.
    ///
    /// # Errors
    /// As [`Db::checkpoint`].
    pub fn newest_checkpoint(&self) -> Result<SignedCheckpoint> {
        match self.last_checkpoint() {
            Ok(Some(note)) if note.claimed().size == self.node.store.size() && self.is_writable() => Ok(note),
            Err(problem) if !problem.is_damaged() => Err(problem),
            _ => self.checkpoint(),
        }
    }

    /// When the exchanges with `node` that this one began ended last. A server
    /// that only answers knows of none.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn exchanges(&self, node: &Origin) -> Result<Exchanges> {
        exchanges::exchanges(&self.node, node)
    }

    /// Notes that an exchange with `node` ended now: it went through, or did not
    /// for a reason of which the first 64 characters are kept. It is not synced.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full).
    pub fn note_exchange(&self, node: &Origin, ended: std::result::Result<(), &str>) -> Result<()> {
        exchanges::note(&self.node, node, ended)
    }
}

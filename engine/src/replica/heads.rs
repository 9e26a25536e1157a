//! Heads notes of other nodes: recomputed here, and signed if they are true. The newest of
//! each node is remembered: another one for the same size convicts it.

use std::path::PathBuf;

use bincode::{Decode, Encode};
use thingdb_format::NodeKey;
use thingdb_format::heads::SignedHeads;

use super::memory::Memory;
use crate::clock::unix_now;
use crate::directory::EVIDENCE;
use crate::encoding;
use crate::error::{Error, Result};
use crate::evidence::heads::SplitHeads;
use crate::storage::Batch;
use crate::store::schema;

/// A node said two things of the heads of one ledger, and nobody has said what to make of
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsConflict {
    /// Both notes.
    pub evidence: SplitHeads,
    /// The file that holds them.
    pub file: PathBuf,
}

#[derive(Default, Encode, Decode)]
struct Row {
    note: Option<String>,
    /// The text of the evidence, and the name of its file.
    conflict: Option<(String, String)>,
}

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
    /// The node has signed another one for the same size: both are kept.
    Contradicts(Box<HeadsConflict>),
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
        if let Some(conflict) = self.see_heads(&known.key, note)? {
            return Ok(Recomputed::Contradicts(Box::new(conflict)));
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

    /// Holds a heads note that a node has signed against the newest one of it that was
    /// seen, and remembers it if it is of a larger ledger. Two that say different things of
    /// one size are kept in a file, until [`Self::forget`].
    pub(super) fn see_heads(&self, key: &NodeKey, note: &SignedHeads) -> Result<Option<HeadsConflict>> {
        let note = note.bare(key)?;
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        if let Some(conflict) = self.heads_conflict(key)? {
            return Ok(Some(conflict));
        }
        let known = self.newest_heads(key)?;
        let (size, known_size) = (note.claimed().size, known.as_ref().map(|known| known.claimed().size));
        if known_size.is_none_or(|known| known < size) {
            self.keep_seen_heads(key, Row { note: Some(note.to_string()), conflict: None })?;
            return Ok(None);
        }
        let Some(remembered) = known.filter(|known| known.claimed().contradicts(note.claimed())) else {
            return Ok(None);
        };
        let evidence = SplitHeads { node: *key, seen: unix_now(), remembered, shown: note };
        let name = format!("{}-heads-{}.txt", key.origin(), evidence.seen.micros());
        let file = self.keep_file(&name, &evidence.to_string())?;
        let conflict = Some((evidence.to_string(), name));
        self.keep_seen_heads(key, Row { note: Some(evidence.remembered.to_string()), conflict })?;
        self.0.sync()?;
        Ok(Some(HeadsConflict { evidence, file }))
    }

    /// The two heads notes by which a node contradicted itself.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub(crate) fn heads_conflict(&self, node: &NodeKey) -> Result<Option<HeadsConflict>> {
        let conflict = self.seen_heads(node)?.conflict.map(|(text, file)| {
            Ok::<_, Error>(HeadsConflict { evidence: text.parse()?, file: self.0.dir().join(EVIDENCE).join(file) })
        });
        conflict.transpose()
    }

    /// The newest heads note of a node that was seen.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub(super) fn newest_heads(&self, node: &NodeKey) -> Result<Option<SignedHeads>> {
        Ok(self.seen_heads(node)?.note.map(|note| SignedHeads::parse(&note)).transpose()?)
    }

    fn seen_heads(&self, node: &NodeKey) -> Result<Row> {
        let store = &self.0.store;
        store.rows.read_or_default(&*store.storage, &schema::seen_heads(&store.tag_of(&node.origin().0)))
    }

    fn keep_seen_heads(&self, node: &NodeKey, row: Row) -> Result<()> {
        let key = schema::seen_heads(&self.0.store.tag_of(&node.origin().0));
        let sealed = self.0.store.rows.seal(&key, &encoding::encode(&row));
        let mut batch = Batch::new();
        batch.put(key, sealed);
        self.0.rows(batch)
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

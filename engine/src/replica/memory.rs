//! What this node remembers of others: the newest checkpoint that each of them
//! showed.
//!
//! A ledger only grows. Whatever a node shows next must be proven to have grown
//! out of what it showed before; if not, both checkpoints are kept as
//! [evidence](crate::evidence::checkpoints), and the exchange stops until somebody has looked
//! at it.

use std::path::PathBuf;

use bincode::{Decode, Encode};
use thingdb_format::{Hash, NodeKey, Origin, SignedCheckpoint, merkle};

use super::witness::cosigned_here;
use crate::clock::unix_now;
use crate::directory::EVIDENCE;
use crate::disk;
use crate::encoding;
use crate::error::{Error, Result};
use crate::evidence::checkpoints::{Contradiction, Evidence, MAX_PROOF_HASHES, Weight};
use crate::node::Node;
use crate::storage::{Batch, Direction};
use crate::store::schema;

/// What this node remembers of another one's ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remembered {
    /// The newest checkpoint that it showed, and that followed from the one
    /// before.
    pub checkpoint: Option<SignedCheckpoint>,
    /// It showed two ledgers, and nobody has said what to make of it.
    pub conflict: Option<Conflict>,
}

/// A contradiction that somebody has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Both checkpoints.
    pub evidence: Evidence,
    /// The file that holds them.
    pub file: PathBuf,
}

/// What a checkpoint of another node is, beside the one that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// The first one that was seen, or the ledger has grown out of what it was.
    New,
    /// The same state again.
    Unchanged,
    /// Another checkpoint was remembered since the proof was asked for: ask
    /// again.
    Outdated,
    /// The ledger is smaller than it was, or another one.
    Contradicts(Box<Conflict>),
}

#[derive(Default, Encode, Decode)]
struct RememberedRow {
    checkpoint: Option<String>,
    /// The text of the evidence, and the name of its file.
    conflict: Option<(String, String)>,
}

/// What a node remembers of others.
pub(crate) struct Memory<'n>(pub(crate) &'n Node);

impl Memory<'_> {
    /// What this node remembers of the ledger of another one.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub(crate) fn remembered(&self, node: &Origin) -> Result<Remembered> {
        let row = self.remembered_row(node)?;
        let checkpoint = row.checkpoint.map(|note| SignedCheckpoint::parse(&note)).transpose()?;
        let conflict = row.conflict.map(|(text, file)| {
            Ok::<_, Error>(Conflict { evidence: text.parse()?, file: self.0.dir().join(EVIDENCE).join(file) })
        });
        Ok(Remembered { checkpoint, conflict: conflict.transpose()? })
    }

    /// Holds a checkpoint that another node showed against the one that is
    /// remembered, and remembers it if the ledger has only grown. `since` is
    /// the size of the remembered one (0 if there was none) from which `proof`
    /// leads to the new one.
    ///
    /// If the ledger has not grown out of what it was, both checkpoints are
    /// kept in a file in the directory, and every observation says so until
    /// [`Self::forget`]. Where that is no proof yet, a checkpoint that
    /// makes it one is kept in a file of its own and takes its place.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the note is not signed by the node.
    pub(crate) fn observe(
        &self,
        node: &NodeKey,
        note: &SignedCheckpoint,
        since: u64,
        proof: &[Hash],
    ) -> Result<Observation> {
        let shown = note.verify(node)?;
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let remembered = self.remembered(&node.origin())?;
        if let Some(conflict) = remembered.conflict {
            return Ok(Observation::Contradicts(Box::new(self.strengthened(conflict, note)?)));
        }
        if remembered.checkpoint.as_ref().map_or(0, |before| before.claimed().size) != since {
            return Ok(Observation::Outdated);
        }
        let Some(before) = remembered.checkpoint else {
            self.remember(&node.origin(), note, None)?;
            return Ok(Observation::New);
        };
        let known = before.claimed();
        if (known.size, known.root) == (shown.size, shown.root) {
            return Ok(Observation::Unchanged);
        }
        if merkle::verify_consistency(known.size, shown.size, proof, &known.root, &shown.root).is_ok() {
            self.remember(&node.origin(), note, None)?;
            return Ok(Observation::New);
        }
        Ok(Observation::Contradicts(Box::new(self.keep_contradiction(node, &before, note, proof)?)))
    }

    /// Keeps two checkpoints of which the later one did not grow out of the one before,
    /// and the proof that was given for it.
    pub(super) fn keep_contradiction(
        &self,
        node: &NodeKey,
        before: &SignedCheckpoint,
        note: &SignedCheckpoint,
        proof: &[Hash],
    ) -> Result<Conflict> {
        let found = contradiction(before, note);
        // A longer one holds nowhere, and says no more than none.
        let is_kept = note.claimed().size > before.claimed().size && proof.len() <= MAX_PROOF_HASHES;
        let proof = if is_kept { proof.to_vec() } else { Vec::new() };
        let (seen, remembered, shown) = (unix_now(), before.clone(), note.clone());
        self.keep_conflict(Evidence { node: *node, found, seen, remembered, shown, proof })
    }

    /// Holds a checkpoint that came with a stream against the one that is
    /// remembered. A stream is as old as it likes, so a smaller ledger than the
    /// one that is known says nothing, and of a larger one only a stream that
    /// is whole tells out of what it grew: `root_at` gives the roots that its
    /// ledger had at smaller sizes, as far as they are known.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the note is not signed by the node.
    pub(crate) fn observe_in_stream(
        &self,
        node: &NodeKey,
        note: &SignedCheckpoint,
        root_at: impl Fn(u64) -> Option<Hash>,
    ) -> Result<Option<Conflict>> {
        let shown = note.verify(node)?;
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let remembered = self.remembered(&node.origin())?;
        if let Some(conflict) = remembered.conflict {
            return Ok(Some(self.strengthened(conflict, note)?));
        }
        let Some(before) = remembered.checkpoint else {
            self.remember(&node.origin(), note, None)?;
            return Ok(None);
        };
        let known = before.claimed();
        let root = if shown.size == known.size { Some(shown.root) } else { root_at(known.size) };
        match root {
            Some(root) if root != known.root => Ok(Some(self.keep_split_view(node, &before, note)?)),
            Some(_) if shown.size > known.size => {
                self.remember(&node.origin(), note, None)?;
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    /// Keeps two checkpoints of a node that one stream shows to contradict each
    /// other.
    ///
    /// # Errors
    /// [`Error::File`] if they cannot be kept.
    pub(crate) fn contradicted_in_stream(
        &self,
        node: &NodeKey,
        earlier: &SignedCheckpoint,
        note: &SignedCheckpoint,
    ) -> Result<Conflict> {
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        if let Some(conflict) = self.remembered(&node.origin())?.conflict {
            return self.strengthened(conflict, note);
        }
        self.keep_split_view(node, earlier, note)
    }

    /// Keeps two checkpoints of one size, which the node has both signed.
    pub(super) fn keep_split_view(
        &self,
        node: &NodeKey,
        before: &SignedCheckpoint,
        note: &SignedCheckpoint,
    ) -> Result<Conflict> {
        let (found, seen) = (Contradiction::SplitView, unix_now());
        let (remembered, shown, proof) = (before.clone(), note.clone(), Vec::new());
        self.keep_conflict(Evidence { node: *node, found, seen, remembered, shown, proof })
    }

    fn keep_conflict(&self, evidence: Evidence) -> Result<Conflict> {
        let file = self.keep_evidence(&evidence)?;
        let conflict = Some((evidence.to_string(), file.clone()));
        self.remember(&evidence.node.origin(), &evidence.remembered, conflict)?;
        Ok(Conflict { evidence, file: self.0.dir().join(EVIDENCE).join(file) })
    }

    /// A node that is known to have set its ledger back may show, later, another
    /// ledger of a size that it has signed: then it needs nobody's word any more.
    pub(super) fn strengthened(&self, conflict: Conflict, note: &SignedCheckpoint) -> Result<Conflict> {
        let known = &conflict.evidence;
        if matches!(known.check(), Ok(Weight::Proof)) {
            return Ok(conflict);
        }
        let shown = note.claimed();
        let contradicts = |before: &&SignedCheckpoint| {
            let before = before.claimed();
            before.size == shown.size && before.root != shown.root
        };
        let Some(before) = [&known.remembered, &known.shown].into_iter().find(contradicts) else {
            return Ok(conflict);
        };
        let (found, seen) = (Contradiction::SplitView, unix_now());
        let (remembered, shown) = (before.clone(), note.clone());
        let evidence = Evidence { node: known.node, found, seen, remembered, shown, proof: Vec::new() };
        let file = self.keep_evidence(&evidence)?;
        self.remember(&known.node.origin(), &known.remembered, Some((evidence.to_string(), file.clone())))?;
        Ok(Conflict { evidence, file: self.0.dir().join(EVIDENCE).join(file) })
    }

    /// Forgets what another node showed, and how far the exchange with it was:
    /// somebody has looked at the evidence, which stays where it is. The next
    /// exchange begins anew.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`].
    pub(crate) fn forget(&self, node: &Origin) -> Result<()> {
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let tag = self.0.store.tag_of(&node.0);
        let mut batch = Batch::new();
        batch.delete(schema::remembered(&tag));
        batch.delete(schema::heard(&tag));
        batch.delete(schema::seen_heads(&tag));
        for row in self.0.store.storage.scan(&schema::all_cursors(&tag), Direction::Forward) {
            batch.delete(row?.0);
        }
        self.0.rows(batch)?;
        self.0.sync()
    }

    fn remembered_row(&self, node: &Origin) -> Result<RememberedRow> {
        let store = &self.0.store;
        store.rows.read_or_default(&*store.storage, &schema::remembered(&store.tag_of(&node.0)))
    }

    /// Remembers a checkpoint of another node: cosigned, if nothing speaks against it.
    fn remember(&self, node: &Origin, note: &SignedCheckpoint, conflict: Option<(String, String)>) -> Result<()> {
        if conflict.is_some() {
            return self.keep(node, note, conflict);
        }
        let cosigned = cosigned_here(note, self.0.store.keyring().node_key());
        self.keep(node, &cosigned, None)
    }

    /// Replaces what is remembered of another node. It is durable on return.
    pub(super) fn keep(
        &self,
        node: &Origin,
        note: &SignedCheckpoint,
        conflict: Option<(String, String)>,
    ) -> Result<()> {
        let row = schema::remembered(&self.0.store.tag_of(&node.0));
        let value = RememberedRow { checkpoint: Some(note.to_string()), conflict };
        let sealed = self.0.store.rows.seal(&row, &encoding::encode(&value));
        let mut batch = Batch::new();
        batch.put(row, sealed);
        self.0.rows(batch)?;
        self.0.sync()
    }

    /// Writes a file of its own for the evidence and gives its name.
    fn keep_evidence(&self, evidence: &Evidence) -> Result<String> {
        let name = format!("{}-{}.txt", evidence.node.origin(), evidence.seen.micros());
        self.keep_file(&name, &evidence.to_string())?;
        Ok(name)
    }

    /// Writes a file of evidence, and gives its path.
    pub(super) fn keep_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let dir = self.0.dir().join(EVIDENCE);
        disk::create_private_directory(&dir).map_err(Error::file(&dir, "cannot be created"))?;
        let path = dir.join(name);
        disk::replace_file(&path, text.as_bytes(), 0o600).map_err(Error::file(path.clone(), "cannot be written"))?;
        Ok(path)
    }
}

/// What two checkpoints of one node are that do not follow from each other.
fn contradiction(before: &SignedCheckpoint, note: &SignedCheckpoint) -> Contradiction {
    let is_smaller = note.claimed().size < before.claimed().size;
    if is_smaller { Contradiction::RolledBack } else { Contradiction::SplitView }
}

//! What this node remembers of others: the newest checkpoint that each of them
//! showed, and how far the exchange with it is.
//!
//! A ledger only grows. Whatever a node shows next must be proven to have grown
//! out of what it showed before; if not, both checkpoints are kept as
//! [evidence](crate::evidence::checkpoints), and the exchange stops until somebody has looked
//! at it.

use std::path::PathBuf;

use bincode::{Decode, Encode};
use sha2::{Digest, Sha256};
use thingdb_format::{Hash, NodeKey, Origin, SignedCheckpoint, merkle};

use super::refused::Refused;
use crate::access::actors::unix_now;
use crate::committer::Job;
use crate::db::witness::cosigned_here;
use crate::db::{Db, Warning};
use crate::disk;
use crate::error::{Error, Result};
use crate::evidence::checkpoints::{Contradiction, Evidence, MAX_PROOF_HASHES, Weight};
use crate::node::standing::{self, Standing};
use crate::storage::{Batch, Direction};
use crate::store::schema;
use crate::store::stored;

const EVIDENCE_DIR: &str = "evidence";

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

/// How far the exchange with another node is. Ledgers only grow, so a position
/// stays true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Cursors {
    /// Every entry of its ledger below this position was fetched, or is here.
    pub pulled: u64,
    /// Every entry of this ledger below this position was offered to it.
    pub pushed: u64,
    /// Completions of its entries up to this revision of its log were fetched.
    pub pulled_revision: u64,
    /// Completions of entries here up to this revision were offered to it.
    pub pushed_revision: u64,
    /// Size of its ledger when the exchange ended last.
    pub seen: u64,
    /// Entries of its ledger that were refused here.
    pub refused_here: Refused,
    /// Entries of this ledger that were refused there.
    pub refused_there: Refused,
    /// What [`Db::dropped_from`] said of it when its ledger was compared last.
    pub dropped_here: u64,
    /// What it said of this node then.
    pub dropped_there: u64,
}

#[derive(Default, Encode, Decode)]
struct RememberedRow {
    checkpoint: Option<String>,
    /// The text of the evidence, and the name of its file.
    conflict: Option<(String, String)>,
}

/// What is remembered of other nodes.
impl Db {
    /// What this node remembers of the ledger of another one.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn remembered(&self, node: &Origin) -> Result<Remembered> {
        let row = self.remembered_row(node)?;
        let checkpoint = row.checkpoint.map(|note| SignedCheckpoint::parse(&note)).transpose()?;
        let conflict = row.conflict.map(|(text, file)| {
            Ok::<_, Error>(Conflict { evidence: text.parse()?, file: self.dir().join(EVIDENCE_DIR).join(file) })
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
        let shown = note.verify(node)?;
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
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
        let found = if shown.size < known.size {
            Contradiction::RolledBack
        } else if merkle::verify_consistency(known.size, shown.size, proof, &known.root, &shown.root).is_ok() {
            self.remember(&node.origin(), note, None)?;
            return Ok(Observation::New);
        } else {
            Contradiction::SplitView
        };
        // A longer one holds nowhere, and says no more than none.
        let is_kept = shown.size > known.size && proof.len() <= MAX_PROOF_HASHES;
        let proof = if is_kept { proof.to_vec() } else { Vec::new() };
        let seen = unix_now();
        let evidence = Evidence { node: *node, found, seen, remembered: before, shown: note.clone(), proof };
        Ok(Observation::Contradicts(Box::new(self.keep_conflict(evidence)?)))
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
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
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
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
        if let Some(conflict) = self.remembered(&node.origin())?.conflict {
            return self.strengthened(conflict, note);
        }
        self.keep_split_view(node, earlier, note)
    }

    /// Keeps two checkpoints of one size, which the node has both signed.
    pub(crate) fn keep_split_view(
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
        Ok(Conflict { evidence, file: self.dir().join(EVIDENCE_DIR).join(file) })
    }

    /// A node that is known to have set its ledger back may show, later, another
    /// ledger of a size that it has signed: then it needs nobody's word any more.
    fn strengthened(&self, conflict: Conflict, note: &SignedCheckpoint) -> Result<Conflict> {
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
        Ok(Conflict { evidence, file: self.dir().join(EVIDENCE_DIR).join(file) })
    }

    /// Forgets what another node showed, and how far the exchange with it was:
    /// somebody has looked at the evidence, which stays where it is. The next
    /// exchange begins anew.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`].
    pub fn forget_checkpoint(&self, node: &Origin) -> Result<()> {
        let _one_at_a_time = self.replica.lock().expect("no thread panics while it holds this");
        let tag = self.store.tag_of(&node.0);
        let mut batch = Batch::new();
        batch.delete(schema::remembered(&tag));
        for row in self.store.storage.scan(&schema::all_cursors(&tag), Direction::Forward) {
            batch.delete(row?.0);
        }
        self.committer.submit(&self.store, Job::Rows(batch))?;
        self.sync()
    }

    /// How far the exchange of things whose id begins with `prefix` is.
    ///
    /// # Errors
    /// If the storage cannot be read.
    pub fn cursors(&self, node: &Origin, prefix: &str) -> Result<Cursors> {
        let row = schema::cursors(&self.store.tag_of(&node.0), &self.store.tag_of(prefix.as_bytes()));
        let sealed = self.store.storage.get(&row)?;
        // A row that does not open costs one comparison of everything.
        Ok(sealed.and_then(|sealed| self.store.rows.open_value(&row, &sealed).ok()).unwrap_or_default())
    }

    /// Stands for all actors and nodes whose entries are accepted here, and for
    /// the version of this program: where it has changed, an entry that was
    /// refused [for trust or as newer](crate::RefusalKind) may be accepted now.
    /// The first 8 bytes of a SHA-256 over these keys and the version.
    #[must_use]
    pub fn trust_digest(&self) -> [u8; 8] {
        let keyring = self.store.keyring();
        let mut hasher = Sha256::new_with_prefix(b"thingdb trust\0");
        hasher.update(concat!(env!("CARGO_PKG_VERSION"), "\0"));
        for actor in keyring.trust().actors().filter(|known| known.withdrawn.is_none()) {
            hasher.update(actor.key.0);
        }
        for node in keyring.trust().origins().filter(|known| known.withdrawn.is_none()) {
            hasher.update(node.key.origin().0);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        *digest.first_chunk().expect("8 is less than 32")
    }

    /// Notes how far the exchange is.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`].
    pub fn set_cursors(&self, node: &Origin, prefix: &str, cursors: &Cursors) -> Result<()> {
        let row = schema::cursors(&self.store.tag_of(&node.0), &self.store.tag_of(prefix.as_bytes()));
        let sealed = self.store.rows.seal(&row, &stored::encode(cursors));
        let mut batch = Batch::new();
        batch.put(row, sealed);
        self.committer.submit(&self.store, Job::Rows(batch))?;
        Ok(())
    }

    /// How this ledger stands against a checkpoint of it that another node
    /// remembers. A ledger that was set back to an older state, its own
    /// checkpoint included, shows here.
    ///
    /// # Errors
    /// [`Error::Invalid`] if this node did not sign it.
    pub fn standing(&self, note: &SignedCheckpoint) -> Result<Standing> {
        note.verify(&self.node_key())?;
        standing::compare(&self.store, self.origin(), note.claimed())
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
        if !standing.is_consistent() && self.committer.check_open().is_ok() {
            self.committer.close(Error::RolledBack { detail: standing.to_string() });
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
        match self.last_checkpoint()? {
            Some(note) if note.claimed().size == self.store.size() && self.committer.check_open().is_ok() => Ok(note),
            _ => self.checkpoint(),
        }
    }

    fn remembered_row(&self, node: &Origin) -> Result<RememberedRow> {
        let row = schema::remembered(&self.store.tag_of(&node.0));
        let sealed = self.store.storage.get(&row)?;
        sealed.map_or_else(|| Ok(RememberedRow::default()), |sealed| self.store.rows.open_value(&row, &sealed))
    }

    /// Remembers a checkpoint of another node: cosigned, if nothing speaks against it.
    fn remember(&self, node: &Origin, note: &SignedCheckpoint, conflict: Option<(String, String)>) -> Result<()> {
        if conflict.is_some() {
            return self.keep_remembered(node, note, conflict);
        }
        let cosigned = cosigned_here(note, self.store.keyring().node_key());
        self.keep_remembered(node, &cosigned, None)
    }

    /// Replaces what is remembered of another node. It is durable on return.
    pub(crate) fn keep_remembered(
        &self,
        node: &Origin,
        note: &SignedCheckpoint,
        conflict: Option<(String, String)>,
    ) -> Result<()> {
        let row = schema::remembered(&self.store.tag_of(&node.0));
        let value = RememberedRow { checkpoint: Some(note.to_string()), conflict };
        let sealed = self.store.rows.seal(&row, &stored::encode(&value));
        let mut batch = Batch::new();
        batch.put(row, sealed);
        self.committer.submit(&self.store, Job::Rows(batch))?;
        self.sync()
    }

    /// Writes a file of its own for the evidence and gives its name.
    fn keep_evidence(&self, evidence: &Evidence) -> Result<String> {
        let dir = self.dir().join(EVIDENCE_DIR);
        disk::create_private_directory(&dir).map_err(Error::file(&dir, "cannot be created"))?;
        let name = format!("{}-{}.txt", evidence.node.origin(), evidence.seen.micros());
        let path = dir.join(&name);
        disk::replace_file(&path, evidence.to_string().as_bytes(), 0o600)
            .map_err(Error::file(path, "cannot be written"))?;
        Ok(name)
    }
}

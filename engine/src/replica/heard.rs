//! Checkpoints and heads notes of third nodes that peers pass on: what a node showed to
//! others.
//!
//! A node that shows two ledgers shows each to others. So peers tell each other the
//! newest checkpoint that they have seen of each node that they know. Two of one size
//! with different roots are a proof. Another size is kept until the node itself shows,
//! at the next exchange with it, that what it has now grew out of it. Of heads notes two of
//! one size that differ are a proof; others say nothing of each other.
//!
//! What is passed on is believed for its signature alone. Of each node that is known
//! one is kept, so nobody fills anything.

use bincode::{Decode, Encode};
use thingdb_format::heads::SignedHeads;
use thingdb_format::{Hash, NodeKey, Origin, SignedCheckpoint, merkle};

use super::heads::HeadsConflict;
use super::memory::{Conflict, Memory, Observation};
use crate::encoding;
use crate::error::Result;
use crate::storage::Batch;
use crate::store::schema;

/// Most checkpoints that are passed on at once, and most heads notes.
pub const MAX_PASSED_ON: usize = 256;

/// What a checkpoint of a third node is, beside what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hearsay {
    /// It says nothing: of no node that is known, not signed by it, or known already.
    Nothing,
    /// It is kept, until the node itself shows that its ledger grew out of it.
    Kept,
    /// The node has shown two ledgers.
    Contradicts(Box<Conflict>),
}

#[derive(Default, Encode, Decode)]
struct Row {
    heard: Option<String>,
}

impl Memory<'_> {
    /// The newest checkpoints that this node has seen of other nodes, for a peer: as
    /// these signed them, without what others said, and none of the peer itself. Those
    /// of nodes that contradicted themselves first: both, so that it shows there, too.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub(crate) fn to_pass_on(&self, to: &Origin) -> Result<Vec<SignedCheckpoint>> {
        let (mut contradicted, mut seen) = (Vec::new(), Vec::new());
        for (origin, _) in self.known() {
            if origin == *to {
                continue;
            }
            let remembered = self.remembered(&origin)?;
            if let Some(conflict) = &remembered.conflict {
                contradicted
                    .extend([&conflict.evidence.remembered, &conflict.evidence.shown].map(SignedCheckpoint::bare));
            } else {
                seen.extend(remembered.checkpoint.as_ref().map(SignedCheckpoint::bare));
                seen.extend(self.heard(&origin)?.as_ref().map(SignedCheckpoint::bare));
            }
        }
        let all = contradicted.into_iter().chain(seen).take(MAX_PASSED_ON);
        Ok(all.collect::<std::result::Result<_, _>>()?)
    }

    /// Takes a checkpoint of a third node that a peer passes on.
    ///
    /// # Errors
    /// [`Error::is_read_only`](crate::Error::is_read_only),
    /// [`Error::is_disk_full`](crate::Error::is_disk_full),
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub(crate) fn hear(&self, note: &SignedCheckpoint) -> Result<Hearsay> {
        let said = note.claimed();
        let known = self.known().into_iter().find(|(origin, _)| *origin == said.origin);
        let Some((origin, key)) = known.filter(|(_, key)| said.size > 0 && note.verify(key).is_ok()) else {
            return Ok(Hearsay::Nothing);
        };
        let note = note.bare()?;
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let remembered = self.remembered(&origin)?;
        if let Some(conflict) = remembered.conflict {
            let was = conflict.evidence.clone();
            let now = self.strengthened(conflict, &note)?;
            return Ok(if now.evidence == was { Hearsay::Nothing } else { Hearsay::Contradicts(Box::new(now)) });
        }
        let heard = self.heard(&origin)?;
        for before in [remembered.checkpoint.as_ref(), heard.as_ref()].into_iter().flatten() {
            let claimed = before.claimed();
            if claimed.size == said.size && claimed.root != said.root {
                return Ok(Hearsay::Contradicts(Box::new(self.keep_split_view(&key, before, &note)?)));
            }
            if claimed.size == said.size {
                return Ok(Hearsay::Nothing);
            }
        }
        // One of a larger ledger says more.
        if heard.is_some_and(|heard| heard.claimed().size > said.size) {
            return Ok(Hearsay::Nothing);
        }
        self.set_heard(&origin, Some(&note))?;
        Ok(Hearsay::Kept)
    }

    /// The newest heads notes that this node has seen of other nodes, for a peer: as these
    /// signed them, and none of the peer itself. Of nodes that said two things of one
    /// ledger both, and first.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub(crate) fn heads_to_pass_on(&self, to: &Origin) -> Result<Vec<SignedHeads>> {
        let (mut contradicted, mut seen) = (Vec::new(), Vec::new());
        for (_, key) in self.known().into_iter().filter(|(origin, _)| origin != to) {
            match self.heads_conflict(&key)? {
                Some(conflict) => contradicted.extend([conflict.evidence.remembered, conflict.evidence.shown]),
                None => seen.extend(self.newest_heads(&key)?),
            }
        }
        Ok(contradicted.into_iter().chain(seen).take(MAX_PASSED_ON).collect())
    }

    /// Takes a heads note of a third node that a peer passes on. Gives the two that
    /// contradict each other, if that is known since now.
    ///
    /// # Errors
    /// As in [`Self::hear`].
    pub(crate) fn hear_heads(&self, note: &SignedHeads) -> Result<Option<HeadsConflict>> {
        let said = note.claimed();
        let known = self.known().into_iter().find(|(origin, _)| *origin == said.origin);
        match known.filter(|(_, key)| said.size > 0 && note.verify(key).is_ok()) {
            Some((_, key)) if self.heads_conflict(&key)?.is_none() => self.see_heads(&key, note),
            _ => Ok(None),
        }
    }

    /// What others passed on of a node, if it has not shown yet that its ledger grew out
    /// of it.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub(crate) fn heard(&self, node: &Origin) -> Result<Option<SignedCheckpoint>> {
        let store = &self.0.store;
        let row = schema::heard(&store.tag_of(&node.0));
        let row: Row = store.rows.read_or_default(&*store.storage, &row)?;
        Ok(row.heard.map(|note| SignedCheckpoint::parse(&note)).transpose()?)
    }

    /// Holds what a node shows against what others passed on of it: `proof` has to lead
    /// from that to the checkpoint that is remembered of the node now.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) if the note is not signed by the node;
    /// as in [`Self::hear`].
    pub(crate) fn settle_heard(&self, node: &NodeKey, note: &SignedCheckpoint, proof: &[Hash]) -> Result<Observation> {
        let shown = note.verify(node)?;
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let remembered = self.remembered(&node.origin())?;
        if let Some(conflict) = remembered.conflict {
            return Ok(Observation::Contradicts(Box::new(conflict)));
        }
        let Some(heard) = self.heard(&node.origin())? else { return Ok(Observation::Unchanged) };
        let is_remembered = remembered.checkpoint.is_some_and(|before| before.text() == note.text());
        if !is_remembered {
            return Ok(Observation::Outdated);
        }
        let claimed = heard.claimed();
        if merkle::verify_consistency(claimed.size, shown.size, proof, &claimed.root, &shown.root).is_ok() {
            self.set_heard(&node.origin(), None)?;
            return Ok(Observation::New);
        }
        Ok(Observation::Contradicts(Box::new(self.keep_contradiction(node, &heard, note, proof)?)))
    }

    /// The other nodes that are known and trusted.
    fn known(&self) -> Vec<(Origin, NodeKey)> {
        let (own, keyring) = (self.0.node_key(), self.0.store.keyring());
        let others = keyring.trust().origins().filter(|known| known.withdrawn.is_none() && known.key != own);
        others.map(|known| (known.key.origin(), known.key)).collect()
    }

    fn set_heard(&self, node: &Origin, note: Option<&SignedCheckpoint>) -> Result<()> {
        let store = &self.0.store;
        let row = schema::heard(&store.tag_of(&node.0));
        let mut batch = Batch::new();
        match note {
            None => {
                batch.delete(row);
            }
            Some(note) => {
                let value = encoding::encode(&Row { heard: Some(note.to_string()) });
                batch.put(row.clone(), store.rows.seal(&row, &value));
            }
        }
        self.0.rows(batch)
    }
}

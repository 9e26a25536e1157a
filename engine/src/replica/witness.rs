//! This node as a witness (c2sp.org/tlog-witness) for the nodes that it knows.

use thingdb_format::{AddCheckpoint, Hash, SignedCheckpoint, SigningKey, checkpoint, merkle};

use super::memory::Memory;
use crate::clock::unix_now;
use crate::error::Result;

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cosigning {
    /// The ledger has only grown, and is remembered as it is now: the signature
    /// line, with its line feed.
    Cosigned(String),
    /// No node is known whose ledger has this name.
    UnknownLog,
    /// The node has not signed the checkpoint.
    NotSigned,
    /// A checkpoint of another size than the request names is the last one here.
    OtherSize(u64),
    /// The proof does not lead from the last checkpoint to this one, or the node has
    /// shown two ledgers before.
    Inconsistent,
}

impl Memory<'_> {
    /// Cosigns the checkpoint of a node that is known here, if its ledger has only
    /// grown since the last one that was seen, and remembers it: it is durable on
    /// return. This is what an exchange with the node looks at, too, so that both
    /// know one ledger of it.
    ///
    /// A request proves nothing against the node but by two checkpoints of one size:
    /// these are kept as evidence.
    ///
    /// # Errors
    /// [`Error::is_read_only`], [`Error::is_disk_full`], [`Error::is_damaged`].
    pub(crate) fn cosign(&self, request: &AddCheckpoint) -> Result<Cosigning> {
        let note = &request.checkpoint;
        let shown = note.claimed();
        let known =
            self.0.store.keyring().trust().origin(&shown.origin).filter(|known| known.withdrawn.is_none()).cloned();
        let Some(known) = known.filter(|known| known.key != self.0.node_key()) else {
            return Ok(Cosigning::UnknownLog);
        };
        if note.verify(&known.key).is_err() {
            return Ok(Cosigning::NotSigned);
        }
        let _one_at_a_time = self.0.replica.lock().expect("no thread panics while it holds this");
        let remembered = self.remembered(&shown.origin)?;
        if remembered.conflict.is_some() {
            return Ok(Cosigning::Inconsistent);
        }
        let last = remembered.checkpoint;
        let size = last.as_ref().map_or(0, |last| last.claimed().size);
        if request.old != size {
            return Ok(Cosigning::OtherSize(size));
        }
        let has_grown = match &last {
            Some(last) if last.claimed().size == shown.size => {
                if last.claimed().root != shown.root {
                    self.keep_split_view(&known.key, last, note)?;
                }
                last.claimed().root == shown.root && request.proof.is_empty()
            }
            Some(last) if size > 0 => {
                let root = &last.claimed().root;
                merkle::verify_consistency(size, shown.size, &request.proof, root, &shown.root).is_ok()
            }
            _ => request.proof.is_empty(),
        };
        if !has_grown {
            return Ok(Cosigning::Inconsistent);
        }
        let line = note.cosign(self.0.store.keyring().node_key(), now())?;
        self.keep(&shown.origin, &note.bare()?.with_signatures(&line)?, None)?;
        Ok(Cosigning::Cosigned(line))
    }

    /// The last checkpoint that this node cosigned of the ledger whose name has this
    /// SHA-256, in lower-case hex; with the cosignature.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub(crate) fn cosigned_of(&self, hash: &str) -> Result<Option<SignedCheckpoint>> {
        let known = self
            .0
            .store
            .keyring()
            .trust()
            .origins()
            .map(|known| known.key.origin())
            .find(|origin| Hash::of(checkpoint::name(*origin).as_bytes()).to_string() == hash);
        let Some(origin) = known else { return Ok(None) };
        let own = self.0.node_key().witness_vkey()?;
        let note = self.remembered(&origin)?.checkpoint;
        Ok(note.filter(|note| matches!(note.cosigned_by(&own), Ok(Some(_)))))
    }
}

/// The note as it is remembered of another node: with what this one says of it.
pub(super) fn cosigned_here(note: &SignedCheckpoint, key: &SigningKey) -> SignedCheckpoint {
    let line = note.cosign(key, now());
    let bare = note.bare();
    match (bare, line) {
        (Ok(bare), Ok(line)) => bare.with_signatures(&line).unwrap_or_else(|_| note.clone()),
        // A clock that is before 1970: it is remembered all the same.
        _ => note.clone(),
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    unix_now().micros() / 1_000_000
}

//! What a server says to prove that its ledger grew out of an older state.

use data_encoding::BASE64;
use serde::Deserialize;
use thingdb::format::{Checkpoint, merkle};
use thingdb::{Hash, SignedCheckpoint};

/// The answer to `GET /checkpoint?since=SIZE`.
#[derive(Deserialize)]
pub(super) struct Grown {
    note: String,
    consistency: Vec<String>,
}

impl Grown {
    /// Whether the ledger of `origin` grew out of `kept`: the error says that
    /// the answer cannot be.
    pub(super) fn follows(&self, kept: &Checkpoint) -> Result<bool, String> {
        let note = SignedCheckpoint::parse(&self.note).map_err(|problem| problem.to_string())?;
        let now = note.claimed();
        if now.origin != kept.origin {
            return Err("a checkpoint of another node".to_owned());
        }
        let hash = |text: &String| {
            let bytes = BASE64.decode(text.as_bytes()).ok()?;
            Some(Hash(bytes.try_into().ok()?))
        };
        let proof: Option<Vec<Hash>> = self.consistency.iter().map(hash).collect();
        let proof = proof.ok_or("a proof that is not made of hashes")?;
        Ok(merkle::verify_consistency(kept.size, now.size, &proof, &kept.root, &now.root).is_ok())
    }
}

//! What a time-stamp authority (RFC 3161) stamps of a checkpoint: the note as its
//! node signed it, without what others have added.
//!
//! ```text
//! imprint = SHA-256(text ‖ LF ‖ signature line of the node)
//! ```

use crate::note::{self, ED25519};
use crate::{Error, Hash, NodeKey, SignedCheckpoint};

/// Largest token, in bytes of its DER.
pub const MAX_TOKEN_BYTES: usize = 65_536;

impl SignedCheckpoint {
    /// What is stamped: the text, an empty line, and the signature line of the node.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if the node has not signed the note,
    /// [`Error::UnacceptableKey`].
    ///
    /// ```
    /// use thingdb_format::{Checkpoint, Hash, SigningKey};
    /// let (node, witness) = (SigningKey::generate(&mut rand::rng()), SigningKey::generate(&mut rand::rng()));
    /// let note = Checkpoint::new(node.node_key().origin(), 7, Hash([7; 32])).sign(&node)?;
    /// let cosigned = note.with_signatures(&note.cosign(&witness, 1_679_315_147)?)?;
    /// assert_eq!(cosigned.stamped(&node.node_key())?, note.as_str());
    /// assert_eq!(cosigned.imprint(&node.node_key())?, Hash::of(note.as_str().as_bytes()));
    /// # Ok::<(), thingdb_format::Error>(())
    /// ```
    pub fn stamped(&self, node: &NodeKey) -> Result<String, Error> {
        self.verify(node)?;
        let (name, id) = (self.name(), note::key_id(&self.name(), ED25519, &node.0));
        let own = self.signatures_of(&name, id);
        let lines: String = own.iter().map(|signature| note::signature_line(&name, id, signature)).collect();
        Ok(format!("{}\n{lines}", self.text()))
    }

    /// The SHA-256 of what is [stamped](Self::stamped).
    ///
    /// # Errors
    /// As there.
    pub fn imprint(&self, node: &NodeKey) -> Result<Hash, Error> {
        Ok(Hash::of(self.stamped(node)?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, SigningKey};

    #[test]
    fn what_others_add_changes_no_imprint() {
        let key = |seed| SigningKey::from_seed(&[seed; 32]);
        let node = key(1).node_key();
        let note = Checkpoint::new(node.origin(), 7, Hash([7; 32])).sign(&key(1)).unwrap();
        let imprint = note.imprint(&node).unwrap();
        // Another key under the name of the ledger, before the line of the node.
        let forged = note::signature_line(&note.name(), [1, 2, 3, 4], &[5; 64]);
        let cosigned = note.with_signatures(&note.cosign(&key(2), 9).unwrap()).unwrap();
        let (text, lines) = cosigned.as_str().split_once("\n\n").unwrap();
        let other = SignedCheckpoint::parse(&format!("{text}\n\n{forged}{lines}")).unwrap();
        for note in [cosigned, other] {
            assert_eq!(note.imprint(&node), Ok(imprint));
        }
        let later = Checkpoint::new(node.origin(), 8, Hash([7; 32])).sign(&key(1)).unwrap();
        assert_ne!(later.imprint(&node), Ok(imprint));
        assert!(note.imprint(&key(2).node_key()).is_err());
    }
}

//! The proof that one entry stands in a ledger, in the form that clients of
//! transparency logs read (c2sp.org/tlog-proof@v1).
//!
//! ```text
//! c2sp.org/tlog-proof@v1 LF
//! index <position> LF
//! <hash in base64> LF          of each sibling, from the leaf up
//! LF
//! <checkpoint>                 with cosignatures
//! ```
//!
//! The data of a leaf are the 32 bytes of the entry id.

use std::fmt;

use data_encoding::BASE64;

use crate::{Hash, SignedCheckpoint};

/// A proof of one entry.
///
/// ```
/// use thingdb_format::{Checkpoint, EntryId, SigningKey, TlogProof, merkle};
/// let key = SigningKey::from_seed(&[1; 32]);
/// let root = merkle::leaf(&EntryId([7; 32]));
/// let checkpoint = Checkpoint::new(key.node_key().origin(), 1, root).sign(&key)?;
/// let proof = TlogProof { index: 0, path: vec![], checkpoint: checkpoint.clone() };
/// assert_eq!(proof.to_string(), format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{checkpoint}"));
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The position of the entry in the ledger, from 0.
    pub index: u64,
    /// The inclusion proof (RFC 9162, section 2.1.3).
    pub path: Vec<Hash>,
    /// The state of the ledger in which it stands.
    pub checkpoint: SignedCheckpoint,
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "c2sp.org/tlog-proof@v1\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

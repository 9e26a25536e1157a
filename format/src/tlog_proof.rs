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

use crate::checkpoint::{MAX_NOTE_BYTES, MAX_SIZE};
use crate::codec::{decimal, within};
use crate::json::base64_array;
use crate::{Checkpoint, EntryId, Error, Hash, NodeKey, SignedCheckpoint, merkle};

/// The first line.
const FIRST: &str = "c2sp.org/tlog-proof@v1";

/// Most hashes of a path: there are no higher trees.
const MAX_HASHES: u64 = 64;

/// Longest text: 64 hashes and the longest checkpoint.
pub const MAX_BYTES: usize = MAX_NOTE_BYTES + 4096;

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

impl TlogProof {
    /// Reads a proof, which has one spelling. [`verify`](Self::verify) says whether it
    /// holds. One with extra data is refused: ours have none.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutOfRange`], [`Error::Length`], [`Error::Text`].
    ///
    /// ```
    /// # use thingdb_format::{Checkpoint, EntryId, SigningKey, TlogProof, merkle};
    /// # let key = SigningKey::from_seed(&[1; 32]);
    /// # let id = EntryId([7; 32]);
    /// # let checkpoint = Checkpoint::new(key.node_key().origin(), 1, merkle::leaf(&id)).sign(&key)?;
    /// # let text = TlogProof { index: 0, path: vec![], checkpoint }.to_string();
    /// let proof = TlogProof::parse(&text)?;
    /// assert_eq!(proof.verify(&id, &key.node_key())?.size, 1);
    /// assert!(proof.verify(&EntryId([8; 32]), &key.node_key()).is_err());
    /// # Ok::<(), thingdb_format::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, Error> {
        const fn malformed(problem: &'static str) -> Error {
            Error::Malformed { what: "tlog-proof", problem }
        }
        within("tlog-proof", text.len() as u64, 1, MAX_BYTES as u64)?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| malformed("has no empty line"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(malformed("does not begin as one"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.ok_or_else(|| malformed("has no index"))?;
        let index = decimal("index", index, MAX_SIZE)?;
        let mut path = Vec::new();
        for line in lines {
            within("hashes of the proof", (path.len() as u64).saturating_add(1), 0, MAX_HASHES)?;
            path.push(Hash(base64_array("hash of the proof", line)?));
        }
        Ok(Self { index, path, checkpoint: SignedCheckpoint::parse(note)? })
    }

    /// Checks that the entry stands in the ledger of the node with this key, and gives
    /// the state of the ledger.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if another node signed, [`Error::BadProof`] if the path
    /// does not lead to the root.
    pub fn verify(&self, id: &EntryId, key: &NodeKey) -> Result<&Checkpoint, Error> {
        let checkpoint = self.checkpoint.verify(key)?;
        merkle::verify_inclusion(&merkle::leaf(id), self.index, checkpoint.size, &self.path, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn ids() -> Vec<EntryId> {
        (0..11).map(|n| EntryId([n; 32])).collect()
    }

    fn proof(key: &SigningKey, index: u64) -> TlogProof {
        let leaves: Vec<Hash> = ids().iter().map(merkle::leaf).collect();
        let root = merkle::root(leaves.iter().copied());
        let checkpoint = Checkpoint::new(key.node_key().origin(), 11, root).sign(key).unwrap();
        TlogProof { index, path: merkle::inclusion_proof(&leaves[..], index, 11).unwrap(), checkpoint }
    }

    #[test]
    fn what_is_read_is_what_was_written_and_is_of_one_entry_and_one_node() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        for (index, id) in (0..).zip(ids()) {
            let proof = proof(&key, index);
            let read = TlogProof::parse(&proof.to_string()).unwrap();
            assert_eq!(read, proof);
            assert_eq!(read.verify(&id, &key.node_key()).unwrap().size, 11);
            assert!(read.verify(&EntryId([99; 32]), &key.node_key()).is_err());
            assert!(read.verify(&id, &other.node_key()).is_err());
            let moved = TlogProof { index: (index + 1) % 11, ..read };
            assert!(moved.verify(&id, &key.node_key()).is_err());
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let text = proof(&SigningKey::from_seed(&[1; 32]), 3).to_string();
        let many = format!("index 3\n{}", format!("{}\n", BASE64.encode(&[0; 32])).repeat(65));
        for bad in [
            text.replace("@v1", "@v2"),
            text.replace("index 3", "index 03"),
            text.replace("index 3", "index +3"),
            text.replace("index 3", "index 99999999999999999999"),
            text.replace("index 3", "extra AAAA\nindex 3"),
            text.replace("index 3\n", "index 3\nAAAA\n"),
            text.replace("index 3\n", "index 3\n\n"),
            text.replace("index 3\n", &many),
            text.replacen('\n', "\r\n", 1),
            text[..text.len() - 1].to_owned(),
            String::new(),
        ] {
            assert!(TlogProof::parse(&bad).is_err(), "{bad:?}");
        }
    }
}

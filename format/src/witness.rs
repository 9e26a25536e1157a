//! What a log asks of a witness (c2sp.org/tlog-witness): a checkpoint, and the
//! proof that it grew out of the one that the witness cosigned last.
//!
//! ```text
//! old <size> LF
//! <base64 of a hash> LF, at most 63 times
//! LF
//! <the checkpoint>
//! ```

use std::fmt;

use data_encoding::BASE64;

use crate::checkpoint::{MAX_NOTE_BYTES, MAX_SIZE};
use crate::codec::{decimal, within};
use crate::json::base64_array;
use crate::{Error, Hash, SignedCheckpoint};

/// Most hashes of a proof.
pub const MAX_PROOF_HASHES: usize = 63;

/// Largest body, in bytes.
pub const MAX_REQUEST_BYTES: usize = MAX_NOTE_BYTES + MAX_PROOF_HASHES * 45 + 32;

/// The body of `add-checkpoint`.
///
/// ```
/// use thingdb_format::{AddCheckpoint, Checkpoint, Hash, SigningKey};
/// let node = SigningKey::generate(&mut rand::rng());
/// let note = Checkpoint::new(node.node_key().origin(), 7, Hash([7; 32])).sign(&node)?;
/// let request = AddCheckpoint { old: 0, proof: vec![], checkpoint: note };
/// assert_eq!(AddCheckpoint::parse(&request.to_string())?, request);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the ledger that the witness cosigned last; 0 if none.
    pub old: u64,
    /// The consistency proof (RFC 9162, section 2.1.4) from it; empty from 0.
    pub proof: Vec<Hash>,
    /// The checkpoint to be cosigned.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Reads a body. Whether the proof holds is not looked at.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutOfRange`] also for an old size beyond that
    /// of the checkpoint, [`Error::Length`], [`Error::Text`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        const fn malformed(problem: &'static str) -> Error {
            Error::Malformed { what: "request to a witness", problem }
        }
        within("request to a witness", text.len() as u64, 1, MAX_REQUEST_BYTES as u64)?;
        let (head, note) = text.split_once("\n\n").ok_or_else(|| malformed("has no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old "));
        let old = decimal("old size", old.ok_or_else(|| malformed("does not begin with `old `"))?, MAX_SIZE)?;
        let mut proof = Vec::new();
        for line in lines {
            proof.push(Hash(base64_array("hash of the proof", line)?));
            within("hashes of the proof", proof.len() as u64, 0, MAX_PROOF_HASHES as u64)?;
        }
        let checkpoint = SignedCheckpoint::parse(note)?;
        within("old size", old, 0, checkpoint.claimed().size)?;
        Ok(Self { old, proof, checkpoint })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", BASE64.encode(&hash.0))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, SigningKey};

    fn request(hashes: usize) -> AddCheckpoint {
        let node = SigningKey::from_seed(&[1; 32]);
        let checkpoint = Checkpoint::new(node.node_key().origin(), 7, Hash([7; 32])).sign(&node).unwrap();
        AddCheckpoint { old: 5, proof: vec![Hash([3; 32]); hashes], checkpoint }
    }

    #[test]
    fn a_request_comes_back() {
        for hashes in [0, 1, 63] {
            let request = request(hashes);
            assert_eq!(AddCheckpoint::parse(&request.to_string()).unwrap(), request);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        let good = request(2).to_string();
        for (from, to) in [
            ("old 5", "old 05"),
            ("old 5", "old 8"),
            ("old 5", "old -1"),
            ("old 5", "new 5"),
            ("old 5\n", ""),
            ("AwMD", "AwM"),
            ("\n\n", "\n"),
            ("\n\n", "\n\n\n"),
            ("\nAwMD", "\n\nAwMD"),
            ("\n", "\r\n"),
        ] {
            let changed = good.replacen(from, to, 1);
            assert_ne!(changed, good);
            assert!(AddCheckpoint::parse(&changed).is_err(), "{changed}");
        }
        assert!(AddCheckpoint::parse(&request(64).to_string()).is_err());
        assert!(AddCheckpoint::parse("").is_err());
    }
}

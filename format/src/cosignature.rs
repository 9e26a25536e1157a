//! What a witness says of a checkpoint (c2sp.org/tlog-cosignature): that the
//! ledger it names has only grown, and that this was the newest state of it that
//! the witness had seen at a time.
//!
//! ```text
//! — <name of the witness> <base64 of key id ‖ seconds since 1970, 8 ‖ signature 64> LF
//!
//! signed: "cosignature/v1" LF "time " <seconds> LF <text of the checkpoint>
//! ```

use crate::codec::within;
use crate::note::{self, KeyKind, VerifierKey};
use crate::{Error, SignedCheckpoint, SigningKey, Verifier};

const WHAT: &str = "the cosignature";

/// Latest time of a cosignature, in seconds since 1970: the last second of 9999.
pub const MAX_SECONDS: u64 = 253_402_300_799;

/// What a witness said of a checkpoint; its signature was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// When, in seconds since 1970, by the clock of the witness.
    pub seconds: u64,
    /// The signature line, with its line feed.
    pub line: String,
}

impl SignedCheckpoint {
    /// Cosigns the checkpoint at a time, in seconds since 1970, as the witness with
    /// this key: the [witness key](crate::NodeKey::witness_vkey) of a node. Gives
    /// the signature line, with its line feed. Whether the ledger has only grown is
    /// for the caller to know.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a time of 0 or beyond [`MAX_SECONDS`],
    /// [`Error::UnacceptableKey`].
    ///
    /// ```
    /// use thingdb_format::{Checkpoint, Hash, SigningKey};
    /// let (node, witness) = (SigningKey::generate(&mut rand::rng()), SigningKey::generate(&mut rand::rng()));
    /// let note = Checkpoint::new(node.node_key().origin(), 7, Hash([7; 32])).sign(&node)?;
    /// let line = note.cosign(&witness, 1_679_315_147)?;
    /// let cosigned = note.with_signatures(&line)?;
    /// let vkey = witness.node_key().witness_vkey()?;
    /// assert_eq!(cosigned.cosigned_by(&vkey)?, Some(1_679_315_147));
    /// assert_eq!(note.cosigned_by(&vkey)?, None);
    /// # Ok::<(), thingdb_format::Error>(())
    /// ```
    pub fn cosign(&self, witness: &SigningKey, seconds: u64) -> Result<String, Error> {
        within("time", seconds, 1, MAX_SECONDS)?;
        let vkey = witness.node_key().witness_vkey()?;
        let signature = [&seconds.to_be_bytes()[..], &witness.sign(&signed(seconds, self.text()))].concat();
        Ok(note::signature_line(vkey.name(), vkey.id(), &signature))
    }

    /// What the witness said of the checkpoint: the earliest, if it cosigned more than
    /// once. `None` if it has not.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if a signature under its name and key id is not good:
    /// such a note is malformed (c2sp.org/signed-note). [`Error::OutOfRange`] for a
    /// time of 0 or beyond [`MAX_SECONDS`], [`Error::UnacceptableKey`].
    pub fn cosignature(&self, witness: &VerifierKey) -> Result<Option<Cosignature>, Error> {
        if witness.kind() != KeyKind::Witness {
            return Ok(None);
        }
        let verifier = Verifier::new(witness.key())?;
        let mut earliest: Option<Cosignature> = None;
        for signature in self.signatures_of(witness.name(), witness.id()) {
            let (time, value) = signature.split_first_chunk().ok_or(Error::BadSignature { what: WHAT })?;
            let value: &[u8; 64] = value.try_into().map_err(|_| Error::BadSignature { what: WHAT })?;
            let seconds = u64::from_be_bytes(*time);
            within("time", seconds, 1, MAX_SECONDS)?;
            verifier.verify(&signed(seconds, self.text()), value, WHAT)?;
            if earliest.as_ref().is_none_or(|known| seconds < known.seconds) {
                let line = note::signature_line(witness.name(), witness.id(), &signature);
                earliest = Some(Cosignature { seconds, line });
            }
        }
        Ok(earliest)
    }

    /// The time of [`cosignature`](Self::cosignature), in seconds since 1970.
    ///
    /// # Errors
    /// As there.
    pub fn cosigned_by(&self, witness: &VerifierKey) -> Result<Option<u64>, Error> {
        Ok(self.cosignature(witness)?.map(|cosignature| cosignature.seconds))
    }

    /// The note with the signature lines of others added, each ended by a line feed.
    /// Lines that it has already are not added twice. What is not checked here is
    /// whether they are good: [`cosigned_by`](Self::cosigned_by) does.
    ///
    /// # Errors
    /// [`Error::Malformed`] for what is no signature line, [`Error::OutOfRange`] if
    /// there are more than [`MAX_SIGNATURES`](crate::checkpoint::MAX_SIGNATURES).
    pub fn with_signatures(&self, lines: &str) -> Result<Self, Error> {
        Self::parse(self.note().with_lines(lines)?.as_str())
    }

    /// The note with the signatures under the name of its ledger only: what others
    /// have added without being asked takes the places of those who were.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::parse`], if there is none.
    pub fn bare(&self) -> Result<Self, Error> {
        let name = self.name();
        let is_own = |line: &&str| note::signature(line).is_ok_and(|(by, _)| by == name);
        let lines: String = self.signature_lines().filter(is_own).map(|line| format!("{line}\n")).collect();
        Self::parse(&format!("{}\n{lines}", self.text()))
    }
}

/// What a witness signs.
fn signed(seconds: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, Hash};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn note(size: u64) -> SignedCheckpoint {
        Checkpoint::new(key(1).node_key().origin(), size, Hash([7; 32])).sign(&key(1)).unwrap()
    }

    fn witness() -> VerifierKey {
        key(2).node_key().witness_vkey().unwrap()
    }

    #[test]
    fn a_cosignature_is_of_one_checkpoint_one_witness_and_one_time() {
        let line = note(7).cosign(&key(2), 1_000).unwrap();
        let cosigned = note(7).with_signatures(&line).unwrap();
        assert_eq!(cosigned.cosigned_by(&witness()).unwrap(), Some(1_000));
        // It stays the node's own checkpoint.
        assert!(cosigned.verify(&key(1).node_key()).is_ok());
        assert_eq!(cosigned.cosigned_by(&key(3).node_key().witness_vkey().unwrap()).unwrap(), None);
        assert_eq!(cosigned.cosigned_by(&key(2).node_key().log_vkey().unwrap()).unwrap(), None);
        assert!(note(8).with_signatures(&line).unwrap().cosigned_by(&witness()).is_err());
    }

    #[test]
    fn every_bit_of_it_counts() {
        let cosigned = note(7).with_signatures(&note(7).cosign(&key(2), 1_000).unwrap()).unwrap();
        let line = cosigned.signature_lines().nth(1).unwrap().to_owned();
        let (name, blob) = note::signature(&line).unwrap();
        for bit in 0..blob.len() * 8 {
            let mut flipped = blob.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let id = *flipped.first_chunk().unwrap();
            let bad = note(7).with_signatures(&note::signature_line(name, id, &flipped[4..])).unwrap();
            assert!(!matches!(bad.cosigned_by(&witness()), Ok(Some(_))), "{bit}");
        }
    }

    #[test]
    fn the_earliest_of_several_counts_and_one_bad_line_spoils_all() {
        let lines = note(7).cosign(&key(2), 2_000).unwrap() + &note(7).cosign(&key(2), 1_000).unwrap();
        let twice = note(7).with_signatures(&lines).unwrap();
        assert_eq!(twice.cosigned_by(&witness()).unwrap(), Some(1_000));
        assert_eq!(twice.with_signatures(&lines).unwrap(), twice);
        let bad = twice.with_signatures(&note(8).cosign(&key(2), 900).unwrap()).unwrap();
        assert!(bad.cosigned_by(&witness()).is_err());
    }

    #[test]
    fn times_that_no_clock_shows_are_refused() {
        assert!(note(7).cosign(&key(2), 0).is_err());
        assert!(note(7).cosign(&key(2), MAX_SECONDS + 1).is_err());
        let vkey = witness();
        let signature = [&0_u64.to_be_bytes()[..], &key(2).sign(&signed(0, note(7).text()))].concat();
        let line = note::signature_line(vkey.name(), vkey.id(), &signature);
        assert!(note(7).with_signatures(&line).unwrap().cosigned_by(&vkey).is_err());
    }

    #[test]
    fn lines_of_strangers_make_room() {
        let strangers: String = (10..72).map(|seed| note(7).cosign(&key(seed), 5).unwrap()).collect();
        let full = note(7).with_signatures(&(note(7).cosign(&key(2), 5).unwrap() + &strangers)).unwrap();
        assert!(full.with_signatures(&note(7).cosign(&key(3), 5).unwrap()).is_err());
        assert_eq!(full.bare().unwrap(), note(7));
        assert!(note(7).with_signatures("no line\n").is_err());
        assert!(note(7).with_signatures("\n").is_err());
    }
}

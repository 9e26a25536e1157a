//! Evidence that a node showed two ledgers: both checkpoints, as it signed
//! them, in a file that anyone can check without a database.
//!
//! ```text
//! thingdb evidence 1
//! node <node key in hex>
//! seen <time>
//! found rolled-back | split-view
//! proof <hashes in hex, if one came that does not hold>
//!
//! -- remembered
//! <C2SP signed note>
//! -- shown
//! <C2SP signed note>
//! ```

use std::fmt;
use std::str::FromStr;

use thingdb_format::{Hash, NodeKey, SignedCheckpoint, Time, merkle};

use super::file::{File, hashes, no};
use crate::error::{Error, Result};

/// Hashes of a proof that is kept, at most: one that could hold is shorter.
pub(crate) const MAX_PROOF_HASHES: usize = 128;

/// In what way a node showed two ledgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contradiction {
    /// The ledger is smaller than it was.
    RolledBack,
    /// The ledger is as large or larger and did not grow out of what it was.
    SplitView,
}

impl Contradiction {
    /// The word in files and errors.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled-back",
            Self::SplitView => "split-view",
        }
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RolledBack => "rolled back",
            Self::SplitView => "split view",
        })
    }
}

/// How much two signed checkpoints say by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The node signed two different ledgers of one size: no honest history
    /// explains that.
    Proof,
    /// The signatures are the node's. That the smaller ledger was shown later,
    /// or that no better proof of growth was given, is the word of whoever
    /// kept the file.
    Testimony,
}

/// Two checkpoints of one node that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who signed both.
    pub node: NodeKey,
    /// In what way they contradict each other.
    pub found: Contradiction,
    /// When the second one was shown, by the clock of whoever kept them.
    pub seen: Time,
    /// What was seen first.
    pub remembered: SignedCheckpoint,
    /// What was seen then.
    pub shown: SignedCheckpoint,
    /// The proof that the second ledger grew out of the first, which does not
    /// hold.
    pub proof: Vec<Hash>,
}

impl Evidence {
    /// Checks that the node signed both, and that they contradict each other.
    ///
    /// # Errors
    /// [`Error::NoEvidence`] says why they show nothing.
    pub fn check(&self) -> Result<Weight> {
        for note in [&self.remembered, &self.shown] {
            note.verify(&self.node).map_err(|_| no("a checkpoint is not signed by the node"))?;
        }
        let (before, after) = (self.remembered.claimed(), self.shown.claimed());
        match self.found {
            Contradiction::SplitView if after.size == before.size && after.root != before.root => Ok(Weight::Proof),
            Contradiction::RolledBack if after.size < before.size => Ok(Weight::Testimony),
            Contradiction::SplitView if after.size > before.size => {
                match merkle::verify_consistency(before.size, after.size, &self.proof, &before.root, &after.root) {
                    Ok(()) => Err(no("the proof shows that the ledger has only grown")),
                    Err(_) => Ok(Weight::Testimony),
                }
            }
            _ => Err(no("the checkpoints do not contradict each other")),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proof = (!self.proof.is_empty()).then(|| self.proof.iter().map(Hash::to_string).collect::<String>());
        let (remembered, shown) = (self.remembered.as_str(), self.shown.as_str());
        let (found, proof) = (self.found.word(), proof.as_deref());
        File { node: self.node, seen: self.seen, found, proof, remembered, shown }.fmt(f)
    }
}

impl FromStr for Evidence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let file = File::parse(text)?;
        let found = match file.found {
            "rolled-back" => Contradiction::RolledBack,
            "split-view" => Contradiction::SplitView,
            _ => return Err(no("it names another kind of contradiction")),
        };
        let evidence = Self {
            node: file.node,
            found,
            seen: file.seen,
            proof: file.proof.map_or_else(|| Ok(Vec::new()), hashes)?,
            remembered: SignedCheckpoint::parse(file.remembered)?,
            shown: SignedCheckpoint::parse(file.shown)?,
        };
        if evidence.to_string() == text { Ok(evidence) } else { Err(no("it is not spelled as evidence is")) }
    }
}

#[cfg(test)]
mod tests {
    use thingdb_format::{Checkpoint, SigningKey};

    use super::*;

    fn note(size: u64, root: u8) -> SignedCheckpoint {
        let key = SigningKey::from_seed(&[1; 32]);
        Checkpoint::new(key.node_key().origin(), size, Hash([root; 32])).sign(&key).unwrap()
    }

    fn evidence(remembered: SignedCheckpoint, shown: SignedCheckpoint, found: Contradiction) -> Evidence {
        let node = SigningKey::from_seed(&[1; 32]).node_key();
        let seen = Time::from_micros(1_000_000).unwrap();
        Evidence { node, found, seen, remembered, shown, proof: vec![] }
    }

    #[test]
    fn it_comes_back_and_says_what_it_weighs() {
        let cases = [
            (evidence(note(7, 1), note(7, 2), Contradiction::SplitView), Some(Weight::Proof)),
            (evidence(note(7, 1), note(6, 2), Contradiction::RolledBack), Some(Weight::Testimony)),
            (evidence(note(7, 1), note(9, 2), Contradiction::SplitView), Some(Weight::Testimony)),
            (evidence(note(7, 1), note(7, 1), Contradiction::SplitView), None),
            (evidence(note(7, 1), note(9, 1), Contradiction::RolledBack), None),
        ];
        for (case, weight) in cases {
            assert_eq!(case.check().ok(), weight, "{case}");
            assert_eq!(case.to_string().parse::<Evidence>().unwrap(), case);
        }
        let with_proof = Evidence {
            proof: vec![Hash([3; 32]), Hash([4; 32])],
            ..evidence(note(7, 1), note(9, 2), Contradiction::SplitView)
        };
        assert_eq!(with_proof.to_string().parse::<Evidence>().unwrap(), with_proof);
    }

    #[test]
    fn every_bit_of_the_notes_counts() {
        let text = evidence(note(7, 1), note(7, 2), Contradiction::SplitView).to_string();
        let at = text.find("-- remembered").unwrap();
        for bit in at * 8..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            let weight = flipped.parse::<Evidence>().and_then(|evidence| evidence.check());
            assert!(weight.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_honest_growth_is_no_evidence() {
        let key = SigningKey::from_seed(&[1; 32]);
        let leaves: Vec<Hash> = (0..9_u8).map(|n| merkle::leaf_hash(&[n])).collect();
        let sign = |size: usize| {
            let root = merkle::root(leaves[..size].iter().copied());
            Checkpoint::new(key.node_key().origin(), size as u64, root).sign(&key).unwrap()
        };
        let proof = merkle::consistency_proof(&leaves[..], 7, 9).unwrap();
        let honest = Evidence { proof, ..evidence(sign(7), sign(9), Contradiction::SplitView) };
        assert!(honest.check().is_err());
    }
}

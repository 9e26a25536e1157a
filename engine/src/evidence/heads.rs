//! Evidence that a node said two things of the heads of one ledger: both heads notes, as
//! it signed them, in a file that anyone can check without a database.

use std::fmt;
use std::str::FromStr;

use thingdb_format::heads::SignedHeads;
use thingdb_format::{NodeKey, Time};

use super::file::{File, no};
use crate::error::{Error, Result};

/// The word in files.
const FOUND: &str = "split-heads";

/// Two heads notes of one node for one size of its ledger that say different things. No
/// honest history explains that: the heads of all things follow from the entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitHeads {
    /// Who signed both.
    pub node: NodeKey,
    /// When the second one was shown, by the clock of whoever kept them.
    pub seen: Time,
    /// What was seen first.
    pub remembered: SignedHeads,
    /// What was seen then.
    pub shown: SignedHeads,
}

impl SplitHeads {
    /// The word for it in files and errors.
    pub const WORD: &'static str = FOUND;

    /// Whether a file says that it is this, and not [evidence of two
    /// ledgers](crate::Evidence).
    #[must_use]
    pub fn is_named_in(text: &str) -> bool {
        File::parse(text).is_ok_and(|file| file.found == FOUND)
    }

    /// Checks that the node signed both, and that they contradict each other.
    ///
    /// # Errors
    /// [`Error::NoEvidence`] says why they show nothing.
    pub fn check(&self) -> Result<()> {
        for note in [&self.remembered, &self.shown] {
            note.verify(&self.node).map_err(|_| no("a heads note is not signed by the node"))?;
        }
        if self.remembered.claimed().contradicts(self.shown.claimed()) {
            return Ok(());
        }
        Err(no("the heads notes do not contradict each other"))
    }
}

impl fmt::Display for SplitHeads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (remembered, shown) = (self.remembered.as_str(), self.shown.as_str());
        File { node: self.node, seen: self.seen, found: FOUND, proof: None, remembered, shown }.fmt(f)
    }
}

impl FromStr for SplitHeads {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let file = File::parse(text)?;
        if file.found != FOUND {
            return Err(no("it names another kind of contradiction"));
        }
        let (remembered, shown) = (SignedHeads::parse(file.remembered)?, SignedHeads::parse(file.shown)?);
        let evidence = Self { node: file.node, seen: file.seen, remembered, shown };
        if evidence.to_string() == text { Ok(evidence) } else { Err(no("it is not spelled as evidence is")) }
    }
}

#[cfg(test)]
mod tests {
    use thingdb_format::heads::HeadsNote;
    use thingdb_format::{Hash, SigningKey};

    use super::*;

    fn note(size: u64, map: u8, ledger: u8) -> SignedHeads {
        let key = SigningKey::from_seed(&[1; 32]);
        let (map, ledger) = (Hash([map; 32]), Hash([ledger; 32]));
        HeadsNote { origin: key.node_key().origin(), size, map, ledger }.sign(&key).unwrap()
    }

    fn evidence(remembered: SignedHeads, shown: SignedHeads) -> SplitHeads {
        let node = SigningKey::from_seed(&[1; 32]).node_key();
        SplitHeads { node, seen: Time::from_micros(1_000_000).unwrap(), remembered, shown }
    }

    #[test]
    fn two_notes_of_one_size_that_differ_convict_and_others_do_not() {
        for (one, other, convicts) in [
            (note(7, 1, 1), note(7, 2, 1), true),
            (note(7, 1, 1), note(7, 1, 2), true),
            (note(7, 1, 1), note(7, 1, 1), false),
            (note(7, 1, 1), note(8, 2, 2), false),
        ] {
            let case = evidence(one, other);
            assert_eq!(case.check().is_ok(), convicts, "{case}");
            assert_eq!(case.to_string().parse::<SplitHeads>().unwrap(), case);
            assert!(SplitHeads::is_named_in(&case.to_string()));
            assert!(case.to_string().parse::<crate::Evidence>().is_err());
        }
    }

    #[test]
    fn every_bit_of_the_notes_counts() {
        let text = evidence(note(7, 1, 1), note(7, 2, 1)).to_string();
        let at = text.find("-- remembered").unwrap();
        for bit in at * 8..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            assert!(flipped.parse::<SplitHeads>().and_then(|it| it.check()).is_err(), "bit {bit}");
        }
    }
}

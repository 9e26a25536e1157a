//! Receipts: what a node answers to an erasure record, as a C2SP signed note.
//!
//! ```text
//! thingdb.receipt/<origin of the node that answers> LF
//! node <its node key in hex> LF
//! record <id of the erasure record in hex> LF
//! time <when, as in a line> LF
//! erased <entries without content> of <entries that it has> LF
//! LF
//! — thingdb.node/<origin> <base64 of key id ‖ signature> LF
//! ```
//!
//! With a hold the fifth line begins with `held`, and a sixth one, `reason`, says why.

use std::fmt;

use super::{MAX_ENTRIES, check_reason};
use crate::checkpoint;
use crate::codec::{decimal, within};
use crate::note::{self, Note};
use crate::{EntryId, Error, NodeKey, Origin, SigningKey, Time, Verifier};

const NAME_PREFIX: &str = "thingdb.receipt/";
const WHAT: &str = "erasure receipt";
const BAD: Error = Error::BadSignature { what: "the erasure receipt" };

const fn malformed(problem: &'static str) -> Error {
    Error::Malformed { what: WHAT, problem }
}

/// What a node has done with the entries that a record covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Their content is gone there.
    Erased,
    /// It keeps their content, on purpose.
    Held {
        /// Why; 1 to 1024 bytes without control characters.
        reason: String,
    },
}

/// What a node answers to an erasure record.
///
/// ```
/// use thingdb_format::erasure::receipt::{Answer, ErasureReceipt, SignedErasureReceipt};
/// use thingdb_format::{EntryId, SigningKey, Time};
/// let node = SigningKey::generate(&mut rand::rng());
/// let receipt = ErasureReceipt {
///     node: node.node_key(),
///     record: EntryId([7; 32]),
///     time: Time::from_micros(1_764_000_000_000_000)?,
///     answer: Answer::Erased,
///     count: 3,
///     of: 4,
/// };
/// let signed = receipt.sign(&node)?;
/// assert_eq!(SignedErasureReceipt::parse(signed.as_str())?.said(), &receipt);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureReceipt {
    /// The key of the node that answers.
    pub node: NodeKey,
    /// The erasure record.
    pub record: EntryId,
    /// When it answered, by its clock.
    pub time: Time,
    /// What it has done.
    pub answer: Answer,
    /// Entries that this is so of. At least one if they are held.
    pub count: u64,
    /// Entries that the record lists and the node has, with or without content.
    pub of: u64,
}

impl ErasureReceipt {
    /// The node that answers.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.node.origin()
    }

    /// Whether nothing of what the node has of the listed entries has content any more.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.answer == Answer::Erased && self.count == self.of
    }

    /// Signs it with the key of its node.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for counts that do not go together or are too great,
    /// [`Error::Length`] or [`Error::Text`] for a reason that is not allowed;
    /// [`Error::BadSignature`] if `key` is not that of the node.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedErasureReceipt, Error> {
        self.check()?;
        if key.node_key() != self.node {
            return Err(BAD);
        }
        let text = self.text();
        let line = note::signature_line_of(key, &text)?;
        Ok(SignedErasureReceipt { said: self.clone(), note: Note::parse(&format!("{text}\n{line}"), WHAT)? })
    }

    fn check(&self) -> Result<(), Error> {
        within("entries of a receipt", self.of, 0, MAX_ENTRIES as u64)?;
        let least = u64::from(self.answer != Answer::Erased);
        within("entries of a receipt", self.count, least, self.of)?;
        match &self.answer {
            Answer::Erased => Ok(()),
            Answer::Held { reason } => check_reason(reason),
        }
    }

    fn text(&self) -> String {
        let (word, reason) = match &self.answer {
            Answer::Erased => ("erased", String::new()),
            Answer::Held { reason } => ("held", format!("reason {reason}\n")),
        };
        let Self { node, record, time, count, of, .. } = self;
        let origin = node.origin();
        format!("{NAME_PREFIX}{origin}\nnode {node}\nrecord {record}\ntime {time}\n{word} {count} of {of}\n{reason}")
    }
}

/// A receipt whose signature is good: the node whose key it names has signed it. Whose
/// key that is, it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedErasureReceipt {
    said: ErasureReceipt,
    note: Note,
}

impl SignedErasureReceipt {
    /// Reads a receipt and checks its signature.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutOfRange`], [`Error::Length`], [`Error::Text`];
    /// [`Error::BadSignature`], [`Error::UnacceptableKey`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let note = Note::parse(text, WHAT)?;
        let mut lines = note.text().split_terminator('\n');
        let mut line = |prefix: &'static str, problem| -> Result<&str, Error> {
            lines.next().and_then(|line| line.strip_prefix(prefix)).ok_or_else(|| malformed(problem))
        };
        let origin: Origin = line(NAME_PREFIX, "is not named `thingdb.receipt/…`")?.parse()?;
        let node: NodeKey = line("node ", "has no line `node`")?.parse()?;
        let record: EntryId = line("record ", "has no line `record`")?.parse()?;
        let time: Time = line("time ", "has no line `time`")?.parse()?;
        let counts = line("", "has no line with its counts")?;
        let (word, counts) = counts.split_once(' ').ok_or_else(|| malformed("has no line with its counts"))?;
        let (count, of) = counts.split_once(" of ").ok_or_else(|| malformed("has no line with its counts"))?;
        let of = decimal("entries of a receipt", of, MAX_ENTRIES as u64)?;
        let count = decimal("entries of a receipt", count, of)?;
        let answer = match word {
            "erased" => Answer::Erased,
            "held" => Answer::Held { reason: line("reason ", "has no line `reason`")?.to_owned() },
            _ => return Err(malformed("says neither `erased` nor `held`")),
        };
        if lines.next().is_some() {
            return Err(malformed("has more lines of text"));
        }
        if node.origin() != origin {
            return Err(malformed("has a node key that is not that of its name"));
        }
        let said = ErasureReceipt { node, record, time, answer, count, of };
        said.check()?;
        let vkey = node.log_vkey()?;
        let signatures: Vec<&str> = note.signature_lines().collect();
        let [one] = signatures[..] else { return Err(malformed("has more than one signature line")) };
        let (name, blob) = note::signature(one)?;
        let value = blob.strip_prefix(&vkey.id()).filter(|_| name == vkey.name()).ok_or(BAD)?;
        let value: &[u8; 64] = value.try_into().map_err(|_| BAD)?;
        Verifier::new(&node.0)?.verify(note.text().as_bytes(), value, "the erasure receipt")?;
        debug_assert_eq!(vkey.name(), checkpoint::name(origin));
        Ok(Self { said, note })
    }

    /// What it says.
    #[must_use]
    pub const fn said(&self) -> &ErasureReceipt {
        &self.said
    }

    /// The note, as it was read or signed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.note.as_str()
    }

    /// Whether this one takes the place of another one of the same node about the same
    /// record: it is newer. Of two of one time the greater text counts, so that everybody
    /// keeps the same.
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.said.time, self.note.text()) > (other.said.time, other.note.text())
    }
}

impl fmt::Display for SignedErasureReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn receipt(answer: Answer, count: u64, of: u64) -> ErasureReceipt {
        let time = Time::from_micros(1_764_000_000_000_000).unwrap();
        ErasureReceipt { node: key(1).node_key(), record: EntryId([7; 32]), time, answer, count, of }
    }

    #[test]
    fn a_receipt_comes_back_and_says_what_was_signed() {
        let held = Answer::Held { reason: "a lawsuit".into() };
        for (answer, count, of) in [(Answer::Erased, 0, 0), (Answer::Erased, 2, 3), (held, 1, 65_536)] {
            let receipt = receipt(answer, count, of);
            let signed = receipt.sign(&key(1)).unwrap();
            let read = SignedErasureReceipt::parse(signed.as_str()).unwrap();
            assert_eq!((read.said(), &read), (&receipt, &signed));
        }
        assert!(receipt(Answer::Erased, 2, 2).is_complete() && !receipt(Answer::Erased, 2, 3).is_complete());
    }

    #[test]
    fn what_cannot_be_so_is_not_signed() {
        let held = |reason: &str| Answer::Held { reason: reason.into() };
        for bad in [
            receipt(Answer::Erased, 3, 2),
            receipt(Answer::Erased, 0, 65_537),
            receipt(held("why"), 0, 3),
            receipt(held(""), 1, 3),
            receipt(held("two\nlines"), 1, 3),
            receipt(held(&"x".repeat(1025)), 1, 3),
        ] {
            assert!(bad.sign(&key(1)).is_err(), "{bad:?}");
        }
        assert!(receipt(Answer::Erased, 1, 1).sign(&key(2)).is_err());
    }

    #[test]
    fn every_byte_of_it_counts() {
        let signed = receipt(Answer::Held { reason: "a lawsuit".into() }, 1, 2).sign(&key(1)).unwrap();
        let bytes = signed.as_str().as_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(flipped) else { continue };
                assert!(SignedErasureReceipt::parse(&text).is_err(), "{at} {bit}: {text}");
            }
            let Ok(cut) = std::str::from_utf8(&bytes[..at]) else { continue };
            assert!(SignedErasureReceipt::parse(cut).is_err(), "{at}");
        }
    }

    #[test]
    fn the_newer_one_counts_whichever_came_first() {
        let one = receipt(Answer::Erased, 1, 1).sign(&key(1)).unwrap();
        let held = receipt(Answer::Held { reason: "why".into() }, 1, 1).sign(&key(1)).unwrap();
        assert!(one.is_newer_than(&held) != held.is_newer_than(&one) && !one.is_newer_than(&one));
        let time = Time::from_micros(1_764_000_000_000_001).unwrap();
        let later = ErasureReceipt { time, ..held.said().clone() }.sign(&key(1)).unwrap();
        assert!(later.is_newer_than(&one) && later.is_newer_than(&held) && !one.is_newer_than(&later));
    }
}

//! The checkpoint: a state of a node's ledger, as a C2SP signed note.
//!
//! ```text
//! thingdb.node/<origin> LF <size> LF <base64 of the root> LF
//! LF
//! — thingdb.node/<origin> <base64 of key id ‖ signature> LF
//! ```

use std::fmt;

use data_encoding::BASE64;

use crate::codec::{decimal, plain_text, within};
use crate::header::MAX_SEQ;
use crate::json::base64;
use crate::note::{self, ED25519, Note};
use crate::{Error, Hash, NodeKey, Origin, SigningKey, Verifier};

/// Largest note, in bytes.
pub const MAX_NOTE_BYTES: usize = 65_536;

/// Most signature lines of a note.
pub const MAX_SIGNATURES: usize = 64;

/// Greatest size of a ledger.
pub const MAX_SIZE: u64 = MAX_SEQ;

const NAME_PREFIX: &str = "thingdb.node/";

const fn malformed(problem: &'static str) -> Error {
    Error::Malformed { what: "checkpoint", problem }
}

/// A state of a node's ledger: how many entries, and the root over their ids.
///
/// ```
/// use thingdb_format::{Checkpoint, Hash, SignedCheckpoint, SigningKey};
/// let node = SigningKey::generate(&mut rand::rng());
/// let checkpoint = Checkpoint::new(node.node_key().origin(), 7, Hash([7; 32]));
/// let note = checkpoint.sign(&node)?.to_string();
/// let read = SignedCheckpoint::parse(&note)?;
/// assert_eq!(read.verify(&node.node_key())?.size, 7);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The node whose ledger it is.
    pub origin: Origin,
    /// Entries in the ledger.
    pub size: u64,
    /// Merkle tree hash over their ids.
    pub root: Hash,
    /// Lines that others may have added; we write none.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    #[must_use]
    pub const fn new(origin: Origin, size: u64, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Signs the checkpoint with the key of its node.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a size that is too great or for extension
    /// lines, [`Error::BadHash`] for an empty ledger with another root than
    /// that of nothing, [`Error::BadSignature`] if `key` is not that of the
    /// origin.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedCheckpoint, Error> {
        within("extension lines", self.extensions.len() as u64, 0, 0)?;
        check(self)?;
        let node_key = key.node_key();
        if node_key.origin() != self.origin {
            return Err(Error::BadSignature { what: "the checkpoint" });
        }
        let name = name(self.origin);
        let text = format!("{name}\n{}\n{}\n", self.size, BASE64.encode(&self.root.0));
        let line = note::signature_line(&name, note::key_id(&name, ED25519, &node_key.0), &key.sign(text.as_bytes()));
        Ok(SignedCheckpoint { checkpoint: self.clone(), note: Note::parse(&format!("{text}\n{line}"), "checkpoint")? })
    }
}

/// A well-formed note; [`SignedCheckpoint::verify`] says whether the node
/// signed it. The signature lines of others are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Reads a note.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutOfRange`], [`Error::Length`], [`Error::Text`].
    pub fn parse(note: &str) -> Result<Self, Error> {
        let note = Note::parse(note, "checkpoint")?;
        let text = note.text();
        let checkpoint = parse_text(text.strip_suffix('\n').unwrap_or(text))?;
        Ok(Self { checkpoint, note })
    }

    /// Checks that the node with this key signed the note, once.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if it did not, [`Error::UnacceptableKey`].
    pub fn verify(&self, key: &NodeKey) -> Result<&Checkpoint, Error> {
        const BAD: Error = Error::BadSignature { what: "the checkpoint" };
        if key.origin() != self.checkpoint.origin {
            return Err(BAD);
        }
        let verifier = Verifier::new(&key.0)?;
        let name = name(self.checkpoint.origin);
        let own = self.signatures_of(&name, note::key_id(&name, ED25519, &key.0));
        let [one] = own.try_into().map_err(|_| BAD)?;
        let value: [u8; 64] = one.try_into().map_err(|_| BAD)?;
        verifier.verify(self.text().as_bytes(), &value, "the checkpoint")?;
        Ok(&self.checkpoint)
    }

    /// The name of the ledger.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.checkpoint.origin)
    }

    /// The text that is signed, up to and including its last line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.text()
    }

    pub(crate) const fn note(&self) -> &Note {
        &self.note
    }

    /// The lines after the empty one, without their line feeds.
    pub(crate) fn signature_lines(&self) -> impl Iterator<Item = &str> {
        self.note.signature_lines()
    }

    /// The signatures under a name and a key id, without the id.
    pub(crate) fn signatures_of(&self, name: &str, id: [u8; 4]) -> Vec<Vec<u8>> {
        self.note.signatures_of(name, id)
    }

    /// What the note says, whoever signed it.
    #[must_use]
    pub const fn claimed(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, as it was read or signed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.note.as_str()
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text without its last line feed.
fn parse_text(text: &str) -> Result<Checkpoint, Error> {
    let mut lines = text.split('\n');
    let mut line = |problem| lines.next().ok_or_else(|| malformed(problem));
    let name = line("has no name line")?;
    let origin = name.strip_prefix(NAME_PREFIX).ok_or_else(|| malformed("is not named `thingdb.node/…`"))?.parse()?;
    let size = decimal("size", line("has no size line")?, MAX_SIZE)?;
    let root = base64("root", line("has no root line")?, Hash::LEN)?;
    let root = Hash(root.try_into().map_err(|_| malformed("has a root that is not 32 bytes"))?);
    let extensions = lines
        .map(|line| plain_text("extension line", line, 1, MAX_NOTE_BYTES as u64).map(|()| line.to_owned()))
        .collect::<Result<_, _>>()?;
    let checkpoint = Checkpoint { origin, size, root, extensions };
    check(&checkpoint)?;
    Ok(checkpoint)
}

fn check(checkpoint: &Checkpoint) -> Result<(), Error> {
    within("size", checkpoint.size, 0, MAX_SIZE)?;
    let nothing = Hash::of(b"");
    if checkpoint.size == 0 && checkpoint.root != nothing {
        return Err(Error::BadHash {
            field: "root",
            found: checkpoint.root.to_string(),
            computed: nothing.to_string(),
        });
    }
    Ok(())
}

/// The name of the ledger of a node in notes: its origin line.
#[must_use]
pub fn name(origin: Origin) -> String {
    format!("{NAME_PREFIX}{origin}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn signed() -> SignedCheckpoint {
        Checkpoint::new(node().node_key().origin(), 7, Hash([7; 32])).sign(&node()).unwrap()
    }

    #[test]
    fn a_note_comes_back() {
        let note = signed();
        let read = SignedCheckpoint::parse(note.as_str()).unwrap();
        assert_eq!(read, note);
        assert_eq!(read.verify(&node().node_key()).unwrap().root, Hash([7; 32]));
        assert!(read.verify(&SigningKey::from_seed(&[2; 32]).node_key()).is_err());
    }

    #[test]
    fn every_bit_flipped_and_every_truncation_is_refused() {
        let note = signed().to_string();
        let bytes = note.as_bytes();
        let verifies = |bytes: &[u8]| {
            let Ok(text) = std::str::from_utf8(bytes) else { return false };
            SignedCheckpoint::parse(text).is_ok_and(|note| note.verify(&node().node_key()).is_ok())
        };
        assert!(verifies(bytes));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!verifies(&flipped), "{bit}");
        }
        for len in 0..bytes.len() {
            assert!(!verifies(&bytes[..len]), "{len}");
        }
        assert!(!verifies(&[bytes, b"\n"].concat()));
    }

    #[test]
    fn lines_of_others_are_kept() {
        let witness = "\u{2014} witness.example/1 AAAAAAAAAAAA\n";
        let note = format!("{}{witness}", signed());
        let read = SignedCheckpoint::parse(&note).unwrap();
        assert!(read.verify(&node().node_key()).is_ok());
        assert_eq!(read.to_string(), note);
    }

    #[test]
    fn extension_lines_are_kept_and_signed() {
        let name = name(node().node_key().origin());
        let root = BASE64.encode(&[7; 32]);
        let text = format!("{name}\n7\n{root}\nnote to self\n");
        let id = note::key_id(&name, ED25519, &node().node_key().0);
        let note = format!("{text}\n{}", note::signature_line(&name, id, &node().sign(text.as_bytes())));
        let read = SignedCheckpoint::parse(&note).unwrap();
        assert_eq!(read.verify(&node().node_key()).unwrap().extensions, ["note to self"]);
        let without = SignedCheckpoint::parse(&note.replace("note to self\n", "")).unwrap();
        assert!(without.verify(&node().node_key()).is_err());
        assert!(read.claimed().sign(&node()).is_err());
    }

    #[test]
    fn a_second_signature_of_the_node_is_refused() {
        let note = signed().to_string();
        let line = note.lines().last().unwrap();
        let twice = SignedCheckpoint::parse(&format!("{note}{line}\n")).unwrap();
        assert!(twice.verify(&node().node_key()).is_err());
    }

    #[test]
    fn other_spellings_are_refused() {
        let note = signed().to_string();
        let origin = node().node_key().origin();
        for (from, to) in [
            ("\n7\n", "\n07\n"),
            ("\n7\n", "\n+7\n"),
            ("\n7\n", "\n\n"),
            ("\n7\n", "\n9007199254740992\n"),
            ("\n7\n", "\n99999999999999999999\n"),
            ("\n7\n", "\n0\n"),
            ("\n7\n", "\n7\r\n"),
            ("thingdb.node/", "thingdb.nodes/"),
            ("Bwc=\n", "Bwd=\n"),
            ("\u{2014} ", "- "),
            ("\n\n", "\n"),
            ("\n\n", "\n\n\n"),
            ("\n\n", "\nx\u{85}\n\n"),
        ] {
            let changed = note.replacen(from, to, 1);
            assert_ne!(changed, note, "{from:?}");
            assert!(SignedCheckpoint::parse(&changed).is_err(), "{changed}");
        }
        let upper = note.replace(&origin.to_string(), &origin.to_string().to_uppercase());
        assert!(SignedCheckpoint::parse(&upper).is_err());
        let many = format!("{note}{}", "\u{2014} w AAAAAAAA\n".repeat(63));
        assert!(SignedCheckpoint::parse(&many).is_ok());
        let many = format!("{note}{}", "\u{2014} w AAAAAAAA\n".repeat(64));
        assert!(SignedCheckpoint::parse(&many).is_err());
        assert!(SignedCheckpoint::parse(&"x".repeat(MAX_NOTE_BYTES + 1)).is_err());
    }

    #[test]
    fn only_the_node_signs_for_its_ledger() {
        let other = Checkpoint::new(Origin([9; 16]), 7, Hash([7; 32]));
        assert!(matches!(other.sign(&node()), Err(Error::BadSignature { .. })));
        let origin = node().node_key().origin();
        assert!(Checkpoint::new(origin, 0, Hash::of(b"")).sign(&node()).is_ok());
        assert!(matches!(Checkpoint::new(origin, 0, Hash([7; 32])).sign(&node()), Err(Error::BadHash { .. })));
        assert!(Checkpoint::new(origin, MAX_SIZE + 1, Hash([7; 32])).sign(&node()).is_err());
    }
}

//! The heads note: what a node says of the heads of all things, as a C2SP signed
//! note.
//!
//! ```text
//! thingdb.heads/<origin> LF
//! <size of the ledger> LF
//! <base64 of the map's root> LF
//! ledger <base64 of the ledger's root> LF
//! LF
//! — thingdb.node/<origin> <base64 of key id ‖ signature> LF
//! — thingdb.node/<another node, which has recomputed it> … LF
//! ```

use std::fmt;

use data_encoding::BASE64;

use super::map::empty;
use crate::checkpoint::{self, MAX_SIZE};
use crate::codec::{decimal, within};
use crate::json::base64_array;
use crate::note::{self, KeyKind, Note, VerifierKey};
use crate::{Checkpoint, Error, Hash, NodeKey, Origin, SigningKey, Verifier};

const NAME_PREFIX: &str = "thingdb.heads/";
const LEDGER_PREFIX: &str = "ledger ";
const WHAT: &str = "heads note";
const BAD: Error = Error::BadSignature { what: "the heads note" };

const fn malformed(problem: &'static str) -> Error {
    Error::Malformed { what: WHAT, problem }
}

/// The heads of all things of a ledger of one size.
///
/// ```
/// use thingdb_format::heads::{HeadsNote, SignedHeads};
/// use thingdb_format::{Hash, SigningKey};
/// let node = SigningKey::generate(&mut rand::rng());
/// let note = HeadsNote { origin: node.node_key().origin(), size: 7, map: Hash([1; 32]), ledger: Hash([2; 32]) };
/// let signed = note.sign(&node)?;
/// assert_eq!(SignedHeads::parse(signed.as_str())?.verify(&node.node_key())?, &note);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadsNote {
    /// The node whose ledger it is.
    pub origin: Origin,
    /// Entries in the ledger.
    pub size: u64,
    /// Root of the map of heads.
    pub map: Hash,
    /// Root of the ledger.
    pub ledger: Hash,
}

impl HeadsNote {
    /// The note that goes with a checkpoint.
    #[must_use]
    pub const fn of(checkpoint: &Checkpoint, map: Hash) -> Self {
        Self { origin: checkpoint.origin, size: checkpoint.size, map, ledger: checkpoint.root }
    }

    /// Signs the note with the key of its node.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a size that is too great, [`Error::BadHash`] for an
    /// empty ledger with another root than that of nothing, and for roots of nothing
    /// with another size; [`Error::BadSignature`] if `key` is not that of the origin.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedHeads, Error> {
        check(self)?;
        if key.node_key().origin() != self.origin {
            return Err(BAD);
        }
        let (map, ledger) = (BASE64.encode(&self.map.0), BASE64.encode(&self.ledger.0));
        let text = format!("{NAME_PREFIX}{}\n{}\n{map}\n{LEDGER_PREFIX}{ledger}\n", self.origin, self.size);
        let line = note::signature_line_of(key, &text)?;
        Ok(SignedHeads { heads: self.clone(), note: Note::parse(&format!("{text}\n{line}"), WHAT)? })
    }

    /// Whether this note and another one cannot both be true of one ledger: they
    /// are of one node and one size, and say different things.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        self.origin == other.origin && self.size == other.size && self != other
    }
}

/// A well-formed note; [`SignedHeads::verify`] says whether the node signed it. The
/// signature lines of others are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHeads {
    heads: HeadsNote,
    note: Note,
}

impl SignedHeads {
    /// Reads a note.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::OutOfRange`], [`Error::Text`],
    /// [`Error::BadHash`] as [`HeadsNote::sign`].
    pub fn parse(note: &str) -> Result<Self, Error> {
        let note = Note::parse(note, WHAT)?;
        let lines: Vec<&str> = note.text().split_terminator('\n').collect();
        let [name, size, map, ledger] = lines.try_into().map_err(|_| malformed("has not four lines of text"))?;
        let origin = name.strip_prefix(NAME_PREFIX).ok_or_else(|| malformed("is not named `thingdb.heads/…`"))?;
        let ledger = ledger.strip_prefix(LEDGER_PREFIX).ok_or_else(|| malformed("has no line `ledger`"))?;
        let heads = HeadsNote {
            origin: origin.parse()?,
            size: decimal("size", size, MAX_SIZE)?,
            map: Hash(base64_array("root of the map", map)?),
            ledger: Hash(base64_array("root of the ledger", ledger)?),
        };
        check(&heads)?;
        Ok(Self { heads, note })
    }

    /// Checks that the node with this key signed the note, once.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if it did not, [`Error::UnacceptableKey`].
    pub fn verify(&self, key: &NodeKey) -> Result<&HeadsNote, Error> {
        if key.origin() != self.heads.origin || !self.is_signed_by(key)? {
            return Err(BAD);
        }
        Ok(&self.heads)
    }

    /// Whether the node with this key signed the note. Another node than that of the
    /// ledger says by it that it has recomputed the map from the same entries.
    ///
    /// # Errors
    /// [`Error::BadSignature`] if a signature under its name and key id is not good,
    /// or is not the only one; [`Error::UnacceptableKey`].
    pub fn is_signed_by(&self, key: &NodeKey) -> Result<bool, Error> {
        let vkey = key.log_vkey()?;
        let found = self.note.signatures_of(vkey.name(), vkey.id());
        let [one] = &found[..] else { return if found.is_empty() { Ok(false) } else { Err(BAD) } };
        let value: &[u8; 64] = one.as_slice().try_into().map_err(|_| BAD)?;
        Verifier::new(&key.0)?.verify(self.note.text().as_bytes(), value, "the heads note")?;
        Ok(true)
    }

    /// The same for a key that a policy names: that of a log or of a witness.
    ///
    /// # Errors
    /// As there.
    pub fn is_recomputed_by(&self, vkey: &VerifierKey) -> Result<bool, Error> {
        let key = NodeKey(*vkey.key());
        let is_node =
            matches!(vkey.kind(), KeyKind::Log | KeyKind::Witness) && vkey.name() == checkpoint::name(key.origin());
        if is_node && key.origin() != self.heads.origin { self.is_signed_by(&key) } else { Ok(false) }
    }

    /// Signs the note of another node, as one who has recomputed it: gives the
    /// signature line, with its line feed.
    ///
    /// # Errors
    /// [`Error::UnacceptableKey`].
    pub fn signature(&self, key: &SigningKey) -> Result<String, Error> {
        note::signature_line_of(key, self.note.text())
    }

    /// The note with the signature lines of others added. Lines that it has already
    /// are not added twice; whether they are good is not looked at.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::with_signatures`](crate::SignedCheckpoint::with_signatures).
    pub fn with_signatures(&self, lines: &str) -> Result<Self, Error> {
        Ok(Self { heads: self.heads.clone(), note: self.note.with_lines(lines)? })
    }

    /// The note with the signature line of its node alone, which signed it.
    ///
    /// # Errors
    /// As [`SignedHeads::verify`].
    pub fn bare(&self, key: &NodeKey) -> Result<Self, Error> {
        self.verify(key)?;
        let vkey = key.log_vkey()?;
        let own = self.note.signatures_of(vkey.name(), vkey.id());
        let lines: String = own.iter().map(|it| note::signature_line(vkey.name(), vkey.id(), it)).collect();
        let note = Note::parse(&format!("{}\n{lines}", self.note.text()), WHAT)?;
        Ok(Self { heads: self.heads.clone(), note })
    }

    /// What the note says, whoever signed it.
    #[must_use]
    pub const fn claimed(&self) -> &HeadsNote {
        &self.heads
    }

    /// The note, as it was read or signed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.note.as_str()
    }

    /// The text that is signed, up to and including its last line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.text()
    }
}

impl fmt::Display for SignedHeads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn check(note: &HeadsNote) -> Result<(), Error> {
    within("size", note.size, 0, MAX_SIZE)?;
    let nothing = Hash::of(b"");
    for (field, found, of_nothing) in
        [("root of the map", note.map, empty()), ("root of the ledger", note.ledger, nothing)]
    {
        if (note.size == 0) != (found == of_nothing) {
            return Err(Error::BadHash { field, found: found.to_string(), computed: of_nothing.to_string() });
        }
    }
    Ok(())
}

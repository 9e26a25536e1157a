//! What C2SP signed notes (c2sp.org/signed-note) have in common: signature lines,
//! key ids and verifier keys.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};

use crate::checkpoint::{self, MAX_NOTE_BYTES, MAX_SIGNATURES};
use crate::codec::{plain_text, within};
use crate::json::base64;
use crate::{Error, Hash, NodeKey, SigningKey, Verifier};

/// What a signature line starts with: an em dash and a space.
pub(crate) const SIGNATURE_PREFIX: &str = "\u{2014} ";

/// The number of a plain Ed25519 signature.
pub(crate) const ED25519: u8 = 1;

/// The number of a cosignature by Ed25519.
pub(crate) const COSIGNATURE: u8 = 4;

/// Longest name of a key, in bytes.
pub const MAX_NAME_BYTES: usize = 1024;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The notes of its own log.
    Log,
    /// Checkpoints of others, with the time: `cosignature/v1`.
    Witness,
}

impl KeyKind {
    const fn number(self) -> u8 {
        match self {
            Self::Log => ED25519,
            Self::Witness => COSIGNATURE,
        }
    }
}

/// A verifier key (*vkey*) of c2sp.org/signed-note: whose signatures are believed,
/// and under which name. Its text is `name+id+key`.
///
/// ```
/// use thingdb_format::note::{KeyKind, VerifierKey};
/// let text = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
/// let key: VerifierKey = text.parse()?;
/// assert_eq!((key.name(), key.kind()), ("example.com/foo", KeyKind::Log));
/// assert_eq!(key.to_string(), text);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    key: [u8; 32],
}

impl VerifierKey {
    /// The key under a name.
    ///
    /// # Errors
    /// [`Error::Text`] and [`Error::Length`] for a name that a signature line could
    /// not have, [`Error::UnacceptableKey`].
    pub fn new(name: &str, kind: KeyKind, key: [u8; 32]) -> Result<Self, Error> {
        check_name(name)?;
        Verifier::new(&key)?;
        Ok(Self { name: name.to_owned(), kind, key })
    }

    /// The name in signature lines.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The Ed25519 public key.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// What stands before its signatures.
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, self.kind.number(), &self.key)
    }
}

impl NodeKey {
    /// The verifier key under which the node signs the checkpoints of its ledger.
    ///
    /// # Errors
    /// [`Error::UnacceptableKey`].
    pub fn log_vkey(&self) -> Result<VerifierKey, Error> {
        VerifierKey::new(&checkpoint::name(self.origin()), KeyKind::Log, self.0)
    }

    /// The verifier key under which the node cosigns the checkpoints of others.
    ///
    /// # Errors
    /// [`Error::UnacceptableKey`].
    pub fn witness_vkey(&self) -> Result<VerifierKey, Error> {
        VerifierKey::new(&checkpoint::name(self.origin()), KeyKind::Witness, self.0)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.number()][..], &self.key].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        const fn malformed(problem: &'static str) -> Error {
            Error::Malformed { what: "verifier key", problem }
        }
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("is not `name+id+key`"));
        };
        let (kind, key) = match base64("verifier key", key, 33)?.split_first() {
            Some((kind, key)) => (*kind, key.try_into().map_err(|_| malformed("has a key that is not 32 bytes"))?),
            None => return Err(malformed("has no key")),
        };
        let kind = match kind {
            ED25519 => KeyKind::Log,
            COSIGNATURE => KeyKind::Witness,
            _ => return Err(malformed("has a key that is neither Ed25519 nor of a witness by Ed25519")),
        };
        let vkey = Self::new(name, kind, key)?;
        if HEXLOWER.encode(&vkey.id()) != id {
            return Err(malformed("has an id that is not that of its name and key"));
        }
        Ok(vkey)
    }
}

/// A text, an empty line, and signature lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    note: String,
    /// Where the signed text ends, and the empty line follows.
    text_bytes: usize,
}

impl Note {
    /// Reads a note, of whatever text.
    pub(crate) fn parse(note: &str, what: &'static str) -> Result<Self, Error> {
        let malformed = |problem| Error::Malformed { what, problem };
        within(what, note.len() as u64, 1, MAX_NOTE_BYTES as u64)?;
        let (text, signatures) = note.split_once("\n\n").ok_or_else(|| malformed("has no empty line"))?;
        let signatures =
            signatures.strip_suffix('\n').ok_or_else(|| malformed("does not end in a line feed"))?.split('\n');
        let mut count = 0_u64;
        for line in signatures {
            signature(line)?;
            count = count.saturating_add(1);
        }
        within("signature lines", count, 1, MAX_SIGNATURES as u64)?;
        // The first of the two line feeds belongs to the text.
        Ok(Self { text_bytes: text.len().saturating_add(1), note: note.to_owned() })
    }

    /// The note as it was read.
    pub(crate) fn as_str(&self) -> &str {
        &self.note
    }

    /// The text that is signed, up to and including its last line feed.
    pub(crate) fn text(&self) -> &str {
        self.note.split_at_checked(self.text_bytes).unwrap_or_default().0
    }

    /// The lines after the empty one, without their line feeds.
    pub(crate) fn signature_lines(&self) -> impl Iterator<Item = &str> {
        let (_, lines) = self.note.split_at_checked(self.text_bytes).unwrap_or_default();
        lines.trim_matches('\n').split('\n')
    }

    /// The signatures under a name and a key id, without the id.
    pub(crate) fn signatures_of(&self, name: &str, id: [u8; 4]) -> Vec<Vec<u8>> {
        let of = |line| {
            let (by, blob) = signature(line).ok()?;
            if by == name { blob.strip_prefix(&id).map(<[u8]>::to_vec) } else { None }
        };
        self.signature_lines().filter_map(of).collect()
    }

    /// The note with signature lines added, each ended by a line feed, that it does
    /// not have yet.
    pub(crate) fn with_lines(&self, lines: &str) -> Result<Self, Error> {
        let mut note = self.note.clone();
        for line in lines.split_terminator('\n') {
            signature(line)?;
            let has_it = note.lines().any(|known| known == line);
            if !has_it {
                note.push_str(line);
                note.push('\n');
            }
        }
        Self::parse(&note, "note")
    }
}

/// `H(name ‖ 0x0A ‖ number of the kind ‖ key)`, its first 4 bytes.
pub(crate) fn key_id(name: &str, kind: u8, key: &[u8; 32]) -> [u8; 4] {
    let hash = Hash::of(&[name.as_bytes(), &[b'\n', kind], key].concat());
    *hash.0.first_chunk().expect("4 is at most 32")
}

/// A signature line, with its line feed.
pub(crate) fn signature_line(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    format!("{SIGNATURE_PREFIX}{name} {}\n", BASE64.encode(&[&id[..], signature].concat()))
}

/// What the key of a node says of a text, as a signature line with its line feed: under the
/// name of the node's ledger, as checkpoints, heads notes and receipts are signed.
///
/// # Errors
/// [`Error::UnacceptableKey`].
pub fn signature_line_of(key: &SigningKey, text: &str) -> Result<String, Error> {
    let vkey = key.node_key().log_vkey()?;
    Ok(signature_line(vkey.name(), vkey.id(), &key.sign(text.as_bytes())))
}

/// The name and the bytes of a signature line: a key id and a signature, of
/// whatever kind.
pub(crate) fn signature(line: &str) -> Result<(&str, Vec<u8>), Error> {
    const fn malformed(problem: &'static str) -> Error {
        Error::Malformed { what: "signature line", problem }
    }
    let line = line.strip_prefix(SIGNATURE_PREFIX).ok_or_else(|| malformed("is none"))?;
    let (name, blob) = line.split_once(' ').ok_or_else(|| malformed("has no name"))?;
    plain_text("signature name", name, 1, MAX_NOTE_BYTES as u64)?;
    if has_separator(name) {
        return Err(malformed("has a name with a space or a plus"));
    }
    let blob = base64("signature line", blob, MAX_NOTE_BYTES)?;
    if blob.len() < 5 {
        return Err(malformed("has less than 5 bytes"));
    }
    Ok((name, blob))
}

fn check_name(name: &str) -> Result<(), Error> {
    plain_text("key name", name, 1, MAX_NAME_BYTES as u64)?;
    if has_separator(name) {
        return Err(Error::Text { field: "key name", problem: "holds a space or a plus" });
    }
    Ok(())
}

fn has_separator(name: &str) -> bool {
    name.chars().any(|c| c.is_whitespace() || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    #[test]
    fn a_key_comes_back_from_its_text() {
        let node = SigningKey::from_seed(&[1; 32]).node_key();
        for key in [node.log_vkey().unwrap(), node.witness_vkey().unwrap()] {
            assert_eq!(key.to_string().parse::<VerifierKey>().unwrap(), key);
        }
        assert_ne!(node.log_vkey().unwrap().id(), node.witness_vkey().unwrap().id());
    }

    #[test]
    fn other_texts_are_refused() {
        let good = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
        for (from, to) in [
            ("foo", "bar"),
            ("foo", "fo o"),
            ("530d903a", "530d903b"),
            ("530d903a", "530D903A"),
            ("+530d903a", ""),
            ("AekyeRrm", "AukyeRrm"),
            ("3U2k", ""),
            ("example.com/foo", ""),
            ("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", ""),
        ] {
            let changed = good.replacen(from, to, 1);
            assert!(changed.parse::<VerifierKey>().is_err(), "{changed}");
        }
    }
}

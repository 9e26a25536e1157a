//! A sealed entry in the prototype's ledger: cut out of its line, in one of two
//! forms, and what opens it.
//!
//! ```text
//! {"nonce": …, "ciphertext": …}                                         legacy
//! {"payload": {"nonce": …, "ciphertext": …}, "recipients": […], "meta": {…}}  envelope
//! ```

use std::fmt;

use hkdf::Hkdf;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use thingdb_format::Hash;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::cipher::{self, bytes, fixed};
use super::document::excerpt;
use super::keys::OldKeys;

/// Pieces of one line that are looked at. A line has one; torn and glued ones
/// have a few.
const MAX_PIECES: usize = 1000;

/// Recipients of one entry that are tried.
const MAX_RECIPIENTS: usize = 256;

/// Longest line that is told from others, in bytes.
const MAX_TOLD_BYTES: usize = 256 << 10;

/// How an entry lay in the prototype's ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Form {
    /// Under the key of the passphrase, without a chain.
    Legacy,
    /// Under a key of its own, sealed to recipients, chained.
    Envelope,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Legacy => "legacy",
            Self::Envelope => "envelope",
        })
    }
}

/// An entry as it lies in the ledger.
pub(crate) struct Sealed {
    payload: Packet,
    /// Nothing in legacy form.
    recipients: Option<Vec<Recipient>>,
}

/// Something under AES-256-GCM, tag at the end, no associated data.
struct Packet {
    nonce: [u8; 12],
    ciphertext: Vec<u8>,
}

struct Recipient {
    id: String,
    ephemeral: [u8; 32],
    cek: Packet,
}

#[derive(Deserialize)]
struct RawPacket {
    nonce: String,
    ciphertext: String,
}

#[derive(Deserialize)]
struct RawEnvelope {
    payload: RawPacket,
    recipients: Vec<RawRecipient>,
}

#[derive(Deserialize)]
struct RawRecipient {
    id: String,
    ephemeral_pub: String,
    enc_cek: String,
    nonce: String,
}

impl Sealed {
    /// The entries of a line: one, unless the line is torn or was glued to
    /// another. What lies between them is told as such.
    pub(crate) fn of_line(line: &[u8]) -> Vec<Result<Self, String>> {
        let mut found = Vec::new();
        let mut rest = line.trim_ascii();
        while !rest.is_empty() {
            if found.len() >= MAX_PIECES {
                found.push(Err(format!("{} more bytes after {MAX_PIECES} pieces of a line", rest.len())));
                break;
            }
            let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<serde::de::IgnoredAny>();
            let (piece, fault) = match values.next() {
                Some(Ok(_)) => (rest.get(..values.byte_offset()).unwrap_or(rest), None),
                // The piece ends where another entry begins, if one does.
                Some(Err(_)) => {
                    let end = begins(rest.get(1..).unwrap_or_default()).map_or(rest.len(), |at| at + 1);
                    let fault = if rest.first() == Some(&b'{') { "a torn entry" } else { "not JSON" };
                    let piece = rest.get(..end).unwrap_or(rest);
                    (piece, Some(format!("{fault}: {}", excerpt(&String::from_utf8_lossy(piece)))))
                }
                None => break,
            };
            found.push(fault.map_or_else(|| Self::of_object(piece), Err));
            rest = rest.get(piece.len()..).unwrap_or_default().trim_ascii();
        }
        found
    }

    fn of_object(object: &[u8]) -> Result<Self, String> {
        if let Ok(raw) = serde_json::from_slice::<RawEnvelope>(object) {
            let recipients = raw.recipients.into_iter().map(Recipient::decode).collect::<Result<_, _>>()?;
            return Ok(Self { payload: Packet::decode(&raw.payload)?, recipients: Some(recipients) });
        }
        if let Ok(raw) = serde_json::from_slice::<RawPacket>(object) {
            return Ok(Self { payload: Packet::decode(&raw)?, recipients: None });
        }
        Err(format!("neither form of a ledger line: {}", excerpt(&String::from_utf8_lossy(object))))
    }

    pub(crate) const fn form(&self) -> Form {
        if self.recipients.is_some() { Form::Envelope } else { Form::Legacy }
    }

    /// By what the chain names it.
    pub(crate) fn ciphertext_hash(&self) -> Hash {
        Hash::of(&self.payload.ciphertext)
    }

    /// The document, if `keys` open it.
    pub(crate) fn open(&self, keys: &OldKeys) -> Result<Zeroizing<String>, String> {
        let plaintext = match &self.recipients {
            None => {
                let opened = self.payload.open(keys.ledger()?);
                opened.ok_or("it does not open with the key of the passphrase: changed, or under another one")?
            }
            Some(recipients) => {
                let cek = open_cek(recipients, keys.node()?)?;
                self.payload.open(&cek).ok_or("its payload does not open with its key: it was changed")?
            }
        };
        if std::str::from_utf8(&plaintext).is_err() {
            return Err("it holds bytes that are not UTF-8".to_owned());
        }
        let mut plaintext = plaintext;
        let text = String::from_utf8(std::mem::take(&mut *plaintext));
        Ok(Zeroizing::new(text.expect("it was found to be UTF-8")))
    }
}

/// The key of an entry that is sealed to us. The prototype's nodes do not know
/// by which name others call them, so every recipient is tried.
fn open_cek(recipients: &[Recipient], node: &StaticSecret) -> Result<Zeroizing<[u8; 32]>, String> {
    let ours = |recipient: &&Recipient| recipient.id == "__node__";
    let (first, others): (Vec<_>, Vec<_>) = recipients.iter().take(MAX_RECIPIENTS).partition(ours);
    let opened = first.iter().chain(&others).find_map(|recipient| recipient.open(node));
    opened.ok_or_else(|| {
        let names: Vec<&str> = recipients.iter().take(8).map(|recipient| recipient.id.as_str()).collect();
        match (names.is_empty(), first.is_empty()) {
            (true, _) => "it is sealed to nobody".to_owned(),
            (_, true) => format!("it is sealed to {} and not to this node", excerpt(&names.join(", "))),
            _ => "its key does not open with the node's key: changed, or of another node".to_owned(),
        }
    })
}

impl Packet {
    fn decode(raw: &RawPacket) -> Result<Self, String> {
        Ok(Self { nonce: fixed("nonce", &raw.nonce)?, ciphertext: bytes("ciphertext", &raw.ciphertext)? })
    }

    fn open(&self, key: &[u8; 32]) -> Option<Zeroizing<Vec<u8>>> {
        cipher::open(key, &self.nonce, &self.ciphertext)
    }
}

impl Recipient {
    fn decode(raw: RawRecipient) -> Result<Self, String> {
        let cek = Packet { nonce: fixed("nonce", &raw.nonce)?, ciphertext: bytes("enc_cek", &raw.enc_cek)? };
        Ok(Self { id: raw.id, ephemeral: fixed("ephemeral_pub", &raw.ephemeral_pub)?, cek })
    }

    fn open(&self, node: &StaticSecret) -> Option<Zeroizing<[u8; 32]>> {
        let shared = node.diffie_hellman(&PublicKey::from(self.ephemeral));
        let mut kek = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, shared.as_bytes()).expand(b"thingdb-enc", &mut kek[..]).ok()?;
        let opened = self.cek.open(&kek)?;
        Some(Zeroizing::new(opened.as_slice().try_into().ok()?))
    }
}

/// Where the first entry begins that is not the payload within an envelope.
fn begins(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).filter(|at| bytes.get(*at) == Some(&b'{')).find(|at| {
        let (before, after) = bytes.split_at(*at);
        let after = after.get(1..).unwrap_or_default().trim_ascii_start();
        let within = || {
            let before = before.trim_ascii_end();
            before.strip_suffix(b":").is_some_and(|before| before.trim_ascii_end().ends_with(b"\"payload\""))
        };
        after.starts_with(b"\"payload\"") || (after.starts_with(b"\"nonce\"") && !within())
    })
}

/// Whether a line that is none of ours is one of the prototype's: as it lies in
/// a ledger, as a string, or in an array of strings, as its server gave them.
pub(crate) fn is_ledger_line(line: &[u8]) -> bool {
    let is_sealed = |object: &[u8]| {
        serde_json::from_slice::<RawEnvelope>(object).is_ok() || serde_json::from_slice::<RawPacket>(object).is_ok()
    };
    // It only chooses the words of a refusal. The parser holds all of what it
    // reads here, and more.
    if line.len() > MAX_TOLD_BYTES {
        return false;
    }
    let text = line.trim_ascii();
    match text.first() {
        Some(b'{') => is_sealed(text),
        Some(b'"') => serde_json::from_slice::<String>(text).is_ok_and(|inner| is_sealed(inner.as_bytes())),
        Some(b'[') => {
            let lines = serde_json::from_slice::<Vec<String>>(text).unwrap_or_default();
            lines.first().is_some_and(|inner| is_sealed(inner.as_bytes()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEGACY: &str = r#"{"nonce": "AAAAAAAAAAAAAAAA", "ciphertext": "AAAA"}"#;
    const ENVELOPE: &str =
        r#"{"payload": {"nonce": "AAAAAAAAAAAAAAAA", "ciphertext": "AAAA"}, "recipients": [], "meta": {}}"#;

    /// `l`, `e` for an entry of either form, `-` for something else.
    fn shape(line: &str) -> String {
        let kinds = Sealed::of_line(line.as_bytes());
        kinds
            .iter()
            .map(|piece| piece.as_ref().map_or('-', |sealed| if sealed.form() == Form::Legacy { 'l' } else { 'e' }))
            .collect()
    }

    #[test]
    fn glued_entries_are_told_apart() {
        assert_eq!(shape(LEGACY), "l");
        assert_eq!(shape(&format!(" {ENVELOPE}\r")), "e");
        assert_eq!(shape(&format!("{LEGACY}{ENVELOPE} {LEGACY}")), "lel");
        assert_eq!(shape(&format!("garbage{LEGACY}")), "-l");
        assert_eq!(shape(&format!("{LEGACY}garbage")), "l-");
        assert_eq!(shape(r#"{"nonce": 1}"#), "-");
        assert_eq!(shape(""), "");
        assert_eq!(shape("[1,2] \"x\" 7"), "---");
    }

    #[test]
    fn a_torn_entry_hides_no_other_and_its_payload_is_no_entry() {
        for (torn, kind) in [(LEGACY, 'l'), (ENVELOPE, 'e')] {
            for end in 1..torn.len() {
                if torn[..end].trim_end().ends_with("\"payload\":") {
                    // What follows looks like the payload. It cannot be told.
                    continue;
                }
                let line = format!("{}{LEGACY}", &torn[..end]);
                let found = shape(&line);
                assert!(found.ends_with('l'), "{found}: {line}");
                assert!(!found.contains('e') && found.matches('l').count() == 1, "{found}: {line}");
                assert!(!shape(&torn[..end]).contains(kind));
            }
        }
    }

    #[test]
    fn lines_of_the_prototype_are_recognised() {
        let quoted = serde_json::to_string(LEGACY).unwrap();
        for line in [LEGACY, ENVELOPE, &quoted, &format!("[{quoted}, {quoted}]")] {
            assert!(is_ledger_line(line.as_bytes()), "{line}");
        }
        for line in ["", "{}", "[]", "[1]", "\"{}\"", r#"{"nonce": "x"}"#] {
            assert!(!is_ledger_line(line.as_bytes()), "{line}");
        }
    }
}

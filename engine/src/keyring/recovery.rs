//! The recovery key: 256 random bits that open the keyring when every
//! passphrase is forgotten, as text to be written down.
//!
//! ```text
//! TDBREC1-XXXX-XXXX-…   14 groups: base32 of key 32 ‖ checksum 3
//! ```

use std::fmt;

use rand::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::KeyringError;
use super::seal::Secret;

const PREFIX: &[u8] = b"TDBREC1";
/// Crockford's: no letter looks like a digit, and all of [`PREFIX`] is in it.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHECKSUM_LABEL: &[u8] = b"thingdb/1/recovery-key";
const CHECKSUM_BYTES: usize = 3;
/// 280 bits, which 56 characters hold without a bit to spare: a key has one
/// spelling.
const BYTES: usize = 32 + CHECKSUM_BYTES;
const CHARACTERS: usize = 56;
const GROUP: usize = 4;
/// Longer text is refused unread.
const MAX_TEXT_BYTES: usize = 1024;

/// A key that opens the keyring, for a safe place on paper.
///
/// ```
/// use thingdb::RecoveryKey;
/// let key = RecoveryKey::generate(&mut rand::rng());
/// let written = key.text().as_str().to_lowercase().replace('-', " ");
/// let typed = RecoveryKey::parse(&written)?;
/// assert_eq!(typed.text().as_str(), key.text().as_str());
/// assert_eq!(format!("{key:?}"), "RecoveryKey(..)");
/// # Ok::<(), thingdb::KeyringError>(())
/// ```
pub struct RecoveryKey(Secret);

impl RecoveryKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(Secret::generate(rng))
    }

    /// Reads the text form, forgiving about case, white space, dashes, and O,
    /// I and L for 0, 1 and 1.
    ///
    /// # Errors
    /// [`KeyringError::NotARecoveryKey`], which does not repeat the text.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let refuse = |problem| KeyringError::NotARecoveryKey { problem };
        if text.len() > MAX_TEXT_BYTES {
            return Err(refuse("is too long"));
        }
        let mut typed = Zeroizing::new(Vec::with_capacity(text.len()));
        typed.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-').map(plain_character));
        let digits = typed.strip_prefix(PREFIX).ok_or_else(|| refuse("does not begin with TDBREC1"))?;
        if digits.len() != CHARACTERS {
            return Err(refuse("does not have 14 groups of 4 characters"));
        }
        let bytes = from_base32(digits).ok_or_else(|| refuse("holds a character that is not in its alphabet"))?;
        let (key, checksum) = bytes.split_first_chunk().expect("35 bytes begin with 32");
        if !bool::from(checksum.ct_eq(&*checksum_of(key))) {
            return Err(refuse("has a typing error: its checksum does not match"));
        }
        Ok(Self(Secret::copy_of(key)))
    }

    /// The text form.
    #[must_use]
    pub fn text(&self) -> RecoveryText {
        let mut bytes = Zeroizing::new([0; BYTES]);
        bytes[..32].copy_from_slice(self.0.as_bytes());
        bytes[32..].copy_from_slice(&*checksum_of(self.0.as_bytes()));
        let digits = to_base32(&bytes);
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + CHARACTERS + CHARACTERS / GROUP));
        text.extend(PREFIX.iter().map(|byte| char::from(*byte)));
        for group in digits.chunks(GROUP) {
            text.push('-');
            text.extend(group.iter().map(|byte| char::from(*byte)));
        }
        RecoveryText(text)
    }

    pub(super) const fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(..)")
    }
}

/// The text form of a recovery key, wiped when it is dropped.
pub struct RecoveryText(Zeroizing<String>);

impl RecoveryText {
    /// The text, to be shown once.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RecoveryText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryText(..)")
    }
}

fn checksum_of(key: &[u8; 32]) -> Zeroizing<[u8; CHECKSUM_BYTES]> {
    let mut digest = Sha256::new();
    digest.update(CHECKSUM_LABEL);
    digest.update([0]);
    digest.update(key);
    let digest: Zeroizing<[u8; 32]> = Zeroizing::new(digest.finalize().into());
    Zeroizing::new(*digest.first_chunk().expect("a hash has more than 3 bytes"))
}

const fn plain_character(byte: u8) -> u8 {
    match byte.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        upper => upper,
    }
}

/// Five bytes are eight characters.
fn to_base32(bytes: &[u8; BYTES]) -> Zeroizing<[u8; CHARACTERS]> {
    let mut out = Zeroizing::new([0; CHARACTERS]);
    for (chunk, digits) in bytes.chunks(5).zip(out.chunks_mut(8)) {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for (digit, shift) in digits.iter_mut().zip((0..8).rev()) {
            *digit = ALPHABET[(bits >> (5 * shift) & 31) as usize];
        }
    }
    out
}

/// The inverse for [`CHARACTERS`] characters.
fn from_base32(digits: &[u8]) -> Option<Zeroizing<[u8; BYTES]>> {
    let mut out = Zeroizing::new([0; BYTES]);
    for (digits, chunk) in digits.chunks(8).zip(out.chunks_mut(5)) {
        let mut bits = 0_u64;
        for digit in digits {
            let value = ALPHABET.iter().position(|symbol| symbol == digit)?;
            bits = bits << 5 | value as u64;
        }
        chunk.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        RecoveryKey::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn text_has_the_documented_form() {
        let key = RecoveryKey(Secret::copy_of(&[0; 32]));
        let text = key.text();
        assert!(text.as_str().starts_with("TDBREC1-0000-0000-0000-"), "{}", text.as_str());
        assert_eq!(text.as_str().len(), 7 + 14 * 5);
    }

    #[test]
    fn parse_forgives_what_hands_and_paper_do() {
        let key = RecoveryKey::generate(&mut rand::rng());
        let text = key.text();
        let text = text.as_str();
        let spellings = [
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', "  \n"),
            format!("  {text}\r\n"),
            text.replace('0', "O").replace('1', "l"),
            text.replace('0', "o").replace('1', "I"),
        ];
        for spelling in spellings {
            assert_eq!(RecoveryKey::parse(&spelling).unwrap().0.as_bytes(), key.0.as_bytes(), "{spelling}");
        }
    }

    #[test]
    fn every_typing_error_is_noticed_and_not_repeated() {
        let text = RecoveryKey(Secret::copy_of(&[0x5a; 32])).text();
        let text = text.as_str();
        for at in 0..text.len() {
            for wrong in ALPHABET {
                if text.as_bytes()[at] == *wrong || text.as_bytes()[at] == b'-' {
                    continue;
                }
                let mut typed = text.as_bytes().to_vec();
                typed[at] = *wrong;
                let typed = String::from_utf8(typed).unwrap();
                // One in 2²⁴ would pass; this key has none.
                assert!(!problem(&typed).contains(&typed[8..20]), "{at}");
            }
            assert!(RecoveryKey::parse(&text[..at]).is_err());
        }
        assert!(problem("").contains("TDBREC1"));
        assert!(problem(&format!("{text}0")).contains("groups"));
        assert!(problem(&"x".repeat(2000)).contains("too long"));
        assert!(problem(&format!("TDBREC1{}", "U".repeat(56))).contains("alphabet"));
        assert!(problem(&format!("TDBREC1{}", "é".repeat(28))).contains("alphabet"));
    }
}

//! The text of a token: 256 random bits and a checksum, of which only the hash is
//! kept.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Of tokens of ours; those that came from the prototype have any form.
const PREFIX: &str = "tdb_";

/// Random bytes of a token, and the bytes of the checksum behind them.
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// A longer text is no token.
pub(crate) const MAX_TEXT_BYTES: usize = 512;

/// The text of a token, to be shown once. It is wiped when it is dropped.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// The text. Whoever has it may do what the token allows.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(..)")
    }
}

/// What stands for a token: SHA-256 of its text. Its 256 random bits need no
/// salt and no stretching.
pub(crate) fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn checksum(secret: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest: [u8; 32] = Sha256::new_with_prefix(b"thingdb token checksum\0").chain_update(secret).finalize().into();
    *digest.first_chunk().expect("4 is less than 32")
}

impl TokenText {
    /// A new one.
    pub(crate) fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES + CHECKSUM_BYTES]);
        let (secret, check) = bytes.split_at_mut(SECRET_BYTES);
        rand::fill(secret);
        check.copy_from_slice(&checksum(secret));
        let digits = Zeroizing::new(BASE32_NOPAD.encode(&*bytes));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + digits.len()));
        text.push_str(PREFIX);
        text.extend(digits.chars().map(|digit| digit.to_ascii_lowercase()));
        Self(text)
    }
}

/// Whether a text of our form is spelled wrongly; another form is unknown.
pub(crate) fn is_mistyped(text: &str) -> bool {
    let Some(digits) = text.strip_prefix(PREFIX) else { return false };
    let digits = Zeroizing::new(digits.to_ascii_uppercase());
    let Ok(bytes) = BASE32_NOPAD.decode(digits.as_bytes()).map(Zeroizing::new) else { return true };
    match bytes.split_at_checked(SECRET_BYTES) {
        Some((secret, check)) => check != checksum(secret),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_what_it_is_and_when_it_was_mistyped() {
        let text = TokenText::generate();
        assert_eq!(text.as_str().len(), 4 + 58);
        assert!(text.as_str().starts_with("tdb_"));
        assert!(!is_mistyped(text.as_str()));
        assert_eq!(format!("{text:?}"), "TokenText(..)");
        for at in 4..text.as_str().len() {
            let mut other = text.as_str().as_bytes().to_vec();
            other[at] = if other[at] == b'a' { b'b' } else { b'a' };
            assert!(is_mistyped(std::str::from_utf8(&other).unwrap()), "at {at}");
        }
        assert!(is_mistyped(&text.as_str()[..61]));
        assert!(is_mistyped("tdb_"));
        assert!(!is_mistyped("a token of the prototype"));
    }
}

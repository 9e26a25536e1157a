//! The passphrase that opens a keyring.

use std::fmt;

use zeroize::Zeroizing;

use super::KeyringError;

/// A passphrase as it was typed or read: its bytes are wiped when it is
/// dropped, and are never normalised or trimmed.
///
/// ```
/// use thingdb::Passphrase;
/// let passphrase = Passphrase::new("correct horse");
/// assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
/// assert!(passphrase.check_new().is_ok());
/// assert!(Passphrase::new("short").check_new().is_err());
/// ```
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// The one rule for a new passphrase. An old one opens what it opened.
    pub const LEAST_CHARACTERS: usize = 8;

    /// Takes the bytes over. Of borrowed text only the copy is wiped.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// Checks the one rule for a new passphrase. Bytes that are not UTF-8
    /// count as a character each.
    ///
    /// # Errors
    /// [`KeyringError::PassphraseTooShort`].
    pub fn check_new(&self) -> Result<(), KeyringError> {
        let found = std::str::from_utf8(&self.0).map_or(self.0.len(), |text| text.chars().count());
        if found < Self::LEAST_CHARACTERS {
            return Err(KeyringError::PassphraseTooShort { found, least: Self::LEAST_CHARACTERS });
        }
        Ok(())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Passphrase {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<Vec<u8>> for Passphrase {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        assert!(Passphrase::from("äöüß".to_owned()).check_new().is_err());
        assert!(Passphrase::from("äöüßäöüß".to_owned()).check_new().is_ok());
        assert!(Passphrase::from(vec![0xff; 7]).check_new().is_err());
        assert!(Passphrase::from(vec![0xff; 8]).check_new().is_ok());
    }
}

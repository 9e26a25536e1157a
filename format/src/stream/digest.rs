//! The digest of a trailer: it shows accidents to bytes that change no entry,
//! such as a flipped bit in an envelope. Nobody signs it.

use sha2::{Digest as _, Sha256};

use crate::Hash;
use crate::json::strip_line_end;

/// `H(H(line) ‖ H(line) ‖ …)` over the entry lines since the header, each
/// without its line end; in a binary stream over the frames, each with its
/// length. Lines that cannot be read count too, empty ones do not.
///
/// ```
/// use thingdb_format::stream::{Digest, hash_of_line};
/// let mut digest = Digest::default();
/// digest.push(&hash_of_line(b"{\"v\":1}\r\n"));
/// let mut other = Digest::default();
/// other.push(&hash_of_line(b"{\"v\":1}"));
/// assert_eq!(digest.value(), other.value());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Digest(Sha256);

impl Digest {
    /// Adds the hash of a line or frame.
    pub fn push(&mut self, hash: &Hash) {
        self.0.update(hash.0);
    }

    /// What stands in a trailer.
    #[must_use]
    pub fn value(&self) -> Hash {
        Hash(self.0.clone().finalize().into())
    }
}

/// The hash of a line without its line end.
#[must_use]
pub fn hash_of_line(line: &[u8]) -> Hash {
    Hash::of(strip_line_end(line))
}

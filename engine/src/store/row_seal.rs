//! How a row that follows from the ledger is sealed: under the row key, with the
//! row's own key as associated data, so that none can be put in another's place.

use bincode::Decode;
use zeroize::Zeroizing;

use crate::encoding::decode;
use crate::error::{Error, Result};
use crate::keyring::SealKey;
use crate::storage::Storage;

/// A row that is sealed under the row key, with its own key as associated
/// data.
pub(crate) struct RowSeal(SealKey);

impl RowSeal {
    pub(crate) const fn new(key: SealKey) -> Self {
        Self(key)
    }

    pub(crate) fn seal(&self, row: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.0.seal(row, plaintext, &mut rand::rng())
    }

    pub(crate) fn open(&self, row: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        self.0.open(row, sealed).ok_or_else(|| Error::damaged(row_in_words(row), "it does not open"))
    }

    pub(crate) fn open_value<T: Decode<()>>(&self, row: &[u8], sealed: &[u8]) -> Result<T> {
        let open = Zeroizing::new(self.open(row, sealed)?);
        decode(&open).map_err(|problem| Error::damaged(row_in_words(row), problem))
    }

    /// The value of a small row that is read as a whole; the default where there is
    /// none.
    pub(crate) fn read_or_default<T: Decode<()> + Default>(&self, storage: &dyn Storage, row: &[u8]) -> Result<T> {
        storage.get(row)?.map_or_else(|| Ok(T::default()), |sealed| self.open_value(row, &sealed))
    }
}

fn row_in_words(row: &[u8]) -> String {
    let what = match row.first() {
        Some(b'T') => "a thing's state row",
        Some(b'C') => "a thing's postings row",
        Some(b'M') => "a tile of the ledger's tree",
        Some(b'K') => "a row of KEK packets",
        Some(b'P') => "a part of a payload",
        Some(b'N') => "a page of the map of heads",
        Some(b'U' | b'V') => "a row of the log of changes",
        Some(b'D' | b'G' | b'J' | b'A') => "what is known of an erasure",
        Some(b'R' | b'X' | b'E' | b'Q' | b'B') => "what is remembered of another node",
        _ => "a row",
    };
    what.to_owned()
}

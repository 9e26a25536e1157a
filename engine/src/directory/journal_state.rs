//! Whether the journal of a database is whole: the second copy of its rows, which
//! is read only when the first one has lost something.

use std::path::Path;

use crate::error::Result;
use crate::storage::journal::{self, Piece};

/// What a journal has, and what of it does not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalState {
    /// Commits that read.
    pub commits: u64,
    /// Where it is damaged, in words. What lies there is lost only if the store
    /// has lost it, too.
    pub damage: Vec<String>,
}

/// Reads the whole journal of the database in `dir`, also beside whoever has it
/// open. Nothing is written. Takes time in proportion to the journal: about a
/// second a gigabyte.
///
/// # Errors
/// [`Error::Storage`](crate::Error::Storage) if a file cannot be read, or there is
/// no journal.
pub fn journal_state(dir: impl AsRef<Path>) -> Result<JournalState> {
    let mut found = JournalState::default();
    for piece in journal::read(&dir.as_ref().join("journal"), 0)? {
        match piece? {
            Piece::Frame { .. } => found.commits += 1,
            Piece::Hole(hole) => {
                let (file, at) = (hole.file.display(), hole.offset);
                found.damage.push(if hole.sequences.is_empty() {
                    format!("{} bytes of '{file}' from byte {at} on are none of a journal", hole.bytes)
                } else {
                    let (first, last) = (hole.sequences.start(), hole.sequences.end());
                    format!("commits {first} to {last} do not read in '{file}', from byte {at} on")
                });
            }
        }
    }
    Ok(found)
}

//! What a user should know of a database that is open.

use std::fmt;

use crate::node::standing::Standing;

/// Something that was noticed when the database was opened, and that its user
/// should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The ledger is not what the node's own last checkpoint says. Reading
    /// goes on, writing is refused.
    Standing(Standing),
    /// The own checkpoint is missing or cannot be read: a ledger that was cut
    /// would not be noticed.
    Checkpoint(String),
    /// Entries at the end of the ledger do not open. Reading goes on, writing
    /// is refused.
    Damaged(String),
    /// Something that follows from the ledger was damaged and made anew.
    Repaired(String),
    /// One of the two files of the keyring was damaged, missing or old, or keys
    /// are missing in it.
    Keyring(String),
    /// It was opened to read only because nothing can be written there.
    ReadOnly(String),
    /// The keyring can be read by others.
    KeyringMode(String),
    /// The directory can be written to by others.
    DirectoryMode(String),
    /// The passphrase's stretching could not be strengthened.
    KdfUpgrade(String),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standing(standing) => write!(f, "{standing}"),
            Self::Checkpoint(text)
            | Self::Damaged(text)
            | Self::Repaired(text)
            | Self::ReadOnly(text)
            | Self::Keyring(text)
            | Self::KeyringMode(text)
            | Self::DirectoryMode(text)
            | Self::KdfUpgrade(text) => f.write_str(text),
        }
    }
}

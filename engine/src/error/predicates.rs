//! What a program can do about an error.

use super::Error;
use crate::keyring::KeyringError;
use crate::storage::StorageError;

impl Error {
    /// There is no database in the directory.
    #[must_use]
    pub const fn is_no_database(&self) -> bool {
        matches!(self, Self::NoDatabase { .. })
    }

    /// There is a database in the directory already.
    #[must_use]
    pub const fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }

    /// Another process or handle has the database open.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        match self {
            Self::Locked { .. } => true,
            Self::Storage(problem) => matches!(**problem, StorageError::Locked { .. }),
            _ => false,
        }
    }

    /// The directory, or something in it, belongs to another user.
    #[must_use]
    pub const fn is_other_user(&self) -> bool {
        matches!(self, Self::OtherUser { .. })
    }

    /// Something else lies in the place of a file of the database.
    #[must_use]
    pub const fn is_not_own_file(&self) -> bool {
        matches!(self, Self::NotOwnFile { .. })
    }

    /// The directory lies on a medium that cannot be written to.
    #[must_use]
    pub fn is_read_only_medium(&self) -> bool {
        let read_only = |source: &std::io::Error| source.kind() == std::io::ErrorKind::ReadOnlyFilesystem;
        match self {
            Self::File { source, .. } => read_only(source),
            Self::Storage(problem) => matches!(&**problem, StorageError::Io { source, .. } if read_only(source)),
            Self::Keyring(problem) => matches!(&**problem, KeyringError::Io { source, .. } if read_only(source)),
            _ => false,
        }
    }

    /// No key slot opens with this passphrase or recovery key.
    #[must_use]
    pub fn is_wrong_passphrase(&self) -> bool {
        matches!(self, Self::PrototypePassphrase { .. })
            || self.keyring().is_some_and(|problem| {
                matches!(problem, KeyringError::WrongPassphrase | KeyringError::WrongRecoveryKey)
            })
    }

    /// A newer program wrote the database or the bytes.
    #[must_use]
    pub fn is_newer_version(&self) -> bool {
        match self {
            Self::NewerVersion { .. } => true,
            Self::Keyring(problem) => matches!(**problem, KeyringError::NewerVersion { .. }),
            Self::Invalid(problem) => problem.is_newer_version(),
            _ => false,
        }
    }

    /// An older program wrote the database, in a layout that this one does not
    /// read.
    #[must_use]
    pub fn is_older_version(&self) -> bool {
        match self {
            Self::OlderVersion { .. } => true,
            Self::Keyring(problem) => matches!(**problem, KeyringError::OlderVersion { .. }),
            _ => false,
        }
    }

    /// The keyring, the storage or a record is damaged.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::NotItsBackup { .. } => true,
            Self::Keyring(problem) => matches!(**problem, KeyringError::Damaged { .. } | KeyringError::Lost { .. }),
            Self::Storage(problem) => matches!(**problem, StorageError::Corrupt { .. }),
            _ => false,
        }
    }

    fn keyring(&self) -> Option<&KeyringError> {
        match self {
            Self::Keyring(problem) => Some(problem),
            _ => None,
        }
    }

    /// The head was not the expected one; nothing was written.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// The disk is full; nothing was written, and writing goes on once there
    /// is room.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let full = |source: &std::io::Error| matches!(source.kind(), StorageFull | QuotaExceeded);
        match self {
            Self::Storage(problem) => match &**problem {
                StorageError::DiskFull { .. } => true,
                StorageError::Io { source, .. } => full(source),
                _ => false,
            },
            Self::Keyring(problem) => matches!(&**problem, KeyringError::Io { source, .. } if full(source)),
            Self::File { source, .. } | Self::Stream { source, .. } => full(source),
            _ => false,
        }
    }

    /// It needs commits of the journal that were dropped, because recent ones only are
    /// kept: a first backup does, and whoever reads from the journal alone.
    #[must_use]
    pub fn is_of_dropped_commits(&self) -> bool {
        let inner = self.system_cause().and_then(std::io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<crate::storage::journal::Dropped>())
    }

    /// What the operating system answered, if it refused a call: to open, write or
    /// sync a file, to start a thread.
    #[must_use]
    pub fn system_cause(&self) -> Option<&std::io::Error> {
        match self {
            Self::File { source, .. } => Some(source),
            // Others come from who made the stream.
            Self::Stream { source, .. } => Some(&**source).filter(|source| source.raw_os_error().is_some()),
            Self::Storage(problem) => match &**problem {
                StorageError::Io { source, .. } => Some(source),
                _ => None,
            },
            Self::Keyring(problem) => match &**problem {
                KeyringError::Io { source, .. } => Some(source),
                _ => None,
            },
            _ => None,
        }
    }

    /// The system refused a call for a reason that is none of the file's: too many open
    /// files, no memory. It is no damage, and passes.
    pub(crate) fn is_passing(&self) -> bool {
        self.system_cause().is_some_and(|source| !crate::disk::is_of_file(source))
    }

    /// The database was opened to read only, or writing has stopped until it is
    /// opened anew.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        match self {
            Self::RolledBack { .. } | Self::OpenedReadOnly => true,
            Self::Keyring(problem) => matches!(**problem, KeyringError::ReadOnly),
            Self::Storage(problem) => {
                matches!(**problem, StorageError::ReadOnly { .. } | StorageError::SyncFailed { .. })
            }
            _ => false,
        }
    }

    /// The thing has several heads, and none was to be chosen.
    #[must_use]
    pub const fn is_forked(&self) -> bool {
        matches!(self, Self::Forked { .. })
    }

    /// The caller's input is not allowed: an id, a name, a size, a key, text
    /// that is not JSON.
    #[must_use]
    pub fn is_invalid_input(&self) -> bool {
        match self {
            Self::Invalid(problem) => !problem.is_newer_version(),
            Self::Json { .. }
            | Self::PeerChanged { .. }
            | Self::PeerKnown { .. }
            | Self::ActorClaimed { .. }
            | Self::ActorWithdrawn { .. }
            | Self::NoReader
            | Self::ReservedRecord
            | Self::ReservedThing { .. }
            | Self::NoKeyLog { .. }
            | Self::KeyLogThere { .. }
            | Self::NotPromised { .. }
            | Self::MayNotErase { .. }
            | Self::NothingToErase { .. }
            | Self::NoTimeToRetain
            | Self::PublicTooLarge { .. }
            | Self::PublicToSome
            | Self::TooManyRetentions { .. }
            | Self::OnHold { .. }
            | Self::BeyondLedger { .. }
            | Self::TooManyToProve { .. }
            | Self::NotAbsent { .. }
            | Self::WitnessKnown { .. }
            | Self::TooManyWitnesses { .. }
            | Self::TokenExists { .. }
            | Self::TooManyTokens
            | Self::NoSuchScope { .. }
            | Self::NoPrototype { .. } => true,
            _ => self.keyring().is_some_and(|problem| {
                matches!(
                    problem,
                    KeyringError::BadName { .. }
                        | KeyringError::NameTaken { .. }
                        | KeyringError::ActorExists { .. }
                        | KeyringError::UnacceptableKey { .. }
                        | KeyringError::Withdrawn { .. }
                        | KeyringError::PassphraseTooShort { .. }
                        | KeyringError::NotARecoveryKey { .. }
                )
            }),
        }
    }

    /// There is no such actor, peer or head, or no data that can be read.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::NoSuchActor { .. }
                | Self::NoSuchPeer { .. }
                | Self::NotAHead { .. }
                | Self::NotReadable { .. }
                | Self::NothingToProve { .. }
                | Self::NoFieldsToProve { .. }
                | Self::NoSuchWitness { .. }
                | Self::NoSuchRetention { .. }
        )
    }
}

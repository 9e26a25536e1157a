//! Why a storage or journal takes nothing more.

use super::StorageError;

/// The first reason stays, whatever comes after it.
#[derive(Clone, Debug)]
pub(super) enum Stopped {
    SyncFailed(String),
    ReadOnly(String),
    Closed,
}

impl Stopped {
    pub(super) fn error(&self) -> StorageError {
        match self {
            Self::SyncFailed(cause) => StorageError::SyncFailed { cause: cause.clone() },
            Self::ReadOnly(reason) => StorageError::ReadOnly { reason: reason.clone() },
            Self::Closed => StorageError::Closed,
        }
    }
}

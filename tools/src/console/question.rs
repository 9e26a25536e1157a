//! Another passphrase than the one that opens the database, as a command asks
//! for it.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::Outcome;

/// What was read, or why nothing was.
pub(crate) type Answer = Outcome<Zeroizing<Vec<u8>>>;

/// Another passphrase than the one that opens the database.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// A file that holds it.
    pub(crate) file: Option<PathBuf>,
    /// A descriptor that it is read from.
    pub(crate) descriptor: Option<u32>,
    /// What it opens, as a person is told.
    pub(crate) what: PathBuf,
}

impl Question {
    /// The passphrase of an archive.
    pub(crate) fn archive(file: &str) -> Self {
        Self { purpose: Purpose::Archive, file: Some(file.into()), descriptor: None, what: PathBuf::new() }
    }
}

/// What a passphrase is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It replaces the one of the database.
    Replace,
    /// It is that of a prototype's directory. It is an old one: any length will
    /// do.
    Prototype,
    /// It is that of an archive, and always in a file.
    Archive,
}

//! Keyrings that are kept elsewhere, and putting them back.

use std::path::Path;

use super::options::Options;
use super::{Db, open};
use crate::directory;
use crate::error::{Error, Result};
use crate::keyring::{KeyringContents, KeyringError, KeyringFile, PutBack, Unlock};
use crate::node::fit;

impl KeyringFile {
    /// The newer good one of the two files in `dir`, as far as that can be told
    /// without a passphrase. The database may be open.
    ///
    /// # Errors
    /// [`KeyringError::NotFound`](crate::KeyringError::NotFound),
    /// [`KeyringError::Damaged`](crate::KeyringError::Damaged) if none is whole,
    /// [`KeyringError::NewerVersion`](crate::KeyringError::NewerVersion).
    pub fn of(dir: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::newest(&dir.as_ref().join(directory::KEYRING))?)
    }

    /// Opens it, to see that it can be.
    ///
    /// # Errors
    /// [`KeyringError::WrongPassphrase`](crate::KeyringError::WrongPassphrase),
    /// [`KeyringError::WrongRecoveryKey`](crate::KeyringError::WrongRecoveryKey),
    /// [`KeyringError::Damaged`](crate::KeyringError::Damaged).
    pub fn open(&self, unlock: Unlock<'_>) -> Result<KeyringContents> {
        Ok(self.contents(unlock)?)
    }
}

impl Db {
    /// Puts a keyring back into the directory of a database that is closed. What
    /// is whole there and as new or newer, or of another database, is replaced
    /// only if that is said, and is kept under another name.
    ///
    /// # Errors
    /// [`KeyringError::NewerPresent`](crate::KeyringError::NewerPresent) and
    /// [`KeyringError::OtherPresent`](crate::KeyringError::OtherPresent), with
    /// nothing changed; as [`KeyringFile::open`]; [`Error::is_locked`].
    pub fn put_back_keyring(
        dir: impl AsRef<Path>,
        kept: &KeyringFile,
        unlock: Unlock<'_>,
        replace: bool,
    ) -> Result<PutBack> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(Error::NoDatabase { dir: dir.to_owned() });
        }
        directory::check(dir)?;
        let contents = kept.open(unlock)?;
        let _lock = open::lock(dir, &Options::new())?;
        let may = || match fit::is_of(dir, &kept.unlocked(unlock)?) {
            Some(false) => {
                let node = contents.node_key.fingerprint();
                Err(KeyringError::OfOtherDatabase { dir: dir.to_owned(), node })
            }
            _ => Ok(()),
        };
        let aside = kept.put_back(&dir.join(directory::KEYRING), replace, may)?;
        Ok(PutBack { contents, was_there: aside.is_none(), aside: aside.unwrap_or_default() })
    }
}

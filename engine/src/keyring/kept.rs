//! A keyring file that is kept elsewhere, for the day on which both files of a
//! database are lost, and how it is put back.

use std::path::{Path, PathBuf};

use thingdb_format::NodeKey;

use super::layout::Locked;
use super::pair::Locking;
use super::{Keyring, KeyringError, Unlock, file, pair};
use crate::db::{Db, lock_for};
use crate::directory;
use crate::error::{Error, Result};
use crate::store::fit;

/// The bytes of a keyring, as they are kept elsewhere. They are sealed: a
/// passphrase or the recovery key opens them.
///
/// ```
/// # let tmp = tempfile::tempdir()?;
/// # let dir = tmp.path().join("things");
/// # let passphrase = thingdb::Passphrase::new("correct horse battery");
/// # thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(&dir, &passphrase)?.close()?;
/// use thingdb::{Db, KeyringFile, Unlock};
/// let kept = KeyringFile::of(&dir)?;
/// let contents = kept.open(Unlock::Passphrase(&passphrase))?;
/// assert_eq!(contents.segments, 1);
///
/// std::fs::remove_file(dir.join("keyring"))?;
/// std::fs::remove_file(dir.join("keyring.copy"))?;
/// let again = KeyringFile::from_bytes(kept.as_bytes().to_vec())?;
/// Db::put_back_keyring(&dir, &again, Unlock::Passphrase(&passphrase), false)?;
/// Db::open(&dir, &passphrase)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct KeyringFile {
    bytes: Vec<u8>,
    id: [u8; 16],
    generation: u64,
}

/// What is in a keyring file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyringContents {
    /// The node that it is of.
    pub node_key: NodeKey,
    /// How often it was changed.
    pub generation: u64,
    /// Segments of 65,536 entries of which it has the key.
    pub segments: u64,
    /// Whether a recovery key opens it, too.
    pub has_recovery_key: bool,
}

/// What became of a keyring that was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutBack {
    /// What it holds.
    pub contents: KeyringContents,
    /// Whether both files were the same already.
    pub was_there: bool,
    /// What was in its place, under new names.
    pub aside: Vec<PathBuf>,
}

impl KeyringFile {
    /// The newer good one of the two files in `dir`, as far as that can be told
    /// without a passphrase. The database may be open.
    ///
    /// # Errors
    /// [`KeyringError::NotFound`], [`KeyringError::Damaged`] if none is whole,
    /// [`KeyringError::NewerVersion`].
    pub fn of(dir: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::from_bytes(pair::newest(&dir.as_ref().join(Db::KEYRING_FILE))?)?)
    }

    /// Bytes that were kept.
    ///
    /// # Errors
    /// [`KeyringError::Damaged`], [`KeyringError::NewerVersion`].
    pub fn from_bytes(bytes: Vec<u8>) -> std::result::Result<Self, KeyringError> {
        let locked = Locked::parse(&bytes).map_err(|flaw| flaw.of(Path::new("that was given")))?;
        let (id, generation) = (locked.id, locked.generation);
        Ok(Self { bytes, id, generation })
    }

    /// The bytes to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Opens it, to see that it can be.
    ///
    /// # Errors
    /// [`KeyringError::WrongPassphrase`], [`KeyringError::WrongRecoveryKey`],
    /// [`KeyringError::Damaged`].
    pub fn open(&self, unlock: Unlock<'_>) -> Result<KeyringContents> {
        let keyring = self.unlocked(unlock)?;
        Ok(KeyringContents {
            node_key: keyring.node_key().node_key(),
            generation: keyring.generation,
            segments: keyring.segments().count() as u64,
            has_recovery_key: keyring.recovery_slot().is_some(),
        })
    }

    fn unlocked(&self, unlock: Unlock<'_>) -> Result<Keyring> {
        let path = Path::new("that was given");
        let locked = Locked::parse(&self.bytes).map_err(|flaw| flaw.of(path))?;
        let keyring = locked.unlock(path, unlock, None).map_err(|problem| match problem {
            Locking::Damaged { detail, .. } => KeyringError::Damaged { path: path.to_owned(), detail },
            Locking::Refused(problem) => problem,
        })?;
        Ok(keyring)
    }

    /// Why this one, which is at `path`, is not replaced by `kept` unless that is
    /// said.
    fn beside(&self, kept: &Self, path: &Path) -> Option<KeyringError> {
        let (present, given) = (self.generation, kept.generation);
        match self {
            same if same == kept => None,
            other if pair::is_other(other.id, kept.id) => Some(KeyringError::OtherPresent { path: path.to_owned() }),
            _ if present >= given => Some(KeyringError::NewerPresent { path: path.to_owned(), present, given }),
            _ => None,
        }
    }
}

impl Db {
    /// Puts a keyring back into the directory of a database that is closed. What
    /// is whole there and as new or newer, or of another database, is replaced
    /// only if that is said, and is kept under another name.
    ///
    /// # Errors
    /// [`KeyringError::NewerPresent`], [`KeyringError::OtherPresent`] and
    /// [`KeyringError::OfOtherDatabase`], with nothing changed; as [`KeyringFile::open`]; [`Error::is_locked`].
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
        let _lock = lock_for(dir)?;
        let path = dir.join(Self::KEYRING_FILE);
        let files = [path.clone(), file::copy_of(&path)];
        let present = files.each_ref().map(|path| {
            let bytes = file::read(path).ok().map(|(bytes, _)| bytes);
            bytes.and_then(|bytes| KeyringFile::from_bytes(bytes).ok())
        });
        if present.iter().all(|present| present.as_ref() == Some(kept)) {
            return Ok(PutBack { contents, was_there: true, aside: Vec::new() });
        }
        let mut aside = Vec::new();
        for (path, present) in files.iter().zip(&present) {
            match present.as_ref().map(|present| present.beside(kept, path)) {
                // It has nothing that this one lacks.
                Some(None) => {}
                Some(Some(refusal)) if !replace => return Err(refusal.into()),
                _ if path.symlink_metadata().is_ok() => aside.push(path),
                _ => {}
            }
        }
        if !replace && fit::is_of(dir, &kept.unlocked(unlock)?) == Some(false) {
            let node = contents.node_key.fingerprint();
            return Err(KeyringError::OfOtherDatabase { dir: dir.to_owned(), node }.into());
        }
        let aside = aside.into_iter().map(|path| file::set_aside(path)).collect::<std::result::Result<_, _>>()?;
        for path in &files {
            file::write(path, &kept.bytes)?;
        }
        Ok(PutBack { contents, was_there: false, aside })
    }
}

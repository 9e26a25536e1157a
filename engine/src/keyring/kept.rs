//! A keyring file that is kept elsewhere, for the day on which both files of a
//! database are lost, and how it is put back.

use std::path::{Path, PathBuf};

use thingdb_format::NodeKey;

use super::layout::Locked;
use super::pair::Locking;
use super::{Keyring, KeyringError, Unlock, file, pair};

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
/// assert!(!contents.has_recovery_key);
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
    /// The newer good one of the two files of the keyring at `path`.
    pub(crate) fn newest(path: &Path) -> Result<Self, KeyringError> {
        Self::from_bytes(pair::newest(path)?)
    }

    /// Bytes that were kept.
    ///
    /// # Errors
    /// [`KeyringError::Damaged`], [`KeyringError::NewerVersion`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyringError> {
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
    pub(crate) fn contents(&self, unlock: Unlock<'_>) -> Result<KeyringContents, KeyringError> {
        let keyring = self.unlocked(unlock)?;
        Ok(KeyringContents {
            node_key: keyring.node_key().node_key(),
            generation: keyring.generation,
            has_recovery_key: keyring.recovery_slot().is_some(),
        })
    }

    pub(crate) fn unlocked(&self, unlock: Unlock<'_>) -> Result<Keyring, KeyringError> {
        let path = Path::new("that was given");
        let locked = Locked::parse(&self.bytes).map_err(|flaw| flaw.of(path))?;
        locked.unlock(path, unlock, None).map_err(|problem| match problem {
            Locking::Damaged { detail, .. } => KeyringError::Damaged { path: path.to_owned(), detail },
            Locking::Refused(problem) => problem,
        })
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

    /// Puts it in the place of the keyring at `path`, whose directory the caller
    /// has locked. What is whole there and as new or newer, or of another database,
    /// is replaced only if that is said, and is kept under another name. So is it put
    /// where it `may` not be. These names; nothing if both files were the same already.
    pub(crate) fn put_back(
        &self,
        path: &Path,
        replace: bool,
        may: impl FnOnce() -> Result<(), KeyringError>,
    ) -> Result<Option<Vec<PathBuf>>, KeyringError> {
        let files = [path.to_owned(), file::copy_of(path)];
        let present = files.each_ref().map(|path| {
            let bytes = file::read(path).ok().map(|(bytes, _)| bytes);
            bytes.and_then(|bytes| Self::from_bytes(bytes).ok())
        });
        if present.iter().all(|present| present.as_ref() == Some(self)) {
            return Ok(None);
        }
        let mut aside = Vec::new();
        for (path, present) in files.iter().zip(&present) {
            match present.as_ref().map(|present| present.beside(self, path)) {
                // It has nothing that this one lacks.
                Some(None) => {}
                Some(Some(refusal)) if !replace => return Err(refusal),
                _ if path.symlink_metadata().is_ok() => aside.push(path),
                _ => {}
            }
        }
        if !replace {
            may()?;
        }
        let aside = aside.into_iter().map(|path| file::set_aside(path)).collect::<Result<_, _>>()?;
        for path in &files {
            file::write(path, &self.bytes)?;
        }
        Ok(Some(aside))
    }
}

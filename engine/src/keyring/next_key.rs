//! A file with a next key: the key that is promised in a key log, and kept apart.
//!
//! ```text
//! magic 17 | version 1 | first key 32 | m 4 | t 4 | p 4 | salt 16
//! seed of the next key, sealed 60 | checksum 32
//! ```

use std::path::Path;
use std::sync::Arc;

use rand::CryptoRng;
use sha2::{Digest, Sha256};
use thingdb_format::{Actor, KdfParams, SigningKey};
use zeroize::Zeroizing;

use super::codec::{Flaw, Reader};
use super::kdf::{KdfChoice, stretch};
use super::passphrase::Passphrase;
use super::{KeyringError, Secret};

const MAGIC: &[u8; 17] = b"thingdb next-key\n";

const VERSION: u8 = 1;

const CHECKSUM_BYTES: usize = 32;

/// A next key, sealed under a passphrase, as it is kept apart from the database.
///
/// ```
/// use thingdb::{KdfChoice, NextKeyFile, Passphrase, format::SigningKey};
/// let actor = SigningKey::from_seed(&[1; 32]).actor();
/// let passphrase = Passphrase::new("correct horse battery");
/// let (file, next) = NextKeyFile::generate(&actor, &passphrase, KdfChoice::weakest())?;
/// let again = NextKeyFile::from_bytes(file.as_bytes().to_vec())?;
/// assert_eq!(again.first_key(), actor);
/// assert_eq!(again.open(&passphrase)?.actor(), next.actor());
/// assert!(again.open(&Passphrase::new("another one")).is_err());
/// # Ok::<(), thingdb::KeyringError>(())
/// ```
#[derive(Debug)]
pub struct NextKeyFile {
    bytes: Vec<u8>,
    first: Actor,
    params: KdfParams,
    salt: [u8; 16],
    /// Where the sealed seed begins.
    clear: usize,
}

impl NextKeyFile {
    /// A fresh next key for the actor with this first key, and its file.
    ///
    /// # Errors
    /// [`KeyringError::NoMemory`].
    pub fn generate(
        first: &Actor,
        passphrase: &Passphrase,
        kdf: KdfChoice,
    ) -> Result<(Self, Arc<SigningKey>), KeyringError> {
        let mut rng = rand::rng();
        let key = Arc::new(SigningKey::generate(&mut rng));
        Ok((Self::seal(&key, first, passphrase, kdf, &mut rng)?, key))
    }

    fn seal(
        key: &SigningKey,
        first: &Actor,
        passphrase: &Passphrase,
        kdf: KdfChoice,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        let params = kdf.params(KdfParams::DEFAULT);
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.extend_from_slice(&first.0);
        for number in [params.memory_kib(), params.passes(), params.lanes()] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&salt);
        let clear = bytes.len();
        let sealed = stretch(params, passphrase, &salt)?.seal_key().seal(&bytes, key.seed(), rng);
        bytes.extend_from_slice(&sealed);
        let checksum = Sha256::digest(&bytes);
        bytes.extend_from_slice(&checksum);
        Ok(Self { bytes, first: *first, params, salt, clear })
    }

    /// Bytes that were kept.
    ///
    /// # Errors
    /// [`KeyringError::Damaged`], [`KeyringError::NewerVersion`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, KeyringError> {
        Self::parse(bytes).map_err(|flaw| flaw.of(Path::new("with the next key")))
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, Flaw> {
        let body = bytes.len().checked_sub(CHECKSUM_BYTES).and_then(|end| bytes.split_at_checked(end));
        let (body, checksum) = body.ok_or_else(|| Flaw::damaged("it is too short"))?;
        let mut r = Reader::new(body);
        if r.array("magic")? != MAGIC {
            return Err(Flaw::damaged("it is no file with a next key"));
        }
        if checksum != &Sha256::digest(body)[..] {
            return Err(Flaw::damaged("its checksum does not match"));
        }
        match r.u8("version")? {
            VERSION => {}
            found => return Err(Flaw::Newer { field: "version", found: u64::from(found) }),
        }
        let first = Actor(*r.array("first key")?);
        let (m, t, p) = (r.u32("m")?, r.u32("t")?, r.u32("p")?);
        let params = KdfParams::new(m, t, p).map_err(|problem| Flaw::damaged(problem.to_string()))?;
        let salt = *r.array("salt")?;
        let clear = body.len().saturating_sub(r.left());
        r.take(60, "sealed key")?;
        r.finish("file")?;
        Ok(Self { bytes, first, params, salt, clear })
    }

    /// The bytes to keep.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first key of the actor whose key it is.
    #[must_use]
    pub const fn first_key(&self) -> Actor {
        self.first
    }

    /// The next key.
    ///
    /// # Errors
    /// [`KeyringError::WrongPassphrase`], [`KeyringError::NoMemory`].
    pub fn open(&self, passphrase: &Passphrase) -> Result<Arc<SigningKey>, KeyringError> {
        let key: Secret = stretch(self.params, passphrase, &self.salt)?;
        let end = self.bytes.len().saturating_sub(CHECKSUM_BYTES);
        let (clear, sealed) = self.bytes.get(..end).unwrap_or_default().split_at(self.clear);
        let seed = key.seal_key().open(clear, sealed).map(Zeroizing::new).ok_or(KeyringError::WrongPassphrase)?;
        let seed: &[u8; 32] = seed.as_slice().try_into().map_err(|_| KeyringError::WrongPassphrase)?;
        Ok(Arc::new(SigningKey::from_seed(seed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let passphrase = Passphrase::new("correct horse battery");
        let (file, _) = NextKeyFile::generate(&Actor([7; 32]), &passphrase, KdfChoice::weakest()).unwrap();
        assert_eq!(file.as_bytes().len(), 170);
        for at in 0..file.as_bytes().len() {
            let mut changed = file.as_bytes().to_vec();
            changed[at] ^= 1;
            assert!(NextKeyFile::from_bytes(changed.clone()).is_err(), "byte {at}");
            // As somebody who tampers would.
            let end = changed.len() - CHECKSUM_BYTES;
            let checksum = Sha256::digest(&changed[..end]);
            changed[end..].copy_from_slice(&checksum);
            if at < end
                && let Ok(read) = NextKeyFile::from_bytes(changed)
            {
                assert!(
                    read.params.memory_kib() > 1024 || read.params.passes() > 64 || read.open(&passphrase).is_err()
                );
            }
            assert!(NextKeyFile::from_bytes(file.as_bytes()[..at].to_vec()).is_err());
        }
    }
}

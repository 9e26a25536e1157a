//! How the secrets change: on the disk and in memory, or in neither.

use rand::CryptoRng;

use super::secrets::Secrets;
use super::{Keyring, KeyringError, file, layout};

impl Keyring {
    /// Makes several changes of the secrets, all or none: the file is replaced
    /// once.
    ///
    /// # Errors
    /// What `change` returns; [`KeyringError::Io`].
    pub fn together<T, E: From<KeyringError>>(
        &mut self,
        rng: &mut impl CryptoRng,
        change: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        let before = self.secrets.encode();
        self.is_gathering = true;
        let outcome = change(self);
        self.is_gathering = false;
        let outcome = outcome.and_then(|value| {
            if self.secrets.encode() != before {
                self.save(rng)?;
            }
            Ok(value)
        });
        if outcome.is_err() {
            self.secrets = Secrets::decode(&before).expect("what was encoded decodes");
        }
        outcome
    }

    /// Writes both files. The change counts once the first is durable: a
    /// second one that cannot be written is told by
    /// [`Keyring::copy_problem`], and written at the next change or opening.
    pub(super) fn save(&mut self, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        if self.is_draft {
            return Ok(());
        }
        // A number is never used twice, not even after a failure that may have
        // left the new bytes: equal generations are equal files.
        self.generation = self.generation.saturating_add(1);
        if self.id == [0; 16] {
            rng.fill_bytes(&mut self.id);
        }
        let bytes = layout::encode(self, rng);
        file::write(&self.path, &bytes)?;
        self.mode_warning = None;
        self.copy_problem = file::write(&file::copy_of(&self.path), &bytes).err();
        Ok(())
    }

    /// Changes the secrets on the disk and in memory, or neither.
    pub(super) fn change<T>(
        &mut self,
        rng: &mut impl CryptoRng,
        change: impl FnOnce(&mut Secrets) -> Result<T, KeyringError>,
    ) -> Result<T, KeyringError> {
        let before = self.secrets.encode();
        let outcome = change(&mut self.secrets).and_then(|value| {
            if !self.is_gathering {
                self.save(rng)?;
            }
            Ok(value)
        });
        if outcome.is_err() {
            self.secrets = Secrets::decode(&before).expect("what was encoded decodes");
        }
        outcome
    }
}

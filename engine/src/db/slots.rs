//! What opens the database.

use super::Db;
use crate::error::Result;
use crate::keyring::passphrase::Passphrase;
use crate::keyring::{RecoveryKey, SlotId, SlotInfo};

/// The keyring's slots.
impl Db {
    /// Replaces the passphrase that opened the database. Entries are not
    /// touched.
    ///
    /// # Errors
    /// [`Error::Keyring`](crate::Error::Keyring) if the new one is too short or the database was
    /// opened with the recovery key.
    pub fn change_passphrase(&self, new: &Passphrase) -> Result<()> {
        let mut keyring = self.node.store.keyring();
        let slot = keyring.opened_by();
        Ok(keyring.change_passphrase(slot, new, None, &mut rand::rng())?)
    }

    /// Lets another passphrase open the database too.
    ///
    /// # Errors
    /// [`Error::Keyring`](crate::Error::Keyring) if it is too short or all slots are taken.
    pub fn add_passphrase(&self, new: &Passphrase) -> Result<SlotId> {
        Ok(self.node.store.keyring().add_passphrase(new, self.options.kdf, &mut rand::rng())?)
    }

    /// Makes a recovery key, which opens the database without a passphrase.
    /// An older one does not open it any more.
    ///
    /// # Errors
    /// [`Error::Keyring`](crate::Error::Keyring).
    pub fn new_recovery_key(&self) -> Result<RecoveryKey> {
        Ok(self.node.store.keyring().replace_recovery_key(&mut rand::rng())?)
    }

    /// What opens the database.
    #[must_use]
    pub fn key_slots(&self) -> Vec<SlotInfo> {
        self.node.store.keyring().slots()
    }

    /// Takes a slot away. The last passphrase stays.
    ///
    /// # Errors
    /// [`Error::Keyring`](crate::Error::Keyring).
    pub fn remove_key_slot(&self, slot: SlotId) -> Result<()> {
        Ok(self.node.store.keyring().remove_slot(slot, &mut rand::rng())?)
    }
}

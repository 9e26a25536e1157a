//! The slots of an open keyring: which passphrases and which recovery key open
//! it.

use rand::CryptoRng;

use super::layout::MAX_SLOTS;
use super::passphrase::Passphrase;
use super::slot::Slot;
use super::{KdfChoice, Keyring, KeyringError, RecoveryKey, SlotId, SlotInfo, SlotKind, kind_of};

impl Keyring {
    /// All slots, by number.
    #[must_use]
    pub fn slots(&self) -> Vec<SlotInfo> {
        let info = |slot: &Slot| SlotInfo { id: slot.id, kind: slot.kind, opened: slot.id == self.opened_by };
        self.slots.iter().map(info).collect()
    }

    /// The slot that opened the keyring.
    #[must_use]
    pub const fn opened_by(&self) -> SlotId {
        self.opened_by
    }

    /// Replaces the passphrase of a slot. Without a choice the slot keeps its
    /// own.
    ///
    /// # Errors
    /// [`KeyringError::NotAPassphraseSlot`] among others.
    pub fn change_passphrase(
        &mut self,
        slot: SlotId,
        new: &Passphrase,
        choice: Option<KdfChoice>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        new.check_new()?;
        let SlotKind::Passphrase { params, explicit } = self.slot(slot)?.kind else {
            return Err(KeyringError::NotAPassphraseSlot { slot });
        };
        let kept = if explicit { KdfChoice::Explicit(params) } else { KdfChoice::Default };
        let changed = Slot::for_passphrase(slot, &self.root, new, kind_of(choice.unwrap_or(kept)), rng)?;
        self.put_slot(changed, rng)
    }

    /// Adds a passphrase beside those that are there.
    ///
    /// # Errors
    /// [`KeyringError::Full`] after 16 slots.
    pub fn add_passphrase(
        &mut self,
        new: &Passphrase,
        choice: KdfChoice,
        rng: &mut impl CryptoRng,
    ) -> Result<SlotId, KeyringError> {
        new.check_new()?;
        let id = self.free_slot()?;
        let slot = Slot::for_passphrase(id, &self.root, new, kind_of(choice), rng)?;
        self.put_slot(slot, rng)?;
        Ok(id)
    }

    /// Removes a slot. The last passphrase stays. What was known stays known:
    /// whoever kept an old copy of the file can open it as before, and with
    /// the root key from it every later one.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchSlot`] or [`KeyringError::LastPassphrase`].
    pub fn remove_slot(&mut self, slot: SlotId, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        let is_passphrase = |slot: &Slot| matches!(slot.kind, SlotKind::Passphrase { .. });
        let removed = self.slot(slot)?;
        if is_passphrase(removed) && self.slots.iter().filter(|slot| is_passphrase(slot)).count() == 1 {
            return Err(KeyringError::LastPassphrase { slot });
        }
        let mut slots = self.slots.clone();
        slots.retain(|other| other.id != slot);
        self.put_slots(slots, rng)
    }

    /// Adds a recovery key, to be shown once.
    ///
    /// # Errors
    /// [`KeyringError::RecoveryKeyExists`] if there is one; use
    /// [`Self::replace_recovery_key`].
    pub fn new_recovery_key(&mut self, rng: &mut impl CryptoRng) -> Result<RecoveryKey, KeyringError> {
        if let Some(slot) = self.recovery_slot() {
            return Err(KeyringError::RecoveryKeyExists { slot });
        }
        self.replace_recovery_key(rng)
    }

    /// Puts a new recovery key in the place of the one that is there, if any.
    ///
    /// # Errors
    /// [`KeyringError::Full`] or [`KeyringError::Io`].
    pub fn replace_recovery_key(&mut self, rng: &mut impl CryptoRng) -> Result<RecoveryKey, KeyringError> {
        let id = self.recovery_slot().map_or_else(|| self.free_slot(), Ok)?;
        let key = RecoveryKey::generate(rng);
        self.put_slot(Slot::for_recovery_key(id, &self.root, &key, rng), rng)?;
        Ok(key)
    }

    pub(super) fn recovery_slot(&self) -> Option<SlotId> {
        self.slots.iter().find(|slot| slot.kind == SlotKind::RecoveryKey).map(|slot| slot.id)
    }

    fn slot(&self, id: SlotId) -> Result<&Slot, KeyringError> {
        self.slots.iter().find(|slot| slot.id == id).ok_or(KeyringError::NoSuchSlot { slot: id })
    }

    fn free_slot(&self) -> Result<SlotId, KeyringError> {
        if self.slots.len() >= MAX_SLOTS {
            return Err(KeyringError::Full { what: "slots", most: MAX_SLOTS });
        }
        let free = (1..=u8::MAX).map(SlotId).find(|id| self.slots.iter().all(|slot| slot.id != *id));
        Ok(free.expect("16 slots do not use up 255 numbers"))
    }

    /// Puts a slot in the place of the one with its number, or beside them.
    pub(super) fn put_slot(&mut self, slot: Slot, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        let mut slots = self.slots.clone();
        slots.retain(|other| other.id != slot.id);
        slots.push(slot);
        slots.sort_by_key(|slot| slot.id);
        self.put_slots(slots, rng)
    }

    fn put_slots(&mut self, slots: Vec<Slot>, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        let before = std::mem::replace(&mut self.slots, slots);
        self.save(rng).inspect_err(|_| self.slots = before)
    }
}

//! The keyring: one file that holds every secret of a node.
//!
//! ```text
//! passphrase ── Argon2id ─┐
//! passphrase ── Argon2id ─┼─ slots ─ root key ── HKDF, fresh salt ─ secrets
//! recovery key ── HKDF ───┘
//! ```
//!
//! Each change replaces the whole file and is durable before it returns; one
//! that fails leaves the memory as it was. The caller holds the lock of the
//! directory. `docs/keyring.md` has the bytes.

mod codec;
mod error;
mod file;
mod kdf;
mod layout;
mod recovery;
mod seal;
mod secrets;
mod slot;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::CryptoRng;
use thingdb_format::{Actor, DecryptionKey, KdfParams, NodeKey, Origin, SigningKey, Time, Verifier};
use zeroize::Zeroizing;

use codec::Flaw;
use layout::{Locked, MAX_SLOTS};
use secrets::{MAX_ACTORS, Secrets};
use slot::Slot;

use crate::Passphrase;
use crate::trust::{How, KnownActor, KnownOrigin, TrustStore};

pub use error::KeyringError;
pub use kdf::KdfChoice;
pub use recovery::{RecoveryKey, RecoveryText};
pub use seal::{SealKey, Secret};
pub use secrets::{ActorKey, FormerNode};
pub use slot::{SlotId, SlotInfo, SlotKind};

/// What a keyring is opened with.
#[derive(Clone, Copy, Debug)]
pub enum Unlock<'a> {
    /// One of its passphrases.
    Passphrase(&'a Passphrase),
    /// Its recovery key.
    RecoveryKey(&'a RecoveryKey),
}

/// What became of the parameters of the slot that opened.
#[derive(Debug)]
pub enum KdfUpgrade {
    /// They are strong enough, or were chosen.
    NotNeeded,
    /// They were those of an older version and are now those of this one.
    Done {
        /// The parameters before.
        from: KdfParams,
        /// The parameters now.
        to: KdfParams,
    },
    /// They are still those of an older version: the keyring is open, but the
    /// file could not be replaced.
    Failed {
        /// Why.
        cause: KeyringError,
    },
}

/// An open keyring.
pub struct Keyring {
    path: PathBuf,
    root: Secret,
    slots: Vec<Slot>,
    opened_by: SlotId,
    secrets: Secrets,
    mode: Option<u32>,
    upgrade: KdfUpgrade,
    /// Changes are gathered, to be written together.
    is_gathering: bool,
    /// Nothing is written.
    is_read_only: bool,
}

/// Making and opening.
impl Keyring {
    /// Makes a keyring with fresh keys, no actor and one passphrase.
    ///
    /// # Errors
    /// [`KeyringError::AlreadyExists`]; one is never replaced.
    pub fn create(
        path: &Path,
        passphrase: &Passphrase,
        choice: KdfChoice,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        if path.symlink_metadata().is_ok() {
            return Err(KeyringError::AlreadyExists { path: path.to_owned() });
        }
        passphrase.check_new()?;
        let root = Secret::generate(rng);
        let opened_by = SlotId(1);
        let keyring = Self {
            path: path.to_owned(),
            slots: vec![Slot::for_passphrase(opened_by, &root, passphrase, kind_of(choice), rng)?],
            root,
            opened_by,
            secrets: Secrets::generate(rng),
            mode: None,
            upgrade: KdfUpgrade::NotNeeded,
            is_gathering: false,
            is_read_only: false,
        };
        file::write(path, &layout::encode(&keyring.slots, &keyring.root, &keyring.secrets, rng))?;
        Ok(keyring)
    }

    /// Opens a keyring. If the slot that opens has weaker parameters than the
    /// program's and they were not chosen, it gets the program's.
    ///
    /// # Errors
    /// [`KeyringError::WrongPassphrase`] only if the file is whole;
    /// [`KeyringError::Damaged`] otherwise.
    pub fn open(path: &Path, unlock: Unlock<'_>, rng: &mut impl CryptoRng) -> Result<Self, KeyringError> {
        Self::open_with_default(path, unlock, KdfParams::DEFAULT, rng)
    }

    /// Opens a keyring of which nothing is ever written: every change is refused
    /// with [`KeyringError::ReadOnly`].
    ///
    /// # Errors
    /// As [`Keyring::open`].
    pub fn open_read_only(path: &Path, unlock: Unlock<'_>) -> Result<Self, KeyringError> {
        let (bytes, mode) = file::read(path)?;
        let mut keyring = Self::from_bytes(path, &bytes, mode, unlock)?;
        keyring.is_read_only = true;
        Ok(keyring)
    }

    fn open_with_default(
        path: &Path,
        unlock: Unlock<'_>,
        default: KdfParams,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        let (bytes, mode) = file::read(path)?;
        let mut keyring = Self::from_bytes(path, &bytes, mode, unlock)?;
        keyring.upgrade = keyring.upgrade_opened_slot(unlock, default, rng);
        Ok(keyring)
    }

    fn from_bytes(path: &Path, bytes: &[u8], mode: Option<u32>, unlock: Unlock<'_>) -> Result<Self, KeyringError> {
        let name_path = |flaw| match flaw {
            Flaw::Damaged(detail) => KeyringError::Damaged { path: path.to_owned(), detail },
            Flaw::Newer { field, found } => KeyringError::NewerVersion { field, found },
        };
        let locked = Locked::parse(bytes).map_err(name_path)?;
        let (opened_by, root) = find_slot(&locked.slots, unlock)?;
        let secrets = locked.open(&root).map_err(name_path)?;
        Ok(Self {
            path: path.to_owned(),
            root,
            slots: locked.slots,
            opened_by,
            secrets,
            mode,
            upgrade: KdfUpgrade::NotNeeded,
            is_gathering: false,
            is_read_only: false,
        })
    }

    fn upgrade_opened_slot(&mut self, unlock: Unlock<'_>, default: KdfParams, rng: &mut impl CryptoRng) -> KdfUpgrade {
        let Unlock::Passphrase(passphrase) = unlock else {
            return KdfUpgrade::NotNeeded;
        };
        let opened = self.slots.iter().find(|slot| slot.id == self.opened_by);
        let Some(from) = opened.and_then(|slot| slot.wants_upgrade(default)) else {
            return KdfUpgrade::NotNeeded;
        };
        let done = Slot::for_passphrase(self.opened_by, &self.root, passphrase, (default, false), rng)
            .and_then(|slot| self.put_slot(slot, rng));
        match done {
            Ok(()) => KdfUpgrade::Done { from, to: default },
            Err(cause) => KdfUpgrade::Failed { cause },
        }
    }

    /// What became of the parameters of the slot that opened.
    #[must_use]
    pub const fn kdf_upgrade(&self) -> &KdfUpgrade {
        &self.upgrade
    }

    /// Where the keyring is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A sentence if the file could be read by others when it was opened and
    /// was not replaced since.
    #[must_use]
    pub fn mode_warning(&self) -> Option<String> {
        let mode = self.mode.filter(|mode| mode & 0o077 != 0)?;
        Some(format!("the keyring {} has mode {mode:04o}, 0600 is enough", self.path.display()))
    }
}

fn find_slot(slots: &[Slot], unlock: Unlock<'_>) -> Result<(SlotId, Secret), KeyringError> {
    for slot in slots {
        let root = match unlock {
            Unlock::Passphrase(passphrase) => slot.open_with_passphrase(passphrase)?,
            Unlock::RecoveryKey(key) => slot.open_with_recovery_key(key),
        };
        if let Some(root) = root {
            return Ok((slot.id, root));
        }
    }
    Err(match unlock {
        Unlock::Passphrase(_) => KeyringError::WrongPassphrase,
        Unlock::RecoveryKey(_) => KeyringError::WrongRecoveryKey,
    })
}

/// The parameters of a new passphrase slot, and whether they were chosen.
fn kind_of(choice: KdfChoice) -> (KdfParams, bool) {
    (choice.params(KdfParams::DEFAULT), choice != KdfChoice::Default)
}

/// Slots.
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

    fn recovery_slot(&self) -> Option<SlotId> {
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
    fn put_slot(&mut self, slot: Slot, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        let mut slots = self.slots.clone();
        slots.retain(|other| other.id != slot.id);
        slots.push(slot);
        slots.sort_by_key(|slot| slot.id);
        self.put_slots(slots, rng)
    }

    fn put_slots(&mut self, slots: Vec<Slot>, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.check_writable()?;
        file::write(&self.path, &layout::encode(&slots, &self.root, &self.secrets, rng))?;
        self.slots = slots;
        self.mode = None;
        Ok(())
    }
}

/// The keys of the node.
impl Keyring {
    /// Signs checkpoints and cards.
    #[must_use]
    pub const fn node_key(&self) -> &Arc<SigningKey> {
        &self.secrets.node_key
    }

    /// Opens what is sealed to this node.
    #[must_use]
    pub const fn decryption_key(&self) -> &Arc<DecryptionKey> {
        &self.secrets.decryption_key
    }

    /// The keys that the node had before, oldest first.
    #[must_use]
    pub fn former_nodes(&self) -> &[FormerNode] {
        &self.secrets.former
    }

    /// Makes the tags that stand for thing ids in index keys.
    #[must_use]
    pub const fn index_key(&self) -> &Secret {
        &self.secrets.index_key
    }

    /// Seals the rows that belong to no segment.
    #[must_use]
    pub const fn row_key(&self) -> &Secret {
        &self.secrets.row_key
    }

    /// Gives the node a new node key and decryption key, as after a restore
    /// from a backup. The former decryption key stays, the former node key is
    /// wiped but for its public half.
    ///
    /// # Errors
    /// [`KeyringError::Io`].
    pub fn rotate_node_key(&mut self, rng: &mut impl CryptoRng) -> Result<NodeKey, KeyringError> {
        let node_key = Arc::new(SigningKey::generate(rng));
        let decryption_key = Arc::new(DecryptionKey::generate(rng));
        let public = node_key.node_key();
        self.change(rng, |secrets| {
            let former_key = std::mem::replace(&mut secrets.node_key, node_key).node_key();
            let former_decryption_key = std::mem::replace(&mut secrets.decryption_key, decryption_key);
            secrets.former.push(FormerNode { node_key: former_key, decryption_key: former_decryption_key });
            Ok(())
        })?;
        Ok(public)
    }

    /// The key of a segment, if it has one.
    #[must_use]
    pub fn segment_key(&self, segment: u64) -> Option<SealKey> {
        self.secrets.segments.get(&segment).map(Secret::seal_key)
    }

    /// The segments that have a key, ascending.
    pub fn segments(&self) -> impl Iterator<Item = u64> + '_ {
        self.secrets.segments.keys().copied()
    }

    /// Makes the key of a segment, which is on the disk before it is returned.
    ///
    /// # Errors
    /// [`KeyringError::SegmentKeyExists`].
    pub fn create_segment_key(&mut self, segment: u64, rng: &mut impl CryptoRng) -> Result<SealKey, KeyringError> {
        let key = Secret::generate(rng);
        let seal_key = key.seal_key();
        self.change(rng, |secrets| {
            if secrets.segments.contains_key(&segment) {
                return Err(KeyringError::SegmentKeyExists { segment });
            }
            secrets.segments.insert(segment, key);
            Ok(())
        })?;
        Ok(seal_key)
    }

    /// Drops the key of a segment, so that what it seals cannot be opened with
    /// this keyring again.
    ///
    /// # Errors
    /// [`KeyringError::NoSegmentKey`].
    pub fn drop_segment_key(&mut self, segment: u64, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.change(rng, |secrets| match secrets.segments.remove(&segment) {
            Some(_) => Ok(()),
            None => Err(KeyringError::NoSegmentKey { segment }),
        })
    }

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

    fn save(&mut self, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.check_writable()?;
        file::write(&self.path, &layout::encode(&self.slots, &self.root, &self.secrets, rng))?;
        self.mode = None;
        Ok(())
    }

    fn check_writable(&self) -> Result<(), KeyringError> {
        if self.is_read_only { Err(KeyringError::ReadOnly) } else { Ok(()) }
    }

    /// Changes the secrets on the disk and in memory, or neither.
    fn change<T>(
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

/// Actors who can sign here.
impl Keyring {
    /// Makes an actor with a fresh key, who is trusted. The first one is the
    /// default.
    ///
    /// # Errors
    /// [`KeyringError::ActorExists`], [`KeyringError::NameTaken`] if somebody
    /// else goes by the name, or [`KeyringError::BadName`].
    pub fn add_actor(
        &mut self,
        name: &str,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<Arc<SigningKey>, KeyringError> {
        self.import_actor(name, Arc::new(SigningKey::generate(rng)), now, rng)
    }

    /// Adds an actor with a key that was made elsewhere.
    ///
    /// # Errors
    /// As [`Self::add_actor`]; [`KeyringError::Withdrawn`] if a person withdrew
    /// trust in this key.
    pub fn import_actor(
        &mut self,
        name: &str,
        key: Arc<SigningKey>,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<Arc<SigningKey>, KeyringError> {
        check_name(name)?;
        let added = Arc::clone(&key);
        self.change(rng, |secrets| {
            if secrets.actors.iter().any(|actor| actor.name == name) {
                return Err(KeyringError::ActorExists { name: name.to_owned() });
            }
            if secrets.actors.len() >= MAX_ACTORS {
                return Err(KeyringError::Full { what: "actors", most: MAX_ACTORS });
            }
            refuse_withdrawn(&secrets.trust, &key.actor())?;
            put_trusted_actor(&mut secrets.trust, known_actor(key.actor(), name, now, How::Own))?;
            secrets.actors.push(ActorKey { name: name.to_owned(), key });
            Ok(())
        })?;
        Ok(added)
    }

    /// The actors, the default one first.
    #[must_use]
    pub fn actors(&self) -> &[ActorKey] {
        &self.secrets.actors
    }

    /// The actor with this name.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchActor`].
    pub fn actor(&self, name: &str) -> Result<&ActorKey, KeyringError> {
        let found = self.secrets.actors.iter().find(|actor| actor.name == name);
        found.ok_or_else(|| KeyringError::NoSuchActor { name: name.to_owned() })
    }

    /// The actor who signs if none is named.
    ///
    /// # Errors
    /// [`KeyringError::NoActor`].
    pub fn default_actor(&self) -> Result<&ActorKey, KeyringError> {
        self.secrets.actors.first().ok_or(KeyringError::NoActor)
    }

    /// Makes an actor the default.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchActor`].
    pub fn set_default_actor(&mut self, name: &str, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.change(rng, |secrets| {
            let found = secrets.actors.iter().position(|actor| actor.name == name);
            let at = found.ok_or_else(|| KeyringError::NoSuchActor { name: name.to_owned() })?;
            let actor = secrets.actors.remove(at);
            secrets.actors.insert(0, actor);
            Ok(())
        })
    }
}

/// Names.
impl Keyring {
    /// Gives an actor, own or other, another name; whether it is trusted stays
    /// as it is.
    ///
    /// # Errors
    /// [`KeyringError::NotKnown`], [`KeyringError::ActorExists`] if another actor
    /// of this node has the name, [`KeyringError::NameTaken`] if somebody else
    /// goes by it, or [`KeyringError::BadName`].
    pub fn rename_actor(&mut self, key: &Actor, name: &str, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        check_name(name)?;
        self.change(rng, |secrets| {
            if secrets.actors.iter().any(|actor| actor.name == name && actor.key.actor() != *key) {
                return Err(KeyringError::ActorExists { name: name.to_owned() });
            }
            if let Some(other) = secrets.trust.actor_named(name).filter(|other| other.key != *key) {
                return Err(KeyringError::NameTaken { name: name.to_owned(), key: other.key.to_string() });
            }
            let own = secrets.actors.iter_mut().find(|actor| actor.key.actor() == *key);
            let is_own = own.map(|actor| name.clone_into(&mut actor.name)).is_some();
            let is_known = secrets.trust.rename_actor(key, name);
            if is_own || is_known { Ok(()) } else { Err(KeyringError::NotKnown { key: key.to_string() }) }
        })
    }
}

/// What other parts of the engine keep here: peers, settings.
impl Keyring {
    /// The record with this name.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<&[u8]> {
        self.secrets.records.get(name).map(|record| &record[..])
    }

    /// Replaces the record with this name.
    ///
    /// # Errors
    /// [`KeyringError::Io`].
    pub fn put_record(&mut self, name: &str, record: Vec<u8>, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        check_name(name)?;
        let record = Zeroizing::new(record);
        self.change(rng, |secrets| {
            secrets.records.insert(name.to_owned(), record);
            Ok(())
        })
    }
}

/// The trust store.
impl Keyring {
    /// The keys that this node knows.
    #[must_use]
    pub const fn trust(&self) -> &TrustStore {
        &self.secrets.trust
    }

    /// Trusts an actor, anew if trust was withdrawn and it is a person who says
    /// so. One of this node's own keeps the name that it signs under.
    ///
    /// # Errors
    /// [`KeyringError::UnacceptableKey`], [`KeyringError::NameTaken`],
    /// [`KeyringError::BadName`]; [`KeyringError::Withdrawn`] if it stood on a
    /// card and trust was withdrawn.
    pub fn trust_actor(
        &mut self,
        key: Actor,
        name: &str,
        how: How,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        check_name(name)?;
        check_key(&key.0)?;
        self.change(rng, |secrets| {
            if how == How::Card {
                refuse_withdrawn(&secrets.trust, &key)?;
            }
            let own = secrets.actors.iter().find(|actor| actor.key.actor() == key);
            let (name, how) = own.map_or((name, how), |own| (&own.name, How::Own));
            put_trusted_actor(&mut secrets.trust, known_actor(key, name, now, how))
        })
    }

    /// Trusts an actor that the card of `node` lists.
    ///
    /// # Errors
    /// As [`Self::trust_actor`]; [`KeyringError::Withdrawn`] unless trust in the
    /// actor ended with this node.
    pub fn trust_listed(
        &mut self,
        key: Actor,
        name: &str,
        node: &Origin,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        let ended_with_it = self.trust().actor(&key).is_some_and(|known| known.ended_with == Some(*node));
        if !ended_with_it {
            return self.trust_actor(key, name, How::Card, now, rng);
        }
        check_name(name)?;
        self.change(rng, |secrets| put_trusted_actor(&mut secrets.trust, known_actor(key, name, now, How::Card)))
    }

    /// Withdraws trust in an actor, whose key stays known. No card makes it
    /// trusted again.
    ///
    /// # Errors
    /// [`KeyringError::NotKnown`].
    pub fn untrust_actor(&mut self, key: &Actor, now: Time, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.end_trust(key, None, now, rng)
    }

    /// Ends trust in an actor because its node was removed: it comes back with
    /// that node.
    ///
    /// # Errors
    /// [`KeyringError::NotKnown`].
    pub fn end_trust_with(
        &mut self,
        key: &Actor,
        node: Origin,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        self.end_trust(key, Some(node), now, rng)
    }

    fn end_trust(
        &mut self,
        key: &Actor,
        with: Option<Origin>,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        self.change(rng, |secrets| match secrets.trust.withdraw_actor(key, with, now) {
            true => Ok(()),
            false => Err(KeyringError::NotKnown { key: key.to_string() }),
        })
    }

    /// Trusts the node with this key as an origin, anew if trust was withdrawn.
    ///
    /// # Errors
    /// As [`Self::trust_actor`].
    pub fn trust_origin(
        &mut self,
        key: NodeKey,
        name: &str,
        how: How,
        now: Time,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        check_name(name)?;
        check_key(&key.0)?;
        let known = KnownOrigin { key, name: name.to_owned(), since: now, how, withdrawn: None };
        self.change(rng, |secrets| put_trusted_origin(&mut secrets.trust, known))
    }

    /// Withdraws trust in an origin, whose key stays known.
    ///
    /// # Errors
    /// [`KeyringError::NotKnown`].
    pub fn untrust_origin(&mut self, origin: &Origin, now: Time, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.change(rng, |secrets| match secrets.trust.withdraw_origin(origin, now) {
            true => Ok(()),
            false => Err(KeyringError::NotKnown { key: origin.to_string() }),
        })
    }
}

fn known_actor(key: Actor, name: &str, since: Time, how: How) -> KnownActor {
    KnownActor { key, name: name.to_owned(), since, how, withdrawn: None, ended_with: None }
}

fn refuse_withdrawn(trust: &TrustStore, key: &Actor) -> Result<(), KeyringError> {
    let known = trust.actor(key).and_then(|known| Some((known, known.withdrawn?)));
    known.map_or(Ok(()), |(known, at)| {
        Err(KeyringError::Withdrawn { key: key.to_string(), name: known.name.clone(), at })
    })
}

/// Two keys that are trusted never go by one name: whoever reads the name
/// would take the one for the other. Who is trusted already is so since then.
fn put_trusted_actor(trust: &mut TrustStore, mut known: KnownActor) -> Result<(), KeyringError> {
    if let Some(other) = trust.actor_named(&known.name).filter(|other| other.key != known.key) {
        return Err(KeyringError::NameTaken { name: known.name, key: other.key.to_string() });
    }
    if let Some(before) = trust.actor(&known.key).filter(|before| before.withdrawn.is_none()) {
        known.since = before.since;
    }
    trust.put_actor(known);
    Ok(())
}

fn put_trusted_origin(trust: &mut TrustStore, mut known: KnownOrigin) -> Result<(), KeyringError> {
    if let Some(other) = trust.origin_named(&known.name).filter(|other| other.key != known.key) {
        return Err(KeyringError::NameTaken { name: known.name, key: other.key.to_string() });
    }
    if let Some(before) = trust.origin(&known.key.origin()).filter(|before| before.withdrawn.is_none()) {
        known.since = before.since;
    }
    trust.put_origin(known);
    Ok(())
}

fn check_name(name: &str) -> Result<(), KeyringError> {
    match codec::name_problem(name) {
        None => Ok(()),
        Some(problem) => Err(KeyringError::BadName { name: name.to_owned(), problem }),
    }
}

fn check_key(key: &[u8; 32]) -> Result<(), KeyringError> {
    let refuse = |source| KeyringError::UnacceptableKey { key: data_encoding::HEXLOWER.encode(key), source };
    Verifier::new(key).map(drop).map_err(refuse)
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("path", &self.path).field("slots", &self.slots()).finish_non_exhaustive()
    }
}

/// For fuzzing: bytes that nobody wrote are refused without a panic, and what
/// is read is written back as it was. The checksum is made right, or no input
/// would get past it; slots that cost more than a moment are not tried.
#[doc(hidden)]
pub fn fuzz_keyring(bytes: &[u8]) {
    if let Ok(secrets) = Secrets::decode(bytes) {
        assert_eq!(*secrets.encode(), bytes, "the secrets have another spelling");
    }
    let mut repaired = bytes.to_vec();
    layout::repair_checksum(&mut repaired);
    for bytes in [bytes, &repaired] {
        let Ok(locked) = Locked::parse(bytes) else { continue };
        let is_quick = |slot: &Slot| match slot.kind {
            SlotKind::Passphrase { params, .. } => params.memory_kib() <= 64 && params.passes() <= 2,
            SlotKind::RecoveryKey => true,
        };
        if locked.slots.iter().all(is_quick) {
            let passphrase = Passphrase::from("correct horse".to_owned());
            // Opening or not are both fine.
            let _ = Keyring::from_bytes(Path::new("keyring"), bytes, None, Unlock::Passphrase(&passphrase));
        }
    }
}

#[cfg(test)]
mod tests;

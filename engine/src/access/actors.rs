//! Who can sign here, and whose signatures are trusted; the keyring's slots.

use thingdb_format::{Actor, Card, CardFields, Time};

use super::tls;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyring::passphrase::Passphrase;
use crate::keyring::trust::{How, KnownActor, KnownOrigin};
use crate::keyring::{ActorKey, Keyring, RecoveryKey, SlotId, SlotInfo};

/// An actor whose secret key is in the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnActor {
    /// The actor's name.
    pub name: String,
    /// The public key.
    pub key: Actor,
    /// Whether it signs if no other is named.
    pub default: bool,
}

/// An actor whose key the trust store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedActor {
    /// The name under which it is known here.
    pub name: String,
    /// The public key.
    pub key: Actor,
    /// Since when it is trusted.
    pub since: Time,
    /// How the key came to be known.
    pub how: How,
}

/// Actors and trust.
impl Db {
    /// The actors who can sign here, the default one first.
    #[must_use]
    pub fn own_actors(&self) -> Vec<OwnActor> {
        let keyring = self.store.keyring();
        let own = |(at, actor): (usize, &ActorKey)| OwnActor {
            name: actor.name.clone(),
            key: actor.key.actor(),
            default: at == 0,
        };
        keyring.actors().iter().enumerate().map(own).collect()
    }

    /// Makes an actor with a fresh key, who is trusted here.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the name is taken or not allowed.
    pub fn new_actor(&self, name: &str) -> Result<Actor> {
        self.change_keyring(|keyring| Ok(keyring.add_actor(name, unix_now(), &mut rand::rng())?.actor()))
    }

    /// Makes an actor the one who signs if no other is named.
    ///
    /// # Errors
    /// [`Error::NoSuchActor`]; [`Error::ActorWithdrawn`] if it cannot sign.
    pub fn set_default_actor(&self, name: &str) -> Result<()> {
        let mut keyring = self.store.keyring();
        let actor = keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?;
        check_trusted(&keyring, actor)?;
        Ok(keyring.set_default_actor(name, &mut rand::rng())?)
    }

    /// Every actor that is known, those in whom trust was withdrawn, too; by
    /// key.
    #[must_use]
    pub fn known_actors(&self) -> Vec<KnownActor> {
        self.store.keyring().trust().actors().cloned().collect()
    }

    /// Every node that is known, those in which trust was withdrawn, too; by
    /// origin.
    #[must_use]
    pub fn known_origins(&self) -> Vec<KnownOrigin> {
        self.store.keyring().trust().origins().cloned().collect()
    }

    /// The actors whose entries are accepted, own ones included, by name.
    #[must_use]
    pub fn trusted_actors(&self) -> Vec<TrustedActor> {
        let keyring = self.store.keyring();
        let trusted = keyring.trust().actors().filter(|known| known.withdrawn.is_none());
        let mut actors: Vec<TrustedActor> = trusted
            .map(|known| TrustedActor { name: known.name.clone(), key: known.key, since: known.since, how: known.how })
            .collect();
        actors.sort_by(|a, b| a.name.cmp(&b.name));
        actors
    }

    /// Trusts a key under a name: entries that it signed are accepted and
    /// shown as this actor's. This is a person's word: it takes back that trust
    /// was withdrawn. An actor of this node keeps its name.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the key is not acceptable or the name is taken.
    pub fn trust_actor(&self, name: &str, key: Actor) -> Result<()> {
        self.change_keyring(|keyring| Ok(keyring.trust_actor(key, name, How::ByHand, unix_now(), &mut rand::rng())?))
    }

    /// Gives an actor, own or other, another name. Its entries keep the name
    /// that they were signed with, and are shown by the new one; so is it told on
    /// this node's next [card](Self::card).
    ///
    /// # Errors
    /// [`Error::Keyring`] if the key is not known, or the name is taken or not
    /// allowed.
    pub fn rename_actor(&self, key: &Actor, name: &str) -> Result<()> {
        self.change_keyring(|keyring| Ok(keyring.rename_actor(key, name, &mut rand::rng())?))
    }

    /// Withdraws trust in a key: nothing more is accepted from it, no card makes
    /// it trusted again, and an actor of this node signs no more. Only
    /// [`Db::trust_actor`] takes it back. Whether anything changed.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the file cannot be replaced.
    pub fn untrust_actor(&self, key: &Actor) -> Result<bool> {
        self.change_keyring(|keyring| {
            let known = keyring.trust().actor(key);
            if known.is_none_or(|known| known.withdrawn.is_some() && known.ended_with.is_none()) {
                return Ok(false);
            }
            keyring.untrust_actor(key, unix_now(), &mut rand::rng())?;
            Ok(true)
        })
    }

    /// Changes what the keyring says of trust, peers or audience, all or
    /// nothing, and takes over what follows from it.
    pub(crate) fn change_keyring<T>(&self, change: impl FnOnce(&mut Keyring) -> Result<T>) -> Result<T> {
        let mut keyring = self.store.keyring();
        let changed = keyring.together(&mut rand::rng(), change)?;
        self.store.take_over(&keyring)?;
        drop(keyring);
        self.committer.forget_keks();
        Ok(changed)
    }

    /// This node's public keys and those of its actors who sign, signed: what
    /// one hands to a peer.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there are more actors than a card holds.
    pub fn card(&self) -> Result<Card> {
        let keyring = self.store.keyring();
        let signing = keyring.actors().iter().filter(|actor| check_trusted(&keyring, actor).is_ok());
        let mut actors: Vec<(Actor, String)> = signing.map(|actor| (actor.key.actor(), actor.name.clone())).collect();
        actors.sort();
        let fields = CardFields {
            time: unix_now(),
            node_key: keyring.node_key().node_key(),
            encryption_key: keyring.decryption_key().encryption_key(),
            tls: tls::pinned(&keyring)?,
            name: String::new(),
            actors,
        };
        Ok(Card::sign(fields, keyring.node_key())?)
    }
}

/// The keyring's slots.
impl Db {
    /// Replaces the passphrase that opened the database. Entries are not
    /// touched.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the new one is too short or the database was
    /// opened with the recovery key.
    pub fn change_passphrase(&self, new: &Passphrase) -> Result<()> {
        let mut keyring = self.store.keyring();
        let slot = keyring.opened_by();
        Ok(keyring.change_passphrase(slot, new, None, &mut rand::rng())?)
    }

    /// Lets another passphrase open the database too.
    ///
    /// # Errors
    /// [`Error::Keyring`] if it is too short or all slots are taken.
    pub fn add_passphrase(&self, new: &Passphrase) -> Result<SlotId> {
        Ok(self.store.keyring().add_passphrase(new, self.options.kdf, &mut rand::rng())?)
    }

    /// Makes a recovery key, which opens the database without a passphrase.
    /// An older one does not open it any more.
    ///
    /// # Errors
    /// [`Error::Keyring`].
    pub fn new_recovery_key(&self) -> Result<RecoveryKey> {
        Ok(self.store.keyring().replace_recovery_key(&mut rand::rng())?)
    }

    /// What opens the database.
    #[must_use]
    pub fn key_slots(&self) -> Vec<SlotInfo> {
        self.store.keyring().slots()
    }

    /// Takes a slot away. The last passphrase stays.
    ///
    /// # Errors
    /// [`Error::Keyring`].
    pub fn remove_key_slot(&self, slot: SlotId) -> Result<()> {
        Ok(self.store.keyring().remove_slot(slot, &mut rand::rng())?)
    }
}

/// Fails for an actor of this node in whom trust was withdrawn.
pub(crate) fn check_trusted(keyring: &Keyring, actor: &ActorKey) -> Result<()> {
    let known = keyring.trust().actor(&actor.key.actor());
    match known.and_then(|known| known.withdrawn) {
        Some(at) => Err(Error::ActorWithdrawn { name: actor.name.clone(), at }),
        None => Ok(()),
    }
}

/// Now, for what the keyring notes.
pub(crate) fn unix_now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).ok().and_then(|micros| Time::from_micros(micros).ok()).unwrap_or(Time::MAX)
}

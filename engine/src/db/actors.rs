//! Who can sign here, and whose signatures are trusted.

use thingdb_format::{Actor, Card};

use super::Db;
use crate::access::actors::{self, OwnActor, TrustedActor};
use crate::access::card;
use crate::clock::unix_now;
use crate::error::{Error, Result};
use crate::keyring::ActorKey;
use crate::keyring::trust::{How, KnownActor, KnownOrigin};

/// Actors and trust.
impl Db {
    /// The actors who can sign here, the default one first.
    #[must_use]
    pub fn own_actors(&self) -> Vec<OwnActor> {
        let keyring = self.node.store.keyring();
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
        let mut keyring = self.node.store.keyring();
        let actor = keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?;
        let logs = self.node.store.keys.logs();
        actors::check_trusted(&keyring, &logs, actor)?;
        actors::check_current(&logs, actor)?;
        Ok(keyring.set_default_actor(name, &mut rand::rng())?)
    }

    /// Every actor that is known, those in whom trust was withdrawn, too; by
    /// key.
    #[must_use]
    pub fn known_actors(&self) -> Vec<KnownActor> {
        self.node.store.keyring().trust().actors().cloned().collect()
    }

    /// Every node that is known, those in which trust was withdrawn, too; by
    /// origin.
    #[must_use]
    pub fn known_origins(&self) -> Vec<KnownOrigin> {
        self.node.store.keyring().trust().origins().cloned().collect()
    }

    /// The actors whose entries are accepted, own ones included, by name.
    #[must_use]
    pub fn trusted_actors(&self) -> Vec<TrustedActor> {
        let keyring = self.node.store.keyring();
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
        let logs = self.node.store.keys.logs();
        let same: Vec<Actor> = logs.before(key).copied().collect();
        self.change_keyring(|keyring| Ok(keyring.rename_actor(key, &same, name, &mut rand::rng())?))
    }

    /// Withdraws trust in a key: nothing more is accepted from it, no card makes
    /// it trusted again, and an actor of this node signs no more. Only
    /// [`Db::trust_actor`] takes it back. Whether anything changed.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the file cannot be replaced.
    pub fn untrust_actor(&self, key: &Actor) -> Result<bool> {
        let logs = self.node.store.keys.logs();
        self.change_keyring(|keyring| {
            let key = &actors::anchor(keyring, &logs, key);
            let known = keyring.trust().actor(key);
            if known.is_none_or(|known| known.withdrawn.is_some() && known.ended_with.is_none()) {
                return Ok(false);
            }
            keyring.untrust_actor(key, unix_now(), &mut rand::rng())?;
            Ok(true)
        })
    }

    /// This node's public keys and those of its actors who sign, signed: what
    /// one hands to a peer.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there are more actors than a card holds.
    pub fn card(&self) -> Result<Card> {
        card::card(&self.node.store.keyring(), &self.node.store.keys.logs())
    }
}

//! The actors who can sign here, and the names of actors.

use std::sync::Arc;

use rand::CryptoRng;
use thingdb_format::{Actor, SigningKey, Time};

use super::secrets::MAX_ACTORS;
use super::trust::How;
use super::trusting::{known_actor, put_trusted_actor, refuse_withdrawn};
use super::{ActorKey, Keyring, KeyringError, check_name};

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

    /// Puts another key in the place of that of an actor of this node.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchActor`].
    pub fn replace_actor_key(
        &mut self,
        name: &str,
        key: &Arc<SigningKey>,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        self.change(rng, |secrets| {
            let found = secrets.actors.iter_mut().find(|actor| actor.name == name);
            let actor = found.ok_or_else(|| KeyringError::NoSuchActor { name: name.to_owned() })?;
            actor.key = Arc::clone(key);
            Ok(())
        })
    }

    /// Gives an actor, own or other, another name; whether it is trusted stays
    /// as it is. `same` are keys whose place this one took.
    ///
    /// # Errors
    /// [`KeyringError::NotKnown`], [`KeyringError::ActorExists`] if another actor
    /// of this node has the name, [`KeyringError::NameTaken`] if somebody else
    /// goes by it, or [`KeyringError::BadName`].
    pub fn rename_actor(
        &mut self,
        key: &Actor,
        same: &[Actor],
        name: &str,
        rng: &mut impl CryptoRng,
    ) -> Result<(), KeyringError> {
        let is_same = |other: &Actor| other == key || same.contains(other);
        check_name(name)?;
        self.change(rng, |secrets| {
            if secrets.actors.iter().any(|actor| actor.name == name && !is_same(&actor.key.actor())) {
                return Err(KeyringError::ActorExists { name: name.to_owned() });
            }
            if let Some(other) = secrets.trust.actor_named(name).filter(|other| !is_same(&other.key)) {
                return Err(KeyringError::NameTaken { name: name.to_owned(), key: other.key.to_string() });
            }
            let own = secrets.actors.iter_mut().find(|actor| actor.key.actor() == *key);
            let is_own = own.map(|actor| name.clone_into(&mut actor.name)).is_some();
            let anchor = std::iter::once(key).chain(same).find(|key| secrets.trust.actor(key).is_some());
            let is_known = anchor.is_some_and(|key| secrets.trust.rename_actor(key, name));
            if is_own || is_known { Ok(()) } else { Err(KeyringError::NotKnown { key: key.to_string() }) }
        })
    }
}

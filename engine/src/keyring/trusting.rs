//! Whom the node trusts, changed: actors and origins.

use rand::CryptoRng;
use thingdb_format::{Actor, NodeKey, Origin, Time, Verifier};

use super::trust::{How, KnownActor, KnownOrigin, TrustStore};
use super::{Keyring, KeyringError, check_name};

impl Keyring {
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

pub(super) fn known_actor(key: Actor, name: &str, since: Time, how: How) -> KnownActor {
    KnownActor { key, name: name.to_owned(), since, how, withdrawn: None, ended_with: None }
}

pub(super) fn refuse_withdrawn(trust: &TrustStore, key: &Actor) -> Result<(), KeyringError> {
    let known = trust.actor(key).and_then(|known| Some((known, known.withdrawn?)));
    known.map_or(Ok(()), |(known, at)| {
        Err(KeyringError::Withdrawn { key: key.to_string(), name: known.name.clone(), at })
    })
}

/// Two keys that are trusted never go by one name: whoever reads the name
/// would take the one for the other. Who is trusted already is so since then.
pub(super) fn put_trusted_actor(trust: &mut TrustStore, mut known: KnownActor) -> Result<(), KeyringError> {
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

fn check_key(key: &[u8; 32]) -> Result<(), KeyringError> {
    let refuse = |source| KeyringError::UnacceptableKey { key: data_encoding::HEXLOWER.encode(key), source };
    Verifier::new(key).map(drop).map_err(refuse)
}

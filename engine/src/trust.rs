//! The trust store: which keys a node knows, and by which names. Names are
//! claims; that a key is here is the decision of a person.

use std::collections::BTreeMap;

use thingdb_format::{Actor, NodeKey, Origin, Time};

/// How a key came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is one of this node's own.
    Own,
    /// Someone gave the key by hand.
    ByHand,
    /// It stood on a card that someone accepted.
    Card,
}

/// An actor whose entries are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownActor {
    /// The key.
    pub key: Actor,
    /// The name by which this node knows it.
    pub name: String,
    /// Since when.
    pub since: Time,
    /// How it came to be known.
    pub how: How,
    /// When trust was withdrawn, if it was.
    pub withdrawn: Option<Time>,
}

/// A node whose entries are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownOrigin {
    /// The node's key.
    pub key: NodeKey,
    /// The name by which this node knows it.
    pub name: String,
    /// Since when.
    pub since: Time,
    /// How it came to be known.
    pub how: How,
    /// When trust was withdrawn, if it was.
    pub withdrawn: Option<Time>,
}

/// The keys that a node knows. Withdrawn ones stay, so that what was accepted
/// from them can still be named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustStore {
    actors: BTreeMap<Actor, KnownActor>,
    origins: BTreeMap<Origin, KnownOrigin>,
}

impl TrustStore {
    /// What is known of an actor key, withdrawn or not.
    #[must_use]
    pub fn actor(&self, key: &Actor) -> Option<&KnownActor> {
        self.actors.get(key)
    }

    /// The actor that goes by `name` and is trusted.
    #[must_use]
    pub fn actor_named(&self, name: &str) -> Option<&KnownActor> {
        self.actors().find(|known| known.withdrawn.is_none() && known.name == name)
    }

    /// What is known of an origin, withdrawn or not.
    #[must_use]
    pub fn origin(&self, origin: &Origin) -> Option<&KnownOrigin> {
        self.origins.get(origin)
    }

    /// The origin that goes by `name` and is trusted.
    #[must_use]
    pub fn origin_named(&self, name: &str) -> Option<&KnownOrigin> {
        self.origins().find(|known| known.withdrawn.is_none() && known.name == name)
    }

    /// Whether entries of the actor are accepted.
    #[must_use]
    pub fn trusts_actor(&self, key: &Actor) -> bool {
        self.actor(key).is_some_and(|known| known.withdrawn.is_none())
    }

    /// Whether entries of the origin are accepted.
    #[must_use]
    pub fn trusts_origin(&self, origin: &Origin) -> bool {
        self.origin(origin).is_some_and(|known| known.withdrawn.is_none())
    }

    /// All actors, by key.
    pub fn actors(&self) -> impl ExactSizeIterator<Item = &KnownActor> {
        self.actors.values()
    }

    /// All origins, by origin.
    pub fn origins(&self) -> impl ExactSizeIterator<Item = &KnownOrigin> {
        self.origins.values()
    }

    pub(crate) fn put_actor(&mut self, known: KnownActor) {
        self.actors.insert(known.key, known);
    }

    /// Gives a key another name; `false` if it is not known.
    pub(crate) fn rename_actor(&mut self, key: &Actor, name: &str) -> bool {
        self.actors.get_mut(key).map(|known| name.clone_into(&mut known.name)).is_some()
    }

    pub(crate) fn put_origin(&mut self, known: KnownOrigin) {
        self.origins.insert(known.key.origin(), known);
    }

    /// Withdraws trust; `false` if the key is not known. The first time stands.
    pub(crate) fn withdraw_actor(&mut self, key: &Actor, now: Time) -> bool {
        self.actors.get_mut(key).map(|known| known.withdrawn.get_or_insert(now)).is_some()
    }

    /// Withdraws trust; `false` if the origin is not known. The first time
    /// stands.
    pub(crate) fn withdraw_origin(&mut self, origin: &Origin, now: Time) -> bool {
        self.origins.get_mut(origin).map(|known| known.withdrawn.get_or_insert(now)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withdrawn_actors_stay_known_and_give_up_their_name() {
        let (then, now) = (Time::from_micros(1).unwrap(), Time::from_micros(2).unwrap());
        let alice =
            KnownActor { key: Actor([1; 32]), name: "alice".into(), since: then, how: How::ByHand, withdrawn: None };
        let mut store = TrustStore::default();
        assert!(!store.withdraw_actor(&alice.key, now));
        store.put_actor(alice.clone());
        assert!(store.trusts_actor(&alice.key));
        assert_eq!(store.actor_named("alice"), Some(&alice));
        assert!(store.withdraw_actor(&alice.key, now));
        assert!(!store.trusts_actor(&alice.key));
        assert_eq!(store.actor(&alice.key).unwrap().withdrawn, Some(now));
        assert_eq!(store.actor_named("alice"), None);
    }
}

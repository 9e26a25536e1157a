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
    /// When trust was withdrawn, if it was. Only a person takes that back.
    pub withdrawn: Option<Time>,
    /// The node with which trust in it ended, if nobody withdrew it from this
    /// key itself: it comes back when a person adds that node again.
    pub ended_with: Option<Origin>,
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

    /// Whether a card of `node` can make an actor trusted. What a person
    /// withdrew no card brings back; what ended with its node comes back with
    /// that node only.
    #[must_use]
    pub fn takes_from_card(&self, key: &Actor, node: &Origin) -> bool {
        self.actor(key).is_none_or(|known| known.withdrawn.is_none() || known.ended_with == Some(*node))
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

    /// Withdraws trust, from the key itself or because its node was removed;
    /// `false` if the key is not known. The first time stands, and what a person
    /// withdrew from the key itself does so, too.
    pub(crate) fn withdraw_actor(&mut self, key: &Actor, with: Option<Origin>, now: Time) -> bool {
        let Some(known) = self.actors.get_mut(key) else { return false };
        if known.withdrawn.is_none() || with.is_none() {
            known.ended_with = with;
        }
        known.withdrawn.get_or_insert(now);
        true
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
        let alice = alice(then);
        let mut store = TrustStore::default();
        assert!(!store.withdraw_actor(&alice.key, None, now));
        store.put_actor(alice.clone());
        assert!(store.trusts_actor(&alice.key));
        assert_eq!(store.actor_named("alice"), Some(&alice));
        assert!(store.withdraw_actor(&alice.key, None, now));
        assert!(!store.trusts_actor(&alice.key));
        assert_eq!(store.actor(&alice.key).unwrap().withdrawn, Some(now));
        assert_eq!(store.actor_named("alice"), None);
    }

    fn alice(since: Time) -> KnownActor {
        let (key, name) = (Actor([1; 32]), "alice".to_owned());
        KnownActor { key, name, since, how: How::Card, withdrawn: None, ended_with: None }
    }

    #[test]
    fn what_ended_with_a_node_comes_back_with_it_and_what_a_person_withdrew_with_no_card() {
        let (then, now) = (Time::from_micros(1).unwrap(), Time::from_micros(2).unwrap());
        let (hall, other) = (Origin([1; 16]), Origin([2; 16]));
        let alice = alice(then);
        let mut store = TrustStore::default();
        let may =
            |store: &TrustStore| (store.takes_from_card(&alice.key, &hall), store.takes_from_card(&alice.key, &other));
        assert_eq!(may(&store), (true, true));
        store.put_actor(alice.clone());
        store.withdraw_actor(&alice.key, Some(hall), now);
        assert_eq!(may(&store), (true, false));
        store.withdraw_actor(&alice.key, None, now);
        assert_eq!(may(&store), (false, false));
        // That its node goes does not make it less.
        store.withdraw_actor(&alice.key, Some(hall), now);
        assert_eq!(may(&store), (false, false));
    }
}

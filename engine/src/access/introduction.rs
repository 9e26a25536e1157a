//! What a card would bring: whom it names, under which names, and what speaks
//! against it.

use thingdb_format::{Actor, Card, Hash, MAX_NAME_BYTES, Time};

use super::key_logs::KeyLogs;
use super::peers::peers;
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::keyring::trust::{How, KnownActor, KnownOrigin};

/// What adding a peer would do, for people to look at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The name of the peer.
    pub name: String,
    /// SHA-256 of its node key.
    pub fingerprint: Hash,
    /// Its actors, with the names under which they would be trusted. Left out
    /// are those in whom trust was withdrawn.
    pub actors: Vec<(Actor, String)>,
    /// Actors on the card in whom trust was withdrawn, and stays so: no card
    /// brings it back, [`Db::trust_actor`](crate::Db::trust_actor) does.
    pub withdrawn: Vec<Withdrawn>,
    /// When trust in this very node was withdrawn, and the name that it had. To
    /// add it takes that back.
    pub was_withdrawn: Option<(String, Time)>,
    /// The fingerprint of another node that had this name before trust in it was
    /// withdrawn.
    pub name_was: Option<Hash>,
    /// Whether the same peer is known already, whatever its card.
    pub known: bool,
    /// Whether the peer is known by a newer card. This one then changes
    /// nothing, and no actors would be trusted.
    pub outdated: bool,
    /// Actors whom the card before lists and this one does not, with the names
    /// under which they are trusted. They stay trusted: what they wrote still
    /// comes in from elsewhere. Whether they left or lost their key only their
    /// people can say; [`Db::untrust_actor`](crate::Db::untrust_actor) withdraws trust.
    pub dropped: Vec<(Actor, String)>,
    /// Actors whom this node knows by other names than the card has for them,
    /// or who sign here. A card proves that its node key made it, not that the
    /// node has the keys of its actors: it may list whom it likes. The names
    /// that are known here stay.
    pub claims: Vec<Claim>,
}

/// An actor on a card in whom trust was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The actor.
    pub key: Actor,
    /// The name on the card.
    pub claimed: String,
    /// The name by which this node knows the key.
    pub known: String,
    /// When trust was withdrawn.
    pub at: Time,
}

/// An actor on a card who is known here already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The actor.
    pub key: Actor,
    /// The name on the card.
    pub claimed: String,
    /// The name by which this node knows the key.
    pub known: String,
    /// How it came to be known; [`How::Own`] if it signs here.
    pub how: How,
    /// Whether trust in it was withdrawn.
    pub withdrawn: bool,
}

impl Claim {
    /// An honest card names an actor of this node as this node does.
    pub(super) fn is_of_own_under_another_name(&self) -> bool {
        self.how == How::Own && self.claimed != self.known
    }
}

/// What adding a peer would do to what the keyring knows.
pub(crate) fn introduction(keyring: &Keyring, logs: &KeyLogs, name: &str, card: &Card) -> Result<Introduction> {
    let peers = peers(keyring)?;
    let known = peers.iter().find(|peer| peer.name == name);
    if let Some(known) = known
        && known.card.node_key != card.node_key
    {
        return Err(Error::PeerChanged {
            name: name.to_owned(),
            known: known.fingerprint(),
            found: card.node_key.fingerprint(),
        });
    }
    if let Some(other) = peers.iter().find(|peer| peer.card.node_key == card.node_key && peer.name != name) {
        return Err(Error::PeerKnown { name: other.name.clone(), fingerprint: other.fingerprint() });
    }
    let outdated = known.is_some_and(|known| known.card.time > card.time);
    let (trust, node) = (keyring.trust(), card.node_key.origin());
    let (mut actors, mut withdrawn): (Vec<(Actor, String)>, Vec<Withdrawn>) = (Vec::new(), Vec::new());
    for (key, claimed) in if outdated { &[][..] } else { &card.actors[..] } {
        // A key that took the place of one that is trusted needs nobody's word.
        let is_explained = trust.actor(key).is_none() && logs.before(key).any(|before| trust.trusts_actor(before));
        if is_explained {
            continue;
        }
        if trust.takes_from_card(key, &node) {
            let local = local_name(keyring, name, key, claimed, &actors);
            actors.push((*key, local));
        } else if let Some(known) = trust.actor(key)
            && let Some(at) = known.withdrawn
        {
            withdrawn.push(Withdrawn { key: *key, claimed: claimed.clone(), known: known.name.clone(), at });
        }
    }
    let before = trust.origin(&node).and_then(|before| Some((before.name.clone(), before.withdrawn?)));
    let had_name =
        |origin: &&KnownOrigin| origin.withdrawn.is_some() && origin.name == name && origin.key != card.node_key;
    Ok(Introduction {
        name: name.to_owned(),
        fingerprint: card.node_key.fingerprint(),
        actors,
        withdrawn,
        was_withdrawn: before,
        name_was: trust.origins().find(had_name).filter(|_| known.is_none()).map(|other| other.key.fingerprint()),
        known: known.is_some(),
        outdated,
        dropped: known.filter(|_| !outdated).map_or_else(Vec::new, |known| dropped(keyring, logs, &known.card, card)),
        claims: claims(keyring, name, known.map(|known| &known.card), card),
    })
}

/// The name under which an actor of a peer is trusted here: the one it has, or
/// what it claims, unless somebody else has that name or another actor of the
/// card has just got it.
fn local_name(keyring: &Keyring, peer: &str, key: &Actor, claimed: &str, given: &[(Actor, String)]) -> String {
    let trust = keyring.trust();
    if let Some(known) = trust.actor(key).filter(|known| known.withdrawn.is_none()) {
        return known.name.clone();
    }
    // Whoever reads the name of an actor in whom trust was withdrawn must not
    // take another one for it.
    let is_other = |known: &KnownActor, name: &str| known.key != *key && known.name == name;
    let is_free = |name: &str| {
        name.len() <= MAX_NAME_BYTES
            && !trust.actors().any(|known| is_other(known, name))
            && given.iter().all(|(_, taken)| taken != name)
    };
    let qualified = [claimed.to_owned(), format!("{peer}/{claimed}")];
    // The key tells those apart whose names do not.
    let numbered = (8..=64).map(|digits| key.to_string()[..digits].to_owned());
    let mut names = qualified.into_iter().chain(numbered);
    names.find(|name| is_free(name)).unwrap_or_else(|| key.to_string())
}

/// The actors of `before` that are trusted and not on `card`.
fn dropped(keyring: &Keyring, logs: &KeyLogs, before: &Card, card: &Card) -> Vec<(Actor, String)> {
    // A key that another one of the card took the place of is not left out.
    let is_listed = |key: &Actor| card.actors.iter().any(|(listed, _)| listed == key || logs.succeeds(listed, key));
    let gone = before.actors.iter().filter(|(key, _)| !is_listed(key));
    let known = gone.filter_map(|(key, _)| keyring.trust().actor(key));
    let by_card = known.filter(|known| known.how == How::Card && known.withdrawn.is_none());
    by_card.map(|known| (known.key, known.name.clone())).collect()
}

/// The actors of a card of `peer` whom this node knows otherwise, but for what
/// the card before said, too.
fn claims(keyring: &Keyring, peer: &str, before: Option<&Card>, card: &Card) -> Vec<Claim> {
    let is_new = |actor: &&(Actor, String)| before.is_none_or(|before| !before.actors.contains(*actor));
    let listed = card.actors.iter().filter(is_new);
    listed
        .filter_map(|(key, claimed)| Some((keyring.trust().actor(key)?, claimed)))
        .filter(|(known, claimed)| {
            // The name that it got because its own was taken.
            let is_same = known.name == **claimed || known.name == format!("{peer}/{claimed}");
            known.how == How::Own || !is_same
        })
        .map(|(known, claimed)| Claim {
            key: known.key,
            claimed: claimed.clone(),
            known: known.name.clone(),
            how: known.how,
            withdrawn: known.withdrawn.is_some(),
        })
        .collect()
}

//! Peers: other nodes that this one knows, by their cards.
//!
//! The node key of a card makes the peer a known origin, its actors are trusted
//! under names of their own, and its encryption key receives CEKs.

use bincode::{Decode, Encode};
use thingdb_format::{Actor, Card, Hash, Origin, Time};

use super::introduction::{Introduction, introduction};
use super::key_logs::KeyLogs;
use super::tokens::Token;
use super::{address, audience, kept_tokens};
use crate::clock::unix_now;
use crate::encoding;
use crate::error::{Error, Result};
use crate::keyring::trust::How;
use crate::keyring::{Keyring, KeyringError};

const PEERS: &str = "peers";

/// A node that this one knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name under which it is known here.
    pub name: String,
    /// Its card, as it was added.
    pub card: Card,
    /// Since when it is known.
    pub since: Time,
    /// Actors of its former cards, who are not on this one and may be trusted
    /// still.
    pub former: Vec<Actor>,
}

impl Peer {
    /// What one compares with the peer's people: SHA-256 of its node key.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        self.card.node_key.fingerprint()
    }

    /// The name under which it writes entries.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.card.node_key.origin()
    }

    /// The actors of its card and of its former ones.
    pub(super) fn all_actors(&self) -> impl Iterator<Item = &Actor> {
        self.card.actors.iter().map(|(key, _)| key).chain(&self.former)
    }
}

#[derive(Encode, Decode)]
struct StoredPeer {
    name: String,
    card: Vec<u8>,
    since: u64,
    former: Vec<[u8; 32]>,
}

/// What went with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemovedPeer {
    /// Tokens that were made for it: they are refused from now on.
    pub tokens: Vec<Token>,
    /// Actors of its cards in whom trust ended with it.
    pub withdrawn: Vec<(Actor, String)>,
    /// Actors of its cards who stay trusted: another peer listed them, or a
    /// person gave their keys.
    pub kept: Vec<(Actor, String)>,
}

/// The peers that a keyring knows, by name.
pub(crate) fn peers(keyring: &Keyring) -> Result<Vec<Peer>> {
    let Some(record) = keyring.record(PEERS) else { return Ok(Vec::new()) };
    let stored: Vec<StoredPeer> =
        encoding::decode(record).map_err(|problem| Error::damaged("the list of peers in the keyring", problem))?;
    stored
        .into_iter()
        .map(|peer| {
            let card = Card::from_bytes(&peer.card)?;
            let former = peer.former.into_iter().map(Actor).collect();
            Ok(Peer { name: peer.name, card, since: Time::from_micros(peer.since)?, former })
        })
        .collect()
}

fn put_peers(keyring: &mut Keyring, mut peers: Vec<Peer>) -> Result<()> {
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    let stored: Vec<StoredPeer> = peers
        .iter()
        .map(|peer| StoredPeer {
            name: peer.name.clone(),
            card: peer.card.to_bytes(),
            since: peer.since.micros(),
            former: peer.former.iter().map(|key| key.0).collect(),
        })
        .collect();
    Ok(keyring.put_record(PEERS, encoding::encode(&stored), &mut rand::rng())?)
}

/// The peer with this name.
pub(crate) fn named(keyring: &Keyring, name: &str) -> Result<Peer> {
    let found = peers(keyring)?.into_iter().find(|peer| peer.name == name);
    found.ok_or_else(|| Error::NoSuchPeer { name: name.to_owned() })
}

/// Makes a node known by its card, and trusts what it lists.
pub(crate) fn add(keyring: &mut Keyring, logs: &KeyLogs, name: &str, card: &Card) -> Result<Introduction> {
    let introduction = introduction(keyring, logs, name, card)?;
    let own = keyring.node_key().node_key();
    if card.node_key == own {
        return Err(Error::PeerKnown { name: "this node itself".to_owned(), fingerprint: own.fingerprint() });
    }
    // A node that was made as a copy of this one has its actors, by their
    // names. Under another name nobody honest lists them.
    if let Some(claim) = introduction.claims.iter().find(|claim| claim.is_of_own_under_another_name()) {
        return Err(Error::ActorClaimed { key: claim.key, claimed: claim.claimed.clone(), known: claim.known.clone() });
    }
    if introduction.outdated {
        return Ok(introduction);
    }
    let mut peers = peers(keyring)?;
    let before = peers.iter().find(|peer| peer.name == name);
    let since = before.map_or_else(unix_now, |peer| peer.since);
    let former = before.map_or_else(Vec::new, |before| former(keyring, before, card));
    peers.retain(|peer| peer.name != name);
    peers.push(Peer { name: name.to_owned(), card: card.clone(), since, former });
    let (origin, now, rng) = (card.node_key.origin(), unix_now(), &mut rand::rng());
    keyring.trust_origin(card.node_key, name, How::Card, now, rng)?;
    for (key, local) in &introduction.actors {
        if !keyring.trust().trusts_actor(key) {
            keyring.trust_listed(*key, local, &origin, now, rng)?;
        }
    }
    put_peers(keyring, peers)?;
    Ok(introduction)
}

/// Forgets a peer, and what stood and fell with it.
pub(crate) fn remove(keyring: &mut Keyring, name: &str) -> Result<RemovedPeer> {
    let mut peers = peers(keyring)?;
    let at = peers.iter().position(|peer| peer.name == name);
    let at = at.ok_or_else(|| Error::NoSuchPeer { name: name.to_owned() })?;
    let peer = peers.remove(at);
    let (origin, now, rng) = (peer.origin(), unix_now(), &mut rand::rng());
    let mut audience = audience::audience(keyring)?;
    audience.default.retain(|peer| peer != name);
    audience.prefixes.iter_mut().for_each(|(_, peers)| peers.retain(|peer| peer != name));
    put_peers(keyring, peers.clone())?;
    audience::put(keyring, audience)?;
    address::put(keyring, &origin, None)?;
    ignore_unknown(keyring.untrust_origin(&origin, now, rng))?;
    let mut removed =
        RemovedPeer { tokens: kept_tokens::take_of_node(keyring, &origin)?, withdrawn: Vec::new(), kept: Vec::new() };
    for key in peer.all_actors() {
        let Some(known) = keyring.trust().actor(key).filter(|known| known.withdrawn.is_none()) else {
            continue;
        };
        let elsewhere = peers.iter().any(|other| other.all_actors().any(|listed| listed == key));
        let actor = (*key, known.name.clone());
        if known.how != How::Card || elsewhere {
            removed.kept.push(actor);
            continue;
        }
        keyring.end_trust_with(key, origin, now, rng)?;
        removed.withdrawn.push(actor);
    }
    Ok(removed)
}

fn ignore_unknown(outcome: std::result::Result<(), KeyringError>) -> Result<()> {
    match outcome {
        Err(KeyringError::NotKnown { .. }) => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// The actors that a peer's cards before this one listed, are not on this one,
/// and are trusted because of them.
fn former(keyring: &Keyring, before: &Peer, card: &Card) -> Vec<Actor> {
    let trust = keyring.trust();
    let by_card = |key: &&Actor| {
        trust.actor(key).is_some_and(|known| known.how == How::Card && known.withdrawn.is_none())
            && card.actors.iter().all(|(listed, _)| listed != *key)
    };
    let mut former: Vec<Actor> = before.all_actors().filter(by_card).copied().collect();
    former.sort_unstable();
    former.dedup();
    former
}

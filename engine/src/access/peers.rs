//! Peers: other nodes that this one knows, and to whom it seals what it
//! writes.
//!
//! A peer is known by its card. Its node key makes it a known origin, its
//! actors are trusted under names of their own, and its encryption key receives
//! CEKs. The *audience* says to which peers new entries are sealed: a default,
//! sets for things by prefix, or a set named for one write.

use std::collections::HashMap;

use bincode::{Decode, Encode};
use thingdb_format::{Actor, Card, EncryptionKey, Hash, MAX_NAME_BYTES, Origin, Time};

use super::actors::unix_now;
use super::address;
use super::tokens::{self, Token};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyring::trust::{How, KnownActor};
use crate::keyring::{Keyring, KeyringError};
use crate::store::stored;

const PEERS: &str = "peers";
const AUDIENCE: &str = "audience";
const WRITE_ONLY: &str = "write-only";

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
    fn all_actors(&self) -> impl Iterator<Item = &Actor> {
        self.card.actors.iter().map(|(key, _)| key).chain(&self.former)
    }
}

/// To which peers new entries are sealed, beside this node itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Peers for things without a set of their own.
    pub default: Vec<String>,
    /// Sets for things whose id begins with a prefix; the longest prefix
    /// counts.
    pub prefixes: Vec<(String, Vec<String>)>,
}

impl Audience {
    /// The peers for a thing.
    #[must_use]
    pub fn of(&self, thing: &str) -> &[String] {
        let matching = self.prefixes.iter().filter(|(prefix, _)| thing.starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(&self.default, |(_, peers)| peers)
    }
}

#[derive(Encode, Decode)]
struct StoredPeer {
    name: String,
    card: Vec<u8>,
    since: u64,
    former: Vec<[u8; 32]>,
}

#[derive(Default, Encode, Decode)]
struct StoredAudience {
    default: Vec<String>,
    prefixes: Vec<(String, Vec<String>)>,
}

/// The peers that a keyring knows, by name.
pub(crate) fn peers(keyring: &Keyring) -> Result<Vec<Peer>> {
    let Some(record) = keyring.record(PEERS) else { return Ok(Vec::new()) };
    let stored: Vec<StoredPeer> =
        stored::decode(record).map_err(|problem| Error::damaged("the list of peers in the keyring", problem))?;
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
    Ok(keyring.put_record(PEERS, stored::encode(&stored), &mut rand::rng())?)
}

/// To whom new entries are sealed.
pub(crate) fn audience(keyring: &Keyring) -> Result<Audience> {
    let Some(record) = keyring.record(AUDIENCE) else { return Ok(Audience::default()) };
    let stored: StoredAudience =
        stored::decode(record).map_err(|problem| Error::damaged("the audience in the keyring", problem))?;
    Ok(Audience { default: stored.default, prefixes: stored.prefixes })
}

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
    /// brings it back, [`Db::trust_actor`] does.
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
    /// people can say; [`Db::untrust_actor`] withdraws trust.
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

/// Peers.
impl Db {
    /// Looks at a card without changing anything.
    ///
    /// # Errors
    /// [`Error::PeerChanged`] if a peer of this name has other keys.
    pub fn introduce(&self, name: &str, card: &Card) -> Result<Introduction> {
        introduction(&self.store.keyring(), name, card)
    }

    /// Makes a node known by its card: its entries are accepted, its actors
    /// trusted, and entries can be sealed to it. A newer card of a known peer
    /// replaces the older one.
    ///
    /// Actors whose name is taken here are trusted as `NAME/CLAIMED`. Those in
    /// whom a person withdrew trust stay as they are; those in whom it ended
    /// because this node was removed are trusted again. An older card than the
    /// one that is known changes nothing: [`Introduction::outdated`] tells.
    ///
    /// # Errors
    /// [`Error::PeerChanged`] if a peer of this name has other keys;
    /// [`Error::ActorClaimed`] if the card lists an actor of this node under
    /// another name; [`Error::Keyring`].
    pub fn add_peer(&self, name: &str, card: &Card) -> Result<Introduction> {
        self.change_keyring(|keyring| {
            let introduction = introduction(keyring, name, card)?;
            let own = keyring.node_key().node_key();
            if card.node_key == own {
                return Err(Error::PeerKnown { name: "this node itself".to_owned(), fingerprint: own.fingerprint() });
            }
            // A node that was made as a copy of this one has its actors, by their
            // names. Under another name nobody honest lists them.
            if let Some(claim) = introduction.claims.iter().find(|claim| claim.is_of_own_under_another_name()) {
                return Err(Error::ActorClaimed {
                    key: claim.key,
                    claimed: claim.claimed.clone(),
                    known: claim.known.clone(),
                });
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
        })
    }

    /// The peers, by name.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn peers(&self) -> Result<Vec<Peer>> {
        peers(&self.store.keyring())
    }

    /// The peer with this name.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`].
    pub fn peer(&self, name: &str) -> Result<Peer> {
        let found = self.peers()?.into_iter().find(|peer| peer.name == name);
        found.ok_or_else(|| Error::NoSuchPeer { name: name.to_owned() })
    }

    /// Forgets a peer: nothing new is accepted from it or sealed to it, the
    /// tokens that were made for it end, and its actors are trusted no more,
    /// those of its former cards neither, unless another peer listed them, too.
    /// What it could read it can still read.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`].
    pub fn remove_peer(&self, name: &str) -> Result<RemovedPeer> {
        let removed = self.change_keyring(|keyring| {
            let mut peers = peers(keyring)?;
            let at = peers.iter().position(|peer| peer.name == name);
            let at = at.ok_or_else(|| Error::NoSuchPeer { name: name.to_owned() })?;
            let peer = peers.remove(at);
            let (origin, now, rng) = (peer.origin(), unix_now(), &mut rand::rng());
            let mut audience = audience(keyring)?;
            audience.default.retain(|peer| peer != name);
            audience.prefixes.iter_mut().for_each(|(_, peers)| peers.retain(|peer| peer != name));
            put_peers(keyring, peers.clone())?;
            put_audience(keyring, audience)?;
            address::put(keyring, &origin, None)?;
            ignore_unknown(keyring.untrust_origin(&origin, now, rng))?;
            let mut removed = RemovedPeer {
                tokens: tokens::take_of_node(keyring, &origin)?,
                withdrawn: Vec::new(),
                kept: Vec::new(),
            };
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
        })?;
        self.end_tokens(&removed.tokens);
        Ok(removed)
    }

    /// To whom new entries are sealed.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn audience(&self) -> Result<Audience> {
        audience(&self.store.keyring())
    }

    /// Sets to whom new entries are sealed. Older entries are not changed.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`] if it names a peer that is not known.
    pub fn set_audience(&self, audience: Audience) -> Result<()> {
        self.change_keyring(|keyring| {
            let known = peers(keyring)?;
            let named = audience.default.iter().chain(audience.prefixes.iter().flat_map(|(_, peers)| peers));
            for name in named {
                if known.iter().all(|peer| peer.name != *name) {
                    return Err(Error::NoSuchPeer { name: name.clone() });
                }
            }
            put_audience(keyring, audience)
        })
    }
}

/// What adding a peer would do to what the keyring knows.
fn introduction(keyring: &Keyring, name: &str, card: &Card) -> Result<Introduction> {
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
    let had_name = |origin: &&crate::keyring::trust::KnownOrigin| {
        origin.withdrawn.is_some() && origin.name == name && origin.key != card.node_key
    };
    Ok(Introduction {
        name: name.to_owned(),
        fingerprint: card.node_key.fingerprint(),
        actors,
        withdrawn,
        was_withdrawn: before,
        name_was: trust.origins().find(had_name).filter(|_| known.is_none()).map(|other| other.key.fingerprint()),
        known: known.is_some(),
        outdated,
        dropped: known.filter(|_| !outdated).map_or_else(Vec::new, |known| dropped(keyring, &known.card, card)),
        claims: claims(keyring, name, known.map(|known| &known.card), card),
    })
}

fn put_audience(keyring: &mut Keyring, mut audience: Audience) -> Result<()> {
    audience.prefixes.retain(|(_, peers)| !peers.is_empty());
    audience.prefixes.sort();
    let stored = StoredAudience { default: audience.default, prefixes: audience.prefixes };
    Ok(keyring.put_record(AUDIENCE, stored::encode(&stored), &mut rand::rng())?)
}

fn ignore_unknown(outcome: std::result::Result<(), KeyringError>) -> Result<()> {
    match outcome {
        Err(KeyringError::NotKnown { .. }) => Ok(()),
        outcome => Ok(outcome?),
    }
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

impl Claim {
    fn is_of_own_under_another_name(&self) -> bool {
        self.how == How::Own && self.claimed != self.known
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

/// The actors of `before` that are trusted and not on `card`.
fn dropped(keyring: &Keyring, before: &Card, card: &Card) -> Vec<(Actor, String)> {
    let is_listed = |key: &Actor| card.actors.iter().any(|(listed, _)| listed == key);
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

/// To whom entries are sealed, ready for those who write.
#[derive(Default)]
pub(crate) struct Readers {
    audience: Audience,
    keys: HashMap<String, EncryptionKey>,
    /// Whether this node keeps no CEK.
    pub(crate) write_only: bool,
}

impl Readers {
    pub(crate) fn load(keyring: &Keyring) -> Result<Self> {
        let keys = peers(keyring)?.into_iter().map(|peer| (peer.name.clone(), peer.card.encryption_key)).collect();
        Ok(Self { audience: audience(keyring)?, keys, write_only: keyring.record(WRITE_ONLY).is_some() })
    }

    /// The keys to which an entry about `thing` is sealed: those of `named`,
    /// or of the audience. Ascending, without repeats.
    pub(crate) fn keys(&self, thing: &str, named: Option<&[String]>) -> Result<Vec<EncryptionKey>> {
        let names = named.unwrap_or_else(|| self.audience.of(thing));
        let mut keys = names
            .iter()
            .map(|name| self.keys.get(name).copied().ok_or_else(|| Error::NoSuchPeer { name: name.clone() }))
            .collect::<Result<Vec<_>>>()?;
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() && self.write_only {
            return Err(Error::NoReader);
        }
        Ok(keys)
    }
}

/// From now on the node keeps no CEK.
pub(crate) fn set_write_only(keyring: &mut Keyring) -> Result<()> {
    Ok(keyring.put_record(WRITE_ONLY, Vec::new(), &mut rand::rng())?)
}

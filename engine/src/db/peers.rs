//! Peers, and to whom new entries are sealed.

use thingdb_format::Card;

use super::Db;
use crate::access::audience::{self, Audience};
use crate::access::introduction::{Introduction, introduction};
use crate::access::peers::{self, Peer, RemovedPeer};
use crate::error::Result;

/// Peers.
impl Db {
    /// Looks at a card without changing anything.
    ///
    /// # Errors
    /// [`Error::PeerChanged`](crate::Error::PeerChanged) if a peer of this name has other keys.
    pub fn introduce(&self, name: &str, card: &Card) -> Result<Introduction> {
        introduction(&self.node.store.keyring(), &self.node.store.keys.logs(), name, card)
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
    /// [`Error::PeerChanged`](crate::Error::PeerChanged) if a peer of this name has
    /// other keys; [`Error::ActorClaimed`](crate::Error::ActorClaimed) if the card
    /// lists an actor of this node under another name;
    /// [`Error::Keyring`](crate::Error::Keyring).
    pub fn add_peer(&self, name: &str, card: &Card) -> Result<Introduction> {
        let logs = self.node.store.keys.logs();
        self.change_keyring(|keyring| peers::add(keyring, &logs, name, card))
    }

    /// The peers, by name.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn peers(&self) -> Result<Vec<Peer>> {
        peers::peers(&self.node.store.keyring())
    }

    /// The peer with this name.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`](crate::Error::NoSuchPeer).
    pub fn peer(&self, name: &str) -> Result<Peer> {
        peers::named(&self.node.store.keyring(), name)
    }

    /// Forgets a peer: nothing new is accepted from it or sealed to it, the
    /// tokens that were made for it end, and its actors are trusted no more,
    /// those of its former cards neither, unless another peer listed them, too.
    /// What it could read it can still read.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`](crate::Error::NoSuchPeer).
    pub fn remove_peer(&self, name: &str) -> Result<RemovedPeer> {
        let removed = self.change_keyring(|keyring| peers::remove(keyring, name))?;
        self.node.tokens.end(&removed.tokens);
        Ok(removed)
    }

    /// To whom new entries are sealed.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn audience(&self) -> Result<Audience> {
        audience::audience(&self.node.store.keyring())
    }

    /// Sets to whom new entries are sealed. Older entries are not changed.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`](crate::Error::NoSuchPeer) if it names a peer that is not known.
    pub fn set_audience(&self, audience: Audience) -> Result<()> {
        self.change_keyring(|keyring| audience::set(keyring, audience))
    }
}

//! Where the servers of peers are.

use super::Db;
use crate::access::address::{self, PeerAddress};
use crate::access::peers;
use crate::error::Result;

/// Addresses.
impl Db {
    /// Notes where the server of a peer is.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`](crate::Error::NoSuchPeer);
    /// [`Error::Keyring`](crate::Error::Keyring) if the keyring cannot be written.
    pub fn set_peer_address(&self, name: &str, address: &PeerAddress) -> Result<()> {
        let mut keyring = self.node.store.keyring();
        let node = peers::named(&keyring, name)?.origin();
        address::put(&mut keyring, &node, Some(address))
    }

    /// Where the server of a peer is, if that is known.
    ///
    /// # Errors
    /// [`Error::NoSuchPeer`](crate::Error::NoSuchPeer),
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn peer_address(&self, name: &str) -> Result<Option<PeerAddress>> {
        let keyring = self.node.store.keyring();
        address::of(&keyring, &peers::named(&keyring, name)?.origin())
    }
}

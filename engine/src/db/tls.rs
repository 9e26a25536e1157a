//! The certificate of this node's server.

use super::Db;
use crate::access::tls::{self, TlsIdentity};
use crate::error::Result;

/// The server's identity.
impl Db {
    /// The certificate and key of this node's server, if it has any.
    ///
    /// # Errors
    /// [`Error::is_damaged`](crate::Error::is_damaged).
    pub fn tls_identity(&self) -> Result<Option<TlsIdentity>> {
        tls::load(&self.node.store.keyring())
    }

    /// Gives this node's server a certificate and key. Peers who have the card
    /// need the new one: they pin the certificate.
    ///
    /// # Errors
    /// [`Error::Keyring`](crate::Error::Keyring) if the keyring cannot be written.
    pub fn set_tls_identity(&self, identity: &TlsIdentity) -> Result<()> {
        tls::put(&mut self.node.store.keyring(), identity)
    }
}

//! The certificate under which a node's server is known. Its fingerprint is on
//! the node's card, so that peers recognise the server by it.

use std::fmt;

use bincode::{Decode, Encode};
use thingdb_format::Hash;
use zeroize::{Zeroize, Zeroizing};

use sha2::{Digest, Sha256};

use crate::db::Db;
use crate::error::{Error, Result};
use crate::keyring::Keyring;
use crate::store::stored;

const RECORD: &str = "tls";

/// A certificate and its private key.
#[derive(Clone)]
pub struct TlsIdentity {
    /// The X.509 certificate, in DER (RFC 5280).
    pub certificate: Vec<u8>,
    /// Its private key: PKCS#8, in DER (RFC 5958). Wiped when it is dropped.
    pub key: Zeroizing<Vec<u8>>,
}

impl TlsIdentity {
    /// What the card holds: SHA-256 of the certificate's DER.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        fingerprint(&self.certificate)
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

#[derive(Encode, Decode)]
struct StoredIdentity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Drop for StoredIdentity {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

fn fingerprint(certificate: &[u8]) -> Hash {
    Hash(Sha256::digest(certificate).into())
}

fn load(keyring: &Keyring) -> Result<Option<TlsIdentity>> {
    let Some(record) = keyring.record(RECORD) else { return Ok(None) };
    let mut stored: StoredIdentity =
        stored::decode(record).map_err(|problem| Error::damaged("the TLS key in the keyring", problem))?;
    Ok(Some(TlsIdentity {
        certificate: std::mem::take(&mut stored.certificate),
        key: Zeroizing::new(std::mem::take(&mut stored.key)),
    }))
}

/// The fingerprint for the card.
pub(crate) fn pinned(keyring: &Keyring) -> Result<Option<Hash>> {
    Ok(load(keyring)?.map(|identity| identity.fingerprint()))
}

/// The server's identity.
impl Db {
    /// The certificate and key of this node's server, if it has any.
    ///
    /// # Errors
    /// [`Error::is_damaged`].
    pub fn tls_identity(&self) -> Result<Option<TlsIdentity>> {
        load(&self.store.keyring())
    }

    /// Gives this node's server a certificate and key. Peers who have the card
    /// need the new one: they pin the certificate.
    ///
    /// # Errors
    /// [`Error::Keyring`] if the keyring cannot be written.
    pub fn set_tls_identity(&self, identity: &TlsIdentity) -> Result<()> {
        let stored = StoredIdentity { certificate: identity.certificate.clone(), key: identity.key.to_vec() };
        Ok(self.store.keyring().put_record(RECORD, stored::encode(&stored), &mut rand::rng())?)
    }
}

//! The certificate under which a node's server is known. Its fingerprint is on
//! the node's card, so that peers recognise the server by it.

use std::fmt;

use bincode::{Decode, Encode};
use thingdb_format::Hash;
use zeroize::{Zeroize, Zeroizing};

use sha2::{Digest, Sha256};

use crate::encoding;
use crate::error::{Error, Result};
use crate::keyring::Keyring;

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

/// The identity, if there is one.
pub(crate) fn load(keyring: &Keyring) -> Result<Option<TlsIdentity>> {
    let Some(record) = keyring.record(RECORD) else { return Ok(None) };
    let mut stored: StoredIdentity =
        encoding::decode(record).map_err(|problem| Error::damaged("the TLS key in the keyring", problem))?;
    Ok(Some(TlsIdentity {
        certificate: std::mem::take(&mut stored.certificate),
        key: Zeroizing::new(std::mem::take(&mut stored.key)),
    }))
}

/// The fingerprint for the card.
pub(crate) fn pinned(keyring: &Keyring) -> Result<Option<Hash>> {
    Ok(load(keyring)?.map(|identity| identity.fingerprint()))
}

/// Replaces the identity.
pub(crate) fn put(keyring: &mut Keyring, identity: &TlsIdentity) -> Result<()> {
    let stored = StoredIdentity { certificate: identity.certificate.clone(), key: identity.key.to_vec() };
    Ok(keyring.put_record(RECORD, encoding::encode(&stored), &mut rand::rng())?)
}

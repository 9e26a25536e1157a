//! Where the servers of peers are, and what is shown to them. It lies in the
//! keyring, for a token is a secret.

use std::fmt;

use bincode::{Decode, Encode};
use thingdb_format::{Hash, Origin};
use zeroize::{Zeroize, Zeroizing};

use crate::encoding;
use crate::error::{Error, Result};
use crate::keyring::Keyring;

const RECORD: &str = "addresses";

/// Where the server of a peer is.
#[derive(Clone)]
pub struct PeerAddress {
    /// `https://HOST:PORT`.
    pub url: String,
    /// The token that the peer gave to this node.
    pub token: Zeroizing<String>,
    /// SHA-256 of the certificate, if it is another one than the peer's card
    /// names.
    pub tls: Option<Hash>,
}

impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerAddress").field("url", &self.url).field("tls", &self.tls).finish_non_exhaustive()
    }
}

#[derive(Encode, Decode)]
struct StoredAddress {
    node: [u8; 16],
    url: String,
    token: String,
    tls: Option<[u8; 32]>,
}

impl Drop for StoredAddress {
    fn drop(&mut self) {
        self.token.zeroize();
    }
}

fn load(keyring: &Keyring) -> Result<Vec<StoredAddress>> {
    keyring.record(RECORD).map_or_else(
        || Ok(Vec::new()),
        |record| {
            encoding::decode(record).map_err(|problem| Error::damaged("the addresses of peers in the keyring", problem))
        },
    )
}

/// Replaces the address of a node, or takes it away.
pub(crate) fn put(keyring: &mut Keyring, node: &Origin, address: Option<&PeerAddress>) -> Result<()> {
    let mut stored = load(keyring)?;
    let before = stored.len();
    stored.retain(|known| known.node != node.0);
    if address.is_none() && stored.len() == before {
        return Ok(());
    }
    stored.extend(address.map(|address| StoredAddress {
        node: node.0,
        url: address.url.clone(),
        token: address.token.to_string(),
        tls: address.tls.map(|hash| hash.0),
    }));
    Ok(keyring.put_record(RECORD, encoding::encode(&stored), &mut rand::rng())?)
}

/// The address of a node, if it is known.
pub(crate) fn of(keyring: &Keyring, node: &Origin) -> Result<Option<PeerAddress>> {
    let found = load(keyring)?.into_iter().find(|known| known.node == node.0);
    Ok(found.map(|known| PeerAddress {
        url: known.url.clone(),
        token: Zeroizing::new(known.token.clone()),
        tls: known.tls.map(Hash),
    }))
}

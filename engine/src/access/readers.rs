//! To whom a write is sealed.

use std::collections::HashMap;

use thingdb_format::EncryptionKey;

use super::audience::{Audience, audience};
use super::peers::peers;
use crate::error::{Error, Result};
use crate::keyring::Keyring;

const WRITE_ONLY: &str = "write-only";

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

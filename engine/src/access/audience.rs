//! The audience: to which peers new entries are sealed. A default, sets for things
//! by prefix, or a set that is named for one write.

use bincode::{Decode, Encode};

use super::peers::peers;
use crate::encoding;
use crate::error::{Error, Result};
use crate::keyring::Keyring;

const AUDIENCE: &str = "audience";

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

#[derive(Default, Encode, Decode)]
struct StoredAudience {
    default: Vec<String>,
    prefixes: Vec<(String, Vec<String>)>,
}

/// To whom new entries are sealed.
pub(crate) fn audience(keyring: &Keyring) -> Result<Audience> {
    let Some(record) = keyring.record(AUDIENCE) else { return Ok(Audience::default()) };
    let stored: StoredAudience =
        encoding::decode(record).map_err(|problem| Error::damaged("the audience in the keyring", problem))?;
    Ok(Audience { default: stored.default, prefixes: stored.prefixes })
}

/// Sets the audience, if all whom it names are known.
pub(crate) fn set(keyring: &mut Keyring, audience: Audience) -> Result<()> {
    let known = peers(keyring)?;
    let named = audience.default.iter().chain(audience.prefixes.iter().flat_map(|(_, peers)| peers));
    for name in named {
        if known.iter().all(|peer| peer.name != *name) {
            return Err(Error::NoSuchPeer { name: name.clone() });
        }
    }
    put(keyring, audience)
}

pub(super) fn put(keyring: &mut Keyring, mut audience: Audience) -> Result<()> {
    audience.prefixes.retain(|(_, peers)| !peers.is_empty());
    audience.prefixes.sort();
    let stored = StoredAudience { default: audience.default, prefixes: audience.prefixes };
    Ok(keyring.put_record(AUDIENCE, encoding::encode(&stored), &mut rand::rng())?)
}

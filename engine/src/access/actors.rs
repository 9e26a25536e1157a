//! Who can sign here, and whose signatures are trusted.

use thingdb_format::{Actor, Time};

use crate::error::{Error, Result};
use crate::keyring::trust::How;
use crate::keyring::{ActorKey, Keyring};

/// An actor whose secret key is in the keyring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnActor {
    /// The actor's name.
    pub name: String,
    /// The public key.
    pub key: Actor,
    /// Whether it signs if no other is named.
    pub default: bool,
}

/// An actor whose key the trust store knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedActor {
    /// The name under which it is known here.
    pub name: String,
    /// The public key.
    pub key: Actor,
    /// Since when it is trusted.
    pub since: Time,
    /// How the key came to be known.
    pub how: How,
}

/// Fails for an actor of this node in whom trust was withdrawn.
pub(crate) fn check_trusted(keyring: &Keyring, actor: &ActorKey) -> Result<()> {
    let known = keyring.trust().actor(&actor.key.actor());
    match known.and_then(|known| known.withdrawn) {
        Some(at) => Err(Error::ActorWithdrawn { name: actor.name.clone(), at }),
        None => Ok(()),
    }
}

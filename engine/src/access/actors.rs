//! Who can sign here, and whose signatures are trusted.

use thingdb_format::key_log::KeyState;
use thingdb_format::{Actor, Time};

use super::key_logs::KeyLogs;
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

/// Fails for an actor of this node whose key its key log has replaced.
pub(crate) fn check_current(logs: &KeyLogs, actor: &ActorKey) -> Result<()> {
    match logs.state(&actor.key.actor()) {
        None | Some(KeyState::Current) => Ok(()),
        Some(state) => Err(Error::KeyNotCurrent { name: actor.name.clone(), state }),
    }
}

/// The key that the trust store knows, on which trust in a key rests: it itself, or the
/// newest one whose place it took.
pub(crate) fn anchor(keyring: &Keyring, logs: &KeyLogs, key: &Actor) -> Actor {
    let mut keys = std::iter::once(key).chain(logs.before(key));
    keys.find(|key| keyring.trust().actor(key).is_some()).copied().unwrap_or(*key)
}

/// Fails for an actor of this node in whom trust was withdrawn.
pub(crate) fn check_trusted(keyring: &Keyring, logs: &KeyLogs, actor: &ActorKey) -> Result<()> {
    let known = keyring.trust().actor(&anchor(keyring, logs, &actor.key.actor()));
    match known.and_then(|known| known.withdrawn) {
        Some(at) => Err(Error::ActorWithdrawn { name: actor.name.clone(), at }),
        None => Ok(()),
    }
}

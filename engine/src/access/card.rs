//! What a node hands to its peers.

use thingdb_format::{Actor, Card, CardFields};

use super::key_logs::KeyLogs;
use super::{actors, tls};
use crate::clock::unix_now;
use crate::error::Result;
use crate::keyring::{ActorKey, Keyring};

/// The node's public keys and those of its actors who sign, signed.
pub(crate) fn card(keyring: &Keyring, logs: &KeyLogs) -> Result<Card> {
    let signs = |actor: &&ActorKey| {
        actors::check_trusted(keyring, logs, actor).is_ok() && actors::check_current(logs, actor).is_ok()
    };
    let signing = keyring.actors().iter().filter(signs);
    let mut actors: Vec<(Actor, String)> = signing.map(|actor| (actor.key.actor(), actor.name.clone())).collect();
    actors.sort();
    let fields = CardFields {
        time: unix_now(),
        node_key: keyring.node_key().node_key(),
        encryption_key: keyring.decryption_key().encryption_key(),
        tls: tls::pinned(keyring)?,
        name: String::new(),
        actors,
    };
    Ok(Card::sign(fields, keyring.node_key())?)
}

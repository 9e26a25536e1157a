//! What a node hands to its peers.

use thingdb_format::{Actor, Card, CardFields};

use super::{actors, tls};
use crate::clock::unix_now;
use crate::error::Result;
use crate::keyring::Keyring;

/// The node's public keys and those of its actors who sign, signed.
pub(crate) fn card(keyring: &Keyring) -> Result<Card> {
    let signing = keyring.actors().iter().filter(|actor| actors::check_trusted(keyring, actor).is_ok());
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

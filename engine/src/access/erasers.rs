//! Who may erase what.

use std::collections::{BTreeMap, BTreeSet};

use thingdb_format::{Actor, Hash, Header, Origin, erasure};

use super::key_logs::KeyLogs;
use super::peers::peers;
use crate::error::Result;
use crate::keyring::Keyring;
use crate::keyring::trust::How;

/// The actors of each node, as its card lists them: they may erase what was written
/// there. Beside them, the writer of an entry may.
#[derive(Default)]
pub(crate) struct Erasers(BTreeMap<Origin, BTreeSet<Actor>>);

impl Erasers {
    pub(crate) fn load(keyring: &Keyring) -> Result<Self> {
        // Own ones in whom trust was withdrawn have erased before that, or not at all:
        // nothing that they sign is taken now.
        let listed = keyring.trust().actors().filter(|known| known.how == How::Own).map(|known| known.key);
        let own: BTreeSet<Actor> = listed.chain(keyring.actors().iter().map(|actor| actor.key.actor())).collect();
        let origins = std::iter::once(keyring.node_key().node_key())
            .chain(keyring.former_nodes().iter().map(|former| former.node_key))
            .map(|node| node.origin());
        let mut of: BTreeMap<Origin, BTreeSet<Actor>> = origins.map(|origin| (origin, own.clone())).collect();
        for peer in peers(keyring)? {
            of.entry(peer.origin()).or_default().extend(peer.card.actors.iter().map(|(key, _)| *key));
        }
        Ok(Self(of))
    }

    /// Stands for all of them: another one where others may erase.
    pub(crate) fn digest(&self, logs: &KeyLogs) -> Hash {
        let mut bytes = Vec::new();
        for (origin, actors) in &self.0 {
            bytes.extend_from_slice(&origin.0);
            bytes.extend_from_slice(&(actors.len() as u64).to_be_bytes());
            actors.iter().for_each(|actor| bytes.extend_from_slice(&actor.0));
        }
        logs.keys().iter().for_each(|key| bytes.extend_from_slice(&key.0));
        Hash::of(&bytes)
    }

    /// Whether an erasure record with this header covers an entry with that one, if it
    /// lists it.
    pub(crate) fn may(&self, logs: &KeyLogs, record: &Header, entry: &Header) -> bool {
        erasure::is_by_writer(record, entry)
            || (record.thing == entry.thing && self.may_sign(logs, &record.actor, entry))
    }

    /// Whether a record that `actor` signs, of the same thing, would.
    pub(crate) fn may_sign(&self, logs: &KeyLogs, actor: &Actor, entry: &Header) -> bool {
        // A key that took the place of another one counts as that one.
        let mut keys = std::iter::once(actor).chain(logs.before(actor));
        keys.any(|key| entry.actor == *key || self.is_of(&entry.origin, key))
    }

    fn is_of(&self, origin: &Origin, actor: &Actor) -> bool {
        self.0.get(origin).is_some_and(|actors| actors.contains(actor))
    }
}

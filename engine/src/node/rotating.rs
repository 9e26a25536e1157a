//! A key record that makes a new key of an own actor, and the keyring that takes it over.
//!
//! ```text
//! the new key is in the keyring, aside      durable
//! the record is in the ledger               durable
//! the new key is that of the actor          durable
//! ```
//!
//! Whatever breaks it off before the record is in has changed nothing, and the next try
//! takes the same key. After it, the next opening ends what was begun.

use std::sync::Arc;

use bincode::{Decode, Encode};
use thingdb_format::key_record::{KeyRecord, Successor};
use thingdb_format::{Actor, Hash, SigningKey};
use zeroize::Zeroize;

use super::{Durability, Node};
use crate::encoding;
use crate::entry::draft::Draft;
use crate::entry::record::Receipt;
use crate::error::{Error, Result};
use crate::keyring::Keyring;

/// The name of the keyring's record with the key that is aside.
const ASIDE: &str = "successor";

#[derive(Encode, Decode)]
struct Aside {
    name: String,
    first: [u8; 32],
    seed: [u8; 32],
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.seed.zeroize();
    }
}

/// An own actor, and where its log is.
pub(crate) struct Turn {
    pub(crate) name: String,
    pub(crate) first: Actor,
    pub(crate) current: Actor,
}

impl Node {
    /// An own actor whose log can take a step by `next`.
    pub(crate) fn turn_of(&self, name: &str, next: &SigningKey) -> Result<Turn> {
        let current = {
            let keyring = self.store.keyring();
            let actor = keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?;
            actor.key.actor()
        };
        let name = name.to_owned();
        let logs = self.store.keys.logs();
        let Some((first, log)) = logs.of(&current) else { return Err(Error::NoKeyLog { name }) };
        if log.next() != Some(thingdb_format::key_record::promise(&next.actor())) {
            return Err(Error::NotPromised { name });
        }
        Ok(Turn { first: *first, current, name })
    }

    /// Writes the record of an own actor's step, and takes its new key over.
    pub(crate) fn step(
        &self,
        turn: &Turn,
        next: &Arc<SigningKey>,
        promise: Option<Hash>,
        record: impl FnOnce(Option<Successor>) -> Result<KeyRecord>,
        goes_on: bool,
    ) -> Result<Receipt> {
        let new = goes_on.then(|| self.put_aside(turn)).transpose()?;
        let successor = new.map(|new| Successor::new(&new, &turn.first, &next.actor(), promise));
        let draft = Draft::key_record(&turn.first, record(successor)?, &turn.name, Arc::clone(next))?;
        let mut receipts = self.write(vec![draft], Durability::Durable)?;
        self.take_over_aside()?;
        receipts.pop().ok_or_else(|| Error::damaged("the ledger", "a record was written and has no place"))
    }

    /// A new key for the actor, kept in the keyring until its record is in.
    fn put_aside(&self, turn: &Turn) -> Result<SigningKey> {
        let mut keyring = self.store.keyring();
        if let Some(aside) = aside(&keyring)?.filter(|aside| aside.first == turn.first.0) {
            return Ok(SigningKey::from_seed(&aside.seed));
        }
        let key = SigningKey::generate(&mut rand::rng());
        let aside = Aside { name: turn.name.clone(), first: turn.first.0, seed: *key.seed() };
        keyring.put_record(ASIDE, encoding::encode(&aside), &mut rand::rng())?;
        Ok(key)
    }

    /// Gives an actor the key that is aside for it, if its record is in the ledger.
    pub(crate) fn take_over_aside(&self) -> Result<()> {
        let logs = self.store.keys.logs();
        let mut keyring = self.store.keyring();
        let Some(aside) = aside(&keyring)? else { return Ok(()) };
        let key = Arc::new(SigningKey::from_seed(&aside.seed));
        if !logs.log(&Actor(aside.first)).is_some_and(|log| log.keys().contains(&key.actor())) {
            return Ok(());
        }
        let before: Vec<Actor> = logs.before(&key.actor()).copied().collect();
        keyring.together(&mut rand::rng(), |keyring| {
            // It may have got another name meanwhile.
            let own = keyring.actors().iter().find(|own| before.contains(&own.key.actor()));
            if let Some(name) = own.map(|own| own.name.clone()) {
                keyring.replace_actor_key(&name, &key, &mut rand::rng())?;
            }
            keyring.put_record(ASIDE, Vec::new(), &mut rand::rng())
        })?;
        self.store.take_over(&keyring)
    }
}

fn aside(keyring: &Keyring) -> Result<Option<Aside>> {
    let bytes = keyring.record(ASIDE).filter(|bytes| !bytes.is_empty());
    let damaged = |problem| Error::damaged("the key that is to follow", problem);
    bytes.map(|bytes| encoding::decode(bytes).map_err(damaged)).transpose()
}

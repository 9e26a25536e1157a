//! Key logs: an actor introduces itself, and takes another key.

use std::sync::Arc;

use thingdb_format::key_log::{KeyLog, KeyState, Revocation};
use thingdb_format::key_record::{self, KeyRecord, LedgerState};
use thingdb_format::{Actor, EntryId, Hash, SignedCheckpoint, SigningKey};

use super::Db;
use crate::access::peers;
use crate::entry::draft::Draft;
use crate::entry::record::Receipt;
use crate::error::{Error, Result};
use crate::node::Durability;
use crate::replica::memory::Memory;

/// Where entries of a revoked key are good.
#[derive(Clone, Debug)]
pub enum AsOf {
    /// In this ledger and those of the peers, as far as they were seen, as they are now.
    Now,
    /// In the ledgers of these checkpoints, as they were then.
    Checkpoints(Vec<SignedCheckpoint>),
}

/// What is known of an actor's key log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyLogView {
    /// The actor's first key: the log is the thing `thingdb:actor/` with this key.
    pub first: Actor,
    /// What the actor calls itself. A claim.
    pub name: String,
    /// The name under which its newest key is accepted here, if it is.
    pub trusted: Option<String>,
    /// Its keys that sign, oldest first.
    pub keys: Vec<KeyStep>,
    /// The hash of the key that can take the next step.
    pub next: Option<Hash>,
    /// Records that say something else for a step than the one that counts.
    pub rivals: Vec<EntryId>,
}

/// A key of a log, and what became of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyStep {
    /// The key.
    pub key: Actor,
    /// What the log says of it.
    pub state: KeyState,
    /// By which records it was revoked, and as of which states of ledgers.
    pub revocations: Vec<Revocation>,
}

/// Keys over time.
impl Db {
    /// An actor of this node introduces itself, and promises the key that can give it
    /// another one. Without one it can never take another key by its log.
    ///
    /// ```
    /// # let tmp = tempfile::tempdir()?;
    /// # let passphrase = thingdb::Passphrase::new("correct horse battery");
    /// # let db = thingdb::Options::new().kdf(thingdb::KdfChoice::weakest()).create(tmp.path().join("db"), &passphrase)?;
    /// use thingdb::{KdfChoice, NextKeyFile};
    /// let before = db.own_actors()[0].key;
    /// let (file, next) = NextKeyFile::generate(&before, &passphrase, KdfChoice::weakest())?;
    /// db.introduce_actor("owner", Some(&next.actor()))?;
    /// // The file is kept where nobody finds it who finds the database.
    /// db.rotate_actor("owner", &file.open(&passphrase)?, None)?;
    /// assert_ne!(db.own_actors()[0].key, before);
    /// db.put("part-42", "1")?;
    /// assert!(db.verify(Default::default())?.is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchActor`], [`Error::KeyLogThere`]; as in [`Db::write`].
    pub fn introduce_actor(&self, name: &str, next: Option<&Actor>) -> Result<Receipt> {
        let _one_at_a_time = self.node.steps.lock().expect("no thread panics while it holds this");
        let key = {
            let keyring = self.node.store.keyring();
            let actor = keyring.actor(name).map_err(|_| Error::NoSuchActor { name: name.to_owned() })?;
            Arc::clone(&actor.key)
        };
        if self.node.store.keys.logs().of(&key.actor()).is_some() {
            return Err(Error::KeyLogThere { name: name.to_owned() });
        }
        let record = KeyRecord::introduced(name, key.actor(), next.map(key_record::promise))?;
        let draft = Draft::key_record(&key.actor(), record, name, Arc::clone(&key))?;
        let mut receipts = self.node.write(vec![draft], Durability::Durable)?;
        receipts.pop().ok_or_else(|| Error::damaged("the ledger", "a record was written and has no place"))
    }

    /// Gives an actor of this node a fresh key. `next` is the key that was promised; it
    /// signs this one record. `promised` is the one for the next time. What the old key
    /// signed stays good.
    ///
    /// If it is broken off, the next opening ends it, or it can be repeated.
    ///
    /// # Errors
    /// [`Error::NoSuchActor`], [`Error::NoKeyLog`], [`Error::NotPromised`]; as in
    /// [`Db::write`].
    pub fn rotate_actor(&self, name: &str, next: &Arc<SigningKey>, promised: Option<&Actor>) -> Result<Receipt> {
        let _one_at_a_time = self.node.steps.lock().expect("no thread panics while it holds this");
        let turn = self.node.turn_of(name, next)?;
        let promise = promised.map(key_record::promise);
        let record = |successor| match successor {
            Some(successor) => Ok(KeyRecord::Rotated(successor)),
            None => Err(Error::NoKeyLog { name: name.to_owned() }),
        };
        self.node.step(&turn, next, promise, record, true)
    }

    /// Says that the key of an actor of this node is in the wrong hands: what it signed is
    /// good where it stands in a ledger as of `as_of`, and nowhere else. The actor gets a
    /// fresh key, unless it is to end.
    ///
    /// # Errors
    /// As [`Db::rotate_actor`]; [`Error::is_invalid_input`] for a reason that a record
    /// cannot hold.
    pub fn revoke_actor(
        &self,
        name: &str,
        next: &Arc<SigningKey>,
        as_of: &AsOf,
        reason: &str,
        promised: Option<&Actor>,
        ends: bool,
    ) -> Result<Receipt> {
        let _one_at_a_time = self.node.steps.lock().expect("no thread panics while it holds this");
        let turn = self.node.turn_of(name, next)?;
        let as_of = self.states(as_of)?;
        let promise = promised.map(key_record::promise);
        let record = |successor| Ok(KeyRecord::revoked(turn.current, as_of, reason, successor)?);
        self.node.step(&turn, next, promise, record, !ends)
    }

    /// The states of ledgers that a revocation is to name.
    fn states(&self, as_of: &AsOf) -> Result<Vec<LedgerState>> {
        let state = |note: &SignedCheckpoint| {
            let claimed = note.claimed();
            LedgerState { origin: claimed.origin, size: claimed.size, root: claimed.root }
        };
        let AsOf::Checkpoints(notes) = as_of else {
            let mut states = vec![state(&self.newest_checkpoint()?)];
            let peers = peers::peers(&self.node.store.keyring())?;
            for peer in peers.iter().take(key_record::MAX_AS_OF - 1) {
                let seen = Memory(&self.node).remembered(&peer.origin())?;
                states.extend(seen.checkpoint.as_ref().filter(|_| seen.conflict.is_none()).map(state));
            }
            return Ok(states);
        };
        Ok(notes.iter().map(state).collect())
    }

    /// The key logs that are known here, by their first keys.
    #[must_use]
    pub fn key_logs(&self) -> Vec<KeyLogView> {
        let logs = self.node.store.keys.logs();
        let mut views: Vec<KeyLogView> = logs.all().map(|(first, log)| self.view(first, log)).collect();
        views.sort_by_key(|view| view.first);
        views
    }

    /// The key log in which a key stands.
    #[must_use]
    pub fn key_log(&self, key: &Actor) -> Option<KeyLogView> {
        let logs = self.node.store.keys.logs();
        logs.of(key).map(|(first, log)| self.view(first, log))
    }

    fn view(&self, first: &Actor, log: &KeyLog) -> KeyLogView {
        let step = |key: &Actor| {
            let (state, revocations) = (log.state(key).unwrap_or(KeyState::Former), log.revocations(key).to_vec());
            KeyStep { key: *key, state, revocations }
        };
        KeyLogView {
            first: *first,
            name: log.name().to_owned(),
            trusted: log.keys().last().and_then(|key| self.node.store.name_of(key)),
            keys: log.keys().iter().map(step).collect(),
            next: log.next(),
            rivals: log.rivals().to_vec(),
        }
    }

    /// The name under which entries of a key are accepted here, by the trust store or by
    /// the key log of an actor that is trusted.
    #[must_use]
    pub fn name_of(&self, key: &Actor) -> Option<String> {
        self.node.store.name_of(key)
    }
}

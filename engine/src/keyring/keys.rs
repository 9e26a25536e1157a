//! What the node signs, opens and seals with, and the records that other parts
//! of the engine keep in the keyring.

use std::path::PathBuf;
use std::sync::Arc;

use rand::CryptoRng;
use thingdb_format::{DecryptionKey, NodeKey, SigningKey};
use zeroize::Zeroizing;

use super::layout::Locked;
use super::secrets::Secrets;
use super::{FormerNode, KeyTree, Keyring, KeyringError, Secret, check_name, file};

impl Keyring {
    /// Signs checkpoints and cards.
    #[must_use]
    pub const fn node_key(&self) -> &Arc<SigningKey> {
        &self.secrets.node_key
    }

    /// Opens what is sealed to this node.
    #[must_use]
    pub const fn decryption_key(&self) -> &Arc<DecryptionKey> {
        &self.secrets.decryption_key
    }

    /// The keys that the node had before, oldest first.
    #[must_use]
    pub fn former_nodes(&self) -> &[FormerNode] {
        &self.secrets.former
    }

    /// Makes the tags that stand for thing ids in index keys.
    #[must_use]
    pub const fn index_key(&self) -> &Secret {
        &self.secrets.index_key
    }

    /// Seals the rows that hold no records.
    #[must_use]
    pub const fn row_key(&self) -> &Secret {
        &self.secrets.row_key
    }

    /// Gives the node a new node key and decryption key, as after a restore
    /// from a backup. The former decryption key stays, the former node key is
    /// wiped but for its public half.
    ///
    /// # Errors
    /// [`KeyringError::Io`].
    pub fn rotate_node_key(&mut self, rng: &mut impl CryptoRng) -> Result<NodeKey, KeyringError> {
        let node_key = Arc::new(SigningKey::generate(rng));
        let decryption_key = Arc::new(DecryptionKey::generate(rng));
        let public = node_key.node_key();
        self.change(rng, |secrets| {
            let former_key = std::mem::replace(&mut secrets.node_key, node_key).node_key();
            let former_decryption_key = std::mem::replace(&mut secrets.decryption_key, decryption_key);
            secrets.former.push(FormerNode { node_key: former_key, decryption_key: former_decryption_key });
            Ok(())
        })?;
        Ok(public)
    }

    /// Seals the blocks of records, by way of keys that are derived from it.
    #[must_use]
    pub const fn records_key(&self) -> &Secret {
        &self.secrets.records_key
    }

    /// The keys of ledger positions, under which the keys of entries lie.
    #[must_use]
    pub const fn key_tree(&self) -> &KeyTree {
        &self.secrets.key_tree
    }

    /// Takes the keys of positions away, and replaces records in the same step: when this
    /// returns, no file beside the keyring has them. Files that were set aside are removed,
    /// unless they are whole and have none of these keys, or are of another database. Gives
    /// the names of those that are removed.
    ///
    /// # Errors
    /// [`KeyringError::Io`] if one of the files still has them; then this is to be
    /// repeated.
    pub(crate) fn take_positions(
        &mut self,
        positions: &[u64],
        records: Vec<(&str, Vec<u8>)>,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<PathBuf>, KeyringError> {
        records.iter().try_for_each(|(name, _)| check_name(name))?;
        if positions.iter().any(|position| self.secrets.key_tree.position_key(*position).is_some()) {
            self.change(rng, |secrets| {
                for position in positions {
                    let _was_there = secrets.key_tree.puncture(*position);
                }
                let records = records.into_iter().map(|(name, record)| (name.to_owned(), Zeroizing::new(record)));
                secrets.records.extend(records);
                Ok(())
            })?;
        }
        self.write_twice()?;
        // One that has none of these keys may have others that this one lacks.
        let is_clean = |bytes: &[u8]| {
            let locked = Locked::parse(bytes).ok()?;
            let is_other = locked.id != self.id;
            let secrets = if is_other { None } else { Some(locked.open(&self.root).ok()?) };
            let has = |secrets: &Secrets| positions.iter().any(|at| secrets.key_tree.position_key(*at).is_some());
            Some(is_other || !secrets.as_ref().is_some_and(has))
        };
        file::remove_aside(&self.path, |bytes| is_clean(bytes) == Some(true))
    }

    /// Takes the keys of positions away in memory alone: of one that is only read.
    pub(crate) fn pass_over(&mut self, positions: &[u64]) {
        for position in positions {
            let _was_there = self.secrets.key_tree.puncture(*position);
        }
    }

    /// Makes sure that the second file is as the first one.
    ///
    /// # Errors
    /// [`KeyringError::Io`].
    pub(crate) fn write_twice(&mut self) -> Result<(), KeyringError> {
        let (bytes, copy) = (file::read(&self.path)?.0, file::copy_of(&self.path));
        if !file::read(&copy).is_ok_and(|(there, _)| there == bytes) {
            file::write(&copy, &bytes)?;
            self.copy_problem = None;
        }
        Ok(())
    }

    /// Gives fresh keys to those positions from `from` on that have none, so that a
    /// ledger which was cut there can be written on.
    ///
    /// # Errors
    /// [`KeyringError::Io`].
    pub(crate) fn renew_positions(&mut self, from: u64, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.change(rng, |secrets| {
            secrets.key_tree.renew(from, &mut rand::rng());
            Ok(())
        })
    }
}

/// What other parts of the engine keep here: peers, settings.
impl Keyring {
    /// The record with this name.
    #[must_use]
    pub fn record(&self, name: &str) -> Option<&[u8]> {
        self.secrets.records.get(name).map(|record| &record[..])
    }

    /// Replaces the record with this name.
    ///
    /// # Errors
    /// [`KeyringError::Io`].
    pub fn put_record(&mut self, name: &str, record: Vec<u8>, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        check_name(name)?;
        let record = Zeroizing::new(record);
        self.change(rng, |secrets| {
            secrets.records.insert(name.to_owned(), record);
            Ok(())
        })
    }
}

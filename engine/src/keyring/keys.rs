//! What the node signs, opens and seals with, and the records that other parts
//! of the engine keep in the keyring.

use std::sync::Arc;

use rand::CryptoRng;
use thingdb_format::{DecryptionKey, NodeKey, SigningKey};
use zeroize::Zeroizing;

use super::{FormerNode, Keyring, KeyringError, SealKey, Secret, check_name};

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

    /// Seals the rows that belong to no segment.
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

    /// The key of a segment, if it has one.
    #[must_use]
    pub fn segment_key(&self, segment: u64) -> Option<SealKey> {
        self.secrets.segments.get(&segment).map(Secret::seal_key)
    }

    /// The segments that have a key, ascending.
    pub fn segments(&self) -> impl Iterator<Item = u64> + '_ {
        self.secrets.segments.keys().copied()
    }

    /// Makes the key of a segment, which is on the disk before it is returned.
    ///
    /// # Errors
    /// [`KeyringError::SegmentKeyExists`].
    pub fn create_segment_key(&mut self, segment: u64, rng: &mut impl CryptoRng) -> Result<SealKey, KeyringError> {
        let key = Secret::generate(rng);
        let seal_key = key.seal_key();
        self.change(rng, |secrets| {
            if secrets.segments.contains_key(&segment) {
                return Err(KeyringError::SegmentKeyExists { segment });
            }
            secrets.segments.insert(segment, key);
            Ok(())
        })?;
        Ok(seal_key)
    }

    /// Drops the key of a segment, so that what it seals cannot be opened with
    /// this keyring again.
    ///
    /// # Errors
    /// [`KeyringError::NoSegmentKey`].
    pub fn drop_segment_key(&mut self, segment: u64, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.change(rng, |secrets| match secrets.segments.remove(&segment) {
            Some(_) => Ok(()),
            None => Err(KeyringError::NoSegmentKey { segment }),
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

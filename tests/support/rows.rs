//! The rows of a closed database, for those who alter them.
//!
//! [`Rows`] is what someone with the directory can do, and with the passphrase
//! too: the engine's own keyring and storage, and a second spelling of the
//! layouts in `engine/src/store/state.rs` and, in [blocks](crate::blocks), of records, so
//! that the tests need no door into the engine.

use std::path::Path;

use bincode::{Decode, Encode};
use hmac::{Hmac, KeyInit, Mac};
use thingdb::keyring::{Keyring, Unlock};
use thingdb::storage::sled::{Grouped, SledOptions, SledStorage};
use thingdb::storage::{Batch, Direction, KeyRange, Row, Storage};

pub use crate::blocks::{Block, Head, Payload, Record, Signature, parts_of};
use crate::database::passphrase;

/// A closed database, opened below the engine.
pub struct Rows {
    storage: SledStorage,
    keyring: Keyring,
}

/// Where one entry of a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Posting {
    /// Its seq.
    pub seq: u64,
    /// Its place in the ledger.
    pub position: u64,
    /// Its place in its block.
    pub slot: u8,
    /// The first bytes of its id.
    pub id8: [u8; 8],
}

/// What the index says of a thing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct State {
    /// The id.
    pub thing: String,
    /// How many entries it has.
    pub entries: u64,
    /// Those that no other follows: id, time, place.
    pub heads: Vec<([u8; 32], u64, Posting)>,
    /// Number of the newest chunk of postings.
    pub last_chunk: u64,
    /// The newest chunk.
    pub tail: Vec<Posting>,
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_big_endian().with_fixed_int_encoding()
}

/// A value as the engine lays it out.
///
/// # Panics
/// Never for the types of this module.
#[must_use]
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, config()).expect("these types encode")
}

/// What was laid out.
///
/// # Panics
/// If it is something else.
#[must_use]
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> T {
    let (value, read) = bincode::decode_from_slice(bytes, config()).expect("the layout of the engine");
    assert_eq!(read, bytes.len(), "the whole value is read");
    value
}

/// The row of the block that begins at `first`.
#[must_use]
pub fn block_key(first: u64) -> Vec<u8> {
    [&b"L"[..], &first.to_be_bytes()].concat()
}

/// The row of a tile of the ledger's tree.
#[must_use]
pub fn tile_key(level: u8, index: u64) -> Vec<u8> {
    [&[b'M', level][..], &index.to_be_bytes()].concat()
}

impl Rows {
    /// Opens the rows of a database that is closed.
    ///
    /// # Panics
    /// If it is not, or does not open.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        Self::open_as(dir, Some(Grouped::new(b"L", 9)))
    }

    fn open_as(dir: &Path, grouped: Option<Grouped>) -> Self {
        let mut options = SledOptions::default();
        options.reserve_bytes = 0;
        options.cache_bytes = 16 << 20;
        options.grouped = grouped;
        let storage = SledStorage::open(dir, options).expect("the storage opens");
        let passphrase = passphrase();
        let unlock = Unlock::Passphrase(&passphrase);
        let keyring = Keyring::open(&dir.join("keyring"), unlock, &mut rand::rng()).expect("the keyring opens");
        Self { storage, keyring }
    }

    /// Opens the rows, changes them, and closes them again.
    pub fn edit<T>(dir: &Path, act: impl FnOnce(&Self) -> T) -> T {
        Self::open(dir).edited(act)
    }

    /// The same of the rows as the store has them, of which some hold several.
    pub fn edit_ungrouped<T>(dir: &Path, act: impl FnOnce(&Self) -> T) -> T {
        Self::open_as(dir, None).edited(act)
    }

    fn edited<T>(self, act: impl FnOnce(&Self) -> T) -> T {
        let result = act(&self);
        self.close();
        result
    }

    /// Makes everything durable and lets go.
    ///
    /// # Panics
    /// If that fails.
    pub fn close(self) {
        self.storage.close().expect("the storage closes");
    }

    /// The keyring.
    #[must_use]
    pub const fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The rows whose keys begin with `prefix`, in order.
    ///
    /// # Panics
    /// If they cannot be read.
    #[must_use]
    pub fn all(&self, prefix: &[u8]) -> Vec<Row> {
        self.storage.scan(&KeyRange::prefix(prefix), Direction::Forward).collect::<Result<_, _>>().expect("rows")
    }

    /// One row.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Vec<u8> {
        self.storage.get(key).expect("a read").unwrap_or_else(|| panic!("no row {key:02x?}"))
    }

    /// Replaces rows; no value deletes.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn put_all(&self, changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
        for (key, value) in changes {
            let mut batch = Batch::new();
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            };
            self.storage.commit(batch).expect("a commit");
        }
    }

    /// Replaces one row.
    pub fn put(&self, key: &[u8], value: Vec<u8>) {
        self.put_all([(key.to_vec(), Some(value))]);
    }

    /// Deletes one row.
    pub fn delete(&self, key: &[u8]) {
        self.put_all([(key.to_vec(), None)]);
    }

    /// The first position of the block in which `position` lies, and the block.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn block_of(&self, position: u64) -> (u64, Block) {
        let rows = self.all(b"L");
        let (key, value) = rows.iter().rev().find(|(key, _)| *key <= block_key(position)).expect("a block");
        let first = u64::from_be_bytes(key[1..].try_into().expect("a position"));
        (first, Block::open(&self.keyring, first, value))
    }

    /// Changes a block, and seals it as the engine would.
    pub fn edit_block<T>(&self, position: u64, act: impl FnOnce(&mut Block, usize) -> T) -> T {
        let (first, mut block) = self.block_of(position);
        let result = act(&mut block, (position - first) as usize);
        self.put(&block_key(first), block.seal(&self.keyring));
        result
    }

    /// The record at a position, open.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn record(&self, position: u64) -> Record {
        let (first, block) = self.block_of(position);
        block.record(&self.keyring, (position - first) as usize)
    }

    /// Replaces the record at a position, sealed as the engine would.
    pub fn put_record(&self, position: u64, record: &Record) {
        self.edit_block(position, |block, slot| block.put_record(&self.keyring, slot, record));
    }

    /// The batch signature of the block in which `position` lies.
    ///
    /// # Panics
    /// If it has none, or several.
    #[must_use]
    pub fn head(&self, position: u64) -> Head {
        let [head] = &self.block_of(position).1.heads()[..] else { panic!("one batch signature") };
        head.clone()
    }

    /// Replaces the batch signature of the block in which `position` lies.
    pub fn put_head(&self, position: u64, head: &Head) {
        self.edit_block(position, |block, _| block.put_heads(vec![head.clone()]));
    }

    /// Opens a row that holds no records.
    ///
    /// # Panics
    /// If it does not open.
    #[must_use]
    pub fn open_row(&self, key: &[u8]) -> Vec<u8> {
        self.keyring.row_key().seal_key().open(key, &self.get(key)).expect("the row opens")
    }

    /// Seals a row that holds no records.
    pub fn put_row(&self, key: &[u8], plain: &[u8]) {
        self.put(key, self.keyring.row_key().seal_key().seal(key, plain, &mut rand::rng()));
    }

    /// What stands for a thing in keys.
    #[must_use]
    pub fn tag(&self, thing: &str) -> [u8; 16] {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(self.keyring.index_key().as_bytes()).expect("any key");
        mac.update(thing.as_bytes());
        let hash: [u8; 32] = mac.finalize().into_bytes().into();
        *hash.first_chunk().expect("16 of 32")
    }

    /// The row of a thing's state.
    #[must_use]
    pub fn state_key(&self, thing: &str) -> Vec<u8> {
        [&b"T"[..], &self.tag(thing)].concat()
    }

    /// The row of a chunk of a thing's older postings.
    #[must_use]
    pub fn postings_key(&self, thing: &str, chunk: u64) -> Vec<u8> {
        [&b"C"[..], &self.tag(thing), &chunk.to_be_bytes()].concat()
    }

    /// The state of a thing, open.
    #[must_use]
    pub fn state(&self, thing: &str) -> State {
        decode(&self.open_row(&self.state_key(thing)))
    }

    /// Replaces the state of a thing, sealed as the engine would.
    pub fn put_state(&self, thing: &str, state: &State) {
        self.put_row(&self.state_key(thing), &encode(state));
    }
}

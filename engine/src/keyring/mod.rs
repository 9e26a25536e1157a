//! The keyring: every secret of a node, in two files with the same bytes.
//!
//! ```text
//! passphrase ── Argon2id ─┐
//! passphrase ── Argon2id ─┼─ slots ─ root key ── HKDF, fresh salt ─ secrets
//! recovery key ── HKDF ───┘
//! ```
//!
//! Each change replaces the whole file, then its copy, and is durable before it
//! returns; one that fails leaves the memory as it was. An opening takes the
//! newer good one of the two and mends the other. The caller holds the lock of
//! the directory. `docs/keyring.md` has the bytes.

mod actors;
mod change;
mod codec;
pub(crate) mod dumps;
mod error;
mod file;
mod kdf;
mod kept;
mod keys;
mod layout;
mod next_key;
mod pair;
pub(crate) mod passphrase;
mod recovery;
mod seal;
mod secrets;
mod slot;
mod slots;
mod tree;
pub mod trust;
mod trusting;

use std::fmt;
use std::path::{Path, PathBuf};

use rand::CryptoRng;
use thingdb_format::KdfParams;

use layout::Locked;
use passphrase::Passphrase;
use secrets::Secrets;
use slot::Slot;
use trust::TrustStore;

pub use error::KeyringError;
pub use kdf::KdfChoice;
pub use kept::{KeyringContents, KeyringFile, PutBack};
pub use next_key::NextKeyFile;
pub use pair::{Fault, Mending};
pub use recovery::{RecoveryKey, RecoveryText};
pub use seal::{SealKey, Secret, TAG_BYTES};
pub use secrets::{ActorKey, FormerNode};
pub use slot::{SlotId, SlotInfo, SlotKind};
pub use tree::{KEY_POSITIONS, KeyTree, Subtree, Way};

/// Tokens of a database, at most: each check compares with all of them.
pub const MAX_TOKENS: usize = 1000;

/// What a keyring is opened with.
#[derive(Clone, Copy, Debug)]
pub enum Unlock<'a> {
    /// One of its passphrases.
    Passphrase(&'a Passphrase),
    /// Its recovery key.
    RecoveryKey(&'a RecoveryKey),
}

/// What became of the parameters of the slot that opened.
#[derive(Debug)]
pub enum KdfUpgrade {
    /// They are strong enough, or were chosen.
    NotNeeded,
    /// They were those of an older version and are now those of this one.
    Done {
        /// The parameters before.
        from: KdfParams,
        /// The parameters now.
        to: KdfParams,
    },
    /// They are still those of an older version: the keyring is open, but the
    /// file could not be replaced.
    Failed {
        /// Why.
        cause: KeyringError,
    },
}

/// An open keyring.
pub struct Keyring {
    path: PathBuf,
    /// The same for all its generations.
    id: [u8; 16],
    /// Counts the changes: the greater, the newer.
    generation: u64,
    root: Secret,
    slots: Vec<Slot>,
    opened_by: SlotId,
    secrets: Secrets,
    mode_warning: Option<String>,
    upgrade: KdfUpgrade,
    /// What was wrong with the other file.
    mending: Option<Mending>,
    /// Why the copy is older than the keyring.
    copy_problem: Option<KeyringError>,
    /// Changes are gathered, to be written together.
    is_gathering: bool,
    /// It has no file yet.
    is_draft: bool,
    /// Nothing is written any more.
    is_read_only: bool,
}

/// What an opening may do, and how it tells two keyrings apart.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// Whether the other file is mended, and weak parameters are strengthened.
    pub may_write: bool,
    /// Whether a keyring is that of this directory. It is asked if the two
    /// files are of different databases.
    pub is_right: &'a dyn Fn(&Keyring) -> bool,
}

impl Default for Opening<'_> {
    fn default() -> Self {
        Self { may_write: true, is_right: &|_| true }
    }
}

/// Making and opening.
impl Keyring {
    /// Makes a keyring with fresh keys, no actor and one passphrase.
    ///
    /// # Errors
    /// [`KeyringError::AlreadyExists`]; one is never replaced.
    pub fn create(
        path: &Path,
        passphrase: &Passphrase,
        choice: KdfChoice,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        let mut keyring = Self::draft(path, passphrase, choice, rng)?;
        keyring.publish(rng)?;
        Ok(keyring)
    }

    /// The same, in memory: nothing is written before [`Self::publish`].
    pub(crate) fn draft(
        path: &Path,
        passphrase: &Passphrase,
        choice: KdfChoice,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        if let Some(there) = Self::there(path) {
            return Err(KeyringError::AlreadyExists { path: there });
        }
        passphrase.check_new()?;
        let root = Secret::generate(rng);
        let opened_by = SlotId(1);
        Ok(Self {
            path: path.to_owned(),
            id: [0; 16],
            generation: 0,
            slots: vec![Slot::for_passphrase(opened_by, &root, passphrase, kind_of(choice), rng)?],
            root,
            opened_by,
            secrets: Secrets::generate(rng),
            mode_warning: None,
            upgrade: KdfUpgrade::NotNeeded,
            mending: None,
            copy_problem: None,
            is_gathering: false,
            is_draft: true,
            is_read_only: false,
        })
    }

    /// Gives a draft its files, with all that was changed in it.
    pub(crate) fn publish(&mut self, rng: &mut impl CryptoRng) -> Result<(), KeyringError> {
        self.is_draft = false;
        self.save(rng).inspect_err(|_| self.is_draft = true)
    }

    /// Refuses changes from now on, with [`KeyringError::ReadOnly`].
    pub(crate) fn refuse_changes(&mut self) {
        self.is_read_only = true;
    }

    /// The keyring at `path` or its copy, if there is one.
    pub(crate) fn there(path: &Path) -> Option<PathBuf> {
        [path.to_owned(), file::copy_of(path)].into_iter().find(|path| path.symlink_metadata().is_ok())
    }

    /// The bytes of the newer of the two files that is whole. They are sealed, and
    /// no passphrase is needed.
    ///
    /// # Errors
    /// [`KeyringError::NotFound`], [`KeyringError::Damaged`], [`KeyringError::Io`].
    pub(crate) fn newest_bytes(path: &Path) -> Result<Vec<u8>, KeyringError> {
        pair::newest(path)
    }

    /// Writes such bytes, and the copy of them.
    ///
    /// # Errors
    /// [`KeyringError::Io`].
    pub(crate) fn put_bytes(path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
        file::write(&file::copy_of(path), bytes)?;
        file::write(path, bytes)
    }

    /// Opens a keyring: the newer good one of its two files, and mends the
    /// other. If the slot that opens has weaker parameters than the program's
    /// and they were not chosen, it gets the program's.
    ///
    /// # Errors
    /// [`KeyringError::WrongPassphrase`] only if a file is whole;
    /// [`KeyringError::Damaged`] otherwise.
    pub fn open(path: &Path, unlock: Unlock<'_>, rng: &mut impl CryptoRng) -> Result<Self, KeyringError> {
        Self::open_with(path, unlock, &Opening::default(), rng)
    }

    /// The same, as `opening` says.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(
        path: &Path,
        unlock: Unlock<'_>,
        opening: &Opening<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        Self::open_with_default(path, unlock, opening, KdfParams::DEFAULT, rng)
    }

    fn open_with_default(
        path: &Path,
        unlock: Unlock<'_>,
        opening: &Opening<'_>,
        default: KdfParams,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        let mut keyring = pair::open(path, unlock, opening)?;
        if opening.may_write {
            keyring.upgrade = keyring.upgrade_opened_slot(unlock, default, rng);
        }
        Ok(keyring)
    }

    fn upgrade_opened_slot(&mut self, unlock: Unlock<'_>, default: KdfParams, rng: &mut impl CryptoRng) -> KdfUpgrade {
        let Unlock::Passphrase(passphrase) = unlock else {
            return KdfUpgrade::NotNeeded;
        };
        let opened = self.slots.iter().find(|slot| slot.id == self.opened_by);
        let Some(from) = opened.and_then(|slot| slot.wants_upgrade(default)) else {
            return KdfUpgrade::NotNeeded;
        };
        let done = Slot::for_passphrase(self.opened_by, &self.root, passphrase, (default, false), rng)
            .and_then(|slot| self.put_slot(slot, rng));
        match done {
            Ok(()) => KdfUpgrade::Done { from, to: default },
            Err(cause) => KdfUpgrade::Failed { cause },
        }
    }

    /// What became of the parameters of the slot that opened.
    #[must_use]
    pub const fn kdf_upgrade(&self) -> &KdfUpgrade {
        &self.upgrade
    }

    /// What was wrong with one of the two files when this was opened, and what
    /// became of it.
    #[must_use]
    pub const fn mending(&self) -> Option<&Mending> {
        self.mending.as_ref()
    }

    /// Why the last change is in one file only.
    #[must_use]
    pub const fn copy_problem(&self) -> Option<&KeyringError> {
        self.copy_problem.as_ref()
    }

    /// Where the keyring is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How often it was changed: of two files of one keyring the one with the
    /// greater number is the newer.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// A sentence if a file could be read by others when it was opened and was
    /// not replaced since.
    #[must_use]
    pub fn mode_warning(&self) -> Option<String> {
        self.mode_warning.clone()
    }

    /// The keys that the node knows.
    #[must_use]
    pub const fn trust(&self) -> &TrustStore {
        &self.secrets.trust
    }
}

/// The parameters of a new passphrase slot, and whether they were chosen.
fn kind_of(choice: KdfChoice) -> (KdfParams, bool) {
    (choice.params(KdfParams::DEFAULT), choice != KdfChoice::Default)
}

fn check_name(name: &str) -> Result<(), KeyringError> {
    match codec::name_problem(name) {
        None => Ok(()),
        Some(problem) => Err(KeyringError::BadName { name: name.to_owned(), problem }),
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("path", &self.path).field("slots", &self.slots()).finish_non_exhaustive()
    }
}

/// For fuzzing: bytes that nobody wrote are refused without a panic, and what
/// is read is written back as it was. The checksum is made right, or no input
/// would get past it; slots that cost more than a moment are not tried.
#[doc(hidden)]
pub fn fuzz_keyring(bytes: &[u8]) {
    if let Ok(secrets) = Secrets::decode(bytes) {
        assert_eq!(*secrets.encode(), bytes, "the secrets have another spelling");
    }
    let mut repaired = bytes.to_vec();
    layout::repair_checksum(&mut repaired);
    for bytes in [bytes, &repaired] {
        let Ok(locked) = Locked::parse(bytes) else { continue };
        let is_quick = |slot: &Slot| match slot.kind {
            SlotKind::Passphrase { params, .. } => params.memory_kib() <= 64 && params.passes() <= 2,
            SlotKind::RecoveryKey => true,
        };
        if locked.slots.iter().all(is_quick) {
            let passphrase = Passphrase::from("correct horse".to_owned());
            // Opening or not are both fine.
            let _ = locked.unlock(Path::new("keyring"), Unlock::Passphrase(&passphrase), None);
        }
    }
}

#[cfg(test)]
mod tests;

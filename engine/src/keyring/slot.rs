//! A slot wraps the root key under a passphrase or a recovery key.
//!
//! ```text
//! id 1 ‖ kind 1 ‖ [choice 1 ‖ m 4 ‖ t 4 ‖ p 4, passphrase only] ‖ salt 16 ‖ wrapped root key 60
//! ```

use std::fmt;

use rand::CryptoRng;
use thingdb_format::KdfParams;

use super::codec::{Flaw, Reader};
use super::kdf::{is_weaker, stretch};
use super::passphrase::Passphrase;
use super::seal::{SealKey, Secret};
use super::{KeyringError, RecoveryKey};

const WRAPPED_BYTES: usize = 32 + SealKey::OVERHEAD;
const WRAP_LABEL: &[u8] = b"thingdb/1/keyring-slot";
const RECOVERY_LABEL: &[u8] = b"thingdb/1/keyring-recovery";

const PASSPHRASE: u8 = 1;
const RECOVERY_KEY: u8 = 2;

/// The number of a slot; a number may be used again after its slot is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u8);

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What opens a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A passphrase.
    Passphrase {
        /// How dear a guess is.
        params: KdfParams,
        /// Whether the parameters were chosen, so that the program leaves
        /// them alone.
        explicit: bool,
    },
    /// A recovery key.
    RecoveryKey,
}

/// What anyone may know of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Its number.
    pub id: SlotId,
    /// What opens it.
    pub kind: SlotKind,
    /// Whether it opened the keyring this time.
    pub opened: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) id: SlotId,
    pub(super) kind: SlotKind,
    salt: [u8; 16],
    wrapped: [u8; WRAPPED_BYTES],
}

impl Slot {
    pub(super) fn for_passphrase(
        id: SlotId,
        root: &Secret,
        passphrase: &Passphrase,
        kind: (KdfParams, bool),
        rng: &mut impl CryptoRng,
    ) -> Result<Self, KeyringError> {
        let (params, explicit) = kind;
        let salt = fresh_salt(rng);
        let key = stretch(params, passphrase, &salt)?;
        Ok(Self::wrap(id, SlotKind::Passphrase { params, explicit }, salt, &key, root, rng))
    }

    pub(super) fn for_recovery_key(
        id: SlotId,
        root: &Secret,
        recovery_key: &RecoveryKey,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let salt = fresh_salt(rng);
        let key = recovery_key.secret().expand(&[RECOVERY_LABEL, &salt]);
        Self::wrap(id, SlotKind::RecoveryKey, salt, &key, root, rng)
    }

    fn wrap(id: SlotId, kind: SlotKind, salt: [u8; 16], key: &Secret, root: &Secret, rng: &mut impl CryptoRng) -> Self {
        let sealed = key.seal_key().seal(WRAP_LABEL, root.as_bytes(), rng);
        let wrapped = sealed.try_into().expect("32 bytes and the overhead are 60 bytes");
        Self { id, kind, salt, wrapped }
    }

    /// The root key, if this is a passphrase slot and the passphrase its own.
    pub(super) fn open_with_passphrase(&self, passphrase: &Passphrase) -> Result<Option<Secret>, KeyringError> {
        let SlotKind::Passphrase { params, .. } = self.kind else {
            return Ok(None);
        };
        Ok(self.unwrap(&stretch(params, passphrase, &self.salt)?))
    }

    /// The root key, if this is a recovery slot and the key its own.
    pub(super) fn open_with_recovery_key(&self, recovery_key: &RecoveryKey) -> Option<Secret> {
        match self.kind {
            SlotKind::Passphrase { .. } => None,
            SlotKind::RecoveryKey => self.unwrap(&recovery_key.secret().expand(&[RECOVERY_LABEL, &self.salt])),
        }
    }

    fn unwrap(&self, key: &Secret) -> Option<Secret> {
        let root = zeroize::Zeroizing::new(key.seal_key().open(WRAP_LABEL, &self.wrapped)?);
        root.first_chunk().map(Secret::copy_of)
    }

    /// Whether a default slot of an older version is to be wrapped anew.
    pub(super) const fn wants_upgrade(&self, default: KdfParams) -> Option<KdfParams> {
        match self.kind {
            SlotKind::Passphrase { params, explicit: false } if is_weaker(params, default) => Some(params),
            _ => None,
        }
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, Flaw> {
        let id = SlotId(r.u8("slot id")?);
        let kind = match r.u8("slot kind")? {
            PASSPHRASE => read_passphrase_kind(id, r)?,
            RECOVERY_KEY => SlotKind::RecoveryKey,
            found => return Err(Flaw::Newer { field: "slot kind", found: u64::from(found) }),
        };
        let salt = *r.array("slot salt")?;
        let wrapped = *r.array("wrapped root key")?;
        Ok(Self { id, kind, salt, wrapped })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.id.0);
        match self.kind {
            SlotKind::Passphrase { params, explicit } => {
                out.extend_from_slice(&[PASSPHRASE, u8::from(explicit)]);
                for number in [params.memory_kib(), params.passes(), params.lanes()] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
            }
            SlotKind::RecoveryKey => out.push(RECOVERY_KEY),
        }
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.wrapped);
    }
}

fn read_passphrase_kind(id: SlotId, r: &mut Reader<'_>) -> Result<SlotKind, Flaw> {
    let explicit = match r.u8("slot choice")? {
        0 => false,
        1 => true,
        found => return Err(Flaw::Newer { field: "slot choice", found: u64::from(found) }),
    };
    let params = KdfParams::new(r.u32("memory_kib")?, r.u32("passes")?, r.u32("lanes")?);
    let params = params.map_err(|refusal| Flaw::Damaged(format!("slot {id}: {refusal}")))?;
    Ok(SlotKind::Passphrase { params, explicit })
}

fn fresh_salt(rng: &mut impl CryptoRng) -> [u8; 16] {
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    salt
}

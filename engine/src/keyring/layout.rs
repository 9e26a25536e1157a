//! The file: what stands in clear, and the secrets sealed under the root key.
//! `docs/keyring.md` has it byte by byte.
//!
//! ```text
//! magic 16 ‖ version 1 ‖ id 16 ‖ generation 8 ‖ slot count 1 ‖ slots ‖ salt 32 ‖ sealed secrets ‖ checksum 32
//! └──────────────────────── bound to the sealed secrets ──────────────────────┘
//! ```
//!
//! Versions 1 and 2 had a key for each 65,536 entries, and neither is read: the
//! databases that they are of are not, either.

use rand::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Keyring;
use super::codec::{Flaw, Reader, ascending};
use super::seal::{SealKey, Secret};
use super::secrets::Secrets;
use super::slot::Slot;

pub(super) const MAGIC: &[u8; 16] = b"thingdb keyring\n";
const VERSION: u8 = 3;
pub(super) const MAX_SLOTS: usize = 16;
/// Largest file that is read or written.
pub(super) const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;
const CHECKSUM_BYTES: usize = 32;
const SECRETS_LABEL: &[u8] = b"thingdb/1/keyring-secrets";

/// A keyring that was read and not opened.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Locked<'a> {
    pub(super) id: [u8; 16],
    pub(super) generation: u64,
    pub(super) slots: Vec<Slot>,
    clear: &'a [u8],
    salt: &'a [u8; 32],
    sealed: &'a [u8],
}

impl<'a> Locked<'a> {
    /// Reads the part in clear. The checksum comes before the version, so that
    /// a version byte that was damaged is damage and not a newer version.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Flaw> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(Flaw::Damaged(format!("it has {} bytes, at most {MAX_FILE_BYTES} are allowed", bytes.len())));
        }
        if !bytes.starts_with(MAGIC) {
            return Err(Flaw::damaged("it does not begin like a keyring"));
        }
        let (body, checksum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| Flaw::damaged("it ends before its checksum"))?;
        if checksum != &<[u8; CHECKSUM_BYTES]>::from(Sha256::digest(body)) {
            return Err(Flaw::damaged("the checksum does not match the bytes"));
        }
        let mut r = Reader::new(body);
        r.take(MAGIC.len(), "magic")?;
        let version = r.u8("version")?;
        match version {
            VERSION => {}
            found @ (1 | 2) => return Err(Flaw::Older { found: u64::from(found) }),
            found => return Err(Flaw::Newer { field: "version", found: u64::from(found) }),
        }
        let (id, generation) = (*r.array("id")?, r.u64("generation")?);
        let slots = read_slots(&mut r)?;
        let salt = r.array("salt of the secrets")?;
        let (clear, sealed) = body.split_at(body.len() - r.left());
        Ok(Self { id, generation, slots, clear, salt, sealed })
    }

    /// Opens the secrets. That the root key is right and the seal does not
    /// hold means that the slots or the secrets were changed on purpose.
    pub(super) fn open(&self, root: &Secret) -> Result<Secrets, Flaw> {
        let plain = secrets_key(root, self.salt)
            .open(self.clear, self.sealed)
            .map(Zeroizing::new)
            .ok_or_else(|| Flaw::damaged("the slots or the sealed secrets were changed"))?;
        Secrets::decode(&plain)
    }
}

fn read_slots(r: &mut Reader<'_>) -> Result<Vec<Slot>, Flaw> {
    let count = usize::from(r.u8("slot count")?);
    if !(1..=MAX_SLOTS).contains(&count) {
        return Err(Flaw::Damaged(format!("slot count is {count}, allowed are 1 to {MAX_SLOTS}")));
    }
    let mut slots: Vec<Slot> = Vec::with_capacity(count);
    for _ in 0..count {
        let slot = Slot::read(r)?;
        ascending(slots.last().map(|last| &last.id), &slot.id, "slot ids")?;
        slots.push(slot);
    }
    Ok(slots)
}

/// The whole file, with the secrets sealed under a fresh key.
pub(super) fn encode(keyring: &Keyring, rng: &mut impl CryptoRng) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(VERSION);
    out.extend_from_slice(&keyring.id);
    out.extend_from_slice(&keyring.generation.to_be_bytes());
    out.push(u8::try_from(keyring.slots.len()).expect("there are at most 16 slots"));
    for slot in &keyring.slots {
        slot.write(&mut out);
    }
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    out.extend_from_slice(&salt);
    let sealed = secrets_key(&keyring.root, &salt).seal(&out, &keyring.secrets.encode(), rng);
    out.extend_from_slice(&sealed);
    let checksum = Sha256::digest(&out);
    out.extend_from_slice(&checksum);
    out
}

fn secrets_key(root: &Secret, salt: &[u8; 32]) -> SealKey {
    root.expand(&[SECRETS_LABEL, salt]).seal_key()
}

/// Makes the checksum right again, as someone who tampers would.
#[doc(hidden)]
pub(super) fn repair_checksum(bytes: &mut [u8]) {
    if let Some((body, checksum)) = bytes.split_last_chunk_mut::<CHECKSUM_BYTES>() {
        checksum.copy_from_slice(&Sha256::digest(body));
    }
}

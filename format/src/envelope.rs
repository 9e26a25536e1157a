//! Envelopes: the CEK of an entry, sealed to recipients.
//!
//! A key-encryption key (KEK) is sealed once to each recipient and used for
//! many entries; the CEK of an entry is sealed under a key that is derived
//! from the KEK and the entry id.
//!
//! ```
//! use thingdb_format::{Cek, DecryptionKey, EntryId, Envelope, Kek, KekPacket, Origin, envelope};
//! let (from, id) = (Origin([1; 16]), EntryId([2; 32]));
//! let (kek, cek) = (Kek::generate(&mut rand::rng()), Cek::generate(&mut rand::rng()));
//! let reader = DecryptionKey::generate(&mut rand::rng());
//!
//! let packet = KekPacket::seal_x25519(&kek, from, &reader.encryption_key(), &mut rand::rng())?;
//! let envelope = Envelope::new(from, envelope::seal_cek(&kek, &id, &cek), vec![packet])?;
//!
//! let opened = envelope.recipients[0].open_x25519(envelope.from, &reader)?;
//! assert_eq!(envelope::open_cek(&opened, &id, &envelope.cek)?, cek);
//! # Ok::<(), thingdb_format::Error>(())
//! ```

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use crate::codec::within;
use crate::payload::{aead_open, aead_seal, expand};
use crate::{Cek, DecryptionKey, EncryptionKey, EntryId, Error, Kek, Origin, RecipientId, Recipients, Suite, label};

/// How many envelopes an entry may carry.
pub const MAX_ENVELOPES: usize = 8;

/// How many recipients an envelope may have.
pub const MAX_RECIPIENTS: usize = 256;

/// First byte of the associated data of an X25519 packet: its kind.
const KIND_X25519: u8 = 1;

/// The CEK of one entry, sealed to a set of recipients. Not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The node that made the envelope.
    pub from: Origin,
    /// The CEK, sealed under a key derived from the KEK and the entry id.
    pub cek: [u8; 48],
    /// The KEK, sealed to each recipient.
    pub recipients: Recipients,
}

impl Envelope {
    /// An envelope with 1 to 256 recipients.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn new(from: Origin, cek: [u8; 48], recipients: Vec<KekPacket>) -> Result<Self, Error> {
        Ok(Self { from, cek, recipients: Recipients::new(recipients)? })
    }
}

/// The KEK, sealed to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KekPacket {
    /// Kind 1: HPKE to an X25519 key.
    X25519 {
        /// Short name of the recipient's encryption key.
        id: RecipientId,
        /// Encapsulated key, then the sealed KEK.
        kek: [u8; 80],
    },
    /// Kind 2: under a passphrase.
    Passphrase {
        /// Fresh for each packet.
        salt: [u8; 16],
        /// How the passphrase is stretched.
        kdf: KdfParams,
        /// The sealed KEK.
        kek: [u8; 48],
    },
    /// Kind 3: the KEK itself, for everybody. A KEK that is public serves one entry.
    Public {
        /// The KEK.
        kek: [u8; 32],
    },
}

impl KekPacket {
    /// The number of the kind, as it stands in a line.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::X25519 { .. } => KIND_X25519,
            Self::Passphrase { .. } => 2,
            Self::Public { .. } => 3,
        }
    }

    /// The packet that gives `kek` to everybody who holds it. It must be the KEK of
    /// one entry only: whoever has it opens all that is sealed under it.
    #[must_use]
    pub const fn public(kek: &Kek) -> Self {
        Self::Public { kek: *kek.as_bytes() }
    }

    /// The KEK of a packet of kind 3.
    #[must_use]
    pub const fn open_public(&self) -> Option<Kek> {
        if let Self::Public { kek } = self { Some(Kek::from_bytes(*kek)) } else { None }
    }

    /// Seals `kek` to the holder of an encryption key.
    ///
    /// # Errors
    /// [`Error::UnacceptableKey`].
    pub fn seal_x25519(kek: &Kek, from: Origin, to: &EncryptionKey, rng: &mut impl CryptoRng) -> Result<Self, Error> {
        to.check()?;
        let refuse = |_| Error::UnacceptableKey { key: to.to_string(), problem: "cannot be sealed to" };
        let public = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.0).map_err(refuse)?;
        let (enc, sealed) = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            label::KEK.as_bytes(),
            kek.as_bytes(),
            &x25519_aad(from, to),
            rng,
        )
        .map_err(refuse)?;
        let mut packet = [0; 80];
        let (front, back) = packet.split_at_mut(32);
        front.copy_from_slice(&enc.to_bytes());
        back.copy_from_slice(&sealed);
        Ok(Self::X25519 { id: to.recipient_id(), kek: packet })
    }

    /// Opens a packet of kind 1 that the node `from` made.
    ///
    /// # Errors
    /// [`Error::NotOpened`] if the packet is for another key or of another
    /// kind, or was changed.
    pub fn open_x25519(&self, from: Origin, key: &DecryptionKey) -> Result<Kek, Error> {
        const NOT_OPENED: Error = Error::NotOpened { what: "KEK packet" };
        let Self::X25519 { id, kek } = self else { return Err(NOT_OPENED) };
        let public = key.encryption_key();
        if public.recipient_id() != *id {
            return Err(NOT_OPENED);
        }
        let (enc, sealed) = kek.split_at(32);
        let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(enc).map_err(|_| NOT_OPENED)?;
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(key.as_bytes()).map_err(|_| NOT_OPENED)?;
        let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &enc,
            label::KEK.as_bytes(),
            sealed,
            &x25519_aad(from, &public),
        );
        kek_of(&Zeroizing::new(opened.map_err(|_| NOT_OPENED)?)).ok_or(NOT_OPENED)
    }

    /// Seals `kek` under a passphrase, taken as its UTF-8 bytes as given.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn seal_passphrase(
        kek: &Kek,
        from: Origin,
        passphrase: &[u8],
        kdf: KdfParams,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, Error> {
        let mut salt = [0; 16];
        rng.fill_bytes(&mut salt);
        let key = passphrase_key(passphrase, &salt, kdf, from)?;
        Ok(Self::Passphrase { salt, kdf, kek: wrap(&key, kek.as_bytes()) })
    }

    /// Opens a packet of kind 2 that the node `from` made. It costs the memory
    /// and time that the packet asks for; whoever opens packets of strangers
    /// looks at `kdf` first.
    ///
    /// # Errors
    /// [`Error::NotOpened`] if the passphrase is another one, the packet is of
    /// another kind or was changed; [`Error::NoMemory`].
    pub fn open_passphrase(&self, from: Origin, passphrase: &[u8]) -> Result<Kek, Error> {
        const NOT_OPENED: Error = Error::NotOpened { what: "KEK packet" };
        let Self::Passphrase { salt, kdf, kek } = self else { return Err(NOT_OPENED) };
        let key = passphrase_key(passphrase, salt, *kdf, from)?;
        kek_of(&unwrap(&key, kek).ok_or(NOT_OPENED)?).ok_or(NOT_OPENED)
    }
}

/// Parameters of Argon2id (RFC 9106, version 0x13), within the limits of the
/// format: what they ask for can be refused before it is allocated.
///
/// ```
/// use thingdb_format::KdfParams;
/// let kdf = KdfParams::new(64, 1, 2)?;
/// assert_ne!(kdf.derive(b"one", &[0; 16])?, kdf.derive(b"two", &[0; 16])?);
/// assert!(KdfParams::new(u32::MAX, 1, 1).is_err());
/// assert_eq!(KdfParams::DEFAULT.memory_kib(), 65_536);
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfParams {
    /// 64 MiB, 3 passes, 4 lanes: the second recommendation of RFC 9106.
    pub const DEFAULT: Self = Self { memory_kib: 65_536, passes: 3, lanes: 4 };

    /// Least memory a lane, in KiB.
    pub const MIN_MEMORY_KIB_PER_LANE: u32 = 8;

    /// Most memory, in KiB (1 GiB).
    pub const MAX_MEMORY_KIB: u32 = 1_048_576;

    /// Most passes.
    pub const MAX_PASSES: u32 = 64;

    /// Most lanes.
    pub const MAX_LANES: u32 = 16;

    /// Checks the limits.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, Error> {
        within("p", u64::from(lanes), 1, u64::from(Self::MAX_LANES))?;
        within("t", u64::from(passes), 1, u64::from(Self::MAX_PASSES))?;
        let least = u64::from(lanes.saturating_mul(Self::MIN_MEMORY_KIB_PER_LANE));
        within("m", u64::from(memory_kib), least, u64::from(Self::MAX_MEMORY_KIB))?;
        Ok(Self { memory_kib, passes, lanes })
    }

    /// Memory, in KiB.
    #[must_use]
    pub const fn memory_kib(&self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(&self) -> u32 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(&self) -> u32 {
        self.lanes
    }

    /// 32 bytes of key for a passphrase.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn derive(&self, passphrase: &[u8], salt: &[u8; 16]) -> Result<Zeroizing<[u8; 32]>, Error> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .expect("the limits of the format are within those of Argon2id");
        let no_memory = || Error::NoMemory { memory_kib: self.memory_kib };
        let count = params.block_count();
        let mut blocks: Vec<Block> = Vec::new();
        blocks.try_reserve_exact(count).map_err(|_| no_memory())?;
        blocks.resize(count, Block::new());
        let mut key = Zeroizing::new([0; 32]);
        let derived = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            passphrase,
            salt,
            &mut *key,
            &mut blocks[..],
        );
        // What the passphrase was stretched through gives it away.
        blocks.iter_mut().for_each(Zeroize::zeroize);
        // Lengths are within the limits of RFC 9106, unless the passphrase has
        // 4 GiB: what is left to fail is memory.
        derived.map_err(|_| no_memory())?;
        Ok(key)
    }
}

impl Default for KdfParams {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Seals the CEK of the entry `id`. One KEK serves many entries: each has its
/// own key under it.
#[must_use]
pub fn seal_cek(kek: &Kek, id: &EntryId, cek: &Cek) -> [u8; 48] {
    wrap(&cek_key(kek, id), cek.as_bytes())
}

/// Opens the CEK of the entry `id`.
///
/// # Errors
/// [`Error::NotOpened`] if the KEK or the id is another one, or the bytes were
/// changed.
pub fn open_cek(kek: &Kek, id: &EntryId, sealed: &[u8; 48]) -> Result<Cek, Error> {
    let opened = unwrap(&cek_key(kek, id), sealed);
    let cek = opened.and_then(|bytes| bytes.as_slice().try_into().ok().map(Cek::from_bytes));
    cek.ok_or(Error::NotOpened { what: "CEK" })
}

fn cek_key(kek: &Kek, id: &EntryId) -> Zeroizing<[u8; 32]> {
    expand(kek.as_bytes(), &[label::CEK.as_bytes(), &id.0])
}

fn passphrase_key(
    passphrase: &[u8],
    salt: &[u8; 16],
    kdf: KdfParams,
    from: Origin,
) -> Result<Zeroizing<[u8; 32]>, Error> {
    Ok(expand(&*kdf.derive(passphrase, salt)?, &[label::KEK_PASSPHRASE.as_bytes(), &from.0]))
}

fn x25519_aad(from: Origin, to: &EncryptionKey) -> Vec<u8> {
    [&[KIND_X25519][..], &from.0, &to.0].concat()
}

fn kek_of(bytes: &[u8]) -> Option<Kek> {
    bytes.try_into().ok().map(Kek::from_bytes)
}

/// Seals 32 bytes of key under a key that seals nothing else.
fn wrap(key: &[u8; 32], secret: &[u8; 32]) -> [u8; 48] {
    // Room for the tag, so that the plaintext is not moved.
    let mut bytes = Vec::with_capacity(48);
    bytes.extend_from_slice(secret);
    aead_seal(Suite::Aes256Gcm, key, b"", &mut bytes);
    bytes.try_into().expect("32 bytes and a tag are 48 bytes")
}

fn unwrap(key: &[u8; 32], sealed: &[u8; 48]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(sealed.to_vec());
    aead_open(Suite::Aes256Gcm, key, b"", &mut bytes)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: Origin = Origin([1; 16]);
    const ID: EntryId = EntryId([2; 32]);

    fn small() -> KdfParams {
        KdfParams::new(16, 1, 2).unwrap()
    }

    #[test]
    fn a_cek_opens_under_its_kek_and_id_only() {
        let kek = Kek::from_bytes([3; 32]);
        let cek = Cek::from_bytes([4; 32]);
        let sealed = seal_cek(&kek, &ID, &cek);
        assert_eq!(open_cek(&kek, &ID, &sealed).unwrap(), cek);
        assert!(open_cek(&Kek::from_bytes([5; 32]), &ID, &sealed).is_err());
        assert!(open_cek(&kek, &EntryId([6; 32]), &sealed).is_err());
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open_cek(&kek, &ID, &flipped).is_err(), "{bit}");
        }
    }

    #[test]
    fn a_packet_opens_for_its_recipient_and_sender_only() {
        let kek = Kek::from_bytes([3; 32]);
        let reader = DecryptionKey::from_bytes([7; 32]);
        let packet = KekPacket::seal_x25519(&kek, FROM, &reader.encryption_key(), &mut rand::rng()).unwrap();
        assert_eq!(packet.open_x25519(FROM, &reader).unwrap(), kek);
        assert!(packet.open_x25519(Origin([9; 16]), &reader).is_err());
        assert!(packet.open_x25519(FROM, &DecryptionKey::from_bytes([8; 32])).is_err());
        assert!(packet.open_passphrase(FROM, b"").is_err());
        let KekPacket::X25519 { id, kek: sealed } = packet else { unreachable!() };
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let packet = KekPacket::X25519 { id, kek: flipped };
            assert!(packet.open_x25519(FROM, &reader).is_err(), "{bit}");
        }
    }

    #[test]
    fn nothing_is_sealed_to_a_key_of_small_order() {
        let to = EncryptionKey([0; 32]);
        let problem = KekPacket::seal_x25519(&Kek::from_bytes([3; 32]), FROM, &to, &mut rand::rng()).unwrap_err();
        assert!(matches!(problem, Error::UnacceptableKey { .. }));
    }

    #[test]
    fn a_passphrase_opens_its_own_packet_only() {
        let kek = Kek::from_bytes([3; 32]);
        let packet = KekPacket::seal_passphrase(&kek, FROM, b"correct horse", small(), &mut rand::rng()).unwrap();
        assert_eq!(packet.open_passphrase(FROM, b"correct horse").unwrap(), kek);
        assert!(packet.open_passphrase(FROM, b"correct hors").is_err());
        assert!(packet.open_passphrase(Origin([9; 16]), b"correct horse").is_err());
        assert!(packet.open_x25519(FROM, &DecryptionKey::from_bytes([7; 32])).is_err());
        let KekPacket::Passphrase { salt, kdf, kek: sealed } = packet else { unreachable!() };
        for bit in 0..sealed.len() * 8 {
            let mut kek = sealed;
            kek[bit / 8] ^= 1 << (bit % 8);
            let packet = KekPacket::Passphrase { salt, kdf, kek };
            assert!(packet.open_passphrase(FROM, b"correct horse").is_err(), "{bit}");
        }
    }

    #[test]
    fn parameters_beyond_the_limits_are_refused() {
        assert!(KdfParams::new(8, 1, 1).is_ok());
        assert!(KdfParams::new(1_048_576, 64, 16).is_ok());
        for (m, t, p) in
            [(7, 1, 1), (127, 1, 16), (1_048_577, 1, 1), (8, 0, 1), (8, 65, 1), (8, 1, 0), (u32::MAX, 1, 17)]
        {
            assert!(matches!(KdfParams::new(m, t, p), Err(Error::OutOfRange { .. })), "{m} {t} {p}");
        }
    }

    #[test]
    fn envelopes_have_recipients_and_not_too_many() {
        let packet = KekPacket::X25519 { id: RecipientId([0; 8]), kek: [0; 80] };
        assert!(Envelope::new(FROM, [0; 48], vec![]).is_err());
        assert!(Envelope::new(FROM, [0; 48], vec![packet.clone(); 256]).is_ok());
        assert!(Envelope::new(FROM, [0; 48], vec![packet; 257]).is_err());
    }
}

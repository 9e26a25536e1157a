//! Newtypes for bytes that differ in meaning, and the keys themselves.
//!
//! Public values are plain bytes that print as lower-case hex. Secrets have no
//! `Clone`, print as a stand-in, and are wiped when dropped.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signer, VerifyingKey};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Error;

macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $len:literal, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut hex = [0; $len * 2];
                HEXLOWER.encode_mut(&self.0, &mut hex);
                f.pad(std::str::from_utf8(&hex).expect("hex is ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let mut bytes = [0; $len];
                if text.len() != $len * 2 || HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).is_err() {
                    return Err(Error::Malformed {
                        what: $field,
                        problem: concat!("not ", $len, " bytes in lower-case hex"),
                    });
                }
                Ok(Self(bytes))
            }
        }
    };
}

bytes_newtype! {
    /// A SHA-256 or HMAC-SHA-256 value.
    Hash, 32, "hash"
}
bytes_newtype! {
    /// The name of an entry: the hash of its header.
    EntryId, 32, "entry id"
}
bytes_newtype! {
    /// The Ed25519 public key that signs entries, as it stands in a header.
    /// Whether it is acceptable is known once a [`Verifier`] was made of it.
    Actor, 32, "actor key"
}
bytes_newtype! {
    /// The node that wrote an entry: the first 16 bytes of the SHA-256 of its
    /// node key.
    Origin, 16, "origin"
}
bytes_newtype! {
    /// The Ed25519 public key of a node, which signs checkpoints and cards.
    NodeKey, 32, "node key"
}
bytes_newtype! {
    /// The X25519 public key to which a node has CEKs sealed.
    EncryptionKey, 32, "encryption key"
}
bytes_newtype! {
    /// How an envelope names a recipient: the first 8 bytes of the SHA-256 of
    /// its encryption key.
    RecipientId, 8, "recipient id"
}

impl Hash {
    /// SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl NodeKey {
    /// The name under which the node writes entries.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin(first(&self.fingerprint().0))
    }

    /// What people compare: the SHA-256 of the key.
    #[must_use]
    pub fn fingerprint(&self) -> Hash {
        Hash::of(&self.0)
    }
}

impl EncryptionKey {
    /// Refuses a key with another spelling, or to which anyone could open what
    /// is sealed.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |problem| Err(Error::UnacceptableKey { key: self.to_string(), problem });
        // Little-endian, below p = 2^255 - 19.
        let [low, middle @ .., high] = &self.0;
        let not_below_p = *high == 0x7f && middle.iter().all(|byte| *byte == 0xff) && *low >= 0xed;
        if *high > 0x7f || not_below_p {
            return refuse("is not canonically encoded");
        }
        // A scalar is a multiple of 8: it takes each point of small order to 0.
        if x25519_dalek::x25519([8; 32], self.0) == [0; 32] {
            return refuse("is of small order");
        }
        Ok(())
    }

    /// The short name that envelopes use.
    #[must_use]
    pub fn recipient_id(&self) -> RecipientId {
        RecipientId(first(&Hash::of(&self.0).0))
    }
}

/// The first bytes of a hash; `N` is at most 32 wherever this is called.
fn first<const N: usize>(hash: &[u8; 32]) -> [u8; N] {
    *hash.first_chunk().expect("N is at most 32")
}

/// A public key that was checked once: canonical, not of small order, in the
/// prime-order subgroup. So that every node gives the same verdict on every
/// signature.
///
/// The check costs about as much as a signature; keep the verifier.
#[derive(Clone)]
pub struct Verifier(VerifyingKey);

impl Verifier {
    /// Checks the 32 bytes of an Ed25519 public key.
    ///
    /// # Errors
    /// [`Error::UnacceptableKey`].
    pub fn new(key: &[u8; 32]) -> Result<Self, Error> {
        let refuse = |problem| Error::UnacceptableKey { key: HEXLOWER.encode(key), problem };
        let parsed = VerifyingKey::from_bytes(key).map_err(|_| refuse("is not a point of the curve"))?;
        let point = parsed.to_edwards();
        if point.compress().as_bytes() != key {
            return Err(refuse("is not canonically encoded"));
        }
        if parsed.is_weak() {
            return Err(refuse("is of small order"));
        }
        if !point.is_torsion_free() {
            return Err(refuse("is outside the prime-order subgroup"));
        }
        Ok(Self(parsed))
    }

    /// The key that was checked.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// Checks an Ed25519 signature strictly (RFC 8032 with canonical `S`, no
    /// `R` of small order, cofactorless).
    ///
    /// # Errors
    /// [`Error::BadSignature`] that names `what`.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64], what: &'static str) -> Result<(), Error> {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).map_err(|_| Error::BadSignature { what })
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({})", HEXLOWER.encode(self.0.as_bytes()))
    }
}

/// A secret Ed25519 key: an actor's or a node's.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh key.
    #[must_use]
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        let key = Self::from_seed(&seed);
        seed.zeroize();
        key
    }

    /// The key of a 32-byte RFC 8032 seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// The seed, to be sealed in a keyring.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public key as an actor.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor(self.0.verifying_key().to_bytes())
    }

    /// The public key as a node key.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        NodeKey(self.0.verifying_key().to_bytes())
    }

    /// The checked public key. A key that was generated is acceptable.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier(self.0.verifying_key())
    }

    /// Signs `message` (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

macro_rules! secret_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Fresh random bytes.
            #[must_use]
            pub fn generate(rng: &mut impl CryptoRng) -> Self {
                let mut key = Self([0; 32]);
                rng.fill_bytes(&mut key.0);
                key
            }

            /// The key with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes, to be sealed.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Another copy, made on purpose.
            #[must_use]
            pub const fn duplicate(&self) -> Self {
                Self(self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}
    };
}

secret_newtype! {
    /// Content-encryption key: seals the body of one entry.
    Cek
}
secret_newtype! {
    /// Key-encryption key: seals the CEKs of many entries for one set of
    /// recipients.
    Kek
}
secret_newtype! {
    /// The secret half of an [`EncryptionKey`].
    DecryptionKey
}

impl DecryptionKey {
    /// The public half (RFC 7748).
    #[must_use]
    pub fn encryption_key(&self) -> EncryptionKey {
        let secret = x25519_dalek::StaticSecret::from(self.0);
        EncryptionKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_as_a_stand_in() {
        let secret = Cek::from_bytes([0xab; 32]);
        assert_eq!(format!("{secret:?}"), "Cek(..)");
        assert_eq!(format!("{:?}", SigningKey::from_seed(&[0xab; 32])), "SigningKey(..)");
    }

    #[test]
    fn hex_has_one_spelling() {
        let id = EntryId([0xab; 32]);
        assert_eq!(id.to_string().parse::<EntryId>().unwrap(), id);
        assert!(id.to_string().to_uppercase().parse::<EntryId>().is_err());
        assert!("ab".parse::<EntryId>().is_err());
    }

    #[test]
    fn keys_of_small_order_and_with_torsion_are_refused() {
        assert!(Verifier::new(&[0; 32]).is_err());
        let mut one = [0; 32];
        one[0] = 1;
        assert!(Verifier::new(&one).is_err());
        let honest = SigningKey::from_seed(&[7; 32]);
        let mixed = honest.verifier().0.to_edwards() + curve25519_dalek::constants::EIGHT_TORSION[1];
        let problem = Verifier::new(mixed.compress().as_bytes()).unwrap_err();
        assert!(problem.to_string().contains("prime-order"), "{problem}");
        assert!(Verifier::new(&honest.actor().0).is_ok());
    }

    #[test]
    fn encryption_keys_of_small_order_or_of_another_spelling_are_refused() {
        let honest = DecryptionKey::from_bytes([7; 32]).encryption_key();
        honest.check().unwrap();
        let mut high_bit = honest;
        high_bit.0[31] |= 0x80;
        assert!(high_bit.check().is_err());
        let mut p_plus_9 = EncryptionKey([0xff; 32]);
        (p_plus_9.0[0], p_plus_9.0[31]) = (0xf6, 0x7f);
        assert!(p_plus_9.check().is_err());
        let mut small = EncryptionKey([0; 32]);
        assert!(small.check().is_err());
        small.0[0] = 1;
        assert!(small.check().is_err());
        // 2^255 - 20, canonical and of small order.
        let mut minus_1 = EncryptionKey([0xff; 32]);
        (minus_1.0[0], minus_1.0[31]) = (0xec, 0x7f);
        assert!(minus_1.check().unwrap_err().to_string().contains("small order"));
        // The first basepoint.
        let mut nine = EncryptionKey([0; 32]);
        nine.0[0] = 9;
        nine.check().unwrap();
    }
}

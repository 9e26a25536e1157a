//! Envelopes: the CEK of an entry, sealed to recipients.
//!
//! A key-encryption key (KEK) is sealed once to each recipient and used for
//! many entries; the CEK of an entry is sealed under a key that is derived
//! from the KEK and the entry id.

use crate::{Origin, RecipientId};

/// The CEK of one entry, sealed to a set of recipients. Not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The node that made the envelope.
    pub from: Origin,
    /// The CEK, sealed under a key derived from the KEK and the entry id.
    pub cek: [u8; 48],
    /// The KEK, sealed to each recipient; 1 to 256 of them.
    pub recipients: Vec<KekPacket>,
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
}

/// Parameters of Argon2id (RFC 9106, version 0x13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

//! KEK packets as they lie in their row. Entries that were sealed to the same
//! recipients under the same KEK share the row.

use std::sync::Arc;

use bincode::{Decode, Encode};
use thingdb_format::{Hash, KdfParams, KekPacket, RecipientId};

use crate::error::{Error, Result};
use crate::stored;

#[derive(Encode, Decode)]
enum StoredPacket {
    X25519 { id: [u8; 8], kek: [u8; 80] },
    Passphrase { salt: [u8; 16], memory_kib: u32, passes: u32, lanes: u32, kek: [u8; 48] },
}

/// The bytes of the row, before it is sealed.
pub(crate) fn encode(packets: &[KekPacket]) -> Vec<u8> {
    let stored: Vec<StoredPacket> = packets
        .iter()
        .map(|packet| match packet {
            KekPacket::X25519 { id, kek } => StoredPacket::X25519 { id: id.0, kek: *kek },
            KekPacket::Passphrase { salt, kdf, kek } => StoredPacket::Passphrase {
                salt: *salt,
                memory_kib: kdf.memory_kib(),
                passes: kdf.passes(),
                lanes: kdf.lanes(),
                kek: *kek,
            },
            _ => unreachable!("the format decodes no other kinds"),
        })
        .collect();
    stored::encode(&stored)
}

/// The packets that were encoded last: entries side by side mostly share them.
#[derive(Default)]
pub(crate) struct PacketsMemo(Option<Encoded>);

struct Encoded {
    packets: Vec<KekPacket>,
    name: [u8; 16],
    row: Arc<[u8]>,
}

impl PacketsMemo {
    /// The name of the row, and its bytes.
    pub(crate) fn encode(&mut self, packets: &[KekPacket]) -> ([u8; 16], Arc<[u8]>) {
        if let Some(known) = &self.0
            && known.packets == packets
        {
            return (known.name, Arc::clone(&known.row));
        }
        let row: Arc<[u8]> = encode(packets).into();
        let name = name(&row);
        self.0 = Some(Encoded { packets: packets.to_vec(), name, row: Arc::clone(&row) });
        (name, row)
    }
}

/// What was encoded.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<KekPacket>> {
    let stored: Vec<StoredPacket> =
        stored::decode(bytes).map_err(|problem| Error::damaged("a row of KEK packets", problem))?;
    stored
        .into_iter()
        .map(|packet| match packet {
            StoredPacket::X25519 { id, kek } => Ok(KekPacket::X25519 { id: RecipientId(id), kek }),
            StoredPacket::Passphrase { salt, memory_kib, passes, lanes, kek } => {
                Ok(KekPacket::Passphrase { salt, kdf: KdfParams::new(memory_kib, passes, lanes)?, kek })
            }
        })
        .collect()
}

/// The name of the row: the first 16 bytes of the SHA-256 of its plaintext.
pub(crate) fn name(encoded: &[u8]) -> [u8; 16] {
    *Hash::of(encoded).0.first_chunk().expect("16 is less than 32")
}

/// Whom a packet is for; nothing for a passphrase.
pub(crate) fn recipient(packet: &KekPacket) -> Option<RecipientId> {
    match packet {
        KekPacket::X25519 { id, .. } => Some(*id),
        _ => None,
    }
}

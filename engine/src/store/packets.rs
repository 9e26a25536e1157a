//! KEK packets as they lie in their row. Entries that were sealed to the same
//! recipients under the same KEK share the row.

use std::collections::VecDeque;

use bincode::{Decode, Encode};
use thingdb_format::{KdfParams, KekPacket, RecipientId, Recipients};

use crate::encoding;
use crate::error::{Error, Result};

#[derive(Encode, Decode)]
enum StoredPacket {
    X25519 { id: [u8; 8], kek: [u8; 80] },
    Passphrase { salt: [u8; 16], memory_kib: u32, passes: u32, lanes: u32, kek: [u8; 48] },
    Public { kek: [u8; 32] },
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
            KekPacket::Public { kek } => StoredPacket::Public { kek: *kek },
            _ => unreachable!("the format decodes no other kinds"),
        })
        .collect();
    encoding::encode(&stored)
}

/// Sets of packets that are remembered: as many as one entry can have.
const REMEMBERED: usize = thingdb_format::envelope::MAX_ENVELOPES;

/// The sets of packets that came last: entries side by side mostly have the
/// same, and one copy serves all of them.
#[derive(Default)]
pub(crate) struct PacketsMemo(VecDeque<Recipients>);

impl PacketsMemo {
    /// These packets, or the same ones that were here before.
    pub(crate) fn share(&mut self, recipients: &Recipients) -> Recipients {
        if let Some(known) = self.0.iter().find(|known| known.is_same(recipients)) {
            return known.clone();
        }
        if let Some(known) = self.0.iter().find(|known| *known == recipients) {
            return known.clone();
        }
        self.0.truncate(REMEMBERED - 1);
        self.0.push_front(recipients.clone());
        recipients.clone()
    }
}

/// What was encoded.
pub(crate) fn decode(bytes: &[u8]) -> Result<Recipients> {
    let stored: Vec<StoredPacket> =
        encoding::decode(bytes).map_err(|problem| Error::damaged("a row of KEK packets", problem))?;
    let packets = stored
        .into_iter()
        .map(|packet| match packet {
            StoredPacket::X25519 { id, kek } => Ok(KekPacket::X25519 { id: RecipientId(id), kek }),
            StoredPacket::Passphrase { salt, memory_kib, passes, lanes, kek } => {
                Ok(KekPacket::Passphrase { salt, kdf: KdfParams::new(memory_kib, passes, lanes)?, kek })
            }
            StoredPacket::Public { kek } => Ok(KekPacket::Public { kek }),
        })
        .collect::<Result<_>>()?;
    Recipients::new(packets).map_err(|problem| Error::damaged("a row of KEK packets", problem))
}

/// The name of their row: the first 16 bytes of the name of the packets.
pub(crate) fn row_name(recipients: &Recipients) -> [u8; 16] {
    *recipients.name().0.first_chunk().expect("16 is less than 32")
}

/// Whom a packet is for; nothing for a passphrase, and for one that is public.
pub(crate) fn recipient(packet: &KekPacket) -> Option<RecipientId> {
    match packet {
        KekPacket::X25519 { id, .. } => Some(*id),
        _ => None,
    }
}

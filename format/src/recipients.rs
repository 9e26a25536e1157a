//! The KEK packets of an envelope. Envelopes of many entries name the same
//! packets, so they share them: however often a set is named, it is there once.

use std::fmt;
use std::ops::Deref;
use std::slice::Iter;
use std::sync::{Arc, OnceLock};

use crate::codec::within;
use crate::envelope::MAX_RECIPIENTS;
use crate::{Error, Hash, KekPacket, frame};

/// 1 to 256 KEK packets. A copy is the same packets and costs no memory.
///
/// ```
/// use thingdb_format::{KekPacket, RecipientId, Recipients};
/// let packet = KekPacket::X25519 { id: RecipientId([1; 8]), kek: [2; 80] };
/// let recipients = Recipients::new(vec![packet])?;
/// assert_eq!(recipients.len(), 1);
/// assert!(recipients.is_same(&recipients.clone()));
/// assert!(Recipients::new(vec![]).is_err());
/// # Ok::<(), thingdb_format::Error>(())
/// ```
#[derive(Clone)]
pub struct Recipients(Arc<Set>);

struct Set {
    packets: Box<[KekPacket]>,
    name: OnceLock<Hash>,
}

impl Recipients {
    /// Takes 1 to 256 packets.
    ///
    /// # Errors
    /// [`Error::OutOfRange`].
    pub fn new(packets: Vec<KekPacket>) -> Result<Self, Error> {
        within("recipients", packets.len() as u64, 1, MAX_RECIPIENTS as u64)?;
        Ok(Self(Arc::new(Set { packets: packets.into(), name: OnceLock::new() })))
    }

    /// The hash of their definition in a binary stream: packets that differ
    /// have different names. It is computed once for all copies.
    #[must_use]
    pub fn name(&self) -> Hash {
        *self.0.name.get_or_init(|| Hash::of(&frame::packets_to_bytes(self)))
    }

    /// Whether both are copies of one, and take memory once.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Recipients {
    type Target = [KekPacket];

    fn deref(&self) -> &[KekPacket] {
        &self.0.packets
    }
}

impl<'a> IntoIterator for &'a Recipients {
    type Item = &'a KekPacket;
    type IntoIter = Iter<'a, KekPacket>;

    fn into_iter(self) -> Iter<'a, KekPacket> {
        self.iter()
    }
}

impl PartialEq for Recipients {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self[..] == other[..]
    }
}

impl Eq for Recipients {}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RecipientId;

    fn recipients(n: u8) -> Recipients {
        Recipients::new(vec![KekPacket::X25519 { id: RecipientId([n; 8]), kek: [n; 80] }]).unwrap()
    }

    #[test]
    fn equal_packets_have_one_name_and_others_another() {
        assert_eq!(recipients(1), recipients(1));
        assert!(!recipients(1).is_same(&recipients(1)));
        assert_eq!(recipients(1).name(), recipients(1).name());
        assert_ne!(recipients(1).name(), recipients(2).name());
    }
}
